"""Whether the artifacts are what their manifests say: every file of every kind, also what no manifest lists."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from embedpipe.classifiers.finetuned import WEIGHTS, check_weights
from embedpipe.classifiers.saved.on_disk import check_model, variant_folders
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.files import read_json
from embedpipe.embedding import cue_table
from embedpipe.index import inventory
from embedpipe.store import page_extras
from embedpipe.store.features import FeatureStore, unlisted
from embedpipe.store.parts import aside
from embedpipe.store.workspace import Workspace

_MANIFEST = "manifest.json"
_CHECKPOINT = "checkpoint.pt"
_FACTS = ("name", "space", "classes", "metrics", "fitted_on")
"""What the manifest of a classifier must say."""


@dataclass(slots=True)
class Findings:
    """What was found.

    Attributes:
        problems: What is damaged, missing or lost, a line each that says what to do.
        notes: What no manifest lists and nothing depends on.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def noting(self) -> Iterator[None]:
        """Takes an error for a problem."""
        try:
            yield
        except EmbedpipeError as error:
            self.problems.append(str(error))


def examine(workspace: Workspace) -> Findings:
    """Compares every file with what is said of it: features, variants, index, classifiers, networks, and the tables."""
    found = Findings()
    _tables(workspace, found)
    _extras(workspace, found)
    for folder in _folders(workspace.root / "features"):
        _store(folder, found, "run `embed` again on the files, which lists the parts anew")
        for own in sorted({file.parent for file in folder.glob("variants/*/*/part-*")} | {*variant_folders(folder)}):
            _store(own, found, "the next fit with --augment lists the parts anew")
    for folder in _folders(workspace.root / "index"):
        with found.noting():
            _index(folder, found)
    for folder in _folders(workspace.root / "classifiers"):
        with found.noting():
            _classifier(folder, found)
    for folder in _folders(workspace.root / "backbones"):
        with found.noting():
            _backbone(folder, found)
    return found


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.glob("*") if path.is_dir())


def _tables(workspace: Workspace, found: Findings) -> None:
    with found.noting():
        found.problems += workspace.labels().without_label()
    if workspace.sources().damaged:
        found.problems.append(f"{workspace.root / 'sources.parquet'}: damaged; the next `embed` of the files fills it")
    if cue_table.is_damaged(workspace):
        found.problems.append(f"{workspace.root / 'cues.parquet'}: damaged; cues are read again when they are needed")


def _extras(workspace: Workspace, found: Findings) -> None:
    """Thumbnails and words."""
    for name in page_extras.TABLES:
        table = page_extras.page_table(workspace.root, name)
        found.problems += table.verify()
        listed = {part.name for part in table.parts}
        found.notes += [
            f"{file}: not listed, as a killed run leaves it; the next `embed` takes it in or removes it"
            for file in table.files()
            if file.name not in listed
        ]
    for file in aside(workspace.root / "pages"):
        found.notes.append(f"{file}: put aside as damaged; what it kept of pages is made again when they are met")


def _store(folder: Path, found: Findings, remedy: str) -> None:
    """Of features, or of variants, which are in the format of a store."""
    if not (folder / _MANIFEST).exists():
        if any(folder.glob("part-*")) or any(folder.glob("contents-*")):
            found.problems.append(f"{folder / _MANIFEST}: missing; {remedy}")
        return
    with found.noting():
        store = FeatureStore.open(folder)
        found.problems += store.verify()
        listed = {folder / part.name for part in store.listed}
        lost = store.lost()
        counts = dict(zip(lost.files, lost.counts, strict=True))
        for file in (file for file in lost.files if file not in listed):
            pages, documents = counts[file]
            found.problems.append(
                f"{file}: {_state(file)}, with {pages} pages of {documents} documents that are not there again; run "
                "`embed` again on their files"
            )
        found.problems += [
            f"{file}: put aside as damaged, and what it held is not known; run `embed` again on all files, then "
            "remove it"
            for file in lost.unread
            if file not in listed
        ]
        for file in aside(folder):
            if file not in (*lost.files, *lost.unread):
                found.notes.append(f"{file}: put aside as damaged; what it held is there again, so it may be removed")
        for file in unlisted(store):
            found.notes.append(f"{file}: not listed, as a killed run leaves it; the next run takes it in or removes it")


def _state(file: Path) -> str:
    """Why a part is no part of its store."""
    if not file.exists():
        return "gone"
    return "not listed" if file.suffix == ".parquet" else "put aside as damaged"


def _index(folder: Path, found: Findings) -> None:
    files = [file for file in folder.iterdir() if file.suffix in (".faiss", ".arrow", ".npz")]
    if not (folder / _MANIFEST).exists():
        if files:
            found.problems.append(f"{folder / _MANIFEST}: missing; it is built again when needed")
        return
    manifest = read_json(folder / _MANIFEST)
    listed = manifest.get("files")
    if not isinstance(listed, dict) or not listed:
        found.problems.append(f"{folder / _MANIFEST}: lists no files; it is built again when needed")
        return
    found.problems += inventory.verify(folder, manifest)
    strays = (file for file in sorted(files) if file.name not in listed)
    found.notes += [f"{file}: not listed, as a killed run leaves it; the next `index` removes it" for file in strays]


def _classifier(folder: Path, found: Findings) -> None:
    """Every version: an earlier one may be wanted again."""
    finished = versions.numbers(folder)
    if not finished:
        if any(folder.rglob("model.skops")):
            found.problems.append(f"{folder}: no version has a manifest; fit it again")
        return
    with found.noting():
        current = versions.current(folder)
        if current not in finished:
            found.problems.append(
                f"{folder / 'current.json'}: names version {current}, which is not there; `classifiers --rollback "
                f"{folder.name} {finished[-1]}` takes another"
            )
    for number in finished:
        with found.noting():
            _version(versions.path_of(folder, number))
    unfinished = (path for path in _folders(folder / "versions") if not (path / versions.MANIFEST).exists())
    found.notes += [f"{path}: not finished, as a killed run leaves it; the next fit removes it" for path in unfinished]


def _version(folder: Path) -> None:
    manifest = read_json(folder / versions.MANIFEST)
    check_model(folder, manifest)
    lacking = [name for name in _FACTS if name not in manifest]
    if lacking:
        raise ArtifactError(f"{folder / versions.MANIFEST} is damaged: it lacks {', '.join(lacking)}; fit it again")


def _backbone(folder: Path, found: Findings) -> None:
    if (folder / _MANIFEST).exists():
        check_weights(folder, read_json(folder / _MANIFEST))
    elif (folder / _CHECKPOINT).exists():
        found.notes.append(f"{folder}: not finished; the same `finetune` goes on from there")
    elif (folder / WEIGHTS).exists():
        found.problems.append(f"{folder / _MANIFEST}: missing; fine-tune it again")
