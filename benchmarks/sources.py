"""Measures how well documents of sources that were not learnt from are sorted, with each kind of evidence added.

    python benchmarks/sources.py DOCUMENTS SCANS --labels LABELS.csv --artifacts DIR

LABELS.csv has the columns path,label,group, for the documents of all folders. What DIR does not hold yet is embedded
into it: into `DIR/read` with the words of text layers, into `DIR/recognised` with the text of scans as well. All
figures are of documents, and come from the product's own functions:

- in folds by group over all folders together, mean of the seeds: accuracy, of parts as well, macro-F1, how far
  confidence is true, how often the true type is among the candidates, and how many answers are `ok`, and right;
- fitted on the first folder alone, with `--augment` on variants of its pages as well, what `classify` answers for those
  documents of the others that are of its types;
- with `--rounds`: what `embed` costs, the ways taking turns; pages of a second, and seconds of processor time.

What `fit` chooses by itself is printed in comments. What this installation lacks for a way is said in its row. Prints
Markdown.
"""

import os
import re
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pymupdf
import typer
from markdown_tables import head, row
from sklearn.metrics import f1_score

from embedpipe import EmbedpipeError, Limits, Settings, TrainingRecipe, Workspace, classify, embed, fit, load_backbone
from embedpipe.classifiers.calibration.confidence import expected_calibration_error, nested_decisions
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.evaluation import document_answers, document_scores
from embedpipe.classifiers.lessons.reading import make_variants
from embedpipe.classifiers.rehearsals import Rehearsal, rehearse
from embedpipe.classifiers.saved.combining import FittedParts
from embedpipe.core.records import Prediction
from embedpipe.pages.extras.ocr import AUTO, NEVER, Ocr
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.store.page_extras import TABLES, words_of

PLAIN, SEVERAL = "efficientnet_lite0", "documents"
READ, RECOGNISED = "read", "recognised"
FEWEST = 5
"""Documents of a type that the second macro-F1 is over."""

COST_PAGES = "1-3"
"""Pages of each document of the first folder that the cost of `embed` is measured on."""

PATIENT = Limits(page_seconds=300)
"""No page is given up because others use the machine too."""

_TEX = re.compile("tex|dvips", re.IGNORECASE)


@dataclass(frozen=True)
class Way:
    """One way to sort.

    Attributes:
        pictures: What its first part alone is called in the tables; "" where another way has shown that.
        name: What it is called with all that `fit` chooses by itself.
        backbone: Of both.
        texts: Which of the two workspaces.
    """

    pictures: str
    name: str
    backbone: str = PLAIN
    texts: str = READ


WAYS = (
    Way("pictures", "pictures and words"),
    Way("", "pictures and words, of scans as well", texts=RECOGNISED),
    Way("document networks", "document networks and words, of scans as well", SEVERAL, RECOGNISED),
)


@dataclass(frozen=True)
class Facts:
    """What is known of each document by other means, by SHA-256."""

    elsewhere: frozenset[str]
    tex: frozenset[str]
    worded: frozenset[str]

    def parts(self, documents: Sequence[str]) -> dict[str, Any]:
        """Masks of the documents that figures are given of."""
        away, tex, words = (np.array([d in own for d in documents]) for own in (self.elsewhere, self.tex, self.worded))
        return {"first folder": ~away, "others": away, "not TeX": ~tex, "without text": ~words}


class Places:
    """The two workspaces, filled as far as this installation can, and labelled.

    Args:
        root: Holds both.
        folders: Documents; those of the first are what `elsewhere` learns from.
        labels: A CSV.
    """

    def __init__(self, root: Path, folders: list[Path], labels: Path) -> None:
        self._root, self._folders, self._labels = root, [os.path.abspath(folder) for folder in folders], labels
        self._stores: dict[tuple[str, str], FeatureStore] = {}

    def each(self, ways: Sequence[Way]) -> Iterator[tuple[Way, Workspace, FeatureStore]]:
        """The ways that this installation can go; of the others it prints what is missing."""
        for way in ways:
            try:
                opened = self.open(way)
            except EmbedpipeError as error:
                row(way.name, f"missing: {error}")
            else:
                yield way, *opened

    def open(self, way: Way) -> tuple[Workspace, FeatureStore]:
        """Workspace and features of a way; raises EmbedpipeError where something is not installed."""
        workspace = Workspace(self._root / way.texts)
        key = way.texts, way.backbone
        if key not in self._stores:
            if way.texts == RECOGNISED and not workspace.root.exists():
                shutil.copytree(self._root / READ, workspace.root)
            network = load_backbone(way.backbone)
            ocr = Ocr(AUTO if way.texts == RECOGNISED else NEVER)
            if ocr:
                ocr.recogniser.check()
            report = embed(workspace, self._folders, network, settings=Settings(ocr=ocr, limits=PATIENT))
            print(f"<!-- {way.texts}, {network.identity.space}: {report.embedded} pages embedded -->", flush=True)
            Labels.from_csv(self._labels, workspace.sources().sha256_at).save(workspace.labels_file)
            self._stores[key] = workspace.store(space=network.identity.space)
        return workspace, self._stores[key]

    def facts(self) -> Facts:
        """What is known of the documents."""
        workspace, store = self.open(WAYS[0])
        pages = store.pages()
        keys = list(zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True))
        there = np.diff(words_of(workspace.root, keys).indptr) > 0
        away, tex = set(), set()
        for sha256, source in zip(pages["document_sha256"], pages["source"], strict=True):
            if not Path(source).is_relative_to(self._folders[0]):
                away.add(sha256)
            elif sha256 not in tex and _made_by_tex(source):
                tex.add(sha256)
        return Facts(frozenset(away), frozenset(tex), frozenset(pages["document_sha256"][there]))


def _made_by_tex(source: str) -> bool:
    if not source.lower().endswith(".pdf"):
        return False
    with pymupdf.open(source) as document:
        about = document.metadata or {}
    return bool(_TEX.search(f"{about.get('producer')} {about.get('creator')}"))


def alone(held: Rehearsal) -> Rehearsal:
    """The same, of the first part alone: pictures."""
    scores = held.held_out.alone
    if scores is None:
        return held
    first = replace(held.held_out, log_scores=scores, whole=None)
    answers = document_answers(held.pages, first, held.of_pages.distances)
    return replace(held, held_out=first, of_documents=answers)


def figures(held: Rehearsal, facts: Facts) -> dict[str, float]:
    """Quality and trust of held-out documents."""
    scores = document_scores(held.pages, held.held_out)
    measured = held.measured_documents()
    documents, truth = scores.documents[measured], scores.y[measured].astype(str)
    decided = nested_decisions(held.of_documents, Rule())
    told = np.asarray(held.held_out.classes)[decided.probabilities.argmax(axis=1)[measured]]
    confidence, status = decided.probabilities.max(axis=1)[measured], decided.status[measured]
    right, sure = told == truth, status == "ok"
    inside = decided.candidates[np.flatnonzero(measured), held.of_documents.truth[measured]]
    found = {"accuracy": float(right.mean())} | macro_f1s(truth, told)
    found |= {name: float(right[mask].mean()) for name, mask in facts.parts(documents).items()}
    return found | {
        "calibration error": expected_calibration_error(confidence, right),
        "coverage": float(inside.mean()),
        "candidates": float(decided.candidates[measured].sum(axis=1).mean()),
        "ok": float(sure.mean()),
        "right of these": float(right[sure].mean()) if sure.any() else float("nan"),
        "novel": float((status == "novel").mean()),
    }


def macro_f1s(truth: Any, told: Any) -> dict[str, float]:
    """Macro-F1 over all types, and over those with enough documents."""
    kinds, counts = np.unique(truth, return_counts=True)
    return {
        "macro-F1": float(f1_score(truth, told, labels=kinds, average="macro", zero_division=0.0)),
        f"of types with {FEWEST}": float(
            f1_score(truth, told, labels=kinds[counts >= FEWEST], average="macro", zero_division=0.0)
        ),
    }


def in_folds(places: Places, ways: Sequence[Way], classifier: str, seeds: list[int]) -> None:
    """Prints quality and trust of each way over all folders, means of the seeds."""
    facts, shown = places.facts(), False
    for way, workspace, store in places.each(ways):
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in (way.pictures, way.name) if name}
        for seed in seeds:
            held = rehearse(workspace, store, TrainingRecipe(classifier), seed=seed)
            print(f"<!-- {way.name}, seed {seed}: {', '.join(held.plan.blocks())} -->", flush=True)
            for name, measured in ((way.pictures, alone(held)), (way.name, held)):
                if name:
                    runs[name].append(figures(measured, facts))
        if not shown:
            head("folds by group", *runs[way.name][0])
            shown = True
        for name, found in runs.items():
            table = np.array([list(run.values()) for run in found])
            row(name, *(float(value) for value in np.nanmean(table, axis=0)))
            if len(found) > 1:
                row("± deviation of the seeds", *(float(value) for value in table.std(axis=0, ddof=1)))


def from_elsewhere(places: Places, ways: Sequence[Way], recipe: TrainingRecipe) -> None:
    """Prints what classifiers of the first folder answer for the documents of the others that are of its types."""
    facts = places.facts()
    head("fitted on the first folder, asked about the others", "documents", "accuracy", "macro-F1",
         f"of types with {FEWEST}", "coverage", "ok", "right of these", "novel")  # fmt: skip
    for way, workspace, store in places.each(ways):
        labels = workspace.labels()
        known = {key: label for key, label in labels.rows.items() if key[0] not in facts.elsewhere}
        types = {label.label for label in known.values()}
        asked = {key[0]: label for key, label in labels.rows.items() if key[0] in facts.elsewhere}
        asked = {sha256: label for sha256, label in asked.items() if label.label in types}
        with tempfile.TemporaryDirectory() as folder:
            copy = Workspace(shutil.copytree(workspace.root, Path(folder, "copy")))
            replace(labels, rows=known).save(copy.labels_file)
            own, backbone = copy.store(space=store.identity.space), partial(load_backbone, way.backbone)
            if recipe.augment:
                make_variants(copy, own, recipe, backbone)
            bundle = fit(copy, own, recipe)
            print(f"<!-- {way.name}: {', '.join(bundle.fitted_on['blocks'])} -->", flush=True)
            first = replace(bundle, parts=FittedParts(columns=bundle.parts.columns))
            for name, model in ((way.pictures, first), (way.name, bundle)):
                if name:
                    paths = [label.path for label in asked.values()]
                    found, _ = classify(copy, paths, model, backbone)
                    answers = {item.document_sha256: item.prediction for item in found}
                    _tell_elsewhere(name, asked, answers)


def _tell_elsewhere(name: str, asked: dict[str, Label], answers: dict[str, Prediction]) -> None:
    truth = np.array([asked[sha256].label for sha256 in answers])
    told = np.array([str(answer.label) for answer in answers.values()])
    status = np.array([answer.status for answer in answers.values()])
    inside = [kind in dict(answer.candidates) for kind, answer in zip(truth, answers.values(), strict=True)]
    right, sure = told == truth, status == "ok"
    precise = float(right[sure].mean()) if sure.any() else "-"
    shares = float(np.mean(inside)), float(sure.mean()), precise, float((status == "novel").mean())
    row(name, len(truth), float(right.mean()), *macro_f1s(truth, told).values(), *shares)


def costs(folder: Path, rounds: int) -> None:
    """Prints what `embed` costs, the ways taking turns: medians of pages a second, and of processor time."""
    several = SEVERAL
    ways: dict[str, tuple[str, tuple[str, ...]]] = {
        "features alone": (PLAIN, ()),
        "and words": (PLAIN, ("words",)),
        "and thumbnails": (PLAIN, tuple(TABLES)),
        "document networks, words, thumbnails": (several, tuple(TABLES)),
    }
    rates: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    missing: dict[str, str] = {}
    for _ in range(rounds):
        for name, (backbone, keep) in ways.items():
            try:
                network = load_backbone(backbone)
            except EmbedpipeError as error:
                missing[name] = str(error)
                continue
            with tempfile.TemporaryDirectory() as out:
                before, begin = _processor(), time.perf_counter()
                report = embed(Workspace(out), [str(folder)], network, keep=keep,
                               settings=Settings(Selection.parse(COST_PAGES)))  # fmt: skip
                rates[name].append(report.embedded / (time.perf_counter() - begin))
                busy[name].append(1000 * (_processor() - before) / report.embedded)
    head(f"`embed`, pages {COST_PAGES}", "pages/s", "of features alone", "processor time, ms/page", "of features alone")
    first = next(iter(ways))
    for name in ways:
        if name in missing:
            row(name, f"missing: {missing[name]}")
            continue
        rate, used = statistics.median(rates[name]), statistics.median(busy[name])
        row(name, f"{rate:.0f}", rate / statistics.median(rates[first]), f"{used:.1f}",
            statistics.median(busy[first]) / used)  # fmt: skip


def _processor() -> float:
    """Seconds of processor time so far, of processes that have ended as well."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


def chosen(names: str) -> Iterator[Way]:
    """The ways by their numbers from 1, "" for all."""
    for place, way in enumerate(WAYS, 1):
        if not names or str(place) in names.split(","):
            yield way


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders of documents.")],
    labels: Annotated[Path, typer.Option(help="A CSV with the columns path,label,group.")],
    artifacts: Annotated[Path, typer.Option(help="Where features are kept between runs.")],
    classifier: Annotated[str, typer.Option(help="svm, knn or head.")] = "svm",
    seeds: Annotated[str, typer.Option(help='Divisions into folds; none for "".')] = "0,1,2",
    ways: Annotated[str, typer.Option(help="Numbers of the ways, from 1; all if not given.")] = "",
    rounds: Annotated[int, typer.Option(help="Turns in which the cost of `embed` is measured.")] = 0,
    augment: Annotated[int, typer.Option(help="Variants of each page for what is asked about other folders.")] = 0,
) -> None:
    """Prints the tables."""
    places = Places(artifacts, folders, labels)
    wanted = list(chosen(ways))
    if seeds:
        in_folds(places, wanted, classifier, [int(seed) for seed in seeds.split(",")])
    if len(folders) > 1:
        from_elsewhere(places, wanted, TrainingRecipe(classifier, augment=augment))
    if rounds:
        costs(folders[0], rounds)


if __name__ == "__main__":
    typer.run(main)
