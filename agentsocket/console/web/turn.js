/** One request and what came of it. */

import { DataCard } from "./data_card.js";
import { copyButton, h, icon, iconButton } from "./dom.js";
import { errorLine } from "./error_line.js";
import { fileView, sentFiles } from "./file_view.js";
import { MarkdownStream } from "./markdown.js";
import { byteSize, clock, duration } from "./plain_text.js";
import { Progress } from "./progress.js";
import { QuestionForm } from "./question_form.js";
import { Reasoning } from "./reasoning.js";
import { saidBy } from "./said.js";
import { Steps } from "./steps.js";
import { ToolCalls } from "./tool_calls.js";

/**
 * @typedef {"queued" | "sent" | "running" | "stopping" | "done" | "stopped" | "failed" | "lost"} TurnState
 * @typedef {{message: string | null, attachments?: import("./file_view.js").Sent[]}} Asked null where it is not known
 * @typedef {{cancel: (taskId: string) => void, answer: (taskId: string, inputId: string, response: any) => void,
 *   again: (asked: Asked) => void, edit: (message: string) => void, inspect: (taskId: string) => void,
 *   address: (file: import("./agent_client.js").AgentFile) => string, sentFile: (fileId: string) => Blob | undefined}}
 *   Actions
 *   `again` asks once more, `edit` takes the message to where a person writes; `address` tells where a file is got, and
 *   `sentFile` what this page has sent.
 */

const UNSAVED =
  "The server could not keep this: after its next restart it may be missing here, or the agent may not remember it.";
const LIVE = new Set(["queued", "sent", "running", "stopping"]);

export class Turn {
  #actions;
  #time;
  /** @type {MarkdownStream[]} */ #segments = [];
  /** @type {MarkdownStream | null} */ #segment = null;
  /** @type {Reasoning | null} */ #thought = null;
  #steps = new Steps();
  #calls = new ToolCalls((element) => this.#steps.add(element));
  /** @type {Map<string, QuestionForm>} */ #questions = new Map();
  /** @type {Map<string, DataCard>} */ #data = new Map();
  /** @type {Set<string>} */ #files = new Set();
  /** How far the task is. @type {Progress | null} */ #progress = null;
  #status = h("span.status");
  #stop = h("button.stop", { type: "button" }, icon("stop"), "Stop");
  #tools = h("span.tools");
  #frames = h("button.link.frames", { type: "button", hidden: true, title: "Show the frames of this task" }, "Frames");
  #footer = h("footer", {}, this.#status, this.#stop, this.#tools);
  #elapsed = "";
  #answerText = "";

  /** @type {TurnState} */ state = "sent";
  taskId = "";

  /** @param {Asked} asked @param {number} time @param {Actions} actions */
  constructor(asked, time, actions) {
    const { message, attachments = [] } = asked;
    this.asked = asked;
    this.#time = time;
    this.#actions = actions;
    this.#stop.addEventListener("click", () => this.state === "running" && actions.cancel(this.taskId));
    this.#frames.addEventListener("click", () => actions.inspect(this.taskId));
    this.#stop.setAttribute("aria-label", `Stop: ${message || "this task"}`.slice(0, 80));
    this.element = h(
      "article.turn",
      { tabindex: -1, "aria-label": (message || "Task").slice(0, 80) },
      h(
        "header",
        {},
        saidBy(message),
        h("time", {}, clock(time)),
        message && copyButton(() => message, "Copy the message"),
      ),
      attachments.length > 0 && sentFiles(attachments, actions.sentFile),
      this.#steps.element,
      this.#footer,
    );
    if (message !== null)
      this.#tools.append(
        iconButton("button.quiet.again", "again", "Ask again", () => actions.again(asked)),
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
    this.#thought?.tick(now);
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

  /** @param {string} piece @param {number} time */
  output(piece, time) {
    if (!this.#segment && !piece.trim()) return;
    if (!this.#segment) this.#newSegment(time);
    this.#segment?.write(piece);
  }

  /** @param {number} time */
  #newSegment(time) {
    this.#turnTo(time);
    this.#segment = new MarkdownStream();
    this.#segments.push(this.#segment);
    this.#steps.add(this.#segment.element);
  }

  /** @param {string} piece @param {number} time */
  reasoning(piece, time) {
    if (!this.#thought && !piece.trim()) return;
    this.#segment = null;
    if (!this.#thought) {
      this.#thought = new Reasoning(time);
      this.#steps.add(this.#thought.element);
    }
    this.#thought.write(piece);
  }

  /** Something else follows on what was said or thought. @param {number} time */
  #turnTo(time) {
    this.#segment = null;
    this.#thought?.end(time);
    this.#thought = null;
  }

  /** @param {any} data @param {number} time */
  toolCall(data, time) {
    this.#turnTo(time);
    this.#calls.call(data, time);
  }

  /** @param {any} data @param {number} time */
  toolResult(data, time) {
    this.#calls.result(data, time, this.state === "stopping");
  }

  /** @param {any} data */
  progress(data) {
    if (this.#calls.progress(data)) return;
    if (!this.#progress) {
      this.#progress = new Progress("the task");
      this.#footer.before(this.#progress.element);
    }
    this.#progress.show(data);
  }

  /** @param {{name: string, data: any, id?: string, transient?: boolean}} said @param {number} time */
  data({ name, data, id, transient = false }, time) {
    const key = id !== undefined ? `id ${id}` : transient ? `name ${name}` : undefined;
    const known = key === undefined ? undefined : this.#data.get(key);
    const card = known ?? new DataCard(name, data);
    if (known) known.show(name, data);
    else this.#between(card.element, time);
    if (key !== undefined) this.#data.set(key, card);
    card.element.classList.toggle("transient", transient);
  }

  /** @param {import("./agent_client.js").AgentFile} file @param {number} time */
  file(file, time) {
    if (this.#files.has(file.file_id)) return;
    this.#files.add(file.file_id);
    this.#between(fileView(file, this.#actions.address(file)), time);
  }

  /** Adds what may come in the middle of a sentence: that is not cut in two. @param {Element} element @param {number} time */
  #between(element, time) {
    if (!this.#segment || /[\s.:!?)]$/.test(this.#segment.text)) this.#turnTo(time);
    this.#steps.add(element);
  }

  /** @param {import("./question_form.js").Question} question @param {number} time */
  question(question, time) {
    const known = this.#questions.get(question.input_id);
    if (known) {
      if (!known.open) known.ask();
      return;
    }
    this.#turnTo(time);
    const form = new QuestionForm(question, time, (response) => {
      this.#actions.answer(this.taskId, question.input_id, response);
      this.element.focus({ preventScroll: true });
    });
    this.#questions.set(question.input_id, form);
    this.#steps.add(form.element);
    this.tick(time);
  }

  /** @param {string} inputId @param {any} response */
  answered(inputId, response) {
    this.#questions.get(inputId)?.answered(response);
    this.tick(Date.now());
  }

  /** @param {{response: string, usage?: any, result?: any, unsaved?: boolean}} answer @param {number} time */
  completed({ response, usage, result, unsaved = false }, time) {
    const said = this.#segments.map((segment) => segment.text).join("");
    if (response.trim() && !same(said, response)) this.#answer(response.trim(), time);
    if (result !== undefined) this.#steps.add(new DataCard("Result", result, true).element);
    this.#tellWhether(unsaved);
    this.#answerText = response;
    const tokens = Object.entries(usage ?? {})
      .filter(([, value]) => typeof value === "number")
      .slice(0, 4);
    this.#end("done", time, "Done in", ...tokens.map(([name, value]) => `${value} ${name.replaceAll("_", " ")}`));
  }

  /**
   * The last text may be the answer or its beginning; whatever else was said stays, but quietly.
   * @param {string} response @param {number} time
   */
  #answer(response, time) {
    const begun = this.#segments.at(-1)?.text.trim();
    const goesOn = begun !== undefined && response.startsWith(begun);
    for (const segment of this.#segments.slice(0, goesOn ? -1 : undefined)) segment.element.classList.add("quiet");
    this.#segment = goesOn ? (this.#segments.at(-1) ?? null) : null;
    this.output(response.slice(goesOn ? begun.length : 0), time);
  }

  /** @param {boolean} unsaved whether the server could not keep how it ended */
  #tellWhether(unsaved) {
    if (unsaved) this.#steps.add(h("p.gap", {}, UNSAVED));
  }

  /** What was said was longer than what is kept of a turn. @param {number} bytes that are missing */
  cut(bytes) {
    this.#turnTo(NaN);
    this.#steps.add(h("p.gap", {}, `${byteSize(bytes)} that came here are not kept: it was too long.`));
  }

  /** @param {{unsaved?: boolean}} end @param {number} time */
  stopped({ unsaved = false }, time) {
    this.#calls.stop();
    this.#tellWhether(unsaved);
    this.#end("stopped", time, "Stopped after");
  }

  /** @param {any} data @param {number} time */
  failed(data, time) {
    this.#steps.element.append(errorLine(data));
    this.#tellWhether(data.unsaved === true);
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
    const { count } = this.#calls;
    const calls = count && `${count} tool ${count === 1 ? "call" : "calls"}`;
    this.#show(
      state,
      [`${words} ${duration(Math.max(0, time - this.#time))}`, calls, ...more].filter(Boolean).join(" · "),
    );
    this.#turnTo(time);
    this.#calls.leave();
    this.#progress?.element.remove();
    for (const { element } of this.#data.values()) if (element.matches(".transient")) this.#steps.remove(element);
    for (const question of this.#questions.values()) question.close();
    this.element.classList.remove("waits", "cut");
    const text = this.#answerText || this.#segments.map((segment) => segment.text.trim()).join("\n\n");
    if (text.trim()) this.#tools.prepend(copyButton(() => text, "Copy the answer"));
    // Focus must not vanish with the button or the form that had it.
    if (focused && (!focused.checkVisibility() || focused.matches(":disabled")))
      this.element.focus({ preventScroll: true });
  }

  /** Frames of it are missing: shows how the server says it stands. @param {any} snapshot @param {number} time */
  gap(snapshot, time) {
    this.#turnTo(time);
    for (const segment of this.#segments) this.#steps.remove(segment.element);
    this.#segments = [];
    this.#steps.add(h("p.gap", {}, "Some frames were missed here. This is the text so far, as the server has it."));
    this.output(snapshot.output, time);
    for (const data of snapshot.data ?? []) this.data(data, time);
    for (const file of snapshot.files ?? []) this.file(file, time);
    for (const input of snapshot.pending_inputs ?? []) this.question(input, time);
    if (snapshot.status === "completed") {
      const { response = snapshot.output, result } = snapshot;
      this.completed({ response, result }, time);
    }
    if (snapshot.status === "cancelled") this.stopped({}, time);
    if (snapshot.status === "failed") this.failed(snapshot, time);
  }
}

/** @param {string} one @param {string} other */
function same(one, other) {
  return one.trim() === other.trim();
}
