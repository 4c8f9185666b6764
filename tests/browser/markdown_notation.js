/** What a Markdown text became, as nested lists: ["p", "text", ["em", "text"]]. Helps the tests of Markdown. */
(() => {
  const level = (element) => `h${Number(element.ariaLevel ?? element.localName[1]) - 2}`;
  const side = (element) => ["left", "center", "right"].find((name) => element.classList.contains(name)) ?? "";

  function told(nodes) {
    const list = [];
    for (const node of nodes) {
      const part = node.nodeType === Node.TEXT_NODE ? node.data : one(node);
      if (part === null) continue;
      const parts = Array.isArray(part) && part[0] === "" ? part.slice(1) : [part];
      for (const next of parts) {
        if (typeof next === "string" && typeof list.at(-1) === "string") list.push(list.pop() + next);
        else if (next !== "") list.push(next);
      }
    }
    return list;
  }

  function one(element) {
    const name = element.localName;
    const inner = () => told(element.childNodes);
    if (/^h[3-6]$/.test(name)) return [level(element), ...inner()];
    if (element.matches(".code")) return ["code block", element.querySelector("bdi").textContent, element.querySelector("code").textContent];
    if (element.matches(".table, thead, tbody, .tail, .math, .control")) return ["", ...inner()];
    if (element.matches("a, .unlinked")) return ["link", ...led(element), ...inner()];
    if (element.matches(".address")) return null;
    if (name === "th" || name === "td") return [name, side(element), ...inner()];
    if (name === "ol") return ["ol", element.start, ...inner()];
    if (name === "input") return ["task", element.checked];
    return [name, ...inner()];
  }

  function led(element) {
    const [address, ...title] = element.title.split("\n");
    let plain = address;
    try {
      plain = decodeURI(address);
    } catch {
      // Not every percent sign is an escape.
    }
    return [plain, title.join("\n")];
  }

  return (stream) => told(stream.element.childNodes);
})()
