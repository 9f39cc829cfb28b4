"""The executor of one machine: each worker is a process, with its own render processes and network."""

import multiprocessing.connection
from collections.abc import Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from embedpipe.cluster.protocol import Done, Event, Lost, Told, Work
from embedpipe.cluster.work import done_or_lost
from embedpipe.pages.workers import WorkerContext

_ENDING_SECONDS = 30.0


@dataclass(slots=True)
class _Running:
    process: BaseProcess
    pipe: "Connection[object, object]"
    settled: bool = False


class LocalProcesses:
    """Workers as processes of this machine; Ctrl-C reaches this process alone, which asks them to stop.

    Args:
        count: How many at once. Each has render processes of its own: say with `Settings.workers` how many.
    """

    def __init__(self, count: int) -> None:
        self.name = f"{count} processes"
        self._count = count
        self._context = WorkerContext()
        self._running: dict[str, _Running] = {}

    @property
    def slots(self) -> int:
        """How many works may run at once."""
        return self._count

    @property
    def running(self) -> dict[str, int]:
        """The processes of shards, by their numbers."""
        return {shard: running.process.pid or 0 for shard, running in self._running.items()}

    def start(self, work: Work) -> None:
        """Begins a work."""
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, work), name=f"embedpipe-shard-{work.shard}")
        process.start()
        theirs.close()  # so that its end is seen here
        self._running[work.shard] = _Running(process, ours)

    def events(self, seconds: float) -> Iterable[Event]:
        """What was told since the last call; a process that ended without a word is lost."""
        by_pipe = {running.pipe: shard for shard, running in self._running.items()}
        found: list[Event] = []
        for pipe in multiprocessing.connection.wait(list(by_pipe), seconds):
            found += self._heard(by_pipe[pipe])  # type: ignore[index]
        return found

    def _heard(self, shard: str) -> list[Event]:
        running, found = self._running[shard], list[Event]()
        try:
            while running.pipe.poll(0):
                event = running.pipe.recv()
                if isinstance(event, Told | Done | Lost):
                    found.append(event)
                    running.settled = running.settled or not isinstance(event, Told)
        except (EOFError, OSError):
            self._forget(shard)
            if not running.settled:
                found.append(Lost(shard, f"its process ended with {running.process.exitcode}"))
        return found

    def give_up(self, shard: str) -> None:
        """Kills the process of a shard."""
        if shard in self._running:
            self._running[shard].process.kill()
            self._forget(shard)

    def stop(self) -> None:
        """Asks all workers to end."""
        for running in self._running.values():
            try:
                running.pipe.send("stop")
            except OSError:  # it has just ended
                continue

    def close(self) -> None:
        """Ends what still runs."""
        for shard, running in list(self._running.items()):
            running.process.terminate()
            self._forget(shard)

    def _forget(self, shard: str) -> None:
        running = self._running.pop(shard)
        running.process.join(_ENDING_SECONDS)
        if running.process.is_alive():
            running.process.kill()
            running.process.join()
        running.pipe.close()


def _work(pipe: "Connection[object, object]", work: Work) -> None:
    """What a process does."""
    try:
        event: Event = done_or_lost(work, pipe.send, stopped=lambda: pipe.poll(0))
    except OSError:  # nobody listens any more: what was computed is kept
        return
    pipe.send(event)
