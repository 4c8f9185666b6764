/** Markdown within a line: code, emphasis, links. */

import { h } from "./dom.js";
import { longText, textNodes, visible } from "./plain_text.js";

/** A longer text is shown as it is: nobody writes it by hand, and reading it takes too long. */
const LONGEST = 20_000;
const DEEPEST = 8;
const SCHEMES = new Set(["http:", "https:", "mailto:"]);
/** @type {Record<string, string>} */
const MARKS = { "**": "strong", __: "strong", "*": "em", _: "em", "~~": "del" };
const SPECIAL = /[\\`*_~[\n!]|\bhttps?:\/\//g;
const ADDRESS = /^https?:\/\/[^\s<>"'`]{1,2000}/;
const LINK =
  /^\[((?:\\.|[^[\]\\]){0,1000})\]\(\s*<?([^\s()<>]{0,2000}(?:\([^\s()<>]{0,500}\)[^\s()<>]{0,500})?)>?(?:\s+["'][^"']{0,500}["'])?\s*\)/;

/** @param {string} text @param {number} [depth] @returns {DocumentFragment} */
export function inline(text, depth = 0) {
  if (text.length > LONGEST) return longText(text);
  const fragment = document.createDocumentFragment();
  const unclosed = new Set();
  let from = 0;
  let at = 0;
  while ((at = nextSpecial(text, at)) < text.length) {
    const [node, length] = token(text, at, depth, unclosed);
    if (node) {
      fragment.append(textNodes(text.slice(from, at)), node);
      from = at + length;
    }
    at += length;
  }
  fragment.append(textNodes(text.slice(from)));
  return fragment;
}

/** @param {string} text @param {number} from */
function nextSpecial(text, from) {
  SPECIAL.lastIndex = from;
  return SPECIAL.exec(text)?.index ?? text.length;
}

/**
 * @param {string} text @param {number} at @param {number} depth @param {Set<string>} unclosed marks without an end
 * @returns {[Node | null, number]} what stands there, or null for plain text, and its length
 */
function token(text, at, depth, unclosed) {
  const first = text[at];
  if (first === "\n") return [h("br"), 1];
  if (first === "\\")
    return /[!-/:-@[-`{-~]/.test(text[at + 1] ?? "") ? [document.createTextNode(text[at + 1]), 2] : [null, 1];
  if (first === "`") return codeSpan(text, at, unclosed);
  if (first === "h") return address(text, at);
  if (first === "[" || first === "!") return link(text, at, depth);
  return depth < DEEPEST ? emphasis(text, at, depth, unclosed) : [null, 1];
}

/** @param {string} text @param {number} at @param {Set<string>} unclosed @returns {[Node | null, number]} */
function codeSpan(text, at, unclosed) {
  const marks = /** @type {RegExpExecArray} */ (/^`+/.exec(text.slice(at, at + 100)))[0];
  const end = unclosed.has(marks) ? -1 : text.indexOf(marks, at + marks.length);
  if (end < 0) {
    unclosed.add(marks);
    return [null, marks.length];
  }
  const content = text.slice(at + marks.length, end).replace(/^ (.+) $/, "$1");
  return [h("code", {}, textNodes(content)), end + marks.length - at];
}

/** @param {string} text @param {number} at @param {number} depth @param {Set<string>} unclosed @returns {[Node | null, number]} */
function emphasis(text, at, depth, unclosed) {
  const mark = [text.slice(at, at + 2), text[at]].find((candidate) => candidate in MARKS);
  if (!mark) return [null, 1];
  const end = unclosed.has(mark) || !opens(text, at, mark) ? -1 : closing(text, at + mark.length, mark);
  if (end < 0) {
    if (opens(text, at, mark)) unclosed.add(mark);
    return [null, mark.length];
  }
  return [h(MARKS[mark], {}, inline(text.slice(at + mark.length, end), depth + 1)), end + mark.length - at];
}

/** @param {string} text @param {number} at @param {string} mark */
function opens(text, at, mark) {
  const next = text[at + mark.length] ?? " ";
  const within = /\w/.test(text[at - 1] ?? "");
  // snake_case and 2*3*4 mean no emphasis.
  return !/\s/.test(next) && !(within && (mark[0] === "_" || (mark === "*" && /\w/.test(next))));
}

/** @param {string} text @param {number} from @param {string} mark @returns {number} */
function closing(text, from, mark) {
  for (let end = text.indexOf(mark, from + 1); end >= 0; end = text.indexOf(mark, end + mark.length)) {
    const after = text[end + mark.length] ?? "";
    if (mark.length === 1 && after === mark) end += 1;
    else if (!/[\s\\]/.test(text[end - 1]) && !(mark[0] === "_" && /\w/.test(after))) return end;
  }
  return -1;
}

/** @param {string} text @param {number} at @param {number} depth @returns {[Node | null, number]} */
function link(text, at, depth) {
  const image = text[at] === "!" ? 1 : 0;
  const found = LINK.exec(text.slice(at + image, at + image + 4000));
  if (!found || depth >= DEEPEST) return [null, 1];
  const target = safe(found[2]);
  // An image is a link too: the page loads nothing that an agent names.
  return target ? [anchor(target, inline(found[1] || target, DEEPEST)), found[0].length + image] : [null, 1];
}

/** @param {string} text @param {number} at @returns {[Node | null, number]} */
function address(text, at) {
  const found = ADDRESS.exec(text.slice(at, at + 2010))?.[0].replace(/[.,:;!?*_~)\]}]+$/, "");
  const target = found && safe(found);
  return target && found ? [anchor(target, textNodes(found)), found.length] : [null, 4];
}

/** @param {string} target @returns {string | null} an absolute address of a harmless kind */
export function safe(target) {
  const url = URL.canParse(target) ? new URL(target) : null;
  return url && SCHEMES.has(url.protocol) ? url.href : null;
}

/** @param {string} href @param {Node} content */
function anchor(href, content) {
  return h("a", { href, target: "_blank", rel: "noopener noreferrer", title: visible(href) }, content);
}
