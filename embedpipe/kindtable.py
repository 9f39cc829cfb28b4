"""The kinds of documents whose pages were stored before kinds were told: read from their files where these still are."""

import logging
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from embedpipe.documents import ReadOptions
from embedpipe.evaluation import LabelledPages
from embedpipe.kinds import UNKNOWN
from embedpipe.machine import render_workers
from embedpipe.records import Document, PageImage, Recipe
from embedpipe.rendering import Guards, Job, Renderer, Selection
from embedpipe.workspace import Workspace

log = logging.getLogger(__name__)


def read_kinds(documents: Iterable[Document], options: ReadOptions | None = None) -> dict[str, str]:
    """The kind of the first page of documents, by SHA-256; those that cannot be read now are missing.

    Args:
        documents: Where they are.
        options: Limits and passwords.
    """
    documents, given = list(documents), options or ReadOptions()
    if not documents:
        return {}
    first = ReadOptions(Recipe(), limits=given.limits, passwords=given.passwords)
    with Renderer(first, Guards(workers=max(1, min(render_workers(), len(documents))))) as renderer:
        return {
            page.info.ref.document_sha256: page.info.source_kind
            for rendered in renderer.render(Job(document, Selection(((1, 1),))) for document in documents)
            for page in rendered.results
            if isinstance(page, PageImage)
        }


def known_kinds(workspace: Workspace, pages: LabelledPages) -> NDArray[np.object_]:
    """The kind of each labelled page, "" where nobody can tell it any more, (n,).

    Of documents that an earlier version stored the first page is looked at again, and stands for the others.
    """
    kinds = np.full(len(pages.y), UNKNOWN, object) if pages.kinds is None else pages.kinds.astype(object)
    unknown = kinds == UNKNOWN
    if not unknown.any():
        return kinds
    sources = workspace.sources()
    wanted = np.unique(pages.documents[unknown].astype(str))
    found = read_kinds(document for sha256 in wanted if (document := sources.document(sha256)))
    kinds[unknown] = [found.get(sha256, UNKNOWN) for sha256 in pages.documents[unknown]]
    if missing := len(wanted) - len(found):
        log.warning(
            "whether %d documents are scans is not known, for their files are not where they were: run embed on them",
            missing,
        )
    return kinds
