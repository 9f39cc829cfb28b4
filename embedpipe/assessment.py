"""Held-out quality of a fitted classifier, and the report that shows it."""

import os
from pathlib import Path

from embedpipe.classifiers import ClassifierBundle
from embedpipe.features import FeatureStore
from embedpipe.reports import Mistake, ReportData, write_report
from embedpipe.streaming import render_pages
from embedpipe.training import Evaluation, TrainingRecipe, Verdict, evaluate
from embedpipe.workspace import Workspace

MISTAKES_SHOWN = 24


def assess(workspace: Workspace, store: FeatureStore, bundle: ClassifierBundle) -> Evaluation:
    """Measures a classifier made as this one was, in grouped folds over today's features and labels."""
    fitted = bundle.fitted_on
    return evaluate(
        workspace,
        store,
        TrainingRecipe(fitted["kind"], fitted["settings"], fitted["selection"], cues=bundle.cues),
    )


def write(workspace: Workspace, bundle: ClassifierBundle, result: Evaluation, file: Path) -> None:
    """Writes the HTML report, with the most confident mistakes as pictures."""
    sources = workspace.sources()
    wrong = [verdict for verdict in result.verdicts if verdict.predicted != verdict.truth]
    worst = sorted(wrong, key=lambda verdict: -verdict.confidence)[:MISTAKES_SHOWN]
    documents = [document for verdict in worst if (document := sources.document(verdict.document_sha256))]
    pixels = render_pages([(document, 0) for document in documents])

    def mistake(verdict: Verdict) -> Mistake:
        path = sources.path_of(verdict.document_sha256, otherwise=verdict.document_sha256)
        picture = pixels.get((verdict.document_sha256, 0))
        return Mistake(os.path.basename(path), verdict.truth, verdict.predicted, verdict.confidence, picture)

    fitted = bundle.fitted_on
    settings = ", ".join(f"{name}={value}" for name, value in fitted["settings"].items()) or "defaults"
    facts = {
        "Classifier": f"{bundle.name} ({fitted['kind']}, {settings})",
        "Features": str(bundle.identity),
        "Documents": f"{len(result.verdicts):,}",
        "Pages": f"{result.pages:,}",
        "Measured on": f"{result.metrics['folds']} folds; no group of documents is on both sides of a fold",
    }
    data = ReportData(
        title=f"{bundle.name} on {bundle.identity.space}",
        facts=facts,
        metrics=result.metrics,
        per_class=result.per_class,
        classes=result.classes,
        matrix=result.matrix,
        mistakes=[mistake(verdict) for verdict in worst],
    )
    write_report(file, data)
