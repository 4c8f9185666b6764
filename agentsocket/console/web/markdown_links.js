/**
 * What a link consists of in Markdown's source, and where it may lead.
 *
 * @typedef {{address: string, title: string}} Target as the text names it, escapes resolved
 */

import { decoded } from "./entities.js";

const SCHEMES = new Set(["http:", "https:", "mailto:"]);
/** Of an address that is led to. */
const LONGEST = 8000;
const LABEL = /\[((?:[^\\[\]]|\\[^]){1,999})\]/y;
const POINTED = /<((?:[^<>\\\n]|\\.)*)>/y;
const SPACE = /[ \t]*(?:\n[ \t]*)?/y;
const LINE_END = /[ \t]*(?:\n|$)/y;
const ESCAPED = /\\([!-/:-@[-`{-~])|&#?\w{1,32};/g;
/** @type {Record<string, RegExp>} */
const TITLES = {
  '"': /"((?:[^"\\]|\\[^])*)"/y,
  "'": /'((?:[^'\\]|\\[^])*)'/y,
  "(": /\(((?:[^()\\]|\\[^])*)\)/y,
};
/** Parentheses within each other in an address; the search for their end must not go through all the text. */
const MOST_PARENTHESES = 32;

/** @param {string} text @returns {string} with what escapes and entities stand for */
export function unescaped(text) {
  return text.replace(ESCAPED, (whole, character) => character ?? decoded(whole) ?? whole);
}

/** @param {string} text @param {number} at @returns {{label: string, end: number} | null} "[label]", in its own words */
export function readLabel(text, at) {
  const found = match(LABEL, text, at);
  return found?.[1].trim() ? { label: found[1], end: at + found[0].length } : null;
}

/** @param {string} label @returns {string} the same for every way to write it */
export function normalised(label) {
  return label.trim().replace(/\s+/g, " ").toLowerCase().toUpperCase();
}

/** @param {string} text @param {number} at @returns {{target: Target, end: number} | null} "(address "title")" */
export function readTarget(text, at) {
  if (text[at] !== "(") return null;
  const from = afterSpace(text, at + 1);
  const address = readAddress(text, from) ?? { address: "", end: from };
  const gap = afterSpace(text, address.end);
  const title = gap > address.end ? readTitle(text, gap) : null;
  const end = title ? afterSpace(text, title.end) : gap;
  return text[end] === ")" ? target(address.address, title?.title ?? "", end + 1) : null;
}

/**
 * @param {string} text @param {number} at
 * @returns {{label: string, target: Target, end: number} | null} "[label]: address "title"", and where the next line begins
 */
export function readDefinition(text, at) {
  const label = readLabel(text, at);
  if (!label || text[label.end] !== ":") return null;
  const address = readAddress(text, afterSpace(text, label.end + 1));
  if (!address) return null;
  const gap = afterSpace(text, address.end);
  const title = gap > address.end ? readTitle(text, gap) : null;
  const whole = title && lineEnd(text, title.end);
  // A title that does not end its line is none: it is the text after a definition, if it has a line of its own.
  const end = whole ?? lineEnd(text, address.end);
  if (end === null) return null;
  return { label: normalised(label.label), ...target(address.address, (whole !== null && title?.title) || "", end) };
}

/** @param {string} address @param {string} title @param {number} end */
function target(address, title, end) {
  return { target: { address: unescaped(address), title: unescaped(title) }, end };
}

/** @param {string} text @param {number} at @returns {{address: string, end: number} | null} */
function readAddress(text, at) {
  if (text[at] === "<") {
    const found = match(POINTED, text, at);
    return found && { address: found[1], end: at + found[0].length };
  }
  let open = 0;
  let end = at;
  // Neither spaces nor control characters.
  for (; text[end] > " " && text[end] !== "\x7f"; end++) {
    if (text[end] === "\\" && /[!-/:-@[-`{-~]/.test(text[end + 1] ?? "")) end++;
    else if (text[end] === "(" && ++open > MOST_PARENTHESES) return null;
    else if (text[end] === ")" && --open < 0) break;
  }
  return end > at && open <= 0 ? { address: text.slice(at, end), end } : null;
}

/** @param {string} text @param {number} at @returns {{title: string, end: number} | null} */
function readTitle(text, at) {
  const found = TITLES[text[at]] && match(TITLES[text[at]], text, at);
  return found ? { title: found[1], end: at + found[0].length } : null;
}

/** @param {string} text @param {number} at */
function afterSpace(text, at) {
  return at + (match(SPACE, text, at)?.[0].length ?? 0);
}

/** @param {string} text @param {number} at @returns {number | null} */
function lineEnd(text, at) {
  const found = match(LINE_END, text, at);
  return found && at + found[0].length;
}

/** @param {RegExp} pattern a sticky one @param {string} text @param {number} at */
export function match(pattern, text, at) {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** @param {string} address @returns {string | null} the same in full, if it is absolute and of a harmless kind */
export function safe(address) {
  const url = address.length <= LONGEST && URL.canParse(address) ? new URL(address) : null;
  return url && SCHEMES.has(url.protocol) ? url.href : null;
}
