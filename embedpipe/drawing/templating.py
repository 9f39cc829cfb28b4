"""HTML files that stand alone, from the templates of the package; whatever a file is called, its name does no harm."""

import base64
import functools
import json
import re
from pathlib import Path
from typing import Any

import jinja2

from embedpipe.core.display import display
from embedpipe.core.languages.choice import TAGS, current
from embedpipe.core.languages.translation import template as other_side
from embedpipe.core.languages.translation import word
from embedpipe.core.outputs import written


@functools.cache
def environment() -> jinja2.Environment:
    """Where templates come from; every value is escaped, and none can turn, break or split its line.

    What a template says itself stands in `{% trans %}`; sentences that it is given pass the filter `said`. Both are
    shown in the language of the process.
    """
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("embedpipe.drawing"),
        autoescape=True,
        finalize=_harmless,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    made.policies["ext.i18n.trimmed"] = True
    made.install_gettext_callables(_fixed, _plural, newstyle=True)  # type: ignore[attr-defined]
    made.filters["said"] = _said
    made.globals["page_language"] = lambda: TAGS[current()]
    made.globals["words_of"] = _words_of
    return made


@jinja2.pass_context  # so that no constant is translated once for all
def _said(_context: object, text: str) -> str:
    """A sentence or a heading of ours, in the language of the process."""
    return word(text)


def _words_of(script: str) -> dict[str, str]:
    """What a script says, in the language of the process, by its English."""
    said = {json.loads(text) for text in SAID_BY_SCRIPTS.findall(script)}
    return {text: other for text in sorted(said) if (other := other_side(text))}


SAID_BY_SCRIPTS = re.compile(r"\bsay\((\"(?:[^\"\\]|\\.)*\")")
_NAMED = re.compile(r"%\((\w+)\)s")


def _fixed(message: str) -> str:
    """The text of a `{% trans %}`, whose variables are written as %(name)s, in the language of the process."""
    names = _NAMED.findall(message)
    other = other_side(plain(message))
    if not other:
        return message
    return re.sub(r"\{(\d+)\}", lambda found: f"%({names[int(found[1]) - 1]})s", other.replace("%", "%%"))


def plain(message: str) -> str:
    """The text of a `{% trans %}` as the table of sentences has it."""
    return _NAMED.sub("{}", re.sub(r"([\[\]{}|\\])", r"\\\1", message)).replace("%%", "%")


def _plural(one: str, many: str, count: int) -> str:
    return _fixed(one if count == 1 else many)


def _harmless(value: object) -> object:
    is_markup = hasattr(value, "__html__")  # what a macro of the template gave; its values have passed already
    return display(value) if isinstance(value, str) and not is_markup else value


def write_html(file: Path, template: str, **values: Any) -> None:
    """Renders a template into a file, which is replaced in one step; raises ArtifactError where it cannot be written.

    Args:
        file: The HTML file.
        template: Name of one in `embedpipe/drawing/templates`.
        **values: What it shows.
    """
    html = environment().get_template(template).render(**values)
    with written(file) as temporary:
        temporary.write_text(html, encoding="utf-8")


def data_uri(content: bytes, kind: str) -> str:
    """A picture as the address of an `<img>`; `kind` is png or jpeg."""
    return f"data:image/{kind};base64," + base64.b64encode(content).decode("ascii")
