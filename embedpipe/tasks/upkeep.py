"""Changes to what is kept: forgetting documents, going back to earlier classifiers, exporting them."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import joblib

from embedpipe.classifiers import variants
from embedpipe.classifiers.bundles import ClassifierBundle, may_have_learnt
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, EmbedpipeError, UnknownNameError
from embedpipe.core.files import read_json
from embedpipe.core.outputs import TRAILER, written
from embedpipe.embedding import cue_table, kind_table
from embedpipe.store.features import FeatureStore, FeatureWriter
from embedpipe.store.labels import is_sha256
from embedpipe.store.workspace import FINETUNED, Workspace
from embedpipe.tasks.label import forget_labels

_COMPRESSED = {".z": "zlib", ".gz": "gzip", ".bz2": "bz2", ".xz": "xz", ".lzma": "lzma"}
"""As joblib derives it from the name of a file."""


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What `forget` removed.

    Attributes:
        documents: The hashes of those of which anything was kept.
        rows: Pages and failures, over all spaces.
        labels: Labels.
        classifiers: Names of those that learnt from the documents, or of which that is not known.
        versions: Their versions that did, by name.
        backbones: Fine-tuned ones that were trained or validated on the documents, or of which that is not known.
        unknown: What was asked to be forgotten and was never stored, as it was named.
    """

    documents: list[str]
    rows: int
    labels: int
    classifiers: list[str]
    versions: dict[str, list[int]]
    backbones: list[str]
    unknown: list[str] = field(default_factory=list)


def forget(workspace: Workspace, documents: Iterable[str]) -> Forgotten:
    """Removes documents from features, variants, failures, cues, labels, sources and indexes of every space.

    Classifiers and networks that learnt from them stay, and are named.

    Args:
        workspace: The artifacts.
        documents: Paths, or SHA-256 of contents; files that are gone are found by where they were.

    Raises:
        EmbedpipeError: A document is not known; then nothing is removed.
    """
    with workspace.writing("forget"):
        sources, labels = workspace.sources(), workspace.labels()
        known = sources.known() | {sha256 for sha256, _ in labels.rows} | cue_table.documents(workspace)
        wanted: dict[str, str] = {}
        for document in documents:
            sha256 = document if is_sha256(document) else sources.sha256_at(document)
            if sha256 is None:
                raise EmbedpipeError(f"{document} is neither a document nor a SHA-256: nothing was removed")
            wanted.setdefault(sha256, document)
        hashes, rows = list(wanted), 0
        for space in workspace.spaces():
            for folder in variants.folders(workspace.store_path(space)):
                kept = FeatureWriter(FeatureStore.open(folder), {})
                known |= kept.documents()
                kept.forget(set(hashes))
            writer = FeatureWriter(FeatureStore.open(workspace.store_path(space)), {})
            known |= writer.documents()
            rows += writer.forget(set(hashes))
        gone = forget_labels(workspace, hashes)
        for sha256 in hashes:
            sources.forget(sha256)
        sources.save()
        cue_table.forget(workspace, set(hashes))
        kind_table.forget(workspace, set(hashes))
    stored = [sha256 for sha256 in hashes if sha256 in known]
    unknown = [document for sha256, document in wanted.items() if sha256 not in known]
    taught = _taught(workspace, stored) if stored else {}
    trained = _trained(workspace, set(stored)) if stored else []
    return Forgotten(stored, rows, gone, list(taught), taught, trained, unknown)


def _taught(workspace: Workspace, hashes: list[str]) -> dict[str, list[int]]:
    """Versions of classifiers that learnt from documents, by name."""
    found = {}
    for name in workspace.classifiers():
        folder = workspace.classifier_folder(name)
        taught = [n for n in versions.numbers(folder) if may_have_learnt(versions.path_of(folder, n), hashes)]
        if taught:
            found[name] = taught
    return found


def _trained(workspace: Workspace, hashes: set[str]) -> list[str]:
    """Fine-tuned networks that were trained or validated on documents."""
    found = []
    for name in workspace.backbones():
        known: set[str] | None = None
        with contextlib.suppress(ArtifactError, KeyError, TypeError, AttributeError):
            sides = read_json(workspace.backbone_path(name) / versions.MANIFEST)["documents"]
            known = {sha256 for side in sides.values() for sha256 in side}
        if known is None or known & hashes:
            found.append(f"{FINETUNED}{name}")
    return found


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
    compress = _COMPRESSED.get(file.suffix)
    with written(file) as temporary:
        joblib.dump(bundle.pipeline, temporary, compress=(compress, 3) if compress else 0)
        if not compress:
            with open(temporary, "ab") as content:
                content.write(TRAILER)
