/** The lines of a table, as GitHub's Markdown has them. */

/** Nobody reads a wider one. */
const MOST_COLUMNS = 100;
const RULE = /^[ \t|:-]*$/;
/** @type {Record<string, string>} */
const ALIGNMENTS = { "": "", ":": "left", "::": "center", "-:": "right" };

/** @param {string} line @returns {string[]} its cells; a bar after a backslash is no border, not even within code */
export function cells(line) {
  const found = [];
  const row = trimmed(line);
  let from = row[0] === "|" ? 1 : 0;
  for (let at = from; at < row.length; at++) {
    if (row[at] === "\\") at += 1;
    else if (row[at] === "|") {
      found.push(row.slice(from, at));
      from = at + 1;
    }
  }
  if (from < row.length) found.push(row.slice(from));
  return found.map((cell) => trimmed(cell.replaceAll("\\|", "|")));
}

/**
 * @param {string} header the line before @param {string} line
 * @returns {string[] | null} how the columns are aligned: left, center, right or as the text runs; null if this is no table
 */
export function alignments(header, line) {
  if (!RULE.test(line) || !`${header}${line}`.includes("|")) return null;
  const columns = cells(line);
  if (columns.length > MOST_COLUMNS || !columns.length || cells(header).length !== columns.length) return null;
  return columns.every((column) => /^:?-+:?$/.test(column)) ? columns.map(alignment) : null;
}

/** @param {string} column dashes with a colon at the side or sides that the text keeps to */
function alignment(column) {
  const left = column.startsWith(":");
  const right = column.endsWith(":");
  return ALIGNMENTS[left ? (right ? "::" : ":") : right ? "-:" : ""];
}

/** @param {string} text @returns {string} without spaces and tabs at its ends; other white space is the text's own */
export function trimmed(text) {
  let from = 0;
  let end = text.length;
  while (" \t\n".includes(text[from] ?? "x")) from++;
  while (end > from && " \t\n".includes(text[end - 1])) end--;
  return text.slice(from, end);
}
