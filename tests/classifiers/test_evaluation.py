"""Honest figures: folds that keep groups together, metrics as by hand, calibration that recovers the truth."""

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn import metrics as sk
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from embedpipe.classifiers import folds, labelled_pages
from embedpipe.classifiers.bundles import CLASSIFIERS, WORDS, build_classifier
from embedpipe.classifiers.evaluation import (
    HeldOut,
    cross_validate,
    document_answers,
    document_scores,
    held_out_distances,
)
from embedpipe.classifiers.folds import FOLDS, grouped_folds
from embedpipe.classifiers.group_guesses import isolated, near_copies
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.drawn import careless_folds
from embedpipe.classifiers.metrics import confusion, metrics_of, per_class, top_accuracy
from embedpipe.classifiers.parts import Part
from embedpipe.classifiers.scores.pooling import mean_log_scores
from embedpipe.classifiers.text.words import build_words
from embedpipe.core.errors import LabelsError


def labelled(y: Any, documents: Any, groups: Any = None, X: Any = None) -> LabelledPages:
    """Pages with made-up features; those of a document are numbered as they come."""
    y, documents = np.asarray(y, object), np.asarray(documents, object)
    X = np.random.default_rng(0).normal(size=(len(y), 4)) if X is None else X
    groups = documents if groups is None else np.asarray(groups, object)
    indices = np.array([list(documents[:i]).count(document) for i, document in enumerate(documents)], np.int64)
    return LabelledPages(np.arange(len(y)), np.asarray(X, np.float32), y, documents, groups, indices)


@pytest.fixture(scope="module")
def pages() -> LabelledPages:
    """30 documents of 1 to 4 pages, three types that overlap, every fifth document of a common group."""
    rng = np.random.default_rng(3)
    y, documents, groups = [], [], []
    for number in range(30):
        for _ in range(rng.integers(1, 5)):
            y.append("abc"[number % 3])
            documents.append(f"d{number:02}")
            groups.append("template" if number % 5 == 0 else f"d{number:02}")
    X = np.eye(3)[["abc".index(kind) for kind in y]] @ rng.normal(0, 1, (3, 4)) + rng.normal(0, 0.7, (len(y), 4))
    return labelled(y, documents, groups, X)


@pytest.fixture(scope="module")
def held_out(pages: LabelledPages) -> HeldOut:
    """Scores that are no better than the features allow, with mistakes in them."""
    return cross_validate(lambda: build_classifier("knn", [("all", 0, 4)]), pages, grouped_folds(pages))


def test_a_document_weighs_one_whatever_its_length(pages: LabelledPages) -> None:
    """The weights of a document's pages add up to one, and fall as one over the page's number."""
    for document in set(pages.documents):
        weights = pages.weights[pages.documents == document]
        assert weights.sum() == pytest.approx(1)
        np.testing.assert_allclose(weights[0] / weights, np.arange(1, len(weights) + 1))


def test_the_weights_do_not_depend_on_the_order_of_pages(pages: LabelledPages) -> None:
    """Shuffled pages keep their weights."""
    order = np.random.default_rng(5).permutation(len(pages.y))
    np.testing.assert_allclose(pages.take(order).weights, pages.weights[order])


def test_a_page_weighs_by_its_number_even_where_others_are_missing() -> None:
    """Where only later pages of a document were used, each still counts one over its own number."""
    pages = dataclasses.replace(labelled(["a"] * 2, ["x"] * 2), page_indices=np.array([1, 3]))
    np.testing.assert_allclose(pages.weights, [2 / 3, 1 / 3])


def test_groups_are_never_on_both_sides(pages: LabelledPages) -> None:
    """All pages of a group, and so of a document, are held out in the same fold; every fold is used."""
    folds = grouped_folds(pages)
    for names in (pages.groups, pages.documents):
        assert all(len(set(folds[names == name])) == 1 for name in names)
    assert set(folds) == set(range(FOLDS))
    np.testing.assert_array_equal(folds, grouped_folds(pages))


def test_types_are_spread_over_the_folds() -> None:
    """With enough documents, each fold holds its share of every type."""
    pages = labelled(["a"] * 20 + ["b"] * 10, range(30))
    folds = grouped_folds(pages)
    assert [int(((folds == fold) & (pages.y == "a")).sum()) for fold in range(5)] == [4] * 5
    assert [int(((folds == fold) & (pages.y == "b")).sum()) for fold in range(5)] == [2] * 5


class Recorder(ClassifierMixin, BaseEstimator):
    """Notes what it was fitted on, with which weights, and asked for; features are page numbers."""

    log: list[tuple[dict[int, float], set[int]]] = []  # noqa: RUF012 - a note for the test

    def fit(self, X: NDArray[np.float32], y: NDArray[Any], sample_weight: NDArray[np.float64]) -> "Recorder":
        """Notes the rows."""
        self.classes_ = np.unique(y)
        self.rows_ = dict(zip(X[:, 0].astype(int).tolist(), sample_weight.tolist(), strict=True))
        return self

    def predict_proba(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Notes the rows asked for."""
        self.log.append((self.rows_, {int(row) for row in X[:, 0]}))
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def test_no_classifier_sees_what_it_is_measured_on(pages: LabelledPages) -> None:
    """Each fold's classifier is fitted on exactly the pages of the other folds, of other groups, by their weights."""
    numbered = labelled(pages.y, pages.documents, pages.groups, np.arange(len(pages.y))[:, None])
    Recorder.log.clear()
    cross_validate(lambda: Pipeline([("recorder", Recorder())]), numbered, grouped_folds(numbered))
    assert len(Recorder.log) == FOLDS
    everything = set(range(len(pages.y)))
    for train, test in Recorder.log:
        assert set(train) | test == everything
        assert not set(train) & test
        assert train == {i: numbered.weights[i] for i in train}
        assert not {numbered.groups[i] for i in train} & {numbered.groups[i] for i in test}
    assert sorted(i for _, test in Recorder.log for i in test) == sorted(everything)


def with_variants(pages: LabelledPages) -> LabelledPages:
    """Numbered pages, each with two variants that have numbers of their own; every third page lacks its second."""
    numbers = np.arange(len(pages.y))
    variants = np.stack([100 + numbers, 200 + numbers], axis=1)[..., None].astype(np.float16)
    variants[::3, 1] = np.nan
    return dataclasses.replace(labelled(pages.y, pages.documents, pages.groups, numbers[:, None]), variants=variants)


def test_variants_are_learnt_from_with_their_page_and_never_asked_for(pages: LabelledPages) -> None:
    """They are on the training side with their page, share its weight with it, and are never held out."""
    numbered = with_variants(pages)
    Recorder.log.clear()
    folds = grouped_folds(numbered)
    found = cross_validate(lambda: Pipeline([("recorder", Recorder())]), numbered, folds)
    assert len(found.log_scores) == len(pages.y)
    for train, test in Recorder.log:
        learnt = {number for number in train if number < 100}
        assert {number % 100 for number in train} == learnt
        assert set(train) == learnt | {100 + n for n in learnt} | {200 + n for n in learnt if n % 3}
        assert not learnt & test
        assert max(test) < 100
        assert all(train[n] == train[100 + n] == pytest.approx(numbered.weights[n] / (2 + (n % 3 > 0))) for n in learnt)


def test_a_document_weighs_one_with_all_its_variants(pages: LabelledPages) -> None:
    """Whatever was made of its pages, and whichever of them are learnt from; types are those of the pages."""
    numbered = with_variants(pages)
    lessons = numbered.lessons()
    owner = lessons.X[:, 0].astype(int) % 100
    np.testing.assert_array_equal(lessons.y, pages.y[owner])
    weights = np.bincount(owner, weights=lessons.weights)
    for document in set(pages.documents):
        assert weights[pages.documents == document].sum() == pytest.approx(1)
    some = numbered.lessons(np.arange(len(pages.y)) > 3)
    assert set(some.X[:, 0].astype(int) % 100) == set(range(4, len(pages.y)))
    plain = pages.lessons()
    np.testing.assert_array_equal(plain.X, pages.X)
    np.testing.assert_array_equal(plain.weights, pages.weights)


def test_a_page_is_familiar_that_looks_like_a_variant() -> None:
    """Distances are also to variants: what they look like is no novelty."""
    rng = np.random.default_rng(0)
    X = np.eye(8)[np.arange(60) % 3] + rng.normal(0, 0.1, (60, 8))
    odd = X + np.where(np.arange(60)[:, None] < 6, np.eye(8)[7] * 3, 0)
    plain = labelled(["a", "b", "c"] * 20, range(60), X=odd)
    moved = (X + np.eye(8)[7] * 3)[:, None].astype(np.float16)
    folds = grouped_folds(plain)

    def distances(pages: LabelledPages) -> NDArray[np.float64]:
        return held_out_distances(lambda: build_classifier("svm", [("all", 0, 8)]), pages, folds)[:6]

    assert np.median(distances(dataclasses.replace(plain, variants=moved))) < np.median(distances(plain))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_labels_that_mean_nothing_score_like_chance(kind: str) -> None:
    """On features that say nothing about the type, but all about the group, no classifier is better than chance."""
    rng = np.random.default_rng(1)
    y = np.repeat(rng.permutation(["a", "b"] * 20), 4)
    documents = np.repeat(np.arange(40), 4)
    X = rng.normal(0, 1, (40, 8))[documents] + rng.normal(0, 0.01, (160, 8))
    pages = labelled(y, documents, X=X)
    held_out = cross_validate(lambda: build_classifier(kind, [("all", 0, 8)]), pages, grouped_folds(pages))
    assert metrics_of(pages, held_out)["document_balanced_accuracy"] < 0.75


def test_a_type_that_the_other_folds_lack_is_never_told() -> None:
    """Pages of a type with a single document are held out unknown, and told as another type without error."""
    pages = labelled(["a", "b"] * 6 + ["lonely"] * 2, [*range(12), 12, 12])
    held_out = cross_validate(lambda: build_classifier("knn", [("all", 0, 4)]), pages, grouped_folds(pages))
    assert held_out.classes == ["a", "b", "lonely"]
    assert np.isfinite(held_out.log_scores).all()
    assert (held_out.log_scores[-2:].argmax(axis=1) != 2).all()
    figures = metrics_of(pages, held_out)
    assert figures["types_with_one_group"] == ["lonely"]
    assert (figures["held_out_documents"], figures["measured_documents"]) == (13, 12)
    others = pages.take(pages.y != "lonely")
    told = np.asarray(held_out.classes, object)[held_out.log_scores[:-2].argmax(axis=1)]
    assert figures["accuracy"] == pytest.approx(sk.accuracy_score(list(others.y), list(told)))


def test_one_document_of_each_type_measures_nothing() -> None:
    """No type was ever learnt and tested at once: every figure is None, and not 0."""
    pages = labelled(["a"] * 3 + ["b"] * 3 + ["c"] * 3, [0] * 3 + [1] * 3 + [2] * 3)
    held_out = cross_validate(lambda: build_classifier("head", [("all", 0, 4)]), pages, grouped_folds(pages))
    figures = metrics_of(pages, held_out)
    assert (figures["held_out_documents"], figures["measured_documents"]) == (3, 0)
    assert {figures[name] for name in ("accuracy", "macro_f1", "document_accuracy", "document_macro_f1")} == {None}


def test_types_without_documents_have_no_figures() -> None:
    """Recall and F1 of nothing are None; the precision is known where the type was told."""
    truth, told = (np.array(names, object) for names in (["a", "a"], ["a", "b"]))
    rows = {row["type"]: row for row in per_class(truth, told, ["a", "b", "c"])}
    assert (rows["b"]["precision"], rows["b"]["recall"], rows["b"]["f1"]) == (0.0, None, None)
    assert (rows["c"]["precision"], rows["c"]["recall"], rows["c"]["f1"]) == (None, None, None)


def test_a_fold_that_leaves_one_type_tells_that_type() -> None:
    """Where the other folds hold one type only, that one is told."""
    pages = labelled(["a", "a", "b", "b"], [0, 0, 1, 1])
    held_out = cross_validate(lambda: build_classifier("svm", [("all", 0, 4)]), pages, grouped_folds(pages))
    assert held_out.log_scores.argmax(axis=1).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("y", "documents", "message"),
    [
        (["a"] * 6, range(6), "all labelled pages are of the type 'a': label documents of another type as well"),
        (["a", "b"] * 3, [0] * 6, "all labelled pages are of one group: label more documents"),
    ],
    ids=["one type", "one group"],
)
def test_too_few_labels_are_said_in_one_line(y: Any, documents: Any, message: str) -> None:
    """One type alone, or one group alone, is refused in one line that says what to do."""
    with pytest.raises(LabelsError) as caught:
        grouped_folds(labelled(y, documents))
    assert str(caught.value) == message


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), min_size=1, max_size=14))
def test_any_labels_are_split_or_refused_with_reason(rows: list[tuple[str, int]]) -> None:
    """Whatever was labelled, groups stay together in at least two folds, or a LabelsError says why not."""
    pages = labelled([kind for kind, _ in rows], [document for _, document in rows])
    try:
        folds = grouped_folds(pages)
    except LabelsError:
        return
    assert 2 <= len(set(folds)) <= FOLDS
    assert all(len(set(folds[pages.documents == document])) == 1 for document in pages.documents)


def test_few_documents_of_each_type_are_enough() -> None:
    """Four documents of one page of each of two types are split although there are fewer than folds."""
    folds = grouped_folds(labelled(["a"] * 4 + ["b"] * 4, range(8)))
    assert len(set(folds)) >= 2


def test_document_scores_are_the_mean_probabilities() -> None:
    """A document's probabilities are its pages' mean, the second page counting half, computed by hand."""
    probabilities = np.array([[0.8, 0.2], [0.5, 0.5], [0.2, 0.8]])
    scores = document_scores(labelled(["a", "a", "b"], ["x", "x", "y"]), np.log(probabilities))
    assert scores.documents.tolist() == ["x", "y"]
    assert scores.y.tolist() == ["a", "b"]
    np.testing.assert_allclose(np.exp(scores.log_scores), [[0.7, 0.3], [0.2, 0.8]])


def test_the_order_of_pages_does_not_matter(pages: LabelledPages, held_out: HeldOut) -> None:
    """Shuffled pages give the same documents with the same scores."""
    order = np.random.default_rng(5).permutation(len(pages.y))
    one = document_scores(pages, held_out.log_scores)
    other = document_scores(pages.take(order), held_out.log_scores[order])
    assert one.documents.tolist() == other.documents.tolist() == sorted(set(pages.documents))
    assert one.y.tolist() == other.y.tolist()
    np.testing.assert_allclose(one.log_scores, other.log_scores, rtol=1e-12)


def test_documents_whose_pages_differ_in_type_are_left_out() -> None:
    """A document with pages of two types has no type of its own and is not scored as a document."""
    scores = document_scores(labelled(["a", "b", "b"], ["mixed", "mixed", "y"]), np.log(np.full((3, 2), 0.5)))
    assert scores.documents.tolist() == ["y"]


def test_impossible_scores_stay_finite() -> None:
    """Pages that exclude a type altogether leave the document's scores finite."""
    means = mean_log_scores(np.array([[0.0, -2000.0], [0.0, -2000.0]]), np.ones(2), np.array([0, 0]))
    assert np.isfinite(means).all()
    assert means.argmax() == 0


def test_metrics_are_those_of_scikit_learn(pages: LabelledPages, held_out: HeldOut) -> None:
    """All figures of pages and documents are what scikit-learn gives for predictions made by hand."""
    figures = metrics_of(pages, held_out)
    told = [held_out.classes[i] for i in held_out.log_scores.argmax(axis=1)]
    truth = list(pages.y)
    assert 0.4 < figures["accuracy"] < 0.99  # mistakes are there to be counted
    assert figures["accuracy"] == pytest.approx(sk.accuracy_score(truth, told))
    assert figures["balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, told))
    assert figures["macro_f1"] == pytest.approx(sk.f1_score(truth, told, average="macro"))
    names = sorted(set(pages.documents))
    rows = [np.flatnonzero(pages.documents == name) for name in names]
    weights = [1 / (pages.page_indices[row] + 1) for row in rows]
    scores = np.exp(held_out.log_scores)
    probabilities = np.stack([np.average(scores[r], axis=0, weights=w) for r, w in zip(rows, weights, strict=True)])
    told = [held_out.classes[i] for i in probabilities.argmax(axis=1)]
    truth = [pages.y[pages.documents == name][0] for name in names]
    assert figures["document_accuracy"] == pytest.approx(sk.accuracy_score(truth, told))
    assert figures["document_balanced_accuracy"] == pytest.approx(sk.balanced_accuracy_score(truth, told))
    assert figures["document_macro_f1"] == pytest.approx(sk.f1_score(truth, told, average="macro"))
    assert figures["folds"] == FOLDS
    assert figures["groups"] == len(set(pages.groups)) == 25
    assert figures["types_with_one_group"] == []


def test_the_true_type_among_the_first_k_is_counted() -> None:
    """Top-k accuracy by hand: the truth is first, second and last of three."""
    scores = np.log([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.6, 0.3, 0.1]])
    truth = np.array([0, 1, 2])
    assert [top_accuracy(scores, truth, k) for k in (1, 2, 3)] == pytest.approx([1 / 3, 2 / 3, 1])


def test_macro_f1_counts_the_types_that_exist() -> None:
    """A type that is told but has no document does not lower the mean over the types."""
    pages = labelled(["a", "a", "b", "b", "c", "d"], ["1", "2", "3", "4", "x", "x"])
    scores = np.log(np.eye(4)[[0, 2, 1, 1, 2, 3]] * 0.9 + 0.025)
    figures = metrics_of(pages, HeldOut(["a", "b", "c", "d"], scores, np.array([0, 1, 0, 1, 0, 0])))
    assert figures["document_macro_f1"] == pytest.approx((2 / 3 + 1) / 2)
    assert figures["document_balanced_accuracy"] == pytest.approx((1 / 2 + 1) / 2)


def test_metrics_without_any_document_of_one_type_are_possible() -> None:
    """Where every document mixes types, the pages still have their figures."""
    pages = labelled(["a", "b"] * 6, np.repeat(np.arange(6), 2))
    held_out = cross_validate(lambda: build_classifier("svm", [("all", 0, 4)]), pages, grouped_folds(pages))
    assert 0 <= metrics_of(pages, held_out)["accuracy"] <= 1


def test_tables_per_type_are_counted_by_hand() -> None:
    """Confusion counts truth by row and telling by column; precision, recall and F1 follow from it."""
    truth = np.array(["a", "a", "a", "b", "b", "c"], object)
    told = np.array(["a", "a", "b", "b", "b", "a"], object)
    assert confusion(truth, told, ["a", "b", "c"]).tolist() == [[2, 1, 0], [0, 2, 0], [1, 0, 0]]
    rows = per_class(truth, told, ["a", "b", "c"])
    assert [row["type"] for row in rows] == ["a", "b", "c"]
    assert [row["documents"] for row in rows] == [3, 2, 1]
    assert [row["precision"] for row in rows] == pytest.approx([2 / 3, 2 / 3, 0])
    assert [row["recall"] for row in rows] == pytest.approx([2 / 3, 1, 0])
    assert [row["f1"] for row in rows] == pytest.approx([2 / 3, 4 / 5, 0])


def test_near_copies_are_never_on_both_sides() -> None:
    """Documents of different groups that hold nearly the same picture become one group; the others stay."""
    rng = np.random.default_rng(0)
    X = rng.normal(0, 1, (12, 20))
    X[7] = X[2] + 0.001
    pages = labelled(["a", "b"] * 6, range(12), X=X)
    groups = isolated(pages, near_copies(pages, [("all", 0, 20)])).groups
    assert groups[7] == groups[2]
    assert len(set(groups)) == 11


def test_a_type_of_near_copies_alone_keeps_its_groups() -> None:
    """Where all documents of a type look the same, new ones will as well: they can still be learnt and tested."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(0, 1, (1, 20)) + rng.normal(0, 1e-3, (4, 20)), rng.normal(0, 1, (8, 20))])
    pages = labelled(["form"] * 4 + ["letter"] * 8, range(12), X=X)
    groups = isolated(pages, near_copies(pages, [("all", 0, 20)])).groups
    assert len(set(groups)) == 12


def test_few_documents_are_learnt_from_when_asked() -> None:
    """With at most two documents of each type, each fold's classifier sees two of each, of the other folds."""
    pages = labelled(["a", "b"] * 10, range(20), X=np.arange(20)[:, None])
    Recorder.log.clear()
    cross_validate(lambda: Pipeline([("recorder", Recorder())]), pages, grouped_folds(pages), 2)
    for train, test in Recorder.log:
        assert sorted(pages.y[list(train)]) == ["a", "a", "b", "b"]
        assert not set(train) & test


def test_a_careless_split_tears_documents_apart() -> None:
    """Folds of pages at random hold pages of the same document on both sides, and all pages once."""
    pages = labelled(["a"] * 40, np.repeat(range(4), 10))
    folds = careless_folds(len(pages.y))
    assert all(len(set(folds[pages.documents == document])) > 1 for document in range(4))
    assert np.bincount(folds).tolist() == [8] * 5


def test_a_page_is_far_from_what_the_other_folds_lack() -> None:
    """Pages of a type that only their own group has are farther from the labelled pages than the others."""
    rng = np.random.default_rng(0)
    y = ["a", "b", "c"] * 20 + ["lonely"] * 6
    X = np.array([np.eye(8)[["a", "b", "c", "lonely"].index(kind)] for kind in y]) + rng.normal(0, 0.1, (66, 8))
    pages = labelled(y, range(66), [*range(60), *[99] * 6], X)
    distances = held_out_distances(lambda: build_classifier("svm", [("all", 0, 8)]), pages, grouped_folds(pages))
    assert np.median(distances[60:]) > 2 * np.median(distances[:60])


def test_answers_of_documents_follow_their_scores(pages: LabelledPages, held_out: HeldOut) -> None:
    """Each document has the type, the fold and the weighted mean distance of its own pages."""
    distances = np.random.default_rng(0).random(len(pages.y))
    answers = document_answers(pages, held_out, distances)
    for row, document in enumerate(document_scores(pages, held_out.log_scores).documents):
        own = pages.documents == document
        assert held_out.classes[answers.truth[row]] == pages.y[own][0]
        assert {answers.folds[row]} == set(held_out.folds[own])
        weights = 1 / (pages.page_indices[own] + 1)
        assert answers.distances[row] == pytest.approx(np.average(distances[own], weights=weights))


def test_all_pages_are_taken_without_a_copy(pages: LabelledPages) -> None:
    """Of a hundred thousand pages a copy is half a gigabyte; a mask that leaves one out makes one."""
    assert pages.take(np.ones(len(pages.y), bool)) is pages
    some = np.arange(len(pages.y)) > 0
    assert len(pages.take(some).y) == len(pages.y) - 1


def test_words_of_many_pages_are_learnt_from_the_first_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every document is heard before a second page of any; which second pages are is drawn, and always the same."""
    monkeypatch.setattr(labelled_pages, "MOST_PAGES", 15)
    own = labelled(["a", "b"] * 30, [f"d{number % 10}" for number in range(60)])
    own = dataclasses.replace(own, words=csr_array(np.arange(1, 61, dtype=np.float32)[:, None]))
    lessons = own.lessons_of(Part(WORDS, build_words))
    learnt = lessons.X.toarray().ravel().astype(int) - 1
    assert learnt[:10].tolist() == list(range(10))
    assert set(own.page_indices[learnt[10:]]) == {1}
    assert (lessons.y == own.y[learnt]).all()
    again = own.lessons_of(Part(WORDS, build_words))
    assert (again.X != lessons.X).nnz == 0


@pytest.mark.parametrize("words", [False, True])
def test_each_fold_is_worked_on_once(monkeypatch: pytest.MonkeyPatch, words: bool) -> None:
    """Also where there are so many pages that only words are learnt several at a time."""
    monkeypatch.setattr(folds, "MANY_PAGES", 3)
    parts = [Part("pictures", build_words), *([Part(WORDS, build_words)] if words else [])]
    done: list[tuple[int, str]] = []
    folds.in_each_fold(lambda fold, part: done.append((fold, part.name)), np.array([0, 1, 2, 1, 0, -1]), parts)
    assert sorted(done) == sorted((fold, part.name) for part in parts for fold in (0, 1, 2))
