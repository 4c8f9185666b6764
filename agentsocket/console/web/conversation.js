/** The conversation: what the frames, in their order, amount to. The same frames always make the same conversation. */

import { h, icon } from "./dom.js";
import { errorLine } from "./error_line.js";
import { Turn } from "./turn.js";

/**
 * @typedef {import("./frame_record.js").Entry} Entry
 * @typedef {import("./agent_client.js").Frame} Frame
 */

const MOST_TURNS = 500;
// The state of the connection tells of these.
const LOGIN_ERRORS = new Set([
  "authentication_failed",
  "authentication_unavailable",
  "session_not_found",
  "too_many_sessions",
  "agent_unavailable",
]);
const LOST = "Lost with the session it ran in.";

export class Conversation {
  #actions;
  #announce;
  #list = h("div.turns");
  #before = h("button.before", { type: "button" }, "Show the earlier conversation");
  /** @type {Element[]} */ #folded = [];
  #jump = h("button.jump", { type: "button", hidden: true }, icon("down"), "Latest");
  #sticks = true;
  #lastTop = 0;
  /** @type {Turn[]} */ #turns = [];
  /** @type {Map<string, Turn>} */ #byRequest = new Map();
  /** @type {Map<string, Turn>} */ #byTask = new Map();
  /** @type {Turn[]} */ #byHand = [];
  /** @type {Map<string, any>} */ #snapshots = new Map();
  #sessionUnknown = false;
  /** Whether an answer to a login is due. */ #loggingIn = false;

  /**
   * @param {import("./turn.js").Actions} actions @param {(text: string) => void} announce to a screen reader
   * @param {HTMLElement} welcome what is shown where nothing was said yet
   */
  constructor(actions, announce, welcome) {
    this.#actions = actions;
    this.#announce = announce;
    this.scroller = h(
      "div.scroller",
      { role: "log", "aria-label": "Conversation", "aria-live": "off", tabindex: 0 },
      this.#list,
    );
    this.element = h("div.conversation.empty", {}, this.scroller, this.#jump);
    this.scroller.prepend(welcome);
    this.#before.addEventListener("click", () => this.#unfold());
    this.scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    this.#jump.addEventListener("click", () => this.toLatest());
    const observer = new ResizeObserver(() => this.#sticks && this.#toEnd());
    for (const element of [this.#list, this.scroller]) observer.observe(element);
  }

  /** @param {Entry} entry @param {Frame} frame @param {boolean} live false while an earlier conversation is rebuilt */
  apply(entry, frame, live) {
    const { time } = entry;
    if (entry.direction === "note") this.#noted(frame, time);
    else if (entry.direction === "sent") this.#sent(frame, time);
    else {
      this.#received(frame, time);
      if (live) this.#say(frame);
    }
    this.#showWhetherEmpty();
  }

  #showWhetherEmpty() {
    this.element.classList.toggle("empty", this.empty);
  }

  /** @param {Frame} frame @param {number} time */
  #noted({ event, data }, time) {
    const turn = this.#byRequest.get(data.request_id);
    const { message, attachments } = data;
    if (event === "asked" && !turn) this.#add({ message, attachments }, time, data.request_id);
    if (event === "unsent" && turn?.live) turn.lost(data.reason, time);
    if (event === "begun") this.#fold();
    if (event === "dropped") this.notice("The conversation before this was too long to be kept across a reload.");
  }

  /** @param {Frame} frame @param {number} time */
  #sent({ event, data }, time) {
    const turn = this.#byTask.get(data.task_id);
    if (event === "login") this.#loggingIn = true;
    if (event === "agent_request") this.#requested(data, time);
    if (event === "cancel_request") turn?.stopping();
    if (event === "input_response") turn?.answered(data.input_id, data.response);
  }

  /** @param {any} data @param {number} time */
  #requested(data, time) {
    const known = this.#byRequest.get(data.request_id);
    const attachments = (data.attachments ?? []).map((/** @type {string} */ id) => ({ file_id: id, name: id }));
    const turn = known ?? this.#add({ message: String(data.message ?? ""), attachments }, time, data.request_id);
    if (!data.request_id) this.#byHand.push(turn);
    turn.sent();
  }

  /** @param {Frame} frame @param {number} time */
  #received({ event, data }, time) {
    const ofLogin = this.#loggingIn && !data.task_id && !data.request_id;
    if (event === "login_response" || (event === "error" && ofLogin)) this.#loggingIn = false;
    if (event === "error" && data.code === "rate_limited" && ofLogin) return undefined;
    if (event === "login_response") return this.#loggedIn(data, time);
    if (event === "logout_response") return this.#ended(time);
    if (event === "error") return this.#error(data, time);
    if (event === "agent_request_received") return this.#confirmed(data, time);
    const turn = data.task_id && this.#ofTask(data.task_id, time);
    if (!turn?.live) return undefined;
    if (event === "agent_output") return turn.output(data.output, time);
    if (event === "agent_reasoning") return turn.reasoning(data.reasoning, time);
    if (event === "tool_call") return turn.toolCall(data, time);
    if (event === "tool_result") return turn.toolResult(data, time);
    if (event === "tool_progress") return turn.progress(data);
    if (event === "agent_data") return turn.data(data, time);
    if (event === "agent_file") return turn.file(data, time);
    if (event === "input_required") return turn.question(data, time);
    if (event === "agent_response") return turn.completed(data, time);
    if (event === "task_cancelled") return turn.stopped(time);
    return undefined;
  }

  /** @param {any} data @param {number} time */
  #confirmed({ task_id, request_id }, time) {
    const early = this.#byTask.get(task_id);
    const turn = this.#byRequest.get(request_id) ?? (request_id ? undefined : this.#byHand.shift());
    if (!turn || turn === early || !turn.live) return early ?? this.#ofTask(task_id, time);
    early?.element.remove();
    this.#byTask.set(task_id, turn);
    turn.received(task_id, time);
    const snapshot = this.#snapshots.get(task_id);
    if (snapshot) turn.gap(snapshot, time);
    return turn;
  }

  /** @param {string} taskId @param {number} time @returns {Turn} */
  #ofTask(taskId, time) {
    const known = this.#byTask.get(taskId);
    if (known) return known;
    const turn = this.#add({ message: null }, time);
    this.#byTask.set(taskId, turn);
    turn.received(taskId, time);
    return turn;
  }

  /** @param {import("./turn.js").Asked} asked @param {number} time @param {string} [requestId] */
  #add(asked, time, requestId) {
    const turn = new Turn(asked, time, this.#actions);
    this.#turns.push(turn);
    if (requestId) this.#byRequest.set(requestId, turn);
    this.#list.append(turn.element);
    if (this.#turns.length > MOST_TURNS && !this.#turns[0].live) this.#turns.shift()?.element.remove();
    return turn;
  }

  // ---- Sessions ----

  /** @param {any} data @param {number} time */
  #loggedIn(data, time) {
    if (data.resumed && data.lossless === false) this.#gap(data.tasks ?? [], time);
    else if (data.resumed) for (const task of data.tasks ?? []) this.#askAgain(task, time);
    else this.#newSession(time);
    this.#sessionUnknown = false;
  }

  /** @param {number} time */
  #newSession(time) {
    for (const turn of this.#turns) if (turn.live && turn.state !== "queued") turn.lost(LOST, time);
    this.#byHand = [];
    this.#tellOfNewSession();
    // What waits to be sent belongs to the session that begins.
    this.#list.append(...this.#turns.filter((turn) => turn.live).map((turn) => turn.element));
  }

  /** Whether this conversation has begun: what waits to be sent does not count. */
  get #begun() {
    return this.#turns.some((turn) => turn.state !== "queued" && this.#list.contains(turn.element));
  }

  #tellOfNewSession() {
    if (!this.#begun) return;
    if (this.#sessionUnknown) {
      this.notice(
        "The server no longer knows the session before this: it was restarted, or the session ended while the page " +
          "was away. A new session has begun, and its agent does not remember what was said above.",
      );
    } else {
      this.notice("A new session has begun. Its agent does not remember what was said above.");
    }
  }

  /** @param {number} time */
  #ended(time) {
    for (const turn of this.#turns) if (turn.live && turn.state !== "queued") turn.lost(LOST, time);
    if (this.#begun) this.notice("Logged out.");
  }

  /** @param {any[]} snapshots @param {number} time */
  #gap(snapshots, time) {
    this.#snapshots = new Map(snapshots.map((snapshot) => [snapshot.task_id, snapshot]));
    for (const turn of this.#turns) {
      if (turn.live && turn.taskId && !this.#snapshots.has(turn.taskId)) {
        turn.lost("It ended while the connection was lost, and how is not known.", time);
      }
    }
    for (const snapshot of snapshots) {
      const turn = this.#ofTask(snapshot.task_id, time);
      if (turn.live) turn.gap(snapshot, time);
    }
  }

  /** A question that the server still lists has not got its answer. @param {any} task @param {number} time */
  #askAgain(task, time) {
    for (const input of task.pending_inputs ?? []) this.#byTask.get(task.task_id)?.question(input, time);
  }

  /** @param {any} data @param {number} time */
  #error(data, time) {
    if (data.code === "session_not_found") this.#sessionUnknown = true;
    const turn = this.#byTask.get(data.task_id) ?? this.#byRequest.get(data.request_id);
    if (turn?.live) turn.failed(data, time);
    else if (!(turn && data.code === "unknown_task") && !LOGIN_ERRORS.has(data.code))
      this.#list.append(errorLine(data));
  }

  /** @param {string} text */
  notice(text) {
    this.#list.append(h("p.notice", {}, text));
  }

  /** A new conversation begins: what was said before is out of the way, and still there. */
  #fold() {
    if (!this.empty) this.notice("A new conversation begins. Its agent does not remember what was said above.");
    this.#list.prepend(...this.#folded);
    this.#folded = [...this.#list.children];
    for (const element of this.#folded) element.remove();
    if (this.#folded.length) this.scroller.prepend(this.#before);
  }

  #unfold() {
    const height = this.scroller.scrollHeight;
    this.#list.prepend(...this.#folded.splice(0));
    this.#before.remove();
    this.#showWhetherEmpty();
    this.scroller.scrollTop += this.scroller.scrollHeight - height;
    this.scroller.focus({ preventScroll: true });
  }

  // ---- For the rest of the page ----

  /** Moves on the clocks of what runs; those of a lost connection stand. @param {number} now @param {boolean} connected */
  tick(now, connected) {
    for (const turn of this.#turns) {
      if (turn.live && connected) turn.tick(now);
      else if (turn.live) turn.stand(now);
    }
  }

  get empty() {
    return this.#list.childElementCount === 0;
  }

  /** @returns {number} tasks that have not ended */
  get running() {
    return this.#turns.filter((turn) => turn.live).length;
  }

  /** @returns {import("./question_form.js").QuestionForm[]} what waits for an answer */
  get questions() {
    return this.#turns.flatMap((turn) => (turn.live && turn.openQuestion) || []);
  }

  /** @returns {{requests: [string, import("./turn.js").Asked][], cancels: string[]}} what was begun before a reload and is not confirmed */
  get unconfirmed() {
    const requests = [...this.#byRequest].filter(([, turn]) => turn.state === "queued" || turn.state === "sent");
    const cancels = this.#turns.filter((turn) => turn.state === "stopping").map((turn) => turn.taskId);
    return { requests: requests.map(([id, turn]) => [id, turn.asked]), cancels };
  }

  /** Shows at once what the frame of it will confirm. @param {string} taskId */
  stopping(taskId) {
    this.#byTask.get(taskId)?.stopping();
  }

  /** @param {string} taskId @param {string} inputId @param {any} response */
  answered(taskId, inputId, response) {
    this.#byTask.get(taskId)?.answered(inputId, response);
  }

  toLatest() {
    this.#sticks = true;
    this.#toEnd();
  }

  #toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    const asking = this.#turns.at(-1)?.openQuestion?.element;
    if (!asking || asking.getBoundingClientRect().top >= this.scroller.getBoundingClientRect().top) return;
    // Who is asked reads from the beginning on, not from the buttons.
    asking.scrollIntoView({ block: "start" });
    this.#sticks = false;
    this.#jump.hidden = false;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    // What comes in below moves nobody away from the end: only who scrolls up leaves it.
    if (scrollHeight - scrollTop - clientHeight < 40) this.#sticks = true;
    else if (scrollTop < this.#lastTop) this.#sticks = false;
    this.#lastTop = scrollTop;
    this.#jump.hidden = this.#sticks;
  }

  /** @param {Frame} frame */
  #say({ event, data }) {
    if (event === "agent_response")
      this.#announce(data.response.trim() ? `Answer: ${data.response.slice(0, 500)}` : "Done.");
    if (event === "input_required")
      this.#announce(`${data.kind === "approval" ? "Approval wanted" : "The agent asks"}: ${data.prompt}`);
    if (event === "agent_file") this.#announce(`A file: ${data.name}`);
    if (event === "task_cancelled") this.#announce("Stopped.");
    if (event === "error") this.#announce(data.message);
  }
}
