"""A list of what has no label yet, to be filled in with Excel and given back to `label`."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedpipe.core.display import path_to_text
from embedpipe.core.errors import LabelsError
from embedpipe.core.tables import write_csv
from embedpipe.drawing.workbook import Book, Column, Picture, Sheet
from embedpipe.embedding.page_pictures import page_jpegs
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import review, suggest
from embedpipe.tasks.review import Doubt

if TYPE_CHECKING:
    from embedpipe.classifiers.bundles import ClassifierBundle

COLUMNS = ("path", "label", "group", "candidates", "confidence", "status", "pages", "document")
"""Of the CSV; `label` and `group` are left empty, to be filled in and given to `label`."""

_CHOSEN = 300
"""Documents that are chosen one after the other, so that none is like those before it; the time grows with them."""
_CANDIDATES = 3


def find(
    workspace: Workspace, store: FeatureStore, bundle: "ClassifierBundle | None", limit: int | None = None
) -> tuple[list[Doubt], int]:
    """The documents without a label, the most useful ones first.

    First come those that `suggest` chooses, then the others by how close the decision is, blank ones last.

    Args:
        workspace: Where labels and documents are.
        store: The features.
        bundle: Gives candidates; without one, only what a document looks like decides the order.
        limit: Most documents.

    Returns:
        The documents, and how many more there are.

    Raises:
        LabelsError: Every document is labelled.
    """
    places = review.unlabelled(workspace, store)
    if not places:
        raise LabelsError("every stored document has a label: run `embed` on more of them")
    chosen: list[suggest.Suggestion] = []
    with contextlib.suppress(LabelsError):  # only blank ones are left
        chosen = suggest.suggest(workspace, store, min(limit or _CHOSEN, _CHOSEN), bundle)
    order = {suggestion.document_sha256: place for place, suggestion in enumerate(chosen)}
    if bundle is None:
        found = [Doubt(sha256, path, "", "", ()) for sha256, path in places.items()]
    else:
        found = review.answers(workspace, store, bundle, places)
    last = len(order)
    found.sort(key=lambda d: (order.get(d.document_sha256, last), d.status == "blank", d.margin, d.path))
    shown = found[:limit]
    return shown, len(found) - len(shown)


def write(workspace: Workspace, rows: Sequence[Doubt], bundle: "ClassifierBundle | None", file: Path) -> None:
    """Writes the list as a workbook with pictures and types to choose from, or as a CSV, by the end of its name.

    Raises:
        ArtifactError: The file cannot be written.
    """
    if file.suffix.lower() != ".xlsx":
        write_csv(file, COLUMNS, map(_row, rows))
        return
    pictures = page_jpegs(workspace, [(row.document_sha256, row.page_index) for row in rows])
    columns = [
        Column("first page"),
        Column("path", 48),
        Column("label", 22, fill_in=True, choices=(*review.all_types(workspace, bundle), NONE)),
        Column("group", 18, fill_in=True),
        Column("candidates", 26),
        Column("confidence", 11, number="0%"),
        Column("status", 11),
        Column("pages", 8),
        Column("document", hidden=True),
    ]
    lines = []
    for row in rows:
        values, picture = _row(row), pictures.get((row.document_sha256, row.page_index))
        lines.append((Picture(picture) if picture else None, *(values.get(column.name) for column in columns[1:])))
    book = Book()
    book.add(Sheet("to label", columns, lines))
    book.save(file)


def _row(row: Doubt) -> dict[str, Any]:
    return {
        "path": path_to_text(row.path),
        "candidates": "; ".join(kind for kind, _ in row.candidates[:_CANDIDATES]),
        "confidence": round(row.candidates[0][1] or 0.0, 4) if row.candidates else None,
        "status": row.status,
        "pages": row.pages or None,
        "document": row.document_sha256,
    }


def as_json(rows: Sequence[Doubt], left_out: int) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "left_out": left_out,
        "documents": [
            {
                "path": row.path,
                "candidates": [{"type": kind, "confidence": share} for kind, share in row.candidates],
                "document": row.document_sha256,
            }
            for row in rows
        ],
    }
