"""The classifiers: scikit-learn pipelines on stored features, saved without pickle, bound to their space."""

import importlib
import platform
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.svm import LinearSVC

from embedpipe.classifiers import many_rows
from embedpipe.classifiers.calibration.decisions import Calibration
from embedpipe.classifiers.calibration.novelty import NoveltyDetector
from embedpipe.classifiers.neighbours import FaissKNeighborsClassifier
from embedpipe.core.errors import ArtifactError, EmbedpipeError, SpaceMismatchError, UnknownNameError
from embedpipe.core.files import check_sha256, read_json, replacing, sha256_of, write_json
from embedpipe.core.records import Identity
from embedpipe.store.scaling import BlockScaler

Blocks = Sequence[tuple[str, int, int]]

CLASSIFIERS: dict[str, Callable[[], Any]] = {
    "svm": lambda: LinearSVC(C=5.0, dual=True, tol=1e-2, random_state=0),
    "knn": lambda: FaissKNeighborsClassifier(n_neighbors=200, temperature=0.03),
    "head": lambda: LogisticRegression(C=10.0, class_weight="balanced", max_iter=300),
}
"""Unfitted scikit-learn estimators by name; the defaults were measured, see docs/quality.md."""

_TRUSTED = [
    "embedpipe.classifiers.neighbours.FaissKNeighborsClassifier",
    "embedpipe.classifiers.calibration.novelty.NoveltyDetector",
    "embedpipe.store.scaling.BlockScaler",
    "embedpipe.neighbours.FaissKNeighborsClassifier",  # the names before the modules moved, see `core.moved`
    "embedpipe.novelty.NoveltyDetector",
    "embedpipe.scaling.BlockScaler",
]
"""What a model file may hold besides scikit-learn's own estimators and numpy's arrays."""

_MODEL = "model.skops"
_MANIFEST = "manifest.json"


def _skops_io() -> Any:
    """Imports skops.io, but not torch with it.

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
    facts = sum(name == "cues" for name, _, _ in blocks)
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
    classifier: Pipeline, X: NDArray[np.float32], y: NDArray[Any], weights: NDArray[np.float64]
) -> Pipeline:
    """Fits a pipeline, giving weights to estimators that take them; k-NN does not.

    Args:
        classifier: Of `build_classifier`.
        X: float32 (n, dim).
        y: Types, (n,).
        weights: Of the rows, (n,).

    Raises:
        EmbedpipeError: A hyper-parameter has a value that the estimator refuses.
    """
    kind = classifier.steps[-1][0]
    extra = {} if kind == "knn" else {f"{kind}__sample_weight": weights}
    try:
        if isinstance(X, np.ndarray) and many_rows.can_fit(classifier[-1], len(X)):
            many_rows.fit(classifier[-1], classifier[:-1].fit_transform(X), y, weights)
            return classifier
        fitted: Pipeline = classifier.fit(X, y, **extra)
    except ValueError as error:
        raise EmbedpipeError(f"{kind} cannot be fitted: {str(error).partition(chr(10))[0]}") from error
    return fitted


def log_scores(classifier: Pipeline, X: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logarithms of the pages' raw probabilities, (n, n_classes): the softmax of decision values, or of votes."""
    try:
        if hasattr(classifier, "decision_function"):
            decisions = np.asarray(classifier.decision_function(X), np.float64)
            if decisions.ndim == 1:  # two classes share one value
                decisions = np.column_stack([-decisions, decisions])
        else:
            decisions = np.log(classifier.predict_proba(X) + 1e-3)
    except NotFittedError as error:
        raise ArtifactError("the classifier was saved before it was fitted: fit it again") from error
    scores: NDArray[np.float64] = log_softmax(decisions, axis=1)
    return scores


def fit_novelty(
    classifier: Pipeline, X: NDArray[np.float32], y: NDArray[Any], weights: NDArray[np.float64]
) -> NoveltyDetector:
    """Fits what measures how far pages are from the labelled ones, on features as the classifier scales them.

    Args:
        classifier: Fitted, or at least its steps before the last.
        X: float32 (n, dim).
        y: Types, (n,).
        weights: Of the rows, (n,).
    """
    return NoveltyDetector().fit(classifier[:-1].transform(X), y, weights)


@dataclass(slots=True)
class ClassifierBundle:
    """A fitted classifier with everything that is needed to use it.

    Attributes:
        name: Its folder's name.
        pipeline: Fitted.
        identity: The space of the features that it was fitted on.
        classes: Types, in the order of the probabilities.
        novelty: Measures how far a page is from the labelled ones.
        pages: Calibration of answers about pages.
        documents: Calibration of answers about documents.
        metrics: Of the cross-validation.
        fitted_on: Pages, documents, and hyper-parameters.
        learnt: Documents that it was fitted on, as `brief` names them.
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

    @property
    def cues(self) -> bool:
        """Whether its features end with the cues of each page."""
        return bool(self.fitted_on.get("cues"))

    def log_scores(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logarithms of the raw probabilities of pages, (n, n_classes)."""
        if self.cues and X.shape[1] != self.pipeline.n_features_in_:
            raise EmbedpipeError(f"{self.name} needs cues of the PDF, which are not known here: fit one without cues")
        return log_scores(self.pipeline, X)

    def distances(self, X: NDArray[np.float32]) -> NDArray[np.float64]:
        """How far pages are from the labelled ones, (n,), see `novelty`."""
        return self.novelty.distances(self.pipeline[:-1].transform(X))

    def save(self, folder: Path) -> None:
        """Writes model and manifest; the manifest comes last and holds the model's hash."""
        with replacing(folder / _MODEL) as temporary:
            _skops_io().dump(self._model(), temporary)
        libraries = ("embedpipe", "scikit-learn", "skops", "numpy", "faiss-cpu")
        write_json(
            folder / _MANIFEST,
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
                "model_sha256": sha256_of(folder / _MODEL),
                "versions": {"python": platform.python_version()} | {name: version(name) for name in libraries},
            },
        )

    def _model(self) -> dict[str, Any]:
        return {
            "pipeline": self.pipeline,
            "novelty": self.novelty,
            "pages": self.pages.to_arrays(),
            "documents": self.documents.to_arrays(),
        }

    @classmethod
    def load(cls, folder: Path) -> "ClassifierBundle":
        """Reads a classifier; runs no code from the file.

        Raises:
            ArtifactError: It is missing, damaged, or holds types that are not allowed.
        """
        manifest = read_json(folder / _MANIFEST)
        check_model(folder, manifest)
        try:
            model = _skops_io().load(folder / _MODEL, trusted=_TRUSTED)
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
            )
        except Exception as error:  # zip, json, numpy and skops raise many kinds for a file that was tampered with
            reason = str(error).partition("\n")[0]
            raise ArtifactError(f"{folder} cannot be loaded ({reason}): fit it again") from error

    def require(self, identity: Identity) -> None:
        """Raises SpaceMismatchError unless features of this identity are what the classifier was fitted on."""
        if identity != self.identity:
            raise SpaceMismatchError(f"classifier {self.name}", self.identity, identity)


def brief(sha256: str) -> str:
    """A document in the manifest of a classifier: enough of its hash to know whether it was learnt from."""
    return sha256[:16]


def may_have_learnt(folder: Path, sha256s: Iterable[str]) -> bool:
    """Whether a classifier was fitted on one of these documents; also where its manifest does not say."""
    try:
        learnt = set(read_json(folder / _MANIFEST)["learnt"])
    except (ArtifactError, LookupError, TypeError):
        return True
    return not learnt.isdisjoint(map(brief, sha256s))


def check_model(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises ArtifactError unless the model file is the one that the manifest describes."""
    check_sha256(folder / _MODEL, manifest.get("model_sha256"), "fit it again")
