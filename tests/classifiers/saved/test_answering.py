"""A saved classifier answers without scikit-learn as it does with it, to the last bit."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from classifiers.test_bundles import BLOCKS, bundle, fitted, rows
from classifiers.test_saved_before import SAVED
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from embedpipe.classifiers import neighbours
from embedpipe.classifiers.bundles import (
    CLASSIFIERS,
    CUES,
    PICTURES,
    WORDS,
    ClassifierBundle,
    FittedParts,
    build_classifier,
    fit_classifier,
    fit_novelty,
)
from embedpipe.classifiers.calibration import novelty
from embedpipe.classifiers.saved.answering import Answerer
from embedpipe.classifiers.scores.fusion import Fusion
from embedpipe.classifiers.text.words import build_words, shrunk
from embedpipe.core.errors import ArtifactError, EmbedpipeError, SpaceMismatchError
from embedpipe.core.versions import in_use
from embedpipe.index import row_neighbours


@pytest.mark.parametrize("types", [2, 3])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_it_answers_as_the_whole_classifier_does(tmp_path: Path, kind: str, types: int) -> None:
    """Scores, distances, and what is promised."""
    saved = replace(bundle(kind), pipeline=fitted(kind, types), classes=[f"type {i}" for i in range(types)])
    saved.save(tmp_path)
    whole, answerer = ClassifierBundle.load(tmp_path), Answerer.load(tmp_path)
    assert answerer is not None
    X, _ = rows(types, n=20, seed=7)
    assert np.array_equal(answerer.log_scores(X), whole.log_scores(X))
    assert np.array_equal(answerer.distances(X), whole.distances(X))
    for name in ("name", "identity", "classes", "metrics", "fitted_on", "learnt", "cues"):
        assert getattr(answerer, name) == getattr(whole, name)
    for own, other in ((answerer.pages, whole.pages), (answerer.documents, whole.documents)):
        assert own.scale == other.scale
        assert np.array_equal(own.nonconformity, other.nonconformity)
    with pytest.raises(SpaceMismatchError):
        answerer.require(replace(whole.identity, backbone="another"))


def test_a_block_of_facts_is_scaled_as_by_the_whole_one(tmp_path: Path) -> None:
    """Cues are not scaled to unit length."""
    X, y = rows(3)
    pipeline = build_classifier("svm", [*BLOCKS[:1], ("cues", 5, 8)])
    fit_classifier(pipeline, X, y, np.ones(len(y)))
    detector = fit_novelty(pipeline, X, y, np.ones(len(y)))
    replace(bundle("svm"), pipeline=pipeline, novelty=detector, fitted_on={"cues": True}).save(tmp_path)
    answerer = Answerer.load(tmp_path)
    assert answerer is not None
    assert answerer.cues
    assert np.array_equal(answerer.log_scores(X), ClassifierBundle.load(tmp_path).log_scores(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
@pytest.mark.parametrize("kind", ["svm", "knn", "head"])
def test_one_of_an_earlier_version_answers_likewise(kind: str) -> None:
    """Its model file names modules that are elsewhere now."""
    answerer, whole = Answerer.load(in_use(SAVED / kind)), ClassifierBundle.load(in_use(SAVED / kind))
    assert answerer is not None
    X = np.random.default_rng(0).normal(size=(5, whole.pipeline.n_features_in_)).astype(np.float32)
    assert np.array_equal(answerer.log_scores(X), whole.log_scores(X))
    assert np.array_equal(answerer.distances(X), whole.distances(X))


@pytest.mark.parametrize("kind", ["svm", "knn"])
def test_rows_in_lists_are_looked_up_likewise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """Beyond some thousand rows not all are compared."""
    for module in (neighbours, novelty):
        monkeypatch.setattr(module, "EXACT_ROWS", 50)
    monkeypatch.setattr(row_neighbours, "EXACT_ROWS", 50)
    bundle(kind).save(tmp_path)
    whole, answerer = ClassifierBundle.load(tmp_path), Answerer.load(tmp_path)
    assert answerer is not None
    X, _ = rows(3, n=20, seed=7)
    assert np.array_equal(answerer.log_scores(X), whole.log_scores(X))
    assert np.array_equal(answerer.distances(X), whole.distances(X))


def words_of(y: NDArray[Any]) -> csr_array:
    """Counts of words that tell a type, and none on every fifth page."""
    counts = np.zeros((len(y), 64), np.float32)
    counts[np.arange(len(y)), [int(str(kind)[-1]) * 7 for kind in y]] = 3
    counts[:, 50] = 1
    counts[::5] = 0
    return csr_array(counts)


def test_parts_say_the_same_together(tmp_path: Path) -> None:
    """Pictures, cues by themselves, and words: of pages with words, without any, and where none are known."""
    X, y = rows(3)
    weights, words = np.ones(len(y)), words_of(y)
    pictures = fit_classifier(build_classifier("svm", BLOCKS[:1]), X[:, :5], y, weights)
    cues = fit_classifier(build_classifier("head", [("cues", 0, 3)]), X[:, 5:], y, weights)
    texts = shrunk(fit_classifier(build_words(), words, y, weights))
    parts = FittedParts(
        {CUES: cues, WORDS: texts},
        {PICTURES: np.arange(5), CUES: np.arange(5, 8)},
        Fusion((PICTURES, CUES, WORDS), np.array([1.0, 0.5, 2.0]), np.array([1.5, 1.0, 0.0])),
    )
    detector = fit_novelty(pictures, X[:, :5], y, weights)
    replace(bundle("svm"), pipeline=pictures, novelty=detector, parts=parts, fitted_on={"cues": True}).save(tmp_path)
    whole, answerer = ClassifierBundle.load(tmp_path), Answerer.load(tmp_path)
    assert answerer is not None
    assert answerer.words
    assert np.array_equal(answerer.log_scores(X, words), whole.log_scores(X, words))
    assert np.array_equal(answerer.log_scores(X), whole.log_scores(X))
    assert np.array_equal(answerer.distances(X), whole.distances(X))
    with pytest.raises(EmbedpipeError, match="fit one without cues"):
        answerer.log_scores(X[:, :5], words)


def test_an_estimator_that_is_not_known_is_left_to_the_whole_classifier(tmp_path: Path) -> None:
    """One more step of a pipeline must not be passed over."""
    pipeline = fitted("svm")
    steps = [pipeline.steps[0], ("same", FunctionTransformer()), pipeline.steps[1]]
    replace(bundle("svm"), pipeline=Pipeline(steps)).save(tmp_path)
    assert Answerer.load(tmp_path) is None
    assert ClassifierBundle.load(tmp_path).pipeline.steps[1][0] == "same"


def test_a_model_that_was_changed_is_refused(tmp_path: Path) -> None:
    """Its hash is compared before anything of it is used."""
    bundle("svm").save(tmp_path)
    with open(tmp_path / "model.skops", "ab") as file:
        file.write(b"more")
    with pytest.raises(ArtifactError, match="fit it again"):
        Answerer.load(tmp_path)


def test_it_loads_no_scikit_learn(tmp_path: Path) -> None:
    """Loading and answering take a fraction of what loading scikit-learn takes."""
    bundle("knn").save(tmp_path)
    code = (
        "import sys, numpy as np, pathlib\n"
        "from embedpipe.classifiers.saved.answering import Answerer\n"
        "found = Answerer.load(pathlib.Path(sys.argv[1]))\n"
        "X = np.ones((2, 8), np.float32)\n"
        "found.log_scores(X), found.distances(X)\n"
        "print([name for name in ('sklearn', 'skops', 'scipy', 'pandas') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_words_and_examples_of_no_type_count_likewise(tmp_path: Path) -> None:
    """Distances of a detector that measures words, and that has seen examples of no type."""
    X, y = rows(3)
    words = words_of(y)
    pipeline = fit_classifier(build_classifier("svm", BLOCKS), X, y, np.ones(len(y)))
    taught = np.where(np.arange(len(y)) % 7 == 0, "none", y)
    detector = fit_novelty(pipeline, X, taught, np.ones(len(y)), words)
    assert len(detector.none_) == sum(taught == "none")
    replace(bundle("svm"), pipeline=pipeline, novelty=detector).save(tmp_path)
    whole, answerer = ClassifierBundle.load(tmp_path), Answerer.load(tmp_path)
    assert answerer is not None
    for known in (words, None):
        assert np.array_equal(answerer.distances(X, known), whole.distances(X, known))
    assert not np.array_equal(whole.distances(X, words), whole.distances(X, None))
    assert np.array_equal(whole.distances(X, words), detector.distances(pipeline[:-1].transform(X), words))
