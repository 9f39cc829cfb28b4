"""The command line: one function per command, which validates, calls the library, and prints.

Modules of the package are imported inside the functions, so that `--help` answers at once and a command loads only
what it uses.
"""

import dataclasses
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.console import NoticeHandler, Output, error_line
from embedpipe.errors import EmbedpipeError, LabelsError
from embedpipe.options import Common, Inputs, Labelling, Network, Reading, Space, expand

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
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


LabelsFile = Annotated[Path | None, typer.Option(help="A CSV with the columns path,label to take labels from first.")]
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

        app.command(name)(run)
        return function

    return register


def _begin(common: Common) -> "tuple[Workspace, Output]":
    from embedpipe.workspace import Workspace

    if not common.quiet:
        logging.getLogger("embedpipe").addHandler(NoticeHandler())
    return Workspace(common.artifacts), Output(common.as_json, common.quiet)


@command("embed")
def embed(
    inputs: Inputs,
    common: Common,
    network: Network,
    reading: Reading,
    size: Annotated[int | None, typer.Option(help="Pixels of the long side.", min=32, max=2048)] = None,
    resize: Annotated[str | None, typer.Option(help="aspect, squash, or crop (the usual photo recipe).")] = None,
    layers: Annotated[str | None, typer.Option(help="stages, penultimate, or penultimate+stages.")] = None,
    label_by: Annotated[str | None, typer.Option(help="`folder`: the folder below each input is the type.")] = None,
    labels: LabelsFile = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and about how long.")] = False,
) -> int:
    """Render and embed every page of files and folders that the store does not hold yet."""
    from embedpipe import pipeline

    workspace, output = _begin(common)
    if label_by not in (None, "folder"):
        raise EmbedpipeError(f"--label-by {label_by}: the only way is folder")
    if resize not in (None, "aspect", "squash", "crop"):
        raise EmbedpipeError(f"--resize {resize}: write aspect, squash or crop")
    settings = reading.settings()
    changes = {"size": size, "resize": resize, "layers": layers}
    recipe = {key: value for key, value in changes.items() if value is not None}
    if dry_run:
        plan = pipeline.plan_run(workspace, inputs, network.load(recipe=recipe), settings)
        output.result(plan)
        output.line(pipeline.describe_plan(plan))
        return DONE
    backbone = network.load(recipe=recipe)
    with output.progress("embedding") as bar:
        report = pipeline.embed(
            workspace,
            inputs,
            backbone,
            settings=settings,
            label_by_folder=label_by == "folder",
            retry_failed=retry_failed,
            progress=bar,
        )
    if labels is not None:
        _take_labels(workspace, str(labels), output)
    values = _report_json(report)
    values |= {
        "device": backbone.engine.device,
        "precision": backbone.engine.precision,
        "engine": backbone.engine.name,
        "backbone": backbone.identity.backbone,
        "space": backbone.identity.space,
        "dim": backbone.dim,
    }
    output.result(values)
    _print_report(report, output)
    engine = f"{backbone.engine.name} on {backbone.engine.device} in {backbone.engine.precision}"
    output.line(f"space {backbone.identity.space}: {backbone.dim} features a page, {engine}")
    return _exit_code(report)


def _report_json(report: "Report") -> dict[str, Any]:
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


def _print_report(report: "Report", output: Output) -> None:
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


def _exit_code(report: "Report") -> int:
    if report.interrupted:
        return INTERRUPTED
    return SOME_FAILED if report.failed else DONE


def _take_labels(workspace: "Workspace", source: str, output: Output) -> "tuple[int, dict[str, int]]":
    from embedpipe.labels import Labels

    sources = workspace.sources()
    with workspace.writing("label"):
        labels = workspace.labels()
        if os.path.isdir(source):
            count = labels.add(_labels_of_folder(source))
            if not count:
                raise LabelsError(f"no documents below {source}: the folders in it are the types")
        else:
            new = Labels.from_csv(Path(source), sources.sha256_at)
            count = labels.add(new.rows.values())
            labels.conflicts += new.conflicts
        labels.save(workspace.labels_file)
    for path, types in labels.conflicts:
        output.notice(f"warning: {path} is labelled {' and '.join(types)}: it has no label now")
    return count, labels.types()


def _labels_of_folder(folder: str) -> "list[Any]":
    from embedpipe.documents import Limits
    from embedpipe.labels import Label
    from embedpipe.records import Document
    from embedpipe.walking import FoundFile, identify, walk

    labels = []
    for found in walk([folder]):
        if isinstance(found, FoundFile) and found.type_folder is not None:
            document = identify(found, Limits())
            if isinstance(document, Document):
                labels.append(Label(document.sha256, document.path, found.type_folder))
    return labels


@command("label")
def label(source: Annotated[str, typer.Argument(help="A folder of type folders, or a CSV.")], common: Common) -> int:
    """Take labels from a folder tree (folder = type) or a CSV (path,label or path,page,label; group optional)."""
    workspace, output = _begin(common)
    count, types = _take_labels(workspace, source, output)
    output.result({"labelled": count, "types": types})
    output.line(f"{count} labelled; {len(types)} types: " + ", ".join(f"{k} {n}" for k, n in types.items()))
    return DONE


def _fit(kind: str, common: Common, space: Space, labelling: Labelling) -> int:
    from embedpipe.training import TrainingRecipe, fit

    workspace, output = _begin(common)
    settings = labelling.hyperparameters()
    if labelling.labels is not None:
        _take_labels(workspace, str(labelling.labels), output)
    store = workspace.store(space.backbone, space.space)
    bundle = fit(workspace, store, TrainingRecipe(kind, settings, labelling.pages), labelling.name)
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
    _print_metrics(bundle.metrics, output)
    return DONE


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _print_metrics(metrics: dict[str, Any], output: Output) -> None:
    output.table(
        ("held out", "accuracy", "balanced accuracy", "macro-F1"),
        [
            (what, *(_figure(metrics[prefix + key]) for key in ("accuracy", "balanced_accuracy", "macro_f1")))
            for what, prefix in (("documents", "document_"), ("pages", ""))
        ],
    )
    output.line(
        f"{metrics['folds']} folds; documents of one group were never on both sides ({metrics['groups']} groups)"
    )
    if metrics["types_with_one_group"]:
        output.line(f"only one group, so never learnt and tested at once: {', '.join(metrics['types_with_one_group'])}")


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


def _classifier(workspace: "Workspace", name: str | None) -> "ClassifierBundle":
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


@command("classify")
def classify(
    inputs: Inputs,
    common: Common,
    network: Network,
    reading: Reading,
    classifier: Classifier = None,
    sort_into: Annotated[Path | None, typer.Option(help="Copy the files into a folder for each type.")] = None,
    csv: Annotated[Path | None, typer.Option(help="Write the answers to a CSV file.")] = None,
) -> int:
    """Tell each page's and each document's type."""
    from embedpipe import classification
    from embedpipe.tables import write_csv
    from embedpipe.texts import path_to_text

    workspace, output = _begin(common)
    settings = reading.settings()
    bundle = _classifier(workspace, classifier)
    verdicts, report = classification.classify(
        workspace, inputs, bundle, lambda: network.load(bundle.identity), settings=settings
    )
    documents = [classification.as_json(verdict) for verdict in verdicts]
    values = {"classifier": bundle.name, "documents": documents, **_counts(report)}
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
    _print_report(report, output)
    return _exit_code(report)


def _counts(report: "Report") -> dict[str, Any]:
    values = _report_json(report)
    return {key: values[key] for key in ("files", "duplicates", "ignored", "failed", "seconds", "failures")}


@command("similar")
def similar(
    query: Annotated[str, typer.Argument(help="FILE#page=N, or FILE for its first page.")],
    common: Common,
    network: Network,
    reading: Reading,
    space: Annotated[str | None, typer.Option(help="The features of this space, see `info`.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many pages.", min=1, max=1000)] = 10,
    contact_sheet: Annotated[Path | None, typer.Option(help="Draw query and neighbours into a PNG file.")] = None,
) -> int:
    """Find the pages that look most like a page, whether it is in the store or not."""
    from embedpipe import lookalikes

    workspace, output = _begin(common)
    store = workspace.store(network.backbone, space)
    found = lookalikes.similar(
        workspace, store, query, lambda: network.load(store.identity), k=k, settings=reading.settings()
    )
    if contact_sheet is not None:
        lookalikes.draw(workspace, found, contact_sheet)
        output.notice(f"drawn: {contact_sheet}")
    values = lookalikes.as_json(found)
    output.result(values)
    output.table(
        ("score", "type", "page"),
        [(f"{n['score']:.3f}", n["label"] or "-", f"{n['path']}#page={n['page']}") for n in values["neighbours"]],
    )
    return DONE


@command("evaluate")
def evaluate(
    common: Common,
    classifier: Classifier = None,
    labels: LabelsFile = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML file that stands alone.")] = None,
) -> int:
    """Measure a classifier on documents that it was not fitted on, in folds grouped by document."""
    from embedpipe import assessment

    workspace, output = _begin(common)
    if labels is not None:
        _take_labels(workspace, str(labels), output)
    bundle = _classifier(workspace, classifier)
    store = workspace.store(space=bundle.identity.space)
    bundle.require(store.identity)
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
    _print_metrics(result.metrics, output)
    return DONE


@command("info")
def info(
    common: Common,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its manifest.")] = False,
    failures: Annotated[bool, typer.Option("--failures", help="List what failed, and why.")] = False,
) -> int:
    """Say what the artifacts hold."""
    from embedpipe import inventory

    workspace, output = _begin(common)
    values = inventory.take(workspace)
    problems = inventory.verify(workspace) if verify else []
    if verify:
        values["problems"] = problems
    output.result(values)
    for line in inventory.describe(values, failures=failures):
        output.line(line)
    if verify:
        output.line("\n".join(problems) if problems else "every file agrees with its manifest")
    return ERROR if problems else DONE


@command("forget")
def forget(
    documents: Annotated[list[str], typer.Argument(help="Files, or SHA-256 of their content.")], common: Common
) -> int:
    """Remove documents from features, failures, labels and indexes."""
    from embedpipe import upkeep

    workspace, output = _begin(common)
    gone = upkeep.forget(workspace, documents)
    output.result(dataclasses.asdict(gone))
    output.line(f"{len(gone.documents)} documents forgotten: {gone.rows} pages and failures, {gone.labels} labels")
    if gone.classifiers:
        output.line(f"classifiers may have learnt from them, fit them again: {', '.join(gone.classifiers)}")
    return DONE


@command("export")
def export(
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    common: Common,
    classifier: Classifier = None,
    file_format: Annotated[
        str, typer.Option("--format", help="joblib: a pickle of the scikit-learn pipeline.")
    ] = "joblib",
) -> int:
    """Write a classifier for other programs."""
    from embedpipe import upkeep

    workspace, output = _begin(common)
    if file_format != "joblib":
        raise EmbedpipeError(f"--format {file_format}: the only one is joblib")
    bundle = _classifier(workspace, classifier)
    upkeep.export_joblib(bundle, file)
    output.result({"file": str(file), "classifier": bundle.name})
    output.line(f"{bundle.name} is in {file}; it is a pickle: loading one runs what is in it, so trust its origin")
    return DONE


@command("backbones")
def backbones(common: Common) -> int:
    """List the known backbones, their widths, and whether their weights are here."""
    from embedpipe.backbones import list_backbones

    _, output = _begin(common)
    rows = list_backbones()
    output.result({"backbones": rows})
    columns = ("name", "dim", "penultimate", "input_size", "here", "licence", "description")
    output.table(columns, [tuple(row[column] for column in columns) for row in rows])
    output.line(
        "and timm:NAME for any model of timm; fetch weights from the `url` that --json shows, or let them download"
    )
    return DONE


@command("doctor")
def doctor(common: Common) -> int:
    """Say what runs the network here and why, and what to do about what is missing."""
    from embedpipe import diagnosis

    workspace, output = _begin(common)
    values = diagnosis.examine(workspace)
    output.result(values)
    for key, value in values.items():
        if key != "advice":
            output.line(f"{key:>12}: {value}")
    for advice in values["advice"]:
        output.line(f"to do: {advice}")
    return DONE


@command("demo")
def demo(
    common: Common,
    network: Network,
    folder: Annotated[Path | None, typer.Option(help="Where to draw the documents.")] = None,
) -> int:
    """Draw sample documents, then embed, fit, evaluate, classify and look up, and write a report to open."""
    from embedpipe import demonstration

    workspace, output = _begin(common)
    values = demonstration.run(workspace, network.load(), folder or workspace.root / "demo", output.notice)
    output.result(values)
    output.line(f"open {values['report']} and {values['contact_sheet']}")
    return DONE


@command("bench")
def bench(
    common: Common,
    network: Network,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Files and folders; drawn documents if not given.", show_default=False)
    ] = None,
    max_pages_used: Annotated[int, typer.Option(help="Measure on so many pages.", min=1)] = 300,
    repeats: Annotated[int, typer.Option(help="Tell the median of so many measurements.", min=1)] = 3,
    what: Annotated[str, typer.Option(help="Some of pages, fit and similar.")] = "pages,fit,similar",
) -> int:
    """Measure the speed on this machine, against the loops that people write and against its limit."""
    import tempfile

    from embedpipe import benchmark
    from embedpipe.samples import draw_samples

    _, output = _begin(common)
    plan = benchmark.Plan(tuple(filter(None, what.split(","))), max_pages_used, repeats, network.weights)
    with tempfile.TemporaryDirectory(prefix="embedpipe-bench-") as folder:
        if not inputs:
            draw_samples(Path(folder), per_type=16)
        values = benchmark.run(inputs or [folder], network.load(), plan, output.notice)
    output.result(values)
    for columns, rows in benchmark.tables(values):
        output.table(columns, rows)
    return DONE


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
