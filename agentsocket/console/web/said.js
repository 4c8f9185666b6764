/** What a person has said. */

import { h } from "./dom.js";
import { longText } from "./plain_text.js";

/** @param {string | null} message null where it is not known */
export function saidBy(message) {
  if (message === null) return h("p.said.unknown", {}, "A request from before this page was opened");
  return message && h("div.said", { dir: "auto" }, h("span.visually-hidden", {}, "You: "), longText(message));
}
