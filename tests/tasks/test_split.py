"""Piles in one file: cut into documents, told, and written."""

import errno
import hashlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from pages.test_stand_ins import with_files, xfa_form
from PIL import Image

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import evaluate, fit
from embedpipe.core.errors import EmbedpipeError
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.walking import IgnoredFile, walk
from embedpipe.samples import draw_samples
from embedpipe.store import placing
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.classify import as_json, classify
from embedpipe.tasks.embed import embed
from embedpipe.tasks.split import Part, Pile, Split, split, write_parts

SETTINGS = Settings(workers=1)
SCRIPT = Path(sys.executable).with_name("embedpipe")


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny: Backbone) -> tuple[Workspace, ClassifierBundle, list[Path]]:
    """A workspace with labelled documents, a classifier, and new documents of the same types."""
    folder = tmp_path_factory.mktemp("taught")
    draw_samples(folder / "labelled", per_type=4, types=("slides", "paper"))
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "labelled")], tiny, settings=SETTINGS, label_by_folder=True)
    bundle = fit(workspace, workspace.store(), TrainingRecipe("svm"))
    return workspace, bundle, draw_samples(folder / "new", per_type=2, seed=9, types=("slides", "paper"))


@pytest.fixture(scope="module")
def pile(taught: tuple[Workspace, ClassifierBundle, list[Path]], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first pages of the new documents in one PDF, a blank page after the second document."""
    file = tmp_path_factory.mktemp("pile") / "pile.pdf"
    with pymupdf.open() as whole:
        for number, path in enumerate(path for path in taught[2] if path.suffix == ".pdf"):
            with pymupdf.open(path) as document:
                whole.insert_pdf(document, to_page=2)
            if number == 1:
                whole.new_page()
        whole.save(file)
    return file


@pytest.fixture(scope="module")
def cut(taught: tuple[Workspace, ClassifierBundle, list[Path]], pile: Path, tiny: Backbone) -> Split:
    """The pile, cut, with its blank page as a separator."""
    workspace, bundle, _ = taught
    return split(workspace, [str(pile)], bundle, lambda: tiny, settings=SETTINGS, blank_separates=True)


def digest(file: Path) -> str:
    """What a file holds."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def spans(pile: Pile) -> list[tuple[int, int]]:
    """First and last page of each part."""
    return [(part.first_page, part.last_page) for part in pile.parts]


def test_every_page_is_in_one_part(cut: Split, pile: Path) -> None:
    """The parts follow each other without a gap, and say how sure their borders are."""
    [found] = cut.piles
    assert (cut.fallback, cut.calibrated) == ("", True)
    with pymupdf.open(pile) as document:
        pages = [page for first, last in spans(found) for page in range(first, last + 1)]
        assert pages == list(range(1, len(document) + 1))
        blank = next(i + 1 for i, page in enumerate(document) if not page.get_contents())
    assert blank in [last for _, last in spans(found)]
    assert len(found.parts) >= 2
    assert found.parts[0].boundary_confidence == 1.0
    for part in found.parts:
        assert 0.5 < part.boundary_confidence <= 1.0
        assert 0.0 < part.whole_confidence <= part.boundary_confidence


def test_a_part_is_told_as_the_file_that_is_written(
    taught: tuple[Workspace, ClassifierBundle, list[Path]], cut: Split, pile: Path, tiny: Backbone, tmp_path: Path
) -> None:
    """Types and confidences of the parts are those of the written files; the pile stays, nothing is overwritten."""
    before = digest(pile)
    files = list(write_parts(cut.piles, tmp_path, SETTINGS).values())
    [found] = cut.piles
    verdicts, _ = classify(taught[0], map(str, files), taught[1], lambda: tiny, settings=SETTINGS)
    for part, file, verdict in zip(found.parts, files, verdicts, strict=True):
        assert isinstance(file, Path)
        label = part.verdict.prediction.label
        assert file.name == f"pile-p{part.first_page:03d}-{part.last_page:03d}-{label}.pdf"
        assert verdict.prediction.label == label
        assert verdict.prediction.confidence == pytest.approx(part.verdict.prediction.confidence, abs=0.02)
        assert len(verdict.pages) == part.last_page - part.first_page + 1
    assert list(write_parts(cut.piles, tmp_path, SETTINGS).values()) == files  # as they are there already
    assert isinstance(files[0], Path)
    files[0].write_text("somebody's")
    again = list(write_parts(cut.piles, tmp_path, SETTINGS).values())
    assert again[0] == files[0].with_stem(files[0].stem + "-2")
    assert files[0].read_text() == "somebody's"
    assert digest(pile) == before


def test_blank_pages_stay_with_the_document_before(
    taught: tuple[Workspace, ClassifierBundle, list[Path]], tiny: Backbone, tmp_path: Path
) -> None:
    """A blank back page never begins a document, unless blank pages are said to separate."""
    file = tmp_path / "same.pdf"
    with pymupdf.open() as whole, pymupdf.open(taught[2][-1]) as document:
        whole.new_page()
        for _ in range(2):
            whole.insert_pdf(document, to_page=0)
            whole.new_page()
        whole.save(file)
    plain, separated = (
        split(taught[0], [str(file)], taught[1], lambda: tiny, settings=SETTINGS, blank_separates=blank).piles[0]
        for blank in (False, True)
    )
    assert spans(plain) == [(1, 5)]  # twice the same page is no boundary
    assert spans(separated) == [(1, 3), (4, 5)]
    assert separated.parts[1].boundary_confidence == 1.0


def test_a_pile_with_a_password_stays_protected(
    taught: tuple[Workspace, ClassifierBundle, list[Path]], pile: Path, tiny: Backbone, tmp_path: Path
) -> None:
    """Without the password it fails as everywhere; with it, the parts open with the same password only."""
    file = tmp_path / "secret.pdf"
    with pymupdf.open(pile) as document:
        document.select(range(4))
        document.save(file, encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="open", owner_pw="own")
    closed = split(taught[0], [str(file)], taught[1], lambda: tiny, settings=SETTINGS)
    assert closed.piles[0].parts == ()
    assert closed.piles[0].verdict.message.startswith("encrypted")
    settings = Settings(workers=1, passwords=("wrong", "open"))
    opened = split(taught[0], [str(file)], taught[1], lambda: tiny, settings=settings)
    [found] = opened.piles
    halves = tuple(Part(a, b, found.verdict, 1.0, 1.0) for a, b in ((1, 2), (3, 4)))
    written = write_parts([Pile(found.document, found.verdict, halves)], tmp_path / "out", settings)
    for part in written.values():
        with pymupdf.open(part) as document:
            assert document.needs_pass
            assert document.authenticate("open")
            assert len(document) == 2


def test_parts_of_a_tiff_are_tiffs(
    taught: tuple[Workspace, ClassifierBundle, list[Path]], tiny: Backbone, tmp_path: Path
) -> None:
    """Pages of a scanned TIFF are written without loss; a picture of one page is copied as it is."""
    frames = [Image.fromarray(np.full((140, 100), shade, np.uint8)) for shade in (10, 90, 170)]
    for frame in frames:
        frame.paste(255, (10, 10, 90, 60))
    file, single = tmp_path / "scan.tif", tmp_path / "page.png"
    frames[0].save(file, save_all=True, append_images=frames[1:], dpi=(100, 100))
    frames[0].save(single)
    scan, page = split(taught[0], [str(file), str(single)], taught[1], lambda: tiny, settings=SETTINGS).piles
    parts = tuple(Part(a, b, scan.verdict, 1.0, 1.0) for a, b in ((1, 2), (3, 3)))
    written = write_parts([Pile(scan.document, scan.verdict, parts), page], tmp_path / "out", SETTINGS)
    first, second, copy = written.values()
    assert isinstance(copy, Path)
    assert copy.read_bytes() == single.read_bytes()
    with Image.open(str(first)) as image:
        assert image.n_frames == 2  # type: ignore[attr-defined]
        image.seek(1)
        np.testing.assert_array_equal(np.asarray(image), np.asarray(frames[1]))
    with Image.open(str(second)) as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(frames[2]))
        assert image.info["dpi"] == (100, 100)


def test_cues_go_with_the_pages(
    taught: tuple[Workspace, ClassifierBundle, list[Path]], pile: Path, tiny: Backbone, tmp_path: Path
) -> None:
    """A classifier with cues tells stored and new files alike, and parts as the files that are written."""
    workspace, new = taught[0], taught[2]
    bundle = fit(workspace, workspace.store(), TrainingRecipe("svm", cues=True), "with-cues")
    bundle = ClassifierBundle.load(workspace.classifier_path("with-cues"))
    assert bundle.cues
    again = evaluate(workspace, workspace.store(), TrainingRecipe("svm", cues=True)).metrics
    assert again["macro_f1"] == bundle.metrics["macro_f1"]
    verdicts, _ = classify(workspace, map(str, new), bundle, lambda: tiny, settings=SETTINGS)
    assert {verdict.prediction.label for verdict in verdicts} <= {"slides", "paper"}
    stored = workspace.sources().path_of(str(workspace.store().pages()["document_sha256"][0]), "")
    known, report = classify(workspace, [stored], bundle, lambda: tiny, settings=SETTINGS)
    assert report.embedded == 0
    assert known[0].prediction.label == Path(stored).parent.name
    with pytest.raises(EmbedpipeError, match="needs cues"):
        bundle.log_scores(np.zeros((1, tiny.dim), np.float32))
    result = split(workspace, [str(pile)], bundle, lambda: tiny, settings=SETTINGS, blank_separates=True)
    files = list(map(str, write_parts(result.piles, tmp_path, SETTINGS).values()))
    told, _ = classify(workspace, files, bundle, lambda: tiny, settings=SETTINGS)
    for part, verdict in zip(result.piles[0].parts, told, strict=True):
        assert verdict.prediction.confidence == pytest.approx(part.verdict.prediction.confidence, abs=0.03)


def test_without_labels_the_type_decides(
    taught: tuple[Workspace, ClassifierBundle, list[Path]], pile: Path, tiny: Backbone, tmp_path: Path
) -> None:
    """A classifier that was moved away from its labels still cuts, where the type changes, and says so."""
    result = split(Workspace(tmp_path), [str(pile)], taught[1], lambda: tiny, settings=SETTINGS)
    assert result.fallback
    assert not result.calibrated
    assert result.piles[0].parts[0].first_page == 1


def test_the_command_line_cuts_and_writes(
    taught: tuple[Workspace, ClassifierBundle, list[Path]], pile: Path, tmp_path: Path
) -> None:
    """`classify --split --write` prints parts with ranges and confidences; options that do not fit are refused."""
    out = tmp_path / "out"

    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        command = [SCRIPT, "classify", pile, "--artifacts", taught[0].root, "--classifier", "svm"]
        return subprocess.run(
            [*map(str, command), "--weights", "none", *options], capture_output=True, text=True, check=False
        )

    done = run("--split", "--write", str(out), "--csv", str(tmp_path / "parts.csv"), "--json", "--workers", "1")
    assert done.returncode == 0, done.stderr
    [document] = json.loads(done.stdout)["documents"]
    assert {"path", "type", "confidence", "status", "parts"} <= document.keys()
    for part in document["parts"]:
        assert {"pages", "type", "confidence", "boundary_confidence", "whole_confidence", "file"} <= part.keys()
    assert sorted(part["file"] for part in document["parts"]) == sorted(map(str, out.glob("*.pdf")))
    told = {item.path: item.kind for item in walk([str(tmp_path)]) if isinstance(item, IgnoredFile)}
    assert {told[part["file"]] for part in document["parts"]} == {"ours"}
    assert len((tmp_path / "parts.csv").read_text(encoding="utf-8-sig").splitlines()) == 1 + len(document["parts"])
    refused = run("--write", str(out))
    assert refused.returncode == 2
    assert refused.stderr == "error: --write and --blank-separates go with --split\n"


def test_parts_with_long_names_and_a_full_disk(
    taught: tuple[Workspace, ClassifierBundle, list[Path]],
    cut: Split,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts of a file with the longest name are written; on a full disk each says so, and what is written stays."""
    [found] = cut.piles
    assert found.document is not None
    source = tmp_path / ("发" * 83 + ".pdf")
    source.write_bytes(Path(found.document.path).read_bytes())
    prediction = replace(found.verdict.prediction, label="类" * 80)
    verdict = replace(found.verdict, prediction=prediction, path=str(source))
    halves = tuple(Part(a, b, verdict, 1.0, 1.0) for a, b in ((1, 1), (2, 2)))
    piles = [Pile(replace(found.document, path=str(source)), verdict, halves)]
    first, second = write_parts(piles, tmp_path / "out", SETTINGS).values()
    assert isinstance(first, Path)
    assert first.exists()
    assert isinstance(second, Path)
    second.unlink()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(placing, "copy", full)
    assert list(write_parts(piles, tmp_path / "out", SETTINGS).values()) == [
        first,
        "cannot be written: No space left on device",
    ]


def test_what_no_page_shows_gets_no_type(
    taught: tuple[Workspace, ClassifierBundle, list[Path]], tiny: Backbone, tmp_path: Path
) -> None:
    """A dynamic form is told as such and not by its placeholder; a cover has its type, and what it covers is said."""
    files = [
        xfa_form(tmp_path / "xfa.pdf", "/Fields[]/XFA 6 0 R"),
        with_files(tmp_path / "cover.pdf", "b.xlsx"),
        with_files(tmp_path / "empty.pdf", "b.xlsx", text=" "),
    ]
    workspace, bundle, _ = taught
    form, cover, empty = classify(workspace, map(str, files), bundle, lambda: tiny, settings=SETTINGS)[0]
    for verdict, outcome in ((form, "needs_converter"), (empty, "placeholder")):
        assert (verdict.prediction.label, verdict.prediction.status) == (None, "failed")
        assert verdict.message.startswith(f"{outcome}: ")
    assert empty.pages[0].message == empty.message
    assert cover.prediction.label is not None
    assert "b.xlsx" in cover.message
    assert as_json(cover)["message"] == cover.message
