"""`label` and `check-labels`: where labels come from, and which of them are likely wrong."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import DONE, Classifier, LabelsFile, begin, command, open_classifier, take_labels
from embedpipe.options import Common, Space

if TYPE_CHECKING:
    from embedpipe.console import Output
    from embedpipe.features import FeatureStore
    from embedpipe.training import TrainingRecipe
    from embedpipe.workspace import Workspace

_LINES = 20


@command("label")
def label(source: Annotated[str, typer.Argument(help="A folder of type folders, or a CSV.")], common: Common) -> int:
    """Take labels from a folder tree (folder = type) or a CSV (path,label or path,page,label; group optional)."""
    workspace, output = begin(common)
    count, types = take_labels(workspace, source, output)
    output.result({"labelled": count, "types": types})
    output.line(f"{count} labelled; {len(types)} types: " + ", ".join(f"{k} {n}" for k, n in types.items()))
    return DONE


@command("check-labels")
def check_labels(
    common: Common,
    space: Space,
    classifier: Classifier = None,
    labels: LabelsFile = None,
    csv: Annotated[
        Path | None, typer.Option(help="Write what is likely wrong, with a label column to fill in for `label`.")
    ] = None,
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Draw the most doubtful documents into a PNG file.")
    ] = None,
) -> int:
    """Rank labels that are likely wrong, and find look-alikes across types and groups."""
    from embedpipe import mislabels

    workspace, output = begin(common)
    if labels is not None:
        take_labels(workspace, str(labels), output)
    store, recipe = _judge(workspace, space, classifier)
    findings = mislabels.check(workspace, store, recipe)
    if csv is not None:
        mislabels.save(findings, csv)
        output.notice(f"written: {csv}; fill in its column label where labels are wrong, then `label {csv}`")
    if contact_sheet is not None:
        mislabels.draw(workspace, findings, contact_sheet)
        output.notice(f"drawn: {contact_sheet}")
    values = mislabels.as_json(findings)
    output.result(values)
    _print_doubts(values, output)
    _print_twins(values, output)
    return DONE


def _judge(workspace: "Workspace", space: Space, classifier: str | None) -> "tuple[FeatureStore, TrainingRecipe]":
    """The features, and the classifier that judges labels: made as the named one, else a linear SVM."""
    from embedpipe.training import TrainingRecipe

    if classifier is None:
        return workspace.store(space.backbone, space.space), TrainingRecipe("svm")
    bundle = open_classifier(workspace, classifier)
    store = workspace.store(space=bundle.identity.space)
    bundle.require(store.identity)
    fitted = bundle.fitted_on
    return store, TrainingRecipe(fitted["kind"], fitted["settings"], fitted["selection"])


def _print_doubts(values: dict[str, Any], output: "Output") -> None:
    documents = values["documents"]
    output.line(
        f"{len(documents)} of {values['documents_checked']} documents and {len(values['pages'])} of "
        f"{values['pages_checked']} pages look like another type to classifiers that never saw their group"
    )
    output.table(
        ("labelled", "probability", "looks like", "probability", "document"),
        [
            (d["label"], f"{d['self_confidence']:.0%}", d["suggested"], f"{d['suggested_confidence']:.0%}", d["path"])
            for d in documents[:_LINES]
        ],
    )
    if len(documents) > _LINES:
        output.line(f"... and {len(documents) - _LINES} more: --csv FILE writes them all")
    if values["unjudged"]:
        output.line(f"only one group each, so not judged: {', '.join(values['unjudged'])}")


def _print_twins(values: dict[str, Any], output: "Output") -> None:
    for key, text in (
        ("across_types", "with pages that look the same have two types: one label may be wrong"),
        (
            "across_groups",
            "of one type with pages that look the same are in two groups: one group keeps the figures honest",
        ),
    ):
        if values[key]:
            output.line(f"{len(values[key])} pairs of documents {text}")
        for twins in values[key][:_LINES]:
            one, other = (f"{p['path']}#page={p['page']} ({p['label']})" for p in twins["pages"])
            output.line(f"  {twins['score']:.3f}  {one}  {other}")
