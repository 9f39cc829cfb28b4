"""Writes docs/commands.md, the reference of the command line: `python docs/commands.py`; a test compares the two.

It reads the declarations of the commands and not the printed `--help`, whose look depends on the width of the terminal
and on the versions of typer and rich.
"""

import dataclasses
import inspect
import typing
from collections.abc import Callable, Iterable
from pathlib import Path
from types import NoneType
from typing import Any

import typer
from typer.models import ArgumentInfo, OptionInfo

from embedpipe.commands import app
from embedpipe.commands.terminal.panels import PANELS, panel_of

FILE = Path(__file__).with_name("commands.md")
COMMON = "Options of every command"
KINDS = {str: "TEXT", int: "N", float: "X", Path: "PATH"}
HEAD = """# Commands

<!-- Written by `python docs/commands.py`; do not edit. -->

All commands with all their options, in the order of `embedpipe --help`. The pages for each task, with examples, are
listed in the [README](../README.md#where-to-go-next).

What stands in brackets may be left out, and `...` may be repeated. Every command also takes
[`--artifacts`, `--json`, `--quiet`, `--debug` and `--help`](#options-of-every-command). Pages are written
`FILE#page=N`, counted from 1. [Exit codes](sort.md#exit-codes) are the same for all commands. `embedpipe --version`
prints the version.
"""


@dataclasses.dataclass(frozen=True)
class Entry:
    """An option or argument: how it is written, what it does, and what holds if it is not given."""

    names: str
    help: str
    default: str


def entry(parameter: inspect.Parameter) -> Entry:
    """Reads the declaration of one option or argument."""
    kind, info = typing.get_args(parameter.annotation)
    kinds = [k for k in (typing.get_args(kind) or (kind,)) if k is not NoneType]
    if isinstance(info, ArgumentInfo):
        value = info.metavar or parameter.name.upper()
        repeated = typing.get_origin(kind) is list or any(typing.get_origin(k) is list for k in kinds)
        name = value + ("..." if repeated else "")
        return Entry(name if is_required(parameter) else f"[{name}]", str(info.help), "")
    given = [name for name in (info.default, *(info.param_decls or ())) if isinstance(name, str)]  # as typer reads them
    names = given or [f"--{parameter.name.replace('_', '-')}"]
    repeated = typing.get_origin(kinds[0]) is list or typing.get_origin(kind) is list
    single = typing.get_args(kinds[0])[0] if typing.get_origin(kinds[0]) is list else kinds[0]
    value = "" if single is bool else f" {info.metavar or KINDS[single]}"
    return Entry(", ".join(names) + value + (" ..." if repeated else ""), helped(info), default(parameter, info))


def helped(info: OptionInfo) -> str:
    """What an option does, with its limits and its variable."""
    limits = [f"{word} {number}" for word, number in (("from", info.min), ("to", info.max)) if number is not None]
    more = ([" ".join(limits)] if limits else []) + ([f"or `${info.envvar}`"] if info.envvar else [])
    return "; ".join([str(info.help).removesuffix("."), *more]) + "."


def default(parameter: inspect.Parameter, info: OptionInfo) -> str:
    """What holds if an option is not given, in code; nothing where nothing is set."""
    if isinstance(info.show_default, str):
        return f"`{info.show_default}`"
    value = parameter.default
    nothing = any(value is no for no in (None, False)) or value in ([], "")
    return "" if nothing or is_required(parameter) else f"`{value}`"


def is_required(parameter: inspect.Parameter) -> bool:
    """Whether a command does not run without it."""
    return parameter.default is inspect.Parameter.empty


def shared(group: Any) -> list[inspect.Parameter]:
    """The options of a group."""
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=[] if field.default is dataclasses.MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in dataclasses.fields(group)
    ]


def own(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The options and arguments of a command that are in no group, as typer sees them."""
    in_groups = {field.name for group in groups([function]) for field in dataclasses.fields(group)}
    return [p for p in inspect.signature(function).parameters.values() if p.name not in in_groups]


def groups(functions: Iterable[Callable[..., Any]]) -> list[Any]:
    """The groups of options that commands take, in the order met; the functions are declared with them."""
    declared = map(inspect.unwrap, functions)
    hints = [hint for f in declared for hint in typing.get_type_hints(f, include_extras=True).values()]
    return [hint for hint in dict.fromkeys(hints) if dataclasses.is_dataclass(hint)]


def title(group: Any) -> str:
    """The heading of a group of options; what its docstring says, such as "Of every command."."""
    words = (inspect.getdoc(group) or "").splitlines()[0].removesuffix(".")
    return f"Options {words[0].lower()}{words[1:]}"


def table(entries: Iterable[Entry]) -> list[str]:
    """Options as rows."""
    rows = [
        "| " + " | ".join(text.replace("|", "\\|") for text in (f"`{e.names}`", e.help, e.default)) + " |"
        for e in entries
    ]
    return ["| option | what it does | default |", "| --- | --- | --- |", *rows, ""] if rows else []


def is_argument(parameter: inspect.Parameter) -> bool:
    """Whether it is given by its place."""
    return isinstance(typing.get_args(parameter.annotation)[1], ArgumentInfo)


def section(name: str, function: Callable[..., Any]) -> list[str]:
    """What the reference says of one command."""
    arguments = [entry(p) for p in own(function) if is_argument(p)]
    usage = " ".join(["embedpipe", name, *(a.names for a in arguments), "[OPTIONS]"])
    lines = [f"### {name}", "", inspect.getdoc(function) or "", "", f"    {usage}", ""]
    lines += table([*arguments, *(entry(p) for p in own(function) if not is_argument(p))])
    for group in groups([function]):
        names = ", ".join(f"`{entry(p).names.split()[0].rstrip(',')}`" for p in shared(group))
        if title(group) != COMMON:
            lines.append(f"- and {names}: [{title(group).lower()}](#{anchor(title(group))})")
    return [*lines, ""]


def anchor(heading: str) -> str:
    """The link to a heading, as GitHub makes it."""
    return heading.lower().replace(" ", "-")


def reference() -> str:
    """The whole page."""
    commands = [(str(c.name), c.callback) for c in app.registered_commands if c.callback]
    lines = [HEAD]
    for panel in PANELS:
        names = [f"[`{name}`](#{name})" for name, _ in commands if panel_of(name) == panel]
        lines.append(f"- {panel}: {', '.join(names)}")
    for panel in PANELS:
        lines += ["", f"## {panel}", ""]
        for name, function in commands:
            if panel_of(name) == panel:
                lines += section(name, function)
    lines += ["", "## Options that commands share", ""]
    for group in groups(function for _, function in commands):
        lines += [f"### {title(group)}", "", *table(entry(p) for p in shared(group))]
    lines += ["## Shell completion", "", *COMPLETION.strip().splitlines()]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


COMPLETION = """
`embedpipe --install-completion` lets bash, zsh, fish or PowerShell complete commands and options with the Tab key, from
the next shell on; `embedpipe --show-completion` prints the script instead. It completes the installed script
`embedpipe`, so the virtual environment must be active, and not `python cli.py`. A completion takes about 0.2 s.
"""

if __name__ == "__main__":
    FILE.write_text(reference(), encoding="utf-8")
    typer.echo(f"written: {FILE}")
