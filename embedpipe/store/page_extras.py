"""The thumbnails and words of pages: what their tables hold, and how they are read and kept.

pages/thumbnails-<n>.parquet   a small JPEG of each page; empty where the page could not be drawn again
pages/words-<n>.parquet        hashed n-grams of each page, where they come from, and how long the text is
"""

import functools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedpipe.core.records import NO_WORDS, TEXT_WORDS, PageInfo, Words
from embedpipe.pages.contract import THUMBNAILS, WORDS
from embedpipe.pages.extras.words import BUCKETS, FEWEST_CHARACTERS, WIDTH
from embedpipe.store.columns import array_of
from embedpipe.store.failure_table import as_utf8
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_table import KEY, POSITION, Key, PageTable, PageTableWriter

if TYPE_CHECKING:
    from scipy.sparse import csr_array

TABLES: dict[str, dict[str, pa.DataType]] = {
    THUMBNAILS: {"picture": pa.binary()},
    WORDS: {
        "origin": pa.string(),
        "characters": pa.int32(),
        "columns": pa.list_(pa.uint32()),
        "counts": pa.list_(pa.uint16()),
        "message": pa.string(),
    },
}
"""Columns of each table, by what `ReadOptions.extras` calls the thing."""


def page_table(root: Path, name: str) -> PageTable:
    """A table of the artifacts in `root`, by its name in `TABLES`."""
    return PageTable(root / "pages", name, TABLES[name])


def words_table(root: Path) -> PageTable:
    """The table of words of the artifacts in `root`."""
    return page_table(root, WORDS)


def thumbnails_of(root: Path, keys: Sequence[Key]) -> dict[Key, bytes]:
    """The thumbnails of pages as JPEG; pages without one are missing."""
    found = page_table(root, THUMBNAILS).read(keys, ["picture"])
    pictures = zip(found[POSITION].to_pylist(), found["picture"].to_pylist(), strict=True)
    return {keys[position]: picture for position, picture in pictures if picture}


def words_of(root: Path, keys: Sequence[Key]) -> "csr_array":
    """As `words_in`, for one question: whoever asks again opens the table once."""
    return words_in(words_table(root), keys)


def words_in(table: PageTable, keys: Sequence[Key]) -> "csr_array":
    """Counts of the n-grams of pages, float32 (n, WIDTH); rows without any for pages whose words are not kept.

    Args:
        table: Of words; which row belongs to which page is read once for each that is opened.
        keys: Which pages.
    """
    from scipy.sparse import csr_array  # noqa: PLC0415 - who needs no words does without it

    found = table.read(keys, ["columns", "counts"])
    lengths = np.zeros(len(keys), np.int64)
    lengths[found[POSITION].to_numpy()] = found["columns"].combine_chunks().value_lengths().fill_null(0).to_numpy()
    starts = np.concatenate([[0], np.cumsum(lengths)])
    columns, counts = (found[name].combine_chunks().flatten().to_numpy() for name in ("columns", "counts"))
    rows = csr_array((counts.astype(np.float32), columns.astype(np.int32), starts), shape=(len(keys), WIDTH))
    del found, columns, counts
    pa.default_memory_pool().release_unused()
    return rows


def words_of_pages(store: FeatureStore, page_ids: NDArray[np.int64]) -> "csr_array":
    """As `PageWords.of`, for one question."""
    return PageWords(store).of(page_ids)


class PageWords:
    """The words of the pages of a store by their ids, for whoever asks batch by batch.

    Args:
        store: Whose pages.
    """

    def __init__(self, store: FeatureStore) -> None:
        self._table = words_table(store.origin.path.parents[1])
        self._keys = store.pages().set_index("page_id")[[*KEY]]

    def of(self, page_ids: NDArray[np.int64]) -> "csr_array":
        """As `words_in`, of these pages."""
        own = self._keys.loc[page_ids]
        return words_in(self._table, list(zip(own["document_sha256"], own["page_index"].tolist(), strict=True)))


def word_counts(root: Path) -> Counter[str]:
    """How many pages have words of which origin; under `NO_WORDS` those that have none, recognised or not."""
    rows = words_table(root).newest(["origin", "characters"])
    there = array_of(rows["characters"]) >= FEWEST_CHARACTERS  # the n-grams themselves are a thousand times as much
    origins = zip(rows["origin"].to_pylist(), there.tolist(), strict=True)
    return Counter(origin if known else NO_WORDS for origin, known in origins)


def without_heads(table: PageTable) -> set[Key]:
    """Pages whose words an earlier version kept, which lack those of the head, as far as their documents tell them.

    What was recognised in pictures is not among them: that is not read again for so little. One page is looked at of
    each part, which one version wrote. A page that was tried in vain has a message.

    Args:
        table: Of words.
    """
    places = table.places()
    keys = list(zip(places["document_sha256"], places["page_index"].tolist(), strict=True))
    rows = table.read(keys, ["origin", "message"]).to_pandas()
    told = rows[POSITION][(rows["origin"] == TEXT_WORDS) & (rows["message"] == "")].to_numpy(np.int64)
    parts = places["part"].to_numpy(np.int64)[told]
    found: set[Key] = set()
    for part, first in zip(*np.unique(parts, return_index=True), strict=True):
        columns = table.read([keys[told[first]]], ["columns"])["columns"].combine_chunks().flatten().to_numpy()
        if len(columns) and columns.max() < BUCKETS:
            found.update(keys[position] for position in told[parts == part])
    return found


def row_of(name: str, info: PageInfo) -> dict[str, object] | None:
    """The row of a page in a table; None where its reader was not asked."""
    if name == THUMBNAILS:
        return None if info.thumbnail is None else {"picture": info.thumbnail}
    return None if info.words is None else words_row(info.words)


def words_row(words: Words) -> dict[str, object]:
    """The row of a page in the table of words."""
    return {name: getattr(words, name) for name in TABLES[WORDS]} | {"message": as_utf8(words.message)}


class ExtrasWriter:
    """Keeps thumbnails and words of pages as they come; there must be one at a time (`files.writing`).

    Args:
        root: The artifacts.
        names: The tables that are wanted, see `TABLES`.
    """

    def __init__(self, root: Path, names: Iterable[str]) -> None:
        self._writers = {name: PageTableWriter(page_table(root, name)) for name in names}

    @functools.cached_property
    def _headless(self) -> set[Key]:
        """Pages whose words are to be completed."""
        return without_heads(self._writers[WORDS].table) if WORDS in self._writers else set()

    def lacking(self, sha256: str, indices: set[int]) -> set[int]:
        """Those of some pages of a document of which anything is not kept that is wanted, or only without its head."""
        kept = [writer.kept.get(sha256, ()) for writer in self._writers.values()]
        return {i for i in indices if (sha256, i) in self._headless or any(i not in own for own in kept)}

    def append(self, infos: Iterable[PageInfo]) -> None:
        """Takes what came along with some pages.

        Raises:
            ArtifactError: The disk is full or cannot be written; everything before stays.
        """
        for info in infos:
            key = (info.ref.document_sha256, info.ref.page_index)
            for name, writer in self._writers.items():
                known = key[1] in writer.kept.get(key[0], ())
                if known and not (self._completes(info) if name == WORDS else info.turned):
                    continue  # both are the same from whatever network; words may have been recognised since
                row = row_of(name, info)
                if row is not None:
                    writer.append(key, row)

    def _completes(self, info: PageInfo) -> bool:
        """Whether a page brings words with a head where there are some without."""
        key = (info.ref.document_sha256, info.ref.page_index)
        if key not in self._headless or info.words is None or info.words.origin != TEXT_WORDS:
            return False
        self._headless.discard(key)
        return True

    def give_up(self, key: Key, message: str) -> None:
        """Notes that a page that has features could not be drawn again, so that it is not tried each time."""
        empty: Mapping[str, dict[str, object]] = {
            THUMBNAILS: {"picture": b""},
            WORDS: words_row(Words(message=message)),
        }
        for name, writer in self._writers.items():
            if key[1] not in writer.kept.get(key[0], set()):
                writer.append(key, empty[name])
            elif name == WORDS and key in self._headless:
                [own] = writer.table.read([key]).drop_columns(POSITION).to_pylist()
                self._headless.discard(key)
                writer.append(key, own | {"message": as_utf8(message)})

    def flush(self) -> None:
        """Writes what has come."""
        for writer in self._writers.values():
            writer.flush()

    def forget(self, sha256s: Iterable[str]) -> None:
        """Removes documents."""
        for writer in self._writers.values():
            writer.forget(sha256s)

    def documents(self) -> set[str]:
        """SHA-256 of all documents of which anything is kept."""
        return {sha256 for writer in self._writers.values() for sha256 in writer.kept}
