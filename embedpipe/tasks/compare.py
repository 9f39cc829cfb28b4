"""Backbones side by side on the same documents: how good, how fast, and how much disk space their features take."""

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import CLASSIFIERS, build_classifier
from embedpipe.classifiers.evaluation import cross_validate
from embedpipe.classifiers.folds import LEARNT
from embedpipe.classifiers.groups import with_guesses
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons import missing
from embedpipe.classifiers.lessons.held_out import held_out_of, honest_folds
from embedpipe.classifiers.lessons.missing import Missing
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.metrics import group_origins, metrics_of
from embedpipe.core.errors import EmbedpipeError, LabelsError, UnknownNameError
from embedpipe.core.records import Document
from embedpipe.core.tables import write_csv
from embedpipe.drawing.tradeoffs import Point, draw_tradeoff
from embedpipe.embedding.streaming import Settings, render_pages
from embedpipe.pages.documents import ReadOptions
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import embed
from embedpipe.tasks.baselines import network_seconds
from embedpipe.tasks.embed import Progress

SPEED_PAGES = 48
"""First pages, of documents spread evenly over all, that the speed of the network is measured on."""

_REPEATS = 3
_MEGABYTE = 1024**2
COLUMNS = (
    "backbone",
    "classifier",
    "document_accuracy",
    "document_top5_accuracy",
    "document_macro_f1",
    "accuracy",
    "top5_accuracy",
    "macro_f1",
    "pages_per_second",
    "precision",
    "dim",
    "bytes_per_page",
    "store_mb",
    "problem",
)
"""Of the table: quality of documents and pages, speed of the network, width and room of the features."""


@dataclass(slots=True)
class Candidate:
    """One backbone of a comparison.

    Attributes:
        name: As it was asked for.
        problem: Why there are no figures, or "".
        space: Of its features.
        pages_per_second: Of the network alone, pictures in memory to features.
        engine: What ran it.
        device: Where.
        precision: In what.
        dim: Width of its features.
        bytes_per_page: What a page takes on disk.
        pages: Its labelled pages; cut down to those that all candidates have before anything is fitted.
        blocks: Where each layer's features lie.
        metrics: Of `metrics.metrics_of`, by classifier.
        missing: What labels lack in its space.
        frozen: Whether the network was not fine-tuned here.
    """

    name: str
    problem: str = ""
    space: str = ""
    pages_per_second: float = 0.0
    engine: str = ""
    device: str = ""
    precision: str = ""
    dim: int = 0
    bytes_per_page: float = 0.0
    pages: LabelledPages | None = None
    blocks: list[tuple[str, int, int]] = field(default_factory=list)
    metrics: dict[str, dict[str, Any]] = field(default_factory=dict)
    missing: Missing | None = None
    frozen: bool = True


@dataclass(frozen=True, slots=True)
class Comparison:
    """Candidates measured on the same pages in the same folds.

    Attributes:
        candidates: In the order asked for, those with problems included.
        pages: How many labelled pages all of them have.
        documents: Of how many documents.
        groups: Of how many groups.
        folds: In how many folds; 0 where too few documents are left that none of the networks was trained on.
        seen_documents: How many of the documents no figure counts, for one of the networks was trained on their group.
        speed_pages: On how many pages the speeds were measured.
        origins: Of `metrics.group_origins`: whether groups were given or guessed.
    """

    candidates: list[Candidate]
    pages: int = 0
    documents: int = 0
    groups: int = 0
    folds: int = 0
    seen_documents: int = 0
    speed_pages: int = 0
    origins: dict[str, int] = field(default_factory=dict)


def compare(
    workspace: Workspace,
    names: Sequence[str],
    kinds: Sequence[str],
    load: Callable[[str], Backbone],
    *,
    inputs: Iterable[str] = (),
    settings: Settings | None = None,
    progress: Callable[[str, Progress], None] | None = None,
    allow_missing: bool = False,
) -> Comparison:
    """Embeds labelled documents with each backbone, and measures classifiers on the same pages in the same folds.

    What the store holds already is not embedded again; the speed is measured in this run all the same, for all on the
    same pages.

    Args:
        workspace: Gives the labels, and keeps the features.
        names: Of the backbones.
        kinds: Of the classifiers.
        load: Makes a backbone of a name.
        inputs: Files and folders; the labelled documents if there are none.
        settings: How documents are read, and which of their pages.
        progress: Called with the name of the backbone and how far it is.
        allow_missing: Measure without what labelled documents have lost.

    Raises:
        UnknownNameError: There is no such classifier.
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
    """
    for kind in kinds:
        if kind not in CLASSIFIERS:
            raise UnknownNameError("classifier", kind, CLASSIFIERS)
    settings, documents = settings or Settings(), labelled_documents(workspace)
    paths = list(inputs) or [document.path for document in documents]
    if not paths:
        raise LabelsError("no labelled document is where it was: name the folders to embed, or run `embed` on them")
    candidates = []
    for name in dict.fromkeys(names):
        try:
            backbone = load(name)
        except EmbedpipeError as error:
            candidates.append(Candidate(name, problem=" ".join(str(error).split())))
            continue
        tell = (lambda step, name=name: progress(name, step)) if progress else None
        embed.embed(workspace, paths, backbone, settings=settings, progress=tell)
        candidates.append(_candidate(workspace, name, backbone, settings, allow_missing=allow_missing))
        documents = documents or labelled_documents(workspace)
        candidates[-1].pages_per_second = network_rate(backbone, documents)
    return _measured(candidates, kinds, min(SPEED_PAGES, len(documents)))


def labelled_documents(workspace: Workspace) -> list[Document]:
    """The labelled documents that are where they were, by their hash."""
    sources = workspace.sources()
    known = sorted({sha256 for sha256, _ in workspace.labels().rows})
    return [document for sha256 in known if (document := sources.document(sha256))]


def network_rate(backbone: Backbone, documents: Sequence[Document]) -> float:
    """Pages a second of the network alone, the median of a few measurements on the same first pages."""
    step = max(1, len(documents) // SPEED_PAGES)
    recipe, interpolation = backbone.identity.recipe, backbone.identity.interpolation
    wanted = [(document, 0) for document in documents[::step][:SPEED_PAGES]]
    pixels = list(render_pages(wanted, options=ReadOptions(recipe, interpolation)).values())
    seconds = [network_seconds(backbone, pixels, backbone.engine.batch_size) for _ in range(_REPEATS)]
    return len(pixels) / max(statistics.median(seconds), 1e-9)


def _candidate(
    workspace: Workspace, name: str, backbone: Backbone, settings: Settings, *, allow_missing: bool
) -> Candidate:
    store = workspace.open_store(backbone.identity.space)
    pages = labelled_pages(workspace, store, settings.selection, allow_missing=allow_missing)
    engine = backbone.engine
    size = sum((store.path / part.name).stat().st_size for part in store.parts)
    return Candidate(
        name,
        space=store.identity.space,
        engine=engine.name,
        device=engine.device,
        precision=engine.precision,
        dim=store.dim,
        bytes_per_page=size / max(sum(part.rows for part in store.parts), 1),
        pages=pages,
        missing=missing.take(workspace, store, settings.selection),
        frozen=pages.seen is None,
        blocks=list(store.blocks),
    )


def _measured(candidates: list[Candidate], kinds: Sequence[str], speed_pages: int) -> Comparison:
    """Cross-validates every candidate on the pages that all have and no network was trained on, in the same folds."""
    able = {candidate.name: candidate.pages for candidate in candidates if candidate.pages is not None}
    if not able:
        return Comparison(candidates)
    shared = _shared(list(able.values()))
    pages = _grouped(shared, [candidate for candidate in candidates if candidate.name in able])
    folds = honest_folds(pages)
    held_out = held_out_of(pages, folds)
    for candidate in candidates:
        if candidate.name not in able:
            continue
        candidate.pages = shared[list(able).index(candidate.name)]
        for kind in kinds:
            found = cross_validate(_builder(kind, candidate.blocks), candidate.pages, folds)
            candidate.metrics[kind] = metrics_of(held_out, found)
    return Comparison(
        candidates,
        pages=len(pages.y),
        documents=len(set(pages.documents)),
        groups=len(set(pages.groups)),
        folds=len(np.unique(folds[folds != LEARNT])),
        seen_documents=len(set(pages.documents) - set(held_out.documents)),
        speed_pages=speed_pages,
        origins=group_origins(pages),
    )


def _grouped(shared: list[LabelledPages], candidates: list[Candidate]) -> LabelledPages:
    """The shared pages, with guessed groups by the first candidate whose network is frozen."""
    frozen = [number for number, candidate in enumerate(candidates) if candidate.frozen]
    if not frozen:
        return with_guesses(shared[0], candidates[0].blocks)
    found = with_guesses(replace(shared[frozen[0]], seen=None), candidates[frozen[0]].blocks)
    return replace(found, seen=shared[0].seen)


def _shared(candidates: list[LabelledPages]) -> list[LabelledPages]:
    """The pages that all have, in one order for all; those that one of the networks has seen count as seen."""
    keys = [list(zip(pages.documents.tolist(), pages.page_indices.tolist(), strict=True)) for pages in candidates]
    common = sorted(set(keys[0]).intersection(*keys[1:]))
    places = [{key: row for row, key in enumerate(those)} for those in keys]
    shared = [
        pages.take(np.array([where[key] for key in common], np.int64))
        for pages, where in zip(candidates, places, strict=True)
    ]
    seen = np.any([np.zeros(len(common), bool) if pages.seen is None else pages.seen for pages in shared], axis=0)
    return [replace(pages, seen=seen) for pages in shared]


def _builder(kind: str, blocks: list[tuple[str, int, int]]) -> Callable[[], Any]:
    return lambda: build_classifier(kind, blocks)


def rows_of(found: Comparison) -> list[dict[str, Any]]:
    """A row for each backbone and classifier with the keys of `COLUMNS`; one with a `problem` has no figures."""
    rows: list[dict[str, Any]] = []
    for candidate in found.candidates:
        if candidate.problem:
            rows.append({"backbone": candidate.name, "problem": candidate.problem})
        for kind, metrics in candidate.metrics.items():
            quality = {name: metrics[name] for name in COLUMNS if name in metrics}
            rows.append(
                {
                    "backbone": candidate.name,
                    "classifier": kind,
                    **{name: None if value is None else round(value, 4) for name, value in quality.items()},
                    "pages_per_second": round(candidate.pages_per_second, 1),
                    "precision": candidate.precision,
                    "dim": candidate.dim,
                    "bytes_per_page": round(candidate.bytes_per_page),
                    "store_mb": round(candidate.bytes_per_page * found.pages / _MEGABYTE, 2),
                }
            )
    return rows


def as_json(found: Comparison) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "rows": rows_of(found),
        "pages": found.pages,
        "documents": found.documents,
        "groups": found.groups,
        **found.origins,
        "folds": found.folds,
        "seen_documents": found.seen_documents,
        "speed": {"of": "the network alone", "pages": found.speed_pages, "median_of": _REPEATS},
        "backbones": [
            {
                "name": c.name,
                "space": c.space,
                "engine": c.engine,
                "device": c.device,
                "precision": c.precision,
                "missing": c.missing.as_json() if c.missing else None,
            }
            for c in found.candidates
            if not c.problem
        ],
    }


def write_table(found: Comparison, file: Path) -> None:
    """Writes the rows to a CSV file."""
    write_csv(file, COLUMNS, rows_of(found))


def draw(found: Comparison, file: Path) -> None:
    """Draws quality against speed, as a PNG; backbones with problems are named below it.

    Raises:
        ArtifactError: The file cannot be written.
    """
    points = [
        Point(c.name, kind, c.pages_per_second, float(metrics["document_macro_f1"]))
        for c in found.candidates
        for kind, metrics in c.metrics.items()
        if metrics["document_macro_f1"] is not None
    ]
    counted = found.documents - found.seen_documents
    how = (
        f"{counted} documents, {found.folds} folds by group; speed of the network alone, "
        f"median of {_REPEATS} on {found.speed_pages} pages"
    )
    missing = [candidate.name for candidate in found.candidates if candidate.problem]
    draw_tradeoff(points, file, how + (f"; without figures: {', '.join(missing)}" if missing else ""))
