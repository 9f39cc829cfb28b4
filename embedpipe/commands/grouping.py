"""`dedupe` and `families`: pages that belong together."""

from pathlib import Path
from typing import Annotated

import typer

from embedpipe.commands.base import DONE, begin, command
from embedpipe.commands.options import Common, Space
from embedpipe.commands.targets import file_option, folder_option
from embedpipe.core.outputs import HTML, PNG, csv_of

_GROUPS, _FAMILIES = "embedpipe.tasks.dedupe:COLUMNS", "embedpipe.tasks.families:COLUMNS"
_SHOWN = 20
_COUNTS = ("candidates", "compared", "not_compared", "unreadable", "blank", "nearly_blank", "cut", "stand_ins")


@command("dedupe")
def dedupe(
    common: Common,
    space: Space,
    csv: Annotated[Path | None, file_option(csv_of(_GROUPS), "Write all groups to a CSV file.")] = None,
    html: Annotated[Path | None, file_option(HTML, "Write the groups with pictures into an HTML file.")] = None,
    same_picture: Annotated[
        float | None, typer.Option(help="Least agreement of two pictures of one page, 0 to 1.", min=0, max=1)
    ] = None,
) -> int:
    """List files, documents and pages that are there more than once; nothing is deleted."""
    from embedpipe.classifiers import missing
    from embedpipe.index.same_page.agreement import SAME_PICTURE
    from embedpipe.tasks import dedupe as dedupe_task

    workspace, output = begin(common)
    store = workspace.store(space.backbone, space.space)
    threshold = SAME_PICTURE if same_picture is None else same_picture
    found = dedupe_task.find(workspace, store, same_picture=threshold)
    rows = list(dedupe_task.as_rows(found.groups))
    if csv is not None:
        dedupe_task.write_table(found, csv)
        output.notice(f"written: {csv}")
    if html is not None:
        facts = {
            "Groups": str(len(found.groups)),
            "Agreement": f"at least {threshold:g}",
            "Kept": dedupe_task.RULE,
            "Not compared": "; ".join(dedupe_task.left_out(found)) or "nothing",
            "Space": store.identity.space,
        }
        dedupe_task.write_html(workspace, found, facts, html)
        output.notice(f"written: {html}")
    counts = {name: getattr(found, name) for name in _COUNTS}
    lost = missing.lost_pages(store, without="they are in no group")
    output.result({"groups": rows, "kept": dedupe_task.RULE, **counts, "missing": lost})
    output.table(
        ("group", "kind", "keep", "agreement", "where"),
        [
            (r["group"], r["kind"], "yes" if r["keep"] else "", f"{r['agreement']:.2f}", _where(r))
            for r in rows
            if r["group"] <= _SHOWN
        ],
    )
    more = len(found.groups) - _SHOWN
    kinds = [f"{sum(g.kind == kind for g in found.groups)} of {kind}s" for kind in ("document", "page")]
    exact = sum(group.kind == "exact" for group in found.groups)
    output.line(f"{exact} groups of identical files, {', '.join(kinds)}")
    output.line(f"Kept is {dedupe_task.RULE}; nothing is deleted")
    if more > 0:
        output.line(f"{more} more groups: --csv or --html lists them all")
    for line in dedupe_task.left_out(found):
        output.notice(line)
    return DONE


def _where(row: dict[str, object]) -> str:
    return f"{row['path']}#page={row['page']}" if row["page"] else str(row["path"])


@command("families")
def families(
    common: Common,
    space: Space,
    threshold: Annotated[
        float | None, typer.Option(help="Least mean cosine of two pages of a family; higher is tighter.", min=0, max=1)
    ] = None,
    least: Annotated[int, typer.Option(help="Pages of the smallest family.", min=2)] = 3,
    first_pages: Annotated[bool, typer.Option("--first-pages", help="Only the first page of each document.")] = False,
    csv: Annotated[
        Path | None, file_option(csv_of(_FAMILIES), "Write every page of every family to a CSV file.")
    ] = None,
    html: Annotated[Path | None, file_option(HTML, "Write the families with pictures into an HTML file.")] = None,
    contact_sheets: Annotated[
        Path | None, folder_option("Draw a contact sheet of each family into a folder.", "family-*.png", PNG)
    ] = None,
) -> int:
    """Group pages of one layout, such as the forms of one sender, each with its most typical page."""
    from embedpipe.classifiers import missing
    from embedpipe.index.families import SAME_LAYOUT
    from embedpipe.tasks import families as families_task

    workspace, output = begin(common)
    store = workspace.store(space.backbone, space.space)
    wanted = SAME_LAYOUT if threshold is None else threshold
    found = families_task.find(workspace, store, threshold=wanted, least=least, first_pages=first_pages)
    values = families_task.as_json(found)
    if csv is not None:
        families_task.write_table(found, csv)
        output.notice(f"written: {csv}")
    if html is not None:
        facts = {"Families": str(len(found)), "Mean cosine": f"at least {wanted:g}", "Space": store.identity.space}
        families_task.write_html(workspace, found, facts, html)
        output.notice(f"written: {html}")
    if contact_sheets is not None:
        families_task.draw(workspace, found, contact_sheets)
        output.notice(f"drawn: {contact_sheets}")
    lost = missing.lost_pages(store, without="they are in no family")
    output.result({"families": values, "space": store.identity.space, "missing": lost})
    output.table(
        ("family", "pages", "documents", "coherence", "type", "most typical page"),
        [
            (f["family"], f["pages"], f["documents"], f"{f['coherence']:.2f}", f["type"] or "-", f["representative"])
            for f in values[:_SHOWN]
        ],
    )
    output.line(f"{len(found)} families of {sum(f['pages'] for f in values)} pages")
    return DONE
