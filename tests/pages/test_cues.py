"""Facts of pages: what they are for text, pictures and drawings, and that no file can break them."""

from pathlib import Path

import numpy as np
import pymupdf
import pytest
from PIL import Image

from embedpipe.backbones.engines import Backbone
from embedpipe.core.records import Document, PageImage, Recipe
from embedpipe.embedding.cue_table import CuedStore, cues_of
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.cues import CUES, UNKNOWN, of_part, page_cues
from embedpipe.pages.documents import Limits, ReadOptions
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.walking import FoundFile, identify, walk
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed


def facts(page: pymupdf.Page, index: int = 0, count: int = 1) -> dict[str, float]:
    """The cues of a page by name."""
    return dict(zip(CUES, page_cues(page.rect.width, page.rect.height, index, count, page), strict=True))


@pytest.fixture
def page() -> pymupdf.Page:
    """An empty page; its document lives as long as it."""
    return pymupdf.open().new_page(width=400, height=600)


def test_text_is_counted_and_measured(page: pymupdf.Page) -> None:
    """Characters, fonts and their sizes are told; a word in capitals 40 points high is the largest."""
    page.insert_text((50, 100), "A" * 60, fontsize=8)
    page.insert_text((50, 300), "TITLE", fontsize=40, fontname="hebo")
    found = facts(page, index=1, count=2)
    assert found["log_characters"] == pytest.approx(np.log1p(65), abs=0.1)
    assert found["font_size"] == pytest.approx(0.8)
    assert found["largest_font_size"] == pytest.approx(4.0)
    assert found["log_fonts"] == pytest.approx(np.log(3))
    assert found["embedded_fonts"] == 0.0  # the standard fonts never are
    assert 0 < found["text_area"] < 0.2
    assert found["image_area"] == found["vector_area"] == found["landscape"] == 0.0
    assert found["last_page"] == found["known"] == found["vector_page"] == 1.0
    assert found["log_pages"] == pytest.approx(np.log(2))


def test_areas_of_images_and_drawings_are_told_apart(page: pymupdf.Page) -> None:
    """An image over the left half and a filled box over a quarter have their shares; overlaps count once."""
    pixels = pymupdf.Pixmap(pymupdf.csRGB, (0, 0, 8, 12))
    for _ in range(2):
        page.insert_image((0, 0, 200, 600), pixmap=pixels, keep_proportion=False)
    page.draw_rect((200, 0, 400, 300), fill=(1, 0, 0), color=None)
    found = facts(page)
    assert found["image_area"] == pytest.approx(0.5, abs=0.03)
    assert found["vector_area"] == pytest.approx(0.25, abs=0.03)
    assert found["text_area"] == found["log_characters"] == found["font_size"] == 0.0


def test_a_scan_has_its_shape_only() -> None:
    """Pictures have no text and no size on paper: all of that is zero, and said to be so."""
    small, large = page_cues(600, 800, 0, 1, None), page_cues(1200, 1600, 0, 1, None)
    assert small == pytest.approx(large)
    assert dict(zip(CUES, small, strict=True))["vector_page"] == 0.0
    assert small[CUES.index("vector_page") + 1 :] == UNKNOWN[CUES.index("vector_page") + 1 :]


def test_parts_have_the_cues_of_documents_of_their_own() -> None:
    """A page of a pile gets the page count of its part; unknown cues stay unknown."""
    rows = np.array([page_cues(10, 20, i, 9, None) for i in (3, 4)] + [UNKNOWN], np.float32)
    expected = np.array([page_cues(10, 20, i, 2, None) for i in (0, 1)] + [UNKNOWN], np.float32)
    np.testing.assert_allclose(of_part(rows, [0, 1, 1], 2), expected, rtol=1e-6)


def test_hostile_files_break_nothing(nasty: Path) -> None:
    """Whatever can be rendered of the hostile files has finite cues, and the workers come to an end."""
    names = (
        "q_nest",
        "path_300k",
        "form_billion",
        "tiling",
        "content_bomb_1G",
        "userunit",
        "issue9418",
        "rotate",
        "gif",
    )
    found = [item for item in walk([str(nasty)]) if isinstance(item, FoundFile) and any(n in item.path for n in names)]
    documents = [item for item in (identify(f, Limits()) for f in found) if isinstance(item, Document)]
    assert len(documents) > 5
    jobs = (Job(document, Selection(((1, 2),))) for document in documents)
    with Renderer(ReadOptions(Recipe(size=32), limits=Limits(page_seconds=4), cues=True), 2) as renderer:
        results = [page for rendered in renderer.render(jobs) for page in rendered.results]
    pages = [page for page in results if isinstance(page, PageImage)]
    assert pages
    assert np.isfinite([page.info.cues for page in pages]).all()
    assert {len(page.info.cues) for page in pages} == {len(CUES)}


def test_cues_are_read_once_and_joined(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Cues of stored pages are read from their files and kept; with the file gone they are still there."""
    file, picture = tmp_path / "a.pdf", tmp_path / "b.png"
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "one")
        document.new_page(width=842, height=595)
        document.save(file)
    Image.new("L", (60, 80), 128).save(picture)
    embed(workspace, [str(tmp_path)], tiny, settings=Settings(workers=1))
    plain = workspace.store()
    ids = plain.pages()["page_id"].to_numpy()
    store = CuedStore(workspace, plain)
    X = store.features(ids)
    assert store.blocks[-1] == ("cues", plain.dim, plain.dim + len(CUES))
    np.testing.assert_array_equal(X[:, : plain.dim], plain.features(ids))
    assert X[:, plain.dim + CUES.index("known")].tolist() == [1.0] * 3
    assert sorted(X[:, plain.dim + CUES.index("landscape")].tolist()) == [0.0, 0.0, 1.0]
    file.unlink()
    np.testing.assert_array_equal(CuedStore(workspace, plain).features(ids), X)
    [(again, rows)] = list(CuedStore(workspace, plain).batches())
    np.testing.assert_array_equal(rows, X[np.searchsorted(ids, again)])
    (workspace.root / "cues.parquet").write_bytes(b"damaged")
    keys = list(zip(plain.pages()["document_sha256"], plain.pages()["page_index"], strict=True))
    lost = cues_of(workspace, keys)
    assert sorted(lost[:, 0].tolist()) == [0.0, 0.0, 1.0]
    assert "2 pages are not known" in caplog.text
