/** What the state of the connection means, said to a person. */

/**
 * @typedef {import("./agent_client.js").State} State
 * @typedef {{code: string, message?: string, setting?: string}} Refusal why the server opens no connection
 */

/** @type {Record<string, [string, "good" | "busy" | "bad"]>} */
const SHORT = {
  idle: ["Disconnected", "bad"],
  connecting: ["Connecting", "busy"],
  connected: ["Logged out", "bad"],
  logging_in: ["Logging in", "busy"],
  ready: ["Connected", "good"],
  logging_out: ["Logging out", "busy"],
  waiting: ["Reconnecting", "busy"],
  refused: ["Disconnected", "bad"],
};

/** @type {Map<string | number | undefined, string>} */
const CAUSES = new Map(
  Object.entries({
    1001: "The server is shutting down or restarting.",
    1003: "The server refused a message that was not text.",
    1007: "The server refused a message that was not valid text.",
    1009: "A message was too big for the server.",
    1011: "The server gave the connection up.",
    1013: "The server is at its capacity.",
    4000: "The page was too slow to read what the server sent.",
    4401: "The login has run out.",
    4429: "Too many messages were sent at once.",
    4500: "The token was refused three times.",
    4501: "This session was taken up in another window.",
    4502: "Nobody logged in in time.",
    4509: "Too many messages were refused.",
    session_ended: "This conversation was deleted, or its session ended by the server.",
    conversation_busy: "This conversation is open elsewhere: in another window, or in one that was closed just now.",
    conversation_not_found: "There is no such conversation: it was deleted, or is somebody else's.",
    store_unavailable: "The server cannot get at its conversations just now.",
    authentication_unavailable: "The server cannot check logins just now, which says nothing against yours.",
  }),
);

/** What stands on the pill while the page waits because of it. */
const WAITING = new Map([
  ["authentication_unavailable", "Logins unavailable"],
  ["rate_limited", "Told to wait"],
  ["store_unavailable", "Waiting for the server"],
]);

/** What stands on the pill where a login is refused because of it. */
const REFUSED = new Map([
  ["conversation_busy", "Open elsewhere"],
  ["conversation_not_found", "Not found"],
  ["too_many_conversations", "Too many conversations"],
]);

/** Refusals that stay until somebody changes the server's settings. */
const LASTING = new Set(["origin", "host"]);

/**
 * @param {State} state @param {number} now @param {Refusal | null} [refusal]
 * @returns {{text: string, left?: string, tone: "good" | "busy" | "bad"}} `left` is the time until the next attempt
 */
export function shortly(state, now, refusal = null) {
  const [text, tone] = SHORT[state.name];
  if (state.code === "authentication_failed") return { text: wantsToken(state) ? "Token wanted" : "Login refused", tone };
  const why = state.name === "refused" ? REFUSED.get(`${state.code}`) : undefined;
  if (why) return { text: why, tone };
  if (state.code === "agent_unavailable" && state.name === "refused") return { text: "No such agent", tone };
  if (refusal && LASTING.has(refusal.code)) return { text: "Refused", tone: "bad" };
  const seconds = Math.ceil(((state.retryAt ?? 0) - now) / 1000);
  const left = state.name === "waiting" && seconds > 1 ? ` in ${seconds} s` : "";
  return { text: (state.name === "waiting" && WAITING.get(`${state.code}`)) || text, left, tone };
}

/**
 * @param {State} state
 * @returns {boolean} whether a token may be what is missing. How logins are proved is told by the server's words alone;
 *   where they do not speak of a token, one can be entered still.
 */
export function wantsToken({ code, message = "" }) {
  return code === "authentication_failed" && /\btoken\b/i.test(message);
}

/**
 * @param {State} state @param {Refusal | null} [refusal]
 * @returns {string} why it is so, and what follows; empty where all is well
 */
export function fully(state, refusal = null) {
  const cause = CAUSES.get(`${state.code}`) ?? state.message;
  if (state.name === "waiting" || state.name === "connecting") {
    if (refusal) return `${refused(refusal)} The page goes on trying.`;
    if (state.name === "connecting") return "";
    return `${cause ?? "The server cannot be reached."} The page goes on trying.`;
  }
  if (state.agents?.length) return "This server has no agent of that name. Choose one that it has:";
  if (state.code === "authentication_failed") return `The server has refused the login: ${state.message}`;
  if (state.name === "refused") return cause ?? `The server closed the connection (code ${state.code}).`;
  if (state.name === "connected") return cause ?? "You are logged out.";
  return "";
}

/** @param {Refusal} refusal @returns {string} the server's sentence, with the setting that it is about */
function refused({ message = "The server refuses the connection.", setting }) {
  return setting && !message.includes(setting) ? `${message} The setting is ${setting}.` : message;
}
