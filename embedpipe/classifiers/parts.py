"""The parts of a classifier: what each learns from, and how their scores for a page come about.

A part is a pipeline of its own on some blocks: the networks' features of the picture together, the regions of its
layout, the cues of its PDF, the words on it. The first one, `PICTURES` or some blocks of it, judges every page; the
others add what they know (`fusion`). A classifier of one part alone is that part's pipeline and nothing else.

One more part, `DOCUMENT`, judges whole documents, and is fused with what the others say of their pages.
"""

import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.bundles import Blocks, build_classifier, judges_of, whole_judge
from embedpipe.classifiers.documents.ridge import build_documents
from embedpipe.classifiers.documents.rows import Gathered
from embedpipe.classifiers.saved.combining import CUES, DOCUMENT, LAYOUT, PICTURES, WORDS, FittedParts
from embedpipe.classifiers.scores.logits import log_softmax
from embedpipe.classifiers.text.words import build_words
from embedpipe.core.errors import UnknownNameError, UsageError

_BESIDE = (LAYOUT, CUES)
"""Blocks of features that are parts of their own; all others are of the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One part before it is fitted.

    Attributes:
        name: One of `bundles.PICTURES` and so on.
        build: Gives an unfitted pipeline.
        columns: Which features it learns from; None for all, and for words, which are no features.
    """

    name: str
    build: Callable[[], Pipeline]
    columns: NDArray[np.int64] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """The parts that a classifier may have.

    Attributes:
        parts: The first one judges every page.
        forced: Names of those that it has in any case; the others it has where they help.
        base: What the first part was asked for as, in its own words.
        whole: The part that judges documents; None without.
    """

    parts: tuple[Part, ...]
    forced: frozenset[str]
    base: tuple[str, ...] = (PICTURES,)
    whole: Part | None = None

    @property
    def names(self) -> list[str]:
        """Of all parts."""
        return [part.name for part in (*self.parts, *filter(None, [self.whole]))]

    @property
    def columns(self) -> dict[str, NDArray[np.int64] | None]:
        """Which features each part learns from."""
        return {part.name: part.columns for part in (*self.parts, *filter(None, [self.whole]))}

    @property
    def open(self) -> bool:
        """Whether there is anything to choose."""
        return not self.forced.issuperset(self.names)

    def only(self, names: Collection[str]) -> "Plan":
        """The same with these parts, all of them forced."""
        own = tuple(part for part in self.parts if part.name in names)
        return Plan(own, frozenset(names), self.base, self.whole if DOCUMENT in names else None)

    def blocks(self) -> list[str]:
        """What to ask for to have these parts again."""
        return [*self.base, *self.names[1:]]


class CombinedClassifier(ClassifierMixin, BaseEstimator):
    """All parts of a fitted classifier as one scikit-learn estimator, for other programs.

    Args:
        pipeline: The first part.
        parts: The others, with what each takes and counts.
        classes: All types, sorted.

    Attributes:
        classes_: All types, sorted, (n_classes,).
    """

    def __init__(self, pipeline: Pipeline, parts: FittedParts, classes: list[str]) -> None:
        self.pipeline = pipeline
        self.parts = parts
        self.classes = classes

    @property
    def classes_(self) -> NDArray[Any]:
        """All types, sorted, (n_classes,)."""
        return np.asarray(self.classes)

    def predict_log_proba(self, X: NDArray[np.float32], words: csr_array | None = None) -> NDArray[np.float64]:
        """Logarithms of probabilities of pages, (n, n_classes).

        Args:
            X: Features, float32 (n, dim).
            words: Counts of the n-grams of these pages, sparse (n, n_buckets), a row without any for a page without
                words; None where none are known.
        """
        return self.parts.fused(self._scores(X, words))

    def _scores(self, X: NDArray[np.float32], words: csr_array | None) -> dict[str, NDArray[np.float64]]:
        judges = judges_of(self.pipeline, self.parts)
        return self.parts.scores_of_parts(judges, X, words, self.classes, "the classifier")

    def predict_proba(self, X: NDArray[np.float32], words: csr_array | None = None) -> NDArray[np.float64]:
        """Probabilities of pages, (n, n_classes)."""
        probabilities: NDArray[np.float64] = np.exp(self.predict_log_proba(X, words))
        return probabilities

    def predict_document_log_proba(
        self,
        X: NDArray[np.float32],
        documents: Sequence[Any],
        page_indices: Sequence[int],
        *,
        words: csr_array | None = None,
        kinds: Sequence[str] | None = None,
    ) -> NDArray[np.float64]:
        """Logarithms of probabilities of documents, (n_documents, n_classes), in the order of their sorted names.

        Args:
            X: Features of all their pages, float32 (n, dim).
            documents: Which document each page is of, (n,).
            page_indices: Where each page is in its document, from 0, (n,).
            words: As of `predict_log_proba`.
            kinds: Where each page comes from, `digital`, `scan` or `photo`; None where that is not known.
        """
        owner = np.unique(np.asarray(documents), return_inverse=True)[1]
        known = [""] * len(owner) if kinds is None else list(kinds)
        scores = self._scores(X, words)
        fused = self.parts.fused(scores)
        pages = Gathered(fused, scores, X, words, np.asarray(page_indices, np.int64), known, owner)
        found = self.parts.document_scores(whole_judge(self.parts), pages, self.classes, "the classifier")
        return np.asarray(log_softmax(found))

    def predict(self, X: NDArray[np.float32], words: csr_array | None = None) -> NDArray[Any]:
        """The most probable type of each page, (n,)."""
        found: NDArray[Any] = self.classes_[self.predict_log_proba(X, words).argmax(axis=1)]
        return found


def as_plan(build: "Callable[[], Pipeline] | Plan") -> Plan:
    """A plan of the one part that a function builds, on all features; a plan stays as it is."""
    if isinstance(build, Plan):
        return build
    return Plan((Part(PICTURES, build),), frozenset({PICTURES}))


def plan(
    kind: str,
    blocks: Blocks,
    settings: Mapping[str, str],
    asked: Sequence[str] | None = None,
    *,
    forced: Iterable[str] = (),
    words: bool = False,
) -> Plan:
    """The parts that a classifier of a kind may have.

    Args:
        kind: Key in `bundles.CLASSIFIERS`.
        blocks: Where the features of each block lie.
        settings: Hyper-parameters of the estimators on features.
        asked: Names of parts, networks or single blocks; None for whatever helps of all that there is.
        forced: Parts that are had in any case, where nothing is asked for.
        words: Whether the words of pages are known.

    Raises:
        UnknownNameError: There is no such classifier, hyper-parameter or block.
        UsageError: No block of pictures is asked for, or words that are not known.
    """
    base = [place for place, (name, _, _) in enumerate(blocks) if _part_of(name) == PICTURES]
    said: tuple[str, ...] = (PICTURES,)
    if asked is not None:
        base, said = _base(blocks, asked)
        if WORDS in asked and not words:
            raise UsageError("the words of these pages are not kept: run `embed` on their files, or leave words out")
    beside = ([place for place, (own, _, _) in enumerate(blocks) if _part_of(own) == name] for name in _BESIDE)
    wanted = [base, *filter(None, beside)]
    parts = [_part(kind, [blocks[place] for place in places], settings, blocks) for places in wanted]
    if words:
        parts.append(Part(WORDS, build_words))
    names = {PICTURES, *forced}
    if asked is not None:
        names = {PICTURES, *(name for name in asked if name in (*_BESIDE, WORDS, DOCUMENT))}
        parts = [part for part in parts if part.name in names]
    whole = _whole([blocks[place] for place in base], blocks) if asked is None or DOCUMENT in asked else None
    return Plan(tuple(parts), frozenset(names), said, whole)


def _base(blocks: Blocks, asked: Sequence[str]) -> tuple[list[int], tuple[str, ...]]:
    """Which blocks the first part has, and the names that they were asked for by."""
    pictures = [(place, name) for place, (name, _, _) in enumerate(blocks) if _part_of(name) == PICTURES]
    networks = dict.fromkeys(name.partition("/")[0] for _, name in pictures if "/" in name)
    beside = [part for name, _, _ in blocks if (part := _part_of(name)) != PICTURES]
    known = dict.fromkeys([PICTURES, *networks, *beside, WORDS, DOCUMENT, *(name for _, name in pictures)])
    for name in asked:
        if name not in known:
            raise UnknownNameError("block", name, known)
    said = tuple(dict.fromkeys(name for name in asked if name not in (*beside, WORDS, DOCUMENT)))
    base = [place for place, name in pictures if {PICTURES, name, name.partition("/")[0]} & set(said)]
    if not base:
        raise UsageError(f"--blocks {','.join(asked)}: add blocks of the picture, which every page has: {PICTURES}")
    return base, said


def _part_of(block: str) -> str:
    """The part that has a block, which may be one of several networks'."""
    name = block.rpartition("/")[2]
    return name if name in _BESIDE else PICTURES


def _part(kind: str, own: Blocks, settings: Mapping[str, str], blocks: Blocks) -> Part:
    """A part on some of the blocks."""
    name = _part_of(own[0][0])
    if len(own) == len(blocks):
        return Part(name, lambda: build_classifier(kind, blocks, settings))
    columns, spans = _moved(own)
    moved = [(block if name == PICTURES else name, a, b) for (block, _, _), (a, b) in zip(own, spans, strict=True)]
    return Part(name, lambda: build_classifier(kind, moved, settings), columns)


def _whole(own: Blocks, blocks: Blocks) -> Part:
    """The part that judges documents, on some of the blocks."""
    columns, spans = _moved(own)
    return Part(DOCUMENT, lambda: build_documents(spans), None if len(own) == len(blocks) else columns)


def _moved(own: Blocks) -> tuple[NDArray[np.int64], list[tuple[int, int]]]:
    """The columns of some blocks, and where each block lies among these."""
    columns = np.concatenate([np.arange(start, stop) for _, start, stop in own])
    places = np.cumsum([0, *(stop - start for _, start, stop in own)]).tolist()
    return columns, list(itertools.pairwise(places))
