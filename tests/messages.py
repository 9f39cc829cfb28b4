"""The sentences that the package says to people, found in its source.

`PYTHONPATH=$PWD python tests/messages.py` lists those without a translation. Every string of at least two words counts,
wherever it stands, but for docstrings, annotations and the texts of `--help`; single words count where they are
headings. What is never shown is listed in `UNSAID`.
"""

from __future__ import annotations

import ast
import html
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from embedpipe.core.languages.table import load
from embedpipe.drawing.templating import SAID_BY_SCRIPTS, environment, plain

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "embedpipe"
TEMPLATES = PACKAGE / "drawing" / "templates"
SCRIPTS = PACKAGE / "web" / "static"
"""Scripts of the page of `serve`; they say their sentences as those of the templates do."""

UNREAD = ("samples", "finetuning/model_cards.py", "core/languages", "core/moved.py", "core/process.py")
"""What says nothing to people: drawn documents, files in English, phrases of other programs."""
UNSAID = frozenset((ROOT / "tests" / "core" / "languages" / "unsaid.txt").read_text(encoding="utf-8").splitlines())
"""Strings that no person reads: code, names of fonts and places, what is looked for in other programs' words."""

TEXT, HEADING, PART = "text", "heading", "part"
"""Where a string stands: anywhere; where single words are sentences; as one of the texts of a choice in a sentence."""

_PROSE = re.compile(
    r"[A-Za-z]{2,}[^A-Za-z\s]* [^A-Za-z\s]*[A-Za-z]{2,}|\{\}\S? [(`'\"]?[A-Za-z]{2,}|[A-Za-z]{3,}\S? [(`'\"]?\{\}"
)
PREFIXES = ("error: ", "warning: ")
"""What a line may begin with, which is translated by itself."""
_HELP = frozenset(
    {
        "Option",
        "Argument",
        "Typer",
        "file_option",
        "folder_option",
        "debug",
        "cast",
        "compile",
        "TypeVar",
        "Field",
        "Query",
        "FastAPI",
    }
)
_NOT_SAID = frozenset({"help", "rich_help_panel", "show_default", "metavar", "loc", "family", "name"})
_HEADINGS = {"table": 0, "progress": 0, "busy": 0, "UnknownNameError": 0, "_Figure": 0, "write_gallery": 1, "Group": 0}
"""Calls whose argument at that place holds headings: single words are sentences there as well."""
_FACTS = frozenset({"facts", "title", "_PANELS"})
_COLUMNS = frozenset({"keys", "columns", "COLUMNS", "PRESET_COLUMNS"})
_TABLES = ("commands/labelling.py", "commands/machine.py", "tasks/bench_at_scale.py", "backbones/catalogue.py")
"""Where these are the headings of tables; elsewhere they are names of columns in files."""
_FORMAT = re.compile(r"%(?:\.\d+)?[sdf]")


def _escaped(text: str) -> str:
    """Fixed text as a table has it; `{}` and `{name}` are holes of `str.format`."""
    plain = re.sub(r"[\[\]{}|\\]", lambda found: "\\" + found[0], text)
    plain = re.sub(r"\\\{[a-z_]*\\\}", "{}", plain)
    return plain.replace("\n", r"\n")


def skeleton(node: ast.AST) -> str | None:
    """A string with its holes; None for what is no string."""
    if isinstance(node, ast.Constant):
        return _escaped(node.value) if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(_part(value) for value in node.values)
    if isinstance(node, ast.IfExp):
        texts = _choices(node)
        return None if texts is None else "[" + "|".join(texts) + "]"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Constant):
        return f"[{_escaped(node.left.value)}|]" if isinstance(node.left.value, str) else None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        sides = skeleton(node.left), skeleton(node.right)
        return None if sides == (None, None) else "".join("{}" if side is None else side for side in sides)
    return None


def _part(node: ast.AST) -> str:
    if not isinstance(node, ast.FormattedValue):
        return skeleton(node) or ""
    inside = skeleton(node.value) if node.format_spec is None and node.conversion == -1 else None
    return "{}" if inside is None or isinstance(node.value, ast.JoinedStr) else inside


def _choices(node: ast.IfExp) -> list[str] | None:
    found: list[str] = []
    for branch in (node.body, node.orelse):
        texts = _choices(branch) if isinstance(branch, ast.IfExp) else [skeleton(branch)]
        if texts is None or None in texts:
            return None
        found += [text for text in texts if text is not None]
    return found


def strings(tree: ast.AST, *, tables: bool) -> Iterator[tuple[int, str, str]]:
    """Line, sentence and place of every string of a module; the place is `TEXT`, `HEADING` or `PART`."""
    skipped: set[ast.AST] = set()
    headings: set[ast.AST] = set()
    logged: set[ast.AST] = set()
    parts: set[ast.AST] = set()
    for node in ast.walk(tree):
        skipped |= _unread(node)
        headings |= _headings(node, tables=tables)
        parts |= _parts(node)
        if isinstance(node, ast.Call) and _name_of(node.func) in {"warning", "info"}:
            logged |= set(node.args[:1])

    def inside(node: ast.AST, *, heading: bool) -> Iterator[tuple[int, str, str]]:
        heading = heading or node in headings
        if not _is_choice(node) and (found := skeleton(node)) is not None:
            text = _FORMAT.sub("{}", found) if node in logged else found
            yield getattr(node, "lineno", 0), text, _place(node, parts, heading=heading)
        for child in ast.iter_child_nodes(node):
            is_part = isinstance(child, ast.Constant) and isinstance(node, ast.JoinedStr | ast.BinOp)
            is_part = is_part and not _is_choice(node)
            if child not in skipped and not is_part:
                yield from inside(child, heading=heading and not isinstance(node, ast.Call | ast.JoinedStr))

    yield from inside(tree, heading=False)


def _is_choice(node: ast.AST) -> bool:
    """Whether a node that stands alone gives one of several texts, or a text or none."""
    return isinstance(node, ast.IfExp) or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult))


def _place(node: ast.AST, parts: set[ast.AST], *, heading: bool) -> str:
    return PART if node in parts else HEADING if heading else TEXT


def _parts(node: ast.AST) -> set[ast.AST]:
    """The texts of the choices in a sentence."""
    if isinstance(node, ast.JoinedStr):
        inner = [value.value for value in node.values if isinstance(value, ast.FormattedValue)]
    elif isinstance(node, ast.BinOp):
        inner = [node.left, node.right]
    else:
        return set()
    return {one for value in inner if isinstance(value, ast.IfExp) for one in _branches(value)}


def _branches(node: ast.IfExp) -> Iterator[ast.AST]:
    for branch in (node.body, node.orelse):
        yield from _branches(branch) if isinstance(branch, ast.IfExp) else (branch,)


def _unread(node: ast.AST) -> set[ast.AST]:
    """What lies in a node and is read by nobody: docstrings, annotations, texts of the help."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return {node.value}
    if isinstance(node, ast.Call):
        if _name_of(node.func) in _HELP:
            return {*node.args, *node.keywords}
        return {keyword for keyword in node.keywords if keyword.arg in _NOT_SAID}
    return {found for found in (getattr(node, "annotation", None), getattr(node, "returns", None)) if found}


def _headings(node: ast.AST, *, tables: bool) -> set[ast.AST]:
    if isinstance(node, ast.Call) and (place := _HEADINGS.get(_name_of(node.func))) is not None:
        found = set(node.args[place : place + 1])
        return found | {keyword.value for keyword in node.keywords if keyword.arg in _FACTS}
    if isinstance(node, ast.Call):
        return {keyword.value for keyword in node.keywords if keyword.arg in _FACTS}
    targets = node.targets if isinstance(node, ast.Assign) else []
    if tables and any(getattr(target, "id", "") in _COLUMNS for target in targets) and isinstance(node, ast.Assign):
        return {node.value}
    facts = [t for t in targets if getattr(t, "id", getattr(getattr(t, "value", None), "id", "")) in _FACTS]
    found = {target.slice for target in facts if isinstance(target, ast.Subscript)}
    if facts and isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
        found |= {key for key in node.value.keys if key is not None}
    return found


def _name_of(function: ast.AST) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _of_templates() -> Iterator[tuple[str, str]]:
    for file in sorted([*TEMPLATES.iterdir(), *SCRIPTS.glob("*.js")]):
        text = file.read_text(encoding="utf-8")
        place = str(file.relative_to(ROOT))
        if file.suffix == ".js":
            yield from ((place, ast.literal_eval(said)) for said in SAID_BY_SCRIPTS.findall(text))
            continue
        for line, _, message in environment().extract_translations(text):
            for one in (message,) if isinstance(message, str) else filter(None, message):
                yield f"{place}:{line}", plain(one)


_TRANS = re.compile(r"\{%-? *trans\b.*?endtrans *-?%\}", re.DOTALL)
_CODE = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}|<(style|script|code|kbd)\b.*?</\1>|<!--.*?-->", re.DOTALL)
_STYLE = re.compile(r"\{% block (style|scripts) %\}.*?\{% endblock %\}", re.DOTALL)
_READ = re.compile(r'(?:title|alt|placeholder|aria-label)="([^"]*)"')


def bare() -> Iterator[tuple[str, str]]:
    """Place and text of what templates say outside of `{% trans %}`, also in attributes that people read."""
    for file in sorted(TEMPLATES.glob("*.html")):
        text = _CODE.sub("", _STYLE.sub("", _TRANS.sub("", file.read_text(encoding="utf-8"))))
        texts = [*_READ.findall(text), *re.split(r"<[^>]*>", text)]
        found = (html.unescape(one).strip() for one in texts if "{" not in one)  # CSS has braces
        yield from ((file.name, one) for one in found if re.search(r"[A-Za-z]{2,}", one))


def said() -> tuple[dict[str, str], set[str]]:
    """What needs a translation, with its place; and all that the source holds, which may have one."""
    needed: dict[str, str] = {}
    held: set[str] = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        name = str(file.relative_to(PACKAGE))
        if name.startswith(UNREAD):
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for line, text, stands in strings(tree, tables=name.startswith(_TABLES)):
            bare = text.strip()
            held |= {bare, *_beginning(bare)}
            is_word = stands == HEADING and re.search(r"[A-Za-z]{2,}", bare) and not bare.startswith("{}")
            if any(bare.startswith(prefix) for prefix in PREFIXES):
                bare = bare.partition(": ")[2]
                held.add(bare)
            if bare and stands != PART and bare not in UNSAID and (_PROSE.search(bare) or is_word):
                needed.setdefault(bare, f"{file.relative_to(ROOT)}:{line}")
    for place, text in _of_templates():
        held.add(text.strip())
        needed.setdefault(text.strip(), place)
    return needed, held


def _beginning(text: str) -> Iterator[str]:
    """The word before the first hole of a text, such as "error:", by which a line begins whatever follows."""
    yield from re.findall(r"^[a-z]+:(?= \{\})", text)


def main() -> None:
    """Prints what has no translation, to be added to a file of `embedpipe/core/languages/zh`."""
    known = {sentence.english for sentence in load("zh")}
    for text, place in said()[0].items():
        if text not in known:
            sys.stdout.write(f"# {place}\n{text}\n")


if __name__ == "__main__":
    main()
