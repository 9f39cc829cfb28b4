"""`classifiers`: which versions of classifiers there are, and which is in use."""

from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.commands.base import DONE, SOME_FAILED, begin, command
from embedpipe.errors import EmbedpipeError
from embedpipe.options import Common

if TYPE_CHECKING:
    from embedpipe.console import Output
    from embedpipe.workspace import Workspace


@command("classifiers")
def classifiers(
    common: Common,
    version: Annotated[
        int | None, typer.Argument(help="To go back to; the one before if not given.", show_default=False)
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="List every version; this is what it does by default.")
    ] = False,
    rollback: Annotated[
        str | None, typer.Option(metavar="NAME", help="Use an earlier version of a classifier.")
    ] = None,
    prune: Annotated[str | None, typer.Option(metavar="NAME", help="Remove all versions but the one in use.")] = None,
) -> int:
    """List the versions of every classifier; go back to an earlier one, or forward again."""
    from embedpipe import upkeep

    workspace, output = begin(common)
    if (rollback is not None) + (prune is not None) + list_all > 1:
        raise EmbedpipeError("choose one of --list, --rollback NAME and --prune NAME")
    if version is not None and rollback is None:
        raise EmbedpipeError(f"version {version} of what? write --rollback NAME {version}")
    if rollback is not None:
        number = upkeep.roll_back(workspace, rollback, version)
        output.notice(
            f"{rollback}: version {number} is in use now; `classifiers --rollback {rollback} N` takes any other"
        )
    if prune is not None:
        output.notice(f"{prune}: {upkeep.prune(workspace, prune)} versions removed")
    return _list_versions(workspace, output)


def _list_versions(workspace: "Workspace", output: "Output") -> int:
    from embedpipe import inventory

    rows = [row for name in workspace.classifiers() for row in inventory.classifier_versions(workspace, name)]
    output.result({"classifiers": rows})
    output.table(
        ("", "classifier", "version", "time", "kind", "types", "documents", "macro-F1"),
        [
            (
                "in use" if row["in_use"] else "",
                row["classifier"],
                row["version"],
                *("-" if row[key] is None else row[key] for key in ("time", "kind", "types", "documents")),
                "-" if row["macro_f1"] is None else f"{row['macro_f1']:.3f}",
            )
            for row in rows
        ],
    )
    problems = [row["problem"] for row in rows if row["problem"]]
    for problem in problems:
        output.notice(f"damaged: {problem}")
    return SOME_FAILED if problems else DONE
