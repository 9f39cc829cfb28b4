"""`finetune`: the network itself is trained on the labelled pages."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import DONE, INTERRUPTED, begin, command, say_next
from embedpipe.commands.label_files import LabelsFile, take_labels
from embedpipe.commands.printing import print_groups, print_quality
from embedpipe.commands.terminal.options import Common, Network
from embedpipe.core.errors import UnknownNameError, UsageError

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output, ProgressBar
    from embedpipe.finetuning.finetune import Finetuned
    from embedpipe.finetuning.training_loop import FinetuningRecipe, Watch


@command("finetune")
def finetune(
    common: Common,
    network: Network,
    unfreeze: Annotated[
        str, typer.Option(help="head, last-stage, a number of stages counted from the output, or all.")
    ] = "last-stage",
    name: Annotated[
        str | None, typer.Option(help="Of the new backbone, which is then finetuned:NAME; base and part if not given.")
    ] = None,
    labels: LabelsFile = None,
    pages: Annotated[str, typer.Option(help="Pages of each document to train on: all, 1-3, or 1,last.")] = "1-3",
    size: Annotated[int | None, typer.Option(help="Pixels of the long side.", min=32, max=2048)] = None,
    epochs: Annotated[int, typer.Option(help="Most passes over the training pages.", min=1, max=100_000)] = 20,
    batch_size: Annotated[int, typer.Option(help="Pages of a step.", min=1, max=10_000)] = 32,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="A hyper-parameter, such as rate=3e-4.")
    ] = None,
) -> int:
    """Train the network itself, or its last stages, on the labelled pages; the result is a backbone of its own."""
    from embedpipe.backbones.engines import EngineChoice
    from embedpipe.finetuning import finetune as finetune_module

    workspace, output = begin(common)
    if labels is not None:
        take_labels(workspace, str(labels), output)
    own = {"unfreeze": unfreeze, "pages": pages, "size": size, "epochs": epochs, "batch_size": batch_size}
    own |= {"weights": network.weights, "precision": network.precision}
    recipe = _recipe(own | ({"backbone": network.backbone} if network.backbone else {}), set_ or [])
    with output.progress("training") as bar:
        made = finetune_module.finetune(
            workspace, recipe, name, choice=EngineChoice(device=network.device), watch=_watch(output, bar)
        )
    _print(made, output)
    if not made.manifest["interrupted"]:
        say_next(common, output, inputs="FOLDER", fit=f"finetuned:{made.name}")
    return INTERRUPTED if made.manifest["interrupted"] else DONE


def _recipe(options: dict[str, Any], settings: list[str]) -> "FinetuningRecipe":
    """The recipe of options and `--set NAME=VALUE`; values are read as what the field's default is."""
    from dataclasses import fields

    from embedpipe.finetuning.training_loop import FinetuningRecipe

    defaults = {f.name: getattr(FinetuningRecipe(), f.name) for f in fields(FinetuningRecipe) if f.name not in options}
    for text in settings:
        key, mark, value = text.partition("=")
        if key not in defaults:
            raise UnknownNameError("hyper-parameter of finetune", key, defaults)
        words = {"true": True, "false": False}
        kind = type(defaults[key]) if defaults[key] is not None else str
        try:
            options[key] = words[value.lower()] if kind is bool else kind(value)
        except (ValueError, KeyError):
            mark = ""
        if not mark:
            raise UsageError(f"--set {text}: write it as NAME=VALUE, such as --set {key}={defaults[key]}")
    return FinetuningRecipe(**options)


def _watch(output: "Output", bar: "ProgressBar") -> "Watch":
    from embedpipe.finetuning.training_loop import Watch
    from embedpipe.tasks.embed import Progress

    return Watch(
        pages=lambda done, total: bar(Progress(done, done, total)),
        epoch=lambda number, epoch: output.notice(
            f"epoch {number}: training loss {epoch.train_loss:.3f}, accuracy {epoch.train_accuracy:.3f}; validation "
            f"loss {epoch.validation_loss:.3f}, accuracy {epoch.validation_accuracy:.3f}; {epoch.seconds:.0f} s"
        ),
        notice=output.notice,
    )


def _print(made: "Finetuned", output: "Output") -> None:
    manifest = made.manifest
    output.result(
        {
            "backbone": f"finetuned:{made.name}",
            "folder": str(made.folder),
            "curves": str(made.folder / "curves.png"),
            "fit": manifest["fit"],
            "epochs": len(manifest["epochs"]),
            "best_epoch": manifest["best_epoch"],
            "classes": manifest["classes"],
            "documents": {side: len(hashes) for side, hashes in manifest["documents"].items()},
            "seconds": round(manifest["seconds"], 1),
            "interrupted": manifest["interrupted"],
            "metrics": manifest["metrics"],
        }
    )
    metrics = manifest["metrics"]
    print_quality(metrics, output)
    output.line(
        f"held out: {len(manifest['documents']['validated'])} documents, of {metrics['groups']} groups that were not "
        "trained on; they chose the best epoch, so others do a little worse"
    )
    print_groups(metrics, output)
    if metrics["types_not_held_out"]:
        output.line(f"nothing was held out of {', '.join(metrics['types_not_held_out'])}: too few groups")
    output.line(manifest["fit"])
    output.line(f"finetuned:{made.name}: use it with --backbone; curves and model card are in {Path(made.folder)}")
    if manifest["interrupted"]:
        output.line("interrupted: the best epoch so far is kept, the same command goes on from here")
