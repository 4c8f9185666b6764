/** The state of the connection, always visible; logging in and out. */

import { h } from "./dom.js";
import { visible } from "./plain_text.js";
import { fully, shortly, wantsToken } from "./sentences.js";
import { TokenDialog } from "./token_dialog.js";
import { agentLinks } from "./welcome.js";

/**
 * @typedef {{retry: () => void, login: (token?: string) => void, renew: (token: string) => Promise<void>,
 *   logout: (another?: boolean) => Promise<void>, fresh: () => void, hasToken: () => boolean}} ConnectionActions
 *   `logout` is told whether `another` is to log in; `renew` rejects where the token is refused; `fresh` begins a new conversation, in a session of its own; `hasToken`
 *   tells whether one was typed.
 */

export class ConnectionView {
  #client;
  #actions;
  #announce;
  #text = h("span.text");
  #left = h("span.left");
  #about = h("div.about");
  #who = h("bdi");
  #as = h("span.who", { hidden: true });
  /** Whether a token was given since the last login that was right. */ #tried = false;
  /** Whether the login ends, and nothing has renewed it. */ #expiring = false;
  #spoken = "";
  /** @type {import("./sentences.js").Refusal | null} */ #refused = null;

  pill = h(
    "button.pill",
    { type: "button", popovertarget: "connection" },
    h("span.dot", { "aria-hidden": true }),
    h("span", {}, this.#text, this.#as, this.#left),
  );
  panel = h("div.panel", { id: "connection", popover: "auto", "aria-label": "Connection" }, this.#about);
  banner = h("div.banner", { hidden: true });
  #dialog = new TokenDialog((token) => this.#use(token));
  dialog = this.#dialog.element;

  /**
   * @param {import("./agent_client.js").AgentClient} client @param {ConnectionActions} actions
   * @param {(text: string) => void} announce
   */
  constructor(client, actions, announce) {
    this.#client = client;
    this.#actions = actions;
    this.#announce = announce;
    this.panel.addEventListener(
      "beforetoggle",
      (/** @type {any} */ { newState }) => newState === "open" && this.#fillPanel(),
    );
    client.addEventListener("state", () => this.#changed());
    client.addEventListener("expiring", () => this.#expires(true));
    client.addEventListener(
      "frame",
      (/** @type {any} */ { detail }) => detail.frame?.event === "refresh_response" && this.#expires(false),
    );
    this.#changed();
  }

  /** @param {boolean} expiring */
  #expires(expiring) {
    this.#expiring = expiring;
    this.#show();
    if (expiring) this.#announce(this.#sentence);
  }

  get #sentence() {
    if (!this.#expiring) return fully(this.#client.state, this.#refused);
    return this.#actions.hasToken() ? "Your login ends." : "Your login ends. Log in again where you did.";
  }

  #changed() {
    const { state } = this.#client;
    this.#expiring = false;
    if (wantsToken(state) || (state.code === "authentication_failed" && this.#tried)) this.askForToken();
    if (state.name === "waiting" && this.dialog.open) this.#dialog.tell(fully(state));
    if (state.name === "waiting" && state.opened === false) this.#askWhy();
    else if (state.name !== "connecting") this.#refused = null;
    if (state.name === "ready") {
      this.#tried = false;
      this.#dialog.close();
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
    const { state, user } = this.#client;
    const { text, left = "", tone } = shortly(state, now, this.#refused);
    this.#text.textContent = text;
    this.#left.textContent = left;
    this.#who.textContent = visible(user?.name ?? user?.id ?? "");
    const known = state.name === "ready" && Boolean(user);
    if (this.#as.hidden === known) this.#as.replaceChildren(...(known ? [" as ", this.#who] : []));
    this.#as.hidden = !known;
    this.pill.dataset.tone = this.#expiring ? "busy" : tone;
  }

  #fillBanner() {
    const { state } = this.#client;
    const sentence = this.#sentence;
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
    const { retry, login, logout, fresh, hasToken } = this.#actions;
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
    const enter = (/** @type {string} */ caption) => button(caption, () => this.askForToken());
    if (wantsToken(state)) return [enter("Enter the token")];
    if (state.code === "authentication_failed") return [button("Try again", () => login()), enter("Enter a token")];
    if (state.code === "conversation_busy")
      return [button("Try again", () => login()), button("New conversation", fresh)];
    if (state.code === "conversation_not_found" || state.code === "session_ended")
      return [button("New conversation", fresh)];
    if (state.code === 4501) return [button("Take it back", () => login()), button("New conversation", fresh)];
    if (state.name === "refused" && state.agents?.length) return [];
    if (state.name === "refused") return [button("Reconnect", () => login())];
    if (state.name === "connected") return [button("Log in", () => login())];
    if (state.name !== "ready") return [];
    const leave = async () => {
      await logout(true);
      this.askForToken();
    };
    return [
      this.#expiring && hasToken() && enter("Enter a fresh token"),
      button("Log out", () => logout()),
      hasToken() && button("Log in as somebody else", leave),
    ].filter((one) => one instanceof HTMLElement);
  }

  #fillPanel() {
    const { state, session, user } = this.#client;
    const { id = "", name = id } = user ?? {};
    const row = (/** @type {string} */ name, /** @type {string} */ value) => [h("dt", {}, name), h("dd", {}, value)];
    this.#about.replaceChildren(
      h("p", {}, this.#sentence || `${shortly(state, 0).text}.`),
      h(
        "dl",
        {},
        ...row("Server", location.host),
        ...(user ? row("Logged in as", visible(name === id ? id : `${name} (${id})`)) : []),
        ...row("Session", session?.session_id ?? "none"),
        ...row("Frames received", String(session?.last_seq ?? 0)),
      ),
      h("div.buttons", {}, ...this.#buttons()),
    );
  }

  // ---- The token ----

  /** Asks for one, for as long as the server refuses the login. */
  askForToken() {
    const { state } = this.#client;
    const refused = state.code === "authentication_failed" && this.#tried;
    this.#dialog.ask(state.name === "ready" ? FRESH : WANTED, refused ? `${NOT_ACCEPTED} ${state.message}` : "");
  }

  /** @param {string} token */
  async #use(token) {
    this.#tried = true;
    if (this.#client.state.name !== "ready") return this.#actions.login(token);
    try {
      await this.#actions.renew(token);
      this.#dialog.close();
    } catch (error) {
      this.#dialog.ask(FRESH, `${NOT_ACCEPTED} ${/** @type {Error} */ (error).message}`);
    }
  }
}

const WANTED =
  "This server wants a token: the one of its settings, or one of your own from where you log in otherwise.";
const FRESH = "Your login ends. With a fresh token of yours this conversation goes on.";
const NOT_ACCEPTED = "The server did not accept this token.";
const MOST_WAIT = 5000; // milliseconds

/** @returns {Promise<unknown>} what the server says; rejects where it says nothing, or is too old to know the question */
async function whyRefused() {
  const question = `refusal?${new URLSearchParams({ origin: location.origin })}`;
  const answer = await fetch(question, { cache: "no-store", signal: AbortSignal.timeout(MOST_WAIT) });
  return answer.ok ? answer.json() : null;
}
