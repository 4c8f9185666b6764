/** One request and what came of it. */

import { copyButton, h, icon, iconButton } from "./dom.js";
import { MarkdownStream } from "./markdown.js";
import { clock, duration, longText, textNodes } from "./plain_text.js";
import { QuestionForm } from "./question_form.js";
import { ToolCard } from "./tool_card.js";

/**
 * @typedef {"queued" | "sent" | "running" | "stopping" | "done" | "stopped" | "failed" | "lost"} TurnState
 * @typedef {{cancel: (taskId: string) => void, answer: (taskId: string, inputId: string, response: any) => void,
 *   again: (message: string) => void, edit: (message: string) => void, inspect: (taskId: string) => void}} Actions
 *   `again` asks once more, `edit` takes the message to where a person writes.
 */

/** Steps of one turn that are on the page; a page lays out thousands only slowly. */
const MOST_STEPS = 200;
const LIVE = new Set(["queued", "sent", "running", "stopping"]);

export class Turn {
  #actions;
  #time;
  /** @type {MarkdownStream[]} */ #segments = [];
  /** @type {MarkdownStream | null} */ #segment = null;
  /** @type {Map<string, ToolCard>} */ #openCards = new Map();
  /** @type {ToolCard[]} */ #cards = [];
  /** Those that ended after the stop was asked for. @type {Set<ToolCard>} */ #endedLate = new Set();
  /** @type {Map<string, QuestionForm>} */ #questions = new Map();
  #body = h("div.answer");
  #earlier = h("button.earlier", { type: "button" });
  /** @type {Element[]} */ #folded = [];
  #status = h("span.status");
  #stop = h("button.stop", { type: "button" }, icon("stop"), "Stop");
  #tools = h("span.tools");
  #frames = h("button.link.frames", { type: "button", hidden: true, title: "Show the frames of this task" }, "Frames");
  #footer = h("footer", {}, this.#status, this.#stop, this.#tools);
  #elapsed = "";
  #answerText = "";

  /** @type {TurnState} */ state = "sent";
  taskId = "";

  /** @param {string | null} message null where it is not known @param {number} time @param {Actions} actions */
  constructor(message, time, actions) {
    this.message = message;
    this.#time = time;
    this.#actions = actions;
    this.#earlier.addEventListener("click", () => this.#unfold());
    this.#stop.addEventListener("click", () => this.state === "running" && actions.cancel(this.taskId));
    this.#frames.addEventListener("click", () => actions.inspect(this.taskId));
    this.#stop.setAttribute("aria-label", `Stop: ${message ?? "this task"}`.slice(0, 80));
    const said =
      message === null
        ? h("p.said.unknown", {}, "A request from before this page was opened")
        : h("div.said", { dir: "auto" }, h("span.visually-hidden", {}, "You: "), longText(message));
    this.element = h(
      "article.turn",
      { tabindex: -1, "aria-label": (message ?? "Task").slice(0, 80) },
      h(
        "header",
        {},
        said,
        h("time", {}, clock(time)),
        message !== null && copyButton(() => message, "Copy the message"),
      ),
      this.#body,
      this.#footer,
    );
    if (message !== null)
      this.#tools.append(
        iconButton("button.quiet.again", "again", "Ask again", () => actions.again(message)),
        iconButton("button.quiet", "edit", "Edit", () => actions.edit(message)),
      );
    this.#tools.append(this.#frames);
    this.#show("queued");
  }

  get live() {
    return LIVE.has(this.state);
  }

  /** @param {TurnState} state @param {string} [text] */
  #show(state, text = "") {
    this.state = state;
    this.element.dataset.state = state;
    this.#status.textContent =
      text || (state === "queued" && "Waiting for the connection") || (state === "sent" && "Sending") || "";
    this.#stop.hidden = state !== "running" && state !== "stopping";
    if (state === "stopping") this.#stop.replaceChildren(icon("stop"), "Stopping…");
    // Not "disabled": that would take the focus from a button that somebody has just pressed.
    this.#stop.setAttribute("aria-disabled", String(state === "stopping"));
  }

  sent() {
    if (this.state === "queued") this.#show("sent");
  }

  /** @param {string} taskId @param {number} time */
  received(taskId, time) {
    this.taskId = taskId;
    this.element.dataset.task = taskId;
    this.#time = time;
    this.#frames.hidden = false;
    this.#show("running");
    this.tick(time);
  }

  stopping() {
    if (this.state === "running") this.#show("stopping", this.#status.textContent);
  }

  /** @param {number} now */
  tick(now) {
    if (this.state === "running" || this.state === "stopping") {
      const waits = this.openQuestion;
      const elapsed = Math.max(0, Math.floor((now - this.#time) / 1000));
      this.#elapsed = elapsed ? ` · ${duration(elapsed * 1000).replace(".0", "")}` : "";
      this.#status.textContent = waits ? "Waiting for you" : `Working${this.#elapsed}`;
      this.element.classList.toggle("waits", Boolean(waits));
    }
    this.element.classList.remove("cut");
    for (const question of this.#questions.values()) question.tick(now);
  }

  /** The connection is lost: how the task goes on is not known, so its clock stands. @param {number} now */
  stand(now) {
    if (this.state === "running" || this.state === "stopping")
      this.#status.textContent = `Connection lost${this.#elapsed}`;
    this.element.classList.add("cut");
    for (const question of this.#questions.values()) question.tick(now);
  }

  /** @returns {QuestionForm | undefined} */
  get openQuestion() {
    return [...this.#questions.values()].find((question) => question.open);
  }

  /** @param {Element} element */
  #step(element) {
    this.#body.append(element);
    const first = this.#body.children[this.#folded.length ? 1 : 0];
    if (this.#body.childElementCount <= MOST_STEPS || first.matches(".question:not(.settled)")) return;
    this.#folded.push(first);
    first.remove();
    this.#showFolded();
  }

  #showFolded() {
    const count = this.#folded.length;
    this.#earlier.textContent = `Show ${Math.min(count, MOST_STEPS)} of ${count.toLocaleString("en")} earlier steps`;
    if (!count) this.#earlier.remove();
    else if (!this.#earlier.isConnected) this.#body.prepend(this.#earlier);
  }

  #unfold() {
    this.#earlier.after(...this.#folded.splice(-MOST_STEPS));
    this.#showFolded();
  }

  /** @param {string} piece */
  output(piece) {
    if (!this.#segment && !piece.trim()) return;
    if (!this.#segment) this.#newSegment();
    this.#segment?.write(piece);
  }

  #newSegment() {
    this.#segment = new MarkdownStream();
    this.#segments.push(this.#segment);
    this.#step(this.#segment.element);
  }

  /** @param {any} data @param {number} time */
  toolCall(data, time) {
    this.#segment = null;
        const card = new ToolCard(data, time);
    this.#cards.push(card);
    this.#openCards.set(data.tool_call_id ?? `${this.#cards.length}`, card);
    this.#step(card.element);
  }

  /** @param {any} data @param {number} time */
  toolResult(data, time) {
    let key = data.tool_call_id;
    if (!this.#openCards.has(key)) key = [...this.#openCards].find(([, card]) => card.name === data.tool_name)?.[0];
    if (key === undefined) {
      this.toolCall({ ...data, tool_kwargs: {} }, time);
      key = data.tool_call_id ?? `${this.#cards.length}`;
    }
    const card = /** @type {ToolCard} */ (this.#openCards.get(key));
    card.finish(data.tool_output, data.is_error === true, time);
    if (this.state === "stopping") this.#endedLate.add(card);
    this.#openCards.delete(key);
  }

  /** @param {import("./question_form.js").Question} question @param {number} time */
  question(question, time) {
    const known = this.#questions.get(question.input_id);
    if (known) {
      if (!known.open) known.ask();
      return;
    }
    this.#segment = null;
    const form = new QuestionForm(question, time, (response) => {
      this.#actions.answer(this.taskId, question.input_id, response);
      this.element.focus({ preventScroll: true });
    });
    this.#questions.set(question.input_id, form);
    this.#step(form.element);
    this.tick(time);
  }

  /** @param {string} inputId @param {any} response */
  answered(inputId, response) {
    this.#questions.get(inputId)?.answered(response);
    this.tick(Date.now());
  }

  /** @param {string} response @param {any} usage @param {number} time */
  completed(response, usage, time) {
    const said = this.#segments.map((segment) => segment.text).join("");
    if (response.trim() && !same(said, response)) this.#answer(response.trim());
    this.#answerText = response;
    const tokens = Object.entries(usage ?? {})
      .filter(([, value]) => typeof value === "number")
      .slice(0, 4);
    this.#end("done", time, "Done in", ...tokens.map(([name, value]) => `${value} ${name.replaceAll("_", " ")}`));
  }

  /** The last text may be the answer or its beginning; whatever else was said stays, but quietly. @param {string} response */
  #answer(response) {
    const begun = this.#segments.at(-1)?.text.trim();
    const goesOn = begun !== undefined && response.startsWith(begun);
    for (const segment of this.#segments.slice(0, goesOn ? -1 : undefined)) segment.element.classList.add("quiet");
    this.#segment = goesOn ? (this.#segments.at(-1) ?? null) : null;
    this.output(response.slice(goesOn ? begun.length : 0));
  }

  /** @param {number} time */
  stopped(time) {
    for (const card of this.#cards) if (card.cutShort || (card.failed && this.#endedLate.has(card))) card.stop();
    this.#openCards.clear();
    this.#end("stopped", time, "Stopped after");
  }

  /** @param {any} data @param {number} time */
  failed(data, time) {
    this.#body.append(errorLine(data));
    this.#end("failed", time, "Failed after");
  }

  /** @param {string} why @param {number} time */
  lost(why, time) {
    this.#end("lost", time, "");
    this.#status.replaceChildren(why);
    this.#tools.querySelector(".again")?.append("Ask again");
  }

  /** @param {TurnState} state @param {number} time @param {string} words @param {...string} more */
  #end(state, time, words, ...more) {
    const focused = this.element.contains(document.activeElement) ? document.activeElement : null;
    const count = this.#cards.length;
    const calls = count && `${count} tool ${count === 1 ? "call" : "calls"}`;
    this.#show(
      state,
      [`${words} ${duration(Math.max(0, time - this.#time))}`, calls, ...more].filter(Boolean).join(" · "),
    );
    for (const card of this.#openCards.values()) card.leave();
    for (const question of this.#questions.values()) question.close();
    this.#openCards.clear();
    this.element.classList.remove("waits", "cut");
    const text = this.#answerText || this.#segments.map((segment) => segment.text.trim()).join("\n\n");
    if (text.trim()) this.#tools.prepend(copyButton(() => text, "Copy the answer"));
    // Focus must not vanish with the button or the form that had it.
    if (focused && (!focused.checkVisibility() || focused.matches(":disabled")))
      this.element.focus({ preventScroll: true });
  }

  /** Frames of it are missing: shows how the server says it stands. @param {any} snapshot @param {number} time */
  gap(snapshot, time) {
    this.#segment = null;
    for (const segment of this.#segments) segment.element.remove();
    this.#segments = [];
    this.#body.append(h("p.gap", {}, "Some frames were missed here. This is the text so far, as the server has it."));
    this.output(snapshot.output);
    for (const input of snapshot.pending_inputs ?? []) this.question(input, time);
    if (snapshot.status === "completed") this.completed(snapshot.response ?? snapshot.output, undefined, time);
    if (snapshot.status === "cancelled") this.stopped(time);
    if (snapshot.status === "failed") this.failed(snapshot, time);
  }
}

/** @param {string} one @param {string} other */
function same(one, other) {
  return one.trim() === other.trim();
}

/** @param {{message?: string, code?: string, error_id?: string}} error @returns {HTMLElement} a sentence */
export function errorLine({ message = "The task failed.", code, error_id }) {
  return h(
    "p.error",
    {},
    h("span", {}, textNodes(message)),
    code && h("code.code-name", {}, textNodes(code)),
    error_id &&
      h(
        "span.error-id",
        {},
        h("code", {}, textNodes(error_id)),
        copyButton(() => error_id, "Copy the error's id"),
      ),
  );
}
