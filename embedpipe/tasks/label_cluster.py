"""Documents whose first pages have one layout, so that all that are not labelled yet get their type in one step."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from embedpipe.core.display import path_to_text, whole_number
from embedpipe.core.errors import LabelsError, UsageError
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.core.tables import read_numbered, write_csv
from embedpipe.drawing.pictures import Tile, gallery
from embedpipe.embedding.page_pictures import page_pictures
from embedpipe.index.families import families_of_many
from embedpipe.index.page_index import fresh_index
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace

COLUMNS = ("family", "label", "unlabelled", "labelled", "example", "document")
"""Of the CSV; `label` is left empty, to be filled in and given to `label --cluster`."""

_DRAWN = 4
_FAMILIES_DRAWN = 20


@dataclass(frozen=True, slots=True)
class Family:
    """Documents of one layout.

    Attributes:
        number: From 1, the largest first; it stays the same until documents are embedded or forgotten.
        documents: All of them, by SHA-256, the most typical first, with their paths.
        unlabelled: Those without a label.
        labelled: How many have each type already.
    """

    number: int
    documents: dict[str, str]
    unlabelled: list[str]
    labelled: dict[str, int]


def find(workspace: Workspace, store: FeatureStore) -> list[Family]:
    """The families of all documents that hold one without a label, those with most of them first."""
    pages = store.pages()
    pages = pages[~pages["outcome"].isin(SAYS_NOTHING)].sort_values(["document_sha256", "page_index"])
    pages = pages.drop_duplicates("document_sha256").set_index("page_id")
    ids = pages.index.to_numpy(np.int64)
    index = fresh_index(store, workspace.index_path(store.identity.space))
    layouts = families_of_many(lambda some: index.unit(store.features(some)), ids, least=2)
    kinds: dict[str, set[str]] = {}
    for row in workspace.labels().rows.values():
        kinds.setdefault(row.document_sha256, set()).add(row.label)
    sources = workspace.sources()
    found = []
    for number, family in enumerate(layouts, start=1):
        members = pages.loc[family.page_ids]
        documents = {
            sha256: sources.path_of(sha256, otherwise=source)
            for sha256, source in zip(members["document_sha256"], members["source"], strict=True)
        }
        unlabelled = [sha256 for sha256 in documents if sha256 not in kinds]
        labelled = Counter(kind for sha256 in documents for kind in kinds.get(sha256, ()))
        if unlabelled:
            found.append(Family(number, documents, unlabelled, dict(labelled.most_common())))
    return sorted(found, key=lambda family: (-len(family.unlabelled), family.number))


def label(workspace: Workspace, store: FeatureStore, types: dict[int, str]) -> int:
    """Labels what has no label in some families; labels that are there stay.

    Args:
        workspace: Where the labels are.
        store: The features.
        types: The type of each family, by number.

    Returns:
        How many documents were labelled.

    Raises:
        LabelsError: There is no such family, or it has no document without a label.
    """
    with workspace.writing("label"), workspace.changing_labels():
        known = {family.number: family for family in find(workspace, store)}
        missing = sorted(types.keys() - known.keys())
        if missing:
            raise LabelsError(f"no family {missing[0]} with documents to label: `label --cluster` lists them")
        labels = workspace.labels()
        new = [
            Label(sha256, known[number].documents[sha256], kind)
            for number, kind in types.items()
            for sha256 in known[number].unlabelled
        ]
        labels.add(new)
        workspace.keep_labels(labels, "label --cluster")
    return len(new)


def read(workspace: Workspace, store: FeatureStore, file: Path) -> dict[int, str]:
    """Reads the types of families from a CSV of `save`; families without a label are skipped.

    A family is known by its typical document, so that the numbers may have changed meanwhile.

    Raises:
        LabelsError: A line names no family, or none has a label.
    """
    known = {sha256: family.number for family in find(workspace, store) for sha256 in family.documents}
    types = {}
    for line, row in read_numbered(file):
        kind = row.get("label", "").strip()
        if not kind:
            continue
        number = known.get(row.get("document", ""))
        if number is None:
            raise LabelsError(f"{file}, line {line}: no family with documents to label; write the CSV anew")
        types[number] = kind
    if not types:
        raise LabelsError(f"no line of {file} has a label: fill in its column `label`")
    return types


def numbers(text: str) -> list[int]:
    """Reads numbers of families, such as `3` or `3,7`.

    Raises:
        UsageError: It is something else.
    """
    found = [number for part in text.split(",") if (number := whole_number(part.strip())) is not None]
    if len(found) != text.count(",") + 1:
        raise UsageError(f"{text!r}: after --cluster come numbers of families, such as 3,7, or a CSV")
    return found


def save(found: Iterable[Family], file: Path) -> None:
    """Writes a line for each family."""
    write_csv(
        file,
        COLUMNS,
        (
            {
                "family": family.number,
                "unlabelled": len(family.unlabelled),
                "labelled": ", ".join(f"{kind} {n}" for kind, n in family.labelled.items()),
                "example": path_to_text(family.documents[family.unlabelled[0]]),
                "document": next(iter(family.documents)),
            }
            for family in found
        ),
    )


def draw(workspace: Workspace, found: Sequence[Family], file: Path) -> None:
    """Draws some documents of each of the largest families, as a PNG."""
    shown = found[:_FAMILIES_DRAWN]
    pixels = page_pictures(workspace, [(sha256, 0) for family in shown for sha256 in family.unlabelled[:_DRAWN]])

    def heading(family: Family) -> str:
        labelled = "".join(f", {n} labelled {kind}" for kind, n in family.labelled.items())
        return f"Family {family.number}: {len(family.unlabelled)} to label{labelled}"

    sections = [
        (
            heading(family),
            [
                Tile(pixels.get((sha256, 0)), os.path.basename(family.documents[sha256]))
                for sha256 in family.unlabelled[:_DRAWN]
            ],
        )
        for family in shown
    ]
    gallery(sections, file, "Families to label in one step")


def as_json(found: Iterable[Family]) -> list[dict[str, Any]]:
    """As the command line prints it."""
    return [
        {
            "family": family.number,
            "documents": len(family.documents),
            "unlabelled": [family.documents[sha256] for sha256 in family.unlabelled],
            "labelled": family.labelled,
        }
        for family in found
    ]
