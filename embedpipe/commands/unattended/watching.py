"""`watch`: new files of a folder, embedded, classified and sorted as they come."""

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.commands.base import (
    DONE,
    Classifier,
    ErrorRate,
    PrecisionWanted,
    begin,
    classifier_in_use,
    command,
    open_answerer,
)
from embedpipe.commands.sorting import KeepTree, Link, SortInto, answered_by, check
from embedpipe.commands.terminal.console import finish_output
from embedpipe.commands.terminal.options import Common, Network, Reading, Recognition
from embedpipe.core.languages.translation import word

if TYPE_CHECKING:
    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.classifiers.saved.answering import Answerer
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.watch import Answer

_OTHERS = 3


@command("watch")
def watch(
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The folder.", show_default=False)],
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
    poll: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Look so often, without notices of the system; network drives are looked at every 10 s in any case.",
            min=0.1,
            max=86_400,
        ),
    ] = None,
    settle: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="Take a file once it has not changed for so long.", min=0.1, max=3600),
    ] = 2.0,
    no_thumbnails: Annotated[bool, typer.Option("--no-thumbnails", help="Keep no small pictures of pages.")] = False,
    no_words: Annotated[bool, typer.Option("--no-words", help="Keep no hashed words of pages.")] = False,
) -> int:
    """Embed, classify and sort the files of a folder as they come, until Ctrl-C; a line for each."""
    from embedpipe.classifiers.calibration.decisions import Rule
    from embedpipe.tasks import watch as watch_task
    from embedpipe.tasks.sort_into import Wish as Sorting

    workspace, output = begin(common)
    check(sort_into, link=link, keep_tree=keep_tree)
    if hasattr(signal, "SIGIO"):
        signal.signal(signal.SIGIO, signal.SIG_IGN)  # lets the task ask whether files are being written to
    keep = [name for name, left_out in (("thumbnails", no_thumbnails), ("words", no_words)) if not left_out]
    told = _Told(folder, output)
    wish = watch_task.Wish(
        folder=folder,
        classifier=_Newest(workspace, classifier),
        load=partial(network.load, workspace),
        settings=recognition.on(reading.settings()),
        keep=keep,
        rule=Rule(error_rate, precision_wanted),
        sort=None if sort_into is None else Sorting(sort_into, [folder], link=link, keep_tree=keep_tree),
        poll=poll,
        settle=settle,
    )
    try:
        watch_task.watch(workspace, wish, told, output.notice)
    except KeyboardInterrupt:
        output.notice(f"stopped after {told.count} files; the same command goes on from here")
        raise
    return DONE


class _Newest:
    """The classifier that is in use now; it is read again where it was fitted anew."""

    def __init__(self, workspace: "Workspace", name: str | None) -> None:
        self._workspace, self._name = workspace, name
        self._path: Path | None = None

    def __call__(self) -> "tuple[ClassifierBundle | Answerer, str]":
        """The classifier, and its name and version."""
        path = classifier_in_use(self._workspace, self._name)
        if path != self._path:
            self._bundle = open_answerer(self._workspace, self._name)
            self._said = answered_by(self._workspace, self._bundle)
            self._path, self._name = path, self._bundle.name
        return self._bundle, self._said


class _Told:
    """Prints a line for each file at once: whoever reads them does not wait for more."""

    def __init__(self, folder: str, output: "Output") -> None:
        self._root, self._output = os.path.abspath(folder), output
        self.count = 0

    def __call__(self, answer: "Answer") -> None:
        """Prints one."""
        self.count += 1
        self._output.result(answer.as_json())
        told = answer.prediction
        name = os.path.relpath(answer.path, self._root)
        kind = f"{told.label} {told.confidence:.0%}" if told.label else "-"
        self._output.line(f"{name}: {kind}, {_status(answer)}")
        finish_output()


def _status(answer: "Answer") -> str:
    """Whether the answer can be used, in a few words, and where its copy is."""
    others = [label for label, _ in answer.prediction.candidates[1 : 1 + _OTHERS]]
    said = answer.status
    if answer.same_as:
        said = f"duplicate of {answer.same_as}"
    elif answer.status == "ambiguous" and others:
        more = len(answer.prediction.candidates) - 1 - len(others)
        said = f"ambiguous: or {', '.join(others)}" + (f" and {more} more" if more > 0 else "")
    if answer.message:
        said = answer.message if answer.status == "failed" else f"{said} ({answer.message})"
    return f"{word(said)} -> {answer.copy}" if answer.copy and not answer.same_as else said
