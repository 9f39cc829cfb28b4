"""What the commands stand on: the application, exit codes, and what several of them print.

Modules of the package are imported inside the functions, so that `--help` answers at once and a command loads only
what it uses.
"""

import functools
import logging
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.panels import panel_of
from embedpipe.console import NoticeHandler, Output, error_line
from embedpipe.errors import EmbedpipeError
from embedpipe.options import Common, expand

if TYPE_CHECKING:
    from embedpipe.classifiers import ClassifierBundle
    from embedpipe.intake import Report
    from embedpipe.workspace import Workspace

DONE, ERROR, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
_FAILURES_SHOWN = 10

app = typer.Typer(
    name="embedpipe",
    help="Sorts piles of documents by what their pages look like.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


LabelsFile = Annotated[Path | None, typer.Option(help="A CSV with the columns path,label to take labels from first.")]
ErrorRate = Annotated[
    float, typer.Option(help="How often the true type may be missing among the candidates.", min=0.001, max=0.5)
]
Classifier = Annotated[str | None, typer.Option(help="Name of a fitted classifier, when there are several.")]


def command(name: str) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Makes a function a command; its return value is the exit code."""

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        expanded = expand(function)

        @functools.wraps(expanded)
        def run(**options: Any) -> None:
            try:
                code = expanded(**options)
            except KeyboardInterrupt:
                code = INTERRUPTED
            raise typer.Exit(code or DONE)

        app.command(name, rich_help_panel=panel_of(name))(run)
        return function

    return register


def begin(common: Common) -> "tuple[Workspace, Output]":
    """The workspace and the voice of a command."""
    from embedpipe.workspace import Workspace

    if not common.quiet:
        logging.getLogger("embedpipe").addHandler(NoticeHandler())
        logging.getLogger("embedpipe").setLevel(logging.INFO)
    return Workspace(common.artifacts), Output(common.as_json, common.quiet)


def take_labels(workspace: "Workspace", source: str, output: Output) -> "tuple[int, dict[str, int]]":
    """Takes labels from a folder of types or a CSV; says which files were given two types."""
    from embedpipe import labelling

    count, labels = labelling.take(workspace, source)
    for path, types in labels.conflicts:
        output.notice(f"warning: {path} is labelled {' and '.join(types)}: it has no label now")
    if labels.skipped:
        output.notice(f"{labels.skipped} lines of {source} have no label yet and were passed over")
    return count, labels.types()


def report_json(report: "Report") -> dict[str, Any]:
    """A report as the JSON keys of `embed`."""
    rate = report.embedded / report.seconds if report.seconds else 0.0
    return {
        "files": report.files,
        "documents": report.documents,
        "pages": report.pages,
        "embedded": report.embedded,
        "skipped": report.skipped,
        "duplicates": report.duplicates,
        "ignored": report.ignored,
        "failed": report.failed,
        "failed_files": report.failed_files,
        "failed_pages": report.failed_pages,
        "outcomes": dict(report.outcomes),
        "seconds": round(report.seconds, 3),
        "pages_per_second": round(rate, 2),
        "stages": {stage: round(seconds, 3) for stage, seconds in report.stages.items()},
        "interrupted": report.interrupted,
        "failures": [
            {"path": f.page.source, "page": f.page.page_number or None, "kind": f.kind, "message": f.message}
            for f in report.failures
        ],
    }


def print_report(report: "Report", output: Output) -> None:
    """Counts and the first failures, for people."""
    for failure in report.failures[:_FAILURES_SHOWN]:
        output.notice(f"failed: {failure.page}: {failure.kind}: {failure.message}")
    if len(report.failures) > _FAILURES_SHOWN:
        output.notice(f"... and {len(report.failures) - _FAILURES_SHOWN} more: `embedpipe info --failures` lists them")
    rate = f", {report.embedded / report.seconds:.1f} pages/s" if report.embedded and report.seconds else ""
    output.line(
        f"{report.documents} documents, {report.pages} pages: {report.embedded} embedded, {report.skipped} already "
        f"there, {report.failed} failed; {report.duplicates} duplicate files, {report.ignored} other files; "
        f"{report.seconds:.1f} s{rate}"
    )
    if report.interrupted:
        output.line("interrupted: everything so far is kept, the same command goes on from here")


def exit_code(report: "Report") -> int:
    """Done, some failed, or interrupted."""
    if report.interrupted:
        return INTERRUPTED
    return SOME_FAILED if report.failed else DONE


def figure(value: float | None) -> str:
    """A share with three digits, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def print_metrics(metrics: dict[str, Any], output: Output) -> None:
    """Held-out quality of documents and pages, and how the folds were made; or that nothing was measured."""
    print_seen_documents(metrics["seen_documents"], metrics["held_out_documents"], output)
    if not metrics["held_out_documents"]:
        return
    print_quality(metrics, output)
    output.line(
        f"{metrics['folds']} folds; documents of one group were never on both sides ({metrics['groups']} groups)"
    )
    if metrics["types_not_held_out"]:
        output.line(f"no figure counts {', '.join(metrics['types_not_held_out'])}: no document of these was held out")
    if metrics["types_with_one_group"]:
        output.line(f"only one group, so never learnt and tested at once: {', '.join(metrics['types_with_one_group'])}")


def print_quality(metrics: dict[str, Any], output: Output) -> None:
    """Held-out quality of documents and pages."""
    output.table(
        ("held out", "accuracy", "balanced accuracy", "macro-F1"),
        [
            (what, *(figure(metrics[prefix + key]) for key in ("accuracy", "balanced_accuracy", "macro_f1")))
            for what, prefix in (("documents", "document_"), ("pages", ""))
        ],
    )


def print_seen_documents(seen: int, held_out: int, output: Output) -> None:
    """Says what figures leave out, where the network itself was trained on some of the documents."""
    from embedpipe.unseen import FEWEST_UNSEEN

    if seen and held_out:
        output.line(
            f"the network itself was trained on {seen} of {seen + held_out} documents, or on their groups: "
            f"the figures are of the other {held_out}"
        )
    elif seen:
        output.line(
            "not measured: the network itself was trained on these documents, and fewer than "
            f"{FEWEST_UNSEEN} are left that it has not seen"
        )


def open_classifier(workspace: "Workspace", name: str | None) -> "ClassifierBundle":
    """The fitted classifier of that name, or the only one."""
    from embedpipe.classifiers import ClassifierBundle
    from embedpipe.errors import ArtifactError, UnknownNameError

    known = workspace.classifiers()
    if not known:
        raise ArtifactError(f"no classifier in {workspace.root}: run `fit-svm` first")
    if name is None:
        if len(known) > 1:
            raise ArtifactError(f"there are {len(known)} classifiers: choose one with --classifier: {', '.join(known)}")
        name = known[0]
    if name not in known:
        raise UnknownNameError("classifier", name, known)
    return ClassifierBundle.load(workspace.classifier_path(name))


def main() -> None:
    """Runs the command line; the one place that turns exceptions into exit codes."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, stop)
    try:
        app()
    except EmbedpipeError as error:
        if "--debug" in sys.argv:
            raise
        sys.stderr.write(error_line(error) + "\n")
        sys.exit(ERROR)
