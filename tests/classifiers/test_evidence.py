"""Labelled pages that look like a page."""

import numpy as np
import pytest

from embedpipe.classifiers.reasons.evidence import Examples
from embedpipe.core.errors import LabelsError
from embedpipe.core.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.store.workspace import Workspace

IDENTITY = Identity("made_up", "ab" * 32, Recipe(), ("only",))
DIM, PAGES = 6, 30
DOCUMENTS = [f"{number:064x}" for number in range(8)]


@pytest.fixture
def store(workspace: Workspace) -> FeatureStore:
    """Eight documents of thirty pages: the even ones point one way, the odd ones another; the last has no label."""
    path = workspace.store_path(IDENTITY.space)
    writer = FeatureWriter(FeatureStore.create(path, IDENTITY, [("only", 0, DIM)]), {})
    for number, sha256 in enumerate(DOCUMENTS):
        pages = tuple(PageInfo(PageRef(sha256, i, f"/{number}.pdf"), PAGES, 595, 842, 0.1) for i in range(PAGES))
        X = np.random.default_rng(number).normal(0, 0.1, (PAGES, DIM))
        X[:, number % 2] += 5
        writer.append(FeatureBatch(pages, X.astype(np.float32)))
    writer.flush()
    labels = Labels()
    labels.add(
        Label(sha256, f"/{number}.pdf", ("even", "odd")[number % 2]) for number, sha256 in enumerate(DOCUMENTS[:-1])
    )
    labels.save(workspace.labels_file)
    return FeatureStore.open(path)


def test_examples_are_the_nearest_pages_of_other_documents(workspace: Workspace, store: FeatureStore) -> None:
    """Each document gives one example, the page's own gives none, and the best comes first."""
    X = store.features(store.pages()["page_id"].to_numpy(np.int64)[[3, 3 + PAGES, 3 + 7 * PAGES]])
    found = Examples(workspace, store).nearest(X, [DOCUMENTS[0], DOCUMENTS[1], DOCUMENTS[7]], k=3)
    for examples, number, label in zip(found, (0, 1, 7), ("even", "odd", "odd"), strict=True):
        names = [example.page.document_sha256 for example in examples]
        assert len(set(names)) == 3
        assert DOCUMENTS[number] not in names
        scores = [example.score for example in examples]
        assert scores == sorted(scores, reverse=True)
        expected = 3 if number != 1 else 2  # the seventh odd document is not labelled: only two others are
        assert [example.label for example in examples].count(label) == expected


def test_an_example_is_the_best_page_of_its_document(workspace: Workspace, store: FeatureStore) -> None:
    """A page that no document owns finds itself."""
    ids = store.pages()["page_id"].to_numpy(np.int64)
    for row in (2, 5 * PAGES + 7):
        [[best, *_]] = Examples(workspace, store).nearest(store.features(ids[[row]]), [""], k=2)
        assert (best.page.document_sha256, best.page.page_index) == (DOCUMENTS[row // PAGES], row % PAGES)
        assert best.score == pytest.approx(1, abs=1e-5)


def test_all_documents_are_reached_when_asked_for(workspace: Workspace, store: FeatureStore) -> None:
    """More examples than there are documents give one of each, however many pages lie in between."""
    X = store.features(store.pages()["page_id"].to_numpy(np.int64)[:1])
    [examples] = Examples(workspace, store).nearest(X, [DOCUMENTS[0]], k=100)
    assert sorted(e.page.document_sha256 for e in examples) == DOCUMENTS[1:7]
    [examples] = Examples(workspace, store).nearest(X, [DOCUMENTS[0]], k=5)
    assert len(examples) == 5
    row = examples[0].to_json()
    assert row["type"] == "even"
    assert row["page"] == examples[0].page.page_index + 1
    assert row["score"] == pytest.approx(examples[0].score, abs=1e-4)


def test_cues_behind_the_features_are_not_looked_at(workspace: Workspace, store: FeatureStore) -> None:
    """A classifier with cues hands its pages on with them; the examples are those of the features alone."""
    examples = Examples(workspace, store)
    ids, X = next(store.batches())
    with_cues = np.hstack([X, np.full((len(X), 3), 7, np.float32)])
    others = ["nobody"] * len(ids)
    assert examples.nearest(with_cues, others) == examples.nearest(X, others)


def test_without_labels_there_is_no_evidence(workspace: Workspace, store: FeatureStore) -> None:
    """The error says how to label."""
    Labels().save(workspace.labels_file)
    with pytest.raises(LabelsError, match="--label-by folder"):
        Examples(workspace, store)
