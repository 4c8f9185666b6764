/** Puts the page together. */

import { AgentClient, ConnectionLost, MessageTooBig, newRequestId, parseFrame, Upload } from "./agent_client.js";
import { socketAddress } from "./address.js";
import { Attachments } from "./attachments.js";
import { Composer } from "./composer.js";
import { ConnectionView } from "./connection_view.js";
import { Conversation } from "./conversation.js";
import { h } from "./dom.js";
import { FrameRecord, isOfUpload } from "./frame_record.js";
import { Inspector } from "./inspector.js";
import { InspectorToggle } from "./inspector_toggle.js";
import { NewConversation } from "./new_conversation.js";
import { visible } from "./plain_text.js";
import { TabStore } from "./tab_store.js";
import { Talks } from "./talks.js";
import { themeButton } from "./theme.js";
import { called, Welcome } from "./welcome.js";

/** @typedef {import("./file_view.js").Sent} Sent */

/** States in which there is no connection and none is tried for. */
const GONE = new Set(["idle", "refused"]);

class Console {
  #agent = new URLSearchParams(location.search).get("agent") ?? undefined;
  #client = new AgentClient(socketAddress(), { agent: this.#agent });
  #record = new FrameRecord();
  /** What went with the messages of this page, by their ids. @type {Map<string, Blob>} */ #sentFiles = new Map();
  #store = new TabStore();
  #live = h("div.visually-hidden", { role: "status", "aria-live": "polite" });
  #announce = (/** @type {string} */ text) => {
    this.#live.textContent = text;
  };
  #welcome = new Welcome((message) => this.#composer.ask(message));
  #conversation = new Conversation(
    {
      cancel: (taskId) => this.#cancel(taskId),
      answer: (taskId, inputId, response) => this.#answer(taskId, inputId, response),
      again: ({ message, attachments }) => this.#composer.ask(message ?? "", attachments),
      edit: (message) => this.#composer.edit(message),
      inspect: (taskId) => this.#inspect(taskId),
      address: (file) => this.#client.address(file),
      sentFile: (fileId) => this.#sentFiles.get(fileId),
    },
    this.#announce,
    this.#welcome.element,
    () => this.#talks.atTop(),
  );
  #inspector = new Inspector(this.#record, (text) => this.#client.sendText(text));
  #attachments = new Attachments(
    (file, options) => this.#client.upload(file, options),
    (problem) => this.#composer.attachmentsChanged(problem),
    this.#announce,
  );
  #composer = new Composer(
    (message, attachments) => this.#ask(message, attachments),
    () => this.#toQuestion(),
    this.#attachments,
  );
  #connection = new ConnectionView(
    this.#client,
    {
      retry: () => this.#client.retryNow(),
      login: (token) => this.#login(token),
      renew: (token) => this.#renew(token),
      logout: (another) => this.#logout(another),
      fresh: () => this.#fresh(),
      hasToken: () => this.#store.token !== undefined,
    },
    this.#announce,
  );
  #talks = new Talks(this.#client, this.#conversation, this.#store, {
    apply: (entry, frame) => this.#apply(entry, frame, true),
    login: () => this.#login(),
    shown: () => this.#shown(),
    focus: () => this.#composer.focus(),
    announce: this.#announce,
  });
  #new = new NewConversation(
    () => this.#fresh(),
    () => (this.#talks.kept ? 0 : this.#conversation.running),
  );
  #title = h("h1", {}, "Agent console");
  #host = h("span.host", {}, location.host);
  #toggle = new InspectorToggle();

  constructor() {
    this.#introduce();
    const saved = this.#restored();
    if (saved.dropped) this.#rebuild("note", Date.now(), JSON.stringify({ event: "dropped", data: {} }));
    for (const [direction, time, text] of saved.entries) this.#rebuild(direction, time, text);
    this.#build();
    this.#listen();
    this.#login(saved.token, saved.session);
  }

  /** What was here before a reload, where the address still is the same. */
  #restored() {
    const saved = this.#store.load();
    const { conversation } = this.#store;
    const { wanted } = this.#talks;
    if (conversation === wanted) return saved;
    if (conversation && saved.session) this.#store.leave(conversation, saved.session);
    this.#store.begin(wanted);
    return { token: saved.token, session: null, entries: [], dropped: false };
  }

  #build() {
    document.body.append(
      h(
        "header.bar",
        {},
        this.#talks.button,
        this.#title,
        this.#host,
        this.#connection.pill,
        this.#new.button,
        themeButton(),
        this.#toggle.button,
      ),
      this.#talks.element,
      h("main", {}, this.#conversation.element, h("div.foot", {}, this.#connection.banner, this.#composer.element)),
      this.#inspector.element,
      this.#connection.panel,
      this.#connection.dialog,
      this.#live,
    );
    this.#conversation.toLatest();
    this.#refresh();
    if (!matchMedia("(pointer: coarse)").matches) this.#composer.focus();
  }

  #listen() {
    this.#client.addEventListener("frame", (/** @type {any} */ { detail }) => this.#passed(detail));
    this.#client.addEventListener("state", () => this.#stateChanged());
    addEventListener("pagehide", () => this.#store.flush());
    setInterval(() => this.#tick(), 1000);
  }

  #tick() {
    this.#conversation.tick(Date.now(), this.#client.state.name === "ready");
    this.#connection.tick(Date.now());
  }

  // ---- Frames ----

  /** @param {import("./agent_client.js").Passed} passed */
  #passed({ direction, text, frame, duplicate }) {
    if (frame?.event === "login_response" && !this.#greet(frame.data.user)) return;
    const entry = this.#record.add(direction, text, frame);
    if (frame && this.#talks.concerns(frame, direction)) return;
    if (duplicate || frame?.event === "heartbeat" || isOfUpload(frame)) return;
    if (frame?.event === "agent_data" && frame.data.transient) this.#store.save(this.#client.session);
    else this.#store.add(entry, this.#client.session);
    if (frame && !this.#talks.holds(entry, frame)) this.#apply(entry, frame, true);
    this.#refresh();
  }

  /** @param {import("./frame_record.js").Entry} entry @param {import("./agent_client.js").Frame} frame @param {boolean} live */
  #apply(entry, frame, live) {
    const { agent = this.#agent && { name: this.#agent }, agents } = frame.data;
    if (frame.event === "login_response") this.#introduce(agent, agents);
    this.#conversation.apply(entry, frame, live);
  }

  /**
   * Shows who is there to be asked, as far as that is known.
   * @param {import("./agent_client.js").AgentCard} [agent] @param {import("./agent_client.js").AgentCard[]} [agents]
   */
  #introduce(agent, agents) {
    const nameless = !agent || (agent.name === "default" && !agent.title);
    const name = nameless ? "Agent console" : called(agent);
    this.#title.textContent = visible(name);
    this.#title.title = visible(name);
    document.title = `${visible(name)} · ${location.host}`;
    this.#welcome.show(agent, agents);
  }

  /** @param {string} event @param {Record<string, any>} data what the page itself adds to the conversation */
  #note(event, data) {
    const frame = { event, data };
    const entry = this.#record.add("note", JSON.stringify(frame), frame);
    this.#store.add(entry, this.#client.session);
    this.#conversation.apply(entry, frame, true);
    this.#refresh();
  }

  /** @param {any} direction @param {number} time @param {string} text */
  #rebuild(direction, time, text) {
    const frame = parseFrame(text);
    const entry = this.#record.add(direction, text, frame, time);
    if (frame) this.#apply(entry, frame, false);
  }

  #refreshing = false;

  /** Once for all frames that come between two pictures. */
  #refresh() {
    if (this.#refreshing) return;
    this.#refreshing = true;
    requestAnimationFrame(() => {
      this.#refreshing = false;
      this.#showQuestions();
    });
  }

  #showQuestions() {
    this.#composer.showWaiting(this.#conversation.questions.length);
  }

  // ---- What a person does ----

  /** @param {string} message @param {Sent[]} files throws where the server would not take it */
  #ask(message, files) {
    this.#client.check(message);
    const requestId = newRequestId();
    for (const one of files) if (one instanceof Upload && one.file_id) this.#sentFiles.set(one.file_id, one.file);
    const attachments = files.map(({ file_id, name, media_type, size }) => ({ file_id, name, media_type, size }));
    this.#talks.asked(message);
    this.#note("asked", { request_id: requestId, message, attachments });
    this.#conversation.toLatest();
    this.#send(requestId, message, files);
  }

  /** @param {string} requestId @param {string} message @param {Sent[]} files */
  #send(requestId, message, files) {
    const attachments = /** @type {import("./agent_client.js").Attachment[]} */ (files);
    this.#client.sendAgentRequest(message, { requestId, attachments }).catch((error) => {
      // What the server says of a request comes as a frame.
      if (error instanceof ConnectionLost)
        this.#note("unsent", { request_id: requestId, reason: "Not sent: the connection was lost." });
      if (error instanceof MessageTooBig) this.#note("unsent", { request_id: requestId, reason: error.message });
    });
  }

  /** @param {string} taskId */
  #cancel(taskId) {
    this.#conversation.stopping(taskId);
    this.#client.cancel(taskId);
  }

  /** @param {string} taskId @param {string} inputId @param {any} response */
  #answer(taskId, inputId, response) {
    this.#client.answer(taskId, inputId, response);
    this.#conversation.answered(taskId, inputId, response);
    this.#refresh();
  }

  #toQuestion() {
    const [question] = this.#conversation.questions;
    question?.focus();
  }

  /** @param {string} taskId */
  #inspect(taskId) {
    this.#toggle.show(true);
    this.#inspector.only(taskId);
  }

  // ---- The session ----

  /** @param {string} [token] @param {import("./agent_client.js").Session | null} [session] that is taken up */
  #login(token, session) {
    if (token) this.#store.token = token;
    const conversationId = this.#talks.wanted ?? this.#client.conversationId;
    const left = session ?? (conversationId && !this.#client.session && this.#store.takeUp(conversationId));
    const options = { token: this.#store.token ?? "", conversationId };
    (left ? this.#client.resume(left, options) : this.#client.login(options)).catch(ignore);
  }

  /** @param {string} token a fresh one, while the login goes on; rejects where it is refused */
  async #renew(token) {
    await this.#client.login({ token });
    this.#store.token = token;
  }

  /**
   * What was said here before is nobody else's: where another user logs in, the page begins anew, with their session.
   * @param {{id: string}} [user]
   * @returns {boolean} whether the page may go on
   */
  #greet(user) {
    if (!user || !this.#store.isAnothers(user.id)) return true;
    const { session } = this.#client;
    this.#client.close();
    this.#store.handOver(session, user.id);
    history.replaceState(null, "", location.pathname + location.search);
    location.reload();
    return false;
  }

  /** @param {boolean} [another] whether somebody else is to log in */
  async #logout(another) {
    this.#store.token = undefined;
    if (another) this.#talks.abandon();
    await this.#client.logout().catch(ignore);
  }

  /**
   * A session of this page alone is logged out, once there is a connection to do so; one that another window has taken
   * up is left to it.
   */
  async #fresh() {
    if (this.#talks.kept || this.#talks.wanted) return this.#talks.fresh();
    this.#note("begun", {});
    this.#composer.focus();
    if (!GONE.has(this.#client.state.name)) await this.#client.logout().catch(ignore);
    this.#client.session = null;
    this.#login();
  }

  #firstReady = true;

  #stateChanged() {
    const { state, session } = this.#client;
    this.#store.save(session);
    this.#tick();
    if (state.name !== "ready") return;
    this.#store.flush();
    if (!this.#talks.waits) this.#shown();
  }

  /** All is shown that the server has kept, where it keeps any. */
  #shown() {
    if (this.#firstReady) this.#takeUp();
    this.#firstReady = false;
    this.#refresh();
  }

  /** Goes on with what was begun before a reload of the page. */
  #takeUp() {
    const { requests, cancels } = this.#conversation.unconfirmed;
    for (const [requestId, { message, attachments = [] }] of requests)
      this.#send(requestId, message ?? "", attachments);
    for (const taskId of cancels) this.#client.cancel(taskId);
  }
}

/** The state of the connection and the conversation say it. */
function ignore() {}

new Console();
