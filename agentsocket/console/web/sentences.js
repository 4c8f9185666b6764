/** What the state of the connection means, said to a person. */

/** @typedef {import("./agent_client.js").State} State */

/** @type {Record<string, [string, "good" | "busy" | "bad"]>} */
const SHORT = {
  idle: ["Disconnected", "bad"],
  connecting: ["Connecting", "busy"],
  connected: ["Logged out", "bad"],
  logging_in: ["Logging in", "busy"],
  ready: ["Connected", "good"],
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
    4429: "Too many messages were sent at once.",
    4500: "The token was refused three times.",
    4501: "This session was taken up in another window.",
    4502: "Nobody logged in in time.",
    4509: "Too many messages were refused.",
    authentication_failed: "This server wants a token.",
  }),
);

/** @param {State} state @param {number} now @returns {{text: string, tone: "good" | "busy" | "bad"}} */
export function shortly(state, now) {
  const [text, tone] = SHORT[state.name];
  if (state.code === "authentication_failed") return { text: "Token wanted", tone };
  const left = Math.ceil(((state.retryAt ?? 0) - now) / 1000);
  return { text: state.name === "waiting" && left > 1 ? `${text} in ${left} s` : text, tone };
}

/** @param {State} state @returns {string} why it is so, and what follows; empty where all is well */
export function fully(state) {
  const cause = CAUSES.get(`${state.code}`) ?? state.message;
  if (state.name === "waiting")
    return `${cause ?? "The server cannot be reached."} The page goes on trying; nothing is lost.`;
  if (state.name === "refused") return cause ?? `The server closed the connection (code ${state.code}).`;
  if (state.name === "connected") return "You are logged out.";
  return "";
}
