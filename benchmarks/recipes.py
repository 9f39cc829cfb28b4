"""Measures recipes against each other: quality on held-out groups, and pages per second.

    python benchmarks/recipes.py DOCUMENTS --labels LABELS.csv

DOCUMENTS holds a folder for each type; LABELS.csv has the columns path,label,group. Uses the first three pages of each
document, a linear SVM, document verdicts, and grouped folds with several seeds. Prints a Markdown table.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer

from embedpipe import Recipe, Settings, Workspace, embed, load_backbone
from embedpipe.classifiers import CLASSIFIERS, build_classifier
from embedpipe.engines import EngineChoice
from embedpipe.evaluation import cross_validate, grouped_folds, metrics_of
from embedpipe.labels import Labels
from embedpipe.rendering import Selection
from embedpipe.training import labelled_pages

PAGES = "1-3"
SEEDS = range(3)
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


def measure(documents: Path, labels: Path, recipe: Recipe, precision: str) -> dict[str, Any]:
    """Embeds with a recipe in a fresh folder, then cross-validates every classifier."""
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        backbone = load_backbone(recipe=recipe, choice=EngineChoice(precision=precision))
        report = embed(workspace, [str(documents)], backbone, settings=Settings(Selection.parse(PAGES)))
        Labels.from_csv(labels, workspace.sources().sha256_at).save(workspace.labels_file)
        store = workspace.store()
        pages = labelled_pages(workspace, store, Selection())
        scores: dict[str, Any] = {"dim": backbone.dim, "rate": report.embedded / report.seconds}
        for kind in CLASSIFIERS:
            runs = []
            for seed in SEEDS:
                folds = grouped_folds(pages, seed=seed)
                held_out = cross_validate(lambda: build_classifier(kind, store.blocks), pages, folds)  # noqa: B023
                runs.append(metrics_of(pages, held_out))
            scores[kind] = statistics.mean(run["document_macro_f1"] for run in runs)
            scores[f"{kind} accuracy"] = statistics.mean(run["document_accuracy"] for run in runs)
            scores[f"{kind} spread"] = statistics.stdev(run["document_macro_f1"] for run in runs)
        return scores


def main(
    documents: Annotated[Path, typer.Argument(help="A folder with a folder for each type.")],
    labels: Annotated[Path, typer.Option(help="A CSV with the columns path,label,group.")],
    precision: Annotated[str, typer.Option(help="Of the network.")] = "auto",
) -> None:
    """Prints the table."""
    print("| recipe | picture | layers | dim | SVM macro-F1 | SVM accuracy | k-NN | head | pages/s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, recipe in RECIPES.items():
        scores = measure(documents, labels, recipe, precision)
        print(
            f"| {name} | {recipe.resize} {recipe.size} | {recipe.layers} | {scores['dim']} | "
            f"{scores['svm']:.3f} ± {scores['svm spread']:.3f} | {scores['svm accuracy']:.3f} | {scores['knn']:.3f} | "
            f"{scores['head']:.3f} | {scores['rate']:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    typer.run(main)
