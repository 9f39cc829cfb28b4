"""Where a command may write: never over what it reads, and over nothing that was not made here, unless forced.

Every option or argument that names an output is declared with `OutputFile` or `OutputFolder`; `guarded` looks at all
of them before the command begins, so that it fails before any work.
"""

import contextlib
import functools
import inspect
import os
import stat
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from typer.models import OptionInfo

from embedpipe.core import outputs
from embedpipe.core.claims import FILES, FOLDERS, claimed
from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.objects.urls import is_url
from embedpipe.core.outputs import Kind

_HEAD = 1024

Force = typing.Annotated[
    bool, typer.Option("--force", help="Also replace files that embedpipe did not make, or that were filled in.")
]
"""Every command that writes files has it, whether its function takes it or not."""


@dataclass(frozen=True)
class OutputFile:
    """Marks an option or argument as a file to write: `typer.Option(parser=OutputFile(PNG))`; `-` is stdout.

    Attributes:
        kind: Of the file; or a function that derives it from the values of all options.
    """

    kind: Kind | Callable[[Mapping[str, Any]], Kind]
    __name__ = "file"  # the help shows it

    def __call__(self, text: str | Path) -> Path:
        """The path of what was written on the command line."""
        return outputs.STDOUT if str(text) == "-" else named(text)


@dataclass(frozen=True)
class OutputFolder:
    """Marks an option as a folder to write files to: `typer.Option(parser=OutputFolder())`.

    Attributes:
        pattern: Of names of files that are replaced; "" where a file is only written where none is.
        kind: Of these files.
    """

    pattern: str = ""
    kind: Kind | None = None
    __name__ = "dir"

    def __call__(self, text: str | Path) -> Path:
        """The path of what was written on the command line."""
        return named(text)


@dataclass(frozen=True)
class Asked:
    """An output that a command was asked for.

    Attributes:
        option: As it was written, for messages.
        path: Where.
        what: Its declaration.
    """

    option: str
    path: Path
    what: OutputFile | OutputFolder


def file_option(kind: Kind, says: str, *names: str, **more: Any) -> Any:
    """An option for a file to write; of several names the first is shown first, and all work."""
    return typer.Option(*names, parser=OutputFile(kind), metavar="FILE", help=says, **more)


def folder_option(says: str, pattern: str = "", kind: Kind | None = None) -> Any:
    """An option for a folder to write files to; see `OutputFolder`."""
    return typer.Option(parser=OutputFolder(pattern, kind), metavar="DIR", help=says)


def named(text: str | Path) -> Path:
    """A path; an empty one, which is what a variable gives that is not set, is a wrong command line."""
    if not str(text).strip():
        raise typer.BadParameter("the name is empty: is a variable not set?")
    return Path(text)


def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a command look at its outputs before it begins, and gives it the option --force; see `vetted`."""
    signature = inspect.signature(function)
    declared = {name: found for name, p in signature.parameters.items() if (found := _declared(name, p))}
    if not declared:
        return function
    is_own = "force" in signature.parameters

    @functools.wraps(function)
    def run(**options: Any) -> Any:
        asked = [Asked(option, path, what) for n, (option, what) in declared.items() for path in _several(options[n])]
        with vetted(asked, {name: value for name, value in options.items() if name not in declared}):
            if not is_own:
                del options["force"]
            return function(**options)

    if not is_own:
        force = inspect.Parameter("force", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Force)
        parameters = [*signature.parameters.values(), force]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _several(value: Any) -> list[Path]:
    """The paths that an option names: none, one, or a list."""
    return [] if value is None else list(value) if isinstance(value, list | tuple) else [value]


def outputs_of(function: Callable[..., Any]) -> set[str]:
    """Names of the parameters of a command that are outputs."""
    return {name for name, p in inspect.signature(function).parameters.items() if _declared(name, p)}


def _declared(name: str, parameter: inspect.Parameter) -> tuple[str, OutputFile | OutputFolder] | None:
    """What a parameter is called on the command line, and its declaration if it is an output."""
    for note in getattr(parameter.annotation, "__metadata__", ()):
        what = getattr(note, "parser", None)
        if isinstance(what, OutputFile | OutputFolder):
            if not isinstance(note, OptionInfo):
                return name.upper(), what
            names = [text for text in (note.default, *(note.param_decls or ())) if isinstance(text, str)]
            return next(iter(names), f"--{name.replace('_', '-')}"), what  # typer takes the first name for a default
    return None


@contextlib.contextmanager
def vetted(asked: list[Asked], options: Mapping[str, Any]) -> Iterator[None]:
    """Makes sure that all outputs of a command may be written; meanwhile stdout is kept for one that goes there.

    Args:
        asked: The outputs.
        options: Values of all options and arguments, by name. What of these is the name of a file or folder, and no
            output, is taken for an input.

    Raises:
        EmbedpipeError: One of them must not be written, or cannot be.
        typer.BadParameter: They do not go together.
    """
    expected = [(one, *target) for one in asked for target in _files(one, options)]
    on_stdout = [one for one, path, _ in expected if outputs.descriptor(_end(path)) == 1]
    if on_stdout and options.get("as_json"):
        raise typer.BadParameter(f"--json and {on_stdout[0].option} cannot both go to stdout: name a file")
    for number, (one, path, _) in enumerate(expected):
        for other, taken, _ in expected[:number]:
            if path == taken or _same(path, taken):
                raise typer.BadParameter(f"{other.option} and {one.option} cannot both go to {path}")
    guard = _Guard(options)
    for one in asked:
        guard.check_place(one)
    for one, path, kind in expected:
        guard.check_file(one, path, kind)
    with outputs.keeping_stdout() if on_stdout else contextlib.nullcontext():
        yield


def _files(one: Asked, options: Mapping[str, Any]) -> list[tuple[Path, Kind]]:
    """The files that an output may replace."""
    if isinstance(one.what, OutputFolder):
        found = sorted(one.path.glob(one.what.pattern)) if one.what.pattern and one.path.is_dir() else []
        return [(path, one.what.kind) for path in found if one.what.kind is not None]
    kind = one.what.kind if isinstance(one.what.kind, Kind) else one.what.kind(options)
    return [(one.path, kind), *kind.beside(one.path)]


def _end(path: Path) -> Path:
    """Where a path leads, for a look; a circle of links is reported when it is checked."""
    with contextlib.suppress(ArtifactError):
        return outputs.followed(path)
    return path


def _same(path: Path, other: Path) -> bool:
    """Whether two paths are one file, whatever they are called."""
    with contextlib.suppress(OSError):
        return os.path.samefile(path, other)
    return os.path.realpath(path) == os.path.realpath(other)


def _places(artifacts: Path) -> list[str]:
    """The artifacts that an option names; what is no catalogue is named by the command itself."""
    from embedpipe.store.catalogue import listed

    with contextlib.suppress(ArtifactError):
        return listed(artifacts)
    return [str(artifacts)]


class _Guard:
    """What a command must not write over."""

    def __init__(self, options: Mapping[str, Any]) -> None:
        self._force = bool(options.get("force"))
        self._places = _places(options["artifacts"])
        self._read = [path for name, value in options.items() if name != "artifacts" for path in _inputs(name, value)]
        self._sources: Any = None

    def check_place(self, one: Asked) -> None:
        """Refuses where nothing can be written, or only the artifacts."""
        path = outputs.followed(one.path)
        if outputs.descriptor(path) is not None or outputs.is_written_through(path):
            if isinstance(one.what, OutputFolder):
                raise EmbedpipeError(f"{one.option} {one.path} is no folder")
            return
        try:
            mode = path.stat().st_mode if os.path.lexists(path) else 0
        except OSError as error:
            raise ArtifactError(f"cannot write {one.path}: {error.strerror or error}") from error
        if isinstance(one.what, OutputFolder) and mode and not stat.S_ISDIR(mode):
            raise EmbedpipeError(f"{one.option} {one.path} is a file: name a folder")
        if isinstance(one.what, OutputFile) and stat.S_ISDIR(mode):
            raise EmbedpipeError(f"{one.option} {one.path} is a folder: name a file")
        _check_writable(one.path, path if isinstance(one.what, OutputFolder) else path.parent)
        self._check_artifacts(one, path)

    def _check_artifacts(self, one: Asked, path: Path) -> None:
        """Refuses what the artifacts keep."""
        kept = (set(FOLDERS) - {"demo", "explanations"}) | set(FILES)
        for artifacts in (Path(place) for place in self._places if not is_url(place)):
            inside = os.path.relpath(os.path.realpath(path), os.path.realpath(artifacts)).split(os.sep)
            is_kept = inside[0] in kept and claimed(artifacts)
            if is_kept or any(_same(path, artifacts / name) for name in FILES if path.exists()):
                raise EmbedpipeError(f"{one.option} {one.path} is among what the artifacts keep: name another place")

    def check_file(self, one: Asked, path: Path, kind: Kind) -> None:
        """Refuses an input, a document of the store, and unless forced what was not made here."""
        end = outputs.followed(path)
        if outputs.descriptor(end) is not None or outputs.is_written_through(end):
            self._check_device(one, end, kind)
            return
        try:
            if not os.path.lexists(end):
                return
        except OSError as error:
            raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
        for given in self._read:
            if _same(end, Path(given)):
                raise EmbedpipeError(f"{one.option} {path} is what the command reads ({given}): name another file")
        if self._is_document(path):
            raise EmbedpipeError(f"{one.option} {path} is a document of the store: name another file")
        if not self._force and (objection := _objection(end, kind)):
            raise EmbedpipeError(f"{one.option} {path} {objection}: name another file, or say --force to replace it")
        if self._force and _objection(end, kind) and self._is_below_an_input(end):
            raise EmbedpipeError(f"{one.option} {path} is a document that the command reads: name another file")

    def _check_device(self, one: Asked, path: Path, kind: Kind) -> None:
        if kind.beside(path):
            raise EmbedpipeError(f"{one.option} {path}: two files are written, so name one")
        if outputs.descriptor(path) is None and not self._force:
            mode = path.stat().st_mode
            if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)):
                raise EmbedpipeError(f"{one.option} {path} is a disk or a socket: say --force to write over it")

    def _is_document(self, path: Path) -> bool:
        from embedpipe.store.workspace import Workspace

        if self._sources is None:
            self._sources = [Workspace(place).sources() for place in self._places]
        places = {path, outputs.followed(path), path.resolve()}
        return any(sources.holds(str(place)) for sources in self._sources for place in places)

    def _is_below_an_input(self, path: Path) -> bool:
        """Whether a file is a document in a folder that the command reads."""
        from embedpipe.pages.documents import recognise

        place = os.path.realpath(path)
        folders = [os.path.realpath(given) for given in self._read if os.path.isdir(given)]
        if not any(os.path.commonpath([place, folder]) == folder for folder in folders):
            return False
        with open(path, "rb") as file:
            return recognise(file.read(_HEAD)) is not None


def _inputs(name: str, value: object) -> Iterable[str]:
    """The files and folders that a value names, by its look: FILE#page=N as well, and a file of such lines."""
    if isinstance(value, list | tuple):
        return [path for one in value for path in _inputs(name, one)]
    if not isinstance(value, str | Path):
        return []
    found = [text for text in {str(value), str(value).rpartition("#page=")[0]} if text and os.path.exists(text)]
    if name == "queries" and found:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            lines = Path(found[0]).read_text(encoding="utf-8-sig").splitlines()
            found += [path for line in lines for path in _inputs("query", line.strip())]
    return found


def _objection(path: Path, kind: Kind) -> str:
    """Why a file must not be replaced unasked; "" where it may be."""
    try:
        if not os.access(path, os.W_OK):
            return "is protected against writing"
        return kind.objection(path) if path.stat().st_size else ""
    except OSError as error:
        return f"cannot be read ({error.strerror or error})"


def _check_writable(path: Path, folder: Path) -> None:
    """Refuses where the nearest folder that is there is none, or takes no files."""
    try:
        nearest = next(place for place in (folder, *folder.absolute().parents) if os.path.lexists(place))
        if not nearest.is_dir():
            raise ArtifactError(f"cannot write {path}: {nearest} is no folder")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise ArtifactError(f"cannot write {path}: no files may be written to {nearest}")
    except OSError as error:
        raise ArtifactError(f"cannot write {path}: {error.strerror or error}") from error
