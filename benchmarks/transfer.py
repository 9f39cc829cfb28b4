"""Compares the ways of transfer on documents that none of them has seen.

    python benchmarks/transfer.py DOCUMENTS --labels LABELS.csv

DOCUMENTS holds a folder for each type; LABELS.csv has the columns path,label,group. A quarter of the documents, by
group, is the test; everything else, also when to stop, is decided on the others. Prints rows of a Markdown table:
frozen features with each classifier, then fine-tuning from the output layer to everything, then training from scratch.
"""

import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from embedpipe import Settings, Workspace, embed, load_backbone
from embedpipe.classifiers import CLASSIFIERS, build_classifier, fit_classifier, log_scores
from embedpipe.evaluation import LabelledPages, grouped_folds
from embedpipe.features import FeatureStore
from embedpipe.finetuning import PageScores, finetune, open_backbone, some_pages
from embedpipe.labels import Labels
from embedpipe.networks import Wanted
from embedpipe.rendering import Selection
from embedpipe.training import labelled_pages
from embedpipe.tuning import FinetuningRecipe, Watch

WAYS = {
    "all": FinetuningRecipe(unfreeze="all"),
    "last-stage": FinetuningRecipe(unfreeze="last-stage"),
    "head": FinetuningRecipe(unfreeze="head", rate=3e-3),
    "lenet5": FinetuningRecipe(backbone="lenet5", weights="none", unfreeze="all"),
}
"""The trained ways, by the word that `--ways` takes."""


def show(way: str, scores: PageScores, seconds: float) -> None:
    """Prints a row."""
    metrics = scores.metrics()
    keys = ("document_accuracy", "document_balanced_accuracy", "document_macro_f1")
    print(f"| {way} | " + " | ".join(f"{metrics[key]:.3f}" for key in keys) + f" | {seconds / 60:.1f} |", flush=True)


def show_classifiers(way: str, store: FeatureStore, pages: LabelledPages, test: set[str]) -> None:
    """Fits every classifier on the documents that are not for the test, and prints a row for each."""
    tested = np.isin(pages.documents, sorted(test))
    known, unknown = some_pages(pages, np.flatnonzero(~tested)), some_pages(pages, np.flatnonzero(tested))
    classes = sorted(set(known.y))
    for kind in CLASSIFIERS:
        begin = time.process_time()
        fitted = fit_classifier(build_classifier(kind, store.blocks), known.X, known.y, known.weights)
        scores = PageScores(unknown, classes, log_scores(fitted, unknown.X))
        show(f"{way}, {kind}", scores, time.process_time() - begin)


def main(
    documents: Path,
    labels: Annotated[Path, typer.Option()],
    pages: str = "1",
    size: int = 224,
    epochs: int = 12,
    seed: int = 0,
    ways: str = ",".join(WAYS),
) -> None:
    """Prints the table; the last column is the processor's minutes."""
    settings = Settings(Selection.parse(pages))
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        test: set[str] = set()
        print(
            "| way | accuracy | balanced accuracy | macro-F1 | minutes |\n| --- | --- | --- | --- | --- |", flush=True
        )
        for layers in ("stages", "penultimate"):
            backbone = load_backbone(changes={"size": size, "layers": layers})
            embed(workspace, [str(documents)], backbone, settings=settings)
            if not test:
                Labels.from_csv(labels, workspace.sources().sha256_at).save(workspace.labels_file)
            store = workspace.store(space=backbone.identity.space)
            known = labelled_pages(workspace, store, Selection())
            test = test or set(known.documents[grouped_folds(known, 4, seed) == 0])
            show_classifiers(f"frozen, {layers}", store, known, test)
        for way in ways.split(","):
            begin = time.process_time()
            recipe = replace(WAYS[way], pages=pages, epochs=epochs, seed=seed)
            recipe = recipe if way == "lenet5" else replace(recipe, size=size)
            watch = Watch(epoch=lambda number, epoch: print(f"<!-- {number}: {epoch} -->", flush=True))
            made = finetune(workspace, recipe, way, test=test, watch=watch)
            if made.test is not None:
                show(f"fine-tuned, {way}: its own output layer", made.test, time.process_time() - begin)
            print(f"<!-- {made.manifest['fit']} -->", flush=True)
            if way == "lenet5":
                continue
            for layers in ("stages", "penultimate"):
                tuned = open_backbone(workspace, Wanted(f"finetuned:{way}", changes={"layers": layers}))
                embed(workspace, [str(documents)], tuned, settings=settings)
                store = workspace.store(space=tuned.identity.space)
                show_classifiers(
                    f"fine-tuned, {way}, {layers}", store, labelled_pages(workspace, store, Selection()), test
                )


if __name__ == "__main__":
    typer.run(main)
