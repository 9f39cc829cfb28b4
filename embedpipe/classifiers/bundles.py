"""The classifiers: scikit-learn pipelines on stored features, saved without pickle, bound to their space."""

import contextlib
import importlib
import platform
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from embedpipe.classifiers import many_rows
from embedpipe.classifiers.calibration.decisions import Calibration
from embedpipe.classifiers.calibration.novelty import NoveltyDetector
from embedpipe.classifiers.documents.rows import Gathered, Wholes
from embedpipe.classifiers.neighbours import FaissKNeighborsClassifier
from embedpipe.classifiers.saved.answering import VOTE_FLOOR
from embedpipe.classifiers.saved.combining import (
    CUES,
    DOCUMENT,
    LAYOUT,
    PICTURES,
    WORDS,
    FittedParts,
    Judge,
    WholeJudge,
    taken,
)
from embedpipe.classifiers.saved.on_disk import MANIFEST, MODEL, check_model
from embedpipe.classifiers.scores.logits import log_softmax
from embedpipe.core.errors import ArtifactError, EmbedpipeError, SpaceMismatchError, UnknownNameError
from embedpipe.core.files import read_json, replacing, sha256_of, write_json
from embedpipe.core.records import Identity
from embedpipe.store.scaling import BlockScaler, ScaledRows

__all__ = [
    "CLASSIFIERS",
    "CUES",
    "DOCUMENT",
    "FACTS",
    "LAYOUT",
    "PICTURES",
    "WORDS",
    "Blocks",
    "ClassifierBundle",
    "FittedParts",
    "build_classifier",
    "fit_classifier",
    "fit_novelty",
    "log_scores",
    "part_scores",
    "taken",
]

Blocks = Sequence[tuple[str, int, int]]

CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "svm": lambda: LinearSVC(C=5.0, dual=True, tol=1e-2, random_state=0),
    "knn": lambda: FaissKNeighborsClassifier(n_neighbors=200, temperature=0.03),
    "head": lambda: LogisticRegression(C=10.0, class_weight="balanced", max_iter=300),
}
"""Unfitted scikit-learn estimators by name; the defaults were measured, see docs/quality.md."""

_one_draw = threading.Lock()
"""liblinear has one generator for the whole process, which every fit seeds: two at once would draw otherwise each time,
also where one of them draws nothing itself."""

FACTS = (LAYOUT, CUES)
"""Blocks whose numbers have units of their own; they come last."""

_TRUSTED = [
    "embedpipe.classifiers.documents.ridge.DocumentRidge",
    "embedpipe.classifiers.text.words.WordScaler",
    "embedpipe.classifiers.text.word_space.WordSpace",
    "embedpipe.classifiers.neighbours.FaissKNeighborsClassifier",
    "embedpipe.classifiers.calibration.novelty.NoveltyDetector",
    "embedpipe.store.scaling.BlockScaler",
    "embedpipe.neighbours.FaissKNeighborsClassifier",  # the names before the modules moved, see `core.moved`
    "embedpipe.novelty.NoveltyDetector",
    "embedpipe.scaling.BlockScaler",
]
"""What a model file may hold besides scikit-learn's own estimators and numpy's arrays."""


def skops_io() -> Any:
    """Imports skops.io, which files of classifiers are read and written with, but not torch with it.

    skops lists the types of all of scikit-learn, whose adapters import torch where it is installed: three seconds
    for nothing. It goes on where that import fails.
    """
    if "torch" in sys.modules:
        return importlib.import_module("skops.io")
    modules: dict[str, Any] = sys.modules
    modules["torch"] = None  # makes the import fail
    try:
        return importlib.import_module("skops.io")
    finally:
        del sys.modules["torch"]


def build_classifier(kind: str, blocks: Blocks, settings: Mapping[str, str] | None = None) -> Pipeline:
    """An unfitted pipeline: blocks scaled to equal weight, then the estimator.

    Args:
        kind: Key in `CLASSIFIERS`.
        blocks: Where each layer's features lie.
        settings: Hyper-parameters of the estimator as text, such as {"C": "0.1"}.

    Raises:
        UnknownNameError: There is no such classifier or hyper-parameter.
        EmbedpipeError: A value cannot be read as what the hyper-parameter is.
    """
    if kind not in CLASSIFIERS:
        raise UnknownNameError("classifier", kind, CLASSIFIERS)
    estimator = CLASSIFIERS[kind]()
    known = estimator.get_params()
    for name, text in (settings or {}).items():
        if name not in known:
            raise UnknownNameError(f"hyper-parameter of {kind}", name, known)
        estimator.set_params(**{name: _parse(text)})
    facts = sum(name in FACTS for name, _, _ in blocks)
    scaler = BlockScaler([(start, stop) for _, start, stop in blocks], facts)
    return Pipeline([("scale", scaler), (kind, estimator)])


def _parse(text: str) -> object:
    """Reads a hyper-parameter: a number, true, false, none, or a word."""
    words = {"true": True, "false": False, "none": None}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def fit_classifier(
    classifier: Pipeline,
    X: NDArray[np.float32] | csr_array | Wholes,
    y: NDArray[Any],
    weights: NDArray[np.float64],
    rows: NDArray[np.int64] | None = None,
) -> Pipeline:
    """Fits a pipeline, giving weights to estimators that take them; k-NN does not, nor one on documents.

    Args:
        classifier: Of `build_classifier`, or of a part.
        X: float32 (n, dim), counts of words, or documents.
        y: Types, (n,).
        weights: Of the rows, (n,).
        rows: Which rows of features X these are, (n,): many are not copied; all if not given.

    Raises:
        EmbedpipeError: A hyper-parameter has a value that the estimator refuses.
    """
    kind = classifier.steps[-1][0]
    extra = {} if kind in ("knn", DOCUMENT) else {f"{kind}__sample_weight": weights}
    try:
        if isinstance(X, np.ndarray) and len(y) > many_rows.MANY_ROWS:
            scaling, estimator = classifier
            scaled = ScaledRows(scaling.fit(X) if rows is None else scaling.fit_some(X, rows), X, rows)
            if kind == "knn":
                estimator.fit(scaled, y)
            elif many_rows.can_fit(estimator, len(y), X.shape[1]):
                many_rows.fit(estimator, scaled.halved(), y, weights)
            else:
                estimator.fit(scaled[:], y, sample_weight=weights)
            return classifier
        X = X if rows is None else X[rows]
        if isinstance(X, np.ndarray) and many_rows.can_fit(classifier[-1], *X.shape):
            scaling, estimator = classifier
            many_rows.fit(estimator, scaling.fit(X).transform(X), y, weights)
            return classifier
        with _one_draw if isinstance(classifier[-1], LinearSVC) else contextlib.nullcontext():
            fitted: Pipeline = classifier.fit(X, y, **extra)
    except ValueError as error:
        raise EmbedpipeError(f"{kind} cannot be fitted: {str(error).partition(chr(10))[0]}") from error
    return fitted


def log_scores(classifier: Pipeline, X: NDArray[np.float32] | csr_array | Wholes) -> NDArray[np.float64]:
    """Logarithms of the pages' raw probabilities, (n, n_classes): the softmax of decision values, or of votes."""
    try:
        if hasattr(classifier, "decision_function"):
            decisions = np.asarray(classifier.decision_function(X), np.float64)
            if decisions.ndim == 1:  # two classes share one value
                decisions = np.column_stack([-decisions, decisions])
        else:
            decisions = np.log(classifier.predict_proba(X) + VOTE_FLOOR)
    except NotFittedError as error:
        raise ArtifactError("the classifier was saved before it was fitted: fit it again") from error
    return log_softmax(decisions)


def part_scores(
    name: str,
    fitted: Pipeline,
    inputs: NDArray[np.float32] | csr_array | Wholes,
    learnt: Sequence[Any],
    classes: Sequence[str],
) -> NDArray[np.float64]:
    """Log scores of pages, or documents, by one part of a classifier, (n, n_classes), see `Judge.scores`."""
    return Judge(partial(log_scores, fitted), learnt).scores(name, inputs, classes)


def judges_of(pipeline: Pipeline, parts: FittedParts) -> dict[str, Judge]:
    """What answers for each fitted part: the pipeline of the first one, and those of the others."""
    pipelines = {PICTURES: pipeline, **parts.others}
    judges = ((name, partial(log_scores, part), getattr(part, "classes_", ())) for name, part in pipelines.items())
    return {name: Judge(scores, learnt) for name, scores, learnt in judges}  # one that is not fitted says so when asked


def whole_judge(parts: FittedParts) -> WholeJudge | None:
    """What answers for whole documents by a fitted part; None without one."""
    if parts.document is None:
        return None
    estimator = parts.document.steps[-1][1]
    return WholeJudge(Judge(partial(log_scores, parts.document), estimator.classes_), estimator.blocks)


def fit_novelty(
    classifier: Pipeline,
    X: NDArray[np.float32] | ScaledRows,
    y: NDArray[Any],
    weights: NDArray[np.float64],
    words: csr_array | None = None,
    *,
    spare: bool = False,
) -> NoveltyDetector:
    """Fits what measures how far pages are from the labelled ones, on features as the classifier scales them.

    Args:
        classifier: Fitted, or at least its steps before the last.
        X: float32 (n, dim); or rows that its scaler gives.
        y: Types, or `labels.NONE`, (n,).
        weights: Of the rows, (n,).
        words: Counts of their words, (n, n_buckets); None to measure features alone.
        spare: X is not needed afterwards: it is scaled where it is.
    """
    scaled = X
    if not isinstance(X, ScaledRows):
        scaled = classifier[0].transform_in_place(X) if spare else classifier[:-1].transform(X)
    return NoveltyDetector().fit(scaled, y, weights, words)


@dataclass(slots=True)
class ClassifierBundle:
    """A fitted classifier with everything that is needed to use it.

    Attributes:
        name: Its folder's name.
        pipeline: Fitted, on features of the picture.
        identity: The space of the features that it was fitted on.
        classes: Types, in the order of the probabilities.
        novelty: Measures how far a page is from the labelled ones.
        pages: Calibration of answers about pages.
        documents: Calibration of answers about documents.
        metrics: Of the cross-validation.
        fitted_on: Pages, documents, and hyper-parameters.
        learnt: Documents that it was fitted on, as `brief` names them.
        parts: What it asks besides the pipeline.
    """

    name: str
    pipeline: Pipeline
    identity: Identity
    classes: list[str]
    novelty: NoveltyDetector
    pages: Calibration
    documents: Calibration
    metrics: dict[str, Any] = field(default_factory=dict)
    fitted_on: dict[str, Any] = field(default_factory=dict)
    learnt: frozenset[str] = frozenset()
    parts: FittedParts = field(default_factory=FittedParts)

    @property
    def cues(self) -> bool:
        """Whether its features end with the cues of each page."""
        return bool(self.fitted_on.get("cues"))

    @property
    def words(self) -> bool:
        """Whether it takes the words of pages."""
        return self.parts.takes_words

    @property
    def judges_documents(self) -> bool:
        """Whether `document_scores` asks more than the scores of pages."""
        return self.parts.document is not None

    def document_scores(self, pages: Gathered) -> NDArray[np.float64]:
        """Logarithms of the raw probabilities of documents, (n_documents, n_classes), from all their pages."""
        return self.parts.document_scores(whole_judge(self.parts), pages, self.classes, self.name)

    def log_scores(self, X: NDArray[np.float32], words: csr_array | None = None) -> NDArray[np.float64]:
        """Logarithms of the raw probabilities of pages, (n, n_classes).

        Args:
            X: Features, float32 (n, dim).
            words: Counts of the words of these pages, (n, n_buckets); None where none are known.
        """
        return self.parts.fused(self.scores_of_parts(X, words))

    def scores_of_parts(self, X: NDArray[np.float32], words: csr_array | None = None) -> dict[str, NDArray[np.float64]]:
        """The same by each part, NaN for pages that it cannot judge; arguments as of `log_scores`."""
        own = self.features_of(PICTURES, X)
        if self.cues and own.shape[1] != self.pipeline.n_features_in_:
            raise EmbedpipeError(f"{self.name} needs cues of the PDF, which are not known here: fit one without cues")
        return self.parts.scores_of_parts(judges_of(self.pipeline, self.parts), X, words, self.classes, self.name)

    def features_of(self, name: str, X: NDArray[np.float32]) -> NDArray[np.float32]:
        """Those features, float32 (n, dim), that a part takes."""
        return self.parts.features_of(name, X, self.name)

    def distances(self, X: NDArray[np.float32], words: csr_array | None = None) -> NDArray[np.float64]:
        """How far pages are from the labelled ones, (n,), see `novelty`; arguments as of `log_scores`."""
        return self.novelty.distances(self.pipeline[:-1].transform(self.features_of(PICTURES, X)), words)

    def save(self, folder: Path) -> None:
        """Writes model and manifest; the manifest comes last and holds the model's hash."""
        with replacing(folder / MODEL) as temporary:
            skops_io().dump(self._model(), temporary)
        libraries = ("embedpipe", "scikit-learn", "skops", "numpy", "faiss-cpu")
        write_json(
            folder / MANIFEST,
            {
                "name": self.name,
                "space": self.identity.space,
                "identity": self.identity.to_json(),
                "classes": self.classes,
                "page_scale": self.pages.scale._asdict(),
                "document_scale": self.documents.scale._asdict(),
                "metrics": self.metrics,
                "fitted_on": self.fitted_on,
                "learnt": sorted(self.learnt),
                "model_sha256": sha256_of(folder / MODEL),
                "versions": {"python": platform.python_version()} | {name: version(name) for name in libraries},
            },
        )

    def _model(self) -> dict[str, Any]:
        return {
            "pipeline": self.pipeline,
            "novelty": self.novelty,
            "pages": self.pages.to_arrays(),
            "documents": self.documents.to_arrays(),
            **self.parts.to_model(),
        }

    @classmethod
    def load(cls, folder: Path) -> "ClassifierBundle":
        """Reads a classifier; runs no code from the file.

        Raises:
            ArtifactError: It is missing, damaged, or holds types that are not allowed.
        """
        manifest = read_json(folder / MANIFEST)
        check_model(folder, manifest)
        try:
            model = skops_io().load(folder / MODEL, trusted=_TRUSTED)
            if not isinstance(model, dict):
                raise TypeError("an earlier embedpipe wrote it")
            return cls(
                name=manifest["name"],
                pipeline=model["pipeline"],
                identity=Identity.from_json(manifest["identity"]),
                classes=list(manifest["classes"]),
                novelty=model["novelty"],
                pages=Calibration.from_arrays(model["pages"]).with_kinds(),  # earlier versions have none
                documents=Calibration.from_arrays(model["documents"]).with_kinds(),
                metrics=manifest["metrics"],
                fitted_on=manifest["fitted_on"],
                learnt=frozenset(manifest.get("learnt", ())),
                parts=FittedParts.from_model(model),
            )
        except Exception as error:  # zip, json, numpy and skops raise many kinds for a file that was tampered with
            reason = str(error).partition("\n")[0]
            raise ArtifactError(f"{folder} cannot be loaded ({reason}): fit it again") from error

    def require(self, identity: Identity) -> None:
        """Raises SpaceMismatchError unless features of this identity are what the classifier was fitted on."""
        if identity != self.identity:
            raise SpaceMismatchError(f"classifier {self.name}", self.identity, identity)
