"""The executor over the nodes of a Ray cluster: a worker is an actor that does one whole `embed` on its node.

Only a `Work` goes in, which is paths and numbers, and `Told`, `Done` and `Lost` come out: Ray's object store never sees
a pixel or a feature. So these are Ray's actors and not a dataset of Ray Data, which would move rows between nodes, and
start lost work again by rules of its own besides those of `job`. An actor takes all cores of its node, as Ray counts
them, and its GPUs; it has render processes, time limits and a network of its own, as any `embed`.
"""

import contextlib
import functools
import importlib.metadata
import logging
import os
import signal
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from embedpipe.cluster.protocol import Done, Event, Lost, Told, Work
from embedpipe.cluster.work import done_or_lost
from embedpipe.core.errors import EmbedpipeError

log = logging.getLogger(__name__)
AUTO, LOCAL = "auto", "local"
"""In place of an address: a cluster that is found, else one that is started here; always one that is started here."""

_STORE_BYTES = 80 * 1024**2
"""Of Ray's object store where a cluster is started here: it holds a few kilobytes."""

_TOLD_SECONDS = 1.0
_STEP_SECONDS = 0.2
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing is reported to anybody
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DISABLE_IMPORT_WARNING": "1",
}


@dataclass(slots=True)
class _Running:
    actor: Any
    node: str
    answer: Any


class RayActors:
    """Workers as actors on the nodes of a Ray cluster, one on each.

    Args:
        address: HOST:PORT of the head, `ray://HOST:PORT` of a client server, AUTO or LOCAL.

    Raises:
        EmbedpipeError: Ray is not installed, or there is no cluster at the address.
    """

    def __init__(self, address: str = AUTO) -> None:
        os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
        self._ray = _ray()
        self._own = not self._ray.is_initialized()
        if self._own:
            _connect(self._ray, address)
        home = self._ray.get_runtime_context().get_node_id()
        self.name = f"Ray, {len(self._nodes())} nodes"
        self._hub = self._actor(_Hub, home, 0, 0).remote()
        self._running: dict[str, _Running] = {}
        self._idle: dict[str, Any] = {}
        self._early: deque[Event] = deque()

    @property
    def slots(self) -> int:
        """One for each node that is there now."""
        return len(self._nodes())

    def _nodes(self) -> dict[str, dict[str, float]]:
        """Resources of the nodes that are alive and have cores to give, by their ids."""
        nodes = {node["NodeID"]: node["Resources"] for node in self._ray.nodes() if node["Alive"]}
        return {name: found for name, found in nodes.items() if found.get("CPU", 0) >= 1}

    def _actor(self, kind: type, node: str, cores: float, gpus: float) -> Any:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # noqa: PLC0415 - an extra

        where = NodeAffinitySchedulingStrategy(node_id=node, soft=False)
        return self._ray.remote(kind).options(num_cpus=cores, num_gpus=gpus, max_restarts=0, scheduling_strategy=where)

    def start(self, work: Work) -> None:
        """Begins a work on a node that has none."""
        nodes, busy = self._nodes(), {running.node for running in self._running.values()}
        free = [node for node in nodes if node not in busy] or list(nodes)
        if not free:
            self._early.append(Lost(work.shard, "no node is left"))
            return
        node = next((node for node in free if node in self._idle), free[0])
        cores, gpus = nodes[node].get("CPU", 1), nodes[node].get("GPU", 0)
        if not work.settings.workers and cores < (os.cpu_count() or 1):  # fewer than the machine has: so it is shared
            work = replace(work, settings=replace(work.settings, workers=int(cores)))
        actor = self._idle.pop(node, None)  # it has loaded all libraries
        if actor is None:
            actor = self._actor(_Worker, node, cores, gpus).remote(self._hub, _version())
        self._running[work.shard] = _Running(actor, node, actor.work.remote(work))

    def events(self, seconds: float) -> Iterable[Event]:
        """What was told since the last call; an actor that is gone with its node or alone is lost."""
        end = time.monotonic() + seconds
        found: list[Event] = list(self._early)
        self._early.clear()
        while not found:
            by_answer = {running.answer: shard for shard, running in self._running.items()}
            left = max(0.0, min(_STEP_SECONDS, end - time.monotonic()))
            ready = self._ray.wait(list(by_answer), timeout=left)[0] if by_answer else []
            if not by_answer:
                time.sleep(left)
            told = self._ray.get(self._hub.taken.remote())
            found = [*told, *(self._ended(by_answer[answer]) for answer in ready)]
            if time.monotonic() >= end:
                break
        return found

    def _ended(self, shard: str) -> Event:
        running = self._running.pop(shard)
        try:
            event: Done | Lost = self._ray.get(running.answer)
        except self._ray.exceptions.RayError as error:
            self._end(running.actor)
            return Lost(shard, _why(error))
        self._idle[running.node] = running.actor
        return event

    def _end(self, actor: Any) -> None:
        with contextlib.suppress(self._ray.exceptions.RayError):
            self._ray.kill(actor)

    def give_up(self, shard: str) -> None:
        """Kills the actor of a shard."""
        if shard in self._running:
            self._end(self._running.pop(shard).actor)

    def stop(self) -> None:
        """Asks all workers to end."""
        self._ray.get(self._hub.stop.remote())

    def close(self) -> None:
        """Ends what still runs; a cluster that was started here ends too."""
        with contextlib.suppress(Exception):  # the cluster may be gone
            for shard in list(self._running):
                self.give_up(shard)
            for actor in (*self._idle.values(), self._hub):
                self._end(actor)
        if self._own:
            self._ray.shutdown()


class _Hub:
    """Takes what workers tell, and tells them whether to stop; on the node of the driver, and gone with it."""

    def __init__(self) -> None:
        self._told: dict[str, Told] = {}
        self._stopped = False

    def tell(self, told: Told) -> bool:
        """Takes the latest of a shard; returns whether it is to stop."""
        self._told[told.shard] = told
        return self._stopped

    def taken(self) -> list[Told]:
        """What came since the last call."""
        told, self._told = list(self._told.values()), {}
        return told

    def stop(self) -> None:
        """Has all workers stop."""
        self._stopped = True


class _Worker:
    """One worker on its node."""

    def __init__(self, hub: Any, version: str) -> None:
        self._hub, self._version = hub, version
        self._last, self._stage, self._answer, self._stopped = float("-inf"), "", None, False

    def work(self, work: Work) -> Done | Lost:
        """Does the work."""
        node = _ray().util.get_node_ip_address()
        if _version() != self._version:
            why = f"embedpipe {_version()} is installed on {node}, and {self._version} here: install the same"
            return Lost(work.shard, why, again=False)
        return done_or_lost(work, self._tell, node=node, stopped=self._is_stopped)

    def _tell(self, told: Told) -> None:
        """Tells once a second; the answer is looked at later, so that no batch waits for it."""
        self._is_stopped()
        if self._answer is None and (time.monotonic() - self._last > _TOLD_SECONDS or told.stage != self._stage):
            self._last, self._stage = time.monotonic(), told.stage
            self._answer = self._hub.tell.remote(told)

    def _is_stopped(self) -> bool:
        if self._answer is not None and _ray().wait([self._answer], timeout=0)[0]:
            with contextlib.suppress(_ray().exceptions.RayError):  # the driver is gone, and this actor soon
                self._stopped = self._stopped or _ray().get(self._answer)
            self._answer = None
        return self._stopped


@functools.cache
def _version() -> str:
    try:
        return importlib.metadata.version("embedpipe")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def _ray() -> Any:
    try:
        import ray  # noqa: PLC0415 - an extra
        import ray.exceptions  # noqa: PLC0415
        import ray.util  # noqa: PLC0415
    except ImportError as error:
        raise EmbedpipeError("--ray needs the extra ray: pip install 'embedpipe[ray]'") from error
    return ray


def _connect(ray: Any, address: str) -> None:
    """Joins a cluster, or starts one here; Ray writes nothing to the terminal."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        _join(ray, address)
    finally:
        with contextlib.suppress(ValueError, TypeError):  # not the main thread, or a handler of another language
            signal.signal(signal.SIGTERM, before)  # Ray sets one of its own, which ends the process at once


def _join(ray: Any, address: str) -> None:
    common = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    with _silent():
        if address in (AUTO, LOCAL):
            if address == AUTO:
                with contextlib.suppress(ConnectionError):
                    ray.init(address="auto", **common)
                    return
            ray.init(address="local", include_dashboard=False, object_store_memory=_STORE_BYTES, **common)
            return
        try:
            ray.init(address=address, **common)
        except Exception as error:
            why = str(error).strip().partition("\n")[0] or type(error).__name__
            raise EmbedpipeError(f"--ray {address}: no cluster answers there: {why}") from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    import warnings  # noqa: PLC0415

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what a later version of Ray will do
        yield


def _why(error: Exception) -> str:
    """Why an actor is gone, in a line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = next(
        (line for line in lines if "node" in line.lower() or "process" in line.lower()), lines[0] if lines else ""
    )
    return f"{type(error).__name__}: {told[:200]}"
