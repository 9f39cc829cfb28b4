"""Measures what is lost where nothing of the size n x n is made: what many pages go through, against the exact way.

    python benchmarks/many_rows.py ARTIFACTS

ARTIFACTS holds a store with labels; pages are invented around the labelled ones, as `bench --at-scale` does it, so few
that the exact way can be afforded. Prints a Markdown table.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from unittest import mock

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from embedpipe import Workspace
from embedpipe.classifiers import many_rows, neighbours
from embedpipe.classifiers.bundles import CLASSIFIERS, Blocks, build_classifier, fit_classifier
from embedpipe.classifiers.calibration import novelty
from embedpipe.classifiers.calibration.novelty import NoveltyDetector
from embedpipe.classifiers.labelled_pages import LabelledPages, Lessons
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.scores.nearest import unit_rows
from embedpipe.index.families import SAME_LAYOUT, families, families_of_many
from embedpipe.index.near_duplicates import NEAR_DUPLICATE, connected, near_pairs
from embedpipe.index.row_neighbours import RowIndex
from embedpipe.pages.rendering import Selection
from embedpipe.tasks.bench_at_scale import Real, invent

_FEW = 1000
"""The ways for many rows are taken from so few."""


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result, and the processor time that it took."""
    begin = time.process_time()
    return work(), time.process_time() - begin


def row(name: str, exact: str, many: str, same: str, seconds: tuple[float, float]) -> None:
    """Prints a line of the table."""
    print(f"| {name} | {exact} | {many} | {same} | {seconds[0]:.1f} | {seconds[1]:.1f} |", flush=True)


def clusters(found: list[Any], page_ids: NDArray[np.int64]) -> NDArray[np.int64]:
    """The family of each page, or a number of its own."""
    labels = -1 - np.arange(len(page_ids))
    for number, family in enumerate(found):
        labels[np.searchsorted(page_ids, family.page_ids)] = number
    return labels


def main(
    artifacts: Annotated[Path, typer.Argument(help="A store with labels.")],
    rows: Annotated[int, typer.Option(help="Pages.")] = 10_000,
) -> None:
    """Prints the table."""
    with tempfile.TemporaryDirectory() as folder:
        workspace, source = Workspace(Path(folder) / "artifacts"), Workspace(artifacts)
        invent(Real.of(source, source.store()), source.store(), workspace, rows)
        store = workspace.store()
        pages = labelled_pages(workspace, store, Selection())
    test = np.unique(pages.documents, return_inverse=True)[1] % 5 == 0
    lessons, X, y = pages.lessons(~test), pages.X[test], pages.y[test]
    print("| of pages | exact | many | the same | exact, s | many, s |\n| --- | --- | --- | --- | --- | --- |")
    for kind in CLASSIFIERS:
        told, seconds = [], []
        for least in (10 * rows, _FEW):
            with mock.patch.object(neighbours, "EXACT_ROWS", least), mock.patch.object(many_rows, "MANY_ROWS", least):
                fitted, spent = timed(lambda k=kind: fit_classifier(build_classifier(k, store.blocks), *lessons))
                answers, more = timed(lambda f=fitted: f.predict(X))
            told.append(answers)
            seconds.append(spent + more)
        right = [f"{np.mean(answers == y):.4f}" for answers in told]
        row(f"{kind}: right answers", *right, f"{np.mean(told[0] == told[1]):.4f}", tuple(seconds))
    others_too(store.blocks, pages, lessons, X)


def others_too(blocks: Blocks, pages: LabelledPages, lessons: Lessons, X: NDArray[np.float32]) -> None:
    """The lines of what is no classifier."""
    scaling = build_classifier("svm", blocks)[:-1].fit(lessons.X)
    scaled, new = scaling.transform(lessons.X), scaling.transform(X)
    found, seconds = [], []
    for least in (10 * len(pages.y), _FEW):
        with mock.patch.object(novelty, "EXACT_ROWS", least):
            detector, spent = timed(lambda: NoveltyDetector().fit(scaled, lessons.y, lessons.weights))
            distances, more = timed(lambda d=detector: d.distances(new))
        found.append(distances)
        seconds.append(spent + more)
    far = [distances > np.quantile(distances, 0.95) for distances in found]
    means = [f"{distances.mean():.4f}" for distances in found]
    row("novelty: mean distance; the farthest 5 %", *means, f"{np.mean(far[1][far[0]]):.3f}", tuple(seconds))
    unit = unit_rows(scaling.transform(pages.X))
    (pairs, _), exact_seconds = timed(lambda: near_pairs(unit, NEAR_DUPLICATE))
    (others, _), many_seconds = timed(lambda: near_pairs(unit, NEAR_DUPLICATE, _FEW))
    n = len(unit)
    same = np.isin(pairs @ [n, 1], others @ [n, 1]).mean()
    row("near pairs", f"{len(pairs):,}", f"{len(others):,}", f"{same:.4f}", (exact_seconds, many_seconds))
    owner = np.unique(pages.documents, return_inverse=True)[1]
    joined = [connected(owner[some], int(owner.max()) + 1) for some in (pairs, others)]
    counts = [f"{len(np.unique(groups)):,}" for groups in joined]
    row("groups of documents with near pages", *counts, f"{adjusted_rand_score(*joined):.4f}", (0.0, 0.0))
    ids = np.arange(n)
    some, exact_seconds = timed(lambda: families(unit, ids, threshold=SAME_LAYOUT))
    with mock.patch("embedpipe.index.families.RowIndex", partial(RowIndex, most_exact=_FEW)):
        many, many_seconds = timed(lambda: families_of_many(lambda wanted: unit[wanted], ids, most_exact=_FEW))
    agreement = adjusted_rand_score(clusters(some, ids), clusters(many, ids))
    row("families", f"{len(some):,}", f"{len(many):,}", f"{agreement:.4f}", (exact_seconds, many_seconds))


if __name__ == "__main__":
    typer.run(main)
