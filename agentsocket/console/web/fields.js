/** Form fields for JSON values, from a JSON Schema or from a value that is there already. */

import { h } from "./dom.js";
import { textNodes } from "./plain_text.js";

/**
 * @typedef {{element: HTMLElement, read: () => any}} Field `read` throws an Error whose message is for the person
 * @typedef {Record<string, any>} Schema
 */

/** @param {any} value @returns {Schema} */
export function schemaOf(value) {
  return typeof value === "object" ? {} : { type: typeof value };
}

/**
 * @param {string} name the label; empty where there is nothing to say
 * @param {Schema} schema
 * @param {any} [initial]
 * @returns {Field}
 */
export function field(name, schema, initial = schema.default) {
  if (Array.isArray(schema.enum)) return choice(name, schema.enum, initial);
  if (schema.type === "boolean") return checkbox(name, initial);
  if (schema.type === "object" && schema.properties) return group(name, schema, initial);
  if (schema.type === "number" || schema.type === "integer")
    return text(name, initial, (raw) => number(raw, schema.type));
  if (schema.type === "string") return text(name, initial, (raw) => raw);
  return text(name, initial === undefined ? "" : JSON.stringify(initial, null, 2), json, "JSON");
}

/** @param {string} name @param {any} initial @param {(raw: string) => any} read @param {string} [hint] @returns {Field} */
function text(name, initial, read, hint = "") {
  const area = h("textarea", { rows: 1, spellcheck: "false", dir: "auto" });
  area.value = initial ?? "";
  const problem = h("span.problem", { role: "alert" });
  return {
    element: h("label.field", {}, label(name || "Answer", hint), area, problem),
    read() {
      try {
        problem.textContent = "";
        area.removeAttribute("aria-invalid");
        return read(area.value);
      } catch (error) {
        problem.textContent = /** @type {Error} */ (error).message;
        area.setAttribute("aria-invalid", "true");
        area.focus();
        throw error;
      }
    },
  };
}

/** @param {string} name @param {string} [hint] */
function label(name, hint = "") {
  return h("span.label", {}, h("bdi", {}, textNodes(name)), hint && h("small", {}, hint));
}

/** @param {string} raw @param {string} type */
function number(raw, type) {
  const value = raw.trim() === "" ? Number.NaN : Number(raw);
  if (!Number.isFinite(value)) throw new Error("A number is wanted here.");
  if (type === "integer" && !Number.isInteger(value)) throw new Error("A whole number is wanted here.");
  return value;
}

/** @param {string} raw */
function json(raw) {
  try {
    return JSON.parse(raw);
  } catch {
    throw new Error("This is not valid JSON.");
  }
}

/** @param {string} name @param {any} initial @returns {Field} */
function checkbox(name, initial) {
  const box = h("input", { type: "checkbox", checked: initial === true });
  return { element: h("label.field.check", {}, box, label(name || "Yes")), read: () => box.checked };
}

/** @param {string} name @param {any[]} values @param {any} initial @returns {Field} */
function choice(name, values, initial) {
  const options = values.map((value, i) =>
    h(
      "option",
      { value: i, selected: value === initial },
      textNodes(typeof value === "string" ? value : JSON.stringify(value)),
    ),
  );
  const select = h("select", { "aria-label": name || "Answer" }, ...options);
  return { element: h("label.field", {}, label(name || "Answer"), select), read: () => values[select.value] };
}

/** @param {string} name @param {Schema} schema @param {any} initial @returns {Field} */
function group(name, schema, initial) {
  const fields = Object.entries(schema.properties).map(
    ([key, own]) => /** @type {const} */ ([key, field(own.title ?? key, own, initial?.[key])]),
  );
  return {
    element: h("fieldset.field", {}, name && h("legend", {}, textNodes(name)), ...fields.map(([, own]) => own.element)),
    read: () => Object.fromEntries(fields.map(([key, own]) => [key, own.read()])),
  };
}
