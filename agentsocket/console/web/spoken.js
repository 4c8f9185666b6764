/** What a screen reader says of a frame. */

/** @param {import("./agent_client.js").Frame} frame @returns {string} empty where that is nothing */
export function spoken({ event, data }) {
  if (event === "agent_response") return data.response.trim() ? `Answer: ${data.response.slice(0, 500)}` : "Done.";
  if (event === "input_required")
    return `${data.kind === "approval" ? "Approval wanted" : "The agent asks"}: ${data.prompt}`;
  if (event === "agent_file") return `A file: ${data.name}`;
  if (event === "task_cancelled") return "Stopped.";
  return event === "error" ? data.message : "";
}
