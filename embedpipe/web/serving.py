"""Runs the server until it is told to end."""

import asyncio
import contextlib
import http
import ipaddress
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

import h11
import uvicorn
from threadpoolctl import threadpool_limits
from uvicorn.protocols.http.h11_impl import H11Protocol

from embedpipe.core.claims import SERVE
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.files import held
from embedpipe.web.app import make_app
from embedpipe.web.guard import HEADERS
from embedpipe.web.problems import problem
from embedpipe.web.settings import ServeSettings

_CONNECTIONS = 512
_BACKLOG = 256
_IDLE_SECONDS = 30
_END_SECONDS = 3
_LEAST_TOKEN = 16
_LARGEST_HEAD = 256 * 1024
"""Bytes of address and headers of a request: `/queue?skip=` names up to 2000 documents."""


class Connection(H11Protocol):
    """A connection: whoever takes a place and neither asks nor listens in time is let go.

    Uvicorn itself waits for the first request, and for one that comes in drops, for ever.
    """

    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begins, where there is a place."""
        super().connection_made(transport)
        # an answer is sent as head and body: the second would wait until whoever asked confirms the first, for 40 ms;
        # asyncio does this only for some sockets (findings/asyncio-leaves-nagle-on-for-ready-sockets.sh)
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if len(self.connections) > _CONNECTIONS:
            self._refuse("busy", f"{_CONNECTIONS} connections are open already: try again in a moment")
        else:
            self._deadline = self.loop.call_later(_IDLE_SECONDS, transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends."""
        for timer in (self._deadline, self._stalled):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Takes what has come; between two answers it has to become a request in time."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        resting = self.cycle is None or self.cycle.response_complete
        if not resting and self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        elif resting and self._deadline is None:
            self._deadline = self.loop.call_later(_IDLE_SECONDS, self.transport.close)

    def pause_writing(self) -> None:
        """Waits for who does not read his answer, but not for ever."""
        super().pause_writing()
        self._stalled = self.loop.call_later(_IDLE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """Goes on."""
        super().resume_writing()
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - of the base class
        """Answers what is no HTTP."""
        self._refuse("bad_request", "this is no request of HTTP/1.1, or its headers are too long")

    def _should_upgrade(self) -> bool:
        """There are no other protocols here."""
        return False

    def _refuse(self, code: str, detail: str) -> None:
        if self.cycle is not None:  # whoever was answering has nobody to answer any more
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        answer = problem(code, detail)
        headers = [*answer.raw_headers, *((name.encode(), value.encode()) for name, value in HEADERS.items())]
        head = h11.Response(
            status_code=answer.status_code,
            headers=[*headers, (b"connection", b"close")],
            reason=http.HTTPStatus(answer.status_code).phrase,
        )
        with contextlib.suppress(h11.LocalProtocolError):  # an answer is on its way already
            for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token_for(host: str, file: Path | None) -> str:
    """The token that requests have to bring: that of a file; a new one where others reach the server; else none.

    Raises:
        EmbedpipeError: The file cannot be read.
        UsageError: Its token is too short.
    """
    if file is None:
        return "" if is_loopback(host) else secrets.token_urlsafe(32)
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise EmbedpipeError(f"--token-file {file} cannot be read: {reason}") from error
    if len(token) < _LEAST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"--token-file {file}: write a token of at least {_LEAST_TOKEN} letters and digits into it")
    return token


class _Server(uvicorn.Server):
    """Answers pages that wait for news before it waits for all answers to end: an open page would take all the time."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the server."""
        if (events := self.lifespan.state.get("events")) is not None:
            events.close()
        await super().shutdown(sockets)


def listening(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        EmbedpipeError: The address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        found = socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise EmbedpipeError(f"cannot listen at {host}, port {port}: {reason}; choose another --port") from error
    found.set_inheritable(False)
    return found


def address_of(listener: socket.socket, host: str) -> str:
    """The address that is opened in a browser."""
    port = listener.getsockname()[1]
    name = "127.0.0.1" if host in ("0.0.0.0", "localhost") else host  # noqa: S104 - it is read, not bound
    return f"http://[{name}]:{port}/" if ":" in name else f"http://{name}:{port}/"


def serve(
    settings: ServeSettings,
    host: str,
    port: int,
    *,
    say: Callable[[str], None],
    open_browser: bool = False,
    fresh_files: bool = False,
) -> None:
    """Serves until Ctrl-C, or until the process is told to end.

    Args:
        settings: What is served, and how; has a token where others reach the host.
        host: The address that is listened at.
        port: 0 for any free one.
        say: Told the address, once requests are answered.
        open_browser: Open it.
        fresh_files: Read the files of the page again at every request.

    Raises:
        EmbedpipeError: The address is taken, or another server works on these artifacts.
    """
    with contextlib.ExitStack() as stack:
        if not settings.read_only:
            stack.enter_context(_alone(settings.root))
        _serve(settings, host, port, say=say, open_browser=open_browser, fresh_files=fresh_files)


def _alone(root: Path) -> contextlib.AbstractContextManager[None]:
    """Keeps another server from these artifacts: it would take the jobs of this one for its own."""
    lock = root / SERVE / ".lock"
    return held(
        lock,
        lambda advice: (
            f"another `serve` works on {root}: use its page, or start this one with --read-only {advice}".strip()
        ),
        lambda why: f"cannot write to {lock.parent}: {why}",
    )


def _serve(
    settings: ServeSettings,
    host: str,
    port: int,
    *,
    say: Callable[[str], None],
    open_browser: bool,
    fresh_files: bool,
) -> None:
    listener = listening(host, port)
    names = {socket.gethostname(), host} - {"0.0.0.0", "::", ""}  # noqa: S104 - they are no names
    app = make_app(settings, names if not is_loopback(host) else (), fresh_files=fresh_files)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=Connection,
        ws="none",
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
        h11_max_incomplete_event_size=_LARGEST_HEAD,
    )
    server = _Server(config)
    address = address_of(listener, host)
    if settings.token:
        address += f"#token={settings.token}"

    def tell() -> None:
        while not server.started and not server.should_exit:
            threading.Event().wait(0.05)
        if server.started:
            say(address)
            if open_browser:
                webbrowser.open(address)

    threading.Thread(target=tell, name="embedpipe-address", daemon=True).start()
    # the matrices between two decisions are small: threads for them wait busily for each other, and for everybody else
    with listener, threadpool_limits(1, "blas"):
        asyncio.run(server.serve(sockets=[listener]))
    if not server.started:
        raise EmbedpipeError("the server could not be started: see the messages above")
