/**
 * Markdown taken apart into blocks, line by line, by the rules of CommonMark and of GitHub's tables. HTML is no block
 * here: it is text like any other.
 *
 * @typedef {import("./markdown_links.js").Target} Target
 * @typedef {object} Block
 * @property {"root" | "quote" | "list" | "item" | "paragraph" | "heading" | "code" | "rule" | "table" | "definitions"} type
 * @property {number} start where the outermost block around it begins in the text
 * @property {number} first the number of its first line
 * @property {number} last the number of its last line that is not blank
 * @property {Block[]} children
 * @property {string[]} lines
 * @property {number} level of a heading
 * @property {string} info what stands beside a fence
 * @property {string} fence its marks; "" for code that is set apart by its indentation
 * @property {number} indent columns that the lines of an item or a fenced code are set in
 * @property {boolean} closed whether the fence is closed
 * @property {string} kind of a list: its bullet, or what stands after the number
 * @property {string} number of the first item, "" without
 * @property {string[]} alignments of a table's columns
 */

import { Line } from "./markdown_line.js";
import { readDefinition, unescaped } from "./markdown_links.js";
import { alignments, trimmed } from "./markdown_table.js";

/** Quotes and items within each other; deeper ones are text. A narrow screen has no room for more. */
const DEEPEST = 10;
/** What begins a block, but for a paragraph. */
const MARK = /^[#>*_+=`~|:\-\d]/;
const HEADING = /^(#{1,6})(?:[ \t]|$)/;
const FENCE = /^(?:(`{3,})([^`]*)|(~{3,})(.*))$/;
const UNDERLINE = /^(?:=+|-+)[ \t]*$/;
const RULE = /^(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$/;
const ITEM = /^(?:[-+*]|(\d{1,9})[.)])(?=[ \t]|$)/;
/** While a text comes piece by piece, this may become anything: a heading that turns into a list would leap. */
const UNDECIDED = /^(?:[-+*=]|\d{1,9}[.)])[ \t]*$/;

/** @type {Record<string, (block: Block, line: Line) => boolean>} whether the line goes on with the block; takes its part */
const GOES_ON = {
  list: () => true,
  paragraph: (_, line) => !line.blank,
  table: (_, line) => !line.blank,
  quote: (_, line) => line.indent < 4 && takeQuoteMark(line),
  item(block, line) {
    if (line.blank ? !block.children.length : line.indent < block.indent) return false;
    line.skip(block.indent);
    return true;
  },
  code(block, line) {
    if (!block.fence && !line.blank && line.indent < 4) return false;
    block.closed = block.fence !== "" && line.indent < 4 && closes(line.content, block.fence);
    line.skip(block.fence ? block.indent : 4);
    return true;
  },
};

/** @param {string} text */
export function parse(text) {
  const parser = new BlockParser();
  const end = /\r\n?|\n/g;
  let start = 0;
  for (let found = end.exec(text); found; found = end.exec(text)) {
    parser.line(text.slice(start, found.index), start);
    start = end.lastIndex;
  }
  // No later line changes a block that another one has followed, nor a definition that has been read.
  const last = parser.root.children.at(-1)?.start ?? 0;
  const settled = {
    upTo: last,
    count: parser.root.children.filter((block) => block.start < last).length,
    definitions: new Map(parser.definitions),
  };
  if (start < text.length) parser.line(text.slice(start), start, false);
  parser.end();
  return { blocks: parser.root.children, definitions: parser.definitions, settled };
}

class BlockParser {
  root = newBlock("root", 0, 0);
  /** @type {Map<string, Target>} */ definitions = new Map();
  /** The blocks that are open, each within the one before. */
  #path = [this.root];
  #number = 0;
  #start = 0;

  get #tip() {
    return this.#path[this.#path.length - 1];
  }

  /** @param {string} text @param {number} start @param {boolean} [ended] false if more of it may come */
  line(text, start, ended = true) {
    const line = new Line(text, ended);
    this.#number += 1;
    this.#start = start;
    let matched = 1;
    while (matched < this.#path.length && GOES_ON[this.#path[matched].type]?.(this.#path[matched], line)) matched++;
    const lazy = matched < this.#path.length && this.#tip.type === "paragraph" && !line.blank;
    const inCode = matched === this.#path.length && this.#tip.type === "code";
    const open = inCode ? matched : this.#begin(line, matched);
    if (open) this.#continue(line, lazy && open === matched ? this.#path.length : open);
    this.#touch(line);
  }

  end() {
    this.#closeTo(1);
  }

  /**
   * Open the blocks that begin on the line.
   * @param {Line} line @param {number} matched how many open blocks it goes on with
   * @returns {number} how many what is left of it goes on with, 0 if nothing is left
   */
  #begin(line, matched) {
    while (!line.blank) {
      const goesOn = this.#path[matched - 1];
      const indented = line.indent >= 4;
      if (indented ? this.#tip.type === "paragraph" : !MARK.test(line.content)) break;
      if (indented ? this.#indentedCode(line, matched) : this.#leaf(line, goesOn, matched)) return 0;
      if (!this.#container(line, goesOn, matched)) break;
      matched = this.#path.length;
    }
    return matched;
  }

  /** @param {Line} line @param {Block} goesOn @param {number} matched @returns {boolean} whether one began */
  #container(line, goesOn, matched) {
    const around = this.#path.slice(0, matched).filter(({ type }) => type === "quote" || type === "item");
    if (around.length >= DEEPEST) return false;
    if (takeQuoteMark(line)) {
      this.#open("quote", matched);
      return true;
    }
    const { content } = line;
    const mark = RULE.test(content) || (!line.ended && UNDECIDED.test(content)) ? null : ITEM.exec(content);
    if (!mark) return false;
    const empty = !trimmed(content.slice(mark[0].length));
    if (goesOn.type === "paragraph" && (empty || (mark[1] && Number(mark[1]) !== 1))) return false;
    this.#item(line, mark, empty, matched);
    return true;
  }

  /** @param {Line} line @param {RegExpExecArray} mark @param {boolean} empty @param {number} matched */
  #item(line, [mark, number = ""], empty, matched) {
    const { indent } = line;
    line.take(mark.length);
    const space = empty || line.indent > 4 ? 1 : line.indent;
    line.skip(space);
    this.#closeTo(matched);
    const kind = mark.at(-1) ?? "";
    if (this.#tip.type !== "list" || this.#tip.kind !== kind) this.#open("list", this.#path.length, { kind, number });
    this.#open("item", this.#path.length, { indent: indent + mark.length + space });
  }

  /** @param {Line} line @param {Block} goesOn @param {number} matched @returns {boolean} whether one began */
  #leaf(line, goesOn, matched) {
    const { content } = line;
    const inParagraph = goesOn.type === "paragraph";
    if (inParagraph && isUnderline(line) && this.#underline(goesOn, content)) return true;
    const columns = inParagraph ? alignments(goesOn.lines.at(-1) ?? "", content) : null;
    if (columns) return this.#table(goesOn, columns);
    const heading = HEADING.exec(content);
    if (heading) return this.#only("heading", matched, { level: heading[1].length, lines: [headingText(content)] });
    if (RULE.test(content)) return this.#only("rule", matched);
    const fence = FENCE.exec(content);
    if (!fence) return false;
    const info = unescaped(trimmed(fence[2] ?? fence[4]));
    this.#open("code", matched, { fence: fence[1] ?? fence[3], info, indent: line.indent });
    return true;
  }

  /** @param {Line} line @param {number} matched @returns {true} */
  #indentedCode(line, matched) {
    line.skip(4);
    this.#open("code", matched, { lines: [line.rest] });
    return true;
  }

  /** A block of one line. @param {Block["type"]} type @param {number} matched @param {Partial<Block>} [more] @returns {true} */
  #only(type, matched, more) {
    this.#open(type, matched, more);
    this.#path.pop();
    return true;
  }

  /** @param {Block} paragraph becomes a heading, unless nothing but definitions stands in it @param {string} mark */
  #underline(paragraph, mark) {
    this.#readDefinitions(paragraph);
    if (!paragraph.lines.length) return false;
    Object.assign(paragraph, { type: "heading", level: mark[0] === "=" ? 1 : 2, last: this.#number });
    this.#path.pop();
    return true;
  }

  /** @param {Block} paragraph whose last line is the table's first @param {string[]} columns @returns {true} */
  #table(paragraph, columns) {
    const header = /** @type {string} */ (paragraph.lines.pop());
    const parent = this.#path[this.#path.length - 2];
    if (!paragraph.lines.length) parent.children.pop();
    paragraph.last -= 1;
    this.#open("table", this.#path.length, { alignments: columns, lines: [header], first: this.#number - 1 });
    // What a line means depends on the paragraph it stood in: the two are settled together.
    this.#tip.start = paragraph.start;
    return true;
  }

  /** @param {Line} line @param {number} goesOn how many open blocks go on */
  #continue(line, goesOn) {
    this.#closeTo(goesOn);
    if (this.#tip.type === "code") {
      if (this.#tip.closed) this.#path.pop();
      else this.#tip.lines.push(line.rest);
    } else if (!line.blank) {
      if (this.#tip.type !== "paragraph" && this.#tip.type !== "table") this.#open("paragraph", this.#path.length);
      this.#tip.lines.push(line.content);
    }
  }

  /** @param {Block["type"]} type @param {number} within how many open blocks stay open @param {Partial<Block>} [more] */
  #open(type, within, more) {
    this.#closeTo(within);
    while (!mayHold(this.#tip.type, type)) this.#closeTo(this.#path.length - 1);
    const start = this.#path.length > 1 ? this.#path[1].start : this.#start;
    const block = Object.assign(newBlock(type, start, this.#number), more);
    this.#tip.children.push(block);
    this.#path.push(block);
  }

  /** @param {number} length */
  #closeTo(length) {
    while (this.#path.length > length) {
      const block = /** @type {Block} */ (this.#path.pop());
      if (block.type === "paragraph") this.#readDefinitions(block);
      if (block.type === "paragraph" && !block.lines.length) block.type = "definitions";
      if (block.type === "code" && !block.fence) while (!block.lines.at(-1)?.trim()) block.lines.pop();
    }
  }

  /** @param {Block} paragraph */
  #readDefinitions(paragraph) {
    const text = paragraph.lines.join("\n");
    let at = 0;
    while (text[at] === "[") {
      const found = readDefinition(text, at);
      if (!found) break;
      if (!this.definitions.has(found.label)) this.definitions.set(found.label, found.target);
      at = found.end;
    }
    if (at) paragraph.lines = at < text.length ? text.slice(at).split("\n") : [];
  }

  /** A blank line belongs to a quote with a mark on it, to an item that begins with it, to code in a fence. @param {Line} line */
  #touch(line) {
    const fenced = this.#tip.type === "code" && this.#tip.fence;
    const end = line.blank && !fenced ? this.#path.findLastIndex((block) => this.#marked(block)) + 1 : this.#path.length;
    for (const block of this.#path.slice(0, end)) block.last = this.#number;
  }

  /** @param {Block} block */
  #marked({ type, first }) {
    return type === "quote" || (type === "item" && first === this.#number);
  }
}

/** @param {Block["type"]} type @param {number} start @param {number} number @returns {Block} */
function newBlock(type, start, number) {
  return {
    type,
    start,
    first: number,
    last: number,
    children: [],
    lines: [],
    level: 0,
    info: "",
    fence: "",
    indent: 0,
    closed: false,
    kind: "",
    number: "",
    alignments: [],
  };
}

/** @param {Block["type"]} outer @param {Block["type"]} inner */
function mayHold(outer, inner) {
  return outer === "list" ? inner === "item" : outer === "root" || outer === "quote" || outer === "item";
}

/** @param {Line} line @returns {boolean} */
function takeQuoteMark(line) {
  if (line.content[0] !== ">") return false;
  line.take(1);
  line.skip(1);
  return true;
}

/** @param {Line} line */
function isUnderline(line) {
  return UNDERLINE.test(line.content) && (line.ended || !UNDECIDED.test(line.content));
}

/** @param {string} content @param {string} fence */
function closes(content, fence) {
  return content.startsWith(fence) && !trimmed(content).replaceAll(fence[0], "");
}

/** @param {string} content @returns {string} without the marks before it, and those that stand apart after it */
function headingText(content) {
  const text = trimmed(content.replace(/^#+/, ""));
  let end = text.length;
  while (text[end - 1] === "#") end--;
  return end === 0 || " \t".includes(text[end - 1]) ? trimmed(text.slice(0, end)) : text;
}

/** @param {Block} list @returns {boolean} whether blank lines stand between its parts */
export function isLoose(list) {
  const apart = (/** @type {Block[]} */ blocks) => blocks.some((next, i) => i > 0 && next.first - blocks[i - 1].last > 1);
  return apart(list.children) || list.children.some((item) => apart(item.children));
}
