"""Which program makes a PDF of which kind of document: what is built in, and what a `readers.toml` says otherwise."""

import functools
import importlib.util
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from embedpipe.core.errors import UsageError
from embedpipe.pages.containers import kinds

VARIABLE = "EMBEDPIPE_READERS"
"""Names the `readers.toml` that counts, or is `NONE`; workers have it from the process that starts them."""

NONE = "none"
"""In the place of a file: no document is converted, and what would be is of a format that is not read."""

CONVERTED_BY = "converted by "
"""Begins the message of a page of a PDF that a program has made; its name, its version, and `; ` come after that."""

_MEGABYTE = 1024**2

_LIBRE_OFFICE = (
    *("soffice", "-env:UserInstallation={profile_url}", "--headless", "--norestore", "--nologo", "--nodefault"),
    *("--nofirststartwizard", "--convert-to", "pdf", "--outdir", "{outdir}", "{input}"),
)
_LIBRE_OFFICE_PLACES = (
    "soffice",
    "libreoffice",
    "/Applications/LibreOffice.app/Contents/MacOS/soffice",
    r"C:\Program Files\LibreOffice\program\soffice.com",
)


@dataclass(frozen=True, slots=True)
class Converter:
    """How one kind of document becomes a PDF.

    Attributes:
        name: What people call the kind.
        suffixes: Names that it has, lower case, with the dot; the first is that of the copy that the program is given
            where the document's own is none of them.
        kinds: What `containers.kinds` calls such a file by its content, with the article.
        program: Names and places of the program, the first that is there counts.
        made_by: What people call the program.
        command: With `{input}`, `{outdir}`, `{output}` (a file in it), `{profile}` and `{profile_url}` (a folder that
            the program may keep its settings in, one for each that runs at a time). The first is the program.
        version: The command that prints the version; empty where it tells none.
        get: How to get the program.
        fails: Where the program opens none of these documents without an addition: how to get that; else "".
        seconds: That one document may take; 0 for the limit of the run.
        memory_bytes: That one process of it may take; 0 for the limit of the run.
        several: Documents that it takes at a time, each in the place of a part of the command that is `{input}`.
    """

    name: str
    suffixes: tuple[str, ...]
    kinds: tuple[str, ...]
    program: tuple[str, ...]
    made_by: str
    command: tuple[str, ...]
    version: tuple[str, ...] = ()
    get: str = ""
    fails: str = ""
    seconds: float = 0.0
    memory_bytes: int = 0
    several: int = 1

    def found(self) -> str | None:
        """Where the program is; None where it is not."""
        return next((place for name in self.program if (place := shutil.which(name))), None)


_OFFICE = Converter(
    "Office",
    tuple(
        f".{suffix}"
        for suffix in (
            *("docx", "doc", "docm", "dotx", "dotm", "rtf", "wps", "xlsx", "xls", "xlsm", "xlsb", "xltx", "et"),
            *("pptx", "ppt", "pptm", "ppsx", "pps", "potx", "dps", "odt", "ods", "odp", "odg", "ott", "vsd", "vsdx"),
        )
    ),
    (
        "a Word document",
        "an Excel workbook",
        "a PowerPoint presentation",
        "an OpenDocument file",
        "an RTF document",
        "a Visio drawing",
        "a locked Office document",
    ),
    _LIBRE_OFFICE_PLACES,
    "LibreOffice",
    _LIBRE_OFFICE,
    ("soffice", "--version"),
    "install LibreOffice (Debian, Ubuntu: apt install libreoffice-writer-nogui libreoffice-calc-nogui "
    "libreoffice-impress-nogui; others: libreoffice.org)",
    several=8,
)

_OFD = Converter(
    "OFD",
    (".ofd",),
    ("an OFD document",),
    ("ofd-converter",),
    "ofd-converter",
    ("ofd-converter", "{input}", "{output}"),
    (),
    "pip install easyofd (reads most electronic invoices), or name a program in a readers.toml",
)

CONVERTERS: dict[str, Converter] = {
    "office": _OFFICE,
    "hwp": replace(
        _OFFICE,
        name="HWP",
        suffixes=(".hwp", ".hwpx"),
        kinds=("an HWP document",),
        fails="LibreOffice opens HWP documents with the extension H2Orestart only",
    ),
    "ofd": _OFD,
}
"""What is built in, by the key in `documents.READERS`."""


@dataclass(frozen=True, slots=True)
class Table:
    """The converters that count, and the kinds of file that only these know."""

    converters: Mapping[str, Converter]
    more: kinds.MoreKinds = field(default_factory=kinds.MoreKinds)


def _now() -> Table:
    return _named(os.environ.get(VARIABLE, ""))


kinds.more = lambda: _now().more


def active() -> Mapping[str, Converter]:
    """The converters that count, by key.

    Raises:
        UsageError: The `readers.toml` cannot be read, or says what cannot be.
    """
    return _now().converters


def use(file: str) -> Mapping[str, Converter]:
    """Has this process, and those that it starts, go by a `readers.toml`, or by `NONE`; raises as `active` does."""
    named = file if file == NONE else os.path.abspath(file)
    converters = _named(named).converters
    os.environ[VARIABLE] = named
    return converters


def converter_of(words: str) -> str | None:
    """The key of the converter of a file, by what `containers.kinds` calls it; None where there is none."""
    return next((key for key, converter in active().items() if words in converter.kinds), None)


def _built_in() -> dict[str, Converter]:
    """Those that count without a `readers.toml`: for OFD a program of that name, else the package easyofd."""
    if _OFD.found() or not importlib.util.find_spec("easyofd"):
        return CONVERTERS
    script = str(Path(__file__).with_name("easy_ofd.py"))
    python = (sys.executable, "-P", script)  # without this folder among those that modules are looked for in
    easy = replace(_OFD, program=(sys.executable,), made_by="easyofd", command=(*python, "{input}", "{output}"))
    return {**CONVERTERS, "ofd": replace(easy, version=(*python, "--version"))}


@functools.cache
def _named(file: str) -> Table:
    if not file:
        return Table(_built_in())
    if file == NONE:
        return Table({})
    try:
        told = tomllib.loads(Path(file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--readers {file}: {error.strerror or error}") from None
    except ValueError as error:
        raise UsageError(f"--readers {file}: no TOML: {error}") from None
    converters = dict(_built_in())
    named = _Kinds([], [])
    for key, values in told.items():
        if not isinstance(values, dict):
            raise UsageError(f"--readers {file}: {key} is no table: write [{key}] and below it its values")
        try:
            entry = _entry(key, values, converters.get(key), named)
        except ValueError as error:
            raise UsageError(f"--readers {file}: {error}") from None
        converters.pop(key, None)
        if entry is not None:
            converters[key] = entry
    ordered = dict(sorted(converters.items(), key=lambda pair: pair[0] not in told))
    return Table(ordered, kinds.MoreKinds(tuple(named.starts), tuple(named.holds)))


@dataclass(slots=True)
class _Kinds:
    """Kinds of file that only a `readers.toml` knows: their words, and the first bytes or names in a ZIP of each."""

    starts: list[tuple[str, tuple[bytes, ...]]]
    holds: list[tuple[str, tuple[str, ...]]]


_TEXTS = ("program", "made_by", "name", "get")
_LISTS = ("suffixes", "command", "version", "kinds", "starts", "holds")
_NUMBERS = ("seconds", "megabytes", "several")
_MOST = 1e9


def _entry(key: str, told: dict[str, Any], built_in: Converter | None, named: _Kinds) -> Converter | None:
    """One table of a `readers.toml`; None where it switches a converter off.

    Raises:
        ValueError: It says what cannot be.
    """
    values = {name: _value(key, name, value) for name, value in told.items()}
    if values.pop("enabled", True) is False:
        return None
    recognised = values.keys() & {"kinds", "starts", "holds"}
    if built_in is None and not (recognised and "command" in values):
        raise ValueError(f"[{key}] needs a command, and how its files are known: starts, holds or kinds")
    if "command" in values and not any("{input}" in part for part in values["command"]):
        raise ValueError(f"[{key}] command: {{input}} is missing, the document's place")
    own = f"a file for [{key}]"
    if "starts" in values:
        named.starts.append((own, tuple(_bytes(key, start) for start in values.pop("starts"))))
    if "holds" in values:
        named.holds.append((own, values.pop("holds")))
    known = tuple(f"{'an' if word[:1] in 'AEIOUaeiou' else 'a'} {word}" for word in values.pop("kinds", ()))
    entry = built_in or Converter(key, (f".{key}",), (), (), key, ())
    changes = _changes(values)
    if recognised:
        changes["kinds"] = (*entry.kinds, *known, own)
    return replace(entry, **changes)


def _changes(values: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes of a converter that checked values change."""
    plain = ("name", "made_by", "suffixes", "get", "version", "seconds", "several")
    changes: dict[str, Any] = {}
    if "command" in values:
        command = values["command"]
        changes = {"command": command, "program": command[:1], "version": (), "fails": "", "several": 1}
        changes |= {"made_by": os.path.basename(command[0]), "get": f"its place in the readers.toml is {command[0]}"}
    changes |= {name: values[name] for name in plain if name in values}
    if "program" in values:
        changes["program"] = (values["program"],)
    if "megabytes" in values:
        changes["memory_bytes"] = int(values["megabytes"]) * _MEGABYTE
    if "several" in values:
        changes["several"] = max(1, int(values["several"]))
    return changes


def _value(key: str, name: str, value: Any) -> Any:
    if name == "enabled" and isinstance(value, bool):
        return value
    if name in _TEXTS and isinstance(value, str) and value:
        return value
    if name in _LISTS and isinstance(value, list) and value and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    if name in _NUMBERS and isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < _MOST:
        return value
    if name not in (*_TEXTS, *_LISTS, *_NUMBERS, "enabled"):
        known = ", ".join((*_TEXTS, *_LISTS, *_NUMBERS, "enabled"))
        raise ValueError(f"[{key}] {name}: there is no such value: known: {known}")
    kind = "a text" if name in _TEXTS else "a list of texts" if name in _LISTS else "a number above 0"
    raise ValueError(f"[{key}] {name}: write {'true or false' if name == 'enabled' else kind}")


def _bytes(key: str, text: str) -> bytes:
    """First bytes of a file: a text, or `hex:` and digits."""
    if not text.startswith("hex:"):
        return text.encode()
    try:
        return bytes.fromhex(text[4:])
    except ValueError:
        raise ValueError(f"[{key}] starts: {text}: write pairs of hexadecimal digits after hex:") from None
