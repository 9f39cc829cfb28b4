"""Shards over the nodes of a Ray cluster on this machine: what is killed, stopped or silent, and the same rows."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
from cluster.test_processes import WANTED

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers import finetuned
from embedpipe.cluster.job import Job, Standing, ended, run, stores
from embedpipe.cluster.protocol import INTERRUPTED
from embedpipe.cluster.ray_actors import RayActors
from embedpipe.commands.base import run as command_line
from embedpipe.commands.spreading import shard_count
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.merge import merge

ray: Any = pytest.importorskip("ray", reason="the extra ray is not installed")
ONE = Settings(workers=1)

SMALL = {"num_cpus": 1, "object_store_memory": 80 * 1024**2}
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # sockets of Ray, and processes that the tests kill
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A head that does no work, and two nodes that do."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        root = str(Path(__file__).resolve().parents[2])
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))))
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patch.setenv("OMP_NUM_THREADS", "1")
        often = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 300, "health_check_failure_threshold": 5}
        head = {**SMALL, "num_cpus": 0, "include_dashboard": False, "_system_config": often}
        cluster = Cluster(initialize_head=True, head_node_args=head)
        for _ in range(2):
            cluster.add_node(**SMALL)
        yield cluster
        cluster.shutdown()


@pytest.fixture(scope="module")
def heap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small real documents."""
    folder = tmp_path_factory.mktemp("heap")
    for number in range(12):
        with pymupdf.open() as document:
            for page in range(20):
                document.new_page().insert_text((72, 72), f"document {number}, page {page}", fontsize=30)
            document.save(folder / f"{number}.pdf")
    return folder


@pytest.fixture(scope="module")
def expected(heap: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], bytes]:
    """What one process makes of them."""
    workspace = Workspace(tmp_path_factory.mktemp("whole") / "artifacts")
    embed(workspace, [str(heap)], finetuned.load(workspace, WANTED.members(), WANTED), settings=ONE)
    return rows(workspace)


def rows(workspace: Workspace) -> dict[tuple[str, int], bytes]:
    """Features of all pages, to the bit."""
    store = workspace.store()
    pages = store.pages()
    X = store.features(pages["page_id"].to_numpy(np.int64)).astype(np.float16)
    found = {}
    for sha256, index, row in zip(pages["document_sha256"], pages["page_index"], X, strict=True):
        assert (sha256, index) not in found
        found[sha256, index] = row.tobytes()
    return found


def same(found: dict[tuple[str, int], bytes], expected: dict[tuple[str, int], bytes]) -> bool:
    """Whether these are the same pages; OpenVINO rounds the first pages of a process otherwise, on one machine too."""
    X, Y = (np.frombuffer(b"".join(each[key] for key in expected), np.float16) for each in (found, expected))
    return found.keys() == expected.keys() and np.allclose(X.astype(np.float32), Y.astype(np.float32), atol=2e-3)


def job_of(heap: Path, **more: Any) -> Job:
    """The heap in four shards."""
    return Job((str(heap),), 4, WANTED, ONE, **more)


def finished(workspace: Workspace, standing: Standing) -> dict[tuple[str, int], bytes]:
    """The rows of all shards, merged."""
    assert standing.lost == {}
    assert standing.stopped == ""
    merge(workspace, [Workspace(folder) for folder in stores(workspace, standing)])
    ended(workspace)
    return rows(workspace)


def at_work(nodes: Any) -> list[int]:
    """Numbers of the processes of this cluster that embed now."""
    found = []
    for node in nodes.list_all_nodes():
        for raylet in node.all_processes.get("raylet", []):
            for child in Path(f"/proc/{raylet.process.pid}/task/{raylet.process.pid}/children").read_text().split():
                with contextlib.suppress(OSError):
                    if b"_Worker.work" in Path(f"/proc/{child}/cmdline").read_bytes():
                        found.append(int(child))
    return found


class Once:
    """Does something the first time that a shard is being embedded."""

    def __init__(self, workspace: Workspace, action: Callable[[], object]) -> None:
        self.workspace, self.action, self.done = workspace, action, False

    def __call__(self, _: Standing) -> None:
        """Watches a job."""
        if not self.done and any(self.workspace.root.glob("shards/*/.lock-holder")):
            self.done = True
            self.action()


def test_the_same_rows_as_in_one_process(
    nodes: Any, heap: Path, tiny: Backbone, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit for bit, by both nodes and the command; what goes through Ray are names and numbers."""
    whole = Workspace(tmp_path / "whole")
    inputs = [str(heap / "0.pdf"), str(heap / "1.pdf")]
    embed(whole, inputs, tiny, settings=Settings(workers=1, batch_size=1))
    network = "--backbone timm:test_resnet --weights none --size 64 --layers penultimate --engine torch"
    common = f"--precision fp32 --device cpu --workers 1 --batch-size 1 --artifacts {workspace.root} --json"
    command = ["embed", *inputs, *f"{network} {common} --ray {nodes.address}".split()]
    assert command_line([*command, "--shards", "2"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["embedded"], told["shards"], told["losses"], told["lost"]) == (40, 2, [], {})
    assert list(told["spaces"].values()) == [40]
    assert rows(workspace) == rows(whole)
    assert len(json.dumps(told)) < 5000

    assert shard_count(workspace, None, slots=9) == shard_count(workspace, 2, slots=9) == 2
    with pytest.raises(UsageError, match="holds 2 shards of an earlier run"):
        shard_count(workspace, 3, slots=2)
    assert shard_count(whole, None, slots=2) == 8
    assert command_line([*command, "--dry-run"]) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_work_of_a_killed_and_of_a_silent_worker_is_done_again(
    nodes: Any, heap: Path, expected: dict[tuple[str, int], bytes], workspace: Workspace
) -> None:
    """By others; a shard that never comes is embedded in a folder beside that of the first."""
    job = job_of(heap, tries=6)
    kill = Once(workspace, lambda: os.kill(at_work(nodes)[0], signal.SIGKILL))
    stopped: list[int] = []

    def watch(standing: Standing) -> None:
        kill(standing)
        if kill.done and standing.losses and not stopped and at_work(nodes):
            stopped.append(at_work(nodes)[0])
            os.kill(stopped[0], signal.SIGSTOP)
            object.__setattr__(job, "silence", 2.0)
        elif any("nothing was heard" in lost.why for lost in standing.losses):
            object.__setattr__(job, "silence", 900.0)

    standing = run(workspace, job, RayActors(nodes.address), watch)
    assert stopped
    assert standing.losses[0].why.startswith("ActorDiedError: ")
    assert any("nothing was heard" in lost.why for lost in standing.losses)
    assert same(finished(workspace, standing), expected)


def test_ctrl_c_and_a_killed_driver_leave_what_the_next_run_goes_on_from(
    nodes: Any, heap: Path, expected: dict[tuple[str, int], bytes], workspace: Workspace
) -> None:
    """After Ctrl-C every worker ends its store well; a driver that is killed takes its workers along."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    standing = run(workspace, job_of(heap), RayActors(nodes.address), Once(workspace, interrupt))
    assert standing.stopped == INTERRUPTED
    assert standing.losses == []
    assert at_work(nodes) == []
    assert not any(workspace.root.glob("shards/*/.lock-holder"))

    place, pile = str(workspace.root), str(heap)
    code = (
        "from pathlib import Path\nfrom cluster.test_ray_actors import *\n"
        f"run(Workspace({place!r}), job_of(Path({pile!r})), RayActors({nodes.address!r}), lambda _: None)"
    )
    paths = os.pathsep.join((str(Path(__file__).parents[1]), os.environ["PYTHONPATH"]))
    driver = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths})
    end = time.monotonic() + 60
    while not any(workspace.root.glob("shards/*/.lock-holder")) and time.monotonic() < end:
        time.sleep(0.05)
    driver.kill()
    driver.wait()
    while at_work(nodes) and time.monotonic() < end:
        time.sleep(0.1)
    assert at_work(nodes) == []
    again = run(workspace, job_of(heap), RayActors(nodes.address), lambda _: None)
    assert same(finished(workspace, again), expected)


def test_work_of_a_killed_node_is_done_elsewhere(
    nodes: Any, heap: Path, expected: dict[tuple[str, int], bytes], workspace: Workspace
) -> None:
    """The last test: the node does not come back."""
    lost = next(node for node in nodes.list_all_nodes() if node is not nodes.head_node)
    kill = Once(workspace, lambda: nodes.remove_node(lost, allow_graceful=False))
    standing = run(workspace, job_of(heap), RayActors(nodes.address), kill)
    assert kill.done
    assert standing.losses
    assert same(finished(workspace, standing), expected)


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra, or a cluster at the address."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EmbedpipeError, match=r"--ray needs the extra ray: pip install 'embedpipe\[ray\]'"):
        RayActors("local")
