"""Measures what guessing groups does to held-out figures, against the true groups and against none.

    python benchmarks/groups.py --artifacts DIR

DIR holds embedded documents whose labels give the true `group` of each; only stored features and names are read.
Types of one true group are left out, for no split can measure them. Prints Markdown tables: with no groups, with
guesses (by the names of the files, by hashes for names, by layout alone) and with the true groups; then the same for
one document of each true group, where every guess that joins documents is wrong.
"""

import hashlib
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from embedpipe import Workspace
from embedpipe.classifiers.bundles import Blocks, build_classifier
from embedpipe.classifiers.evaluation import cross_validate
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.group_guesses import isolated, near_copies
from embedpipe.classifiers.groups import with_guesses
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.metrics import metrics_of
from embedpipe.pages.rendering import Selection


def agreement(pages: LabelledPages, groups: NDArray[Any]) -> tuple[float, float, float]:
    """Precision and recall of pairs of documents in one group, and the adjusted Rand index, against the true groups."""
    _, first = np.unique(pages.documents, return_index=True)
    true, told = (np.unique(column[first], return_inverse=True)[1] for column in (pages.groups, groups))
    upper = np.triu_indices(len(first), 1)
    same, joined = ((one[:, None] == one[None])[upper] for one in (true, told))
    both = float(np.sum(same & joined))
    return both / max(joined.sum(), 1), both / max(same.sum(), 1), float(adjusted_rand_score(true, told))


def figures(pages: LabelledPages, blocks: Blocks, classifier: str, seeds: int) -> list[str]:
    """Macro-F1 and accuracy of documents in folds by the pages' groups, over so many seeds."""
    apart = isolated(pages, near_copies(pages, blocks))
    runs = []
    for seed in range(seeds):
        held_out = cross_validate(lambda: build_classifier(classifier, blocks), apart, grouped_folds(apart, seed=seed))
        runs.append(metrics_of(apart, held_out))
    cells = []
    for key in ("document_macro_f1", "document_accuracy"):
        values = [run[key] for run in runs]
        cells.append(f"{statistics.mean(values):.3f}" + (f" ± {statistics.stdev(values):.3f}" if seeds > 1 else ""))
    return cells


def one_of_each(pages: LabelledPages) -> LabelledPages:
    """The pages of one document of each true group, for types that keep two."""
    documents, first = np.unique(pages.documents, return_index=True)
    order = np.random.default_rng(0).permutation(len(documents))
    _, chosen = np.unique(pages.groups[first][order], return_index=True)
    few = pages.take(np.isin(pages.documents, documents[order[chosen]]))
    kinds = {kind: len(set(few.documents[few.y == kind])) for kind in set(few.y)}
    return few.take(np.array([kinds[kind] > 1 for kind in few.y]))


def main(
    artifacts: Annotated[Path, typer.Option(help="Embedded documents, labelled with true groups.")] = Path("artifacts"),
    classifier: Annotated[str, typer.Option(help="svm, knn or head.")] = "svm",
    pages: Annotated[str, typer.Option(help="Pages of each document.")] = "1-3",
    seeds: Annotated[int, typer.Option(help="Splits to average over.")] = 3,
    within: Annotated[str, typer.Option(help="Only documents whose path holds this.")] = "",
) -> None:
    """Prints the tables."""
    workspace = Workspace(artifacts)
    store = workspace.store()
    known = labelled_pages(workspace, store, Selection.parse(pages))
    if known.paths is None:
        raise SystemExit("no names are known")
    known = known.take(np.array([within in path for path in known.paths]))
    several = {kind for kind in set(known.y) if len(set(known.groups[known.y == kind])) > 1}
    known = known.take(np.isin(known.y, sorted(several)))  # no split can measure the others
    for title, some in (("all documents", known), ("one document of each true group", one_of_each(known))):
        alone = replace(some, groups=some.documents)
        hashed = np.array([hashlib.sha256(path.encode()).hexdigest() for path in some.paths.tolist()], object)
        ways = {
            "none": alone,
            "guessed": with_guesses(alone, store.blocks),
            "guessed, hashes for names": with_guesses(replace(alone, paths=hashed), store.blocks),
            "guessed, layout alone": with_guesses(replace(alone, paths=None), store.blocks),
            "true": some,
        }
        print(f"{title}: {len(set(some.documents))}\n\n| groups | number | macro-F1 | accuracy | pairs: precision | "
              "recall | adjusted Rand |\n| --- | --- | --- | --- | --- | --- | --- |")  # fmt: skip
        for name, way in ways.items():
            cells = figures(way, store.blocks, classifier, seeds)
            pairs = [f"{value:.2f}" for value in agreement(some, way.groups)]
            print("| " + " | ".join([name, str(len(set(way.groups))), *cells, *pairs]) + " |", flush=True)
        print()


if __name__ == "__main__":
    typer.run(main)
