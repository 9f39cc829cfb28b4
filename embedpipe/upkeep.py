"""Changes to what is kept: forgetting documents, handing classifiers to other programs."""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import joblib

from embedpipe.classifiers import ClassifierBundle
from embedpipe.errors import EmbedpipeError
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
    """Removes documents from features, failures, labels, sources and indexes of every space.

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
            writer = FeatureWriter(FeatureStore.open(workspace.store_path(space)), {})
            rows += writer.forget(set(hashes))
            shutil.rmtree(workspace.index_path(space), ignore_errors=True)  # built again when it is needed
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


def export_joblib(bundle: ClassifierBundle, file: Path) -> None:
    """Writes the fitted scikit-learn pipeline as a joblib pickle, for other programs; embedpipe never loads one."""
    with replacing(file) as temporary:
        joblib.dump(bundle.pipeline, temporary)
