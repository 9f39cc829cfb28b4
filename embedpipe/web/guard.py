"""Who may ask what: the checks that every request passes before anything looks at it, and the headers of every answer.

A page of another site must not reach the artifacts by way of a person's browser: neither under a name that leads here
(DNS rebinding: the Host header), nor by a form or a script of its own (CSRF: Origin, Sec-Fetch-Site, and kinds of
bodies that a browser does not send elsewhere without asking first).
"""

import asyncio
import hashlib
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.exceptions import HTTPException

from embedpipe.web.problems import asked_in, language_of, problem
from embedpipe.web.settings import ServeSettings

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "embedpipe_session"

_SAFE = {"GET", "HEAD", "OPTIONS"}
_OPEN = ("/healthz", "/session")
_OPEN_BELOW = ("/static/", "/translations/")
"""Addresses that hold no data of anybody's, and need no token."""

_FILES = ("/classify", "/similar", "/uploads")
"""Addresses that take files as bodies."""

_ONLY_READ = ("/classify", "/similar", "/session")
"""Addresses that change nothing although they are not asked by GET."""

_FORMS = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain", "")
"""Kinds of bodies that a page of any site may have a browser send."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PATIENCE = 30.0
"""Seconds that may pass until the next piece of a body comes, and all that are waited for one that comes slowly."""

_LEAST_RATE = 1024
"""Bytes a second of a body for which more is waited: else some slow senders would take all places for ever."""

WRONG_TOKEN_SECONDS = 1.0
"""Who guesses a token waits so long for each."""

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Of every answer."""


class Guard:
    """The checks, around the application.

    Args:
        app: Answers what passes.
        settings: Who may ask.
        names: Further names by which the server may be asked.
    """

    def __init__(self, app: App, settings: ServeSettings, names: Iterable[str] = ()) -> None:
        self._app, self._settings = app, settings
        self._names = {name.lower().strip("[]") for name in (*_LOOPBACK, *settings.hosts, *names)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers a request, or passes it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    own.setdefault(name, value)
                own.setdefault("Cache-Control", "no-store")
            await send(message)

        language = language_of(headers, QueryParams(scope["query_string"]))
        asked_in.set(language)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            code, detail = refusal
            if code == "unauthorized" and self._brought(headers):
                await asyncio.sleep(WRONG_TOKEN_SECONDS)
            await problem(code, detail, language)(scope, receive, dressed)
            return
        if scope["method"] == "HEAD":  # as GET, but for the body
            await self._app({**scope, "method": "GET"}, self._bounded(scope, receive), _without_body(dressed))
            return
        await self._app(scope, self._bounded(scope, receive), dressed)

    def _refusal(self, scope: Scope, headers: Headers) -> tuple[str, str] | None:
        """Why a request is refused: code and line; None where it is not."""
        path, changes = str(scope["path"]), scope["method"] not in _SAFE
        host = headers.get("host", "")
        if not self._is_ours(host):
            return (
                "forbidden",
                f"this server does not answer as {host[:100]!r}: name it with --allow-host when it starts",
            )
        stranger = self._stranger(scope, headers, changes=changes)
        if stranger is not None:
            return stranger
        if self._settings.token and not self._is_open(path) and not self.is_known(headers):
            return "unauthorized", "send the token that `serve` printed, as Authorization: Bearer TOKEN"
        if self._settings.read_only and changes and path not in _ONLY_READ:
            return "read_only", "this server was started with --read-only: nothing can be changed"
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._largest(path):
            return "too_large", f"the body is larger than {self._largest(path) / 1024**2:g} MB"
        return None

    @staticmethod
    def _stranger(scope: Scope, headers: Headers, *, changes: bool) -> tuple[str, str] | None:
        """Why a request may come from a page of another site; None where it does not."""
        site = headers.get("sec-fetch-site", "none")
        opened = scope["path"] == "/" and not changes and headers.get("sec-fetch-mode", "navigate") == "navigate"
        if site not in ("same-origin", "none") and not opened:
            return "forbidden", "a page of another site asks: open the address of this server itself"
        if not changes:
            return None
        origin = headers.get("origin")
        if origin is not None and not _same_origin(origin, headers.get("host", "")):
            return "forbidden", f"a page of {origin[:100]!r} asks: open the address of this server itself"
        if headers.get("content-type", "").partition(";")[0].strip().lower() in _FORMS:
            return (
                "unsupported_media_type",
                "forms are not taken: send Content-Type: application/json, or application/octet-stream for a file",
            )
        return None

    def _largest(self, path: str) -> int:
        caps = self._settings.caps
        return caps.file_bytes if path in _FILES else caps.body_bytes

    def _is_ours(self, host: str) -> bool:
        """Whether a Host header names this server: by a known name, or an address, to which no name can lead."""
        try:
            where = urlsplit(f"//{host}")
            name = (where.hostname or "").lower()
        except ValueError:
            return False
        if where.netloc != host or "@" in host:  # more than a name and a port
            return False
        if name in self._names:
            return True
        if not self._settings.token:  # bound to loopback: nothing else is this server
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    @staticmethod
    def _is_open(path: str) -> bool:
        return path == "/" or path in _OPEN or path.startswith(_OPEN_BELOW)

    def _brought(self, headers: Headers) -> bool:
        return "authorization" in headers

    def is_known(self, headers: Headers) -> bool:
        """Whether a request brings the token, or the cookie that was given for it."""
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), self._settings.token):
            return True
        try:
            cookies = SimpleCookie(headers.get("cookie", ""))
        except CookieError:
            return False
        return COOKIE in cookies and _equal(cookies[COOKIE].value, session_of(self._settings.token))

    def _bounded(self, scope: Scope, receive: Receive) -> Receive:
        """Takes a body only up to its cap, and not for ever."""
        most, taken, waited, more = self._largest(str(scope["path"])), 0, 0.0, True

        async def bounded() -> Message:
            nonlocal taken, waited, more
            if not more:
                return await receive()
            begin, left = time.monotonic(), _PATIENCE + taken / _LEAST_RATE - waited
            try:
                message = await asyncio.wait_for(receive(), min(_PATIENCE, left))
            except TimeoutError:
                raise HTTPException(408, "the body did not come") from None
            waited += time.monotonic() - begin
            taken += len(message.get("body", b""))
            more = bool(message.get("more_body", False))
            if taken > most:
                raise HTTPException(413, f"the body is larger than {most / 1024**2:g} MB")
            return message

        return bounded


def _without_body(send: Send) -> Send:
    ended = False

    async def bare(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.start":
            await send(message)
        elif not ended:  # also of an answer that would never end
            ended = True
            await send({"type": "http.response.body", "body": b""})

    return bare


def session_of(token: str) -> str:
    """What the cookie of a browser holds that has shown the token: it does not tell the token."""
    return hmac.new(token.encode(), b"embedpipe session", hashlib.sha256).hexdigest()


def is_token(given: str, token: str) -> bool:
    """Whether a token is the right one; takes the same time for every wrong one."""
    return _equal(given, token)


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode("utf-8", "replace"))


def _same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header names the server that the Host header names; a proxy before it may speak https."""
    scheme, _, where = origin.partition("://")
    return scheme in ("http", "https") and where.lower() == host.lower()
