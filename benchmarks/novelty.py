"""Measures how well documents of a type that nobody labelled are told from others, by leaving each type out in turn.

    python benchmarks/novelty.py --artifacts ARTIFACTS --seeds 3

ARTIFACTS holds embedded documents with their words, and labels with groups. The first pages of each document are
looked at. For each seed the groups are divided into folds; for each fold and type a classifier learns from the other
folds without the type, and answers for the documents of the fold: the area under the ROC curve (AUROC) says how well
those of the type are told from the others. Examples of none of the types come from the other folds. Prints Markdown.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from sklearn.metrics import roc_auc_score

from embedpipe import Workspace
from embedpipe.classifiers.bundles import PICTURES, WORDS, fit_classifier
from embedpipe.classifiers.calibration.confidence import HeldOutScores
from embedpipe.classifiers.evaluation import HeldOut, LabelledPages, cross_validate, document_answers, grouped_folds
from embedpipe.classifiers.fusion import Fusion
from embedpipe.classifiers.parts import Plan
from embedpipe.classifiers.training import TrainingRecipe, apart, learnt_pages
from embedpipe.classifiers.unknowns import answers_of, auroc, fit_detector, measured
from embedpipe.store.labels import NONE

EXAMPLES = 20
BEFORE, TOP, FAR, BOTH = (
    "distance, pictures (before)",
    "top probability, pictures",
    "distance",
    "**distance and top probability**",
)
SAME, MIXED, OTHER = (
    "20 examples of the type",
    "20 examples of four types, it among them",
    "20 examples of another type",
)

Areas = dict[str, dict[str, list[float]]]


class Bench:
    """One division of the labelled pages into folds."""

    def __init__(self, plan: Plan, fusion: Fusion | None, pages: LabelledPages, folds: np.ndarray) -> None:
        self.plan, self.fusion, self.pages, self.folds = plan, fusion, pages, folds
        self.pictures = plan.only((PICTURES,))

    def ask(
        self, fold: int, unknown: Sequence[str], asked: str, examples: np.ndarray | None = None
    ) -> tuple[dict[str, tuple[HeldOutScores, HeldOutScores]], np.ndarray]:
        """Answers about known documents of a fold and about those of a type, with and without words.

        Also which of the latter are of the fold, and not of sources that may have been seen.
        """
        pages = self.pages
        if examples is not None:
            y = pages.y.copy()
            y[examples] = NONE
            pages = replace(pages, y=y)
        away = np.isin(self.pages.y.astype(str), unknown)
        learnt = (self.folds != fold) & (~away | (pages.y == NONE))
        typed = learnt & (pages.y != NONE)
        known = (self.folds == fold) & ~away
        strangers = (self.pages.y == asked) & (pages.y != NONE)
        classes = sorted(set(self.pages.y))
        found = {}
        for name, plan in (("", self.plan), (PICTURES, self.pictures)):
            fitted = {part.name: fit_classifier(part.build(), *pages.lessons_of(part, typed)) for part in plan.parts}
            base = plan.parts[0]
            detector = fit_detector(fitted[base.name], plan, pages, learnt)
            sides = []
            for rows in (known, strangers):
                own = self.pages.take(rows)
                fusion = self.fusion if len(plan.parts) > 1 else None
                scores = answers_of(plan, fusion, fitted, own, classes)
                held = HeldOut(classes, scores, self.folds[rows])
                sides.append(document_answers(own, held, measured(fitted[base.name], detector, base, own)))
            found[name] = (sides[0], sides[1])
        return found, found[""][1].folds == fold

    def examples(self, fold: int, kinds: Sequence[str], rng: np.random.Generator) -> np.ndarray:
        """Pages of so many documents of some types, of other folds."""
        own = np.isin(self.pages.y.astype(str), kinds) & (self.folds != fold)
        documents = rng.permutation(np.unique(self.pages.documents[own]))[:EXAMPLES]
        return own & np.isin(self.pages.documents, documents)


def part_of(scores: HeldOutScores, rows: np.ndarray) -> HeldOutScores:
    """Some documents."""
    kinds = None if scores.kinds is None else scores.kinds[rows]
    groups = None if scores.groups is None else scores.groups[rows]
    columns = (scores.scores, scores.truth, scores.distances, scores.folds, scores.weights, scores.pages)
    return HeldOutScores(*(column[rows] for column in columns), kinds, groups)


def far(known: HeldOutScores, strangers: HeldOutScores) -> float:
    """AUROC of the distance alone."""
    both = np.concatenate([known.distances, strangers.distances])
    return float(roc_auc_score(np.repeat([0, 1], [len(known.truth), len(strangers.truth)]), both))


def top(known: HeldOutScores, strangers: HeldOutScores) -> float:
    """AUROC of the top probability alone."""
    both = -np.concatenate([known.scores.max(axis=1), strangers.scores.max(axis=1)])
    return float(roc_auc_score(np.repeat([0, 1], [len(known.truth), len(strangers.truth)]), both))


def without_examples(bench: Bench, areas: Areas, any_source: Areas) -> None:
    """Each way of measuring novelty, each type left out in turn."""
    for kind in np.unique(bench.pages.y):
        for fold in np.unique(bench.folds):
            found, own = bench.ask(int(fold), [kind], kind)
            for target, rows in ((areas, own), (any_source, np.ones(len(own), bool))):
                if not rows.any():
                    continue
                (known, strangers), (seen, alone) = ((k, part_of(s, rows)) for k, s in (found[""], found[PICTURES]))
                for name, area in (
                    (BEFORE, far(seen, alone)),
                    (TOP, top(seen, alone)),
                    (FAR, far(known, strangers)),
                    ("top probability", top(known, strangers)),
                    (BOTH, auroc(known, strangers)),
                ):
                    target[name][kind].append(float(area or np.nan))


def with_examples(bench: Bench, areas: Areas, seed: int) -> None:
    """The way that is used, with examples of none of the types, and without; in the first two folds for others."""
    rng = np.random.default_rng(seed)
    kinds = np.unique(bench.pages.y)
    for kind in kinds:
        for fold in np.unique(bench.folds):
            others = rng.permutation(kinds[kinds != kind])
            ways = [(SAME, [kind], [kind])]
            if fold < 2:  # noqa: PLR2004
                ways += [(MIXED, [kind, *others[:3]], [kind, *others[:3]]), (OTHER, [kind, others[3]], [others[3]])]
            for name, unknown, shown in ways:
                chosen = bench.examples(int(fold), shown, rng)
                for label, examples in ((name, chosen), (f"{name}: without them", None)):
                    found, own = bench.ask(int(fold), unknown, kind, examples)
                    if own.any():
                        known, strangers = found[""]
                        areas[label][kind].append(float(auroc(known, part_of(strangers, own)) or np.nan))


def show(title: str, areas: Areas) -> None:
    """A row for each way: the mean over types of the means over folds and seeds, and the weakest types."""
    print(f"\n| {title} | AUROC | weakest types |\n| --- | --- | --- |")
    for name, by_type in areas.items():
        means = {kind: float(np.nanmean(values)) for kind, values in by_type.items()}
        weakest = ", ".join(f"{kind} {means[kind]:.2f}" for kind in sorted(means, key=lambda k: means[k])[:4])
        print(f"| {name} | {np.mean(list(means.values())):.3f} | {weakest} |", flush=True)


def main(
    artifacts: Annotated[Path, typer.Option(help="Embedded and labelled documents.")],
    seeds: Annotated[int, typer.Option(help="Divisions into folds.")] = 3,
    kind: Annotated[str, typer.Option(help="The classifier.")] = "svm",
    pages: Annotated[int, typer.Option(help="First pages of each document.")] = 4,
    examples: Annotated[bool, typer.Option(help="Measure examples of none of the types as well.")] = True,
) -> None:
    """Prints the tables."""
    workspace = Workspace(artifacts)
    recipe = TrainingRecipe(kind)
    store = recipe.features_of(workspace, workspace.store())
    known = apart(workspace, store, learnt_pages(workspace, store, recipe))
    known = known.take(known.page_indices < pages)
    plan = recipe.plan(store.blocks, known)
    areas, any_source, shown = (defaultdict(lambda: defaultdict(list)) for _ in range(3))
    for seed in range(seeds):
        folds = grouped_folds(known, seed=seed)
        held = cross_validate(plan, known, folds)
        used = plan.only(held.fusion.names if held.fusion else (PICTURES,))
        print(
            f"\nseed {seed}: {', '.join(used.names)}{'' if WORDS in used.names else ' (words do not help)'}", flush=True
        )
        bench = Bench(used, held.fusion, known, folds)
        without_examples(bench, areas, any_source)
        if examples:
            with_examples(bench, shown, seed)
        show(f"a type left out, new sources (seeds up to {seed})", areas)
        show("the same, also from sources that other types came from", any_source)
        show("with examples of none of the types", shown)


if __name__ == "__main__":
    typer.run(main)
