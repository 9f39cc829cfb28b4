"""Which files of duplicates may go, and which one of each group stays: whole documents only.

A document may go where each of its pages shows the same picture as the page of that number of the document that is
kept, compared with it directly and not over a third one. Which files these are is decided here; nothing is touched.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from embedpipe.core.display import on_disk, text_to_path
from embedpipe.core.errors import UsageError
from embedpipe.core.records import Document
from embedpipe.core.tables import read_csv
from embedpipe.index.same_page.agreement import SAME_PICTURE
from embedpipe.index.same_page.verification import verify
from embedpipe.pages.containers.places import is_member
from embedpipe.pages.leftovers import DUPLICATES
from embedpipe.store.features import FeatureStore
from embedpipe.store.sources import file_of
from embedpipe.store.workspace import Sources, Workspace
from embedpipe.tasks.dedupe import RULE, Duplicates, Found

KEEP = ("newest", "largest", "shortest-path", "in:DIR")
IN = "in:"


@dataclass(frozen=True, slots=True)
class Keep:
    """Which file of a group of duplicates stays.

    Attributes:
        rule: One of `KEEP`, with a folder in the place of DIR; "" for the order of `dedupe.RULE`.
    """

    rule: str = ""

    def __post_init__(self) -> None:
        """Refuses an unknown rule, and a folder that is none."""
        if self.rule and self.rule not in KEEP[:-1] and not self.folder:
            raise UsageError(f"--keep {self.rule}: write {', '.join(KEEP[:-1])} or {KEEP[-1]}")
        if self.folder and not os.path.isdir(self.folder):
            raise UsageError(f"--keep {self.rule}: {self.folder} is no folder")

    @property
    def folder(self) -> str:
        """The folder whose files stay, an absolute path; "" without one."""
        given = self.rule.removeprefix(IN) if self.rule.startswith(IN) else ""
        return on_disk(os.path.abspath(given)) if given else ""

    @classmethod
    def below(cls, folder: Path) -> "Keep":
        """Protects what lies below a folder, which need not be there."""
        return cls(f"{IN}{folder}") if folder.is_dir() else cls()

    def in_words(self) -> str:
        """The rule, for people."""
        words = {
            "newest": "the file that was changed last",
            "largest": "the largest file",
            "shortest-path": "the file with the shortest path",
        }
        if self.folder:
            return f"the file below {self.folder}; what lies there stays, and groups without one are left alone"
        return words.get(self.rule, RULE)

    def order(self, files: Sequence[Document]) -> list[Document]:
        """The files, the one to keep first; where the rule does not decide they stay in their order."""
        keys = {
            "newest": lambda document: -document.mtime_ns,
            "largest": lambda document: -document.size,
            "shortest-path": lambda document: len(document.path),
        }
        key = keys.get(self.rule, (lambda document: not self.protects(document.path)) if self.folder else None)
        return sorted(files, key=key) if key else list(files)

    def protects(self, path: str) -> bool:
        """Whether a file must stay in any case."""
        return bool(self.folder) and path.startswith(self.folder.rstrip(os.sep) + os.sep)


@dataclass(frozen=True, slots=True)
class Step:
    """A file that may go, and the one that stays in its place.

    Attributes:
        document: The file that goes, as it was when it was embedded.
        kept: The file that stays.
        kind: "exact": both have the same bytes; "document": all pages show the same pictures.
    """

    document: Document
    kept: Document
    kind: str


@dataclass(slots=True)
class Plan:
    """What is to be done.

    Attributes:
        steps: Files that may go, in the order of the groups.
        left: How many files of duplicates stay, by reason.
    """

    steps: list[Step] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)


def plan(
    workspace: Workspace,
    store: FeatureStore,
    found: Found,
    keep: Keep,
    *,
    move_to: Path | None = None,
    same_picture: float = SAME_PICTURE,
) -> Plan:
    """Which files may go.

    Args:
        workspace: Where the documents are.
        store: The features by which they were found.
        found: Of `dedupe.find`.
        keep: Which file of a group stays.
        move_to: Where files are to go; None for hard links, so only files with the same bytes as the one that stays.
        same_picture: Least agreement of the pictures of one page, as `find` had it.
    """
    sources, done = workspace.sources(), Plan()
    aside = Keep() if move_to is None else Keep.below(move_to)
    for sha256s in _by_content(found.groups) if move_to is None else _by_document(found.groups):
        files, left = _files(sources, sha256s)
        done.left += left
        ordered = keep.order(files)
        if len(ordered) < 2:  # noqa: PLR2004 - one stays
            continue
        if keep.folder and not keep.protects(ordered[0].path):
            done.left["in groups without a file below the folder of --keep"] += len(ordered)
            continue
        for file in ordered[1:]:
            if keep.protects(file.path):
                done.left["below the folder of --keep"] += 1
            elif aside.protects(file.path):
                done.left["in the folder of --move-to already"] += 1
            else:
                kind = "exact" if file.sha256 == ordered[0].sha256 else "document"
                done.steps.append(Step(file, ordered[0], kind))
    _leave_labelled(workspace, done)
    _leave_unlike(workspace, store, done, same_picture)
    return done


def _by_content(groups: Iterable[Duplicates]) -> list[list[str]]:
    return [[group.copies[0].page.document_sha256] for group in groups if group.kind == "exact"]


def _by_document(groups: Iterable[Duplicates]) -> list[list[str]]:
    """The documents of each group, those that are the same pictures together with files of the same content."""
    groups = list(groups)
    documents = [[copy.page.document_sha256 for copy in group.copies] for group in groups if group.kind == "document"]
    known = {sha256 for members in documents for sha256 in members}
    return [*([own] for [own] in _by_content(groups) if own not in known), *documents]


def _files(sources: Sources, sha256s: Iterable[str]) -> tuple[list[Document], Counter[str]]:
    """The files of some documents as they lie there now, best first, and how many stay for which reason.

    A file with several names stays: whoever moved one name would leave the others, or links that lead to nothing.
    """
    files: list[Document] = []
    left: Counter[str] = Counter()
    moved = MovedFiles()
    for sha256 in sha256s:
        names: dict[object, list[Document]] = {}
        for path in sources.places(sha256):
            if is_member(path):
                left["in archives and mails: they stay there"] += 1
                continue
            document = None if moved.holds(path) else sources.document_at(path, sha256)
            if document is not None:
                names.setdefault(file_of(path), []).append(document)
            elif os.path.lexists(path) and not moved.holds(path):
                left["changed since they were embedded"] += 1
        for own in sorted(names.values(), key=lambda own: (len(own) == 1, own[0].mtime_ns, len(own[0].path))):
            first = min(own, key=lambda document: (len(document.path), document.path))
            if (len(own) > 1 or os.path.islink(first.path)) and files:
                left["with further names: hard links or links lead to them"] += 1
            else:
                files.append(first)
    return files, left


def _leave_labelled(workspace: Workspace, done: Plan) -> None:
    """Takes out documents with labels that the one that is kept has not: nothing would be learnt from these."""
    given: dict[str, dict[int, str]] = {}
    for (sha256, page), label in workspace.labels().rows.items():
        given.setdefault(sha256, {})[page] = label.label
    stay = [
        s for s in done.steps if not given.get(s.document.sha256, {}).items() <= given.get(s.kept.sha256, {}).items()
    ]
    done.steps = [step for step in done.steps if step not in stay]
    if stay:
        done.left["with labels that the one that is kept has not: label that one, or check the labels"] += len(stay)


def _leave_unlike(workspace: Workspace, store: FeatureStore, done: Plan, same_picture: float) -> None:
    """Takes out documents of which a page has no twin in the very document that is kept."""
    wanted = {(s.document.sha256, s.kept.sha256) for s in done.steps if s.kind == "document"}
    if not wanted:
        return
    unlike = _unlike(workspace, store.pages(), sorted(wanted), same_picture)
    stay = {step for step in done.steps if (step.document.sha256, step.kept.sha256) in unlike}
    done.steps = [step for step in done.steps if step not in stay]
    if stay:
        done.left["with a page that is not found in the document that is kept"] += len(stay)


def _unlike(
    workspace: Workspace, pages: pd.DataFrame, pairs: Sequence[tuple[str, str]], same_picture: float
) -> set[tuple[str, str]]:
    """The pairs of documents that are not the same page by page; of blank pages both must be blank."""
    rows: dict[tuple[str, int], int] = {}
    compared: dict[tuple[int, int], tuple[str, str]] = {}
    unlike: set[tuple[str, str]] = set()
    outcomes: Mapping[str, dict[int, str]] = {
        str(sha256): dict(zip(own["page_index"].tolist(), own["outcome"].tolist(), strict=True))
        for sha256, own in pages.groupby("document_sha256")
    }
    for pair in pairs:
        one, other = (outcomes.get(sha256, {}) for sha256 in pair)
        if not one or one.keys() != other.keys() or any((one[i] == "blank") != (other[i] == "blank") for i in one):
            unlike.add(pair)
            continue
        for index in (i for i in one if one[i] != "blank"):
            # each page is only compared with the one that is kept, so what joins the two is that they agree
            row, of_kept = (rows.setdefault((sha256, index), len(rows)) for sha256 in pair)
            compared[row, of_kept] = pair
    verified = verify(
        workspace, list(rows), np.array(list(compared), np.int64).reshape(-1, 2), same_picture=same_picture
    )
    roots = verified.groups.roots()
    return unlike | {pair for (i, j), pair in compared.items() if roots[i] != roots[j]}


class MovedFiles:
    """Tells files that `dedupe --move-to` put aside, by the ledgers in the folders above them."""

    def __init__(self) -> None:
        self._ledgers: dict[str, frozenset[str]] = {}

    def holds(self, path: str) -> bool:
        """Whether a file was put where it is as a duplicate."""
        return path in self._below(os.path.dirname(path))

    def _below(self, folder: str) -> frozenset[str]:
        if folder not in self._ledgers:
            above, known = os.path.dirname(folder), frozenset[str]()
            if above != folder:
                known = self._below(above)
            file = Path(folder, DUPLICATES)
            if file.exists():
                rows = (row for row in read_csv(file) if row.get("state") == "moved")
                places = (text_to_path(row.get("copy", "")).split("/") for row in rows)
                known |= {os.path.join(folder, *place) for place in places}
            self._ledgers[folder] = known
        return self._ledgers[folder]


def without_moved(found: Found) -> int:
    """Takes copies out of the groups that were put aside already; returns how many."""
    moved, count = MovedFiles(), 0
    for number, group in enumerate(found.groups):
        copies = tuple(copy for copy in group.copies if not moved.holds(copy.path))
        count += len(group.copies) - len(copies)
        found.groups[number] = Duplicates(group.kind, copies)
    found.groups = [group for group in found.groups if len(group.copies) > 1]
    return count
