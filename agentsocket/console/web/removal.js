/** Deletes conversations, some seconds later: until then there is a way back. */

import { ConnectionLost } from "./agent_client.js";
import { h } from "./dom.js";
import { textNodes } from "./plain_text.js";

/** @typedef {import("./shelf.js").Card} Card */

/** Milliseconds of a way back. */
const WAY_BACK = 7000;

export class Removal {
  #client;
  #announce;
  #told;
  /** Those that are not deleted yet, the last one last. @type {Map<string, Card>} */ #waiting = new Map();
  /** Those that are, or about to be. @type {Set<string>} */ #sent = new Set();
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #words = h("span");
  #undo = h("button", { type: "button", onclick: () => this.#takeBack() }, "Undo");
  element = h("div.removal", { hidden: true }, this.#words, this.#undo);

  /**
   * @param {import("./agent_client.js").AgentClient} client @param {(text: string) => void} announce
   * @param {{removed: (id: string) => void, back: (id: string) => void}} told
   */
  constructor(client, announce, told) {
    this.#client = client;
    this.#announce = announce;
    this.#told = told;
    addEventListener("pagehide", () => this.#finish());
  }

  /** @param {string} id @returns {boolean} whether it is as good as gone */
  has(id) {
    return this.#waiting.has(id) || this.#sent.has(id);
  }

  /** @param {Card} card */
  begin(card) {
    this.#waiting.set(card.conversation_id, card);
    this.#wait();
    this.#announce(`Deleted: ${called(card)}. Undo is possible for some seconds.`);
  }

  #wait() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#finish(), WAY_BACK);
    const [first, ...others] = [...this.#waiting.values()];
    const words = others.length ? `Deleted: ${others.length + 1} conversations` : `Deleted: “${called(first)}”`;
    this.#say(words, "Undo");
  }

  /** @param {string} words @param {string} [way] */
  #say(words, way = "") {
    this.#words.replaceChildren(textNodes(words));
    this.#undo.hidden = !way;
    this.element.hidden = !words;
  }

  #takeBack() {
    clearTimeout(this.#timer);
    const back = [...this.#waiting.keys()];
    this.#waiting.clear();
    this.#say("");
    this.#announce("Nothing is deleted.");
    for (const id of back) this.#told.back(id);
  }

  #finish() {
    clearTimeout(this.#timer);
    const cards = [...this.#waiting.values()];
    this.#waiting.clear();
    if (cards.length) this.#say("");
    for (const card of cards) this.#delete(card);
  }

  /** @param {Card} card */
  async #delete(card) {
    const { conversation_id: id } = card;
    this.#sent.add(id);
    try {
      await this.#client.deleteConversation(id);
    } catch (error) {
      // What became of a connection says nothing of it: with the next one it is deleted.
      if (error instanceof ConnectionLost) return this.#later(card);
      if (/** @type {any} */ (error).code !== "conversation_not_found") return this.#fail(card, error);
    }
    this.#told.removed(id);
  }

  /** @param {Card} card */
  #later(card) {
    const look = () => {
      if (this.#client.state.name !== "ready") return;
      this.#client.removeEventListener("state", look);
      this.#delete(card);
    };
    this.#client.addEventListener("state", look);
  }

  /** @param {Card} card @param {any} error */
  #fail(card, error) {
    this.#sent.delete(card.conversation_id);
    this.#say(`Not deleted: “${called(card)}”. ${error.message}`);
    this.#announce(`Not deleted: ${error.message}`);
    this.#told.back(card.conversation_id);
  }

  focus() {
    this.#undo.focus();
  }
}

/** @param {Card} card */
function called({ title }) {
  return title || "New conversation";
}
