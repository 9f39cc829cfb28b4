"""Features of changed copies of the labelled pages, to learn from beside the pages themselves.

A frozen network cannot learn that a scan shows the same page; a classifier on its features can, from the features of
the page a little turned, cropped, blurred, noisy. The variants are made once, with the same
network, and kept beside the store:

    features/<space>/variants/<key>/<number>/   the variant of that number of each page, in the format of the store

The key names the augmentation and its seed. Variants are derived: they may be deleted at any time.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.saved.on_disk import VARIANTS
from embedpipe.core.errors import ArtifactError, SpaceMismatchError
from embedpipe.core.records import Document, FeatureBatch, PageFailure
from embedpipe.embedding.streaming import PageStream, Settings
from embedpipe.pages.augmentation import LARGER, VERSION, Augmentation, Variants
from embedpipe.pages.rendering import Job, Selection
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Sources, Workspace

if TYPE_CHECKING:  # only variants need the network
    from embedpipe.backbones.engines import Backbone

log = logging.getLogger(__name__)

KEY = hashlib.sha256(json.dumps([VERSION, LARGER, asdict(Augmentation())]).encode()).hexdigest()[:8]
"""Names the augmentation: another one makes other variants."""

_MANIFEST = "manifest.json"
_SAMPLE = 0.1
"""After this share of the pictures a notice says how long the others will take."""

Page = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many variants of each page, and the seed of everything random in them."""

    count: int
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Watch:
    """Receives progress and notices.

    Attributes:
        pictures: Pictures done and to do.
        notice: A line for people.
    """

    pictures: Callable[[int, int], None] = lambda _done, _total: None
    notice: Callable[[str], None] = lambda _line: None


def _folder(store: FeatureStore, seed: int, number: int) -> Path:
    return store.path / VARIANTS / f"{KEY}-{seed}" / str(number)


def make(
    workspace: Workspace,
    store: FeatureStore,
    pages: LabelledPages,
    wanted: Wanted,
    backbone: "Callable[[], Backbone]",
    *,
    settings: Settings | None = None,
    watch: Watch | None = None,
) -> None:
    """Embeds the variants of pages that are not there yet; what is there already is not made again.

    A page whose file is gone, or cannot be rendered any more, stays without; a line says how many.

    Args:
        workspace: Says where documents are; its lock is held.
        store: The features of the pages themselves.
        pages: Those to make variants of.
        wanted: How many, and their seed.
        backbone: Loads the backbone; called only when a variant is missing.
        settings: How documents are read.
        watch: Receives progress and notices.

    Raises:
        SpaceMismatchError: The backbone is not the store's.
        KeyboardInterrupt: Ctrl-C; the variants made so far are kept.
    """
    watch = watch or Watch()
    _heal(workspace, [_folder(store, wanted.seed, number) for number in range(1, wanted.count + 1)])
    missing = _missing(store, pages, wanted)
    if not missing:
        return
    count = sum(len(numbers) * len(those) for numbers, those in missing.items())
    watch.notice(
        f"embedding {count} variants of {sum(map(len, missing.values()))} labelled pages, once: later fits find them"
    )
    loaded = backbone()
    if loaded.identity != store.identity:
        raise SpaceMismatchError(f"the store {store.path}", store.identity, loaded.identity)
    with workspace.writing("fit --augment"):
        run = _Run(store, wanted.seed, loaded, settings or Settings(), watch)
        try:
            run.make(workspace.sources(), missing)
        except KeyboardInterrupt:
            watch.notice("interrupted: the variants made so far are kept, the same command goes on from here")
            raise
    if run.done < count:
        watch.notice(
            f"warning: {count - run.done} of {count} variants cannot be made, for their files are not where they were "
            f"or cannot be read{': ' if run.reasons else ''}{'; '.join(sorted(run.reasons))}"
        )


def _heal(workspace: Workspace, kept: Iterable[Path]) -> None:
    """Puts damaged files aside, so that what they held is made again, and lists what a killed run had finished."""
    for folder in kept:
        manifest = folder / _MANIFEST
        try:
            damaged = manifest.exists() and _unlike(FeatureStore.open(folder))
        except ArtifactError:
            log.warning("%s is damaged: put aside", manifest)
            manifest.replace(manifest.with_name(f"{_MANIFEST}.damaged"))  # its parts are adopted by the next writer
            continue
        if damaged:
            with workspace.writing("fit --augment"):
                FeatureWriter(FeatureStore.open(folder), {})


def _unlike(store: FeatureStore) -> bool:
    """Whether the parts are not those that the manifest lists."""
    files = {file.name for file in store.path.glob("part-*.parquet")}
    return not files <= {part.name for part in store.listed} or bool(store.verify())


def _missing(store: FeatureStore, pages: LabelledPages, wanted: Wanted) -> dict[tuple[int, ...], list[Page]]:
    """Pages by the numbers of the variants that they lack."""
    lacking: dict[Page, list[int]] = {}
    keys = _keys(pages)
    for number in range(1, wanted.count + 1):
        known = set(_rows(_open(_folder(store, wanted.seed, number))))
        for key in keys:
            if key not in known:
                lacking.setdefault(key, []).append(number)
    missing: dict[tuple[int, ...], list[Page]] = {}
    for key, numbers in lacking.items():
        missing.setdefault(tuple(numbers), []).append(key)
    return missing


class _Run:
    """One call of `make`."""

    def __init__(self, store: FeatureStore, seed: int, backbone: "Backbone", settings: Settings, watch: Watch) -> None:
        self._store, self._seed, self._backbone = store, seed, backbone
        self._settings, self._watch = settings, watch
        self._writers: dict[int, FeatureWriter] = {}
        self.done = 0
        self.reasons: set[str] = set()

    def make(self, sources: Sources, missing: dict[tuple[int, ...], list[Page]]) -> None:
        """Embeds and keeps; whatever ends it, what was made is written."""
        total = sum(len(numbers) * len(pages) for numbers, pages in missing.items())
        first, begin, told = 0, 0.0, False
        try:
            for numbers, pages in missing.items():
                for _ in self._embed(sources, numbers, pages):
                    self._watch.pictures(self.done, total)
                    if not first:  # workers and network start once, and are not counted
                        first, begin = self.done, time.perf_counter()
                    elif self.done >= _SAMPLE * total and not told:
                        left = (time.perf_counter() - begin) / (self.done - first) * (total - self.done)
                        self._watch.notice(f"about {left:.0f} s more")
                        told = True
        finally:
            for writer in self._writers.values():
                writer.flush()

    def _embed(self, sources: Sources, numbers: tuple[int, ...], pages: Sequence[Page]) -> Iterator[None]:
        """Some variants of some pages, batch by batch."""
        jobs = list(_jobs(self._store, sources, pages))
        variants = Variants(numbers, self._backbone.identity.recipe, self._seed)
        stored = self._store.pages()
        turned = stored[stored["turned"] != 0]
        keys = zip(turned["document_sha256"], turned["page_index"].tolist(), strict=True)
        turns = dict(zip(keys, turned["turned"].tolist(), strict=True))
        for item in PageStream(self._backbone, self._settings, len(jobs), variants=variants, turns=turns).run(jobs):
            if isinstance(item, PageFailure):
                self.reasons.add(f"{item.page}: {item.message}")
                continue
            for number in {info.variant for info in item.pages}:
                rows = [row for row, info in enumerate(item.pages) if info.variant == number]
                self._writer(number).append(FeatureBatch(tuple(item.pages[row] for row in rows), item.X[rows]))
            self.done += len(item.pages)
            yield

    def _writer(self, number: int) -> FeatureWriter:
        if number not in self._writers:
            engine, store = self._backbone.engine, self._store
            knobs = {"engine": engine.name, "device": engine.device, "precision": engine.precision}
            folder = _folder(store, self._seed, number)
            self._writers[number] = FeatureWriter(FeatureStore.create(folder, store.identity, store.blocks), knobs)
        return self._writers[number]


def _jobs(store: FeatureStore, sources: Sources, pages: Sequence[Page]) -> Iterator[Job]:
    """The documents of pages, with all their other pages taken for known."""
    table = store.pages()
    counts = dict(zip(table["document_sha256"], table["page_count"], strict=True))
    indices: dict[str, set[int]] = {}
    for sha256, index in pages:
        indices.setdefault(sha256, set()).add(index)
    for sha256, wanted in indices.items():
        document: Document | None = sources.document(sha256)
        if document is not None:
            yield Job(document, Selection(), frozenset(range(int(counts[sha256]))) - wanted)


def read(store: FeatureStore, pages: LabelledPages, count: int, seed: int = 0) -> NDArray[np.float16]:
    """The variants of pages.

    Args:
        store: The features of the pages themselves.
        pages: Whose variants; where their features have more columns than the store, these stay as they are.
        count: How many of each page.
        seed: Of the variants.

    Returns:
        float16 (n, count, dim); NaN for variants that are not there, which a warning reports.

    Raises:
        ArtifactError: There is none at all.
    """
    found = np.full((len(pages.y), count, pages.X.shape[1]), np.nan, np.float16)
    for number in range(1, count + 1):
        kept = _open(_folder(store, seed, number))
        known = _rows(kept)
        here = [(row, known[key]) for row, key in enumerate(_keys(pages)) if key in known]
        if kept is None or not here:
            continue
        rows, ids = (np.array(column, np.int64) for column in zip(*here, strict=True))
        found[rows, number - 1, : kept.dim] = kept.features(ids)
        found[rows, number - 1, kept.dim :] = pages.X[rows, kept.dim :]
    missing = int(np.isnan(found[:, :, 0]).sum())
    if missing == found[:, :, 0].size:
        raise ArtifactError(f"no variants of these pages in {store.path}: fit with --augment {count}, which makes them")
    if missing:
        log.warning(
            "%d of %d variants are not there: fit with --augment %d to make those whose files are there",
            missing,
            found[:, :, 0].size,
            count,
        )
    return found


def _open(folder: Path) -> FeatureStore | None:
    return FeatureStore.open(folder) if (folder / _MANIFEST).exists() else None


def _rows(store: FeatureStore | None) -> dict[Page, int]:
    """Ids by page."""
    if store is None:
        return {}
    pages = store.pages()
    keys = zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True)
    return dict(zip(keys, pages["page_id"].tolist(), strict=True))


def _keys(pages: LabelledPages) -> list[Page]:
    return list(zip(pages.documents.tolist(), pages.page_indices.tolist(), strict=True))
