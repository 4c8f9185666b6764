/** Where a person writes. */

import { h, icon } from "./dom.js";
import { byteSize } from "./plain_text.js";

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
  #problem = h("p.problem", { role: "alert" });
  #shift = false;

  /**
   * @param {(message: string) => void} send throws where the message cannot be sent
   * @param {() => void} toQuestion goes to what waits for an answer
   */
  constructor(send, toQuestion) {
    this.#send = send;
    const form = h(
      "form.composer",
      {},
      this.#text,
      h("button.send", { "aria-label": "Send", title: "Send" }, icon("send")),
    );
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      if (this.#text.value.trim() && this.ask(this.#text.value)) this.#text.value = "";
    });
    this.#text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      this.#shift = event.shiftKey;
    });
    // A phone's keyboard has no key of that name, and an input method takes Enter for itself: both tell of the new line.
    this.#text.addEventListener("beforeinput", (/** @type {InputEvent} */ event) => {
      if (event.inputType !== "insertLineBreak" || this.#shift || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    this.#text.addEventListener("input", () => this.#say(""));
    this.#waiting.addEventListener("click", toQuestion);
    this.element = h("div.compose", {}, this.#waiting, this.#problem, form);
  }

  #send;

  /** @param {string} message @returns {boolean} whether it could be sent; if not, the reason is said */
  ask(message) {
    try {
      this.#send(message);
      this.#say("");
      return true;
    } catch (error) {
      this.#say(reason(/** @type {any} */ (error)));
      return false;
    }
  }

  /** @param {string} problem */
  #say(problem) {
    if (this.#problem.textContent !== problem) this.#problem.textContent = problem;
  }

  /** Takes a message up to be changed; what stood there comes back with "undo". @param {string} message */
  edit(message) {
    this.#text.select();
    this.focus();
    if (!document.execCommand("insertText", false, message)) this.#text.value = message;
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

/** @param {Error & {size?: number, limit?: number}} error */
function reason({ size, limit, message }) {
  if (size === undefined || limit === undefined) return message;
  return `This message is too long: it has ${byteSize(size)}, and the server takes ${byteSize(limit)}.`;
}
