"""Measures `check-labels`: labels of documents are changed at random, then looked for.

    python benchmarks/labels.py ARTIFACTS

ARTIFACTS holds embedded documents with labels that are taken for right; nothing is written there. Prints a Markdown
table: of the documents ranked first, how many had a wrong label, for each kind of classifier that can judge.
"""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from embedpipe import FeatureStore, TrainingRecipe, Workspace
from embedpipe.classifiers.bundles import CLASSIFIERS
from embedpipe.store.labels import Labels
from embedpipe.tasks.check_labels import check


def flipped(labels: Labels, share: float, seed: int) -> tuple[Labels, set[str]]:
    """Gives some documents another type, drawn from the types as often as they occur; also returns which."""
    rng = np.random.default_rng(seed)
    keys = sorted(labels.rows)
    kinds = np.array([labels.rows[key].label for key in keys])
    changed = Labels(dict(labels.rows))
    chosen = rng.choice(len(keys), round(share * len(keys)), replace=False)
    for k in chosen.tolist():
        changed.rows[keys[k]] = replace(labels.rows[keys[k]], label=str(rng.choice(kinds[kinds != kinds[k]])))
    return changed, {keys[k][0] for k in chosen.tolist()}


def measure(workspace: Workspace, store: FeatureStore, kind: str, share: float, seed: int) -> list[float]:
    """Shares of the wrong labels among the first 5, 10 and 20 %, and of those that confident learning counts as wrong.

    The last figure is the share of wrong labels among all that it counts.
    """
    with tempfile.TemporaryDirectory() as folder:
        twin = Workspace(folder)
        twin.index_path(store.identity.space).parent.mkdir(parents=True)
        twin.index_path(store.identity.space).symlink_to(workspace.index_path(store.identity.space).absolute())
        labels, wrong = flipped(workspace.labels(), share, seed)
        labels.save(twin.labels_file)
        found = check(twin, store, TrainingRecipe(kind)).documents
    hits = [doubt.page.document_sha256 in wrong for doubt in found]
    likely = [hit for hit, doubt in zip(hits, found, strict=True) if doubt.likely]
    total = sum(hits)  # those that can be judged
    firsts = [sum(hits[: round(part * len(hits))]) / total for part in (0.05, 0.1, 0.2)]
    return [*firsts, sum(likely) / total, sum(likely) / max(len(likely), 1)]


def main(
    artifacts: Annotated[Path, typer.Argument(help="Artifacts with features and labels.")],
    share: Annotated[float, typer.Option(help="Share of the labels that are changed.")] = 0.05,
    seeds: Annotated[int, typer.Option(help="Draws to average over.")] = 3,
) -> None:
    """Prints the table."""
    workspace = Workspace(artifacts)
    store = workspace.store()
    print("| judge | in the first 5 % | 10 % | 20 % | counted as wrong | right among those |\n|" + " --- |" * 6)
    for kind in CLASSIFIERS:
        runs = np.array([measure(workspace, store, kind, share, seed) for seed in range(seeds)])
        spread = [statistics.stdev(column) if seeds > 1 else 0.0 for column in runs.T]
        cells = [f"{mean:.2f} ± {deviation:.2f}" for mean, deviation in zip(runs.mean(axis=0), spread, strict=True)]
        print(f"| {kind} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    typer.run(main)
