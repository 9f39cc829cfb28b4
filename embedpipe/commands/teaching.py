"""`add-type` and `classifiers`: types taught by examples, and the versions of classifiers."""

from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.commands.base import DONE, SOME_FAILED, Classifier, begin, command, open_classifier, say_next
from embedpipe.commands.printing import print_missing, print_report
from embedpipe.commands.terminal.console import agreed
from embedpipe.commands.terminal.options import AllowMissing, Common, Inputs, Network, Reading, Recognition, Yes
from embedpipe.commands.terminal.widths import relative
from embedpipe.core.errors import UsageError

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.add_type import Lesson, Outcome

_CHANGES_SHOWN = 20


@command("add-type")
def add_type(
    name: Annotated[
        str,
        typer.Argument(
            help="The type; a new one, or one that gets more examples; `none` for documents of none of the types."
        ),
    ],
    inputs: Inputs,
    common: Common,
    network: Network,
    reading: Reading,
    recognition: Recognition,
    classifier: Classifier = None,
    group: Annotated[str, typer.Option(help="What the examples have in common, such as their sender.")] = "",
    relabel: Annotated[bool, typer.Option("--relabel", help="Also take examples that have another label.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change, and keep nothing.")] = False,
    allow_missing: AllowMissing = False,
) -> int:
    """Teach a type by examples: embed, label and fit again, and say which earlier answers change."""
    from embedpipe.tasks import add_type as add_type_task

    workspace, output = begin(common)
    if not name.strip():
        raise UsageError("the type has no name")
    bundle = open_classifier(workspace, classifier)
    lesson = add_type_task.Lesson(
        name.strip(), tuple(inputs), group, relabel=relabel, keep=not dry_run, allow_missing=allow_missing
    )
    settings = recognition.on(reading.settings())
    with output.busy("embedding and fitting"):
        outcome = add_type_task.add_type(
            workspace, bundle, lesson, lambda: network.load(workspace, bundle.identity), settings
        )
    failed = outcome.report.as_json()
    output.result(add_type_task.as_json(lesson, outcome) | {key: failed[key] for key in ("failed", "failures")})
    if outcome.report.embedded or outcome.report.failed:
        print_report(outcome.report, output)
    _print_lesson(lesson, outcome, output)
    if lesson.keep:
        say_next(common, output)
    return SOME_FAILED if outcome.report.failed else DONE


def _print_lesson(lesson: "Lesson", outcome: "Outcome", output: "Output") -> None:
    from embedpipe.tasks.add_type import ENOUGH

    kinds = sorted(outcome.before.keys() | outcome.after.keys())
    columns = [(kind, outcome.before.get(kind), outcome.after.get(kind)) for kind in kinds]
    output.table(
        ("type", "recall before", "recall after", "change"),
        [
            (kind, _share(b), _share(a), f"{a - b:+.2f}" if a is not None and b is not None and a != b else "")
            for kind, b, a in columns
        ],
    )
    if outcome.examples < ENOUGH:
        output.line(f"{lesson.name}: {outcome.examples} examples: give at least {ENOUGH}, better from several sources")
    _print_changes(outcome, output)
    if outcome.missing is not None:
        print_missing(outcome.missing, output)
    kept = "nothing was kept" if not lesson.keep else f"version {outcome.version} is in use"
    output.line(f"{lesson.name}: {outcome.documents} documents, {outcome.pages} pages; {outcome.seconds:.1f} s; {kept}")


def _print_changes(outcome: "Outcome", output: "Output") -> None:
    """Which earlier answers are of another type, and how sure all of them were and are."""
    from embedpipe.classifiers.stored_answers import STATUSES

    documents = sum(sum(counts.values()) for counts in outcome.statuses_before.values())
    output.line(
        f"of {documents} earlier answers {len(outcome.changed)} change their type, and {len(outcome.status_changed)} "
        "how sure they are"
    )
    shown = outcome.changed[:_CHANGES_SHOWN]
    paths = [change.path for change in shown]
    for change, path in zip(shown, relative(paths) if output.watched else paths, strict=True):
        label = f" (labelled {change.label})" if change.label else ""
        sure = change.status_after
        sure = sure if change.status_before == sure else f"{change.status_before} -> {sure}"
        output.line(f"  {change.before} -> {change.after}, {sure}{label}  {path}")
    if len(outcome.changed) > _CHANGES_SHOWN:
        output.line(f"  ... and {len(outcome.changed) - _CHANGES_SHOWN} more: --json lists them all")
    sides = (outcome.statuses_before, outcome.statuses_after)
    output.table(
        ("predicted", *(f"{status} before" for status in STATUSES), *(f"{status} after" for status in STATUSES)),
        [
            (kind, *(side.get(kind, {}).get(status, 0) for side in sides for status in STATUSES))
            for kind in sorted(sides[0].keys() | sides[1].keys())
        ],
    )
    before, after = outcome.sure
    if after < before:
        output.line(f"warning: {after} of {documents} earlier answers are sure now, {before} were before")
    for line in outcome.advice:
        output.line(line)


def _share(recall: float | None) -> str:
    return "-" if recall is None else f"{recall:.2f}"


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
    remove: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Remove a classifier with all versions; says first what would be lost."),
    ] = None,
    yes: Yes = False,
) -> int:
    """List the versions of every classifier; go back to an earlier one, or forward again."""
    from embedpipe.tasks import classifiers as classifiers_task

    workspace, output = begin(common)
    if sum(name is not None for name in (rollback, prune, remove)) + list_all > 1:
        raise UsageError("choose one of --list, --rollback NAME, --prune NAME and --remove NAME")
    if version is not None and rollback is None:
        raise UsageError(f"version {version} of what? write --rollback NAME {version}")
    if rollback is not None:
        number = classifiers_task.roll_back(workspace, rollback, version)
        output.notice(
            f"{rollback}: version {number} is in use now; `classifiers --rollback {rollback} N` takes any other"
        )
    if prune is not None:
        output.notice(f"{prune}: {classifiers_task.prune(workspace, prune)} versions removed")
    if remove is not None:
        losses = classifiers_task.losses(workspace, remove)
        if agreed(output, losses, classifiers_task.STAYS, yes=yes):
            classifiers_task.remove(workspace, remove)
            output.notice(f"removed: {losses[0]}")
    return _list_versions(workspace, output)


def _list_versions(workspace: "Workspace", output: "Output") -> int:
    from embedpipe.tasks import info

    rows = [row for name in workspace.classifiers() for row in info.classifier_versions(workspace, name)]
    output.result({"classifiers": rows})
    output.table(
        ("", "classifier", "version", "time", "kind", "variants", "types", "documents", "macro-F1"),
        [
            (
                "in use" if row["in_use"] else "",
                row["classifier"],
                row["version"],
                *("-" if row[key] is None else row[key] for key in ("time", "kind", "augment", "types", "documents")),
                "-" if row["macro_f1"] is None else f"{row['macro_f1']:.3f}",
            )
            for row in rows
        ],
    )
    problems = [row["problem"] for row in rows if row["problem"]]
    for problem in problems:
        output.notice(f"damaged: {problem}")
    return SOME_FAILED if problems else DONE
