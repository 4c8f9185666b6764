/** Where the list of conversations comes from: the server, or, where it knows nobody by name, this browser. */

import { lasting } from "./storage.js";

/**
 * @typedef {{conversation_id: string, title: string, updated_at: string, running?: boolean}} Card
 * @typedef {{conversations: Card[], next?: string}} CardPage
 */

/** Conversations that are asked for at once. */
const PAGE = 50;
/** Those that a browser remembers. */
const MOST = 500;
const TITLE = 60;

/** What the server lists of a user's. */
export class ServerShelf {
  #client;

  /** @param {import("./agent_client.js").AgentClient} client */
  constructor(client) {
    this.#client = client;
  }

  /** @param {string} [before] @param {number} [limit] @returns {Promise<CardPage>} */
  page(before, limit = PAGE) {
    return this.#client.conversations({ limit, before });
  }

  noticed() {} // the server has noticed it itself
  renamed() {}
  forgotten() {}
}

/** What this browser remembers of those that it began or opened on this server. */
export class BrowserShelf {
  #key = `agent-console conversations ${location.host}${location.pathname}`;
  #running;

  /** @param {(id: string) => Promise<boolean>} running whether one runs, as far as that can be known */
  constructor(running) {
    this.#running = running;
  }

  /** @returns {Card[]} */
  #read() {
    try {
      const cards = JSON.parse(lasting.getItem(this.#key) ?? "[]");
      return cards.filter((/** @type {any} */ card) => typeof card?.conversation_id === "string");
    } catch {
      return []; // somebody else has written there
    }
  }

  /** @param {Card[]} cards */
  #write(cards) {
    lasting.setItem(this.#key, JSON.stringify(cards.slice(0, MOST)));
  }

  /** @returns {Promise<CardPage>} */
  async page() {
    const known = this.#read();
    const running = await Promise.all(known.map(({ conversation_id }) => this.#running(conversation_id)));
    return { conversations: known.map((card, i) => ({ ...card, running: running[i] })) };
  }

  /** Something was said in it. @param {string} id @param {string} title what it is called, where it has no other name yet */
  noticed(id, title) {
    const cards = this.#read();
    const known = cards.find((card) => card.conversation_id === id);
    const words = title.split(/\s+/).join(" ").trim();
    const card = { conversation_id: id, title: known?.title || [...words].slice(0, TITLE).join("") };
    this.#write([{ ...card, updated_at: new Date().toISOString() }, ...cards.filter((one) => one !== known)]);
  }

  /** @param {string} id @param {string} title */
  renamed(id, title) {
    this.#write(this.#read().map((card) => (card.conversation_id === id ? { ...card, title } : card)));
  }

  /** @param {string} id */
  forgotten(id) {
    this.#write(this.#read().filter((card) => card.conversation_id !== id));
  }
}
