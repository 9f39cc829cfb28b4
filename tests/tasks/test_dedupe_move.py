"""Duplicates put aside or linked, and taken back: nothing is lost, written over, or unknown to the ledger."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import book_files
import pymupdf
import pytest

from embedpipe.backbones.building import Backbone
from embedpipe.core.errors import ArtifactError, EmbedpipeError, UsageError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import Document
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.walking import IgnoredFile, walk
from embedpipe.store import placing
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import dedupe, dedupe_move
from embedpipe.tasks.dedupe import Copy, Found
from embedpipe.tasks.dedupe_ledger import read_ledger
from embedpipe.tasks.dedupe_move import carry_out, ledger_folder, undo
from embedpipe.tasks.dedupe_plan import Keep, Plan, Step, plan, without_moved
from embedpipe.tasks.embed import embed


def contents(folder: Path) -> dict[str, str]:
    """Hash of each file below a folder that is no book-keeping."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.startswith((".", "embedpipe-")))
    return {str(file.relative_to(folder)): sha256_of(file) for file in files}


@pytest.fixture(scope="module")
def embedded(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path, Found]:
    """A letter, a copy of the file, the letter saved anew with more bytes, a longer one; and what `find` says."""
    folder = tmp_path_factory.mktemp("dedupe-move")

    def make(name: str, *texts: str) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with pymupdf.open() as document:
            for text in texts:
                document.new_page().insert_textbox((40, 40, 555, 800), text * 20, fontsize=20)
            document.save(folder / name)
        return folder / name

    first = make("pile/2023/letter.pdf", "a letter of some words ", "its second page ")
    (folder / "pile/2024").mkdir()
    shutil.copy(first, folder / "pile/2024/letter.pdf")
    (folder / "pile/saved.pdf").write_bytes(first.read_bytes() + b"\n% saved again\n")
    make("pile/longer.pdf", "a letter of some words ", "its second page ", "a third page that is new ")
    for number, name in enumerate(("2023/letter.pdf", "2024/letter.pdf", "saved.pdf"), 1):
        os.utime(folder / "pile" / name, (number * 10**6, number * 10**6))
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, settings=Settings(workers=1))
    return workspace, folder / "pile", dedupe.find(workspace, workspace.store())


def planned(embedded: tuple[Workspace, Path, Found], rule: str = "", move_to: Path | None = None) -> Plan:
    """What may go of them."""
    workspace, _, found = embedded
    found = replace(found, groups=list(found.groups))
    without_moved(found)
    return plan(workspace, workspace.store(), found, Keep(rule), move_to=move_to)


@pytest.mark.parametrize(
    ("rule", "kept"),
    [("newest", "saved.pdf"), ("largest", "saved.pdf"), ("shortest-path", "saved.pdf"), ("in:2024", "2024/letter.pdf")],
)
def test_the_rule_says_which_one_stays(
    embedded: tuple[Workspace, Path, Found], tmp_path: Path, rule: str, kept: str
) -> None:
    """One of three stays; a document with a page of its own is never among them."""
    pile = embedded[1]
    found = planned(embedded, rule.replace("in:", f"in:{pile}/"), tmp_path)
    going = {os.path.relpath(step.document.path, pile) for step in found.steps}
    assert going == {"2023/letter.pdf", "2024/letter.pdf", "saved.pdf"} - {kept}
    assert {step.kept.path for step in found.steps} == {str(pile / kept)}


def test_a_folder_of_keep_protects_all_in_it(embedded: tuple[Workspace, Path, Found], tmp_path: Path) -> None:
    """Nothing below it goes; groups without a file there are left alone; an unknown rule is refused."""
    found = planned(embedded, f"in:{embedded[1]}", tmp_path)
    assert (found.steps, found.left) == ([], {"below the folder of --keep": 2})
    found = planned(embedded, f"in:{tmp_path}", tmp_path)
    assert (found.steps, found.left) == ([], {"in groups without a file below the folder of --keep": 3})
    for rule in ("oldest", "in:", f"in:{tmp_path / 'none'}"):
        with pytest.raises(UsageError, match="--keep"):
            Keep(rule)


def test_hard_links_are_for_the_same_bytes_only(embedded: tuple[Workspace, Path, Found]) -> None:
    """The letter that was saved anew is another file."""
    [step] = planned(embedded).steps
    assert (step.kind, step.document.sha256) == ("exact", step.kept.sha256)


def test_labels_keep_a_file_where_it_is(embedded: tuple[Workspace, Path, Found], tmp_path: Path) -> None:
    """What only the copy is labelled with would be learnt no more; labels of both do not matter."""
    workspace, pile, _ = embedded
    before = workspace.labels()
    letter, saved = (sha256_of(pile / name) for name in ("2023/letter.pdf", "saved.pdf"))
    try:
        for label, steps in ((Label(letter, "letter.pdf", "letter"), 0), (Label(saved, "saved.pdf", "letter"), 2)):
            labels = workspace.labels()
            labels.add([label])
            with workspace.writing("test"):
                workspace.keep_labels(labels, "test")
            found = planned(embedded, "newest", tmp_path)
            assert len(found.steps) == steps
            assert sum(count for why, count in found.left.items() if "with labels" in why) == 2 - steps
    finally:
        with workspace.writing("test"):
            workspace.keep_labels(before, "test")


def test_a_third_document_joins_nothing(embedded: tuple[Workspace, Path, Found], tmp_path: Path) -> None:
    """A document whose pages do not agree with those of the very one that is kept stays."""
    workspace, pile, found = embedded
    group = next(group for group in found.groups if group.kind == "document")
    path = str(pile / "longer.pdf")
    page = replace(group.copies[0].page, document_sha256=sha256_of(Path(path)), source=path)
    joined = replace(found, groups=[dedupe.Duplicates("document", (*group.copies, Copy(page, path, 0.9)))])
    done = plan(workspace, workspace.store(), joined, Keep("newest"), move_to=tmp_path)
    assert [os.path.basename(step.kept.path) for step in done.steps] == []
    assert done.left == {"with a page that is not found in the document that is kept": 3}


def test_the_store_knows_the_new_places(
    embedded: tuple[Workspace, Path, Found], tmp_path: Path, tiny: Backbone
) -> None:
    """After a move nothing is embedded anew, or listed or planned again; `--undo` brings all of it back."""
    workspace, pile, _ = embedded
    before, aside = contents(pile), tmp_path / "aside"
    letter = sha256_of(pile / "2023/letter.pdf")
    done = carry_out(workspace, planned(embedded, "newest", aside).steps, aside, apply=True)
    assert done.counts == {"moved": 2}
    assert set(workspace.sources().places(letter)) == {str(aside / f"{year}/letter.pdf") for year in (2023, 2024)}
    again = embed(workspace, [str(pile)], tiny, settings=Settings(workers=1))
    assert (again.embedded, again.gone) == (0, [])
    assert workspace.sources().standing(letter) == ""
    assert planned(embedded, "newest", aside).steps == []
    undo(workspace, aside, apply=True)
    assert contents(pile) == before
    assert set(workspace.sources().places(letter)) == {str(pile / f"{year}/letter.pdf") for year in (2023, 2024)}


@pytest.fixture
def pile(workspace: Workspace, tmp_path: Path) -> Path:
    """Files of which the artifacts know where they are: two of the same bytes, and one that stands for both."""
    folder, sources = tmp_path / "pile", workspace.sources()
    for number, (name, content) in enumerate(
        {"2023/letter.pdf": b"%PDF a", "2024/letter.pdf": b"%PDF a", "saved.pdf": b"%PDF b"}.items(), 1
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        os.utime(folder / name, ns=(number * 10**15, number * 10**15))
        sources.add(document(folder / name))
    with workspace.writing("test"):
        sources.save()
    return folder


def document(file: Path) -> Document:
    """A file as it was embedded."""
    status = file.stat()
    return Document(str(file), sha256_of(file), status.st_size, status.st_mtime_ns, "pdf")


def steps_of(pile: Path, *, identical: bool = False) -> list[Step]:
    """Both letters go, or the second one."""
    letters = [document(pile / f"{year}/letter.pdf") for year in (2023, 2024)]
    if identical:
        return [Step(letters[1], letters[0], "exact")]
    return [Step(letter, document(pile / "saved.pdf"), "document") for letter in letters]


def test_a_plan_touches_nothing(workspace: Workspace, pile: Path, tmp_path: Path) -> None:
    """Without `apply` there is no folder, and no file moves."""
    before = contents(pile)
    done = carry_out(workspace, steps_of(pile), tmp_path / "aside", apply=False)
    assert (done.applied, done.counts) == (False, {"planned": 2})
    assert contents(pile) == before
    assert not (tmp_path / "aside").exists()


def test_moved_and_put_back(workspace: Workspace, pile: Path, tmp_path: Path) -> None:
    """Files keep their folders, a walk passes over what was put aside, and all comes back as it was."""
    aside, before = tmp_path / "aside", contents(pile)
    times = {name: (pile / name).stat().st_mtime_ns for name in before}
    done = carry_out(workspace, steps_of(pile), aside, apply=True)
    assert done.counts == {"moved": 2}
    assert set(contents(aside)) == {"2023/letter.pdf", "2024/letter.pdf"}
    assert set(contents(pile)) == {"saved.pdf"}
    assert sorted(entry.was for entry in read_ledger(aside)) == [str(pile / f"{y}/letter.pdf") for y in (2023, 2024)]
    found = {item.path: item.kind for item in walk([str(tmp_path)]) if isinstance(item, IgnoredFile)}
    assert {found[entry.was.replace(str(pile), str(aside))] for entry in done.entries} == {"ours"}
    assert undo(workspace, aside, apply=False).counts == {"undone": 2}
    assert undo(workspace, aside, apply=True).counts == {"undone": 2}
    assert contents(pile) == before
    assert {name: (pile / name).stat().st_mtime_ns for name in before} == times
    assert contents(aside) == {}
    assert undo(workspace, aside, apply=True).entries == []


def test_names_that_are_taken_are_left_alone(workspace: Workspace, pile: Path, tmp_path: Path) -> None:
    """A file of a person in the folder stays, and so does one that took the old name before an undo."""
    aside = tmp_path / "aside"
    (aside / "2023").mkdir(parents=True)
    (aside / "2023/letter.pdf").write_text("mine", encoding="utf-8")
    carry_out(workspace, steps_of(pile), aside, apply=True)
    assert (aside / "2023/letter.pdf").read_text(encoding="utf-8") == "mine"
    assert len(contents(aside)) == 3
    (pile / "2024/letter.pdf").write_text("new", encoding="utf-8")
    done = undo(workspace, aside, apply=True)
    assert done.counts == {"undone": 1, "failed": 1}
    assert done.failures[0].message == "a file with its name is there"
    assert (pile / "2024/letter.pdf").read_text(encoding="utf-8") == "new"
    assert [e.state for e in read_ledger(aside) if e.was == str(pile / "2024/letter.pdf")] == ["moved"]


def test_changed_files_are_refused(workspace: Workspace, pile: Path, tmp_path: Path) -> None:
    """A file, or the one that is kept, that has other bytes by now stays, even of that size and time."""
    aside = tmp_path / "aside"
    steps = steps_of(pile)
    changed = pile / "2023/letter.pdf"
    status = changed.stat()
    changed.write_bytes(changed.read_bytes()[:-1] + b"x")
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    done = carry_out(workspace, steps, aside, apply=True)
    assert [(e.was, e.message) for e in done.failures] == [(str(changed), "it was changed since it was embedded")]
    assert changed.exists()
    assert undo(workspace, aside, apply=True).counts == {"undone": 1}
    (pile / "saved.pdf").write_bytes(b"%PDF-1.7 other")
    done = carry_out(workspace, steps, aside, apply=True)
    assert [e.message for e in done.failures if e.was != str(changed)] == [
        f"the file to keep was changed since: {pile / 'saved.pdf'}"
    ]
    assert (pile / "2024/letter.pdf").exists()


class TestKilled:
    """A run that ends at any moment leaves each file at one place that the ledger knows."""

    @pytest.mark.parametrize("step", ["link", "unlink", "save"])
    @pytest.mark.parametrize("at", [1, 2])
    def test_at_each_step(
        self, workspace: Workspace, pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, at: int
    ) -> None:
        """Before or after a name is given, before the old one goes, and before the ledger is written at the end."""
        aside, before = tmp_path / "aside", contents(pile)
        steps = steps_of(pile)
        calls = 0

        class Killed(BaseException):
            """Ends a run as a signal would: nothing after it is done."""

        def dying(call: Callable[..., object]) -> Callable[..., object]:
            def do(*args: object, **more: object) -> object:
                nonlocal calls
                calls += 1
                if calls == at:
                    raise Killed
                return call(*args, **more)

            return do

        with monkeypatch.context() as patch:
            saved = dedupe_move._Run._save
            if step == "save":
                patch.setattr(dedupe_move._Run, "_save", dying(saved))
            else:
                made = dedupe_move._Run._save  # after the plan, no later word reaches the ledger
                written = []

                def only_once(run: object, entries: object) -> None:
                    if not written:
                        written.append(made(run, entries))  # type: ignore[arg-type]

                patch.setattr(dedupe_move._Run, "_save", only_once)
                patch.setattr(dedupe_move._Run, "_note_places", lambda *_: None)
                if step == "link":
                    patch.setattr(placing, "_give_name", dying(placing._give_name))
                else:
                    patch.setattr(Path, "unlink", dying(Path.unlink))
            with pytest.raises(Killed):
                carry_out(workspace, steps, aside, apply=True)
        known = {entry.copy for entry in read_ledger(aside)}
        assert set(contents(aside)) <= known
        assert sorted({**contents(aside), **contents(pile)}.values()).count(before["2024/letter.pdf"]) >= 1
        carry_out(workspace, steps, aside, apply=True)
        assert set(contents(aside)) == {"2023/letter.pdf", "2024/letter.pdf"}
        assert {entry.state for entry in read_ledger(aside)} == {"moved"}
        undo(workspace, aside, apply=True)
        assert contents(pile) == before


def test_killed_while_files_are_put_back(
    workspace: Workspace, pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is back already is known to be, by another undo and by another move; a name too many goes."""
    aside, before = tmp_path / "aside", contents(pile)
    carry_out(workspace, steps_of(pile), aside, apply=True)
    with monkeypatch.context() as patch:
        patch.setattr(dedupe_move._Run, "_save", lambda *_: None)
        undo(workspace, aside, apply=True)
    (aside / "2024/letter.pdf").hardlink_to(pile / "2024/letter.pdf")
    assert {entry.state for entry in read_ledger(aside)} == {"moved"}
    assert undo(workspace, aside, apply=True).counts == {"undone": 1}
    assert {entry.state for entry in read_ledger(aside)} == {"undone"}
    assert contents(pile) == before
    assert contents(aside) == {}
    assert carry_out(workspace, steps_of(pile), aside, apply=True).counts == {"moved": 2}


class TestOtherFileSystems:
    """Files that go to another disk are copied, read again, and removed only then."""

    @pytest.fixture(autouse=True)
    def apart(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """No file can be moved by a name."""

        def refuse(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        monkeypatch.setattr(placing, "move", refuse)

    def test_there_and_back(self, workspace: Workspace, pile: Path, tmp_path: Path) -> None:
        """All bytes and times are as they were."""
        aside, before = tmp_path / "aside", contents(pile)
        assert carry_out(workspace, steps_of(pile), aside, apply=True).counts == {"moved": 2}
        assert contents(aside).values() == {before["2023/letter.pdf"]: ""}.keys() or len(contents(aside)) == 2
        undo(workspace, aside, apply=True)
        assert contents(pile) == before

    def test_a_copy_that_cannot_be_read_back(
        self, workspace: Workspace, pile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file stays where it is, and nothing stays in the folder."""
        aside, before = tmp_path / "aside", contents(pile)
        monkeypatch.setattr(dedupe_move, "sha256_of", lambda _: "another")
        monkeypatch.setattr(dedupe_move, "_hash", lambda path: sha256_of(Path(path)))
        done = carry_out(workspace, steps_of(pile), aside, apply=True)
        assert done.counts == {"failed": 2}
        assert contents(pile) == before
        assert contents(aside) == {}


class TestHardLinks:
    """Identical files share one place on the disk, and can be parted again."""

    def test_linked_and_parted(self, workspace: Workspace, pile: Path) -> None:
        """Only files with the same bytes are linked; time and rights come back."""
        one, other = pile / "2023/letter.pdf", pile / "2024/letter.pdf"
        other.chmod(0o640)
        before, times = contents(pile), [file.stat().st_mtime_ns for file in (one, other)]
        steps = steps_of(pile, identical=True)
        assert carry_out(workspace, steps, None, apply=False).counts == {"planned": 1}
        assert not one.samefile(other)
        assert carry_out(workspace, steps, None, apply=True).counts == {"linked": 1}
        assert one.samefile(other)
        assert contents(pile) == before
        assert undo(workspace, None, apply=True).counts == {"undone": 1}
        assert not one.samefile(other)
        assert contents(pile) == before
        assert [file.stat().st_mtime_ns for file in (one, other)] == times
        assert other.stat().st_mode & 0o777 == 0o640

    def test_a_killed_run_is_looked_up(self, workspace: Workspace, pile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A link that was made before the ledger could say so is known, and can be parted."""
        with monkeypatch.context() as patch:
            patch.setattr(dedupe_move._Run, "_save", _once(dedupe_move._Run._save))
            carry_out(workspace, steps_of(pile, identical=True), None, apply=True)
        assert [e.state for e in read_ledger(ledger_folder(workspace, None))] == ["planned"]
        assert undo(workspace, None, apply=True).counts == {"undone": 1}
        assert not (pile / "2023/letter.pdf").samefile(pile / "2024/letter.pdf")

    def test_other_file_systems(self, workspace: Workspace, pile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A link that cannot be made leaves the file as it is."""

        def refuse(*_: object) -> None:
            raise OSError(errno.EXDEV, "Invalid cross-device link")

        before = contents(pile)
        with monkeypatch.context() as patch:
            patch.setattr(os, "link", refuse)
            done = carry_out(workspace, steps_of(pile, identical=True), None, apply=True)
        assert [entry.message for entry in done.failures] == ["Invalid cross-device link"]
        assert contents(pile) == before


def _once(call: Callable[..., None]) -> Callable[..., None]:
    done: list[None] = []

    def do(*args: object) -> None:
        if not done:
            call(*args)
            done.append(None)

    return do


def test_a_ledger_that_is_damaged_or_missing(workspace: Workspace, pile: Path, tmp_path: Path) -> None:
    """It is named, and nothing is touched."""
    aside = tmp_path / "aside"
    with pytest.raises(EmbedpipeError, match="nothing to undo"):
        undo(workspace, aside, apply=True)
    steps = steps_of(pile)
    carry_out(workspace, steps, aside, apply=True)
    file = aside / "embedpipe-duplicates.csv"
    file.write_text(file.read_text(encoding="utf-8-sig").replace(",moved,", ",stolen,"), encoding="utf-8")
    with pytest.raises(ArtifactError, match="line 2 is not as it was written"):
        undo(workspace, aside, apply=True)


def test_the_kind_of_any_document_is_known_where_it_lies_now(tmp_path: Path) -> None:
    """Books in ZIP files and texts are opened by their reader after a move as before."""
    (tmp_path / "book").write_bytes(book_files.epub())
    (tmp_path / "a.txt").write_text("one line")
    assert [dedupe_move._reader(str(tmp_path / name)) for name in ("book", "a.txt")] == ["epub", "txt"]
