"""How the commands grow: time and memory of each on a store of invented pages, and on one of a tenth as many.

The pages are invented around stored ones, so that they lie as real pages do. Every command runs as a process of its
own, as a user would start it, one after the other.
"""

import hashlib
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
from numpy.typing import NDArray

from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import EmbedpipeError, UnknownNameError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import SAYS_NOTHING, TEXT_WORDS, Document, FeatureBatch, PageInfo, PageRef, Words
from embedpipe.pages.documents import WORDS
from embedpipe.pages.extras.word_rows import HEADS
from embedpipe.pages.extras.words import BUCKETS
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.store.page_extras import ExtrasWriter
from embedpipe.store.workspace import Workspace

PAGES_PER_DOCUMENT = 8
UNLABELLED = 10
"""For so many labelled documents there is one more without a label: `suggest` and `label --cluster` need some."""

COPIES = 20
"""One of so many documents is a near-copy of another one."""

COMMANDS: Mapping[str, Sequence[str]] = {
    "index": ("index",),
    "fit-knn": ("fit-knn",),
    "fit-svm": ("fit-svm",),
    "fit-head": ("fit-head",),
    "families": ("families",),
    "suggest": ("suggest", "--classifier", "svm"),
    "check-labels": ("check-labels", "--classifier", "svm"),
    "label-cluster": ("label", "--cluster"),
    "map": ("map", "--method", "pca", "--thumbnails", "0", "--html", "map.html"),
    "dedupe": ("dedupe",),
    "evaluate": ("evaluate", "--classifier", "knn"),
    "similar": ("similar", "first.pdf#page=1"),
    "info": ("info",),
}
"""What is measured, by name; later ones use what earlier ones made."""

_NGRAMS, _NGRAMS_OF_PAGE = 20_000, 800
_NGRAMS_OF_HEADS, _NGRAMS_OF_HEAD = 2000, 200
_NEEDS = {"suggest": "fit-svm", "check-labels": "fit-svm", "evaluate": "fit-knn"}
_TYPES = 16
_PROGRAM = "from embedpipe.commands import main; main()"


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a command.

    Attributes:
        seconds: By the clock.
        processor_seconds: Of all its processes; None where the system does not tell.
        peak_mb: Most memory of one of its processes at once; None where the system does not tell.
        error: What it said where it failed, or "".
    """

    seconds: float
    processor_seconds: float | None
    peak_mb: float | None
    error: str = ""


def measure(
    workspace: Workspace, store: FeatureStore, pages: int, what: Iterable[str] = (), say: Callable[[str], None] = print
) -> dict[str, Any]:
    """Measures the commands on invented stores of a tenth of so many labelled pages, and of all.

    Args:
        workspace: Where the labels of the real pages are.
        store: The real pages.
        pages: How many labelled pages are invented for the larger store.
        what: Some of `COMMANDS`; all if empty. What these need runs as well.
        say: Called before each step.

    Raises:
        UnknownNameError: There is no such command.
        EmbedpipeError: There are no pages to invent others around.
    """
    for name in what:
        if name not in COMMANDS:
            raise UnknownNameError("command that is measured", name, COMMANDS)
    wanted = {*what, *(_NEEDS[name] for name in what if name in _NEEDS)} or set(COMMANDS)
    wanted |= {"index"}
    real = Real.of(workspace, store)
    sizes, runs = (pages // 10, pages), {name: list[Run]() for name in COMMANDS if name in wanted}
    for size in sizes:
        with Aside("at-scale") as folder:
            say(f"inventing {size:,} labelled pages around {len(real.X):,} real ones")
            invent(real, store, Workspace(Path(folder) / "artifacts"), size)
            for name, own in runs.items():
                say(f"{name}, {size:,} pages")
                own.append(_run(COMMANDS[name], Path(folder)))
    return {
        "at_scale": {
            "pages": list(sizes),
            "dim": store.dim,
            "commands": {name: _as_json(own, sizes) for name, own in runs.items()},
        }
    }


@dataclass(frozen=True, slots=True, eq=False)
class Real:
    """Real pages that others are invented around.

    Attributes:
        X: float32 (n, dim), in the order of documents.
        y: Types, (n,).
        documents: First row of each document, and one more, (n_documents + 1,).
        kinds: Kind of source of each page, (n,).
    """

    X: NDArray[np.float32]
    y: NDArray[Any]
    documents: NDArray[np.int64]
    kinds: NDArray[Any]

    @classmethod
    def of(cls, workspace: Workspace, store: FeatureStore) -> "Real":
        """The labelled pages of a store; where fewer than two types are labelled, all, with types by their looks."""
        pages = store.pages()
        pages = pages[~pages["outcome"].isin(SAYS_NOTHING)].sort_values(["document_sha256", "page_index"])
        labels = workspace.labels().of_pages(pages)["label"].to_numpy(object)
        known = np.array([bool(label) and label == label for label in labels], bool)  # noqa: PLR0124 - NaN
        enough = len(set(labels[known])) > 1
        if enough:
            pages, labels = pages[known], labels[known]
        if not len(pages):
            raise EmbedpipeError("no page is stored that others could be invented around: run `embed` first")
        X = store.features(pages["page_id"].to_numpy(np.int64))
        if not enough:
            centres = X[:: max(len(X) // _TYPES, 1)][:_TYPES]
            nearest = ((centres * centres).sum(axis=1) - 2 * X @ centres.T).argmin(axis=1)
            labels = np.array([f"type-{number:02}" for number in nearest.tolist()], object)
        changes = np.flatnonzero(pages["document_sha256"].to_numpy()[1:] != pages["document_sha256"].to_numpy()[:-1])
        firsts = np.r_[0, changes + 1, len(pages)].astype(np.int64)
        return cls(X, labels.astype(object), firsts, pages["source_kind"].to_numpy(object))


def invent(real: Real, like: FeatureStore, target: Workspace, labelled: int) -> None:
    """Fills an empty workspace with invented documents of eight pages: features, words, labels, and where they lie.

    The pages of a document are those of a real one, each moved up to half way to a page of another document of its
    type, and by a quarter of the difference of two more: as far from each other as pages of one type are. One document
    of `COPIES` is a near-copy of the one before it. The first one lies beside the workspace as `first.pdf`.

    Args:
        real: What they are invented around.
        like: The store whose space they are of.
        target: An empty workspace.
        labelled: Pages of documents with a label; a tenth as many come without.
    """
    rng, labels, sources = np.random.default_rng(0), Labels(), target.sources()
    target.claim()
    first = _first_document(target.root.parent / "first.pdf")
    writer = FeatureWriter(FeatureStore.create(target.store_path(like.identity.space), like.identity, like.blocks), {})
    of_type = {kind: np.flatnonzero(real.y == kind) for kind in np.unique(real.y)}
    with_label = -(-labelled // PAGES_PER_DOCUMENT)
    words, extras = _Vocabularies(sorted(of_type), rng), ExtrasWriter(target.root, [WORDS])
    X, kind, source_kind = real.X[:0], "", ""
    for number in range(with_label + with_label // UNLABELLED):
        if number % COPIES != 1:
            row = int(rng.integers(len(real.documents) - 1))
            own = np.resize(np.arange(real.documents[row], real.documents[row + 1]), PAGES_PER_DOCUMENT)
            kind, source_kind = str(real.y[own[0]]), str(real.kinds[own[0]])
            X = real.X[own] + _moves(real.X, own, of_type[real.y[own[0]]], rng)
        else:
            X = X * (1 + rng.normal(0, 0.01, X.shape).astype(np.float32))
        document = first if number == 0 else _document(number)
        refs = [PageRef(document.sha256, i, document.path) for i in range(len(X))]
        infos = tuple(
            PageInfo(ref, len(X), 595, 842, 0.1, source_kind=source_kind, words=words.page(kind)) for ref in refs
        )
        extras.append(infos)
        writer.append(FeatureBatch(infos, X.astype(np.float32)))
        sources.add(document)
        if number < with_label:
            labels.add([Label(document.sha256, document.path, kind)])
    extras.flush()
    writer.flush()
    sources.save()
    labels.save(target.labels_file)


class _Vocabularies:
    """Words of invented pages: some n-grams are of all types, and some of one, as a page's are.

    Args:
        types: All of them.
        rng: What draws.
    """

    def __init__(self, types: Sequence[str], rng: np.random.Generator) -> None:
        self._rng = rng
        self._common = rng.choice(BUCKETS, _NGRAMS)
        self._own = {kind: rng.choice(BUCKETS, _NGRAMS) for kind in types}
        self._heads = {kind: BUCKETS + rng.choice(HEADS, _NGRAMS_OF_HEADS) for kind in types}

    def page(self, kind: str) -> Words:
        """The words of a page of a type; its n-grams follow Zipf's law, as those of texts do."""
        places = self._rng.zipf(1.3, (2, _NGRAMS_OF_PAGE)) % _NGRAMS
        drawn = np.concatenate([self._common[places[0]], self._own[kind][places[1][: _NGRAMS_OF_PAGE // 4]]])
        head = self._heads[kind][self._rng.zipf(1.3, _NGRAMS_OF_HEAD) % _NGRAMS_OF_HEADS]
        columns, counts = np.unique(np.concatenate([drawn, head]), return_counts=True)
        return Words(columns.astype(np.uint32), np.minimum(counts, 2**16 - 1).astype(np.uint16), 2000, TEXT_WORDS)


def _moves(
    X: NDArray[np.float32], own: NDArray[np.int64], alike: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.float32]:
    """How far each page of a document is moved, (n, dim)."""
    towards, one, other = rng.choice(alike, (3, len(own)))
    shares = rng.uniform(0, 0.5, (len(own), 1)).astype(np.float32)
    moved: NDArray[np.float32] = shares * (X[towards] - X[own]) + np.float32(0.25) * (X[one] - X[other])
    return moved


def _first_document(file: Path) -> Document:
    """A real file, so that `similar` can be asked about it."""
    with pymupdf.open() as document:
        for _ in range(PAGES_PER_DOCUMENT):
            document.new_page()
        document.save(file)
    status = file.stat()
    return Document(str(file.resolve()), sha256_of(file), status.st_size, status.st_mtime_ns, "pdf")


def _document(number: int) -> Document:
    return Document(f"/documents/{number:07}.pdf", hashlib.sha256(str(number).encode()).hexdigest(), 1000, 0, "pdf")


def _run(arguments: Sequence[str], folder: Path) -> Run:
    """Runs a command in a process of its own, beside the workspace `artifacts`."""
    command = [sys.executable, "-c", _PROGRAM, *arguments, "--artifacts", "artifacts", "--json", "--quiet"]
    begin = time.perf_counter()
    with (
        tempfile.TemporaryFile() as messages,
        subprocess.Popen(  # noqa: S603 - this program itself
            command, cwd=folder, stdout=subprocess.DEVNULL, stderr=messages, env=_environment()
        ) as child,
    ):
        processor_seconds, peak_mb = None, None
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            processor_seconds = round(usage.ru_utime + usage.ru_stime, 2)
            peak_mb = round(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6, 1)
        code, seconds = child.wait(), time.perf_counter() - begin
        messages.seek(0)
        said = messages.read().decode(errors="replace").strip().splitlines()
    error = "" if code == 0 else said[-1] if said else f"exit code {code}"
    return Run(round(seconds, 2), processor_seconds, peak_mb, error)


def _environment() -> dict[str, str]:
    """So that the program is found also where it is not installed."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))}


def _as_json(runs: Sequence[Run], sizes: Sequence[int]) -> dict[str, Any]:
    return {
        "seconds": [run.seconds for run in runs],
        "processor_seconds": [run.processor_seconds for run in runs],
        "peak_mb": [run.peak_mb for run in runs],
        "growth": growth(runs, sizes),
        "errors": [run.error for run in runs if run.error],
    }


def growth(runs: Sequence[Run], sizes: Sequence[int]) -> float | None:
    """The exponent of the growth: 1 where ten times the pages take ten times as long; None where a run failed.

    Processor time counts where it is known: other programs do not change it much.
    """
    few, many = runs
    if few.error or many.error:
        return None
    if few.processor_seconds and many.processor_seconds:
        ratio = many.processor_seconds / few.processor_seconds
    else:
        ratio = many.seconds / few.seconds
    return round(math.log(ratio) / math.log(sizes[1] / sizes[0]), 2)


def table(values: Mapping[str, Any]) -> tuple[tuple[str, ...], list[tuple[object, ...]]]:
    """The result of `measure` for people: columns and rows."""
    found = values["at_scale"]
    few, many = (f"{pages:,} pages" for pages in found["pages"])
    columns = ("command", f"{few}, s", "processor s", "MB", f"{many}, s", "processor s", "MB", "growth")
    rows: list[tuple[object, ...]] = []
    for name, own in found["commands"].items():
        if own["errors"]:
            rows.append((name, "failed:", own["errors"][0], "", "", "", "", ""))
            continue
        sides = zip(own["seconds"], own["processor_seconds"], own["peak_mb"], strict=True)
        cells = ["" if value is None else f"{value:.1f}" for side in sides for value in side]
        rows.append((name, *cells, f"{own['growth']:.2f}"))
    return columns, rows
