/** One page, many conversations: which one is shown, how a person gets to another, and what becomes of the one before. */

import { Address } from "./address.js";
import { ConversationList } from "./conversation_list.js";
import { h, icon } from "./dom.js";
import { KeptHistory } from "./kept_history.js";
import { lasting } from "./storage.js";

const LIST_KEY = "agent-console list";
/** Pixels of width below which the list lies over the conversation. */
const NARROW = 900;
const ENDS = new Set(["agent_response", "error", "task_cancelled"]);

/**
 * @typedef {import("./frame_record.js").Entry} Entry
 * @typedef {import("./agent_client.js").Frame} Frame
 */

export class Talks {
  #client;
  #conversation;
  #store;
  #actions;
  #address = new Address((id) => (id !== null || this.#kept) && this.#go(id));
  /** Whether the server keeps conversations. */ #kept = false;
  /** What was asked last. */ #asked = "";
  /** What the conversation is called, where it was one already. */ #title = "";
  /** The last frame of before the login. */ #past = 0;
  /** Which way to another one was begun last. */ #steps = 0;

  /**
   * @param {import("./agent_client.js").AgentClient} client @param {import("./conversation.js").Conversation} conversation
   * @param {import("./tab_store.js").TabStore} store
   * @param {{apply: (entry: Entry, frame: Frame) => void, login: () => void, shown: () => void, focus: () => void,
   *   announce: (text: string) => void}} actions
   *   `shown` is told when all is shown that is kept.
   */
  constructor(client, conversation, store, actions) {
    this.#client = client;
    this.#conversation = conversation;
    this.#store = store;
    this.#actions = actions;
    this.#history = new KeptHistory(client, conversation, actions.apply);
    this.#history.onShown = (title) => {
      this.#title = title;
      if (!conversation.empty) this.#stay();
      actions.shown();
    };
    this.#list = new ConversationList(
      client,
      {
        fresh: () => this.fresh(),
        close: () => this.#open(false, true),
        gone: (id) => id === this.#shown && this.#leaveFor(null, true),
        running: (id) => this.#runs(id),
      },
      actions.announce,
    );
    client.addEventListener("state", () => {
      const { name, code } = client.state;
      if (name === "refused" && code === "conversation_not_found") this.#missing();
    });
    this.element = this.#list.element;
    this.button.addEventListener("click", () => this.#open(document.body.dataset.list !== "open", true));
    this.element.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Escape" && innerWidth < NARROW) this.#open(false, true);
    });
    document.addEventListener("pointerdown", ({ target }) => {
      const inside = [this.element, this.button].some((one) => one.contains(/** @type {Node} */ (target)));
      if (innerWidth < NARROW && !inside) this.#open(false);
    });
  }

  #history;
  #list;
  button = h(
    "button.quiet.talks",
    {
      type: "button",
      "aria-controls": "conversations",
      "aria-label": "Conversations",
      title: "Conversations",
      hidden: true,
    },
    icon("list"),
  );

  /** Whether the server keeps conversations. */
  get kept() {
    return this.#kept;
  }

  /** @returns {string | null} the conversation of the address */
  get wanted() {
    return this.#address.id;
  }

  /** @returns {boolean} whether what was kept of the page is still to be told */
  get waits() {
    return this.#history.waits;
  }

  get #shown() {
    return this.#client.conversationId;
  }

  /** @param {boolean} open @param {boolean} [byHand] */
  #open(open, byHand = false) {
    const focused = this.element.contains(document.activeElement);
    document.body.dataset.list = open ? "open" : "closed";
    this.button.setAttribute("aria-expanded", String(open));
    if (open) this.#list.refresh(0);
    if (byHand && innerWidth >= NARROW) lasting.setItem(LIST_KEY, open ? "open" : "closed");
    if (!open && focused) this.button.focus();
    if (open && byHand && innerWidth < NARROW) this.element.querySelector("button")?.focus();
  }

  // ---- Frames ----

  /** @param {Frame} frame @param {string} direction @returns {boolean} whether it is about conversations, and no part of one */
  concerns(frame, direction) {
    return this.#history.concerns(frame, direction);
  }

  /** @param {Entry} entry @param {Frame} frame @returns {boolean} whether it is to be shown later */
  holds(entry, frame) {
    if (entry.direction === "received") this.#hear(frame);
    return this.#history.holds(entry, frame);
  }

  /** @param {Frame} frame */
  #hear({ event, data }) {
    if (event === "login_response") this.#entered(data);
    if (!this.#kept) return;
    if (event === "agent_request_received") {
      this.#stay();
      const again = data.seq <= this.#past;
      if (this.#shown && !again) this.#list.noticed(this.#shown, this.#title || this.#asked);
    }
    if (ENDS.has(event) && data.task_id) this.#list.refresh();
  }

  /** @param {Record<string, any>} login */
  #entered({ conversation_id, memory, user, resumed, last_seq = 0 }) {
    this.#past = resumed ? last_seq : 0;
    this.#kept = Boolean(conversation_id);
    this.button.hidden = !this.#kept;
    if (!this.#kept) return this.#open(false);
    if (memory) this.#stay();
    if (document.body.dataset.list === undefined)
      this.#open(innerWidth >= NARROW && lasting.getItem(LIST_KEY) !== "closed");
    this.#list.begin(user);
    this.#list.current = this.#shown;
  }

  /** There is something of the conversation: it has an address. */
  #stay() {
    this.#address.show(this.#shown);
    this.#store.conversation = this.#shown;
    this.#list.current = this.#shown;
  }

  /** @param {string} message that is asked */
  asked(message) {
    this.#asked = message;
  }

  /** Somebody has scrolled up to the beginning of what is shown. */
  atTop() {
    this.#history.older();
  }

  // ---- From one to another ----

  /** Begins a new one. */
  fresh() {
    if (this.#shown && this.#address.id === null && this.#conversation.empty) return this.#arrive(); // that is what it is
    return this.#leaveFor(null);
  }

  /** @param {string | null} id @param {boolean} [inList] whether a person still is in the list */
  #leaveFor(id, inList) {
    this.#address.show(id, true);
    return this.#go(id, inList);
  }

  /** @param {string | null} id where the address says @param {boolean} [inList] */
  async #go(id, inList = false) {
    if (id !== null && id === this.#shown && this.#client.state.name === "ready") return this.#arrive();
    const step = ++this.#steps;
    await this.#leave();
    if (step !== this.#steps) return; // somebody has gone on meanwhile
    this.#conversation.clear();
    this.#history.begin();
    this.#title = "";
    this.#store.begin(id);
    this.#list.current = id;
    this.#actions.login();
    if (!inList) this.#arrive();
  }

  #arrive() {
    if (innerWidth < NARROW) this.#open(false);
    this.#actions.focus();
  }

  /** What runs goes on, and is found again. */
  async #leave() {
    const client = this.#client;
    const id = client.conversationId;
    const idle = !this.#conversation.running;
    if (client.state.name === "ready" && idle) await client.logout().catch(() => {});
    else if (client.session && id) this.#store.leave(id, client.session);
    client.close();
    client.session = client.conversationId = null;
  }

  /** @param {string} id @returns {Promise<boolean>} whether one that this tab has left still runs */
  async #runs(id) {
    if (id === this.#shown) return this.#conversation.running > 0;
    if (!this.#store.hasLeft(id)) return false;
    const { turns } = await this.#client.history(id, { limit: 20 }).catch(() => ({ turns: [] }));
    return turns.some(({ status }) => status === "running");
  }

  /** What the address says is not there for whoever has logged in: nothing of it may stay in sight. */
  #missing() {
    if (this.#address.id) this.#list.forget(this.#address.id);
    this.#conversation.clear();
    this.#history.begin();
    this.#store.begin(this.#address.id);
  }

  /** Somebody else is to log in, with a conversation of their own. */
  abandon() {
    this.#address.show(null);
  }
}
