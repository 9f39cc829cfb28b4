"""What a job and its executor say to each other: small records of plain values, which any engine can carry.

An executor starts one worker for each `Work`, and a worker does one whole `embed` with `work.do`. Of each work that was
started, `events` gives any number of `Told`, and in the end a `Done` or a `Lost`. Engines deliver twice and late: a job
takes the first `Done` of a shard and passes over all that comes after it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from embedpipe.backbones.model_cache import Wanted
from embedpipe.embedding.streaming import Settings

COMPLETE, INTERRUPTED, OUT_OF_TIME = "complete", "interrupted", "out of time"
"""How a worker ended by itself. Of the last two what was computed is kept, and the same work goes on from there."""


@dataclass(frozen=True, slots=True)
class Work:
    """One shard: all that a worker is told. Paths and plain values only.

    Attributes:
        inputs: Files and folders; the worker must be able to read them by these paths.
        artifacts: Folder of the shard's own store; whoever merges must be able to read it by this path.
        wanted: The network.
        settings: How documents are read; `settings.shard` says which of them.
        home: Artifacts that hold the fine-tuned networks that `wanted` may name; "" for those of `artifacts`.
        keep: As of `tasks.embed`.
        label_by_folder: Likewise.
        retry_failed: Likewise.
    """

    inputs: tuple[str, ...]
    artifacts: str
    wanted: Wanted
    settings: Settings
    home: str = ""
    keep: tuple[str, ...] = ()
    label_by_folder: bool = False
    retry_failed: bool = False

    @property
    def shard(self) -> str:
        """What a work is known by: `I/N`."""
        return str(self.settings.shard)


@dataclass(frozen=True, slots=True)
class Told:
    """What a worker tells while it works.

    Attributes:
        shard: Of its work.
        node: Where it runs, for people.
        pages: Embedded so far.
        bytes_done: Bytes of the files that are done.
        bytes_total: Of all.
        stage: What is done to the pages.
    """

    shard: str
    node: str = ""
    pages: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    stage: str = "embedding"


@dataclass(frozen=True, slots=True)
class Done:
    """A worker has ended by itself.

    Attributes:
        shard: Of its work.
        node: Where it ran.
        artifacts: Folder of the store.
        state: COMPLETE, INTERRUPTED or OUT_OF_TIME.
        counts: Of its report: numbers by the names of `intake.Report`.
        parts: Names of the parts that its store has now.
        space: What its features belong to.
        knobs: Engine, device and precision.
        failures: The first of them, as (page, kind, message).
    """

    shard: str
    node: str
    artifacts: str
    state: str
    counts: Mapping[str, float] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    space: str = ""
    knobs: Mapping[str, str] = field(default_factory=dict)
    failures: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Lost:
    """A worker, or its node, is gone; or it ended with an error.

    Attributes:
        shard: Of its work.
        why: In a line.
        again: Whether it may go well another time: not where an option or an input is wrong.
        busy: Whether another process holds the store, such as a worker that counted as lost and still runs.
    """

    shard: str
    why: str
    again: bool = True
    busy: bool = False


Event = Told | Done | Lost


class Executor(Protocol):
    """Starts workers and hears of them.

    Attributes:
        name: For people: "2 processes", "Ray, 3 nodes".
        slots: How many works may run at once; it may change as nodes come and go.
    """

    name: str

    @property
    def slots(self) -> int:
        """How many works may run at once now."""
        ...

    def start(self, work: Work) -> None:
        """Begins a work; returns at once. The same shard is not started again before it was done, lost or given up."""
        ...

    def events(self, seconds: float) -> Iterable[Event]:
        """What was told since the last call; waits so long at most where there is nothing."""
        ...

    def give_up(self, shard: str) -> None:
        """Ends the worker of a shard of which nothing was heard for too long; whatever it still says is passed over."""
        ...

    def stop(self) -> None:
        """Asks all workers to end: each keeps what it computed, and tells that it is done, and INTERRUPTED."""
        ...

    def close(self) -> None:
        """Ends what still runs, and gives back what was taken. Called once, at the end, whatever happened."""
        ...
