"""`index`: builds the index of the stored pages, or brings it up to date."""

from typing import Annotated

import typer

from embedpipe.commands.base import DONE, begin, command
from embedpipe.commands.options import Common, Space
from embedpipe.core.errors import UsageError

_MEGABYTE = 1024**2


@command("index")
def index(
    common: Common,
    space: Space,
    factory: Annotated[
        str | None, typer.Option("--index", help="auto, or a factory of FAISS such as Flat, HNSW32, IVF1024,PQ64.")
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(help="Megabytes that it may take; a quarter of the machine's if not given.", min=1),
    ] = None,
    recall: Annotated[
        float | None, typer.Option(help="Share of the 10 nearest pages that must be found: 0.95.", min=0.0, max=1.0)
    ] = None,
) -> int:
    """Build the index of the stored pages, or add what is new to it; `similar` does so by itself when needed."""
    from embedpipe.classifiers import missing
    from embedpipe.index import page_index

    workspace, output = begin(common)
    store = workspace.store(space.backbone, space.space)
    if recall is not None and not recall:
        raise UsageError("--recall 0: write a share such as 0.95")
    request = None
    if (factory, memory, recall) != (None, None, None):
        bytes_ = None if memory is None else memory * _MEGABYTE
        request = page_index.Request(factory or "auto", bytes_, 0.95 if recall is None else recall)
    folder = workspace.index_path(store.identity.space)
    with output.progress("indexing") as bar:
        _, done = page_index.make(store, folder, request, bar.count)
    values = {"done": done, **(page_index.describe(folder) or {})}
    lost = missing.lost_pages(store, without="they are not in the index")
    output.result({**values, "missing": lost})
    output.line(f"{done}: {page_index.in_words(values)}")
    return DONE
