"""Guessed groups of labelled pages, also where the features are of a fine-tuned network: then from a frozen one."""

from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.bundles import Blocks
from embedpipe.classifiers.finetuned import parts_of
from embedpipe.classifiers.groups import with_guesses
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.scores.nearest import unit_rows
from embedpipe.core.errors import ArtifactError
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.core.threads import beside_each_other
from embedpipe.index.near_duplicates import NEAR_DUPLICATE, connected, near_pairs
from embedpipe.store.features import FeatureStore
from embedpipe.store.scaling import BlockScaler
from embedpipe.store.workspace import FINETUNED, Workspace


def separated(workspace: Workspace, pages: LabelledPages, blocks: Blocks) -> LabelledPages:
    """The pages in the groups that honest folds keep together: given or guessed, and joined where pages are copies.

    This is the one place that decides it, for fitting, evaluating, checking labels and adding types alike.

    Args:
        workspace: Where other features of the documents may be.
        pages: With the groups of the labels.
        blocks: Where each layer's features lie.
    """
    both = partial(grouped, workspace, pages, blocks), partial(near_copies, pages, blocks)
    found, pairs = beside_each_other(both, len(both))
    return isolated(found, pairs)


def near_copies(pages: LabelledPages, blocks: Blocks) -> NDArray[np.int64]:
    """Which pages are nearly the same picture, pairs of rows (m, 2).

    Args:
        pages: Labelled ones.
        blocks: Where each layer's features lie.
    """
    scaler = BlockScaler([(start, stop) for _, start, stop in blocks])
    pairs, _ = near_pairs(unit_rows(scaler.fit_transform(pages.X), copy=False), NEAR_DUPLICATE)
    return pairs


def isolated(pages: LabelledPages, pairs: NDArray[np.int64]) -> LabelledPages:
    """The same pages, with groups joined that hold nearly the same picture: no copy helps to find another one.

    A type all of whose groups would become one keeps them: its documents look like that, new ones as well.

    Args:
        pages: With the groups of the labels, or with guessed ones.
        pairs: Of `near_copies`.
    """
    names, owner = np.unique(pages.groups, return_inverse=True)
    joined = connected(owner[pairs], len(names))
    for kind in np.unique(pages.y):
        own = np.unique(owner[pages.y == kind])
        if len(own) > 1 and len(np.unique(joined[own])) == 1:
            joined[own] = len(names) + own
    return replace(pages, groups=joined[owner])


def grouped(workspace: Workspace, pages: LabelledPages, blocks: Blocks) -> LabelledPages:
    """The pages with guessed groups for documents without one, by layout and names; see `groups`.

    Pages without features, and those of a fine-tuned network, whose features show types, get the groups that the
    features of a frozen network give their documents, if the workspace has a space that holds them all.

    Args:
        workspace: Where these are.
        pages: With the groups of the labels.
        blocks: Where each layer's features lie; empty for pages without features.
    """
    if pages.seen is None and blocks:
        return with_guesses(pages, blocks)
    for space, identity in workspace.spaces().items():
        if not any(one.backbone.startswith(FINETUNED) for one in parts_of(identity)):
            store = workspace.store(space=space)
            found = _first_pages(store, pages)
            if found is not None:
                return _like(pages, with_guesses(found, store.blocks))
    return with_guesses(pages, ())


def _first_pages(store: FeatureStore, pages: LabelledPages) -> LabelledPages | None:
    """The first page of each document that is not blank, with a store's features; None where one is missing there."""
    table = store.pages()
    table = table[~table["outcome"].isin(SAYS_NOTHING)].sort_values("page_index").drop_duplicates("document_sha256")
    table = table.set_index("document_sha256")
    documents, rows = np.unique(pages.documents, return_index=True)
    if not np.all(np.isin(documents.astype(str), table.index.to_numpy(str))):
        return None
    own = table.loc[documents]
    ids = own["page_id"].to_numpy(np.int64)
    try:
        X = store.features(ids)
    except ArtifactError:  # a part is damaged: that is said where these features are asked for
        return None
    columns = {"page_ids": ids, "page_indices": own["page_index"].to_numpy(np.int64)}
    return replace(pages.take(rows), X=X, paths=own["source"].to_numpy(object), seen=None, variants=None, **columns)


def _like(pages: LabelledPages, found: LabelledPages) -> LabelledPages:
    """The pages, with the group and its origin that each document has elsewhere."""
    places = np.searchsorted(found.documents, pages.documents)  # one page of each, in order
    origins = None if found.origins is None else found.origins[places]
    return replace(pages, groups=found.groups[places], origins=origins)
