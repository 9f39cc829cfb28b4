"""Measures what words, layout and cues add to pictures, how sure the answers are, and whether `fit` chooses well.

    python benchmarks/blocks.py ARTIFACTS [--classifier svm] [--seeds 3] [--cues] [--pages 1-4]

ARTIFACTS holds embedded and labelled documents with their words. Figures are of documents in folds by group, mean of
the seeds of the folds; each part is fitted once for each fold, and all rows are made of these scores. Prints a Markdown
table.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from embedpipe import TrainingRecipe, Workspace
from embedpipe.classifiers.calibration.confidence import decision_metrics, expected_calibration_error, nested_decisions
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.evaluation import (
    HeldOut,
    combined,
    document_answers,
    held_out_distances,
    score_parts,
    with_documents,
)
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.held_out import held_out_of, honest_folds
from embedpipe.classifiers.lessons.reading import learnt_pages
from embedpipe.classifiers.metrics import metrics_of
from embedpipe.classifiers.parts import Plan
from embedpipe.classifiers.rehearsals import apart
from embedpipe.classifiers.saved.combining import PICTURES
from embedpipe.embedding.kind_table import known_kinds

COLUMNS = ("accuracy", "macro-F1", "accuracy, digital", "accuracy, pictures", "calibration error", "coverage")
SURE = ("ok", "right of these")


def main(
    artifacts: Annotated[Path, typer.Argument(help="Embedded and labelled documents.")],
    classifier: Annotated[str, typer.Option(help="svm, knn or head.")] = "svm",
    seeds: Annotated[int, typer.Option(help="Divisions into folds to average over.")] = 3,
    cues: Annotated[bool, typer.Option("--cues", help="Measure cues of the PDF as well.")] = False,
    pages_of_each: Annotated[str, typer.Option("--pages", help="Pages of each document.")] = "all",
) -> None:
    """Prints the table."""
    workspace = Workspace(artifacts)
    recipe = TrainingRecipe(classifier, pages=pages_of_each, cues=cues)
    store = recipe.features_of(workspace, workspace.store())
    known = apart(workspace, store, learnt_pages(workspace, store, recipe))
    known = replace(known, kinds=known_kinds(workspace, known.documents, known.kinds))
    plan = replace(recipe.plan(store.blocks, known), forced=frozenset({PICTURES}))
    rows: dict[str, list[list[float]]] = {}
    for seed in range(seeds):
        folds = honest_folds(known, seed)
        found, scores = score_parts(plan, known, folds)
        pages, base = held_out_of(known, folds), plan.parts[0]
        distances = held_out_distances(base.build, known.columns_of(base), folds)
        for name, own in ways(plan):
            begin = time.perf_counter()
            held = combined(own, pages, found, {part.name: scores[part.name] for part in own.parts})
            held = with_documents(own, known, folds, held, scores)
            seconds = time.perf_counter() - begin
            if own.open:
                name = f"{name} (seed {seed}: {', '.join(held.names)})" if seeds == 1 else name  # noqa: PLW2901
            rows.setdefault(name, []).append([*figures(pages, held, distances), seconds])
        print(f"seed {seed} done", file=sys.stderr, flush=True)
    print(f"| blocks | {' | '.join([*COLUMNS, *SURE, 'seconds to combine'])} |\n|{' --- |' * 10}")
    for name, runs in rows.items():
        cells = [f"{np.mean(values):.3f} ± {np.std(values):.3f}" for values in zip(*runs, strict=True)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def ways(plan: Plan) -> list[tuple[str, Plan]]:
    """Plans by name: pictures alone, with each of the other parts, with all, and as `fit` chooses."""
    first, *others = plan.names
    chosen = [[first], *([first, name] for name in others), *([plan.names] if len(others) > 1 else [])]
    return [*((", ".join(names), plan.only(names)) for names in chosen), ("as chosen", plan)]


def figures(pages: LabelledPages, held: HeldOut, distances: Any) -> list[float]:
    """Of documents, in the order of the columns."""
    metrics = metrics_of(pages, held)
    answers = document_answers(pages, held, distances)
    decisions = nested_decisions(answers, Rule())
    right = decisions.probabilities.argmax(axis=1) == answers.truth
    kinds = np.zeros(len(right), np.int64) if answers.kinds is None else answers.kinds
    digital = kinds == 0
    told = decision_metrics(answers, decisions)
    return [
        metrics["document_accuracy"],
        metrics["document_macro_f1"],
        float(right[digital].mean()) if digital.any() else float("nan"),
        float(right[~digital].mean()) if (~digital).any() else float("nan"),
        expected_calibration_error(decisions.probabilities.max(axis=1), right),
        told["coverage"],
        told["ok"],
        told["ok_accuracy"],
    ]


if __name__ == "__main__":
    typer.run(main)
