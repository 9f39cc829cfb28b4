"""`map`: the store as a picture to look around in."""

import time
from pathlib import Path
from typing import Annotated

import typer

from embedpipe.commands.base import DONE, begin, command
from embedpipe.commands.options import Common, Space, read_passwords, read_selection
from embedpipe.commands.targets import file_option, folder_option
from embedpipe.core.outputs import HTML


@command("map")
def draw_map(
    common: Common,
    space: Space,
    html: Annotated[Path, file_option(HTML, "The HTML file to write.", "--html", "--output")] = Path("map.html"),
    method: Annotated[str, typer.Option(help="umap, pca, or auto: UMAP where it is installed.")] = "auto",
    pages: Annotated[str, typer.Option(help="Pages of each document: all, 1-3, or 1,last.")] = "all",
    limit: Annotated[
        int, typer.Option(help="Most pages that are drawn; beyond, documents take turns to give one.", min=1)
    ] = 50_000,
    thumbnails: Annotated[int, typer.Option(help="Most pages with a picture.", min=0)] = 5_000,
    seed: Annotated[int, typer.Option(help="Of the sample and of UMAP.", min=0, max=2**32 - 1)] = 0,
    password_file: Annotated[
        Path | None, typer.Option(help="Passwords of encrypted PDFs, for their pictures, one a line.", dir_okay=False)
    ] = None,
    projector: Annotated[Path | None, folder_option("Write a folder for TensorBoard's projector as well.")] = None,
) -> int:
    """Draw all pages as a map in an HTML file: pages that look alike lie together, coloured by type."""
    from embedpipe.classifiers import missing
    from embedpipe.drawing.projector import check_folder
    from embedpipe.tasks import map as map_task

    workspace, output = begin(common)
    start = time.perf_counter()
    if projector is not None:
        check_folder(projector)
    wanted = map_task.Wanted(method, read_selection(pages), limit, thumbnails, seed, read_passwords(password_file))
    store = workspace.store(space.backbone, space.space)
    with output.progress("drawing pages") as bar:
        found = map_task.make(workspace, store, wanted, bar.count)
    map_task.write_html(found, store.identity.space, html)
    if projector is not None:
        map_task.export_projector(found, projector)
    if found.reason:
        output.notice(f"drawn by PCA: {found.reason}")
    for note in map_task.notes(found):
        output.notice(note)
    values = map_task.as_json(found)
    values |= {
        "seed": seed,
        "space": store.identity.space,
        "output": str(html),
        "size": html.stat().st_size if html.is_file() else None,
    }
    values |= {"projector": None if projector is None else str(projector)}
    values["missing"] = missing.lost_pages(store, without="they are not on the map")
    values["seconds"] = round(time.perf_counter() - start, 3)
    output.result(values)
    shown = "UMAP" if found.explained is None else f"PCA, which shows {found.explained:.0%} of the variance"
    output.line(f"{values['pages']} pages of {values['documents']} documents, placed by {shown}: open {html}")
    if projector is not None:
        output.line(f"for TensorBoard: tensorboard --logdir {projector}")
    return DONE
