/** Text from an agent or a tool, as text and nothing else: no character in it can hide, reorder or break the page. */

import { h } from "./dom.js";

/** Text beyond this many characters is shown on demand. */
const SHORT = 20_000;

// C0 and C1 controls but tab and newline; what reorders text; what takes no room. Joiners stay: emoji and scripts need them.
// eslint-disable-next-line no-control-regex
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|[\u{e0000}-\u{e007f}]/gu;

const SEGMENTER = new Intl.Segmenter();
const HIDDEN_RUN = new RegExp(`(?:${HIDDEN.source})+`, "gu");

const CONTROLS = (
  "NUL SOH STX ETX EOT ENQ ACK BEL BS HT LF VT FF CR SO SI " +
  "DLE DC1 DC2 DC3 DC4 NAK SYN ETB CAN EM SUB ESC FS GS RS US"
).split(" ");

/** @param {string} text @returns {string} the same with a visible sign for each character that has none */
export function visible(text) {
  return text.replaceAll("\r\n", "\n").replace(HIDDEN, sign);
}

/** @param {string} character */
function sign(character) {
  const code = /** @type {number} */ (character.codePointAt(0));
  if (code < 0x20) return `⟨${CONTROLS[code]}⟩`;
  return `⟨U+${code.toString(16).toUpperCase().padStart(4, "0")}⟩`;
}

/** @param {string} text @returns {Node} the text, with what is made visible set apart */
export function textNodes(text) {
  const plain = text.includes("\r") ? text.replaceAll("\r\n", "\n") : text;
  if (plain.search(HIDDEN) < 0) return document.createTextNode(plain);
  const fragment = document.createDocumentFragment();
  let from = 0;
  for (const { 0: run, index } of plain.matchAll(HIDDEN_RUN)) {
    if (index > from) fragment.append(plain.slice(from, index));
    fragment.append(h("span.control", {}, run.replace(HIDDEN, sign)));
    from = index + run.length;
  }
  fragment.append(plain.slice(from));
  return fragment;
}

/** @param {string} text @param {number} length @returns {string} so many characters of it at most; none is cut in two */
export function beginning(text, length) {
  return text.slice(0, cut(text, length));
}

/** @param {string} text @param {number} at @returns {number} the same place, or the one before the character around it */
function cut(text, at) {
  if (at >= text.length) return text.length;
  // An emoji may have a dozen parts; what has more is none, and is cut.
  const from = Math.max(0, at - 40);
  const { index } = SEGMENTER.segment(text.slice(from, at + 1)).containing(at - from);
  return index ? from + index : at;
}

/**
 * Text of any length: what is too long for a page to lay out at once waits behind a button.
 * @param {string} text
 * @returns {Node}
 */
export function longText(text) {
  if (text.length <= SHORT) return textNodes(text);
  const shown = cut(text, SHORT);
  const fragment = document.createDocumentFragment();
  const next = cut(text, SHORT * 6);
  const more = h(
    "button.more",
    { type: "button" },
    `Show ${(next - shown).toLocaleString("en")} of ${(text.length - shown).toLocaleString("en")} more characters`,
  );
  more.addEventListener("click", () => {
    const rest = text.slice(next);
    more.replaceWith(textNodes(text.slice(shown, next)), ...(rest ? [longText(rest)] : []));
  });
  fragment.append(textNodes(text.slice(0, shown)), more);
  return fragment;
}

/** @param {unknown} value @returns {string} a string as it is, anything else as JSON over several lines */
export function pretty(value) {
  return typeof value === "string" ? value : (JSON.stringify(value, null, 2) ?? "");
}

/** @param {number} ms @returns {string} */
export function duration(ms) {
  if (ms < 1) return "< 1 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
}

/** @param {number} bytes @returns {string} */
export function byteSize(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} kB`;
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`;
}

/** @param {number} time in milliseconds since 1970 @returns {string} local time of day */
export function clock(time, withMs = false) {
  const date = new Date(time);
  const text = date.toTimeString().slice(0, 8);
  return withMs ? `${text}.${String(date.getMilliseconds()).padStart(3, "0")}` : text.slice(0, 5);
}
