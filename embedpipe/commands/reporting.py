"""`report`: what came in, of which types, how sure that is, for somebody who has never seen the program."""

import time
from pathlib import Path
from typing import Annotated

import typer

from embedpipe.commands.base import DONE, Classifier, begin, command, open_classifier
from embedpipe.commands.terminal.options import Common, Space
from embedpipe.commands.terminal.targets import OutputFile
from embedpipe.core.errors import UsageError
from embedpipe.core.outputs import HTML, PDF, XLSX, of_suffix

_REPORT = of_suffix({".html": HTML, ".pdf": PDF, ".xlsx": XLSX}, "a report")


@command("report")
def report(
    common: Common,
    space: Space,
    outputs: Annotated[
        list[Path],
        typer.Argument(
            help="Files to write: .html, .pdf or .xlsx; several are written at once.",
            parser=OutputFile(lambda _: _REPORT),
            metavar="FILE",
            show_default=False,
        ),
    ],
    classifier: Classifier = None,
    no_duplicates: Annotated[
        bool, typer.Option("--no-duplicates", help="Do not look for what is there more than once, which takes longest.")
    ] = False,
) -> int:
    """Write a report for somebody who never saw the program: what came in, of which types, how sure, what failed."""
    from embedpipe.tasks import report as report_task

    for file in outputs:
        if file.suffix.lower() not in report_task.SUFFIXES:
            raise UsageError(f"{file}: the name of a report ends with .html, .pdf or .xlsx")
    start = time.perf_counter()
    workspace, output = begin(common)
    bundle = open_classifier(workspace, classifier) if classifier or workspace.classifiers() else None
    wanted = space.space or (bundle.identity.space if bundle is not None and space.backbone is None else None)
    store = workspace.store(space.backbone, wanted)
    if bundle is not None:
        bundle.require(store.identity)
    found = report_task.take(workspace, store, bundle, duplicates=not no_duplicates)
    for file in outputs:
        report_task.write(found, file)
        output.notice(f"written: {file}")
    values = report_task.as_json(found)
    output.result(
        values | {"outputs": [str(file) for file in outputs]} | {"seconds": round(time.perf_counter() - start, 3)}
    )
    for line in values["summary"]:
        output.line(line)
    return DONE
