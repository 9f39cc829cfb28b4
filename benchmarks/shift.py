"""Measures what is left of the promises where new documents are not like the labelled ones.

    python benchmarks/shift.py DOCUMENTS --labels LABELS.csv --scans SCANS --scan-labels SCANS.csv --artifacts DIR

DOCUMENTS and SCANS are folders of documents; both CSVs have the columns path,label,group. What DIR does not hold yet is
embedded into it. For each seed a fifth of the groups and three of the types are left out, and a classifier is fitted on
the others. It is asked about the held-out documents of its types, about the types that were left out, and about the
scans; `before` is a classifier that tells no kinds apart and compares no batches. Prints Markdown.
"""

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from markdown_tables import head, row

from embedpipe import Workspace, embed, load_backbone
from embedpipe.classifiers.bundles import build_classifier, fit_classifier, fit_novelty, log_scores
from embedpipe.classifiers.calibration.decisions import Calibration, Decisions, Rule
from embedpipe.classifiers.calibration.shift import Asked, compare
from embedpipe.classifiers.documents.rows import document_kinds
from embedpipe.classifiers.evaluation import cross_validate, document_answers, held_out_distances
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.group_guesses import isolated, near_copies
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.scores.pooling import effective_pages, mean_log_scores, page_weights, weighted_means
from embedpipe.core.records import Shift
from embedpipe.embedding.kind_table import known_kinds
from embedpipe.pages.rendering import Selection
from embedpipe.pages.source_kinds import codes
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels

RULE = Rule()
GONE = 3
SIZES = (5, 10, 20, 40)
FEWEST_OF_A_TYPE = 5


@dataclass(frozen=True)
class Documents:
    """Documents as a classifier sees them."""

    scores: Any
    distances: Any
    pages: Any
    kinds: Any
    y: Any
    groups: Any

    def take(self, rows: Any) -> "Documents":
        """Some of them."""
        return Documents(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def as_digital(self) -> "Documents":
        """The same, with a kind that was measured: what the comparison of batches notices alone."""
        return replace(self, kinds=np.zeros(len(self.y), np.int64))


@dataclass(frozen=True)
class Fitted:
    """A classifier's calibration, with its types."""

    calibration: Calibration
    classes: Any

    def before(self, asked: Documents) -> Decisions:
        """Decisions that tell no kinds apart."""
        plain = replace(self.calibration, kinds=None)
        return plain.decide(asked.scores, asked.distances, RULE, asked.pages)

    def shift(self, asked: Documents) -> Shift:
        """How a batch compares."""
        probabilities = self.before(asked).probabilities
        told = probabilities.argmax(axis=1)
        return compare(
            self.calibration, Asked(asked.distances, told, probabilities.max(axis=1), asked.kinds), RULE.error_rate
        )

    def after(self, asked: Documents) -> Decisions:
        """Decisions as `classify` makes them of a batch."""
        shifted = np.isin(asked.kinds, codes(sorted(self.shift(asked).shifted)))
        return self.calibration.decide(
            asked.scores, asked.distances, RULE, asked.pages, kinds=asked.kinds, shifted=shifted
        )

    def figures(self, asked: Documents, decisions: Decisions) -> list[float]:
        """Coverage and candidates of documents of known types, share that is ok, and how many of the ok are right."""
        known = np.isin(asked.y, self.classes)
        columns = np.searchsorted(self.classes, asked.y).clip(max=len(self.classes) - 1)
        inside = decisions.candidates[np.arange(len(known)), columns][known]
        right = self.classes[decisions.probabilities.argmax(axis=1)] == asked.y
        sure = decisions.status == "ok"
        sizes = decisions.candidates.sum(axis=1) / len(self.classes)
        return [
            float(inside.mean()) if known.any() else float("nan"),
            float(sizes.mean()),
            float(sure.mean()),
            float(right[sure].mean()) if sure.any() else float("nan"),
        ]


def labelled(workspace: Workspace, store: FeatureStore, folder: Path, labels: Path) -> LabelledPages:
    """The documents of a folder with the labels of a CSV; embedded where they are not yet."""
    stored = set(store.pages()["document_sha256"])
    wanted = Labels.from_csv(labels, workspace.sources().sha256_at)
    if not {sha256 for sha256, _ in wanted.rows} <= stored:
        embed(workspace, [str(folder)], load_backbone())
        store = FeatureStore.open(store.path)
        wanted = Labels.from_csv(labels, workspace.sources().sha256_at)
    wanted.save(workspace.labels_file)
    pages = labelled_pages(workspace, store, Selection())
    return replace(pages, kinds=known_kinds(workspace, pages.documents, pages.kinds))


def asked_of(pages: LabelledPages, scores: Any, distances: Any) -> Documents:
    """Documents from their pages' scores."""
    _, first, owner = np.unique(pages.documents.astype(str), return_index=True, return_inverse=True)
    weights = page_weights(pages.page_indices)
    return Documents(
        mean_log_scores(scores, weights, owner),
        weighted_means(distances, weights, owner),
        effective_pages(weights, owner),
        codes(document_kinds(pages.kinds, weights, owner)),
        pages.y[first],
        pages.groups[first],
    )


def fitted(store: FeatureStore, pages: LabelledPages, others: list[LabelledPages]) -> tuple[Fitted, list[Documents]]:
    """A classifier of some pages, and what it says of others."""

    def build() -> Any:
        return build_classifier("svm", store.blocks)

    folds = grouped_folds(pages)
    held, distances = cross_validate(build, pages, folds), held_out_distances(build, pages, folds)
    calibration = document_answers(pages, held, distances).calibration()
    pipeline, lessons = build(), pages.lessons()
    fit_classifier(pipeline, *lessons)
    novelty = fit_novelty(pipeline, *lessons)
    told = [
        asked_of(other, log_scores(pipeline, other.X), novelty.distances(pipeline[:-1].transform(other.X)))
        for other in others
    ]
    return Fitted(calibration, np.array(held.classes, object)), told


def drawn(asked: Documents, n: int, rng: np.random.Generator) -> Any:
    """About n documents, by whole groups."""
    batch: list[int] = []
    for group in rng.permutation(np.unique(asked.groups)):
        batch.extend(np.flatnonzero(asked.groups == group))
        if len(batch) >= n:
            break
    return np.array(batch[:n])


class Alarms:
    """How often batches of each sort and size raise the alarm."""

    def __init__(self) -> None:
        self.found: defaultdict[tuple[str, str], list[bool]] = defaultdict(list)

    def note(self, sort: str, size: int | str, model: Fitted, batch: Documents) -> None:
        """Compares a batch."""
        self.found[sort, str(size)].append(bool(model.shift(batch.as_digital()).shifted))

    def print(self) -> None:
        """Prints the rates."""
        sizes = [*map(str, SIZES), "all"]
        head("batch of", *(f"{size} documents" for size in sizes))
        for sort in dict.fromkeys(sort for sort, _ in self.found):
            rates = [self.found[sort, size] for size in sizes]
            row(sort, *(f"{np.mean(rate):.3f} of {len(rate)}" if rate else "-" for rate in rates))


def compare_batches(alarms: Alarms, model: Fitted, asked: dict[str, Documents], draws: int, seed: int) -> None:
    """Draws batches of each sort."""
    rng = np.random.default_rng(seed)
    known, new, scans = asked["held out"], asked["new types"], asked["scans"]
    for n in SIZES:
        for _ in range(draws):
            own = drawn(known, n, rng)
            alarms.note("held out, by groups", n, model, known.take(own))
            alarms.note("scans, as if digital", n, model, scans.take(rng.permutation(len(scans.y))[:n]))
            if len(new.y) >= n:
                alarms.note("new types", n, model, new.take(rng.permutation(len(new.y))[:n]))
    for sort, documents in asked.items():
        alarms.note({"held out": "held out, by groups", "scans": "scans, as if digital"}.get(sort, sort), "all", model,
                    documents)  # fmt: skip
    for kind in np.unique(known.y):
        rows = known.y == kind
        if rows.sum() >= FEWEST_OF_A_TYPE:
            alarms.note("held out, of one type", "all", model, known.take(rows))


def main(
    documents: Annotated[Path, typer.Argument(help="A folder of born-digital documents.")],
    labels: Annotated[Path, typer.Option(help="A CSV with the columns path,label,group.")],
    scans: Annotated[Path, typer.Option(help="A folder of scans.")],
    scan_labels: Annotated[Path, typer.Option(help="Their CSV.")],
    artifacts: Annotated[Path, typer.Option(help="Where features are kept between runs.")],
    seeds: Annotated[int, typer.Option(help="Divisions of the documents.")] = 5,
    draws: Annotated[int, typer.Option(help="Batches of each sort and size, for each seed.")] = 40,
) -> None:
    """Prints the tables."""
    workspace = Workspace(artifacts)
    store = workspace.store()
    scanned = labelled(workspace, store, scans, scan_labels)
    pages = labelled(workspace, store, documents, labels)
    store = FeatureStore.open(store.path)
    pages = isolated(pages, near_copies(pages, store.blocks))
    alarms, tables = Alarms(), defaultdict[tuple[str, str], list[list[float]]](list)
    types, groups = np.unique(pages.y), np.unique(pages.groups)
    for seed in range(seeds + 1):
        begin, rng = time.perf_counter(), np.random.default_rng(seed)
        if seed == 0:  # everything is labelled: only the scans are new
            model, [found] = fitted(store, pages, [scanned])
            asked = {"scans, all documents labelled": found}
        else:
            gone = rng.choice(types, GONE, replace=False)
            out = np.isin(pages.groups, rng.choice(groups, len(groups) // 5, replace=False))
            new = np.isin(pages.y, gone)
            parts = [pages.take(out & ~new), pages.take(new), scanned]
            model, found_all = fitted(store, pages.take(~out & ~new), parts)
            asked = dict(zip(("held out", "new types", "scans"), found_all, strict=True))
            compare_batches(alarms, model, asked, draws, seed)
        for name, batch in asked.items():
            for when, decide in (("before", model.before), ("after", model.after)):
                tables[name, when].append(model.figures(batch, decide(batch)))
        print(f"seed {seed}: {time.perf_counter() - begin:.0f} s", flush=True)
    head("documents", "", "coverage, of known types", "candidates, share of the types", "ok", "of these right")
    for (name, when), figures in tables.items():
        told = np.ma.masked_invalid(np.array(figures)).mean(axis=0)  # seeds without any are left out
        row(name, when, *("-" if value is np.ma.masked else float(value) for value in told))
    alarms.print()


if __name__ == "__main__":
    typer.run(main)
