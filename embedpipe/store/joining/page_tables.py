"""What else is kept of pages joined: parts of a table are linked, and the best row of each page counts.

Of a page that several tables have, a row that holds something counts before an empty one (words that were recognised,
a picture that could be drawn); else what the table has already; else that of the table which is named first.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import synced
from embedpipe.core.records import NO_WORDS
from embedpipe.pages.contract import WORDS
from embedpipe.store.joining.keys import Keys, doubled, omitted_rows, read_keys
from embedpipe.store.joining.linking import linked, remove_links
from embedpipe.store.page_table import PageTable, PageTableWriter
from embedpipe.store.parts import Part, suspect


@dataclass(slots=True)
class JoinedTable:
    """What became of the rows of one table.

    Attributes:
        name: Of the table.
        rows: In the sources, of parts that were not known.
        taken: Rows that count now and did not before.
        twice: Rows whose page has another one that counts.
        known: Rows of parts that were taken in by an earlier run.
        damaged: Parts that are left out; what they kept is made again when their files are met.
    """

    name: str
    rows: int = 0
    taken: int = 0
    twice: int = 0
    known: int = 0
    damaged: int = 0


def join(table: PageTable, others: Sequence[PageTable]) -> JoinedTable:
    """Takes the parts of other tables into one; call it with the lock of its artifacts held.

    Raises:
        ArtifactError: The disk is full or cannot be written; then nothing was listed.
    """
    _remove_links(table, others)
    writer = PageTableWriter(table)
    own = list(table.parts)
    known, joined = {part.sha256 for part in own}, JoinedTable(table.name)
    keys: list[Keys] = []
    ranks: list[NDArray[np.uint8]] = []
    parts: list[tuple[PageTable, Part, NDArray[np.bool_] | None, int]] = []
    for part in reversed(own):  # of several rows of one page the last counts
        _look(table, part, keys, ranks)
    for other in others:
        for part in reversed(other.parts):
            if part.sha256 in known:
                joined.known += part.rows
                continue
            known.add(part.sha256)
            try:
                if not part.is_whole(other.folder):
                    raise ValueError("it is not as its manifest says")
                counting, size = _look(other, part, keys, ranks)
            except (OSError, ValueError, ArtifactError):
                joined.damaged += 1
                continue
            parts.append((other, part, counting, size))
            joined.rows += len(keys[-1])
    twice = doubled(keys, ranks)[len(own) :] if parts else []
    new: list[Part] = []
    for (other, part, counting, size), again in zip(parts, twice, strict=True):
        omitted = omitted_rows(size, counting, again[::-1])
        joined.taken += int((~again).sum())
        joined.twice += int(again.sum())
        if not omitted.all():
            file = table.part_file(table.next_number + len(new))
            linked(other.folder / part.name, file, part.sha256)
            new.append(replace(Part.of(file, part.rows, part.sha256), linked=True).without(omitted))
    if new:
        synced(table.folder)
        writer.list_parts([*own, *new], table.next_number + len(new))
    return joined


def _look(
    table: PageTable, part: Part, keys: list[Keys], ranks: list[NDArray[np.uint8]]
) -> tuple[NDArray[np.bool_] | None, int]:
    """Adds the pages of a part, the last first, and what their rows are worth; says which rows count, and how many."""
    file = table.folder / part.name
    try:
        found, _ = read_keys(file)
        counting = part.counting(len(found))
        worth = _worth(table, file, len(found))
    except (OSError, ValueError, pa.ArrowException) as error:
        suspect(file)
        raise ArtifactError(f"{file} is damaged: `embed` its files again first") from error
    own = found.where(counting)
    keys.append(Keys(own.a[::-1], own.b[::-1]))
    ranks.append((worth if counting is None else worth[counting])[::-1])
    return counting, len(found)


def _worth(table: PageTable, file: Path, rows: int) -> NDArray[np.uint8]:
    """0 for rows that hold something, 1 for empty ones, (rows,)."""
    if table.name != WORDS:
        return np.zeros(rows, np.uint8)
    with pq.ParquetFile(file, page_checksum_verification=True) as opened:
        origins = opened.read(["origin"])["origin"].to_pylist()
    return np.array([origin == NO_WORDS for origin in origins], np.uint8)


def _remove_links(table: PageTable, others: Sequence[PageTable]) -> None:
    """Removes links to parts of the sources that a killed run made and did not list."""
    listed = {part.name for part in [*table.parts, *table.damaged]}
    stray = [file for file in table.files() if file.name not in listed]
    remove_links(stray, (other.folder / part.name for other in others for part in other.parts))
