/** The state of the connection, always visible; logging in and out. */

import { h } from "./dom.js";
import { agentLinks } from "./welcome.js";
import { fully, shortly } from "./sentences.js";

/**
 * @typedef {{retry: () => void, login: (token?: string) => void, logout: () => void, fresh: () => void}} ConnectionActions
 *   `fresh` begins a new conversation, in a session of its own.
 */

export class ConnectionView {
  #client;
  #actions;
  #announce;
  #text = h("span.text");
  #left = h("span.left");
  #about = h("div.about");
  #token = h("input", {
    type: "password",
    name: "token",
    autocomplete: "current-password",
    required: true,
    id: "token",
  });
  #refusal = h("p.problem", { role: "alert" });
  #asked = false;
  #spoken = "";
  /** @type {import("./sentences.js").Refusal | null} */ #refused = null;

  pill = h(
    "button.pill",
    { type: "button", popovertarget: "connection" },
    h("span.dot", { "aria-hidden": true }),
    h("span", {}, this.#text, this.#left),
  );
  panel = h("div.panel", { id: "connection", popover: "auto", "aria-label": "Connection" }, this.#about);
  banner = h("div.banner", { hidden: true });
  dialog = h("dialog", { "aria-labelledby": "token-title" });

  /**
   * @param {import("./agent_client.js").AgentClient} client @param {ConnectionActions} actions
   * @param {(text: string) => void} announce
   */
  constructor(client, actions, announce) {
    this.#client = client;
    this.#actions = actions;
    this.#announce = announce;
    this.#fillDialog();
    this.panel.addEventListener(
      "beforetoggle",
      (/** @type {any} */ { newState }) => newState === "open" && this.#fillPanel(),
    );
    client.addEventListener("state", () => this.#changed());
    this.#changed();
  }

  #changed() {
    const { state } = this.#client;
    if (state.name === "refused" && state.code === "authentication_failed") this.askForToken();
    if (state.name === "waiting" && state.opened === false) this.#askWhy();
    else if (state.name !== "connecting") this.#refused = null;
    if (state.name === "ready") {
      this.#asked = false;
      this.dialog.close();
    }
    this.#show();
    const { text } = shortly(state, 0, this.#refused);
    if (text !== this.#spoken && state.name !== "connecting" && state.name !== "logging_in")
      this.#announce((this.#spoken = text));
  }

  #show() {
    this.#fillBanner();
    if (this.panel.matches(":popover-open")) this.#fillPanel();
    this.tick(Date.now());
  }

  /** A browser does not tell a page why no WebSocket was opened; the server does, where it can be asked at all. */
  async #askWhy() {
    const { state } = this.#client;
    /** @type {any} */ const answer = await whyRefused().catch(() => null);
    const now = this.#client.state;
    if (now !== state && now.name !== "connecting") return;
    this.#refused = answer?.allowed === false ? answer : null;
    this.#show();
  }

  /** @param {number} now */
  tick(now) {
    const { text, left = "", tone } = shortly(this.#client.state, now, this.#refused);
    this.#text.textContent = text;
    this.#left.textContent = left;
    this.pill.dataset.tone = tone;
  }

  #fillBanner() {
    const { state } = this.#client;
    const sentence = fully(state, this.#refused);
    this.banner.hidden = !sentence;
    const { agents = [] } = state;
    this.banner.replaceChildren(
      h("span", {}, sentence),
      ...(agents.length ? [agentLinks(agents)] : []),
      ...(sentence ? this.#buttons() : []),
    );
  }

  /** @returns {HTMLElement[]} what can be done in this state */
  #buttons() {
    const { state } = this.#client;
    const { retry, login, logout, fresh } = this.#actions;
    const button = (/** @type {string} */ caption, /** @type {() => void} */ action) =>
      h(
        "button",
        {
          type: "button",
          onclick: () => {
            this.panel.hidePopover();
            action();
          },
        },
        caption,
      );
    if (state.name === "waiting") return [button("Try now", retry)];
    if (state.code === "authentication_failed") return [button("Enter the token", () => this.askForToken())];
    if (state.code === 4501) return [button("Take it back", () => login()), button("New conversation", fresh)];
    if (state.name === "refused" && state.agents?.length) return [];
    if (state.name === "refused") return [button("Reconnect", () => login())];
    if (state.name === "connected") return [button("Log in", () => login())];
    if (state.name === "ready") return [button("Log out", logout)];
    return [];
  }

  #fillPanel() {
    const { state, session } = this.#client;
    const row = (/** @type {string} */ name, /** @type {string} */ value) => [h("dt", {}, name), h("dd", {}, value)];
    this.#about.replaceChildren(
      h("p", {}, fully(state, this.#refused) || `${shortly(state, 0).text}.`),
      h(
        "dl",
        {},
        ...row("Server", location.host),
        ...row("Session", session?.session_id ?? "none"),
        ...row("Frames received", String(session?.last_seq ?? 0)),
      ),
      h("div.buttons", {}, ...this.#buttons()),
    );
  }

  // ---- The token ----

  #fillDialog() {
    // A password manager keeps a token under a name; there is only one.
    const name = h("input.visually-hidden", {
      type: "text",
      name: "username",
      autocomplete: "username",
      value: "agent",
      readonly: true,
      tabindex: -1,
      "aria-hidden": true,
    });
    const form = h(
      "form",
      { method: "dialog" },
      name,
      h("h2", { id: "token-title" }, "Token"),
      h("p", {}, "This server wants a token. It stands in the settings the server was started with."),
      h("label.field", {}, h("span.label", {}, "Token"), this.#token),
      this.#refusal,
      h(
        "div.buttons",
        {},
        h("button.primary", {}, "Log in"),
        h("button", { type: "button", onclick: () => this.dialog.close() }, "Not now"),
      ),
    );
    form.addEventListener("submit", () => this.#actions.login(this.#token.value));
    this.dialog.append(form);
  }

  askForToken() {
    this.#refusal.textContent = this.#asked ? "The server did not accept this token." : "";
    this.#asked = true;
    if (!this.dialog.open) this.dialog.showModal();
    this.#token.select();
  }
}

const MOST_WAIT = 5000; // milliseconds

/** @returns {Promise<unknown>} what the server says; rejects where it says nothing, or is too old to know the question */
async function whyRefused() {
  const question = `refusal?${new URLSearchParams({ origin: location.origin })}`;
  const answer = await fetch(question, { cache: "no-store", signal: AbortSignal.timeout(MOST_WAIT) });
  return answer.ok ? answer.json() : null;
}
