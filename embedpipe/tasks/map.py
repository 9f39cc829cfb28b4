"""A map of a store: its pages in the plane, for people to look around in, and for TensorBoard's projector."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from embedpipe.classifiers.stored_answers import Answer, decided
from embedpipe.core.errors import ArtifactError
from embedpipe.core.records import OTHER_FORMAT, PageRef
from embedpipe.drawing.projector import Row, write_projector
from embedpipe.drawing.scatterplots import STATUSES, Point, write_scatterplot
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.embedding.page_pictures import Progress, page_jpegs
from embedpipe.index.page_index import fresh_index
from embedpipe.index.projection import Components, chosen, components, in_plane
from embedpipe.index.search import PageIndex
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:
    from embedpipe.classifiers.bundles import ClassifierBundle

MOST_PAGES = 50_000
"""Pages that a browser moves smoothly."""
MOST_THUMBNAILS = 5_000
"""About 13 MB of HTML."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is drawn.

    Attributes:
        method: A key of `projection.METHODS`.
        pages: Which pages of each document.
        limit: Most pages; beyond, each document gives some.
        thumbnails: Most pictures.
        seed: Of the sample and of UMAP.
        passwords: To try on encrypted PDFs, for their pictures.
        classifier: Gives the classifier whose answers are shown; None for none.
    """

    method: str = "auto"
    pages: Selection = field(default_factory=Selection)
    limit: int = MOST_PAGES
    thumbnails: int = MOST_THUMBNAILS
    seed: int = 0
    passwords: tuple[str, ...] = ()
    classifier: "ClassifierBundle | None" = None


@dataclass(frozen=True, slots=True, eq=False)
class PageMap:
    """The pages of a map.

    Attributes:
        points: What is known of each page.
        places: Where they are, float32 (n, 2).
        reduced: Their principal components.
        method: `umap` or `pca`.
        reason: Why `auto` did without UMAP, or "".
        left_out: How many pages are not drawn: blank, not selected, over the limit; and failures, which have no
            features.
        beyond: Pages without a picture because of the limit.
        unavailable: Pages without a picture: none is kept, and the document is gone, was changed, or cannot be drawn.
        answered_by: Name of the classifier whose answers are shown, or "".
    """

    points: tuple[Point, ...]
    places: NDArray[np.float32]
    reduced: Components
    method: str
    reason: str
    left_out: dict[str, int]
    beyond: int
    unavailable: int
    answered_by: str = ""

    @property
    def documents(self) -> int:
        """How many documents have pages on it."""
        return len({point.page.document_sha256 for point in self.points})

    @property
    def types(self) -> dict[str, int]:
        """Pages of each type."""
        return dict(sorted(Counter(point.label for point in self.points if point.label).items()))

    @property
    def explained(self) -> float | None:
        """Share of the variance that the plane shows; None for UMAP, where there is none."""
        return float(self.reduced.shares[:2].sum()) if self.method == "pca" else None


def make(workspace: Workspace, store: FeatureStore, wanted: Wanted, progress: Progress = lambda *_: None) -> PageMap:
    """Places the pages of a store in the plane, by the same features as the index compares.

    Args:
        workspace: Where index, labels and documents are.
        store: The features.
        wanted: What is drawn.
        progress: Called with how many pictures of how many are drawn.

    Raises:
        ArtifactError: No page is left to draw.
        EmbedpipeError: The method is unknown, or UMAP is not installed.
    """
    pages, left_out = _drawn(store, wanted)
    method, reason = chosen(wanted.method, len(pages))
    index = fresh_index(store, workspace.index_path(store.identity.space))
    ids = pages["page_id"].to_numpy(np.int64)
    reduced = components(lambda: _unit_rows(store, index, ids))
    places = in_plane(reduced, method, wanted.seed)
    labels, sources = workspace.labels().of_pages(pages)["label"], workspace.sources()
    columns = zip(pages["document_sha256"], pages["page_index"], pages["source"], strict=True)
    refs = [PageRef(sha256, int(i), sources.path_of(sha256, source)) for sha256, i, source in columns]
    shown = [refs[row] for row in np.argsort(pages["turn"].to_numpy(), kind="stable")[: wanted.thumbnails]]
    shown_keys = [(ref.document_sha256, ref.page_index) for ref in shown]
    pictures = page_jpegs(workspace, shown_keys, wanted.passwords, progress)
    answers = _answers(workspace, store, wanted.classifier) if wanted.classifier is not None else {}
    points = tuple(
        _point(ref, int(count), label or None, pictures, answers.get(ref.document_sha256))
        for ref, count, label in zip(refs, pages["page_count"], labels, strict=True)
    )
    beyond, unavailable = len(refs) - len(shown), len(shown) - len(pictures)
    name = wanted.classifier.name if wanted.classifier is not None else ""
    return PageMap(points, places, reduced, method, reason, left_out, beyond, unavailable, name)


def _answers(workspace: Workspace, store: FeatureStore, bundle: "ClassifierBundle") -> dict[str, Answer]:
    found = decided(workspace, CuedStore(workspace, store) if bundle.cues else store, bundle)
    if found is None:
        return {}
    columns = zip(found.documents, found.told, found.decisions.status, strict=True)
    return {sha256: Answer(bundle.classes[column], str(status)) for sha256, column, status in columns}


def _point(
    ref: PageRef, count: int, label: str | None, pictures: Mapping[tuple[str, int], bytes], answer: Answer | None
) -> Point:
    thumbnail = pictures.get((ref.document_sha256, ref.page_index))
    if answer is None:
        return Point(ref, count, label, thumbnail)
    return Point(ref, count, label, thumbnail, answer.kind, answer.status)


def _drawn(store: FeatureStore, wanted: Wanted) -> tuple[pd.DataFrame, dict[str, int]]:
    """The pages that are drawn, with the column `turn`, and how many are not, and why.

    Documents take turns: each gives a page before any gives its second one.
    """
    pages = store.pages()
    blank = pages["outcome"] == "blank"
    indices = {int(n): set(wanted.pages.indices(int(n))) for n in pages["page_count"].unique()}
    selected = pd.Series(
        [i in indices[n] for i, n in zip(pages["page_index"], pages["page_count"], strict=True)], pages.index, bool
    )
    kept = pages[selected & ~blank].reset_index(drop=True)
    if not len(kept):
        raise ArtifactError(
            f"none of the {len(pages)} pages can be drawn: blank ones are left out, see also --pages"
            if len(pages)
            else f"no pages in {store.path}: run `embed` on your documents first"
        )
    order = np.random.default_rng(wanted.seed).permutation(len(kept))
    rank = kept.iloc[order].groupby("document_sha256").cumcount().sort_index().to_numpy()
    turn = np.empty(len(kept), np.int64)
    turn[np.lexsort((np.argsort(order), rank))] = np.arange(len(kept))
    kept["turn"] = turn
    drawn = kept[kept["turn"] < wanted.limit].reset_index(drop=True)
    left_out = {
        "blank": int((selected & blank).sum()),
        "not_selected": int((~selected).sum()),
        "over_limit": len(kept) - len(drawn),
        "failed": sum(failure.kind != OTHER_FORMAT for failure in store.failures()),
    }
    return drawn, left_out


def _unit_rows(store: FeatureStore, index: PageIndex, ids: NDArray[np.int64]) -> Iterator[NDArray[np.float32]]:
    """Features of some pages as the index compares them, part by part, in the order of `store.pages`."""
    for part_ids, X in store.batches():
        rows = np.flatnonzero(np.isin(part_ids, ids, assume_unique=True))
        if len(rows):
            yield index.unit(X[rows])


def as_json(page_map: PageMap) -> dict[str, Any]:
    """As the command line prints it."""
    explained = page_map.explained
    pictures = sum(point.thumbnail is not None for point in page_map.points)
    return {
        "method": page_map.method,
        "reason": page_map.reason or None,
        "explained_variance": None if explained is None else round(explained, 4),
        "pages": len(page_map.points),
        "documents": page_map.documents,
        "types": page_map.types,
        "unlabelled": sum(point.label is None for point in page_map.points),
        "predicted": _predicted(page_map) if page_map.answered_by else None,
        "left_out": page_map.left_out,
        "thumbnails": {"drawn": pictures, "over_limit": page_map.beyond, "unavailable": page_map.unavailable},
    }


def _predicted(page_map: PageMap) -> dict[str, Any]:
    answered = [point for point in page_map.points if point.predicted]
    return {
        "classifier": page_map.answered_by,
        "types": dict(sorted(Counter(point.predicted for point in answered).items())),
        "statuses": {status: sum(point.status == status for point in answered) for status in STATUSES},
    }


def notes(page_map: PageMap) -> list[str]:
    """What is not on the map, a sentence each."""
    counts = page_map.left_out
    said = (
        (counts["over_limit"], "{} pages are left out: this is a sample in which documents take turns (`--limit`)."),
        (counts["blank"], "{} blank pages are left out."),
        (counts["not_selected"], "{} pages were not asked for (`--pages`)."),
        (counts["failed"], "{} pages or files failed and have no features (`info --failures`)."),
        (page_map.beyond, "{} pages are drawn without a picture, so that the file stays small (`--thumbnails`)."),
        (
            page_map.unavailable,
            "{} pages have no picture: the file is gone, was changed, or needs a password (`--password-file`).",
        ),
    )
    return [sentence.format(f"{count:,}") for count, sentence in said if count]


def write_html(page_map: PageMap, space: str, file: Path) -> None:
    """Writes the map as one HTML file; raises ArtifactError where it cannot be written."""
    explained = page_map.explained
    facts = {
        "Pages": f"{len(page_map.points):,}",
        "Documents": f"{page_map.documents:,}",
        "Method": "UMAP" if explained is None else f"PCA, {explained:.0%} of the variance",
        "Space": space,
    }
    if page_map.answered_by:
        facts["Predicted by"] = page_map.answered_by
    meaning = "Near pages look alike; " + (
        "how far groups are from each other means little, and neither do the axes."
        if explained is None
        else "the axes are the two directions in which pages differ most, and far from all their differences."
    )
    said = [meaning, *notes(page_map)]
    write_scatterplot(file, page_map.points, page_map.places, title="Map of pages", facts=facts, notes=said)


def export_projector(page_map: PageMap, folder: Path) -> None:
    """Writes the principal components for TensorBoard; raises ArtifactError where that would mix with other files."""
    rows = [
        Row(
            point.label or "unlabelled",
            os.path.basename(point.page.source),
            point.page.page_number,
            point.page.source,
            point.page.document_sha256,
        )
        for point in page_map.points
    ]
    write_projector(folder, page_map.reduced.X, rows, [point.thumbnail for point in page_map.points])
