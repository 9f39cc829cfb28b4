"""Measures how well pages find pages of their kind in other documents: precision at 5 and mean average precision.

    python benchmarks/retrieval.py DOCUMENTS --labels LABELS.csv [--artifacts DIR]

LABELS.csv has the columns path,label,group. Compares the default features, scaled as the index scales them, with the
penultimate layer of a centre-cropped picture of 224 pixels by plain cosine. DIR keeps the features between runs.
Queries are all pages that are not blank and have at least one page of their group (or type) in another document; pages
of the query's document never count.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from embedpipe import Recipe, Workspace, embed, load_backbone
from embedpipe.index.page_index import fresh_index
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels

RECIPES = {
    "crop 224, penultimate, cosine": Recipe(224, "crop", "penultimate"),
    "default, as the index compares": Recipe(),
}
DEPTH = 5


def unit_rows(workspace: Workspace, store: FeatureStore, *, scaled: bool) -> NDArray[np.float32]:
    """Rows of unit length of all pages, in the order of `store.pages()`."""
    X = store.features(store.pages()["page_id"].to_numpy(np.int64))
    if scaled:
        return fresh_index(store, workspace.index_path(store.identity.space)).unit(X)
    return X / np.maximum(np.linalg.norm(X, axis=1, keepdims=True), 1e-12)


def measure(
    unit: NDArray[np.float32], kinds: NDArray[np.object_], documents: NDArray[np.object_]
) -> tuple[float, float, int]:
    """Precision at 5, mean average precision, and the number of queries."""
    precisions, averages = [], []
    for row in range(len(unit)):
        others = documents != documents[row]
        relevant = (kinds == kinds[row]) & others
        if not relevant.any():
            continue
        order = np.argsort(-(unit @ unit[row])[others], kind="stable")
        hits = relevant[others][order]
        precisions.append(hits[:DEPTH].mean())
        ranks = np.flatnonzero(hits) + 1
        averages.append((np.arange(1, len(ranks) + 1) / ranks).mean())
    return float(np.mean(precisions)), float(np.mean(averages)), len(averages)


def main(
    documents: Annotated[Path, typer.Argument(help="A folder of documents.")],
    labels: Annotated[Path, typer.Option(help="A CSV with the columns path,label,group.")],
    artifacts: Annotated[Path, typer.Option(help="Where features are kept.")] = Path("artifacts-retrieval"),
) -> None:
    """Prints the table."""
    workspace = Workspace(artifacts)
    print("| features | same | queries | precision at 5 | mAP |\n| --- | --- | --- | --- | --- |")
    for name, recipe in RECIPES.items():
        backbone = load_backbone(recipe=recipe)
        embed(workspace, [str(documents)], backbone)
        Labels.from_csv(labels, workspace.sources().sha256_at).save(workspace.labels_file)
        store = workspace.store(space=backbone.identity.space)
        pages = store.pages()
        written = (pages["outcome"] != "blank").to_numpy(bool)
        unit = unit_rows(workspace, store, scaled=recipe == Recipe())[written]
        known = workspace.labels().of_pages(pages)[written]
        owners = pages["document_sha256"].to_numpy(object)[written]
        for what in ("group", "label"):
            precision, average, queries = measure(unit, known[what].to_numpy(object), owners)
            print(f"| {name} | {what} | {queries} | {precision:.3f} | {average:.3f} |", flush=True)


if __name__ == "__main__":
    typer.run(main)
