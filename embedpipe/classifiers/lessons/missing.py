"""What labels lack features, and why: the one place that decides it, for whatever uses labels.

A label has no features, or not all of them, for one of these reasons:

    lost           they were stored, and are gone: a part is damaged, put aside or deleted; `embed` makes them again
    failed         the page, or its file, is known to fail
    not_embedded   the document, or this page of it, was never embedded in this space
    no_such_page   the label names a page that its document does not have
    blank          there is nothing on the page, or on any page of the document
    not_selected   none of the document's pages is among those that are asked for
    gone, earlier, passed_over   the document is not current, see `store.sources`

What was stored is known from the contents of the parts (`part_contents`). Without these, a labelled document without
features counts as lost if a part cannot be read that may have held it, or if a classifier of this space learnt from it
and `embed` has seen it since it was last forgotten. What was lost must never go unnoticed, for a classifier that is
fitted on the rest predicts other types: fitting refuses. All other reasons are counted and reported.
"""

import contextlib
import functools
import logging
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from embedpipe.classifiers.saved.on_disk import brief
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import read_json
from embedpipe.core.records import SAYS_NOTHING, WHOLE_FILE
from embedpipe.pages.contract import Selection
from embedpipe.store.columns import distinct, rows_with
from embedpipe.store.features import FeatureStore, Lost
from embedpipe.store.labels import NONE, Label, Labels
from embedpipe.store.sources import EARLIER, GONE, PASSED_OVER
from embedpipe.store.workspace import Workspace

log = logging.getLogger(__name__)

REASONS = {
    "lost": "have lost features: run `embed` again on their files",
    "failed": "are of pages or files that failed: `info --failures` says why",
    "not_embedded": "are of documents or pages that are not embedded in this space: run `embed` on their files",
    "no_such_page": "name a page that their document does not have",
    "blank": "are of blank pages or placeholders, from which nothing is learnt",
    "not_selected": "have none of the pages that --pages chooses",
    GONE: "are of files that are gone: `embed` on the files takes them up again, `forget --gone` removes them",
    EARLIER: "are of earlier versions of files, from which nothing is learnt",
    PASSED_OVER: "are of files that `embed` passes over: name them to have them again",
}
_NAMED = 3
"""Parts that a message names."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A label without features, or without all of them.

    Attributes:
        label: The label.
        reason: A key of `REASONS`.
        pages: How many of its pages were lost; 0 where that is not known, and for other reasons.
    """

    label: Label
    reason: str
    pages: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """What the labels of a workspace lack in a store.

    Attributes:
        store: Folder of the store.
        gaps: The labels that lack something.
        types: Types that have labels, but no page to learn from.
        files: Parts that lost pages were in.
        unread: Parts that are listed and cannot be read, nor what they held.
    """

    store: Path
    gaps: list[Gap] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)

    @property
    def lost(self) -> list[Gap]:
        """Labels whose features were lost."""
        return [gap for gap in self.gaps if gap.reason == "lost"]

    def without(self, documents: Collection[str]) -> Self:
        """The same, but for what some documents lack."""
        gaps = [gap for gap in self.gaps if gap.label.document_sha256 not in documents]
        return replace(self, gaps=gaps, unread=self.unread if len(gaps) == len(self.gaps) else [])

    def require(self, *, allow: bool) -> None:
        """Refuses to go on where labelled documents have lost features, or only warns of it.

        Raises:
            ArtifactError: Some have, and it is not allowed; says how many, of which types, and what to do.
        """
        if not self.lost and not self.unread:
            return
        text = f"{self._loss()}: {self._cause()}"
        if not allow:
            raise ArtifactError(f"{text}; run `embed` again on their files, or go on without them: --allow-missing")
        log.warning("%s; going on without them", text)

    def _loss(self) -> str:
        lost = self.lost
        if not lost:
            return "pages were lost, and it is not known of which documents"
        documents = len({gap.label.document_sha256 for gap in lost})
        pages = sum(gap.pages for gap in lost)
        many = f" ({pages} {'page' if pages == 1 else 'pages'})" if pages else ""
        return (
            f"{documents} labelled {'document has' if documents == 1 else 'documents have'} lost features{many}: "
            f"{_types(lost)}"
        )

    def _cause(self) -> str:
        files = [*self.files, *self.unread]
        if not files:
            return f"what {self.store} held of them is gone"
        more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
        named = ", ".join(file.name for file in files[:_NAMED])
        return f"{named}{more} in {self.store} cannot be read"

    def lines(self) -> Iterator[str]:
        """What is missing for each reason, in a line for people; nothing where nothing is."""
        return in_words(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """As the command line prints it, and as the manifest of a classifier notes it."""
        lost = self.lost
        reasons: dict[str, Any] = {
            reason: {"labels": len(gaps), "types": _counted(gaps)}
            for reason in REASONS
            if (gaps := [gap for gap in self.gaps if gap.reason == reason])
        }
        if lost:
            documents = sorted({gap.label.path or gap.label.document_sha256 for gap in lost})
            reasons["lost"] |= {"pages": sum(gap.pages for gap in lost), "paths": documents}
        return {
            "labels": len(self.gaps),
            "lost_documents": len({gap.label.document_sha256 for gap in lost}),
            "reasons": reasons,
            "types_without_pages": self.types,
            "unreadable_parts": [file.name for file in [*self.files, *self.unread]],
        }


def in_words(values: Mapping[str, Any]) -> Iterator[str]:
    """What `Missing.as_json` gave, in a line for each reason."""
    for reason, text in REASONS.items():
        if found := values["reasons"].get(reason):
            kinds = ", ".join(f"{kind} {count}" for kind, count in found["types"].items())
            yield f"{found['labels']} {'label' if found['labels'] == 1 else 'labels'} ({kinds}) {text}"
    if values["types_without_pages"]:
        yield f"no page to learn from, so these types are not known: {', '.join(values['types_without_pages'])}"


def _counted(gaps: list[Gap]) -> dict[str, int]:
    return dict(sorted(Counter(gap.label.label for gap in gaps).items()))


def _types(gaps: list[Gap]) -> str:
    return ", ".join(f"{kind} {count}" for kind, count in _counted(gaps).items())


def take(
    workspace: Workspace, store: FeatureStore, selection: Selection | None = None, labels: Labels | None = None
) -> Missing:
    """What the labels lack in a store, as far as its parts have been read; see `FeatureStore.lost`.

    Args:
        workspace: Where labels, sources and classifiers are.
        store: The features.
        selection: Which pages of each document are asked for; all if not given.
        labels: Those of the workspace, where they were read already.
    """
    store = store.origin
    given: dict[str, dict[int, Label]] = {}
    for (sha256, number), row in (workspace.labels() if labels is None else labels).rows.items():
        given.setdefault(sha256, {})[number] = row
    lost = store.lost()
    documents = _documents(store, lost, given.keys(), selection or Selection())
    doubt = _Doubt(workspace, store, certain=bool(lost.unread))
    aside = store.set_aside()
    standings = dict(zip(aside["document_sha256"].to_pylist(), aside["standing"].to_pylist(), strict=True))
    gaps, learnt = [], set()
    for sha256, own in given.items():
        document = documents.get(sha256) or _Document(Selection())
        for number, label in own.items():
            found = document.page(number - 1) if number else document.whole({n - 1 for n in own if n})
            if sha256 in standings:
                found = _Found(standings[sha256])
            if found.used:
                learnt.add(label.label)
            elif found.reason == "not_embedded" and not document.live and doubt.lost(sha256):
                found = _Found("lost")
            if found.reason:
                gaps.append(Gap(label, found.reason, found.pages))
    types = {row.label for own in given.values() for row in own.values()} - learnt - {NONE}
    damaged = {store.path / part.name for part in store.damaged}
    unread = [file for file in lost.unread if file in damaged and given]
    return Missing(store.path, gaps, sorted(types), lost.files, unread)


@dataclass(frozen=True, slots=True)
class _Found:
    """Why a label lacks features, "" where it does not; how many pages were lost; whether any page is left."""

    reason: str = ""
    pages: int = 0
    used: bool = False


@dataclass(slots=True)
class _Document:
    """What is known of a labelled document: outcomes by page index, of stored pages and of lost ones."""

    selection: Selection
    live: dict[int, str] = field(default_factory=dict)
    lost: dict[int, str] = field(default_factory=dict)
    failed: set[int] = field(default_factory=set)
    count: int | None = None

    def page(self, index: int) -> _Found:
        """Of the label of a page."""
        if self.count is not None and index >= self.count:
            return _Found("no_such_page")
        if not self._wanted(index):
            return _Found("not_selected")
        if {self.live.get(index), self.lost.get(index)} & set(SAYS_NOTHING):
            return _Found("blank")
        if index in self.live:
            return _Found(used=True)
        if index in self.lost:
            return _Found("lost", 1)
        return _Found("failed" if self.failed & {index, WHOLE_FILE} else "not_embedded")

    def whole(self, others: set[int]) -> _Found:
        """Of the label of a document; `others` are pages with labels of their own."""
        own = [i for i in (*self.live, *self.lost) if i not in others]
        chosen = [i for i in own if self._wanted(i)]
        lost = sum(self.lost.get(i, "blank") not in SAYS_NOTHING for i in chosen)
        used = any(self.live.get(i, "blank") not in SAYS_NOTHING for i in chosen)
        if lost or used:
            return _Found("lost" if lost else "", lost, used)
        if own:
            return _Found("blank" if chosen else "not_selected")
        if self.live or self.lost:
            return _Found()  # every page has a label of its own
        return _Found("failed" if self.failed else "not_embedded")

    def _wanted(self, index: int) -> bool:
        return not self.selection.ranges or self.count is None or index in _indices(self.selection, self.count)


@functools.cache
def _indices(selection: Selection, count: int) -> frozenset[int]:
    return frozenset(selection.indices(count))


def _documents(
    store: FeatureStore, lost: Lost, labelled: Collection[str], selection: Selection
) -> dict[str, _Document]:
    """What the store knows of labelled documents."""
    documents: dict[str, _Document] = {}
    columns = ("document_sha256", "page_index", "page_count", "outcome")
    for there, table in ((True, store.table()), (False, lost.pages)):
        for sha256, index, count, outcome in rows_with(table, "document_sha256", labelled, columns):
            document = documents.setdefault(sha256, _Document(selection))
            (document.live if there else document.lost)[index] = outcome
            document.count = count
    for failure in store.failures():
        if failure.page.document_sha256 in labelled:
            document = documents.setdefault(failure.page.document_sha256, _Document(selection))
            document.failed.add(failure.page.page_index)
    return documents


@dataclass(slots=True)
class _Doubt:
    """Whether a document of which nothing is stored was lost, where the contents of the parts do not say."""

    workspace: Workspace
    store: FeatureStore
    certain: bool
    known: set[str] | None = None

    def lost(self, sha256: str) -> bool:
        """Whether a part may have held it, or a classifier of the space has learnt from it."""
        if self.certain:
            return True
        if self.known is None:
            learnt = _learnt(self.workspace, self.store.identity.space)
            self.known = {known for known in self.workspace.sources().known() if brief(known) in learnt}
        return sha256 in self.known


def _learnt(workspace: Workspace, space: str) -> set[str]:
    """Documents that classifiers of a space learnt from, as `brief` names them."""
    learnt: set[str] = set()
    for name in workspace.classifiers():
        folder = workspace.classifier_folder(name)
        for number in versions.numbers(folder):
            with contextlib.suppress(ArtifactError, LookupError, TypeError):
                manifest = read_json(versions.path_of(folder, number) / versions.MANIFEST)
                if manifest["space"] == space:
                    learnt |= set(manifest["learnt"])
    return learnt


def lost_pages(store: FeatureStore, *, without: str = "", allow: bool = True) -> dict[str, Any]:
    """How many pages a store has lost, labelled or not, for whatever looks at all pages; warns where there are some.

    Args:
        store: The features, after they were looked at: damage is found by reading.
        without: What is done without them, for the message.
        allow: Only warn of it.

    Returns:
        As the command line prints it: documents, pages, and the parts that they were in.

    Raises:
        ArtifactError: Some were lost, and it is not allowed.
    """
    lost = store.origin.lost()
    files = [*lost.files, *lost.unread]
    documents = len(distinct(lost.pages["document_sha256"]))
    if files:
        many = f"{len(lost.pages)} pages of {documents} documents" if len(lost.pages) else "pages"
        parts = ", ".join(file.name for file in files[:_NAMED])
        text = f"{many} have lost their features ({parts} in {store.path} cannot be read)"
        if not allow:
            raise ArtifactError(f"{text}; run `embed` again on their files, or go on without them: --allow-missing")
        log.warning("%s%s: run `embed` again on their files", text, f"; {without}" if without else "")
    return {"documents": documents, "pages": len(lost.pages), "parts": [file.name for file in files]}
