"""Piles of documents in one file: where to cut them, what the parts are, and the parts as files on request."""

import contextlib
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.sparse import csr_array, vstack

from embedpipe.classifiers.boundaries import BoundaryModel
from embedpipe.classifiers.calibration import shift
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.group_guesses import grouped
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.core.cache_folder import Aside
from embedpipe.core.display import path_to_text
from embedpipe.core.errors import ArtifactError, DocumentError, EmbedpipeError, LabelsError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import Document, FeatureBatch, PageFailure, PageInfo, PageRef, Prediction
from embedpipe.core.tables import read_csv, read_table, write_csv
from embedpipe.embedding.intake import Report
from embedpipe.embedding.reading import Reading
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.cues import CUES, of_part
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.extraction import extract, suffix_of
from embedpipe.pages.rendering import Selection
from embedpipe.pages.source_kinds import codes
from embedpipe.store import placing
from embedpipe.store.sorted_ledger import file_name, shortened
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.classify import Answers, DocumentVerdict

if TYPE_CHECKING:  # only new pages need the network
    from embedpipe.backbones.engines import Backbone
    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.classifiers.saved.answering import Answerer

CUT = 0.5
"""Documents are cut where a boundary is more probable than none."""

PARTS = "embedpipe-parts.csv"
"""In the folder of the parts: which file is a part of which pile; a walk reads it, see `pages.leftovers`."""

_PART_COLUMNS = ("copy", "source", "first_page", "state", "size")
_UNNAMED = "part"
_LONGEST_STEM, _LONGEST_TYPE = 150, 60  # bytes, of the 255 that file systems take


@dataclass(frozen=True, slots=True)
class Part:
    """Pages of a pile that are one document.

    Attributes:
        first_page: From 1.
        last_page: The last one that belongs to it.
        verdict: Its type, predicted from its pages as `classify` does for a file.
        boundary_confidence: Probability that a document begins at its first page; 1 at the begin of the pile.
        whole_confidence: Probability that it is one document, neither cut nor joined wrongly.
    """

    first_page: int
    last_page: int
    verdict: DocumentVerdict
    boundary_confidence: float
    whole_confidence: float


@dataclass(frozen=True, slots=True)
class Pile:
    """A file and its parts; none where the file failed. `verdict` is that of the whole file."""

    document: Document | None
    verdict: DocumentVerdict
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Split:
    """All piles in the order met, and what was done.

    Attributes:
        piles: In the order met.
        report: What was done.
        fallback: Why boundaries were not learnt, or "".
        calibrated: Whether their probabilities were compared with documents that neither they nor the network had seen.
    """

    piles: list[Pile]
    report: Report
    fallback: str
    calibrated: bool


@dataclass(slots=True)
class _Stream:
    """Pages of a file by index."""

    infos: dict[int, PageInfo] = field(default_factory=dict)
    rows: dict[int, NDArray[np.float16]] = field(default_factory=dict)
    words: dict[int, csr_array] = field(default_factory=dict)
    failures: list[PageFailure] = field(default_factory=list)


def split(
    workspace: Workspace,
    inputs: Iterable[str],
    bundle: "ClassifierBundle | Answerer",
    backbone: "Callable[[], Backbone]",
    *,
    rule: Rule | None = None,
    settings: Settings | None = None,
    blank_separates: bool = False,
) -> Split:
    """Cuts every file of the inputs into documents, and predicts the type of each.

    Blank pages and pages that cannot be read stay with the document before them.

    Args:
        workspace: Its labelled documents teach what a boundary looks like; with too few of them, the cut is where
            the type changes.
        inputs: Files and folders; each file is a pile of its own.
        bundle: The classifier.
        backbone: Loads the backbone; called only when there are new pages.
        rule: What is asked of the answers; the default error rate if not given.
        settings: How documents are read.
        blank_separates: A blank page always ends a document, as a separator sheet does.

    Raises:
        SpaceMismatchError: The backbone is not the one that the classifier was fitted on.
        EmbedpipeError: An input does not exist.
    """
    begin, settings = time.perf_counter(), settings or Settings()

    def fitting_backbone() -> "Backbone":
        loaded = backbone()
        bundle.require(loaded.identity)
        return loaded

    reading = Reading(workspace, bundle.identity, settings, cues=bundle.cues, words=bundle.words)
    answers = Answers(bundle, rule)
    streams: dict[str, _Stream] = {}
    for item in reading.read(inputs, fitting_backbone):
        answers.take(item)
        if isinstance(item, PageFailure):
            streams.setdefault(item.page.document_sha256, _Stream()).failures.append(item)
            continue
        for place, (info, row) in enumerate(zip(item.pages, item.X.astype(np.float16), strict=True)):
            stream = streams.setdefault(info.ref.document_sha256, _Stream())
            stream.infos[info.ref.page_index], stream.rows[info.ref.page_index] = info, row
            if item.words is not None:
                stream.words[info.ref.page_index] = item.words[[place]]
    model, fallback = _learn(workspace, bundle, {d.sha256 for d in reading.found if isinstance(d, Document)})
    piles = []
    for found in reading.found:
        pages = streams.get(found.sha256) if isinstance(found, Document) else None
        if isinstance(found, Document) and pages and pages.infos:
            verdict = answers.verdict(found)
            boundaries = _boundaries(pages, verdict, model, blank_separates=blank_separates)
            piles.append(Pile(found, verdict, _parts(found, pages, bundle, rule, boundaries)))
        else:
            piles.append(Pile(None, answers.verdict(found), ()))
    kinds = codes([part.verdict.source_kind for pile in piles for part in pile.parts])
    reading.report.shift = shift.count(bundle.documents, kinds, (rule or Rule()).error_rate)
    reading.report.seconds = time.perf_counter() - begin
    return Split(piles, reading.report, fallback, model is not None and model.calibrated_)


def _learn(
    workspace: Workspace, bundle: "ClassifierBundle | Answerer", piles: set[str]
) -> tuple[BoundaryModel | None, str]:
    """A model from all labelled documents but the piles; or None, and why."""
    try:
        store = workspace.open_store(bundle.identity.space)
        pages = labelled_pages(workspace, store, Selection())
        others = ~np.isin(pages.documents.astype(str), sorted(piles))
        pages = pages.take(others)
        if not len(pages.y):
            raise LabelsError("no document is labelled but the piles")
        pages = grouped(workspace, pages, store.blocks)
        blocks = [(start, stop) for _, start, stop in store.blocks]
        with warnings.catch_warnings():  # a type of which one page is left has no spread of its own
            warnings.filterwarnings("ignore", message="Only one sample available")
            return BoundaryModel(blocks).fit(pages, _sizes_of(store.pages(), pages.page_ids)), ""
    except (ArtifactError, LabelsError) as error:
        return None, str(error)


def _sizes_of(table: pd.DataFrame, page_ids: NDArray[np.int64]) -> NDArray[np.float64]:
    rows = table.set_index("page_id").loc[page_ids]
    return rows[["width", "height"]].to_numpy(np.float64)


def _boundaries(
    stream: _Stream, verdict: DocumentVerdict, model: BoundaryModel | None, *, blank_separates: bool
) -> dict[int, float]:
    """Probability that a document begins at each page, by page index; only of pages that are not blank."""
    indices = [i for i in sorted(stream.infos) if stream.infos[i].outcome != "blank"]
    if len(indices) < 2:  # noqa: PLR2004
        return {}
    X = np.stack([stream.rows[i] for i in indices]).astype(np.float32)
    if model is None:
        told = {page.page_number - 1: page.prediction for page in verdict.pages}
        probabilities = np.array([_type_change(told[a], told[b]) for a, b in itertools.pairwise(indices)])
    else:
        sizes = np.array([(stream.infos[i].width, stream.infos[i].height) for i in indices])
        probabilities = model.probabilities(X, sizes)
    boundaries = dict(zip(indices[1:], probabilities.tolist(), strict=True))
    if blank_separates:
        blank = {i for i, info in stream.infos.items() if info.outcome == "blank"}
        after = [here for before, here in itertools.pairwise(indices) if blank & set(range(before, here))]
        boundaries.update(dict.fromkeys(after, 1.0))
    return boundaries


def _type_change(before: Prediction, here: Prediction) -> float:
    """A rough probability of a boundary: above one half where the type changes, further from it the surer both are."""
    sure = before.confidence * here.confidence
    return (1.0 + sure) / 2 if before.label != here.label else (1.0 - sure) / 2


def _parts(
    pile: Document,
    stream: _Stream,
    bundle: "ClassifierBundle | Answerer",
    rule: Rule | None,
    boundaries: dict[int, float],
) -> tuple[Part, ...]:
    known = sorted(stream.infos.keys() | {failure.page.page_index for failure in stream.failures})
    starts = [known[0], *(index for index, p in sorted(boundaries.items()) if p > CUT)]
    ends = [max(i for i in known if i < start) for start in starts[1:]] + [known[-1]]
    answers, parts = Answers(bundle, rule), []
    for first, last in zip(starts, ends, strict=True):
        part = Document(pile.path, f"{pile.sha256}#{first}", pile.size, pile.mtime_ns, pile.reader)
        for item in _renumbered(stream, part, first, last, cued=bundle.cues):
            answers.take(item)
        begin = 1.0 if first == known[0] else boundaries[first]
        end = 1.0 if last == known[-1] else boundaries[min(i for i in known if i > last)]
        joined = [1.0 - p for index, p in boundaries.items() if first < index <= last]
        whole = begin * end * float(np.prod(joined))
        parts.append(Part(first + 1, last + 1, answers.verdict(part), begin, whole))
    return tuple(parts)


def _renumbered(
    stream: _Stream, part: Document, first: int, last: int, *, cued: bool
) -> Iterable[FeatureBatch | PageFailure]:
    """The pages of a part as pages of a document of their own, so that they get one prediction."""
    indices = [i for i in sorted(stream.infos) if first <= i <= last]
    refs = {i: PageRef(part.sha256, i - first, part.path) for i in range(first, last + 1)}
    infos = tuple(
        replace(info, ref=refs[i], page_count=last - first + 1) for i, info in ((i, stream.infos[i]) for i in indices)
    )
    if infos:
        X = np.stack([stream.rows[i] for i in indices]).astype(np.float32)
        if cued:
            X[:, -len(CUES) :] = of_part(X[:, -len(CUES) :], [i - first for i in indices], last - first + 1)
        yield FeatureBatch(infos, X, vstack([stream.words[i] for i in indices], "csr") if stream.words else None)
    for failure in stream.failures:
        if first <= failure.page.page_index <= last:
            yield PageFailure(refs[failure.page.page_index], failure.kind, failure.message)


def write_parts(piles: Iterable[Pile], folder: Path, settings: Settings) -> dict[tuple[str, int], Path | str]:
    """Writes each part as a file; piles stay as they are, and no file is overwritten.

    Args:
        piles: Of `split`.
        folder: Made if need be.
        settings: Passwords and limits.

    Returns:
        The file of each part by path and first page, or why it could not be written.

    Raises:
        ArtifactError: The folder cannot be written.
    """
    written: dict[tuple[str, int], Path | str] = {}
    for pile in piles:
        if pile.document is not None:
            wanted = [
                (part.first_page, part.last_page, part.verdict.prediction.label or part.verdict.prediction.status)
                for part in pile.parts
            ]
            files = _written(pile.document, wanted, folder, settings)
            written |= {(pile.verdict.path, first): file for first, file in files.items()}
    _note_parts(folder, {key: path for key, path in written.items() if isinstance(path, Path)})
    return written


def write_as_said(
    pile: Document, parts: Sequence[tuple[int, int, str | None]], folder: Path, settings: Settings
) -> dict[int, Path | str]:
    """Writes the parts of a pile as a person wants them cut: first page, last page, and type of each.

    Returns:
        The file of each part by its first page, or why it could not be written; as of `write_parts`.

    Raises:
        ArtifactError: The folder cannot be written.
    """
    wanted = [(first, last, kind or _UNNAMED) for first, last, kind in parts]
    written = _written(pile, wanted, folder, settings)
    _note_parts(folder, {(pile.path, first): path for first, path in written.items() if isinstance(path, Path)})
    return written


def _written(
    pile: Document, wanted: Sequence[tuple[int, int, str]], folder: Path, settings: Settings
) -> dict[int, Path | str]:
    """Writes pages of a pile as files: first page, last page, and what each is called."""
    options = ReadOptions(limits=settings.limits, passwords=settings.passwords)
    found: dict[int, Path | str] = {}
    with Aside("split") as scratch:
        files = extract(pile, [(first - 1, last - 1) for first, last, _ in wanted], Path(scratch), options)
        for part, file in zip(wanted, files, strict=True):
            if isinstance(file, DocumentError):
                found[part[0]] = f"{file.kind}: {file}"
            else:
                found[part[0]] = _keep(file, folder / _name(pile, *part))
    return found


def _note_parts(folder: Path, written: Mapping[tuple[str, int], Path]) -> None:
    """Notes which files of a folder are parts of which pile, so that a walk of all does not take them for documents."""
    file = folder / PARTS
    rows = {}
    if file.exists():
        with contextlib.suppress(EmbedpipeError):
            rows = {row["copy"]: row for row in read_csv(file) if row.get("copy")}
    for (pile, first_page), path in written.items():
        values = {"first_page": str(first_page), "size": str(path.stat().st_size), "source": path_to_text(pile)}
        rows[path_to_text(path.name)] = {"copy": path_to_text(path.name), "state": "part", **values}
    with contextlib.suppress(ArtifactError):  # the parts are there, and said; they are only taken for documents then
        if rows and (not file.exists() or read_table(file).header == _PART_COLUMNS):
            write_csv(file, _PART_COLUMNS, rows.values())


def _name(pile: Document, first: int, last: int, called: str) -> str:
    stem = shortened(Path(pile.path).stem, _LONGEST_STEM)
    kind = shortened(file_name(called), _LONGEST_TYPE)
    return f"{stem}-p{first:03d}-{last:03d}-{kind}{suffix_of(pile)}"


def _keep(aside: Path, wanted: Path) -> Path | str:
    """Copies a finished part to its place, or to the next free name; one that is there already is not made again.

    Returns:
        Where it is, or why it could not be written.
    """
    target, digest, number = wanted, sha256_of(aside), 1
    while True:
        if target.is_file() and sha256_of(target) == digest:
            return target
        if not os.path.lexists(target):
            try:
                placing.copy(str(aside), target, digest)
            except FileExistsError:
                pass
            except OSError as error:
                return f"cannot be written: {error.strerror or error}"
            else:
                return target
        number += 1
        target = wanted.with_stem(f"{wanted.stem}-{number}")


def as_json(part: Part, verdict: dict[str, Any]) -> dict[str, Any]:
    """A part as the command line prints it; `verdict` is that of `classify.as_json`."""
    answer = {key: value for key, value in verdict.items() if key not in ("path", "pages")}
    return {
        "pages": [part.first_page, part.last_page],
        **answer,
        "boundary_confidence": round(part.boundary_confidence, 4),
        "whole_confidence": round(part.whole_confidence, 4),
    }
