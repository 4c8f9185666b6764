// The page of the example: it logs in at the web application, and at the agent with a token that it gets there.
import { AgentClient } from "./agent_client.js";

const at = (id) => document.getElementById(id);
let client = null;

function show(loggedIn) {
  at("login").hidden = loggedIn;
  at("desk").hidden = !loggedIn;
}

function say(who, text) {
  const line = document.createElement("li");
  line.textContent = `${who}: ${text}`;
  at("said").append(line);
}

// Asked again for each connection, and before the login ends.
async function token() {
  const response = await fetch("/token", { method: "POST" });
  if (!response.ok) throw new Error("Log in first.");
  return response.text();
}

async function meet({ port }) {
  client = new AgentClient(`ws://localhost:${port}/`, { token });
  client.addEventListener("state", ({ detail }) => {
    if (detail.name !== "refused") return;
    at("problem").textContent = detail.message ?? "The desk is closed.";
    show(false);
  });
  await client.login();
  at("who").textContent = client.user.name;
  show(true);
}

async function desk() {
  return (await fetch("/agent")).json();
}

at("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  at("problem").textContent = "";
  const answer = await fetch("/login", { method: "POST", body: new URLSearchParams(new FormData(event.target)) });
  if (!answer.ok) {
    at("problem").textContent = await answer.text();
    return;
  }
  event.target.reset();
  await meet(await desk());
});

at("ask").addEventListener("submit", async (event) => {
  event.preventDefault();
  const message = new FormData(event.target).get("message");
  event.target.reset();
  say("You", message);
  try {
    say("Desk", await client.ask(message));
  } catch (problem) {
    say("Desk", problem.message);
  }
});

at("logout").addEventListener("click", async () => {
  await client.logout();
  client.close();
  await fetch("/logout", { method: "POST" });
  at("said").replaceChildren();
  show(false);
});

// Whoever is logged in already needs not log in again.
const known = await desk();
if (known.logged_in) await meet(known);
