/** Markdown that comes piece by piece: what is settled stays as it is, and only the last block is made anew. */

import { h } from "./dom.js";
import { parse } from "./markdown_blocks.js";
import { element } from "./markdown_elements.js";

/**
 * @typedef {import("./markdown_blocks.js").Block} Block
 * @typedef {import("./markdown_links.js").Target} Target
 * @typedef {{block: Block, made: ChildNode | null}} Settled
 */

/** Half a character, or half a line end. */
const HALF = /[\ud800-\udbff\r]$/;

/** That are settled in one drawing, so that the page can do something else between two. */
const MOST_BLOCKS = 1000;

export class MarkdownStream {
  #tail = "";
  #live = h("div.tail");
  #scheduled = false;
  #cost = 0;
  /** Settled blocks that are not shown yet. @type {Block[]} */ #waiting = [];
  /** The last block, and what is not to be told from it. @type {Block[]} */ #last = [];
  /** @type {Map<string, Target>} */ #definitions = new Map();
  /** Those of the last block, which may still change. @type {Map<string, Target>} */ #liveDefinitions = new Map();
  /** @type {Map<string, Set<Settled>>} */ #askers = new Map();

  text = "";
  element = h("div.markdown", {}, this.#live);

  /** @param {string} piece */
  write(piece) {
    this.text += piece;
    this.#tail += piece;
    if (!this.#scheduled) this.#schedule();
  }

  #schedule() {
    this.#scheduled = true;
    const draw = () => {
      const began = performance.now();
      this.#scheduled = false;
      const whole = this.draw();
      this.#cost = whole ? performance.now() - began : 0;
    };
    // A long block takes long to make: a tenth of the time is what drawing may have.
    setTimeout(() => requestAnimationFrame(draw), this.#cost * 9);
  }

  /** Show what has been written, as a drawing soon will. @returns {boolean} whether nothing is left to show */
  draw() {
    if (!this.#waiting.length) this.#read();
    for (const block of this.#waiting.splice(0, MOST_BLOCKS)) this.#settle(block);
    if (this.#waiting.length) {
      if (!this.#scheduled) this.#schedule();
      return false;
    }
    this.#live.replaceChildren(...this.#last.flatMap((block) => element(block, (label) => this.#find(label)) ?? []));
    return true;
  }

  #read() {
    const { blocks, definitions, settled } = parse(this.#tail.replace(HALF, ""));
    this.#tail = this.#tail.slice(settled.upTo);
    this.#define(settled.definitions, definitions);
    this.#waiting = blocks.splice(0, settled.count);
    this.#last = blocks;
  }

  /** @param {string} label */
  #find(label) {
    return this.#definitions.get(label) ?? this.#liveDefinitions.get(label);
  }

  /** @param {Block} block */
  #settle(block) {
    /** @type {Settled} */
    const settled = { block, made: null };
    settled.made = this.#make(settled);
    if (settled.made) this.#live.before(settled.made);
  }

  /** @param {Settled} settled */
  #make(settled) {
    return /** @type {ChildNode | null} */ (
      element(settled.block, (label) => {
        if (!this.#askers.has(label)) this.#askers.set(label, new Set());
        this.#askers.get(label)?.add(settled);
        return this.#find(label);
      })
    );
  }

  /**
   * Definitions often come last: what has asked for them is made anew.
   * @param {Map<string, Target>} settled @param {Map<string, Target>} live
   */
  #define(settled, live) {
    const labels = [...this.#liveDefinitions.keys(), ...live.keys()];
    const before = new Map(labels.map((label) => [label, this.#find(label)]));
    for (const [label, target] of settled) if (!this.#definitions.has(label)) this.#definitions.set(label, target);
    this.#liveDefinitions = live;
    const changed = labels.filter((label) => !same(before.get(label), this.#find(label)));
    for (const asker of new Set(changed.flatMap((label) => [...(this.#askers.get(label) ?? [])]))) {
      const made = this.#make(asker);
      if (made) asker.made?.replaceWith(made);
      asker.made = made;
    }
  }
}

/** @param {Target | undefined} one @param {Target | undefined} other */
function same(one, other) {
  return one?.address === other?.address && one?.title === other?.title;
}
