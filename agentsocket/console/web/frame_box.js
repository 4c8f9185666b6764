/** A box to send a frame by hand, also a wrong one: the server's answer to it shows among the frames. */

import { h } from "./dom.js";

const TEMPLATES = {
  agent_request: { message: "What time is it?" },
  cancel_request: { task_id: "" },
  input_response: { task_id: "", input_id: "", response: { approved: true } },
  heartbeat: {},
  login: {},
  logout: {},
};

export class FrameBox {
  #text = h("textarea", { rows: 4, spellcheck: "false", "aria-label": "Frame to send", autocomplete: "off" });
  #hint = h("span.hint", { role: "status" });

  /** @param {(text: string) => void} send throws where there is no connection */
  constructor(send) {
    const template = h(
      "select",
      { "aria-label": "Start from a template" },
      ...Object.keys(TEMPLATES).map((event) => h("option", { value: event }, event)),
    );
    template.addEventListener("change", () => this.#start(template.value));
    this.#text.addEventListener("input", () => this.#check());
    this.#text.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#form.requestSubmit();
    });
    this.#form.append(h("div.buttons", {}, template, this.#hint, h("button", {}, "Send")), this.#text);
    this.#form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#send(send);
    });
    this.element = h("details.frame-box", {}, h("summary", {}, "Send a frame by hand"), this.#form);
    this.#start("agent_request");
  }

  #form = h("form");

  /** @param {keyof typeof TEMPLATES} event */
  #start(event) {
    this.#text.value = JSON.stringify({ event, data: TEMPLATES[event] }, null, 2);
    this.#check();
  }

  #check() {
    try {
      JSON.parse(this.#text.value);
      this.#hint.textContent = "";
    } catch {
      this.#hint.textContent = "Not valid JSON, and sent as it is";
    }
  }

  /** @param {(text: string) => void} send */
  #send(send) {
    try {
      send(this.#text.value);
      this.#check();
    } catch (error) {
      this.#hint.textContent = /** @type {Error} */ (error).message;
    }
  }
}
