"""`fit-svm`, `fit-knn`, `fit-head` and `evaluate`: classifiers from stored features, and how good they are."""

from pathlib import Path
from typing import Annotated

import typer

from embedpipe.commands.base import (
    DONE,
    Classifier,
    LabelsFile,
    begin,
    command,
    open_classifier,
    print_metrics,
    take_labels,
    warn_of_seen_documents,
)
from embedpipe.options import AUTO, Common, Labelling, Space


def _fit(kind: str, common: Common, space: Space, labelling: Labelling) -> int:
    from embedpipe.training import TrainingRecipe, fit

    workspace, output = begin(common)
    settings = labelling.hyperparameters()
    if labelling.labels is not None:
        take_labels(workspace, str(labelling.labels), output)
    store = workspace.store(space.backbone, space.space)
    warn_of_seen_documents(workspace, store.identity, output)
    recipe = TrainingRecipe(kind, settings, labelling.pages, cues=labelling.with_cues)
    bundle = fit(workspace, store, recipe, labelling.name)
    fitted = bundle.fitted_on
    output.result(
        {
            "classifier": bundle.name,
            "space": bundle.identity.space,
            "classes": bundle.classes,
            "pages": fitted["pages"],
            "documents": fitted["documents"],
            "seconds": round(fitted["seconds"], 3),
            "metrics": bundle.metrics,
        }
    )
    counts = f"{len(bundle.classes)} types, {fitted['documents']} documents, {fitted['pages']} pages"
    output.line(f"{bundle.name}: {counts}; {fitted['seconds']:.1f} s")
    print_metrics(bundle.metrics, output)
    return DONE


@command("fit-svm")
def fit_svm(common: Common, space: Space, labelling: Labelling) -> int:
    """Fit a linear SVM on the stored features of the labelled pages."""
    return _fit("svm", common, space, labelling)


@command("fit-knn")
def fit_knn(common: Common, space: Space, labelling: Labelling) -> int:
    """Fit k nearest neighbours on the stored features of the labelled pages."""
    return _fit("knn", common, space, labelling)


@command("fit-head")
def fit_head(common: Common, space: Space, labelling: Labelling) -> int:
    """Fit a new output layer (logistic regression) on the stored features of the labelled pages."""
    return _fit("head", common, space, labelling)


@command("evaluate")
def evaluate(
    common: Common,
    classifier: Classifier = None,
    labels: LabelsFile = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML file that stands alone.")] = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Compare frozen features, a new output layer, and fine-tuning instead.")
    ] = False,
    space: Annotated[str | None, typer.Option(help="With --compare: the features of this space.")] = None,
    pages: Annotated[str, typer.Option(help="With --compare: pages of each document.")] = "1-3",
    unfreeze: Annotated[str, typer.Option(help="With --compare: what is fine-tuned, see finetune.")] = "last-stage",
    epochs: Annotated[int, typer.Option(help="With --compare: most passes of the fine-tuning.", min=1)] = 20,
    weights: Annotated[str | None, typer.Option(help="With --compare: those of the frozen features.")] = None,
    device: Annotated[str, typer.Option(help="With --compare: of the fine-tuning.")] = AUTO,
) -> int:
    """Measure a classifier on documents that it was not fitted on, in folds grouped by document."""
    if compare:
        from embedpipe.commands.comparing import compare_ways

        recipe = {"weights": weights, "pages": pages, "unfreeze": unfreeze, "epochs": epochs}
        return compare_ways(common, Space(None, space), recipe, device)
    from embedpipe import assessment

    workspace, output = begin(common)
    if labels is not None:
        take_labels(workspace, str(labels), output)
    bundle = open_classifier(workspace, classifier)
    store = workspace.store(space=bundle.identity.space)
    bundle.require(store.identity)
    warn_of_seen_documents(workspace, store.identity, output)
    result = assessment.assess(workspace, store, bundle)
    if report is not None:
        assessment.write(workspace, bundle, result, report)
        output.notice(f"report: {report}")
    output.result(
        {
            "classifier": bundle.name,
            "metrics": result.metrics,
            "per_class": result.per_class,
            "confusion": {"labels": result.classes, "matrix": result.matrix.tolist()},
        }
    )
    output.table(
        ("type", "precision", "recall", "F1", "documents"),
        [
            (r["type"], *(f"{r[m]:.2f}" for m in ("precision", "recall", "f1")), r["documents"])
            for r in result.per_class
        ],
    )
    print_metrics(result.metrics, output)
    return DONE
