/** The files that are to go with the next message: each is uploaded at once, and can be taken back. */

import { ConnectionLost } from "./agent_client.js";
import { h, iconButton } from "./dom.js";
import { emblem } from "./file_view.js";
import { byteSize, textNodes, visible } from "./plain_text.js";

/**
 * @typedef {import("./agent_client.js").Upload} Upload
 * @typedef {(file: File, options: {onProgress: (upload: Upload) => void, signal: AbortSignal}) => Promise<Upload>} Start
 */

/** That go with one message. */
const MOST = 20;

/** One file, as it stands. */
class Attachment {
  #control = new AbortController();
  #state = h("span.size");
  #bar = h("progress", { max: 1 });
  #onChange;
  /** @type {Upload | undefined} */ #upload;
  failed = false;

  /** @param {File} file @param {Start} start @param {(words: string) => void} onChange @param {() => void} onRemove */
  constructor(file, start, onChange, onRemove) {
    this.name = visible(file.name);
    this.#onChange = onChange;
    this.#bar.setAttribute("aria-label", `Upload: ${this.name}`);
    this.button = iconButton("button.quiet", "cross", `Remove ${this.name}`, onRemove);
    const name = h("bdi.name", { title: this.name }, textNodes(file.name));
    this.element = h("li.attachment", {}, emblem(file), name, this.#state, this.button, this.#bar);
    this.#show(0, file.size);
    const { signal } = this.#control;
    start(file, { onProgress: (upload) => this.#step(upload), signal }).then(
      () => this.#onChange(`${this.name} is attached.`),
      (error) => signal.aborted || this.#fail(error, file),
    );
  }

  /** @returns {Upload | undefined} the file, once it is there */
  get upload() {
    return this.#upload?.file_id === undefined ? undefined : this.#upload;
  }

  /** @param {Upload} upload */
  #step(upload) {
    this.#upload = upload;
    this.#show(upload.received, upload.size);
    this.#onChange("");
  }

  /** @param {number} received @param {number} size */
  #show(received, size) {
    const there = this.upload !== undefined;
    this.element.classList.toggle("there", there);
    this.#bar.hidden = there;
    this.#bar.value = size ? received / size : 0;
    this.#state.textContent = there ? byteSize(size) : `${Math.floor((100 * received) / (size || 1))} %`;
  }

  /** @param {any} error @param {File} file */
  #fail(error, file) {
    this.failed = true;
    this.#bar.remove();
    this.element.classList.add("failed");
    const words = why(error, file);
    this.#state.textContent = words;
    this.#onChange(`${this.name}: ${words}`);
  }

  /** Takes it back. */
  drop() {
    this.#control.abort();
  }
}

export class Attachments {
  #start;
  #onChange;
  #announce;
  /** @type {Attachment[]} */ #all = [];
  element = h("ul.attachments", { "aria-label": "Files to send", hidden: true });
  input = h("input", { type: "file", multiple: true, hidden: true });
  button = iconButton("button.quiet.attach", "clip", "Attach files", () => this.input.click());

  /**
   * @param {Start} start @param {(problem?: string) => void} onChange
   * @param {(words: string) => void} announce to a screen reader
   */
  constructor(start, onChange, announce) {
    this.#start = start;
    this.#onChange = onChange;
    this.#announce = announce;
    this.input.addEventListener("change", () => {
      this.add([...this.input.files]);
      this.input.value = ""; // so that the same one can be chosen again
    });
  }

  /** @param {File[]} files */
  add(files) {
    const room = MOST - this.#all.length;
    for (const file of files.slice(0, room)) {
      const one = new Attachment(
        file,
        this.#start,
        (words) => this.#changed(words),
        () => this.#remove(one),
      );
      this.#all.push(one);
      this.element.append(one.element);
    }
    this.#changed("");
    if (files.length > room) this.#onChange(`${MOST} files may go with one message.`);
  }

  /** @param {string} words */
  #changed(words) {
    if (words) this.#announce(words);
    this.element.hidden = this.#all.length === 0;
    this.#onChange();
  }

  /** @param {Attachment} one */
  #remove(one) {
    const i = this.#all.indexOf(one);
    this.#all.splice(i, 1);
    one.drop();
    one.element.remove();
    (this.#all[i] ?? this.#all[i - 1] ?? this).button.focus();
    this.#changed(`${one.name} is removed.`);
  }

  /** Lets go of them: they went with a message. */
  clear() {
    this.#all = [];
    this.element.replaceChildren();
    this.#changed("");
  }

  get count() {
    return this.#all.length;
  }

  /** @returns {Upload[]} those that are there */
  get uploads() {
    return this.#all.flatMap(({ upload }) => upload ?? []);
  }

  /** @returns {string | undefined} the name of one that will not come to be there */
  get failed() {
    return this.#all.find(({ failed }) => failed)?.name;
  }
}

/** @param {any} error @param {File} file @returns {string} */
function why({ code, message = "", constructor }, { size }) {
  if (constructor === ConnectionLost) return "Not uploaded: the connection was lost.";
  if (typeof code !== "string") return "It cannot be read.";
  const said = message.replace(/\b(\d{4,}) bytes/g, (/** @type {string} */ _, /** @type {string} */ n) =>
    byteSize(Number(n)),
  );
  return code === "file_too_large" ? `Too large: it has ${byteSize(size)}. ${said}` : said;
}
