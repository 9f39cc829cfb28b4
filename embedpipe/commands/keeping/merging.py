"""`merge`: artifacts of several machines become one."""

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from embedpipe.commands.base import DONE, SOME_FAILED, begin, command, say_next
from embedpipe.commands.terminal.options import Common
from embedpipe.commands.terminal.widths import shortened

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.tasks.merge import Merged

_SHOWN = 10


@command("merge")
def merge(
    sources: Annotated[
        list[str], typer.Argument(metavar="ARTIFACTS...", help="Artifacts to take in.", show_default=False)
    ],
    common: Common,
    into: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="What takes them in: new, or artifacts already; --artifacts if not given."),
    ] = None,
    space: Annotated[str | None, typer.Option(help="Take only the features of this space, see `info`.")] = None,
) -> int:
    """Join artifacts that were made apart, such as shards: each page is kept once, and no part is written again."""
    from pathlib import Path

    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks import merge as merge_task

    if into is not None:
        common = dataclasses.replace(common, artifacts=Path(into))
    workspace, output = begin(common)
    with output.progress("joining") as bar:
        merged = merge_task.merge(workspace, [Workspace(source) for source in sources], space=space, progress=bar)
    output.result(_as_json(merged))
    _print(merged, output)
    if merged.damaged or merged.unlisted:
        return SOME_FAILED
    say_next(common, output)
    return DONE


def _as_json(merged: "Merged") -> dict[str, object]:
    def joined(one: object) -> dict[str, object]:
        values = dataclasses.asdict(one)  # type: ignore[call-overload]
        return {**values, **{name: f"{values[name]:032x}" for name in ("checksum", "expected")}}

    return {
        "spaces": [joined(one) for one in merged.stores],
        "variants": [joined(one) for one in merged.variants],
        "tables": [dataclasses.asdict(table) for table in merged.tables],
        "sources": dataclasses.asdict(merged.places),
        "labels": dataclasses.asdict(merged.labels),
        "suggested": dataclasses.asdict(merged.suggested),
        "confirmed": dataclasses.asdict(merged.confirmed),
        "rows": merged.rows,
        "backbones": merged.backbones,
        "classifiers_left": merged.left,
        "seconds": round(merged.seconds, 3),
    }


def _print(merged: "Merged", output: "Output") -> None:
    for joined in merged.stores:
        output.table(
            ("artifacts", "parts", "pages", "taken", "there twice", "known", "linked", "copied"),
            [
                (s.source.parents[1], s.parts, s.rows, s.taken, s.twice, s.known, s.linked, s.copied)
                for s in joined.sources
            ],
            shorten={"artifacts": shortened},
        )
        output.line(
            f"space {joined.space}: {joined.before} pages before and {sum(s.taken for s in joined.sources)} taken are "
            f"{joined.after}; read back, their checksum is {joined.checksum:032x}, as expected; pages and files that "
            f"failed: {joined.failures}"
        )
        for source in joined.sources:
            if source.damaged:
                output.notice(
                    f"{source.source}: {len(source.damaged)} damaged parts were left out ({source.damaged[0]}): run "
                    "`embed` there again, which makes their pages anew, and then `merge`"
                )
            if source.unlisted:
                output.notice(
                    f"{source.source}: {source.unlisted} finished parts are not listed, for a run was killed: run "
                    "`embed` there again, which lists them, and then `merge`"
                )
    for table in merged.tables:
        output.line(f"{table.name}: {table.taken} taken, {table.twice} there twice, {table.known} known")
    _print_others(merged, output)
    output.line(f"merged in {merged.seconds:.1f} s; the artifacts that were taken in are as they were")


def _print_others(merged: "Merged", output: "Output") -> None:
    """Labels, places, networks, and what stays behind."""
    if merged.labels.count:
        output.line(f"labels: {merged.labels.count}, of which {merged.labels.added} are new")
    for conflict in merged.labels.conflicts[:_SHOWN]:
        said = "; ".join(f"{kind} ({', '.join(by)})" for kind, by in conflict.types.items())
        kept = f"it stays {conflict.kept}" if conflict.kept else "it has no label until you `label` it"
        page = f"#page={conflict.page}" if conflict.page else ""
        output.notice(f"labels differ: {conflict.path}{page}: {said}: {kept}")
    if len(merged.labels.conflicts) > _SHOWN:
        output.notice(f"... and {len(merged.labels.conflicts) - _SHOWN} more labels that differ: --json lists them")
    _print_beside(merged, output)
    if merged.places.disputed:
        output.notice(
            f"files with another content in two of the artifacts: {merged.places.disputed} ({merged.places.paths[0]}); "
            "the file that changed last counts, the others as its earlier versions: where these are other files of "
            "other machines, mount them at paths of their own"
        )
    if merged.backbones:
        output.line(f"networks that came along: {', '.join(merged.backbones)}")
    if merged.left:
        output.line(
            f"classifiers stay where they are, for each learnt from its own pages: {len(merged.left)}; fit again"
        )


def _print_beside(merged: "Merged", output: "Output") -> None:
    """What became of labels that nobody has checked, and of those that were confirmed."""
    suggested, confirmed = merged.suggested, merged.confirmed
    if suggested.count or suggested.left:
        output.line(
            f"suggested labels: {suggested.count}, of which {suggested.added} are new; left out, for what they label "
            f"has a checked one: {suggested.left}"
        )
    if suggested.conflicts:
        kept = sum(bool(conflict.kept) for conflict in suggested.conflicts)
        output.notice(
            f"suggested labels differ: {len(suggested.conflicts)}: {kept} stay as they were here, "
            f"{len(suggested.conflicts) - kept} are left out: --json lists them"
        )
    if confirmed.count or confirmed.left:
        output.line(
            f"confirmed labels: {confirmed.count}, of which {confirmed.added} are new; left out, for the label is "
            f"another one now: {confirmed.left}"
        )
