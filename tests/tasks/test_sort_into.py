"""Sorted folders: own copies follow their type, and what people put there stays."""

import csv
import errno
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from embedpipe.classifiers.calibration import shift
from embedpipe.commands import app, classifying
from embedpipe.commands import sorting as command
from embedpipe.commands.base import DONE, SOME_FAILED
from embedpipe.commands.terminal.console import Output
from embedpipe.core.errors import ArtifactError, LabelsError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import Document, Prediction
from embedpipe.embedding.intake import Report
from embedpipe.store import placing
from embedpipe.store.labels import Label, Labels
from embedpipe.store.sorted_ledger import LEDGER, Ledger, SortedFolders, file_name
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import classify, label, sort_into
from embedpipe.tasks.classify import DocumentVerdict
from embedpipe.tasks.embed import embed
from embedpipe.tasks.sort_into import Sorted, Wish

Sort = Callable[..., Sorted]


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Four small files; to sort them, nothing looks into them."""
    for name in ("a.pdf", "b.pdf", "c.pdf", "sub/d.pdf"):
        file = tmp_path / "inbox" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(f"content of {name}".encode())
    return tmp_path / "inbox"


def verdict(file: Path, kind: str | None, status: str = "ok") -> DocumentVerdict:
    """An answer for a file."""
    prediction = Prediction(kind, 0.9 if kind else 0.0, status)  # type: ignore[arg-type]
    return DocumentVerdict(str(file), sha256_of(file), prediction, ())


@pytest.fixture
def sort(inbox: Path, tmp_path: Path) -> Sort:
    """Sorts files of the inbox: `sort({"a.pdf": "invoice"})`; a type such as `?invoice` is ambiguous, `!` novel."""

    def run(kinds: dict[str, str | None], copies: tuple[Document, ...] = (), **wish: object) -> Sorted:
        verdicts = []
        for name, kind in kinds.items():
            status = {"?": "ambiguous", "!": "novel"}.get((kind or " ")[0], "ok" if kind else "blank")
            verdicts.append(verdict(inbox / name, kind and kind.lstrip("?!"), status))
        options = {"inputs": (str(inbox),), "answered_by": "svm version 1"} | wish
        return sort_into.sort_into(verdicts, copies, Wish(tmp_path / "sorted", **options))  # type: ignore[arg-type]

    return run


def held(folder: Path) -> dict[str, str]:
    """What lies where in a folder, but for the ledger and its lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and "embedpipe-sorted" not in path.name)
    return {str(path.relative_to(folder)): path.read_text(errors="replace") for path in files}


def states(folder: Path) -> dict[str, tuple[str, str]]:
    """State and copy of each source by its name."""
    return {Path(e.source).name: (e.state, e.copy) for e in Ledger(folder).entries}


def test_the_ledger_says_what_went_where(sort: Sort, inbox: Path, tmp_path: Path) -> None:
    """Each file has a line that a person can read, also those without a type and those that are there twice."""
    twin = inbox / "twin.pdf"
    shutil.copy(inbox / "a.pdf", twin)
    copy = Document(str(twin), sha256_of(twin), 1, 0, "pdf")
    done = sort({"a.pdf": "invoice", "b.pdf": "?letter", "c.pdf": "!letter", "sub/d.pdf": None}, (copy,))
    folder = tmp_path / "sorted"
    assert set(held(folder)) == {"invoice/a.pdf", "_ambiguous/letter/b.pdf", "_novel/c.pdf"}
    assert done.counts == {"copied": 3, "without a type": 1, "duplicate": 1}
    with open(folder / LEDGER, encoding="utf-8-sig", newline="") as file:
        rows = {Path(row["source"]).name: row for row in csv.DictReader(file)}
    assert rows["a.pdf"]["document"] == sha256_of(inbox / "a.pdf")
    assert [rows["a.pdf"][key] for key in ("type", "status", "answered_by")] == ["invoice", "ok", "svm version 1"]
    assert (rows["twin.pdf"]["state"], rows["twin.pdf"]["copy"]) == ("duplicate", "invoice/a.pdf")
    assert (rows["d.pdf"]["state"], rows["d.pdf"]["message"]) == ("no type", "blank")


def test_a_second_run_moves_what_has_another_type(sort: Sort, tmp_path: Path) -> None:
    """After a refit each document is in one folder; a run after that finds nothing to do and writes nothing."""
    sort({"a.pdf": "invoice", "b.pdf": "invoice", "c.pdf": "?invoice"})
    again = {"a.pdf": "letter", "b.pdf": "invoice", "c.pdf": "invoice"}
    done = sort(again, answered_by="svm version 2")
    assert done.counts == {"moved": 2, "unchanged": 1}
    assert set(held(tmp_path / "sorted")) == {"letter/a.pdf", "invoice/b.pdf", "invoice/c.pdf"}
    ledger = tmp_path / "sorted" / LEDGER
    before = (ledger.read_bytes(), ledger.stat().st_mtime_ns)
    assert sort(again, answered_by="svm version 2").counts == {"unchanged": 3}
    assert (ledger.read_bytes(), ledger.stat().st_mtime_ns) == before


def test_what_a_person_put_there_stays(sort: Sort, inbox: Path, tmp_path: Path) -> None:
    """Moved, edited, added and removed files: nobody's work is moved, written over, or made twice."""
    folder = tmp_path / "sorted"
    sort({"a.pdf": "invoice", "b.pdf": "invoice", "c.pdf": "invoice", "sub/d.pdf": "invoice"})
    (folder / "complaint").mkdir()
    (folder / "invoice/a.pdf").rename(folder / "complaint/a.pdf")
    (folder / "invoice/b.pdf").write_text("b with notes")
    (folder / "invoice/c.pdf").unlink()
    (folder / "letter").mkdir()
    (folder / "letter/c.pdf").write_text("another letter")
    (folder / "letter/own.pdf").write_text("mine")
    done = sort(dict.fromkeys(("a.pdf", "b.pdf", "c.pdf", "sub/d.pdf"), "letter"))
    found = held(folder)
    digest = sha256_of(inbox / "c.pdf")[:8]
    assert found == {
        "complaint/a.pdf": "content of a.pdf",
        "invoice/b.pdf": "b with notes",
        "letter/c.pdf": "another letter",
        "letter/own.pdf": "mine",
        f"letter/c-{digest}.pdf": "content of c.pdf",
        "letter/d.pdf": "content of sub/d.pdf",
    }
    assert done.counts == {"yours": 1, "edited": 1, "copied": 1, "moved": 1}
    assert sort(dict.fromkeys(("a.pdf", "b.pdf", "c.pdf", "sub/d.pdf"), "letter")).counts == {
        "yours": 1,
        "edited": 1,
        "unchanged": 2,
    }


def test_people_are_told_from_the_classifier(sort: Sort, tmp_path: Path) -> None:
    """Copies that lie where they were put give no label, edited ones neither; what was moved or added does."""
    folder = tmp_path / "sorted"
    sort({"a.pdf": "invoice", "b.pdf": "?letter/memo", "c.pdf": "!letter", "sub/d.pdf": "letter/memo"})
    (folder / "invoice/a.pdf").write_text("edited")
    (folder / "_novel/c.pdf").rename(folder / "letter_memo/c.pdf")
    (folder / "_ambiguous/own.pdf").write_text("mine")
    (folder / "plan").mkdir()
    (folder / "plan/own.pdf").write_text("mine")
    known = SortedFolders()
    kinds = {name: known.type_of(str(folder / name), "sorted") for name in held(folder)}
    assert {name: kind for name, kind in kinds.items() if kind} == {
        "letter_memo/c.pdf": "letter/memo",
        "plan/own.pdf": "plan",
    }
    assert (known.machine, known.reserved) == (3, 1)
    assert "3 are where `classify --sort-into` put them, 1 are in _ambiguous or _novel" in known.told()


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_names_that_are_taken(sort: Sort, inbox: Path, tmp_path: Path, taken: int) -> None:
    """A file is copied whatever names are taken, by files, folders or links to nowhere."""
    folder = tmp_path / "sorted" / "invoice"
    folder.mkdir(parents=True)
    digest = sha256_of(inbox / "a.pdf")[:8]
    names = ["a.pdf", f"a-{digest}.pdf", f"a-{digest}-2.pdf", f"a-{digest}-3.pdf"]
    for name in names[:taken]:
        if name == names[1]:
            (folder / name).mkdir()
        elif name == names[2]:
            (folder / name).symlink_to(tmp_path / "nowhere")
        else:
            (folder / name).write_text("somebody's")
    sort({"a.pdf": "invoice"})
    assert (folder / names[taken]).read_text() == "content of a.pdf"
    assert not taken or (folder / "a.pdf").read_text() == "somebody's"


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".pdf", "x" * 255, "发" * 82 + ".pdf", "发" * 83 + ".pdfx", "." + "x" * 250]
)
def test_long_names(sort: Sort, inbox: Path, tmp_path: Path, name: str) -> None:
    """Every name that the file system takes is copied, and a second file of that name too."""
    for folder in (inbox, inbox / "sub"):
        (folder / name).write_text(f"long in {folder.name}")
    done = sort({name: "invoice", f"sub/{name}": "invoice"})
    assert done.counts == {"copied": 2}
    found = held(tmp_path / "sorted")
    assert sorted(found.values()) == ["long in inbox", "long in sub"]
    assert found[f"invoice/{name}"] == "long in inbox"


def test_types_with_odd_names(sort: Sort, tmp_path: Path) -> None:
    """Types whose names are no names of folders, or the same one, have a folder each, and keep it."""
    kinds = {"a.pdf": "a/b", "b.pdf": "a_b", "c.pdf": "_novel", "sub/d.pdf": "长" * 200}
    sort(kinds)
    sort(kinds)
    folders = {Path(name).parent.name: text for name, text in held(tmp_path / "sorted").items()}
    assert len(folders) == 4
    assert folders["a_b"] == "content of b.pdf"
    assert folders["_novel_"] == "content of c.pdf"
    assert sorted(Ledger(tmp_path / "sorted").types().values()) == sorted(kinds.values())
    assert [file_name(name) for name in ("con", "LPT1.x", "..", LEDGER)] == ["con_", "LPT1.x_", "_", f"{LEDGER}_"]


def test_a_file_where_a_folder_should_be(sort: Sort, tmp_path: Path) -> None:
    """A person's file that has the name of a type stays; the type gets another folder."""
    (tmp_path / "sorted").mkdir()
    (tmp_path / "sorted" / "invoice").write_text("mine")
    (tmp_path / "sorted" / "letter").mkdir()
    (tmp_path / "sorted" / "letter" / "sub").write_text("mine")
    done = sort({"a.pdf": "invoice", "sub/d.pdf": "letter"}, keep_tree=True)
    assert done.counts == {"copied": 1, "failed": 1}
    assert "sub is not a folder" in done.failures[0][1]
    assert (tmp_path / "sorted" / "invoice").read_text() == "mine"


def test_nested_folders_are_kept(sort: Sort, inbox: Path, tmp_path: Path) -> None:
    """With `keep_tree` a file keeps its folders below the input, also when it is moved later."""
    shutil.copytree(inbox / "sub", inbox / "other")
    (inbox / "other/d.pdf").write_text("another d")
    kinds = {"a.pdf": "x", "sub/d.pdf": "x", "other/d.pdf": "?x"}
    sort(kinds, keep_tree=True)
    assert set(held(tmp_path / "sorted")) == {"x/a.pdf", "x/sub/d.pdf", "_ambiguous/x/other/d.pdf"}
    assert sort(kinds | {"sub/d.pdf": "y", "other/d.pdf": "x"}, keep_tree=True).counts["moved"] == 2
    assert set(held(tmp_path / "sorted")) == {"x/a.pdf", "y/sub/d.pdf", "x/other/d.pdf"}


def test_hard_links(sort: Sort, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`link` makes names of the same file, which move like copies; where there can be none, it copies and says so."""
    folder = tmp_path / "sorted"
    (inbox / "b.pdf").rename(tmp_path / "real.pdf")
    (inbox / "b.pdf").symlink_to(tmp_path / "real.pdf")
    assert sort({"a.pdf": "x", "b.pdf": "x"}, link=True).counts == {"linked": 2}
    assert os.path.samefile(folder / "x/a.pdf", inbox / "a.pdf")
    assert not (folder / "x/b.pdf").is_symlink()
    (inbox / "a.pdf").write_text("changed in place")
    assert sort({"a.pdf": "y", "b.pdf": "x"}, link=True).counts == {"moved": 1, "unchanged": 1}
    assert os.path.samefile(folder / "y/a.pdf", inbox / "a.pdf")
    assert states(folder)["a.pdf"] == ("linked", "y/a.pdf")

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    done = sort({"c.pdf": "x", "sub/d.pdf": "x"}, link=True)
    assert (done.counts["copied"], done.not_linked) == (2, 2)
    assert sort({"c.pdf": "y"}).counts == {"moved": 1}
    assert (folder / "y/c.pdf").read_text() == "content of c.pdf"
    assert not (folder / "x/c.pdf").exists()


def test_a_full_disk(sort: Sort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was copied stays and is in the ledger, what is missing is named, and the next run goes on."""
    copied: list[object] = []
    copy = shutil.copyfile

    def fill(source: str, target: Path) -> None:
        if len(copied) == 2:
            target.write_text("half a fi")
            raise OSError(errno.ENOSPC, "No space left on device")
        copied.append(copy(source, target))

    kinds = dict.fromkeys(("a.pdf", "b.pdf", "c.pdf", "sub/d.pdf"), "x")
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copyfile", fill)
        done = sort(kinds)
    assert (done.counts, len(done.failures)) == ({"copied": 2, "failed": 2}, 2)
    assert set(held(tmp_path / "sorted")) == {"x/a.pdf", "x/b.pdf"}
    assert [state for state, _ in states(tmp_path / "sorted").values()] == ["copied", "copied", "failed", "failed"]
    assert sort(kinds).counts == {"unchanged": 2, "copied": 2}


def test_one_file_that_cannot_be_copied(sort: Sort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes meanwhile, or cannot be read, fails alone."""
    copy = shutil.copyfile

    def break_some(source: str, target: Path) -> None:
        copy(source, target)
        if source.endswith("a.pdf"):
            target.write_text("changed meanwhile")
        if source.endswith("b.pdf"):
            raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(shutil, "copyfile", break_some)
    done = sort(dict.fromkeys(("a.pdf", "b.pdf", "c.pdf"), "x"))
    assert [message for _, message in done.failures] == [
        "not copied: it was changed meanwhile; run the same command again",
        "not copied: Permission denied",
    ]
    assert set(held(tmp_path / "sorted")) == {"x/c.pdf"}


class Kill(BaseException):
    """What no one catches."""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [1, 2, 3])
def test_a_killed_run(
    sort: Sort, inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, when: str
) -> None:
    """Killed at a copy or a move, the ledger knows each copy, and the next run ends as if nothing had happened."""
    folder = tmp_path / "sorted"
    sort({"a.pdf": "x", "b.pdf": "x"})
    kinds = {"a.pdf": "y", "b.pdf": "y", "c.pdf": "x"}
    steps: list[int] = []
    put = sort_into._Run._put

    def kill(self: object, entry: object) -> object:
        steps.append(1)
        if len(steps) == step and when == "before":
            raise Kill
        made = put(self, entry)  # type: ignore[arg-type]
        if len(steps) == step:
            raise Kill
        return made

    with monkeypatch.context() as patch:
        patch.setattr(sort_into._Run, "_put", kill)
        save = Ledger.save
        # a process that is killed writes nothing more
        patch.setattr(Ledger, "save", lambda self, entries: None if steps else save(self, entries))
        with pytest.raises(Kill):
            sort(kinds)
    known = SortedFolders()
    assert not any(known.type_of(str(folder / name), None) for name in held(folder))
    assert known.machine == len(held(folder))
    sort(kinds)
    assert held(folder) == {f"{kinds[name]}/{name}": (inbox / name).read_text() for name in kinds}
    assert sort(kinds).counts == {"unchanged": 3}


def test_killed_between_the_two_names_of_a_move(sort: Sort, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was being moved and has both names loses the old one; what a killed copy left is removed."""
    folder = tmp_path / "sorted"
    sort({"a.pdf": "x"})

    def half(old: Path, new: Path, digest: str) -> None:
        new.parent.mkdir(parents=True)
        os.link(old, new)
        patch.setattr(Ledger, "save", lambda *_: None)
        raise Kill

    with monkeypatch.context() as patch:
        patch.setattr(placing, "move", half)
        with pytest.raises(Kill):
            sort({"a.pdf": "y"})
    assert set(held(folder)) == {"x/a.pdf", "y/a.pdf"}
    (folder / "y" / ".tmp-00000000-1-1-new").write_text("of another machine, and new")
    (folder / "y" / ".tmp-mine").write_text("a person's")
    assert sort({"a.pdf": "y"}).counts == {"unchanged": 1}
    assert set(held(folder)) == {"y/a.pdf", "y/.tmp-00000000-1-1-new", "y/.tmp-mine"}


def test_sorting_what_lies_in_the_folder_itself(inbox: Path) -> None:
    """An inbox may be sorted into itself, and again with its copies among the inputs."""
    kinds = {"a.pdf": "x", "sub/d.pdf": "x"}
    verdicts = [verdict(inbox / name, kind) for name, kind in kinds.items()]
    assert sort_into.sort_into(verdicts, (), Wish(inbox)).counts == {"copied": 2}
    (inbox / "a.pdf").unlink()
    moved = [verdict(inbox / "x/a.pdf", "y"), verdict(inbox / "sub/d.pdf", "x")]
    twin = Document(str(inbox / "x/d.pdf"), sha256_of(inbox / "x/d.pdf"), 1, 0, "pdf")
    assert sort_into.sort_into(moved, (twin,), Wish(inbox)).counts == {"moved": 1, "unchanged": 1}
    assert (inbox / "y/a.pdf").exists()
    assert (inbox / "sub/d.pdf").exists()


def test_two_at_once_and_a_damaged_ledger(sort: Sort, tmp_path: Path) -> None:
    """Only one run sorts into a folder, and a ledger that cannot be understood is named, not written over."""
    sort({"a.pdf": "x"})
    with sort_into._alone(tmp_path / "sorted"), pytest.raises(ArtifactError, match="another process sorts into"):
        sort({"a.pdf": "y"})
    ledger = tmp_path / "sorted" / LEDGER
    ledger.write_text(ledger.read_text(encoding="utf-8-sig").replace(",copied,", ",stolen,"), encoding="utf-8")
    with pytest.raises(LabelsError, match="line 2 is not as it was written"):
        sort({"a.pdf": "y"})
    ledger.write_text("copy,source\n", encoding="utf-8")
    with pytest.raises(LabelsError, match="lacks the columns"):
        sort({"a.pdf": "y"})


def test_the_command_says_what_is_missing(
    inbox: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was done is one line; what is missing is named, and the exit code is 3."""
    verdicts = [verdict(inbox / name, "x") for name in ("a.pdf", "b.pdf")]
    wish = Wish(tmp_path / "sorted")

    def present() -> tuple[int, dict[str, Any]]:
        done = command.sort(verdicts, Report(), wish, Output())
        return command.present(done, Output()), command.as_json(done)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(placing, "copy", full)
        code, values = present()
    assert code == SOME_FAILED
    out, err = capsys.readouterr()
    assert out == f"sorted into {tmp_path / 'sorted'}: 2 missing; see {LEDGER} there\n"
    assert err.splitlines()[-1].startswith("2 documents are not where they belong in ")
    assert f"not copied: No space left on device: {inbox / 'a.pdf'}" in err
    assert [f["path"] for f in values["sort_failures"]] == [str(inbox / "a.pdf"), str(inbox / "b.pdf")]
    code, values = present()
    assert code == DONE
    assert values["sorted"][0] == {
        "path": str(inbox / "a.pdf"),
        "copy": str(tmp_path / "sorted/x/a.pdf"),
        "state": "copied",
    }
    assert present()[0] == DONE
    assert ": nothing to do: 2 unchanged" in capsys.readouterr().out


def test_what_a_person_labelled_is_sorted_by_its_label(sort: Sort, inbox: Path, tmp_path: Path) -> None:
    """It goes to the folder of that type, is taken back from where an earlier answer put it, and the ledger says so."""
    sort({"a.pdf": "?letter", "b.pdf": "letter", "c.pdf": "letter"})
    given = {"a.pdf": "invoice", "b.pdf": "none"}
    labels = Labels()
    labels.add(Label(sha256_of(inbox / name), name, kind) for name, kind in given.items())
    answers = [verdict(inbox / name, "letter") for name in ("a.pdf", "b.pdf", "c.pdf")]
    done = sort_into.sort_into(classify.with_labels(answers, labels), (), Wish(tmp_path / "sorted"))
    assert done.counts == {"moved": 2, "unchanged": 1}
    assert set(held(tmp_path / "sorted")) - {LEDGER} == {"invoice/a.pdf", "_novel/b.pdf", "letter/c.pdf"}
    told = {e.copy: (e.message, e.answered_by) for e in Ledger(tmp_path / "sorted").entries}
    assert told["invoice/a.pdf"] == ("labelled by a person", "labels.csv")
    assert told["_novel/b.pdf"] == ("labelled by a person as none of the types", "labels.csv")
    assert told["letter/c.pdf"] == ("", "")


@pytest.mark.parametrize("as_json", [True, False])
def test_answers_come_before_copies(
    inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, as_json: bool
) -> None:
    """Where the folder cannot be written, the answers have been printed and written; the options need `--sort-into`."""
    bundle = SimpleNamespace(name="svm", identity=None, documents=SimpleNamespace(smallest_error_rate=lambda: 0.0))
    monkeypatch.setattr(classifying, "open_answerer", lambda *_: bundle)
    answers = [verdict(inbox / "a.pdf", "invoice")]
    monkeypatch.setattr(classify, "classify", lambda *_, **__: (answers, Report(files=1)))
    monkeypatch.setattr(shift, "promise", lambda *_: "")

    def refuse(*_: object) -> None:
        raise ArtifactError("the folder cannot be written: nothing was copied")

    monkeypatch.setattr(sort_into, "sort_into", refuse)

    def run(*options: str) -> Any:
        common = ("--artifacts", str(tmp_path / "artifacts"), *(["--json"] if as_json else []))
        return CliRunner().invoke(app, ["classify", str(inbox), *options, *common])

    sheet = tmp_path / "answers.csv"
    done = run("--sort-into", str(tmp_path / "sorted"), "--csv", str(sheet))
    logging.getLogger("embedpipe").handlers.clear()
    assert isinstance(done.exception, ArtifactError)
    assert "nothing was copied" in str(done.exception)
    assert str(inbox / "a.pdf") in done.stdout
    with pytest.raises(LabelsError, match=r"no line of .* has a label"):
        label.take(Workspace(tmp_path / "artifacts"), str(sheet))
    sheet.write_text(sheet.read_text(encoding="utf-8-sig").replace(",invoice,,", ",invoice,letter,"))
    assert label.take(Workspace(tmp_path / "artifacts"), str(sheet))[1].types() == {"letter": 1}
    told = run().stdout
    assert ('"labelled": true' if as_json else "labelled by a person") in told
    assert ('"type": "letter"' if as_json else "1 files: 1 ok (1 as a person labelled them)") in told
    assert "go with --sort-into" in str(run("--link").exception)
    assert "go with --sort-into" in str(run("--keep-tree").exception)


def test_embedding_takes_no_answers_as_labels(sort: Sort, inbox: Path, tmp_path: Path, workspace: Workspace) -> None:
    """`embed --label-by folder` takes what people put into a sorted folder, and refuses one without a ledger."""
    folder = tmp_path / "sorted"
    sort({"a.pdf": "invoice", "b.pdf": "?letter"})
    (folder / "invoice/a.pdf").rename(folder / "own.pdf")
    (folder / "plan").mkdir()
    (folder / "own.pdf").rename(folder / "plan/a.pdf")
    found = [
        (Document(str(folder / name), sha256_of(folder / name), 1, 0, "pdf"), "sorted")
        for name in ("plan/a.pdf", "_ambiguous/letter/b.pdf")
    ]
    with workspace.writing("embed"):
        label.take_folders(workspace, found, "embed --label-by folder")
    assert workspace.labels().types() == {"plan": 1}
    (folder / LEDGER).unlink()
    with pytest.raises(LabelsError, match=r"has a folder _ambiguous and no embedpipe-sorted\.csv"):
        embed(workspace, [str(folder)], None, label_by_folder=True)  # type: ignore[arg-type]
