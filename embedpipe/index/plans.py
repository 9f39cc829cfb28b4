"""Which kind of index: by the number of pages, their width, the memory that it may take, and the machine.

Kinds are named as FAISS's `index_factory` names them (Douze et al., 2024, "The Faiss library").
"""

import os
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.display import whole_number
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.faiss_library import faiss
from embedpipe.core.machine import available_cores

AUTO = "auto"
FLAT = "Flat"
_EXACT_SECONDS = 0.01
"""Exact search is taken while a query is likely to be answered in this time."""
_SCAN_RATE = 6e9
"""Bytes that a core compares in a second by exact search; measured: 7.8e9 on a server of 2023."""
_SCANNING_CORES = 8
"""More cores scan no faster: memory is the limit."""
_GRAPH_PAGES = 50_000
"""A graph over more pages takes too long to build: each costs about a millisecond and more."""
_ID_BYTES = 8
_ROWS_PER_CENTROID = 32
_STEPS = 5
"""Of the clustering into lists; with these two the recall is that of twice as many of each, see docs/performance.md."""
_TRAINING_ROWS = 20_000
_TRAINING_BYTES = 768 * 1024**2
"""Most of the training sample, as float32."""
_MOST_LISTS = 4096
_BITS = 512
"""Principal components, turned at random, of which a bit each is kept where there are so many (RaBitQ)."""
_FEWEST_BITS = 256
"""Of fewer features a bit each says too little."""
_COMPONENTS = 256
"""Principal components that are kept where memory allows a byte for each."""
_FINER_PAGES = 300_000
"""Over more pages half of them are kept: more candidates are ranked again, but the index stays small."""
_A_CODE = 4
"""Components that a byte stands for where it does not."""
_PLACE = re.compile(r" at \S+:\d+: ")
_LONGEST_REASON = 120
_LARGEST, _MOST_LINKS = 2**20, 512
"""FAISS ends the process where numbers of a factory are 0, and where they are too large for the memory."""
_REFUSED = {
    "IDMap": "ids are kept beside the index",
    "Refine": "results are ranked again with the features of the store anyway",
    "RFlat": "results are ranked again with the features of the store anyway",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What an index should be.

    Attributes:
        factory: `auto`, or a factory string of FAISS such as `HNSW32` or `OPQ64_256,IVF1024,PQ64`.
        memory: Bytes that the index may take; None for a quarter of the machine's memory.
        recall: Share of the 10 truly nearest pages that a query should find, 0..1.
    """

    factory: str = AUTO
    memory: int | None = None
    recall: float = 0.95

    @property
    def memory_bytes(self) -> int:
        """Bytes that the index may take."""
        return self.memory or machine_memory() // 4


def machine_memory() -> int:
    """Bytes of memory of this machine; 8 GB where it does not tell."""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return 8 * 1024**3


def choose(request: Request, pages: int, dim: int) -> str:
    """The factory string of an index.

    Args:
        request: What it should be.
        pages: How many it will hold.
        dim: Their features.

    Raises:
        UsageError: FAISS knows no such factory, or it does not go with the store.
    """
    if request.factory != AUTO:
        check(request.factory, pages, dim)
        return request.factory
    exact_bytes = 4 * dim * pages
    scanned = _EXACT_SECONDS * _SCAN_RATE * min(available_cores(), _SCANNING_CORES)
    if exact_bytes <= min(scanned, request.memory_bytes):
        return FLAT
    if pages <= _GRAPH_PAGES and pages * (4 * dim + 300) <= request.memory_bytes:
        return "HNSW32"
    lists = _lists(pages)
    if dim >= _FEWEST_BITS and hasattr(faiss, "IndexIVFRaBitQ"):  # earlier versions of FAISS have none
        choices = [f"PCAR{min(_BITS, dim)},IVF{lists},RaBitQ"]
    else:
        kept = [_COMPONENTS, _COMPONENTS // 2] if pages <= _FINER_PAGES else [_COMPONENTS // 2]
        choices = [f"PCA{n},IVF{lists},SQ8" for n in kept if n < dim] or [f"IVF{lists},SQ8"]
    choices += [_quantised(lists, bytes_, dim) for bytes_ in (64, 32, 16) if dim >= _A_CODE]
    for choice in choices:
        if pages * bytes_per_page(choice, dim) <= request.memory_bytes:
            return choice
    return choices[-1]  # its inverted lists are read from the disk


def bytes_per_page(factory: str, dim: int) -> int:
    """Bytes that FAISS takes for a page, its id included."""
    index = _make(factory, dim)  # what is inside lives only as long as this
    core = inner(index)
    links = 4 * 2 * _links(factory) if isinstance(core, faiss.IndexHNSW) else 0
    return code_bytes(core) + _ID_BYTES + links


def code_bytes(core: Any) -> int:
    """Bytes of what an index keeps of a vector; 0 for kinds that do not tell."""
    if isinstance(core, faiss.IndexHNSW):
        core = faiss.downcast_index(core.storage)
    return int(getattr(core, "code_size", 0))


def _links(factory: str) -> int:
    digits = factory.partition("HNSW")[2].partition(",")[0].partition("_")[0]
    return whole_number(digits) or 32


def _lists(pages: int) -> int:
    """Inverted lists: about the root of the number of pages, as a power of two, as many as can be trained."""
    return min(max(16, 1 << (int(2 * pages**0.5).bit_length() - 1)), _MOST_LISTS)


def _quantised(lists: int, wanted: int, dim: int) -> str:
    """Product quantisation of the principal components, turned at random: OPQ finds more, but takes hours to train."""
    codes = min(wanted, dim // _A_CODE)
    return f"PCAR{_A_CODE * codes},IVF{lists},PQ{codes}"


def check(factory: str, pages: int, dim: int) -> None:
    """Refuses what FAISS cannot make, or what would not work over the store, with a line that says why."""
    for word, reason in _REFUSED.items():
        if word in factory:
            raise UsageError(f"--index {factory}: leave out {word}: {reason}")
    numbers = [int(digits) for digits in re.findall(r"\d+", factory)]
    links = [int(digits) for digits in re.findall(r"(?:HNSW|NSG)_?(\d+)", factory)]
    if 0 in numbers or max(numbers, default=1) > _LARGEST or max(links, default=1) > _MOST_LINKS:
        limits = f"from 1 to {_LARGEST}, those of a graph to {_MOST_LINKS}"
        raise UsageError(f"--index {factory}: its numbers have to be {limits}")
    try:
        index = _make(factory, dim)
    except Exception as error:  # FAISS raises several kinds, all with the place in its source
        raise UsageError(f"--index {factory}: FAISS cannot make it for {dim} features ({reason_of(error)})") from error
    for number in range(index.chain.size() if isinstance(index, faiss.IndexPreTransform) else 0):
        if index.chain.at(number).d_out > index.chain.at(number).d_in:
            raise UsageError(f"--index {factory}: the pages have only {dim} features")
    lists = getattr(inner(index), "nlist", 0)
    if lists > pages:
        raise UsageError(f"--index {factory}: {lists} lists are more than there are pages ({pages})")


def training_rows(factory: str, dim: int) -> int:
    """How many rows a factory wants to be trained on; never more than memory allows."""
    index = _make(factory, dim)
    wanted = max(_TRAINING_ROWS, _ROWS_PER_CENTROID * getattr(inner(index), "nlist", 0))
    return min(wanted, _TRAINING_BYTES // (4 * dim))


def trained(factory: str, sample: NDArray[np.float32]) -> Any:
    """An empty FAISS index, trained on unit rows (n, dim).

    Raises:
        EmbedpipeError: There are too few rows for it.
    """
    index = _make(factory, sample.shape[1])
    core = inner(index)
    for holder in (core, getattr(core, "pq", None)):
        if holder is not None and hasattr(holder, "cp"):
            holder.cp.min_points_per_centroid = 1  # else FAISS writes to stderr what nobody can change
    if isinstance(core, faiss.IndexIVF):
        core.cp.niter = _STEPS
    try:
        index.train(sample)
    except RuntimeError as error:
        reason = reason_of(error)
        raise EmbedpipeError(f"--index {factory}: cannot be trained on {len(sample)} pages ({reason})") from error
    for number in range(index.chain.size() if isinstance(index, faiss.IndexPreTransform) else 0):
        transform = faiss.downcast_VectorTransform(index.chain.at(number))
        if isinstance(transform, faiss.PCAMatrix):
            transform.PCAMat.clear()  # all components, of which the few that are kept have been copied
    return index


def efforts(index: Any) -> list[dict[str, int]]:
    """How hard an index can be told to search, from the least to the most."""
    core = inner(index)
    if isinstance(core, faiss.IndexIVF):
        return [{"nprobe": 1 << power} for power in range(int(core.nlist).bit_length())]
    if isinstance(core, faiss.IndexHNSW):
        return [{"efSearch": 1 << power} for power in range(4, 12)]
    return [{}]


def reason_of(error: Exception) -> str:
    """What FAISS says is wrong, without the place in its source."""
    text = " ".join(str(error).split())
    said = _PLACE.split(text)[-1].removeprefix("Error: ").strip()
    return said[:_LONGEST_REASON] or type(error).__name__


def _make(factory: str, dim: int) -> Any:
    return faiss.index_factory(dim, factory, faiss.METRIC_INNER_PRODUCT)


def inner(index: Any) -> Any:
    """The index behind transforms of its vectors; it lives only as long as the whole one."""
    index = faiss.downcast_index(index)
    return faiss.downcast_index(index.index) if isinstance(index, faiss.IndexPreTransform) else index
