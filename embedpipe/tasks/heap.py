"""All documents of a store with what is known of each: its label, a classifier's answer, and how doubtful that is."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.stored_answers import STATUSES, decided
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import replacing
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.suggest import gather, margins

BLANK = "blank"
SHOWN_STATUSES = (*STATUSES, BLANK)
"""Of documents, in the order in which `columns` numbers them."""

UNKNOWN, SUGGESTED, CHECKED, PARTLY = range(4)
STATES = ("none", "suggested", "checked", "partly")
"""States of a document's label: their numbers in `columns`, and their names; `partly`: pages of it are checked."""

_FORMAT = 1
_DIGITS = 4
_FIRST = frozenset({1})


@dataclass(frozen=True, slots=True, eq=False)
class Stock:
    """The documents of a store, in the order of their paths.

    Attributes:
        documents: SHA-256 of each.
        paths: Where each is.
        pages: How many pages each has, (n,).
        kinds: Kind of source of its first page.
        silent: Whether nothing is on its pages, (n,).
        rows: The place of each document in these.
        speaking: Numbers of the stored pages that say something, of each document where these are not page 1 alone.
    """

    documents: list[str]
    paths: list[str]
    pages: NDArray[np.int64]
    kinds: list[str]
    silent: NDArray[np.bool_]
    rows: dict[str, int]
    speaking: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @classmethod
    def empty(cls) -> "Stock":
        """No documents."""
        return cls([], [], np.zeros(0, np.int64), [], np.zeros(0, bool), {})


@dataclass(frozen=True, eq=False)
class Survey:
    """What is computed of all documents that say something, and kept until documents or classifier change.

    Attributes:
        classes: The types.
        documents: SHA-256 of each document, in any order.
        vectors: Mean of the scaled pages, of unit length, float32 (n, dim).
        probabilities: Calibrated, float32 (n, n_classes); no columns without a classifier.
        status: Number of each in `STATUSES`, (n,).
        candidates: Which types cannot be excluded, (n, n_classes).
        novelty: As of `Decisions`, (n,).
        measured: As of `Decisions`, (n,).
    """

    classes: tuple[str, ...]
    documents: tuple[str, ...]
    vectors: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    status: NDArray[np.int8]
    candidates: NDArray[np.bool_]
    novelty: NDArray[np.float32]
    measured: NDArray[np.bool_]

    @property
    def answered(self) -> bool:
        """Whether there are a classifier's answers."""
        return bool(self.classes)

    @cached_property
    def uncertainty(self) -> NDArray[np.float64]:
        """One minus the margin between the two most probable types; 1 without a classifier, (n,)."""
        if self.probabilities.shape[1] < 2:  # noqa: PLR2004 - two types make a margin
            return np.ones(len(self.documents))
        return margins(np.log(np.maximum(self.probabilities.astype(np.float64), 1e-12)))

    @cached_property
    def rows(self) -> dict[str, int]:
        """The place of each document."""
        return {sha256: row for row, sha256 in enumerate(self.documents)}

    def save(self, file: Path) -> None:
        """Writes it in one step; features as float16.

        Raises:
            ArtifactError: The disk is full, or cannot be written.
        """
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        with replacing(file) as temporary, open(temporary, "wb") as stream:
            np.savez(
                stream,
                format=np.int64(_FORMAT),
                classes=np.array(self.classes, np.str_),
                documents=np.array(self.documents, np.bytes_),
                vectors=self.vectors.astype(np.float16),
                **arrays,
            )

    @classmethod
    def load(cls, file: Path) -> "Survey":
        """Reads it; raises ArtifactError where it is missing or cannot be read."""
        try:
            with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as values:
                if int(values["format"]) != _FORMAT:
                    raise ArtifactError(f"{file} is of another version: it is made again")
                return cls(
                    tuple(values["classes"].tolist()),
                    tuple(sha256.decode("ascii") for sha256 in values["documents"].tolist()),
                    values["vectors"].astype(np.float32),
                    **{name: values[name] for name in _ARRAYS},
                )
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            raise ArtifactError(f"{file} cannot be read: {type(error).__name__}") from error


_ARRAYS = ("probabilities", "status", "candidates", "novelty", "measured")


def stock(workspace: Workspace, store: FeatureStore) -> Stock:
    """The documents of a store.

    Args:
        workspace: Where their places are known.
        store: The features.
    """
    pages = store.pages().sort_values(["document_sha256", "page_index"])
    is_silent = pages["outcome"].isin(SAYS_NOTHING)
    silent = is_silent.groupby(pages["document_sha256"]).all()
    firsts = pages.drop_duplicates("document_sha256")
    sources = workspace.sources()
    columns = zip(firsts["document_sha256"], firsts["source"], firsts["page_count"], firsts["source_kind"], strict=True)
    found = [
        (sources.path_of(sha256, source), str(sha256), int(count), str(kind)) for sha256, source, count, kind in columns
    ]
    found.sort()
    documents = [sha256 for _, sha256, _, _ in found]
    return Stock(
        documents,
        [path for path, *_ in found],
        np.array([count for _, _, count, _ in found], np.int64),
        [kind for *_, kind in found],
        silent.reindex(documents).to_numpy(bool),
        {sha256: row for row, sha256 in enumerate(documents)},
        _speaking(pages["document_sha256"].tolist(), pages["page_index"].tolist(), is_silent.tolist()),
    )


def _speaking(documents: list[str], indices: list[int], silent: list[bool]) -> dict[str, frozenset[int]]:
    """See `Stock.speaking`; the pages lie document by document."""
    found: dict[str, frozenset[int]] = {}
    for sha256, rows in groupby(zip(documents, indices, silent, strict=True), key=itemgetter(0)):
        own = frozenset(index + 1 for _, index, nothing in rows if not nothing)
        if own != _FIRST:
            found[sha256] = own
    return found


def survey(workspace: Workspace, store: FeatureStore, bundle: ClassifierBundle | None) -> Survey:
    """Asks a classifier about all stored documents, and gathers what tells how they lie to each other.

    Args:
        workspace: Where index, cues and kinds are.
        store: The features; read part by part.
        bundle: The classifier, if any.
    """
    pile = gather(workspace, store, None)
    documents, n = tuple(map(str, pile.documents)), len(pile.documents)
    told = CuedStore(workspace, store) if bundle is not None and bundle.cues else store
    answers = decided(workspace, told, bundle) if bundle is not None else None
    if bundle is None or answers is None:
        nothing = np.zeros((n, 0), np.float32)
        unknown = np.full(n, np.nan, np.float32)
        no = np.zeros(n, bool)
        return Survey((), documents, pile.vectors, nothing, np.full(n, -1, np.int8), nothing.astype(bool), unknown, no)
    decisions = answers.decisions
    status = np.array([STATUSES.index(str(one)) for one in decisions.status], np.int8)
    return Survey(
        tuple(bundle.classes),
        documents,
        pile.vectors,
        decisions.probabilities.astype(np.float32),
        status,
        decisions.candidates,
        decisions.novelty.astype(np.float32),
        decisions.measured,
    )


def labels_of(labels: Labels) -> tuple[dict[str, str], dict[str, dict[int, str]]]:
    """The label of each document as a whole, and those of its pages by their numbers, by SHA-256."""
    whole: dict[str, str] = {}
    pages: dict[str, dict[int, str]] = {}
    for (sha256, page), row in labels.rows.items():
        if page:
            pages.setdefault(sha256, {})[page] = row.label
        else:
            whole[sha256] = row.label
    return whole, pages


def standing(
    held: Stock,
    sha256: str,
    checked: tuple[Mapping[str, str], Mapping[str, Mapping[int, str]]],
    guessed: Mapping[str, str],
) -> tuple[str | None, int]:
    """What a document is labelled as, and the state of that.

    A document is checked by a label of its own, or where all its pages that say something have checked labels, as those
    of a pile; of pages of several types it has no one label.

    Args:
        held: The documents.
        sha256: The document.
        checked: Checked labels, as of `labels_of`.
        guessed: Suggested labels of whole documents.
    """
    whole, pages = checked
    if sha256 in whole:
        return whole[sha256], CHECKED
    own = pages.get(sha256)
    if own:
        speaking = held.speaking.get(sha256, _FIRST)
        if speaking - own.keys():
            return None, PARTLY
        kinds = {own[number] for number in speaking or own}
        return (kinds.pop() if len(kinds) == 1 else None), CHECKED
    return guessed.get(sha256), SUGGESTED if sha256 in guessed else UNKNOWN


def columns(
    held: Stock, checked: Labels, suggested: Labels, found: Survey | None, doubt: Mapping[str, float]
) -> dict[str, Any]:
    """What is known of all documents, a list for each column; the page and the CSV show the same.

    Args:
        held: The documents.
        checked: Their labels.
        suggested: Labels that nobody has checked.
        found: What was computed of them; None where it is not known yet.
        doubt: How much a label would teach, by SHA-256, see `queue.Ranking`.

    Returns:
        `dictionaries` of texts that come often, and `columns`, where these are numbers; what is not known is None.
    """
    whole, pages = labels_of(checked)
    guessed, _ = labels_of(suggested)
    classes = found.classes if found is not None else ()
    of_pages = {kind for own in pages.values() for kind in own.values()}
    types = list(dict.fromkeys([*classes, *sorted({*whole.values(), *guessed.values(), *of_pages})]))
    number = {kind: place for place, kind in enumerate(types)}
    folders = [os.path.dirname(path) for path in held.paths]
    folder_names = sorted(set(folders))
    folder_number = {name: place for place, name in enumerate(folder_names)}
    kinds = sorted(set(held.kinds))
    stands = [standing(held, sha256, (whole, pages), guessed) for sha256 in held.documents]
    return {
        "dictionaries": {
            "type": types,
            "status": list(SHOWN_STATUSES),
            "folder": folder_names,
            "source_kind": kinds,
        },
        "columns": {
            "document": held.documents,
            "name": [os.path.basename(path) for path in held.paths],
            "folder": [folder_number[name] for name in folders],
            "pages": held.pages.tolist(),
            "label": [-1 if kind is None else number[kind] for kind, _ in stands],
            "label_state": [state for _, state in stands],
            **_answers(held, found),
            "doubt": [rounded(doubt.get(sha256)) for sha256 in held.documents],
            "source_kind": [kinds.index(kind) for kind in held.kinds],
            "page_labels": [len(pages.get(sha256, ())) for sha256 in held.documents],
        },
    }


def _answers(held: Stock, found: Survey | None) -> dict[str, list[Any]]:
    """The columns of a classifier's answers."""
    n = len(held.documents)
    status = np.where(held.silent, SHOWN_STATUSES.index(BLANK), -1)
    if found is None or not found.answered:
        return {
            "type": [-1] * n,
            "status": status.tolist(),
            **{name: [None] * n for name in ("confidence", "margin", "novelty")},
        }
    place = np.array([found.rows.get(sha256, -1) for sha256 in held.documents], np.int64)
    known = place >= 0
    rows = place[known]
    told = np.full(n, -1)
    told[known] = found.probabilities[rows].argmax(axis=1)
    status[known] = found.status[rows]
    numbers = {
        "confidence": found.probabilities[rows].max(axis=1),
        "margin": 1.0 - found.uncertainty[rows],
        "novelty": found.novelty[rows],
    }
    columns: dict[str, list[Any]] = {"type": told.tolist(), "status": status.tolist()}
    for name, values in numbers.items():
        own = np.full(n, np.nan)
        own[known] = values
        columns[name] = [None if value != value else value for value in own.round(_DIGITS).tolist()]  # noqa: PLR0124 - NaN
    return columns


def rounded(value: float | None) -> float | None:
    """A number as it is told; None where it is not known."""
    return None if value is None else round(value, _DIGITS)
