"""Measures the index on invented pages around real ones: size, recall, time of a query, memory of the build.

    python benchmarks/index.py ARTIFACTS --rows 1000000 --dim 1280
    python benchmarks/index.py ARTIFACTS --rows 100000 --dim 1280 --compare

ARTIFACTS holds a store of real pages. An invented page is a real one, moved towards one of its ten nearest, and by
four more differences of near pages, taken anywhere: so it has neighbours that mean something, and varies as real pages
do. The queries are drawn likewise and are not in the store. --compare measures scikit-learn's brute force as well,
which needs the whole matrix in memory. Prints a Markdown table.
"""

import hashlib
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from embedpipe import Workspace
from embedpipe.core.machine import available_cores
from embedpipe.core.process import PeakMemory, family_megabytes
from embedpipe.core.records import FeatureBatch, PageInfo, PageRef
from embedpipe.index.page_index import PageIndex, Request, build, fresh_index, make
from embedpipe.index.tuning import Truth
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.tasks.dedupe import CANDIDATE, NEAREST

K = 10
QUERIES = 500
BLOCK = 2048
PAGES_PER_DOCUMENT = 8
Draw = Callable[[int], NDArray[np.float32]]


def drawing(X: NDArray[np.float32], near: NDArray[np.int64]) -> Draw:
    """Draws invented pages around real ones, X (n, dim); near (n, 10) are the nearest pages of each."""
    rng = np.random.default_rng(0)

    def someone(pages: NDArray[np.int64]) -> NDArray[np.int64]:
        return near[pages, rng.integers(near.shape[1], size=len(pages))]

    def draw(n: int) -> NDArray[np.float32]:
        pages = rng.integers(len(X), size=n)
        drawn = X[pages] + rng.uniform(0, 0.5, (n, 1)).astype(np.float32) * (X[someone(pages)] - X[pages])
        for _ in range(4):
            others = rng.integers(len(X), size=n)
            drawn += 0.35 * rng.standard_normal((n, 1), np.float32) * (X[someone(others)] - X[others])
        return drawn.astype(np.float16).astype(np.float32)

    return draw


def fill(store: FeatureStore, draw: Draw, rows: int) -> None:
    """Writes so many invented pages."""
    writer = FeatureWriter(store, {})
    for first in range(0, rows, BLOCK):
        n = min(BLOCK, rows - first)
        pages = (page_of(number) for number in range(first, first + n))
        writer.append(FeatureBatch(tuple(PageInfo(page, 8, 595, 842, 0.1) for page in pages), draw(n)))
    writer.flush()


def page_of(number: int) -> PageRef:
    """The page of a number."""
    document = number // PAGES_PER_DOCUMENT
    sha256 = hashlib.sha256(str(document).encode()).hexdigest()
    return PageRef(sha256, number % PAGES_PER_DOCUMENT, f"/documents/{document}.pdf")


def milliseconds(run: Callable[[Any], object], queries: NDArray[Any]) -> NDArray[np.float64]:
    """Time of each query, one at a time."""
    times = []
    for number in range(len(queries)):
        begin = time.perf_counter()
        run(queries[number : number + 1])
        times.append(1000 * (time.perf_counter() - begin))
    return np.array(times)


def truth_of(index: PageIndex, store: FeatureStore, unit: NDArray[np.float32], allowed: Any = None) -> Truth:
    """The nearest pages of queries that are not in the store, by comparing all."""
    truth = Truth.of(np.full(len(unit), -1), unit)
    for ids, X in store.batches():
        here = np.ones(len(ids), bool) if allowed is None else np.isin(ids, allowed)
        if here.any():
            truth.look(ids[here], index.unit(X[here]))
    return truth


def figures(store: FeatureStore, folder: Path, request: Request, Q: NDArray[np.float32]) -> Iterator[tuple[str, Any]]:
    """Builds, then measures; names and figures."""
    before = family_megabytes()
    begin = time.perf_counter()
    with PeakMemory() as memory:
        make(store, folder, request)
    yield "build, s", round(time.perf_counter() - begin, 1)
    size = sum(file.stat().st_size for file in folder.iterdir())
    yield "index on disk, MB", round(size / 1e6, 1)
    yield "features as float32 are times that", round(4 * store.dim * sum(p.rows for p in store.parts) / size, 1)
    yield "features in the store, MB", round(sum(f.stat().st_size for f in store.path.iterdir()) / 1e6, 1)
    yield "peak memory of the build, MB; before it", f"{memory.peak_mb}; {before:.0f}"
    begin = time.perf_counter()
    index = fresh_index(store, folder)
    yield "open, ms", round(1000 * (time.perf_counter() - begin), 1)
    setting = index.setting
    yield "factory", setting.factory
    yield "set to", f"{setting.effort}, {setting.over_fetch} times as many ranked again"
    yield "recall that it measured itself", round(setting.recall, 4)
    index.search(Q[:1], K)
    truth = truth_of(index, store, index.unit(Q))
    yield "recall@10", round(float(truth.found(index.search(Q, K)[1]).mean()), 4)
    yield from timed("query", milliseconds(lambda query: index.search(query, K), Q))
    every = index.page_ids
    few = np.random.default_rng(1).choice(every, len(every) // 20, replace=False)
    some = Q[:100]
    yield from timed("query among 5 %", milliseconds(lambda query: index.search(query, K, allowed=few), some))
    truth = truth_of(index, store, index.unit(some), few)
    yield "recall@10 among 5 %", round(float(truth.found(index.search(some, K, allowed=few)[1]).mean()), 4)
    own = index.pages_of_documents([page_of(0).document_sha256])
    yield from timed("without a document", milliseconds(lambda query: index.search(query, K, excluded=own), some))
    found = index.search(some, K)[1]
    yield from timed("page rows of 10 ids", milliseconds(lambda ids: store.pages_of(ids[0]), found))
    hashes = np.array([page_of(number).document_sha256 for number in range(0, 1000, PAGES_PER_DOCUMENT)])
    yield from timed("page ids of a document", milliseconds(index.pages_of_documents, hashes))
    begin = time.perf_counter()
    index.range_search(some, 0.98)
    yield "range search, ms a query", round(10 * (time.perf_counter() - begin), 2)
    yield from candidates(index, store)


def candidates(index: PageIndex, store: FeatureStore) -> Iterator[tuple[str, Any]]:
    """What it costs to ask for the near pages of stored ones, as `dedupe` does for each of them."""
    _, X = next(iter(store.batches()))
    begin = time.perf_counter()
    ids, more = index.near(X[:BLOCK], NEAREST + 1, CANDIDATE)
    yield "candidates of dedupe, ms a page", round(1000 * (time.perf_counter() - begin) / len(ids), 2)
    yield "near pages, mean; pages with more than are taken", f"{(ids >= 0).sum(axis=1).mean():.1f}; {more.mean():.3f}"


def timed(what: str, times: NDArray[np.float64]) -> Iterator[tuple[str, Any]]:
    """Figures of some times in milliseconds."""
    yield f"{what}, p50 and p99, ms", f"{np.percentile(times, 50):.2f}, {np.percentile(times, 99):.2f}"


def comparison(store: FeatureStore, folder: Path, Q: NDArray[np.float32]) -> Iterator[tuple[str, Any]]:
    """The same queries by scikit-learn's brute force, in turns with the index."""
    index = fresh_index(store, folder)
    unit = np.concatenate([index.unit(X) for _, X in store.batches()])
    brute = NearestNeighbors(n_neighbors=K, metric="cosine", algorithm="brute").fit(unit)
    ours, theirs = [], []
    for query in Q[:100]:
        ours.append(milliseconds(lambda query: index.search(query, K), query[None])[0])
        theirs.append(milliseconds(lambda query: brute.kneighbors(index.unit(query)), query[None])[0])
    yield from timed("scikit-learn's brute force", np.array(theirs))
    yield "it takes times as long", round(statistics.median(theirs) / statistics.median(ours), 1)


def main(
    artifacts: Annotated[Path, typer.Argument(help="Artifacts with a store of real pages.")],
    rows: Annotated[int, typer.Option(help="Pages to invent.")] = 100_000,
    dim: Annotated[int, typer.Option(help="Take so many of the real features.")] = 1280,
    factory: Annotated[str, typer.Option(help="As `index --index` takes it.")] = "auto",
    recall: Annotated[float, typer.Option(help="As `index --recall` takes it.")] = 0.95,
    memory: Annotated[int | None, typer.Option(help="As `index --memory` takes it.")] = None,
    scratch: Annotated[Path | None, typer.Option(help="Where the pages are written; a temporary folder.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Measure scikit-learn as well.")] = False,
) -> None:
    """Prints the table."""
    real = Workspace(artifacts).store()
    X = np.concatenate([part for _, part in real.batches()])[:, :dim]
    blocks = [(name, start, min(stop, dim)) for name, start, stop in real.blocks if start < dim]
    folder = Path(tempfile.mkdtemp(prefix="embedpipe-index-", dir=scratch))
    try:
        few = FeatureStore.create(folder / "real", real.identity, blocks)
        writer = FeatureWriter(few, {})
        writer.append(FeatureBatch(tuple(PageInfo(page_of(i), 8, 595, 842, 0.1) for i in range(len(X))), X))
        writer.flush()
        near = np.searchsorted(few.pages()["page_id"], build(few, Request("Flat")).search(X, 11)[1][:, 1:])
        draw = drawing(X, near)
        Q = draw(QUERIES)
        store = FeatureStore.create(folder / "features", real.identity, blocks)
        fill(store, draw, rows)
        print(f"| {rows} pages, {X.shape[1]} features, {available_cores()} cores | |\n| --- | --- |", flush=True)
        request = Request(factory, None if memory is None else memory * 1024**2, recall)
        for name, value in figures(store, folder / "index", request, Q):
            print(f"| {name} | {value} |", flush=True)
        for name, value in comparison(store, folder / "index", Q) if compare else ():
            print(f"| {name} | {value} |", flush=True)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    typer.run(main)
