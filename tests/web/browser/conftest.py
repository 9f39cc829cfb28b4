"""One store, one server and one browser for all tests of the page; each test has a fresh context."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from web.browser import served

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NOT_MINE = (
    *("net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_EMPTY_RESPONSE", "net::ERR_SOCKET"),
    *("net::ERR_CONTENT_LENGTH_MISMATCH", "net::ERR_INCOMPLETE_CHUNKED_ENCODING"),
    "status of 422",
)
"""What a browser says of a server that a test has killed, wherever in an answer, and of a list that cannot be taken."""


@pytest.fixture(scope="session")
def server(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[served.Server]:
    """A server over drawn documents, some of them labelled, with a classifier."""
    from typer.testing import CliRunner

    from embedpipe.commands import app

    folder = tmp_path_factory.mktemp("served")
    served.draw(folder / "Inbox")
    (folder / "list.csv").write_text(served.labels(folder / "Inbox"), encoding="utf-8")
    artifacts = ("--artifacts", str(folder / "artifacts"))
    given = ("--labels", str(folder / "list.csv"))
    for command in (["embed", str(folder / "Inbox"), *served.NETWORK, *given, *artifacts], ["fit-knn", *artifacts]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    started = served.Server(folder, ("--weights", "none", "--inbox", str(folder / "Inbox")))
    started.start()
    started.make_ready()
    yield started
    started.kill()


@pytest.fixture
def open_page(browser: Browser, server: served.Server) -> Iterator[Callable[..., Page]]:
    """Opens the page in a context of its own; at the end nothing may stand in the console."""
    contexts, told = [], []

    def opened(address: str = "", *, width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 800}, **{"locale": "en-US", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(served.WAIT)
        page.on("console", lambda message: told.append(message.text) if message.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("dialog", lambda dialog: told.append(f"dialog: {dialog.message}"))
        page.goto(f"{server.address}{address}")
        page.wait_for_selector("main > *:not(.empty)")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not [text for text in told if not any(known in text for known in NOT_MINE)]


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """The heap, as it opens."""
    return open_page()


@pytest.fixture
def folder(server: served.Server) -> Path:
    """Where documents, artifacts and the output are."""
    return server.folder
