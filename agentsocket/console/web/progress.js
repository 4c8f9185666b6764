/** A bar that tells how far something is. */

import { h } from "./dom.js";
import { textNodes } from "./plain_text.js";

export class Progress {
  #bar = h("progress");
  #words = h("bdi.words");
  #amount = h("span.amount");
  element = h("span.progress", {}, this.#words, this.#amount, this.#bar);

  /** @param {string} what it is about */
  constructor(what) {
    this.#bar.setAttribute("aria-label", `Progress: ${what}`.slice(0, 80));
  }

  /** Shows how far it is now, and nothing of before. @param {{progress?: number, total?: number, message?: string}} now */
  show({ progress, total, message = "" }) {
    const known = typeof progress === "number" && typeof total === "number" && total > 0;
    if (known) {
      this.#bar.max = total;
      this.#bar.value = Math.min(Math.max(progress, 0), total);
    } else this.#bar.removeAttribute("value");
    this.#words.replaceChildren(textNodes(message));
    this.#amount.textContent = known ? amount(progress, total) : number(progress);
    const said = [message, this.#amount.textContent].filter(Boolean).join(", ");
    if (said) this.#bar.setAttribute("aria-valuetext", said);
    else this.#bar.removeAttribute("aria-valuetext");
  }
}

/** @param {number} progress @param {number} total */
function amount(progress, total) {
  if (total === 1 || total === 100) return `${Math.round((100 * progress) / total)} %`;
  return `${number(progress)} of ${number(total)}`;
}

/** @param {unknown} value */
function number(value) {
  return typeof value === "number" ? value.toLocaleString("en", { maximumFractionDigits: 2 }) : "";
}
