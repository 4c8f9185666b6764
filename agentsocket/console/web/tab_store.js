/** What a tab keeps across a reload: the session, its conversation, whose it is, and as many of the newest frames as there is room for. */

import { ofThisTab } from "./storage.js";

/** @typedef {import("./agent_client.js").Session} Session */

const CHUNK = 64 * 1024;
/** Characters of frames kept: browsers give a page's tab some five million. */
const ROOM = 2_000_000;

export class TabStore {
  #prefix = `agent-console ${location.pathname}${location.search} `;
  #first = 0;
  #last = 0;
  /** @type {Map<number, string>} */ #chunks = new Map();
  /** @type {Set<number>} */ #dirty = new Set();
  /** @type {Session | null} */ #session = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;

  /** The conversation that is shown, once there is something of it. @type {string | null} */ conversation = null;
  /** Sessions that go on without the tab, by their conversations. @type {Record<string, Session>} */ #left = {};

  /** @typedef {{session: Session | null, token: string | undefined, entries: [string, number, string][], dropped: boolean}} Kept */

  /** @returns {Kept} */
  load() {
    try {
      return this.#read();
    } catch {
      // Written by another version of the page, or by somebody else.
      for (const i of [...this.#chunks.keys()]) this.#remove(i);
      ofThisTab.removeItem(`${this.#prefix}head`);
      return { session: null, token: undefined, entries: [], dropped: false };
    }
  }

  #read() {
    const {
      session = null,
      token,
      user,
      conversation = null,
      left = {},
      first = 0,
      last = 0,
    } = JSON.parse(ofThisTab.getItem(`${this.#prefix}head`) ?? "{}");
    [this.#first, this.#last, this.#session] = [first, last, session];
    [this.token, this.#user, this.conversation, this.#left] = [token, user, conversation, left];
    const entries = [];
    for (let i = first; i <= last; i++) {
      const chunk = ofThisTab.getItem(this.#key(i)) ?? "";
      this.#chunks.set(i, chunk);
      for (const line of chunk.split("\n")) if (line) entries.push(JSON.parse(line));
    }
    return { session, token, entries, dropped: first > 0 };
  }

  /** @type {string | undefined} */ token;
  /** The id of whoever has said what is kept. @type {string | undefined} */ #user;
  /** Whether the page is about to begin anew. */ #over = false;

  /** @param {string} user @returns {boolean} whether what is kept is somebody else's; if it was nobody's, it is this one's */
  isAnothers(user) {
    this.#user ??= user;
    return this.#user !== user;
  }

  /** Forgets everything but the token, for a page that begins anew. @param {Session | null} session @param {string} user */
  handOver(session, user) {
    this.#empty();
    [this.#session, this.#user, this.conversation, this.#left] = [session && { ...session }, user, null, {}];
    this.flush();
    this.#over = true;
  }

  #empty() {
    for (const i of [...this.#chunks.keys()]) this.#remove(i);
    [this.#first, this.#last, this.#session] = [0, 0, null];
  }

  /** Another conversation is shown, of which nothing is kept yet. @param {string | null} conversation */
  begin(conversation) {
    this.#empty();
    this.conversation = conversation;
    this.flush();
  }

  /** A session goes on without the tab. @param {string} conversation @param {Session} session */
  leave(conversation, session) {
    this.#left[conversation] = { ...session, last_seq: 0 };
  }

  /** @param {string} conversation @returns {boolean} */
  hasLeft(conversation) {
    return Object.hasOwn(this.#left, conversation);
  }

  /** @param {string} conversation @returns {Session | null} the session that was left, which is taken up now */
  takeUp(conversation) {
    const session = this.hasLeft(conversation) ? this.#left[conversation] : null;
    delete this.#left[conversation];
    return session;
  }

  /** @param {number} i */
  #key(i) {
    return `${this.#prefix}frames ${i}`;
  }

  /** @param {import("./frame_record.js").Entry} entry @param {Session | null} session as it stands after that frame */
  add({ direction, time, kept }, session) {
    const line = `${JSON.stringify([direction, time, kept])}\n`;
    const chunk = this.#chunks.get(this.#last) ?? "";
    if (chunk.length + line.length > CHUNK && chunk) this.#last += 1;
    this.#chunks.set(this.#last, (this.#chunks.get(this.#last) ?? "") + line);
    this.#dirty.add(this.#last);
    this.save(session);
    // What a person did must not be lost; what the server said it says again.
    if (direction !== "received") this.flush();
  }

  /** @param {Session | null} session */
  save(session) {
    this.#session = session && { ...session };
    this.#timer ??= setTimeout(() => this.flush(), 300);
  }

  /** Frames and the number of the last one go out together, so that after a reload nothing is missing or there twice. */
  flush() {
    if (this.#over) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#evict();
    const kept = [...this.#dirty].every((i) => ofThisTab.setItem(this.#key(i), this.#chunks.get(i) ?? ""));
    this.#dirty.clear();
    if (kept) this.#writeHead();
    else this.#giveUp();
  }

  #evict() {
    let size = 0;
    for (const chunk of this.#chunks.values()) size += chunk.length;
    while (size > ROOM) {
      size -= this.#chunks.get(this.#first)?.length ?? 0;
      this.#remove(this.#first++);
      this.#last = Math.max(this.#last, this.#first);
    }
  }

  /** @param {number} i */
  #remove(i) {
    this.#chunks.delete(i);
    this.#dirty.delete(i);
    ofThisTab.removeItem(this.#key(i));
  }

  /** The browser has no room: keeps no frame, and so the server will be asked for all that it still has. */
  #giveUp() {
    for (const i of [...this.#chunks.keys()]) this.#remove(i);
    this.#first = ++this.#last;
    if (this.#session) this.#session.last_seq = 0;
    this.#writeHead();
  }

  #writeHead() {
    const [session, token, user, first, last] = [this.#session, this.token, this.#user, this.#first, this.#last];
    const head = { session, token, user, conversation: this.conversation, left: this.#left, first, last };
    ofThisTab.setItem(`${this.#prefix}head`, JSON.stringify(head));
  }
}
