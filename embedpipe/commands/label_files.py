"""Lists of labels that several commands take: what is taken is reported, and so is what is wrong in them."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.commands.base import running
from embedpipe.commands.printing import FAILURES_SHOWN
from embedpipe.commands.terminal.console import Output

if TYPE_CHECKING:
    from embedpipe.store.label_lists.columns import Wish
    from embedpipe.store.label_lists.lines import BadLine
    from embedpipe.store.labels import Labels
    from embedpipe.store.workspace import Workspace

LabelsFile = Annotated[
    Path | None, typer.Option(help="A list (CSV, .xlsx) with the columns path,label to take labels from first.")
]


def take_labels(
    workspace: "Workspace",
    source: str,
    output: Output,
    *,
    none: bool = False,
    wish: "Wish | None" = None,
    bad_lines: Path | None = None,
) -> "tuple[int, Labels]":
    """Takes labels from a folder of types or a list; reports what was skipped, what is wrong, and what was replaced.

    Returns:
        How many were taken, and all labels.
    """
    from embedpipe.tasks import label

    name, before = running.get(), workspace.labels()
    with _telling_bad_lines(bad_lines, output):
        count, labels = label.take(
            workspace, source, name if name == "label" else f"{name} --labels", none=none, wish=wish
        )
    _report_bad_lines(labels.bad, bad_lines, output)
    if labels.skipped:
        output.notice(f"{labels.skipped} lines of {source} have no label yet and were passed over")
    _, changed, removed = labels.compared(before)
    if changed or removed:
        output.notice(f"{changed} labels were replaced and {removed} taken away: `label --undo` goes back")
    return count, labels


def check_labels(source: Path | None, output: Output) -> None:
    """Refuses a list, if one is given, in which something is wrong whatever documents there are: before hours of work.

    Args:
        source: The list, or a folder of types.
        output: Where the first lines are named.
    """
    from embedpipe.tasks import label

    if source is not None:
        with _telling_bad_lines(None, output):
            label.check(str(source))


@contextlib.contextmanager
def _telling_bad_lines(file: Path | None, output: Output) -> Iterator[None]:
    from embedpipe.store.label_lists.lines import BadLinesError

    try:
        yield
    except BadLinesError as error:
        _report_bad_lines(error.lines, file, output)
        raise


def _report_bad_lines(lines: "Sequence[BadLine]", file: Path | None, output: Output) -> None:
    """Lists the first lines of a list that give no label; all of them go to a file where one was asked for."""
    from embedpipe.tasks import label

    if file is not None:
        label.save_bad_lines(lines, file)
        output.notice(f"written: {file}, with {len(lines)} lines that give no label")
    for bad in lines[:FAILURES_SHOWN]:
        output.notice(f"line {bad.line}{f' ({bad.cell})' if bad.cell else ''}: {bad.reason}")
    if len(lines) > FAILURES_SHOWN and file is None:
        output.notice(f"... and {len(lines) - FAILURES_SHOWN} more: `label` with --bad-lines FILE.csv writes them all")
