/** Every frame in both directions, to be filtered, looked at, copied, and sent by hand. */

import { copyButton, h, icon } from "./dom.js";
import { FrameBox } from "./frame_box.js";
import { byteSize, clock, longText, visible } from "./plain_text.js";
import { VirtualList } from "./virtual_list.js";

/** @typedef {import("./frame_record.js").Entry} Entry */

const ROW_HEIGHT = 26; // as in inspector.css
const GLANCE = 300;

export class Inspector {
  #record;
  #events = h("select", { "aria-label": "Filter by event" }, h("option", { value: "" }, "All events"));
  #tasks = h("select", { "aria-label": "Filter by task" }, h("option", { value: "" }, "All tasks"));
  #count = h("span.count");
  #detail = h("section.detail", { "aria-label": "Selected frame", hidden: true });
  /** @type {Entry[]} */ #shown = [];
  /** @type {Map<string, string>} */ #messages = new Map();
  #clearedUpTo = 0;
  #scheduled = false;
  /** @type {Set<string>} */ #known = new Set();
  /** @type {VirtualList<Entry>} */ #list;

  /** @param {import("./frame_record.js").FrameRecord} record @param {(text: string) => void} send */
  constructor(record, send) {
    this.#record = record;
    this.#list = new VirtualList({
      label: "Frames",
      rowHeight: ROW_HEIGHT,
      fill,
      onActive: (entry) => this.#look(entry),
    });
    const clear = h("button.quiet", { type: "button", onclick: () => this.#clear() }, "Clear");
    this.element = h(
      "aside.inspector",
      { id: "inspector", "aria-label": "Frame inspector" },
      h(
        "header",
        {},
        h("h2", {}, "Frames"),
        this.#count,
        copyButton(() => this.#asJson(this.#shown), "Copy the frames shown as JSON", "Copy"),
        clear,
        h("div.filters", {}, this.#events, this.#tasks),
      ),
      this.#list.element,
      this.#detail,
      new FrameBox(send).element,
    );
    for (const select of [this.#events, this.#tasks]) select.addEventListener("change", () => this.#refilter());
    record.addEventListener("entry", (/** @type {any} */ { detail }) => this.#added(detail.entry, detail.evicted));
    this.#list.show(this.#shown);
  }

  /** Shows the frames of one task. @param {string} taskId */
  only(taskId) {
    this.#tasks.value = taskId;
    this.#events.value = "";
    this.#refilter();
  }

  /** @param {Entry} entry @param {boolean} evicted */
  #added(entry, evicted) {
    if (entry.direction === "note") return;
    this.#learn(entry);
    if (evicted) this.#refilter();
    else if (this.#matches(entry)) this.#shown.push(entry);
    this.#refresh();
  }

  #refresh() {
    this.#list.grown();
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#count.textContent = this.#shown.length.toLocaleString("en");
    });
  }

  /** @param {Entry} entry */
  #learn(entry) {
    if (entry.event && !this.#known.has(`event ${entry.event}`))
      this.#option(this.#events, "event", entry.event, entry.event);
    if (entry.event === "agent_request" || entry.event === "agent_request_received") this.#name(entry);
    if (entry.taskId && !this.#known.has(`task ${entry.taskId}`)) {
      const message = this.#messages.get(entry.taskId);
      this.#option(
        this.#tasks,
        "task",
        entry.taskId,
        message ? `${message.slice(0, 40)} (${entry.taskId.slice(0, 8)})` : entry.taskId,
      );
    }
  }

  /** Tasks are known to people by what was asked. @param {Entry} entry */
  #name({ event, taskId, text }) {
    const { request_id, message } = JSON.parse(text).data;
    if (event === "agent_request" && request_id && typeof message === "string") this.#messages.set(request_id, message);
    const asked = this.#messages.get(request_id);
    if (event === "agent_request_received" && asked) this.#messages.set(taskId, asked);
  }

  /** @param {HTMLSelectElement} select @param {string} kind @param {string} value @param {string} caption */
  #option(select, kind, value, caption) {
    this.#known.add(`${kind} ${value}`);
    select.append(h("option", { value }, visible(caption)));
  }

  /** @param {Entry} entry */
  #matches(entry) {
    return (
      entry.direction !== "note" &&
      entry.n > this.#clearedUpTo &&
      (!this.#events.value || entry.event === this.#events.value) &&
      (!this.#tasks.value || entry.taskId === this.#tasks.value)
    );
  }

  #refilter() {
    this.#shown = this.#record.entries.filter((entry) => this.#matches(entry));
    this.#list.show(this.#shown);
    this.#refresh();
  }

  #clear() {
    this.#clearedUpTo = this.#record.entries.at(-1)?.n ?? 0;
    this.#look(undefined);
    this.#refilter();
  }

  /** @param {Entry[]} entries */
  #asJson(entries) {
    const plain = entries.map(({ time, direction, size, text }) => ({
      time: new Date(time).toISOString(),
      direction,
      size,
      frame: parsed(text) ?? text,
    }));
    return JSON.stringify(plain, null, 2);
  }

  /** @param {Entry | undefined} entry */
  #look(entry) {
    this.#detail.hidden = !entry;
    if (!entry) return;
    const value = parsed(entry.text);
    const text = value === undefined ? entry.text : JSON.stringify(value, null, 2);
    const close = h("button.quiet", { type: "button", "aria-label": "Close the selected frame" }, icon("cross"));
    close.addEventListener("click", () => {
      this.#look(undefined);
      this.#list.element.focus();
    });
    this.#detail.replaceChildren(
      h(
        "header",
        {},
        h("h3", {}, entry.event || "not a frame"),
        h("span.about", {}, `${entry.direction} ${clock(entry.time, true)} · ${byteSize(entry.size)}`),
        copyButton(() => text, "Copy this frame as JSON", "Copy"),
        close,
      ),
      h("pre", { tabindex: 0, role: "region", "aria-label": "The frame as JSON" }, longText(text)),
    );
  }
}

/** @param {string} text */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** @param {HTMLElement} row @param {Entry} entry */
function fill(row, entry) {
  row.classList.add(entry.direction);
  if (entry.event === "error") row.classList.add("bad");
  row.append(
    h("span.arrow", { "aria-hidden": true }, entry.direction === "sent" ? "↑" : "↓"),
    h("span.visually-hidden", {}, entry.direction),
    h("span.when", {}, clock(entry.time, true).slice(3)),
    h("span.event", {}, visible(entry.event || "not a frame")),
    h("span.glance", {}, h("bdi", {}, visible(glance(entry)))),
    h("span.size", {}, byteSize(entry.size)),
  );
}

/** @param {Entry} entry */
function glance({ text }) {
  const data = text.length < 20_000 ? parsed(text)?.data : undefined;
  return (typeof data === "object" && data ? gist(data) : text).slice(0, GLANCE).replace(/\s+/g, " ");
}

/** @param {Record<string, any>} data @returns {string} what a frame says, without what its row says already */
function gist({ task_id, seq, request_id, tool_call_id, tool_name, tool_kwargs, tool_output, ...rest }) {
  const said = rest.output ?? rest.response ?? rest.message ?? rest.prompt;
  if (typeof said === "string") return said;
  if (tool_output !== undefined)
    return `${tool_name} → ${typeof tool_output === "string" ? tool_output : JSON.stringify(tool_output)}`;
  if (tool_name) return `${tool_name} ${JSON.stringify(tool_kwargs)}`;
  return Object.keys(rest).length ? JSON.stringify(rest) : "";
}
