/** Asks for a token, and says why. */

import { h } from "./dom.js";
import { textNodes } from "./plain_text.js";

export class TokenDialog {
  #token = h("input", {
    type: "password",
    name: "token",
    autocomplete: "current-password",
    required: true,
    id: "token",
  });
  #why = h("p");
  #problem = h("p.problem", { role: "alert" });
  element = h("dialog", { "aria-labelledby": "token-title" });

  /** @param {(token: string) => void} use */
  constructor(use) {
    // A password manager keeps a token under a name; there is only one.
    const name = h("input.visually-hidden", {
      type: "text",
      name: "username",
      autocomplete: "username",
      value: "agent",
      readonly: true,
      tabindex: -1,
      "aria-hidden": true,
    });
    const form = h(
      "form",
      { method: "dialog" },
      name,
      h("h2", { id: "token-title" }, "Token"),
      this.#why,
      h("label.field", {}, h("span.label", {}, "Token"), this.#token),
      this.#problem,
      h(
        "div.buttons",
        {},
        h("button.primary", {}, "Log in"),
        h("button", { type: "button", onclick: () => this.close() }, "Not now"),
      ),
    );
    form.addEventListener("submit", () => use(this.#token.value));
    this.element.append(form);
  }

  /** @param {string} why @param {string} [problem] what is wrong with the one that was given */
  ask(why, problem = "") {
    this.#why.replaceChildren(textNodes(why));
    this.tell(problem);
    if (!this.element.open) this.element.showModal();
    this.#token.select();
  }

  /** @param {string} problem */
  tell(problem) {
    this.#problem.replaceChildren(textNodes(problem));
  }

  close() {
    this.#token.value = "";
    this.element.close();
  }
}
