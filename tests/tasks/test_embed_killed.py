"""The real program, killed again and again."""

import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest

from embedpipe.store.workspace import Workspace

KILLS = 20
PAGES = 5000


def command(pile: Path, artifacts: Path) -> list[str]:
    """An `embed` of the installed script with a small network."""
    script = str(Path(sys.executable).with_name("embedpipe"))
    network = ("--backbone", "timm:test_resnet", "--weights", "none", "--size", "64", "--layers", "penultimate")
    return [script, "embed", str(pile), "--artifacts", str(artifacts), "--json", *network]


def embed(pile: Path, artifacts: Path) -> Any:
    """Runs it to the end and returns what it printed."""
    done = subprocess.run(command(pile, artifacts), capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows(artifacts: Path) -> dict[tuple[str, int], np.ndarray]:
    """Features by page; no page may be there twice."""
    store = Workspace(artifacts).store()
    pages = store.pages()
    assert not pages.duplicated(["document_sha256", "page_index"]).any()
    X = store.features(pages["page_id"].to_numpy())
    return dict(zip(zip(pages["document_sha256"], pages["page_index"], strict=True), X, strict=True))


@pytest.mark.timeout(900)
def test_twenty_kills_leave_the_rows_of_a_quiet_run(tmp_path: Path) -> None:
    """`kill -9` at 20 random moments, then a run to its end: the same pages and features, none twice, none lost."""
    pile, quiet, torn = tmp_path / "pile", tmp_path / "quiet", tmp_path / "torn"
    pile.mkdir()
    with pymupdf.open() as document:  # more pages than two parts hold, so that kills come between parts too
        for number in range(PAGES):
            document.new_page().insert_text((72, 200), f"page {number}", fontsize=60)
        document.save(pile / "long.pdf")
    warm = tmp_path / "warm"
    warm.mkdir()
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 200), "warm", fontsize=60)
        document.save(warm / "up.pdf")
    embed(warm, tmp_path / "first")  # converts the network, which later runs need not
    begin = time.monotonic()
    assert embed(pile, quiet)["embedded"] == PAGES
    span = time.monotonic() - begin
    dice = random.Random(0)
    hit = 0
    for _ in range(KILLS):
        with subprocess.Popen(command(pile, torn), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            time.sleep(dice.uniform(0.4, 0.95) * span)
            in_time = run.poll() is None
            hit += in_time
            span *= 1.0 if in_time else 0.8  # the machine was busier when the quiet run was timed
            run.send_signal(signal.SIGKILL)
        if torn.exists() and Workspace(torn).spaces() and len(rows(torn)) == PAGES:
            shutil.rmtree(torn)  # all is done: begin anew
    healed = embed(pile, torn)
    assert hit > KILLS // 2
    assert healed["embedded"] + healed["skipped"] == PAGES
    expected, found = rows(quiet), rows(torn)
    assert found.keys() == expected.keys()
    assert all(np.allclose(found[key], row, rtol=0.05, atol=0.05) for key, row in expected.items())
    assert Workspace(torn).store().verify() == []
    assert list(torn.rglob(".embedpipe-*")) == []
