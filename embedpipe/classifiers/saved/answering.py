"""Answers of saved classifiers, from their arrays: what scikit-learn computes for the estimators known."""

import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.calibration.decisions import Calibration
from embedpipe.classifiers.documents.rows import Gathered, RidgeArrays, Wholes
from embedpipe.classifiers.saved.combining import PICTURES, FittedParts, Judge, WholeJudge
from embedpipe.classifiers.saved.on_disk import MANIFEST, MODEL, check_model
from embedpipe.classifiers.saved.trees import Estimator, read_tree
from embedpipe.classifiers.scores.logits import log_softmax
from embedpipe.classifiers.scores.nearest import distances_of, flat_index, unit_rows, vote_shares
from embedpipe.core.errors import EmbedpipeError, SpaceMismatchError
from embedpipe.core.faiss_library import faiss
from embedpipe.core.files import read_json
from embedpipe.core.moved import MOVED
from embedpipe.core.records import Identity
from embedpipe.index.row_neighbours import Layout, search
from embedpipe.pages.extras.word_rows import in_space, weighted
from embedpipe.store.moments import Scaling

VOTE_FLOOR = 1e-3
"""Added to shares of votes before their logarithm is taken."""

_WORDS = "embedpipe.classifiers.text.words.WordScaler"

Scores = Callable[[Any], NDArray[np.float64]]
"""Raw scores (n, n_classes), of which the softmax is taken, of scaled features or weighted words (n, dim)."""


@dataclass(frozen=True, slots=True)
class Answerer:
    """A saved classifier that can only answer; attributes and answers are those of `bundles.ClassifierBundle`."""

    name: str
    identity: Identity
    classes: list[str]
    pages: Calibration
    documents: Calibration
    metrics: dict[str, Any]
    fitted_on: dict[str, Any]
    learnt: frozenset[str]
    parts: FittedParts
    judges: Mapping[str, Judge]
    scaling: Scaling
    novelty: "_Novelty"
    whole: WholeJudge | None = None

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
        return self.whole is not None

    def document_scores(self, pages: Gathered) -> NDArray[np.float64]:
        """Logarithms of the raw probabilities of documents, (n_documents, n_classes), from all their pages."""
        return self.parts.document_scores(self.whole, pages, self.classes, self.name)

    def log_scores(self, X: NDArray[np.float32], words: Any = None) -> NDArray[np.float64]:
        """Logarithms of the raw probabilities of pages, (n, n_classes).

        Args:
            X: Features, float32 (n, dim).
            words: Counts of the words of these pages, (n, n_buckets); None where none are known.
        """
        return self.parts.fused(self.scores_of_parts(X, words))

    def scores_of_parts(self, X: NDArray[np.float32], words: Any = None) -> dict[str, NDArray[np.float64]]:
        """The same by each part, NaN for pages that it cannot judge; arguments as of `log_scores`."""
        if self.cues and self.parts.features_of(PICTURES, X, self.name).shape[1] != len(self.scaling.mean_):
            raise EmbedpipeError(f"{self.name} needs cues of the PDF, which are not known here: fit one without cues")
        return self.parts.scores_of_parts(self.judges, X, words, self.classes, self.name)

    def distances(self, X: NDArray[np.float32], words: Any = None) -> NDArray[np.float64]:
        """How far pages are from the labelled ones, (n,), see `novelty`; arguments as of `log_scores`."""
        return self.novelty.distances(self.scaling.transform(self.parts.features_of(PICTURES, X, self.name)), words)

    def require(self, identity: Identity) -> None:
        """Raises SpaceMismatchError unless features of this identity are what the classifier was fitted on."""
        if identity != self.identity:
            raise SpaceMismatchError(f"classifier {self.name}", self.identity, identity)

    @classmethod
    def load(cls, folder: Path) -> Self | None:
        """Reads a classifier; None where an estimator is not known here, or something else is other than expected.

        Raises:
            ArtifactError: It is missing, or the model is not the one that the manifest describes.
        """
        manifest = read_json(folder / MANIFEST)
        check_model(folder, manifest)
        try:
            model = read_tree(folder / MODEL)
            parts = FittedParts.from_model(model)
            pipelines = {PICTURES: model["pipeline"], **parts.others}
            return cls(
                name=manifest["name"],
                identity=Identity.from_json(manifest["identity"]),
                classes=list(manifest["classes"]),
                pages=Calibration.from_arrays(model["pages"]).with_kinds(),
                documents=Calibration.from_arrays(model["documents"]).with_kinds(),
                metrics=manifest["metrics"],
                fitted_on=manifest["fitted_on"],
                learnt=frozenset(manifest.get("learnt", ())),
                parts=parts,
                judges={name: _judge(pipeline) for name, pipeline in pipelines.items()},
                scaling=_scaling(_steps(model["pipeline"])[0]),
                novelty=_Novelty.of(model["novelty"]),
                whole=None if parts.document is None else _whole(parts.document),
            )
        except (LookupError, OSError, TypeError, ValueError, AttributeError, zipfile.BadZipFile):
            return None  # whoever loads it whole says what is wrong


@dataclass(frozen=True, slots=True, eq=False)
class _Novelty:
    """As `calibration.novelty.NoveltyDetector`: `projection` (n_features, n_classes), indexes of its rows.

    `words` makes features of counts of words, or of none for so many rows; it is None where words are not measured.
    """

    projection: NDArray[np.float32]
    index: faiss.Index
    none: faiss.Index
    neighbours: int
    words: "Callable[[Any, int], NDArray[np.float32]] | None" = None

    @classmethod
    def of(cls, saved: Estimator) -> Self:
        """From its attributes."""
        if _kind(saved) != "embedpipe.classifiers.calibration.novelty.NoveltyDetector":
            raise LookupError(saved.kind)
        values = saved.values
        rows, projection = values["rows_"], values["projection_"]
        index = Layout(rows[:0].T, values.get("centroids_", rows[:0])).index(rows)
        space, share = values.get("word_space_"), float(values.get("words", 0.0))
        words = None if space is None else _word_space(space, share)
        return cls(projection, index, flat_index(values.get("none_", rows[:0])), int(values["n_neighbors"]), words)

    def distances(self, scaled: NDArray[Any], words: Any = None) -> NDArray[np.float64]:
        """Of scaled features, and counts of words where they are known, (n,)."""
        rows = scaled.astype(np.float32)
        if self.words is not None:
            rows = np.concatenate([rows, self.words(words, len(rows))], axis=1)
        unit = unit_rows(rows @ self.projection)
        return distances_of(self.index, self.none, unit, self.neighbours)


def _word_space(saved: Estimator, share: float) -> Callable[[Any, int], NDArray[np.float32]]:
    """Of `word_space.WordSpace`."""
    if _kind(saved) != "embedpipe.classifiers.text.word_space.WordSpace":
        raise LookupError(saved.kind)
    values = saved.values
    rarity, directions, mean, scale = (values[name] for name in ("rarity_", "directions_", "mean_", "scale_"))

    def space(counts: Any, rows: int) -> NDArray[np.float32]:
        if counts is None:
            return np.zeros((rows, directions.shape[1]), np.float32)
        return np.float32(share) * in_space(counts, rarity, directions, mean, float(scale))

    return space


def _steps(pipeline: Estimator) -> tuple[Estimator, Estimator]:
    """What scales and what judges; more steps are not known here."""
    (_, scaler), (_, estimator) = pipeline.values["steps"]
    return scaler, estimator


def _judge(pipeline: Estimator) -> Judge:
    scaler, estimator = _steps(pipeline)
    scores = _SCORES[_kind(estimator)](estimator.values)
    scale = _weighting(scaler) if _kind(scaler) == _WORDS else _scaling(scaler).transform
    return Judge(lambda inputs: log_softmax(scores(scale(inputs))), estimator.values["classes_"])


def _whole(pipeline: Estimator) -> WholeJudge:
    """Of `documents.ridge.DocumentRidge`."""
    ((_, saved),) = pipeline.values["steps"]
    if _kind(saved) != "embedpipe.classifiers.documents.ridge.DocumentRidge":
        raise LookupError(saved.kind)
    values, scaling = saved.values, _scaling(saved.values["scaler_"])
    arrays, sharpness = RidgeArrays.of(values), float(values["sharpness"])

    def scores(wholes: Wholes) -> NDArray[np.float64]:
        return log_softmax(sharpness * arrays.decisions(scaling.transform(wholes.pictures), wholes))

    blocks = [(int(start), int(stop)) for start, stop in values["blocks"]]
    return WholeJudge(Judge(scores, values["classes_"]), blocks)


def _weighting(saved: Estimator) -> Callable[[Any], Any]:
    """Of `words.WordScaler`."""
    rarity = saved.values["rarity_"]
    return lambda counts: weighted(counts, rarity)


def _scaling(saved: Estimator) -> Scaling:
    if _kind(saved) != "embedpipe.store.scaling.BlockScaler":
        raise LookupError(saved.kind)
    values = saved.values
    blocks = values["blocks"] or [(0, len(values["mean_"]))]
    pairs = [(int(start), int(stop)) for start, stop in blocks]
    return Scaling(pairs, values["mean_"], values["scale_"], int(values.get("facts", 0)))


def _linear(values: Mapping[str, Any]) -> Scores:
    """Of scikit-learn's linear classifiers: two classes share one value."""
    coefficients, intercepts = values["coef_"], values["intercept_"]

    def scores(scaled: Any) -> NDArray[np.float64]:
        decisions = np.asarray(scaled @ coefficients.T + intercepts, np.float64)
        return np.hstack([-decisions, decisions]) if decisions.shape[1] == 1 else decisions

    return scores


def _votes(values: Mapping[str, Any]) -> Scores:
    """Of `neighbours.FaissKNeighborsClassifier`."""
    own, classes, count = values["_rows"], values["_classes_of_rows"], len(values["classes_"])
    layout = Layout(values.get("_axes", own[:0].T), values.get("_centroids", own[:0]))
    index = layout.index(own)

    def scores(scaled: NDArray[Any]) -> NDArray[np.float64]:
        unit = layout.directions(unit_rows(scaled.astype(np.float32)))
        cosines, rows = search(index, unit, min(int(values["n_neighbors"]), len(own)))
        found = np.where(rows < 0, -1, classes[rows])
        shares: NDArray[np.float64] = vote_shares(cosines, found, count, values["temperature"])
        return np.log(shares + VOTE_FLOOR)

    return scores


_SCORES: dict[str, Callable[[Mapping[str, Any]], Scores]] = {
    "sklearn.svm._classes.LinearSVC": _linear,
    "sklearn.linear_model._logistic.LogisticRegression": _linear,
    "embedpipe.classifiers.neighbours.FaissKNeighborsClassifier": _votes,
}
"""How the scores of an estimator are computed, by the name of its class."""


def _kind(saved: Estimator) -> str:
    """The present name of a class."""
    module, _, name = saved.kind.rpartition(".")
    return f"{MOVED.get(module, module)}.{name}"
