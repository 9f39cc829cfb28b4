"""`similar`: pages that look alike."""

from pathlib import Path
from typing import Annotated

import typer

from embedpipe.commands.base import DONE, begin, command
from embedpipe.options import Common, Network, Reading


@command("similar")
def similar(
    query: Annotated[str, typer.Argument(help="FILE#page=N, or FILE for its first page.")],
    common: Common,
    network: Network,
    reading: Reading,
    space: Annotated[str | None, typer.Option(help="The features of this space, see `info`.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many pages.", min=1, max=1000)] = 10,
    contact_sheet: Annotated[Path | None, typer.Option(help="Draw query and neighbours into a PNG file.")] = None,
) -> int:
    """Find the pages that look most like a page, whether it is in the store or not."""
    from embedpipe import lookalikes

    workspace, output = begin(common)
    store = workspace.store(network.backbone, space)
    found = lookalikes.similar(
        workspace, store, query, lambda: network.load(workspace, store.identity), k=k, settings=reading.settings()
    )
    if contact_sheet is not None:
        lookalikes.draw(workspace, found, contact_sheet)
        output.notice(f"drawn: {contact_sheet}")
    values = lookalikes.as_json(found)
    output.result(values)
    output.table(
        ("score", "type", "page"),
        [(f"{n['score']:.3f}", n["label"] or "-", f"{n['path']}#page={n['page']}") for n in values["neighbours"]],
    )
    return DONE
