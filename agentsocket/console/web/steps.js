/** The steps of one turn, in their order: of many, the earlier ones are folded. */

import { h } from "./dom.js";

/** Steps of one turn that are on the page; a page lays out thousands only slowly. */
const MOST_STEPS = 200;

export class Steps {
  element = h("div.answer");
  #earlier = h("button.earlier", { type: "button" });
  /** @type {Element[]} */ #folded = [];

  constructor() {
    this.#earlier.addEventListener("click", () => this.#unfold());
  }

  /** @param {Element} element */
  add(element) {
    this.element.append(element);
    const first = this.element.children[this.#folded.length ? 1 : 0];
    if (this.element.childElementCount <= MOST_STEPS || first.matches(".question:not(.settled)")) return;
    this.#folded.push(first);
    first.remove();
    this.#showFolded();
  }

  /** @param {Element} element */
  remove(element) {
    element.remove();
    this.#folded = this.#folded.filter((one) => one !== element);
    this.#showFolded();
  }

  #showFolded() {
    const count = this.#folded.length;
    this.#earlier.textContent = `Show ${Math.min(count, MOST_STEPS)} of ${count.toLocaleString("en")} earlier steps`;
    if (!count) this.#earlier.remove();
    else if (!this.#earlier.isConnected) this.element.prepend(this.#earlier);
  }

  #unfold() {
    this.#earlier.after(...this.#folded.splice(-MOST_STEPS));
    this.#showFolded();
  }
}
