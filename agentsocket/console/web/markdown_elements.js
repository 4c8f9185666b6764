/**
 * The elements that Markdown is shown as, made one by one: no HTML is ever parsed, nothing is loaded, and a link leads only
 * to http, https or mailto. What is not understood stays text.
 *
 * @typedef {import("./markdown_blocks.js").Block} Block
 * @typedef {import("./markdown_links.js").Target} Target
 * @typedef {(label: string) => Target | undefined} Find what a link's label stands for
 */

import { copyButton, h } from "./dom.js";
import { isLoose } from "./markdown_blocks.js";
import { InlineParser } from "./markdown_inline.js";
import { safe } from "./markdown_links.js";
import { cells, trimmed } from "./markdown_table.js";
import { beginning, longText, textNodes, visible } from "./plain_text.js";

/** A longer paragraph is shown as it is: nobody writes it by hand, and laying it out takes too long. */
const LONGEST = 100_000;
/** Emphasis within emphasis; deeper there is nothing more to see. */
const DEEPEST = 16;
/** Empty cells that the short rows of a table are filled up with. */
const MOST_FILLING = 2000;
/** A cell with more characters is not made as narrow as its longest word. */
const LONG_CELL = 40;
const LONGEST_TITLE = 2000;
const TASK = /^\[([ x])\][ \t\n]+(?=\S)/i;

/** @type {Record<string, (block: Block, find: Find) => Node | null>} */
const ELEMENTS = {
  definitions: () => null,
  paragraph: (block, find) => h("p", {}, inline(block.lines.join("\n"), find)),
  heading,
  rule: () => h("hr"),
  code: ({ lines, info }) => codeBlock(lines.join("\n"), info.split(/\s/)[0]),
  quote: ({ children }, find) =>
    directed(
      h("blockquote"),
      children.map((child) => element(child, find)),
    ),
  list,
  table,
};

/** @param {Block} block @param {Find} find @returns {Node | null} */
export function element(block, find) {
  return ELEMENTS[block.type](block, find);
}

/** The page has its own first two levels, and HTML no more than six. @param {Block} block @param {Find} find */
function heading({ level, lines }, find) {
  const attributes = { "aria-level": level > 4 && String(level + 2) };
  return h(`h${Math.min(6, level + 2)}`, attributes, inline(lines.join("\n"), find));
}

/**
 * A list, a quote and a table begin at the side where their text begins. This is set when all is in it: with every part
 * that came later, the browser would look through all the others.
 * @param {HTMLElement} outer @param {Iterable<Node | null>} parts any number @returns {HTMLElement}
 */
function directed(outer, parts) {
  outer.append(together(parts));
  outer.dir = "auto";
  return outer;
}

/** @param {Iterable<Node | null>} parts more than a call can take @returns {DocumentFragment} */
function together(parts) {
  const fragment = document.createDocumentFragment();
  for (const part of parts) if (part) fragment.append(part);
  return fragment;
}

/** @param {Block} block @param {Find} find */
function list(block, find) {
  const loose = isLoose(block);
  const items = block.children.map((child) => item(child, loose, find));
  const start = Number(block.number);
  return directed(block.number ? h("ol", { start: start !== 1 && String(start) }) : h("ul"), items);
}

/** @param {Block} block @param {boolean} loose @param {Find} find */
function item({ children }, loose, find) {
  const [first] = children;
  const task = first?.type === "paragraph" ? TASK.exec(first.lines.join("\n")) : null;
  const box = task && h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": "Done" });
  const made = h(box ? "li.task" : "li");
  for (const child of children) {
    if (child.type !== "paragraph") made.append(element(child, find) ?? "");
    else {
      const text = child.lines.join("\n").slice(child === first ? task?.[0].length : 0);
      const content = inline(text, find);
      const place = loose ? made.appendChild(h("p")) : made;
      if (child === first && box) place.append(box, " ");
      place.append(content);
    }
  }
  return made;
}

/** @param {string} text @param {string} language */
export function codeBlock(text, language) {
  const name = beginning(language, 30) || "text";
  return h(
    "figure.code",
    {},
    h(
      "figcaption",
      {},
      h("bdi", {}, textNodes(name)),
      copyButton(() => text, "Copy code"),
    ),
    h("pre", { tabindex: 0, role: "region", "aria-label": `Code, ${name}` }, h("code", {}, longText(text))),
  );
}

/** @param {Block} block @param {Find} find */
function table({ lines, alignments }, find) {
  let filling = MOST_FILLING;
  const row = (/** @type {string} */ line, /** @type {string} */ tag) => {
    const found = cells(line).slice(0, alignments.length);
    while (found.length < alignments.length && filling-- > 0) found.push("");
    return h("tr", {}, ...found.map((text, i) => h(cellTag(tag, alignments[i], text), {}, inline(text, find))));
  };
  const [header, ...body] = lines;
  const rows = body.map((line) => row(line, "td"));
  const made = h("table", {}, h("thead", {}, row(header, "th")), rows.length > 0 && h("tbody", {}, together(rows)));
  return directed(h("div.table", { tabindex: 0, role: "region", "aria-label": "Table" }), [made]);
}

/** @param {string} tag @param {string} alignment @param {string} text */
function cellTag(tag, alignment, text) {
  return [tag, alignment, text.length > LONG_CELL && "long"].filter(Boolean).join(".");
}

/** One definition may serve thousands of links. @type {WeakMap<Target, {href: string | null, title: string}>} */
const LED = new WeakMap();

/** @param {Target} target @returns {{href: string | null, title: string}} where it leads, for the browser and for people */
function led(target) {
  const known = LED.get(target);
  if (known) return known;
  const href = safe(target.address);
  const parts = [href ?? target.address, target.title].filter(Boolean);
  const made = { href, title: parts.map((part) => visible(beginning(part, LONGEST_TITLE))).join("\n") };
  LED.set(target, made);
  return made;
}

/** @param {string} source @param {Find} find @returns {Node} */
function inline(source, find) {
  const text = trimmed(source);
  if (text.length > LONGEST) return longText(text);
  const content = new Content();
  for (const token of new InlineParser(text, find).tokens) content.add(token);
  return content.finished();
}

/** Elements within a paragraph, as one token after the other says. */
class Content {
  #fragment = document.createDocumentFragment();
  /** Where what comes goes, the innermost last. @type {(DocumentFragment | HTMLElement)[]} */ #open = [this.#fragment];
  /** Links cannot stand within each other. */
  #links = 0;
  /** @type {Target[]} of the brackets that are open and have one */ #targets = [];
  #text = "";

  /** @param {import("./markdown_inline.js").Token} token */
  add(token) {
    if (token.kind === "text") this.#text += token.text;
    else if (token.kind === "break") this.#append(h("br"));
    // A name in Latin letters must not decide how the text around it runs.
    else if (token.kind === "code") this.#append(h("code", { dir: "ltr" }, textNodes(token.text)));
    else if (token.kind === "math") this.#append(h("span.math", { dir: "ltr" }, textNodes(token.text)));
    else if (token.kind === "run") this.#run(token.run);
    else if (token.kind === "end") this.#endLink();
    else if (token.kind === "address") {
      this.#beginLink({ address: token.address, title: "" });
      this.#text += token.text;
      this.#endLink();
    } else if (token.target) this.#beginLink(token.target);
    else this.#text += token.text;
  }

  finished() {
    this.#append("");
    return this.#fragment;
  }

  get #last() {
    return this.#open[this.#open.length - 1];
  }

  /** @param {Node | string} node */
  #append(node) {
    if (this.#text) this.#last.append(textNodes(this.#text));
    this.#text = "";
    if (node) this.#last.append(node);
  }

  /** @param {HTMLElement} made */
  #begin(made) {
    this.#append(made);
    this.#open.push(made);
  }

  #end() {
    this.#append("");
    return /** @type {HTMLElement} */ (this.#open.pop());
  }

  /** @param {import("./markdown_emphasis.js").Run} run */
  #run({ mark, left, begins, ends }) {
    for (let i = 0; i < ends; i++) this.#end();
    this.#text += mark.repeat(left);
    for (const name of begins.reverse()) {
      if (this.#open.length < DEEPEST) this.#begin(h(name));
      else this.#open.push(/** @type {HTMLElement} */ (this.#last));
    }
  }

  /** @param {Target} target */
  #beginLink(target) {
    this.#targets.push(target);
    this.#links += 1;
    if (this.#links > 1) return;
    const { href, title } = led(target);
    this.#begin(
      href ? h("a", { href, target: "_blank", rel: "noopener noreferrer", title }) : h("span.unlinked", { title }),
    );
  }

  #endLink() {
    const { address } = /** @type {Target} */ (this.#targets.pop());
    this.#links -= 1;
    if (this.#links > 0) return;
    const made = this.#end();
    if (made.childNodes.length && (made.localName === "a" || made.textContent === address)) return;
    // Where it would have led is said, since nothing leads there; and a link without a text has to have one.
    const short = address.length > 80 ? `${beginning(address, 80)}…` : address;
    made.append(h("span.address", { dir: "ltr" }, textNodes(made.childNodes.length ? ` (${short})` : short)));
  }
}
