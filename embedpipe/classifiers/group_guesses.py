"""Guessed groups of labelled pages, also where the features are of a fine-tuned network: then from a frozen one."""

from dataclasses import replace

import numpy as np

from embedpipe.classifiers.bundles import Blocks
from embedpipe.classifiers.evaluation import LabelledPages, isolated
from embedpipe.classifiers.finetuned import parts_of
from embedpipe.classifiers.groups import with_guesses
from embedpipe.core.errors import ArtifactError
from embedpipe.core.records import SAYS_NOTHING
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import FINETUNED, Workspace


def separated(workspace: Workspace, pages: LabelledPages, blocks: Blocks) -> LabelledPages:
    """The pages in the groups that honest folds keep together: given or guessed, and joined where pages are copies.

    This is the one place that decides it, for fitting, evaluating, checking labels and adding types alike.

    Args:
        workspace: Where other features of the documents may be.
        pages: With the groups of the labels.
        blocks: Where each layer's features lie.
    """
    return isolated(grouped(workspace, pages, blocks), blocks)


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
