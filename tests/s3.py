"""A real S3 server on this machine, moto's, whose faults a test chooses; for tests of objects in storage."""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BUCKETS = itertools.count()

Answer = tuple[str, bytes]
"""Status line and body in place of the server's."""


@dataclass
class Server:
    """What a test asks of the server.

    Attributes:
        url: Of the server.
        bucket: URL of a bucket of its own.
        requests: Method, path and range of what was asked.
        fault: Given a method and a path, returns a fault: an answer in place of the right one, a number of bytes to cut
            the right one to, or seconds to wait; None for none.
    """

    url: str
    bucket: str = ""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    fault: Callable[[str, str], Answer | int | float | None] = lambda _method, _path: None

    def put(self, name: str, content: bytes | Path) -> str:
        """Writes an object, or all files below a folder; returns its URL."""
        from embedpipe.core.objects.places import forget_statuses
        from embedpipe.core.objects.service import file_system

        url = f"{self.bucket}/{name}" if name else self.bucket
        if isinstance(content, bytes):
            file_system("s3").pipe_file(url, content)
        else:
            for file in [content] if content.is_file() else filter(Path.is_file, content.rglob("*")):
                place = f"{url}/{file.relative_to(content).as_posix()}" if file != content else url
                file_system("s3").put_file(str(file), place)
        forget_statuses()
        self.requests.clear()
        return url

    def names(self) -> list[str]:
        """Keys of all objects of the bucket."""
        from embedpipe.core.objects.places import below

        return sorted(below(self.bucket))

    def get(self, name: str) -> bytes:
        """Content of an object."""
        from embedpipe.core.objects.service import file_system

        content: bytes = file_system("s3").cat_file(f"{self.bucket}/{name}")
        return content

    def of(self, method: str, end: str = "") -> list[tuple[str, str, str]]:
        """The requests of a method whose path ends so."""
        return [request for request in self.requests if request[0] == method and request[1].endswith(end)]


def error(status: str, code: str) -> Answer:
    """An answer of S3 that is an error."""
    return status, f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()


def _faulty(app: Any, server: Server) -> Any:
    def answer(environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        server.requests.append((method, path, environ.get("HTTP_RANGE", "")))
        fault = server.fault(method, path)
        if isinstance(fault, float):
            time.sleep(fault)
        elif isinstance(fault, tuple):
            body = b"" if method == "HEAD" else fault[1]
            start(fault[0], [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]
        content = app(environ, start)
        return [b"".join(content)[:fault]] if isinstance(fault, int) else content

    return answer


@contextmanager
def serving() -> Iterator[Server]:
    """Runs the server in a thread of this process."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    WSGIRequestHandler.protocol_version = "HTTP/1.1"  # connections stay open, as those of S3 do
    server = Server("")
    app = _faulty(DomainDispatcherApplication(create_backend_app), server)
    http = make_server("127.0.0.1", 0, app, threaded=True)
    http.daemon_threads = True
    server.url = f"http://127.0.0.1:{http.server_port}"
    threading.Thread(target=http.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
