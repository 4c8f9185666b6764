/** What the model thinks: open while it comes, folded when something else follows. */

import { h } from "./dom.js";
import { MarkdownStream } from "./markdown.js";
import { duration } from "./plain_text.js";

export class Reasoning {
  #began;
  #text = new MarkdownStream();
  #caption = h("span", {}, "Thinking…");
  #summary = h("summary", {}, h("span.fold", { "aria-hidden": true }), this.#caption);
  element = h("details.reasoning", { open: true }, this.#summary, h("div.body", {}, this.#text.element));
  /** Whether somebody has folded or unfolded it: then it stays as they have it. */ #chosen = false;

  /** @param {number} time */
  constructor(time) {
    this.#began = time;
    this.#summary.addEventListener("click", () => {
      this.#chosen = true;
    });
  }

  /** @param {string} piece */
  write(piece) {
    this.#text.write(piece);
  }

  /** @param {number} now */
  tick(now) {
    const seconds = Math.floor((now - this.#began) / 1000);
    if (seconds > 0) this.#caption.textContent = `Thinking… ${whole(seconds * 1000)}`;
  }

  /** @param {number} time */
  end(time) {
    const took = time - this.#began;
    this.#caption.textContent = Number.isNaN(took) ? "Thought" : `Thought for ${whole(took)}`; // where it is kept
    if (!this.#chosen) this.element.open = false;
  }
}

/** @param {number} ms */
function whole(ms) {
  return ms < 1000 ? "less than a second" : duration(Math.round(ms / 1000) * 1000).replace(".0", "");
}
