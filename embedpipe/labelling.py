"""Labels from where people keep them: folders whose names are the types, or a CSV."""

import os
from pathlib import Path

from embedpipe.documents import Limits
from embedpipe.errors import LabelsError
from embedpipe.labels import Label, Labels
from embedpipe.records import Document
from embedpipe.walking import FoundFile, identify, walk
from embedpipe.workspace import Workspace


def take(workspace: Workspace, source: str) -> tuple[int, Labels]:
    """Adds the labels of a folder of type folders, or of a CSV, to the workspace.

    Returns:
        How many were taken, and all labels; `conflicts` names the files that were given two types, `skipped` counts
        the lines of the CSV without a label.

    Raises:
        LabelsError: There are none, or the CSV cannot be understood.
    """
    sources = workspace.sources()
    with workspace.writing("label"):
        labels = workspace.labels()
        if os.path.isdir(source):
            count = labels.add(_of_folder(source))
            if not count:
                raise LabelsError(f"no documents below {source}: the folders in it are the types")
        else:
            new = Labels.from_csv(Path(source), sources.sha256_at)
            count = labels.add(new.rows.values())
            labels.conflicts += new.conflicts
            labels.skipped = new.skipped
            if new.skipped and not count:
                raise LabelsError(f"no line of {source} has a label: fill in its column `label`")
        labels.save(workspace.labels_file)
    return count, labels


def read(workspace: Workspace, source: str) -> dict[str, str]:
    """Reads the types of documents without keeping them.

    Args:
        workspace: Where known files are looked up.
        source: A folder of type folders, or a CSV.

    Returns:
        The type of each document by its SHA-256; documents with two types have none.

    Raises:
        LabelsError: There are none, or the CSV cannot be understood.
    """
    if os.path.isdir(source):
        labels = Labels()
        labels.add(_of_folder(source))
    else:
        labels = Labels.from_csv(Path(source), workspace.sources().sha256_at)
    types = {sha256: label.label for (sha256, page), label in labels.rows.items() if not page}
    if not types:
        raise LabelsError(f"no documents with a type in {source}: the folders in it are the types, or use --labels")
    return types


def _of_folder(folder: str) -> list[Label]:
    labels = []
    for found in walk([folder]):
        if isinstance(found, FoundFile) and found.type_folder is not None:
            document = identify(found, Limits())
            if isinstance(document, Document):
                labels.append(Label(document.sha256, document.path, found.type_folder))
    return labels
