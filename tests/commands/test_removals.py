"""`--version`, and what is removed after it was said what would be lost."""

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from embedpipe.backbones.engines import Backbone
from embedpipe.commands import app
from embedpipe.commands.terminal import console
from embedpipe.commands.terminal.console import Output, agreed
from embedpipe.core.errors import UnknownNameError, UsageError
from embedpipe.core.files import write_json
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import embed as embed_task
from embedpipe.tasks import spaces
from embedpipe.tasks.embed import Progress, embed, plan_run


@pytest.fixture(autouse=True)
def no_handlers() -> Iterator[None]:
    """Each command listens to the library; the next one does so anew."""
    yield
    logging.getLogger("embedpipe").handlers.clear()


def run(*arguments: str | Path) -> Result:
    """Runs a command of the application."""
    return CliRunner().invoke(app, [*map(str, arguments)])


@pytest.fixture
def filled(workspace: Workspace, make_pdf: Callable[..., Path], tiny: Backbone) -> Workspace:
    """A space of two documents, one of which is gone, and a classifier of its own."""
    folder = make_pdf("pile/a.pdf", ["one"]).parent
    gone = make_pdf("pile/b.pdf", ["two"])
    embed(workspace, [str(folder)], tiny, settings=Settings(workers=1))
    gone.unlink()
    [space] = workspace.spaces()
    manifest = {"name": "svm", "space": space, "classes": ["a", "b"], "fitted_on": {"documents": 2}}
    for number in (1, 2):
        (workspace.classifier_folder("svm") / "versions" / str(number)).mkdir(parents=True)
        write_json(workspace.classifier_folder("svm") / "versions" / str(number) / "manifest.json", manifest)
    write_json(workspace.classifier_folder("svm") / "current.json", {"version": 2})
    return workspace


def test_the_version_is_told() -> None:
    """It is that of the package, and nothing else is printed."""
    done = run("--version")
    assert (done.exit_code, done.stdout) == (0, f"embedpipe {metadata.version('embedpipe')}\n")


def test_a_space_goes_after_it_was_said_what_goes(filled: Workspace) -> None:
    """Without --yes, where nobody can be asked, all stays and the losses are named; then features and index go."""
    [name] = filled.spaces()
    filled.index_path(name).mkdir(parents=True)
    (filled.root / ".removed-1-0").mkdir()  # of a process that was killed
    kept = run("spaces", "--remove", name, "--artifacts", filled.root)
    assert isinstance(kept.exception, UsageError)
    assert "say --yes" in str(kept.exception)
    assert f"would be lost: {name}: features of 2 pages of 2 documents" in kept.stdout
    assert "would be lost: the files of 1 of these documents are gone" in kept.stdout
    assert "would be lost: classifiers fitted on it: svm" in kept.stdout
    assert list(filled.spaces()) == [name]
    labels = filled.labels_file
    labels.write_text("document,label\n", encoding="utf-8")
    done = run("spaces", "--remove", name, "--yes", "--json", "--artifacts", filled.root)
    assert json.loads(done.stdout) == {"spaces": [], "removed": name}
    assert filled.spaces() == {}
    assert not filled.store_path(name).exists()
    assert not filled.index_path(name).exists()
    assert labels.exists()
    assert list(filled.root.glob(".removed-*")) == []
    with pytest.raises(UnknownNameError):
        spaces.remove(filled, name)


def test_a_damaged_space_can_be_removed(filled: Workspace) -> None:
    """Whatever is wrong with it, it is listed, and goes."""
    [name] = filled.spaces()
    (filled.store_path(name) / "manifest.json").write_text("{", encoding="utf-8")
    assert [(space.space, space.backbone) for space in spaces.take(filled)] == [(name, "damaged")]
    spaces.remove(filled, name)
    assert spaces.take(filled) == []


def test_a_classifier_goes_after_it_was_said_what_goes(filled: Workspace) -> None:
    """All its versions go; --yes is needed where nobody can be asked."""
    kept = run("classifiers", "--remove", "svm", "--artifacts", filled.root)
    assert isinstance(kept.exception, UsageError)
    assert "would be lost: svm: 2 versions, 2 types, learnt from 2 documents" in kept.stdout
    assert filled.classifiers() == ["svm"]
    assert run("classifiers", "--remove", "svm", "--yes", "--artifacts", filled.root).exit_code == 0
    assert filled.classifiers() == []
    assert isinstance(
        run("classifiers", "--remove", "svm", "--yes", "--artifacts", filled.root).exception, UnknownNameError
    )
    both = run("classifiers", "--remove", "svm", "--prune", "svm", "--artifacts", filled.root)
    assert isinstance(both.exception, UsageError)


@pytest.mark.parametrize(("answer", "expected"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_a_person_is_asked(monkeypatch: pytest.MonkeyPatch, answer: str, *, expected: bool) -> None:
    """In a terminal nothing goes unless it is said."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    seen = Terminal()
    monkeypatch.setattr("sys.stdout", seen)
    monkeypatch.setattr("sys.stdin", Terminal(answer))
    monkeypatch.setattr("typer.confirm", lambda _: answer.startswith("y"))
    assert agreed(Output(), ["all"], "labels stay", yes=False) is expected
    assert seen.getvalue() == "would be lost: all\nlabels stay\n"


def test_a_dry_run_says_how_far_it_is(workspace: Workspace, make_pdf: Callable[..., Path], tiny: Backbone) -> None:
    """Files that are read and pages of the sample are told apart."""
    folder = make_pdf("pile/a.pdf", ["one", "two"]).parent
    told: list[Progress] = []
    plan_run(workspace, [str(folder)], tiny, Settings(workers=1), told.append)
    assert {step.stage for step in told} == {"reading files", "embedding a sample"}
    assert told[0].pages == 1
    assert all(step.bytes_done <= step.bytes_total for step in told)
    assert embed_task.Progress is Progress


def test_work_without_a_measure_shows_that_it_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A person sees what is done; pipes and --quiet see nothing."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for output, shown in ((Output(), True), (Output(quiet=True), False), (Output(as_json=True), False)):
        seen: Any = Terminal()
        with monkeypatch.context() as patch:
            patch.setattr(console, "sys", SimpleNamespace(stderr=seen, stdout=seen, modules=sys.modules))
            patch.setattr("sys.stderr", seen)
            with output.busy("judging labels"):
                pass
        assert ("judging labels" in seen.getvalue()) is shown
