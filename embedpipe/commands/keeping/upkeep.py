"""`info`, `spaces`, `forget` and `export`: what the artifacts hold, and what leaves them."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import DONE, ERROR, Classifier, begin, command, open_classifier, say_next
from embedpipe.commands.terminal.console import agreed
from embedpipe.commands.terminal.options import Common, Yes
from embedpipe.commands.terminal.targets import OutputFile
from embedpipe.commands.terminal.widths import shortened
from embedpipe.core.errors import UsageError
from embedpipe.core.outputs import FORMATS, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping


@command("info")
def info(
    common: Common,
    verify: Annotated[bool, typer.Option("--verify", help="Compare every file with its manifest.")] = False,
    failures: Annotated[bool, typer.Option("--failures", help="List what failed, and why.")] = False,
) -> int:
    """Report what the artifacts hold."""
    from embedpipe.tasks import info as info_task

    workspace, output = begin(common)
    values = info_task.take(workspace)
    problems: list[str] = []
    notes: list[str] = []
    if verify:
        from embedpipe.tasks import info_verify

        with output.busy("comparing files with their manifests"):
            found = info_verify.examine(workspace)
        problems, notes = found.problems, found.notes
        values |= {"problems": problems, "notes": notes}
    output.result(values)
    for line in info_task.describe(values, failures=failures):
        output.line(line)
    if verify:
        for line in (*problems, *notes):
            output.line(line)
        if not problems:
            output.line(f"every {'listed ' if notes else ''}file agrees with its manifest")
    if not (problems or values["damaged"]):
        say_next(common, output)
    return ERROR if problems or values["damaged"] else DONE


@command("spaces")
def spaces(
    common: Common,
    remove: Annotated[
        str | None, typer.Option(metavar="SPACE", help="Remove a space with its index; says first what would be lost.")
    ] = None,
    yes: Yes = False,
) -> int:
    """List the spaces, or remove one."""
    from embedpipe.tasks import spaces as spaces_task

    workspace, output = begin(common)
    removed = False
    if remove is not None:
        found = spaces_task.find(workspace, remove)
        removed = agreed(output, found.losses(), spaces_task.STAYS, yes=yes)
        if removed:
            with output.busy("removing"):
                spaces_task.remove(workspace, remove)
            output.notice(f"removed: {found.losses()[0]}")
    rows = spaces_task.take(workspace)
    output.result({"spaces": [row.as_json() for row in rows], "removed": remove if removed else None})
    output.table(
        ("space", "backbone", "pages", "documents", "files gone", "MB", "classifiers"),
        [
            (r.space, r.backbone, r.pages, r.documents, r.gone, r.megabytes, ", ".join(r.classifiers) or "-")
            for r in rows
        ],
        shorten={"space": shortened, "backbone": shortened},
    )
    return DONE


@command("forget")
def forget(
    common: Common,
    documents: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, or SHA-256 of content.", show_default=False)
    ] = None,
    all_gone: Annotated[
        bool, typer.Option("--gone", help="All earlier versions, and what is of files that are gone or passed over.")
    ] = False,
) -> int:
    """Remove documents, with their earlier versions, from features, labels and indexes; name what learnt from them."""
    from embedpipe.tasks import forget as forget_task

    if not documents and not all_gone:
        raise UsageError("give files, folders or SHA-256, or --gone")
    workspace, output = begin(common)
    with output.busy("removing"):
        gone = forget_task.forget(workspace, documents or (), gone=all_gone)
    output.result(dataclasses.asdict(gone))
    count = len(gone.documents)
    output.line(
        f"{count} {'document' if count == 1 else 'documents'} forgotten: {gone.rows} pages and failures, "
        f"{gone.labels} labels"
    )
    for document in gone.unknown:
        output.line(f"nothing was kept of {document}: it was never stored here, or is forgotten already")
    if gone.documents and any(workspace.index_path(space).exists() for space in workspace.spaces()):
        output.line("no search finds them any more; `index` also takes them out of the files of the index")
    if gone.classifiers:
        learnt = (f"{name} (version {', '.join(map(str, found))})" for name, found in gone.versions.items())
        output.line(f"these classifiers learnt from them and keep it, as numbers: {', '.join(learnt)}")
        output.line("fit them again, then remove the versions before: `classifiers --prune NAME`")
    if gone.backbones:
        names = ", ".join(gone.backbones)
        output.line(
            f"these networks were trained or measured on them; train them again, or remove their folders: {names}"
        )
    return DONE


def _kind(options: "Mapping[str, Any]") -> Kind:
    """What `export` writes; an unknown format is reported by `export` itself."""
    return FORMATS.get(options["file_format"], FORMATS["joblib"])


@command("export")
def export(
    file: Annotated[Path, typer.Argument(parser=OutputFile(_kind), metavar="FILE", help="The file to write.")],
    common: Common,
    classifier: Classifier = None,
    file_format: Annotated[
        str, typer.Option("--format", help="joblib: a classifier; parquet, csv or npy: the features with their pages.")
    ] = "joblib",
    space: Annotated[str | None, typer.Option(help="The features of this space, see `info`.")] = None,
) -> int:
    """Write a classifier, or the features, for other programs."""
    from embedpipe.classifiers.lessons import missing
    from embedpipe.store import feature_tables
    from embedpipe.tasks.export import export_joblib

    workspace, output = begin(common)
    if file_format != "joblib":
        store = workspace.store(space=space)
        with output.busy("writing"):
            rows = feature_tables.export_features(store, workspace.labels(), file, file_format)
        lost = missing.lost_pages(store, without="they are not in the file")
        output.result({"file": str(file), "pages": rows, "missing": lost})
        output.line(f"{rows} pages are in {file}")
        return DONE
    bundle = open_classifier(workspace, classifier)
    export_joblib(bundle, file)
    output.result({"file": str(file), "classifier": bundle.name})
    output.line(f"{bundle.name} is in {file}; it is a pickle: loading one runs what is in it, so trust its origin")
    return DONE
