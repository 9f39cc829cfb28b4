"""`classify --split`: piles of documents, cut into parts."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedpipe.commands.base import SOME_FAILED, exit_code
from embedpipe.commands.printing import print_report
from embedpipe.core.errors import UsageError

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.embedding.streaming import Settings
    from embedpipe.tasks.split import Split

COLUMNS = (
    *("path", "first_page", "last_page", "type", "label", "confidence", "status", "boundary_confidence", "file"),
    *("message", "answered_by"),
)
"""Of the CSV."""

_SURE = 0.5
"""Parts that are less probably exactly one document are to be looked at."""


def check(*, split: bool, write: Path | None, blank_separates: bool, sort_into: Path | None) -> None:
    """Refuses options that do not go together."""
    if not split and (write is not None or blank_separates):
        raise UsageError("--write and --blank-separates go with --split")
    if split and sort_into is not None:
        raise UsageError("--sort-into copies whole files: with --split, write the parts with --write DIR")


def present(
    result: "Split", write: Path | None, csv: Path | None, settings: "Settings", output: "Output", answered_by: str
) -> int:
    """Writes the parts if asked, and prints them; returns the exit code."""
    from embedpipe.core.display import path_to_text
    from embedpipe.core.tables import write_csv
    from embedpipe.tasks import split as split_task

    if result.fallback:
        output.notice(f"cut where the type changes, for boundaries could not be learnt: {result.fallback}")
    elif not result.calibrated:
        output.notice("how sure each cut is was not measured: no labelled document is left that nothing was trained on")
    files = split_task.write_parts(result.piles, write, settings) if write is not None else {}
    documents = [_as_json(pile, files) for pile in result.piles]
    parts = [
        {**part, "path": pile["path"], "first_page": part["pages"][0], "last_page": part["pages"][1]}
        for pile in documents
        for part in pile["parts"] or [{**pile, "pages": (None, None)}]
    ]
    if csv is not None:
        write_csv(csv, COLUMNS, [{**p, "path": path_to_text(p["path"]), "answered_by": answered_by} for p in parts])
    output.result({"documents": documents, "calibrated": result.calibrated, **result.report.counts_json()})
    output.table(
        ("pages", "type", "confidence", "begins here", "one document", "status", "file"),
        [
            (
                "-" if part["first_page"] is None else f"{part['first_page']}-{part['last_page']}",
                part["type"] or "-",
                f"{part['confidence']:.0%}",
                *(f"{part[key]:.0%}" if key in part else "-" for key in ("boundary_confidence", "whole_confidence")),
                part.get("message") or part["status"],
                part.get("file") or part["path"],
            )
            for part in parts
        ],
    )
    print_report(result.report, output)
    unwritten = any(isinstance(file, str) for file in files.values())
    return exit_code(result.report) or (SOME_FAILED if unwritten else 0)


def known(result: "Split", write: Path | None) -> dict[str, Any]:
    """What the line on what to do next is chosen by."""
    parts = [part for pile in result.piles for part in pile.parts]
    doubtful = sum(part.whole_confidence < _SURE for part in parts)
    return {"found": len(parts), "doubtful": doubtful, "folder": str(write or "")}


def _as_json(pile: Any, files: dict[tuple[str, int], Path | str]) -> dict[str, Any]:
    from embedpipe.tasks import classify
    from embedpipe.tasks import split as split_task

    parts = []
    for part in pile.parts:
        values = split_task.as_json(part, classify.as_json(part.verdict))
        file = files.get((pile.verdict.path, part.first_page))
        if isinstance(file, str):
            values["message"] = f"not written: {file}"
        elif file is not None:
            values["file"] = str(file)
        parts.append(values)
    return {**classify.as_json(pile.verdict), "parts": parts}
