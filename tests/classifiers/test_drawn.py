"""Of many labelled pages as many are held out as figures need, in whole groups."""

import numpy as np
import pytest
from classifiers.test_evaluation import Recorder, labelled
from classifiers.test_held_out import half_seen
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.calibration.confidence import standard_error
from embedpipe.classifiers.evaluation import cross_validate
from embedpipe.classifiers.folds import FOLDS, LEARNT, rounds_of
from embedpipe.classifiers.lessons import drawn
from embedpipe.classifiers.lessons.drawn import careless_folds, drawn_folds, judged_folds
from embedpipe.classifiers.lessons.held_out import held_out_of
from embedpipe.classifiers.metrics import metrics_of


@pytest.mark.parametrize(("most", "rounds"), [(400, 5), (240, 3), (150, 2), (80, 1), (40, 1)])
def test_of_many_pages_some_groups_are_held_out_and_the_others_always_learnt_from(
    monkeypatch: pytest.MonkeyPatch, most: int, rounds: int
) -> None:
    """About as many pages as are wanted are held out, each once, by classifiers that saw nothing of their groups."""
    monkeypatch.setattr(drawn, "MOST_PAGES", most)
    kinds = np.repeat(["a", "b", "c", "a"] * 50, 2)
    kinds[:16] = "r"  # of two groups
    pages = labelled(kinds, np.arange(400) // 2, np.arange(400) // 8, np.arange(400)[:, None])
    folds = drawn_folds(pages)
    chosen = set(np.flatnonzero(folds != LEARNT))
    assert most <= len(chosen) <= max(1.6 * most, 400)
    assert len(np.unique(folds[folds != LEARNT])) >= FOLDS
    assert set(pages.y[folds != LEARNT]) == set(pages.y)
    Recorder.log.clear()
    found = cross_validate(lambda: Pipeline([("recorder", Recorder())]), pages, folds)
    assert len(Recorder.log) == rounds == len(np.unique(rounds_of(found.folds)))
    assert sorted(i for _, test in Recorder.log for i in test) == sorted(chosen)
    for train, test in Recorder.log:
        assert set(train) == set(range(400)) - test
        assert not set(pages.groups[list(train)]) & set(pages.groups[list(test)])
    for fold in np.unique(found.folds):  # weights and calibrations are learnt from other groups as well
        own = np.unique(pages.groups[folds == fold])
        assert (folds[np.isin(pages.groups, own)] == fold).all()
    metrics = metrics_of(held_out_of(pages, folds), found)
    assert (metrics["folds"], metrics["seen_documents"]) == (rounds, 0)
    assert ("sample" in metrics) == (len(chosen) < 400)
    if "sample" in metrics:
        assert metrics["sample"]["of_documents"] == 200
        assert 0 <= metrics["sample"]["standard_error"] <= 0.2
    assert (drawn_folds(pages) == folds).all()


def test_every_label_is_judged_in_fewer_folds_where_there_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many pages in three, and in five otherwise."""
    pages = labelled(["a", "b"] * 30, range(60))
    assert len(np.unique(judged_folds(pages))) == FOLDS
    monkeypatch.setattr(drawn, "MOST_PAGES", 59)
    folds = judged_folds(pages)
    assert (len(np.unique(folds)), (folds == LEARNT).sum()) == (3, 0)


def test_pages_at_random_are_as_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Careless folds of many pages hold out as many as honest ones do."""
    monkeypatch.setattr(drawn, "MOST_PAGES", 80)
    folds = careless_folds(400)
    assert ((folds != LEARNT).sum(), len(np.unique(folds[folds != LEARNT]))) == (80, FOLDS)


def test_what_the_network_has_seen_is_not_drawn_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the unseen pages some are held out; figures say how many were seen, and how many were not drawn."""
    monkeypatch.setattr(drawn, "MOST_PAGES", 10)
    pages = half_seen(20)
    folds = drawn_folds(pages)
    assert 10 <= (folds != LEARNT).sum() < 20
    assert set(np.flatnonzero(folds != LEARNT)) <= set(range(20, 40))
    found = cross_validate(lambda: Pipeline([("recorder", Recorder())]), pages, folds)
    assert (found.seen_documents, found.undrawn_documents) == (20, 20 - (folds != LEARNT).sum())


def test_standard_errors_are_of_groups() -> None:
    """As of independent answers where each is a group, and larger where those of a group are alike."""
    right = np.random.default_rng(0).random(2000) < 0.8
    alone = standard_error(right, np.arange(2000))
    assert alone == pytest.approx((0.16 / 2000) ** 0.5, rel=0.05)
    assert standard_error(np.repeat(right, 4), np.arange(8000) // 4) == pytest.approx(alone, rel=1e-3)
    assert standard_error(right, np.zeros(2000)) is None
