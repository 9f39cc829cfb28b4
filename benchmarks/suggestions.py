"""Measures `suggest` and `label --cluster` on documents whose types are known.

    python benchmarks/suggestions.py ARTIFACTS

Starts with two labelled documents of each type, labels twenty suggested ones five times, and compares with as many
drawn at random, by macro-F1 of the documents of held-out groups; linear SVM on the first pages. Prints also how many
types are found where nothing is labelled, and how pure the families are that would be labelled in one stroke. Nothing
is written to ARTIFACTS.
"""

import statistics
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedGroupKFold

from embedpipe import FeatureStore, Workspace
from embedpipe.classifiers.bundles import build_classifier, fit_classifier, log_scores
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.scores.pooling import mean_log_scores, page_weights
from embedpipe.index.families import families
from embedpipe.index.page_index import fresh_index
from embedpipe.pages.rendering import Selection
from embedpipe.tasks.suggest import choose, margins

START, STEP, ROUNDS = 2, 20, 5


class Pile:
    """Documents with known types, of which some are taken as labelled.

    Args:
        pages: All labelled pages.
        unit: Their features as the index compares them, (n, dim).
        blocks: Of the features.
    """

    def __init__(self, pages: LabelledPages, unit: NDArray[np.float32], blocks: Any) -> None:
        self.pages, self.blocks = pages, blocks
        names, first, self.owner = np.unique(pages.documents, return_index=True, return_inverse=True)
        self.y, self.groups = pages.y[first].astype(str), pages.groups[first].astype(str)
        self.vectors = np.zeros((len(names), unit.shape[1]), np.float32)
        np.add.at(self.vectors, self.owner, unit * page_weights(pages.page_indices)[:, None].astype(np.float32))
        self.vectors /= np.linalg.norm(self.vectors, axis=1, keepdims=True)

    def scores(self, labelled: NDArray[np.int64], asked: NDArray[np.int64]) -> tuple[NDArray[np.float64], Any]:
        """Log probabilities of documents by a classifier fitted on others, and its types; `asked` is sorted."""
        pages = self.pages
        rows = np.isin(self.owner, labelled)
        classifier = build_classifier("svm", self.blocks)
        fit_classifier(classifier, pages.X[rows], pages.y[rows], pages.weights[rows])
        others = np.flatnonzero(np.isin(self.owner, asked))
        weights, owner = page_weights(pages.page_indices[others]), np.searchsorted(asked, self.owner[others])
        return mean_log_scores(log_scores(classifier, pages.X[others]), weights, owner), classifier.classes_

    def run(self, seed: int, *, suggested: bool) -> list[float]:
        """Macro-F1 on held-out groups at the start and after each round."""
        rng = np.random.default_rng(seed)
        folds = StratifiedGroupKFold(4, shuffle=True, random_state=seed)
        train, test = next(iter(folds.split(self.vectors, self.y, self.groups)))
        labelled = np.concatenate(
            [rng.permutation(train[self.y[train] == kind])[:START] for kind in np.unique(self.y[train])]
        )
        curve = []
        for _ in range(ROUNDS + 1):
            scores, classes = self.scores(labelled, test)
            told, types = classes[scores.argmax(axis=1)].astype(str), np.unique(self.y[test])
            curve.append(float(f1_score(self.y[test], told, average="macro", labels=types, zero_division=0.0)))
            pool = np.setdiff1d(train, labelled)
            if suggested:
                uncertainty = margins(self.scores(labelled, pool)[0])
                new = choose(self.vectors[pool], uncertainty, self.vectors[labelled], STEP)
            else:
                new = rng.choice(len(pool), STEP, replace=False)
            labelled = np.concatenate([labelled, pool[new]])
        return curve


def types_found(pile: Pile, draws: int = 200) -> str:
    """How many types the first documents are of where nothing is labelled yet, suggested and at random."""
    rng, nobody = np.random.default_rng(0), np.empty((0, pile.vectors.shape[1]), np.float32)
    lines = []
    for n in (20, 40, 60):
        first = choose(pile.vectors, np.ones(len(pile.y)), nobody, n)
        drawn = [len(set(pile.y[rng.choice(len(pile.y), n, replace=False)])) for _ in range(draws)]
        lines.append(f"{n} documents: {len(set(pile.y[first]))} types suggested, {np.mean(drawn):.1f} at random")
    return "; ".join(lines)


def purity(workspace: Workspace, store: FeatureStore, pages: LabelledPages) -> str:
    """How many documents are in families of their first pages, and how many have their family's type."""
    _, first = np.unique(pages.documents, return_index=True)  # pages come in their order
    ids, kinds = pages.page_ids[first], dict(zip(pages.page_ids[first].tolist(), pages.y[first], strict=True))
    order = np.argsort(ids)
    unit = fresh_index(store, workspace.index_path(store.identity.space)).unit(store.features(ids[order]))
    found = [[kinds[i] for i in family.page_ids.tolist()] for family in families(unit, ids[order], least=2)]
    right = sum(Counter(members).most_common(1)[0][1] for members in found)
    pure, total = sum(len(set(members)) == 1 for members in found), sum(map(len, found))
    return (
        f"{len(found)} families hold {total} of {len(first)} documents; {pure} hold one type only; "
        f"{right / total:.3f} of their documents are of their family's most frequent type"
    )


def main(
    artifacts: Annotated[Path, typer.Argument(help="Artifacts with features and labels.")],
    seeds: Annotated[int, typer.Option(help="Draws to average over.")] = 10,
    selection: Annotated[str, typer.Option("--pages", help="Pages of each document.")] = "1-4",
) -> None:
    """Prints the table."""
    workspace = Workspace(artifacts)
    store = workspace.store()
    print(purity(workspace, store, labelled_pages(workspace, store, Selection())), flush=True)
    pages = labelled_pages(workspace, store, Selection.parse(selection))
    pile = Pile(pages, fresh_index(store, workspace.index_path(store.identity.space)).unit(pages.X), store.blocks)
    print(types_found(pile), flush=True)
    print("| labelled | " + " | ".join(f"+{STEP * k}" for k in range(ROUNDS + 1)) + " |\n|" + " --- |" * (ROUNDS + 2))
    curves = {}
    for name, suggested in (("at random", False), ("suggested", True)):
        curves[name] = np.array([pile.run(seed, suggested=suggested) for seed in range(seeds)])
        print(f"| {name} | " + " | ".join(f"{f1:.3f}" for f1 in curves[name].mean(axis=0)) + " |", flush=True)
    gains = (curves["suggested"] - curves["at random"]).T
    cells = [f"{g.mean():+.3f} ± {statistics.stdev(g) / seeds**0.5:.3f}" if seeds > 1 else "" for g in gains]
    print("| gain, ± standard error | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    typer.run(main)
