"""Counts the keystrokes of a person who labels a heap at the page of `serve`: families, then the queue.

    python benchmarks/labelling_story.py ARTIFACTS

ARTIFACTS holds documents that are embedded and all labelled: these labels are what the person knows. A server runs over
a copy without labels and classifiers, and is asked what the page asks it; the page is not drawn. The person labels
families whose documents are mostly of one type, largest first, taking the odd ones out; fits; and decides the queue,
fitting again now and then, until the wanted share is labelled and checked. Prints the keystrokes of each part, and of
labelling one document after the other in the heap with the same dialog of types.
"""

import csv
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

ROOT = Path(__file__).resolve().parents[1]
OFFERED, CANDIDATES, FIT = 9, 9, 3
"""Types of a family that have a key; candidates of a document that have one; keystrokes of a fit: g, r, f."""
WORTH = 0.6
"""A family is labelled where at least this share of what is left of it is of one type."""
PAUSE = 0.3


@dataclass
class Asked:
    """The server: its address, and what it answers."""

    port: int

    def __call__(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """The answer to a question, or to what is sent."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - our own
            return json.load(answer)

    def when_ready(self, path: str) -> Any:
        """The answer once its job is done."""
        while True:
            found = self(path)
            if found.get("state", "ready") == "ready" and found.get("answers") != "pending":
                return found
            if found.get("state") == "failed":
                raise SystemExit(found["message"])
            time.sleep(PAUSE)


@dataclass
class Person:
    """Knows the type of each document, and counts the keys that say so.

    Attributes:
        asked: The server.
        truth: Type by document.
        labelled: What was decided so far.
        keys: Keystrokes by what they were for.
    """

    asked: Asked
    truth: dict[str, str]
    labelled: dict[str, str] = field(default_factory=dict)
    keys: Counter[str] = field(default_factory=Counter)

    def typed(self, kind: str) -> int:
        """Keys to name a type in the dialog: `l`, as few letters as bring it to the top (all of a new one), Enter."""
        sizes = Counter(self.labelled.values())
        known = sorted(sizes, key=lambda name: (-sizes[name], name))
        for letters in range(1, len(kind)):
            if next((name for name in known if kind[:letters] in name), None) == kind:
                return letters + 2
        return len(kind) + 2

    def give(self, documents: list[str], kind: str) -> None:
        """Labels documents."""
        self.asked("/labels", {"labels": [{"document": one, "type": kind} for one in documents], "client": "person"})
        self.labelled |= dict.fromkeys(documents, kind)

    def label_families(self) -> None:
        """Goes through the families once: labels, or passes over with one key."""
        for family in self.asked.when_ready("/families")["families"]:
            left = [one for one in family["documents"] if one in self.truth and one not in self.labelled]
            if len(left) < 2:  # noqa: PLR2004 - one document is for the queue
                continue
            [(kind, number)] = Counter(self.truth[one] for one in left).most_common(1)
            if number < 2 or number < WORTH * len(left):  # noqa: PLR2004 - likewise
                self.keys["families"] += 1
                continue
            sizes = Counter(self.labelled.values())
            first = [family["type"], family["guess"], *(name for name, _ in sizes.most_common())]
            offered = list(dict.fromkeys(name for name in first if name))[:OFFERED]
            self.keys["families"] += len(left) - number  # a click for each odd one
            self.keys["families"] += 1 if kind in offered else self.typed(kind)
            self.give([one for one in left if self.truth[one] == kind], kind)

    def fit(self, kind: str) -> None:
        """Fits with what is labelled, and waits for the answers."""
        job = self.asked("/refit", {"kind": kind})["job"]["job"]
        while (state := self.asked(f"/jobs/{job}")["state"]) in {"queued", "running"}:
            time.sleep(PAUSE)
        if state != "done":
            raise SystemExit(f"the fit ended as {state}")
        self.keys["fits"] += FIT
        self.asked.when_ready("/documents?limit=1")

    def decide_queue(self, wanted: int, kind: str, every: int) -> None:
        """Decides what is asked, one document after the other."""
        since = 0
        while len(self.labelled) < wanted:
            items = [one for one in self.asked.when_ready("/queue?limit=10")["items"] if one["document"] in self.truth]
            if not items:
                raise SystemExit("the queue is empty")
            for item in items[: wanted - len(self.labelled)]:
                right = self.truth[item["document"]]
                offered = [candidate["type"] for candidate in item["candidates"][:CANDIDATES]]
                self.keys["queue"] += 1 if right in offered else self.typed(right)
                self.give([item["document"]], right)
            since += len(items)
            if since >= every and len(self.labelled) < wanted:
                self.fit(kind)
                since = 0


def truth_of(artifacts: Path) -> dict[str, str]:
    """The type of each document that is labelled as a whole."""
    with open(artifacts / "labels.csv", encoding="utf-8-sig", newline="") as file:
        return {row["document"]: row["label"] for row in csv.DictReader(file) if not row["page"]}


def one_by_one(truth: dict[str, str], wanted: int) -> int:
    """Keystrokes of labelling documents in the heap in the order of their paths: an arrow and a name for each."""
    person, keys = Person(Asked(0), truth), 0
    for document, kind in list(truth.items())[:wanted]:
        keys += 1 + person.typed(kind)
        person.labelled[document] = kind
    return keys


def main(
    artifacts: Path,
    share: Annotated[float, typer.Option(help="Of the documents that shall be labelled and checked.")] = 0.9,
    kind: Annotated[str, typer.Option(help="Classifier that is fitted: knn, svm, head.")] = "svm",
    every: Annotated[int, typer.Option(help="Decisions of the queue between two fits.")] = 60,
) -> None:
    """Prints the keystrokes of both ways, and their ratio."""
    truth = truth_of(artifacts)
    wanted = round(share * len(truth))
    with tempfile.TemporaryDirectory() as name, socket.socket() as free:
        copy = Path(name) / "artifacts"
        without = shutil.ignore_patterns("labels.csv", "labels", "classifiers", "serve")
        shutil.copytree(artifacts, copy, ignore=without)
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
        free.close()
        command = [sys.executable, str(ROOT / "cli.py"), "serve", "--artifacts", str(copy), "--port", str(port)]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
            try:
                person = Person(Asked(port), truth)
                _wait(person.asked)
                person.label_families()
                by_families = len(person.labelled)
                person.fit(kind)
                person.decide_queue(wanted, kind, every)
            finally:
                server.terminate()
    wrong = sum(truth[document] != label for document, label in person.labelled.items())
    total, alone = person.keys.total(), one_by_one(truth, wanted)
    print(f"{len(truth)} documents of {len(set(truth.values()))} types, {wanted} to be labelled and checked")
    print(f"families: {person.keys['families']} keys for {by_families} documents")
    print(f"queue: {person.keys['queue']} keys for {len(person.labelled) - by_families} documents, {kind}")
    print(f"fits: {person.keys['fits']} keys; {wrong} labels are wrong")
    print(f"together {total} keys, {total / len(person.labelled):.2f} a document; one by one {alone} keys")
    print(f"ratio {alone / total:.1f}")


def _wait(asked: Asked) -> None:
    for _ in range(600):
        try:
            asked("/healthz")
        except OSError:
            time.sleep(PAUSE)
        else:
            return
    raise SystemExit("the server did not start")


if __name__ == "__main__":
    typer.run(main)
