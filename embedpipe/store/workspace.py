"""The artifacts on disk: what lies where, and which store, labels and sources there are."""

import contextlib
import functools
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from embedpipe.backbones.names import full_name
from embedpipe.core import claims, versions
from embedpipe.core.errors import ArtifactError, UnknownNameError
from embedpipe.core.files import waiting, writing
from embedpipe.core.objects.urls import absolute, as_written, is_url, scheme_of
from embedpipe.core.records import Identity
from embedpipe.store.features import FeatureStore
from embedpipe.store.label_lists.history import History
from embedpipe.store.labels import Labels
from embedpipe.store.sources import Sources

if TYPE_CHECKING:
    from embedpipe.store.remote.mirror import Mirror

__all__ = ["FINETUNED", "Sources", "Workspace"]

_logger = logging.getLogger(__name__)

FINETUNED = "finetuned:"
"""Begins the name of a backbone that was fine-tuned here."""


class Workspace:
    """The folder `artifacts`.

    Attributes:
        root: The folder; it need not exist yet. Of artifacts in object storage it is their copy on this machine, see
            `remote.mirror`.
        share: It may be one that holds other files already.
        beside: Other artifacts whose stored pages and labels count as well, for who only reads; see `catalogue`.
    """

    def __init__(self, root: str | Path = "artifacts", *, share: bool = False) -> None:
        if not str(root).strip():
            raise ArtifactError("the folder of the artifacts has no name: is a variable not set?")
        url = as_written(root)
        self.root = Path(absolute(url)) if is_url(url) else Path(root)
        self._mirror: Mirror | None = None
        if is_url(url) and scheme_of(url) != "file":
            from embedpipe.core.cache_folder import cache_folder  # noqa: PLC0415 - only stores elsewhere need these
            from embedpipe.store.remote.mirror import mirror_of  # noqa: PLC0415 - likewise

            self._mirror = mirror_of(absolute(url), cache_folder())
            self.root = self._mirror.folder
        self.share = share
        self.beside: tuple[Workspace, ...] = ()
        self._told: set[str] = set()

    def claim(self) -> None:
        """Makes the folder if need be; raises ArtifactError where it holds other files and no artifacts."""
        claims.claim(self.root, share=self.share)

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Holds the lock of the one writer; raises ArtifactError naming who holds it, or as `claim` does."""
        with contextlib.ExitStack() as stack:
            if self._mirror is not None:
                stack.enter_context(self._mirror.writing(what, share=self.share))
            self.claim()
            stack.enter_context(writing(self.root, what, claims.FOLDERS))
            yield

    def sources(self) -> Sources:
        """Where the documents are."""
        return Sources(self.root / "sources.parquet")

    @property
    def labels_file(self) -> Path:
        """labels.csv."""
        return self.root / "labels.csv"

    def labels(self) -> Labels:
        """The labels; empty where there are none yet. Lines of labels.csv with a mistake are warned of, once each."""
        labels = self.read_labels(self.labels_file)
        self._tell(labels.problems())
        return labels

    def all_labels(self) -> Labels:
        """The labels of these artifacts and of those beside; of what several label, those of the first count."""
        labels = self.labels()
        for other in self.beside:
            labels.rows = other.labels().rows | labels.rows
        return labels

    def read_labels(self, file: Path) -> Labels:
        """A table of labels of these documents; that of all their places is read where a line has no SHA-256."""
        sources = functools.cache(self.sources)
        return Labels.load(file, lambda path: sources().sha256_at(path))

    def _tell(self, problems: Iterable[str]) -> None:
        for problem in problems:
            if problem not in self._told:
                _logger.warning("%s", problem)
                self._told.add(problem)

    @contextlib.contextmanager
    def changing_labels(self) -> Iterator[None]:
        """Holds the lock of the labels, from reading them to `keep_labels`; waits for others, who are quick.

        It is another one than that of `writing`, which a run may hold for hours: labels can be given meanwhile. Who
        needs both takes this one second.

        Raises:
            BusyError: Another process has it for longer than changing labels takes.
            ArtifactError: The folder cannot be written.
        """
        self.claim()
        lock = self.root / "labels" / ".lock"
        with waiting(
            lock,
            lambda advice: f"the labels in {self.root} are being changed by another process: {advice or 'try again'}",
            lambda why: f"cannot write to {lock.parent}: {why}",
        ):
            yield

    def keep_labels(
        self, labels: Labels, command: str, *, before: Labels | None = None, one_by_one: bool = False
    ) -> None:
        """Writes labels.csv, and keeps what was there as a version; call it with the lock of the labels held.

        What was given two types in one go is warned of.

        Args:
            labels: All of them.
            command: Who changes them, for the history.
            before: The labels as they are in the file, where they are known.
            one_by_one: The command changes a few labels at a time, see `History.changing`.

        Raises:
            ArtifactError: The disk is full, or cannot be written; the labels are as they were.
        """
        for path, types in labels.conflicts:
            _logger.warning("%s is labelled %s: it has no label now", path, " and ".join(types))
        self._tell(labels.look_alikes())

        def counts() -> tuple[int, int, int, int]:
            return labels.count, *labels.compared(before or self.read_labels(self.labels_file))

        history = self.label_history()
        if history.damage:
            _logger.warning("%s: the history of labels begins anew", history.damage)
        with history.changing(command, counts, one_by_one=one_by_one) as file:
            labels.save(file)

    def label_history(self) -> History:
        """The versions of labels.csv."""
        return History(self.labels_file)

    def store_path(self, space: str) -> Path:
        """The folder of a space's store."""
        return self.root / "features" / space

    def index_path(self, space: str) -> Path:
        """The folder of a space's index."""
        return self.root / "index" / space

    def classifier_folder(self, name: str) -> Path:
        """The folder of a classifier with all its versions."""
        return self.root / "classifiers" / name

    def classifier_path(self, name: str) -> Path:
        """The folder of the version of a classifier that is in use."""
        return versions.in_use(self.classifier_folder(name))

    def backbone_path(self, name: str) -> Path:
        """The folder of a fine-tuned backbone; the name is without `finetuned:`."""
        return self.root / "backbones" / name

    def backbones(self) -> list[str]:
        """Names of the fine-tuned backbones, without `finetuned:`."""
        return sorted(manifest.parent.name for manifest in self.root.glob("backbones/*/manifest.json"))

    def spaces(self) -> dict[str, Identity]:
        """The spaces that have a store, by name."""
        found = {}
        for manifest in sorted(self.root.glob("features/*/manifest.json")):
            found[manifest.parent.name] = FeatureStore.open(manifest.parent).identity
        return found

    def without_manifest(self) -> list[str]:
        """Spaces that have parts, and no manifest that lists them."""
        folders = (folder for folder in self.root.glob("features/*") if not (folder / "manifest.json").exists())
        return sorted(folder.name for folder in folders if any(folder.glob("part-*")))

    def shards(self) -> list[Path]:
        """The stores of all shards that lie in the artifacts, also of earlier jobs."""
        return sorted(manifest.parent for manifest in (self.root / claims.SHARDS).glob(f"*/{claims.MANIFEST}"))

    def classifiers(self) -> list[str]:
        """Names of the classifiers."""
        folders = self.root.glob("classifiers/*")
        return sorted(folder.name for folder in folders if versions.numbers(folder))

    def store(self, backbone: str | None = None, space: str | None = None) -> FeatureStore:
        """Opens the store that was asked for, or the only one.

        Args:
            backbone: Name of the backbone; None for any.
            space: Name of the space; None for any.

        Raises:
            ArtifactError: There is none, or more than one to choose from.
            UnknownNameError: There is none of that name.
        """
        spaces, unlisted = self.spaces(), self.without_manifest()
        if unlisted and (space in unlisted or space is None):
            other = ", or choose another space with --space" if spaces else ""
            manifest = self.store_path(space or unlisted[0]) / "manifest.json"
            raise ArtifactError(f"{manifest} is missing: run `embed` again, which lists the parts anew{other}")
        if not spaces:
            raise ArtifactError(f"no features in {self.root}: run `embed` on your documents first")
        if space is not None and space not in spaces:
            raise UnknownNameError("space", space, spaces)
        backbone = full_name(backbone) if backbone else None
        wanted = [
            name for name, identity in spaces.items() if backbone in (None, identity.backbone) and space in (None, name)
        ]
        if not wanted:
            raise UnknownNameError("backbone in the store", str(backbone), {i.backbone for i in spaces.values()})
        if len(wanted) > 1:
            raise ArtifactError(f"there are {len(wanted)} spaces: choose one with --space: {', '.join(wanted)}")
        return self.open_store(wanted[0])

    def open_store(self, space: str) -> FeatureStore:
        """Opens the store of a space, as whoever learns, looks or counts sees it: of documents that are current.

        Raises:
            ArtifactError: There is none.
        """
        standing = functools.cache(lambda: self.sources().standing)
        return FeatureStore.open(self.store_path(space)).only_current(standing)
