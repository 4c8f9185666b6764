/** The tool calls of one turn: which card a result or a progress belongs to. */

import { ToolCard } from "./tool_card.js";

export class ToolCalls {
  #add;
  /** @type {Map<string, ToolCard>} */ #open = new Map();
  /** @type {ToolCard[]} */ #cards = [];
  /** Those that ended after the stop was asked for. @type {Set<ToolCard>} */ #endedLate = new Set();

  /** @param {(element: Element) => void} add puts a card where it is seen */
  constructor(add) {
    this.#add = add;
  }

  get count() {
    return this.#cards.length;
  }

  /** @param {any} data @param {number} time */
  call(data, time) {
    const card = new ToolCard(data, time);
    this.#cards.push(card);
    this.#open.set(data.tool_call_id ?? `${this.#cards.length}`, card);
    this.#add(card.element);
  }

  /** @param {any} data @param {number} time @param {boolean} late whether the stop of its task was asked for */
  result(data, time, late) {
    let key = data.tool_call_id;
    if (!this.#open.has(key)) key = [...this.#open].find(([, card]) => card.name === data.tool_name)?.[0];
    if (key === undefined) {
      this.call({ ...data, tool_kwargs: {} }, time);
      key = data.tool_call_id ?? `${this.#cards.length}`;
    }
    const card = /** @type {ToolCard} */ (this.#open.get(key));
    card.finish(data.tool_output, data.is_error === true, time);
    if (late) this.#endedLate.add(card);
    this.#open.delete(key);
  }

  /** @param {any} data @returns {boolean} whether it is about one of these, or was */
  progress(data) {
    const id = data.tool_call_id;
    const only = this.#open.size === 1 ? [...this.#open.values()][0] : undefined;
    const card = id === undefined ? only : this.#open.get(id);
    card?.progress(data);
    return card !== undefined || (id !== undefined && this.#cards.some((one) => one.id === id));
  }

  /** The task was stopped. */
  stop() {
    for (const card of this.#cards) if (card.cutShort || (card.failed && this.#endedLate.has(card))) card.stop();
    this.#open.clear();
  }

  /** The task has ended. */
  leave() {
    for (const card of this.#open.values()) card.leave();
    this.#open.clear();
  }
}
