"""`classify`: the types of new documents."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import Classifier, begin, command, exit_code, open_classifier, print_report, report_json
from embedpipe.options import Common, Inputs, Network, Reading

if TYPE_CHECKING:
    from embedpipe.intake import Report


@command("classify")
def classify(
    inputs: Inputs,
    common: Common,
    network: Network,
    reading: Reading,
    classifier: Classifier = None,
    sort_into: Annotated[Path | None, typer.Option(help="Copy the files into a folder for each type.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the answers to a CSV file.")] = None,
    split: Annotated[bool, typer.Option("--split", help="Cut each file into documents: a scanned pile.")] = False,
    write: Annotated[
        Path | None, typer.Option(metavar="DIR", help="With --split: write the parts as files of their own.")
    ] = None,
    blank_separates: Annotated[
        bool, typer.Option("--blank-separates", help="With --split: a blank page always ends a document.")
    ] = False,
) -> int:
    """Tell each page's and each document's type; cut piles into documents."""
    from embedpipe import classification, splitting
    from embedpipe.commands import splitting as splitting_command
    from embedpipe.tables import write_csv
    from embedpipe.texts import path_to_text

    workspace, output = begin(common)
    settings = reading.settings()
    splitting_command.check(split=split, write=write, blank_separates=blank_separates, sort_into=sort_into)
    bundle = open_classifier(workspace, classifier)
    load = partial(network.load, bundle.identity)
    if split:
        result = splitting.split(workspace, inputs, bundle, load, settings=settings, blank_separates=blank_separates)
        return splitting_command.present(result, write, csv, settings, output)
    verdicts, report = classification.classify(workspace, inputs, bundle, load, settings=settings)
    documents = [classification.as_json(verdict) for verdict in verdicts]
    values = {"classifier": bundle.name, "documents": documents, **counts(report)}
    if csv is not None:
        rows = [{**d, "path": path_to_text(d["path"]), "pages": len(d["pages"])} for d in documents]
        write_csv(csv, ("path", "type", "confidence", "status", "pages", "message"), rows)
    if sort_into is not None:
        copies = classification.sort_into(verdicts, sort_into)
        values["sorted"] = [{"path": path, "copy": str(copy)} for path, copy in copies]
    output.result(values)
    output.table(
        ("type", "confidence", "status", "pages", "file"),
        [
            (d["type"] or "-", f"{d['confidence']:.0%}", d.get("message") or d["status"], len(d["pages"]), d["path"])
            for d in documents
        ],
    )
    print_report(report, output)
    return exit_code(report)


def counts(report: "Report") -> dict[str, Any]:
    """What `classify` tells of a report."""
    values = report_json(report)
    return {key: values[key] for key in ("files", "duplicates", "ignored", "failed", "seconds", "failures")}
