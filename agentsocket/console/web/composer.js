/** Where a person writes, and attaches files. */

import { h, icon } from "./dom.js";
import { byteSize } from "./plain_text.js";

/** @typedef {import("./file_view.js").Sent} Sent */

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
  #holding = h("p.holding", { role: "status" });
  #send;
  #attachments;
  #shift = false;
  /** Whether it cannot go because of a file. */ #blocked = false;
  /** Whether the message goes as soon as its files are there. */ #held = false;

  /**
   * @param {(message: string, attachments: Sent[]) => void} send throws where the message cannot be sent
   * @param {() => void} toQuestion goes to what waits for an answer
   * @param {import("./attachments.js").Attachments} attachments
   */
  constructor(send, toQuestion, attachments) {
    this.#send = send;
    this.#attachments = attachments;
    const form = h(
      "form.composer",
      {},
      attachments.element,
      this.#text,
      attachments.input,
      attachments.button,
      h("button.send", { "aria-label": "Send", title: "Send" }, icon("send")),
    );
    form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#submit();
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
    this.#text.addEventListener("input", () => {
      this.#say("");
      this.#hold(false); // who writes on does not want it to go
    });
    this.#waiting.addEventListener("click", toQuestion);
    this.#takeFiles(form);
    this.element = h("div.compose", {}, this.#waiting, this.#problem, this.#holding, form);
  }

  /** Files are dropped anywhere on the page, and pasted where the message is. @param {HTMLElement} form */
  #takeFiles(form) {
    const show = (/** @type {boolean} */ over) => form.classList.toggle("dropping", over);
    addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      show(true);
    });
    addEventListener("dragleave", (event) => event.relatedTarget || show(false));
    addEventListener("drop", (event) => {
      show(false);
      const files = [...(event.dataTransfer?.files ?? [])];
      if (!files.length) return;
      event.preventDefault();
      this.#attach(files);
    });
    this.#text.addEventListener("paste", (/** @type {ClipboardEvent} */ event) => {
      const { files, types } = /** @type {DataTransfer} */ (event.clipboardData);
      // A table's cells come as a picture too.
      if (!files.length || types.includes("text/plain")) return;
      event.preventDefault();
      this.#attach([...files]);
    });
  }

  /** @param {File[]} files */
  #attach(files) {
    this.#say("");
    this.#attachments.add(files);
    this.focus();
  }

  #submit() {
    const { count, uploads, failed } = this.#attachments;
    if (!this.#text.value.trim() && !count) return;
    this.#blocked = failed !== undefined;
    if (this.#blocked) return this.#say(`${failed} is not attached. Remove it, and send then.`);
    this.#hold(uploads.length < count);
    if (this.#held || !this.ask(this.#text.value, uploads)) return;
    this.#text.value = "";
    this.#attachments.clear();
  }

  /** @param {boolean} held */
  #hold(held) {
    this.#held = held;
    const words = held ? "The message goes as soon as its files are there." : "";
    if (this.#holding.textContent !== words) this.#holding.textContent = words;
  }

  /** @param {string} [problem] */
  attachmentsChanged(problem) {
    const { count, uploads, failed } = this.#attachments;
    if (problem) this.#say(problem);
    if (failed !== undefined) this.#hold(false);
    else if (this.#blocked) this.#say("");
    this.#blocked &&= failed !== undefined;
    if (this.#held && uploads.length === count) this.#submit();
  }

  /**
   * @param {string} message @param {Sent[]} [attachments]
   * @returns {boolean} whether it could be sent; if not, the reason is said
   */
  ask(message, attachments = []) {
    try {
      this.#send(message, attachments);
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
