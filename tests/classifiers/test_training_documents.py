"""Classifiers that judge whole documents beside pages."""

from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from classifiers.test_training import TYPES, Document, label_all, sha, write_store
from classifiers.test_training_words import keep_words

from embedpipe.classifiers.bundles import CLASSIFIERS, ClassifierBundle
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.documents.rows import Gathered
from embedpipe.classifiers.evaluation import document_scores, fit_whole
from embedpipe.classifiers.gains import chosen_blocks
from embedpipe.classifiers.lessons.reading import learnt_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.rehearsals import rehearse
from embedpipe.classifiers.saved.answering import Answerer
from embedpipe.classifiers.saved.combining import DOCUMENT, PICTURES, WORDS
from embedpipe.classifiers.stored_answers import told
from embedpipe.classifiers.training import fit
from embedpipe.core.records import Document as File
from embedpipe.core.records import FeatureBatch, PageInfo, PageRef
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import words_of_pages
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.classify import Answers
from embedpipe.tasks.export import export_joblib

ASKED = TrainingRecipe("svm", blocks=(PICTURES, WORDS, DOCUMENT))


@pytest.fixture
def store(workspace: Workspace) -> FeatureStore:
    """48 documents of one to three pages, some blank, that look much alike, and most of which say what they are."""
    outcomes = [("ok",), ("ok", "ok"), ("ok", "blank", "ok")]
    documents = [Document(TYPES[n % 3], outcomes[n // 3 % 3], noise=2.0) for n in range(48)]
    found = write_store(workspace, documents)
    label_all(workspace, documents)
    keep_words(workspace, documents)
    return found


def gathered(store: FeatureStore, bundle: ClassifierBundle | Answerer) -> tuple[list[str], Gathered]:
    """All pages of a store that say something, and their documents."""
    pages = store.pages()
    pages = pages[pages["outcome"] != "blank"]
    ids = pages["page_id"].to_numpy(np.int64)
    documents, owner = np.unique(pages["document_sha256"].to_numpy(object), return_inverse=True)
    X, words = store.features(ids), words_of_pages(store, ids)
    parts = bundle.scores_of_parts(X, words)
    indices = pages["page_index"].to_numpy(np.int64)
    kinds = pages["source_kind"].tolist()
    return list(documents), Gathered(bundle.parts.fused(parts), parts, X, words, indices, kinds, owner)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_saved_classifier_judges_documents_as_before(workspace: Workspace, store: FeatureStore, kind: str) -> None:
    """Loaded whole, and from its arrays alone; pages are answered as without the part."""
    before = fit(workspace, store, TrainingRecipe(kind, blocks=ASKED.blocks))
    assert before.fitted_on["blocks"] == [PICTURES, WORDS, DOCUMENT]
    whole = ClassifierBundle.load(workspace.classifier_path(kind))
    answerer = Answerer.load(workspace.classifier_path(kind))
    assert answerer is not None
    assert answerer.judges_documents
    _, pages = gathered(store, before)
    expected = before.document_scores(pages)
    np.testing.assert_allclose(whole.document_scores(gathered(store, whole)[1]), expected, atol=1e-6)
    np.testing.assert_allclose(answerer.document_scores(gathered(store, answerer)[1]), expected, atol=1e-4)
    plain = fit(workspace, store, TrainingRecipe(kind, blocks=(PICTURES, WORDS)), "plain")
    assert not plain.judges_documents
    np.testing.assert_allclose(
        whole.log_scores(pages.X, pages.words), plain.log_scores(pages.X, pages.words), atol=1e-3
    )


def test_it_is_chosen_where_it_helps(workspace: Workspace) -> None:
    """Documents of many pages, each of which says little; the gain is told."""
    documents = [Document(TYPES[n % 3], ("ok",) * 8, noise=4.0) for n in range(150)]
    found = write_store(workspace, documents)
    label_all(workspace, documents)
    held = rehearse(workspace, found, TrainingRecipe("knn"))
    assert held.plan.names == [PICTURES, DOCUMENT]
    assert held.held_out.whole is not None
    assert held.gain is not None
    assert held.gain.accuracy > 0.03
    bundle = fit(workspace, found, TrainingRecipe("knn"))
    assert chosen_blocks(bundle.fitted_on).startswith("blocks: pictures, document: macro-F1 +")


def test_answers_are_for_held_out_documents_by_others(workspace: Workspace, store: FeatureStore) -> None:
    """All pages of a document have its answer, and figures of documents are made of these."""
    held = rehearse(workspace, store, ASKED)
    whole = held.held_out.whole
    assert whole is not None
    for document in set(held.pages.documents):
        rows = whole[held.pages.documents == document]
        np.testing.assert_array_equal(rows, np.repeat(rows[:1], len(rows), axis=0))
    found = document_scores(held.pages, held.held_out)
    np.testing.assert_array_equal(found.log_scores, whole[found.rows])
    np.testing.assert_array_equal(held.of_documents.scores, found.log_scores)
    np.testing.assert_allclose(np.exp(found.log_scores).sum(axis=1), 1.0, atol=1e-6)


@pytest.mark.parametrize("step", [1, 5, 200])
def test_documents_are_answered_from_pages_in_any_order(workspace: Workspace, store: FeatureStore, step: int) -> None:
    """However many come at a time; `told` gives the same, and no features are kept of documents that are whole."""
    bundle = fit(workspace, store, ASKED)
    pages = store.pages().sample(frac=1.0, random_state=0)
    answers = Answers(bundle, Rule())
    for first in range(0, len(pages), step):
        some = pages.iloc[first : first + step]
        ids = some["page_id"].to_numpy(np.int64)
        infos = tuple(
            PageInfo(PageRef(row.document_sha256, row.page_index, row.source), row.page_count, 595.0, 842.0, 0.1,
                     row.outcome, source_kind=row.source_kind or "digital")
            for row in some.itertuples()
        )  # fmt: skip
        answers.take(FeatureBatch(infos, store.features(ids), words_of_pages(store, ids)))
    assert not any(known.rows for known in answers._pages.values())
    documents, all_pages = gathered(store, bundle)
    kinds = [kind or "digital" for kind in all_pages.kinds]
    scores = bundle.document_scores(replace(all_pages, kinds=kinds))
    given = {d: bundle.classes[k] for d, k in zip(documents, scores.argmax(axis=1), strict=True)}
    for number in range(48):
        verdict = answers.verdict(File(f"/{number}.pdf", sha(number), 1, 1, "pdf"))
        assert verdict.prediction.label == given[sha(number)]
    assert set(told(store, [bundle])[0]) == set(documents)


def test_variants_are_copies_of_documents(workspace: Workspace, store: FeatureStore) -> None:
    """A classifier that learns from variants of pages learns from documents made of them as well."""
    pages = learnt_pages(workspace, store, ASKED)
    part = ASKED.plan(store.blocks, pages).whole
    assert part is not None
    plain = fit_whole(part, pages, words=True)
    variants = np.repeat(pages.X[:, None, :], 2, axis=1).astype(np.float16) + np.float16(0.1)
    variants[::3, 1] = np.nan
    more = fit_whole(part, replace(pages, variants=variants), words=True)
    assert plain is not None
    assert more is not None
    assert len(more[-1].landmarks_) == 3 * len(plain[-1].landmarks_)
    assert np.isfinite(more[-1].dual_coef_).all()


def test_other_programs_judge_documents(workspace: Workspace, store: FeatureStore, tmp_path: Path) -> None:
    """The exported estimator takes all pages of documents."""
    bundle = fit(workspace, store, ASKED)
    export_joblib(bundle, tmp_path / "all.joblib")
    found = joblib.load(tmp_path / "all.joblib")
    documents, pages = gathered(store, bundle)
    names = np.asarray(documents, object)[pages.owner]
    scores = found.predict_document_log_proba(pages.X, names, pages.indices, words=pages.words, kinds=pages.kinds)
    expected = bundle.document_scores(pages)
    np.testing.assert_array_equal(scores.argmax(axis=1), expected.argmax(axis=1))
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1.0, atol=1e-9)
