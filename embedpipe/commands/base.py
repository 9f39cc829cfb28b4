"""What the commands share: the application, exit codes, and what several of them print.

Modules of the package are imported inside the functions, so that `--help` answers at once and a command loads only
what it uses.
"""

import dataclasses
import functools
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.terminal.console import (
    Output,
    OutputError,
    abandon_output,
    error_line,
    finish_output,
    hear,
    prepare_streams,
    say,
)
from embedpipe.commands.terminal.options import Common, Space, expand, in_a_job, language_named
from embedpipe.commands.terminal.panels import panel_of
from embedpipe.commands.terminal.targets import guarded
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.languages import choice
from embedpipe.core.process import end, is_lack_of_memory

if TYPE_CHECKING:
    from collections.abc import Mapping

    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.classifiers.saved.answering import Answerer
    from embedpipe.embedding.intake import Report
    from embedpipe.store.features import FeatureStore
    from embedpipe.store.workspace import Workspace

DONE, ERROR, USAGE, SOME_FAILED, INTERRUPTED = 0, 1, 2, 3, 130
OUT_OF_TIME = 75
"""A budget is used up and the same command goes on: what `sysexits.h` calls a temporary failure, to be tried again."""
PIPE_CLOSED = 141
"""Like INTERRUPTED what a shell reports for a program that a signal ended: stdout has no reader any more."""
_NAMES = frozenset({"name", "as_type", "group"})  # options that are kept, in tables and as folders
running = ContextVar("running", default="label")
"""Name of the command that runs, for the history of labels."""

app = typer.Typer(
    name="embedpipe",
    help="Sorts piles of documents by what their pages look like.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"embedpipe {version()}\n")
        raise typer.Exit


def version() -> str:
    """Of this program; "unknown" where it runs from a folder and was never installed."""
    from importlib import metadata

    try:
        return metadata.version("embedpipe")
    except metadata.PackageNotFoundError:
        return "unknown"


@app.callback()
def _before_the_command(
    _: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    lang: Annotated[
        str | None, typer.Option(metavar="en|zh", parser=language_named, help="Language of messages and HTML.")
    ] = None,
) -> None:
    """Sorts piles of documents by what their pages look like."""


ErrorRate = Annotated[
    float, typer.Option(help="How often the true type may be missing among the candidates.", min=0.001, max=0.5)
]
PrecisionWanted = Annotated[
    float | None,
    typer.Option(help="Call an answer ok only where its type is right so often, such as 0.9.", min=0.01, max=1.0),
]
Classifier = Annotated[str | None, typer.Option(help="Name of a fitted classifier, when there are several.")]


def command(name: str) -> Callable[[Callable[..., int | None]], Callable[..., int | None]]:
    """Makes a function a command; its return value is the exit code."""

    def register(function: Callable[..., int | None]) -> Callable[..., int | None]:
        expanded = guarded(expand(function))

        @functools.wraps(expanded)
        def run(**options: Any) -> None:
            running.set(name)
            try:
                _check(options)
                code = expanded(**options)
            except KeyboardInterrupt:
                code = INTERRUPTED
            raise typer.Exit(code or DONE)

        app.command(name, rich_help_panel=panel_of(name))(run)
        return function

    return register


def _check(options: Mapping[str, object]) -> None:
    """Refuses values that no command can work with, and that typer's own checks of a range let through."""
    for name, value in options.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name.replace('_', '-')} {value}: write a finite number")
        for text in value if isinstance(value, list) else [value]:
            if text == "" and name != "group":  # no group is what a document has by default
                raise UsageError(
                    f"the value of {name.strip('_').replace('_', ' ')} is empty: write one, or leave it out"
                )
            if isinstance(text, str) and name in _NAMES and not text.isprintable():
                raise UsageError(f"{text!r}: write a {name.replace('_', ' ')} of characters that can be shown")
            if isinstance(text, str | Path) and "\0" in str(text):
                raise UsageError(f"{str(text)!r}: a zero byte can be part of no name")


def begin(common: Common) -> "tuple[Workspace, Output]":
    """The workspace of a command, and its output."""
    from embedpipe.store.catalogue import listed
    from embedpipe.store.workspace import Workspace

    hear(quiet=common.quiet)
    places = listed(common.artifacts) if "," in str(common.artifacts) else []
    if len(places) > 1:
        raise UsageError(
            f"--artifacts {common.artifacts}: only classify and similar look into several at once; name one"
        )
    return Workspace(common.artifacts, share=common.share_folder), Output(common.as_json, common.quiet)


def begin_several(common: Common) -> "tuple[Workspace, Output, list[tuple[str, str]]]":
    """The workspace of a command that looks into several artifacts, and its output.

    Returns:
        The first that can be read, with the others beside it; the output; and those that cannot be read, with reasons.
    """
    from embedpipe.store.catalogue import listed, reached

    places = listed(common.artifacts)
    if len(places) == 1:
        workspace, output = begin(dataclasses.replace(common, artifacts=Path(places[0])))
        return workspace, output, []
    hear(quiet=common.quiet)
    found, lost = reached(places, share=common.share_folder)
    found[0].beside = tuple(found[1:])
    return found[0], Output(common.as_json, common.quiet), lost


def holder_of_classifier(workspace: "Workspace") -> "Workspace":
    """The first of several artifacts that has a classifier."""
    return next((one for one in (workspace, *workspace.beside) if one.classifiers()), workspace)


def as_unreached(lost: "Sequence[tuple[str, str]]") -> dict[str, Any]:
    """Artifacts that cannot be read, as JSON; nothing where there are none."""
    return {"unreached": [{"artifacts": place, "reason": why} for place, why in lost]} if lost else {}


def say_next(common: Common, output: Output, **results: Any) -> None:
    """Ends a command with a line on what to do next, where a person watches; see `terminal.next_steps`."""
    from embedpipe.commands.terminal import next_steps
    from embedpipe.core.errors import EmbedpipeError
    from embedpipe.tasks import info

    def known() -> next_steps.Known:
        from embedpipe.store.catalogue import listed
        from embedpipe.store.workspace import Workspace

        try:
            found = info.standing(Workspace(listed(common.artifacts)[0]))
        except EmbedpipeError:  # it was said, or will be by the command that needs it
            found = info.Standing(0, 0, 0, 0, ())
        values = {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
        is_default = str(common.artifacts) == "artifacts" or os.environ.get("EMBEDPIPE_ARTIFACTS")
        where = "" if is_default else f" --artifacts {next_steps.typed([str(common.artifacts)])}"
        names = frozenset(str(registered.name) for registered in app.registered_commands)
        return next_steps.Known(**{**values, "commands": names, "where": where, **results})

    if not in_a_job.get():
        next_steps.say_next(output, running.get(), known)


def exit_code(report: "Report") -> int:
    """Done, some failed, interrupted, or out of time."""
    if report.interrupted:
        return INTERRUPTED
    if report.out_of_time:
        return OUT_OF_TIME
    return SOME_FAILED if report.failed else DONE


def open_classifier(workspace: "Workspace", name: str | None) -> "ClassifierBundle":
    """The fitted classifier of that name, or the only one."""
    from embedpipe.classifiers.bundles import ClassifierBundle

    return ClassifierBundle.load(classifier_in_use(workspace, name))


def store_and_classifier(
    workspace: "Workspace", space: Space, name: str | None, output: "Output", without: str
) -> "tuple[FeatureStore, ClassifierBundle | None]":
    """The store of a space, else of the classifier: of the one of that name, or of the only one, if there is any.

    Where there are several and none is named, `without` says what is lost by that.
    """
    bundle = None
    if name is not None or len(workspace.classifiers()) == 1:
        bundle = open_classifier(workspace, name)
    elif workspace.classifiers():
        output.notice(without)
    store = workspace.store(space.backbone, bundle.identity.space if bundle and not space.space else space.space)
    if bundle is not None:
        bundle.require(store.identity)
    return store, bundle


def open_answerer(workspace: "Workspace", name: str | None) -> "Answerer | ClassifierBundle":
    """The same, for answers only: without scikit-learn where that is possible."""
    from embedpipe.classifiers.saved.answering import Answerer

    return Answerer.load(classifier_in_use(workspace, name)) or open_classifier(workspace, name)


def classifier_in_use(workspace: "Workspace", name: str | None) -> Path:
    """The folder of the version that is in use."""
    from embedpipe.core.errors import ArtifactError, UnknownNameError

    known = workspace.classifiers()
    if not known:
        raise ArtifactError(f"no classifier in {workspace.root}: run `fit-svm` first")
    if name is None:
        if len(known) > 1:
            raise ArtifactError(f"there are {len(known)} classifiers: choose one with --classifier: {', '.join(known)}")
        name = known[0]
    if name not in known:
        raise UnknownNameError("classifier", name, known)
    return workspace.classifier_path(name)


def main() -> None:
    """Runs the command line of this process, and ends it."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    prepare_streams()
    _settle_home()
    signal.signal(signal.SIGTERM, stop)
    threading.excepthook = _say_of_thread
    end(run())


def _settle_home() -> None:
    """Gives the libraries' caches a place where nobody knows the user's home: they would make a folder named "~"."""
    if os.path.isabs(os.path.expanduser("~")):
        return
    from embedpipe.core.cache_folder import cache_folder

    folder = cache_folder()
    os.environ.setdefault("XDG_CACHE_HOME", str(folder))
    os.environ.setdefault("MPLCONFIGDIR", str(folder / "matplotlib"))


def run(arguments: Sequence[str] | None = None) -> int:
    """Runs a command line and returns its exit code; the one place that turns exceptions into exit codes.

    Args:
        arguments: Without the name of the program; those of this process if None.
    """
    choice.use(choice.asked(sys.argv[1:] if arguments is None else arguments))
    try:
        code = int(app(arguments, standalone_mode=False) or DONE)
        finish_output()
    except KeyboardInterrupt:
        code = INTERRUPTED
    except (BrokenPipeError, SystemExit) as error:  # typer makes SystemExit of the former, and ends so by itself
        ended_well = isinstance(error, SystemExit) and not error.code
        code = DONE if ended_well else PIPE_CLOSED  # without a message: `| head` has all that it needs
    except Exception as error:  # noqa: BLE001 - the last resort: a line that says what to do
        code, line = _verdict(error)
        if "--debug" in (sys.argv if arguments is None else arguments):
            traceback.print_exception(error)
        elif line:
            say(line)
    try:
        finish_output()
    except (OSError, OutputError):  # the message is out already, or stderr has no reader
        abandon_output()
    return code


def _verdict(error: Exception) -> tuple[int, str]:
    """The exit code of an exception, and its message; none where the help was printed."""
    if hasattr(error, "format_message"):  # of typer, whose name for it depends on its version
        context = getattr(error, "ctx", None)
        where = f" (see `{context.command_path} --help`)" if context is not None else ""
        is_help = type(error).__name__ == "NoArgsIsHelpError"
        return USAGE, "" if is_help else error_line(error.format_message()) + where
    code = USAGE if isinstance(error, UsageError) else ERROR
    return code, error_line(_in_words(error))


def _in_words(error: Exception) -> str:
    if isinstance(error, UsageError):
        return str(error)
    if is_lack_of_memory(error):
        return (
            "memory is too little: raise the limit (`ulimit -v`), close other programs, or give smaller --workers and "
            f"--batch-size; what failed: {str(error) or type(error).__name__}"
        )
    if isinstance(error, EmbedpipeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        return ": ".join(str(part) for part in (error.filename, error.strerror) if part is not None)
    return f"unexpected {type(error).__name__}: {error}; --debug shows the traceback: please report it"


def _say_of_thread(failed: threading.ExceptHookArgs) -> None:
    """One line about a thread that ended in an exception that no other thread handles."""
    if failed.exc_type is SystemExit:
        return
    if "--debug" in sys.argv:
        threading.__excepthook__(failed)
    elif isinstance(failed.exc_value, Exception):
        say(_verdict(failed.exc_value)[1])
