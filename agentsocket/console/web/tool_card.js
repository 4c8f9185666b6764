/** One call of a tool: its arguments, its result or error, and the time it took. */

import { copyButton, h, icon } from "./dom.js";
import { Progress } from "./progress.js";
import { duration, longText, pretty, textNodes } from "./plain_text.js";

const GLANCE = 160;
/** What the server says in place of the result of a tool that was running when its task ended. */
const ENDED_EARLY = "The task ended before this tool did.";

export class ToolCard {
  #began;
  #kwargs;
  #mark = h("span.mark", { "aria-hidden": true });
  #state = h("span.visually-hidden", {}, "running");
  #time = h("span.time");
  #glance = h("span.glance");
  #body = h("div.body");
  /** @type {{output: any, isError: boolean} | null} */ #result = null;
  /** @type {Progress | null} */ #progress = null;

  open = true;

  /** @param {{tool_name: string, tool_kwargs: Record<string, any>, tool_call_id?: string}} call @param {number} time */
  constructor(call, time) {
    this.name = call.tool_name;
    this.id = call.tool_call_id;
    this.#began = time;
    this.#kwargs = call.tool_kwargs ?? {};
    const summary = h(
      "summary",
      {},
      this.#mark,
      h(
        "span.call",
        {},
        h("span.name", {}, textNodes(glance(this.name))),
        h("span.kwargs", {}, textNodes(brief(this.#kwargs))),
      ),
      this.#state,
      this.#time,
      this.#glance,
    );
    this.element = h("details.tool.running", { "data-call": this.id }, summary, this.#body);
    // Its inside is made when it is first looked at: a long conversation has thousands of these.
    this.element.addEventListener("toggle", () => this.element.open && this.#fill());
  }

  /** @param {any} now how far it is */
  progress(now) {
    if (!this.#progress) {
      this.#progress = new Progress(this.name);
      this.#glance.before(this.#progress.element);
    }
    this.#progress.show(now);
  }

  /** @param {any} output @param {boolean} isError @param {number} time */
  finish(output, isError, time) {
    this.#result = { output, isError };
    this.#close(isError ? "failed" : "done", isError ? "cross" : "check");
    const took = time - this.#began;
    this.#time.textContent = Number.isNaN(took) ? "" : duration(Math.max(0, took)); // not kept
    this.#glance.replaceChildren(textNodes(glance(flat(output))));
    if (this.element.open) this.#fill();
  }

  /** Its task has ended without its result. */
  leave() {
    if (this.open) this.#close("left", "cross");
  }

  get failed() {
    return this.#result?.isError === true;
  }

  /** Whether it ended only because its task did. */
  get cutShort() {
    return this.open || (this.failed && this.#result?.output === ENDED_EARLY);
  }

  /** Its task was stopped, and it with its task: nothing has gone wrong. */
  stop() {
    this.#close("stopped", "stop");
    this.#glance.replaceChildren("Stopped");
  }

  /** @param {string} word @param {"check" | "cross" | "stop"} mark */
  #close(word, mark) {
    this.open = false;
    this.#progress?.element.remove();
    this.element.classList.remove("running", "failed");
    this.element.classList.add(word);
    this.#mark.replaceChildren(icon(mark));
    this.#state.textContent = word === "left" ? "no result" : word;
  }

  #fill() {
    this.#body.replaceChildren(
      block("Arguments", this.#kwargs),
      ...(this.#result ? [block(this.#result.isError ? "Error" : "Result", this.#result.output)] : []),
      h("p.id", {}, textNodes(this.id ?? "")),
    );
  }
}

/** @param {string} title @param {any} value */
function block(title, value) {
  const text = pretty(value);
  return h(
    "section",
    {},
    h(
      "h4",
      {},
      title,
      copyButton(() => text, `Copy ${title.toLowerCase()}`),
    ),
    h("pre", { tabindex: 0, role: "region", "aria-label": title }, longText(text)),
  );
}

/** @param {Record<string, any>} kwargs */
function brief(kwargs) {
  return glance(
    Object.entries(kwargs)
      .map(([key, value]) => `${key}: ${flat(value)}`)
      .join(", "),
  );
}

/** @param {any} value */
function flat(value) {
  return (typeof value === "string" ? value.slice(0, 2 * GLANCE) : (JSON.stringify(value) ?? "")).replace(/\s+/g, " ");
}

/** @param {string} text */
function glance(text) {
  return text.length > GLANCE ? `${text.slice(0, GLANCE)}…` : text;
}
