"""Asks a server until it has what it is asked for, or many things at once."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")


def hub_of(client: Any) -> Any:
    """The hub of a client's server."""
    return client.app._app.state.hub


def run_alone(call: Callable[..., T], *values: Any, **named: Any) -> T:
    """What a call that runs a loop returns, in its own thread: a browser of another test holds the loop of this one."""
    with ThreadPoolExecutor(1) as own:
        return own.submit(call, *values, **named).result()


def when_ready(client: Any, address: str, **query: Any) -> dict[str, Any]:
    """The answer of an address once its result is up to date."""
    for _ in range(600):
        answer = client.get(address, params=query).json()
        if answer.get("state", answer.get("answers")) in ("ready", "failed", "none"):
            return dict(answer)
        time.sleep(0.05)
    raise AssertionError(answer)


def when_over(client: Any, job: dict[str, Any]) -> dict[str, Any]:
    """A job once it is over."""
    for _ in range(1200):
        found = client.get(f"/jobs/{job['job']}").json()
        if found["state"] not in ("queued", "running"):
            return dict(found)
        time.sleep(0.05)
    raise AssertionError(found)
