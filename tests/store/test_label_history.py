"""labels.csv keeps versions: each change can be undone, whoever made it."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from embedpipe.commands import app
from embedpipe.core.errors import ArtifactError, LabelsError
from embedpipe.store.label_lists import history as label_history
from embedpipe.store.label_lists.history import History
from embedpipe.store.labels import Label, Labels
from embedpipe.store.sorted_ledger import LEDGER, Entry, Ledger
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import label

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def change(workspace: Workspace) -> Callable[..., None]:
    """Labels documents: `change("label x.csv", {A: "invoice"})`."""

    def run(command: str, kinds: dict[str, str]) -> None:
        with workspace.writing("label"):
            labels = workspace.labels()
            labels.add(Label(sha256, f"/{sha256[0]}.pdf", kind) for sha256, kind in kinds.items())
            workspace.keep_labels(labels, command)

    return run


def kinds(workspace: Workspace) -> dict[str, str]:
    """Types by the first letter of the document."""
    return {key[0][0]: row.label for key, row in workspace.labels().rows.items()}


def test_undo_goes_back_and_forward(workspace: Workspace, change: Callable[..., None]) -> None:
    """Each undo goes one change further back; a number goes anywhere, and a new change begins from there."""
    change("one", {A: "x"})
    change("two", {A: "y", B: "y"})
    change("three", {A: "x", B: "y"})
    assert [(v.number, v.before, v.command, v.labels, v.added, v.changed, v.removed) for v in versions(workspace)] == [
        (1, 0, "one", 1, 1, 0, 0),
        (2, 1, "two", 2, 1, 1, 0),
        (3, 2, "three", 2, 0, 1, 0),
    ]
    done = label.undo(workspace)
    assert (done.left.number, done.now.number, done.changed, kinds(workspace)) == (3, 2, 1, {"a": "y", "b": "y"})
    done = label.undo(workspace)
    assert (done.removed, done.changed, kinds(workspace)) == (1, 1, {"a": "x"})
    with pytest.raises(ArtifactError, match=r"no version before the present one .* 1, 2, 3"):
        label.undo(workspace)
    assert label.undo(workspace, 3).added == 1
    label.undo(workspace, 1)
    change("four", {C: "z"})
    assert (versions(workspace)[-1].number, versions(workspace)[-1].before) == (4, 1)
    label.undo(workspace)
    assert kinds(workspace) == {"a": "x"}
    with pytest.raises(ArtifactError, match="no version 9 of the labels"):
        label.undo(workspace, 9)


def versions(workspace: Workspace) -> list[label_history.Version]:
    """All versions, oldest first."""
    return History(workspace.labels_file).versions


def test_no_change_is_no_version(workspace: Workspace, change: Callable[..., None]) -> None:
    """Labels that are there already make no version, and two versions of one content are told apart."""
    change("one", {A: "x"})
    change("again", {A: "x"})
    assert [v.command for v in versions(workspace)] == ["one"]
    change("two", {A: "y"})
    change("three", {A: "x"})
    for expected in (2, 1):
        assert label.undo(workspace).now.number == expected
    assert label.history_json(workspace)["in_use"] == 1


def test_what_a_person_wrote_is_a_version(workspace: Workspace, change: Callable[..., None]) -> None:
    """Changes by hand are kept before a command writes over them, and before they are undone."""
    workspace.root.mkdir()
    workspace.labels_file.write_text(f"document,label\n{A},by hand\n", encoding="utf-8")
    change("one", {A: "x"})
    text = workspace.labels_file.read_text(encoding="utf-8")
    workspace.labels_file.write_text(text + f"{B},,,mine,\n", encoding="utf-8")
    assert label.history_json(workspace)["in_use"] is None
    assert label.undo(workspace).left.command == "by hand"
    assert kinds(workspace) == {"a": "x"}
    label.undo(workspace)
    assert kinds(workspace) == {"a": "by hand"}
    label.undo(workspace, 3)
    assert kinds(workspace) == {"a": "x", "b": "mine"}
    assert [v.command for v in versions(workspace)] == ["found there", "one", "by hand"]


def test_the_number_of_versions_is_bounded(
    workspace: Workspace, change: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest go, but never the one in use or the one that it was made from."""
    monkeypatch.setattr(label_history, "KEPT", 3)
    for number in range(5):
        change(str(number), {A: f"type {number}"})
    assert [v.number for v in versions(workspace)] == [3, 4, 5]
    assert sorted(file.name for file in (workspace.root / "labels").iterdir()) == [
        "3.csv",
        "4.csv",
        "5.csv",
        "history.json",
    ]
    label.undo(workspace, 3)
    change("new", {A: "new"})
    assert [v.number for v in versions(workspace)] == [3, 5, 6]


@pytest.mark.parametrize("step", ["_write", "_copy"])
def test_a_kill_leaves_the_old_labels(
    workspace: Workspace, change: Callable[..., None], monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Killed in between, labels.csv is the old one, and the next change is made from it."""
    change("one", {A: "x"})

    def kill(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(label_history if step == "_copy" else History, step, kill)
        with pytest.raises(KeyboardInterrupt):
            change("two", {A: "y"})
    assert kinds(workspace) == {"a": "x"}
    change("three", {A: "z"})
    assert (label.undo(workspace).now.command, kinds(workspace)) == ("one", {"a": "x"})


def test_damaged_versions(workspace: Workspace, change: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    """A damaged version or list is named and changes nothing; labels can still be written."""
    change("one", {A: "x"})
    change("two", {A: "y"})
    (workspace.root / "labels" / "1.csv").write_text("document,label\n")
    with pytest.raises(ArtifactError, match=r"1\.csv is missing or damaged"):
        label.undo(workspace)
    assert kinds(workspace) == {"a": "y"}
    (workspace.root / "labels" / "history.json").write_text("{")
    with pytest.raises(ArtifactError, match="is damaged"):
        label.history_json(workspace)
    change("three", {A: "z"})
    assert "the history of labels begins anew" in caplog.text
    assert kinds(workspace) == {"a": "z"}
    assert label.undo(workspace).now.command == "found there"


def test_what_is_forgotten_is_in_no_version(workspace: Workspace, change: Callable[..., None]) -> None:
    """Neither labels.csv nor an earlier version holds a forgotten document, and undo does not bring it back."""
    change("one", {A: "x", B: "x"})
    change("two", {A: "y", C: "x"})
    with workspace.writing("forget"):
        assert label.forget_labels(workspace, [A]) == 1
    held = b"".join(path.read_bytes() for path in workspace.root.rglob("*") if path.is_file())
    assert A.encode() not in held
    assert b"/a.pdf" not in held
    label.undo(workspace)
    label.undo(workspace)
    assert kinds(workspace) == {"b": "x"}


def test_every_command_names_what_is_wrong(workspace: Workspace, tmp_path: Path) -> None:
    """A contradiction written by hand is named with its lines, once, by commands that read and by those that write."""
    workspace.root.mkdir()
    workspace.labels_file.write_text(f"document,label\n{A},x\n{B},y\n{A},y\n", encoding="utf-8")
    table = tmp_path / "more.csv"
    table.write_text(f"document,label\n{C},z\n")
    for command in (["info"], ["label", str(table)], ["label", "--undo"]):
        logging.getLogger("embedpipe").handlers.clear()  # each call in one process adds one
        done = CliRunner().invoke(app, [*command, "--artifacts", str(workspace.root)])
        assert done.exit_code == (command == ["info"]), done.output  # which says that something is damaged
        assert done.stderr.count("labels.csv, line") == (2 if "--undo" in command else 1)  # before and after
        assert "says 'x'" in done.stderr
    logging.getLogger("embedpipe").handlers.clear()
    assert kinds(workspace) == {"b": "y"}
    assert workspace.labels_file.read_text(encoding="utf-8").count(A) == 2


def test_undo_and_history_on_the_command_line(workspace: Workspace, tmp_path: Path) -> None:
    """`label` says that it replaced labels; `--history` lists versions; `--undo` goes back; the rest is refused."""
    table = tmp_path / "l.csv"

    def run(*options: str, code: int = 0) -> str:
        done = CliRunner().invoke(app, ["label", *options, "--artifacts", str(workspace.root)])
        assert done.exit_code == code, done.output
        return done.output if code == 0 else str(done.exception)

    for kind in ("x", "y"):
        table.write_text(f"document,label\n{A},{kind}\n")
        told = run(str(table))
    assert "1 labels were replaced and 0 taken away: `label --undo` goes back" in told
    assert f"label {table}" in run("--history")
    assert "labels are as in version 1" in run("--undo")
    assert kinds(workspace) == {"a": "x"}
    assert '"version": 2' in run("--undo", "2", "--json")
    assert "write the number of a version" in run("--undo", "two", code=1)
    assert "go with no other option" in run("--undo", "--cluster", code=1)
    logging.getLogger("embedpipe").handlers.clear()


def sorted_folder(tmp_path: Path, make_pdf: Callable[..., Path]) -> Path:
    """A folder with a ledger: one copy where it was put, one that a person moved, and one that a person added."""
    folder = tmp_path / "sorted"
    for name in ("invoice/a.pdf", "letter/b.pdf", "plan/c.pdf", "_novel/d.pdf", "_ambiguous/plan/e.pdf"):
        make_pdf(f"sorted/{name}", [name])
    places = ("invoice/a.pdf", "invoice/b.pdf", "_novel/d.pdf")
    Ledger(folder).save(Entry(f"/in/{p[-5:]}", A, "copied", p, type="invoice", status="ok") for p in places)
    return folder


def test_a_sorted_folder_is_known_by_its_ledger(
    workspace: Workspace, tmp_path: Path, make_pdf: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """Of a sorted folder, only what a person moved or added is a label; the rest is counted in one line."""
    folder = sorted_folder(tmp_path, make_pdf)
    count, labels = label.take(workspace, str(folder))
    assert (count, labels.types()) == (2, {"letter": 1, "plan": 1})
    assert "no labels were taken of 3 documents: 2 are where `classify --sort-into` put them, 1 are in" in caplog.text
    assert set(label.read(workspace, str(folder)).values()) == {"letter", "plan"}
    for below in ("invoice", "_ambiguous"):
        with pytest.raises(LabelsError, match=r"nothing in .* is a label"):
            label.take(workspace, str(folder / below))
    (folder / LEDGER).unlink()
    for source in (folder, folder / "_ambiguous"):
        with pytest.raises(LabelsError):
            label.take(workspace, str(source))
    assert Labels.load(workspace.labels_file, lambda _: None).types() == {"letter": 1, "plan": 1}
