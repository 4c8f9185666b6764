/**
 * Talks to an agent server: one file without dependencies, for any page.
 *
 *     const client = new AgentClient("ws://localhost:8765/");
 *     await client.login();
 *     for await (const frame of client.stream("What time is it?")) console.log(frame.event, frame.data);
 *     console.log(await client.ask("And in Tokyo?"));
 *     await client.logout();
 *     client.close();
 *
 * A lost connection is taken up again by itself, and `stream` and `ask` go on as if nothing had happened. It counts as
 * lost as well where it is silent for longer than the server ever is, and where an answer is overdue. Events: "state"
 * (`detail` is `client.state`), "frame" (`detail` is a `Passed`: every frame, in both directions) and "expiring"
 * (`detail` is an Error: the login is about to end, and could not be renewed).
 *
 * Files go with a request, and come from the agent; a broken connection holds neither up:
 *
 *     const frames = client.stream("What is in it?", { attachments: [input.files[0]] });
 *     for await (const { event, data } of frames) if (event === "agent_file") image.src = client.address(data);
 *
 * Where the server keeps conversations, each has an id, and goes on from any page; by itself, where the server was
 * started anew meanwhile:
 *
 *     const client = new AgentClient(url, { conversationId });
 *     await client.login();
 *     const { turns } = await client.history();
 *
 * @typedef {string | (() => string | undefined | Promise<string | undefined>)} Token
 *   What proves who logs in; a function is asked anew for each connection, and ten seconds before the login ends.
 * @typedef {{event: string, data: Record<string, any>, gap?: true}} Frame
 *   `gap` marks what was rebuilt from a snapshot, because frames were lost before they could be sent again.
 * @typedef {{direction: "sent" | "received", text: string, frame: Frame | null, duplicate: boolean}} Passed
 * @typedef {{session_id: string, resume_token: string, last_seq: number}} Session
 * @typedef {"idle" | "connecting" | "connected" | "logging_in" | "ready" | "logging_out" | "waiting" | "refused"}
 *   StateName
 * @typedef {{name: string, title?: string, description?: string, starters?: string[]}} AgentCard
 * @typedef {{name: StateName, code?: number | string, message?: string, retryAt?: number, opened?: boolean,
 *   agents?: AgentCard[], error?: Error, retryAfter?: number}} State
 *   `code` is a close code or an error's code; `opened` is false where the connection never opened; `agents` are those
 *   that there are where the one that was wanted is not; `error` is what the page's own function for the token threw;
 *   `retryAfter` is seconds, where the server names them.
 *   "refused" is left only by `connect`, `login` or `resume`.
 * @typedef {{task_id: string, status: string, output: string, response?: string, result?: any, files?: AgentFile[],
 *   data?: AgentData[], pending_inputs?: Record<string, any>[]}} Snapshot
 * @typedef {{file_id: string, name: string, media_type: string, size: number, url: string, tool_call_id?: string}} AgentFile
 *   What an `agent_file` says. Who has its `url` has the file: it is not to be logged.
 * @typedef {{name: string, data: any, id?: string, transient?: boolean}} AgentData What an `agent_data` says.
 * @typedef {{conversation_id: string, title: string, agent: string, created_at: string, updated_at: string, turns: number,
 *   running: boolean}} ConversationCard
 * @typedef {{task_id: string, message: string, request_id?: string, attachments?: AgentFile[],
 *   status: "running" | "completed" | "cancelled" | "failed" | "interrupted", started_at: string, ended_at?: string,
 *   events: {kind: string, [field: string]: any}[], response?: string, result?: any, error?: Record<string, any>,
 *   usage?: Record<string, any>}} ConversationTurn
 *   What was asked and what came of it; "interrupted" is what ran when the server ended without a word.
 * @typedef {{limit?: number, before?: string}} Page
 *   At most `limit` (1 to 100) of what comes before `before`, which is the `next` of the page before.
 * @typedef {Blob | Upload | {file_id: string}} Attachment
 *   A `File` or `Blob` is uploaded first; the others are there already, or on their way.
 * @typedef {{params?: Record<string, any>, attachments?: Attachment[], onUpload?: (upload: Upload) => void,
 *   signal?: AbortSignal}} RequestOptions
 *   `params` is what the agent is to know of this request. `onUpload` is told of each step of the attachments that are
 *   uploaded; `signal` gives the request up, its uploads and its task.
 */

/** What the server says has gone wrong. */
export class ServerError extends Error {
  /**
   * @param {{message?: string, code?: string, task_id?: string, error_id?: string, retry_after?: number,
   *   scope?: "session" | "user" | "server"}} data
   */
  constructor(data) {
    super(data.message ?? "The server reported an error.");
    this.name = "ServerError";
    this.code = data.code ?? "";
    this.taskId = data.task_id;
    this.errorId = data.error_id;
    /** Seconds after which the same may well be granted. */
    this.retryAfter = data.retry_after;
    /** Whose limit it is. */
    this.scope = data.scope;
  }
}

/** The task was stopped. */
export class TaskCancelled extends Error {}

/** The server ended while the task ran, or could not keep how it ended; it is not run again by itself. */
export class TaskInterrupted extends Error {}

/** The connection is gone for good, or the session with its tasks. */
export class ConnectionLost extends Error {}

/** What was to be sent is longer than the server takes; it was not sent. `size` and `limit` in bytes. */
export class MessageTooBig extends Error {
  /** @param {number} size @param {number} limit */
  constructor(size, limit) {
    super(`This is too long for the server: ${size} bytes, and it takes ${limit}.`);
    this.size = size;
    this.limit = limit;
  }
}

const FEATURES = ["heartbeat", "reasoning", "progress", "data", "files"];
/** A connection is lost when nothing was heard for so many times the interval in which the server says something. */
const SILENCE = 2.5;
/** Milliseconds by which a timer is late only where the page, or all of the machine, has slept. */
const SLEPT = 1000;
/** Milliseconds before the end of a login at which it is renewed; one that is short, at half of it. */
const EARLY = 10_000;
/** The longest that a timer can wait, in milliseconds. */
const LONGEST_TIMER = 2 ** 31 - 1;
const ENDS = new Set(["agent_response", "error", "task_cancelled"]);
const PASSING = new Set([
  "too_many_sessions",
  "agent_unavailable",
  "authentication_unavailable",
  "shutting_down",
  "rate_limited",
  "store_unavailable",
]);
// A session whose numbers do not fit (it is not the one that was meant) is as good as none.
const LOST_SESSION = new Set(["session_not_found", "invalid_frame"]);
const FINAL_CLOSE_CODES = new Set([1000, 1003, 1007, 1009]);
const NO_LOGIN_IN_TIME = 4502;
/** Turns that are asked for at once, and answers that are looked through, to find out what became of a task. */
const [TURNS_AT_ONCE, MOST_PAGES] = [100, 50];

/** Bytes of a file that go in one piece. */
const [SMALLEST_PIECE, FIRST_PIECE, LARGEST_PIECE] = [4 * 1024, 16 * 1024, 128 * 1024];
/** Pieces that are sent before one of them is answered: what a person does must not wait behind many. */
const PIECES_AHEAD = 2;
/** Milliseconds within which a piece is answered where larger ones may go. */
const BRISK = 500;
/** What says nothing against a file: it goes on with the next login. */
const LATER = new Set(["shutting_down", "not_logged_in"]);
/** Bytes of a piece's message that are not the piece. */
const ENVELOPE = 256;

/** A file that is uploaded, or was. */
export class Upload {
  /** The name by which requests know it, once it is there. @type {string | undefined} */ file_id;
  /** Bytes that are there. */ received = 0;

  /** @param {Blob} file @param {string} [name] */
  constructor(file, name) {
    this.file = file;
    this.name = name || /** @type {File} */ (file).name || "file";
    this.media_type = file.type || "application/octet-stream";
    this.size = file.size;
  }
}

/** The files on their way to the server: in pieces, over whatever connection there is. */
class Uploads {
  #send;
  #onComplete;
  #onFailure;
  /**
   * `due` is when each step was sent that has no answer yet. "astray" is what the server has to be asked about again.
   * @typedef {{id: string, upload: Upload, state: "waiting" | "starting" | "sending" | "astray", sent: number,
   *   due: number[], onProgress?: (upload: Upload) => void, resolve: (upload: Upload) => void,
   *   reject: (error: any) => void}} Sending
   */
  /** @type {Map<string, Sending>} */ #all = new Map();
  /** Those given up while there was no connection. @type {Set<string>} */ #dropped = new Set();
  #open = false;
  #takesFiles = false;
  #feeding = false;
  #piece = FIRST_PIECE;
  #largest = LARGEST_PIECE;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #rest;

  /**
   * @param {(event: string, data: Record<string, any>) => void} send @param {() => void} onComplete
   * @param {(upload: Upload, error: any) => void} onFailure
   */
  constructor(send, onComplete, onFailure) {
    this.#send = send;
    this.#onComplete = onComplete;
    this.#onFailure = onFailure;
  }

  /** @param {Upload} upload @param {((upload: Upload) => void) | undefined} onProgress @returns {Promise<Upload>} */
  begin(upload, onProgress) {
    return new Promise((resolve, reject) => {
      const id = newRequestId();
      /** @type {Sending} */
      const one = { id, upload, state: "waiting", sent: 0, due: [], onProgress, resolve, reject };
      this.#all.set(id, one);
      if (this.#open) this.#start(one);
    });
  }

  /** @param {Upload} upload @returns {Sending | undefined} */
  #find(upload) {
    return [...this.#all.values()].find((one) => one.upload === upload);
  }

  /** @param {Upload} upload @returns {boolean} whether it is there, or will be */
  has(upload) {
    return this.#find(upload) !== undefined;
  }

  /** Gives one up; once a request has it, it stays. @param {Upload} upload @param {any} reason */
  drop(upload, reason) {
    const one = this.#find(upload);
    if (!one) return;
    if (this.#open) this.#send("upload_cancel", { upload_id: one.id });
    else this.#dropped.add(one.id);
    this.#fail(one, reason);
  }

  /** A request has it. @param {Upload} upload */
  settle(upload) {
    const one = this.#find(upload);
    if (one) this.#all.delete(one.id);
  }

  /** There is a session on this connection. @param {boolean} takesFiles @param {number} limit bytes of a message */
  open(takesFiles, limit) {
    [this.#open, this.#takesFiles] = [true, takesFiles];
    this.#largest = Math.min(LARGEST_PIECE, Math.max(1, Math.floor((limit - ENVELOPE) / 4)) * 3);
    for (const upload_id of this.#dropped) this.#send("upload_cancel", { upload_id });
    this.#dropped.clear();
    for (const one of this.#all.values()) if (one.upload.file_id === undefined) this.#start(one);
  }

  /** The connection is lost. */
  pause() {
    this.#open = false;
    clearTimeout(this.#rest);
    this.#rest = undefined;
    this.#piece = FIRST_PIECE;
    for (const one of this.#all.values()) [one.state, one.due] = ["waiting", []];
  }

  /** The session is lost, and with it what was uploaded: that begins anew with the next one. */
  restart() {
    this.#dropped.clear();
    for (const one of this.#all.values()) {
      [one.state, one.due, one.upload.file_id] = ["waiting", [], undefined];
      this.#tell(one, 0);
    }
  }

  /** Ends those that are on their way. @param {Error} error */
  failAll(error) {
    for (const one of this.#all.values()) if (one.upload.file_id === undefined) this.#fail(one, error);
  }

  /** @param {Sending} one */
  #start(one) {
    if (!this.#takesFiles)
      return this.#fail(one, new ServerError({ code: "files_unavailable", message: "This server takes no files." }));
    const { name, media_type, size } = one.upload;
    one.state = "starting";
    one.due.push(Date.now());
    this.#send("upload_start", { upload_id: one.id, name, media_type, size });
  }

  /** @param {Sending} one @param {any} error */
  #fail(one, error) {
    this.#all.delete(one.id);
    one.upload.file_id = undefined;
    one.reject(error);
    this.#onFailure(one.upload, error);
    this.#feed();
  }

  /** @param {Sending} one @param {number} received */
  #tell(one, received) {
    one.upload.received = received;
    one.onProgress?.(one.upload);
  }

  /** Takes an answer of the server's. @param {Frame} frame */
  take({ event, data }) {
    const one = this.#all.get(data.upload_id);
    if (!one || one.state === "waiting") return;
    const took = Date.now() - (one.due.shift() ?? 0);
    if (event === "upload_progress") this.#progress(one, data.received, took);
    else if (event === "upload_complete") this.#complete(one, data.file_id);
    else if (data.code === "rate_limited") this.#slowDown(one, data.retry_after);
    else if (LATER.has(data.code)) one.state = "waiting";
    else this.#fail(one, new ServerError(data));
    // Every step has one answer: when the last one is there, nothing is on its way that could be taken for another.
    if (one.state === "astray" && !one.due.length && !this.#rest) this.#start(one);
    this.#feed();
  }

  /** @param {Sending} one @param {number} received @param {number} took milliseconds */
  #progress(one, received, took) {
    if (one.state === "starting") [one.state, one.sent] = ["sending", received];
    else if (one.state === "sending" && received <= one.upload.received) one.state = "astray";
    else if (one.state === "sending") this.#piece *= took < BRISK ? 2 : 0.5;
    this.#piece = Math.min(Math.max(this.#piece, SMALLEST_PIECE), this.#largest);
    this.#tell(one, received);
  }

  /** @param {Sending} one @param {string} fileId */
  #complete(one, fileId) {
    [one.state, one.due, one.upload.file_id] = ["waiting", [], fileId];
    this.#tell(one, one.upload.size);
    one.resolve(one.upload);
    this.#onComplete();
  }

  /** The step was dropped. @param {Sending} one @param {number} [after] seconds that the server wants to be left alone */
  #slowDown(one, after = 1) {
    one.state = "astray";
    this.#rest ??= setTimeout(() => {
      this.#rest = undefined;
      for (const each of this.#all.values()) if (each.state === "astray" && !each.due.length) this.#start(each);
      this.#feed();
    }, 1000 * after);
  }

  /** Sends the next pieces: of one file after another, in their order. */
  async #feed() {
    if (this.#feeding) return;
    this.#feeding = true;
    for (let one; (one = this.#next());) {
      const [from, { due, upload }] = [one.sent, one];
      one.sent = Math.min(from + Math.min(this.#piece, this.#largest), upload.size);
      due.push(Date.now());
      try {
        const data = await base64(upload.file.slice(from, one.sent));
        if (due !== one.due || this.#all.get(one.id) !== one) continue; // another connection, or nobody wants it any more
        this.#send("upload_chunk", { upload_id: one.id, offset: from, data });
      } catch (error) {
        this.drop(upload, error); // it can no longer be read
      }
    }
    this.#feeding = false;
  }

  /** @returns {Sending | undefined} whose piece is to go */
  #next() {
    if (!this.#open || this.#rest) return undefined;
    const all = [...this.#all.values()];
    const ahead = all.reduce((sum, { state, due }) => sum + (state === "sending" ? due.length : 0), 0);
    return ahead < PIECES_AHEAD ? all.find((one) => one.state === "sending" && one.sent < one.upload.size) : undefined;
  }
}

/** @param {Blob} blob @returns {Promise<string>} rejects where it cannot be read */
function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader(); // encodes beside the page
    reader.onload = () => resolve(/** @type {string} */ (reader.result).replace(/^[^,]*,/, ""));
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(blob);
  });
}

/** The frames of one task, as they come. */
class FrameQueue {
  /** Files and data that were there, so that what a snapshot repeats is told once. @type {Map<string, string>} */
  #seen = new Map();
  /** @type {Frame[]} */ #frames = [];
  /** @type {(() => void) | null} */ #wake = null;
  /** @type {any} */ #error = null;
  ended = false;
  abandoned = false;

  /** @param {Frame} frame */
  push(frame) {
    if (this.#repeats(frame)) return;
    this.#frames.push(frame);
    if (ENDS.has(frame.event)) this.ended = true;
    this.#wake?.();
  }

  /** @param {Frame} frame @returns {boolean} whether it is of a snapshot, and nothing new */
  #repeats({ event, data, gap }) {
    const key =
      event === "agent_file" ? `file ${data.file_id}` : event === "agent_data" && data.id && `data ${data.id}`;
    if (!key) return false;
    const { seq, ...said } = data;
    const before = this.#seen.get(key);
    this.#seen.set(key, JSON.stringify(said));
    return Boolean(gap) && (event === "agent_file" ? before !== undefined : before === JSON.stringify(said));
  }

  /** @param {any} error */
  fail(error) {
    this.#error = error;
    this.ended = true;
    this.#wake?.();
  }

  async *[Symbol.asyncIterator]() {
    for (;;) {
      const frame = this.#frames.shift();
      if (frame?.event === "error") throw new ServerError(frame.data);
      if (frame?.event === "task_cancelled") throw new TaskCancelled("The task was stopped.");
      if (frame) yield frame;
      else if (this.#error) throw this.#error;
      else if (this.ended) return;
      else
        await new Promise((resolve) => {
          this.#wake = () => resolve(undefined);
        });
    }
  }
}

export class AgentClient extends EventTarget {
  /** @type {State} */ state = { name: "idle" };
  /** @type {Session | null} */ session = null;
  /** The conversation that it is, or that the next login goes on with. @type {string | null} */ conversationId = null;
  /** Of a conversation that goes on in a new session: whether the agent remembers it. @type {"restored" | "none" | null} */
  memory = null;
  /** Who is logged in, where the server knows that. @type {{id: string, name?: string} | null} */ user = null;
  /** Seconds, as the server said last, until the login ends; null where it does not. @type {number | null} */
  expiresIn = null;
  #url;
  #resumable;
  #agent;
  /** @type {Token | undefined} */ #token;
  /** @type {Record<string, any> | undefined} */ #params;
  #options;
  /** @type {WebSocket | null} */ #socket = null;
  #opened = false;
  #wanted = false;
  #loginWanted = false;
  #leaving = false;
  /** Whether there was a session since the last `login`. */ #entered = false;
  #attempt = 0;
  /** When the login ends, in milliseconds since 1970. */ #endsAt = Infinity;
  /** The end that the token was last tried for. */ #triedFor = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #renewal;
  /** The `refresh` without an answer yet. @type {{id: string, resolve: () => void, reject: (error: Error) => void} | null} */
  #refreshing = null;
  #heardAt = 0;
  /** Milliseconds within which the server always says something; 0 where it does not say. */ #heartbeat = 0;
  #answersHeartbeats = false;
  #limit = Infinity;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #silence;
  /** Answers that have to come in time, each with its timer. @type {Map<string, ReturnType<typeof setTimeout>>} */
  #due = new Map();
  /** @type {AbortController | null} */ #awake = null;
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #timer;
  /**
   * @type {Map<string, {data: {message: string, params?: Record<string, any>, request_id: string},
   *   attachments: (Upload | {file_id: string})[], sent: boolean, queue: FrameQueue, resolve: Function, reject: Function}>}
   */
  #requests = new Map();
  /** @type {Map<string, FrameQueue>} */ #tasks = new Map();
  /** @type {Map<string, {promise: Promise<void>, resolve: () => void}>} */ #cancels = new Map();
  /** @type {Map<string, {data: {task_id: string}, sent: boolean}>} */ #answers = new Map();
  /** @type {Map<string, Snapshot>} */ #snapshots = new Map();
  /** @type {Map<string, {event: string, data: object, resolve: (answer: any) => void, reject: (error: any) => void}>} */
  #questions = new Map();
  /** Whether there is something of the conversation: before its first request nothing is kept. */ #kept = false;
  /** Tasks of a session that is gone: the conversation tells what became of them. @type {Map<string, FrameQueue>} */
  #astray = new Map();
  /** Requests that such a session may have accepted. @type {Set<string>} */ #unsure = new Set();
  #settling = false;
  #uploads = new Uploads(
    (event, data) => this.#send(event, data),
    () => this.#sendWaiting(),
    (upload, error) => this.#uploadFailed(upload, error),
  );

  /**
   * @param {string | URL} url
   * @param {{token?: Token, params?: Record<string, any>, agent?: string, conversationId?: string | null,
   *   resumable?: boolean, firstDelay?: number, maxDelay?: number, patience?: number, slowPatience?: number,
   *   probePatience?: number}} [options]
   *   `params` is what the agent is to know of the session. `agent` is one of several that the server has.
   *   `conversationId` is an earlier conversation, to go on with; its agent is its own.
   *   Milliseconds: back-off from `firstDelay` to `maxDelay`; and what
   *   the client waits before it gives the connection up as dead: `patience` for it to open and for a request to be
   *   confirmed, `slowPatience` for what may take an agent's time (login, logout, a cancel), and `probePatience` for any
   *   sign of life where one was asked for.
   */
  constructor(
    url,
    {
      token,
      params,
      agent,
      conversationId = null,
      resumable = true,
      firstDelay = 1000,
      maxDelay = 30000,
      patience = 10000,
      slowPatience = 6 * patience,
      probePatience = patience / 2,
    } = {},
  ) {
    super();
    this.#url = url;
    this.#token = token;
    this.#params = params;
    this.#agent = agent;
    this.conversationId = conversationId;
    this.#resumable = resumable;
    this.#options = { firstDelay, maxDelay, patience, slowPatience, probePatience };
  }

  /** Opens the connection, as often as it takes. Rejects with `ConnectionLost` where trying again is of no use. */
  async connect() {
    if (!this.#wanted) this.#open();
    await this.#until("connected", "ready");
  }

  /**
   * Opens a session, or takes up the one before a lost connection; where there is one, a token that is given renews the
   * login. Rejects with `ServerError` where it is refused, and with what the function for the token threw, unless that
   * happens while a connection is taken up again: then it is asked anew with the next one.
   * @param {{token?: Token, conversationId?: string | null}} [options] without a token the one given before is sent
   *   again; an empty one forgets it. Where nobody is logged in, `conversationId` is the conversation to go on with, and
   *   null begins another one; without it, it is the one before, or after a `logout` another one. Rejects then with the
   *   codes `conversation_not_found`, also where the server keeps none, or `conversation_busy`.
   */
  async login({ token, conversationId = this.conversationId } = {}) {
    if (conversationId !== this.conversationId) {
      this.#forget(new ConnectionLost("Another conversation was chosen."));
      [this.conversationId, this.#kept] = [conversationId, false];
    }
    this.#loginWanted = true;
    this.#leaving = false;
    if (this.state.name === "ready" && token && this.expiresIn !== null) await this.#prove(token);
    if (token !== undefined) this.#token = token || undefined;
    if (this.state.name === "connected") this.#sendLogin();
    else if (!this.#wanted) this.#open();
    await this.#until("ready");
  }

  /**
   * Takes up a session that was kept somewhere, by a page before its reload for instance.
   * Where it is gone, its conversation goes on in a new one.
   * @param {Session} session
   * @param {{token?: Token, conversationId?: string | null}} [options]
   */
  resume(session, options = {}) {
    const { conversationId = this.conversationId } = options;
    if (conversationId !== this.conversationId) this.#kept = false;
    [this.session, this.conversationId] = [{ ...session }, conversationId];
    return this.login(options);
  }

  /** Tries again at once, where the client waits to do so. */
  retryNow() {
    if (this.state.name === "waiting") this.#open();
  }

  /**
   * Finds out at once whether the connection still stands; tries again where it is known not to. The client does so by
   * itself when the page wakes up or the network comes back.
   */
  wake() {
    if (this.state.name === "ready" || this.state.name === "logging_out") this.#probe();
    else this.retryNow();
  }

  /**
   * Throws `MessageTooBig` where the server would not take such a request.
   * @param {string} message
   * @param {{params?: Record<string, any>}} [options]
   */
  check(message, { params } = {}) {
    this.#encode("agent_request", { message, params, request_id: newRequestId() });
  }

  /**
   * Starts a task; sent once there is a session, and the attachments are there. Resolves to the task's id, rejects with
   * `ServerError`, `MessageTooBig` or `ConnectionLost`, or with the reason of `signal`. Its frames come as "frame"
   * events; `stream` and `ask` are the comfortable ways.
   * @param {string} message
   * @param {RequestOptions & {requestId?: string}} [options] `requestId` is the one under which it was sent before, so
   *   that it never runs twice
   * @returns {Promise<string>}
   */
  sendAgentRequest(message, options = {}) {
    return this.#request(message, options, new FrameQueue());
  }

  /**
   * The frames of one task, the last one being its `agent_response`. Leaving the loop early stops the task. Throws
   * `ServerError`, `TaskCancelled`, `TaskInterrupted`, `MessageTooBig` or `ConnectionLost`, or the reason of `signal`.
   * @param {string} message
   * @param {RequestOptions} [options]
   * @returns {AsyncGenerator<Frame, void, void>}
   */
  async *stream(message, options = {}) {
    const queue = new FrameQueue();
    let taskId = "";
    this.#request(message, options, queue).then(
      (id) => {
        taskId = id;
      },
      (error) => queue.fail(error),
    );
    try {
      yield* queue;
    } finally {
      queue.abandoned = true;
      if (!queue.ended && taskId) this.cancel(taskId);
    }
  }

  /**
   * The answer to one message. Throws as `stream` does.
   * @param {string} message
   * @param {RequestOptions & {onInput?: (question: Record<string, any>) => unknown}} [options] `onInput` answers what the
   *   agent asks meanwhile
   * @returns {Promise<string>}
   */
  async ask(message, { onInput, ...options } = {}) {
    let answer = "";
    for await (const { event, data } of this.stream(message, options)) {
      if (event === "agent_response") answer = data.response;
      if (event === "input_required" && onInput) this.answer(data.task_id, data.input_id, await onInput(data));
    }
    return answer;
  }

  /**
   * Sends a file, for one or several requests to name among their `attachments`. Goes on after a break, and begins anew
   * in a new session, also where it was there already and no request had it. Rejects with `ServerError`,
   * `ConnectionLost`, the reason of `signal`, or what the browser says of a file that cannot be read.
   * @param {Blob} file
   * @param {{name?: string, onProgress?: (upload: Upload) => void, signal?: AbortSignal}} [options] `signal` gives the
   *   file up: also one that is there, as long as no request has it
   * @returns {Promise<Upload>}
   */
  upload(file, { name, onProgress, signal } = {}) {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const upload = new Upload(file, name);
    signal?.addEventListener("abort", () => this.#uploads.drop(upload, signal.reason), { once: true });
    return this.#uploads.begin(upload, onProgress);
  }

  // ---- Conversations ----

  /**
   * The user's conversations, newest first. There are none where users are not known by name, or the server keeps no
   * conversations. This and what follows is asked again after a break; it rejects with `ServerError` or `ConnectionLost`.
   * @param {Page} [page]
   * @returns {Promise<{conversations: ConversationCard[], next?: string}>}
   */
  conversations({ limit, before } = {}) {
    return this.#inquire("list_conversations", { limit, before });
  }

  /**
   * What was said in a conversation: its newest turns, oldest first. There may be fewer than `limit`, and still a `next`.
   * @param {string | null} [conversationId] by default, this one
   * @param {Page} [page]
   * @returns {Promise<{conversation_id: string, title: string, agent: string, turns: ConversationTurn[], next?: string}>}
   */
  history(conversationId, { limit, before } = {}) {
    return this.#inquire("get_conversation", { conversation_id: conversationId ?? undefined, limit, before });
  }

  /** @param {string} conversationId @param {string} title of 1 to 200 characters @returns {Promise<string>} as it is kept */
  async renameConversation(conversationId, title) {
    return (await this.#inquire("rename_conversation", { conversation_id: conversationId, title })).title;
  }

  /** Deletes a conversation, its files and its memory, for good; a session of it ends. @param {string} conversationId */
  async deleteConversation(conversationId) {
    await this.#inquire("delete_conversation", { conversation_id: conversationId });
  }

  /** @param {string} event @param {object} data @returns {Promise<any>} what the server answers */
  #inquire(event, data) {
    const request_id = newRequestId();
    return new Promise((resolve, reject) => {
      this.#questions.set(request_id, { event, data: { ...data, request_id }, resolve, reject });
      if (this.state.name === "ready") this.#sendQuestion(request_id);
    });
  }

  /** @param {string} id */
  #sendQuestion(id) {
    const { event, data, reject } = /** @type {any} */ (this.#questions.get(id));
    try {
      this.#send(event, data);
      this.#expect(`question ${id}`, this.#options.slowPatience);
    } catch (error) {
      this.#questions.delete(id);
      reject(error);
    }
  }

  /** @param {Frame} frame */
  #told({ event, data: { request_id, ...data } }) {
    const { resolve, reject } = /** @type {any} */ (this.#questions.get(request_id));
    this.#questions.delete(request_id);
    this.#answered(`question ${request_id}`);
    if (event === "error") reject(new ServerError(data));
    else resolve(data);
  }

  /** @param {Error} error */
  #failQuestions(error) {
    for (const { reject } of this.#questions.values()) reject(error);
    this.#questions.clear();
  }

  /**
   * Where a file of the agent's is got, for as long as its session or its conversation is there. Throws a `TypeError` where that is not on
   * the server.
   * @param {{url: string}} file
   * @returns {string}
   */
  address({ url }) {
    const server = new URL(this.#url, globalThis.location?.href);
    server.protocol = server.protocol.replace("ws", "http");
    const address = new URL(url, server);
    if (address.origin !== server.origin) throw new TypeError("The file is not on the server.");
    return address.href;
  }

  /**
   * Fetches a file of the agent's; only a page of the server's own origin can. Rejects with a `ServerError` where it is
   * gone.
   * @param {AgentFile} file @param {{signal?: AbortSignal}} [options]
   * @returns {Promise<Blob>} of the media type that the agent gave it
   */
  async download(file, { signal } = {}) {
    const answer = await fetch(this.address(file), { signal });
    if (!answer.ok) throw new ServerError({ code: "unknown_file", message: "The file is no longer there." });
    return new Blob([await answer.blob()], { type: file.media_type });
  }

  /** Stops that task; resolves when it has ended. @param {string} taskId */
  cancel(taskId) {
    const known = this.#cancels.get(taskId);
    if (known) return known.promise;
    let resolve = () => {};
    const promise = new Promise((done) => {
      resolve = () => done(undefined);
    });
    this.#cancels.set(taskId, { promise, resolve });
    if (this.state.name === "ready") this.#sendCancel(taskId);
    return promise;
  }

  /**
   * Answers an `input_required`. Throws `MessageTooBig`.
   * @param {string} taskId @param {string} inputId @param {unknown} response
   */
  answer(taskId, inputId, response) {
    const answer = { data: { task_id: taskId, input_id: inputId, response }, sent: this.state.name === "ready" };
    this.#encode("input_response", answer.data);
    this.#answers.set(inputId, answer);
    if (answer.sent) this.#send("input_response", answer.data);
  }

  /** Ends the session with its tasks, once the connection stands where it is lost just now; it stays open. */
  async logout() {
    this.#loginWanted = false;
    this.#leaving = this.#wanted && (this.session !== null || this.state.name === "logging_in");
    if (this.state.name === "ready") this.#sendLogout();
    else if (!this.#leaving) this.#forget(new ConnectionLost("Logged out."));
    if (this.#wanted) await this.#until("connected");
  }

  /** Closes the connection; a resumable session waits for `login` or `resume` for a while. */
  close() {
    this.#giveUp({ name: "idle" }, "The client was closed.");
  }

  /** Sends any text whatever, as it is. Throws `MessageTooBig` or `ConnectionLost`. @param {string} text */
  sendText(text) {
    if (this.#socket?.readyState !== WebSocket.OPEN) throw new ConnectionLost("There is no connection.");
    this.#socket.send(this.#fitting(text));
    this.#report("sent", text, parseFrame(text));
  }

  // ---- The connection ----

  #open() {
    this.#wanted = true;
    this.#opened = false;
    this.#stayAwake();
    clearTimeout(this.#timer);
    this.#setState({ name: "connecting" });
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#expect("open", this.#options.patience);
    socket.onopen = () => {
      this.#opened = true;
      this.#answered("open");
      this.#setState({ name: "connected" });
      if ((this.#loginWanted || this.#leaving) && this.state.name === "connected") this.#sendLogin();
    };
    socket.onmessage = ({ data }) => this.#receive(data);
    socket.onclose = ({ code }) => this.#drop(socket, code);
  }

  /** @param {WebSocket} socket @param {number} code */
  #drop(socket, code) {
    if (socket !== this.#socket) return;
    // No reason to stay away: the function for the token may have taken its time.
    const late = code === NO_LOGIN_IN_TIME && this.state.name === "logging_in";
    this.#detach();
    if (!this.#loginWanted) this.#failQuestions(new ConnectionLost("The connection was lost."));
    if (!this.session) this.#failTasks(new ConnectionLost("The connection was lost, and the task with it."));
    if (!late && (FINAL_CLOSE_CODES.has(code) || code >= 4500))
      this.#giveUp({ name: "refused", code }, "The connection was closed.");
    else this.#retryLater({ code, opened: this.#opened });
  }

  #detach() {
    const socket = this.#socket;
    this.#socket = null;
    clearTimeout(this.#timer);
    clearTimeout(this.#silence);
    clearTimeout(this.#renewal);
    for (const timer of this.#due.values()) clearTimeout(timer);
    this.#due.clear();
    this.#refreshing?.reject(new ConnectionLost("The connection was lost."));
    this.#refreshing = null;
    this.#uploads.pause();
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  /** @param {Partial<State>} why @param {number} [after] seconds that the server wants to be left alone */
  #retryLater(why, after = 0) {
    const { firstDelay, maxDelay } = this.#options;
    const delay = 1000 * after + Math.random() * Math.min(maxDelay, firstDelay * 2 ** this.#attempt++);
    this.#timer = setTimeout(() => this.#open(), delay);
    this.#setState({ ...why, name: "waiting", retryAt: Date.now() + delay });
  }

  /** @param {State} state @param {string} message */
  #giveUp(state, message) {
    this.#wanted = false;
    this.#leaving = false;
    this.#entered = false;
    this.user = null;
    this.expiresIn = null;
    this.#awake?.abort();
    this.#awake = null;
    this.#detach();
    for (const { reject } of this.#requests.values()) reject(new ConnectionLost(message));
    this.#requests.clear();
    this.#failQuestions(new ConnectionLost(message));
    this.#uploads.failAll(new ConnectionLost(message));
    this.#failTasks(new ConnectionLost(message));
    this.#setState(state);
  }

  /** @param {State} state */
  #setState(state) {
    this.state = state;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }

  /** @param {StateName[]} names @returns {Promise<void>} */
  #until(...names) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const { name, code, message, error, retryAfter: retry_after } = this.state;
        const passing = this.#leaving && name === "connected"; // only to log out from the session
        if (names.includes(name) && !passing) resolve();
        else if (error && name === "refused") reject(error);
        else if (typeof code === "string" && name === "refused") reject(new ServerError({ code, message, retry_after }));
        else if (name === "refused" || name === "idle") reject(new ConnectionLost(`Closed with code ${code}.`));
        else return;
        this.removeEventListener("state", look);
      };
      this.addEventListener("state", look);
      look();
    });
  }

  // ---- Signs of life ----

  /** A dead link makes no sound: an answer that does not come in time says so. @param {string} what @param {number} ms */
  #expect(what, ms) {
    const socket = this.#socket;
    this.#answered(what);
    this.#due.set(
      what,
      setTimeout(() => socket && this.#drop(socket, 1006), ms),
    );
  }

  /** @param {string} what */
  #answered(what) {
    clearTimeout(this.#due.get(what));
    this.#due.delete(what);
  }

  #heard() {
    this.#heardAt = Date.now();
    this.#answered("heartbeat");
  }

  /** @param {Record<string, any>} login */
  #keepTerms({ heartbeat, features = [], max_message_size }) {
    this.#heartbeat = 1000 * (heartbeat ?? 0);
    this.#answersHeartbeats = features.includes("heartbeat");
    this.#limit = max_message_size ?? Infinity;
    this.#watch();
  }

  /** Looks again when the silence would have become too long, had nothing been heard since. */
  #watch() {
    clearTimeout(this.#silence);
    if (!this.#heartbeat) return;
    const due = this.#heardAt + SILENCE * this.#heartbeat;
    this.#silence = setTimeout(() => this.#listenFor(due), Math.max(0, due - Date.now()));
  }

  /** @param {number} due */
  #listenFor(due) {
    const slept = Date.now() - due > SLEPT;
    const silent = Date.now() - this.#heardAt >= SILENCE * this.#heartbeat;
    if (silent && !slept && this.#socket) return this.#drop(this.#socket, 1006);
    if (silent) {
      // What came in meanwhile may be about to be read.
      this.#probe();
      this.#heardAt = Date.now();
    }
    this.#watch();
  }

  #probe() {
    if (!this.#answersHeartbeats || this.#due.has("heartbeat")) return;
    this.#send("heartbeat", {});
    this.#expect("heartbeat", this.#options.probePatience);
  }

  /** While a connection is wanted: what says that the page was away, or the network. */
  #stayAwake() {
    if (this.#awake) return;
    this.#awake = new AbortController();
    const { signal } = this.#awake;
    for (const event of ["online", "pageshow"]) addEventListener(event, () => this.wake(), { signal });
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.wake(), { signal });
  }

  // ---- Frames ----

  /** @param {string} event @param {Record<string, any>} data @returns {string} */
  #encode(event, data) {
    // A lone surrogate would be escaped, and the server refuse the escape.
    return this.#fitting(JSON.stringify({ event, data }, (_, value) => value?.toWellFormed?.() ?? value));
  }

  /** @param {string} text @returns {string} the same, if the server takes it */
  #fitting(text) {
    // A character is at most three bytes for each of its two halves: what is short need not be encoded to be counted.
    if (3 * text.length <= this.#limit) return text;
    const size = new TextEncoder().encode(text).length;
    if (size > this.#limit) throw new MessageTooBig(size, this.#limit);
    return text;
  }

  /** Where the connection breaks just now, the frame is sent again after it. @param {string} event @param {object} data */
  #send(event, data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.sendText(this.#encode(event, data));
  }

  #sendLogin() {
    const socket = this.#socket;
    this.#setState({ name: "logging_in" });
    if (socket !== this.#socket) return;
    this.#expect("login", this.#options.slowPatience);
    this.#withToken(
      this.#token,
      (token) => {
        const wanted = { resumable: this.#resumable || undefined, agent: this.#agent };
        const conversation_id = this.conversationId ?? undefined;
        const known = this.session && { ...(conversation_id && wanted), ...this.session };
        this.#send("login", { token, params: this.#params, features: FEATURES, ...(known ?? wanted), conversation_id });
      },
      (error) => this.#withoutToken(error),
    );
  }

  /**
   * Hands the token on, unless the connection is another one when it is there.
   * @param {Token | undefined} source @param {(token: string | undefined) => void} use @param {(error: any) => void} fail
   */
  async #withToken(source, use, fail) {
    const socket = this.#socket;
    try {
      const token = typeof source === "function" ? await source() : source;
      if (socket === this.#socket) use(token || undefined);
    } catch (error) {
      if (socket === this.#socket) fail(error);
    }
  }

  /** The page could not say who is there. @param {any} error */
  #withoutToken(error) {
    this.#answered("login");
    const { message } = error ?? {};
    if (this.#leaving) return this.close();
    if (!this.#entered) return this.#giveUp({ name: "refused", message, error }, message);
    this.#detach();
    this.#retryLater({ message });
  }

  #sendLogout() {
    this.#setState({ name: "logging_out" });
    this.#uploads.pause();
    this.#probe();
    this.#send("logout", {});
    this.#expect("logout", this.#options.slowPatience);
  }

  /** @param {string} taskId */
  #sendCancel(taskId) {
    // The agent may take its time to stop; a dead link is to be told from that at once.
    this.#probe();
    this.#send("cancel_request", { task_id: taskId });
    this.#expect(`cancel ${taskId}`, this.#options.slowPatience);
  }

  /** @param {"sent" | "received"} direction @param {string} text @param {Frame | null} frame @param {boolean} duplicate */
  #report(direction, text, frame, duplicate = false) {
    this.dispatchEvent(new CustomEvent("frame", { detail: { direction, text, frame, duplicate } }));
  }

  /** @param {string} text */
  #receive(text) {
    this.#heard();
    const socket = this.#socket;
    const frame = parseFrame(text);
    const seq = frame?.data.seq;
    const duplicate = seq !== undefined && this.session !== null && seq <= this.session.last_seq;
    if (seq !== undefined && this.session && !duplicate) this.session.last_seq = seq;
    const login = frame?.event === "login_response" ? frame.data : null;
    if (login) this.#adopt(login);
    this.#report("received", text, frame, duplicate);
    if (socket !== this.#socket) return; // whoever was told has closed it
    if (login && this.conversationId && !login.conversation_id) this.#nothingKept();
    else if (login) this.#ready(login);
    else if (frame && !duplicate) this.#route(frame);
  }

  /** @param {Frame} frame */
  #route({ event, data }) {
    const loginError = event === "error" && this.state.name === "logging_in" && !data.task_id && !data.request_id;
    if (data.upload_id) this.#uploads.take({ event, data });
    else if (loginError) this.#loginFailed(data);
    else if (event === "logout_response") this.#loggedOut();
    else if (this.#questions.has(data.request_id)) this.#told({ event, data });
    else if (this.#refreshing && data.request_id === this.#refreshing.id) this.#refreshed({ event, data });
    else if (event === "agent_request_received") this.#confirmed(data);
    else if (event === "error" && data.request_id && !data.task_id) this.#requestFailed(data);
    else if (data.task_id) this.#taskFrame({ event, data });
  }

  // ---- The session ----

  /** @param {Record<string, any>} login */
  #adopt(login) {
    const goesOn = this.conversationId && login.conversation_id === this.conversationId;
    const same = login.resumed && this.session?.session_id === login.session_id;
    if (!same) {
      if (goesOn) this.#goAstray();
      else this.#forget(new ConnectionLost("The server no longer knows the session."));
      this.memory = login.memory ?? null;
    }
    if (!this.conversationId) this.conversationId = login.conversation_id ?? null;
    this.#kept ||= Boolean(goesOn && (login.memory || login.resumed));
    const last_seq = login.resumed && login.lossless !== false ? this.session?.last_seq : login.last_seq;
    const resume_token = login.resume_token ?? this.session?.resume_token;
    this.session = resume_token ? { session_id: login.session_id, resume_token, last_seq: last_seq ?? 0 } : null;
  }

  /** @param {Record<string, any>} login */
  #ready(login) {
    this.#attempt = 0;
    this.#answered("login");
    this.#keepTerms(login);
    this.#entered = true;
    this.user = login.user ?? null;
    this.expiresIn = login.expires_in ?? null;
    if (this.#leaving) return this.#sendLogout();
    this.#loginWanted = true;
    this.#uploads.open((login.features ?? []).includes("files"), this.#limit);
    if (login.lossless === false) this.#bridge(login.tasks ?? []);
    for (const id of this.#requests.keys()) if (!this.#unsure.has(id)) this.#sendRequest(id);
    for (const id of this.#questions.keys()) this.#sendQuestion(id);
    for (const taskId of this.#cancels.keys()) this.#sendCancel(taskId);
    /** @type {Snapshot[]} */ const tasks = login.tasks ?? [];
    const open = new Set(tasks.flatMap(({ pending_inputs = [] }) => pending_inputs.map((input) => input.input_id)));
    for (const [id, answer] of this.#answers) {
      if (!answer.sent || open.has(id)) this.#send("input_response", answer.data);
      answer.sent = true;
    }
    this.#setState({ name: "ready" });
    if (this.state.name !== "ready") return;
    this.#endsIn(login.expires_in);
    this.#settle();
  }

  /** @param {Record<string, any>} data */
  #loginFailed({ code = "", message, error_id, agents, retry_after }) {
    this.#answered("login");
    // What could not be created has an entry in the server's log; a name that nobody has will not come to be one.
    const unknownAgent = code === "agent_unavailable" && !error_id;
    const gone = code === "conversation_not_found" && this.#entered && !this.#kept;
    const busy = code === "conversation_busy" && this.#entered; // with the session before, which is about to end
    if (this.#leaving) this.#loggedOut();
    else if (gone) {
      this.#forget(new ConnectionLost("The server no longer knows the session."));
      this.conversationId = null;
      this.#sendLogin();
    } else if (LOST_SESSION.has(code) && this.session) {
      this.#forget(new ConnectionLost("The server no longer knows the session."));
      this.#sendLogin();
    } else if (busy || (PASSING.has(code) && !unknownAgent)) {
      this.#detach();
      this.#retryLater({ code, message }, retry_after);
    } else {
      this.#loginWanted = false;
      this.#giveUp({ name: "refused", code, message, agents, retryAfter: retry_after }, message);
    }
  }

  /** A conversation was to go on, and this server keeps none. */
  #nothingKept() {
    this.#send("logout", {});
    this.session = null;
    const state = { code: "conversation_not_found", message: "This server keeps no conversations." };
    this.#giveUp({ name: "refused", ...state }, state.message);
  }

  #loggedOut() {
    // Who deletes a conversation is told so after its end.
    const asked = this.state.name !== "ready";
    if (asked) this.#failQuestions(new ConnectionLost("Logged out."));
    this.#answered("logout");
    clearTimeout(this.#renewal);
    this.#entered = false;
    this.#loginWanted = false;
    this.#leaving = false;
    this.#forget(new ConnectionLost("Logged out."));
    [this.conversationId, this.memory, this.#kept] = [null, null, false];
    this.#setState({ name: "connected", ...(!asked && { code: "session_ended" }) });
  }

  /** Ends what belonged to the session; a request that was never sent waits for the next one. @param {Error} error */
  #forget(error) {
    this.session = null;
    this.user = null;
    this.expiresIn = null;
    for (const [id, request] of this.#requests) {
      if (!request.sent) continue;
      this.#requests.delete(id);
      request.reject(error);
    }
    this.#uploads.restart();
    this.#failTasks(error);
  }

  /** @param {Error} error */
  #failTasks(error) {
    for (const queue of [...this.#tasks.values(), ...this.#astray.values()]) queue.fail(error);
    for (const { resolve } of this.#cancels.values()) resolve();
    const all = [this.#tasks, this.#astray, this.#unsure, this.#cancels, this.#answers, this.#snapshots];
    for (const one of all) one.clear();
  }

  /** The conversation goes on in another session, which knows nothing of what ran in the one before. */
  #goAstray() {
    for (const [id, queue] of this.#tasks) this.#astray.set(id, queue);
    for (const [id, { sent }] of this.#requests) if (sent) this.#unsure.add(id);
    this.#uploads.restart();
    for (const { resolve } of this.#cancels.values()) resolve();
    for (const map of [this.#tasks, this.#cancels, this.#answers, this.#snapshots]) map.clear();
  }

  /** Has the conversation tell what became of those that are astray; what was never accepted is sent again. */
  async #settle() {
    if (this.#settling || !(this.#astray.size || this.#unsure.size)) return;
    this.#settling = true;
    let error = new ConnectionLost("The session was lost, and its conversation does not tell how the task has ended.");
    try {
      let before;
      for (let i = 0; i < MOST_PAGES && (this.#astray.size || this.#unsure.size); i++) {
        const { turns, next } = await this.history(null, { limit: TURNS_AT_ONCE, before });
        for (const turn of turns) this.#tellFate(turn);
        if (!(before = next)) break;
      }
    } catch (failure) {
      error = /** @type {any} */ (failure);
    }
    this.#settling = false;
    for (const queue of this.#astray.values()) queue.fail(error);
    this.#astray.clear();
    const unsent = [...this.#unsure];
    this.#unsure.clear();
    for (const id of unsent) {
      if (!(error instanceof ServerError)) this.#sendRequest(id);
      else this.#requestFailed({ ...error, request_id: id, message: error.message });
    }
  }

  /** @param {ConversationTurn} turn */
  #tellFate({ task_id, request_id = "", status, events, response, result, usage, error = {} }) {
    const request = this.#unsure.delete(request_id) ? this.#requests.get(request_id) : undefined;
    const queue = request?.queue ?? this.#astray.get(task_id);
    if (!queue || status === "running") return;
    this.#astray.delete(task_id);
    this.#tasks.set(task_id, queue);
    if (request) this.#confirmed({ task_id, request_id });
    const said = (/** @type {string} */ kind) => events.filter((one) => one.kind === kind);
    const output = said("output").map((one) => one.output).join("");
    const [files, data] = [said("file"), said("data")].map((all) => all.map(({ kind, ...rest }) => rest));
    /** @type {any} */ const snapshot = { task_id, status, output, response, result, usage, files, data, ...error };
    this.#fill(snapshot);
    if (status === "interrupted") {
      queue.fail(new TaskInterrupted("The server ended while the task ran, or could not keep how it ended."));
      this.#tasks.delete(task_id);
    }
  }

  // ---- The end of the login ----

  /** @param {number} [seconds] until the login ends, where it does */
  #endsIn(seconds) {
    this.expiresIn = seconds ?? null;
    this.#endsAt = seconds === undefined ? Infinity : Date.now() + 1000 * seconds;
    // What is no function says the same again, which may have helped, and then helps again.
    const tried = typeof this.#token !== "function" && this.#endsAt <= this.#triedFor + 1000;
    if (tried) this.#expiring(new Error("The login is about to end."));
    else this.#renewLater();
  }

  /** @param {number} [after] seconds that the server wants to be left alone */
  #renewLater(after = 0) {
    clearTimeout(this.#renewal);
    const left = this.#endsAt - Date.now();
    if (left <= 0 || left === Infinity) return;
    const delay = Math.max(left - EARLY, left / 2, 1000 * after, 1000);
    if (delay > LONGEST_TIMER) this.#renewal = setTimeout(() => this.#renewLater(), LONGEST_TIMER);
    else this.#renewal = setTimeout(() => this.#renew(), delay);
  }

  #renew() {
    if (this.state.name !== "ready") return;
    this.#triedFor = this.#endsAt;
    if (this.#token) this.#refresh(this.#token).catch((error) => this.#notRenewed(error));
    else if (this.session) {
      // What the browser sends along by itself, a cookie or what a proxy adds, goes with a new connection.
      this.#detach();
      this.#open();
    } else this.#expiring(new Error("The login is about to end."));
  }

  /** Renews the login with another token than before, which is forgotten where it is refused. @param {Token} token */
  async #prove(token) {
    this.#triedFor = 0;
    try {
      await this.#refresh(token);
    } catch (error) {
      // Where the connection is lost meanwhile, the next one logs in with it.
      if (!(error instanceof ConnectionLost)) throw error;
    }
  }

  /** Sends a token on the connection that there is. @param {Token} source @returns {Promise<void>} */
  #refresh(source) {
    const id = newRequestId();
    this.#refreshing?.reject(new ConnectionLost("Another token was given."));
    return new Promise((resolve, reject) => {
      this.#refreshing = { id, resolve: () => resolve(undefined), reject };
      const send = (/** @type {string} */ token = "") => {
        this.#send("refresh", { token, request_id: id });
        this.#expect("refresh", this.#options.slowPatience);
      };
      this.#withToken(source, send, reject);
    });
  }

  /** @param {Frame} frame */
  #refreshed({ event, data }) {
    const { resolve, reject } = /** @type {NonNullable<typeof this.#refreshing>} */ (this.#refreshing);
    this.#refreshing = null;
    this.#answered("refresh");
    if (event === "error") return reject(new ServerError(data));
    this.#endsIn(data.expires_in);
    resolve();
  }

  /** @param {any} error */
  #notRenewed(error) {
    if (error instanceof ConnectionLost) return;
    const lasting = error instanceof ServerError ? !PASSING.has(error.code) : typeof this.#token !== "function";
    if (!lasting) this.#renewLater(error.retryAfter);
    this.#expiring(error);
  }

  /** @param {Error} error */
  #expiring(error) {
    this.dispatchEvent(new CustomEvent("expiring", { detail: error }));
  }

  // ---- Tasks ----

  /**
   * @param {string} message @param {RequestOptions & {requestId?: string}} options @param {FrameQueue} queue
   * @returns {Promise<string>}
   */
  async #request(message, { params, attachments = [], onUpload, signal, requestId = newRequestId() }, queue) {
    signal?.throwIfAborted();
    const own = attachments.map((one) => (one instanceof Blob ? new Upload(one) : null));
    signal?.addEventListener("abort", () => this.#abandon(requestId, queue, signal.reason), { once: true });
    const data = { message, params, request_id: requestId };
    try {
      return await new Promise((resolve, reject) => {
        const all = attachments.map((one, i) => own[i] ?? /** @type {{file_id: string}} */ (one));
        this.#requests.set(requestId, { data, attachments: all, queue, sent: false, resolve, reject });
        for (const upload of own) if (upload) this.#uploads.begin(upload, onUpload).catch(() => {});
        if (this.state.name === "ready") this.#sendRequest(requestId);
      });
    } catch (error) {
      for (const upload of own) if (upload) this.#uploads.drop(upload, error);
      throw error;
    }
  }

  /** @param {string} requestId @param {FrameQueue} queue @param {any} reason */
  #abandon(requestId, queue, reason) {
    const request = this.#requests.get(requestId);
    queue.abandoned = true;
    if (request && !request.sent) {
      this.#requests.delete(requestId);
      request.reject(reason);
    }
    for (const [taskId, each] of this.#tasks) if (each === queue) this.cancel(taskId);
  }

  /** @param {Upload} upload @param {any} error */
  #uploadFailed(upload, error) {
    for (const [id, { attachments, reject, sent }] of this.#requests) {
      if (sent || !attachments.includes(upload)) continue;
      this.#requests.delete(id);
      reject(error);
    }
  }

  /** Sends what has waited for its attachments. */
  #sendWaiting() {
    if (this.state.name === "ready") for (const [id, { sent }] of this.#requests) if (!sent) this.#sendRequest(id);
  }

  /** @param {string} id */
  #sendRequest(id) {
    const request = this.#requests.get(id);
    if (!request || !this.#socket) return;
    const missing = request.attachments.filter((one) => one.file_id === undefined);
    if (missing.length) {
      const gone = missing.find((one) => !this.#uploads.has(/** @type {Upload} */ (one)));
      if (gone) this.#uploadFailed(/** @type {Upload} */ (gone), new TypeError("An attachment was given up."));
      return;
    }
    const files = request.attachments.map((one) => one.file_id);
    try {
      this.#send("agent_request", { ...request.data, attachments: files.length ? files : undefined });
    } catch (error) {
      this.#requests.delete(id);
      request.reject(error);
      return;
    }
    request.sent = true;
    // It can be sent again, since its id keeps it from running twice.
    this.#expect(`request ${id}`, this.#options.patience);
  }

  /** @param {Record<string, any>} data */
  #confirmed({ task_id, request_id }) {
    this.#answered(`request ${request_id}`);
    const request = this.#requests.get(request_id);
    if (!request) return;
    this.#requests.delete(request_id);
    this.#kept = true;
    this.#tasks.set(task_id, request.queue);
    for (const one of request.attachments) if (one instanceof Upload) this.#uploads.settle(one);
    request.resolve(task_id);
    if (request.queue.abandoned) this.cancel(task_id);
    const snapshot = this.#snapshots.get(task_id);
    if (snapshot) this.#fill(snapshot);
  }

  /** @param {Record<string, any>} data */
  #requestFailed(data) {
    this.#answered(`request ${data.request_id}`);
    this.#requests.get(data.request_id)?.reject(new ServerError(data));
    this.#requests.delete(data.request_id);
  }

  /** @param {Frame} frame */
  #taskFrame(frame) {
    const id = frame.data.task_id;
    this.#tasks.get(id)?.push(frame);
    if (!ENDS.has(frame.event)) return;
    this.#answered(`cancel ${id}`);
    this.#tasks.delete(id);
    this.#cancels.get(id)?.resolve();
    this.#cancels.delete(id);
    for (const [input, { data }] of this.#answers) if (data.task_id === id) this.#answers.delete(input);
  }

  /** Where frames were lost, the tasks go on from what the server says they stand at. @param {Snapshot[]} snapshots */
  #bridge(snapshots) {
    this.#snapshots = new Map(snapshots.map((snapshot) => [snapshot.task_id, snapshot]));
    for (const [id, queue] of this.#tasks) {
      const snapshot = this.#snapshots.get(id);
      if (snapshot) this.#fill(snapshot);
      else if (this.conversationId) this.#astray.set(id, queue);
      else queue.fail(new ConnectionLost("The task ended while the connection was lost."));
      if (!snapshot) this.#tasks.delete(id);
    }
  }

  /** @param {Snapshot & Record<string, any>} snapshot */
  #fill({
    task_id,
    status,
    output,
    response,
    result,
    usage,
    files = [],
    data = [],
    pending_inputs = [],
    code,
    message,
    error_id,
  }) {
    const push = (/** @type {string} */ event, /** @type {object} */ data) =>
      this.#taskFrame({ event, data: { task_id, ...data }, gap: true });
    push("agent_output", { output });
    for (const each of data) push("agent_data", each);
    for (const file of files) push("agent_file", file);
    for (const input of pending_inputs) push("input_required", input);
    if (status === "completed") push("agent_response", { response, ...(result !== undefined && { result }), ...(usage && { usage }) });
    if (status === "cancelled") push("task_cancelled", {});
    if (status === "failed") push("error", { code, message, error_id });
  }
}

/** @param {string} text @returns {Frame | null} null where it is no frame */
export function parseFrame(text) {
  try {
    const frame = JSON.parse(text);
    return typeof frame?.event === "string" && typeof frame.data === "object" && frame.data ? frame : null;
  } catch {
    return null;
  }
}

/** @returns {string} a `request_id` */
export function newRequestId() {
  // randomUUID exists only on https and localhost; the page may be opened over a plain network address.
  return Array.from(crypto.getRandomValues(new Uint8Array(12)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
