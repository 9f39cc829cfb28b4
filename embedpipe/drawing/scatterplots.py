"""Pages as points of an interactive HTML file that stands alone: colours by type, pictures under the mouse."""

import base64
import hashlib
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from embedpipe.core.display import display
from embedpipe.core.records import PageRef
from embedpipe.drawing.templating import environment, write_html
from embedpipe.pages.containers.places import outer

TYPES_SHOWN = 20
"""Types with a mark of their own: seven hues for the colour-blind as well, in three shapes; others are grey."""

_STEPS = 65_535


@dataclass(frozen=True, slots=True)
class Point:
    """A page of the map.

    Attributes:
        page: Which one.
        page_count: Pages of its document.
        label: Its type, or None.
        thumbnail: A JPEG, or None.
    """

    page: PageRef
    page_count: int
    label: str | None
    thumbnail: bytes | None


def write_scatterplot(
    file: Path,
    points: Sequence[Point],
    places: NDArray[np.float32],
    *,
    title: str,
    facts: Mapping[str, str],
    notes: Sequence[str] = (),
) -> None:
    """Writes the map; an older file is replaced in one step.

    Args:
        file: The HTML file.
        points: The pages, n of them.
        places: Where they are, (n, 2).
        title: What is shown.
        facts: How it was made: names and values.
        notes: What is not shown, and why; a sentence each.

    Raises:
        ArtifactError: The file cannot be written.
    """
    script = environment().get_template("map.js").render()
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    write_html(
        file,
        "map.html",
        title=title,
        facts=facts,
        notes=notes,
        script=Markup(script),  # noqa: S704 - the template's own text, without values
        digest=digest,
        content=_content(points, places),
    )


def _content(points: Sequence[Point], places: NDArray[np.float32]) -> dict[str, Any]:
    counts = Counter(point.label for point in points if point.label)
    types = sorted(counts, key=lambda name: (-counts[name], name))
    numbers = {name: number for number, name in enumerate(types)}
    documents: dict[tuple[str, str], int] = {}
    for point in points:
        documents.setdefault((point.page.document_sha256, point.page.source), len(documents))
    return {
        "types": [display(name) for name in types],
        "shown": TYPES_SHOWN,
        "documents": [_document(source) for _, source in documents],
        "points": {
            "document": [documents[point.page.document_sha256, point.page.source] for point in points],
            "page": [point.page.page_number for point in points],
            "pages": [point.page_count for point in points],
            "type": [numbers[point.label] if point.label else -1 for point in points],
            "places": _steps(places),
        },
        "thumbnails": {
            str(number): base64.b64encode(point.thumbnail).decode("ascii")
            for number, point in enumerate(points)
            if point.thumbnail is not None
        },
    }


def _document(source: str) -> dict[str, str]:
    """Name, folder and address of a file, or of its container; bytes that are not UTF-8 are lost in the first two."""
    folder, name = os.path.split(source)
    return {"name": display(name), "folder": display(folder), "address": Path(os.path.abspath(outer(source))).as_uri()}


def _steps(places: NDArray[np.float32]) -> list[list[int]]:
    """Places as whole numbers with one scale for both directions: [all x, all y]."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = float((high - low).max()) or 1.0
    middle = (low + high) / 2
    steps = np.rint(((places - middle) / extent + 0.5) * _STEPS).astype(np.int64)
    columns: list[list[int]] = steps.T.tolist()
    return columns
