"""`compare`: backbones side by side; and for `evaluate --compare`, the ways to transfer one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import DONE, SOME_FAILED, begin, command
from embedpipe.commands.label_files import LabelsFile, take_labels
from embedpipe.commands.printing import figure, print_groups, print_missing, print_seen_documents
from embedpipe.commands.terminal.options import AUTO, AllowMissing, Common, Network, Reading, Space
from embedpipe.commands.terminal.targets import file_option
from embedpipe.core.errors import UsageError
from embedpipe.core.outputs import PNG, csv_of

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.tasks.compare import Comparison


_TABLE = "embedpipe.tasks.compare:COLUMNS"


@command("compare")
def compare(
    common: Common,
    reading: Reading,
    inputs: Annotated[
        list[str] | None,
        typer.Argument(help="Files and folders; the labelled documents if not given.", show_default=False),
    ] = None,
    backbones: Annotated[str, typer.Option(help="Names of backbones, separated by commas.")] = "efficientnet_lite0",
    classifiers: Annotated[str, typer.Option(help="Some of svm, knn and head.")] = "svm,knn,head",
    labels: LabelsFile = None,
    csv: Annotated[Path | None, file_option(csv_of(_TABLE), "Write the table to a CSV file.")] = None,
    png: Annotated[
        Path | None, file_option(PNG, "Draw quality against speed into a PNG file.", "--png", "--plot")
    ] = None,
    weights: Annotated[str | None, typer.Option(help="`none` for random weights, for all of them.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = AUTO,
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = AUTO,
    engine: Annotated[str, typer.Option(help="auto, torch or openvino.")] = AUTO,
    allow_missing: AllowMissing = False,
) -> int:
    """Compare backbones on the labelled documents: quality, speed, and the disk space that their features take."""
    from embedpipe.tasks import compare as compare_task

    workspace, output = begin(common)
    names, kinds = (list(filter(None, text.split(","))) for text in (backbones, classifiers))
    if not (names and kinds):
        raise UsageError("name at least one of --backbones and one of --classifiers, separated by commas")
    if labels is not None:
        take_labels(workspace, str(labels), output)
    with output.progress("embedding") as bar:
        found = compare_task.compare(
            workspace,
            names,
            kinds,
            lambda name: Network(name, weights, device, precision, engine).load(workspace),
            inputs=inputs or (),
            settings=reading.settings(),
            progress=lambda _, step: bar(step),
            allow_missing=allow_missing,
        )
    if csv is not None:
        compare_task.write_table(found, csv)
    if png is not None:
        compare_task.draw(found, png)
        output.notice(f"drawn: {png}")
    output.result(compare_task.as_json(found))
    _print(found, output)
    return SOME_FAILED if any(candidate.problem for candidate in found.candidates) else DONE


def _print(found: "Comparison", output: "Output") -> None:
    """The table, and how it was measured."""
    from embedpipe.tasks.compare import rows_of

    rows = rows_of(found)
    output.table(
        (
            "backbone",
            "classifier",
            "top-1",
            "top-5",
            "macro-F1",
            "of pages",
            "pages/s",
            "precision",
            "dim",
            "bytes/page",
            "MB",
        ),
        [
            (
                row["backbone"],
                row["classifier"],
                *(
                    figure(row[k])
                    for k in ("document_accuracy", "document_top5_accuracy", "document_macro_f1", "macro_f1")
                ),
                *(row[k] for k in ("pages_per_second", "precision", "dim", "bytes_per_page", "store_mb")),
            )
            for row in rows
            if "problem" not in row
        ],
    )
    for row in rows:
        if "problem" in row:
            output.line(f"{row['backbone']}: no figures: {row['problem']}")
    for candidate in found.candidates:
        if candidate.missing is not None:
            print_missing(candidate.missing, output, candidate.name)
    print_seen_documents(found.seen_documents, found.documents - found.seen_documents, output)
    if found.pages:
        output.line(
            f"{found.documents} documents, {found.pages} pages that all of them have; {found.folds} folds by group "
            f"({found.groups} groups); pages/s: the network alone, measured now on {found.speed_pages} pages"
        )
        print_groups(found.origins, output)


def compare_ways(common: Common, space: Space, recipe: dict[str, Any], device: str, *, allow_missing: bool) -> int:
    """The three ways of transfer on the same held-out documents; the work of `evaluate --compare`."""
    from embedpipe.backbones.engines import EngineChoice
    from embedpipe.backbones.names import one_name
    from embedpipe.finetuning.training_loop import FinetuningRecipe, Watch
    from embedpipe.tasks import compare_transfer
    from embedpipe.tasks.embed import Progress

    workspace, output = begin(common)
    store = workspace.store(space.backbone, space.space)
    one_name(store.identity.backbone, "training")
    picture = store.identity.recipe  # the network is trained on the pictures that the features are of
    options: dict[str, Any] = {"backbone": store.identity.backbone, "size": picture.size, "resize": picture.resize}
    with output.progress("training") as bar:
        watch = Watch(pages=lambda done, total: bar(Progress(done, done, total)), notice=output.notice)
        choice = EngineChoice(device=device)
        found = compare_transfer.compare_ways(
            workspace,
            store,
            FinetuningRecipe(**options, **recipe),
            choice=choice,
            watch=watch,
            allow_missing=allow_missing,
        )
    output.result(compare_transfer.as_json(found))
    output.table(
        ("way", "top-1", "top-5", "macro-F1", "of pages", "seconds"),
        [
            (
                way.name,
                *(figure(way.metrics[f"document_{key}"]) for key in ("accuracy", "top5_accuracy", "macro_f1")),
                figure(way.metrics["macro_f1"]),
                f"{way.seconds:.1f}",
            )
            for way in found.ways
        ],
    )
    for way in found.ways:
        if way.detail:
            output.line(f"{way.name}: {way.detail}")
    output.line(
        f"one hold-out by group, the same for all ways: {found.documents} documents of {found.groups} groups were seen "
        f"by none of them, {found.learnt} were learnt from; seconds: to fit or train, features not counted"
    )
    if found.missing is not None:
        print_missing(found.missing, output)
    print_groups(found.origins, output)
    if found.unlearnt:
        output.line(f"only among the held-out documents, so never learnt: {', '.join(found.unlearnt)}")
    return DONE
