"""Measures what `--with-cues` brings: quality on held-out groups without cues, with all, and with all but the fonts.

    python benchmarks/cues.py --artifacts DIR

DIR holds embedded documents with labels; their files must still be where they were. Prints a Markdown table.
"""

import dataclasses
import statistics
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from sklearn.pipeline import Pipeline

from embedpipe import Workspace
from embedpipe.classifiers.bundles import build_classifier
from embedpipe.classifiers.evaluation import cross_validate
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.metrics import metrics_of
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.pages.cues import CUES
from embedpipe.pages.rendering import Selection

FONTS = {"log_fonts", "embedded_fonts", "font_size", "largest_font_size"}


def main(
    artifacts: Annotated[Path, typer.Option(help="Embedded and labelled documents.")] = Path("artifacts"),
    classifier: Annotated[str, typer.Option(help="svm, knn or head.")] = "svm",
    seeds: Annotated[int, typer.Option(help="Splits to average over.")] = 3,
) -> None:
    """Prints the table."""
    workspace = Workspace(artifacts)
    plain = workspace.store()
    pages = labelled_pages(workspace, CuedStore(workspace, plain), Selection())
    print("| inputs | documents, macro-F1 | documents, accuracy | pages, macro-F1 |\n| --- | --- | --- | --- |")
    for name, kept in (
        ("features", ()),
        ("and cues", CUES),
        ("and cues, no fonts", [c for c in CUES if c not in FONTS]),
    ):
        columns = [*range(plain.dim), *(plain.dim + CUES.index(cue) for cue in kept)]
        blocks = [*plain.blocks, *([("cues", plain.dim, len(columns))] if kept else [])]
        chosen = dataclasses.replace(pages, X=np.ascontiguousarray(pages.X[:, columns]))

        def build(blocks: list[tuple[str, int, int]] = blocks) -> Pipeline:
            return build_classifier(classifier, blocks)

        runs = []
        for seed in range(seeds):
            held_out = cross_validate(build, chosen, grouped_folds(chosen, seed=seed))
            runs.append(metrics_of(chosen, held_out))
        cells = []
        for key in ("document_macro_f1", "document_accuracy", "macro_f1"):
            values = [run[key] for run in runs]
            spread = f" ± {statistics.stdev(values):.3f}" if seeds > 1 else ""
            cells.append(f"{statistics.mean(values):.3f}{spread}")
        print("| " + " | ".join([name, *cells]) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
