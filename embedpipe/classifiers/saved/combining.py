"""The parts of a fitted classifier and what they say together, whatever computes the scores of each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.documents.rows import Gathered, Spans, Wholes, wholes_of
from embedpipe.classifiers.scores.fusion import IMPOSSIBLE, Fusion, Scores
from embedpipe.classifiers.scores.pooling import mean_log_scores, page_weights
from embedpipe.core.errors import EmbedpipeError
from embedpipe.pages.extras.word_rows import have_words

if TYPE_CHECKING:
    from scipy.sparse import csr_array

PICTURES, LAYOUT, CUES, WORDS, DOCUMENT = "pictures", "layout", "cues", "words", "document"
"""Names of the parts of a classifier, see `parts`; `LAYOUT` and `CUES` are those of their blocks as well. `DOCUMENT`
judges documents, all others pages."""

_NEARLY = 0.5
"""Logarithms of means of pages are at most so far above `IMPOSSIBLE` where all pages are."""


@dataclass(frozen=True, slots=True)
class Judge:
    """What answers for one part.

    Attributes:
        log_scores: Logarithms of raw probabilities (n, n_learnt), from features or counts of words (n, dim).
        learnt: The types that it learnt, sorted.
    """

    log_scores: Callable[[Any], NDArray[np.float64]]
    learnt: Sequence[Any]

    def scores(
        self, name: str, inputs: "NDArray[np.float32] | csr_array | Wholes", classes: Sequence[str]
    ) -> NDArray[np.float64]:
        """Log scores of pages or documents, (n, n_classes); by words, NaN for pages without any.

        A type that the part has not learnt is impossible; but one whose pages never had words, or that a document
        classifier did not draw, counts as much as the least probable of the others.

        Args:
            name: Of the part.
            inputs: Features or counts of words, (n, dim), or documents.
            classes: All types, sorted.
        """
        scores = np.full((inputs.shape[0], len(classes)), IMPOSSIBLE)
        columns = np.searchsorted(np.asarray(classes), np.asarray(self.learnt).astype(str))
        if name not in (WORDS, DOCUMENT):
            scores[:, columns] = self.log_scores(inputs)
            return scores
        rows = np.arange(len(scores)) if name == DOCUMENT else np.flatnonzero(have_words(inputs))
        scores[:] = np.nan
        if len(rows):
            found = self.log_scores(inputs[rows])
            scores[rows] = found.min(axis=1, keepdims=True)
            scores[rows[:, None], columns] = found
        return scores


def taken(X: NDArray[Any], columns: NDArray[np.int64] | None) -> NDArray[Any]:
    """Some columns, the last axis, without a copy where they lie side by side; all for None."""
    if columns is None:
        return X
    first, last = int(columns[0]), int(columns[-1])
    return X[..., first : last + 1] if last - first + 1 == len(columns) else X[..., columns]


def means_of_parts(
    scores: Scores, weights: NDArray[np.float64], owner: NDArray[np.int64]
) -> dict[str, NDArray[np.float64]]:
    """Log scores of documents by each part that judges pages, (n_documents, n_classes); NaN where it can judge none.

    Args:
        scores: Of pages, by part, (n, n_classes).
        weights: Of `pooling.page_weights`, (n,).
        owner: Which document each page is of, from 0, (n,).
    """
    count = int(owner.max(initial=-1)) + 1
    found = {}
    for name, own in scores.items():
        rows = np.flatnonzero(~np.isnan(own[:, 0]))
        documents, places = np.unique(owner[rows], return_inverse=True)
        means = mean_log_scores(own[rows], weights[rows], places)
        found[name] = np.full((count, own.shape[1]), np.nan)  # what is impossible by all pages has nearly such a mean
        found[name][documents] = np.where(means < IMPOSSIBLE + _NEARLY, IMPOSSIBLE, means)
    return found


@dataclass(frozen=True, slots=True)
class WholeJudge:
    """What answers for whole documents.

    Attributes:
        judge: Of rows of documents.
        blocks: Where each block of the features lies that it takes.
    """

    judge: Judge
    blocks: Spans


@dataclass(frozen=True, slots=True)
class FittedParts:
    """What a classifier asks besides its first pipeline.

    Attributes:
        others: The other parts by name: fitted pipelines, or what a model file holds of them.
        columns: Which features each part takes that does not take all, the first one as `PICTURES`.
        fusion: What each counts; None where there is no other.
        document: The part that judges documents: a fitted pipeline, or what a model file holds of it; None without.
        document_fusion: What each counts for documents, `DOCUMENT` among them; None where that is not asked.
    """

    others: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    fusion: Fusion | None = None
    document: Any = None
    document_fusion: Fusion | None = None

    def to_model(self) -> dict[str, Any]:
        """As it is saved; nothing for a classifier of one part on all features."""
        found = {"parts": self.others, "columns": self.columns} if self.others or self.columns else {}
        if self.fusion is not None:
            found["fusion"] = self.fusion.to_arrays()
        if self.document_fusion is not None:
            found |= {"document": self.document, "document_fusion": self.document_fusion.to_arrays()}
        return found

    @classmethod
    def from_model(cls, model: Mapping[str, Any]) -> "FittedParts":
        """Reverses `to_model`."""
        others = dict(model.get("parts", {}))
        arrays = model.get("fusion")
        fusion = None if arrays is None else Fusion((PICTURES, *others), arrays["full"], arrays["bare"])
        arrays = model.get("document_fusion")
        names = (PICTURES, *others, DOCUMENT)
        of_documents = None if arrays is None else Fusion(names, arrays["full"], arrays["bare"])
        return cls(others, dict(model.get("columns", {})), fusion, model.get("document"), of_documents)

    @property
    def takes_words(self) -> bool:
        """Whether a part takes the words of pages; the one for documents does only where another one does."""
        return WORDS in self.others

    def features_of(self, name: str, X: NDArray[np.float32], classifier: str) -> NDArray[np.float32]:
        """Those features, float32 (n, dim), that a part takes; `classifier` is named in an error."""
        columns = self.columns.get(name)
        if columns is not None and columns[-1] >= X.shape[1]:
            raise EmbedpipeError(f"{classifier} needs cues of the PDF, which are not known here: fit one without cues")
        return taken(X, columns)

    def scores_of_parts(
        self,
        judges: Mapping[str, Judge],
        X: NDArray[np.float32],
        words: "csr_array | None",
        classes: Sequence[str],
        classifier: str,
    ) -> dict[str, NDArray[np.float64]]:
        """Logarithms of the raw probabilities of pages by each part, (n, n_classes); see `fused`.

        Args:
            judges: Of each part, the first one as `PICTURES`.
            X: Features, float32 (n, dim).
            words: Counts of the words of these pages, (n, n_buckets); None where none are known.
            classes: All types, sorted.
            classifier: Its name, for an error.
        """
        if self.fusion is None and self.document_fusion is None:
            return {PICTURES: judges[PICTURES].log_scores(self.features_of(PICTURES, X, classifier))}
        scores = {}
        for name, judge in judges.items():
            if name == WORDS and words is None:
                scores[name] = np.full((len(X), len(classes)), np.nan)
                continue
            inputs = words if name == WORDS else self.features_of(name, X, classifier)
            scores[name] = judge.scores(name, inputs, classes)
        return scores

    def fused(self, scores: Scores) -> NDArray[np.float64]:
        """Log scores of pages by all parts together, (n, n_classes)."""
        return scores[PICTURES] if self.fusion is None else self.fusion.apply(scores)

    def document_scores(
        self, whole: WholeJudge | None, pages: Gathered, classes: Sequence[str], classifier: str
    ) -> NDArray[np.float64]:
        """Logarithms of the raw probabilities of documents, (n_documents, n_classes).

        Args:
            whole: What answers for whole documents; None where there is no such part.
            pages: All their pages that say something.
            classes: All types, sorted.
            classifier: Its name, for an error.
        """
        weights = page_weights(pages.indices)
        if whole is None or self.document_fusion is None:
            return mean_log_scores(pages.scores, weights, pages.owner)
        X = self.features_of(DOCUMENT, pages.X, classifier)
        documents = wholes_of(X, whole.blocks, pages.indices, pages.owner, kinds=pages.kinds, words=pages.words)
        own = whole.judge.scores(DOCUMENT, documents, classes)
        return self.document_fusion.apply({**means_of_parts(pages.parts, weights, pages.owner), DOCUMENT: own})
