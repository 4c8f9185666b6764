/** An application's own data: its name and its JSON, folded where that is long. */

import { copyButton, h } from "./dom.js";
import { beginning, longText, pretty, textNodes } from "./plain_text.js";

/** What is shown unfolded. */
const [MOST_CHARACTERS, MOST_LINES] = [600, 12];
const GLANCE = 160;

export class DataCard {
  #title;
  #text = "";
  #name = h("span.name");
  #glance = h("span.glance");
  #body = h("div.body");
  element = h(
    "details.data",
    {},
    h("summary", {}, h("span.fold", { "aria-hidden": true }), this.#name, this.#glance),
    this.#body,
  );

  /** @param {string} title @param {any} data @param {boolean} [folded] by default, where it is long */
  constructor(title, data, folded) {
    this.#title = title;
    this.element.addEventListener("toggle", () => this.element.open && this.#fill());
    this.show(title, data);
    this.element.open = !(
      folded ??
      (this.#text.length > MOST_CHARACTERS || this.#text.split("\n").length > MOST_LINES)
    );
    if (this.element.open) this.#fill();
  }

  /** @param {string} title @param {any} data in place of what was there */
  show(title, data) {
    this.#title = title;
    this.#text = pretty(data);
    this.#name.replaceChildren(textNodes(title));
    this.#glance.replaceChildren(textNodes(beginning(this.#text.slice(0, 4 * GLANCE).replace(/\s+/g, " "), GLANCE)));
    if (this.element.open) this.#fill();
  }

  #fill() {
    const label = `Data: ${this.#title}`.slice(0, 80);
    this.#body.replaceChildren(
      copyButton(() => this.#text, "Copy the data"),
      h("pre", { tabindex: 0, role: "region", "aria-label": label }, longText(this.#text)),
    );
  }
}
