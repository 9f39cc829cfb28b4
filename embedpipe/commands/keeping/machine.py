"""`backbones`, `doctor`, `demo` and `bench`: what this machine has, and how fast it is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import DONE, SOME_FAILED, begin, command, say_next
from embedpipe.commands.terminal.options import Common, Network
from embedpipe.commands.terminal.targets import Force, folder_option
from embedpipe.core.cache_folder import Aside
from embedpipe.core.languages.translation import word

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.workspace import Workspace

_FEWEST_INVENTED = 1000
"""Of a tenth of fewer pages no figure of a classifier can be measured."""


@command("backbones")
def backbones(
    common: Common,
    names: Annotated[
        list[str] | None, typer.Argument(help="Some of them; all of the table if not given.", show_default=False)
    ] = None,
    download: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Get and check the weights of a backbone or preset."),
    ] = None,
    export_weights: Annotated[
        Path | None, folder_option("Pack the weights that are here for a machine without network.")
    ] = None,
    force: Force = False,
) -> int:
    """List the known backbones with their widths, sizes and licences, and whether their weights are here."""
    from embedpipe.backbones import catalogue
    from embedpipe.tasks import info

    workspace, output = begin(common)
    if not (download or export_weights):
        rows = [catalogue.describe(name) for name in names or catalogue.NAMES]
        own = [] if names else info.backbones(workspace)
        output.result({"backbones": rows, "finetuned": own})
        output.table(catalogue.COLUMNS, [catalogue.cells(row) for row in rows])
        if not names:
            output.table(catalogue.PRESET_COLUMNS, [catalogue.preset_cells(row) for row in catalogue.presets()])
        for row in own:
            output.line(
                f"{row['name']}: {row['base']}, {row['unfreeze']} trained, {len(row['classes'])} types, "
                f"size {row['size']}"
            )
        output.line(
            "names joined by + are one backbone, and timm:NAME is any model of timm; --json has more, such as where "
            "each file is published"
        )
        return DONE
    downloaded = [row for name in download or [] for row in catalogue.fetch_weights(name)]
    exported = catalogue.export_weights(names or download or [], export_weights, force=force) if export_weights else []
    output.result({"downloaded": downloaded, "exported": exported})
    columns = ("name", "bytes", "sha256", "file")
    output.table(columns, [tuple(row[column] for column in columns) for row in exported or downloaded])
    if export_weights:
        output.line(
            f"on the other machine, set TORCH_HOME to the folder: export TORCH_HOME=/path/to/{export_weights.name}"
        )
    return DONE


@command("doctor")
def doctor(common: Common) -> int:
    """Report what runs the network here and why, and what to do about what is missing."""
    from rich.cells import cell_len

    from embedpipe.tasks import doctor as doctor_task

    workspace, output = begin(common)
    values = doctor_task.examine(workspace)
    output.result(values)
    for key, value in values.items():
        if key == "converters":
            for kind, told in value.items():
                output.line(f"{' ' * (12 - cell_len(kind))}{kind}: {word(told)}")
        elif key != "advice":
            name = word(key).replace("_", " ")
            output.line(f"{' ' * (12 - cell_len(name))}{name}: {_in_words(value)}")
    for advice in values["advice"]:
        output.line(f"to do: {advice}")
    return DONE


def _in_words(value: Any) -> str:
    """What was found, as a person reads it: lists and versions of libraries with commas."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {version}" for name, version in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return word(str(value))


@command("demo")
def demo(
    common: Common,
    network: Network,
    folder: Annotated[Path | None, folder_option("Where to draw the documents.")] = None,
) -> int:
    """Draw sample documents, then embed, fit, evaluate, classify and look up, and write a report to open."""
    from embedpipe.tasks import demo as demo_task

    workspace, output = begin(common)
    values = demo_task.run(workspace, network.load(workspace), folder or workspace.root / "demo", output.notice)
    output.result(values)
    output.line(f"open {values['report']} and {values['contact_sheet']}")
    say_next(common, output)
    return DONE


@command("bench")
def bench(
    common: Common,
    network: Network,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Files and folders; drawn documents if not given.", show_default=False)
    ] = None,
    max_pages_used: Annotated[int, typer.Option(help="Measure on so many pages.", min=1)] = 300,
    repeats: Annotated[int, typer.Option(help="Report the median of so many measurements.", min=1)] = 3,
    what: Annotated[
        str | None,
        typer.Option(
            help="Some of pages, fit and similar; with --at-scale, some of the commands.",
            show_default="pages,fit,similar",
        ),
    ] = None,
    at_scale: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Invent N labelled pages around the stored ones, and a tenth as many: how the commands grow.",
            min=_FEWEST_INVENTED,
        ),
    ] = None,
) -> int:
    """Measure the speed on this machine, against the loops that people write and against its limit."""
    from embedpipe.samples import draw_samples
    from embedpipe.tasks import bench as bench_task

    workspace, output = begin(common)
    if at_scale is not None:
        return _bench_at_scale(workspace, network, at_scale, what or "", output)
    wanted = "pages,fit,similar" if what is None else what
    plan = bench_task.Plan(tuple(filter(None, wanted.split(","))), max_pages_used, repeats, network.weights)
    with Aside("bench") as folder:
        if not inputs:
            draw_samples(Path(folder), per_type=16)
        values = bench_task.run(inputs or [folder], network.load(workspace), plan, output.notice)
    output.result(values)
    for columns, rows in bench_task.tables(values):
        output.table(columns, rows)
    return DONE


def _bench_at_scale(workspace: "Workspace", network: Network, pages: int, what: str, output: "Output") -> int:
    from embedpipe.tasks import bench_at_scale

    store = workspace.store(backbone=network.backbone)
    names = tuple(filter(None, what.split(",")))
    values = bench_at_scale.measure(workspace, store, pages, names, output.notice)
    output.result(values)
    output.table(*bench_at_scale.table(values))
    return SOME_FAILED if any(own["errors"] for own in values["at_scale"]["commands"].values()) else DONE
