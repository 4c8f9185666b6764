/** A turn that the server has kept, shown as it was when it was live. */

import { Turn } from "./turn.js";

/** The moments between its beginning and its end are not kept. */
const UNKNOWN = NaN;
const INTERRUPTED = "Interrupted: the server ended while this ran, or could not keep how it ended.";

/** @type {Record<string, (turn: Turn, event: any) => void>} */
const STEPS = {
  output: (turn, { output }) => turn.output(output, UNKNOWN),
  reasoning: (turn, { reasoning }) => turn.reasoning(reasoning, UNKNOWN),
  tool_call: (turn, call) => turn.toolCall(call, UNKNOWN),
  tool_result: (turn, result) => turn.toolResult(result, UNKNOWN),
  progress: (turn, event) => turn.progress(event),
  data: (turn, event) => turn.data(event, UNKNOWN),
  file: (turn, event) => turn.file(event, UNKNOWN),
  cut: (turn, { left_out }) => turn.cut(left_out),
  question: (turn, { question, response }) => {
    turn.question(question, UNKNOWN);
    if (response !== undefined) turn.answered(question.input_id, response);
  },
};

/** @type {Record<string, (turn: Turn, kept: any, time: number) => void>} */
const ENDS = {
  completed: (turn, { response = "", result, usage }, time) => turn.completed({ response, result, usage }, time),
  cancelled: (turn, _, time) => turn.stopped({}, time),
  failed: (turn, { error = {} }, time) => turn.failed(error, time),
  interrupted: (turn, _, time) => turn.lost(INTERRUPTED, time),
};

/**
 * @param {import("./agent_client.js").ConversationTurn} kept @param {import("./turn.js").Actions} actions
 * @returns {Turn} one that still runs has none of its events yet
 */
export function keptTurn(kept, actions) {
  const began = Date.parse(kept.started_at);
  const turn = new Turn({ message: kept.message, attachments: kept.attachments }, began, actions);
  turn.received(kept.task_id, began);
  for (const event of kept.events) STEPS[event.kind]?.(turn, event);
  ENDS[kept.status]?.(turn, kept, kept.ended_at ? Date.parse(kept.ended_at) : began);
  return turn;
}
