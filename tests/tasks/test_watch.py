"""A watched folder: its files are taken as they come, each once, whatever happens meanwhile."""

import errno
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from embedpipe.backbones.building import Backbone
from embedpipe.classifiers import training
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.commands import app
from embedpipe.commands.unattended.watching import _Newest
from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.samples import draw_samples
from embedpipe.store.sorted_ledger import Ledger
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import embed as embed_task
from embedpipe.tasks import sort_into
from embedpipe.tasks import watch as watch_task
from embedpipe.tasks.embed import embed
from embedpipe.tasks.watch import Answer, Wish, watch

PATIENCE = 60


@pytest.fixture(scope="module")
def fitted(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts with a classifier, and new documents beside them."""
    folder = tmp_path_factory.mktemp("watched")
    draw_samples(folder / "pile", per_type=4, types=("letter", "form"))
    draw_samples(folder / "new", per_type=3, types=("letter", "form"), seed=1)
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    training.fit(workspace, workspace.store(), TrainingRecipe("knn"), "types")
    return folder


class Watched:
    """A watcher in a thread, with what it has told."""

    def __init__(self, fitted: Path, here: Path, tiny: Backbone) -> None:
        shutil.copytree(fitted / "artifacts", here / "artifacts")
        self.workspace = Workspace(here / "artifacts")
        self.inbox = here / "inbox"
        self.inbox.mkdir()
        self.new = sorted((fitted / "new").rglob("*.pdf"))
        self.sorted = here / "sorted"
        self.answers: list[Answer] = []
        self.notes: list[str] = []
        self.loads = 0
        self._tiny = tiny

    def wish(self, **more: Any) -> Wish:
        """What is asked, with a classifier that is read each time."""

        def load(_: object) -> Backbone:
            self.loads += 1
            return self._tiny

        return Wish(str(self.inbox), _Newest(self.workspace, None), load, **{"settle": 0.1, "poll": 0.1, **more})

    @contextmanager
    def running(self, **more: Any) -> Iterator[None]:
        """Watches meanwhile; what it raises is raised here, and neither a thread nor a process is left of it."""
        stop, error, before = threading.Event(), [], set(threading.enumerate())

        def work() -> None:
            try:
                watch(self.workspace, self.wish(**more), self.answers.append, self.notes.append, stop)
            except BaseException as raised:  # noqa: BLE001 - raised again below
                error.append(raised)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(PATIENCE)
            assert not thread.is_alive()
            assert {one.name for one in threading.enumerate() if one not in before} == set()
            assert multiprocessing.active_children() == []
        if error:
            raise error[0]

    def bring(self, number: int, name: str = "") -> Path:
        """Copies a new document into the inbox."""
        target = self.inbox / (name or self.new[number].name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.new[number], target)
        return target

    def told(self) -> dict[str, str]:
        """Names of files with their status."""
        return {os.path.relpath(answer.path, self.inbox): answer.status for answer in self.answers}


def until(condition: Callable[[], bool]) -> None:
    """Waits until something holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it never came so far"
        time.sleep(0.05)


@pytest.fixture
def watched(alone: None, fitted: Path, tmp_path: Path, tiny: Backbone) -> Watched:
    """A watcher of an inbox of its own."""
    return Watched(fitted, tmp_path, tiny)


def test_files_are_taken_as_they_come(watched: Watched) -> None:
    """Those that lie there, those that come, in new folders too; a twin is one; what is no document is nothing."""
    watched.bring(0, "first.pdf")
    with watched.running():
        until(lambda: len(watched.answers) == 1)
        watched.bring(1, "below/deep/second.pdf")
        watched.bring(1, "below/twin.pdf")
        (watched.inbox / "notes.txt").write_text("no document")
        (watched.inbox / "broken.pdf").write_bytes(b"%PDF-1.7 nothing\n%%EOF\n")
        until(lambda: len(watched.answers) == 4)
        time.sleep(0.5)
    assert watched.loads == 1
    told = watched.told()
    assert told.pop("broken.pdf") == "failed"
    assert sorted(told) == ["below/deep/second.pdf", "below/twin.pdf", "first.pdf"]
    assert "duplicate" in told.values()
    assert len(watched.answers) == 4
    stored = set(watched.workspace.store().pages()["document_sha256"])
    assert {answer.document for answer in watched.answers if answer.status != "failed"} <= stored


def test_a_restart_takes_what_came_meanwhile_and_nothing_twice(watched: Watched) -> None:
    """What is renamed is met under its new name; what is gone counts no more, as after `embed`."""
    watched.bring(0, "stays.pdf")
    gone, moved = watched.bring(1, "gone.pdf"), watched.bring(2, "old.pdf")
    with watched.running():
        until(lambda: len(watched.answers) == 3)
        moved.rename(watched.inbox / "new.pdf")
        until(lambda: len(watched.answers) == 4)
    document = next(answer.document for answer in watched.answers if answer.path == str(gone))
    gone.unlink()
    watched.bring(3, "meanwhile.pdf")
    with watched.running():
        until(lambda: len(watched.answers) == 5)
        until(lambda: watched.workspace.sources().standing(document) == "gone")
    assert [os.path.basename(answer.path) for answer in watched.answers[3:]] == ["new.pdf", "meanwhile.pdf"]
    assert any("files that are gone: 1" in note for note in watched.notes)
    renamed = watched.answers[3].document
    assert watched.workspace.sources().standing(renamed) == ""


def test_files_are_sorted_with_the_ledger_of_classify(watched: Watched) -> None:
    """Also into a folder within the watched one, which is not watched itself."""
    target = watched.inbox / "done"
    for number in range(3):
        watched.bring(number)
    with watched.running(sort=sort_into.Wish(target, [str(watched.inbox)])):
        until(lambda: len(watched.answers) == 3)
        time.sleep(0.5)
    assert len(watched.answers) == 3
    assert all(Path(answer.copy).is_file() for answer in watched.answers)
    ledger = Ledger(target)
    assert {entry.state for entry in ledger.entries} == {"copied"}
    assert {entry.answered_by for entry in ledger.entries} == {"types version 1"}


def test_it_waits_for_other_commands_and_holds_no_lock(watched: Watched) -> None:
    """While it has nothing to do others may write; while they write it says so and waits."""
    with watched.running():
        until(lambda: bool(watched.notes))
        time.sleep(0.3)
        with watched.workspace.writing("finetune"):
            watched.bring(0)
            until(lambda: any("being written by `finetune`" in note for note in watched.notes))
            assert watched.answers == []
        until(lambda: len(watched.answers) == 1)
    assert watched.notes[-1] == "it goes on"
    assert sum("being written" in note for note in watched.notes) == 1
    assert not any("until it works" in note for note in watched.notes)  # nothing is wrong: it need not wait long


def test_a_full_disk_is_a_line_and_it_goes_on(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is taken once there is space: of the artifacts, and of the sorted folder."""
    monkeypatch.setattr(watch_task, "_TROUBLE", (0.1, 0.2))
    space, real = SimpleNamespace(store=False, sorted=False), embed_task.embed

    def full(*args: Any, **more: Any) -> Any:
        if not space.store:
            raise ArtifactError("cannot write part-0: No space left on device; nothing was changed")
        return real(*args, **more)

    copy = sort_into.placing.copy

    def no_room(*args: Any) -> None:
        if not space.sorted:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        copy(*args)

    monkeypatch.setattr(embed_task, "embed", full)
    monkeypatch.setattr(sort_into.placing, "copy", no_room)
    watched.bring(0)
    with watched.running(sort=sort_into.Wish(watched.sorted)):
        until(lambda: any("No space left on device" in note for note in watched.notes))
        assert watched.answers == []
        space.store = True
        until(lambda: len(watched.answers) == 1)
        assert "No space left on device; it is tried again" in watched.answers[0].message
        time.sleep(0.6)
        assert len(watched.answers) == 1  # said once
        space.sorted = True
        until(lambda: len(watched.answers) == 2)
    assert (watched.answers[1].message, Path(watched.answers[1].copy).is_file()) == ("", True)


def test_an_error_nobody_foresaw_costs_one_file(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others of its batch are taken."""
    real = embed_task.embed

    def stumbles(workspace: Workspace, files: Any, *args: Any, **more: Any) -> Any:
        if any(one.path.endswith("bad.pdf") for one in files):
            raise ZeroDivisionError("why ever")
        return real(workspace, files, *args, **more)

    monkeypatch.setattr(embed_task, "embed", stumbles)
    for number, name in enumerate(("a.pdf", "bad.pdf", "c.pdf")):
        watched.bring(number, name)
    with watched.running():
        until(lambda: len(watched.answers) == 3)
    bad = next(answer for answer in watched.answers if answer.path.endswith("bad.pdf"))
    assert (bad.status, "ZeroDivisionError: why ever" in bad.message) == ("failed", True)
    assert {status for name, status in watched.told().items() if name != "bad.pdf"} <= {"ok", "ambiguous", "novel"}


def test_a_classifier_fitted_anew_answers_the_next_file(watched: Watched) -> None:
    """Without a restart."""
    with watched.running():
        watched.bring(0, "a.pdf")
        until(lambda: len(watched.answers) == 1)
        training.fit(watched.workspace, watched.workspace.store(), TrainingRecipe("knn"), "types")
        watched.bring(1, "b.pdf")
        until(lambda: len(watched.answers) == 2)
    assert [answer.answered_by for answer in watched.answers] == ["types version 1", "types version 2"]
    assert "from now on with types version 2" in watched.notes


def test_a_folder_that_is_away_for_a_while(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and what is in the folder that comes back is taken."""
    monkeypatch.setattr(watch_task, "_BUSY", (0.1, 0.1))
    watched.bring(0, "a.pdf")
    with watched.running():
        until(lambda: len(watched.answers) == 1)
        shutil.move(watched.inbox, watched.inbox.with_name("away"))
        until(lambda: any("is not there: waiting" in note for note in watched.notes))
        shutil.move(watched.inbox.with_name("away"), watched.inbox)
        watched.bring(1, "b.pdf")
        until(lambda: len(watched.answers) == 2)
    assert sorted(watched.told()) == ["a.pdf", "b.pdf"]


def test_what_cannot_work_is_refused_at_the_start(watched: Watched, tmp_path: Path) -> None:
    """No folder, no classifier, a sorted folder around the watched one, and a second watcher of one folder."""
    missing = replace(watched.wish(), folder=str(tmp_path / "missing"))
    with pytest.raises(EmbedpipeError, match="is no folder"):
        watch(watched.workspace, missing, print, print)
    with pytest.raises(EmbedpipeError, match="sort into another folder"):
        watch(watched.workspace, watched.wish(sort=sort_into.Wish(tmp_path)), print, print)
    with watched.running():
        until(lambda: bool(watched.notes))
        with pytest.raises(EmbedpipeError, match="another process watches"):
            watch(watched.workspace, watched.wish(), print, print)
    done = CliRunner().invoke(app, ["watch", str(watched.inbox), "--artifacts", str(tmp_path / "none")])
    assert done.exit_code == 1
    assert "no classifier" in str(done.exception)
    assert CliRunner().invoke(app, ["watch", str(watched.inbox), "--link"]).exception is not None


def test_the_program_survives_a_kill_and_ends_on_a_signal(fitted: Path, tmp_path: Path, tiny: Backbone) -> None:
    """`kill -9` while files come, a restart, then SIGTERM: a line for each file, a copy of each, exit code 130."""
    watched = Watched(fitted, tmp_path, tiny)
    script = str(Path(sys.executable).with_name("embedpipe"))
    command = [script, "watch", str(watched.inbox), "--artifacts", str(watched.workspace.root)]
    command += ["--sort-into", str(watched.sorted), "--weights", "none", "--engine", "torch", "--settle", "0.2"]
    out, err = tmp_path / "out.txt", tmp_path / "err.txt"

    def start() -> subprocess.Popen[bytes]:
        with out.open("ab") as lines, err.open("ab") as notes:
            return subprocess.Popen(command, stdout=lines, stderr=notes)

    watched.bring(0)
    with start() as first:
        until(lambda: out.stat().st_size > 0)
        for number in range(1, 4):
            watched.bring(number)
        time.sleep(0.5)
        first.kill()
    watched.bring(4)
    with start() as second:
        until(lambda: len({line.split(":")[0] for line in out.read_text().splitlines()}) == 5)
        second.send_signal(signal.SIGTERM)
        assert second.wait(PATIENCE) == 130
    copies = [file for file in watched.sorted.rglob("*.pdf") if file.is_file()]
    assert sorted(file.name for file in copies) == sorted(file.name for file in watched.new[:5])
    assert "the same command goes on from here" in err.read_text()
