"""Documents of no known type: examples of them, types left out in turn, and limits that follow."""

from dataclasses import replace

import numpy as np
import pytest
from classifiers.test_training import TYPES, Document, label_all, sha, write_labels, write_store

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.confidence import HeldOutScores
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.figures.novelty_figures import novelty_figures
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.rehearsals import rehearse
from embedpipe.classifiers.training import fit
from embedpipe.classifiers.unknowns import GUARD, auroc, decided, folds_of_all, limited, together
from embedpipe.pages.rendering import Selection
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace

HEAD = TrainingRecipe("head")


def with_examples(workspace: Workspace) -> None:
    """Thirty documents of three types, the letters labelled as none of these."""
    documents = [Document(TYPES[n % 3]) for n in range(30)]
    write_store(workspace, documents)
    kinds = ["None" if document.kind == "letter" else document.kind for document in documents]
    write_labels(workspace, [Label(sha(n), f"/{n}.pdf", kind) for n, kind in enumerate(kinds)])


def test_examples_of_no_type_are_no_type(workspace: Workspace) -> None:
    """They are neither among the types, nor learnt as such, and the manifest counts them."""
    with_examples(workspace)
    bundle = fit(workspace, workspace.store(), HEAD)
    assert bundle.classes == ["form", "invoice"]
    assert workspace.labels().types() == {"form": 10, "invoice": 10}
    assert (workspace.labels().none, bundle.fitted_on["none"], bundle.fitted_on["documents"]) == (10, 10, 20)
    assert bundle.fitted_on["guard"] is None  # of two types none can be left out
    loaded = ClassifierBundle.load(workspace.classifier_path("head"))
    pages = labelled_pages(workspace, workspace.store(), Selection())
    np.testing.assert_array_equal(loaded.distances(pages.X), bundle.distances(pages.X))


def test_examples_teach_novelty(workspace: Workspace) -> None:
    """New documents like the examples are novel, and those of the types are not."""
    with_examples(workspace)
    bundle = fit(workspace, workspace.store(), HEAD)
    asked = Workspace(workspace.root / "asked")
    X = write_store(asked, [Document(TYPES[n % 3]) for n in range(30, 60)]).features(
        np.arange(30) % 10 + (np.arange(30) // 10 << 32)
    )
    decisions = bundle.documents.decide(bundle.log_scores(X), bundle.distances(X), Rule())
    letters = np.arange(30) % 3 == TYPES.index("letter")
    assert np.mean(decisions.novelty[letters] > 0.8) > 0.9
    assert np.mean(decisions.novelty[~letters] > 0.8) < 0.3


def test_figures_with_and_without_examples(workspace: Workspace) -> None:
    """The area under the curve of examples, held out by group, is given with what the others teach, and without."""
    with_examples(workspace)
    found = novelty_figures(rehearse(workspace, workspace.store(), HEAD))
    assert found is not None
    assert found["left_out"] is None
    assert found["none"]["documents"] == 10
    assert 0.9 < found["none"]["auroc"] <= 1
    assert found["none"]["ok"] + found["none"]["ambiguous"] + found["none"]["novel"] == pytest.approx(1)
    documents = [Document(TYPES[n % 3]) for n in range(30)]
    label_all(workspace, documents)
    found = novelty_figures(rehearse(workspace, workspace.store(), HEAD))
    assert found is not None
    assert found["none"] is None
    assert found["left_out"]["documents"] == 30
    assert 0 <= found["left_out"]["auroc"] == found["left_out"]["auroc_without"] <= 1


def test_examples_stay_with_their_group(workspace: Workspace) -> None:
    """An example of a group is never learnt from while a document of that group is held out."""
    with_examples(workspace)
    held = rehearse(workspace, workspace.store(), HEAD)
    groups = held.everything.groups.copy()
    groups[len(held.known.y)] = groups[0]
    pages = replace(held.everything, groups=groups)
    folds = folds_of_all(pages, held.folds)
    assert folds[len(held.known.y)] == held.folds[0]
    assert set(folds) == set(held.folds)
    np.testing.assert_array_equal(folds[: len(held.folds)], held.folds)


def test_pages_together_keep_their_columns(workspace: Workspace) -> None:
    """Types come first, and a column that one side lacks is left out."""
    with_examples(workspace)
    pages = labelled_pages(workspace, workspace.store(), Selection())
    both = together(pages, replace(pages.take(np.arange(3)), paths=None))
    np.testing.assert_array_equal(both.X[: len(pages.y)], pages.X)
    assert len(both.y) == len(pages.y) + 3
    assert both.paths is None
    assert together(pages, None) is pages


def answers(confident: int, distances: np.ndarray) -> HeldOutScores:
    """So many rows of type 0 told surely, at some distances, the others told at a guess."""
    n = len(distances)
    sure = np.arange(n) < confident
    scores = np.log(np.where(sure[:, None], [0.98, 0.01, 0.01], [1 / 3] * 3))
    rows, ones = np.arange(n), np.ones(n)
    return HeldOutScores(scores, np.zeros(n, np.int64), distances, rows % 5, ones, ones)


def test_limits_keep_strangers_from_being_ok() -> None:
    """Where more strangers would be sure of one type than allowed, the farthest answers of it are ambiguous."""
    known = answers(95, np.linspace(0.0, 0.5, 100))
    strangers = answers(40, np.linspace(0.2, 0.6, 100))
    before = decided(known.calibration(), strangers)
    assert np.mean(before.status == "ok") > GUARD
    after = limited(known, strangers)
    statuses = decided(after.calibration(), strangers).status
    assert 0 < np.mean(statuses == "ok") <= GUARD
    assert after.farthest is not None
    assert np.isfinite(after.farthest).tolist() == [True, False, False]
    assert limited(known, answers(2, np.linspace(0.2, 0.6, 100))).farthest is None
    assert limited(known, answers(0, np.empty(0))) is known


def test_a_curve_needs_both_sides() -> None:
    """Without strangers, or without distances, there is no area under the curve."""
    known = answers(95, np.linspace(0.0, 0.5, 100))
    assert auroc(known, answers(0, np.linspace(1, 2, 10))) == pytest.approx(1, abs=0.02)
    assert auroc(known, answers(0, np.empty(0))) is None
    assert auroc(known, answers(1, np.full(5, np.nan))) is None


def test_the_guard_is_in_the_manifest(workspace: Workspace) -> None:
    """Each type was left out, and shares are given of what became of its documents."""
    documents = [Document(TYPES[n % 3]) for n in range(30)]
    label_all(workspace, documents)
    store = write_store(workspace, documents)
    found = fit(workspace, store, HEAD).fitted_on["guard"]
    assert (found["types"], found["documents"], found["largest"]) == (3, 30, "form")
    assert 0 <= found["largest_ok"] <= GUARD
    assert found["largest_ok"] <= found["any_ok"] <= 1
