"""What a killed writer or a failing disk left in a store, put right before it is written to."""

import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from embedpipe.core.files import sha256_of
from embedpipe.store import part_contents
from embedpipe.store.features import FeatureStore
from embedpipe.store.joining.keys import Keys, doubled, read_keys
from embedpipe.store.parts import ROW_BITS, Part, part_files, part_number, put_aside, readable_rows

log = logging.getLogger(__name__)


def heal(store: FeatureStore) -> None:
    """Puts damaged parts aside and adopts those that a killed writer had finished but not listed.

    A part whose size and time are as noted is hashed only where a reader has found it damaged: on a large store
    that took longer than the run.
    """
    listed = {part.name for part in store.listed}
    good = []
    for part in store.listed:
        whole = part.renewed(store.path)
        if whole is not None:
            good.append(whole)
            continue
        file = store.path / part.name
        log.warning("%s is damaged: put aside; its %d pages are embedded again when met", file, part.rows)
        _remember(store, part.number, file)
        put_aside(file)
    numbers = {part.number for part in store.listed}
    unlisted = [file for file in part_files(store.path) if file.name not in listed]
    for file in [file for file in unlisted if part_number(file.name) in numbers]:
        file.unlink()  # what `forget` replaced, or did not come to list
        unlisted.remove(file)
    rows = {file: readable_rows(file, store.identity.space) for file in unlisted}
    found = {part_number(file.name): file for file, count in rows.items() if count is not None}  # newest last
    good += _adopted(store, good, found.values(), {file: count or 0 for file, count in rows.items()})
    after = 1 + max(part_contents.numbers(store.path), default=-1)  # also where manifest and last part are gone
    if good != store.listed or after > store.next_number:
        store.next_number = max(after, store.next_number)
        store.replace_parts(good)


def _adopted(store: FeatureStore, good: list[Part], files: Iterable[Path], rows: dict[Path, int]) -> list[Part]:
    """Parts that were not listed, without the rows of pages that others have: merged ones may have such."""
    parts = [Part.of(file, rows[file], sha256_of(file)) for file in files]
    parts = [part if _is_own(store, part) else replace(part, linked=True) for part in parts]
    if not parts or not (good or len(parts) > 1):
        return parts
    keys = [counting_keys(store.path, part) for part in [*good, *parts]]
    return [part.without(twice) for part, twice in zip(parts, doubled(keys)[len(good) :], strict=True)]


def _is_own(store: FeatureStore, part: Part) -> bool:
    """Whether the page ids of a part begin with its number, as those that were written here do."""
    ids = pq.read_table(store.path / part.name, columns=["page_id"])["page_id"]
    return not len(ids) or ids[0].as_py() >> ROW_BITS == part.number


def counting_keys(folder: Path, part: Part) -> Keys:
    """The pages of the rows of a listed part that count; none where they cannot be read, which `FeatureStore` says."""
    try:
        keys, _ = read_keys(folder / part.name)
        return keys.where(part.counting(len(keys)))
    except (OSError, ValueError, pa.ArrowException):
        return Keys(np.empty(0, np.uint64), np.empty(0, np.uint64))


def _remember(store: FeatureStore, number: int, file: Path) -> None:
    """Keeps what a damaged part held, where an earlier version did not and it can still be read."""
    if part_contents.read(store.path, number) is None:
        rows = part_contents.salvage(file)
        if rows is not None:
            part_contents.write(store.path, number, rows)
