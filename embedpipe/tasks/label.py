"""Labels from where people keep them: folders whose names are the types, or a CSV; and back to earlier ones."""

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from embedpipe.core.display import on_disk, path_to_text
from embedpipe.core.errors import LabelsError
from embedpipe.core.files import is_temporary
from embedpipe.core.objects.places import is_folder
from embedpipe.core.objects.urls import absolute, is_url
from embedpipe.core.records import Document
from embedpipe.core.tables import write_csv
from embedpipe.pages.documents import Limits
from embedpipe.pages.unfolding import unfold
from embedpipe.pages.walking import FoundFile, walk
from embedpipe.store.label_lists.columns import Wish
from embedpipe.store.label_lists.history import Version
from embedpipe.store.label_lists.lines import BadLine
from embedpipe.store.labels import NONE, Label, Labels
from embedpipe.store.sorted_ledger import LEDGER, NOVEL, SortedFolders, refuse_unknown
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import decide

_PLACES = 3

_logger = logging.getLogger(__name__)


def take(
    workspace: Workspace, source: str, command: str = "label", *, none: bool = False, wish: Wish | None = None
) -> tuple[int, Labels]:
    """Adds the labels of a folder of type folders, or of a list (CSV or workbook), to the workspace.

    Of a folder that `classify --sort-into` filled, only what a person put or moved somewhere is a label.

    Args:
        workspace: Gets the labels.
        source: The folder or the list.
        command: Who takes them, for the history.
        none: Every document of the folder or list, or the file itself, is none of the types (`labels.NONE`).
        wish: What a person says about the list.

    Returns:
        How many were taken, and all labels; `conflicts` names the files that were given two types, `skipped` counts
        the lines of the list without a label, and `bad` lists those that cannot be understood.

    Raises:
        BadLinesError: Lines of the list cannot be understood; not where `wish.partial`.
        LabelsError: There are none, or the list cannot be understood.
    """
    source, sources = _as_named(source), workspace.sources()
    with workspace.writing("label"), workspace.changing_labels():
        labels = workspace.labels()
        if none and (new := _all_none(source)):
            count = labels.add(new)
        elif is_folder(source):
            refuse_unknown([source])
            new, not_taken = _of_folder(source)
            count = labels.add(new)
            if not new and not_taken:
                raise LabelsError(f"nothing in {source} is a label: {not_taken}; move what is wrong, and label again")
            if not count and not labels.conflicts:
                raise LabelsError(f"no documents below {source}: the folders in it are the types")
            _say(not_taken)
        else:
            given = Labels.from_csv(
                Path(source), sources.sha256_at, given=NONE if none else "", stored=sources.present(), wish=wish
            )
            _say(*given.notes)
            count = labels.add(given.rows.values())
            labels.conflicts += given.conflicts
            labels.skipped, labels.bad = given.skipped, given.bad
            if given.skipped and not count:
                raise LabelsError(f"no line of {source} has a label: fill in its column `label`")
        workspace.keep_labels(labels, f"{command} {path_to_text(source)}")
    return count, labels


def check(source: str) -> None:
    """Looks for what is wrong in a list of labels whatever documents there are: they may still have to be embedded.

    Args:
        source: A folder of type folders, in which nothing is wrong, or a list (CSV or workbook).

    Raises:
        BadLinesError: Lines of the list cannot be understood.
        LabelsError: The list cannot be understood.
    """
    source = _as_named(source)
    if not is_folder(source):
        Labels.from_csv(Path(source), lambda path: path)  # each document counts as found


BAD_COLUMNS = ("line", "cell", "value", "reason")
"""Of the CSV of lines that give no label."""


def save_bad_lines(lines: Iterable[BadLine], file: Path) -> None:
    """Writes the lines of a list that give no label, each with its reason."""
    write_csv(file, BAD_COLUMNS, ({name: getattr(line, name) for name in BAD_COLUMNS} for line in lines))


def read(workspace: Workspace, source: str) -> dict[str, str]:
    """Reads the types of documents without keeping them.

    Args:
        workspace: Where known files are looked up.
        source: A folder of type folders, or a list (CSV or workbook).

    Returns:
        The type of each document by its SHA-256; documents with two types have none.

    Raises:
        LabelsError: There are none, or the CSV cannot be understood.
    """
    source = _as_named(source)
    if is_folder(source):
        refuse_unknown([source])
        labels = Labels()
        new, not_taken = _of_folder(source)
        labels.add(new)
        _say(not_taken)
    else:
        sources = workspace.sources()
        labels = Labels.from_csv(Path(source), sources.sha256_at, stored=sources.present())
        _say(*labels.notes)
    for path, kinds in labels.conflicts:
        _logger.warning("%s is labelled %s: it is left out", path, " and ".join(kinds))
    types = {sha256: label.label for (sha256, page), label in labels.rows.items() if not page}
    if not types:
        raise LabelsError(f"no documents with a type in {source}: the folders in it are the types, or use --labels")
    return types


def take_folders(workspace: Workspace, found: Iterable[tuple[Document, str | None]], command: str) -> None:
    """Labels documents that were found in folders of types; call it with the lock held.

    Args:
        workspace: Gets the labels.
        found: Documents, each with the folder directly below the input.
        command: Who takes them, for the history.
    """
    folders = SortedFolders()
    kinds = [(document, folders.type_of(document.path, folder)) for document, folder in _in_type_folders(list(found))]
    with workspace.changing_labels():
        labels = workspace.labels()
        labels.add(Label(d.sha256, d.path, path_to_text(kind)) for d, kind in kinds if kind is not None)
        _say(folders.told())
        workspace.keep_labels(labels, command)


def _in_type_folders(found: list[tuple[Document, str | None]]) -> list[tuple[Document, str | None]]:
    """Documents with the folders that are their types; says what was done where the inputs do not show them.

    A shell makes of `documents/*` the type folders themselves, or files in them. Where nothing lies deeper, and the
    folders all lie in one, they are the types; else nobody can tell.
    """
    loose = [document for document, folder in found if folder is None]
    folders = {os.path.dirname(document.path) for document in loose}
    above = {os.path.dirname(folder) for folder in folders}
    if not loose:
        return found
    if len(loose) == len(found) and len(folders) > 1 and len(above) == 1:
        names = ", ".join(sorted({path_to_text(os.path.basename(folder)) for folder in folders}))
        _say(f"the documents lie directly in the inputs, so the folders that they lie in are their types: {names}")
        return [(document, os.path.basename(os.path.dirname(document.path))) for document in loose]
    places = ", ".join(sorted(map(path_to_text, folders))[:_PLACES])
    _say(
        f"{len(loose)} of {len(found)} documents got no label: they lie directly in an input ({places}), and types are "
        "the folders below the inputs: give the folder above the types, without /*"
    )
    return found


def follow_files(workspace: Workspace, changed: Iterable[tuple[Document, Document]]) -> int:
    """Gives the labels of files whose content changed to what is there now; call it with the lock held.

    To a person a file that was saved again is the same document. A label stays with the earlier version as well where
    that lies somewhere else; one that the new content has already is left alone.

    Args:
        workspace: Has the labels, and the sources as they are now.
        changed: What was at a path, and what is there now.

    Returns:
        How many labels went along.
    """
    changed = list(changed)
    if not changed or not workspace.labels_file.exists():
        return 0
    with workspace.changing_labels():
        return _follow(workspace, changed)


def _follow(workspace: Workspace, changed: Iterable[tuple[Document, Document]]) -> int:
    """Does what `follow_files` says."""
    labels, sources = workspace.labels(), workspace.sources()
    own: dict[str, list[Label]] = {}
    for row in labels.rows.values():
        own.setdefault(row.document_sha256, []).append(row)
    new: list[Label] = []
    for before, now in changed:
        for row in own.get(before.sha256, ()):
            if (now.sha256, row.page_number) not in labels.rows:
                new.append(replace(row, document_sha256=now.sha256, path=now.path))
                labels.more.setdefault((now.sha256, row.page_number), labels.more.get(row.key, {}))
    left = {before.sha256 for before, _ in changed if before.sha256 in own and sources.standing(before.sha256)}
    count = labels.add(new)
    for key in [key for key in labels.rows if key[0] in left]:
        del labels.rows[key]
    if new or left:
        workspace.keep_labels(labels, "embed")
    return count


def forget_labels(workspace: Workspace, documents: Iterable[str]) -> int:
    """Removes the labels of documents, by SHA-256, from labels.csv and its versions; call it with the lock held.

    Returns:
        How many labels labels.csv had of them.
    """
    hashes, sources = set(documents), workspace.sources()
    with workspace.changing_labels():
        labels = workspace.labels()
        paths = {path for sha256 in hashes for path in sources.paths(sha256)}
        paths |= {row.path for row in labels.rows.values() if row.document_sha256 in hashes}
        count, kept = labels.count, len(labels.kept)
        labels.forget(hashes, paths)
        if (count, kept) != (labels.count, len(labels.kept)):
            workspace.keep_labels(labels, "forget")
        workspace.label_history().forget(hashes | set(map(path_to_text, paths)))
        decide.forget(workspace, hashes)
    return count - labels.count


@dataclass(frozen=True, slots=True)
class Undone:
    """A step through the versions of labels.csv.

    Attributes:
        left: The version that was in use.
        now: The one that is in use now.
        added: Labels of what had none.
        changed: Labels that are others now.
        removed: Labels that are gone.
        labels: All labels now.
    """

    left: Version
    now: Version
    added: int
    changed: int
    removed: int
    labels: Labels


def undo(workspace: Workspace, number: int | None = None) -> Undone:
    """Takes labels.csv back to an earlier version, or forward to a later one; every version stays.

    Args:
        workspace: The artifacts.
        number: Of the version; None for the one that the present was made from, so that each call goes further back.

    Raises:
        ArtifactError: There is no such version, or it is damaged.
    """
    with workspace.writing("label --undo"), workspace.changing_labels():
        before = workspace.labels()
        left, now = workspace.label_history().back(number)
        labels = workspace.labels()
    return Undone(left, now, *labels.compared(before), labels)


def history_json(workspace: Workspace) -> dict[str, Any]:
    """The versions of labels.csv as the command line prints them, newest first.

    Raises:
        ArtifactError: Their list is damaged.
    """
    history = workspace.label_history()
    history.require()
    in_use = history.in_use()
    fields = ("when", "command", "labels", "added", "changed", "removed", "before")
    return {
        "in_use": in_use.number if in_use else None,
        "versions": [
            {"version": v.number, **{name: getattr(v, name) for name in fields}} for v in reversed(history.versions)
        ],
    }


def _all_none(source: str) -> list[Label]:
    """Every document of a folder, however deep, or a file, as none of the types; nothing for any other file.

    Raises:
        LabelsError: The folder holds none; or it is a whole sorted folder, which holds documents of types.
    """
    if os.path.exists(os.path.join(source, LEDGER)):
        raise LabelsError(f"{source} was filled by `classify --sort-into`: name the folder in it, such as {NOVEL}")
    found = [item for item in walk([source]) if isinstance(item, FoundFile)]
    files = [item for item in found if not is_temporary(os.path.basename(item.path))]
    documents = [item for file in files for item in unfold(file, Limits())]
    labels = [Label(item.sha256, item.path, NONE) for item in documents if isinstance(item, Document)]
    if not labels and is_folder(source):
        raise LabelsError(f"no documents below {source}: all that are below it are to be none of the types")
    return labels


def _of_folder(folder: str) -> tuple[list[Label], str]:
    """The labels that people gave by folders, and what was no label."""
    labels, folders = [], SortedFolders()
    for found in walk([folder]):
        if isinstance(found, FoundFile) and not is_temporary(os.path.basename(found.path)):
            documents = [item for item in unfold(found, Limits()) if isinstance(item, Document)]
            kind = folders.type_of(found.path, found.type_folder) if documents else None
            if kind is not None:
                labels += [Label(document.sha256, document.path, path_to_text(kind)) for document in documents]
    return labels, folders.told()


def _as_named(source: str) -> str:
    """A source as it is on the disk, or its URL."""
    return absolute(source) if is_url(source) else on_disk(source)


def _say(*notes: str) -> None:
    for note in filter(None, notes):
        _logger.warning("%s", note)
