"""Runs the server until it is told to end."""

import asyncio
import ipaddress
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path

import uvicorn

from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.web.app import make_app
from embedpipe.web.settings import ServeSettings

_CONNECTIONS = 512
_BACKLOG = 256
_IDLE_SECONDS = 30
_END_SECONDS = 3
_LEAST_TOKEN = 16


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
        EmbedpipeError: The address is taken.
    """
    listener = listening(host, port)
    names = {socket.gethostname(), host} - {"0.0.0.0", "::", ""}  # noqa: S104 - they are no names
    app = make_app(settings, names if not is_loopback(host) else (), fresh_files=fresh_files)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        limit_concurrency=_CONNECTIONS,
        backlog=_BACKLOG,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=_END_SECONDS,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = uvicorn.Server(config)
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
    with listener:
        asyncio.run(server.serve(sockets=[listener]))
    if not server.started:
        raise EmbedpipeError("the server could not be started: see the messages above")
