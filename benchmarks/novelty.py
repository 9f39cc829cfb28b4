"""Measures how well documents of a type that nobody labelled are told from others, by leaving each type out in turn.

    python benchmarks/novelty.py --artifacts ARTIFACTS --seeds 3

ARTIFACTS holds embedded documents with their words, and labels with groups. The first pages of each document are
looked at. For each seed the groups are divided into folds; for each fold and type a classifier learns from the other
folds without the type, and answers for the documents of the fold: the area under the ROC curve (AUROC) says how well
those of the type are told from the others. Examples of none of the types come from the other folds. Prints Markdown.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from sklearn.metrics import roc_auc_score

from embedpipe import Workspace
from embedpipe.classifiers.bundles import PICTURES, WORDS
from embedpipe.classifiers.calibration.confidence import HeldOutScores
from embedpipe.classifiers.evaluation import HeldOut, cross_validate, document_answers
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import learnt_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.parts import Plan
from embedpipe.classifiers.rehearsals import apart
from embedpipe.classifiers.unknowns import answers_of, auroc, fit_detector, fitted_parts, measured
from embedpipe.embedding.kind_table import known_kinds
from embedpipe.store.labels import NONE

EXAMPLES = 20
BEFORE, TOP, FAR, BOTH = (
    "distance, pictures (before)",
    "top probability, pictures",
    "distance",
    "**distance and entropy**",
)
SAME, MIXED, OTHER = (
    "20 examples of the type",
    "20 examples of four types, it among them",
    "20 examples of another type",
)

Areas = dict[str, dict[str, list[float]]]


class Bench:
    """One division of the labelled pages into folds."""

    def __init__(self, plan: Plan, held: HeldOut, pages: LabelledPages, folds: np.ndarray) -> None:
        self.plan, self.held, self.pages, self.folds = plan, held, pages, folds
        self.pictures = plan.only((PICTURES,))
        self.classes = sorted(set(pages.y))

    def ask(self, fold: int, unknown: Sequence[str], asked: str) -> "Question":
        """A classifier of the other folds without some types, and what it is asked about."""
        away = np.isin(self.pages.y.astype(str), unknown)
        learnt = (self.folds != fold) & ~away
        fitted = fitted_parts(self.plan, self.pages, learnt)
        return Question(self, fitted, learnt, (self.folds == fold) & ~away, self.pages.y == asked)

    def examples(self, fold: int, kinds: Sequence[str], rng: np.random.Generator) -> np.ndarray:
        """Pages of so many documents of some types, of other folds."""
        own = np.isin(self.pages.y.astype(str), kinds) & (self.folds != fold)
        documents = rng.permutation(np.unique(self.pages.documents[own]))[:EXAMPLES]
        return own & np.isin(self.pages.documents, documents)


@dataclass
class Question:
    """A fitted classifier, the rows that it learnt from, and the known and unknown pages that it is asked about."""

    bench: Bench
    fitted: dict[str, Any]
    learnt: np.ndarray
    known: np.ndarray
    unknown: np.ndarray

    def answers(
        self, examples: np.ndarray | None = None, *, pictures: bool = False
    ) -> tuple[HeldOutScores, HeldOutScores]:
        """About known documents and about unknown ones, with examples of none of the types, and without words."""
        bench, pages, learnt = self.bench, self.bench.pages, self.learnt
        if examples is not None:
            pages, learnt = replace(pages, y=np.where(examples, NONE, pages.y)), learnt | examples
        alone = replace(bench.held, fusion=None, document_fusion=None)
        plan, held = (bench.pictures, alone) if pictures else (bench.plan, bench.held)
        base = plan.parts[0]
        detector = fit_detector(self.fitted[base.name], plan, pages, learnt)
        sides = []
        for rows in (self.known, self.unknown):
            own = bench.pages.take(rows)
            told = replace(answers_of(plan, held, self.fitted, own, bench.classes), folds=bench.folds[rows])
            sides.append(document_answers(own, told, measured(self.fitted[base.name], detector, base, own)))
        return sides[0], sides[1]


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


def measure(bench: Bench, tables: tuple[Areas, Areas, Areas], seed: int, *, examples: bool) -> None:
    """Each way of measuring novelty, each type left out in turn; then with examples of none of the types.

    Examples of several types, and of another one, are measured in the first fold alone.
    """
    rng, kinds = np.random.default_rng(seed), np.unique(bench.pages.y)
    new_sources, any_source, shown = tables
    for kind in kinds:
        for fold in np.unique(bench.folds):
            question = bench.ask(int(fold), [kind], kind)
            known, strangers = question.answers()
            seen, alone = question.answers(pictures=True)
            own = strangers.folds == fold
            for target, rows in ((new_sources, own), (any_source, np.ones(len(own), bool))):
                if rows.any():
                    for name, area in (
                        (BEFORE, far(seen, part_of(alone, rows))),
                        (TOP, top(seen, part_of(alone, rows))),
                        (FAR, far(known, part_of(strangers, rows))),
                        ("top probability", top(known, part_of(strangers, rows))),
                        (BOTH, auroc(known, part_of(strangers, rows))),
                    ):
                        target[name][kind].append(float(area or np.nan))
            if not examples or not own.any():
                continue
            others = [str(other) for other in rng.permutation(kinds[kinds != kind])]
            compare(shown, SAME, question, bench.examples(int(fold), [kind], rng), kind)
            if fold == 0:
                for name, unknown, given in (
                    (MIXED, others[:3], [kind, *others[:3]]),
                    (OTHER, others[3:4], others[3:4]),
                ):
                    question = bench.ask(int(fold), [kind, *unknown], kind)
                    compare(shown, name, question, bench.examples(int(fold), given, rng), kind)


def compare(areas: Areas, name: str, question: Question, examples: np.ndarray, kind: str) -> None:
    """The way that is used, with examples and without."""
    fold = question.bench.folds[question.known][0]
    for label, given in ((name, examples), (f"{name}: without them", None)):
        known, strangers = question.answers(given)
        areas[label][kind].append(float(auroc(known, part_of(strangers, strangers.folds == fold)) or np.nan))


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
    known = replace(known, kinds=known_kinds(workspace, known.documents, known.kinds))
    known = known.take(known.page_indices < pages)
    plan = recipe.plan(store.blocks, known)
    areas, any_source, shown = (defaultdict(lambda: defaultdict(list)) for _ in range(3))
    for seed in range(seeds):
        folds = grouped_folds(known, seed=seed)
        held = cross_validate(plan, known, folds)
        used = plan.only(held.names)
        print(
            f"\nseed {seed}: {', '.join(used.names)}{'' if WORDS in used.names else ' (words do not help)'}", flush=True
        )
        bench = Bench(used, held, known, folds)
        measure(bench, (areas, any_source, shown), seed, examples=examples)
        show(f"a type left out, new sources (seeds up to {seed})", areas)
        show("the same, also from sources that other types came from", any_source)
        show("with examples of none of the types", shown)


if __name__ == "__main__":
    typer.run(main)
