"""Labels and stored features to classifiers and honest figures, without torch."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from embedpipe.classifiers.bundles import CLASSIFIERS, ClassifierBundle
from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import evaluate, fit
from embedpipe.core.errors import ArtifactError, EmbedpipeError, LabelsError, UnknownNameError
from embedpipe.core.files import write_json
from embedpipe.core.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.pages.rendering import Selection
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.store.workspace import Workspace

BLOCKS = [("first", 0, 8), ("second", 8, 12)]
IDENTITY = Identity("made_up", "ab" * 32, Recipe(), ("first", "second"))
TYPES = ("form", "invoice", "letter")


def sha(number: int) -> str:
    """Name of a made-up document."""
    return f"{number:064x}"


def centre(kind: str) -> Any:
    """Where the features of a type lie."""
    return np.random.default_rng(TYPES.index(kind)).normal(0, 1, 12)


@dataclasses.dataclass
class Document:
    """A made-up document: its type, its pages' outcomes, and how far its pages stray from its type."""

    kind: str
    outcomes: Sequence[str] = ("ok",)
    noise: float = 0.3


def write_store(workspace: Workspace, documents: Sequence[Document], identity: Identity = IDENTITY) -> FeatureStore:
    """Writes made-up features of documents in parts of ten; a blank page has features far from all others.

    The features of a page depend on its document's number and its own alone.
    """
    path = workspace.store_path(identity.space)
    writer = FeatureWriter(FeatureStore.create(path, identity, BLOCKS), {})
    for number, document in enumerate(documents):
        refs = [PageRef(sha(number), i, f"/{document.kind}/{number}.pdf") for i in range(len(document.outcomes))]
        pages = tuple(
            PageInfo(ref, len(refs), 595.0, 842.0, 0.1, outcome)
            for ref, outcome in zip(refs, document.outcomes, strict=True)
        )
        noise = [np.random.default_rng([number, i]).normal(0, document.noise, 12) for i in range(len(pages))]
        X = centre(document.kind) + 0.3 * noise[0] + np.array(noise)
        X[[outcome == "blank" for outcome in document.outcomes]] = 50
        writer.append(FeatureBatch(pages, X.astype(np.float32)))
        if number % 10 == 9:
            writer.flush()
    writer.flush()
    return FeatureStore.open(path)


def write_labels(workspace: Workspace, labels: Sequence[Label]) -> None:
    """Writes labels.csv."""
    table = Labels()
    table.add(labels)
    table.save(workspace.labels_file)


def label_all(workspace: Workspace, documents: Sequence[Document], group: str = "") -> None:
    """Labels every document by its type."""
    write_labels(
        workspace, [Label(sha(n), f"/{n}.pdf", document.kind, 0, group) for n, document in enumerate(documents)]
    )


@pytest.fixture
def documents() -> list[Document]:
    """24 documents of three types with one to three pages."""
    return [Document(TYPES[n % 3], ["ok", "repaired", "ok"][: 1 + n % 3 if n % 2 else 1]) for n in range(24)]


@pytest.fixture
def store(workspace: Workspace, documents: list[Document]) -> FeatureStore:
    """Their features, all labelled."""
    label_all(workspace, documents)
    return write_store(workspace, documents)


def selected(workspace: Workspace, store: FeatureStore, pages: str = "all") -> LabelledPages:
    """The labelled pages of a selection."""
    return labelled_pages(workspace, store, Selection.parse(pages))


def test_pages_bring_features_labels_and_groups(
    workspace: Workspace, store: FeatureStore, documents: list[Document]
) -> None:
    """Each labelled page has its own features, the type of its document, and the document as its group."""
    pages = selected(workspace, store)
    table = store.pages().set_index("page_id").loc[pages.page_ids]
    assert len(pages.y) == sum(len(document.outcomes) for document in documents)
    assert pages.documents.tolist() == pages.groups.tolist() == table["document_sha256"].tolist()
    assert pages.y.tolist() == [documents[int(name, 16)].kind for name in pages.documents]
    assert pages.page_indices.tolist() == table["page_index"].tolist()
    np.testing.assert_array_equal(pages.X, store.features(pages.page_ids))


def test_blank_and_unlabelled_pages_are_left_out(workspace: Workspace) -> None:
    """Blank pages and documents without a label take no part; repaired pages do."""
    made = [Document("form", ["ok", "blank", "repaired"]), Document("letter", ["blank"]), Document("letter", ["ok"])]
    store = write_store(workspace, made)
    write_labels(workspace, [Label(sha(0), "", "form"), Label(sha(1), "", "letter")])
    pages = selected(workspace, store)
    assert pages.documents.tolist() == [sha(0), sha(0)]
    assert pages.page_indices.tolist() == [0, 2]
    assert np.abs(pages.X).max() < 20


def test_a_label_of_a_page_goes_before_that_of_its_document(workspace: Workspace) -> None:
    """A page that has a label of its own is of that type, the others of their document's."""
    store = write_store(workspace, [Document("form", ["ok"] * 3)])
    write_labels(workspace, [Label(sha(0), "", "form"), Label(sha(0), "", "letter", page_number=2)])
    assert selected(workspace, store).y.tolist() == ["form", "letter", "form"]


@pytest.mark.parametrize(
    ("pages", "expected"), [("all", [0, 1, 2, 0]), ("1", [0, 0]), ("2-3", [1, 2]), ("1,last", [0, 2, 0])]
)
def test_only_the_selected_pages_are_used(workspace: Workspace, pages: str, expected: list[int]) -> None:
    """A selection takes the pages of each document by that document's own length."""
    store = write_store(workspace, [Document("form", ["ok"] * 3), Document("letter")])
    write_labels(workspace, [Label(sha(0), "", "form"), Label(sha(1), "", "letter")])
    assert selected(workspace, store, pages).page_indices.tolist() == expected


def test_no_labels_say_what_to_do(workspace: Workspace, documents: list[Document]) -> None:
    """Without any label the message is one line with both ways to label."""
    store = write_store(workspace, documents)
    with pytest.raises(LabelsError, match=r"none of the \d+ pages is labelled: use `embed DIR --label-by") as caught:
        selected(workspace, store)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_fit_saves_a_classifier_that_knows_its_types(workspace: Workspace, store: FeatureStore, kind: str) -> None:
    """A fitted classifier tells the types, is saved under its name, and says what it was fitted on."""
    fitted = fit(workspace, store, TrainingRecipe(kind))
    assert workspace.classifiers() == [kind]
    loaded = ClassifierBundle.load(workspace.classifier_path(kind))
    pages = selected(workspace, store)
    told = np.array(loaded.classes, object)[loaded.log_scores(pages.X).argmax(axis=1)]
    assert (told == pages.y).mean() > 0.95
    assert loaded.classes == list(TYPES)
    assert loaded.identity == IDENTITY == store.identity
    assert loaded.metrics == fitted.metrics
    assert loaded.metrics["document_accuracy"] > 0.9
    assert 0.05 <= loaded.pages.scale.temperature <= 50
    facts = {"kind": kind, "settings": {}, "selection": "all", "pages": len(pages.y), "documents": 24}
    assert facts.items() <= loaded.fitted_on.items()
    assert loaded.fitted_on["parts"] == [part.name for part in store.parts]


def test_a_name_and_settings_reach_the_classifier(workspace: Workspace, store: FeatureStore) -> None:
    """A classifier of another name with other settings stands beside the default one."""
    fit(workspace, store, TrainingRecipe("knn"))
    fit(workspace, store, TrainingRecipe("knn", {"n_neighbors": "1"}, "1"), "first pages")
    assert workspace.classifiers() == ["first pages", "knn"]
    loaded = ClassifierBundle.load(workspace.classifier_path("first pages"))
    assert loaded.name == "first pages"
    assert loaded.pipeline.named_steps["knn"].n_neighbors == 1
    assert loaded.fitted_on["pages"] == 24
    assert loaded.fitted_on["settings"] == {"n_neighbors": "1"}


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_blank_pages_do_not_change_the_classifier(
    workspace: Workspace, store: FeatureStore, documents: list[Document], kind: str
) -> None:
    """With blank pages in the store, classifier and figures are those without them."""
    plain = fit(workspace, store, TrainingRecipe(kind))
    other = Workspace(workspace.root.parent / "other")
    label_all(other, documents)
    bound = [dataclasses.replace(document, outcomes=[*document.outcomes, "blank"]) for document in documents]
    with_blanks = fit(other, write_store(other, bound), TrainingRecipe(kind))
    X = selected(workspace, store).X
    np.testing.assert_array_equal(with_blanks.log_scores(X), plain.log_scores(X))
    ours, theirs = dict(with_blanks.metrics), dict(plain.metrics)
    for name in ("calibration_error", "document_calibration_error"):  # temperatures are searched for: threads add up
        assert ours.pop(name) == pytest.approx(theirs.pop(name), rel=1e-3)
    assert ours == theirs


@pytest.mark.parametrize("name", ["../../elsewhere", "a/b", "a\\b", ".", ".."])
def test_a_name_that_leads_elsewhere_is_refused(workspace: Workspace, store: FeatureStore, name: str) -> None:
    """A classifier is never written outside its folder among the classifiers."""
    with pytest.raises(EmbedpipeError, match="no slashes"):
        fit(workspace, store, TrainingRecipe("knn"), name)
    assert not (workspace.root / "classifiers").exists()


def test_unknown_names_are_refused_before_anything_is_saved(workspace: Workspace, store: FeatureStore) -> None:
    """An unknown classifier or setting is refused, and nothing is saved."""
    with pytest.raises(UnknownNameError, match="unknown classifier 'smv': did you mean svm"):
        fit(workspace, store, TrainingRecipe("smv"))
    with pytest.raises(UnknownNameError, match=r"unknown hyper-parameter of svm 'c'.*known: C, "):
        fit(workspace, store, TrainingRecipe("svm", {"c": "1"}))
    assert workspace.classifiers() == []


@pytest.mark.parametrize("call", [fit, evaluate])
def test_one_type_or_one_group_is_refused(workspace: Workspace, documents: list[Document], call: Any) -> None:
    """One type alone, and one group alone, are refused in one line, and nothing is saved."""
    store = write_store(workspace, documents)
    write_labels(workspace, [Label(sha(n), "", "form") for n in range(24)])
    with pytest.raises(LabelsError, match="all labelled pages are of the type 'form'"):
        call(workspace, store, TrainingRecipe("svm"))
    label_all(workspace, documents, group="one template")
    with pytest.raises(LabelsError, match="all labelled pages are of one group"):
        call(workspace, store, TrainingRecipe("svm"))
    assert workspace.classifiers() == []


def test_fit_waits_for_no_other_writer(workspace: Workspace, store: FeatureStore) -> None:
    """While another one writes to the artifacts, fitting is refused and names it."""
    with workspace.writing("embed"), pytest.raises(ArtifactError, match="is being written by `embed`"):
        fit(workspace, store, TrainingRecipe("svm"))


def test_evaluation_agrees_with_its_verdicts(workspace: Workspace, documents: list[Document]) -> None:
    """Every document has one verdict, and table, matrix and figures count just these."""
    noisy = [dataclasses.replace(document, noise=2.0) for document in documents]
    label_all(workspace, noisy)
    found = evaluate(workspace, write_store(workspace, noisy), TrainingRecipe("knn"))
    assert sorted(verdict.document_sha256 for verdict in found.verdicts) == [sha(n) for n in range(24)]
    assert all(verdict.truth == noisy[int(verdict.document_sha256, 16)].kind for verdict in found.verdicts)
    truth, told = [v.truth for v in found.verdicts], [v.predicted for v in found.verdicts]
    assert 0 < sk.accuracy_score(truth, told) < 1  # there are mistakes to count
    assert found.classes == list(TYPES)
    np.testing.assert_array_equal(found.matrix, sk.confusion_matrix(truth, told, labels=TYPES))
    assert found.metrics["document_accuracy"] == pytest.approx(sk.accuracy_score(truth, told))
    assert found.metrics["document_macro_f1"] == pytest.approx(sk.f1_score(truth, told, average="macro"))
    assert [row["recall"] for row in found.per_class] == pytest.approx(
        sk.recall_score(truth, told, average=None, labels=TYPES).tolist()
    )
    assert all(1 / 3 <= verdict.confidence <= 1 for verdict in found.verdicts)
    assert found.pages == len(selected(workspace, FeatureStore.open(workspace.store_path(IDENTITY.space))).y)
    assert workspace.classifiers() == []


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_groups_are_respected(workspace: Workspace, kind: str) -> None:
    """Copies of a page that are in one group do not help each other: meaningless labels score like chance."""
    rng = np.random.default_rng(5)
    kinds = rng.permutation(["form", "letter"] * 7)
    path = workspace.store_path(IDENTITY.space)
    writer = FeatureWriter(FeatureStore.create(path, IDENTITY, BLOCKS), {})
    labels = []
    for template, label in enumerate(kinds):
        X = rng.normal(0, 1, 12)
        for copy in range(4):
            number = 4 * template + copy
            page = PageInfo(PageRef(sha(number), 0, f"/{number}.pdf"), 1, 595.0, 842.0, 0.1)
            writer.append(FeatureBatch((page,), (X + rng.normal(0, 0.01, 12))[None].astype(np.float32)))
            labels.append(Label(sha(number), f"/{number}.pdf", str(label), 0, f"template {template}"))
    writer.flush()
    store = FeatureStore.open(path)
    write_labels(workspace, labels)
    honest = evaluate(workspace, store, TrainingRecipe(kind)).metrics
    assert honest["groups"] == 14
    write_labels(workspace, [dataclasses.replace(label, group="") for label in labels])
    unnamed = evaluate(workspace, store, TrainingRecipe(kind)).metrics
    assert unnamed["groups"] == 14  # near copies are found without being told
    assert honest["document_accuracy"] < 0.7
    assert unnamed["document_accuracy"] < 0.7


@pytest.mark.parametrize("call", [fit, evaluate])
def test_labels_of_pages_alone_are_enough(workspace: Workspace, call: Any) -> None:
    """Where every document is a bundle of several types, labelled page by page, a classifier can be fitted."""
    store = write_store(workspace, [Document("form", ["ok"] * 2) for _ in range(8)])
    write_labels(workspace, [Label(sha(n), "", TYPES[page], page + 1) for n in range(8) for page in range(2)])
    call(workspace, store, TrainingRecipe("svm"))


@pytest.mark.parametrize("call", [fit, evaluate])
def test_three_pages_of_each_type_are_enough(workspace: Workspace, call: Any) -> None:
    """Three documents of one page of each of three types can be learnt and measured."""
    made = [Document(TYPES[n % 3]) for n in range(9)]
    label_all(workspace, made)
    call(workspace, write_store(workspace, made), TrainingRecipe("svm"))


FINETUNED = dataclasses.replace(IDENTITY, backbone="finetuned:mine")


def trained_store(workspace: Workspace, documents: Sequence[Document], trained: int) -> FeatureStore:
    """A store of a network that was trained on the first documents; no document looks nearly like another one."""
    documents = [dataclasses.replace(document, noise=max(document.noise, 0.6)) for document in documents]
    store = write_store(workspace, documents, FINETUNED)
    label_all(workspace, documents)
    write_json(
        workspace.backbone_path("mine") / "manifest.json",
        {"weights_sha256": FINETUNED.weights_sha256, "documents": {"trained": [sha(n) for n in range(trained)]}},
    )
    return store


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_trained_network_is_measured_on_what_it_has_not_seen(
    workspace: Workspace, documents: list[Document], kind: str
) -> None:
    """Figures, temperatures and candidates come from its unseen documents alone; all are learnt from."""
    store = trained_store(workspace, documents, 12)
    bundle = fit(workspace, store, TrainingRecipe(kind))
    assert (bundle.fitted_on["documents"], bundle.metrics["held_out_documents"]) == (24, 12)
    assert bundle.metrics["seen_documents"] == 12
    assert len(bundle.documents.truth) == 12
    found = evaluate(workspace, store, TrainingRecipe(kind))
    assert {verdict.document_sha256 for verdict in found.verdicts} == {sha(n) for n in range(12, 24)}
    ours, theirs = dict(found.metrics), dict(bundle.metrics)
    for name in ("calibration_error", "document_calibration_error"):  # temperatures are searched for: threads add up
        assert ours.pop(name) == pytest.approx(theirs.pop(name), rel=1e-3)
    assert ours == theirs


def test_without_unseen_documents_nothing_is_claimed(workspace: Workspace, documents: list[Document]) -> None:
    """There is no figure, and the classifier calls all its answers ambiguous; it can be saved and loaded."""
    store = trained_store(workspace, documents, 16)
    fit(workspace, store, TrainingRecipe("svm"))
    loaded = ClassifierBundle.load(workspace.classifier_path("svm"))
    assert loaded.metrics["document_macro_f1"] is None
    assert loaded.metrics["seen_documents"] == 24
    pages = selected(workspace, store)
    decided = loaded.pages.decide(loaded.log_scores(pages.X), loaded.distances(pages.X), Rule())
    assert set(decided.status) == {"ambiguous"}
    found = evaluate(workspace, store, TrainingRecipe("svm"))
    assert (found.verdicts, found.per_class, found.matrix.sum()) == ([], [], 0)


def test_training_does_not_import_torch(workspace: Workspace, store: FeatureStore, tmp_path: Path) -> None:
    """Fitting, saving, loading and measuring leave torch, OpenVINO and the readers of documents out."""
    program = """
import sys
from pathlib import Path
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import evaluate, fit
from embedpipe.store.workspace import Workspace

workspace = Workspace(Path(sys.argv[1]))
store = workspace.store()
for kind in ("svm", "knn", "head"):
    fit(workspace, store, TrainingRecipe(kind))
    ClassifierBundle.load(workspace.classifier_path(kind)).log_scores(store.features(store.pages()["page_id"].to_numpy()))
evaluate(workspace, store, TrainingRecipe("svm"))
print([name for name in ("torch", "torchvision", "timm", "openvino") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(workspace.root)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ,
    )
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr
    assert workspace.classifiers() == ["head", "knn", "svm"]
