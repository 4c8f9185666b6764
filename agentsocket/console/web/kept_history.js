/** Has the conversation show what the server has kept of it: what comes in meanwhile waits for that. */

import { h } from "./dom.js";
import { errorLine } from "./error_line.js";

/**
 * @typedef {import("./frame_record.js").Entry} Entry
 * @typedef {import("./agent_client.js").Frame} Frame
 */

/** Questions about conversations: they and their answers are no part of one. */
const QUESTIONS = new Set(["list_conversations", "get_conversation", "rename_conversation", "delete_conversation"]);
const ANSWERS = new Set(["conversations", "conversation", "conversation_updated", "conversation_deleted"]);

export class KeptHistory {
  #client;
  #conversation;
  #apply;
  /** @type {Set<string>} */ #asked = new Set();
  /** What came in meanwhile. @type {[Entry, Frame][] | null} */ #held = null;
  /** Whether all that is shown is what the server has. */ #whole = false;
  /** The `before` of what is older. @type {string | undefined} */ #next;
  #loading = false;
  #older = h("button.before.older", { type: "button", hidden: true, onclick: () => this.older() }, "Older");
  #problem = h("div.turns.unread", { hidden: true });

  /**
   * @param {import("./agent_client.js").AgentClient} client @param {import("./conversation.js").Conversation} conversation
   * @param {(entry: Entry, frame: Frame) => void} apply shows a frame
   */
  constructor(client, conversation, apply) {
    this.#client = client;
    this.#conversation = conversation;
    this.#apply = apply;
    conversation.scroller.prepend(this.#older, this.#problem);
  }

  /** Another conversation is to be shown. */
  begin() {
    [this.#held, this.#whole, this.#next, this.#loading] = [null, false, undefined, false];
    this.#older.hidden = this.#problem.hidden = true;
  }

  /** @param {Frame} frame @param {string} direction @returns {boolean} whether it is about conversations, and no part of one */
  concerns({ event, data }, direction) {
    if (direction === "sent" && QUESTIONS.has(event)) this.#asked.add(data.request_id);
    return QUESTIONS.has(event) || ANSWERS.has(event) || this.#asked.has(data.request_id);
  }

  /** @param {Entry} entry @param {Frame} frame @returns {boolean} whether it is shown later */
  holds(entry, frame) {
    const { event, data } = frame;
    if (entry.direction === "note") return false;
    if (entry.direction === "received" && event === "login_response" && data.conversation_id) {
      const begins = !data.memory && !data.resumed; // of a new one there is nothing to be told
      const missed = !data.resumed || data.lossless === false;
      if (!begins && (missed || !this.#whole)) {
        this.#held = [];
        queueMicrotask(() => this.#load(data.conversation_id));
      } else this.#whole = true;
    }
    this.#held?.push([entry, frame]);
    return this.#held !== null;
  }

  /** @returns {boolean} whether it is still to be told */
  get waits() {
    return this.#held !== null;
  }

  /** @param {string} id */
  async #load(id) {
    const held = this.#held;
    let title = "";
    const own = () => held !== null && held === this.#held;
    try {
      const page = await this.#client.history(id);
      if (!own()) return;
      this.#conversation.restore(page.turns);
      [this.#whole, this.#next, title] = [true, page.next, page.title];
      this.#problem.hidden = true;
    } catch (error) {
      if (!own()) return;
      const { name } = /** @type {Error} */ (error);
      if (name !== "ServerError") return; // the connection is lost: with the next one it is asked for again
      this.#tell(/** @type {any} */ (error), () => this.#again(id));
    }
    this.#held = null;
    for (const [entry, frame] of held ?? []) this.#apply(entry, frame);
    this.#older.hidden = this.#next === undefined;
    this.#conversation.toLatest();
    this.onShown(title);
  }

  /** Told when all is shown. @type {(title: string) => void} */
  onShown = () => {};

  /** @param {string} id */
  #again(id) {
    this.#held = [];
    this.#load(id);
  }

  /** @param {{message: string, code?: string}} error @param {() => void} again */
  #tell(error, again) {
    const button = h("button", { type: "button", onclick: again }, "Try again");
    this.#problem.replaceChildren(errorLine({ message: `What was said before cannot be shown. ${error.message}` }), button);
    this.#problem.hidden = false;
  }

  /** Shows what is older. */
  async older() {
    if (this.#next === undefined || this.#loading || this.#held) return;
    const before = this.#next;
    this.#loading = true;
    this.#older.setAttribute("aria-busy", "true");
    try {
      const page = await this.#client.history(this.#client.conversationId, { before });
      if (this.#next !== before) return;
      this.#next = page.next;
      this.#conversation.restoreOlder(page.turns);
      this.#problem.hidden = true;
    } catch (error) {
      if (this.#next !== before) return;
      this.#tell(/** @type {any} */ (error), () => this.older());
    } finally {
      this.#loading = false;
      this.#older.removeAttribute("aria-busy");
      this.#older.hidden = this.#next === undefined;
    }
  }
}
