"""`classify`: the types of new documents."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.commands.answers import Answers
from embedpipe.commands.base import (
    DONE,
    SOME_FAILED,
    Classifier,
    ErrorRate,
    PrecisionWanted,
    as_unreached,
    begin_several,
    command,
    exit_code,
    holder_of_classifier,
    open_answerer,
    say_next,
)
from embedpipe.commands.sorting import KeepTree, Link, SortInto
from embedpipe.commands.terminal.next_steps import typed
from embedpipe.commands.terminal.options import Common, Inputs, Network, Reading, Recognition
from embedpipe.commands.terminal.targets import file_option, folder_option
from embedpipe.core.outputs import csv_of

_TABLES = (
    *("embedpipe.commands.answers:COLUMNS", "embedpipe.commands.answers:BEFORE"),
    "embedpipe.commands.splitting:COLUMNS",
)

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.labels import Labels
    from embedpipe.store.workspace import Workspace


@command("classify")
def classify(
    inputs: Inputs,
    common: Common,
    network: Network,
    reading: Reading,
    recognition: Recognition,
    classifier: Classifier = None,
    sort_into: SortInto = None,
    link: Link = False,
    keep_tree: KeepTree = False,
    error_rate: ErrorRate = 0.05,
    precision_wanted: PrecisionWanted = None,
    neighbours: Annotated[
        int, typer.Option(help="How many labelled pages to show with each answer (--json).", min=0, max=100)
    ] = 3,
    csv: Annotated[Path | None, file_option(csv_of(*_TABLES), "Write the answers to a CSV file.")] = None,
    split: Annotated[bool, typer.Option("--split", help="Cut each file into documents: a scanned pile.")] = False,
    write: Annotated[Path | None, folder_option("With --split: write the parts as files of their own.")] = None,
    blank_separates: Annotated[
        bool, typer.Option("--blank-separates", help="With --split: a blank page always ends a document.")
    ] = False,
) -> int:
    """Predict each page's and each document's type; cut piles into documents."""
    from embedpipe.classifiers.calibration import shift
    from embedpipe.classifiers.calibration.decisions import Rule
    from embedpipe.commands import sorting as sorting_command
    from embedpipe.commands import splitting as splitting_command
    from embedpipe.tasks import classify as classify_task

    workspace, output, unreached = begin_several(common)
    settings = recognition.on(reading.settings())
    splitting_command.check(split=split, write=write, blank_separates=blank_separates, sort_into=sort_into)
    sorting_command.check(sort_into, link=link, keep_tree=keep_tree)
    bundle = open_answerer(holder_of_classifier(workspace), classifier)
    answered_by = sorting_command.answered_by(workspace, bundle)
    load = partial(network.load, workspace, bundle.identity)
    rule = Rule(error_rate, precision_wanted)
    if split:
        from embedpipe.tasks import split as split_task

        with output.busy("reading and cutting files"):
            result = split_task.split(
                workspace, inputs, bundle, load, rule=rule, settings=settings, blank_separates=blank_separates
            )
        for line in shift.advice(result.report.shift, bundle.name, error_rate):
            output.notice(line)
        code = splitting_command.present(result, write, csv, settings, output, answered_by)
        say_next(common, output, inputs=typed(inputs), **splitting_command.known(result, write))
        return code
    if sort_into is None:
        wish = None
    else:
        from embedpipe.tasks.sort_into import Wish

        wish = Wish(sort_into, inputs, link=link, keep_tree=keep_tree, answered_by=answered_by, limits=settings.limits)
    with output.progress("reading files") as bar:
        verdicts, report = classify_task.classify(
            workspace,
            inputs,
            bundle,
            load,
            rule=rule,
            neighbours=neighbours if common.as_json else 0,
            settings=settings,
            progress=bar.stage,
        )
    answers = Answers(classify_task.with_labels(verdicts, _labels(workspace, output)), report, answered_by)
    found = shift.as_json(report.shift, bundle.name, error_rate)
    values = {"classifier": bundle.name, "documents": answers.documents, "shift": found, **report.counts_json()}
    values |= as_unreached(unreached)
    values["promise"] = shift.promise(bundle.documents, error_rate)
    smallest = bundle.documents.smallest_error_rate()
    advice = [_too_few(smallest), *found["advice"]] if smallest > error_rate else found["advice"]
    try:
        if wish is not None:
            answers.done = sorting_command.sort(answers.verdicts, report, wish, output)
            values |= sorting_command.as_json(answers.done)
    finally:  # the answers are there whatever happens to the copies
        if csv is not None:
            answers.write(csv)
        missing = answers.present(values["promise"], advice, output)
        output.result(values)
    doubtful = sum(v.prediction.status in ("ambiguous", "novel") for v in answers.verdicts)
    results = {"doubtful": doubtful, "answered": len(answers.verdicts), "inputs": typed(inputs)}
    fit = f"fit-{bundle.name}" if bundle.name in ("svm", "knn", "head") else f"fit-svm --name {typed([bundle.name])}"
    say_next(common, output, **results, fit=fit, file=str(csv or ""), folder=str(sort_into or ""))
    return exit_code(report) or missing or (SOME_FAILED if unreached else DONE)


def _too_few(smallest: float) -> str:
    return f"with so few labelled documents no error rate below {smallest:.2f} is promised: label more"


def _labels(workspace: "Workspace", output: "Output") -> "Labels":
    """What people labelled; nothing where that cannot be read: a classifier may outlive its labels."""
    from embedpipe.core.errors import EmbedpipeError
    from embedpipe.store.labels import Labels

    try:
        return workspace.all_labels()
    except EmbedpipeError as error:
        output.notice(f"warning: labels are not looked at: {error}")
        return Labels()
