"""A web application with a login of its own, and an agent that knows who is logged in.

    python -m examples.accounts

serves a page at http://localhost:8000 (log in as ada or bob, the password is the name) and the agent at port 8765.
The page gets a short-lived token from the application for each connection, and a fresh one before it ends; the server's
hook asks the application whose it is.
"""

import asyncio
import hashlib
import hmac
import json
import secrets
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

from agentsocket import AgentServer, AuthError, LoginAttempt, Settings, User
from agentsocket.console.files import FOLDER as CONSOLE
from examples.accounts.desk import Desk

HERE = Path(__file__).parent
FILES = {
    "/": (HERE / "page.html", "text/html; charset=utf-8"),
    "/page.js": (HERE / "page.js", "text/javascript; charset=utf-8"),
    "/agent_client.js": (CONSOLE / "agent_client.js", "text/javascript; charset=utf-8"),
}
TOKEN_LIFE = timedelta(minutes=5)


def hashed(password: str, salt: bytes) -> bytes:
    """Return what is kept of a password."""
    return hashlib.scrypt(password.encode(), salt=salt, n=2**14, r=8, p=1)


class Accounts:
    """The application's own users, who is logged in, and the tokens that were given out."""

    def __init__(self) -> None:
        self._people = {
            "ada": ("Ada", ("manager",), b"salt of ada", hashed("ada", b"salt of ada")),
            "bob": ("Bob", (), b"salt of bob", hashed("bob", b"salt of bob")),
        }
        self._logged_in: dict[str, str] = {}
        self._tokens: dict[str, tuple[str, datetime]] = {}

    def log_in(self, name: str, password: str) -> str | None:
        """Return the value of the cookie for whoever has the right password."""
        _, _, salt, kept = self._people.get(name, ("", (), b"nobody", b""))
        if not hmac.compare_digest(hashed(password, salt), kept):
            return None
        cookie = secrets.token_urlsafe()
        self._logged_in[cookie] = name
        return cookie

    def log_out(self, cookie: str) -> None:
        """Forget a cookie, and with it the tokens that were given out for it."""
        name = self._logged_in.pop(cookie, None)
        self._tokens = {token: given for token, given in self._tokens.items() if given[0] != name}

    def is_logged_in(self, cookie: str) -> bool:
        """Whether a cookie is somebody's."""
        return cookie in self._logged_in

    def new_token(self, cookie: str) -> str | None:
        """Return a token for the agent's server, of whoever the cookie says."""
        name = self._logged_in.get(cookie)
        if name is None:
            return None
        now = datetime.now(UTC)
        self._tokens = {token: given for token, given in self._tokens.items() if given[1] > now}
        token = secrets.token_urlsafe()
        self._tokens[token] = name, now + TOKEN_LIFE
        return token

    async def authenticate(self, login: LoginAttempt) -> User:
        """Tell the agent's server who logs in there: its hook.

        Raises:
            AuthError: if the token is not one of those that were given out, or has ended.
        """
        name, expires_at = self._tokens.get(login.token or "", ("", datetime.now(UTC)))
        if expires_at <= datetime.now(UTC):
            raise AuthError("Log in on the page first.")
        full_name, roles, _, _ = self._people[name]
        return User(name, full_name, {"roles": roles}, expires_at=expires_at)


class Page(BaseHTTPRequestHandler):
    """Answers the browser: the page, the login, and tokens for the agent's server."""

    accounts: Accounts
    agent_port: int

    def do_GET(self) -> None:
        """Give a file; or where the agent is, and whether somebody is logged in already."""
        path, kind = FILES.get(self.path, (None, ""))
        if self.path == "/agent":
            state = {"port": self.agent_port, "logged_in": self.accounts.is_logged_in(self._cookie())}
            self._answer(200, json.dumps(state), "application/json")
        elif path is None:
            self._answer(404, "There is nothing here.")
        else:
            self._answer(200, path.read_text(), kind)

    def do_POST(self) -> None:
        """Log in or out, or give a token."""
        actions = {"/login": self._log_in, "/token": self._give_token, "/logout": self._log_out}
        # A page of another site may post a form here, and the browser adds the cookie: its Origin gives it away.
        if self.headers.get("Origin") != f"http://{self.headers.get('Host')}":
            self._answer(403, "Not from there.")
        elif self.path not in actions:
            self._answer(404, "There is nothing here.")
        else:
            actions[self.path]()

    def _log_in(self) -> None:
        form = parse_qs(self.rfile.read(min(4096, int(self.headers.get("Content-Length") or 0))).decode())
        cookie = self.accounts.log_in(form.get("name", [""])[0], form.get("password", [""])[0])
        if cookie is None:
            self._answer(403, "That is not the password.")
        else:
            self._answer(200, "", cookie=f"shop={cookie}; HttpOnly; SameSite=Strict; Path=/")

    def _give_token(self) -> None:
        token = self.accounts.new_token(self._cookie())
        self._answer(200 if token else 401, token or "Log in first.")

    def _log_out(self) -> None:
        self.accounts.log_out(self._cookie())
        self._answer(200, "", cookie="shop=; Max-Age=0; Path=/")

    def log_message(self, *_: object) -> None:
        """Say nothing of each request."""

    def _cookie(self) -> str:
        cookies = SimpleCookie(self.headers.get("Cookie", ""))
        return cookies["shop"].value if "shop" in cookies else ""

    def _answer(
        self, status: int, text: str, kind: str = "text/plain; charset=utf-8", *, cookie: str | None = None
    ) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(body)


async def main(port: int = 8000, agent_port: int = 8765) -> None:
    """Serve the page and the agent, until Ctrl-C."""
    accounts = Accounts()
    application = ThreadingHTTPServer(("127.0.0.1", port), Page)
    page = f"http://localhost:{application.server_port}"
    settings = Settings(host="127.0.0.1", port=agent_port, allowed_origins=(page,))
    async with AgentServer(settings, {"desk": Desk}, authenticate=accounts.authenticate) as server:
        Page.accounts, Page.agent_port = accounts, server.port
        threading.Thread(target=application.serve_forever, daemon=True).start()
        sys.stdout.write(f"Open {page} and log in as ada or bob.\n")
        sys.stdout.flush()
        try:
            await asyncio.Event().wait()
        finally:
            application.shutdown()
            application.server_close()


if __name__ == "__main__":
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        sys.exit(0)
