"""Tables of one file each joined row by row: where documents are, and what is kept by document or page.

Rows are compared by hashes of 64 bits and passed on in batches, so that only what is disputed is ever in memory.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.files import replacing
from embedpipe.store.columns import empty, numbers, repeated
from embedpipe.store.sources import CURRENT, EARLIER, SCHEMA

log = logging.getLogger(__name__)

_BATCH = 65_536
_SHOWN = 10
Row = tuple[Any, ...]


@dataclass(slots=True)
class JoinedPlaces:
    """What became of where documents are.

    Attributes:
        rows: Rows of the joined table.
        disputed: How many paths have another content in two stores.
        paths: The first of these.
    """

    rows: int = 0
    disputed: int = 0
    paths: list[str] = field(default_factory=list)


def join_sources(own: Path, others: Sequence[Path]) -> JoinedPlaces:
    """Joins the tables of where documents are.

    Where two say the same of a path, it is said once. Where they have another content at a path, the file that changed
    last is there now, and the others are its earlier versions. Where a source knows the same content at a path, it says
    what became of it: what the table knows came from an earlier call, and the file may be gone since.

    Args:
        own: sources.parquet; replaced in one step.
        others: Those of the sources.

    Raises:
        ArtifactError: The disk is full or cannot be written.
    """
    files = [file for file in (*others, own) if _is_readable(file, SCHEMA)]
    joined = JoinedPlaces()
    if not [file for file in files if file != own]:
        return joined
    paths: list[NDArray[np.int64]] = []
    rows: list[NDArray[np.int64]] = []
    for file in files:
        for batch in _batches(file, SCHEMA):
            there = list(zip(*batch.to_pydict().values(), strict=True))
            paths.append(np.fromiter((hash(row[0]) for row in there), np.int64, len(there)))
            rows.append(np.fromiter(map(hash, there), np.int64, len(there)))
    path, row = (np.concatenate([*all_, np.empty(0, np.int64)]) for all_ in (paths, rows))
    del paths, rows
    first = np.zeros(len(path), bool)
    order = np.lexsort((row, path))
    first[order] = np.concatenate([[True], (np.diff(path[order]) != 0) | (np.diff(row[order]) != 0)])[: len(order)]
    left, counts = np.unique(path[first], return_counts=True)
    contested = first & np.isin(path, left[counts > 1])
    plain = first & ~contested
    disputed: dict[str, list[tuple[bool, Row]]] = {}
    with (
        replacing(own) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd", write_page_checksum=True) as writer,
    ):
        at = 0
        for file in files:
            for batch in _batches(file, SCHEMA):
                mine = slice(at, at + batch.num_rows)
                at += batch.num_rows
                writer.write_table(batch.take(numbers(np.flatnonzero(plain[mine]))))
                for found in batch.take(numbers(np.flatnonzero(contested[mine]))).to_pylist():
                    disputed.setdefault(found["path"], []).append((file == own, tuple(found.values())))
        settled = [one for given in disputed.values() for one in _settled(given, joined)]
        writer.write_table(pa.Table.from_pylist([dict(zip(SCHEMA.names, r, strict=True)) for r in settled], SCHEMA))
    joined.rows = int(plain.sum()) + len(settled)
    return joined


def _settled(said: Sequence[tuple[bool, Row]], joined: JoinedPlaces) -> Iterator[Row]:
    """What is so of one path, of what several stores say, each with whether it is the table that takes them in."""
    of = {name: SCHEMA.names.index(name) for name in ("path", "sha256", "mtime_ns", "standing")}
    sha256, changed, standing = of["sha256"], of["mtime_ns"], of["standing"]
    told = {(row[sha256], row[changed]) for is_own, row in said if not is_own}
    left = [(is_own, row) for is_own, row in said if not (is_own and (row[sha256], row[changed]) in told)]
    rows = [row for _, row in sorted(left, key=lambda pair: not pair[0])]  # of equal ones its own counts
    there = [row for row in rows if row[standing] != EARLIER]
    ranked = sorted(there, key=lambda row: (row[changed], row[standing] == CURRENT), reverse=True)
    known: set[str] = set()
    if ranked:
        best = ranked[0]
        current = next((r for r in ranked if r[sha256] == best[sha256] and r[standing] == CURRENT), best)
        yield current
        known.add(current[sha256])
        if {row[sha256] for row in there} - known:
            joined.disputed += 1
            joined.paths += [current[of["path"]]] if len(joined.paths) < _SHOWN else []
    for row in (*ranked, *(row for row in rows if row[standing] == EARLIER)):
        if row[sha256] not in known:
            known.add(row[sha256])
            yield (*row[:standing], EARLIER, *row[standing + 1 :])


def join_rows(own: Path, others: Sequence[Path], keys: int) -> int:
    """Joins tables whose rows are known by their first columns; of several rows the first counts.

    Args:
        own: Replaced in one step.
        others: Those of the sources; one with other columns, or damaged, is left out: all of it can be made again.
        keys: How many columns a row is known by.

    Returns:
        How many rows came from the others.

    Raises:
        ArtifactError: The disk is full or cannot be written.
    """
    like = next((pq.read_schema(file) for file in (own, *others) if _is_readable(file)), None)
    files = [file for file in (own, *others) if like is not None and _is_readable(file, like)]
    if like is None or not [file for file in files if file != own]:
        return 0
    seen: set[int] = set()
    taken = 0
    with (
        replacing(own) as temporary,
        pq.ParquetWriter(temporary, like, compression="zstd", write_page_checksum=True) as writer,
    ):
        for file in files:
            for batch in _batches(file, like):
                there = zip(*(batch[name].to_pylist() for name in like.names[:keys]), strict=True)
                hashes = [hash(row) for row in there]
                new = [place for place, own_hash in enumerate(hashes) if own_hash not in seen]
                seen.update(hashes)
                writer.write_table(batch.take(pa.array(new, pa.int64())))
                taken += len(new) if file != own else 0
    return taken


def _is_readable(file: Path, like: pa.Schema | None = None) -> bool:
    """Whether a table is there, and has these columns, or the first of them."""
    if not file.exists():
        return False
    try:
        schema: pa.Schema = pq.read_schema(file)
    except (OSError, ValueError, pa.ArrowException):
        log.warning("%s is damaged and left out: what it says is found again", file)
        return False
    if like is None:
        return True
    first = pa.schema([like.field(n) for n in range(min(len(schema.names), len(like.names)))])
    return schema.remove_metadata() == first and (like is SCHEMA or schema.metadata == like.metadata)


def _batches(file: Path, like: pa.Schema) -> Iterator[pa.Table]:
    """The rows of a table in batches, with columns that earlier versions lack."""
    with pq.ParquetFile(file, page_checksum_verification=True) as opened:
        for batch in opened.iter_batches(_BATCH):
            table = pa.Table.from_batches([batch])
            for name in like.names[len(table.schema.names) :]:
                table = table.append_column(name, repeated("", pa.string(), table.num_rows))
            yield table.cast(like) if table.num_rows else empty(like)
