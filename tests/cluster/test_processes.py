"""Shards over processes of one machine: every page once, lost workers, stops, and what is resumed."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cluster.local_processes import LocalProcesses
from conftest import TINY

from embedpipe.backbones.engines import EngineChoice
from embedpipe.backbones.model_cache import Wanted
from embedpipe.cluster.job import Job, Standing, run, stores
from embedpipe.cluster.protocol import COMPLETE, INTERRUPTED, Done, Lost, Told, Work
from embedpipe.cluster.work import done_or_lost
from embedpipe.embedding.sharding import Shard
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.merge import merge

WANTED = Wanted(
    TINY,
    "none",
    changes={"size": 64, "resize": "aspect", "layers": "penultimate"},
    choice=EngineChoice("cpu", "fp32", "openvino"),
)


def test_workers_keep_what_they_have_when_they_are_stopped(tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
    """Nothing is lost of what goes wrong: a stop, a wrong input, and a store that somebody writes to."""
    make_pdf("heap/a.pdf", ["one", "two"])
    work = Work((str(tmp_path / "heap"),), str(tmp_path / "store"), WANTED, Settings(workers=1, shard=Shard(1, 1)))
    told: list[Told] = []
    stopped = done_or_lost(work, told.append, stopped=lambda: True)
    assert isinstance(stopped, Done)
    assert (stopped.state, told[0].shard) == (INTERRUPTED, "1/1")
    whole = done_or_lost(work, told.append, node="here")
    assert isinstance(whole, Done)
    assert (whole.state, whole.node, whole.counts["skipped"] + whole.counts["embedded"]) == (COMPLETE, "here", 2)
    assert whole.parts
    with Workspace(work.artifacts).writing("test"):
        busy = done_or_lost(work, told.append)
    assert isinstance(busy, Lost)
    assert (busy.busy, busy.again) == (True, True)
    wrong = done_or_lost(replace(work, inputs=(str(tmp_path / "none"),)), told.append)
    assert isinstance(wrong, Lost)
    assert (wrong.busy, wrong.again) == (False, False)


def test_stores_that_somebody_may_still_write_are_not_merged(workspace: Workspace) -> None:
    """Those beside which another worker has done the shard, and those of shards that were given up."""
    names = ["01-of-12", "02-of-12", "02-of-12-2", "02-of-12-3", "03-of-12", "1-of-3"]
    for name in names:
        Workspace(workspace.root / "shards" / name).claim()
    folder = workspace.root / "shards"
    done = {f"{n}/12": Done(f"{n}/12", "", str(folder / name), COMPLETE) for n, name in ((1, names[0]), (2, names[2]))}
    standing = Standing(12, done, lost={"3/12": "nothing was heard of it for 900 s"})
    assert [store.name for store in stores(workspace, standing)] == ["01-of-12", "02-of-12-2", "1-of-3"]


def test_shards_over_processes_embed_every_page_once(
    workspace: Workspace, make_pdf: Callable[..., Path], tmp_path: Path
) -> None:
    """Two processes do three shards, one of them is killed, and what is merged is the heap."""
    for number in range(9):
        make_pdf(f"heap/{number}.pdf", [f"page {number}.{page}" for page in range(2)])
    executor = LocalProcesses(2)
    killed: list[str] = []

    def watch(standing: Standing) -> None:
        if not killed and executor.running:
            shard, process = next(iter(executor.running.items()))
            killed.append(shard)
            os.kill(process, signal.SIGKILL)

    job = Job((str(tmp_path / "heap"),), 3, WANTED, Settings(workers=1))
    ended = run(workspace, job, executor, watch)
    assert (ended.lost, ended.stopped, len(killed)) == ({}, "", 1)
    assert [lost.shard for lost in ended.losses] == killed
    assert ended.counts()["embedded"] + ended.counts()["skipped"] == 18
    assert ended.counts()["files"] == 9
    (joined,) = merge(workspace, [Workspace(folder) for folder in workspace.shards()]).stores
    assert joined.after == 18
    assert not executor.running
