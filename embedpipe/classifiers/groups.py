"""Which documents come from one source: as their labels say, or guessed from layout and file names.

Documents of one template or sender look alike. Where some are learnt from and others tested, figures are too high, and
few people name groups. So for documents without a group one is guessed, by average linkage of their first pages: two
clusters are joined where the mean cosine of their pages is high enough, or a little lower where the names of the files
begin alike as well. Names alone join nothing: a scanner gives all its files the same one.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import Blocks
from embedpipe.classifiers.folds import FOLDS
from embedpipe.classifiers.labelled_pages import GIVEN, GUESSED, OWN, UNGUESSED, LabelledPages
from embedpipe.classifiers.scores.nearest import unit_rows
from embedpipe.index.families import average_linkage, reduced
from embedpipe.store.scaling import BlockScaler

SAME_SOURCE = 0.75
"""Mean cosine of first pages that are taken to come from one source; benchmarks/groups.py compares it with others."""

NAMES = 0.2
"""So much lower may the cosine be where file names begin alike."""

_MOST = 0.5
"""A guessed group holds at most this share of a type's documents: a layout that most of them have is what the type
looks like, in new documents as well. A name that more of them begin with does not identify the source."""

_WORD = re.compile(r"[^\W\d_]{2,}")
_DEPTH = 4
"""At most so many words of a name are looked at: what follows is about the content, not the source."""

_CODE = 256
"""Names become random directions of so many dimensions, which are at right angles but for a few hundredths."""


def with_guesses(pages: LabelledPages, blocks: Blocks) -> LabelledPages:
    """The pages with guessed groups for documents without one; given groups stay as they are.

    A guessed group has the name of its first document. It holds at most half of a type's documents. A guess that
    would leave fewer groups than folds is not made. Features of a fine-tuned network show types, and not layouts:
    nothing is guessed from them.

    Args:
        pages: With the groups of the labels, in which a document without one is a group of its own.
        blocks: Where each layer's features lie; cues after them are ignored. Empty where there are none.

    Returns:
        The same pages, with `groups` and `origins`.
    """
    order = np.lexsort((pages.page_indices, pages.documents))
    documents, first, owner = np.unique(pages.documents[order], return_index=True, return_inverse=True)
    rows = order[first]
    owner = owner[np.argsort(order)]
    groups = pages.groups[rows].astype(object)
    frozen = pages.seen is None and len(blocks) > 0
    origins = np.where(groups == documents, OWN if frozen else UNGUESSED, GIVEN).astype(object)
    free = np.flatnonzero(origins == OWN)
    joined = groups.copy()
    if len(free) > 1:
        kinds = _kinds(pages.y, owner, len(documents))
        for places in _several(_clusters(pages, rows, blocks, kinds)[free]):
            members = free[places]
            if _may_join(members, kinds):
                joined[members] = documents[members[0]]
    if len(set(joined)) >= min(FOLDS, len(set(groups))):
        origins[np.isin(joined, joined[joined != groups])] = GUESSED
        groups = joined
    return replace(pages, groups=groups[owner], origins=origins[owner])


def _kinds(y: NDArray[Any], owner: NDArray[np.int64], n: int) -> NDArray[np.bool_]:
    """Which types each document has pages of, (n, n_types)."""
    types, column = np.unique(y, return_inverse=True)
    kinds = np.zeros((n, len(types)), bool)
    kinds[owner, column] = True
    return kinds


def _several(clusters: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """The places of each cluster of two or more."""
    order = np.argsort(clusters, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(clusters[order])) + 1)
    return [part for part in parts if len(part) > 1]


def _may_join(members: NDArray[np.int64], kinds: NDArray[np.bool_]) -> bool:
    """Whether a group of these documents leaves enough others of each of their types."""
    joined = kinds[members].sum(axis=0)
    return not np.any((joined > 1) & (joined > _MOST * kinds.sum(axis=0)))


def _clusters(
    pages: LabelledPages, rows: NDArray[np.int64], blocks: Blocks, kinds: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The cluster of each document by its first page and its name, (n,); documents with a group are in it alone."""
    layers = [(start, stop) for name, start, stop in blocks if name != "cues"]
    X = pages.X[rows, : max(stop for _, stop in layers)]
    unit = reduced(unit_rows(BlockScaler(layers).fit_transform(X)))
    if pages.paths is not None:
        paths, labels = pages.paths[rows].tolist(), pages.y[rows].tolist()
        unit = np.hstack([unit, np.float32(NAMES**0.5) * _codes(name_keys(paths, labels, kinds))])
    return average_linkage(np.ascontiguousarray(unit, np.float32), SAME_SOURCE)


def name_keys(paths: Sequence[str], labels: Sequence[str], kinds: NDArray[np.bool_]) -> list[str]:
    """How the name of each file begins, as far as that may identify its source, or "".

    The name begins below the folder of the document's type, or with its own folder. Its words are taken one after
    another, without numbers, until they are no longer common to most documents of some type.

    Args:
        paths: Of the documents, n of them.
        labels: Their types.
        kinds: Which types each has pages of, (n, n_types).
    """
    words = [_words(path, label) for path, label in zip(paths, labels, strict=True)]
    keys, unsettled = [""] * len(words), list(range(len(words)))
    totals = kinds.sum(axis=0)
    for depth in range(1, _DEPTH + 1):
        beginnings = {row: " ".join(words[row][:depth]) for row in unsettled if len(words[row]) >= depth}
        counts: dict[str, NDArray[np.int64]] = {}
        for row, beginning in beginnings.items():
            counts[beginning] = counts.get(beginning, np.zeros(len(totals), np.int64)) + kinds[row]
        common = {name for name, count in counts.items() if np.any((count > 2) & (count > _MOST * totals))}  # noqa: PLR2004
        for row, beginning in beginnings.items():
            keys[row] = "" if beginning in common else beginning
        unsettled = [row for row, beginning in beginnings.items() if beginning in common]
    return keys


def _words(path: str, label: str) -> list[str]:
    """Words of a file's name, behind those of the folders between it and its type's folder, or of its own folder."""
    *folders, name = re.split(r"[/\\]+", path)
    own = len(folders) - folders[::-1].index(label) if label in folders else len(folders) - 1
    stem = name.rpartition(".")[0] or name
    return [word.casefold() for part in (*folders[max(own, 0) :], stem) for word in _WORD.findall(part)]


def _codes(keys: Sequence[str]) -> NDArray[np.float32]:
    """A direction of unit length for each name that several documents have, zeros for others, float32 (n, _CODE)."""
    shared = {key for key, count in Counter(keys).items() if key and count > 1}
    directions = {key: _direction(key) for key in shared}
    nowhere = np.zeros(_CODE, np.float32)
    return np.stack([directions.get(key, nowhere) for key in keys])


def _direction(key: str) -> NDArray[np.float32]:
    """The same one in every run and whatever the other names are."""
    seed = int.from_bytes(hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()[:8], "big")
    signs = np.random.default_rng(seed).integers(0, 2, _CODE) * 2 - 1
    direction: NDArray[np.float32] = (signs / np.sqrt(_CODE)).astype(np.float32)
    return direction


def describe(metrics: Mapping[str, Any]) -> str:
    """Says which groups the figures were measured with; "" for figures of a time that did not note it."""
    if "documents_in_given_groups" not in metrics:
        return ""
    given, guessed, own, none = (
        metrics[f"documents_{kind}"] for kind in ("in_given_groups", "in_guessed_groups", "alone", "without_guess")
    )
    parts = [f"given for {given:,} documents"] if given else []
    if guessed + own:
        found = f"{guessed:,} share one, {own:,} look like no other"
        parts.append(f"guessed for {guessed + own:,} documents from layout and file names ({found})")
    if none:
        parts.append(f"none for {none:,} documents (to guess, all need features of a network that is not fine-tuned)")
    return "; ".join(parts)
