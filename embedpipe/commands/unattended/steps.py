"""The steps of a job file for `run`: a table of it is a command, and its keys are the options of that command.

Nothing of a command is known here but its declaration, so a new one is a line of `STEPS`.
"""

import functools
import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import typer.main

from embedpipe.commands.base import app
from embedpipe.commands.terminal.options import Network, Reading, Recognition, Space, rehearsing
from embedpipe.commands.terminal.targets import outputs_of
from embedpipe.core.display import path_to_text
from embedpipe.core.errors import EmbedpipeError, UnknownNameError, UsageError


@dataclass(frozen=True, slots=True)
class Step:
    """A command that a job file may hold.

    Attributes:
        command: Its name, and that of its table.
        reads: Keys that name files or folders which must be there.
        if_files: A key with inputs: without any file in them there is nothing to do.
        remembers: It has nothing to do while its options, the labels and the features are those of the last time.
    """

    command: str
    reads: tuple[str, ...] = ()
    if_files: str = ""
    remembers: bool = False


STEPS = (
    Step("embed", ("inputs", "labels", "password-file"), if_files="inputs"),
    Step("label", ("source",)),
    Step("add-type", ("inputs", "password-file")),
    Step("fit-svm", ("labels", "password-file"), remembers=True),
    Step("fit-knn", ("labels", "password-file"), remembers=True),
    Step("fit-head", ("labels", "password-file"), remembers=True),
    Step("evaluate", ("labels", "test")),
    Step("classify", ("inputs", "password-file"), if_files="inputs"),
    Step("check-labels"),
    Step("suggest"),
    Step("review", ("from",)),
    Step("report"),
    Step("dedupe"),
    Step("families"),
    Step("map", ("password-file",)),
)
"""In the order in which they are done, whatever the order in the file."""

_OF_ALL = ("artifacts", "share-folder")
_OF_RUN = ("json", "quiet", "debug", "help", "dry-run")
_LEFT_OUT = ("pages",)  # means pages of documents here and pages to fit on there


@dataclass(frozen=True, slots=True)
class Planned:
    """A step with its options.

    Attributes:
        step: Which.
        arguments: As on the command line, without the name of the command.
        values: As in the file, those for all steps included.
        where: Where it stands in the file, for messages.
    """

    step: Step
    arguments: tuple[str, ...]
    values: Mapping[str, Any]
    where: str

    @property
    def line(self) -> tuple[str, ...]:
        """The whole command line, without the name of the program."""
        return (self.step.command, *self.arguments)


@dataclass(frozen=True, slots=True)
class Job:
    """A job file that was read: the artifacts, or None where it does not name them, and the steps in their order."""

    artifacts: Path | None
    share_folder: bool
    steps: tuple[Planned, ...]


class _File:
    """A job file, for messages about its lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = path.read_bytes()
            self.text = content.decode("utf-8-sig")
            self.values = tomllib.loads(self.text)
        except OSError as error:
            raise EmbedpipeError(f"{path} cannot be read: {error.strerror or error}") from error
        except UnicodeDecodeError:
            raise UsageError(f"{path} is no TOML: it is not UTF-8; save it as UTF-8") from None
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise UsageError(f"{path} is no TOML: {error}") from None

    def where(self, table: str, number: int = 0, key: str = "") -> str:
        """File, line and table of a key, as far as a look at the lines tells."""
        now, met = ("", 0), 0
        line_of = 0
        for line, text in enumerate(self.text.splitlines(), 1):
            if header := re.match(r"\s*\[\[?\s*[\"']?([\w-]+)[\"']?\s*\]", text):
                met = met + 1 if header[1] == table else met
                now = (header[1], met - 1)
                if now == (table, number) and not key:
                    line_of = line
            found = re.match(r"\s*[\"']?([\w-]+)[\"']?\s*[=.]", text)
            if key and found and found[1] == key and (now == (table, number) or (not table and not now[0])):
                line_of = line_of or line
        return f"{self.path}{f', line {line_of}' if line_of else ''}{f', [{table}]' if table else ''}"


def read(file: Path) -> Job:
    """Reads a job file; call it in the file's folder, to which its paths are relative.

    Raises:
        UsageError: It is no TOML, or a table, key or value is none that a command takes.
        EmbedpipeError: It cannot be read.
    """
    content, known = _File(file), {step.command: step for step in STEPS}
    of_all = _of_all()
    shared: dict[str, Any] = {}
    for key, value in content.values.items():
        if isinstance(value, dict) or (isinstance(value, list) and value and isinstance(value[0], dict)):
            if key not in known:
                raise UsageError(f"{content.where(key)}: {UnknownNameError('table', key, known)}")
        elif key in known:
            raise UsageError(f"{content.where('', key=key)}: {key} is a table: write [{key}], and its options below")
        elif key not in of_all:
            raise UsageError(f"{content.where('', key=key)}: {UnknownNameError('key', key, of_all)}")
        else:
            shared[key] = value
    artifacts = shared.pop("artifacts", None)
    if artifacts is not None and (not isinstance(artifacts, str) or not artifacts.strip()):
        raise UsageError(f'{content.where("", key="artifacts")}: artifacts is a folder: write artifacts = "artifacts"')
    share_folder = shared.pop("share-folder", False)
    if not isinstance(share_folder, bool):
        raise UsageError(f"{content.where('', key='share-folder')}: share-folder is true or false")
    steps = tuple(one for step in STEPS for one in _planned(content, step, shared))
    if not steps:
        raise UsageError(f"{file} holds no step: write a table such as [embed] or [classify]")
    return Job(None if artifacts is None else Path(artifacts), share_folder, steps)


def _of_all() -> list[str]:
    """Keys that hold for all steps."""
    names = {
        field.name.replace("_", "-") for group in (Network, Reading, Recognition, Space) for field in fields(group)
    }
    return sorted((names - set(_LEFT_OUT)) | set(_OF_ALL))


def _planned(content: _File, step: Step, shared: Mapping[str, Any]) -> Iterator[Planned]:
    tables = content.values.get(step.command)
    if tables is None:
        return
    for number, table in enumerate(tables if isinstance(tables, list) else [tables]):
        options = _options(step.command)
        for key in table:
            if key in _OF_ALL:
                raise UsageError(
                    f"{content.where(step.command, number, key)}: {key} is of all steps: write it above the first table"
                )
            if key not in options:
                raise UsageError(f"{content.where(step.command, number, key)}: {UnknownNameError('key', key, options)}")
        values = {key: value for key, value in shared.items() if key in options} | table
        begin = [text for key, value in values.items() for text in _given(content, step, number, (key, value))]
        end = [str(text) for key in values if _is_argument(options[key]) for text in _listed(values[key])]
        arguments = (*begin, *(("--", *end) if end else ()))
        yield Planned(step, arguments, values, content.where(step.command, number))


@functools.cache
def _options(command: str) -> dict[str, Any]:
    """Options and arguments of a command by their keys."""
    commands: Any = typer.main.get_command(app)
    found: dict[str, Any] = {}
    for parameter in commands.commands[command].params:
        names = [o.lstrip("-") for o in parameter.opts]
        if _is_argument(parameter):
            names = [parameter.name, str(parameter.metavar or parameter.name).strip("[].").lower()]
        found |= {name: parameter for name in names if name not in _OF_RUN and len(name) > 1}
    return found


def _is_argument(parameter: Any) -> bool:
    return str(parameter.param_type_name) == "argument"


def _listed(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [f"{key}={one}" for key, one in value.items()]
    return value if isinstance(value, list) else [value]


def _given(content: _File, step: Step, number: int, pair: tuple[str, Any]) -> Iterator[str]:
    """An option as it stands on a command line."""
    key, value = pair
    parameter = _options(step.command)[key]
    where = content.where(step.command, number, key)
    if getattr(parameter, "is_flag", False):
        if not isinstance(value, bool):
            raise UsageError(f"{where}: {key} is true or false")
        names = parameter.opts if value else parameter.secondary_opts
        yield from names[:1]
        return
    many = getattr(parameter, "multiple", False) or parameter.nargs == -1
    if isinstance(value, list | dict) and not many:
        raise UsageError(f"{where}: {key} takes one value")
    for one in _listed(value):
        if isinstance(one, bool | list | dict):
            raise UsageError(f"{where}: {key} takes a text or a number")
        if not _is_argument(parameter):
            yield f"--{key}={one}"


def check(job: Job, common: Iterable[str]) -> None:
    """Checks all steps before any begins: values, what they read, and where they write.

    Args:
        job: As it was read.
        common: Options of every command, such as `--artifacts=DIR`.

    Raises:
        UsageError: A value is none that the command takes; says where.
        EmbedpipeError: A file is missing, or an output must not be written; says where.
    """
    made: list[str] = []
    for planned in job.steps:
        for key in planned.step.reads:
            for path in map(str, _listed(planned.values.get(key, []))):
                if not os.path.lexists(path) and not any(_covers(one, path) for one in made):
                    raise EmbedpipeError(f"{planned.where}: {key}: {path_to_text(path)} is not there")
        _rehearse(planned, common)
        made += _outputs(planned)


def _covers(made: str, path: str) -> bool:
    """Whether a path is what an earlier step writes, or lies in a folder that it fills."""
    made, path = os.path.abspath(made), os.path.abspath(path)
    return path == made or path.startswith(made + os.sep)


def _outputs(planned: Planned) -> list[str]:
    options = _options(planned.step.command)
    [declared] = [c.callback for c in app.registered_commands if c.name == planned.step.command]
    names = outputs_of(declared) if declared is not None else set()
    return [str(value) for key, value in planned.values.items() if options[key].name in names]


def _rehearse(planned: Planned, common: Iterable[str]) -> None:
    token = rehearsing.set(True)
    try:
        app([planned.step.command, *common, *planned.arguments], standalone_mode=False)
    except EmbedpipeError as error:
        kind = UsageError if isinstance(error, UsageError) else EmbedpipeError
        raise kind(f"{planned.where}: {error}") from error
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(f"{planned.where}: {error.format_message()}") from error
    finally:
        rehearsing.reset(token)
