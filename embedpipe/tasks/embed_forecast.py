"""What the rest of a run will take, from its first pages: time, disk and memory; which stage the others wait for."""

import math
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from embedpipe.core.machine import available_memory
from embedpipe.core.process import family_megabytes
from embedpipe.core.records import PageInfo

FIRST_PAGES, AGAIN = 200, 10
"""So many pages are measured before anything is said; and it is said again at so many times the pages."""

_ROW_BYTES = 80
_WORD_BYTES = 2.04
_PAGE_MEMORY = 1100
"""On disk a row of features takes so much beside them, and each n-gram of a page so much (4,550 pages of real
documents); in memory the books of `embed` take so much for each stored page (`benchmarks/merging.py --books`)."""

_WAITING, _READING, _BUSY = 0.15, 0.5, 0.8
"""Shares of the time from which the network waits for pages, files for the disk, and cores have nothing left."""

RENDERING, NETWORK, DISK, CORES = "rendering", "network", "disk", "cores"


@dataclass(frozen=True, slots=True)
class Load:
    """Where the time went so far.

    Attributes:
        seconds: Since the first job.
        render: Of all render processes together.
        forward: That the network took.
        wait: That the network waited for pages.
        read: That files took to be found, read and hashed.
        workers: Render processes.
        cores: That this process may use.
        device: Of the network.
    """

    seconds: float
    render: float
    forward: float
    wait: float
    read: float
    workers: int
    cores: int
    device: str


@dataclass(frozen=True, slots=True)
class Forecast:
    """The rest of a run, as its first pages tell.

    Attributes:
        pages: That were measured.
        rate: Pages a second.
        pages_left: About so many are to come.
        seconds_left: About so long they take.
        disk_left: Bytes that they will take.
        disk_free: Bytes that are free where they go.
        memory: Megabytes that this process and its workers take now; 0 where that is not known.
        memory_left: Megabytes that the books of the rest will take.
        memory_free: Megabytes that are free; None where that is not known.
        limit: RENDERING, NETWORK, DISK or CORES: what the rest waits for.
        shares: Of the time, by what `limit` was told from.
    """

    pages: int
    rate: float
    pages_left: int
    seconds_left: float
    disk_left: int
    disk_free: int
    memory: float
    memory_left: float
    memory_free: float | None
    limit: str
    shares: Mapping[str, float]

    def lines(self) -> list[str]:
        """In words, with what would help."""
        memory = (
            f", memory {in_bytes(self.memory * 1e6)} now and {in_bytes(self.memory_left * 1e6)} more"
            if self.memory
            else ""
        )
        rest = (
            f"from the first {self.pages} pages: about {self.pages_left} more pages, {in_hours(self.seconds_left)} at "
            f"{self.rate:.0f} pages/s, disk {in_bytes(self.disk_left)}{memory}"
        )
        found = [rest, f"what the rest waits for: {_LIMITS[self.limit]}"]
        if self.disk_left > self.disk_free:
            found.append(
                f"the disk will not do: {in_bytes(self.disk_free)} are free; --no-thumbnails and --no-words need less, "
                "or give --artifacts another disk"
            )
        if self.memory_free is not None and self.memory_left > self.memory_free:
            found.append(
                f"memory may not do: {self.memory_free / 1000:.1f} GB are free; --shard needs less on each machine"
            )
        return found


_LIMITS = {
    RENDERING: "render processes, while cores are free; more --workers help, and a faster network would not",
    NETWORK: "the network; a GPU, a smaller one (`backbones`) or more machines (--shard) help, more --workers do not",
    DISK: "the disk or share that files are read from; a copy on a faster disk helps, and --trust-mtime where files "
    "were hashed before",
    CORES: "the cores, all of which are busy; more cores, a GPU for the network, or more machines (--shard) help",
}


@dataclass(frozen=True, slots=True)
class Heap:
    """How much is done, and how much is to come.

    Attributes:
        pages: Of finished documents.
        documents: That are finished.
        bytes: Of these.
        files_left: That are to come.
        bytes_left: Of these.
    """

    pages: int
    documents: int
    bytes: int
    files_left: int
    bytes_left: int

    def pages_left(self) -> int:
        """About how many pages are to come: told from bytes and from files, which err to different sides."""
        by_bytes = self.pages * self.bytes_left / max(self.bytes, 1)
        by_files = self.pages * self.files_left / max(self.documents, 1)
        return round(math.sqrt(by_bytes * by_files))


def forecast(load: Load, pages: int, heap: Heap, page_bytes: float, folder: Path, stored: int) -> Forecast:
    """What is to come.

    Args:
        load: Where the time went.
        pages: Embedded so far.
        heap: How much is done.
        page_bytes: Bytes that a page takes on disk.
        folder: Where it all goes.
        stored: Pages that were there before.
    """
    rate = pages / max(load.seconds, 1e-6)
    left = heap.pages_left()
    memory = available_memory()
    shares = {
        "render": load.render / (max(load.workers, 1) * load.seconds),
        "network": load.forward / load.seconds,
        "wait": load.wait / load.seconds,
        "read": load.read / load.seconds,
    }
    return Forecast(
        pages,
        rate,
        left,
        left / max(rate, 1e-6),
        round(left * page_bytes),
        shutil.disk_usage(folder).free,
        family_megabytes() if Path("/proc/self").is_dir() else 0.0,
        (left + stored) * _PAGE_MEMORY / 1e6,
        None if memory is None else memory / 1e6,
        limit_of(load, shares),
        {name: round(share, 3) for name, share in shares.items()},
    )


def limit_of(load: Load, shares: Mapping[str, float]) -> str:
    """Which stage the others wait for.

    The network that never waits is the limit itself; else files are not read fast enough, or pages are not drawn fast
    enough. Where the network runs on the same cores as the render processes, all of these may be busy.
    """
    on_cpu = load.device == "cpu"
    if shares["wait"] >= _WAITING and shares["read"] > _READING and shares["render"] < _BUSY:
        return DISK
    if on_cpu and (load.render + load.forward) / (load.cores * load.seconds) > _BUSY:
        return CORES
    return NETWORK if shares["wait"] < _WAITING else RENDERING


def page_bytes(infos: Iterable[PageInfo], dim: int) -> float:
    """Bytes that each of these pages takes on disk, on average: features, thumbnail and words."""
    total = count = 0.0
    for info in infos:
        count += 1
        total += 2 * dim + _ROW_BYTES + len(info.thumbnail or b"")
        total += _WORD_BYTES * len(info.words.columns) if info.words is not None else 0.0
    return total / count if count else 0.0


def in_hours(seconds: float) -> str:
    """A time for people."""
    if seconds < 90:  # noqa: PLR2004 - more is told in minutes
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"  # noqa: PLR2004 - in hours


def in_bytes(size: float) -> str:
    """A size for people."""
    for unit, bytes_ in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size / 1e3:.0f} KB"
