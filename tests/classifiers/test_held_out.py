"""What a trained network has seen is learnt from and never measured on."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from classifiers.test_evaluation import Recorder, labelled
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.bundles import CLASSIFIERS, build_classifier
from embedpipe.classifiers.evaluation import cross_validate, held_out_distances
from embedpipe.classifiers.folds import LEARNT, grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.held_out import FEWEST_UNSEEN, held_out_of, honest_folds
from embedpipe.classifiers.metrics import metrics_of
from embedpipe.core.errors import LabelsError


def half_seen(unseen: int, y: Any = None) -> LabelledPages:
    """Forty documents in groups of two, of whose first ones the network has seen one of each group."""
    y = ["a", "b"] * 20 if y is None else y
    pages = labelled(y, range(40), np.arange(40) // 4 * 2 + np.arange(40) % 2, np.arange(40)[:, None])
    seen = np.isin(pages.groups, pages.groups[: 40 - unseen]) & (np.arange(40) % 4 < 2)
    return dataclasses.replace(pages, seen=seen)


def test_what_the_network_has_seen_is_learnt_from_and_never_held_out() -> None:
    """Each fold's classifier learns from every seen page; the held-out ones are those of groups that nobody saw."""
    pages = half_seen(20)
    folds = honest_folds(pages)
    held_out = set(np.flatnonzero(folds != LEARNT))
    assert held_out == set(range(20, 40))
    Recorder.log.clear()
    found = cross_validate(lambda: Pipeline([("recorder", Recorder())]), pages, folds)
    assert all(set(range(20)) <= set(train) and test <= held_out for train, test in Recorder.log)
    assert sorted(i for _, test in Recorder.log for i in test) == sorted(held_out)
    metrics = metrics_of(held_out_of(pages, folds), found)
    assert (metrics["held_out_documents"], metrics["seen_documents"], metrics["groups"]) == (20, 20, 10)
    assert len(held_out_distances(lambda: build_classifier("svm", [("all", 0, 1)]), pages, folds)) == 20


def test_groups_that_were_joined_with_a_seen_one_count_as_seen() -> None:
    """A near copy of a page that the network was trained on is no unseen page."""
    pages = half_seen(20)
    joined = dataclasses.replace(pages, groups=np.where(pages.groups == pages.groups[20], 0, pages.groups))
    assert set(np.flatnonzero(honest_folds(joined) == LEARNT)) == {*range(20), 20, 22}


def test_another_seed_divides_what_is_held_out_in_another_way() -> None:
    """The same pages are held out, in other folds, whether the network has seen some or none."""
    for pages in (half_seen(20), labelled(["a", "b"] * 10, range(20))):
        first, second = honest_folds(pages), honest_folds(pages, seed=1)
        assert ((first == LEARNT) == (second == LEARNT)).all()
        assert (first != second).any()


@pytest.mark.parametrize(
    "pages",
    [half_seen(FEWEST_UNSEEN - 2), half_seen(0), half_seen(20, ["a", "b"] * 10 + ["a"] * 20)],
    ids=["few", "none", "one type"],
)
def test_with_too_few_unseen_documents_no_figure_is_claimed(pages: LabelledPages) -> None:
    """Nothing is held out then, and every figure is None; what there is to learn from is learnt from."""
    folds = honest_folds(pages)
    assert (folds == LEARNT).all()
    found = cross_validate(lambda: build_classifier("knn", [("all", 0, 1)]), pages, folds)
    metrics = metrics_of(held_out_of(pages, folds), found)
    assert found.classes == ["a", "b"] == metrics["types_not_held_out"]
    assert (metrics["folds"], metrics["held_out_documents"], metrics["seen_documents"]) == (0, 0, 40)
    assert {name for name, value in metrics.items() if value is None} == {
        f"{level}{name}"
        for level in ("", "document_")
        for name in ("accuracy", "balanced_accuracy", "macro_f1", "top5_accuracy", "calibration_error")
    }


def test_a_frozen_network_has_seen_nothing() -> None:
    """Without any seen page the folds are those of all pages; with them, too few labels are refused as ever."""
    pages = labelled(["a", "b"] * 10, range(20))
    np.testing.assert_array_equal(honest_folds(pages), grouped_folds(pages))
    none = dataclasses.replace(pages, seen=np.zeros(len(pages.y), bool))
    np.testing.assert_array_equal(honest_folds(none), grouped_folds(pages))
    assert (
        metrics_of(none, cross_validate(lambda: build_classifier("knn", [("all", 0, 4)]), none, grouped_folds(none)))[
            "seen_documents"
        ]
        == 0
    )
    with pytest.raises(LabelsError, match="all labelled pages are of the type"):
        honest_folds(dataclasses.replace(none, y=np.full(len(none.y), "a", object), seen=~none.seen))  # type: ignore[operator]


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_features_that_know_their_labels_by_heart_do_not_flatter(kind: str) -> None:
    """A network that tells what it was trained on, and nothing else, scores like chance."""
    rng = np.random.default_rng(2)
    y = rng.permutation(["a", "b"] * 30)
    seen = np.arange(60) < 30
    X = rng.normal(0, 1, (60, 8)) + np.where(seen, np.where(y == "a", 9.0, -9.0), 0.0)[:, None]
    pages = dataclasses.replace(labelled(y, range(60), X=X), seen=seen)

    def accuracy(folds: NDArray[np.int64]) -> float:
        found = cross_validate(lambda: build_classifier(kind, [("all", 0, 8)]), pages, folds)
        return float(metrics_of(held_out_of(pages, folds), found)["accuracy"])

    assert accuracy(grouped_folds(pages)) > 0.65
    assert accuracy(honest_folds(pages)) < 0.65
