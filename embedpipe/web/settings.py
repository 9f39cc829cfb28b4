"""How a server was started: what it serves, who may ask, and what a request may cost."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from embedpipe.core.errors import ArtifactError
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.contract import Selection
from embedpipe.pages.documents import Limits
from embedpipe.pages.extras.ocr import Ocr
from embedpipe.store.workspace import Workspace

MEGABYTE = 1024**2


@dataclass(frozen=True, slots=True)
class NetworkWish:
    """The network as it was asked for on the command line; None and "auto" as there."""

    backbone: str | None = None
    weights: str | None = None
    device: str = "auto"
    precision: str = "auto"
    engine: str = "auto"


@dataclass(frozen=True, slots=True)
class Caps:
    """What requests may cost.

    Attributes:
        file_bytes: The largest file that is taken.
        total_bytes: Of all uploaded files that are kept.
        files: Files of one batch of uploads.
        free_bytes: Of the disk, that uploads leave free.
        labels: Decisions of one request.
        body_bytes: The largest body of JSON, or list of labels.
        waiting: Requests that may wait for the network, beside those that are worked on.
        lanes: Requests that are worked on at a time.
        jobs: Jobs that may wait.
    """

    file_bytes: int = 256 * MEGABYTE
    total_bytes: int = 8192 * MEGABYTE
    files: int = 2000
    free_bytes: int = 1024 * MEGABYTE
    labels: int = 100_000
    body_bytes: int = 16 * MEGABYTE
    waiting: int = 64
    lanes: int = 2
    jobs: int = 20


@dataclass(frozen=True, slots=True)
class ServeSettings:
    """How a server was started.

    Attributes:
        root: The artifacts.
        read_only: Nothing below the artifacts is changed.
        classifier: Name of the one that answers; None for the one that was fitted last.
        space: Name of the space; None for that of the classifier, or the only one.
        inboxes: Folders whose documents may be embedded by request.
        outbox: Folder that parts of piles are written to; None for none.
        hosts: Names, besides its addresses, by which the server may be asked.
        token: What every request has to bring; "" for none.
        network: The network that new pages go through.
        reading: How documents are read.
        caps: What requests may cost.
    """

    root: Path
    read_only: bool = False
    classifier: str | None = None
    space: str | None = None
    inboxes: tuple[Path, ...] = ()
    outbox: Path | None = None
    hosts: tuple[str, ...] = ()
    token: str = ""
    network: NetworkWish = field(default_factory=NetworkWish)
    reading: Settings = field(default_factory=Settings)
    caps: Caps = field(default_factory=Caps)

    def allowed(self) -> dict[str, Any]:
        """What a page has to know of the caps."""
        return {
            "file": self.caps.file_bytes,
            "total": self.caps.total_bytes,
            "files": self.caps.files,
            "labels": self.caps.labels,
        }


def reading_json(settings: Settings) -> dict[str, Any]:
    """How documents are read, as JSON can hold it, for the process of a job."""
    plain = {name: getattr(settings, name) for name in _PLAIN}
    ranges = [list(pair) for pair in settings.selection.ranges]
    return {**plain, "limits": asdict(settings.limits), "ranges": ranges, "ocr": settings.ocr.mode}


def reading_of(values: Mapping[str, Any]) -> Settings:
    """Reverses `reading_json`."""
    plain: dict[str, Any] = {
        name: tuple(value) if isinstance(value := values[name], list) else value for name in _PLAIN
    }
    selection = Selection(tuple((int(first), int(last)) for first, last in values["ranges"]))
    return Settings(**plain, selection=selection, limits=Limits(**values["limits"]), ocr=Ocr(values["ocr"]))


_PLAIN = ("passwords", "workers", "batch_size", "trust_mtime", "exclude", "follow_links", "strict")
"""Fields of `Settings` that JSON can hold as they are."""


class _ReadOnly(Workspace):
    """Artifacts that are only read; what has to be made of them is made in a folder aside."""

    def __init__(self, root: Path, aside: Path) -> None:
        super().__init__(root)
        self._aside = aside

    def claim(self) -> None:
        """Refuses; raises ArtifactError."""
        raise ArtifactError("this server was started with --read-only: nothing can be changed")

    def index_path(self, space: str) -> Path:
        """The folder of a space's index, aside."""
        return self._aside / "index" / space


def workspace_of(root: Path, aside: str | None) -> Workspace:
    """The artifacts; where they are only read, `aside` is a folder for what has to be made of them."""
    return Workspace(root) if aside is None else _ReadOnly(root, Path(aside))
