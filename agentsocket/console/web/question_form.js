/** What an agent asks: an approval with arguments that may be edited, or a question. */

import { h } from "./dom.js";
import { field, schemaOf } from "./fields.js";
import { pretty, textNodes } from "./plain_text.js";

/**
 * @typedef {{input_id: string, prompt: string, kind: string, tool_name?: string, tool_kwargs?: Record<string, any>,
 *   response_schema?: Record<string, any>, expires_in?: number}} Question
 */

export class QuestionForm {
  #question;
  #onAnswer;
  #expiresAt;
  /** @type {import("./fields.js").Field | null} */ #field = null;
  #reason = h("input", { type: "text", dir: "auto", placeholder: "Optional" });
  #deny = h("button", { type: "button", onclick: () => this.#submit(false) }, "Deny");
  #problem = h("p.problem", { role: "alert" });
  #expiry = h("small.expiry");

  open = true;

  /**
   * @param {Question} question @param {number} time when it was asked
   * @param {(response: any) => void} onAnswer
   */
  constructor(question, time, onAnswer) {
    this.#question = question;
    this.#onAnswer = onAnswer;
    this.#expiresAt = question.expires_in ? time + question.expires_in * 1000 : Infinity;
    this.element = h("form.question", { "aria-label": this.#title(), tabindex: -1 });
    this.element.addEventListener("submit", (/** @type {SubmitEvent} */ event) => {
      event.preventDefault();
      if (this.#approval) this.#hesitate();
      else this.#submit(true);
    });
    this.ask();
  }

  get #approval() {
    return this.#question.kind === "approval";
  }

  #title() {
    return this.#approval ? "Approval wanted" : "The agent asks";
  }

  /** Shows the form, also again where an answer has not arrived. */
  ask() {
    this.open = true;
    this.#problem.textContent = "";
    const { prompt, tool_name } = this.#question;
    this.element.classList.remove("settled");
    this.element.replaceChildren(
      h("p.title", {}, this.#title(), tool_name && h("code", {}, textNodes(tool_name)), this.#expiry),
      h("p.prompt", { dir: "auto" }, textNodes(prompt)),
      ...(this.#approval ? this.#approvalBody() : this.#questionBody()),
    );
    this.tick(Date.now());
  }

  // No button of an approval submits its form: Enter, pressed in a field, must not decide.
  #approvalBody() {
    const kwargs = this.#question.tool_kwargs ?? {};
    const properties = Object.fromEntries(Object.entries(kwargs).map(([key, value]) => [key, schemaOf(value)]));
    this.#field = Object.keys(kwargs).length ? field("", { type: "object", properties }, kwargs) : null;
    return [
      this.#field?.element ?? "",
      h("label.field", {}, h("span.label", {}, "Reason"), this.#reason),
      h(
        "div.buttons",
        {},
        h("button.primary", { type: "button", onclick: () => this.#submit(true) }, "Approve"),
        this.#deny,
      ),
      this.#problem,
      // Has the browser tell the form of Enter, whatever fields there are.
      h("input", { type: "submit", hidden: true, tabindex: -1, value: "" }),
    ];
  }

  /** Enter was pressed in a field: decides nothing, and asks. */
  #hesitate() {
    this.#problem.textContent = this.#reason.value.trim()
      ? "Approve or deny? Your reason goes with either."
      : "Approve or deny?";
    this.#deny.focus();
  }

  #questionBody() {
    this.#field = field("", this.#question.response_schema ?? { type: "string" });
    return [this.#field.element, h("div.buttons", {}, h("button.primary", {}, "Answer")), this.#problem];
  }

  /** @param {boolean} yes */
  #submit(yes) {
    let value;
    try {
      value = yes ? this.#field?.read() : undefined;
    } catch {
      return; // The field says what is wrong with it.
    }
    try {
      this.#onAnswer(this.#approval ? this.#decision(yes, value) : value);
    } catch (error) {
      this.#problem.textContent = /** @type {Error} */ (error).message;
    }
  }

  /** @param {boolean} approved @param {any} kwargs */
  #decision(approved, kwargs) {
    const reason = this.#reason.value.trim();
    const edited = approved && kwargs && JSON.stringify(kwargs) !== JSON.stringify(this.#question.tool_kwargs);
    return { approved, ...(reason && { reason }), ...(edited && { tool_kwargs: kwargs }) };
  }

  /** @param {any} response what was answered, now or before a reload; undefined where that is not known */
  answered(response) {
    if (response === undefined) this.#settle(["Answered", ""]);
    else this.#settle(this.#approval ? verdict(response) : ["Answered", pretty(response)]);
  }

  /** Takes the form away, since nobody waits for an answer any more. */
  close() {
    if (this.open) this.#settle(["Not answered", ""]);
  }

  /** @param {string[]} outcome */
  #settle([word, detail]) {
    this.open = false;
    this.#expiresAt = Infinity;
    this.#expiry.textContent = "";
    this.element.classList.add("settled");
    this.element.replaceChildren(
      h("p.prompt", { dir: "auto" }, textNodes(this.#question.prompt)),
      h("p.outcome", {}, h("strong", {}, word), detail && h("bdi", {}, textNodes(detail))),
    );
  }

  /** @param {number} now */
  tick(now) {
    if (!this.open || this.#expiresAt === Infinity) return;
    const left = this.#expiresAt - now;
    this.#expiry.textContent = left > 0 ? `${minutes(left)} left` : "Time is up";
  }

  /** Goes to the first field, with the question in view from its beginning on. */
  focus() {
    this.element.scrollIntoView({ block: this.element.offsetHeight > innerHeight / 2 ? "start" : "center" });
    (this.element.querySelector("textarea, select, input, button") ?? this.element).focus({ preventScroll: true });
  }
}

/** @param {number} ms */
function minutes(ms) {
  const seconds = Math.ceil(ms / 1000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** @param {any} response @returns {string[]} */
function verdict(response) {
  const approved = response === true || response?.approved === true;
  const details = [response?.tool_kwargs && "with edited arguments", response?.reason];
  return [approved ? "Approved" : "Denied", details.filter(Boolean).join(" · ")];
}
