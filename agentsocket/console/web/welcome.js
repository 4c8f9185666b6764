/** What stands where nothing was said yet: what the agent can do, questions to begin with, and the other agents. */

import { h } from "./dom.js";
import { textNodes } from "./plain_text.js";

/** @typedef {import("./agent_client.js").AgentCard} AgentCard */

/** Questions that are offered; more would be a list to read. */
const STARTERS = 3;

export class Welcome {
  #ask;
  element = h("div.welcome");

  /** @param {(message: string) => void} ask */
  constructor(ask) {
    this.#ask = ask;
  }

  /** @param {AgentCard} [agent] @param {AgentCard[]} [agents] those that this person may choose from */
  show(agent, agents = []) {
    const starters = (agent?.starters ?? []).slice(0, STARTERS);
    const parts = [
      h("h2", {}, agent?.title ? textNodes(agent.title) : "What shall the agent do?"),
      h("p", { dir: "auto" }, agent?.description ? textNodes(agent.description) : defaultWords()),
      starters.length > 0 && h("div.starters", {}, ...starters.map((text) => this.#starter(text))),
      agents.length > 1 && agentLinks(agents, agent?.name),
      keys(),
    ];
    this.element.replaceChildren(...parts.filter(Boolean));
  }

  /** @param {string} text */
  #starter(text) {
    return h("button", { type: "button", dir: "auto", onclick: () => this.#ask(text) }, textNodes(text));
  }
}

/** @param {AgentCard} agent @returns {string} what it is called */
export function called({ title, name }) {
  return title ?? name;
}

/**
 * Links to the console with each of these agents.
 * @param {AgentCard[]} agents
 * @param {string} [chosen] the name of the one that is here already
 * @returns {HTMLElement}
 */
export function agentLinks(agents, chosen) {
  const link = (/** @type {AgentCard} */ agent) =>
    h(
      "a",
      {
        href: `?${new URLSearchParams({ agent: agent.name })}`,
        "aria-current": agent.name === chosen && "page",
        title: agent.description,
      },
      textNodes(called(agent)),
    );
  return h("nav.agents", { "aria-label": "Agents" }, ...agents.map(link));
}

function defaultWords() {
  return "Several requests may run at once, and each can be stopped.";
}

function keys() {
  const key = (/** @type {string} */ name) => h("kbd", {}, name);
  return h("p.keys", {}, key("Enter"), " sends, ", key("Shift"), " ", key("Enter"), " makes a new line.");
}
