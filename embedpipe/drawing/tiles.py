"""Pages as pictures with captions, rendered from where their documents are now."""

import itertools
import os
from collections.abc import Iterable, Sequence

from embedpipe.core.records import Document, PageRef
from embedpipe.drawing.pictures import Tile
from embedpipe.embedding.streaming import render_pages
from embedpipe.store.workspace import Sources


def page_tiles(sources: Sources, pages: Iterable[tuple[PageRef, str]], size: int = 420) -> list[Tile]:
    """A tile for each page; one without a picture where the document is gone or was changed.

    Args:
        sources: Where the documents are.
        pages: Pages, and what is said below each.
        size: Pixels of the long side.
    """
    pages = list(pages)
    documents: dict[str, Document | None] = {}
    for page, _ in pages:
        if page.document_sha256 not in documents:
            documents[page.document_sha256] = sources.document(page.document_sha256)
    wanted = [(document, page.page_index) for page, _ in pages if (document := documents[page.document_sha256])]
    pixels = render_pages(wanted, size)
    return [
        Tile(
            pixels.get((page.document_sha256, page.page_index)),
            caption(page),
            detail,
        )
        for page, detail in pages
    ]


def tile_groups(
    sources: Sources, groups: Sequence[Sequence[tuple[PageRef, str]]], *, most: int, size: int = 340
) -> list[list[Tile]]:
    """Tiles of several groups of pages, rendered together; those beyond the first `most` have no picture."""
    pages = [page for group in groups for page in group]
    tiles = iter(page_tiles(sources, pages[:most], size))
    rest = (Tile(None, caption(page), detail) for page, detail in pages[most:])
    in_order = itertools.chain(tiles, rest)
    return [list(itertools.islice(in_order, len(group))) for group in groups]


def caption(page: PageRef) -> str:
    """File name and page number."""
    return f"{os.path.basename(page.source)} p. {page.page_number}"
