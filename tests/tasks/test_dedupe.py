"""What is there more than once."""

import csv
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pymupdf
import pytest
from pages.test_stand_ins import with_files, xfa_form
from PIL import Image

from embedpipe.backbones.building import Backbone
from embedpipe.core.records import FeatureBatch
from embedpipe.embedding.streaming import Settings
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.dedupe import Found, as_rows, find, left_out, write_html, write_table
from embedpipe.tasks.embed import embed


@pytest.fixture(scope="module")
def pile(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Path]:
    """A letter, a file copy of it, a picture of it, the same letter with another amount, and something else."""
    folder = tmp_path_factory.mktemp("dedupe")
    documents = folder / "documents"
    documents.mkdir()

    def letter(name: str, amount: str, words: str) -> Path:
        with pymupdf.open() as document:
            page = document.new_page()
            page.insert_textbox((60, 60, 535, 700), words * 60, fontsize=11)
            page.insert_text((380, 740), f"Total {amount}", fontsize=14)
            document.save(documents / name)
        return documents / name

    original = letter("letter.pdf", "4,318.50", "as agreed in the second quarter we deliver the order ")
    letter("other-amount.pdf", "7,902.66", "as agreed in the second quarter we deliver the order ")
    letter("else.pdf", "1", "quite another page of other words and numbers 12 345 ")
    shutil.copy(original, documents / "letter-copy.pdf")
    with pymupdf.open(original) as document:
        pixmap = document[0].get_pixmap(dpi=110)
        Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples).save(documents / "saved.jpg", quality=70)
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(documents)], tiny)
    return workspace, documents


@pytest.fixture(scope="module")
def found(pile: tuple[Workspace, Path]) -> Found:
    """What `find` says of them."""
    workspace, _ = pile
    return find(workspace, workspace.store())


def names(found: Found, kind: str) -> list[list[str]]:
    """File names of the groups of one kind."""
    return [[Path(copy.path).name for copy in group.copies] for group in found.groups if group.kind == kind]


def test_identical_files_are_exact_copies(found: Found) -> None:
    """The older one is kept."""
    assert names(found, "exact") == [["letter.pdf", "letter-copy.pdf"]]


def test_the_same_page_saved_as_a_picture_is_a_duplicate_and_another_amount_is_not(found: Found) -> None:
    """The PDF is kept before the picture; the letter with another amount is in no group, though it was compared."""
    [[kept, other]] = names(found, "document")
    assert kept in {"letter.pdf", "letter-copy.pdf"}  # the same document at two places
    assert other == "saved.jpg"
    assert names(found, "page") == []
    assert found.compared >= 2


def test_the_table_says_what_to_keep(found: Found, pile: tuple[Workspace, Path], tmp_path: Path) -> None:
    """One row for each copy; one of each group is to keep; the files are still there."""
    write_table(found, tmp_path / "d.csv")
    with open(tmp_path / "d.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["keep"] for row in rows] == ["yes", "no", "yes", "no"]
    assert [row["kind"] for row in rows] == [row["kind"] for row in as_rows(found.groups)]
    workspace, documents = pile
    write_html(workspace, found, {"Groups": "2"}, tmp_path / "d.html")
    assert (tmp_path / "d.html").read_text(encoding="utf-8").count("data:image/jpeg") == 4
    assert len(list(documents.iterdir())) == 5


def test_pages_whose_file_is_gone_are_counted(
    tiny: Backbone, make_pdf: Callable[..., Path], tmp_path: Path, workspace: Workspace
) -> None:
    """Features alone never make a duplicate."""
    first = make_pdf("pile/a.pdf", ["the same words"])
    second = tmp_path / "pile" / "b.pdf"
    second.write_bytes(first.read_bytes() + b"\n% other bytes\n")
    embed(workspace, [str(tmp_path / "pile")], tiny)
    second.unlink()
    found = find(workspace, workspace.store())
    assert (found.groups, found.compared, found.not_compared) == ([], 0, 1)


@pytest.fixture(scope="module")
def stand_ins(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, list[Path]]:
    """Two portfolios and two covers, a pair with the same picture; and two forms without pages."""
    folder = tmp_path_factory.mktemp("stand-ins")
    files = [
        xfa_form(folder / f"xfa-{who}.pdf", "/Fields[]/XFA 6 0 R", catalog="/NeedsRendering true", who=who)
        for who in ("Ada", "Bob")
    ]
    text = "\n".join(f"line {n} of the same page of all covers" for n in range(9))
    for name in ("a", "b"):
        files.append(with_files(folder / f"portfolio-{name}.pdf", f"{name}.pdf", text=text, portfolio=True))
        files.append(with_files(folder / f"cover-{name}.pdf", f"{name}.pdf", text=text))
    workspace = Workspace(folder / "artifacts")
    report = embed(workspace, [str(file) for file in files], tiny)
    assert report.outcomes == {"needs_converter": 2, "placeholder": 2, "cover": 2}
    return workspace, files


class TestStandIns:
    """Documents with more in them than their pages show are nobody's copies."""

    def test_they_are_in_no_group_and_counted(self, stand_ins: tuple[Workspace, list[Path]]) -> None:
        """None of the pairs is one document, nor one page."""
        workspace, _ = stand_ins
        found = find(workspace, workspace.store())
        assert found.groups == []
        assert found.stand_ins == 4
        assert any("4 pages stand for more" in line for line in left_out(found))

    def test_those_that_were_stored_before_are_seen_when_they_are_drawn(
        self, stand_ins: tuple[Workspace, list[Path]], tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A store of an earlier version calls their pages ok."""
        _, files = stand_ins
        monkeypatch.setattr(FeatureWriter, "append", _as_before(FeatureWriter.append))
        workspace = Workspace(tmp_path / "artifacts")
        embed(workspace, [str(file) for file in files], tiny)
        assert set(workspace.store().pages()["outcome"]) == {"ok"}
        found = find(workspace, workspace.store())
        assert found.groups == []
        assert found.stand_ins == 4

    def test_the_same_pages_without_files_are_one_document(self, tiny: Backbone, tmp_path: Path) -> None:
        """It is the files that keep them apart."""
        text = "\n".join(f"line {n} of the same page of all covers" for n in range(9))
        for name in ("a", "b"):
            with_files(tmp_path / f"{name}.pdf", text=text)
        (tmp_path / "b.pdf").write_bytes((tmp_path / "b.pdf").read_bytes() + b"\n% b\n")
        workspace = Workspace(tmp_path / "artifacts")
        embed(workspace, [str(tmp_path / "a.pdf"), str(tmp_path / "b.pdf")], tiny)
        assert names(find(workspace, workspace.store()), "document") != []


def _as_before(append: Callable[[FeatureWriter, FeatureBatch], None]) -> Callable[[FeatureWriter, FeatureBatch], None]:
    def appended(writer: FeatureWriter, batch: FeatureBatch) -> None:
        infos = tuple(replace(info, outcome="ok", message="") for info in batch.pages)
        append(writer, FeatureBatch(infos, batch.X))

    return appended


def test_names_of_one_file_are_no_copies(workspace: Workspace, tiny: Backbone, make_pdf: Callable[..., Path]) -> None:
    """Hard links, links that are followed, and a folder under two names lead to one file; it is never listed twice."""
    first = make_pdf("in/a.pdf", ["a letter"])
    (first.parent / "hard.pdf").hardlink_to(first)
    (first.parent / "soft.pdf").symlink_to(first)
    (first.parent.parent / "linked").symlink_to(first.parent)
    report = embed(workspace, [str(first.parent)], tiny, settings=Settings(workers=1, follow_links=True))
    report = embed(workspace, [str(first.parent.parent / "linked")], tiny)
    assert (report.documents, report.duplicates, report.same_files, report.others["link"]) == (1, 0, 1, 1)
    assert find(workspace, workspace.store()).groups == []
    shutil.copy(first, first.parent / "copy.pdf")
    os.utime(first.parent / "copy.pdf", (1, 1))
    embed(workspace, [str(first.parent)], tiny)
    both = find(workspace, workspace.store())
    assert names(both, "exact") == [["a.pdf", "copy.pdf"]]
    assert both.other_names == 4
    assert [row["keep"] for row in as_rows(both.groups)] == [True, False]
