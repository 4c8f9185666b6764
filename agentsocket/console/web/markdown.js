/**
 * A small Markdown, made into elements one by one: no HTML is ever parsed, nothing is loaded, and a link leads only to
 * http, https or mailto. What is not understood stays text.
 */

import { copyButton, h } from "./dom.js";
import { inline } from "./markdown_inline.js";
import { longText, textNodes } from "./plain_text.js";

const DEEPEST = 6;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`]*)$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(?:\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])\s+/;
const TABLE_RULE = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/** @param {string} text @returns {DocumentFragment} */
export function markdown(text) {
  return blocks(text.replaceAll("\r\n", "\n").split("\n"), 0);
}

/** @param {string[]} lines @param {number} depth @returns {DocumentFragment} */
function blocks(lines, depth) {
  const fragment = document.createDocumentFragment();
  let at = 0;
  while (at < lines.length) {
    const [node, next] = block(lines, at, depth);
    if (node) fragment.append(node);
    at = next;
  }
  return fragment;
}

/** @param {string[]} lines @param {number} at @param {number} depth @returns {[Node | null, number]} and the line after */
function block(lines, at, depth) {
  const line = lines[at];
  if (!line.trim()) return [null, at + 1];
  const fence = FENCE.exec(line);
  if (fence) return code(lines, at, fence);
  const heading = HEADING.exec(line);
  // The page has its own first two levels.
  if (heading) return [h(`h${Math.min(6, heading[1].length + 2)}`, {}, inline(heading[2])), at + 1];
  if (RULE.test(line)) return [h("hr"), at + 1];
  if (depth < DEEPEST && QUOTE.test(line)) return quote(lines, at, depth);
  if (depth < DEEPEST && ITEM.test(line)) return list(lines, at, depth);
  if (startsTable(lines, at)) return table(lines, at);
  return paragraph(lines, at, depth);
}

/** @param {string[]} lines @param {number} at @param {(line: string, at: number) => boolean} test */
function endOf(lines, at, test) {
  let end = at;
  while (end < lines.length && test(lines[end], end)) end++;
  return end;
}

/** @param {string[]} lines @param {number} at @param {RegExpExecArray} fence @returns {[Node, number]} */
function code(lines, at, [, marks, info]) {
  const end = endOf(lines, at + 1, (line) => !closes(line, marks));
  return [codeBlock(lines.slice(at + 1, end).join("\n"), info.trim().split(/\s/)[0]), end + 1];
}

/** @param {string} line @param {string} marks */
function closes(line, marks) {
  return line.trim().startsWith(marks) && !line.trim().replaceAll(marks[0], "");
}

/** @param {string} text @param {string} language */
export function codeBlock(text, language) {
  const name = language.slice(0, 30) || "text";
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

/** @param {string[]} lines @param {number} at @param {number} depth @returns {[Node, number]} */
function quote(lines, at, depth) {
  const end = endOf(lines, at, (line) => QUOTE.test(line));
  return [
    h(
      "blockquote",
      {},
      blocks(
        lines.slice(at, end).map((line) => line.replace(QUOTE, "")),
        depth + 1,
      ),
    ),
    end,
  ];
}

/** @param {string[]} lines @param {number} at @param {number} depth @returns {[Node, number]} */
function list(lines, at, depth) {
  const first = /** @type {RegExpExecArray} */ (ITEM.exec(lines[at]));
  const ordered = /\d/.test(first[2]);
  const items = [];
  while (at < lines.length) {
    const start = ITEM.exec(lines[at]);
    if (!start || /\d/.test(start[2]) !== ordered || RULE.test(lines[at])) break;
    const width = start[0].length;
    const end = endOf(lines, at + 1, (line, i) => belongs(lines, line, i));
    const own = [lines[at].slice(width), ...lines.slice(at + 1, end).map((line) => dedent(line, width))];
    items.push(item(own, depth));
    at = end;
  }
  const start = ordered ? Number.parseInt(first[2], 10) : 1;
  return [ordered ? h("ol", start === 1 ? {} : { start }, ...items) : h("ul", {}, ...items), at];
}

/** @param {string[]} lines of an item @param {number} depth */
function item(lines, depth) {
  const simple = lines.every((line) => line.trim() && !ITEM.test(line) && !FENCE.test(line) && !QUOTE.test(line));
  return h("li", {}, simple ? inline(lines.join("\n")) : blocks(lines, depth + 1));
}

/** A line belongs to the list item before it if it is indented, blank before an indented one, or goes on with a text. */
function belongs(/** @type {string[]} */ lines, /** @type {string} */ line, /** @type {number} */ at) {
  if (/^(\t| {2,})/.test(line)) return true;
  if (!line.trim()) return /^(\t| {2,})\S/.test(lines[at + 1] ?? "");
  return lines[at - 1].trim() !== "" && !startsBlock(line);
}

/** @param {string} line @param {number} width */
function dedent(line, width) {
  const expanded = line.replace(/^\t/, "    ");
  return expanded.slice(Math.min(width, expanded.length - expanded.trimStart().length));
}

/** @param {string} line */
function startsBlock(line) {
  return [FENCE, HEADING, RULE, QUOTE, ITEM].some((pattern) => pattern.test(line));
}

/** @param {string[]} lines @param {number} at */
function startsTable(lines, at) {
  const rule = lines[at + 1];
  return lines[at].includes("|") && rule?.includes("-") && rule.length < 1000 && TABLE_RULE.test(rule);
}

/** @param {string[]} lines @param {number} at @returns {[Node, number]} */
function table(lines, at) {
  const end = endOf(lines, at + 2, (line) => line.includes("|"));
  const row = (/** @type {string} */ line, /** @type {string} */ tag) =>
    h("tr", {}, ...cells(line).map((cell) => h(tag, {}, inline(cell))));
  return [
    h(
      "div.table",
      { tabindex: 0, role: "region", "aria-label": "Table" },
      h(
        "table",
        {},
        h("thead", {}, row(lines[at], "th")),
        h("tbody", {}, ...lines.slice(at + 2, end).map((line) => row(line, "td"))),
      ),
    ),
    end,
  ];
}

/** @param {string} line */
function cells(line) {
  return line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "")
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim());
}

/** @param {string[]} lines @param {number} at @param {number} depth @returns {[Node, number]} */
function paragraph(lines, at, depth) {
  const ends = (/** @type {string} */ line, /** @type {number} */ i) =>
    !line.trim() ||
    startsTable(lines, i) ||
    (startsBlock(line) && !(depth >= DEEPEST && (QUOTE.test(line) || ITEM.test(line))));
  const end = endOf(lines, at + 1, (line, i) => !ends(line, i));
  return [h("p", {}, inline(lines.slice(at, end).join("\n"))), end];
}

/** Markdown that comes piece by piece: what is settled stays as it is, and only the last block is made anew. */
export class MarkdownStream {
  #tail = "";
  #live = h("div.tail");
  #scheduled = false;
  #cost = 0;

  text = "";
  element = h("div.markdown", {}, this.#live);

  /** @param {string} piece */
  write(piece) {
    this.text += piece;
    this.#tail += piece;
    if (!this.#scheduled) this.#schedule();
  }

  #schedule() {
    this.#scheduled = true;
    const draw = () => {
      const began = performance.now();
      this.#draw();
      this.#scheduled = false;
      this.#cost = performance.now() - began;
    };
    // A long block takes long to make: a tenth of the time is what drawing may have.
    setTimeout(() => requestAnimationFrame(draw), this.#cost * 9);
  }

  #draw() {
    const end = settledUpTo(this.#tail);
    if (end) this.#live.before(markdown(this.#tail.slice(0, end)));
    this.#tail = this.#tail.slice(end);
    this.#live.replaceChildren(markdown(this.#tail));
  }
}

/** @param {string} text @returns {number} up to where no later piece can change what the text means */
function settledUpTo(text) {
  let fence = "";
  let settled = 0;
  let at = 0;
  let blank = false;
  for (const line of text.split("\n").slice(0, -1)) {
    const mark = FENCE.exec(line)?.[1] ?? "";
    if (!fence && blank && line.trim() && !/^\s/.test(line) && !ITEM.test(line)) settled = at;
    if (fence) fence = closes(line, fence) ? "" : fence;
    else fence = mark;
    blank = !fence && !line.trim();
    at += line.length + 1;
  }
  return settled;
}
