"""Several classifiers of one page, each on another kind of evidence, to one answer; and which of them are worth asking.

Late fusion: the logarithms of their probabilities are added, each with a weight of its own, which is its temperature
and its share at once (a logarithmic opinion pool: Genest and Zidek, 1986; Hinton, 2002). The weights are those that
make the types of held-out documents most likely, from scores by classifiers that had not seen the document's group. So
neither part drowns the other, whatever its number of features, and a part that knows nothing gets a weight of nothing.

A page without words is judged by the other parts, with weights learnt for that: as sure as these alone may be.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.scores.logits import log_softmax

IMPOSSIBLE = -30.0
"""Log score of a type that a fold's training part does not hold."""

_LEAST = -25.0
"""Log scores of types that were learnt are at least so high: they are told from `IMPOSSIBLE` ones."""

_PRIOR, _USUAL = 0.1, float(np.log(2.0))
"""Logarithms of weights are drawn towards the usual one, as a normal prior with so many half inverse variances does."""

_MOST_DOCUMENTS = 2000
"""Documents that weights are learnt from: more would not change a few numbers."""

_TINY = 1e-6
_BOUNDS = (-6.0, 4.0)

Scores = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Held-out pages that weights are learnt from.

    Attributes:
        scores: Log scores of each part, (n, n_classes); NaN for pages that a part cannot judge.
        truth: Column of the true type, (n,).
        documents: What each page is of, as numbers from 0, (n,).
        weights: What each page counts in its document, (n,).
        groups: What was held out together, (n,).
        partial: Parts that cannot judge every page, whether or not they can judge all of these.
    """

    scores: Scores
    truth: NDArray[np.int64]
    documents: NDArray[np.int64]
    weights: NDArray[np.float64]
    groups: NDArray[Any]
    partial: frozenset[str] = frozenset()

    def take(self, rows: NDArray[np.bool_]) -> Self:
        """Some of the pages."""
        return replace(
            self,
            scores={name: values[rows] for name, values in self.scores.items()},
            truth=self.truth[rows],
            documents=np.unique(self.documents[rows], return_inverse=True)[1],
            weights=self.weights[rows],
            groups=self.groups[rows],
        )

    def usable(self) -> Self:
        """Those whose type was learnt, of at most `_MOST_DOCUMENTS` documents, always the same ones."""
        first = next(iter(self.scores.values()))
        rows = first[np.arange(len(self.truth)), self.truth] > IMPOSSIBLE + 1.0
        total = int(self.documents.max(initial=-1)) + 1
        if total > _MOST_DOCUMENTS:
            rows &= np.isin(self.documents, np.random.default_rng(0).permutation(total)[:_MOST_DOCUMENTS])
        return self if rows.all() else self.take(rows)


@dataclass(frozen=True, slots=True)
class Fusion:
    """What each part counts.

    Attributes:
        names: The parts.
        full: Their weights for pages that all of them can judge, (n,).
        bare: Their weights for the other pages; 0 for parts that cannot judge these, (n,).
    """

    names: tuple[str, ...]
    full: NDArray[np.float64]
    bare: NDArray[np.float64]

    def apply(self, scores: Scores) -> NDArray[np.float64]:
        """Fused log scores of pages, (n, n_classes).

        Args:
            scores: Of each part, (n, n_classes); NaN for pages that it cannot judge.
        """
        first = scores[self.names[0]]
        unjudged = _unjudged(scores, self.names)
        sums = np.zeros(first.shape)
        for name, full, bare in zip(self.names, self.full, self.bare, strict=True):
            weights = np.where(unjudged, bare, full)[:, None]
            sums += np.where(weights > 0, weights * np.nan_to_num(scores[name], nan=0.0), 0.0)
        impossible = first <= IMPOSSIBLE
        fused: NDArray[np.float64] = log_softmax(np.where(impossible, -np.inf, sums))
        return np.where(impossible, IMPOSSIBLE, np.maximum(fused, _LEAST))

    def to_arrays(self) -> dict[str, NDArray[np.float64]]:
        """As arrays, to be saved."""
        return {"full": self.full, "bare": self.bare}


def learn(names: Sequence[str], evidence: Evidence) -> Fusion:
    """The weights of some parts that make the types of held-out documents most likely.

    Args:
        names: The parts, the first of which judges every page.
        evidence: Held-out pages; there may be none.
    """
    known = evidence.usable()
    always = [name for name in names if name not in known.partial]
    bare = _weights(always, known, np.zeros(len(known.truth), bool), np.zeros(0))
    spread = np.array([bare[always.index(name)] if name in always else 0.0 for name in names])
    unjudged = _unjudged(known.scores, names)
    full = spread
    if len(always) < len(names):
        among = np.isin(known.documents, known.documents[~unjudged])
        rest = known.take(among)
        full = _weights(list(names), rest, unjudged[among], spread)
    return Fusion(tuple(names), full, spread)


def choose(candidates: Sequence[str], forced: Sequence[str], evidence: Evidence) -> list[str]:
    """Which parts make the types of held-out documents more likely: forward selection, one at a time.

    A part is taken where the gain in log likelihood, less one for its weight (Akaike, 1974), exceeds the gain's own
    standard error over groups of documents. Each part was fitted once: choosing fits nothing but a few weights.

    Args:
        candidates: All parts.
        forced: Those that are taken in any case; the first judges every page.
        evidence: Held-out pages.

    Returns:
        The parts taken, in the order of the candidates.
    """
    known = evidence.usable()
    taken = [name for name in candidates if name in forced]
    groups = _of_documents(known.groups, known.documents)
    if len(np.unique(groups)) < 2:  # noqa: PLR2004
        return taken
    losses = document_losses(learn(taken, known), known)
    while left := [name for name in candidates if name not in taken]:
        found = {}
        for name in left:
            wanted = [other for other in candidates if other in taken or other == name]
            found[name] = document_losses(learn(wanted, known), known)
        best = min(left, key=lambda name: float(found[name].sum()))
        if not _worth(losses - found[best], groups):
            break
        taken, losses = [other for other in candidates if other in taken or other == best], found[best]
    return taken


def _worth(gains: NDArray[np.float64], groups: NDArray[Any]) -> bool:
    """Whether gains of documents are beyond chance, and one more weight."""
    sums = np.bincount(np.unique(groups, return_inverse=True)[1], weights=gains)
    error = np.sqrt(len(sums) / (len(sums) - 1) * np.sum((sums - sums.mean()) ** 2))
    return bool(sums.sum() - 1.0 > error)


def document_losses(fusion: Fusion, evidence: Evidence) -> NDArray[np.float64]:
    """Minus the log probability of each document's true type, (n_documents,)."""
    fused = fusion.apply(evidence.scores)
    right = np.exp(fused[np.arange(len(evidence.truth)), evidence.truth])
    losses: NDArray[np.float64] = -np.log(_means(right, evidence) + _TINY)
    return losses


def _means(values: NDArray[np.float64], evidence: Evidence) -> NDArray[np.float64]:
    sums = np.bincount(evidence.documents, weights=values * evidence.weights)
    means: NDArray[np.float64] = sums / np.bincount(evidence.documents, weights=evidence.weights)
    return means


def _of_documents(values: NDArray[Any], documents: NDArray[np.int64]) -> NDArray[Any]:
    _, first = np.unique(documents, return_index=True)
    found: NDArray[Any] = values[first]
    return found


def _unjudged(scores: Scores, names: Sequence[str]) -> NDArray[np.bool_]:
    """Which pages some part cannot judge, (n,)."""
    found: NDArray[np.bool_] = np.any([np.isnan(scores[name][:, 0]) for name in names], axis=0)
    return found


def _weights(
    names: Sequence[str], evidence: Evidence, unjudged: NDArray[np.bool_], bare: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Weights of parts for the judged pages; the unjudged ones keep the weights `bare`."""
    if not len(evidence.truth):
        return np.full(len(names), np.exp(_USUAL))
    from scipy.optimize import minimize  # noqa: PLC0415 - answering does without it

    rows = np.arange(len(evidence.truth))
    parts = np.stack([np.nan_to_num(evidence.scores[name], nan=0.0) for name in names])
    fixed = np.tensordot(bare, parts, 1) if unjudged.any() else None
    own = parts[:, rows, evidence.truth]
    totals = np.bincount(evidence.documents, weights=evidence.weights)
    shares = evidence.weights / totals[evidence.documents]

    def loss(logarithms: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = np.exp(logarithms)
        sums = np.tensordot(weights, parts, 1)
        if fixed is not None:
            sums[unjudged] = fixed[unjudged]
        probabilities = np.exp(log_softmax(sums))
        right = probabilities[rows, evidence.truth] * shares
        means = np.bincount(evidence.documents, weights=right) + _TINY
        slopes = np.where(unjudged, 0.0, right / means[evidence.documents])
        expected = np.einsum("ij,kij->ki", probabilities, parts)
        gradient = -((own - expected) @ slopes) * weights + 2 * _PRIOR * (logarithms - _USUAL)
        return float(-np.log(means).sum() + _PRIOR * np.sum((logarithms - _USUAL) ** 2)), gradient

    start = np.full(len(names), _USUAL)
    best = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=[_BOUNDS] * len(names), options={"maxiter": 40})
    found: NDArray[np.float64] = np.exp(best.x)
    return found
