"""The labelled pages of a store, as recipes learn from them: features, types, groups, words and variants."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from embedpipe.classifiers.bundles import WORDS, build_classifier
from embedpipe.classifiers.finetuned import seen_pages
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons import missing, variants
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.text.words import BUCKETS
from embedpipe.core.errors import ArtifactError, LabelsError
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.cues import UNKNOWN
from embedpipe.pages.extras.word_rows import folded, have_words
from embedpipe.pages.rendering import Selection
from embedpipe.store import page_extras
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:  # only variants need the network
    from embedpipe.backbones.engines import Backbone

log = logging.getLogger(__name__)


def labelled_pages(
    workspace: Workspace, store: FeatureStore, selection: Selection, *, allow_missing: bool = True
) -> LabelledPages:
    """Features and labels of the labelled pages; blank pages have no type and are left out.

    They come in the order of documents and pages, so that what is learnt does not depend on what was embedded first.

    Args:
        workspace: Where the labels are.
        store: The features.
        selection: Which pages of each document.
        allow_missing: Only warn where labelled documents have lost features; see `missing`.

    Raises:
        LabelsError: No page is labelled.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
    """
    while True:
        damaged = len(store.origin.damaged)
        try:
            pages = _read_labelled(workspace, store, selection)
        except (ArtifactError, LabelsError):
            if len(store.origin.damaged) > damaged:
                continue  # a part was found damaged just now: once more without it
            missing.take(workspace, store, selection).require(allow=allow_missing)
            raise
        missing.take(workspace, store, selection).require(allow=allow_missing)
        return pages


def _words(store: FeatureStore, pages: LabelledPages) -> csr_array | None:
    """The words of pages; None where none are kept."""
    root = store.origin.path.parents[1]
    keys = list(zip(pages.documents.tolist(), pages.page_indices.tolist(), strict=True))
    table = page_extras.words_table(root)
    kept = table.kept()
    lacking = sum(index not in kept.get(sha256, ()) for sha256, index in keys)
    words = folded(page_extras.words_in(table, keys), BUCKETS, spare=True, heads=True)  # once, for all folds
    if not have_words(words).any():
        return None
    if lacking:
        log.warning(
            "the words of %d of %d labelled pages are not kept: run `embed` on their files again", lacking, len(keys)
        )
    return words


def without_cues(store: FeatureStore, pages: LabelledPages) -> int:
    """How many pages would be learnt from with zeros in place of their cues."""
    cues = pages.X[:, store.origin.dim :]
    return int(np.all(cues == np.asarray(UNKNOWN, np.float32), axis=1).sum()) if cues.shape[1] else 0


def none_pages(
    workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, known: LabelledPages
) -> LabelledPages | None:
    """The pages that are labelled as none of the types, with what the known ones have; None without any."""
    if not workspace.labels().none:
        return None
    with contextlib.suppress(LabelsError):
        pages = _read_labelled(workspace, store, Selection.parse(recipe.pages), none=True)
        seen = None if known.seen is None else np.zeros(len(pages.y), bool)
        return replace(pages, seen=seen, words=None if known.words is None else _words(store, pages))
    return None


def _read_labelled(
    workspace: Workspace, store: FeatureStore, selection: Selection, *, none: bool = False
) -> LabelledPages:
    """As `labelled_pages`, of what can be read; or the pages that are labelled as none of the types."""
    pages = store.pages().sort_values(["document_sha256", "page_index"], ignore_index=True)
    labels = workspace.labels().of_pages(pages)
    wanted = labels["label"].notna() & ((labels["label"] == NONE) == none) & ~pages["outcome"].isin(SAYS_NOTHING)
    if selection.ranges:
        counts = {int(n): set(selection.indices(int(n))) for n in pages["page_count"].unique()}
        wanted &= pd.Series([i in counts[n] for i, n in zip(pages["page_index"], pages["page_count"], strict=True)])
    if not wanted.any():
        raise LabelsError(
            f"none of the {len(pages)} pages is labelled: use `embed DIR --label-by folder`, where the folders below "
            "DIR are the types, or `label FILE.csv` with the columns path,label"
        )
    ids = pages.loc[wanted, "page_id"].to_numpy(np.int64)
    documents, groups = (
        table.loc[wanted, name].to_numpy(object) for table, name in ((pages, "document_sha256"), (labels, "group"))
    )
    return LabelledPages(
        page_ids=ids,
        X=store.features(ids),
        y=labels.loc[wanted, "label"].to_numpy(object),
        documents=documents,
        groups=groups,
        page_indices=pages.loc[wanted, "page_index"].to_numpy(np.int64),
        seen=seen_pages(workspace, store.identity, documents, groups),
        paths=pages.loc[wanted, "source"].to_numpy(object),
        kinds=pages.loc[wanted, "source_kind"].to_numpy(object),
    )


def learnt_pages(
    workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, *, allow_missing: bool = True
) -> LabelledPages:
    """The labelled pages that a recipe learns from, with their words and variants where it wants some.

    Raises:
        LabelsError: No page is labelled.
        ArtifactError: The variants have not been made; or labelled documents have lost features, and that is not
            allowed.
    """
    pages = labelled_pages(workspace, store, Selection.parse(recipe.pages), allow_missing=allow_missing)
    if recipe.takes_cues and not allow_missing and (unknown := without_cues(store, pages)):
        raise ArtifactError(
            f"the cues of {unknown} labelled pages are not known, for their files are not where they were: put "
            "them back and run `embed` on them, fit without --with-cues, or go on without: --allow-missing"
        )
    if recipe.blocks is None or WORDS in recipe.blocks:
        pages = replace(pages, words=_words(store, pages))
    if not recipe.augment:
        return pages
    return replace(pages, variants=variants.read(store, pages, recipe.augment, recipe.seed))


def make_variants(
    workspace: Workspace,
    store: FeatureStore,
    recipe: TrainingRecipe,
    backbone: "Callable[[], Backbone]",
    *,
    settings: Settings | None = None,
    watch: variants.Watch | None = None,
    allow_missing: bool = False,
) -> None:
    """Embeds the variants that a recipe wants of the labelled pages and that are not there yet.

    Args:
        workspace: Where labels and documents are.
        store: The features of the pages themselves, without cues.
        recipe: Which pages, how many variants, and their seed.
        backbone: Loads the backbone; called only when a variant is missing.
        settings: How documents are read.
        watch: Receives progress and notices.
        allow_missing: As for `fit`.

    Raises:
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
        UnknownNameError: There is no such classifier or hyper-parameter; nothing is made for one.
        SpaceMismatchError: The backbone is not the store's.
        KeyboardInterrupt: Ctrl-C; the variants made so far are kept.
    """
    build_classifier(recipe.kind, store.blocks, recipe.settings)
    pages = labelled_pages(workspace, store, Selection.parse(recipe.pages), allow_missing=allow_missing)
    grouped_folds(pages)
    wanted = variants.Wanted(recipe.augment, recipe.seed)
    variants.make(workspace, store, pages, wanted, backbone, settings=settings, watch=watch)
