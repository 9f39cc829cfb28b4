"""Kills, flips bits, soaks, and feeds hostile files; prints what came of it.

    python benchmarks/reliability.py kills DOCUMENTS --times 20
    python benchmarks/reliability.py flips DOCUMENTS
    python benchmarks/reliability.py soak --pages 20000
    python benchmarks/reliability.py hostile FOLDER

Uses the real command line, with a small random network, in temporary folders.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pymupdf
import typer

from embedpipe import Workspace
from embedpipe.core.errors import EmbedpipeError
from embedpipe.index.page_index import fresh_index
from embedpipe.store.features import FeatureStore

SCRIPT = str(Path(sys.executable).with_name("embedpipe"))
NETWORK = ("--backbone", "timm:test_resnet", "--weights", "none", "--size", "64", "--layers", "penultimate")

app = typer.Typer(help=__doc__)
Documents = Annotated[Path, typer.Argument(help="A folder of documents.")]


def command(documents: Path, artifacts: Path) -> list[str]:
    """The command line of an `embed`."""
    return [SCRIPT, "embed", str(documents), "--artifacts", str(artifacts), "--json", *NETWORK]


def embed(documents: Path, artifacts: Path) -> Any:
    """Runs `embed` to its end and returns what it printed."""
    done = subprocess.run(command(documents, artifacts), capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"embed ended with {done.returncode}: {done.stderr}")
    return json.loads(done.stdout)


def rows(artifacts: Path) -> dict[tuple[str, int], bytes]:
    """Every stored page with its features; stops where a page is stored twice."""
    store = Workspace(artifacts).store()
    pages = store.pages()
    keys = list(zip(pages["document_sha256"], pages["page_index"], strict=True))
    if len(set(keys)) != len(keys):
        raise SystemExit("a page is stored twice")
    X = store.features(pages["page_id"].to_numpy())
    return {key: row.tobytes() for key, row in zip(keys, X, strict=True)}


@app.command()
def kills(documents: Documents, times: int = 20, seed: int = 0) -> None:
    """Kills `embed` with SIGKILL at random moments of its run, again and again, then compares with a quiet run."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        quiet, killed = Path(folder, "quiet"), Path(folder, "killed")
        begin = time.monotonic()
        report = embed(documents, quiet)
        span = time.monotonic() - begin
        survived = 0
        for _ in range(times):
            with subprocess.Popen(
                command(documents, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            ) as run:
                time.sleep(chance.uniform(0.3, 1.0) * span)
                survived += run.poll() is not None
                run.send_signal(signal.SIGKILL)
            if chance.random() < 0.4:  # noqa: PLR2004 - now and then from the start, or all would be done soon
                shutil.rmtree(killed, ignore_errors=True)
        healed = embed(documents, killed)
        a, b = rows(quiet), rows(killed)
        close = all(np.allclose(np.frombuffer(a[k], np.float32), np.frombuffer(b[k], np.float32), atol=0.05) for k in a)
        print(f"{report['pages']} pages; {times} kills, {survived} of them after the end; healed run embedded "
              f"{healed['embedded']}, found {healed['skipped']}; same pages: {a.keys() == b.keys()}, "
              f"same features: {close}; stray files: {len(list(killed.rglob('.embedpipe-*')))}")  # fmt: skip


@app.command()
def flips(documents: Documents, times: int = 20, seed: int = 0) -> None:
    """Flips one bit of each kind of artifact, many times, and counts how often it is noticed."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        artifacts = Path(folder, "a")
        embed(documents, artifacts)
        workspace = Workspace(artifacts)
        store = workspace.store()
        fresh_index(store, workspace.index_path(store.identity.space))
        for pattern in ("features/*/part-*.parquet", "index/*/segment-*.faiss", "index/*/segment-*.arrow"):
            [file, *_] = sorted(artifacts.glob(pattern))
            good = file.read_bytes()
            noticed = 0
            for _ in range(times):
                at = chance.randrange(len(good))
                file.write_bytes(good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :])
                verify = [SCRIPT, "info", "--verify", "--quiet", "--artifacts", str(artifacts)]
                noticed += bool(subprocess.run(verify, capture_output=True, check=False).returncode)
                file.write_bytes(good)
            print(f"{file.name}: {noticed} of {times} flipped bits noticed by `info --verify`")
        part = store.path / store.parts[0].name
        good, unread = part.read_bytes(), 0
        for _ in range(times):
            at = chance.randrange(len(good))
            part.write_bytes(good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :])
            try:
                opened = FeatureStore.open(store.path)
                unread += sum(len(ids) for ids, _ in opened.batches()) < sum(p.rows for p in store.parts)
            except EmbedpipeError:
                unread += 1
            part.write_bytes(good)
        print(f"{part.name}: {unread} of {times} flipped bits noticed while reading")


@app.command()
def soak(pages: int = 20_000, per_document: int = 50) -> None:
    """Embeds many generated pages and watches the memory of the main process."""
    with tempfile.TemporaryDirectory() as folder:
        pile = Path(folder, "pile")
        pile.mkdir()
        for number in range(pages // per_document):
            with pymupdf.open() as document:
                for page in range(per_document):
                    document.new_page().insert_text((72, 150), f"document {number}, page {page}", fontsize=30)
                document.save(pile / f"{number}.pdf")
        peaks: list[tuple[int, int]] = []
        with subprocess.Popen(command(pile, Path(folder, "a")), stdout=subprocess.PIPE, text=True) as run:
            while run.poll() is None:
                done = len(list(Path(folder, "a").glob("features/*/part-*")))
                peaks.append((done, _resident_megabytes(run.pid)))
                time.sleep(0.5)
            report = json.loads(run.stdout.read() if run.stdout else "{}")
        first = max((mb for done, mb in peaks if done <= 1), default=0)
        last = max((mb for done, mb in peaks if done > 1), default=0)
        print(f"{report['pages']} pages, {report['pages_per_second']} pages/s, {report['failed']} failed; main process "
              f"{first} MB after the first 2,048 pages, {last} MB at its peak after that")  # fmt: skip


def _resident_megabytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1_000_000
    except (OSError, IndexError):
        return 0


@app.command()
def hostile(folder: Documents, page_timeout: float = 10.0) -> None:
    """Embeds a folder of hostile files and prints the outcomes, and what was left behind."""
    with tempfile.TemporaryDirectory() as temporary:
        options = ("--page-timeout", str(page_timeout))
        done = subprocess.run(
            [*command(folder, Path(temporary, "a")), *options], capture_output=True, text=True, check=False
        )
        report = json.loads(done.stdout)
        workers = subprocess.run(["pgrep", "-fc", "multiprocessing.spawn"], capture_output=True, text=True, check=False)
        adds_up = report["files"] == sum(report[k] for k in ("documents", "duplicates", "ignored", "failed_files"))
        print(f"{report['files']} files, exit code {done.returncode}, {report['seconds']:.0f} s")
        print(f"counts add up: {adds_up}; worker processes left: {workers.stdout.strip()}")
        print(", ".join(f"{n} {outcome}" for outcome, n in Counter(report["outcomes"]).most_common()))


if __name__ == "__main__":
    app()
