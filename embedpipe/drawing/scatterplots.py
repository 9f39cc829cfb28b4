"""Pages as points of an interactive HTML file that stands alone: colours by type, pictures under the mouse, a lasso."""

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

from embedpipe.core.display import display, path_to_text
from embedpipe.core.records import PageRef
from embedpipe.drawing.templating import environment, write_html
from embedpipe.pages.containers.places import outer

TYPES_SHOWN = 20
"""Types with a mark of their own: seven hues for the colour-blind as well, in three shapes; others are grey."""

STATUSES = ("ok", "ambiguous", "novel")
"""Each has a mark of its own where colours are answers."""

_STEPS = 65_535


@dataclass(frozen=True, slots=True)
class Point:
    """A page of the map.

    Attributes:
        page: Which one.
        page_count: Pages of its document.
        label: Its type, or None.
        thumbnail: A JPEG, or None.
        predicted: The type that a classifier gives its document, or None.
        status: How sure that is, one of `STATUSES`, or "".
    """

    page: PageRef
    page_count: int
    label: str | None
    thumbnail: bytes | None
    predicted: str | None = None
    status: str = ""


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
    told = Counter(point.predicted for point in points if point.predicted)
    # one list for labels and answers, so that a type has one colour
    types = sorted(counts | told, key=lambda name: (-counts[name], -told[name], name))
    numbers = {name: number for number, name in enumerate(types)}
    folders = _folders([point.page.source for point in points])
    named = Counter(folders)
    names = sorted(named, key=lambda name: (-named[name], name))
    places_of = {name: number for number, name in enumerate(names)}
    documents: dict[tuple[str, str], int] = {}
    for point in points:
        documents.setdefault((point.page.document_sha256, point.page.source), len(documents))
    return {
        "types": [display(name) for name in types],
        "shown": TYPES_SHOWN,
        "statuses": list(STATUSES),
        "folders": [display(name) for name in names],
        "predicted": bool(told),
        "documents": [_document(source) for _, source in documents],
        "points": {
            "document": [documents[point.page.document_sha256, point.page.source] for point in points],
            "page": [point.page.page_number for point in points],
            "pages": [point.page_count for point in points],
            "type": [numbers[point.label] if point.label else -1 for point in points],
            "predicted": [numbers[p.predicted] if p.predicted else -1 for p in points] if told else [],
            "status": [STATUSES.index(p.status) if p.status else -1 for p in points] if told else [],
            "folder": [places_of[folder] for folder in folders],
            "places": _steps(places),
        },
        "thumbnails": {
            str(number): base64.b64encode(point.thumbnail).decode("ascii")
            for number, point in enumerate(points)
            if point.thumbnail is not None
        },
    }


def _document(source: str) -> dict[str, str]:
    """Name, folder and address of a file, or of its container; bytes that are not UTF-8 are lost in the first two only.

    Its path as tables have it is told where it is not folder, slash and name.
    """
    folder, name = os.path.split(source)
    found = {"name": display(name), "folder": display(folder), "address": Path(os.path.abspath(outer(source))).as_uri()}
    path = path_to_text(source)
    return found if path == f"{found['folder']}/{found['name']}" else {**found, "path": path}


def _folders(sources: Sequence[str]) -> list[str]:
    """The folder of each file, below the one that they all lie in."""
    above = [os.path.dirname(source) for source in sources]
    try:
        common = os.path.commonpath(set(above))
    except ValueError:  # other drives, or a path that is not absolute
        return above
    below = {folder: os.path.relpath(folder, common) if folder != common else "." for folder in set(above)}
    return [below[folder] for folder in above]


def _steps(places: NDArray[np.float32]) -> list[list[int]]:
    """Places as whole numbers with one scale for both directions: [all x, all y]."""
    low, high = places.min(axis=0), places.max(axis=0)
    extent = float((high - low).max()) or 1.0
    middle = (low + high) / 2
    steps = np.rint(((places - middle) / extent + 0.5) * _STEPS).astype(np.int64)
    columns: list[list[int]] = steps.T.tolist()
    return columns
