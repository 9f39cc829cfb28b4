"""`similar`, `index` and `explain`: pages that look alike, what finds them, and what a type rests on."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import (
    DONE,
    SOME_FAILED,
    Classifier,
    as_unreached,
    begin,
    begin_several,
    command,
    open_classifier,
    say_next,
)
from embedpipe.commands.terminal.options import Common, Network, Reading, Space
from embedpipe.commands.terminal.targets import file_option
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.outputs import HTML, PNG

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.explain import Explanation


@command("similar")
def similar(
    common: Common,
    network: Network,
    reading: Reading,
    query: Annotated[str | None, typer.Argument(help="FILE#page=N, or FILE for its first page.")] = None,
    queries: Annotated[
        Path | None, typer.Option(help="Take queries from a text file, one a line.", dir_okay=False)
    ] = None,
    space: Annotated[str | None, typer.Option(help="The features of this space, see `info`.")] = None,
    k: Annotated[int, typer.Option("-k", help="How many pages.", min=1, max=1000)] = 10,
    page_type: Annotated[
        str | None, typer.Option("--type", help="Only pages that are labelled with this type.")
    ] = None,
    other_documents: Annotated[
        bool, typer.Option("--other-documents", help="Leave out the other pages of the query's document.")
    ] = False,
    whole_document: Annotated[
        bool, typer.Option("--whole-document", help="Find documents, by all pages of FILE.")
    ] = False,
    box: Annotated[
        str | None, typer.Option(help="x0,y0,x1,y1 in shares of the page: compare only this box of the pages.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="Compare pages by pictures, by words, or by both.", metavar="pictures|words|both")
    ] = "pictures",
    png: Annotated[
        Path | None, file_option(PNG, "Draw query and neighbours into a PNG file.", "--png", "--contact-sheet")
    ] = None,
    html: Annotated[Path | None, file_option(HTML, "Write queries and neighbours into an HTML file.")] = None,
) -> int:
    """Find the pages that look or say most like a page, whether it is in the store or not."""
    from embedpipe.classifiers.lessons import missing
    from embedpipe.embedding.regions import parse_box
    from embedpipe.tasks import similar as similar_task
    from embedpipe.tasks.similar_several import Several

    workspace, output, unreached = begin_several(common)
    asked = _queries(query, queries)
    if png is not None and len(asked) > 1:
        raise UsageError("--png draws one query: use --html for several")
    if box is not None and whole_document:
        raise UsageError("--box compares boxes of pages, --whole-document compares all pages: choose one")
    if by not in similar_task.BY:
        raise UsageError(f"--by {by}: write {', '.join(similar_task.BY[:-1])} or {similar_task.BY[-1]}")
    if by != similar_task.PICTURES and (whole_document or box is not None):
        raise UsageError(
            f"--by {by} compares whole pages: leave {'--box' if box is not None else '--whole-document'} out"
        )
    region = None if box is None else parse_box(box)
    wanted = similar_task.Wanted(k, page_type, other_documents, whole_document, region, by)
    finder: similar_task.Finder | Several
    if workspace.beside:
        everywhere = (workspace, *workspace.beside)
        finder = Several.open(everywhere, (network.backbone, space), network.load, reading.settings())
        stores = [one.store for one in finder.finders]
    else:
        stores = [store := workspace.store(network.backbone, space)]
        load = partial(network.load, workspace, store.identity)
        finder = similar_task.Finder(workspace, store, load, reading.settings())
    with output.busy("searching"):
        answers = [finder.find(text, wanted) for text in asked]
    if png is not None:
        similar_task.draw(workspace, answers[0], png)
        output.notice(f"drawn: {png}")
    if html is not None:
        facts = {"Queries": str(len(asked)), "Type": page_type or "all", "Space": stores[0].identity.space}
        similar_task.write_html(workspace, answers, facts, html)
        output.notice(f"written: {html}")
    values = [similar_task.as_json(found) for found in answers]
    lost = [missing.lost_pages(store, without="they are not found") for store in stores]
    unreached += finder.lost if isinstance(finder, Several) else []
    answer = (values[0] if queries is None else {"queries": values}) | {"missing": lost[0] if len(lost) == 1 else lost}
    output.result(answer | as_unreached(unreached))
    for found in values:
        _print(found, output, with_query=queries is not None)
    return SOME_FAILED if unreached else DONE


def _print(found: dict[str, Any], output: "Output", *, with_query: bool) -> None:
    if with_query:
        output.line(f"{found['query']['path']}#page={found['query']['page']}")
    output.table(
        ("score", "type", "page"),
        [(f"{n['score']:.3f}", n["label"] or "-", f"{n['path']}#page={n['page']}") for n in found["neighbours"]],
    )


def _queries(query: str | None, file: Path | None) -> list[str]:
    if (query is None) == (file is None):
        raise UsageError("give a page, FILE#page=N, or --queries with a file of them")
    if query is not None:
        return [query]
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines() if file else []
    except (OSError, UnicodeDecodeError) as error:
        raise EmbedpipeError(f"--queries {file} cannot be read: {error}") from error
    found = [line.strip() for line in lines if line.strip()]
    if not found:
        raise EmbedpipeError(f"--queries {file} holds no query")
    return found


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
    from embedpipe.classifiers.lessons import missing
    from embedpipe.index import inventory, page_index

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
    values = {"done": done, **(inventory.describe(folder) or {})}
    lost = missing.lost_pages(store, without="they are not in the index")
    output.result({**values, "missing": lost})
    output.line(f"{done}: {inventory.in_words(values)}")
    say_next(common, output)
    return DONE


@command("explain")
def explain(
    query: Annotated[str, typer.Argument(help="FILE#page=N, or FILE for its first page.")],
    common: Common,
    network: Network,
    reading: Reading,
    classifier: Classifier = None,
    kind: Annotated[str | None, typer.Option("--type", help="Explain this type instead of the predicted one.")] = None,
    stage: Annotated[
        str | None, typer.Option(help="Draw the feature maps of this stage instead, such as stride16.")
    ] = None,
    maps: Annotated[int, typer.Option(help="Feature maps to draw.", min=1, max=400)] = 31,
    picture: Annotated[
        Path | None,
        file_option(
            PNG, "The PNG file.", "--png", "--picture", show_default="in the folder explanations of the artifacts"
        ),
    ] = None,
) -> int:
    """Show which parts of a page its type rests on, and which labelled pages it looks like."""
    workspace, output = begin(common)
    if stage is not None:
        return _draw_stage(workspace, output, query, network, reading, stage=stage, most=maps, picture=picture)
    from embedpipe.tasks import explain as explain_task
    from embedpipe.tasks.embed import Progress

    bundle = open_classifier(workspace, classifier)
    backbone = network.load(workspace, bundle.identity)
    with output.progress("covering parts") as bar:
        found = explain_task.explain(
            workspace,
            query,
            bundle,
            backbone,
            kind=kind,
            settings=reading.settings(),
            progress=lambda done, total: bar(Progress(done, done, total)),
        )
    picture = picture or explain_task.default_picture(workspace, found.page.info.ref)
    explain_task.draw(workspace, found, backbone, picture)
    output.result(explain_task.as_json(found) | {"picture": str(picture)})
    _print_explanation(found, output)
    output.line(f"drawn: {picture}")
    return DONE


def _draw_stage(
    workspace: "Workspace",
    output: "Output",
    query: str,
    network: Network,
    reading: Reading,
    *,
    stage: str,
    most: int,
    picture: Path | None,
) -> int:
    """Draws the feature maps of one stage."""
    from embedpipe.backbones.names import one_name
    from embedpipe.core.records import DEFAULT_BACKBONE
    from embedpipe.tasks import explain as explain_task
    from embedpipe.tasks import explain_stage

    name = one_name(network.backbone or DEFAULT_BACKBONE, "drawing a stage")
    found = explain_stage.stage_maps(query, stage, name, network.weights, reading.settings())
    picture = picture or explain_task.default_picture(workspace, found.page.info.ref, str(found.stage))
    title = explain_stage.draw(found, most, name, picture)
    output.result(explain_stage.as_json(found, most) | {"backbone": name, "picture": str(picture)})
    output.line(title)
    output.line(f"stages of {name}: {', '.join(map(str, found.stages))}")
    output.line(f"drawn: {picture}")
    return DONE


def _print_explanation(found: "Explanation", output: "Output") -> None:
    """For people: answer, finding, deciding parts, look-alikes."""
    if found.candidates:
        best = ", ".join(f"{kind} {probability:.0%}" for kind, probability in found.candidates[:3])
        output.line(f"{best}; margin {100 * found.margin:.0f} points")
    output.line(found.finding)
    if found.boxes:
        output.table(
            ("part", "left", "top", "right", "bottom", "log odds lost"),
            [
                (number, *(f"{getattr(box, k):.0%}" for k in ("x0", "y0", "x1", "y1")), f"{box.drop:.2f}")
                for number, box in enumerate(found.boxes, start=1)
            ],
        )
    if found.examples:
        output.table(("looks like", "type", "page"), [(f"{e.score:.3f}", e.label, str(e.page)) for e in found.examples])
