"""Measures from how many examples on a new type is told: `add-type`, for each type of some documents in turn.

    python benchmarks/teaching.py ARTIFACTS

Takes away all documents of a type but a few from different groups, fits a classifier as `add-type` does, and counts how
many documents of the type from groups that it has not seen are told right. Nothing is written to ARTIFACTS.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from embedpipe import FeatureStore, Workspace
from embedpipe.classifiers.bundles import build_classifier, fit_classifier, log_scores
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.scores.pooling import mean_log_scores, page_weights
from embedpipe.pages.rendering import Selection

EXAMPLES = (1, 2, 3, 5, 10)


def recall(store: FeatureStore, pages: LabelledPages, judge: str, kind: str, n: int, seed: int) -> float | None:
    """Share of a type's documents from unseen groups that are told right after n examples, or None."""
    rng = np.random.default_rng(seed)
    groups = rng.permutation(np.unique(pages.groups[pages.y == kind].astype(str)))
    if len(groups) < n + 2:
        return None
    examples = [rng.choice(np.unique(pages.documents[(pages.groups == g) & (pages.y == kind)])) for g in groups[:n]]
    train = (pages.y != kind) | np.isin(pages.documents, examples)
    test = (pages.y == kind) & np.isin(pages.groups, groups[max(EXAMPLES) if len(groups) > max(EXAMPLES) + 1 else n :])
    classifier = build_classifier(judge, store.blocks)
    fit_classifier(classifier, pages.X[train], pages.y[train], pages.weights[train])
    return float(np.mean(told(classifier.classes_, log_scores(classifier, pages.X[test]), pages, test) == kind))


def told(
    classes: NDArray[np.object_], scores: NDArray[np.float64], pages: LabelledPages, rows: NDArray[np.bool_]
) -> NDArray[np.object_]:
    """The type of each document of some rows."""
    owner = np.unique(pages.documents[rows], return_inverse=True)[1]
    answers: NDArray[np.object_] = classes[
        mean_log_scores(scores, page_weights(pages.page_indices[rows]), owner).argmax(axis=1)
    ]
    return answers


def main(
    artifacts: Annotated[Path, typer.Argument(help="Artifacts with features and labels.")],
    seeds: Annotated[int, typer.Option(help="Draws of examples to average over.")] = 2,
    judge: Annotated[str, typer.Option("--kind", help="Kind of classifier.")] = "knn",
    selection: Annotated[str, typer.Option("--pages", help="Pages of each document.")] = "1-3",
) -> None:
    """Prints the table."""
    workspace = Workspace(artifacts)
    store = workspace.store()
    pages = labelled_pages(workspace, store, Selection.parse(selection))
    print("| type | " + " | ".join(map(str, EXAMPLES)) + " |\n|" + " --- |" * (len(EXAMPLES) + 1))
    columns: dict[int, list[float]] = {n: [] for n in EXAMPLES}
    for kind in np.unique(pages.y.astype(str)).tolist():
        cells = []
        for n in EXAMPLES:
            runs = [r for seed in range(seeds) if (r := recall(store, pages, judge, kind, n, seed)) is not None]
            columns[n] += [float(np.mean(runs))] if runs else []
            cells.append(f"{np.mean(runs):.2f}" if runs else "")
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)
    print("| mean | " + " | ".join(f"{np.mean(columns[n]):.2f}" for n in EXAMPLES) + " |")


if __name__ == "__main__":
    typer.run(main)
