"""The map of a store."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from typer.testing import CliRunner

from embedpipe.backbones.building import Backbone
from embedpipe.backbones.engines import Backbone as Engine
from embedpipe.classifiers import training
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.commands import app
from embedpipe.core.errors import ArtifactError
from embedpipe.core.records import FeatureBatch, PageFailure, PageInfo, PageRef
from embedpipe.embedding.streaming import Settings
from embedpipe.index.page_index import fresh_index
from embedpipe.pages.rendering import Selection
from embedpipe.samples import draw_samples
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import classify
from embedpipe.tasks.embed import embed
from embedpipe.tasks.map import Wanted, as_json, export_projector, make, notes, write_html

PCA = Wanted("pca")


@pytest.fixture(scope="module")
def drawn(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small labelled pile."""
    folder = tmp_path_factory.mktemp("maps")
    draw_samples(folder / "pile", per_type=3, types=("slides", "book"))
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    return workspace


def fill(workspace: Workspace, tiny: Engine, X: np.ndarray, pages_of_a_document: int = 4) -> FeatureStore:
    """A store with these features, in two parts; documents have as many pages, and no file."""
    path = workspace.store_path(tiny.identity.space)
    store = FeatureStore.create(path, tiny.identity, [("all", 0, X.shape[1])])
    for half in np.array_split(np.arange(len(X)), 2):
        writer = FeatureWriter(store, {})
        infos = [
            PageInfo(
                PageRef(f"{row // pages_of_a_document:064x}", int(row % pages_of_a_document), f"/gone/{row}.pdf"),
                pages_of_a_document,
                595,
                842,
                0.1,
            )
            for row in half.tolist()
        ]
        if infos:
            writer.append(FeatureBatch(tuple(infos), X[half].astype(np.float32)))
        writer.flush()
    return store


def kinds(rows: int) -> np.ndarray:
    """Features of two kinds in turns of four."""
    rng = np.random.default_rng(0)
    return 5 * rng.normal(size=(2, 16))[np.arange(rows) // 4 % 2] + rng.normal(size=(rows, 16))


def test_pages_are_placed_by_the_features_that_the_index_compares(drawn: Workspace) -> None:
    """Every page has its place, type and picture; distances in all components are those of the index."""
    store = drawn.store()
    found = make(drawn, store, PCA)
    pages = store.pages()
    assert [(p.page.document_sha256, p.page.page_index) for p in found.points] == list(
        zip(pages["document_sha256"], pages["page_index"], strict=True)
    )
    assert set(found.types) == {"slides", "book"}
    assert all(point.thumbnail for point in found.points)
    index = fresh_index(store, drawn.index_path(store.identity.space))
    unit = index.unit(store.features(pages["page_id"].to_numpy(np.int64)))
    centred = unit - unit.mean(axis=0)
    share = found.reduced.shares.sum()
    assert (found.reduced.X**2).sum() == pytest.approx(share * (centred**2).sum(), rel=1e-3)
    np.testing.assert_array_equal(found.places, make(drawn, store, PCA).places)
    assert found.explained == pytest.approx(found.reduced.shares[:2].sum())


def test_rows_stay_with_their_pages_over_parts(workspace: Workspace, tiny: Backbone) -> None:
    """Pages of one kind lie together, though their features come from several parts and some are left out."""
    X = kinds(80)
    found = make(workspace, fill(workspace, tiny, X), Wanted("pca", limit=41))
    kind = np.array([int(point.page.document_sha256, 16) % 2 for point in found.points])
    side = found.places[:, 0] > found.places[:, 0].mean()
    assert len(kind) == 41
    assert set(Counter(zip(kind.tolist(), side.tolist(), strict=True)).values()) <= {20, 21}


def test_a_sample_takes_from_every_document_and_says_so(workspace: Workspace, tiny: Backbone) -> None:
    """Beyond the limit documents take turns; the summary and the page name what is left out; the seed decides."""
    store = fill(workspace, tiny, kinds(80))
    found = make(workspace, store, Wanted("pca", limit=30))
    counts = Counter(point.page.document_sha256 for point in found.points)
    assert len(counts) == 20
    assert set(counts.values()) == {1, 2}
    assert as_json(found)["left_out"]["over_limit"] == 50
    assert any(note.startswith("50 pages are left out: this is a sample") for note in notes(found))
    again, other = (make(workspace, store, Wanted("pca", limit=30, seed=seed)) for seed in (0, 1))
    assert [p.page for p in again.points] == [p.page for p in found.points] != [p.page for p in other.points]


def test_what_is_not_drawn_is_counted(drawn: Workspace, tmp_path: Path, tiny: Backbone) -> None:
    """Pages that were not asked for, blank ones, failures, and pictures over the limit; also in the HTML file."""
    store = drawn.store()
    found = make(drawn, store, Wanted("pca", Selection.parse("1"), thumbnails=2))
    values = as_json(found)
    assert values["pages"] == values["documents"] == 6
    assert values["left_out"]["not_selected"] == len(store.pages()) - 6
    assert values["thumbnails"] == {"drawn": 2, "over_limit": 4, "unavailable": 0}
    write_html(found, "space", tmp_path / "map.html")
    html = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert "4 pages are drawn without a picture" in html
    assert "PCA, " in html


def test_blank_pages_and_failures_are_counted(workspace: Workspace, tiny: Backbone) -> None:
    """Blank pages are no points; failures have no features."""
    store = FeatureStore.create(workspace.store_path(tiny.identity.space), tiny.identity, [("all", 0, 8)])
    writer = FeatureWriter(store, {})
    outcomes = ["ok", "blank", "ok", "blank"]
    infos = tuple(PageInfo(PageRef("a" * 64, n, "/a.pdf"), 4, 595, 842, 0.1, o) for n, o in enumerate(outcomes))
    writer.append(FeatureBatch(infos, np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)))
    writer.fail(PageFailure(PageRef("b" * 64, 0, "/b.pdf"), "timeout", "too slow"))
    writer.flush()
    found = make(workspace, store, PCA)
    assert [point.page.page_number for point in found.points] == [1, 3]
    assert found.left_out == {"blank": 2, "not_selected": 0, "over_limit": 0, "failed": 1}
    with pytest.raises(ArtifactError, match="none of the 4 pages"):
        make(workspace, store, Wanted("pca", Selection.parse("2")))


def test_a_document_that_is_gone_is_still_a_point(tiny: Backbone, tmp_path: Path) -> None:
    """Without a picture, and that is said; its label and its place stay."""
    draw_samples(tmp_path / "pile", per_type=2, types=("slides",))
    workspace = Workspace(tmp_path / "artifacts")
    embed(workspace, [str(tmp_path / "pile")], tiny, label_by_folder=True, keep=())
    gone = next((tmp_path / "pile").rglob("*.pdf"))
    content = gone.read_bytes()
    gone.unlink()
    found = make(workspace, workspace.store(), PCA)
    missing = [point for point in found.points if point.thumbnail is None]
    assert missing
    assert {point.page.source for point in missing} == {str(gone)}
    assert {point.label for point in missing} == {"slides"}
    assert found.unavailable == len(missing)
    assert f"{len(missing)} pages have no picture: the file is gone" in " ".join(notes(found))
    gone.write_bytes(content)
    embed(workspace, [str(tmp_path / "pile")], tiny)
    gone.unlink()
    assert make(workspace, workspace.store(), PCA).unavailable == 0  # once its thumbnail is kept, the file may go


def test_encrypted_documents_have_a_picture_with_their_password(tiny: Backbone, tmp_path: Path) -> None:
    """Without it that is said, and they are points all the same."""
    with pymupdf.open() as document:
        document.new_page().insert_text((60, 100), "secret", fontsize=40)
        document.save(tmp_path / "a.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="open", owner_pw="own")
    workspace = Workspace(tmp_path / "artifacts")
    embed(workspace, [str(tmp_path / "a.pdf")], tiny, settings=Settings(passwords=("open",)), keep=())
    assert make(workspace, workspace.store(), PCA).unavailable == 1
    found = make(workspace, workspace.store(), Wanted("pca", passwords=("open",)))
    assert (found.unavailable, len(found.points)) == (0, 1)


@pytest.mark.parametrize("rows", [1, 2, 30])
def test_pages_that_are_all_the_same(workspace: Workspace, tiny: Backbone, tmp_path: Path, rows: int) -> None:
    """However few they are, they get places that are numbers, a map and a projection."""
    found = make(workspace, fill(workspace, tiny, np.ones((rows, 8))), PCA)
    assert np.isfinite(found.places).all()
    assert found.explained is not None
    assert np.isfinite(found.explained)
    write_html(found, "space", tmp_path / "map.html")
    export_projector(found, tmp_path / "projector")
    assert len((tmp_path / "projector" / "tensors.tsv").read_text().splitlines()) == rows


def test_without_pages_there_is_no_map(workspace: Workspace, tiny: Backbone) -> None:
    """An empty store is an error that says what to do."""
    with pytest.raises(ArtifactError, match="run `embed`"):
        make(workspace, fill(workspace, tiny, np.ones((0, 8))), PCA)


def test_unlabelled_pages_are_told_apart(workspace: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """They are counted, and called so in the projection, whose rows are those of the map."""
    store = fill(workspace, tiny, kinds(16))
    labels = workspace.labels()
    labels.add([Label(f"{0:064x}", "/gone/0.pdf", "形式")])
    labels.save(workspace.labels_file)
    found = make(workspace, store, PCA)
    assert as_json(found)["types"] == {"形式": 4}
    assert as_json(found)["unlabelled"] == 12
    export_projector(found, tmp_path / "projector")
    lines = (tmp_path / "projector" / "metadata.tsv").read_text(encoding="utf-8").splitlines()[1:]
    assert [line.split("\t")[0] for line in lines] == [point.label or "unlabelled" for point in found.points]
    values = np.loadtxt(tmp_path / "projector" / "tensors.tsv", delimiter="\t")
    np.testing.assert_allclose(values, found.reduced.X, rtol=1e-4, atol=1e-5)


def test_predictions_are_those_of_classify(drawn: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """Type and status of each document, for its pages; without a classifier there are none."""
    bundle = training.fit(drawn, drawn.store(), TrainingRecipe("knn"), "types")
    found = make(drawn, drawn.store(), Wanted("pca", classifier=bundle))
    paths = sorted({point.page.source for point in found.points})
    verdicts, _ = classify.classify(drawn, paths, bundle, lambda: tiny)
    told = {v.document_sha256: (v.prediction.label, v.prediction.status) for v in verdicts}
    assert {point.page.document_sha256: (point.predicted, point.status) for point in found.points} == told
    assert as_json(found)["predicted"]["classifier"] == "types"
    write_html(found, "space", tmp_path / "map.html")
    assert "Predicted by" in (tmp_path / "map.html").read_text(encoding="utf-8")
    assert as_json(make(drawn, drawn.store(), PCA))["predicted"] is None


def test_the_command_takes_the_only_classifier_that_fits(drawn: Workspace, tmp_path: Path) -> None:
    """With several it takes none unless one is named; what cannot be is refused."""

    def command(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(
            app,
            ["map", "--artifacts", str(drawn.root), "--html", str(tmp_path / "map.html"), "--method", "pca", *options],
        )
        return done.exit_code, done.output + str(done.exception or "")

    training.fit(drawn, drawn.store(), TrainingRecipe("knn"), "types")
    assert json.loads(command("--json")[1].splitlines()[0])["predicted"]["classifier"] == "types"
    assert json.loads(command("--json", "--no-predictions")[1].splitlines()[0])["predicted"] is None
    assert "leave --no-predictions out" in command("--no-predictions", "--classifier", "types")[1]
    training.fit(drawn, drawn.store(), TrainingRecipe("knn"), "other")
    code, output = command()
    assert (code, "several classifiers" in output) == (0, True)
    assert "choose one with --classifier" in command("--predictions")[1]
    assert (
        json.loads(command("--json", "--classifier", "other")[1].splitlines()[0])["predicted"]["classifier"] == "other"
    )
