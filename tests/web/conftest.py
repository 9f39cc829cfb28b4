"""A server over a small pile, asked in this process; its jobs run in threads, unless a test wants their processes."""

from __future__ import annotations

import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from starlette.testclient import TestClient

    from embedpipe.backbones.engines import Backbone

TYPES = ("slides", "letter", "paper")


@pytest.fixture(scope="session")
def pile(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 18 documents, and artifacts in which a third of them have no label, with a classifier."""
    from embedpipe.classifiers.lessons.recipes import TrainingRecipe
    from embedpipe.classifiers.training import fit
    from embedpipe.samples import draw_samples
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.embed import embed

    folder = tmp_path_factory.mktemp("served")
    draw_samples(folder / "pile", per_type=6, types=TYPES)
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    labels = workspace.labels()
    for key, row in list(labels.rows.items()):
        if any(f"-{number}" in Path(row.path).stem or Path(row.path).stem.endswith(number) for number in "56"):
            del labels.rows[key]
    with workspace.changing_labels():
        workspace.keep_labels(labels, "test")
    fit(workspace, workspace.store(), TrainingRecipe("knn", blocks=("pictures",)))
    return folder


@pytest.fixture
def artifacts(pile: Path, tmp_path: Path) -> Path:
    """A copy of the artifacts of the pile."""
    return Path(shutil.copytree(pile / "artifacts", tmp_path / "artifacts"))


def run_here(runner: Any, job: Any) -> None:
    """Does a job in this process, in the place of `Runner._run`."""
    from embedpipe.core.errors import EmbedpipeError
    from embedpipe.web.settings import workspace_of
    from embedpipe.web.working.kinds import KINDS, Task
    from embedpipe.web.working.ledger import RUNNING, now, tell_progress, tell_result, write_plain

    ledger, derived = runner._ledger, runner._derived.pop(job.name, None)
    folder = ledger.folder(job.name)
    runner._tell(ledger.change(job.name, state=RUNNING, started=now()))

    def keep(values: Any) -> None:
        file = Path(derived["file"])
        file.parent.mkdir(parents=True, exist_ok=True)
        write_plain(file, {"key": derived["key"], "made": time.time(), "data": dict(values)})

    aside = Path(derived["file"]).with_suffix(".npz") if derived else folder / "result.npz"
    how = json.loads(json.dumps(runner._how))

    def tell(**values: Any) -> None:
        tell_progress(folder, values)

    task = Task(
        workspace_of(runner._root, runner._how["aside"]), json.loads(json.dumps(job.wish)), how, tell, keep, aside
    )
    code = 0
    try:
        tell_result(folder, {"result": KINDS[job.kind](task)})
    except EmbedpipeError as error:
        code = 1
        tell_result(folder, {"error": str(error)})
    runner._settle(job.name, code)


@pytest.fixture
def serving(artifacts: Path, tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., TestClient]]:
    """Starts servers over the artifacts, with settings as given; answers a client of one."""
    from starlette.testclient import TestClient

    from embedpipe.web import desk
    from embedpipe.web.app import make_app
    from embedpipe.web.settings import ServeSettings
    from embedpipe.web.working import kinds
    from embedpipe.web.working.runner import Runner

    monkeypatch.setattr(Runner, "_run", run_here)
    monkeypatch.setattr(desk, "load", lambda *_: tiny)
    monkeypatch.setattr(kinds, "load", lambda *_: tiny)
    open_now: list[Any] = []

    def start(*, names: tuple[str, ...] = (), **values: Any) -> TestClient:
        settings = dataclasses.replace(ServeSettings(artifacts), **values)
        client = TestClient(make_app(settings, names, warm=False), base_url="http://127.0.0.1")
        open_now.append(client)
        client.__enter__()
        return client

    yield start
    for client in open_now:
        client.__exit__(None, None, None)


@pytest.fixture
def client(serving: Callable[..., TestClient]) -> TestClient:
    """A client of a server with the usual settings."""
    return serving()
