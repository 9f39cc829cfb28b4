#!/usr/bin/env bash
# Surprise: asyncio turns Nagle's algorithm off for connections of TCP, but only where the socket was made with the number of
# TCP as its protocol. `socket.create_server` makes sockets with protocol 0, and accepted ones inherit that: a server that is
# given such a listener (`loop.create_server(sock=...)`, `uvicorn.Server.serve(sockets=[...])`, `--reload`, `--workers`) has
# Nagle's algorithm on. An answer that is written as head and body then takes 40 ms on a kept connection, where each write waits
# for the delayed confirmation of the one before.
# Expected: as with `loop.create_server(host, port)`: `TCP_NODELAY` for every connection, an answer in about a millisecond.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check uvicorn==0.38.0 h11==0.16.0
venv/bin/python - <<'PYTHON'
import asyncio
import http.client
import platform
import socket
import statistics
import threading
import time

import uvicorn


async def app(scope, receive, send):
    """Answers ten bytes, and notes nothing."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"x" * 10})


def milliseconds(ready):
    """Median time of an answer on a kept connection, and whether asyncio turned Nagle's algorithm off."""
    listener = socket.create_server(("127.0.0.1", 0)) if ready else None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = listener.getsockname()[1] if ready else free.getsockname()[1]
    config = uvicorn.Config(app, host="127.0.0.1", port=port, http="h11", lifespan="off", log_level="critical")
    server = uvicorn.Server(config)
    serve = (lambda: server.serve(sockets=[listener])) if ready else server.serve
    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    while not server.started:
        time.sleep(0.01)
    connection, times = http.client.HTTPConnection("127.0.0.1", port), []
    for _ in range(30):
        begin = time.perf_counter()
        connection.request("GET", "/")
        connection.getresponse().read()
        times.append(1000 * (time.perf_counter() - begin))
    own = next(iter(server.server_state.connections)).transport.get_extra_info("socket")
    off = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0
    connection.close()
    server.should_exit = True
    thread.join()
    return statistics.median(times), off


print(f"Python {platform.python_version()}, uvicorn {uvicorn.__version__}")
named, named_off = milliseconds(False)
made, made_off = milliseconds(True)
print(f"listening at host and port: TCP_NODELAY {named_off}, {named:.1f} ms for an answer")
print(f"given a listening socket:   TCP_NODELAY {made_off}, {made:.1f} ms for an answer")
assert named_off and not made_off, "asyncio treats both alike now"
print("Nagle's algorithm stays on for listeners of socket.create_server, as before")
PYTHON
