"""Classifiers that learn from words beside pictures, and choose whether to."""

from pathlib import Path

import joblib
import numpy as np
import pytest
from classifiers.test_training import TYPES, Document, label_all, sha, write_store
from sklearn.pipeline import Pipeline

from embedpipe.classifiers.bundles import CLASSIFIERS, ClassifierBundle
from embedpipe.classifiers.calibration.confidence import nested_decisions
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.gains import chosen_blocks
from embedpipe.classifiers.lessons.reading import learnt_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.rehearsals import rehearse
from embedpipe.classifiers.saved.answering import Answerer
from embedpipe.classifiers.saved.combining import PICTURES, WORDS
from embedpipe.classifiers.stored_answers import told
from embedpipe.classifiers.training import evaluate, fit
from embedpipe.core.errors import UsageError
from embedpipe.core.records import Words
from embedpipe.pages.extras.words import hashed
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import ExtrasWriter, words_of_pages, words_row
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.export import export_joblib

SAID = {
    "form": "please fill in all the fields of this form and sign at the bottom",
    "invoice": "total amount due net payment within thirty days of the invoice",
    "letter": "dear madam thank you for your kind words yours sincerely",
}


def keep_words(workspace: Workspace, documents: list[Document], *, silent: int = 5) -> None:
    """Keeps the words of documents, of which every fifth says nothing."""
    writer = ExtrasWriter(workspace.root, ["words"])
    for number, document in enumerate(documents):
        for index in range(len(document.outcomes)):
            words = Words() if number % silent == 0 else hashed(f"{SAID[document.kind]} number {number % 7} page")
            writer._writers["words"].append((sha(number), index), words_row(words))
    writer.flush()


@pytest.fixture
def hard(workspace: Workspace) -> FeatureStore:
    """60 documents that look nearly alike, of which most say what they are."""
    documents = [Document(TYPES[n % 3], ("ok",) * (1 + n % 2), noise=4.0) for n in range(60)]
    store = write_store(workspace, documents)
    label_all(workspace, documents)
    keep_words(workspace, documents)
    return store


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_words_are_learnt_where_they_help(workspace: Workspace, hard: FeatureStore, kind: str) -> None:
    """Held-out documents are answered better, the line says so, and the saved classifier answers the same."""
    before = fit(workspace, hard, TrainingRecipe(kind, blocks=(PICTURES,)), "before")
    after = fit(workspace, hard, TrainingRecipe(kind))
    assert after.fitted_on["blocks"] == [PICTURES, WORDS]
    assert after.metrics["document_accuracy"] > before.metrics["document_accuracy"] + 0.15
    assert after.fitted_on["gain"]["document_accuracy"] == pytest.approx(
        after.metrics["document_accuracy"] - before.metrics["document_accuracy"], abs=1e-3
    )
    assert "pictures, words: macro-F1 +" in chosen_blocks(after.fitted_on)
    ids = hard.pages()["page_id"].to_numpy(np.int64)
    X, words = hard.features(ids), words_of_pages(hard, ids)
    loaded = ClassifierBundle.load(workspace.classifier_path(kind))
    assert loaded.words
    np.testing.assert_allclose(loaded.log_scores(X, words), after.log_scores(X, words))
    np.testing.assert_allclose(loaded.distances(X, words), after.distances(X, words))
    answerer = Answerer.load(workspace.classifier_path(kind))
    assert answerer is not None
    assert answerer.words
    np.testing.assert_allclose(answerer.log_scores(X, words), loaded.log_scores(X, words), atol=1e-5)
    np.testing.assert_allclose(answerer.log_scores(X), loaded.log_scores(X), atol=1e-5)
    assert set(told(hard, [loaded])[0]) == {sha(n) for n in range(60)}


def test_silent_pages_are_answered_by_pictures(workspace: Workspace, hard: FeatureStore) -> None:
    """Without words, or where none are known at all, the order of the types is that of pictures alone."""
    alone = fit(workspace, hard, TrainingRecipe("svm", blocks=(PICTURES,)), "alone")
    both = fit(workspace, hard, TrainingRecipe("svm"))
    ids = hard.pages()["page_id"].to_numpy(np.int64)
    X, words = hard.features(ids), words_of_pages(hard, ids)
    silent = np.diff(words.indptr) == 0
    ranks = [scores.argsort(axis=1) for scores in (alone.log_scores(X), both.log_scores(X, words))]
    np.testing.assert_array_equal(ranks[0][silent], ranks[1][silent])
    np.testing.assert_allclose(both.log_scores(X, words)[silent], both.log_scores(X)[silent])


def test_other_programs_get_all_parts(workspace: Workspace, hard: FeatureStore, tmp_path: Path) -> None:
    """The exported estimator answers as the classifier, with words and without; one part alone is its pipeline."""
    ids = hard.pages()["page_id"].to_numpy(np.int64)
    X, words = hard.features(ids), words_of_pages(hard, ids)
    bundle = fit(workspace, hard, TrainingRecipe("knn"))
    export_joblib(bundle, tmp_path / "all.joblib")
    found = joblib.load(tmp_path / "all.joblib")
    np.testing.assert_array_equal(found.predict_log_proba(X, words), bundle.log_scores(X, words))
    assert list(found.predict(X)) == [bundle.classes[k] for k in bundle.log_scores(X).argmax(axis=1)]
    np.testing.assert_allclose(found.predict_proba(X, words).sum(axis=1), 1.0, atol=1e-6)
    export_joblib(fit(workspace, hard, TrainingRecipe("knn", blocks=(PICTURES,))), tmp_path / "one.joblib")
    assert isinstance(joblib.load(tmp_path / "one.joblib"), Pipeline)


def test_without_words_everything_is_as_before(workspace: Workspace) -> None:
    """A store that keeps none gives one part where all look alike: its pipeline's own scores."""
    documents = [Document(TYPES[n % 3]) for n in range(18)]
    store = write_store(workspace, documents)
    label_all(workspace, documents)
    recipe = TrainingRecipe("svm")
    assert learnt_pages(workspace, store, recipe).words is None
    bundle = fit(workspace, store, recipe)
    assert bundle.fitted_on["blocks"] == [PICTURES]
    assert bundle.parts.fusion is None
    assert not bundle.parts.to_model()
    assert chosen_blocks(bundle.fitted_on) == "blocks: pictures; measured, of no use here: document"
    with pytest.raises(UsageError, match="run `embed`"):
        fit(workspace, store, TrainingRecipe("svm", blocks=(PICTURES, WORDS)))


def test_words_that_say_nothing_are_left_out(workspace: Workspace) -> None:
    """They were measured, and the line says that they are of no use."""
    documents = [Document(TYPES[n % 3], noise=0.2) for n in range(30)]
    store = write_store(workspace, documents)
    label_all(workspace, documents)
    writer = ExtrasWriter(workspace.root, ["words"])
    for number in range(30):
        text = " ".join(np.random.default_rng(number).choice(["moon", "river", "stone", "cloud", "garden"], 8))
        writer._writers["words"].append((sha(number), 0), words_row(hashed(text)))
    writer.flush()
    bundle = fit(workspace, store, TrainingRecipe("svm"))
    assert bundle.fitted_on["blocks"] == [PICTURES]
    assert not bundle.words
    assert chosen_blocks(bundle.fitted_on) == "blocks: pictures; measured, of no use here: words, document"


def test_figures_are_nested(workspace: Workspace, hard: FeatureStore) -> None:
    """`evaluate` gives the figures of the fit, choice included, and the promises hold over the mix."""
    recipe = TrainingRecipe("head")
    bundle = fit(workspace, hard, recipe)
    asked = TrainingRecipe.as_asked(bundle.fitted_on)
    assert asked.blocks is None
    assert TrainingRecipe.of(bundle.fitted_on).blocks == (PICTURES, WORDS)
    assert evaluate(workspace, hard, asked).metrics == bundle.metrics
    held = rehearse(workspace, hard, recipe)
    found = nested_decisions(held.of_documents, Rule(0.2))
    covered = found.candidates[np.arange(len(held.of_documents.truth)), held.of_documents.truth]
    assert covered.mean() > 0.7


def test_fitting_twice_gives_the_same_file(workspace: Workspace, hard: FeatureStore, tmp_path: Path) -> None:
    """Seeds are fixed, threads or not."""
    files = []
    for name in ("one", "two"):
        bundle = fit(workspace, hard, TrainingRecipe("head"))
        bundle.save(tmp_path / name)
        ids = hard.pages()["page_id"].to_numpy(np.int64)
        files.append(bundle.log_scores(hard.features(ids), words_of_pages(hard, ids)))
    np.testing.assert_array_equal(*files)
