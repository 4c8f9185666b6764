/** The button that begins a new conversation, and the question whether to stop what still runs. */

import { h, icon } from "./dom.js";

export class NewConversation {
  #begin;
  #running;
  #question = h("p");
  #confirm = h("button.primary", { value: "yes" });
  button = h(
    "button.quiet.new",
    { type: "button", title: "New conversation", onclick: () => this.#asked() },
    icon("add"),
    h("span", {}, "New conversation"),
  );
  #dialog = h("dialog", { "aria-labelledby": "new-title" });

  /** @param {() => void} begin @param {() => number} running how many tasks have not ended */
  constructor(begin, running) {
    this.#begin = begin;
    this.#running = running;
    const form = h(
      "form",
      { method: "dialog" },
      h("h2", { id: "new-title" }, "New conversation"),
      this.#question,
      h("div.buttons", {}, this.#confirm, h("button", { value: "" }, "Not now")),
    );
    this.#dialog.append(form);
    this.#dialog.addEventListener("close", () => {
      this.#dialog.remove();
      if (this.#dialog.returnValue === "yes") begin();
      else this.button.focus();
    });
  }

  #asked() {
    const count = this.#running(); // that it would stop
    if (!count) return this.#begin();
    const [tasks, them] = count === 1 ? ["One request is", "it"] : [`${count} requests are`, "them"];
    this.#question.textContent = `${tasks} not answered yet. A new conversation stops ${them}.`;
    this.#confirm.textContent = `Stop ${them}, and begin`;
    this.#dialog.returnValue = "";
    document.body.append(this.#dialog);
    this.#dialog.showModal();
  }
}
