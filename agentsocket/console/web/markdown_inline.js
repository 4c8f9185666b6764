/**
 * Markdown within a paragraph, a heading or a cell, taken apart in one pass. However it is made, reading takes time in
 * proportion to its length: each search that ended in vain is remembered.
 *
 * @typedef {import("./markdown_links.js").Target} Target
 * @typedef {{text: string, kind: "text" | "code" | "math"} | {kind: "break" | "end"} | {kind: "run", run: Run}
 *   | {kind: "bracket", text: string, target: Target | null} | {kind: "address", text: string, address: string}} Token
 * @typedef {{token: Token & {kind: "bracket"}, index: number, from: number, picture: boolean, holdsAnother: boolean}} Opener
 */

import { decoded } from "./entities.js";
import { bareAddress, BEGINNING } from "./markdown_addresses.js";
import { Run, Runs } from "./markdown_emphasis.js";
import { match, normalised, readLabel, readTarget } from "./markdown_links.js";

const SPECIAL = new RegExp(`[\\\\\`*_~[\\]!<&$\\n]|${BEGINNING}`, "giu");
const PUNCTUATION = /[!-/:-@[-`{-~]/;
const ENTITY = /&(?:#x[0-9a-f]{1,6}|#[0-9]{1,7}|[a-z][a-z0-9]{1,31});/iy;
const AUTOLINK = /<([a-z][a-z0-9+.-]{1,31}:[^\s<>\p{Cc}]*)>/iuy;
const MAIL = /<([\w.!#$%&'*+/=?^`{|}~-]+@[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*)>/iy;
const TAG =
  /<(?:\/[a-z][a-z0-9-]*\s*|[a-z][a-z0-9-]*(?:\s+[a-z_:][\w.:-]*(?:\s*=\s*(?:[^\s"'=<>`]+|'[^']*'|"[^"]*"))?)*\s*\/?)>/iy;
const BREAK = /^<br\s*\/?>$/i;
/** HTML that is no tag, by its beginning, with its end. */
const DECLARATIONS = /** @type {[RegExp, string][]} */ ([
  [/<!--(?:-?>)?/y, "-->"],
  [/<\?/y, "?>"],
  [/<!\[CDATA\[/y, "]]>"],
  [/<![a-z]/iy, ">"],
]);
/** Formulas are shown as they were written, so that no mark of theirs is taken for emphasis or lost. */
const MATH = /** @type {Record<string, RegExp>} */ ({
  "\\": /\\\((?:[^\\]|\\[^()])*\\\)|\\\[(?:[^\\]|\\[^[\]])*\\\]/y,
  $: /\$\$[^$]+\$\$|\$(?=[^\s$])(?=[^\n$]*[\\^_{])[^\n$]*[^\s$]\$(?!\d)/y,
});

export class InlineParser {
  /** @type {Token[]} */ tokens = [];
  #text;
  #find;
  #at = 0;
  /** Where the text begins that is no token yet. */
  #from = 0;
  #runs = new Runs();
  /** @type {Opener[]} */ #openers = [];
  /** How many of the openers stand before a link: they cannot begin another around it. */
  #spent = 0;
  /** @type {Map<number, number[]> | null} */ #backticks = null;
  /** Ends that do not come any more. @type {Set<string>} */ #missing = new Set();

  /** @param {string} text @param {(label: string) => Target | undefined} find what a link's label stands for */
  constructor(text, find) {
    this.#text = text;
    this.#find = find;
    while (this.#next()) this.#read();
    this.#flush(text.length);
    this.#runs.pair(-1);
  }

  #next() {
    SPECIAL.lastIndex = this.#at;
    this.#at = SPECIAL.exec(this.#text)?.index ?? this.#text.length;
    return this.#at < this.#text.length;
  }

  #read() {
    const read = READERS[this.#text[this.#at]] ?? "address";
    const length = this[read]();
    if (length) this.#from = this.#at + length;
    this.#at += length || 1;
  }

  /** @param {number} end up to where there is text and nothing else */
  #flush(end) {
    if (end > this.#from) this.tokens.push({ kind: "text", text: this.#text.slice(this.#from, end) });
  }

  /** @template {Token} T @param {T} token @returns {T} */
  #push(token) {
    this.#flush(this.#at);
    this.tokens.push(token);
    return token;
  }

  /** Each of these reads what begins here, and returns its length; 0 if it is text. */
  lineEnd() {
    let end = this.#at;
    while (end > this.#from && " \t".includes(this.#text[end - 1])) end--;
    this.#flush(end);
    this.#from = this.#at;
    this.#push({ kind: "break" });
    return 1;
  }

  escape() {
    const formula = this.math();
    if (formula) return formula;
    const next = this.#text[this.#at + 1] ?? "";
    if (next === "\n") this.#push({ kind: "break" });
    else if (PUNCTUATION.test(next)) this.#push({ kind: "text", text: next });
    else return 0;
    return 2;
  }

  math() {
    const found = match(MATH[this.#text[this.#at]], this.#text, this.#at)?.[0];
    if (!found || !/[\p{L}\p{N}]/u.test(found)) return 0;
    this.#push({ kind: "math", text: found });
    return found.length;
  }

  code() {
    this.#backticks ??= backticks(this.#text);
    let length = 1;
    while (this.#text[this.#at + length] === "`") length++;
    // The places are in order, and so are the calls.
    const places = this.#backticks.get(length) ?? [];
    while (places.length && places[places.length - 1] <= this.#at) places.pop();
    const end = places.pop();
    if (end === undefined) {
      this.#at += length - 1;
      return 0;
    }
    const content = this.#text.slice(this.#at + length, end).replaceAll("\n", " ");
    const padded = content.startsWith(" ") && content.endsWith(" ") && content.trim();
    this.#push({ kind: "code", text: padded ? content.slice(1, -1) : content });
    return end + length - this.#at;
  }

  run() {
    this.#flush(this.#at);
    const run = new Run(this.#text, this.#at, this.tokens.length);
    this.tokens.push({ kind: "run", run });
    this.#runs.push(run);
    return run.length;
  }

  entity() {
    const found = match(ENTITY, this.#text, this.#at)?.[0];
    const text = found && decoded(found);
    if (!text) return 0;
    this.#push({ kind: "text", text });
    return found.length;
  }

  picture() {
    return this.#text[this.#at + 1] === "[" ? this.#open("![") : 0;
  }

  open() {
    return this.#open("[");
  }

  /** @param {string} text */
  #open(text) {
    const token = this.#push({ kind: /** @type {const} */ ("bracket"), text, target: /** @type {Target | null} */ (null) });
    const outer = this.#openers.at(-1);
    if (outer) outer.holdsAnother = true;
    const [index, from] = [this.tokens.length - 1, this.#at + text.length];
    this.#openers.push({ token, index, from, picture: text === "![", holdsAnother: false });
    return text.length;
  }

  close() {
    const opener = this.#openers.pop();
    const spent = this.#openers.length < this.#spent;
    this.#spent = Math.min(this.#spent, this.#openers.length);
    if (!opener || (spent && !opener.picture)) return 0;
    const after = this.#at + 1;
    const found = readTarget(this.#text, after) ?? this.#reference(opener, after);
    if (!found) return 0;
    opener.token.target = found.target;
    this.#push({ kind: "end" });
    this.#runs.pair(opener.index);
    if (!opener.picture) this.#spent = this.#openers.length;
    return found.end - this.#at;
  }

  /** @param {Opener} opener @param {number} at after its closing bracket */
  #reference({ from, holdsAnother }, at) {
    const label = readLabel(this.#text, at);
    const own = holdsAnother || this.#at - from > 999 ? "" : this.#text.slice(from, this.#at);
    const name = normalised(label?.label ?? own);
    const target = name && this.#find(name);
    const empty = this.#text.startsWith("[]", at) ? 2 : 0;
    return target ? { target, end: label?.end ?? at + empty } : null;
  }

  angle() {
    const link = match(AUTOLINK, this.#text, this.#at) ?? match(MAIL, this.#text, this.#at);
    if (link) {
      const address = link[0].includes(":") && AUTOLINK.lastIndex ? link[1] : `mailto:${link[1]}`;
      this.#push({ kind: "address", text: link[1], address });
      return link[0].length;
    }
    const tag = match(TAG, this.#text, this.#at)?.[0] ?? this.#declaration();
    // Marks within a tag are the tag's; a break is what agents mean with this one, mostly in a table.
    if (tag) this.#push(BREAK.test(tag) ? { kind: "break" } : { kind: "text", text: tag });
    return tag?.length ?? 0;
  }

  #declaration() {
    for (const [pattern, end] of DECLARATIONS) {
      const begun = match(pattern, this.#text, this.#at)?.[0];
      if (begun?.endsWith(">")) return begun;
      const found = begun ? this.#search(end, this.#at + begun.length) : -1;
      if (found >= 0) return this.#text.slice(this.#at, found + end.length);
    }
    return undefined;
  }

  /** @param {string} end @param {number} from */
  #search(end, from) {
    const found = this.#missing.has(end) ? -1 : this.#text.indexOf(end, from);
    if (found < 0) this.#missing.add(end);
    return found;
  }

  address() {
    const found = bareAddress(this.#text, this.#at, this.#openers.length > 0);
    if (!found) return 0;
    this.#push({ kind: "address", ...found });
    return found.text.length;
  }
}

/** @type {Record<string, "lineEnd" | "escape" | "math" | "code" | "run" | "entity" | "picture" | "open" | "close" | "angle">} */
const READERS = {
  ...{ "\n": "lineEnd", "\\": "escape", $: "math", "`": "code", "*": "run", _: "run", "~": "run", "&": "entity" },
  ...{ "!": "picture", "[": "open", "]": "close", "<": "angle" },
};

/** @param {string} text @returns {Map<number, number[]>} where runs of each length begin, the last first */
function backticks(text) {
  const places = new Map();
  for (const { 0: run, index } of [...text.matchAll(/`+/g)].reverse()) {
    if (!places.has(run.length)) places.set(run.length, []);
    places.get(run.length).push(index);
  }
  return places;
}
