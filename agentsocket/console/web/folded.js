/** What was said before a conversation that was begun anew: out of the way, and still there. */

import { h } from "./dom.js";

export class Folded {
  #list;
  #scroller;
  /** @type {Element[]} */ #elements = [];
  #button = h("button.before", { type: "button" }, "Show the earlier conversation");

  /** @param {HTMLElement} list @param {HTMLElement} scroller around it @param {() => void} unfold asked for by a person */
  constructor(list, scroller, unfold) {
    this.#list = list;
    this.#scroller = scroller;
    this.#button.addEventListener("click", unfold);
  }

  /** Takes away what is there. */
  fold() {
    this.#list.prepend(...this.#elements);
    this.#elements = [...this.#list.children];
    for (const element of this.#elements) element.remove();
    if (this.#elements.length) this.#scroller.prepend(this.#button);
  }

  /** Brings it back. */
  unfold() {
    this.#list.prepend(...this.#elements.splice(0));
    this.#button.remove();
  }

  forget() {
    this.#elements = [];
    this.#button.remove();
  }
}
