/** The list of conversations: new ones, a search, and each with its name. */

import { h, icon, iconButton } from "./dom.js";
import { ConversationRow } from "./conversation_row.js";
import { Removal } from "./removal.js";
import { BrowserShelf, ServerShelf } from "./shelf.js";

/** @typedef {import("./shelf.js").Card} Card */

/** Milliseconds: between two looks where something runs, and before one where something has happened. */
const [OFTEN, SOON] = [5000, 200];
/** Conversations that are asked for at once, for a search. */
const ALL = 100;

export class ConversationList {
  #client;
  #actions;
  #shelf;
  /** @type {Map<string, Card>} */ #cards = new Map();
  /** @type {Map<string, ConversationRow>} */ #rows = new Map();
  /** @type {string | null} */ #current = null;
  /** @type {string | undefined} */ #next;
  #loading = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  #search = h("input", { type: "search", placeholder: "Search", "aria-label": "Search conversations by title" });
  #list = h("ul", { "aria-label": "Conversations" });
  #more = h("button.older", { type: "button", hidden: true, onclick: () => this.#load() }, "Older");
  #none = h("p.none", { role: "status" });
  #removal;

  /**
   * @param {import("./agent_client.js").AgentClient} client
   * @param {{fresh: () => void, close: () => void, gone: (id: string) => void, running: (id: string) => Promise<boolean>}} actions
   *   `fresh` begins a new one, `close` puts the list away, and `gone` is told of one that is about to be deleted.
   * @param {(text: string) => void} announce
   */
  constructor(client, actions, announce) {
    this.#client = client;
    this.#actions = actions;
    this.#shelf = /** @type {ServerShelf | BrowserShelf} */ (new BrowserShelf(actions.running));
    this.#removal = new Removal(client, announce, {
      removed: (id) => this.#shelf.forgotten(id),
      back: () => this.#show(),
    });
    const scroller = h("div.list", {}, this.#list, this.#none, this.#more);
    scroller.addEventListener("scroll", () => {
      if (scroller.scrollHeight - scroller.scrollTop - scroller.clientHeight < 200) this.#load();
    });
    this.element = h(
      "nav.conversations",
      { id: "conversations", "aria-label": "Conversations" },
      h(
        "header",
        {},
        h("button.begin", { type: "button", onclick: () => actions.fresh() }, icon("add"), "New conversation"),
        iconButton("button.quiet.away", "cross", "Close the list", () => actions.close()),
      ),
      this.#search,
      scroller,
      this.#removal.element,
    );
    this.#search.addEventListener("input", () => this.#filter());
    this.#search.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Escape" || !this.#search.value) return;
      event.stopPropagation();
      this.#search.value = "";
      this.#filter();
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.refresh());
  }

  /** Somebody has logged in. @param {{id: string}} [user] where the server knows them by name */
  begin(user) {
    this.#shelf = user ? new ServerShelf(this.#client) : new BrowserShelf(this.#actions.running);
    [this.#cards, this.#next] = [new Map(), undefined];
    this.refresh(0);
  }

  /** @param {string | null} id the one that is shown */
  set current(id) {
    this.#current = id;
    this.#show();
  }

  /** Something was said. @param {string} id @param {string} message */
  noticed(id, message) {
    this.#shelf.noticed(id, message);
    this.refresh();
  }

  /** One turned out to be no more. @param {string} id */
  forget(id) {
    this.#shelf.forgotten(id);
    this.#cards.delete(id);
    this.#show();
  }

  /** Looks what is new, soon. @param {number} [after] milliseconds */
  refresh(after = SOON) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), after);
  }

  async #look() {
    if (this.#client.state.name !== "ready" || document.hidden) return;
    const shelf = this.#shelf;
    try {
      const { conversations, next } = await shelf.page();
      if (shelf !== this.#shelf) return;
      // What comes after the last of this page is known still; what is newer than that and not in it is gone.
      const oldest = next === undefined ? "" : (conversations.at(-1)?.updated_at ?? "");
      const older = [...this.#cards.values()].filter((card) => card.updated_at < oldest);
      this.#cards = new Map([...conversations, ...older].map((card) => [card.conversation_id, card]));
      if (!older.length) this.#next = next;
      this.#show();
      if (conversations.some(({ running }) => running)) this.refresh(OFTEN);
    } catch {
      this.refresh(OFTEN); // the state of the connection says why
    }
  }

  /** Shows more of what is older. @param {number} [limit] */
  async #load(limit) {
    if (this.#next === undefined || this.#loading) return;
    const [shelf, before] = [this.#shelf, this.#next];
    this.#loading = true;
    try {
      const { conversations, next } = await shelf.page(before, limit);
      if (shelf !== this.#shelf || this.#next !== before) return;
      for (const card of conversations) this.#cards.set(card.conversation_id, card);
      this.#next = next;
      this.#show();
    } catch {
      // The button stays.
    } finally {
      this.#loading = false;
    }
  }

  /** A search is among all that there are. */
  async #filter() {
    this.#show();
    for (let before; this.#search.value && this.#next !== undefined && this.#next !== before; ) {
      before = this.#next;
      await this.#load(ALL);
    }
  }

  #show() {
    const wanted = this.#search.value.trim().toLocaleLowerCase();
    const shown = [...this.#cards.values()].filter(
      ({ conversation_id, title }) =>
        !this.#removal.has(conversation_id) && title.toLocaleLowerCase().includes(wanted),
    );
    const elements = shown.map((card) => this.#row(card).element);
    const { childElementCount, children } = this.#list;
    const same = elements.length === childElementCount && elements.every((one, i) => one === children[i]);
    if (!same && !this.#list.querySelector(".editing")) this.#arrange(elements);
    this.#more.hidden = this.#next === undefined;
    const words = shown.length ? "" : (wanted && "None has that in its title.") || "None yet.";
    if (this.#none.textContent !== words) this.#none.textContent = words;
  }

  /** @param {HTMLElement[]} elements in their order; who has the focus keeps it */
  #arrange(elements) {
    const focused = this.#list.contains(document.activeElement) ? document.activeElement : null;
    this.#list.replaceChildren(...elements);
    /** @type {HTMLElement | null} */ (focused)?.focus();
  }

  /** @param {Card} card */
  #row(card) {
    const { conversation_id: id } = card;
    const actions = {
      rename: (/** @type {string} */ id, /** @type {string} */ title) => this.#rename(id, title),
      remove: (/** @type {Card} */ card) => this.#remove(card),
    };
    const row = this.#rows.get(id) ?? new ConversationRow(card, actions);
    this.#rows.set(id, row);
    row.show(card, id === this.#current);
    return row;
  }

  /** @param {string} id @param {string} title */
  async #rename(id, title) {
    const kept = await this.#client.renameConversation(id, title);
    this.#shelf.renamed(id, kept);
    const card = this.#cards.get(id);
    if (card) this.#cards.set(id, { ...card, title: kept });
    this.#show();
  }

  /** @param {Card} card */
  #remove(card) {
    const rows = [...this.#list.children];
    const i = rows.findIndex((row) => row.contains(document.activeElement));
    this.#removal.begin(card);
    this.#show();
    this.#actions.gone(card.conversation_id);
    if (i >= 0) this.#removal.focus();
  }
}
