/** Every frame in both directions, to be filtered, looked at, copied, and sent by hand. */

import { copyButton, h, icon } from "./dom.js";
import { FrameBox } from "./frame_box.js";
import { FrameRuns } from "./frame_runs.js";
import { byteSize, clock, duration, longText, visible } from "./plain_text.js";
import { VirtualList } from "./virtual_list.js";

/**
 * @typedef {import("./frame_record.js").Entry} Entry
 * @typedef {import("./frame_runs.js").Run} Run
 */

const ROW_HEIGHT = 26; // as in inspector.css
const GLANCE = 300;

export class Inspector {
  #record;
  #events = h("select", { "aria-label": "Filter by event" }, h("option", { value: "" }, "All events"));
  #tasks = h("select", { "aria-label": "Filter by task" }, h("option", { value: "" }, "All tasks"));
  #count = h("span.count");
  #detail = h("section.detail", { "aria-label": "Selected frame", hidden: true });
  #shown = new FrameRuns("");
  /** @type {Map<string, string>} */ #messages = new Map();
  #clearedUpTo = 0;
  #scheduled = false;
  /** @type {Set<string>} */ #known = new Set();
  /** @type {VirtualList<Run>} */ #list;

  /** @param {import("./frame_record.js").FrameRecord} record @param {(text: string) => void} send */
  constructor(record, send) {
    this.#record = record;
    this.#list = new VirtualList({
      label: "Frames",
      rowHeight: ROW_HEIGHT,
      fill,
      onActive: (run) => this.#look(run),
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
        copyButton(() => asJson(this.#shown.entries), "Copy the frames shown as JSON", "Copy"),
        clear,
        h("div.filters", {}, this.#events, this.#tasks),
      ),
      this.#list.element,
      this.#detail,
      new FrameBox(send).element,
    );
    for (const select of [this.#events, this.#tasks]) select.addEventListener("change", () => this.#refilter());
    record.addEventListener("entry", (/** @type {any} */ { detail }) => this.#added(detail.entry, detail.evicted));
    this.#list.show(this.#shown.rows);
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
    else if (this.#matches(entry)) this.#list.changed(this.#shown.add(entry));
    this.#refresh();
  }

  #refresh() {
    this.#list.grown();
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#count.textContent = this.#shown.frames.toLocaleString("en");
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
    this.#shown = new FrameRuns(this.#events.value);
    for (const entry of this.#record.entries) if (this.#matches(entry)) this.#shown.add(entry);
    this.#list.show(this.#shown.rows);
    this.#refresh();
  }

  #clear() {
    this.#clearedUpTo = this.#record.entries.at(-1)?.n ?? 0;
    this.#look(undefined);
    this.#refilter();
  }

  /** @param {Run | undefined} run */
  #look(run) {
    this.#detail.hidden = !run;
    if (!run) return;
    const [entry] = run.entries;
    const several = run.entries.length > 1;
    const text = several ? run.entries.map((each) => each.text).join("\n") : indented(entry.text);
    const label = several ? "these frames" : "this frame";
    const close = h("button.quiet", { type: "button", "aria-label": "Close the selected frame" }, icon("cross"));
    close.addEventListener("click", () => {
      this.#look(undefined);
      this.#list.element.focus();
    });
    this.#detail.replaceChildren(
      h(
        "header",
        {},
        h("h3", {}, visible(entry.event || "not a frame"), several && ` × ${run.entries.length}`),
        h("span.about", {}, `${entry.direction} ${span(run)} · ${byteSize(total(run))}`),
        copyButton(() => text, `Copy ${label} as JSON`, "Copy"),
        close,
      ),
      h("pre", { tabindex: 0, role: "region", "aria-label": several ? "The frames as JSON" : "The frame as JSON" }, longText(text)),
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

/** @param {Entry[]} entries */
function asJson(entries) {
  const plain = entries.map(({ time, direction, size, text }) => ({
    time: new Date(time).toISOString(),
    direction,
    size,
    frame: parsed(text) ?? text,
  }));
  return JSON.stringify(plain, null, 2);
}

/** @param {string} text */
function indented(text) {
  const value = parsed(text);
  return value === undefined ? text : JSON.stringify(value, null, 2);
}

/** @param {Run} run @returns {string} when its frames came, and how long that took */
function span({ entries }) {
  const [first, last] = [entries[0], entries[entries.length - 1]];
  return clock(first.time, true) + (first === last ? "" : ` · ${duration(last.time - first.time)}`);
}

/** @param {Run} run @returns {number} bytes */
function total({ entries }) {
  return entries.reduce((sum, { size }) => sum + size, 0);
}

/** @param {HTMLElement} row @param {Run} run */
function fill(row, run) {
  const [entry] = run.entries;
  const count = run.entries.length;
  row.classList.add(entry.direction);
  if (entry.event === "error") row.classList.add("bad");
  row.append(
    h("span.arrow", { "aria-hidden": true }, entry.direction === "sent" ? "↑" : "↓"),
    h("span.visually-hidden", {}, entry.direction),
    h("span.when", {}, clock(entry.time, true)),
    h("span.event", {}, h("span", {}, visible(entry.event || "not a frame")), count > 1 && times(count)),
    h("span.glance", {}, h("bdi", {}, visible(gathered(run)))),
    h("span.size", {}, byteSize(total(run))),
  );
}

/** @param {number} count */
function times(count) {
  return h("span.times", {}, ` × ${count.toLocaleString("en")}`);
}

/** @param {Run} run @returns {string} what its frames say one after another, as far as a row has room for it */
function gathered({ entries }) {
  let text = "";
  for (const entry of entries) {
    if (text.length >= GLANCE) break;
    text += glance(entry);
  }
  return text.slice(0, GLANCE);
}

/** @param {Entry} entry */
function glance({ text }) {
  const data = text.length < 20_000 ? parsed(text)?.data : undefined;
  return (typeof data === "object" && data ? gist(data) : text).slice(0, GLANCE).replace(/\s+/g, " ");
}

/** @param {Record<string, any>} data @returns {string} what a frame says, without what its row says already */
function gist({ task_id, seq, request_id, tool_call_id, tool_name, tool_kwargs, tool_output, ...rest }) {
  const said = rest.output ?? rest.reasoning ?? rest.response ?? rest.message ?? rest.prompt;
  if (typeof said === "string") return said;
  if (tool_output !== undefined)
    return `${tool_name} → ${typeof tool_output === "string" ? tool_output : JSON.stringify(tool_output)}`;
  if (tool_name) return `${tool_name} ${JSON.stringify(tool_kwargs)}`;
  return Object.keys(rest).length ? JSON.stringify(rest) : "";
}
