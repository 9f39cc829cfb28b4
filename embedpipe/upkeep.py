"""Changes to what is kept: forgetting documents, going back to earlier classifiers, handing them to other programs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import joblib

from embedpipe import variants, versions
from embedpipe.classifiers import ClassifierBundle
from embedpipe.errors import EmbedpipeError, UnknownNameError
from embedpipe.features import FeatureStore, FeatureWriter
from embedpipe.files import replacing
from embedpipe.labels import is_sha256
from embedpipe.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` removed.

    Attributes:
        documents: Their hashes.
        rows: Pages and failures, over all spaces.
        labels: Labels.
        classifiers: Names of those that were fitted before; they may have learnt from the documents.
    """

    documents: list[str]
    rows: int
    labels: int
    classifiers: list[str]


def forget(workspace: Workspace, documents: Iterable[str]) -> Forgotten:
    """Removes documents from features, variants, failures, labels, sources and indexes of every space.

    Args:
        workspace: The artifacts.
        documents: Paths, or SHA-256 of contents; files that are gone are found by where they were.

    Raises:
        EmbedpipeError: A document is not known; then nothing is removed.
    """
    with workspace.writing("forget"):
        sources = workspace.sources()
        hashes = []
        for document in documents:
            sha256 = document if is_sha256(document) else sources.sha256_at(document)
            if sha256 is None:
                raise EmbedpipeError(f"{document} is neither a document nor a SHA-256: nothing was removed")
            hashes.append(sha256)
        rows = 0
        for space in workspace.spaces():
            for folder in variants.folders(workspace.store_path(space)):
                FeatureWriter(FeatureStore.open(folder), {}).forget(set(hashes))
            writer = FeatureWriter(FeatureStore.open(workspace.store_path(space)), {})
            rows += writer.forget(set(hashes))
        labels = workspace.labels()
        gone = [key for key in labels.rows if key[0] in hashes]
        for key in gone:
            del labels.rows[key]
        if gone:
            labels.save(workspace.labels_file)
        for sha256 in hashes:
            sources.forget(sha256)
        sources.save()
    return Forgotten(hashes, rows, len(gone), workspace.classifiers())


def roll_back(workspace: Workspace, name: str, number: int | None = None) -> int:
    """Makes another version of a classifier the one in use; every version stays, so this can be undone.

    Args:
        workspace: The artifacts.
        name: Of the classifier.
        number: Of the version; None for the newest one before that in use.

    Returns:
        The number of the version in use now.

    Raises:
        UnknownNameError: There is no such classifier.
        ArtifactError: There is no such version, or it is damaged: nothing is changed then.
    """
    with workspace.writing("classifiers --rollback"):
        folder = _classifier_folder(workspace, name)
        number = versions.before(folder) if number is None else number
        if number in versions.numbers(folder):
            ClassifierBundle.load(versions.path_of(folder, number))
        versions.use(folder, number)
    return number


def prune(workspace: Workspace, name: str) -> int:
    """Removes all versions of a classifier but the one in use; returns how many.

    Raises:
        UnknownNameError: There is no such classifier.
    """
    with workspace.writing("classifiers --prune"):
        return versions.prune(_classifier_folder(workspace, name), 0)


def _classifier_folder(workspace: Workspace, name: str) -> Path:
    known = workspace.classifiers()
    if name not in known:
        raise UnknownNameError("classifier", name, known)
    return workspace.classifier_folder(name)


def export_joblib(bundle: ClassifierBundle, file: Path) -> None:
    """Writes the fitted scikit-learn pipeline as a joblib pickle, for other programs; embedpipe never loads one."""
    with replacing(file) as temporary:
        joblib.dump(bundle.pipeline, temporary)
