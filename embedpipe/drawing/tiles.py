"""Pages as pictures with captions."""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence

from embedpipe.core.records import PageRef
from embedpipe.drawing.pictures import Tile
from embedpipe.embedding.page_pictures import page_pictures
from embedpipe.store.page_table import Key
from embedpipe.store.workspace import Workspace


def page_tiles(
    workspace: Workspace, pages: Iterable[tuple[PageRef, str]], known: Mapping[Key, bytes] | None = None
) -> list[Tile]:
    """A tile for each page; one without a picture where none is kept and the document is gone or was changed.

    Args:
        workspace: Where thumbnails and documents are.
        pages: Pages, and what is said below each.
        known: Thumbnails of pages that need not be stored.
    """
    pages = list(pages)
    pixels = page_pictures(workspace, [(page.document_sha256, page.page_index) for page, _ in pages], known=known)
    return [
        Tile(
            pixels.get((page.document_sha256, page.page_index)),
            caption(page),
            detail,
        )
        for page, detail in pages
    ]


def tile_groups(
    workspace: Workspace,
    groups: Sequence[Sequence[tuple[PageRef, str]]],
    *,
    most: int,
    known: Mapping[Key, bytes] | None = None,
) -> list[list[Tile]]:
    """Tiles of several groups of pages, made together; those beyond the first `most` have no picture."""
    pages = [page for group in groups for page in group]
    tiles = iter(page_tiles(workspace, pages[:most], known))
    rest = (Tile(None, caption(page), detail) for page, detail in pages[most:])
    in_order = itertools.chain(tiles, rest)
    return [list(itertools.islice(in_order, len(group))) for group in groups]


def caption(page: PageRef) -> str:
    """File name and page number."""
    return f"{os.path.basename(page.source)} p. {page.page_number}"
