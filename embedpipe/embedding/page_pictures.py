"""Pictures of stored pages for people to look at: what was kept of them, and only what is left is drawn again.

This is the one place that decides where such a picture comes from, so none of its callers needs the documents of pages
whose thumbnails are kept.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.records import Document, Recipe
from embedpipe.embedding.streaming import each_page
from embedpipe.pages.documents import THUMBNAILS, ReadOptions
from embedpipe.pages.extras.thumbnails import pixels_of
from embedpipe.store.page_extras import thumbnails_of
from embedpipe.store.page_table import Key
from embedpipe.store.workspace import Sources, Workspace

_logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


def page_jpegs(
    workspace: Workspace,
    pages: Iterable[Key],
    passwords: tuple[str, ...] = (),
    progress: Progress = lambda *_: None,
    *,
    sources: Sources | None = None,
) -> dict[Key, bytes]:
    """Thumbnails of stored pages, as they are kept; those that are not kept are made in the same way.

    Args:
        workspace: Where thumbnails are kept, and where the documents are.
        pages: Which pages.
        passwords: To try on encrypted PDFs.
        progress: Called with how many of how many there are.
        sources: Of the workspace, where they were read already.

    Returns:
        JPEGs; pages that are neither kept nor can be drawn are missing.
    """
    keys = list(dict.fromkeys(pages))
    found = thumbnails_of(workspace.root, keys)
    progress(len(found), len(keys))
    left = [key for key in keys if key not in found]
    options = ReadOptions(Recipe(), passwords=passwords, extras=frozenset({THUMBNAILS}))
    known = workspace.sources() if left and sources is None else sources
    for page in each_page(documents_of(known, left), options=options) if left and known is not None else ():
        ref = page.info.ref
        found[ref.document_sha256, ref.page_index] = page.info.thumbnail or b""
        progress(len(found), len(keys))
    return found


def page_pictures(
    workspace: Workspace, pages: Iterable[Key], size: int = 420, known: Mapping[Key, bytes] | None = None
) -> dict[Key, NDArray[np.uint8]]:
    """Pictures of some stored pages; says how many there are none of.

    Args:
        workspace: Where thumbnails are kept, and where the documents are.
        pages: Which pages.
        size: Pixels of the long side of those that have to be drawn; what is kept is as it is.
        known: Thumbnails of pages that need not be stored.

    Returns:
        uint8 (H, W, 3); pages that are neither kept nor can be drawn are missing.
    """
    keys = list(dict.fromkeys(pages))
    kept = {**(known or {}), **thumbnails_of(workspace.root, keys)}
    found = {key: pixels_of(kept[key]) for key in keys if kept.get(key)}
    left = [key for key in keys if key not in found]
    for page in each_page(documents_of(workspace.sources(), left), size) if left else ():
        found[page.info.ref.document_sha256, page.info.ref.page_index] = page.pixels
    if missing := len(keys) - len(found):
        _logger.warning(
            "%d of %d pages are shown without a picture: none is kept, and the file is gone, was changed, or cannot be "
            "drawn",
            missing,
            len(keys),
        )
    return found


def large_pictures(
    workspace: Workspace, pages: Iterable[Key], size: int, others: Iterable[tuple[Document, int]] = ()
) -> Iterator[tuple[Key, NDArray[np.uint8]]]:
    """Pictures of pages that people have to read: drawn from the document where it is, else what is kept.

    Args:
        workspace: Where thumbnails are kept, and where the documents are.
        pages: Which pages of stored documents.
        size: Pixels of the long side of those that are drawn.
        others: Pages of documents that are not stored.

    Yields:
        Page and uint8 (H, W, 3), in no fixed order; pages that are neither kept nor can be drawn are missing.
    """
    left = dict.fromkeys(pages)
    wanted = [*documents_of(workspace.sources(), list(left)), *others]
    for page in each_page(wanted, size) if wanted else ():
        key = page.info.ref.document_sha256, page.info.ref.page_index
        left.pop(key, None)
        yield key, page.pixels
    for key, picture in thumbnails_of(workspace.root, list(left)).items():
        yield key, pixels_of(picture)


def documents_of(sources: Sources, pages: Sequence[Key]) -> list[tuple[Document, int]]:
    """Documents and page indices of those pages whose document lies unchanged where it was."""
    documents = {sha256: sources.document(sha256) for sha256 in dict.fromkeys(sha256 for sha256, _ in pages)}
    return [(document, index) for sha256, index in pages if (document := documents[sha256])]
