/** Where a person writes. */

import { h, icon } from "./dom.js";

export class Composer {
  #text = h("textarea", {
    id: "message",
    rows: 1,
    placeholder: "Ask the agent",
    dir: "auto",
    enterkeyhint: "send",
    "aria-label": "Message",
  });
  #waiting = h("button.waiting", { type: "button", hidden: true });

  /** @param {(message: string) => void} send @param {() => void} toQuestion goes to what waits for an answer */
  constructor(send, toQuestion) {
    const form = h(
      "form.composer",
      {},
      this.#text,
      h("button.send", { "aria-label": "Send", title: "Send" }, icon("send")),
    );
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#submit(send);
    });
    this.#text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      // On a phone's keyboard Enter is the only way to a new line, and the button is near.
      const sends =
        event.key === "Enter" && !event.shiftKey && !event.isComposing && !matchMedia("(pointer: coarse)").matches;
      if (!sends) return;
      event.preventDefault();
      form.requestSubmit();
    });
    this.#waiting.addEventListener("click", toQuestion);
    this.element = h("div.compose", {}, this.#waiting, form);
  }

  /** @param {(message: string) => void} send */
  #submit(send) {
    const message = this.#text.value;
    if (!message.trim()) return;
    this.#text.value = "";
    send(message);
  }

  /** @param {number} questions how many wait for an answer */
  showWaiting(questions) {
    this.#waiting.hidden = questions === 0;
    this.#waiting.textContent =
      questions === 1 ? "The agent waits for your answer" : `${questions} tasks wait for your answer`;
  }

  focus() {
    this.#text.focus();
  }
}
