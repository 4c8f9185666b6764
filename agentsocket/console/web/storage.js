/** What the browser keeps for the page; where it keeps nothing, being told not to or being full, the page's memory. */

class Drawer {
  #kind;
  /** @type {Map<string, string>} */ #memory = new Map();

  /** @param {"localStorage" | "sessionStorage"} kind */
  constructor(kind) {
    this.#kind = kind;
  }

  /** @param {string} key @returns {string | null} */
  getItem(key) {
    // What could not be written is newer than what stands in the browser.
    return this.#memory.get(key) ?? this.#try((storage) => storage.getItem(key)) ?? null;
  }

  /** @param {string} key @param {string} value @returns {boolean} whether the browser keeps it */
  setItem(key, value) {
    const kept = this.#try((storage) => {
      storage.setItem(key, value);
      return true;
    });
    if (kept) this.#memory.delete(key);
    else this.#memory.set(key, value);
    return kept === true;
  }

  /** @param {string} key */
  removeItem(key) {
    this.#memory.delete(key);
    this.#try((storage) => storage.removeItem(key));
  }

  /** @template T @param {(storage: Storage) => T} use @returns {T | undefined} */
  #try(use) {
    try {
      return use(globalThis[this.#kind]); // where site data is blocked, the name alone raises, or is null
    } catch {
      return undefined;
    }
  }
}

export const lasting = new Drawer("localStorage");
export const ofThisTab = new Drawer("sessionStorage");
