"""What to label next: uncertain documents that are unlike the labelled ones and unlike each other."""

from pathlib import Path

import numpy as np
import pytest
from classifiers.test_training import TYPES, Document, label_all, sha, write_labels, write_store

from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.core.errors import LabelsError
from embedpipe.core.tables import read_csv
from embedpipe.embedding import cue_table
from embedpipe.pages.cues import CUES
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.label import take
from embedpipe.tasks.suggest import as_json, choose, margins, save, suggest


def unit(*angles: float) -> np.ndarray:
    """Vectors of unit length in the plane."""
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


def test_the_far_ones_come_first() -> None:
    """With equal uncertainties each choice is the row farthest from what is known or chosen."""
    rows = unit(0.1, 1.0, 1.05, 2.0)
    assert choose(rows, np.ones(4), unit(0.0), 3).tolist() == [3, 1, 0]
    assert choose(rows, np.ones(4), unit(0.0), 9).tolist() == [3, 1, 0, 2]


def test_without_known_rows_the_most_typical_one_comes_first() -> None:
    """The first choice is nearest to the mean, the next one far from it."""
    assert choose(unit(0.0, 0.9, 1.0, 1.1, 2.5), np.ones(5), unit(), 2).tolist() == [2, 4]


def test_uncertain_rows_come_first_and_copies_last() -> None:
    """Of rows alike far the uncertain one is chosen, and never a copy of a chosen row before another one."""
    rows = unit(1.0, -1.0, -1.0)
    assert choose(rows, np.array([0.3, 0.9, 0.9]), unit(0.0), 3).tolist() == [1, 0, 2]


def test_margins_are_of_the_two_best() -> None:
    """A sure row has no uncertainty, and a tie has it all."""
    scores = np.log(np.array([[0.98, 0.01, 0.01], [0.45, 0.45, 0.1]]))
    np.testing.assert_allclose(margins(scores), [0.03, 1.0])


def test_a_type_that_nobody_labelled_is_suggested(workspace: Workspace) -> None:
    """With and without a classifier the first suggestion is of the type without labels; labelled ones never come."""
    documents = [Document(TYPES[n % 3]) for n in range(24)] + [Document("letter", ["blank"])]
    store = write_store(workspace, documents)
    write_labels(workspace, [Label(sha(n), "", TYPES[n % 3]) for n in range(12) if n % 3 < 2])
    bundle = fit(workspace, store, TrainingRecipe("svm"))
    for judge in (bundle, None):
        found = suggest(workspace, store, 40, judge)
        assert int(found[0].document_sha256, 16) % 3 == 2
        assert {s.document_sha256 for s in found} == {sha(n) for n in range(24) if n >= 12 or n % 3 == 2}
        assert len(found[0].guesses) == (2 if judge else 0)


def test_a_classifier_with_cues_is_asked_with_them(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only cues tell the types, the guesses of a classifier with cues are right."""
    store = write_store(workspace, [Document(TYPES[0])] * 24)
    write_labels(workspace, [Label(sha(n), "", TYPES[n % 3]) for n in range(15)])

    def told(_: Workspace, keys: list[tuple[str, int]]) -> np.ndarray:
        return np.array([np.arange(len(CUES)) % 3 == int(sha256, 16) % 3 for sha256, _ in keys], np.float32)

    monkeypatch.setattr(cue_table, "cues_of", told)
    found = suggest(workspace, store, 40, fit(workspace, store, TrainingRecipe("head", cues=True)))
    assert len(found) == 9
    assert all(s.guesses[0] == TYPES[int(s.document_sha256, 16) % 3] for s in found)


def test_the_csv_goes_round(workspace: Workspace, tmp_path: Path) -> None:
    """A CSV of suggestions is taken by `label`: lines that were filled in count, the others are passed over."""
    store = write_store(workspace, [Document(TYPES[n % 3]) for n in range(9)])
    found = suggest(workspace, store, 3, None)
    save(found, tmp_path / "todo.csv")
    with pytest.raises(LabelsError, match="has a label"):
        take(workspace, str(tmp_path / "todo.csv"))
    text = (tmp_path / "todo.csv").read_text(encoding="utf-8-sig").splitlines()
    text[2] = text[2].replace(",,", ",memo,", 1)
    (tmp_path / "todo.csv").write_text("\n".join(text), encoding="utf-8")
    count, labels = take(workspace, str(tmp_path / "todo.csv"))
    assert (count, labels.skipped, labels.types()) == (1, 2, {"memo": 1})
    assert read_csv(tmp_path / "todo.csv")[1]["document"] == found[1].document_sha256
    assert found[1].document_sha256 not in {
        s["document"] for s in as_json(suggest(workspace, store, 9, None))["suggestions"]
    }


def test_nothing_to_label_says_so(workspace: Workspace) -> None:
    """Where every document is labelled there is nothing to suggest."""
    documents = [Document(TYPES[n % 3]) for n in range(6)]
    store = write_store(workspace, documents)
    label_all(workspace, documents)
    with pytest.raises(LabelsError, match="all 6 documents are labelled"):
        suggest(workspace, store, 3, None)
