"""A classifier of pictures and words answers the same wherever it is asked."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.reasons.occlusion import Score
from embedpipe.classifiers.saved.combining import PICTURES, WORDS
from embedpipe.classifiers.stored_answers import told
from embedpipe.classifiers.training import fit
from embedpipe.commands import app
from embedpipe.core.errors import UnknownNameError, UsageError
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import explain as explain_task
from embedpipe.tasks.add_type import Lesson, add_type
from embedpipe.tasks.check_labels import check
from embedpipe.tasks.classify import classify
from embedpipe.tasks.embed import embed
from embedpipe.tasks.evaluate import assess
from embedpipe.tasks.explain import explain
from embedpipe.tasks.split import split
from embedpipe.tasks.suggest import suggest

SAID = {
    "form": "please fill in every field of this form, sign it and send it back to us",
    "letter": "dear madam, thank you for your kind words, with our best regards",
    "report": "figures of the quarter compared with those of the year before",
}


def write(file: Path, pages: list[str]) -> Path:
    """Writes pages that look as their number says, and whose text is hidden, as in a scan that was recognised."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with pymupdf.open() as document:
        for text in pages:
            page = document.new_page()
            page.draw_rect((60, 300, 500, 400 + int(re.sub(r"\D", "", text) or 3) * 83 % 300), fill=(0.7, 0.7, 0.7))
            page.insert_textbox((40, 40, 555, 280), text, fontsize=11, render_mode=3)
        document.save(file)
    return file


def texts(kind: str, number: int) -> list[str]:
    """Two pages of a document of a type."""
    return [f"{SAID[kind]} no {number}", f"{SAID[kind]} page two of no {number}"]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny: Backbone) -> tuple[Workspace, Path, ClassifierBundle]:
    """Documents of two types with the classifier, and of a third that nobody has seen."""
    folder = tmp_path_factory.mktemp("said")
    for number in range(6):
        for kind in ("form", "letter"):
            write(folder / "pile" / kind / f"{number}.pdf", texts(kind, number))
        write(folder / "new" / f"{number}.pdf", texts("report", number))
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    bundle = fit(workspace, workspace.store(), TrainingRecipe("knn", blocks=(PICTURES, WORDS)))
    return workspace, folder, bundle


def test_stored_and_new_pages_are_answered_alike(
    taught: tuple[Workspace, Path, ClassifierBundle], tiny: Backbone, tmp_path: Path
) -> None:
    """The words of a page count the same from the store and from its file; without words little is known."""
    workspace, folder, bundle = taught
    stored, _ = classify(workspace, [str(folder / "pile" / "letter" / "0.pdf")], bundle, lambda: tiny)
    fresh = Workspace(tmp_path / "none")
    new, _ = classify(fresh, [str(folder / "pile" / "letter" / "0.pdf")], bundle, lambda: tiny)
    assert stored[0].prediction.label == "letter"
    assert new[0].prediction.confidence == pytest.approx(stored[0].prediction.confidence)
    [answers] = told(workspace.store(), [bundle])
    assert answers[stored[0].document_sha256].kind == "letter"
    silent = write(tmp_path / "silent.pdf", [""])
    [without], _ = classify(workspace, [str(silent)], bundle, lambda: tiny)
    assert without.prediction.confidence < stored[0].prediction.confidence - 0.1


def test_piles_are_typed_by_their_words(
    taught: tuple[Workspace, Path, ClassifierBundle], tiny: Backbone, tmp_path: Path
) -> None:
    """The parts of a pile have the words of their pages."""
    workspace, _, bundle = taught
    pile = write(tmp_path / "pile.pdf", [*texts("form", 40), *texts("letter", 41)])
    [cut] = split(workspace, [str(pile)], bundle, lambda: tiny).piles
    assert cut.parts[0].verdict.prediction.label == "form" or len(cut.parts) == 1
    pages = {page.page_number: page.prediction.label for page in cut.verdict.pages}
    assert pages == {1: "form", 2: "form", 3: "letter", 4: "letter"}


def test_a_page_is_explained_with_its_words(
    taught: tuple[Workspace, Path, ClassifierBundle], tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay as they are while parts of the picture are covered."""

    def two_covers(pixels: NDArray[np.uint8], score: Score, **_: Any) -> NDArray[np.float64]:
        return score(np.stack([pixels, np.full_like(pixels, 255)]))[None]

    monkeypatch.setattr(explain_task, "occlusion_map", two_covers)
    workspace, folder, bundle = taught
    found = explain(workspace, f"{folder / 'pile' / 'form' / '1.pdf'}#page=2", bundle, tiny)
    assert found.candidates[0][0] == "form"
    assert found.drops is not None
    assert (found.drops > 0).all()  # its words say so, whatever the picture


def test_whatever_judges_stored_pages_takes_their_words(
    taught: tuple[Workspace, Path, ClassifierBundle], tiny: Backbone, tmp_path: Path
) -> None:
    """`suggest`, `check-labels` and `evaluate`."""
    workspace, folder, bundle = taught
    shutil.copytree(workspace.root, tmp_path / "artifacts")
    own = Workspace(tmp_path / "artifacts")
    embed(own, [str(folder / "new" / "0.pdf")], tiny)
    [suggestion] = suggest(own, own.store(), 1, bundle)
    assert len(suggestion.guesses) == 2
    findings = check(own, own.store(), TrainingRecipe.of(bundle.fitted_on))
    assert not [doubt for doubt in findings.documents if doubt.likely]
    found = assess(workspace, workspace.store(), bundle)
    assert found.evaluation.metrics["document_accuracy"] == bundle.metrics["document_accuracy"] == 1.0


@pytest.mark.parametrize("keep", [False, True])
def test_a_type_is_taught_with_words(
    taught: tuple[Workspace, Path, ClassifierBundle], tiny: Backbone, tmp_path: Path, *, keep: bool
) -> None:
    """A dry run sees the words of stored documents and of the examples."""
    workspace, folder, bundle = taught
    shutil.copytree(workspace.root, tmp_path / "artifacts")
    own = Workspace(tmp_path / "artifacts")
    lesson = Lesson("report", (str(folder / "new"),), keep=keep)
    outcome = add_type(own, bundle, lesson, lambda: tiny)
    assert outcome.after == {"form": 1.0, "letter": 1.0, "report": 1.0}
    assert not outcome.changed
    if keep:
        after = ClassifierBundle.load(own.classifier_path("knn"))
        assert after.words
        assert after.fitted_on["blocks"] == [PICTURES, WORDS]


def run(*arguments: str) -> Any:
    """Runs a command; the JSON that it prints."""
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def fails(*arguments: str) -> type[BaseException] | None:
    """The error that a command ends with."""
    found = CliRunner().invoke(app, arguments).exception
    return None if found is None else type(found)


def test_blocks_are_chosen_on_the_command_line(
    taught: tuple[Workspace, Path, ClassifierBundle], tmp_path: Path
) -> None:
    """`--blocks` overrides the choice; a wrong name, or none of a picture, is said."""
    shutil.copytree(taught[0].root, tmp_path / "artifacts")
    artifacts = ["--artifacts", str(tmp_path / "artifacts")]
    chosen = run("fit-knn", *artifacts)
    assert chosen["blocks"] == [PICTURES, WORDS]
    assert chosen["gain"]["document_accuracy"] > 0
    assert run("fit-knn", *artifacts, "--blocks", "pictures")["blocks"] == [PICTURES]
    assert fails("fit-knn", *artifacts, "--blocks", "colours") is UnknownNameError
    assert fails("fit-knn", *artifacts, "--blocks", "words") is UsageError
    assert fails("fit-knn", *artifacts, "--blocks", " , ") is UsageError
    page = f"{taught[1] / 'pile' / 'form' / '1.pdf'}"
    found = run("similar", page, *artifacts, "--by", "words", "--other-documents", "-k", "3")
    assert [n["label"] for n in found["neighbours"]] == ["form"] * 3
    assert fails("similar", page, *artifacts, "--by", "colours") is UsageError
    assert fails("similar", page, *artifacts, "--by", "words", "--whole-document") is UsageError
