"""Who may ask: what stands between a browser on this machine and the pages, whatever the pages are.

The pages show what customers and models wrote, and any web site that a user has open can send requests to a port of
this machine. So a request must name this server by a name that we know (another one is a site whose name was pointed
here: DNS rebinding), must come from a page of ours if it comes from a page at all, and must hold this start's key.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    b"content-security-policy": POLICY.encode(),
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    # Not no-referrer: a browser would then send the Origin null with our own forms.
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
_READING = ("GET", "HEAD")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_ANY_ADDRESS = ("0.0.0.0", "::", "")
_KEY = "token"


class Gate:
    """Lets through, to an ASGI app, only requests that may see the pages; every answer gets strict headers.

    `token` stands in the address that is printed: whoever brings it gets the cookie, which holds another secret and is
    what counts from then on. Both are new with every start.
    """

    def __init__(self, app: App, host: str, port: int) -> None:
        self._app, self._port = app, port
        self.token = secrets.token_urlsafe(32)
        self._session = secrets.token_urlsafe(32)
        # Cookies know no ports: two servers on one machine must not take each other's away.
        self._cookie = f"rsft_{port}"
        self._everywhere = host in _ANY_ADDRESS
        self._names = {*_LOOPBACK, in_url(host)} - {""}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):  # start-up and shut-down
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(scope, send, *refusal)
        elif self._opens(scope):
            await self._welcome(scope, send)
        elif not self._is_known(scope):
            await _refuse(scope, send, 401, "Open the address that rsft ui printed, with its token.")
        elif scope["type"] == "websocket":
            await _refuse(scope, send, 404, "There are no WebSockets here.")
        else:
            await self._app(scope, receive, _with_headers(send))

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the reason for a request that is refused whatever key it holds."""
        hosts, origins = _values(scope, b"host"), _values(scope, b"origin")
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts(scope):
            return 421, "This server does not go by that name. Open the address that rsft ui printed."
        if any(origin.lower() != f"http://{hosts[0].lower()}" for origin in origins):
            return 403, "Only pages of this server may ask."
        if not origins and (scope["type"] == "websocket" or scope["method"] not in _READING):
            return 403, "A request that changes something must say from which page it comes."
        return None

    def _hosts(self, scope: Scope) -> set[str]:
        """The values of Host by which this server is known. One that listens everywhere is known by the address that
        a request came in at as well, but by no name: names are what can be pointed here."""
        names = set(self._names)
        if self._everywhere and scope.get("server"):
            names.add(in_url(str(scope["server"][0])))
        return {f"{name}:{self._port}" for name in names} | (names if self._port == 80 else set())

    def _opens(self, scope: Scope) -> bool:
        return scope["type"] == "http" and scope["method"] == "GET" and _same(_query(scope).get(_KEY, ""), self.token)

    def _is_known(self, scope: Scope) -> bool:
        cookies = (part.strip().partition("=") for said in _values(scope, b"cookie") for part in said.split(";"))
        return any(name == self._cookie and _same(value, self._session) for name, _, value in cookies)

    async def _welcome(self, scope: Scope, send: Send) -> None:
        """Hand out the cookie, and lead to the same page without the token.

        Not by a redirect: followed from another program's page, that would be no request of our own page's, and the
        strict cookie would not come with it.
        """
        rest = urlencode({name: value for name, value in _query(scope).items() if name != _KEY})
        # Encoded, it can't end the attribute; and '//' would lead to another server.
        path = "/" + quote(scope["path"]).lstrip("/")
        target = path + (f"?{rest.replace('&', '&amp;')}" if rest else "")
        page = (
            f'<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={target}">'
            f'<title>rsft</title><link rel="icon" href="data:,"><p><a href="{target}">Go on to the runs</a></p>'
        )
        cookie = f"{self._cookie}={self._session}; Path=/; HttpOnly; SameSite=Strict"
        await _answer(send, 200, page, b"text/html; charset=utf-8", (b"set-cookie", cookie.encode()))


def _with_headers(send: Send) -> Send:
    async def sending(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            kept = [(name, value) for name, value in message.get("headers", ()) if name.lower() not in _HEADERS]
            message = {**message, "headers": [*kept, *_HEADERS.items()]}
        await send(message)

    return sending


async def _refuse(scope: Scope, send: Send, status: int, why: str) -> None:
    if scope["type"] == "http":
        await _answer(send, status, f"rsft: {why}\n", b"text/plain; charset=utf-8")
    elif "websocket.http.response" in scope.get("extensions", {}):
        await _answer(send, status, f"rsft: {why}\n", b"text/plain; charset=utf-8", kind="websocket.http.response")
    else:
        await send({"type": "websocket.close", "code": 1008})  # before it was accepted: refused


async def _answer(
    send: Send, status: int, text: str, kind_of_text: bytes, *more: tuple[bytes, bytes], kind: str = "http.response"
) -> None:
    body = text.encode()
    headers = [(b"content-type", kind_of_text), (b"content-length", str(len(body)).encode()), *more, *_HEADERS.items()]
    await send({"type": f"{kind}.start", "status": status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})


def _values(scope: Scope, name: bytes) -> list[str]:
    return [value.decode("latin-1") for found, value in scope["headers"] if found == name]


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))


def _same(said: str, secret: str) -> bool:
    """In a time that tells nothing of where the two differ."""
    return hmac.compare_digest(said.encode(), secret.encode())


def in_url(host: str) -> str:
    """A host as an address has it: version 6 of the protocol in brackets."""
    return f"[{host}]" if ":" in host else host.lower()
