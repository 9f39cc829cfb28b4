"""Segments: immutable pieces of an index, each a FAISS index with the ids of its rows.

A segment is filled once, written, and from then on only read, mapped into memory: nothing is ever added to what is
searched, or removed from it. So inverted lists past the memory stay on the disk.

Rows of a segment that is searched exactly are kept as they are before scaling, with only their blocks at unit length,
as differences y = x - c from some centre c: the scaling changes with every page that comes or goes. It is folded into
the query: with s and m for the factors and the mean of the scaling, the product of two scaled rows s(q - m) and
s(x - m) is (s²(q - m))·y - (s²(q - m))·(m - c). Only the lengths of the scaled rows are measured again when the scaling
has changed; the nearer c is to m, the less is lost by rounding. What was trained stays as it was trained.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedpipe.core.faiss_library import faiss
from embedpipe.core.files import replacing
from embedpipe.index.plans import inner
from embedpipe.store.moments import Scaling

COLUMNS = pa.schema(
    {
        "page_id": pa.int64(),
        "document": pa.uint64(),
        "page_index": pa.int32(),
        "checksum": pa.uint32(),
        "by_document": pa.uint32(),
    }
)

_NO_LENGTH = 1e-12
_PRIME = 2**64 - 59
"""The largest prime of 64 bits."""

_AT_ONCE = (faiss.IndexNSG, faiss.IndexNNDescent)

_ROWS = 4096
_TOGETHER = 4
"""From so many queries on, one product of matrices is faster than reading all rows for each."""

Effort = dict[str, int]
"""How hard to search: `nprobe` or `efSearch`, as FAISS calls them."""


def _nothing() -> NDArray[np.float32]:
    return np.empty(0, np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class Queries:
    """Queries in the forms in which they are compared.

    Attributes:
        unit: Scaled, of unit length, float32 (n, dim).
        folded: The same times the factors of the scaling, for rows that are not scaled, float32 (n, dim).
        estimated: For what was trained: scaled as its rows were, of unit length, float32 (n, dim).
        mean: Of the scaling, (dim,).
    """

    unit: NDArray[np.float32]
    folded: NDArray[np.float32]
    estimated: NDArray[np.float32]
    mean: NDArray[np.float32]

    @classmethod
    def of(cls, scaler: Scaling, unit: NDArray[np.float32], estimated: NDArray[np.float32] | None = None) -> Self:
        """Of unit rows; `estimated` is given where what was trained has another scaling."""
        return cls(unit, unit * scaler.scale_, unit if estimated is None else estimated, scaler.mean_)

    def __len__(self) -> int:
        """How many."""
        return len(self.unit)

    def take(self, rows: NDArray[np.int64] | slice) -> Self:
        """Some of them."""
        return type(self)(self.unit[rows], self.folded[rows], self.estimated[rows], self.mean)


@dataclass(frozen=True, slots=True, eq=False)
class Segment:
    """Some parts of the store, in the order of their numbers, so that page ids ascend.

    Attributes:
        faiss_index: A row for each page.
        page_ids: Its pages, int64 (n,), ascending.
        documents: 64 bits of the hash of each page's document, see `document_keys`, uint64 (n,).
        page_indices: int32 (n,).
        checksums: CRC-32 of each page's features as stored, uint32 (n,).
        by_document: The rows in the order of document and page, uint32 (n,).
        exact: Whether its cosines are those of the features, and every row is compared; its rows are not scaled.
        files: Where it is kept, FAISS index and columns; empty while it is in memory only.
        centre: What its rows are differences from, float32 (dim,); empty where it is not exact.
        lengths: Of its rows once they are scaled, float32 (n,); empty where it is not exact.
    """

    faiss_index: Any
    page_ids: NDArray[np.int64]
    documents: NDArray[np.uint64]
    page_indices: NDArray[np.int32]
    checksums: NDArray[np.uint32]
    by_document: NDArray[np.uint32]
    exact: bool
    files: tuple[Path, ...] = ()
    centre: NDArray[np.float32] = field(default_factory=_nothing)
    lengths: NDArray[np.float32] = field(default_factory=_nothing)

    def __len__(self) -> int:
        """Pages, with those that were forgotten since."""
        return len(self.page_ids)

    def rows_of(self, page_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of those of some pages that are here; `page_ids` ascend."""
        rows = np.searchsorted(self.page_ids, page_ids)
        rows = rows[rows < len(self)] if len(rows) and rows[-1] >= len(self) else rows
        found: NDArray[np.int64] = rows[self.page_ids[rows] == page_ids[: len(rows)]]
        return found

    def pages_of(self, document: np.uint64) -> NDArray[np.int64]:
        """Page ids of a document, in the order of its pages."""
        first = np.searchsorted(self.documents, document, "left", sorter=self.by_document)
        last = np.searchsorted(self.documents, document, "right", sorter=self.by_document)
        found: NDArray[np.int64] = self.page_ids[self.by_document[first:last]]
        return found

    def scaled(self, scaler: Scaling) -> "Segment":
        """The same with the lengths of its rows under another scaling."""
        if not self.exact:
            return self
        lengths = np.empty(len(self), np.float32)
        for first, rows in self._rows():
            some = (rows - (scaler.mean_ - self.centre)) * scaler.scale_
            lengths[first : first + len(rows)] = np.sqrt(np.einsum("ij,ij->i", some, some))
        return replace(self, lengths=lengths)

    def _rows(self) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """The rows of an exact segment as they are kept, some at a time, (n, dim), and which is the first of them.

        They are copied: in a mapped file they begin at an odd place, where numpy is slow.
        """
        flat = faiss.downcast_index(self.faiss_index)
        rows = faiss.rev_swig_ptr(flat.get_xb(), flat.ntotal * flat.d).reshape(flat.ntotal, flat.d)
        for first in range(0, len(rows), _ROWS):
            yield first, rows[first : first + _ROWS].copy()

    def _cosines(self, queries: Queries, among: NDArray[np.bool_] | None) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Cosines with the rows of an exact segment, some rows at a time, (m, rows), and which is the first of them.

        Rows that may not be found have -inf.
        """
        shift = (queries.folded @ (queries.mean - self.centre).astype(np.float64)).astype(np.float32)[:, None]
        for first, products in self._products(queries.folded):
            here = slice(first, first + products.shape[1])
            lengths = np.maximum(self.lengths[here], _NO_LENGTH).astype(np.float32)
            cosines = (products - shift) / lengths
            if among is not None:
                cosines[:, ~among[here]] = -np.inf
            yield first, cosines

    def _products(self, queries: NDArray[np.float32]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        """Inner products of queries with the rows of an exact segment, as `_cosines` gives them."""
        if len(queries) < _TOGETHER:
            flat, products = faiss.downcast_index(self.faiss_index), np.empty((len(queries), len(self)), np.float32)
            for query, found in zip(queries, products, strict=True):
                pointers = faiss.swig_ptr(found), faiss.swig_ptr(query), flat.get_xb()
                faiss.fvec_inner_products_ny(*pointers, flat.d, flat.ntotal)
            yield 0, products
        else:
            for first, rows in self._rows():
                yield first, queries @ rows.T

    def _scan(
        self, queries: Queries, k: int, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest rows by comparing all."""
        best = np.full((len(queries), k), -np.inf, np.float32)
        found = np.full((len(queries), k), -1, np.int64)
        for first, cosines in self._cosines(queries, among):
            near, rows = _best(cosines, np.broadcast_to(np.arange(cosines.shape[1]) + first, cosines.shape), k)
            best, found = _best(np.concatenate([best, near], axis=1), np.concatenate([found, rows], axis=1), k)
        order = np.argsort(-best, axis=1, kind="stable")
        best, found = np.take_along_axis(best, order, axis=1), np.take_along_axis(found, order, axis=1)
        return best, np.where(np.isneginf(best), -1, found)

    def search(
        self, queries: Queries, k: int, effort: Effort, among: NDArray[np.bool_] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest rows, as the index sees them.

        Args:
            queries: What to look for.
            k: How many.
            effort: How hard to search.
            among: Which rows may be found, (len(self),); None for all.

        Returns:
            Cosines, best first, and page ids, (n, k); -1 where fewer were found.
        """
        k = min(k, len(self))
        if self.exact:
            cosines, rows = self._scan(queries, k, among)
        else:
            cosines, rows = self._estimate(queries.estimated, k, effort, among)
        ids = self.page_ids[np.maximum(rows, 0)]
        ids[rows < 0] = -1
        return cosines, ids

    def _estimate(
        self, unit: NDArray[np.float32], k: int, effort: Effort, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """The nearest rows as FAISS finds them."""
        selector = None if among is None else faiss.IDSelectorBitmap(np.packbits(among, bitorder="little"))
        parameters = _parameters(self.faiss_index, effort, selector)
        with _threads(one=len(unit) == 1):
            try:
                cosines, rows = self.faiss_index.search(unit, k, params=parameters)
            except RuntimeError:
                if among is None:
                    raise
                cosines, rows = self._search_and_filter(unit, k, effort, among)  # some kinds cannot leave rows out
        return cosines, rows

    def _search_and_filter(
        self, unit: NDArray[np.float32], k: int, effort: Effort, among: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Looks for more and more rows until enough of them may be found."""
        parameters, wanted, fetch = _parameters(self.faiss_index, effort, None), min(k, int(among.sum())), k
        while True:
            fetch = min(4 * fetch, len(self))
            cosines, rows = self.faiss_index.search(unit, fetch, params=parameters)
            good = (rows >= 0) & among[np.maximum(rows, 0)]
            if fetch == len(self) or (good.sum(axis=1) >= wanted).all():
                break
        first = np.argsort(~good, axis=1, kind="stable")[:, :k]
        rows = np.where(np.take_along_axis(good, first, axis=1), np.take_along_axis(rows, first, axis=1), -1)
        return np.take_along_axis(cosines, first, axis=1), rows

    def range_search(
        self, queries: Queries, threshold: float, among: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Every row of an exact segment whose cosine is at least the threshold: numbers of queries, cosines, ids."""
        found = []
        for first, cosines in self._cosines(queries, among):
            numbers, rows = np.nonzero(cosines >= threshold)
            found.append((numbers, cosines[numbers, rows], self.page_ids[first + rows]))
        numbers, cosines, ids = (np.concatenate(column) for column in zip(*found, strict=True))
        return numbers, cosines, ids

    def save(self, index_file: Path, columns_file: Path) -> "Segment":
        """Writes it, and gives it back as it is read."""
        write_faiss(self.faiss_index, index_file)
        columns = [self.page_ids, self.documents, self.page_indices, self.checksums, self.by_document]
        batch = pa.record_batch([pa.array(column) for column in columns], schema=COLUMNS)
        with replacing(columns_file) as temporary, pa.ipc.new_file(str(temporary), COLUMNS) as writer:
            writer.write_batch(batch)
        opened = Segment.open(index_file, columns_file, exact=self.exact)
        return replace(opened, centre=self.centre, lengths=self.lengths)

    @classmethod
    def open(cls, index_file: Path, columns_file: Path, *, exact: bool) -> "Segment":
        """Maps a segment into memory; nothing is read before it is needed."""
        faiss_index = read_faiss(index_file)
        with pa.memory_map(str(columns_file)) as source, pa.ipc.open_file(source) as reader:
            if reader.schema != COLUMNS or reader.num_record_batches != 1:
                raise ValueError("its columns are not those of a segment")
            batch = reader.get_batch(0)
        if faiss_index.ntotal != batch.num_rows:
            raise ValueError("its columns are not those of its index")
        ids, documents, indices, checks, order = (column.to_numpy() for column in batch.columns)
        return cls(faiss_index, ids, documents, indices, checks, order, exact, (index_file, columns_file))


def _best(
    cosines: NDArray[np.float32], rows: NDArray[np.int64], k: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The k greatest of each line, in no order; all where there are no more."""
    left = cosines.shape[1] - k
    if left <= 0:
        return cosines, rows
    places = np.argpartition(cosines, left, axis=1)[:, left:]
    return np.take_along_axis(cosines, places, axis=1), np.take_along_axis(rows, places, axis=1)


class SegmentBuilder:
    """Collects rows, part by part in the order of their numbers, then makes a segment.

    Args:
        dim: Features of a row.
        empty: A trained FAISS index without rows; None for exact search.
    """

    def __init__(self, dim: int, empty: Any = None) -> None:
        self._exact = empty is None
        self._centre: NDArray[np.float32] = _nothing()
        self._index = faiss.IndexFlatIP(dim) if empty is None else _copied(empty)
        self._later: list[NDArray[np.float32]] | None = None
        if isinstance(inner(self._index), _AT_ONCE):
            self._later = []  # a graph of these kinds is made of all rows at once
        self._columns: list[list[NDArray[Any]]] = [[], [], [], []]
        self.rows = 0

    def add(self, rows: NDArray[np.float32], page_ids: NDArray[np.int64], *columns: NDArray[Any]) -> None:
        """Takes rows with their page ids, documents, page indices and checksums.

        Args:
            rows: As what was trained expects them: scaled, of unit length; for exact search only their blocks are of
                unit length, float32 (n, dim).
            page_ids: Int64 (n,).
            columns: The other columns, each (n,).
        """
        if self._exact:
            if not len(self._centre):
                self._centre = rows.mean(axis=0)
            rows = rows - self._centre
        if self._later is None:
            self._index.add(rows)
        else:
            self._later.append(rows)
        for held, column in zip(self._columns, (page_ids, *columns), strict=True):
            held.append(column)
        self.rows += len(rows)

    def segment(self) -> Segment:
        """What was collected."""
        if self._later:
            self._index.add(np.concatenate(self._later))
            self._later = []
        ids, documents, indices, checksums = (np.concatenate(column) for column in self._columns)
        by_document = np.lexsort((indices, documents)).astype(np.uint32)
        return Segment(
            self._index, ids, documents, indices, checksums, by_document, exact=self._exact, centre=self._centre
        )


def _copied(empty: Any) -> Any:
    """A copy of an index; FAISS can write kinds that it cannot clone."""
    try:
        return faiss.clone_index(empty)
    except RuntimeError:
        return faiss.deserialize_index(faiss.serialize_index(empty))


def document_keys(sha256s: Sequence[str]) -> NDArray[np.uint64]:
    """64 bits of hashes, as segments keep them."""
    return np.array([int(sha256, 16) % _PRIME for sha256 in sha256s], np.uint64)


def write_faiss(index: Any, file: Path) -> None:
    """Writes a FAISS index in one step; raises ArtifactError."""
    with replacing(file) as temporary:
        try:
            faiss.write_index(index, str(temporary))
        except RuntimeError as error:
            raise OSError(str(error).partition("\n")[0]) from error


def read_faiss(file: Path) -> Any:
    """Maps a FAISS index into memory: vectors and graphs one way, inverted lists the other.

    FAISS would start a thread for each list that a query looks at, to read it ahead: that takes longer than the query.
    """
    try:
        return faiss.read_index(str(file), faiss.IO_FLAG_MMAP | faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError:
        index = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    core = inner(index)
    if isinstance(core, faiss.IndexIVF):
        lists = faiss.downcast_InvertedLists(core.invlists)
        if isinstance(lists, faiss.OnDiskInvertedLists):
            lists.prefetch_nthread = 0
    return index


@contextlib.contextmanager
def _threads(*, one: bool) -> Iterator[None]:
    """Lets FAISS use one thread only: for one query, waiting for another takes longer than its work."""
    before = faiss.omp_get_max_threads()
    if one:
        faiss.omp_set_num_threads(1)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _parameters(index: Any, effort: Effort, selector: Any) -> Any:
    """Search parameters of the index's kind; each is given its own, as searches may run side by side."""
    chosen = {"sel": selector} if selector is not None else {}
    core = inner(index) if index is not None else None
    if isinstance(core, faiss.IndexIVF):
        parameters = faiss.SearchParametersIVF(nprobe=effort["nprobe"], **chosen)
    elif isinstance(core, faiss.IndexHNSW):
        parameters = faiss.SearchParametersHNSW(efSearch=effort["efSearch"], **chosen)
    elif chosen:
        parameters = faiss.SearchParameters(**chosen)
    else:
        return None
    if isinstance(faiss.downcast_index(index), faiss.IndexPreTransform):
        return faiss.SearchParametersPreTransform(index_params=parameters)
    return parameters
