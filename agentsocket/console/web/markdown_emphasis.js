/** Which asterisks, underscores and tildes belong together: the list of delimiters of CommonMark's specification. */

const SPACE = /^\s?$/u;
const PUNCTUATION = /[\p{P}\p{S}]/u;

/** A run of one mark. Its outer marks that are left over stand before what it opens and after what it closes. */
export class Run {
  /** @type {Run | null} */ previous = null;
  /** @type {Run | null} */ next = null;
  /** @type {string[]} names of the elements that begin here, the innermost first */ begins = [];
  /** Elements that end here. */
  ends = 0;

  /** @param {string} text @param {number} at @param {number} index of its token */
  constructor(text, at, index) {
    const mark = text[at];
    let end = at;
    while (text[end] === mark) end++;
    this.mark = mark;
    this.index = index;
    this.length = end - at;
    this.left = this.length;
    const [opens, closes] = flanks(before(text, at), String.fromCodePoint(text.codePointAt(end) ?? 32), mark);
    const striking = mark !== "~" || this.length <= 2;
    this.opens = opens && striking;
    this.closes = closes && striking;
  }
}

/** @param {string} text @param {number} at @returns {string} the character before, also if it is a pair of surrogates */
function before(text, at) {
  const pair = /[\udc00-\udfff]/.test(text[at - 1] ?? "") ? text.slice(at - 2, at) : text.slice(at - 1, at);
  return at ? pair : " ";
}

/** @param {string} previous @param {string} next @param {string} mark @returns {[boolean, boolean]} opens, closes */
function flanks(previous, next, mark) {
  const [spaceBefore, spaceAfter] = [SPACE.test(previous), SPACE.test(next)];
  const [signBefore, signAfter] = [PUNCTUATION.test(previous), PUNCTUATION.test(next)];
  const left = !spaceAfter && (!signAfter || spaceBefore || signBefore);
  const right = !spaceBefore && (!signBefore || spaceAfter || signAfter);
  // snake_case has no emphasis in it.
  return mark === "_" ? [left && (!right || signBefore), right && (!left || signAfter)] : [left, right];
}

export class Runs {
  /** @type {Run | null} */ #last = null;

  /** @param {Run} run */
  push(run) {
    if (!run.opens && !run.closes) return;
    run.previous = this.#last;
    if (this.#last) this.#last.next = run;
    this.#last = run;
  }

  /** Pair the runs after a token, and forget them: nothing beyond it can pair with them any more. @param {number} bottom */
  pair(bottom) {
    /** @type {Map<string, number>} where the search for an opener ended in vain, so that no text is searched twice */
    const searched = new Map();
    let closer = this.#firstAfter(bottom);
    while (closer) {
      const kind = `${closer.mark}${closer.opens}${closer.mark === "~" ? closer.left : closer.length % 3}`;
      const opener = closer.closes ? openerOf(closer, searched.get(kind) ?? bottom) : null;
      if (opener) closer = this.#join(opener, closer);
      else {
        if (closer.closes) searched.set(kind, closer.previous?.index ?? bottom);
        const { next } = closer;
        if (!closer.opens) this.#remove(closer);
        closer = next;
      }
    }
    while (this.#last && this.#last.index > bottom) this.#remove(this.#last);
  }

  /** @param {number} bottom @returns {Run | null} */
  #firstAfter(bottom) {
    let run = this.#last;
    while (run?.previous && run.previous.index > bottom) run = run.previous;
    return run && run.index > bottom ? run : null;
  }

  /** @param {Run} opener @param {Run} closer @returns {Run | null} the next that may close */
  #join(opener, closer) {
    const count = closer.mark === "~" ? closer.left : Math.min(2, opener.left, closer.left);
    opener.begins.push(closer.mark === "~" ? "del" : count === 2 ? "strong" : "em");
    closer.ends += 1;
    opener.left -= count;
    closer.left -= count;
    // What stands between them cannot pair with anything outside.
    opener.next = closer;
    closer.previous = opener;
    if (!opener.left) this.#remove(opener);
    if (closer.left) return closer;
    this.#remove(closer);
    return closer.next;
  }

  /** @param {Run} run */
  #remove(run) {
    if (run.previous) run.previous.next = run.next;
    if (run.next) run.next.previous = run.previous;
    else this.#last = run.previous;
  }
}

/** @param {Run} closer @param {number} bottom @returns {Run | null} */
function openerOf(closer, bottom) {
  let run = closer.previous;
  while (run && run.index > bottom) {
    if (fit(run, closer)) return run;
    run = run.previous;
  }
  return null;
}

/** @param {Run} opener @param {Run} closer */
function fit(opener, closer) {
  if (!opener.opens || opener.mark !== closer.mark) return false;
  if (closer.mark === "~") return opener.left === closer.left;
  // The "rule of three" decides what **a*b** means.
  const ambiguous = opener.closes || closer.opens;
  return !ambiguous || (opener.length + closer.length) % 3 !== 0 || (opener.length % 3 === 0 && closer.length % 3 === 0);
}
