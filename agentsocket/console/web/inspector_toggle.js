/** The button that shows the frames, and puts them away. */

import { h, icon } from "./dom.js";
import { lasting } from "./storage.js";

const KEY = "agent-console inspector";

export class InspectorToggle {
  button = h(
    "button.quiet.toggle",
    { type: "button", "aria-controls": "inspector", title: "Frames" },
    icon("frames"),
    h("span", {}, "Frames"),
  );

  constructor() {
    this.button.addEventListener("click", () => this.show(document.body.dataset.inspector !== "open"));
    const wanted = lasting.getItem(KEY) ?? (innerWidth >= 1100 ? "open" : "");
    this.show(wanted === "open" && innerWidth >= 800);
  }

  /** @param {boolean} open */
  show(open) {
    document.body.dataset.inspector = open ? "open" : "closed";
    this.button.setAttribute("aria-pressed", String(open));
    lasting.setItem(KEY, open ? "open" : "");
  }
}
