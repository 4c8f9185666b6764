/** Frames as rows: those that come by the hundred and say little each are folded, so that the others are seen. */

/**
 * @typedef {import("./frame_record.js").Entry} Entry
 * @typedef {{entries: Entry[]}} Run one frame, or several of one event and one task with none of another event between
 */

const FOLDED = new Set([
  "agent_output",
  "agent_reasoning",
  "tool_progress",
  "upload_chunk",
  "upload_progress",
  "heartbeat",
]);

export class FrameRuns {
  /** @type {Run[]} */ rows = [];
  /** How many frames they are. */ frames = 0;
  #unfolded;
  /** @type {Map<string, Run>} */ #open = new Map();

  /** @param {string} unfolded the event whose frames each have a row of their own */
  constructor(unfolded) {
    this.#unfolded = unfolded;
  }

  /** @param {Entry} entry @returns {Run} the row that has it now */
  add(entry) {
    this.frames += 1;
    const { event, direction, taskId } = entry;
    const folds = FOLDED.has(event) && event !== this.#unfolded;
    const key = `${direction} ${event} ${taskId}`;
    const known = folds ? this.#open.get(key) : undefined;
    if (known) {
      known.entries.push(entry);
      return known;
    }
    const run = { entries: [entry] };
    this.rows.push(run);
    if (folds) this.#open.set(key, run);
    else this.#open.clear();
    return run;
  }

  /** @returns {Entry[]} in the order in which they passed */
  get entries() {
    return this.rows.flatMap(({ entries }) => entries).sort((one, other) => one.n - other.n);
  }
}
