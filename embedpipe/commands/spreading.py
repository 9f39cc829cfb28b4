"""`embed --ray`: one heap over the nodes of a Ray cluster, told in one place and merged into one store."""

import dataclasses
import os
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedpipe.commands.base import DONE, INTERRUPTED, OUT_OF_TIME, SOME_FAILED
from embedpipe.commands.label_files import take_labels
from embedpipe.commands.printing import print_failed, print_stopped
from embedpipe.commands.terminal.options import Common, Sharing
from embedpipe.core.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from embedpipe.cluster.job import Job, Standing
    from embedpipe.commands.terminal.console import Output
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.embed import Progress
    from embedpipe.tasks.merge import Merged

_SHARDS_A_NODE = 4
"""With several for each, all nodes end at about the same time, and of a lost one little is done again."""


def shard_count(workspace: "Workspace", asked: int | None, slots: int) -> int:
    """How many shards a heap gets: as asked, as the stores of shards have that are there, or some for each node.

    Raises:
        UsageError: The stores that are there are of another number.
    """
    from embedpipe.cluster.job import FOLDER, shard_counts

    there = shard_counts(workspace)
    if there and asked is not None and asked not in there:
        raise UsageError(
            f"--shards {asked}: {workspace.root / FOLDER} holds {max(there)} shards of an earlier run, which the same "
            f"number goes on from; leave --shards out, or remove that folder"
        )
    return asked or max(there, default=_SHARDS_A_NODE * max(1, slots))


def on_ray(workspace: "Workspace", sharing: Sharing, job: "Job", labels: Path | None, output: "Output") -> int:
    """Embeds a heap on a cluster, merges the shards that are complete, and says what was done.

    Args:
        workspace: Where it goes; all nodes must see its folder at the same path.
        sharing: Names the cluster.
        job: What is to be done; the number of its shards is chosen here.
        labels: A list to take labels from at the end.
        output: Where it is told.

    Returns:
        The exit code.
    """
    workspace = type(workspace)(os.path.abspath(workspace.root), share=workspace.share)
    standing, merged = _done(workspace, sharing, job, output)
    if labels is not None and not standing.stopped:
        take_labels(workspace, str(labels), output)
    output.result(_told(standing, merged, output))
    return _exit_code(standing)


def _done(workspace: "Workspace", sharing: Sharing, job: "Job", output: "Output") -> "tuple[Standing, Merged | None]":
    """How the job ended, and what was merged."""
    from embedpipe.cluster import job as jobs
    from embedpipe.cluster.ray_actors import RayActors
    from embedpipe.core.objects.urls import absolute
    from embedpipe.tasks.merge import merge

    executor = RayActors(sharing.ray or "")
    try:
        count = shard_count(workspace, sharing.shards, executor.slots)
        job = dataclasses.replace(job, inputs=tuple(map(absolute, job.inputs)), shards=count)
        output.notice(f"{executor.name}: {count} shards")
    except BaseException:
        executor.close()
        raise
    with output.progress("embedding") as bar:
        standing = jobs.run(workspace, job, executor, _Watch(output, bar))
    merged = None
    if standing.done and not standing.stopped:
        with output.progress("merging") as bar:
            merged = merge(
                workspace, [type(workspace)(place) for place in jobs.stores(workspace, standing)], progress=bar
            )
        if not standing.lost:
            jobs.ended(workspace)
    return standing, merged


def _exit_code(standing: "Standing") -> int:
    from embedpipe.cluster.protocol import INTERRUPTED as STOPPED

    if standing.stopped:
        return INTERRUPTED if standing.stopped == STOPPED else OUT_OF_TIME
    counts = standing.counts()
    failed = standing.lost or counts.get("failed_files") or counts.get("failed_pages")
    return SOME_FAILED if failed else DONE


class _Watch:
    """Tells how far all nodes are, and what was lost."""

    def __init__(self, output: "Output", bar: "Callable[[Progress], None]") -> None:
        self._output, self._bar, self._losses = output, bar, 0

    def __call__(self, standing: "Standing") -> None:
        """Takes how far the job is."""
        from embedpipe.tasks.embed import Progress

        parts = [told.bytes_done / told.bytes_total for told in standing.told.values() if told.bytes_total]
        self._bar(Progress(standing.pages, round(1000 * (len(standing.done) + sum(parts))), 1000 * standing.shards))
        for lost in standing.losses[self._losses :]:
            again = "it is given up" if lost.shard in standing.lost else "it is done again"
            self._output.notice(f"shard {lost.shard} was lost: {lost.why}; {again}")
        self._losses = len(standing.losses)


def _told(standing: "Standing", merged: "Merged | None", output: "Output") -> dict[str, Any]:
    """Says what all nodes did; returns it for `--json`."""
    from embedpipe.cluster.protocol import INTERRUPTED as STOPPED
    from embedpipe.cluster.protocol import OUT_OF_TIME as OUT_OF_BUDGET

    nodes: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for done in standing.done.values():
        node = nodes[done.node]
        node["shards"] += 1
        for name in ("embedded", "skipped", "failed_files", "failed_pages", "seconds"):
            node[name] += done.counts.get(name, 0)
    output.table(
        ("node", "shards", "pages", "already there", "failed", "pages/s"),
        [
            (
                name,
                int(node["shards"]),
                int(node["embedded"]),
                int(node["skipped"]),
                int(node["failed_files"] + node["failed_pages"]),
                f"{node['embedded'] / node['seconds']:.1f}" if node["seconds"] else "-",
            )
            for name, node in sorted(nodes.items())
        ],
    )
    counts = standing.counts()
    failed = int(counts.get("failed_files", 0) + counts.get("failed_pages", 0))
    print_failed([failure for done in standing.done.values() for failure in done.failures], failed, output)
    output.line(
        f"{int(counts.get('documents', 0))} documents, {standing.pages} pages embedded, "
        f"{int(counts.get('skipped', 0))} already there, "
        f"{failed} failed; {standing.seconds:.1f} s, "
        f"{standing.pages / standing.seconds if standing.seconds else 0:.1f} pages/s"
    )
    for shard, why in standing.lost.items():
        output.line(f"shard {shard} is given up: {why}; the same command tries it again")
    print_stopped(output, out_of_time=standing.stopped == OUT_OF_BUDGET, interrupted=standing.stopped == STOPPED)
    for joined in merged.stores if merged is not None else ():
        output.line(f"space {joined.space}: {joined.after} pages")
    return {
        **counts,
        "shards": standing.shards,
        "nodes": {name: dict(node) for name, node in nodes.items()},
        "stopped": standing.stopped,
        "lost": standing.lost,
        "losses": [asdict(lost) for lost in standing.losses],
        "parts": {shard: list(done.parts) for shard, done in standing.done.items()},
        "spaces": {joined.space: joined.after for joined in merged.stores} if merged is not None else {},
        "seconds": round(standing.seconds, 3),
    }


def check(common: Common, sharing: Sharing, *, on_one: bool) -> None:
    """Raises UsageError for what does not go together with `--ray`, where that is given.

    Args:
        common: Names the artifacts.
        sharing: The other ways to share a heap.
        on_one: Whether something was asked for that is done on one machine.
    """
    from embedpipe.core.objects.urls import as_written, is_url

    if sharing.ray is None:
        return
    if on_one or sharing.shard is not None or sharing.plan is not None:
        raise UsageError(
            "--ray embeds all shards on the nodes of a cluster: leave --shard, --plan, --dry-run and --explain out"
        )
    if is_url(as_written(common.artifacts)):
        raise UsageError(
            "--ray: all nodes write shards below --artifacts: name a folder that all of them see at the same path; or "
            "run `embed --shard I/N` on each node with artifacts of its own, and `merge` them"
        )
