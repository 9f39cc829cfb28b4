"""Stores of one space joined: parts of others are linked into a store, and pages that it has already do not count.

A part keeps its file, and gets a number of its own; rows of pages that are there twice are marked in the manifest
(`Part.omitted`). Nothing is listed before all is linked, and then everything at once: a kill leaves the store as it
was, with links that the next run makes again, or as it will be. What was taken in is known by its SHA-256.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from embedpipe.core.errors import ArtifactError, SpaceMismatchError
from embedpipe.core.files import replacing, synced
from embedpipe.core.records import WHOLE_FILE, PageFailure
from embedpipe.store import part_contents
from embedpipe.store.columns import read
from embedpipe.store.failure_table import DIGEST, FAILURE_COLUMNS, FAILURES_FILE, digest_of, failure_key, failure_row
from embedpipe.store.features import FeatureStore, unlisted
from embedpipe.store.joining.healing import counting_keys, heal
from embedpipe.store.joining.keys import Keys, added, doubled, omitted_rows, read_keys
from embedpipe.store.joining.linking import linked, remove_links
from embedpipe.store.parts import Part, part_files, suspect

Tell = Callable[[int, int], None]
"""Takes how many parts of how many are done."""


@dataclass(slots=True)
class Taken:
    """What became of the pages of one source; rows = taken + twice + known.

    Attributes:
        source: Its folder.
        parts: Listed parts.
        rows: Pages that count in them.
        taken: Pages that count in the joined store now, and did not before.
        twice: Pages that another part has.
        known: Pages of parts that were taken in by an earlier run.
        linked: Parts that are links now.
        copied: Parts that were copied, for they lie on another disk.
        damaged: Parts that are not whole, or cannot be read; they are left out.
        unlisted: Finished parts that its store does not list, as a killed `embed` leaves them.
    """

    source: Path
    parts: int = 0
    rows: int = 0
    taken: int = 0
    twice: int = 0
    known: int = 0
    linked: int = 0
    copied: int = 0
    damaged: list[str] = field(default_factory=list)
    unlisted: int = 0


@dataclass(slots=True)
class Joined:
    """A joined store, with the sums that prove it.

    Attributes:
        space: Its name.
        before: Pages that counted before.
        after: Pages that count now.
        checksum: Of the pages that count now, read back from the joined store.
        expected: The sum of what counted before and what was taken.
        failures: How many pages and files have no features.
        sources: What became of each source.
    """

    space: str
    before: int = 0
    after: int = 0
    checksum: int = 0
    expected: int = 0
    failures: int = 0
    sources: list[Taken] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether counts and checksums add up."""
        added_up = self.before + sum(source.taken for source in self.sources)
        whole = all(s.rows == s.taken + s.twice + s.known for s in self.sources)
        return whole and self.after == added_up and self.checksum == self.expected


@dataclass(slots=True)
class _Candidate:
    """A part of a source that is not known yet."""

    part: Part
    store: FeatureStore
    taken: Taken
    counting: NDArray[np.bool_] | None
    size: int


def join(store: FeatureStore, others: Sequence[FeatureStore], tell: Tell = lambda *_: None) -> Joined:
    """Takes the parts and failures of other stores into one; call it with the lock of its artifacts held.

    Of a page that several have, what the store has counts; else that of the store which is named first.

    Args:
        store: It takes them in.
        others: Of the same space.
        tell: Called now and then.

    Raises:
        SpaceMismatchError: One is of another space; then nothing was changed.
        ArtifactError: The disk is full or cannot be written, or the sums do not add up; then nothing was listed.
    """
    for other in others:
        if other.identity != store.identity:
            raise SpaceMismatchError(f"the store {store.path}", store.identity, other.identity)
    _remove_links(store, others)
    heal(store)
    return _Join(store, others, tell).run()


class _Join:
    def __init__(self, store: FeatureStore, others: Sequence[FeatureStore], tell: Tell) -> None:
        self._store, self._others, self._tell = store, others, tell
        self._failures = {failure_key(f): f for s in reversed((store, *others)) for f in s.failures()}
        self._failing = {failure.page.document_sha256 for failure in self._failures.values()} - {""}
        self._stored: dict[str, list[Path]] = {}
        self._own = list(store.parts)
        self._candidates: list[_Candidate] = []
        self._keys: list[Keys] = []
        self._total = len(store.parts) + 2 * sum(len(other.parts) for other in others)
        self._done = self._sum_before = 0
        self.joined = Joined(store.identity.space)

    def run(self) -> Joined:
        """Reads which pages there are, links, lists, and reads back."""
        joined, own = self.joined, self._own
        for part in own:
            self._keys.append(self._look(self._store.path, part))
            joined.before += len(self._keys[-1])
            joined.expected = added(joined.expected, self._keys[-1].checksum())
        self._sum_before = joined.expected
        known = {part.sha256 for part in own}
        for other in self._others:
            joined.sources.append(self._gather(other, known))
        new = self._keys[len(own) :]
        parts = self._link(new, doubled(self._keys)[len(own) :])
        if parts:
            synced(self._store.path)
            self._store.replace_parts([*own, *parts])
        try:
            self._check(parts)
        except ArtifactError:
            self._take_back(parts)
            raise
        self._write_failures()
        return joined

    def _look(self, folder: Path, part: Part) -> Keys:
        """The pages of a listed part that count; notes which failing documents are in it."""
        try:
            keys, documents = read_keys(folder / part.name)
        except (OSError, ValueError, pa.ArrowException) as error:
            suspect(folder / part.name)
            raise ArtifactError(f"{folder / part.name} is damaged: `embed` its files again first") from error
        for sha256 in self._failing.intersection(documents):
            self._stored.setdefault(sha256, []).append(folder / part.name)
        self._step()
        return keys.where(part.counting(len(keys)))

    def _step(self) -> None:
        self._done += 1
        self._tell(self._done, self._total)

    def _gather(self, other: FeatureStore, known: set[str]) -> Taken:
        """Looks at the parts of a source that are not known yet."""
        taken = Taken(other.path, len(other.parts), unlisted=len(unlisted(other)))
        for part in other.parts:
            taken.rows += part.rows
            if part.sha256 in known:
                taken.known += part.rows
                continue
            try:
                if not part.is_whole(other.path):
                    raise ValueError("it is not as its manifest says")
                keys, documents = read_keys(other.path / part.name)
                counting = part.counting(len(keys))
            except (OSError, ValueError, pa.ArrowException):
                taken.damaged.append(part.name)
                taken.rows -= part.rows
                continue
            known.add(part.sha256)
            for sha256 in self._failing.intersection(documents):
                self._stored.setdefault(sha256, []).append(other.path / part.name)
            self._candidates.append(_Candidate(part, other, taken, counting, len(keys)))
            self._keys.append(keys.where(counting))
            self._step()
        return taken

    def _link(self, keys: Iterable[Keys], twice: Iterable[NDArray[np.bool_]]) -> list[Part]:
        """Links each part of which any page counts, and says which rows of it do not."""
        parts, number = list[Part](), self._store.next_number
        for candidate, own, again in zip(self._candidates, keys, twice, strict=True):
            taken = candidate.taken
            count = int((~again).sum())
            taken.taken, taken.twice = taken.taken + count, taken.twice + len(again) - count
            self.joined.expected = added(self.joined.expected, own.where(~again).checksum())
            if not count:
                continue
            parts.append(self._link_one(candidate, number, omitted_rows(candidate.size, candidate.counting, again)))
            number += 1
        return parts

    def _link_one(self, candidate: _Candidate, number: int, omitted: NDArray[np.bool_]) -> Part:
        store, part = self._store, candidate.part
        name = f"part-{number:06d}.parquet"
        is_link = linked(candidate.store.path / part.name, store.path / name, part.sha256)
        candidate.taken.linked += is_link
        candidate.taken.copied += not is_link
        contents = part_contents.path_of(candidate.store.path, part.number)
        if contents.exists():
            linked(contents, part_contents.path_of(store.path, number))
        listed = replace(Part.of(store.path / name, part.rows, part.sha256), linked=True)
        self._step()
        return listed.without(omitted)

    def _check(self, parts: Sequence[Part]) -> None:
        """Reads back what is listed, and compares it with what was to be listed."""
        joined = self.joined
        store = FeatureStore.open(self._store.path)
        joined.after = sum(part.rows for part in store.parts)
        joined.checksum = self._sum_before
        for part in parts:
            joined.checksum = added(joined.checksum, counting_keys(store.path, part).checksum())
        if not joined.holds:
            raise ArtifactError(f"{store.path}: counts do not add up; run `info --verify` on it and on what was merged")

    def _take_back(self, parts: Sequence[Part]) -> None:
        """Lists what was listed before, and removes the links, which the next writer would list."""
        self._store.replace_parts(self._own)
        for part in parts:
            for file in (self._store.path / part.name, part_contents.path_of(self._store.path, part.number)):
                file.unlink(missing_ok=True)

    def _write_failures(self) -> None:
        """Keeps the failures of all, but for pages that some store has features of."""
        has: set[tuple[str, int]] = set()
        for file in {file for files in self._stored.values() for file in files}:
            rows = read(file, ["document_sha256", "page_index"]).to_pydict()
            pages = zip(rows["document_sha256"], rows["page_index"], strict=True)
            has |= {page for page in pages if page[0] in self._failing}
        documents = {sha256 for sha256, _ in has}
        kept = [f for f in self._failures.values() if not _is_stored(f, has, documents)]
        self.joined.failures = len(kept)
        found = [failure_row(f) for f in kept]
        if not found and not (self._store.path / FAILURES_FILE).exists():
            return
        table = pa.Table.from_pylist(found, pa.schema(list(FAILURE_COLUMNS.items()), {DIGEST: digest_of(found)}))
        with replacing(self._store.path / FAILURES_FILE) as temporary:
            pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _is_stored(failure: PageFailure, pages: set[tuple[str, int]], documents: set[str]) -> bool:
    page = failure.page
    if page.page_index == WHOLE_FILE:
        return page.document_sha256 in documents
    return (page.document_sha256, page.page_index) in pages


def _remove_links(store: FeatureStore, others: Sequence[FeatureStore]) -> None:
    """Removes links to parts of the sources that a killed run made and did not list."""
    listed = {part.name for part in store.listed}
    stray = [file for file in part_files(store.path) if file.name not in listed]
    remove_links(stray, (other.path / part.name for other in others for part in other.listed))
