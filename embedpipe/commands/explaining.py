"""`explain`: what on a page spoke for its type, and what the stages of the network make of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.commands.base import DONE, Classifier, begin, command, open_classifier
from embedpipe.commands.options import Common, Network, Reading
from embedpipe.commands.targets import file_option
from embedpipe.core.outputs import PNG

if TYPE_CHECKING:
    from embedpipe.commands.console import Output
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.explain import Explanation


@command("explain")
def explain(
    query: Annotated[str, typer.Argument(help="FILE#page=N, or FILE for its first page.")],
    common: Common,
    network: Network,
    reading: Reading,
    classifier: Classifier = None,
    kind: Annotated[
        str | None, typer.Option("--type", help="Ask what speaks for this type, not for the answer.")
    ] = None,
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
    """Show which parts of a page speak for its type, and which labelled pages it looks like."""
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
    _print(found, output)
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
    from embedpipe.core.records import DEFAULT_BACKBONE
    from embedpipe.tasks import explain as explain_task
    from embedpipe.tasks import explain_stage

    name = network.backbone or DEFAULT_BACKBONE
    found = explain_stage.stage_maps(query, stage, name, network.weights, reading.settings())
    picture = picture or explain_task.default_picture(workspace, found.page.info.ref, str(found.stage))
    title = explain_stage.draw(found, most, name, picture)
    output.result(explain_stage.as_json(found, most) | {"backbone": name, "picture": str(picture)})
    output.line(title)
    output.line(f"stages of {name}: {', '.join(map(str, found.stages))}")
    output.line(f"drawn: {picture}")
    return DONE


def _print(found: "Explanation", output: "Output") -> None:
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
