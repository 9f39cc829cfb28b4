"""`review`, and lists of what is to be labelled: what people fill in and give back to `label`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.commands.base import DONE, Classifier, begin, command, open_answerer, say_next, store_and_classifier
from embedpipe.commands.terminal.options import Common, Space
from embedpipe.commands.terminal.targets import OutputFile, file_option
from embedpipe.commands.terminal.widths import relative, shortened
from embedpipe.core.errors import UsageError
from embedpipe.core.languages.translation import word
from embedpipe.core.outputs import HTML, XLSX, csv_of, of_suffix

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.workspace import Workspace

_LINES = 20
_REVIEW = of_suffix({".html": HTML, ".xlsx": XLSX}, "a review")
_TEMPLATE = of_suffix({".csv": csv_of("embedpipe.tasks.label_template:COLUMNS"), ".xlsx": XLSX}, "a list to fill in")


@command("review")
def review(
    out: Annotated[
        Path,
        typer.Argument(
            metavar="OUT", help="An HTML file or a workbook (.xlsx) to fill in.", parser=OutputFile(_REVIEW)
        ),
    ],
    common: Common,
    space: Space,
    classifier: Classifier = None,
    status: Annotated[
        list[str],
        typer.Option(
            "--status", help="Which answers: ok, ambiguous, novel or blank; if not given, ambiguous and novel."
        ),
    ] = [],  # noqa: B006 - typer copies it
    limit: Annotated[int, typer.Option(help="Most documents.", min=1, max=100_000)] = 200,
    answers: Annotated[
        Path | None,
        typer.Option("--from", help="Take the answers from what `classify --csv FILE` wrote.", dir_okay=False),
    ] = None,
) -> int:
    """Write the documents that the classifier is not sure of, with pictures, to be filled in and given to `label`."""
    from embedpipe.tasks import review as review_task

    workspace, output = begin(common)
    check_suffix(out, (".html", ".xlsx"))
    wanted = statuses(status)
    needed = answers is None or classifier is not None or len(workspace.classifiers()) == 1
    bundle = open_answerer(workspace, classifier) if needed else None
    store = None
    if bundle is not None or workspace.spaces():
        store = workspace.store(space.backbone, bundle.identity.space if bundle and not space.space else space.space)
    if answers is not None:
        found = review_task.from_answers(workspace, answers, store, wanted, limit)
    elif bundle is not None and store is not None:
        bundle.require(store.identity)
        found = review_task.find(workspace, store, bundle, wanted, limit)
    facts = {"Documents": str(len(found.doubts)), "Answers": ", ".join(map(word, wanted))}
    facts |= {"Classifier": bundle.name} if bundle is not None else {}
    review_task.write(workspace, store, found, out, facts)
    output.result({"written": str(out), **review_task.as_json(found)})
    paths = [doubt.path for doubt in found.doubts[:_LINES]]
    output.table(
        ("status", "candidates", "document"),
        [
            (doubt.status, review_task.in_words(doubt.candidates[:2]).replace("\n", ", "), path)
            for doubt, path in zip(found.doubts, relative(paths) if output.watched else paths, strict=False)
        ],
        shorten={"document": shortened},
    )
    if len(found.doubts) > _LINES:
        output.line(f"... and {len(found.doubts) - _LINES} more")
    output.line(f"{len(found.doubts)} of {found.asked} documents are to be looked at: written to {out}")
    if found.left_out:
        output.line(f"{found.left_out} more are left out: --limit N takes more, or label these first")
    say_next(common, output, found=len(found.doubts), file=str(out))
    return DONE


def statuses(texts: list[str]) -> tuple[str, ...]:
    """The statuses of `--status`, with commas between or the option again; raises UsageError for others."""
    from embedpipe.tasks.review import DOUBTFUL, STATUSES

    found = tuple(dict.fromkeys(part.strip() for text in texts for part in text.split(",")))
    if unknown := [status for status in found if status not in STATUSES]:
        raise UsageError(f"--status {unknown[0]}: write {', '.join(STATUSES[:-1])} or {STATUSES[-1]}")
    return found or DOUBTFUL


def check_suffix(file: Path, suffixes: tuple[str, ...]) -> None:
    """Refuses names that do not say what is to be written."""
    from embedpipe.core.outputs import STDOUT

    if file.suffix.lower() not in suffixes and not (file == STDOUT and ".csv" in suffixes):
        raise UsageError(f"{file}: the name says what is written: it ends in {' or '.join(suffixes)}")


def template_option() -> object:
    """The option of `label` for a list to fill in."""
    return file_option(_TEMPLATE, "Write a list of what has no label (.xlsx or .csv), to be filled in and given back.")


def write_template(
    workspace: "Workspace", space: Space, classifier: str | None, limit: int | None, out: Path, output: "Output"
) -> int:
    """Writes the documents without a label as a list to fill in."""
    from embedpipe.tasks import label_template

    check_suffix(out, (".xlsx", ".csv"))
    without = "there are several classifiers: with --classifier NAME the list has candidates"
    store, bundle = store_and_classifier(workspace, space, classifier, output, without)
    rows, left_out = label_template.find(workspace, store, bundle, limit)
    label_template.write(workspace, rows, bundle, out)
    output.result({"written": str(out), **label_template.as_json(rows, left_out)})
    output.line(
        f"{len(rows)} documents without a label are listed in {out}: fill in its column label, then `label {out}`"
    )
    if left_out:
        output.line(f"{left_out} more are left out by --limit")
    return DONE
