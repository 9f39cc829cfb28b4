"""Measures recipes against each other: quality on held-out groups, and pages per second.

    python benchmarks/recipes.py DOCUMENTS --labels LABELS.csv

DOCUMENTS holds a folder for each type; LABELS.csv has the columns path,label,group. Uses the first three pages of each
document, a linear SVM, document verdicts, and grouped folds with several seeds. Prints a Markdown table.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from embedpipe import Recipe, Settings, Workspace, embed, load_backbone
from embedpipe.classifiers.bundles import CLASSIFIERS, build_classifier
from embedpipe.classifiers.evaluation import cross_validate
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.metrics import metrics_of
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels

PAGES = "1-3"
RECIPES = {
    "the usual photo recipe": Recipe(224, "crop", "penultimate"),
    "squashed to a square": Recipe(224, "squash", "penultimate"),
    "shape kept": Recipe(320, "aspect", "penultimate"),
    "and the stages": Recipe(320, "aspect", "penultimate+stages"),
    "photo recipe, stages only": Recipe(224, "crop", "stages"),
    "shape kept, smaller": Recipe(224, "aspect", "stages"),
    "the default": Recipe(320, "aspect", "stages"),
    "shape kept, larger": Recipe(384, "aspect", "stages"),
    "shape kept, much larger": Recipe(512, "aspect", "stages"),
}
"""What is compared; the first is what people write today."""


def measure(documents: Path, labels: Path, recipe: Recipe, seeds: int) -> dict[str, str]:
    """Embeds with a recipe in a fresh folder, then cross-validates every classifier; figures as text."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        backbone = load_backbone(recipe=recipe)
        report = embed(workspace, [str(documents)], backbone, settings=Settings(Selection.parse(PAGES)))
        figures = {
            "dim": str(backbone.dim),
            "precision": backbone.engine.precision,
            "pages/s": f"{report.embedded / report.seconds:.0f}",
            "network alone": f"{report.embedded / report.stages['forward']:.0f}",
        }
        Labels.from_csv(labels, workspace.sources().sha256_at).save(workspace.labels_file)
        store = workspace.store()
        for kind in CLASSIFIERS:
            figures |= quality(store, labelled_pages(workspace, store, Selection()), kind, seeds)
        return figures


def quality(store: FeatureStore, pages: LabelledPages, kind: str, seeds: int) -> dict[str, str]:
    """Macro-F1 and accuracy of documents, means over the seeds; nothing for no seeds."""
    runs = []
    for seed in range(seeds):
        held_out = cross_validate(lambda: build_classifier(kind, store.blocks), pages, grouped_folds(pages, seed=seed))
        runs.append(metrics_of(pages, held_out))
    if not runs:
        return {}
    f1 = [run["document_macro_f1"] for run in runs]
    spread = statistics.stdev(f1) if len(f1) > 1 else 0.0
    accuracy = statistics.mean(run["document_accuracy"] for run in runs)
    return {f"{kind} macro-F1": f"{statistics.mean(f1):.3f} ± {spread:.3f}", f"{kind} accuracy": f"{accuracy:.3f}"}


def main(
    documents: Annotated[Path, typer.Argument(help="A folder with a folder for each type.")],
    labels: Annotated[Path, typer.Option(help="A CSV with the columns path,label,group.")],
    seeds: Annotated[int, typer.Option(help="Splits to average over; 0 measures the speed only.")] = 3,
) -> None:
    """Prints the table."""
    for name, recipe in RECIPES.items():
        figures = measure(documents, labels, recipe, seeds)
        if recipe == RECIPES[next(iter(RECIPES))]:
            columns = ["recipe", "picture", "layers", *figures]
            print("| " + " | ".join(columns) + " |\n|" + " --- |" * len(columns))
        print(
            "| " + " | ".join([name, f"{recipe.resize} {recipe.size}", recipe.layers, *figures.values()]) + " |",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
