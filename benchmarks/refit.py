"""Measures how long 10,000 labelled pages take: fitted with its calibration, and evaluated with the whole report.

    python benchmarks/refit.py ARTIFACTS

ARTIFACTS holds a store with labels. The pages are invented around the labelled ones: each is one of them, moved towards
another one of its type, and keeps its type; eight make a document, every document is a group. Prints a Markdown table.
"""

import hashlib
import tempfile
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from embedpipe import Workspace
from embedpipe.classifiers.bundles import CLASSIFIERS
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.core.records import FeatureBatch, PageInfo, PageRef
from embedpipe.pages.rendering import Selection
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.tasks import evaluate

PAGES_PER_DOCUMENT = 8


def invent(source: Workspace, target: Workspace, rows: int) -> FeatureStore:
    """Fills a store with invented pages and labels them."""
    real = source.store()
    pages = labelled_pages(source, real, Selection())
    kinds = {kind: np.flatnonzero(pages.y == kind) for kind in np.unique(pages.y)}
    rng, labels = np.random.default_rng(0), Labels()
    writer = FeatureWriter(FeatureStore.create(target.store_path(real.identity.space), real.identity, real.blocks), {})
    for number in range(rows // PAGES_PER_DOCUMENT):
        kind = pages.y[rng.integers(len(pages.y))]
        own = rng.choice(kinds[kind], PAGES_PER_DOCUMENT)
        others = rng.choice(kinds[kind], PAGES_PER_DOCUMENT)
        X = pages.X[own] + rng.uniform(0, 0.5, (PAGES_PER_DOCUMENT, 1)) * (pages.X[others] - pages.X[own])
        sha256, path = hashlib.sha256(str(number).encode()).hexdigest(), f"/documents/{number}.pdf"
        infos = (PageInfo(PageRef(sha256, i, path), PAGES_PER_DOCUMENT, 595, 842, 0.1) for i in range(len(X)))
        writer.append(FeatureBatch(tuple(infos), X.astype(np.float32)))
        labels.add([Label(sha256, path, str(kind))])
    writer.flush()
    labels.save(target.labels_file)
    return target.store()


def main(
    artifacts: Annotated[Path, typer.Argument(help="A store with labels.")],
    rows: Annotated[int, typer.Option(help="Pages.")] = 10_000,
) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        store = invent(Workspace(artifacts), workspace, rows)
        print("| classifier | fitted and calibrated, s | evaluated, s | both, s |\n| --- | --- | --- | --- |")
        for kind in CLASSIFIERS:
            begin = time.perf_counter()
            bundle = fit(workspace, store, TrainingRecipe(kind))
            fitted = time.perf_counter()
            evaluate.write(workspace, bundle, evaluate.assess(workspace, store, bundle), Path(folder) / "r.html")
            end = time.perf_counter()
            print(f"| {kind} | {fitted - begin:.0f} | {end - fitted:.0f} | {end - begin:.0f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
