"""The artifacts on disk: what lies where, and which store, labels and sources there are."""

import contextlib
import logging
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from embedpipe.core import claims, versions
from embedpipe.core.display import on_disk, path_to_text, text_to_path
from embedpipe.core.errors import ArtifactError, UnknownNameError
from embedpipe.core.files import replacing, sha256_of, writing
from embedpipe.core.records import Document, Identity
from embedpipe.pages.documents import Limits
from embedpipe.pages.walking import FoundFile, identify
from embedpipe.store.features import FeatureStore
from embedpipe.store.label_history import History
from embedpipe.store.labels import Labels

_logger = logging.getLogger(__name__)

_SOURCES = pa.schema(
    {"path": pa.string(), "sha256": pa.string(), "size": pa.int64(), "mtime_ns": pa.int64(), "reader": pa.string()}
)


FINETUNED = "finetuned:"
"""Begins the name of a backbone that was fine-tuned here."""


class Sources:
    """Where each document was last seen. A hint only: it can be lost and is filled again by the next run.

    Attributes:
        damaged: Whether there is a table that cannot be read.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._documents: dict[str, Document] = {}
        self._paths: dict[str, list[str]] = {}
        self.damaged = file.exists()
        with contextlib.suppress(OSError, ValueError, pa.ArrowException):
            table = pq.read_table(file, page_checksum_verification=True)
            rows = table.to_pylist() if table.schema.remove_metadata() == _SOURCES else []
            self.damaged = table.schema.remove_metadata() != _SOURCES
            for row in rows:
                self.add(Document(**{**row, "path": text_to_path(row["path"])}))

    def __len__(self) -> int:
        """Number of paths."""
        return len(self._documents)

    def add(self, document: Document) -> None:
        """Notes a document's place."""
        old = self._documents.get(document.path)
        if old is not None and old.sha256 != document.sha256:
            self._paths[old.sha256].remove(document.path)
        if old is None or old.sha256 != document.sha256:
            self._paths.setdefault(document.sha256, []).append(document.path)
        self._documents[document.path] = document

    def unchanged(self, found: FoundFile) -> Document | None:
        """The document at a path if its size and time of change are still those that were hashed."""
        document = self._documents.get(found.path)
        if document and (document.size, document.mtime_ns) == (found.size, found.mtime_ns):
            return document
        return None

    def document(self, sha256: str) -> Document | None:
        """The document as it lies on disk now, or None where no file with its content is left."""
        return next((found for path in self._paths.get(sha256, []) if (found := self._as_it_was(path, sha256))), None)

    def _as_it_was(self, path: str, sha256: str) -> Document | None:
        """The document at a path if its content is still the same; a folder may have been copied without its times."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        found = FoundFile(path, status.st_size, status.st_mtime_ns, named=True, type_folder=None)
        document: object = self.unchanged(found)
        if document is None and status.st_size == self._documents[path].size:
            document = identify(found, Limits())
        return document if isinstance(document, Document) and document.sha256 == sha256 else None

    def path_of(self, sha256: str, otherwise: str) -> str:
        """A path at which the document is now, or was last."""
        paths = self._paths.get(sha256, [])
        return next((path for path in paths if os.path.exists(path)), paths[-1] if paths else otherwise)

    def paths(self, sha256: str) -> list[str]:
        """All places where a document was seen."""
        return list(self._paths.get(sha256, []))

    def copies(self) -> list[list[Document]]:
        """Documents of the same content that lie at several places now."""
        groups = []
        for sha256, paths in self._paths.items():
            several = paths if len(paths) > 1 else []
            here = [document for path in several if (document := self._as_it_was(path, sha256))]
            if len(here) > 1:
                groups.append(here)
        return groups

    def sha256_at(self, path: str) -> str | None:
        """Hash of the document at a path: known, or read from the file."""
        absolute = on_disk(os.path.abspath(path))
        try:
            status = os.stat(absolute)
        except OSError:
            forms = (absolute, *(unicodedata.normalize(form, absolute) for form in ("NFC", "NFD")))
            known = next((self._documents[form] for form in forms if form in self._documents), None)
            return known.sha256 if known else None
        found = FoundFile(absolute, status.st_size, status.st_mtime_ns, named=True, type_folder=None)
        document = self.unchanged(found) or identify(found, Limits())
        if not isinstance(document, Document):
            return None
        self.add(document)
        return document.sha256

    def known(self) -> set[str]:
        """SHA-256 of the documents whose place is known."""
        return set(self._paths)

    def holds(self, path: str) -> bool:
        """Whether a document is known at a path, or one of the same content elsewhere."""
        absolute = os.path.abspath(path)
        if absolute in self._documents:
            return True
        with contextlib.suppress(OSError):
            size = os.stat(absolute).st_size
            return any(d.size == size for d in self._documents.values()) and bool(
                self._paths.get(sha256_of(Path(path)))
            )
        return False

    def forget(self, sha256: str) -> None:
        """Removes every place of a document."""
        for path in self._paths.pop(sha256, []):
            del self._documents[path]

    def save(self) -> None:
        """Writes the table in one step."""
        fields = _SOURCES.names
        columns: dict[str, list[object]] = {
            name: [getattr(d, name) for d in self._documents.values()] for name in fields
        }
        columns["path"] = [path_to_text(d.path) for d in self._documents.values()]
        with replacing(self._file) as temporary:
            pq.write_table(pa.table(columns, schema=_SOURCES), temporary, compression="zstd", write_page_checksum=True)


class Workspace:
    """The folder `artifacts`.

    Attributes:
        root: The folder; it need not exist yet.
        share: It may be one that holds other files already.
    """

    def __init__(self, root: str | Path = "artifacts", *, share: bool = False) -> None:
        if not str(root).strip():
            raise ArtifactError("the folder of the artifacts has no name: is a variable not set?")
        self.root = Path(root)
        self.share = share
        self._told: set[str] = set()

    def claim(self) -> None:
        """Makes the folder if need be; raises ArtifactError where it holds other files and no artifacts."""
        claims.claim(self.root, share=self.share)

    @contextlib.contextmanager
    def writing(self, what: str) -> Iterator[None]:
        """Holds the lock of the one writer; raises ArtifactError naming who holds it, or as `claim` does."""
        self.claim()
        with writing(self.root, what, claims.FOLDERS):
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
        labels = Labels.load(self.labels_file, self.sources().sha256_at)
        self._tell(labels.problems())
        return labels

    def _tell(self, problems: Iterable[str]) -> None:
        for problem in problems:
            if problem not in self._told:
                _logger.warning("%s", problem)
                self._told.add(problem)

    def keep_labels(self, labels: Labels, command: str) -> None:
        """Writes labels.csv, and keeps what was there as a version; call it with the lock held.

        What was given two types in one go is warned of.

        Args:
            labels: All of them.
            command: Who changes them, for the history.

        Raises:
            ArtifactError: The disk is full, or cannot be written; the labels are as they were.
        """
        for path, types in labels.conflicts:
            _logger.warning("%s is labelled %s: it has no label now", path, " and ".join(types))
        self._tell(labels.look_alikes())

        def counts() -> tuple[int, int, int, int]:
            return labels.count, *labels.compared(Labels.load(self.labels_file, self.sources().sha256_at))

        history = self.label_history()
        if history.damage:
            _logger.warning("%s: the history of labels begins anew", history.damage)
        with history.changing(command, counts) as file:
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
        wanted = [
            name for name, identity in spaces.items() if backbone in (None, identity.backbone) and space in (None, name)
        ]
        if not wanted:
            raise UnknownNameError("backbone in the store", str(backbone), {i.backbone for i in spaces.values()})
        if len(wanted) > 1:
            raise ArtifactError(f"there are {len(wanted)} spaces: choose one with --space: {', '.join(wanted)}")
        return FeatureStore.open(self.store_path(wanted[0]))
