"""How fast embedpipe is on this machine: against the loops that people write, and against what the machine could do.

Everything is measured in one run, on the same pages, in turns, and reported as medians. Neither the start of processes,
which is measured apart, nor the loading of networks is part of any rate.
"""

import itertools
import math
import random
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import CLASSIFIERS, build_classifier, fit_classifier
from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import EmbedpipeError, UnknownNameError
from embedpipe.core.machine import available_cores
from embedpipe.core.process import PeakMemory
from embedpipe.core.records import Document, FeatureBatch, Identity, PageFailure, PageInfo, PageRef
from embedpipe.embedding.intake import Intake, Report
from embedpipe.embedding.streaming import Settings
from embedpipe.index import page_index
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import embed as embed_task
from embedpipe.tasks.baselines import (
    Page,
    baseline_networks,
    loader_loop,
    network_seconds,
    page_loader,
    plain_loop,
    plain_transform,
    render_here,
)

PARTS = ("pages", "fit", "similar")
"""What can be measured."""

ROWS = 10_000
TYPES = 16
_RATES = {
    "plain_loop": "plain loop",
    "dataloader": "torch DataLoader",
    "pipeline": "embedpipe",
    "limit": "limit of this machine",
    "render_one_core": "rendering alone, one core",
    "render": "rendering alone, all cores",
    "model": "network alone",
}
_PAGES_PER_DOCUMENT = 8
_PLAIN_SECONDS = 15.0
"""The plain loop stops after so long, and its rate is that of the pages that it did."""

_QUERIES = 200
_NEIGHBOURS = 10
_IDLE = 0.1

Blocks = Sequence[tuple[str, int, int]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        what: Some of `PARTS`.
        pages: How many pages to use: the first ones of documents drawn at random, until there are that many.
        repeats: Every figure is the median of so many measurements.
        weights: As `load_backbone` takes them, for the loops that ours is compared with.
        rows: How many pages classifiers and index are measured on.
    """

    what: tuple[str, ...] = PARTS
    pages: int = 300
    repeats: int = 3
    weights: str | None = None
    rows: int = ROWS


@dataclass(frozen=True, slots=True)
class Sample:
    """The pages that everything is measured on, and the selection that gives the same pages from their files."""

    pages: list[Page]
    selection: Selection

    @property
    def paths(self) -> list[str]:
        """Files of the pages, each once."""
        return list(dict.fromkeys(page.document.path for page in self.pages))


def run(inputs: Iterable[str], backbone: Backbone, plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """Measures what the plan asks for, and calls `say` before each step.

    Raises:
        UnknownNameError: The plan names something that cannot be measured.
        EmbedpipeError: There are no pages in the inputs.
    """
    for part in plan.what:
        if part not in PARTS:
            raise UnknownNameError("part of the bench", part, PARTS)
    with Aside("bench") as name:
        scratch = Path(name)
        sample = choose_pages(inputs, backbone, plan.pages, Workspace(scratch))
        say(f"{len(sample.pages)} pages of {len(sample.paths)} documents; warming up")
        with PeakMemory() as memory:
            _embed(sample, backbone, scratch / "warm-up")
        store = Workspace(scratch / "warm-up").store()
        X = np.concatenate([rows for _, rows in store.batches()])
        values: dict[str, Any] = {
            "pages": len(sample.pages),
            "documents": len(sample.paths),
            "repeats": plan.repeats,
            "cores": available_cores(),
            "backbone": backbone.identity.backbone,
            "dim": backbone.dim,
            "engine": backbone.engine.name,
            "device": backbone.engine.device,
            "precision": backbone.engine.precision,
            "peak_rss_mb": memory.peak_mb,
        }
        if "pages" in plan.what:
            values |= measure_pages(sample, backbone, plan, scratch, say)
        drawn, y = draw_rows(X, plan.rows)
        if "fit" in plan.what:
            say(f"fitting on {plan.rows} rows")
            values["fit"] = measure_fit(drawn, y, backbone.blocks)
        if "similar" in plan.what:
            say(f"looking up among {plan.rows} rows")
            values["similar"] = measure_similar(drawn, backbone.identity, backbone.blocks, scratch / "rows")
        return values


def choose_pages(inputs: Iterable[str], backbone: Backbone, most: int, workspace: Workspace) -> Sample:
    """Draws documents, always the same ones, until there are enough pages; leaves out those with broken pages.

    Args:
        inputs: Files and folders.
        backbone: How pages are rendered.
        most: Stop when there are so many.
        workspace: An empty one.
    """
    intake = Intake(inputs, Settings(), workspace.sources(), Report())
    documents = [item for item in intake if isinstance(item, Document)]
    random.Random(0).shuffle(documents)  # noqa: S311 - a sample, no secret
    each = max(_PAGES_PER_DOCUMENT, math.ceil(most / max(len(documents), 1)))
    selection = Selection(((1, each),))
    pages: dict[str, list[Page]] = {document.sha256: [] for document in documents}
    broken: set[str] = set()

    def jobs() -> Iterator[Job]:
        for document in documents:
            if sum(map(len, pages.values())) >= most:
                return
            yield Job(document, selection)

    with Renderer(_options(backbone), available_cores()) as renderer:
        for result in itertools.chain.from_iterable(rendered.results for rendered in renderer.render(jobs())):
            if isinstance(result, PageFailure):
                broken.add(result.page.document_sha256)
                continue
            ref = result.info.ref
            document = next(d for d in documents if d.sha256 == ref.document_sha256)
            pages[ref.document_sha256].append(Page(document, ref.page_index, result.pixels.shape))
    chosen: list[Page] = []
    for sha256, those in pages.items():
        if len(chosen) < most and sha256 not in broken:
            chosen += sorted(those, key=lambda page: page.index)
    if not chosen:
        raise EmbedpipeError("no page of the inputs can be rendered: there is nothing to measure")
    return Sample(chosen, selection)


def measure_pages(
    sample: Sample, backbone: Backbone, plan: Plan, scratch: Path, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measures the pipeline, what it is compared with, and its limit; see the keys of the result."""
    cores, device = available_cores(), backbone.engine.device
    pixels = [page for page, _ in render_here(sample.pages, _options(backbone))]
    empty = _empty_pages(scratch / "empty", cores)
    network, loader_network = baseline_networks(backbone, plan.weights)
    transform = plain_transform(backbone)
    numbers = itertools.count()
    reports: list[Report] = []

    def embed() -> None:
        reports.append(_embed(sample, backbone, scratch / f"run-{next(numbers)}"))

    loader = page_loader(sample.pages, _options(backbone), cores, backbone.engine.batch_size)
    next(iter(loader))  # its processes start here, and stay
    with Renderer(_options(backbone), cores) as renderer:
        render_everywhere(renderer, sample)
        contenders: dict[str, Callable[[], Any]] = {
            "plain_loop": lambda: plain_loop(network, transform, sample.pages, device, _PLAIN_SECONDS),
            "dataloader": lambda: loader_loop(loader_network, loader, device),
            "pipeline": embed,
            "start": lambda: embed_task.embed(Workspace(scratch / f"start-{next(numbers)}"), empty, backbone),
            "render_one_core": lambda: sum(len(page) for page in render_here(sample.pages, _options(backbone))),
            "render": lambda: render_everywhere(renderer, sample),
        }
        seconds: dict[str, list[float]] = {name: [] for name in (*contenders, "model")}
        for repeat in range(plan.repeats):
            say(f"measuring, {repeat + 1} of {plan.repeats}")
            for name, contender in contenders.items():
                begin = time.perf_counter()
                result = contender()
                done = len(result) if name == "plain_loop" else len(sample.pages)
                seconds[name].append((time.perf_counter() - begin) * len(sample.pages) / done)
            seconds["model"].append(network_seconds(backbone, pixels, backbone.engine.batch_size))
    middle = sorted(reports, key=lambda report: report.seconds)[len(reports) // 2]
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    return summary(medians, len(sample.pages), cores, middle.stages, shared=device == "cpu")


def summary(
    seconds: dict[str, float], pages: int, cores: int, stages: dict[str, float], *, shared: bool
) -> dict[str, Any]:
    """Rates, ratios and the limit.

    Args:
        seconds: What each contender of `measure_pages` took for all pages.
        pages: How many there are.
        cores: Render processes.
        stages: Of the pipeline.
        shared: Whether rendering and network run on the same cores.
    """
    start = seconds["start"]
    net = max(seconds["pipeline"] - start, 1e-6)
    each = {name: value / pages for name, value in seconds.items()}
    most = limit(each["render_one_core"], each["render"], each["model"], cores, shared=shared)
    rates = {f"{name}_pages_per_second": round(1 / each[name], 3) for name in each if name not in ("pipeline", "start")}
    return {
        "pipeline_pages_per_second": round(pages / net, 3),
        **rates,
        "limit_pages_per_second": round(most, 3),
        "plain_loop_ratio": round(seconds["plain_loop"] / net, 3),
        "dataloader_ratio": round(seconds["dataloader"] / net, 3),
        "limit_ratio": round(pages / net / most, 3),
        "start_seconds": round(start, 3),
        "seconds_with_start": round(seconds["pipeline"], 3),
        "stages": {name: round(value, 3) for name, value in stages.items()},
        **starving(stages, seconds["pipeline"], start, cores),
    }


def limit(render: float, render_everywhere: float, model: float, cores: int, *, shared: bool) -> float:
    """Pages per second that the pipeline cannot exceed.

    Args:
        render: Seconds per page on one core.
        render_everywhere: Seconds per page with all cores.
        model: Seconds per page of the network alone, which on a CPU has all cores.
        cores: How many there are.
        shared: Whether rendering and network run on the same cores: then their times add up, else the slower counts.
    """
    return 1 / (render / cores + model) if shared else 1 / max(render_everywhere, model)


def starving(stages: dict[str, float], seconds: float, start: float, workers: int) -> dict[str, Any]:
    """Who waits for whom: shares of the run, after the start, in which network and workers had nothing to do."""
    net = max(seconds - start, 1e-6)
    network = min(max(stages["wait"] - start, 0.0) / net, 1.0)
    rendering = max(1 - stages["render"] / (workers * net), 0.0)
    share, name = max((network, "the network waits for pages"), (rendering, "rendering waits for the network"))
    return {
        "network_idle": round(network, 3),
        "rendering_idle": round(rendering, 3),
        "starves": name if share > _IDLE else "nothing",
    }


def _options(backbone: Backbone) -> ReadOptions:
    return ReadOptions(backbone.identity.recipe, backbone.identity.interpolation)


def _embed(sample: Sample, backbone: Backbone, folder: Path) -> Report:
    return embed_task.embed(Workspace(folder), sample.paths, backbone, settings=Settings(selection=sample.selection))


def _empty_pages(folder: Path, count: int) -> list[str]:
    """Documents of one nearly empty page: embedding them takes as long as the start of as many workers."""
    folder.mkdir()
    paths = [str(folder / f"{number}.pdf") for number in range(count)]
    for path in paths:
        with pymupdf.open() as document:
            document.new_page().insert_text((72, 72), path)
            document.save(path)
    return paths


def render_everywhere(renderer: Renderer, sample: Sample) -> int:
    """Renders the pages in all workers, and does nothing with them; returns how many came."""
    documents = dict.fromkeys(page.document for page in sample.pages)
    return sum(len(r.results) for r in renderer.render(Job(document, sample.selection) for document in documents))


def draw_rows(X: NDArray[np.float32], rows: int, types: int = TYPES) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Features (rows, dim) of invented pages around real ones, and their types (rows,).

    Args:
        X: Features of real pages, (n, dim), n > 0.
        rows: How many to draw.
        types: Each row is of the type of the nearest of the first so many.
    """
    rng = np.random.default_rng(0)
    spread = np.maximum(X.std(axis=0), 1e-3)
    noise = rng.standard_normal((rows, X.shape[1]), np.float32)
    drawn = X[rng.integers(len(X), size=rows)] + 0.5 * spread * noise
    centres = drawn[:types]
    distances = (centres * centres).sum(axis=1) - 2 * drawn @ centres.T
    return drawn, np.array([f"type-{number:02}" for number in range(types)], object)[distances.argmin(axis=1)]


def measure_fit(X: NDArray[np.float32], y: NDArray[Any], blocks: Blocks) -> dict[str, Any]:
    """Seconds that each classifier takes to be fitted."""
    seconds = {}
    for kind in CLASSIFIERS:
        begin = time.perf_counter()
        fit_classifier(build_classifier(kind, blocks), X, y, np.ones(len(X)))
        seconds[kind] = round(time.perf_counter() - begin, 3)
    return {"rows": len(X), "dim": X.shape[1], "types": len(set(y)), "seconds": seconds}


def measure_similar(X: NDArray[np.float32], identity: Identity, blocks: Blocks, folder: Path) -> dict[str, Any]:
    """Milliseconds of a query to the index, one at a time, and of scikit-learn's brute force over the same rows."""
    store = FeatureStore.create(folder, identity, blocks)
    writer = FeatureWriter(store, {})
    refs = [PageRef(f"{number:064x}", 0, f"{number}.pdf") for number in range(len(X))]
    writer.append(FeatureBatch(tuple(PageInfo(ref, 1, 595, 842, 0.1) for ref in refs), X))
    writer.flush()
    begin = time.perf_counter()
    index = page_index.build(store)
    built = time.perf_counter() - begin
    scale = index.scaler.transform
    k = min(_NEIGHBOURS, len(X))
    brute = NearestNeighbors(n_neighbors=k, metric="cosine", algorithm="brute").fit(scale(X))
    queries = [row[None] for row in X[:_QUERIES]]
    ours = _milliseconds(lambda query: index.search(query, k), queries)
    theirs = _milliseconds(lambda query: brute.kneighbors(scale(query)), queries)
    return {
        "rows": len(X),
        "dim": X.shape[1],
        "build_seconds": round(built, 3),
        **{f"p{q}_ms": round(float(np.percentile(ours, q)), 3) for q in (50, 99)},
        **{f"brute_force_p{q}_ms": round(float(np.percentile(theirs, q)), 3) for q in (50, 99)},
        "brute_force_ratio": round(float(np.median(theirs) / np.median(ours)), 3),
    }


def _milliseconds(search: Callable[[Any], object], queries: Iterable[Any]) -> list[float]:
    times = []
    for query in queries:
        begin = time.perf_counter()
        search(query)
        times.append(1000 * (time.perf_counter() - begin))
    return times


Row = tuple[object, ...]
Table = tuple[tuple[str, ...], list[Row]]


def tables(values: dict[str, Any]) -> list[Table]:
    """The result of `run` for people: columns and rows of each table."""
    found: list[Table] = []
    if "stages" in values:
        rows: list[Row] = []
        for key, name in _RATES.items():
            times = values.get(f"{key}_ratio")
            rows.append((name, f"{values[f'{key}_pages_per_second']:.1f}", f"{times:.2f}" if times else ""))
        found.append((("on the same pages", "pages/s", "embedpipe is times that"), rows))
        stages: list[Row] = [(name, f"{seconds:.2f} s") for name, seconds in values["stages"].items()]
        rest = [("start", f"{values['start_seconds']:.2f} s"), ("starves", values["starves"])]
        found.append((("of embedpipe", ""), [*stages, *rest, ("peak memory", f"{values['peak_rss_mb']} MB")]))
    if "fit" in values:
        fitted = values["fit"]["seconds"].items()
        found.append(((f"fit on {values['fit']['rows']} pages", ""), [(kind, f"{s:.2f} s") for kind, s in fitted]))
    if "similar" in values:
        similar = values["similar"]
        rows = [
            (name, similar[f"{key}p50_ms"], similar[f"{key}p99_ms"])
            for name, key in (("embedpipe", ""), ("scikit-learn", "brute_force_"))
        ]
        found.append(((f"query among {similar['rows']} pages, ms", "p50", "p99"), rows))
    return found
