/** What a conversation says of the sessions that it runs in. */

/** The state of the connection tells of these. */
export const LOGIN_ERRORS = new Set([
  "authentication_failed",
  "authentication_unavailable",
  "session_not_found",
  "too_many_sessions",
  "agent_unavailable",
  "conversation_not_found",
  "conversation_busy",
  "too_many_conversations",
]);

export const LOST = "Lost with the session it ran in.";
export const NOT_KEPT = "It did not run: the server cannot keep conversations just now. Try again in a while.";
export const NEW_SESSION = "A new session has begun. Its agent does not remember what was said above.";
export const UNKNOWN_SESSION =
  "The server no longer knows the session before this: it was restarted, or the session ended while the page was away. " +
  "A new session has begun, and its agent does not remember what was said above.";
export const NO_MEMORY = "The conversation goes on, but its agent does not remember what was said above.";
