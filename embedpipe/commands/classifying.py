"""`classify`: the types of new documents."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import (
    Classifier,
    ErrorRate,
    begin,
    command,
    exit_code,
    open_answerer,
    print_report,
    report_counts,
)
from embedpipe.commands.terminal.options import Common, Inputs, Network, Reading, Recognition
from embedpipe.commands.terminal.targets import file_option, folder_option
from embedpipe.core.outputs import csv_of

_TABLES = ("embedpipe.commands.classifying:COLUMNS", "embedpipe.commands.splitting:COLUMNS")
_OTHERS = 3  # candidates that a line has room for
COLUMNS = (
    *("path", "type", "label", "confidence", "status", "candidates", "margin", "novelty", "pages", "message"),
    *("document", "answered_by"),
)
"""Of the CSV."""

if TYPE_CHECKING:
    from embedpipe.tasks.classify import DocumentVerdict


@command("classify")
def classify(
    inputs: Inputs,
    common: Common,
    network: Network,
    reading: Reading,
    recognition: Recognition,
    classifier: Classifier = None,
    sort_into: Annotated[Path | None, folder_option("Copy the files into a folder for each type.")] = None,
    link: Annotated[bool, typer.Option("--link", help="With --sort-into: hard links where that is possible.")] = False,
    keep_tree: Annotated[
        bool, typer.Option("--keep-tree", help="With --sort-into: keep nested folders below each type.")
    ] = False,
    error_rate: ErrorRate = 0.05,
    precision_wanted: Annotated[
        float | None,
        typer.Option(help="Call an answer ok only where its type is right so often, such as 0.9.", min=0.01, max=1.0),
    ] = None,
    neighbours: Annotated[
        int, typer.Option(help="How many labelled pages to show with each answer (--json).", min=0, max=100)
    ] = 3,
    csv: Annotated[Path | None, file_option(csv_of(*_TABLES), "Write the answers to a CSV file.")] = None,
    split: Annotated[bool, typer.Option("--split", help="Cut each file into documents: a scanned pile.")] = False,
    write: Annotated[Path | None, folder_option("With --split: write the parts as files of their own.")] = None,
    blank_separates: Annotated[
        bool, typer.Option("--blank-separates", help="With --split: a blank page always ends a document.")
    ] = False,
) -> int:
    """Predict each page's and each document's type; cut piles into documents."""
    from embedpipe.classifiers.calibration import shift
    from embedpipe.classifiers.calibration.decisions import Rule
    from embedpipe.commands import sorting as sorting_command
    from embedpipe.commands import splitting as splitting_command
    from embedpipe.tasks import classify as classify_task

    workspace, output = begin(common)
    settings = recognition.on(reading.settings())
    splitting_command.check(split=split, write=write, blank_separates=blank_separates, sort_into=sort_into)
    sorting_command.check(sort_into, link=link, keep_tree=keep_tree)
    bundle = open_answerer(workspace, classifier)
    answered_by = sorting_command.answered_by(workspace, bundle)
    load = partial(network.load, workspace, bundle.identity)
    rule = Rule(error_rate, precision_wanted)
    if split:
        from embedpipe.tasks import split as split_task

        result = split_task.split(
            workspace, inputs, bundle, load, rule=rule, settings=settings, blank_separates=blank_separates
        )
        for line in shift.advice(result.report.shift, bundle.name, error_rate):
            output.notice(line)
        return splitting_command.present(result, write, csv, settings, output, answered_by)
    verdicts, report = classify_task.classify(
        workspace, inputs, bundle, load, rule=rule, neighbours=neighbours if common.as_json else 0, settings=settings
    )
    if (smallest := bundle.documents.smallest_error_rate()) > error_rate:
        output.notice(f"with so few labelled documents no error rate below {smallest:.2f} is promised: label more")
    documents = [classify_task.as_json(verdict) for verdict in verdicts]
    found = shift.as_json(report.shift, bundle.name, error_rate)
    values = {"classifier": bundle.name, "documents": documents, "shift": found, **report_counts(report)}
    values["promise"] = shift.promise(bundle.documents, error_rate)
    if csv is not None:
        _write_answers(csv, verdicts, documents, answered_by)
    output.table(
        ("type", "confidence", "status", "pages", "file"),
        [(d["type"] or "-", f"{d['confidence']:.0%}", _status(d), len(d["pages"]), d["path"]) for d in documents],
    )
    output.line(values["promise"])
    print_report(report, output)
    for line in found["advice"]:
        output.notice(line)
    missing = 0
    try:
        if sort_into is not None:
            from embedpipe.tasks import sort_into as sort_into_task

            wish = sort_into_task.Wish(sort_into, inputs, link=link, keep_tree=keep_tree, answered_by=answered_by)
            missing = sorting_command.present(verdicts, report, wish, values, output)
    finally:
        output.result(values)
    return exit_code(report) or missing


def _write_answers(
    file: Path, verdicts: "list[DocumentVerdict]", documents: list[dict[str, Any]], answered_by: str
) -> None:
    """Writes the answers with an empty column `label`: `label` takes what a person writes there, and nothing else."""
    from embedpipe.core.display import path_to_text
    from embedpipe.core.tables import write_csv

    rows = [
        {
            **document,
            "path": path_to_text(document["path"]),
            "pages": len(document["pages"]),
            "candidates": " ".join(c["type"] for c in document["candidates"]),
            "document": verdict.document_sha256,
            "answered_by": answered_by,
        }
        for verdict, document in zip(verdicts, documents, strict=True)
    ]
    write_csv(file, COLUMNS, rows)


def _status(document: dict[str, Any]) -> str:
    """Whether the answer can be used, in a few words."""
    others = [c["type"] for c in document["candidates"][1 : 1 + _OTHERS]]
    more = len(document["candidates"]) - 1 - len(others)
    if document["status"] != "ambiguous" or not others:
        return str(document.get("message") or document["status"])
    return f"ambiguous: or {', '.join(others)}" + (f" and {more} more" if more > 0 else "")
