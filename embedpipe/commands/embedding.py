"""`embed`: what goes into the artifacts."""

import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.backbones.names import UPRIGHT
from embedpipe.commands import spreading
from embedpipe.commands.base import DONE, SOME_FAILED, begin, command, exit_code, say_next
from embedpipe.commands.label_files import LabelsFile, check_labels, take_labels
from embedpipe.commands.printing import print_report
from embedpipe.commands.terminal.next_steps import typed
from embedpipe.commands.terminal.options import Common, Inputs, Network, Reading, Recognition, Sharing
from embedpipe.commands.terminal.targets import folder_option
from embedpipe.core.display import path_to_text
from embedpipe.core.errors import UsageError
from embedpipe.core.outputs import PNG

if TYPE_CHECKING:
    from embedpipe.backbones.engines import Backbone
    from embedpipe.commands.terminal.console import Output, ProgressBar
    from embedpipe.embedding.intake import Report
    from embedpipe.embedding.streaming import Settings
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.embed import Progress
    from embedpipe.tasks.embed_forecast import Forecast


def _print_changes(report: "Report", output: "Output") -> None:
    """What became of files that were known."""
    if report.changed:
        kept = f"; labels that went along: {report.kept_labels}" if report.kept_labels else ""
        output.line(f"changed files: {len(report.changed)}; their earlier versions count no more{kept}")
    if report.gone or report.left:
        also = f", passed over by now: {len(report.left)}" if report.left else ""
        output.line(
            f"files that are gone: {len(report.gone)}{also}; nothing is learnt from them and no search finds them. Put "
            "them back and `embed` takes them up again; `forget --gone` removes what is kept of them"
        )
    if report.unreachable:
        output.notice(
            f"known files out of reach: {len(report.unreachable)} ({path_to_text(report.unreachable[0])}); is a disk "
            "or a folder not mounted? They count as before; if they were deleted, `forget` their folder"
        )


def _check_choices(label_by: str | None, resize: str | None, upright: str | None, annotations: str | None) -> None:
    """Raises UsageError for a value that there is not."""
    if label_by not in (None, "folder"):
        raise UsageError(f"--label-by {label_by}: the only way is folder")
    if resize not in (None, "aspect", "squash", "crop"):
        raise UsageError(f"--resize {resize}: write aspect, squash or crop")
    if upright not in (None, *UPRIGHT):
        raise UsageError(f"--upright {upright}: write auto or never")
    if annotations not in (None, "show", "hide"):
        raise UsageError(f"--annotations {annotations}: write show or hide")


def _explain(
    inputs: list[str], backbone: "Backbone", settings: "Settings", save_pages: Path | None, output: "Output"
) -> int:
    """Says how files are read; the exit code is that of a run over them."""
    from embedpipe.core.records import FAILURES
    from embedpipe.tasks import embed_explain

    files, failed = [], False
    for told in embed_explain.explain(inputs, backbone, settings, save_pages):
        files.append(told.to_json())
        failed = failed or bool(told.failure) or any(row["outcome"] in FAILURES for row in told.pages)
        for line in embed_explain.in_words(told):
            output.line(line)
    output.result({"files": files, "space": backbone.identity.space})
    output.line(f"{len(files)} files, as {backbone.identity.space} sees them; nothing was kept")
    return SOME_FAILED if failed else DONE


class _Watch:
    """Moves the bar, and says once what the rest will take."""

    def __init__(self, output: "Output", bar: "ProgressBar") -> None:
        self.forecast: Forecast | None = None
        self._output, self._bar = output, bar

    def __call__(self, progress: "Progress") -> None:
        """Takes what `embed` tells."""
        self._bar(progress)
        if progress.forecast is not None:
            self.forecast = progress.forecast
            for line in progress.forecast.lines():
                self._output.notice(line)


def _dry_run(
    workspace: "Workspace", inputs: list[str], backbone: "Backbone", settings: "Settings", output: "Output"
) -> int:
    """Says what would be done."""
    from embedpipe.tasks import embed as embed_task

    with output.progress("reading files") as bar:
        plan = embed_task.plan_run(workspace, inputs, backbone, settings, bar)
    output.result(plan)
    output.line(embed_task.describe_plan(plan))
    if settings.ocr:
        output.notice("recognition of text is not in this estimate: count about a second a page and core")
    return DONE


def _plan(inputs: list[str], backbone: "Backbone", settings: "Settings", count: int, output: "Output") -> int:
    """Says what each shard will cost."""
    from embedpipe.tasks.embed_forecast import in_bytes, in_hours
    from embedpipe.tasks.embed_plan import plan_shards

    with output.progress("finding files") as bar:
        plan = plan_shards(inputs, backbone, settings, count, progress=bar)
    output.result(dataclasses.asdict(plan) | {"balance": round(plan.balance, 3)})
    output.table(
        ("shard", "files", "size", "pages", "time", "disk"),
        [
            (s.shard, s.files, in_bytes(s.bytes), round(s.pages), in_hours(s.seconds), in_bytes(s.disk))
            for s in plan.shards
        ],
    )
    pages, disk = sum(s.pages for s in plan.shards), sum(s.disk for s in plan.shards)
    output.line(
        f"{sum(s.files for s in plan.shards)} files, about {pages:.0f} pages and {in_bytes(disk)} of disk; "
        f"{plan.rate:.0f} pages/s on this machine, so one alone takes {in_hours(pages / plan.rate if plan.rate else 0)}"
    )
    output.line(
        f"the longest shard takes {plan.balance:.2f} times the mean: with more shards than machines, all end at about "
        "the same time"
    )
    output.line(f"told from {plan.sampled_files} files and {plan.sampled_pages} pages of them; nothing was written")
    return DONE


def _tell(
    report: "Report", backbone: "Backbone", settings: "Settings", forecast: "Forecast | None", output: "Output"
) -> None:
    """What was done."""
    values = report.as_json()
    values |= {
        "shard": str(settings.shard) if settings.shard else None,
        "forecast": dataclasses.asdict(forecast) if forecast else None,
        "device": backbone.engine.device,
        "precision": backbone.engine.precision,
        "engine": backbone.engine.name,
        "backbone": backbone.identity.backbone,
        "space": backbone.identity.space,
        "dim": backbone.dim,
    }
    output.result(values)
    print_report(report, output)
    if report.filled:
        output.line(f"stored pages drawn again for thumbnails and words: {report.filled}")
    _print_changes(report, output)
    engine = f"{backbone.engine.name} on {backbone.engine.device} in {backbone.engine.precision}"
    output.line(f"space {backbone.identity.space}: {backbone.dim} features a page, {engine}")


@command("embed")
def embed(
    inputs: Inputs,
    common: Common,
    network: Network,
    reading: Reading,
    recognition: Recognition,
    sharing: Sharing,
    size: Annotated[int | None, typer.Option(help="Pixels of the long side.", min=32, max=2048)] = None,
    resize: Annotated[str | None, typer.Option(help="aspect, squash, or crop (the usual photo recipe).")] = None,
    layers: Annotated[str | None, typer.Option(help="stages, penultimate, or penultimate+stages.")] = None,
    upright: Annotated[
        str | None,
        typer.Option(
            help="auto turns scans and photos that lie sideways or upside down; never takes pages as they are.",
            show_default="auto with pplcnet_doc in --backbone, else never",
        ),
    ] = None,
    annotations: Annotated[
        str | None,
        typer.Option(help="show comments, marks and stamps on PDF pages, or hide them.", show_default="show"),
    ] = None,
    label_by: Annotated[str | None, typer.Option(help="`folder`: the folder below each input is the type.")] = None,
    labels: LabelsFile = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try again what failed before.")] = False,
    no_thumbnails: Annotated[bool, typer.Option("--no-thumbnails", help="Keep no small pictures of pages.")] = False,
    no_words: Annotated[bool, typer.Option("--no-words", help="Keep no hashed words of pages.")] = False,
    explain: Annotated[
        bool, typer.Option("--explain", help="Say how each file is recognised, opened and drawn; keep nothing.")
    ] = False,
    save_pages: Annotated[
        Path | None,
        folder_option("With --explain: save the pages as the network sees them, as PNGs.", "*-page-*.png", PNG),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and about how long.")] = False,
) -> int:
    """Render and embed every page of files and folders that the store does not hold yet."""
    from embedpipe.tasks import embed as embed_task

    started = time.perf_counter()
    spreading.check(common, sharing, on_one=explain or dry_run)
    workspace, output = begin(common)
    _check_choices(label_by, resize, upright, annotations)
    check_labels(labels, output)
    if save_pages is not None and not explain:
        raise UsageError("--save-pages: it goes with --explain, which draws the pages")
    settings = sharing.on(recognition.on(reading.settings()))
    changes = {"size": size, "resize": resize, "layers": layers, "annotations": annotations}
    recipe = {key: value for key, value in changes.items() if value is not None}
    keep = [name for name, left_out in (("thumbnails", no_thumbnails), ("words", no_words)) if not left_out]
    if sharing.ray is not None:
        from embedpipe.cluster.job import Job

        wanted, by_folder = network.wanted(recipe, upright), label_by == "folder"
        job = Job(tuple(inputs), 1, wanted, settings, tuple(keep), by_folder, retry_failed)
        return spreading.on_ray(workspace, sharing, job, labels, output)
    backbone = network.load(workspace, recipe=recipe, upright=upright)
    if dry_run:
        return _dry_run(workspace, inputs, backbone, settings, output)
    if sharing.plan is not None:
        return _plan(inputs, backbone, settings, sharing.plan, output)
    if explain:
        return _explain(inputs, backbone, settings, save_pages, output)
    if no_words and settings.ocr:
        output.notice("--no-words: no text is recognised")
    if settings.budget is not None:
        settings = dataclasses.replace(settings, budget=settings.budget - (time.perf_counter() - started))
    with output.progress("embedding") as bar:
        watch = _Watch(output, bar)
        report = embed_task.embed(
            workspace,
            inputs,
            backbone,
            settings=settings,
            label_by_folder=label_by == "folder",
            retry_failed=retry_failed,
            keep=keep,
            progress=watch,
        )
    if labels is not None:
        take_labels(workspace, str(labels), output)
    _tell(report, backbone, settings, watch.forecast, output)
    if not (report.interrupted or report.out_of_time or settings.shard):
        say_next(common, output, inputs=typed(inputs))
    return exit_code(report)
