"""Labels without features: why, who refuses, and what heals it."""

import dataclasses
import json
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from classifiers.test_training import (
    BLOCKS,
    IDENTITY,
    TYPES,
    Document,
    centre,
    label_all,
    sha,
    write_labels,
    write_store,
)
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.lessons import missing
from embedpipe.classifiers.lessons.missing import _Document, _Found
from embedpipe.classifiers.lessons.reading import make_variants
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.commands import app
from embedpipe.core.errors import ArtifactError, LabelsError
from embedpipe.core.records import WHOLE_FILE, FeatureBatch, PageFailure, PageInfo, PageRef
from embedpipe.core.records import Document as File
from embedpipe.pages.rendering import Selection
from embedpipe.store import part_contents
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.check_labels import check

RECIPE = TrainingRecipe("head")


@pytest.fixture
def documents() -> list[Document]:
    """30 documents of three types, three pages each: parts of ten documents, 30 pages."""
    return [Document(TYPES[n // 10], ["ok"] * 3) for n in range(30)]


@pytest.fixture
def store(workspace: Workspace, documents: list[Document]) -> FeatureStore:
    """Their features, all labelled: part 1 holds the invoices."""
    label_all(workspace, documents)
    return write_store(workspace, documents)


def zero(part: Path, column: str) -> None:
    """Zeroes 64 bytes, or all there are, in the data of a column; size and time of the file stay."""
    place = next(
        found
        for n in range(pq.read_metadata(part).row_group(0).num_columns)
        if (found := pq.read_metadata(part).row_group(0).column(n)).path_in_schema.startswith(column)
    )
    start = place.dictionary_page_offset or place.data_page_offset
    content = bytearray(part.read_bytes())
    end = start + place.total_compressed_size
    begin = max(start, end - 64)
    content[begin:end] = bytes(end - begin)
    part.write_bytes(content)


def forget_contents(store: FeatureStore) -> None:
    """Makes a store one of an earlier version, which kept no contents."""
    for number in part_contents.numbers(store.path):
        part_contents.path_of(store.path, number).unlink()


def put_aside(store: FeatureStore) -> None:
    """What the next `embed` of other files does."""
    FeatureWriter(FeatureStore.open(store.path), {})


DAMAGE: dict[str, Callable[[FeatureStore], None]] = {
    "features": lambda store: zero(store.path / "part-000001.parquet", "embedding"),
    "documents": lambda store: zero(store.path / "part-000001.parquet", "document_sha256"),
    "the whole file": lambda store: (store.path / "part-000001.parquet").write_bytes(b"") and None,
    "deleted": lambda store: (store.path / "part-000001.parquet").unlink(),
    "manifest as well": lambda store: (
        [(store.path / name).unlink() for name in ("part-000001.parquet", "manifest.json")] and None
    ),
}


@pytest.mark.parametrize("writer", [False, True], ids=["read", "after a writer"])
@pytest.mark.parametrize("how", DAMAGE)
def test_fitting_refuses_what_was_lost_and_embedding_heals_it(
    how: str, workspace: Workspace, store: FeatureStore, documents: list[Document], *, writer: bool
) -> None:
    """However a part is damaged: nobody learns from the rest unasked; it is said of which types, and how it heals."""
    DAMAGE[how](store)
    if not writer and how == "manifest as well":
        with pytest.raises(ArtifactError, match=r"manifest\.json is missing"):
            workspace.store()
        return
    if how == "manifest as well":
        FeatureStore.create(store.path, IDENTITY, BLOCKS)
    if writer:
        for _ in range(2):
            FeatureStore.open(store.path).verify()  # finds damage that changed neither size nor time
            put_aside(store)
    with pytest.raises(
        ArtifactError,
        match=r"^10 labelled documents have lost features \(30 pages\): invoice 10: part-000001\S* in \S+ cannot "
        r"be read; run `embed` again on their files, or go on without them: --allow-missing$",
    ):
        fit(workspace, FeatureStore.open(store.path), RECIPE)
    assert workspace.classifiers() == []
    allowed = fit(workspace, FeatureStore.open(store.path), RECIPE, "less", allow_missing=True)
    assert allowed.classes == ["form", "letter"]
    noted = ClassifierBundle.load(workspace.classifier_path("less")).fitted_on
    assert noted["types"] == {"form": 10, "letter": 10}
    assert noted["missing"]["reasons"]["lost"]["types"] == {"invoice": 10}
    assert (noted["missing"]["lost_documents"], noted["missing"]["types_without_pages"]) == (10, ["invoice"])
    assert noted["parts"] == ["part-000000.parquet", "part-000002.parquet"]
    embed_again(store, range(30))
    healed = fit(workspace, FeatureStore.open(store.path), RECIPE).fitted_on
    assert (healed["types"], healed["missing"]["labels"]) == (dict.fromkeys(TYPES, 10), 0)


def embed_again(store: FeatureStore, numbers: Iterable[int], count: int = 3) -> None:
    """What `embed` of some documents does: makes the pages that the store does not know any more."""
    writer = FeatureWriter(FeatureStore.open(store.path), {})
    for number in numbers:
        missing_pages = [i for i in range(count) if i not in writer.known.get(sha(number), ())]
        pages = tuple(
            PageInfo(PageRef(sha(number), i, f"/{number}.pdf"), count, 1, 1, 0.1, "ok") for i in missing_pages
        )
        X = centre(TYPES[number // 10]) + np.random.default_rng(number).normal(0, 0.3, (len(pages), 12))
        writer.append(FeatureBatch(pages, X.astype(np.float32)))
    writer.flush()


def test_some_pages_of_documents_are_lost(workspace: Workspace, store: FeatureStore) -> None:
    """Documents that lie across two parts have lost some pages; with --pages only those asked for count."""
    label_all(workspace, [Document(TYPES[n // 11]) for n in range(31)])
    writer = FeatureWriter(FeatureStore.open(store.path), {})
    for part, indices in ((3, (0, 1)), (4, (2, 3))):
        pages = tuple(PageInfo(PageRef(sha(30), i, "/30.pdf"), 4, 1, 1, 0.1, "ok") for i in indices)
        writer.append(FeatureBatch(pages, np.zeros((2, 12), np.float32)))
        writer.flush()
        assert (store.path / f"part-{part:06d}.parquet").exists()
    (store.path / "part-000004.parquet").unlink()
    damaged = FeatureStore.open(store.path)
    damaged.pages()
    [gap] = missing.take(workspace, damaged).gaps
    assert (gap.label.document_sha256, gap.reason, gap.pages) == (sha(30), "lost", 2)
    assert missing.take(workspace, damaged, Selection.parse("1-3")).gaps[0].pages == 1
    assert missing.take(workspace, damaged, Selection.parse("1-2")).gaps == []
    with pytest.raises(ArtifactError, match=r"1 labelled document has lost features \(2 pages\)"):
        fit(workspace, damaged, RECIPE)
    fit(workspace, damaged, dataclasses.replace(RECIPE, pages="1-2"))


def test_labels_without_features_are_counted_by_reason(workspace: Workspace) -> None:
    """Never embedded, failed, no such page, blank, not asked for: all are told, and nothing is refused for them."""
    made = [*(Document(TYPES[n % 2], ["ok"] * 2) for n in range(8)), Document("form", ["blank"]), Document("form")]
    store = write_store(workspace, made)
    writer = FeatureWriter(store, {})
    writer.fail(PageFailure(PageRef(sha(20), WHOLE_FILE, "/20.pdf"), "encrypted", ""))
    writer.flush()
    write_labels(
        workspace,
        [
            *(Label(sha(n), f"/{n}.pdf", made[n].kind) for n in range(9)),
            Label(sha(0), "/0.pdf", "form", 999),
            Label(sha(1), "/1.pdf", "form", 2),
            Label(sha(20), "/20.pdf", "memo"),
            *(Label(sha(n), f"/{n}.pdf", "memo") for n in range(30, 50)),
        ],
    )
    expected = {
        "failed": {"labels": 1, "types": {"memo": 1}},
        "not_embedded": {"labels": 20, "types": {"memo": 20}},
        "no_such_page": {"labels": 1, "types": {"form": 1}},
        "blank": {"labels": 1, "types": {"form": 1}},
    }
    lacking = missing.take(workspace, store)
    assert lacking.as_json()["reasons"] == expected
    assert lacking.as_json()["types_without_pages"] == ["memo"]
    assert fit(workspace, store, RECIPE).fitted_on["missing"]["reasons"] == expected
    lines = list(lacking.lines())
    assert lines[1].startswith("20 labels (memo 20) are of documents or pages that are not embedded in this space")
    assert lines[-1] == "no page to learn from, so these types are not known: memo"
    second = missing.take(workspace, store, Selection.parse("2")).as_json()["reasons"]
    assert second["not_selected"] == {"labels": 2, "types": {"form": 1, "invoice": 1}}
    findings = check(workspace, store, RECIPE)
    assert findings.missing is not None
    assert findings.missing.as_json()["labels"] == 23


def test_a_store_of_an_earlier_version_remembers_what_can_be_read(workspace: Workspace, store: FeatureStore) -> None:
    """Of a part whose contents were not kept, its own columns tell them, before and after it is put aside."""
    forget_contents(store)
    zero(store.path / "part-000001.parquet", "embedding")
    with pytest.raises(ArtifactError, match="invoice 10"):
        fit(workspace, FeatureStore.open(store.path), RECIPE)
    put_aside(store)
    assert part_contents.numbers(store.path) == {0, 1, 2}
    with pytest.raises(ArtifactError, match=r"\(30 pages\): invoice 10"):
        fit(workspace, FeatureStore.open(store.path), RECIPE)


def test_a_part_that_does_not_tell_what_it_held(workspace: Workspace, store: FeatureStore) -> None:
    """Without contents and columns, labelled documents without features count as lost, until they are back."""
    forget_contents(store)
    (store.path / "part-000001.parquet").write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="10 labelled documents have lost features: invoice 10"):
        fit(workspace, FeatureStore.open(store.path), RECIPE)
    write_labels(workspace, [Label(sha(n), "", TYPES[n // 10]) for n in (0, 1, 2, 20, 21, 22)])
    with pytest.raises(ArtifactError, match="pages were lost, and it is not known of which documents"):
        fit(workspace, FeatureStore.open(store.path), RECIPE)
    embed_again(store, range(30))
    fit(workspace, FeatureStore.open(store.path), RECIPE)


def test_what_a_classifier_learnt_from_was_there(
    workspace: Workspace, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where part and contents are gone, the classifiers tell; but not of documents that were forgotten since."""
    fit(workspace, store, RECIPE)
    sources = workspace.sources()
    for number in range(30):
        sources.add(File(f"/{number}.pdf", sha(number), 1, 1, "pdf"))
    sources.save()
    part = store.path / "part-000001.parquet"
    part.unlink()
    part_contents.path_of(store.path, 1).unlink()
    put_aside(store)
    with pytest.raises(ArtifactError, match=r"10 labelled documents have lost features: invoice 10: what \S+ held"):
        fit(workspace, FeatureStore.open(store.path), RECIPE)
    for number in range(10, 20):
        sources.forget(sha(number))
    sources.save()
    fitted = fit(workspace, FeatureStore.open(store.path), RECIPE)
    assert fitted.fitted_on["missing"]["reasons"]["not_embedded"]["labels"] == 10


def test_forgotten_documents_are_not_lost(workspace: Workspace, store: FeatureStore) -> None:
    """What is forgotten leaves the contents, also those of a damaged part; the others of that part stay lost."""
    (store.path / "part-000001.parquet").write_bytes(b"nothing")
    writer = FeatureWriter(FeatureStore.open(store.path), {})
    assert writer.documents() == {sha(n) for n in range(30)}
    writer.forget({sha(0), sha(10), sha(11)})
    damaged = FeatureStore.open(store.path)
    assert set(damaged.lost().pages["document_sha256"].to_pylist()) == {sha(n) for n in range(12, 20)}
    assert FeatureWriter(damaged, {}).documents() == {sha(n) for n in range(1, 30) if n not in (10, 11)}


def test_parts_that_are_just_being_written_are_not_lost(workspace: Workspace, store: FeatureStore) -> None:
    """A reader whose snapshot is older than a part takes its contents for no loss; failing pages are none either."""
    snapshot = FeatureStore.open(store.path)
    label_all(workspace, [Document(TYPES[n // 14]) for n in range(40)])
    writer = FeatureWriter(FeatureStore.open(store.path), {})
    for number in range(30, 32):
        ref = PageRef(sha(number), 0, "/new.pdf")
        writer.append(FeatureBatch((PageInfo(ref, 1, 1, 1, 0.1, "ok"),), np.zeros((1, 12), np.float32)))
        writer.flush()
    assert missing.take(workspace, snapshot).lost == []
    (store.path / "part-000004.parquet").unlink()
    writer = FeatureWriter(FeatureStore.open(store.path), {})
    assert [gap.label.document_sha256 for gap in missing.take(workspace, FeatureStore.open(store.path)).lost] == [
        sha(31)
    ]
    writer.fail(PageFailure(PageRef(sha(31), 0, "/new.pdf"), "page_error", ""))
    writer.flush()
    assert missing.take(workspace, FeatureStore.open(store.path)).lost == []


def test_the_commands_say_it(workspace: Workspace, store: FeatureStore) -> None:
    """`fit-head` refuses in one line, and goes on when told to; families are not labelled by numbers that moved."""
    zero(store.path / "part-000001.parquet", "embedding")
    artifacts = ["--artifacts", str(workspace.root)]
    runner = CliRunner()
    refused = runner.invoke(app, ["fit-head", *artifacts])
    assert isinstance(refused.exception, ArtifactError)
    allowed = runner.invoke(app, ["fit-head", "--allow-missing", "--json", "--quiet", *artifacts])
    values = json.loads(allowed.stdout)
    assert values["types"] == {"form": 10, "letter": 10}
    assert values["missing"]["lost_documents"] == 10
    told = runner.invoke(app, ["fit-head", "--allow-missing", *artifacts])
    assert "10 labels (invoice 10) have lost features: run `embed` again on their files" in told.stdout
    assert "these types are not known: invoice" in told.stdout
    put_aside(store)
    assert isinstance(runner.invoke(app, ["evaluate", *artifacts]).exception, ArtifactError)
    measured = runner.invoke(
        app, ["evaluate", "--allow-missing", "--json", "--quiet", *artifacts], catch_exceptions=False
    )
    assert json.loads(measured.stdout)["missing"]["reasons"]["lost"]["pages"] == 30
    found = runner.invoke(app, ["families", "--json", "--quiet", *artifacts], catch_exceptions=False)
    assert json.loads(found.stdout)["missing"] == {
        "documents": 10,
        "pages": 30,
        "parts": ["part-000001.parquet.damaged"],
    }
    by_number = runner.invoke(app, ["label", "--cluster", "1", "--as", "memo", *artifacts])
    assert isinstance(by_number.exception, ArtifactError)
    assert "30 pages of 10 documents have lost their features" in str(by_number.exception)


def test_cues_that_are_not_known_are_refused(workspace: Workspace, store: FeatureStore) -> None:
    """No classifier learns from zeros in place of cues unasked; its manifest counts them."""
    recipe = TrainingRecipe("head", cues=True)
    with pytest.raises(ArtifactError, match=r"the cues of 90 labelled pages are not known.*--allow-missing"):
        fit(workspace, store, recipe)
    assert fit(workspace, store, recipe, allow_missing=True).fitted_on["missing"]["cues_of_pages"] == 90


def test_variants_are_not_made_for_what_is_refused(workspace: Workspace, store: FeatureStore) -> None:
    """A fit that will be refused costs no variants."""
    (store.path / "part-000001.parquet").unlink()

    def none_needed() -> Backbone:
        raise AssertionError

    with pytest.raises(ArtifactError, match="lost features"):
        make_variants(workspace, FeatureStore.open(store.path), TrainingRecipe("head", augment=1), none_needed)


def test_all_that_was_labelled_is_lost(workspace: Workspace, store: FeatureStore) -> None:
    """It is not said that nothing is labelled."""
    write_labels(workspace, [Label(sha(n), "", "invoice") for n in range(10, 20)])
    (store.path / "part-000001.parquet").unlink()
    with pytest.raises(ArtifactError, match="10 labelled documents have lost features"):
        fit(workspace, FeatureStore.open(store.path), RECIPE)
    with pytest.raises(LabelsError, match="labelled"):
        fit(workspace, FeatureStore.open(store.path), RECIPE, allow_missing=True)


def test_the_rule_for_a_label() -> None:
    """Pages with labels of their own, blank, lost, not asked for: what each label lacks, by hand."""
    document = _Document(Selection(), {0: "ok"}, {1: "ok", 2: "blank"}, set(), 3)
    assert document.whole(set()) == _Found("lost", 1, used=True)
    assert document.whole({1}) == _Found(used=True)
    assert document.whole({0, 1}) == _Found("blank")
    assert document.whole({0, 1, 2}) == _Found()  # its label is of no page
    assert [document.page(i) for i in (0, 1, 2)] == [_Found(used=True), _Found("lost", 1), _Found("blank")]
    assert document.page(9) == _Found("no_such_page")
    assert _Document(Selection(((5, 5),)), {}, {1: "ok"}, set(), 9).whole(set()) == _Found("not_selected")
    assert _Document(Selection()).whole(set()) == _Found("not_embedded")
