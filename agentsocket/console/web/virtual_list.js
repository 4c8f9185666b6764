/** A list of any length of which only the visible rows exist; one row is the active one, moved with the keyboard. */

import { h } from "./dom.js";

/** @template T */
export class VirtualList {
  #rowHeight;
  #fill;
  #onActive;
  #spacer = h("div.spacer");
  /** @type {Map<number, HTMLElement>} */ #rows = new Map();
  /** @type {T[]} */ #items = [];
  /** Items whose rows are to be filled anew. @type {Set<T>} */ #changed = new Set();
  #active = -1;
  #sticks = true;
  #lastTop = 0;
  #scheduled = false;

  /**
   * @param {{label: string, rowHeight: number, fill: (row: HTMLElement, item: T) => void,
   *   onActive: (item: T | undefined) => void}} options `rowHeight` in pixels, as the style sheet has it
   */
  constructor({ label, rowHeight, fill, onActive }) {
    this.#rowHeight = rowHeight;
    this.#fill = fill;
    this.#onActive = onActive;
    this.element = h("div.virtual-list", { role: "listbox", tabindex: 0, "aria-label": label }, this.#spacer);
    this.element.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#keyed(event));
    this.element.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#clicked(event));
    new ResizeObserver(() => this.#resized()).observe(this.element);
  }

  /** @param {T[]} items the list shows this array itself: call `grown` after adding to it */
  show(items) {
    const kept = items.indexOf(this.#items[this.#active]);
    this.#items = items;
    for (const row of this.#rows.values()) row.remove();
    this.#rows.clear();
    this.#active = kept;
    this.grown();
  }

  grown() {
    this.#schedule();
  }

  /** @param {T} item one whose row is to show something else now */
  changed(item) {
    this.#changed.add(item);
    this.#schedule();
  }

  /** @returns {T | undefined} */
  get active() {
    return this.#items[this.#active];
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#draw();
    });
  }

  #draw() {
    this.#spacer.style.height = `${this.#items.length * this.#rowHeight}px`;
    if (this.#sticks) this.element.scrollTop = this.element.scrollHeight;
    const from = Math.max(0, Math.floor(this.element.scrollTop / this.#rowHeight) - 5);
    const to = Math.min(this.#items.length, from + Math.ceil(this.element.clientHeight / this.#rowHeight) + 10);
    for (const [i, row] of this.#rows) {
      if (i >= from && i < to) {
        if (this.#changed.has(this.#items[i])) this.#refill(row, i);
        continue;
      }
      row.remove();
      this.#rows.delete(i);
    }
    this.#changed.clear();
    for (let i = from; i < to; i++) this.#row(i);
    const active = this.#rows.get(this.#active);
    if (active) this.element.setAttribute("aria-activedescendant", active.id);
    else this.element.removeAttribute("aria-activedescendant");
  }

  /** @param {HTMLElement} row @param {number} i */
  #refill(row, i) {
    row.replaceChildren();
    this.#fill(row, this.#items[i]);
  }

  /** @param {number} i */
  #row(i) {
    let row = this.#rows.get(i);
    if (!row) {
      row = /** @type {HTMLElement} */ (h("div.row", { role: "option", id: `row-${i}`, "aria-posinset": i + 1 }));
      row.style.transform = `translateY(${i * this.#rowHeight}px)`;
      this.#fill(row, this.#items[i]);
      this.#rows.set(i, row);
      this.#spacer.append(row);
    }
    row.setAttribute("aria-selected", String(i === this.#active));
    row.setAttribute("aria-setsize", String(this.#items.length));
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    if (scrollHeight - scrollTop - clientHeight < this.#rowHeight) this.#sticks = true;
    else if (scrollTop < this.#lastTop) this.#sticks = false;
    this.#lastTop = scrollTop;
    this.#schedule();
  }

  #resized() {
    if (this.#active >= 0 && !this.#sticks) this.#reveal();
    this.#schedule();
  }

  #reveal() {
    const top = this.#active * this.#rowHeight;
    const { scrollTop, clientHeight } = this.element;
    if (top < scrollTop) this.element.scrollTop = top;
    if (top + this.#rowHeight > scrollTop + clientHeight) this.element.scrollTop = top + this.#rowHeight - clientHeight;
  }

  /** @param {number} i */
  activate(i) {
    this.#active = Math.max(0, Math.min(i, this.#items.length - 1));
    this.#sticks = false;
    this.#reveal();
    this.#draw();
    this.#onActive(this.active);
  }

  /** @param {KeyboardEvent} event */
  #keyed(event) {
    const page = Math.floor(this.element.clientHeight / this.#rowHeight);
    const start = this.#active < 0 ? this.#items.length : this.#active;
    const target = {
      ArrowDown: start + 1,
      ArrowUp: start - 1,
      PageDown: start + page,
      PageUp: start - page,
      Home: 0,
      End: this.#items.length,
    }[event.key];
    if (target === undefined || !this.#items.length) return;
    event.preventDefault();
    this.activate(target);
  }

  /** @param {MouseEvent} event */
  #clicked(event) {
    const row = /** @type {Element} */ (event.target).closest(".row");
    for (const [i, known] of this.#rows) if (known === row) this.activate(i);
  }
}
