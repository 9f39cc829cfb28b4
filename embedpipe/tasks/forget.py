"""`forget`: documents removed from features, cues, failures, labels and sources, and what learnt from them."""

import contextlib
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field

from embedpipe.classifiers.saved.on_disk import may_have_learnt, variant_folders
from embedpipe.core import claims, versions
from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.files import read_json
from embedpipe.core.objects.places import is_folder
from embedpipe.core.objects.urls import absolute
from embedpipe.embedding import cue_table, kind_table
from embedpipe.pages.converting import kept as converted
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import is_sha256
from embedpipe.store.page_extras import TABLES, ExtrasWriter
from embedpipe.store.workspace import FINETUNED, Sources, Workspace
from embedpipe.tasks.label import forget_labels


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
    """Removes documents from every space with its index, and their variants, thumbnails, words, cues and labels.

    Also from the shards of a job that lie in the artifacts, and from what the server has computed.

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
            for folder in variant_folders(workspace.store_path(space)):
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
        extras = ExtrasWriter(workspace.root, TABLES)
        known |= extras.documents()
        extras.forget(set(hashes))
        for sha256 in hashes:
            converted.forget(sha256)
        cue_table.forget(workspace, set(hashes))
        kind_table.forget(workspace, set(hashes))
        _forget_copies(workspace, hashes)
    here = [sha256 for sha256 in hashes if sha256 in known]
    unknown = [document for sha256, document in wanted.items() if sha256 not in known]
    taught = _taught(workspace, here) if here else {}
    trained = _trained(workspace, set(here)) if here else []
    return Forgotten(here, rows, labels_gone, list(taught), taught, trained, unknown)


def _forget_copies(workspace: Workspace, hashes: list[str]) -> None:
    """Removes documents from shards, which the next run of their job merges again, and what the server computed."""
    for folder in workspace.shards():
        forget(Workspace(folder), hashes)
    shutil.rmtree(workspace.root / claims.SERVE / "derived", ignore_errors=True)


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
    top = absolute(path)
    paths = sources.below(top) if is_folder(top) or not sources.holds(top) else [top]
    found: dict[str, None] = {}
    for place in paths or [top]:
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
