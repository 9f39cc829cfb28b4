"""`dedupe`, `families` and `map`: pages that belong together."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands.base import DONE, SOME_FAILED, Classifier, begin, command, open_classifier, say_next
from embedpipe.commands.terminal.next_steps import typed
from embedpipe.commands.terminal.options import Common, Space, read_passwords, read_selection
from embedpipe.commands.terminal.targets import file_option, folder_option
from embedpipe.commands.terminal.widths import relative, shortened
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.languages.translation import word
from embedpipe.core.outputs import HTML, PNG, csv_of

if TYPE_CHECKING:
    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.commands.terminal.console import Output
    from embedpipe.core.records import Identity
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.dedupe import Found
    from embedpipe.tasks.dedupe_move import Done
    from embedpipe.tasks.dedupe_plan import Plan

_GROUPS, _FAMILIES = "embedpipe.tasks.dedupe:COLUMNS", "embedpipe.tasks.families:COLUMNS"
_SHOWN = 20
_COUNTS = ("candidates", "compared", "not_compared", "unreadable", "blank", "nearly_blank", "cut", "stand_ins")


@dataclass(frozen=True)
class Moving:
    """Of commands that put duplicates aside."""

    move_to: Annotated[
        Path | None,
        folder_option("Put whole documents that are there twice into a folder, with a ledger: a plan, see --apply."),
    ] = None
    hardlink: Annotated[
        bool, typer.Option("--hardlink", help="Make identical files hard links of the one that is kept: a plan, too.")
    ] = False
    keep: Annotated[
        str | None,
        typer.Option(
            metavar="newest|largest|shortest-path|in:DIR",
            help="Which file of a group stays; in:DIR is one below a folder, where all stay.",
            show_default="the rule that is printed",
        ),
    ] = None
    apply: Annotated[bool, typer.Option("--apply", help="Do it, not only say what would be done.")] = False
    undo: Annotated[
        bool, typer.Option("--undo", help="With --move-to or --hardlink: put everything back, with --apply.")
    ] = False

    def __post_init__(self) -> None:
        """Refuses what does not go together."""
        if self.move_to is not None and self.hardlink:
            raise UsageError("--move-to puts files elsewhere, --hardlink leaves them in their places: choose one")
        if not (self.move_to or self.hardlink) and (self.apply or self.undo or self.keep):
            raise UsageError("--keep, --apply and --undo go with --move-to DIR or --hardlink")
        if self.undo and self.keep:
            raise UsageError("--undo puts back what the ledger says: leave --keep out")


@command("dedupe")
def dedupe(
    common: Common,
    space: Space,
    moving: Moving,
    csv: Annotated[Path | None, file_option(csv_of(_GROUPS), "Write all groups to a CSV file.")] = None,
    html: Annotated[Path | None, file_option(HTML, "Write the groups with pictures into an HTML file.")] = None,
    same_picture: Annotated[
        float | None, typer.Option(help="Least agreement of two pictures of one page, 0 to 1.", min=0, max=1)
    ] = None,
) -> int:
    """List files, documents and pages that are there more than once; put whole documents aside if asked."""
    from embedpipe.classifiers.lessons import missing
    from embedpipe.index.same_page.agreement import SAME_PICTURE
    from embedpipe.tasks import dedupe as dedupe_task
    from embedpipe.tasks import dedupe_plan

    workspace, output = begin(common)
    if moving.undo:
        return _take_back(workspace, moving, output)
    keep = dedupe_plan.Keep(moving.keep or "")
    store = workspace.store(space.backbone, space.space)
    threshold = SAME_PICTURE if same_picture is None else same_picture
    with output.busy("comparing"):
        found = dedupe_task.find(workspace, store, same_picture=threshold)
    aside = dedupe_plan.without_moved(found)
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
    values = {"groups": rows, "kept": dedupe_task.RULE, **counts, "put_aside_before": aside, "missing": lost}
    if not (moving.move_to or moving.hardlink):
        _print_groups(found, rows, output)
    code = DONE
    if aside:
        output.line(f"put aside before, and not listed: {aside} files")
    if moving.move_to or moving.hardlink:
        code = _put_aside(
            workspace,
            moving,
            dedupe_plan.plan(workspace, store, found, keep, move_to=moving.move_to, same_picture=threshold),
            values,
            output,
        )
        output.line(f"kept: {keep.in_words()}")
    else:
        output.line(f"Kept is {dedupe_task.RULE}; nothing is deleted")
    output.result(values)
    for line in dedupe_task.left_out(found):
        output.notice(line)
    whole = sum(group.kind != "page" for group in found.groups)
    put_aside = moving.move_to if moving.apply and values.get("files") else None
    say_next(
        common,
        output,
        found=whole,
        planned=int(bool(moving.move_to or moving.hardlink)),
        folder=typed([str(put_aside)]) if put_aside else "",
    )
    return code


def _print_groups(found: "Found", rows: list[dict[str, Any]], output: "Output") -> None:
    """The first groups, and how many there are."""
    output.table(
        ("group", "kind", "keep", "agreement", "where"),
        [
            (r["group"], r["kind"], "yes" if r["keep"] else "", f"{r['agreement']:.2f}", _where(r))
            for r in rows
            if r["group"] <= _SHOWN
        ],
        shorten={"where": shortened},
    )
    more = len(found.groups) - _SHOWN
    kinds = [f"{sum(g.kind == kind for g in found.groups)} of {kind}s" for kind in ("document", "page")]
    exact = sum(group.kind == "exact" for group in found.groups)
    output.line(f"{exact} groups of identical files, {', '.join(kinds)}")
    if more > 0:
        output.line(f"{more} more groups: --csv or --html lists them all")


def _put_aside(workspace: "Workspace", moving: Moving, plan: "Plan", values: dict[str, Any], output: "Output") -> int:
    """Moves or links the files, or says what would be done; adds it to the JSON object."""
    from embedpipe.tasks import dedupe_move

    with output.progress("moving files") as bar:
        done = dedupe_move.carry_out(workspace, plan.steps, moving.move_to, apply=moving.apply, progress=bar.stage)
    values |= {"left": dict(plan.left)} | _as_json(done)
    _print_done(done, "linked" if moving.hardlink else "moved", output)
    for why, count in plan.left.items():
        output.line(f"{count} files stay: {why}")
    return SOME_FAILED if moving.apply and done.failures else DONE


def _take_back(workspace: "Workspace", moving: Moving, output: "Output") -> int:
    from embedpipe.tasks import dedupe_move

    with output.progress("putting files back") as bar:
        done = dedupe_move.undo(workspace, moving.move_to, apply=moving.apply, progress=bar.stage)
    output.result(_as_json(done))
    _print_done(done, "files of their own again" if moving.hardlink else "put back", output)
    return SOME_FAILED if moving.apply and done.failures else DONE


def _as_json(done: "Done") -> dict[str, Any]:
    """As the command line prints it."""
    keys = ("was", "copy", "source", "state", "kind", "size", "message")
    return {
        "applied": done.applied,
        "files": [{key: getattr(entry, key) for key in keys} for entry in done.entries],
        "counts": dict(done.counts),
        "bytes": done.bytes,
    }


def _print_done(done: "Done", what: str, output: "Output") -> None:
    """What was done, or would be, for people."""
    good = [entry for entry in done.entries if entry.state != "failed"]
    shown = good[:_SHOWN]
    paths = [path for entry in shown for path in (entry.was, entry.source)]
    names = iter(relative(paths) if output.watched else paths)
    if shown:
        output.table(
            ("file", "kept", "same"),
            [(next(names), next(names), "bytes" if entry.kind == "exact" else "pages") for entry in shown],
            shorten=dict.fromkeys(("file", "kept"), shortened),
        )
    if len(good) > _SHOWN:
        output.line(f"... and {len(good) - _SHOWN} more: --json lists them all")
    for entry in done.failures[:_SHOWN]:
        output.notice(f"stays: {entry.was}: {entry.message}")
    if len(done.failures) > _SHOWN:
        output.notice(f"... and {len(done.failures) - _SHOWN} more: --json lists them all")
    size = f"{len(good)} files, {done.bytes / 1e6:.1f} MB"
    failed = f"; {len(done.failures)} stay where they are" if done.failures else ""
    if done.applied:
        output.line(f"{word(what)}: {word(size)}{failed}")
    else:
        output.line(f"would be {what}: {size}{failed}; nothing was done: say --apply to do it")


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
    from embedpipe.classifiers.lessons import missing
    from embedpipe.index.families import SAME_LAYOUT
    from embedpipe.tasks import families as families_task

    workspace, output = begin(common)
    store = workspace.store(space.backbone, space.space)
    wanted = SAME_LAYOUT if threshold is None else threshold
    with output.busy("comparing"):
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
        shorten={"most typical page": shortened},
    )
    output.line(f"{len(found)} families of {sum(f['pages'] for f in values)} pages")
    say_next(common, output, found=len(found))
    return DONE


def _answering(
    workspace: "Workspace", identity: "Identity", name: str | None, predictions: bool | None, output: "Output"
) -> "ClassifierBundle | None":
    """The classifier whose answers the map shows: the named one, or the only one where it is of the space."""
    if predictions is False:
        if name is not None:
            raise UsageError("--classifier is for predictions: leave --no-predictions out")
        return None
    if predictions or name is not None:
        bundle = open_classifier(workspace, name)
        bundle.require(identity)
        return bundle
    if len(workspace.classifiers()) != 1:
        if workspace.classifiers():
            output.notice("no predictions: there are several classifiers; choose one with --classifier")
        return None
    try:
        bundle = open_classifier(workspace, None)
        bundle.require(identity)
    except EmbedpipeError as error:
        output.notice(f"no predictions: {error}")
        return None
    return bundle


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
    classifier: Classifier = None,
    predictions: Annotated[
        bool | None,
        typer.Option(
            "--predictions/--no-predictions",
            help="Colour pages also by what a classifier says of them.",
            show_default="where there is one for the space",
        ),
    ] = None,
) -> int:
    """Draw all pages as a map in an HTML file: pages that look alike lie together, coloured by type."""
    from embedpipe.classifiers.lessons import missing
    from embedpipe.drawing.projector import check_folder
    from embedpipe.tasks import map as map_task

    workspace, output = begin(common)
    start = time.perf_counter()
    if projector is not None:
        check_folder(projector)
    selection, passwords = read_selection(pages), read_passwords(password_file)
    store = workspace.store(space.backbone, space.space)
    answering = _answering(workspace, store.identity, classifier, predictions, output)
    wanted = map_task.Wanted(method, selection, limit, thumbnails, seed, passwords, answering)
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
    say_next(common, output)
    return DONE
