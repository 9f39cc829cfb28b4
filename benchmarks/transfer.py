"""Compares the ways of transfer on documents that none of them has seen.

    python benchmarks/transfer.py DOCUMENTS --labels LABELS.csv --seeds 0,1,2

DOCUMENTS holds a folder for each type; LABELS.csv has the columns path,label,group. For each seed a quarter of the
documents, by group, is the test; everything else, also when to stop, is decided on the others. Prints a line for each
way and seed as it comes, and at the end a Markdown table of means over the seeds, ± their deviation: frozen features
with each classifier, then fine-tuning from the output layer to everything, then training from scratch. The last column
but one is the gain over the default features with a new head on the same documents, ± its standard error.
"""

import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from embedpipe import Settings, Workspace, embed, load_backbone
from embedpipe.backbones.model_cache import Wanted
from embedpipe.classifiers.bundles import CLASSIFIERS, build_classifier, fit_classifier, log_scores
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.finetuning.finetune import PageScores, finetune, open_backbone
from embedpipe.finetuning.training_loop import FinetuningRecipe, Watch
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels

WAYS = {
    "head": FinetuningRecipe(unfreeze="head", rate=3e-3),
    "last-stage": FinetuningRecipe(unfreeze="last-stage"),
    "last-stage-keep": FinetuningRecipe(unfreeze="last-stage", statistics="keep"),
    "all": FinetuningRecipe(unfreeze="all"),
    "all-learn": FinetuningRecipe(unfreeze="all", statistics="learn"),
    "lenet5": FinetuningRecipe(backbone="lenet5", weights="none", unfreeze="all"),
}
"""The trained ways, by the word that `--ways` takes."""

REFERENCE = "frozen, stages, head"
_KEYS = ("document_accuracy", "document_balanced_accuracy", "document_macro_f1")
_LAYERS = ("stages", "penultimate")


@dataclass
class Table:
    """Figures of each way, a row of them for each seed, and the processor's minutes."""

    figures: dict[str, list[list[float]]] = field(default_factory=dict)
    minutes: dict[str, list[float]] = field(default_factory=dict)

    def add(self, way: str, scores: PageScores, seconds: float) -> None:
        """Keeps and prints the figures of a way on one test."""
        metrics = scores.metrics()
        row = [float(metrics[key]) for key in _KEYS]
        self.figures.setdefault(way, []).append(row)
        self.minutes.setdefault(way, []).append(seconds / 60)
        print(f"<!-- {way}: {' '.join(f'{value:.3f}' for value in row)}, {seconds / 60:.1f} min -->", flush=True)

    def show(self) -> None:
        """Prints the Markdown table."""
        columns = ("way", "accuracy", "balanced accuracy", "macro-F1", "gain", "minutes")
        print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
        reference = np.array(self.figures[REFERENCE])[:, 2]
        for way, rows in self.figures.items():
            values = np.array(rows)
            gain = values[:, 2] - reference[: len(values)]
            several = len(values) > 1
            shown = [_spread(column, several=several) for column in values.T]
            error = f" ± {gain.std(ddof=1) / np.sqrt(len(gain)):.3f}" if several else ""
            gained = "-" if way == REFERENCE else f"{gain.mean():+.3f}{error}"
            print(f"| {way} | {' | '.join([*shown, gained])} | {np.mean(self.minutes[way]):.1f} |", flush=True)


def _spread(values: np.ndarray, *, several: bool) -> str:
    return f"{values.mean():.3f}" + (f" ± {values.std(ddof=1):.3f}" if several else "")


def classify(table: Table, way: str, store: FeatureStore, pages: LabelledPages, test: set[str]) -> None:
    """Fits every classifier on the documents that are not for the test."""
    tested = np.isin(pages.documents, sorted(test))
    known, unknown = pages.take(~tested), pages.take(tested)
    classes = sorted(set(known.y))
    for kind in CLASSIFIERS:
        begin = time.process_time()
        fitted = fit_classifier(build_classifier(kind, store.blocks), known.X, known.y, known.weights)
        scores = PageScores(unknown, classes, log_scores(fitted, unknown.X))
        table.add(f"{way}, {kind}", scores, time.process_time() - begin)


def train(
    table: Table, workspace: Workspace, documents: str, ways: Iterable[str], recipe: dict[str, object], test: set[str]
) -> None:
    """Fine-tunes in each way, and fits every classifier on what comes of it."""
    for way in ways:
        begin = time.process_time()
        chosen = replace(WAYS[way], **recipe)  # type: ignore[arg-type]
        chosen = replace(chosen, size=None) if way == "lenet5" else chosen
        watch = Watch(epoch=lambda number, epoch: print(f"<!-- {number}: {epoch} -->", flush=True))
        name = f"{way}-{chosen.seed}"
        made = finetune(workspace, chosen, name, test=test, watch=watch)
        if made.test is not None:
            table.add(f"fine-tuned, {way}: its own output layer", made.test, time.process_time() - begin)
        print(f"<!-- {made.manifest['fit']} -->", flush=True)
        if way == "lenet5":
            continue
        for layers in _LAYERS:
            tuned = open_backbone(workspace, Wanted(f"finetuned:{name}", changes={"layers": layers}))
            embed(workspace, [documents], tuned, settings=Settings(Selection.parse(chosen.pages)))
            store = workspace.store(space=tuned.identity.space)
            classify(table, f"fine-tuned, {way}, {layers}", store, labelled_pages(workspace, store, Selection()), test)


def main(
    documents: str,
    labels: Annotated[str, typer.Option()],
    pages: str = "1",
    size: int = 224,
    epochs: int = 12,
    seeds: str = "0",
    ways: str = ",".join(WAYS),
) -> None:
    """Prints the table; the last column is the processor's minutes."""
    table = Table()
    with tempfile.TemporaryDirectory() as folder:
        workspace = Workspace(folder)
        stores = {}
        for layers in _LAYERS:
            backbone = load_backbone(changes={"size": size, "layers": layers})
            embed(workspace, [documents], backbone, settings=Settings(Selection.parse(pages)))
            stores[layers] = workspace.store(space=backbone.identity.space)
        Labels.from_csv(Path(labels), workspace.sources().sha256_at).save(workspace.labels_file)
        for seed in map(int, seeds.split(",")):
            known = labelled_pages(workspace, stores["stages"], Selection())
            test = set(known.documents[grouped_folds(known, 4, seed) == 0])
            for layers, store in stores.items():
                classify(table, f"frozen, {layers}", store, labelled_pages(workspace, store, Selection()), test)
            recipe = {"pages": pages, "size": size, "epochs": epochs, "seed": seed}
            train(table, workspace, documents, filter(None, ways.split(",")), recipe, test)
    table.show()


if __name__ == "__main__":
    typer.run(main)
