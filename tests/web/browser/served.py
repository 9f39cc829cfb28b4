"""A store of drawn documents, a real server over it and a real browser: what the tests of the page share."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pymupdf

from embedpipe.samples import draw_samples

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROOT = Path(__file__).resolve().parents[3]
NETWORK = ("--backbone", "timm:test_resnet", "--weights", "none", "--size", "64", "--layers", "penultimate")
TYPES = ("invoice", "slides", "letter")
PER_TYPE, LABELLED = 9, 5
HOSTILE = "<img src=x onerror=document.title='broken'>&amp; {{7*7}} ';--.pdf"
WAIT = 90_000
"""Milliseconds: jobs start processes, and machines of tests are busy."""


def draw(folder: Path) -> None:
    """Documents of three types, one with a hostile name, one saved again with a mark on it, and a pile of three."""
    drawn = draw_samples(folder, per_type=PER_TYPE, types=TYPES)
    pdfs = [file for file in drawn if file.suffix == ".pdf"]
    with pymupdf.open() as blank:
        blank.new_page().insert_text((60, 90), "Nothing of the kind", fontsize=30)
        blank.save(folder / HOSTILE)
    with pymupdf.open(next(file for file in pdfs if file.parent.name == "letter")) as twin:
        twin[0].draw_rect((555, 20, 559, 24), fill=(0.2, 0.2, 0.2))
        twin.save(folder / "twin.pdf", garbage=4)
    with pymupdf.open() as pile:
        for file in pdfs[1:12:4]:
            with pymupdf.open(file) as one:
                pile.insert_pdf(one)
        pile.save(folder / "pile.pdf")


def labels(folder: Path) -> str:
    """A list of labels of some documents of each type, one of them wrong."""
    lines = ["path,label,group"]
    for kind in TYPES:
        for number, file in enumerate(sorted((folder / kind).iterdir())[:LABELLED]):
            wrong = kind == "letter" and number == 0
            lines.append(f"{file},{'slides' if wrong else kind},{kind}{number}")
    return "\n".join(lines) + "\n"


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@dataclass
class Server:
    """`embedpipe serve` as a process of its own, over artifacts of a folder.

    Attributes:
        folder: Where documents, artifacts and the output of piles are.
        options: More of the command line.
    """

    folder: Path
    options: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """What the browser opens."""
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Starts it, and waits until it has answered for all documents."""
        command = [sys.executable, str(ROOT / "cli.py"), "serve", "--artifacts", str(self.folder / "artifacts")]
        command += ["--port", str(self.port), "--outbox", str(self.folder / "parts"), *self.options]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if self.process.poll() is not None:
                raise AssertionError((self.folder / "server.log").read_text(encoding="utf-8"))
            try:
                if self.asked("documents?limit=1")["answers"] == "ready":
                    return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("the server did not answer")

    def make_ready(self) -> None:
        """Lets results be made that take a job, while the tests begin with others."""
        for path in ("families", "map", "twins", "confusion"):
            self.asked(path)

    def asked(self, path: str) -> dict[str, Any]:
        """What the server answers to a question."""
        with urllib.request.urlopen(f"{self.address}{path}", timeout=20) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def kill(self, with_signal: int = signal.SIGKILL) -> None:
        """Ends it, unasked."""
        if self.process is not None:
            self.process.send_signal(with_signal)
            self.process.wait(30)
            self.process = None


def view(page: Page, name: str, query: str = "") -> None:
    """Goes to a view of the page by its address."""
    page.evaluate("address => { location.hash = address; }", f"#/{name}{query}")


def checked(page: Page) -> int:
    """How many documents have a checked label, as the head of the page says."""
    return int(page.locator("#head .progress .number").inner_text().split()[0].replace(",", ""))


def give_type(page: Page, name: str, key: str = "l") -> None:
    """Opens the dialog of types by its key, types a name, and accepts it."""
    page.keyboard.press(key)
    page.wait_for_selector("dialog[open] input:focus")
    page.keyboard.type(name)
    page.keyboard.press("Enter")


def wait_checked(page: Page, number: int) -> None:
    """Waits until so many documents have a checked label."""
    begins = "start => document.querySelector('#head .progress .number')?.innerText.startsWith(start)"
    page.wait_for_function(begins, arg=f"{number} ")


def wait_type(page: Page, name: str) -> None:
    """Waits until the server has a label of a type."""
    end = time.monotonic() + WAIT / 1000  # `wait_for_function` takes a promise for an answer, whatever it will hold
    while all(one["type"] != name for one in page.evaluate("fetch('/types').then((a) => a.json())")["types"]):
        assert time.monotonic() < end
        page.wait_for_timeout(50)


def columns(page: Page) -> dict[str, Any]:
    """What the server says of the documents."""
    answer: dict[str, Any] = page.evaluate("fetch('/documents').then((answer) => answer.json())")
    return answer
