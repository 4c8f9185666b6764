/** The address of a conversation: what stands behind the page's own, `#/c/<id>`. */

const SHAPE = /^#\/c\/([^/]{1,128})$/;

export class Address {
  /** @param {(id: string | null) => void} onChange told where a person goes to another one */
  constructor(onChange) {
    addEventListener("hashchange", () => onChange(this.id));
  }

  /** @returns {string | null} the conversation that is to be shown; null for a new one */
  get id() {
    const [, id = null] = location.hash.match(SHAPE) ?? [];
    return id && decoded(id);
  }

  /** Has the address say what is shown. @param {string | null} id @param {boolean} [step] whether "back" leads back */
  show(id, step = false) {
    if (id === this.id) return;
    const url = id === null ? location.pathname + location.search : addressOf(id);
    if (step) history.pushState(null, "", url);
    else history.replaceState(null, "", url);
  }
}

/** @param {string} id @returns {string} */
export function addressOf(id) {
  return `#/c/${encodeURIComponent(id)}`;
}

/** @returns {URL} where the page's own server is asked */
export function socketAddress() {
  const url = new URL(".", location.href);
  url.protocol = url.protocol.replace("http", "ws");
  return url;
}

/** @param {string} text */
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
