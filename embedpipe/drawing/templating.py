"""HTML files that stand alone, from the templates of the package; whatever a file is called, its name does no harm."""

import base64
import functools
from pathlib import Path
from typing import Any

import jinja2

from embedpipe.core.display import display
from embedpipe.core.outputs import written


@functools.cache
def environment() -> jinja2.Environment:
    """Where templates come from; every value is escaped, and none can turn, break or split its line."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("embedpipe.drawing"),
        autoescape=True,
        finalize=_harmless,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


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
