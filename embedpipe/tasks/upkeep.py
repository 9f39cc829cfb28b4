"""Changes to what is kept: forgetting documents, going back to earlier classifiers, exporting them."""

import contextlib
import os
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
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import is_sha256
from embedpipe.store.workspace import FINETUNED, Sources, Workspace
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


def forget(workspace: Workspace, documents: Iterable[str], *, gone: bool = False) -> Forgotten:
    """Removes documents from features, variants, failures, cues, labels, sources and indexes of every space.

    With a file go its earlier versions, but for those that lie elsewhere as they are. Classifiers and networks that
    learnt from the documents stay, and are named.

    Args:
        workspace: The artifacts.
        documents: Paths of files, or of folders for all that is known below them, or SHA-256 of contents; files that
            are gone are found by where they were.
        gone: Also all documents that are not current: earlier versions, and those whose files are gone or passed over.

    Raises:
        EmbedpipeError: A document is not known; then nothing is removed.
    """
    with workspace.writing("forget"):
        sources, labels = workspace.sources(), workspace.labels()
        known = sources.known() | {sha256 for sha256, _ in labels.rows} | cue_table.documents(workspace)
        wanted: dict[str, str] = {}
        stored = _stored_places(workspace)
        for document in documents:
            hashes_of = [document] if is_sha256(document) else _versions(sources, stored, document)
            if not hashes_of:
                raise EmbedpipeError(f"{document} is neither a document nor a SHA-256: nothing was removed")
            for sha256 in hashes_of:
                wanted.setdefault(sha256, document)
        for sha256, places in (stored if gone else {}).items():
            if any(sources.standing(sha256, place) for place in places):
                wanted.setdefault(sha256, sha256)
        hashes, rows = list(wanted), 0
        for space in workspace.spaces():
            for folder in variants.folders(workspace.store_path(space)):
                kept = FeatureWriter(FeatureStore.open(folder), {})
                known |= kept.documents()
                kept.forget(set(hashes))
            writer = FeatureWriter(FeatureStore.open(workspace.store_path(space)), {})
            known |= writer.documents()
            rows += writer.forget(set(hashes))
        labels_gone = forget_labels(workspace, hashes)
        for sha256 in hashes:
            sources.forget(sha256)
        sources.save()
        cue_table.forget(workspace, set(hashes))
        kind_table.forget(workspace, set(hashes))
    here = [sha256 for sha256 in hashes if sha256 in known]
    unknown = [document for sha256, document in wanted.items() if sha256 not in known]
    taught = _taught(workspace, here) if here else {}
    trained = _trained(workspace, set(here)) if here else []
    return Forgotten(here, rows, labels_gone, list(taught), taught, trained, unknown)


def _stored_places(workspace: Workspace) -> dict[str, set[str]]:
    """Where each document, or what failed of one, was when it was stored, over all spaces; from sources as well."""
    places: dict[str, set[str]] = {}
    for space in workspace.spaces():
        store = FeatureStore.open(workspace.store_path(space))
        pages = store.pages().drop_duplicates("document_sha256")
        for sha256, source in zip(pages["document_sha256"], pages["source"], strict=True):
            places.setdefault(sha256, set()).add(source)
        for failure in store.failures():
            if failure.page.document_sha256:
                places.setdefault(failure.page.document_sha256, set()).add(failure.page.source)
    for sha256 in workspace.sources().known():
        places.setdefault(sha256, {""})
    return places


def _versions(sources: Sources, stored: dict[str, set[str]], path: str) -> list[str]:
    """What is, and was, at the path of a file, or at those below a folder; nothing where it is unknown."""
    absolute = os.path.abspath(path)
    paths = sources.below(absolute) if os.path.isdir(absolute) or not sources.holds(absolute) else [absolute]
    found: dict[str, None] = {}
    for place in paths or [absolute]:
        sha256 = sources.sha256_at(place)
        found.update(dict.fromkeys([*([sha256] if sha256 else []), *sources.versions_at(place)]))
        found.update(dict.fromkeys(s for s, at in stored.items() if place in at and sources.standing(s, place)))
    return list(found)


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
