/** One conversation of the list: its name, when something was said last, and what can be done with it. */

import { addressOf } from "./address.js";
import { h, iconButton } from "./dom.js";
import { clock, textNodes, visible } from "./plain_text.js";

/** Characters that a title may have. */
const LONGEST = 200;

/**
 * @typedef {import("./shelf.js").Card} Card
 * @typedef {{rename: (id: string, title: string) => Promise<void>, remove: (card: Card) => void}} RowActions
 *   `rename` rejects where that is refused.
 */

export class ConversationRow {
  #actions;
  #card;
  #name = h("bdi.name");
  #state = h("span.visually-hidden");
  #dot = h("span.dot", { "aria-hidden": true });
  #time = h("time");
  #link;
  #rename;
  #problem = h("p.problem", { role: "alert" });
  element;

  /** @param {Card} card @param {RowActions} actions */
  constructor(card, actions) {
    this.#actions = actions;
    this.#card = card;
    this.#link = h("a", { href: addressOf(card.conversation_id) }, this.#dot, this.#name, this.#state, this.#time);
    this.#rename = iconButton("button.quiet", "edit", "Rename", () => this.#edit());
    const remove = iconButton("button.quiet", "bin", "Delete", () => actions.remove(this.#card));
    this.element = h("li.talk", {}, this.#link, h("span.tools", {}, this.#rename, remove), this.#problem);
    for (const button of [this.#rename, remove]) this.#named.push([button, button.title]);
    this.show(card, false);
  }

  /** @type {[HTMLElement, string][]} */ #named = [];

  get title() {
    return visible(this.#card.title || "New conversation");
  }

  /** @param {Card} card @param {boolean} current whether it is the one that is shown */
  show(card, current) {
    this.#card = card;
    this.#name.replaceChildren(textNodes(card.title || "New conversation"));
    this.#link.title = this.title;
    for (const [button, word] of this.#named) button.setAttribute("aria-label", `${word}: ${this.title}`);
    this.#time.textContent = when(card.updated_at);
    this.#time.setAttribute("datetime", card.updated_at);
    this.element.classList.toggle("running", card.running === true);
    this.#state.textContent = card.running ? ", running" : "";
    if (current) this.#link.setAttribute("aria-current", "page");
    else this.#link.removeAttribute("aria-current");
  }

  #edit() {
    const input = h("input", { type: "text", maxlength: LONGEST, "aria-label": "Title", dir: "auto" });
    input.value = this.#card.title;
    let over = false;
    const end = (/** @type {boolean} */ keep, focus = true) => {
      if (over) return;
      over = true;
      input.replaceWith(this.#link);
      this.element.classList.remove("editing");
      if (focus) this.#rename.focus();
      const title = input.value.trim();
      if (keep && title && title !== this.#card.title) this.#use(title);
    };
    input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.isComposing) return;
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault(); // the button that has the focus then is not meant
      event.stopPropagation();
      end(event.key === "Enter");
    });
    input.addEventListener("blur", () => end(true, false));
    this.element.classList.add("editing");
    this.#link.replaceWith(input);
    input.select();
    input.focus();
  }

  /** @param {string} title */
  async #use(title) {
    const before = this.#card.title;
    this.#problem.textContent = "";
    this.#name.replaceChildren(textNodes(title));
    try {
      await this.#actions.rename(this.#card.conversation_id, title);
    } catch (error) {
      this.#name.replaceChildren(textNodes(before));
      this.#problem.textContent = `Not renamed: ${/** @type {Error} */ (error).message}`;
    }
  }

  focus() {
    this.#link.focus();
  }
}

/** @param {string} time RFC 3339 @returns {string} as much of it as tells it from others */
function when(time) {
  const date = new Date(time);
  if (Number.isNaN(date.getTime())) return "";
  const now = new Date();
  if (date.toDateString() === now.toDateString()) return clock(date.getTime());
  const year = date.getFullYear() === now.getFullYear() ? undefined : "numeric";
  return date.toLocaleDateString("en-GB", { day: "numeric", month: "short", year });
}
