"""Labels that are likely wrong are found first, and look-alikes that contradict labels or flatter figures."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from classifiers.test_training import TYPES, Document, sha, trained_store, write_labels, write_store
from PIL import Image

from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.core.errors import LabelsError
from embedpipe.embedding import cue_table
from embedpipe.pages.cues import CUES
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import check_labels
from embedpipe.tasks.check_labels import as_json, check, draw, off_diagonal, save, unconfirmed
from embedpipe.tasks.decide import CONFIRMED, Batch, Decision, LabelBook

WRONG = (4, 11)


@pytest.fixture
def store(workspace: Workspace) -> FeatureStore:
    """30 documents of three types, two of which have a wrong label."""
    documents = [Document(TYPES[n % 3], ["ok"] * (1 + n % 2)) for n in range(30)]
    labels = [TYPES[(n + (n in WRONG)) % 3] for n in range(30)]
    write_labels(workspace, [Label(sha(n), f"/{n}.pdf", label) for n, label in enumerate(labels)])
    return write_store(workspace, documents)


def test_confident_learning_counts_what_is_off_the_diagonal() -> None:
    """A row is wrong if another type reaches its own mean confidence and is the best of those that do."""
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.05, 0.95], [0.1, 0.9], [0.35, 0.65]])
    given = np.array([0, 0, 0, 1, 1])
    # thresholds: type 0 (0.9 + 0.8 + 0.05) / 3, type 1 (0.9 + 0.65) / 2; the last row reaches none
    assert off_diagonal(probabilities, given).tolist() == [False, False, True, False, False]


def test_a_judge_with_cues_looks_at_them(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where only cues tell the types, a classifier with cues finds the wrong labels."""
    store = write_store(workspace, [Document(TYPES[0])] * 30)
    labels = [TYPES[(n + (n in WRONG)) % 3] for n in range(30)]
    write_labels(workspace, [Label(sha(n), f"/{n}.pdf", label) for n, label in enumerate(labels)])

    def told(_: Workspace, keys: list[tuple[str, int]]) -> np.ndarray:
        return np.array([np.arange(len(CUES)) % 3 == int(sha256, 16) % 3 for sha256, _ in keys], np.float32)

    monkeypatch.setattr(cue_table, "cues_of", told)
    found = check(workspace, store, TrainingRecipe("head", cues=True))
    assert {doubt.page.document_sha256 for doubt in found.documents[:2]} == {sha(n) for n in WRONG}


@pytest.mark.parametrize("kind", ["svm", "knn", "head"])
def test_wrong_labels_come_first(kind: str, workspace: Workspace, store: FeatureStore) -> None:
    """The wrong labels are the first ones of documents, each with its true type, and of pages."""
    found = check(workspace, store, TrainingRecipe(kind))
    assert {doubt.page.document_sha256 for doubt in found.documents[:2]} == {sha(n) for n in WRONG}
    assert len(found.documents) == 30
    for doubt in found.documents[:2]:
        number = int(doubt.page.document_sha256, 16)
        assert (doubt.label, doubt.suggested, doubt.likely) == (TYPES[(number + 1) % 3], TYPES[number % 3], True)
        assert doubt.self_confidence < doubt.suggested_confidence
    assert {doubt.page.document_sha256 for doubt in found.pages[:3]} == {sha(n) for n in WRONG}


def test_a_label_that_was_confirmed_is_left_out(workspace: Workspace, store: FeatureStore) -> None:
    """As long as it is the type that was confirmed; how many were left out is said."""
    found = check(workspace, store, TrainingRecipe("svm"))
    before, (doubt, *_) = [one.page for one in found.likely], found.likely
    decision = Decision(doubt.page.document_sha256, doubt.label)
    LabelBook(workspace).apply([Batch([decision], CONFIRMED)], {})
    left = unconfirmed(LabelBook(workspace).confirmed(), found)
    assert [one.page for one in left.likely] == before[1:]
    assert (as_json(left)["confirmed"], len(left.documents)) == (1, len(found.documents))
    other = [replace(one, label=doubt.suggested) if one is doubt else one for one in found.documents]
    assert unconfirmed(LabelBook(workspace).confirmed(), replace(found, documents=other)).confirmed == 0
    assert not [page for page in left.pages if page.likely and page.page.document_sha256 == before[0].document_sha256]


def test_types_of_one_group_are_not_judged(workspace: Workspace, store: FeatureStore) -> None:
    """A type whose documents are all of one group is named and none of its documents is called wrong."""
    labels = workspace.labels()
    labels.add([Label(sha(n), "", "memo", group="sender") for n in (0, 3, 6)])
    labels.save(workspace.labels_file)
    found = check(workspace, store, TrainingRecipe("svm"))
    assert found.unjudged == ["memo"]
    assert len(found.documents) == 27


def test_labels_that_the_network_was_trained_on_are_not_judged(workspace: Workspace) -> None:
    """It knows them, right or wrong; the others are judged, and look-alikes are found among all."""
    documents = [Document(TYPES[n % 3]) for n in range(30)]
    store = trained_store(workspace, documents, 15)
    write_labels(workspace, [Label(sha(n), "", TYPES[(n + (n in (4, 20))) % 3]) for n in range(30)])
    found = check(workspace, store, TrainingRecipe("head"))
    assert {int(doubt.page.document_sha256, 16) for doubt in found.documents} == set(range(15, 30))
    assert found.seen_documents == as_json(found)["seen_documents"] == 15


def test_look_alikes_across_types_and_groups_are_found(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same page in two types, or in two groups of one type, is named; nearly empty pages are not."""
    store = write_store(workspace, [Document(TYPES[n % 2], noise=0.5 if n > 3 else 1e-4) for n in range(20)])
    write_labels(workspace, [Label(sha(n), "", "letter" if n == 2 else TYPES[n % 2]) for n in range(20)])
    found = check(workspace, store, TrainingRecipe("svm"))
    pairs = [{page.document_sha256 for page in twins.pages} for twins in found.across_types]
    assert pairs == [{sha(0), sha(2)}]
    assert [{page.document_sha256 for page in twins.pages} for twins in found.across_groups] == [{sha(1), sha(3)}]
    labels = workspace.labels()
    labels.add([Label(sha(n), "", TYPES[1], group="one sender") for n in (1, 3)])
    labels.save(workspace.labels_file)
    assert check(workspace, store, TrainingRecipe("svm")).across_groups == []
    monkeypatch.setattr(check_labels, "_WRITTEN", 0.2)
    assert check(workspace, store, TrainingRecipe("svm")).across_types == []


def test_the_csv_can_be_filled_in_and_taken(workspace: Workspace, store: FeatureStore, tmp_path: Path) -> None:
    """The CSV holds the doubts with an empty label; the JSON the same, and the contact sheet is drawn without files."""
    found = check(workspace, store, TrainingRecipe("svm"))
    save(found, tmp_path / "doubts.csv")
    with open(tmp_path / "doubts.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["label"] for row in rows} == {""}
    values = as_json(found)
    named = [row["document"] for row in rows if row["problem"] == "document may be another type"]
    assert set(named[:2]) == {sha(n) for n in WRONG}
    assert len(named) == len(values["documents"])
    draw(workspace, found, tmp_path / "doubts.png")
    with Image.open(tmp_path / "doubts.png") as image:
        assert image.width > 600


def test_one_type_cannot_be_checked(workspace: Workspace) -> None:
    """With one type there is nothing to compare with, and the error says so."""
    store = write_store(workspace, [Document("form"), Document("form")])
    write_labels(workspace, [Label(sha(n), "", "form") for n in range(2)])
    with pytest.raises(LabelsError, match="another type"):
        check(workspace, store, TrainingRecipe("svm"))
