"""Whether a kind of index works over the pages of a store, tried on some of them before the work begins.

FAISS makes many kinds of which some cannot be copied, filled, written, mapped or searched with parameters, and says so
only once it is at it. Here it is at it with a few hundred pages.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.process import is_lack_of_memory
from embedpipe.index.plans import efforts, reason_of
from embedpipe.index.segments import Queries, Segment, SegmentBuilder
from embedpipe.store.moments import Scaling

WORKING = "auto, Flat, SQ8, HNSW32, IVF64,Flat and PCA64,IVF64,SQ8 work"
_ROWS = 300
_NEIGHBOURS = 33
_LEAST_FOUND = 0.5
"""Share of pages that have to be among their own nearest: of a kind that works it is nearly all."""
_SAME = 1e-5


def rehearse(factory: str, empty: Any, unit: NDArray[np.float32], scaler: Scaling) -> None:
    """Fills, writes, opens and searches an index of some pages.

    Args:
        factory: What was asked for, for the message.
        empty: A trained FAISS index without rows.
        unit: Rows that it was trained on, scaled, of unit length, float32 (n, dim).
        scaler: How they were scaled.

    Raises:
        UsageError: The kind does not work, and what does.
    """
    with using(factory, len(unit)):
        share = _found(empty, unit[:_ROWS], scaler)
    if share < _LEAST_FOUND:
        raise UsageError(f"--index {factory}: finds only {share:.0%} of the pages by themselves; {WORKING}")


@contextlib.contextmanager
def using(factory: str, pages: int) -> Iterator[None]:
    """Makes what FAISS raises of a kind that it made and then cannot use a UsageError, which names what works."""
    try:
        yield
    except RuntimeError as error:
        if is_lack_of_memory(error):
            raise
        reason = reason_of(error)
        raise UsageError(f"--index {factory}: FAISS cannot use it over {pages} pages ({reason}); {WORKING}") from error


def _found(empty: Any, rows: NDArray[np.float32], scaler: Scaling) -> float:
    """Share of rows that are found by themselves, or by others that are the same."""
    builder, half = SegmentBuilder(rows.shape[1], empty), -(-len(rows) // 2)
    for first in range(0, len(rows), half):  # parts of a store come one after another
        some = np.arange(first, min(first + half, len(rows)))
        builder.add(rows[some], some, some.astype(np.uint64), some.astype(np.int32), some.astype(np.uint32))
    with Aside("index") as folder:
        try:
            segment = builder.segment().save(Path(folder) / "faiss", Path(folder) / "arrow")
        except EmbedpipeError as error:  # of the index, for the folder is empty and small
            raise RuntimeError(str(error)) from error
        return _share(segment, empty, rows, scaler)


def _share(segment: Segment, empty: Any, rows: NDArray[np.float32], scaler: Scaling) -> float:
    queries, among = Queries.of(scaler, rows), np.ones(len(rows), bool)
    among[::3] = False
    segment.search(queries, _NEIGHBOURS, efforts(empty)[0], among)
    segment.search(queries.take(slice(0, 1)), 1, efforts(empty)[0])
    _, ids = segment.search(queries, _NEIGHBOURS, efforts(empty)[-1])
    cosines = np.where(ids >= 0, np.einsum("ij,ikj->ik", rows, rows[np.maximum(ids, 0)]), -1.0)
    return float((cosines.max(axis=1) > np.einsum("ij,ij->i", rows, rows) - _SAME).mean())
