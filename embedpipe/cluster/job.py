"""A job: a heap in shards over an executor, watched to the end, and merged into one artifacts folder.

    <artifacts>/shards/<I>-of-<N>    the store of a shard; it stays, so that the next run embeds only what is new
    <artifacts>/shards/job.json      which shards of a job that has not ended are complete

A worker that is lost is started again where there is room, and goes on from the parts that its store has. One whose
store another process still holds gets a store beside it: what is embedded twice is merged to one.
"""

import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from embedpipe.backbones.model_cache import Wanted
from embedpipe.cluster.protocol import COMPLETE, INTERRUPTED, OUT_OF_TIME, Done, Event, Executor, Lost, Told, Work
from embedpipe.core import claims
from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.files import read_json, write_json
from embedpipe.embedding.sharding import Shard
from embedpipe.embedding.streaming import Settings
from embedpipe.store.page_extras import TABLES
from embedpipe.store.workspace import Workspace

FOLDER, STATE = claims.SHARDS, "job.json"
_STORE = re.compile(r"(\d+)-of-(\d+)(-\d+)?")
"""Names of stores: of which shard, and the number of a further one, beside one that may still be written."""

_WAIT_SECONDS = 1.0
_STOPPING_SECONDS = 120.0
"""So long workers may take to keep what they computed, once they were asked to stop."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be done.

    Attributes:
        inputs: Files and folders, as all workers can read them.
        shards: How many; several for each worker, so that all of them end at about the same time.
        wanted: The network.
        settings: How documents are read; `budget` is for the whole job.
        keep: As of `tasks.embed`.
        label_by_folder: Likewise.
        retry_failed: Likewise.
        tries: How often a shard is started at most.
        silence: Seconds after which a worker that tells nothing counts as lost.
    """

    inputs: tuple[str, ...]
    shards: int
    wanted: Wanted
    settings: Settings = field(default_factory=Settings)
    keep: tuple[str, ...] = tuple(TABLES)
    label_by_folder: bool = False
    retry_failed: bool = False
    tries: int = 3
    silence: float = 900.0


@dataclass(slots=True)
class Standing:
    """How far a job is: what all workers told, and what became of them.

    Attributes:
        done: What each complete shard told at its end, also in an earlier run of the job.
        lost: Shards that are given up, and why.
        told: What each running shard told last.
        losses: How often a worker was lost, and its shard started again.
        stopped: "" while it runs and at the end; INTERRUPTED or OUT_OF_TIME where it can be continued.
        seconds: Since this run of the job began.
    """

    shards: int
    done: dict[str, Done] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    told: dict[str, Told] = field(default_factory=dict)
    losses: list[Lost] = field(default_factory=list)
    stopped: str = ""
    seconds: float = 0.0

    @property
    def pages(self) -> int:
        """Embedded by this run of the job."""
        ended = sum(int(done.counts.get("embedded", 0)) for done in self.done.values())
        return ended + sum(told.pages for told in self.told.values())

    def counts(self) -> dict[str, float]:
        """The sums of what the complete shards counted."""
        total: dict[str, float] = {}
        for done in self.done.values():
            for name, value in done.counts.items():
                total[name] = total.get(name, 0) + value
        return total


def run(workspace: Workspace, job: Job, executor: Executor, watch: Callable[[Standing], None]) -> Standing:
    """Embeds a heap shard by shard; `merge` of what `stores` names is the caller's next step.

    Args:
        workspace: Where it all goes.
        job: What.
        executor: Who does it. It is closed at the end.
        watch: Called about once a second, and after each event that ends a shard.

    Raises:
        EmbedpipeError: An option or an input is wrong, as a worker found.
    """
    run_ = _Run(workspace, job, executor, watch)
    try:
        return run_.to_the_end()
    finally:
        executor.close()


class _Run:
    def __init__(self, workspace: Workspace, job: Job, executor: Executor, watch: Callable[[Standing], None]) -> None:
        workspace.claim()
        self._folder = workspace.root / FOLDER
        self._home, self._job, self._executor, self._watch = str(workspace.root), job, executor, watch
        self._begin = time.monotonic()
        self.standing = Standing(job.shards, done=self._resumed())
        names = (str(Shard(n, job.shards)) for n in range(1, job.shards + 1))
        self._waiting = deque(name for name in names if name not in self.standing.done)
        self._tries: dict[str, int] = {}
        self._beside: dict[str, int] = {}
        self._heard: dict[str, float] = {}
        self._fatal = ""

    def to_the_end(self) -> Standing:
        """Hands out shards and hears of them until all are done, given up or stopped."""
        try:
            while self._waiting or self._heard:
                self._hand_out()
                self._take(self._executor.events(_WAIT_SECONDS))
                if self._fatal:
                    raise EmbedpipeError(self._fatal)
        except KeyboardInterrupt:
            self._stop(INTERRUPTED)
        self._tell()
        return self.standing

    def _hand_out(self) -> None:
        left = self._left()
        if left is not None and left <= 0 and self._waiting:
            self._waiting.clear()
            self.standing.stopped = OUT_OF_TIME
        while self._waiting and len(self._heard) < self._executor.slots:
            shard = self._waiting.popleft()
            self._tries[shard] = self._tries.get(shard, 0) + 1
            self._executor.start(self._work(shard, left))
            self._heard[shard] = time.monotonic()

    def _left(self) -> float | None:
        budget = self._job.settings.budget
        return None if budget is None else budget - (time.monotonic() - self._begin)

    def _work(self, shard: str, left: float | None) -> Work:
        job, place = self._job, Shard.parse(shard)
        beside = f"-{self._beside[shard]}" if shard in self._beside else ""
        folder = self._folder / f"{place.number:0{len(str(place.count))}d}-of-{place.count}{beside}"
        settings = replace(job.settings, shard=place, budget=left, page_seconds=None, page_bytes=None)
        return Work(
            job.inputs,
            str(folder),
            job.wanted,
            settings,
            self._home,
            job.keep,
            job.label_by_folder,
            job.retry_failed,
        )

    def _take(self, events: "Any") -> None:
        for event in events:
            self._hear(event)
        silent = time.monotonic() - self._job.silence
        for shard in [shard for shard, last in self._heard.items() if last < silent]:
            self._executor.give_up(shard)
            self._beside[shard] = self._beside.get(shard, 1) + 1  # it may still hold its store
            self._lose(Lost(shard, f"nothing was heard of it for {self._job.silence:.0f} s"))
        self._tell()

    def _hear(self, event: Event) -> None:
        if event.shard not in self._heard:
            return  # delivered twice, or after it was given up
        if isinstance(event, Told):
            self._heard[event.shard] = time.monotonic()
            self.standing.told[event.shard] = event
        elif isinstance(event, Lost):
            if not event.again:
                self._fatal = event.why
            elif event.busy:
                self._beside[event.shard] = self._beside.get(event.shard, 1) + 1
            self._lose(event)
        else:
            self._end(event.shard)
            if event.state == COMPLETE:
                self.standing.done[event.shard] = event
                self._keep()
            else:
                self.standing.stopped = event.state

    def _lose(self, lost: Lost) -> None:
        self._end(lost.shard)
        self.standing.losses.append(lost)
        if self._tries[lost.shard] < self._job.tries and not self.standing.stopped:
            self._waiting.append(lost.shard)
        else:
            self.standing.lost[lost.shard] = lost.why

    def _end(self, shard: str) -> None:
        del self._heard[shard]
        self.standing.told.pop(shard, None)

    def _stop(self, why: str) -> None:
        """Asks all workers to stop, and waits until they have kept what they computed."""
        self.standing.stopped = why
        self._waiting.clear()
        self._executor.stop()
        end = time.monotonic() + _STOPPING_SECONDS
        while self._heard and time.monotonic() < end:
            self._take(self._executor.events(_WAIT_SECONDS))

    def _tell(self) -> None:
        self.standing.seconds = time.monotonic() - self._begin
        self._watch(self.standing)

    def _description(self) -> Mapping[str, Any]:
        """What must be the same for a job to be continued."""
        return {"inputs": list(self._job.inputs), "shards": self._job.shards, "network": repr(self._job.wanted)}

    def _keep(self) -> None:
        done = {shard: asdict(event) for shard, event in self.standing.done.items()}
        write_json(self._folder / STATE, {"job": self._description(), "done": done})

    def _resumed(self) -> dict[str, Done]:
        """What an earlier run of the same job has done; nothing where that one ended well, or was another one."""
        try:
            values = read_json(self._folder / STATE)
            if values["job"] != self._description():
                return {}
            found = {shard: Done(**event) for shard, event in values["done"].items()}
        except (ArtifactError, LookupError, TypeError):
            return {}
        return {shard: done for shard, done in found.items() if Path(done.artifacts).is_dir()}


def shard_counts(workspace: Workspace) -> set[int]:
    """In how many shards the jobs were cut whose folders lie in the artifacts."""
    found = map(_shard_of, (workspace.root / FOLDER).glob("*-of-*"))
    return {int(shard.partition("/")[2]) for shard in found if shard}


def stores(workspace: Workspace, standing: Standing) -> list[Path]:
    """The stores of shards that are to be merged, also of earlier jobs.

    Where a worker was given up and another one has done its shard, the store of the first is left out: it may still
    be written, and the other has all of it. So are those of shards that were given up, which the next run goes on from.
    """
    done = {shard: Path(one.artifacts) for shard, one in standing.done.items()}
    found = ((path, _shard_of(path)) for path in workspace.shards())
    return [path for path, shard in found if shard not in standing.lost and done.get(shard, path) == path]


def _shard_of(store: Path) -> str:
    """The shard of a store, as `Shard` writes it; "" for a folder that is none."""
    name = _STORE.fullmatch(store.name)
    return f"{int(name[1])}/{int(name[2])}" if name else ""


def ended(workspace: Workspace) -> None:
    """Notes that a job is merged: its next run looks at every file again."""
    (workspace.root / FOLDER / STATE).unlink(missing_ok=True)
