"""The families of a store: which layouts there are, for people to look at."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedpipe.core.display import path_to_text
from embedpipe.core.records import PageRef
from embedpipe.core.tables import write_csv
from embedpipe.drawing.galleries import MOST_PICTURES, Group, write_gallery
from embedpipe.drawing.pictures import contact_sheet
from embedpipe.drawing.tiles import tile_groups
from embedpipe.index.families import SAME_LAYOUT, families_of_many
from embedpipe.index.page_index import fresh_index
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace

_SHOWN = 12
"""Pages of a family that are drawn."""

COLUMNS = ("family", "path", "page", "representative", "coherence", "type")
"""Of the CSV."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A family and where its pages are.

    Attributes:
        pages: The most typical first.
        labels: Type of each page, or None.
        coherence: Mean cosine of two of them.
    """

    pages: tuple[PageRef, ...]
    labels: tuple[str | None, ...]
    coherence: float

    @property
    def label(self) -> str | None:
        """The type that most of its labelled pages have."""
        counts = Counter(label for label in self.labels if label)
        return counts.most_common(1)[0][0] if counts else None

    @property
    def documents(self) -> int:
        """How many documents have pages of it."""
        return len({page.document_sha256 for page in self.pages})


def find(
    workspace: Workspace,
    store: FeatureStore,
    *,
    threshold: float = SAME_LAYOUT,
    least: int = 3,
    first_pages: bool = False,
) -> list[Layout]:
    """Finds the families of a store, the largest first; blank pages are in none.

    Args:
        workspace: Where index, labels and documents are.
        store: The features.
        threshold: Least mean cosine of two pages of a family.
        least: Pages of the smallest family.
        first_pages: Only the first page of each document.
    """
    pages = store.pages().sort_values(["document_sha256", "page_index"])  # so ties have one order
    wanted = pages["outcome"] != "blank"
    if first_pages:
        wanted &= pages["page_index"] == 0
    pages = pages[wanted]
    page_index = fresh_index(store, workspace.index_path(store.identity.space))
    ids = pages["page_id"].to_numpy(np.int64)
    found = families_of_many(lambda some: page_index.unit(store.features(some)), ids, threshold=threshold, least=least)
    sources, types = workspace.sources(), workspace.labels().of_pages(pages)["label"].tolist()
    documents, indices, stored = (pages[name].tolist() for name in ("document_sha256", "page_index", "source"))
    path_of = functools.cache(sources.path_of)  # asks the disk
    order = np.argsort(ids)
    by_id = ids[order]
    layouts = []
    for family in found:
        rows = order[np.searchsorted(by_id, family.page_ids)].tolist()
        own = ((documents[row], indices[row], path_of(documents[row], stored[row])) for row in rows)
        refs = tuple(PageRef(*page) for page in own)
        layouts.append(Layout(refs, tuple(types[row] or None for row in rows), family.coherence))
    return layouts


def as_json(layouts: Sequence[Layout]) -> list[dict[str, Any]]:
    """As the command line prints them."""
    return [
        {
            "family": number,
            "pages": len(layout.pages),
            "documents": layout.documents,
            "coherence": round(layout.coherence, 4),
            "type": layout.label,
            "representative": str(layout.pages[0]),
            "members": [{"path": page.source, "page": page.page_number} for page in layout.pages],
        }
        for number, layout in enumerate(layouts, 1)
    ]


def write_table(layouts: Sequence[Layout], file: Path) -> None:
    """Writes a row for each page of each family as a CSV."""
    rows = (
        {
            "family": number,
            "path": path_to_text(page.source),
            "page": page.page_number,
            "representative": "yes" if page == layout.pages[0] else "no",
            "coherence": round(layout.coherence, 4),
            "type": label,
        }
        for number, layout in enumerate(layouts, 1)
        for page, label in zip(layout.pages, layout.labels, strict=True)
    )
    write_csv(file, COLUMNS, rows)


def write_html(workspace: Workspace, layouts: Sequence[Layout], facts: Mapping[str, str], file: Path) -> None:
    """Writes the families, each with its most typical pages, as one HTML file."""
    members = [list(zip(x.pages[:_SHOWN], (label or "" for label in x.labels), strict=False)) for x in layouts]
    tiles = tile_groups(workspace, members, most=MOST_PICTURES)
    groups = [Group(_title(n, x), _detail(x), own) for n, (x, own) in enumerate(zip(layouts, tiles, strict=True), 1)]
    write_gallery(file, "Families of pages", facts, groups, empty="No pages share a layout.")


def draw(workspace: Workspace, layouts: Sequence[Layout], folder: Path) -> None:
    """Draws a contact sheet of each family, `family-001.png` and so on: the most typical page, then the next ones."""
    members = [list(zip(x.pages[:_SHOWN], (label or "" for label in x.labels), strict=False)) for x in layouts]
    tiles = tile_groups(workspace, members, most=len(layouts) * _SHOWN)
    for number, (layout, (first, *others)) in enumerate(zip(layouts, tiles, strict=True), 1):
        title, headings = f"{_title(number, layout)}: {_detail(layout)}", ("Most typical", "And the next")
        contact_sheet(first, others, folder / f"family-{number:03}.png", title, headings)


def _title(number: int, layout: Layout) -> str:
    return f"Family {number}" + (f", {layout.label}" if layout.label else "")


def _detail(layout: Layout) -> str:
    return f"{len(layout.pages)} pages of {layout.documents} documents, coherence {layout.coherence:.2f}"
