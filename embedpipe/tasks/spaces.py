"""`spaces`: what spaces there are, and removing one with its index."""

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, UnknownNameError
from embedpipe.core.files import read_json
from embedpipe.core.objects.urls import is_url
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace

STAYS = "labels, words, small pictures and other spaces stay"
_REMOVED = ".removed-"
"""Begins the name of a folder that is being removed: it goes in one step, and a killed process leaves only that."""


@dataclass(frozen=True, slots=True)
class Space:
    """A space and what would be lost with it.

    Attributes:
        space: Its name.
        backbone: The network that its features are of.
        pages: Pages with features.
        documents: Their documents.
        gone: Documents whose files are not where they were: their features could not be made again.
        megabytes: Of features, variants and index.
        classifiers: Those that were fitted on it: they still answer, and could not be fitted or measured again.
    """

    space: str
    backbone: str
    pages: int
    documents: int
    gone: int
    megabytes: float
    classifiers: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        return asdict(self)

    def losses(self) -> list[str]:
        """What would be lost, a line each."""
        lines = [f"{self.space}: features of {self.pages} pages of {self.documents} documents, {self.megabytes} MB"]
        if self.gone:
            lines.append(f"the files of {self.gone} of these documents are gone: they could not be embedded again")
        if self.classifiers:
            lines.append(
                f"classifiers fitted on it: {', '.join(self.classifiers)}: they still answer for new files, and can be "
                "fitted and measured no more"
            )
        return lines


def take(workspace: Workspace) -> list[Space]:
    """All spaces, by name; also those that cannot be read, as far as they can."""
    return [_space(workspace, name) for name in _names(workspace)]


def _names(workspace: Workspace) -> list[str]:
    listed = [manifest.parent.name for manifest in workspace.root.glob("features/*/manifest.json")]
    return sorted({*listed, *workspace.without_manifest()})


def find(workspace: Workspace, name: str) -> Space:
    """One space; raises UnknownNameError where there is none of that name."""
    known = _names(workspace)
    if name not in known:
        raise UnknownNameError("space", name, known)
    return _space(workspace, name)


def _space(workspace: Workspace, name: str) -> Space:
    backbone, documents, pages = "damaged", set[str](), 0
    try:
        store = FeatureStore.open(workspace.store_path(name))
        backbone, table = store.identity.backbone, store.table()
        pages, documents = table.num_rows, set(table["document_sha256"].unique().to_pylist())
    except ArtifactError:
        pass  # it can be removed all the same
    sources = workspace.sources()
    gone = sum(not any(is_url(path) or os.path.exists(path) for path in sources.paths(sha256)) for sha256 in documents)
    folders = (workspace.store_path(name), workspace.index_path(name))
    size = sum(file.stat().st_size for folder in folders for file in folder.rglob("*") if file.is_file())
    fitted = tuple(classifier for classifier in workspace.classifiers() if _space_of(workspace, classifier) == name)
    return Space(name, backbone, pages, len(documents), gone, round(size / 1e6, 1), fitted)


def _space_of(workspace: Workspace, classifier: str) -> str:
    try:
        return str(read_json(workspace.classifier_path(classifier) / versions.MANIFEST).get("space", ""))
    except ArtifactError:
        return ""


def remove(workspace: Workspace, name: str) -> None:
    """Removes a space: features, variants, failures and index.

    Raises:
        UnknownNameError: There is no such space.
        ArtifactError: Another process writes, or the folder cannot be removed: nothing is changed then.
    """
    with workspace.writing("spaces --remove"):
        find(workspace, name)
        remove_folders(workspace.root, (workspace.index_path(name), workspace.store_path(name)))


def remove_folders(root: Path, folders: tuple[Path, ...]) -> None:
    """Removes folders of the artifacts, each in one step; call it with the lock held.

    Raises:
        ArtifactError: One cannot be removed.
    """
    try:
        for number, folder in enumerate(folders):
            if folder.is_dir():
                os.replace(folder, root / f"{_REMOVED}{os.getpid()}-{number}")
    except OSError as error:
        raise ArtifactError(f"cannot remove {folder}: {error.strerror or error}") from error
    for left in root.glob(f"{_REMOVED}*"):  # also what a killed process left
        shutil.rmtree(left, ignore_errors=True)
