"""`classify --sort-into`: classified files into a folder for each type."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import DONE, SOME_FAILED
from embedpipe.commands.terminal.targets import folder_option
from embedpipe.core.errors import UsageError

if TYPE_CHECKING:
    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.classifiers.saved.answering import Answerer
    from embedpipe.commands.terminal.console import Output
    from embedpipe.embedding.intake import Report
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.classify import DocumentVerdict
    from embedpipe.tasks.sort_into import Sorted, Wish

_SHOWN = 10

SortInto = Annotated[Path | None, folder_option("Copy the files into a folder for each type.")]
Link = Annotated[bool, typer.Option("--link", help="With --sort-into: hard links where that is possible.")]
KeepTree = Annotated[bool, typer.Option("--keep-tree", help="With --sort-into: keep nested folders below each type.")]


def check(sort_into: Path | None, *, link: bool, keep_tree: bool) -> None:
    """Refuses options that do not go together."""
    if sort_into is None and (link or keep_tree):
        raise UsageError("--link and --keep-tree go with --sort-into DIR")


def answered_by(workspace: "Workspace", bundle: "Answerer | ClassifierBundle") -> str:
    """Name and version of a classifier, as it is written to tables of answers and ledgers."""
    from embedpipe.core import versions

    return f"{bundle.name} version {versions.current(workspace.classifier_folder(bundle.name))}"


def sort(verdicts: "list[DocumentVerdict]", report: "Report", wish: "Wish", output: "Output") -> "Sorted":
    """Sorts the files; shows how far it is."""
    from embedpipe.tasks import sort_into as sort_into_task

    with output.progress("copying files") as bar:
        return sort_into_task.sort_into(verdicts, report.copies, wish, bar.stage)


def present(done: "Sorted", output: "Output") -> int:
    """Prints what was done; returns the exit code."""
    from embedpipe.store.sorted_ledger import LEDGER

    for path, message in done.failures[:_SHOWN]:
        output.notice(f"{message}: {path}")
    if done.not_linked:
        output.notice(f"{done.not_linked} are copies: {done.folder} cannot hold hard links to these files")
    if done.unwritten:
        output.notice(f"warning: {done.unwritten}; the next run brings the ledger up to date")
    output.line(f"sorted into {done.folder}: {_summary(done)}; see {LEDGER} there")
    if done.failures:
        output.notice(
            f"{len(done.failures)} documents are not where they belong in {done.folder}: what was copied stays, "
            "and the same command goes on from here"
        )
    return SOME_FAILED if done.failures else DONE


def as_json(done: "Sorted") -> dict[str, Any]:
    """As the command line prints it, beside the answers."""
    shown = ("copied", "linked", "yours", "edited")
    return {
        "sorted": [
            {"path": entry.source, "copy": str(done.folder / entry.copy), "state": entry.state}
            for entry in done.entries
            if entry.state in shown
        ],
        "sort": {**dict(done.counts), "not_linked": done.not_linked},
        "sort_failures": [{"path": path, "message": message} for path, message in done.failures],
    }


def _summary(done: "Sorted") -> str:
    """What was done, in one line."""
    words = {
        "copied": "copied",
        "linked": "linked",
        "moved": "moved to another type",
        "unchanged": "unchanged",
        "yours": "kept where you put them",
        "edited": "edited by you and kept",
        "duplicate": "duplicates not copied again",
        "without a type": "without a type",
        "failed": "missing",
    }
    told = ", ".join(f"{done.counts[key]} {text}" for key, text in words.items() if done.counts[key])
    changed = any(done.counts[key] for key in ("copied", "linked", "moved", "failed"))
    return told if changed else f"nothing to do: {told or 'no documents'}"
