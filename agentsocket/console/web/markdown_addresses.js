/** Addresses that stand bare in a text, as GitHub's Markdown finds them. */

import { match } from "./markdown_links.js";

/** Where one may begin: not within a word. Before an at sign come 64 characters at most, as in any address. */
export const BEGINNING =
  String.raw`(?<![\p{L}\p{N}])(?:https?:\/\/|ftp:\/\/|www\.)` +
  String.raw`|(?<![\w.+-])(?:mailto:)?[a-z0-9][\w.+-]{0,63}@[\w-]+\.`;

const WEB = /(?:(?:https?|ftp):\/\/|www\.)[^\s<]+/iuy;
const WEB_IN_BRACKETS = /(?:(?:https?|ftp):\/\/|www\.)[^\s<\]]+/iuy;
const MAIL = /(?:mailto:)?[\w.+-]+@[\w-]+(?:\.[\w-]+)+/iy;
const DOMAIN = /^(?:\w+:\/\/)?[^/?#]*/;

/**
 * @param {string} text @param {number} at @param {boolean} inBrackets where a "]" may end a link's text
 * @returns {{address: string, text: string} | null}
 */
export function bareAddress(text, at, inBrackets) {
  const mail = match(MAIL, text, at)?.[0];
  if (mail) return /[-_]$/.test(mail) ? null : { address: mail.replace(/^(?!mailto:)/i, "mailto:"), text: mail };
  const found = match(inBrackets ? WEB_IN_BRACKETS : WEB, text, at)?.[0];
  const web = found && found.slice(0, endOf(found));
  if (!web || !isDomain(DOMAIN.exec(web)?.[0] ?? "")) return null;
  return { address: /^www\./i.test(web) ? `http://${web}` : web, text: web };
}

/** @param {string} domain with or without its scheme: no underscores in its last two parts */
function isDomain(domain) {
  const parts = domain.replace(/^\w+:\/\//, "").split(".");
  return parts[0] !== "" && !parts.slice(-2).some((part) => part.includes("_"));
}

/** @param {string} found @returns {number} where it ends, without the signs that belong to the sentence around it */
function endOf(found) {
  let end = found.length;
  let spare = found.split(")").length - found.split("(").length;
  for (;;) {
    const last = found[end - 1];
    if (`?!.,:*_~'"\``.includes(last ?? "x")) end--;
    else if (last === ")" && spare-- > 0) end--;
    else if (last === ";" && startOfEntity(found, end)) end = startOfEntity(found, end);
    else return end;
  }
}

/** @param {string} found @param {number} end after a semicolon @returns {number} 0 if no entity ends there */
function startOfEntity(found, end) {
  let at = end - 2;
  while (/[a-z0-9]/i.test(found[at] ?? "")) at--;
  return found[at] === "&" && at < end - 2 ? at : 0;
}
