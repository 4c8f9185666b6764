/** Every frame that passed, bounded in number and size, with secrets taken out. */

/**
 * @typedef {{n: number, time: number, direction: "sent" | "received" | "note", event: string, taskId: string,
 *   size: number, text: string, kept: string}} Entry
 *   `time` in milliseconds since 1970, `size` in bytes of UTF-8. `text` is for eyes; `kept`, for a page that is loaded
 *   again, still says where files are. A note is the page's own: "asked", "unsent", "dropped",
 *   "begun".
 */

const MOST_ENTRIES = 50_000;
const MOST_CHARACTERS = 50_000_000;
const SECRETS = ["token", "resume_token"];
const SECRETIVE = new Set(["login", "login_response", "refresh"]);
const encoder = new TextEncoder();

export class FrameRecord extends EventTarget {
  /** @type {Entry[]} */ entries = [];
  #characters = 0;
  #count = 0;

  /**
   * @param {Entry["direction"]} direction @param {string} text @param {import("./agent_client.js").Frame | null} frame
   * @param {number} [time]
   * @returns {Entry}
   */
  add(direction, text, frame, time = Date.now()) {
    const kept = withoutSecrets(text, frame);
    const entry = {
      n: ++this.#count,
      time,
      direction,
      size: encoder.encode(text).length,
      text: forEyes(kept, frame),
      kept,
      event: frame?.event ?? "",
      taskId: typeof frame?.data.task_id === "string" ? frame.data.task_id : "",
    };
    this.entries.push(entry);
    this.#characters += entry.text.length;
    const evicted = this.#evict();
    this.dispatchEvent(new CustomEvent("entry", { detail: { entry, evicted } }));
    return entry;
  }

  /** @returns {boolean} whether anything was taken out */
  #evict() {
    if (this.entries.length <= MOST_ENTRIES && this.#characters <= MOST_CHARACTERS) return false;
    for (const { text } of this.entries.splice(0, Math.ceil(this.entries.length / 10))) this.#characters -= text.length;
    return true;
  }
}

/** @param {string} text @param {import("./agent_client.js").Frame | null} frame */
function withoutSecrets(text, frame) {
  if (!frame || !SECRETIVE.has(frame.event)) return text;
  const hidden = SECRETS.filter((name) => typeof frame.data[name] === "string").map((name) => [name, "•••"]);
  return hidden.length ? JSON.stringify({ ...frame, data: { ...frame.data, ...Object.fromEntries(hidden) } }) : text;
}

/**
 * Who has the address of a file has the file, and whoever looks at frames shows them to others; a piece of a file is
 * nothing to look at.
 * @param {string} text @param {import("./agent_client.js").Frame | null} frame
 */
function forEyes(text, frame) {
  if (frame?.event === "upload_chunk") return text.replace(/[A-Za-z0-9+/=]{100,}/, (data) => `•••(${data.length})`);
  const tells = ["agent_file", "conversation"].includes(frame?.event ?? "") || frame?.data.tasks?.some?.((/** @type {any} */ task) => task?.files);
  return tells ? JSON.stringify(JSON.parse(text), (key, value) => (key === "url" ? "•••" : value)) : text;
}

/**
 * Of use to nobody after a reload: with the page its files are gone.
 * @param {import("./agent_client.js").Frame | null} frame
 */
export function isOfUpload(frame) {
  return frame?.data.upload_id !== undefined;
}
