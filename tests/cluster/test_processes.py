"""Shards over processes of one machine: every page once, lost workers, stops, and what is resumed."""

from collections.abc import Callable
from pathlib import Path

from conftest import TINY

from embedpipe.backbones.engines import EngineChoice
from embedpipe.backbones.model_cache import Wanted
from embedpipe.cluster.job import Job, Standing, run
from embedpipe.cluster.processes import LocalProcesses
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace

WANTED = Wanted(
    TINY,
    "none",
    changes={"size": 64, "resize": "aspect", "layers": "penultimate"},
    choice=EngineChoice("cpu", "fp32", "openvino"),
)


def test_shards_over_processes_embed_every_page_once(
    workspace: Workspace, make_pdf: Callable[..., Path], tmp_path: Path
) -> None:
    """Two processes do three shards; what they counted adds up to the heap."""
    for number in range(9):
        make_pdf(f"heap/{number}.pdf", [f"page {number}.{page}" for page in range(2)])
    seen: list[int] = []
    job = Job((str(tmp_path / "heap"),), 3, WANTED, Settings(workers=1))

    def watch(standing: Standing) -> None:
        seen.append(standing.pages)

    ended = run(workspace, job, LocalProcesses(2), watch)
    assert not ended.lost
    assert not ended.stopped
    assert ended.counts()["embedded"] == 18
    assert ended.counts()["files"] == 9
    assert seen[-1] == 18
