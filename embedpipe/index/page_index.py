"""A FAISS index with its own page ids: derived from the feature store, follows it, and can always be built again."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError, EmbedpipeError, SpaceMismatchError, UsageError
from embedpipe.core.files import writing
from embedpipe.index import storage
from embedpipe.index.plans import FLAT, Request, bytes_per_page, choose, trained, training_rows
from embedpipe.index.rehearsal import rehearse, using
from embedpipe.index.row_reader import checksums, locate
from embedpipe.index.search import PageIndex, Setting
from embedpipe.index.segments import Segment, SegmentBuilder, document_keys
from embedpipe.index.tuning import QUERIES, Truth, drifted, tune
from embedpipe.store.features import FeatureStore
from embedpipe.store.moments import Moments, same_scaling, unit_blocks
from embedpipe.store.parts import ROW_BITS, Part

__all__ = ["PageIndex", "Request", "build", "follow", "fresh_index", "make", "update"]

log = logging.getLogger(__name__)

_EXACT_TAIL = 4096
"""So few new pages are compared one by one rather than through the trained index."""
_COMPACT_SHARE = 0.2
"""Forgotten pages are never found; when a segment has a larger share of them, they are taken out."""
_ABSORBED = 2
"""A new segment takes in those that are up to so many times as large: their number grows with the logarithm."""
_OUTGROWN = 2
"""An index that holds so many times the pages it was trained for is chosen and trained again."""
_REBUILD_PAGES = 100_000
"""Up to so many pages that is done when it is needed; beyond, by the command `index`."""
_LEAST_AGREEMENT = 0.8
"""An index is trained again when the scaling of its training finds fewer of the pages that are nearest by that of the
store; down to this the recall was what a new index has, on pages of which more and more were of other kinds."""
_COLUMN_BYTES = 28
_COLUMNS = ("page_id", "document_sha256", "page_index", "embedding")

Watch = Callable[[NDArray[np.int64], NDArray[np.float32]], None]
Progress = Callable[[int, int], None]


def build(
    store: FeatureStore,
    request: Request | None = None,
    folder: Path | None = None,
    progress: Progress = lambda *_: None,
) -> PageIndex:
    """Builds an index over a snapshot of a store; the matrix is never whole in memory.

    Args:
        store: The pages.
        request: What it should be; chosen by their number if not given.
        folder: Where finished segments are put, so that they need no memory; `storage.save` must follow.
        progress: Called with how many pages of how many were added.

    Raises:
        ArtifactError: The store is empty.
        EmbedpipeError: The factory cannot be made, trained or used for it.
    """
    request = request or Request()
    pages = sum(part.rows for part in store.parts)
    if not pages:
        raise ArtifactError(f"no pages in {store.path}: run `embed` on your documents first")
    factory = choose(request, pages, store.dim)
    setting = Setting(factory, request.recall, trained_pages=pages, requested=request.factory, memory=request.memory)
    blocks = _blocks(store)
    if factory == FLAT:
        index = PageIndex(store, {}, Moments.total([], blocks).scaler(), setting, [], np.empty(0, np.int64), {})
        _add(index, store.parts, folder, progress=progress)
        return _scaled(index)
    ids, sample, moments = _sample(store, training_rows(factory, store.dim))
    scaler = Moments.total(moments.values(), blocks).scaler()
    index = PageIndex(store, {}, scaler, setting, [], np.empty(0, np.int64), {}, None, scaler, moments)
    unit = np.empty(sample.shape, np.float32)
    for first in range(0, len(sample), _EXACT_TAIL):
        unit[first : first + _EXACT_TAIL] = index.unit(sample[first : first + _EXACT_TAIL].astype(np.float32))
    del sample
    queries = _drawn(len(unit), QUERIES)
    truth = Truth.of(ids[queries], unit[queries])
    index.empty = trained(factory, unit)
    rehearse(factory, index.empty, unit, scaler)
    del unit
    with using(factory, pages):
        _add(index, store.parts, folder, truth.look, progress)
        index.setting = tune(_scaled(index), truth)
    if index.setting.recall < request.recall:
        log.warning("the index %s reaches a recall of %.3f, not %.3f", factory, index.setting.recall, request.recall)
    return index


def update(
    index: PageIndex, store: FeatureStore, folder: Path | None = None, compact: float = _COMPACT_SHARE
) -> PageIndex:
    """An index of a newer snapshot: new parts are added, pages that are gone are never found again.

    Args:
        index: Of an earlier snapshot; it is not changed.
        store: The newer one.
        folder: As for `build`.
        compact: A segment with a larger share of forgotten pages is made again without them.

    Raises:
        UsageError: The kind of index cannot take them.
    """
    listed = {part.number: part for part in store.parts}
    parts, spans, moments, gone = {}, {}, {}, [index.forgotten]
    for number, held in index.parts.items():
        part = listed.get(number)
        ids = _ids_of(index.segments, number)
        if part and held == (part.name, part.sha256) and len(np.setdiff1d(ids, index.forgotten)) == part.rows:
            parts[number], spans[number], moments[number] = held, index.spans[number], index.moments[number]
            continue
        table = store.read(part, _COLUMNS) if part else None
        if part and table is not None and _holds(index, table, store):
            # written again without some documents
            parts[number], spans[number] = (part.name, part.sha256), locate(store.path / part.name, store.matrix(table))
            moments[number] = Moments.of(store.matrix(table), _blocks(store))
            ids = np.setdiff1d(ids, table["page_id"].to_numpy())
        gone.append(ids)
    others = {number: part for number, part in listed.items() if number not in parts}
    added = {number: part for number, part in others.items() if store.read(part, _COLUMNS) is not None}
    forgotten = np.unique(np.concatenate(gone))
    forgotten = forgotten[~np.isin(forgotten >> ROW_BITS, list(added))]
    new = replace(index, store=store, parts=parts, spans=spans, forgotten=forgotten, moments=moments)
    new.segments, again = _kept(index.segments, forgotten, added, compact)
    for number in {number for segment in again for number in _numbers(segment)} & parts.keys():
        added[number] = listed[number]
        del parts[number], spans[number]  # it is held again when it could be read
    with using(index.setting.factory, sum(part.rows for part in added.values())):
        _add(new, added.values(), folder)
    held_ids = [segment.page_ids[segment.rows_of(forgotten)] for segment in new.segments]
    new.forgotten = np.sort(np.concatenate([np.empty(0, np.int64), *held_ids]))
    _scaled(new)
    if new.trained_scaler is not None:
        new.setting = drifted(new)
    return new


def compared(indexes: Sequence[PageIndex]) -> list[PageIndex]:
    """Indexes of several stores whose cosines compare: with the scaling that one index of all their pages would have.

    Args:
        indexes: Of stores of one space; they are not changed.
    """
    moments = [one for index in indexes for one in index.moments.values()]
    scaler, found = Moments.total(moments, _blocks(indexes[0].store)).scaler(), []
    for index in indexes:
        new = replace(index, scaler=scaler, segments=[segment.scaled(scaler) for segment in index.segments])
        new.setting = drifted(new) if new.rescaled else new.setting
        found.append(new)
    return found


def _scaled(index: PageIndex) -> PageIndex:
    """Gives an index that is not in use yet the scaling of all pages that it holds, as a new one would have it.

    The sums of the parts are added in the order of their numbers, so that it is the same to the last bit.
    """
    index.moments = {number: index.moments[number] for number in index.parts}
    before, index.scaler = index.scaler, Moments.total(index.moments.values(), _blocks(index.store)).scaler()
    measured = same_scaling(before, index.scaler)
    index.segments = [
        segment if measured and len(segment.lengths) == len(segment) else segment.scaled(index.scaler)
        for segment in index.segments
    ]
    return index


def _holds(index: PageIndex, table: pa.Table, store: FeatureStore) -> bool:
    """Whether all rows of a part can be found: the same features of the same documents, under the same ids."""
    ids = table["page_id"].to_numpy()
    keys, checks, found = document_keys(table["document_sha256"].to_pylist()), checksums(store.matrix(table)), 0
    for segment in index.segments:
        rows = segment.rows_of(ids)
        places = np.searchsorted(ids, segment.page_ids[rows])
        if not np.array_equal(segment.checksums[rows], checks[places]):
            return False
        if not np.array_equal(segment.documents[rows], keys[places]):
            return False
        found += len(rows)
    return found == len(ids) and not np.isin(ids, index.forgotten).any()


def follow(index: PageIndex, store: FeatureStore) -> bool:
    """Whether an index holds exactly this snapshot of a store."""
    same = index.identity == store.identity and index.parts == {p.number: (p.name, p.sha256) for p in store.parts}
    return same and len(index) == sum(part.rows for part in store.parts)


def outgrown(index: PageIndex, store: FeatureStore) -> bool:
    """Whether an index was chosen and trained for far fewer pages than the store holds now."""
    setting, pages = index.setting, sum(part.rows for part in store.parts)
    if pages <= _OUTGROWN * setting.trained_pages:
        return False
    return setting.factory != FLAT or choose(_request(setting), pages, store.dim) != FLAT


def stale(index: PageIndex) -> bool:
    """Whether the pages of the store have become so different that an index must be trained again."""
    return index.setting.agreement < _LEAST_AGREEMENT


def fresh_index(store: FeatureStore, folder: Path) -> PageIndex:
    """The index of this snapshot of a store: the saved one, brought up to date or built where needed, and saved again.

    What is saved is of the store as it is now: another process may have added pages since this snapshot, and they stay
    in the index. Where it cannot be saved, because the folder is read-only or another process writes it, it is used all
    the same.
    """
    store.pages()  # parts that cannot be read are no parts of the snapshot any more
    index = _saved(folder, store)
    if index is None or not follow(index, store):
        with _locked(folder) as free:
            index, wanted = _saved(folder, store, notice=True), _wanted(folder)
            if free:
                index = _renewed(_newest(store), folder, index, wanted)
        index = _renewed(store, None, index, wanted)
    return replace(index, hidden=store.set_aside()["page_id"].to_numpy())


def make(
    store: FeatureStore, folder: Path, request: Request | None, progress: Progress = lambda *_: None
) -> tuple[PageIndex, str]:
    """What the command `index` does: builds, or brings up to date what is as requested, for the store as it is now.

    Returns:
        The index, and what was done: `built`, `updated` or `unchanged`.

    Raises:
        ArtifactError: The folder cannot be written, or another process writes it.
        EmbedpipeError: The factory cannot be made for the store.
    """
    with writing(folder, "index"):
        store = _newest(store)
        index, wanted = _saved(folder, store, notice=True), request or _wanted(folder)
        same = index is not None and (request is None or request == _request(index.setting))
        if index is not None and same and not outgrown(index, store) and not stale(index):
            if follow(index, store) and not len(index.forgotten):
                return index, "unchanged"
            index, done = _updated(index, store, folder, compact=0.0), "updated"
        else:
            index, done = build(store, wanted, folder, progress), "built"
        if stale(index):
            index, done = build(store, wanted, folder, progress), "built"
        storage.save(index, folder)
        return index, done


def _newest(store: FeatureStore) -> FeatureStore:
    """The store as it is now, without parts whose pages cannot be read."""
    newest = FeatureStore.open(store.path)
    newest = store if newest.listed == store.listed else newest
    newest.pages()
    return newest


def _renewed(store: FeatureStore, folder: Path | None, index: PageIndex | None, wanted: Request | None) -> PageIndex:
    if index is not None and follow(index, store):
        return replace(index, store=store)  # another process has just done it
    pages = sum(part.rows for part in store.parts)
    if index is None:
        index = _rebuilt(store, folder, wanted)
    elif outgrown(index, store) and pages <= _REBUILD_PAGES:
        index = build(store, _request(index.setting), folder)
    else:
        before, index = index, _updated(index, store, folder)
        if index.parts == before.parts and index.segments == before.segments and len(index) == len(before):
            return index  # what is new is damaged
        if stale(index) and pages <= _REBUILD_PAGES:
            index = build(store, _request(index.setting), folder)
        elif stale(index) or outgrown(index, store):
            log.warning("the index was trained for far fewer or other pages: run `index` to train it again")
    if folder is not None:
        with contextlib.suppress(ArtifactError):  # a full disk: the index is only a cache
            storage.save(index, folder)
    return index


def _updated(index: PageIndex, store: FeatureStore, folder: Path | None, compact: float = _COMPACT_SHARE) -> PageIndex:
    """Brings an index up to date; where its kind cannot take what came or went, builds one."""
    try:
        return update(index, store, folder, compact)
    except UsageError:
        return _rebuilt(store, folder, _request(index.setting))


def _rebuilt(store: FeatureStore, folder: Path | None, wanted: Request | None) -> PageIndex:
    """Builds what was wanted once; where the store has too few pages for that by now, what suits it."""
    try:
        return build(store, wanted, folder)
    except ArtifactError:
        raise
    except EmbedpipeError:
        return build(store, None, folder)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    """Tries to be the one writer of an index; gives whether it is."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(writing(folder, "index"))
            free = True
        except ArtifactError:
            free = False
        yield free


def _saved(folder: Path, store: FeatureStore, *, notice: bool = False) -> PageIndex | None:
    try:
        return storage.load(folder, store)
    except storage.OutdatedIndexError:
        if notice:
            log.info("the index was made by an earlier version, with the scaling of its first pages: building it again")
    except (ArtifactError, SpaceMismatchError):
        pass
    return None


def _wanted(folder: Path) -> Request | None:
    """What was asked for when the index of a folder was made, whether it can still be used or not."""
    setting = storage.requested(folder)
    return None if setting is None else _request(setting)


def _blocks(store: FeatureStore) -> list[tuple[int, int]]:
    return [(start, stop) for _, start, stop in store.blocks]


def _request(setting: Setting) -> Request:
    return Request(setting.requested, setting.memory, setting.wanted)


def _drawn(n: int, count: int) -> NDArray[np.int64]:
    """So many of n rows, drawn at random, always the same ones."""
    return np.random.default_rng(0).permutation(n)[:count]


def _sample(store: FeatureStore, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.float16], dict[int, Moments]]:
    """Page ids (n,) and features (n, dim) of pages drawn from all parts, each giving its share; the parts' moments."""
    pages = sum(part.rows for part in store.parts)
    rng = np.random.default_rng(0)
    ids, rows, moments = [], [], {}
    for part in store.parts:
        table = store.read(part, ("page_id", "embedding"))
        if table is None or not len(table):
            continue
        moments[part.number] = Moments.of(store.matrix(table), _blocks(store))
        here = np.sort(rng.permutation(len(table))[: -(-len(table) * wanted // pages)])
        ids.append(table["page_id"].to_numpy()[here])
        rows.append(store.matrix(table)[here])
    if not ids:
        raise ArtifactError(f"no pages in {store.path} can be read: run `embed` on your documents again")
    return np.concatenate(ids), np.concatenate(rows), moments


def _add(
    index: PageIndex,
    parts: Iterable[Part],
    folder: Path | None,
    watch: Watch = lambda *_: None,
    progress: Progress = lambda *_: None,
) -> None:
    """Adds parts to an index that is not in use yet, as segments of their own, part by part."""
    store, dim, blocks = index.store, index.store.dim, _blocks(index.store)
    ordered = sorted(parts, key=lambda part: part.number)
    total = sum(part.rows for part in ordered)
    tail = index.empty is not None and bool(index.segments) and total <= _EXACT_TAIL
    empty = None if tail else index.empty
    each = bytes_per_page(FLAT if empty is None else index.setting.factory, dim) + _COLUMN_BYTES
    most = max(_request(index.setting).memory_bytes // 2 // each, 1)
    builder, done = SegmentBuilder(dim, empty), 0
    for part in ordered:
        table = store.read(part, _COLUMNS)
        if table is None:
            continue
        values, ids = store.matrix(table), table["page_id"].to_numpy()
        index.parts[part.number] = (part.name, part.sha256)
        index.spans[part.number] = locate(store.path / part.name, values)
        if part.number not in index.moments:
            index.moments[part.number] = Moments.of(values, blocks)
        if not len(ids):
            continue
        X = values.astype(np.float32)
        rows = unit_blocks(X, blocks).astype(np.float32) if empty is None else index.trained_unit(X)
        keys = document_keys(table["document_sha256"].to_pylist())
        builder.add(rows, ids, keys, table["page_index"].to_numpy(), checksums(values))
        watch(ids, rows)
        done += len(ids)
        progress(done, total)
        if builder.rows >= most:
            index.segments.append(_finished(builder, folder))
            builder = SegmentBuilder(dim, empty)
    if builder.rows:
        index.segments.append(_finished(builder, folder))
    index.parts, index.spans = dict(sorted(index.parts.items())), dict(sorted(index.spans.items()))


def _finished(builder: SegmentBuilder, folder: Path | None) -> Segment:
    segment = builder.segment()
    return segment if folder is None else storage.keep(segment, folder)


def _kept(
    segments: Sequence[Segment], forgotten: NDArray[np.int64], added: Mapping[int, Part], compact: float
) -> tuple[list[Segment], list[Segment]]:
    """Which segments stay, and which are made again.

    That are those with much forgotten, those with other pages under the ids of parts that come, and small ones when
    pages come.
    """
    stay: list[Segment] = []
    again: list[Segment] = []
    for segment in segments:
        share = len(segment.rows_of(forgotten)) / len(segment)
        (again if share > compact or not added.keys().isdisjoint(_numbers(segment)) else stay).append(segment)
    coming = sum(part.rows for part in added.values()) + sum(len(segment) for segment in again)
    for segment in sorted(stay, key=len) if coming else ():
        if len(segment) > _ABSORBED * coming:
            break
        coming += len(segment)
        again.append(segment)
    return [segment for segment in stay if segment not in again], again


def _numbers(segment: Segment) -> list[int]:
    return [int(number) for number in np.unique(segment.page_ids >> ROW_BITS)]


def _ids_of(segments: Iterable[Segment], number: int) -> NDArray[np.int64]:
    """Page ids of a part."""
    first, last = number << ROW_BITS, (number + 1) << ROW_BITS
    found = [s.page_ids[slice(*np.searchsorted(s.page_ids, [first, last]))] for s in segments]
    return np.concatenate([np.empty(0, np.int64), *found])
