"""What the report is about: every file that was met with its outcome, every document with its type and by whom."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import numpy as np
import pandas as pd

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.confidence import Interval
from embedpipe.classifiers.calibration.decisions import ERROR_RATE
from embedpipe.classifiers.calibration.expected import expected_right
from embedpipe.classifiers.calibration.shift import promise
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.stored_answers import STATUSES, Decided, decided
from embedpipe.core.records import SAYS_NOTHING, WHOLE_FILE, PageFailure
from embedpipe.pages.documents import reader_name
from embedpipe.pages.source_kinds import KINDS
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE, Labels
from embedpipe.store.parts import ROW_BITS
from embedpipe.store.sources import CURRENT, EARLIER
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.dedupe_plan import MovedFiles

PERSON, CLASSIFIER, NOBODY = "person", "classifier", ""
"""By whom a document has its type."""

BLANK, FAILED, NO_FEATURES, UNTOLD = "blank", "failed", "unembedded", "untold"
COPY, ASIDE, AWAY = "copy", "aside", "gone"
OUTCOMES = ("labelled", *STATUSES, UNTOLD, BLANK, FAILED, NO_FEATURES, COPY, ASIDE, AWAY)
"""What became of a file; each file has one of them."""

_MOST_OTHERS = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One document.

    Attributes:
        sha256: Of its content; "" for a file that could not even be read for that.
        path: Where it lies, or was last.
        outcome: One of `OUTCOMES`, but neither COPY, ASIDE nor AWAY.
        pages: How many of its pages have features.
        failed_pages: How many have none, for they could not be read.
        kind: Its type; "" where that is not known.
        by: PERSON, CLASSIFIER or NOBODY.
        confidence: Of the classifier, 0..1; NaN where a person or nobody told the type.
        others: Further types that it may be, most probable first.
        source_kind: One of `source_kinds.KINDS`, or "".
        day: When its features were stored, as far as the store's files tell.
        first_page: Index of its first page that is not blank.
        message: Why it failed, or what its pages lack.
        unlike: Its batch is unlike the labelled documents, or too few of its kind of source were labelled.
    """

    sha256: str
    path: str
    outcome: str
    pages: int = 0
    failed_pages: int = 0
    kind: str = ""
    by: str = NOBODY
    confidence: float = float("nan")
    others: tuple[str, ...] = ()
    source_kind: str = ""
    day: date | None = None
    first_page: int = 0
    message: str = ""
    unlike: bool = False


@dataclass(frozen=True, slots=True)
class Sure:
    """How many answers of the classifier there are, and how many are expected to be right.

    Attributes:
        documents: Those for which that was measured.
        right: The expected share, with its range; None where nothing was measured.
        unmeasured: Further ones, of kinds of source or batches that were not measured.
    """

    documents: int = 0
    right: Interval | None = None
    unmeasured: int = 0


@dataclass(slots=True)
class Facts:
    """All that the report says.

    Attributes:
        rows: Every document, and every file that failed, by path.
        outcomes: How many files have each outcome; they add up to all files that were met.
        copies: Paths of further copies, with the document that they are copies of.
        earlier: Earlier versions of files, which count nowhere.
        folders: Files that are there, by folder.
        readers: Likewise by kind of file.
        failures: Pages and files without features.
        page_outcomes: Pages with features by their outcome.
        sure: By status of the classifier's answers, and of all of them under "".
        classifier: Name, time and types of the classifier; empty without one.
        promise: What it promises, and of which documents.
    """

    rows: list[Row] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    copies: list[tuple[str, str]] = field(default_factory=list)
    earlier: int = 0
    folders: Counter[str] = field(default_factory=Counter)
    readers: Counter[str] = field(default_factory=Counter)
    failures: list[PageFailure] = field(default_factory=list)
    page_outcomes: Counter[str] = field(default_factory=Counter)
    sure: dict[str, Sure] = field(default_factory=dict)
    classifier: dict[str, Any] = field(default_factory=dict)
    promise: str = ""

    @property
    def files(self) -> int:
        """All files that were met."""
        return sum(self.outcomes.values())

    @property
    def documents(self) -> list[Row]:
        """Those that could be read."""
        return [row for row in self.rows if row.outcome not in {FAILED, NO_FEATURES}]

    def told_by(self, whom: str) -> list[Row]:
        """The documents whose type a person or the classifier told."""
        return [row for row in self.rows if row.by == whom]

    def doubtful(self) -> list[Row]:
        """What the classifier is not sure of, the least confident first."""
        rows = [row for row in self.rows if row.outcome in {"ambiguous", "novel"}]
        return sorted(rows, key=lambda row: (row.confidence, row.path))


def gather(workspace: Workspace, store: FeatureStore, bundle: ClassifierBundle | None) -> Facts:
    """Reads all that is known of the files that were met.

    Args:
        workspace: The artifacts.
        store: The features.
        bundle: Whose answers count for documents without a label; None for none.
    """
    failures = store.failures()
    answers, taken = None, store
    if bundle is not None:
        taken = TrainingRecipe.of(bundle.fitted_on).features_of(workspace, store)
        answers = decided(workspace, taken, bundle)
    rows = _documents(workspace, store, failures, _Told(workspace.labels(), answers, bundle))
    facts = Facts(failures=failures)
    facts.page_outcomes.update(store.pages()["outcome"])
    _add_files(workspace, rows, facts)
    facts.rows = sorted([*rows.values(), *_nameless(failures, facts)], key=lambda row: row.path)
    facts.outcomes.update(row.outcome for row in facts.rows)
    if bundle is not None and answers is not None:
        facts.sure = _sure(bundle, answers, facts.rows)
        facts.promise = promise(bundle.documents, ERROR_RATE)
    if bundle is not None:
        facts.classifier = {"name": bundle.name, "time": bundle.fitted_on.get("time"), "types": len(bundle.classes)}
    return facts


@dataclass(frozen=True, slots=True)
class _Told:
    """Who tells types."""

    labels: Labels
    answers: Decided | None
    bundle: ClassifierBundle | None

    def labelled(self) -> dict[str, str]:
        """The type that a person gave, by document; where pages have types of their own, that of most of them."""
        whole = {sha256: row.label for (sha256, page), row in self.labels.rows.items() if not page}
        of_pages: dict[str, Counter[str]] = {}
        for (sha256, page), row in self.labels.rows.items():
            if page and sha256 not in whole:
                of_pages.setdefault(sha256, Counter())[row.label] += 1
        return {sha256: counts.most_common(1)[0][0] for sha256, counts in of_pages.items()} | whole

    def by_classifier(self) -> dict[str, dict[str, Any]]:
        """Its answers, as values of `Row`."""
        if self.answers is None or self.bundle is None:
            return {}
        found, classes = self.answers.decisions, np.asarray(self.bundle.classes, object)
        values = {}
        for n, sha256 in enumerate(self.answers.documents):
            order = np.argsort(-found.probabilities[n], kind="stable")
            others = [k for k in order if found.candidates[n, k] and k != self.answers.told[n]]
            values[sha256] = {
                "outcome": str(found.status[n]),
                "kind": str(classes[self.answers.told[n]]),
                "by": CLASSIFIER,
                "confidence": float(found.probabilities[n, self.answers.told[n]]),
                "others": tuple(map(str, classes[others[:_MOST_OTHERS]])),
                "unlike": not bool(found.measured[n]),
            }
            if self.answers.kinds[n] >= 0:
                values[sha256]["source_kind"] = KINDS[self.answers.kinds[n]]
        return values


def _documents(workspace: Workspace, store: FeatureStore, failures: list[PageFailure], told: _Told) -> dict[str, Row]:
    """Every document that was read or known by its content, by SHA-256."""
    labelled, answered = told.labelled(), told.by_classifier()
    sources, days = workspace.sources(), _days(store)
    lost: dict[str, list[PageFailure]] = {}
    for failure in failures:
        if failure.page.document_sha256:
            lost.setdefault(failure.page.document_sha256, []).append(failure)
    rows: dict[str, Row] = {}
    for sha256, own in _by_document(store.pages()):
        failed = lost.pop(sha256, [])
        values: dict[str, Any] = {
            "path": sources.path_of(sha256, own["source"]),
            "pages": own["pages"],
            "failed_pages": sum(failure.page.page_index != WHOLE_FILE for failure in failed),
            "source_kind": own["source_kind"],
            "day": days.get(own["page_id"] >> ROW_BITS),
            "first_page": own["first"],
            "message": failed[0].message if failed else "",
            "outcome": BLANK if own["silent"] else UNTOLD,
        }
        if sha256 in labelled:
            values |= {"kind": labelled[sha256], "by": PERSON, "outcome": "labelled"}
        elif not own["silent"]:
            values |= answered.get(sha256, {})
        values["source_kind"] = answered.get(sha256, values).get("source_kind", values["source_kind"])
        rows[sha256] = Row(sha256, **values)
    for sha256, failed in lost.items():
        pages = sum(failure.page.page_index != WHOLE_FILE for failure in failed)
        path = sources.path_of(sha256, failed[0].page.source)
        rows[sha256] = Row(sha256, path, FAILED, failed_pages=pages, message=failed[0].message)
    return rows


def _by_document(pages: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the pages of each document say together."""
    ordered = pages.sort_values(["document_sha256", "page_index"], kind="stable")
    silent = ordered["outcome"].isin(SAYS_NOTHING).to_numpy(bool)
    shas = ordered["document_sha256"].to_numpy(object)
    starts = np.flatnonzero(np.append(True, shas[1:] != shas[:-1])) if len(shas) else np.empty(0, int)
    columns = {name: ordered[name].to_numpy() for name in ("page_id", "page_index", "source", "source_kind")}
    for start, end in zip(starts, np.append(starts[1:], len(shas)), strict=True):
        own = slice(start, end)
        speaking = np.flatnonzero(~silent[own])
        first = start + (int(speaking[0]) if len(speaking) else 0)
        yield (
            str(shas[start]),
            {
                "pages": int(end - start),
                "silent": not len(speaking),
                "first": int(columns["page_index"][first]),
                "page_id": int(columns["page_id"][start]),
                "source": columns["source"][start],
                "source_kind": Counter(columns["source_kind"][own]).most_common(1)[0][0],
            },
        )


def _days(store: FeatureStore) -> dict[int, date]:
    """When each part of the store was written, by its number."""
    found = {}
    for part in store.parts:
        file = store.origin.path / part.name
        if file.exists():
            found[part.number] = datetime.fromtimestamp(file.stat().st_mtime).astimezone().date()
    return found


def _add_files(workspace: Workspace, rows: Mapping[str, Row], facts: Facts) -> None:
    """Counts every path once: the documents themselves are counted with `rows`, and the rest here."""
    counted: set[str] = set()
    first: dict[str, str] = {}
    away: dict[str, str] = {}
    moved, aside, gone_from = MovedFiles(), Counter[str](), Counter[str]()
    for document, standing in workspace.sources().standings():
        path, sha256 = document.path, document.sha256
        if standing == EARLIER:
            facts.earlier += 1
            away.setdefault(path, sha256)
            continue
        counted.add(path)
        if standing != CURRENT:
            gone_from[sha256] += 1
            continue
        facts.folders[os.path.dirname(path)] += 1
        facts.readers[reader_name(document.reader)] += 1
        put_aside = moved.holds(path)
        aside[sha256] += put_aside
        if sha256 in first:
            facts.outcomes[ASIDE if put_aside else COPY] += 1
            facts.copies.append((path, rows[sha256].path if sha256 in rows else first[sha256]))
        elif sha256 not in rows:
            first[sha256] = path
            facts.rows.append(Row(sha256, path, NO_FEATURES))
        else:
            first[sha256] = path
    # What was put aside has gone from where it was, and is counted where it is.
    if gone := len(away.keys() - counted) + (gone_from - aside).total():
        facts.outcomes[AWAY] += gone


def _nameless(failures: list[PageFailure], facts: Facts) -> list[Row]:
    """Files that are known by their path alone, and files without features."""
    unread = [
        Row("", failure.page.source, FAILED, message=failure.message)
        for failure in failures
        if not failure.page.document_sha256
    ]
    for row in unread:
        facts.folders[os.path.dirname(row.path)] += 1
    return [*facts.rows, *unread]


def _sure(bundle: ClassifierBundle, answers: Decided, rows: list[Row]) -> dict[str, Sure]:
    """The expected share that is right, of what the classifier told."""
    wanted = {row.sha256: row.outcome for row in rows if row.by == CLASSIFIER}
    status = np.array([wanted.get(sha256, "") for sha256 in answers.documents], object)
    confidence = answers.decisions.probabilities.max(axis=1)
    measured = answers.decisions.measured & (bundle.documents.kinds is not None)
    found = {}
    for name in ("", *STATUSES):
        own = status == name if name else status != ""
        known = own & measured
        right = expected_right(bundle.documents, confidence[known], answers.kinds[known]) if known.any() else None
        found[name] = Sure(int(known.sum()), right, int((own & ~known).sum()))
    return found


def is_none(row: Row) -> bool:
    """Whether a person said that a document is of none of the types."""
    return row.kind == NONE
