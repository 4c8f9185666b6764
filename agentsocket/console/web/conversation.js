/** The conversation: what the frames, in their order, amount to. The same frames always make the same conversation. */

import { h } from "./dom.js";
import { errorLine } from "./error_line.js";
import { Folded } from "./folded.js";
import { keptTurn } from "./kept_turn.js";
import { Scrolling } from "./scrolling.js";
import { LOGIN_ERRORS, LOST, NEW_SESSION, NO_MEMORY, NOT_KEPT, UNKNOWN_SESSION } from "./session_words.js";
import { spoken } from "./spoken.js";
import { Turn } from "./turn.js";

/**
 * @typedef {import("./frame_record.js").Entry} Entry
 * @typedef {import("./agent_client.js").Frame} Frame
 */

const MOST_TURNS = 500;

export class Conversation {
  #actions;
  #announce;
  #list = h("div.turns");
  #folded;
  #scrolling;
  /** @type {Turn[]} */ #turns = [];
  /** @type {Map<string, Turn>} */ #byRequest = new Map();
  /** @type {Map<string, Turn>} */ #byTask = new Map();
  /** @type {Turn[]} */ #byHand = [];
  /** @type {Map<string, any>} */ #snapshots = new Map();
  #sessionUnknown = false;
  /** Whether an answer to a login is due. */ #loggingIn = false;
  /** The last frame of before the login, and the questions that were open then. @type {{seq: number, open: Set<string>}} */
  #past = { seq: 0, open: new Set() };

  /**
   * @param {import("./turn.js").Actions} actions @param {(text: string) => void} announce to a screen reader
   * @param {HTMLElement} welcome what is shown where nothing was said yet
   * @param {() => void} atTop told when somebody has scrolled up to the beginning
   */
  constructor(actions, announce, welcome, atTop) {
    this.#actions = actions;
    this.#announce = announce;
    this.scroller = h(
      "div.scroller",
      { role: "log", "aria-label": "Conversation", "aria-live": "off", tabindex: 0 },
      this.#list,
    );
    this.#scrolling = new Scrolling(this.scroller, this.#list, () => this.#turns.at(-1)?.openQuestion?.element, atTop);
    this.element = h("div.conversation.empty", {}, this.scroller, this.#scrolling.jump);
    this.scroller.prepend(welcome);
    this.#folded = new Folded(this.#list, this.scroller, () => this.#unfold());
  }

  /** @param {Entry} entry @param {Frame} frame @param {boolean} live false while an earlier conversation is rebuilt */
  apply(entry, frame, live) {
    const { time } = entry;
    if (entry.direction === "note") this.#noted(frame, time);
    else if (entry.direction === "sent") this.#sent(frame, time);
    else {
      this.#received(frame, time);
      const words = live && spoken(frame);
      if (words) this.#announce(words);
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
    if (event === "input_required") return this.#asked(turn, data, time);
    if (event === "agent_response") return turn.completed(data, time);
    if (event === "task_cancelled") return turn.stopped(data, time);
    return undefined;
  }

  /** @param {Turn} turn @param {any} data @param {number} time */
  #asked(turn, data, time) {
    turn.question(data, time);
    // It is only told again: the answer was given before, and is told by nobody.
    if (data.seq <= this.#past.seq && !this.#past.open.has(data.input_id)) turn.answered(data.input_id, undefined);
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
    /** @type {any[]} */ const tasks = data.tasks ?? [];
    const open = tasks.flatMap(({ pending_inputs = [] }) => pending_inputs.map((/** @type {any} */ one) => one.input_id));
    this.#past = { seq: data.resumed ? (data.last_seq ?? 0) : 0, open: new Set(open) };
    if (data.resumed && data.lossless === false) this.#gap(tasks, time);
    else if (data.resumed) for (const task of tasks) this.#askAgain(task, time);
    else if (data.memory) this.#goesOn(data.memory);
    else this.#newSession(time);
    this.#sessionUnknown = false;
  }

  /** @param {"restored" | "none"} memory of the conversation, whose agent is another one now */
  #goesOn(memory) {
    this.#byHand = [];
    if (memory === "none" && this.#begun) this.notice(NO_MEMORY);
  }

  /**
   * Shows what the server has kept, in place of what was here of it; what runs stays as it is, and what waits to be sent.
   * @param {import("./agent_client.js").ConversationTurn[]} kept
   */
  restore(kept) {
    const running = new Set(kept.filter(({ status }) => status === "running").map(({ task_id }) => task_id));
    const arrived = new Set(kept.map(({ request_id }) => request_id));
    const stay = this.#turns.filter((turn) => turn.live && running.has(turn.taskId));
    const live = new Map(stay.map((turn) => [turn.taskId, turn]));
    const waiting = [...this.#byRequest].filter(([id, turn]) => turn.live && !turn.taskId && !arrived.has(id));
    this.clear();
    for (const one of kept) this.#keep(live.get(one.task_id) ?? keptTurn(one, this.#actions));
    for (const [id, turn] of waiting) {
      this.#byRequest.set(id, turn);
      this.#turns.push(turn);
    }
    this.#list.append(...this.#turns.map(({ element }) => element));
    this.#showWhetherEmpty();
  }

  /** @param {Turn} turn */
  #keep(turn) {
    this.#turns.push(turn);
    this.#byTask.set(turn.taskId, turn);
  }

  /** Shows earlier ones above those that are here. @param {import("./agent_client.js").ConversationTurn[]} kept */
  restoreOlder(kept) {
    const older = kept.filter((one) => !this.#byTask.has(one.task_id)).map((one) => keptTurn(one, this.#actions));
    for (const turn of older) this.#byTask.set(turn.taskId, turn);
    this.#turns.unshift(...older);
    this.#scrolling.keep(() => this.#list.prepend(...older.map(({ element }) => element)));
  }

  /** Another conversation is to be shown. */
  clear() {
    for (const map of [this.#byRequest, this.#byTask, this.#snapshots]) map.clear();
    [this.#turns, this.#byHand] = [[], []];
    this.#folded.forget();
    this.#list.replaceChildren();
    this.#showWhetherEmpty();
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
    this.notice(this.#sessionUnknown ? UNKNOWN_SESSION : NEW_SESSION);
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
    if (turn?.live && !turn.taskId && data.code === "store_unavailable") turn.lost(NOT_KEPT, time);
    else if (turn?.live) turn.failed(data, time);
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
    this.#folded.fold();
  }

  #unfold() {
    this.#scrolling.keep(() => {
      this.#folded.unfold();
      this.#showWhetherEmpty();
    });
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
    this.#scrolling.toLatest();
  }
}
