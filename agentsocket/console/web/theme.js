/** Light, dark, or as the system has it; set before the page is drawn. */

import { h, icon } from "./dom.js";
import { lasting } from "./storage.js";

const KEY = "agent-console theme";
const THEMES = /** @type {const} */ ({
  auto: ["auto", "Theme: as the system"],
  light: ["sun", "Theme: light"],
  dark: ["moon", "Theme: dark"],
});

/** @returns {keyof typeof THEMES} */
function chosen() {
  const theme = lasting.getItem(KEY) ?? "";
  return theme in THEMES ? /** @type {keyof typeof THEMES} */ (theme) : "auto";
}

/** @param {string} theme */
function apply(theme) {
  document.documentElement.dataset.theme = theme;
}

apply(chosen());

/** @returns {HTMLButtonElement} goes through the themes */
export function themeButton() {
  const button = h("button.quiet.theme", { type: "button" });
  const show = () => {
    const [shape, label] = THEMES[chosen()];
    button.replaceChildren(icon(shape));
    button.setAttribute("aria-label", label);
    button.title = label;
  };
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const next = names[(names.indexOf(chosen()) + 1) % names.length];
    lasting.setItem(KEY, next);
    apply(next);
    show();
  });
  show();
  return button;
}
