/** One line of Markdown while its blocks take their part of it. Columns count: a tab reaches to the next multiple of 4. */
export class Line {
  #text;
  #at = 0;
  #column = 0;
  /** Of the tab at hand a container took some columns, but not all. */
  #cutTab = false;

  /** The place and the column after the white space at hand; -1 where they are not known yet. */
  #aheadAt = -1;
  #aheadColumn = 0;

  /** @param {string} text without its line end @param {boolean} ended false if more of it may come */
  constructor(text, ended) {
    this.#text = text;
    this.ended = ended;
  }

  get blank() {
    return this.#text.length === this.#ahead();
  }

  /** @returns {number} columns of white space ahead */
  get indent() {
    this.#ahead();
    return this.#aheadColumn - this.#column;
  }

  /** @returns {string} what comes after the white space ahead */
  get content() {
    return this.#text.slice(this.#ahead());
  }

  /** @returns {string} what is left, white space included */
  get rest() {
    return this.#cutTab ? " ".repeat(toTabStop(this.#column)) + this.#text.slice(this.#at + 1) : this.#text.slice(this.#at);
  }

  /** Pass white space. @param {number} columns at most */
  skip(columns) {
    const end = this.#column + columns;
    this.#aheadAt = -1;
    while (this.#column < end && isSpace(this.#text[this.#at])) {
      const width = this.#text[this.#at] === "\t" ? toTabStop(this.#column) : 1;
      this.#cutTab = this.#column + width > end;
      this.#column = Math.min(end, this.#column + width);
      if (!this.#cutTab) this.#at += 1;
    }
  }

  /** Pass the white space ahead, and a mark after it. @param {number} length */
  take(length) {
    this.skip(this.indent);
    this.#at += length;
    this.#column += length;
    this.#aheadAt = -1;
  }

  #ahead() {
    if (this.#aheadAt >= 0) return this.#aheadAt;
    let at = this.#at;
    let column = this.#column;
    for (; isSpace(this.#text[at]); at++) column += this.#text[at] === "\t" ? toTabStop(column) : 1;
    this.#aheadColumn = column;
    this.#aheadAt = at;
    return at;
  }
}

/** @param {number} column */
function toTabStop(column) {
  return 4 - (column % 4);
}

/** @param {string | undefined} character */
function isSpace(character) {
  return character === " " || character === "\t";
}
