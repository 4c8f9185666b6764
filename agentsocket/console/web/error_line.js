/** What went wrong, in a sentence. */

import { copyButton, h } from "./dom.js";
import { textNodes } from "./plain_text.js";

/** @param {{message?: string, code?: string, error_id?: string}} error @returns {HTMLElement} a sentence */
export function errorLine({ message = "The task failed.", code, error_id }) {
  return h(
    "p.error",
    {},
    h("span", {}, textNodes(message)),
    code && h("code.code-name", {}, textNodes(code)),
    error_id &&
      h(
        "span.error-id",
        {},
        h("code", {}, textNodes(error_id)),
        copyButton(() => error_id, "Copy the error's id"),
      ),
  );
}
