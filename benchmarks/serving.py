"""Measures `serve` over the loopback device: how long answers take, and whether many clients lose any.

    python benchmarks/serving.py ARTIFACTS FILE.pdf

ARTIFACTS hold documents and a classifier; they are copied. FILE is a document that they do not hold, of one page. Asked
one after the other: the type of FILE, which is a new file each time (some bytes are added), what looks like a stored
page, and all documents. Then many clients at once ask for types and for look-alikes; whoever is told to come again
(503) does so. Prints a Markdown table: seconds by the clock, processor time of the server with its workers for each
request, and what its memory was before and after the clients came.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

_FILE = {"Content-Type": "application/octet-stream"}
_JSON = {"Content-Type": "application/json"}
_TICKS = os.sysconf("SC_CLK_TCK")


class Server:
    """`serve` over a copy of artifacts."""

    def __init__(self, artifacts: Path) -> None:
        command = [sys.executable, "-c", "from embedpipe.commands import main; main()", "serve", "--json"]
        options = ["--artifacts", str(artifacts), "--port", "0"]
        self.process = subprocess.Popen([*command, *options], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.address = json.loads(self.process.stdout.readline())["address"]

    def ask(self, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Any:
        """What an address answers."""
        request = urllib.request.Request(f"{self.address}{path}", body, headers or {})  # noqa: S310 - its own server
        with urllib.request.urlopen(request, timeout=120) as answer:  # noqa: S310 - likewise
            return json.loads(answer.read())

    def processes(self) -> list[int]:
        """The server and all that it started."""
        parents: dict[int, int] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
        found = [self.process.pid]
        for one in found:
            found += [child for child, parent in parents.items() if parent == one]
        return found

    def seconds(self) -> float:
        """Processor time so far."""
        total = 0
        for one in self.processes():
            try:
                cells = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(cells[11]) + int(cells[12])
        return total / _TICKS

    def megabytes(self) -> float:
        """Memory of the server and its workers that nobody else has."""
        total = 0
        for one in self.processes():
            try:
                lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(("Private_", "Swap:")))
        return total / 1024

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(60)


def measured(server: Server, calls: int, ask: Callable[[int], object]) -> dict[str, float]:
    """Times of calls one after the other."""
    times, before = [], server.seconds()
    for number in range(calls):
        begin = time.perf_counter()
        ask(number)
        times.append(time.perf_counter() - begin)
    ranked = sorted(times)
    return {
        "p50": statistics.median(times),
        "p95": ranked[int(0.95 * (len(ranked) - 1))],
        "cpu": (server.seconds() - before) / calls,
    }


def patiently(ask: Callable[[], object], told: Counter[str]) -> None:
    """Asks, and again where it is told to come again; counts what became of it."""
    while True:
        try:
            ask()
        except urllib.error.HTTPError as error:
            told[f"status {error.code}"] += 1
            if error.code != 503:  # noqa: PLR2004 - come again
                return
            time.sleep(float(error.headers.get("Retry-After", 1)))
        except OSError as error:
            told[type(error).__name__] += 1
            return
        else:
            told["answered"] += 1
            return


def crowd(clients: int, requests: int, ask: Callable[[int], object]) -> tuple[Counter[str], float]:
    """Many clients at once: what became of their requests, and how many were answered in a second."""
    told: Counter[str] = Counter()
    numbers, lock = iter(range(requests)), threading.Lock()

    def work() -> None:
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            patiently(partial(ask, number), told)

    begin = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told, requests / (time.perf_counter() - begin)


def by_command(artifacts: Path, file: Path, runs: int) -> float:
    """Median seconds of `classify` of the file by the command line."""
    times = []
    for _ in range(runs):
        command = [sys.executable, "-c", "from embedpipe.commands import main; main()", "classify", str(file), "--json"]
        begin = time.perf_counter()
        subprocess.run([*command, "--artifacts", str(artifacts)], check=True, capture_output=True)
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def main(
    artifacts: Annotated[Path, typer.Argument(help="Documents and a classifier.")],
    file: Annotated[Path, typer.Argument(help="A PDF of one page.")],
    calls: Annotated[int, typer.Option(help="Requests one after the other.")] = 60,
    clients: Annotated[int, typer.Option(help="Clients at once.")] = 32,
    requests: Annotated[int, typer.Option(help="Of all clients.")] = 1000,
    runs: Annotated[int, typer.Option(help="Runs of the command line.")] = 3,
) -> None:
    """Measures the server."""
    content = file.read_bytes()
    with tempfile.TemporaryDirectory(prefix="embedpipe-serving-") as folder:
        copy = Path(shutil.copytree(artifacts, Path(folder) / "artifacts"))
        slow = by_command(copy, file, runs) if runs else 0.0
        server = Server(copy)
        try:
            _measure(server, content, (calls, clients, requests), slow)
        finally:
            server.stop()


def _measure(server: Server, content: bytes, counts: tuple[int, int, int], slow: float) -> None:
    calls, clients, requests = counts
    while server.ask("documents?limit=0")["answers"] == "pending":
        time.sleep(0.5)
    documents = server.ask("documents")["columns"]["document"]

    def classify(number: int) -> object:
        return server.ask("classify?name=new.pdf&neighbours=3", content + b"\n%% %d" % number, _FILE)

    def similar(number: int) -> object:
        query = {"document": documents[number * 7919 % len(documents)], "k": 10}
        return server.ask("similar", json.dumps(query).encode(), _JSON)

    for number in range(8):
        classify(-1 - number)
        similar(number)
    rows = {
        "POST /classify, a new PDF": measured(server, calls, classify),
        "POST /similar, a stored page": measured(server, calls, similar),
        f"GET /documents, all {len(documents)}": measured(server, min(calls, 20), lambda _: server.ask("documents")),
        "GET /queue": measured(server, min(calls, 20), lambda _: server.ask("queue?limit=10")),
    }
    print("| request | p50, ms | p95, ms | processor, ms |\n| --- | --- | --- | --- |")
    for name, row in rows.items():
        print(f"| {name} | {1000 * row['p50']:.0f} | {1000 * row['p95']:.0f} | {1000 * row['cpu']:.0f} |")
    if slow:
        fast = rows["POST /classify, a new PDF"]["p50"]
        print(f"| `classify` by the command line | {1000 * slow:.0f} | | |\n\nof that {slow / fast:.0f} times as long")
    before = server.megabytes()
    for name, ask in (("POST /classify", classify), ("POST /similar", similar)):
        told, rate = crowd(clients, requests, ask)
        memory = server.megabytes()
        print(
            f"\n{name}, {clients} clients, {requests} requests: {rate:.1f} in a second; {dict(told)}; "
            f"memory {before:.0f} MB before, {memory:.0f} MB after"
        )
        before = memory


if __name__ == "__main__":
    typer.run(main)
