/** Where the conversation is scrolled to: it follows what comes in, unless somebody reads further up. */

import { h, icon } from "./dom.js";

export class Scrolling {
  #scroller;
  #asking;
  #sticks = true;
  #lastTop = 0;
  jump = h("button.jump", { type: "button", hidden: true, onclick: () => this.toLatest() }, icon("down"), "Latest");

  /**
   * @param {HTMLElement} scroller @param {HTMLElement} content what grows in it
   * @param {() => HTMLElement | undefined} asking the question at the end, if there is one
   * @param {() => void} atTop told when somebody has scrolled up to the beginning
   */
  constructor(scroller, content, asking, atTop) {
    this.#scroller = scroller;
    this.#asking = asking;
    scroller.addEventListener(
      "scroll",
      () => {
        this.#scrolled();
        if (!this.#sticks && scroller.scrollTop < scroller.clientHeight / 2) atTop();
      },
      { passive: true },
    );
    const observer = new ResizeObserver(() => this.#sticks && this.#toEnd());
    for (const element of [content, scroller]) observer.observe(element);
  }

  toLatest() {
    this.#sticks = true;
    this.#toEnd();
  }

  /** Has what is seen stay where it is while something is added above it. @param {() => void} change */
  keep(change) {
    const height = this.#scroller.scrollHeight;
    change();
    this.#scroller.scrollTop += this.#scroller.scrollHeight - height;
    this.#lastTop = this.#scroller.scrollTop;
  }

  #toEnd() {
    const scroller = this.#scroller;
    scroller.scrollTop = scroller.scrollHeight;
    const asking = this.#asking();
    if (!asking || asking.getBoundingClientRect().top >= scroller.getBoundingClientRect().top) return;
    // Who is asked reads from the beginning on, not from the buttons.
    asking.scrollIntoView({ block: "start" });
    this.#sticks = false;
    this.jump.hidden = false;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    // What comes in below moves nobody away from the end: only who scrolls up leaves it.
    if (scrollHeight - scrollTop - clientHeight < 40) this.#sticks = true;
    else if (scrollTop < this.#lastTop) this.#sticks = false;
    this.#lastTop = scrollTop;
    this.jump.hidden = this.#sticks;
  }
}
