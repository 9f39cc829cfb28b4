"""Measures how far decisions can be trusted: calibration, candidates, novelty, and quality against the usual recipe.

    python benchmarks/decisions.py DOCUMENTS --labels LABELS.csv --artifacts DIR

DOCUMENTS holds a folder for each type; LABELS.csv has the columns path,label,group. Both recipes are embedded into DIR
where it does not hold them yet: all pages with the default, the first three with the usual photo recipe. All figures
are of 5 folds by group and near copies; what is learnt from scores is learnt from the other folds. Prints Markdown.
"""

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from markdown_tables import head, row
from sklearn.metrics import f1_score, roc_auc_score

from embedpipe import Recipe, Settings, Workspace, embed, load_backbone
from embedpipe.classifiers.bundles import CLASSIFIERS, build_classifier
from embedpipe.classifiers.calibration.confidence import decision_metrics, expected_calibration_error, nested_decisions
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.calibration.novelty import NoveltyDetector
from embedpipe.classifiers.evaluation import cross_validate, document_answers, document_scores, page_answers
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.metrics import metrics_of
from embedpipe.classifiers.rehearsals import Rehearsal, rehearse
from embedpipe.classifiers.scores.pooling import mean_log_scores, page_weights, weighted_means
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels

USUAL = Recipe(224, "crop", "penultimate")
EXPONENTS = (0.0, 0.5, 1.0, 1.5, 2.0)
LAST = (1.0, 2.0, 4.0)
CHANCES = 100


def stores(documents: Path, labels: Path, workspace: Workspace) -> tuple[FeatureStore, FeatureStore]:
    """The stores of the default and of the usual recipe, filled, with all documents labelled."""
    found = []
    for recipe, pages in ((None, "all"), (USUAL, "1-3")):
        backbone = load_backbone(recipe=recipe) if recipe else load_backbone()
        embed(workspace, [str(documents)], backbone, settings=Settings(Selection.parse(pages)))
        found.append(workspace.store(space=backbone.identity.space))
    Labels.from_csv(labels, workspace.sources().sha256_at).save(workspace.labels_file)
    return found[0], found[1]


def against_the_usual(workspace: Workspace, default: FeatureStore, usual: FeatureStore) -> None:
    """Macro-F1 of documents of a linear SVM on the first three pages, in the same folds."""
    head("features, first three pages", "document macro-F1", "accuracy")
    reference = labelled_pages(workspace, default, Selection.parse("1-3"))
    folds = dict(zip(reference.documents, grouped_folds(reference), strict=True))
    for name, store in (("the default", default), ("crop 224, penultimate", usual)):
        pages = labelled_pages(workspace, store, Selection.parse("1-3"))
        own = np.array([folds[document] for document in pages.documents])
        metrics = metrics_of(pages, cross_validate(lambda s=store: build_classifier("svm", s.blocks), pages, own))
        row(name, metrics["document_macro_f1"], metrics["document_accuracy"])


def trust(held: dict[str, Rehearsal]) -> None:
    """Calibration error, coverage and kinds of answers of each classifier."""
    head(
        "classifier",
        "of",
        "calibration error",
        "coverage",
        "candidates",
        "ok",
        "ok and right",
        "ok at 0.9",
        "and right",
    )
    for kind, found in held.items():
        for level, scores in (("documents", found.of_documents), ("pages", found.of_pages)):
            decisions = nested_decisions(scores, Rule())
            best = decisions.probabilities.argmax(axis=1)
            error = expected_calibration_error(decisions.probabilities.max(axis=1), best == scores.truth)
            figures = decision_metrics(scores, decisions)
            wished = decision_metrics(scores, nested_decisions(scores, Rule(precision_wanted=0.9)))
            shown = [figures[name] for name in ("coverage", "mean_candidates", "ok", "ok_accuracy")]
            row(kind, level, error, *shown, wished["ok"], wished["ok_accuracy"])


def calibration(store: FeatureStore, pages: LabelledPages, seeds: int) -> None:
    """Calibration error of each classifier over several divisions into folds, and what chance alone would give."""
    head("classifier", "of", "calibration error, by seed of the folds", "mean", "if all confidence were true")
    unknown, rng = np.zeros(len(pages.y)), np.random.default_rng(0)
    for kind in CLASSIFIERS:
        errors: dict[str, list[tuple[float, float]]] = {"documents": [], "pages": []}
        for seed in range(seeds):
            folds = grouped_folds(pages, seed=seed)
            held = cross_validate(lambda k=kind: build_classifier(k, store.blocks), pages, folds)
            for level, answers in (("documents", document_answers), ("pages", page_answers)):
                scores = answers(pages, held, unknown)
                decisions = nested_decisions(scores, Rule())
                confidence = decisions.probabilities.max(axis=1)
                right = decisions.probabilities.argmax(axis=1) == scores.truth
                chance = [
                    expected_calibration_error(confidence, rng.random(len(confidence)) < confidence)
                    for _ in range(CHANCES)
                ]
                errors[level].append((expected_calibration_error(confidence, right), float(np.mean(chance))))
        for level, found in errors.items():
            measured, chance = np.array(found).T
            row(kind, level, ", ".join(f"{value:.3f}" for value in measured), measured.mean(), chance.mean())


def new_types(store: FeatureStore, pages: LabelledPages, folds: np.ndarray) -> None:
    """How well documents of a type that was left out are told from held-out documents of the others: AUROC.

    The scaling is learnt from the labelled pages alone as well: it would know the new type otherwise.
    """
    first = np.unique(pages.documents, return_index=True)[1]
    y, held_in = pages.y[first], folds[first]
    areas = {}
    for kind in np.unique(pages.y):
        found = []
        for fold in np.unique(folds):
            train = (folds != fold) & (pages.y != kind)
            scaling = build_classifier("svm", store.blocks)[:-1].fit(pages.X[train])
            detector = NoveltyDetector().fit(scaling.transform(pages.X[train]), pages.y[train], pages.weights[train])
            rows = np.flatnonzero((folds == fold) | (pages.y == kind))
            _, owner = np.unique(pages.documents[rows], return_inverse=True)
            distances = detector.distances(scaling.transform(pages.X[rows]))
            distances = weighted_means(distances, page_weights(pages.page_indices[rows]), owner)
            told = (held_in == fold) | (y == kind)
            found.append(roc_auc_score(y[told] == kind, distances))
        areas[kind] = float(np.mean(found))
    head("type left out", "AUROC of novelty")
    for kind, area in areas.items():
        row(kind, area)
    row("**mean**", float(np.mean(list(areas.values()))))


def weightings(held: Rehearsal) -> None:
    """Verdicts by weights of pages; the last row learns exponent and last page from the other folds."""
    pages, scores = held.pages, held.held_out.log_scores
    documents = document_scores(pages, scores)
    _, owner = np.unique(pages.documents, return_inverse=True)
    kept = owner[documents.rows]
    last = np.zeros(len(owner), np.int64)
    np.maximum.at(last, owner, pages.page_indices)
    told = {}
    for exponent in EXPONENTS:
        for bonus in LAST:
            weights = page_weights(pages.page_indices) ** exponent
            weights[pages.page_indices == last[owner]] *= bonus
            told[exponent, bonus] = mean_log_scores(scores, weights, owner)[kept].argmax(axis=1)
    truth, folds = held.of_documents.truth, held.of_documents.folds
    learnt = np.empty_like(truth)
    for fold in np.unique(folds):
        best = max(told, key=lambda key, rows=folds != fold: (told[key][rows] == truth[rows]).mean())
        learnt[folds == fold] = told[best][folds == fold]
    head("weights of pages", "document accuracy", "document macro-F1")
    names = {
        (0.0, 1.0): "plain mean",
        (1.0, 1.0): "1 / number",
        (2.0, 1.0): "1 / number²",
        (1.0, 2.0): "1 / number, the last page twice",
    }
    for key, name in names.items():
        row(name, *quality(truth, told[key]))
    row("learnt on the other folds", *quality(truth, learnt))


def quality(truth: np.ndarray, told: np.ndarray) -> tuple[float, float]:
    """Accuracy and macro-F1."""
    kinds = np.unique(truth)
    return float((truth == told).mean()), float(f1_score(truth, told, average="macro", labels=kinds, zero_division=0.0))


def main(
    documents: Annotated[Path, typer.Argument(help="A folder with a folder for each type.")],
    labels: Annotated[Path, typer.Option(help="A CSV with the columns path,label,group.")],
    artifacts: Annotated[Path, typer.Option(help="Where features are kept between runs.")],
    seeds: Annotated[int, typer.Option(help="Divisions into folds that the calibration error is measured on.")] = 5,
) -> None:
    """Prints the tables."""
    workspace = Workspace(artifacts)
    default, usual = stores(documents, labels, workspace)
    against_the_usual(workspace, default, usual)
    held = {}
    for kind in CLASSIFIERS:
        begin = time.perf_counter()
        held[kind] = rehearse(workspace, default, TrainingRecipe(kind))
        print(f"\n{kind}: cross-validated on {len(held[kind].pages.y)} pages in {time.perf_counter() - begin:.0f} s")
    trust(held)
    calibration(default, held["svm"].known, seeds)
    weightings(held["svm"])
    new_types(default, held["svm"].pages, held["svm"].held_out.folds)


if __name__ == "__main__":
    typer.run(main)
