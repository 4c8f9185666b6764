/** Making elements. */

/**
 * @param {string} tag a tag name, with classes after dots: "button.quiet"
 * @param {Record<string, any>} [attributes] `onclick` and the like are listeners; false and undefined are left out
 * @param {...(Node | string | null | undefined | false)} children
 * @returns {any} the element
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const element = document.createElement(name);
  if (classes.length) element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value !== false && value !== undefined) element.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children) if (child) element.append(child);
  return element;
}

const SHAPES = {
  copy: "M5 5V2.5h8.5V11H11M2.5 5H11v8.5H2.5z",
  check: "M3 8.5 6.5 12 13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  stop: "M4.5 4.5h7v7h-7z",
  send: "M8 13V3M3.5 7.5 8 3l4.5 4.5",
  down: "M8 3v10M3.5 8.5 8 13l4.5-4.5",
  frames: "M2 3.5h12v9H2zM9 3.5v9M11 6.5h1.5M11 9.5h1.5",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6M8 1v1.5M8 13.5V15M1 8h1.5M13.5 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13.5 9.5A6 6 0 1 1 6.5 2.5a5 5 0 0 0 7 7z",
  auto: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2v12",
  again: "M13 8a5 5 0 1 1-1.5-3.5L13 6M13 2.5V6H9.5",
  edit: "M3 13l.7-2.8L10.5 3.4l2.1 2.1-6.8 6.8zM9 5l2 2",
  add: "M8 3v10M3 8h10",
  list: "M2.5 4h11M2.5 8h11M2.5 12h7",
  bin: "M3 4.5h10M6.5 4.5V2.8h3v1.7M4.5 4.5l.6 8.7h5.8l.6-8.7M7 7v4M9 7v4",
  clip: "M13 7.2 7.7 12.5a3.2 3.2 0 0 1-4.5-4.5l5.6-5.6a2.1 2.1 0 0 1 3 3L6.3 11a1 1 0 0 1-1.5-1.5l4.9-4.9",
  file: "M4 1.8h5l3 3v9.4H4zM9 1.8v3h3",
  save: "M8 2v8M4.5 6.7 8 10.2l3.5-3.5M3 13.5h10",
};

/** @param {keyof typeof SHAPES} name @returns {SVGElement} a line drawing that a screen reader passes over */
export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", SHAPES[name]);
  svg.append(path);
  return svg;
}

/**
 * A button that is only an icon.
 * @param {string} tag @param {keyof typeof SHAPES} shape @param {string} label @param {() => void} onclick
 */
export function iconButton(tag, shape, label, onclick) {
  return h(tag, { type: "button", "aria-label": label, title: label, onclick }, icon(shape));
}

/**
 * A button that copies, and says so.
 * @param {() => string} text
 * @param {string} label what is copied, for a screen reader
 * @param {string} [caption] written beside the icon
 */
export function copyButton(text, label, caption = "") {
  const button = h("button.copy", { type: "button", "aria-label": label, title: label }, icon("copy"), caption);
  button.addEventListener("click", async () => {
    await copy(text());
    button.focus();
    button.replaceChildren(icon("check"), caption && "Copied");
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      button.replaceChildren(icon("copy"), caption);
      button.setAttribute("aria-label", label);
    }, 1500);
  });
  return button;
}

/** @param {string} text */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Only secure pages have the clipboard; a console opened over a plain network address copies the old way.
  const area = h("textarea.visually-hidden", { "aria-hidden": true });
  area.value = text;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
