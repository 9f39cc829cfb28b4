"""Labels in batches: what is written, what a kill leaves, and how it is undone; the server's tests ask the rest."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from embedpipe.core.errors import ArtifactError, LabelsError
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import decide, label_batches
from embedpipe.tasks.decide import Batch, Decision, LabelBook

TESTS = str(Path(__file__).resolve().parents[1])


def sha(number: int) -> str:
    """The SHA-256 of a document; here, for the process that is killed is quick without what others import."""
    return f"{number:064x}"


def give(book: LabelBook, number: int, kind: str | None, **more: str) -> int:
    """Gives a document a type; the number of the batch."""
    [done] = book.apply([Batch([Decision(sha(number), kind)], **more)], {sha(number): f"/{number}.pdf"})
    return done.number


def types(workspace: Workspace) -> dict[int, str]:
    """The type of each labelled document."""
    return {int(sha256, 16): row.label for (sha256, _), row in workspace.labels().rows.items()}


def test_groups_and_cells_of_others_come_back(workspace: Workspace) -> None:
    """Undoing what took a label away gives it back with its group and the cells that a person added."""
    workspace.claim()
    text = f"document,path,page,label,group,note\n{sha(1)},/1.pdf,,memo,bank,look again\n"
    workspace.labels_file.write_text(text, encoding="utf-8")
    book = LabelBook(workspace)
    give(book, 1, None)
    assert "look again" not in workspace.labels_file.read_text(encoding="utf-8-sig")
    LabelBook(workspace).undo()
    assert workspace.labels_file.read_text(encoding="utf-8-sig").split() == text.split()
    give(book, 1, "form")
    assert workspace.labels().rows[sha(1), 0].group == "bank"


def test_a_name_that_is_not_utf8_can_be_labelled_and_undone(workspace: Workspace) -> None:
    """Its batch is written with it, and read again."""
    path = "/scans/\udcff.pdf"
    LabelBook(workspace).apply([Batch([Decision(sha(1), "memo")])], {sha(1): path})
    assert types(workspace) == {1: "memo"}
    assert LabelBook(workspace).undo().number == 1
    LabelBook(workspace).redo()
    [label] = workspace.labels().rows.values()
    assert label.path == path


def test_a_confirmed_label_is_remembered_until_it_is_another_one(workspace: Workspace) -> None:
    """Also where it was checked before; it is undone as all else, and batches from before there were any still are."""
    book = LabelBook(workspace)
    give(book, 1, "memo")
    file = decide.batches_file(workspace)
    old, _ = map(json.loads, file.read_text(encoding="utf-8").splitlines())
    del old["ahead"]
    old["changes"] = [[sha256, page, had[:2], has[:2]] for sha256, page, had, has in old["changes"]]
    file.write_text(json.dumps(old) + "\n", encoding="utf-8")
    assert give(book, 1, "memo", state="confirmed") == 2
    assert give(book, 1, "memo", state="confirmed") == 0
    assert [row.label for row in LabelBook(workspace).confirmed().rows.values()] == ["memo"]
    give(book, 1, "form")
    assert not LabelBook(workspace).confirmed().rows
    assert [book.undo().number, len(LabelBook(workspace).confirmed().rows)] == [3, 1]
    assert [book.undo().number, len(LabelBook(workspace).confirmed().rows)] == [2, 0]
    assert types(workspace) == {1: "memo"}
    assert book.undo().number == 1
    assert not types(workspace)
    give(book, 2, "memo", state="confirmed")
    decide.forget(workspace, [sha(2)])
    assert not LabelBook(workspace).confirmed().rows


def test_a_new_batch_forgets_what_its_client_could_redo(workspace: Workspace) -> None:
    """But not what others could."""
    book = LabelBook(workspace)
    for client in "ab":
        give(book, ord(client), "memo", client=client)
        book.undo(client=client)
    give(book, 1, "form", client="a")
    assert book.can("a") == (True, False)
    assert book.can("b") == (False, True)
    with pytest.raises(LabelsError, match="nothing to redo"):
        book.redo(client="a")
    book.redo(client="b")
    assert types(workspace) == {1: "form", ord("b"): "memo"}


def test_only_the_last_batches_can_be_undone(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their file is written again without the others once it is large; numbers go on."""
    monkeypatch.setattr(label_batches, "MOST", 3)
    monkeypatch.setattr(label_batches, "LARGEST", 1000)
    book = LabelBook(workspace)
    numbers = [give(book, number, "memo") for number in range(1, 9)]
    book.undo()
    assert numbers == list(range(1, 9))
    assert decide.batches_file(workspace).stat().st_size < 2000
    fresh = LabelBook(workspace)
    assert fresh.redo().number == 8
    assert fresh.entries()[0].number == 8
    assert len(fresh.entries()) <= 4
    with pytest.raises(LabelsError, match="no batch 1"):
        fresh.undo(1)
    assert give(fresh, 20, "form") == 9


def test_age_is_told_by_number(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file was written again, with what is undone at its end: that stays in the order of undoing."""
    book = LabelBook(workspace)
    for number in range(1, 5):
        give(book, number, "memo", client="a")
    for number in (3, 1):
        book.undo(number)
    decide.forget(workspace, [sha(9)])
    fresh = LabelBook(workspace)
    assert [entry.number for entry in fresh.entries()] == [4, 3, 2, 1]
    assert fresh.undo().number == 4
    assert [fresh.redo().number for _ in range(3)] == [4, 1, 3]
    fresh.undo(1)
    decide.forget(workspace, [sha(9)])
    monkeypatch.setattr(label_batches, "MOST", 3)
    fresh = LabelBook(workspace)
    assert give(fresh, 5, "form", client="b") == 5
    assert [entry.number for entry in LabelBook(workspace).entries()] == [5, 4, 3]


def fill(workspace: Workspace) -> LabelBook:
    """Some labels in each state; what `confirm` does next changes all three tables."""
    book = LabelBook(workspace)
    give(book, 1, "form", state="suggested")
    give(book, 2, "form", state="confirmed")
    return book


def confirm(book: LabelBook) -> None:
    """Gives three documents a type."""
    book.apply([Batch([Decision(sha(number), "memo") for number in (1, 2, 3)], "confirmed")], {})


def tables(book: LabelBook) -> list[dict[int, str]]:
    """The types in each state, by document."""
    every = (book.checked(), book.suggested(), book.confirmed())
    return [{int(key[0], 16): row.label for key, row in labels.rows.items()} for labels in every]


BEFORE = [{2: "form"}, {1: "form"}, {2: "form"}]
AFTER = [{1: "memo", 2: "memo", 3: "memo"}, {}, {1: "memo", 2: "memo", 3: "memo"}]


def check_settled(workspace: Workspace, *, undoing: bool) -> bool:
    """Either all of what was interrupted is there and can be taken back, or nothing; returns which."""
    book = LabelBook(workspace)
    newest = book.entries()[0]
    done = tables(book) == (BEFORE if undoing else AFTER)
    if not done:
        assert tables(book) == (AFTER if undoing else BEFORE)
    if done == undoing:  # there is nothing but what was there before
        assert book.can() == (True, undoing)
        assert newest.undone == (undoing and newest.number == 3)
        give(book, 9, "memo")
        book.undo()
    else:
        assert (newest.number, newest.undone) == (3, False)
        book.undo()
        assert tables(book) == BEFORE
        book.redo()
        assert tables(book) == AFTER
    return done


CALLS = ("replace", "fsync")
"""Of `os`, in whose place a disk fails, or a kill comes."""


@pytest.mark.parametrize("undoing", [False, True])
def test_a_disk_that_fails_at_any_step_leaves_no_label_that_cannot_be_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, undoing: bool
) -> None:
    """From each call in turn on everything fails, until there is space again."""
    seen = set()
    for step in range(1, 100):
        workspace, left = Workspace(tmp_path / str(step)), step
        book = fill(workspace)
        if undoing:
            confirm(book)

        def failing(call: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: object) -> object:
                nonlocal left
                left -= 1
                if left <= 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return call(*args)

            return run

        with monkeypatch.context() as patch:
            for name in CALLS:
                patch.setattr(os, name, failing(getattr(os, name)))
            try:
                book.undo() if undoing else confirm(book)
                told = True
            except ArtifactError:
                told = False
        assert tables(book) in (BEFORE, AFTER) or not told
        seen.add((told, check_settled(workspace, undoing=undoing)))
        if left > 0:
            break
    assert seen == {(False, False), (False, True), (True, True)}


_KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.test_decide import CALLS, Workspace, check_settled, confirm, fill

def dying(call, end):
    def run(*args, **more):
        global left
        left -= 1
        if left == 0:
            end()
        return call(*args, **more)
    return run

for undoing in (False, True):
    done = []
    for step in range(1, 100):
        workspace = Workspace(Path(sys.argv[1]) / f"{undoing}{step}")
        book = fill(workspace)
        if undoing:
            confirm(book)
        if (child := os.fork()) == 0:
            left = step
            for name in (*CALLS, "unlink"):
                setattr(os, name, dying(getattr(os, name), lambda: os.kill(os.getpid(), signal.SIGKILL)))
            book.undo() if undoing else confirm(book)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        assert status in (0, signal.SIGKILL), status
        done.append(check_settled(workspace, undoing=undoing))
        if status == 0:
            break
    assert len(done) > 8 and done == sorted(done) and len(set(done)) == 2, done
"""


def test_a_kill_at_any_step_leaves_no_label_that_cannot_be_undone(tmp_path: Path) -> None:
    """SIGKILL before each rename, removal and wait for the disk in turn."""
    tests = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (TESTS, os.environ.get("PYTHONPATH"))))}
    command = [sys.executable, "-c", _KILLED, str(tmp_path)]
    done = subprocess.run(command, env=tests, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_was_written_half_counts_for_nothing(workspace: Workspace) -> None:
    """Neither half a line, nor a step whose labels were not written."""
    book = fill(workspace)
    file = decide.batches_file(workspace)
    before = file.read_bytes()
    confirm(book)
    ahead = file.read_bytes()[len(before) :].splitlines(keepends=True)[0]
    book.undo()
    for text in (ahead[:-20], ahead):
        file.write_bytes(before + text)
        fresh = LabelBook(workspace)
        assert [entry.number for entry in fresh.entries()] == [2, 1]
        assert tables(fresh) == BEFORE
        assert give(fresh, 9, "memo") == 3
        fresh.undo()


def test_batches_that_cannot_be_read_are_passed_over(workspace: Workspace) -> None:
    """Whatever a disk made of a line."""
    book = LabelBook(workspace)
    give(book, 1, "memo")
    file = decide.batches_file(workspace)
    lines = [b"\xff\xfe", b"{}", b"[]", b'{"batch": "x"}', json.dumps({"undo": 99}).encode(), b'{"batch": 5']
    file.write_bytes(file.read_bytes() + b"\n".join(lines))
    fresh = LabelBook(workspace)
    assert give(fresh, 2, "form") == 2
    assert fresh.undo().number == 2
    assert fresh.undo().number == 1
    assert types(workspace) == {}


def test_a_full_disk_changes_nothing(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The labels are as they were, in memory as on the disk."""
    book = LabelBook(workspace)
    give(book, 1, "memo")
    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if str(target).endswith("labels.csv"):
            raise OSError(28, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(decide.ArtifactError, match="No space"):
            give(book, 2, "form")
    assert types(workspace) == {1: "memo"}
    assert book.checked().count == 1
    give(book, 2, "form")
    assert types(workspace) == {1: "memo", 2: "form"}


def test_a_label_of_a_page_is_one_of_its_own(workspace: Workspace) -> None:
    """Beside that of its document."""
    book = LabelBook(workspace)
    page = Batch([Decision(sha(1), "form", 2), Decision(sha(1), "memo")])
    [done] = book.apply([page], {})
    assert set(done.changed) == {(sha(1), 2), (sha(1), 0)}
    assert workspace.labels().rows[sha(1), 2] == Label(sha(1), sha(1), "form", 2)
