"""Pages rendered once and kept as pixels."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from embedpipe.core.records import Document, Recipe
from embedpipe.embedding.streaming import Settings
from embedpipe.finetuning.page_cache import PageCache
from embedpipe.pages.augmentation import LARGER
from embedpipe.pages.documents import Limits
from embedpipe.pages.walking import FoundFile, identify


def found(file: Path) -> Document:
    """A file as the walk finds it."""
    status = file.stat()
    document = identify(
        FoundFile(str(file), status.st_size, status.st_mtime_ns, named=True, type_folder=None), Limits()
    )
    assert isinstance(document, Document)
    return document


def test_pages_keep_their_ids_and_pixels(make_pdf: Callable[..., Path], tmp_path: Path) -> None:
    """Pages come back by document and index, somewhat larger than wanted; what fails is told; no file stays behind."""
    wide = found(make_pdf("wide.pdf", ["wide"], paper=(842, 595)))
    two = found(make_pdf("two.pdf", ["one", ""]))
    gone = found(make_pdf("gone.pdf", ["gone"]))
    Path(gone.path).unlink()
    folder = tmp_path / "cache"
    folder.mkdir()
    with PageCache([wide, two, gone], Recipe(size=64), "bicubic", Settings(workers=1), folder) as cache:
        assert [(i.ref.document_sha256, i.ref.page_index) for i in cache.infos] == sorted(
            [(wide.sha256, 0), (two.sha256, 0), (two.sha256, 1)]
        )
        assert [failure.page.source for failure in cache.failures] == [gone.path]
        for index, info in enumerate(cache.infos):
            lies = info.ref.document_sha256 == wide.sha256
            assert cache.shape(index) == ((48, 64) if lies else (64, 48))
            assert cache[index].dtype == np.uint8
            assert max(cache[index].shape) == round(64 * LARGER)
            assert (info.outcome == "blank") == bool((cache[index] == 255).all())
    assert list(folder.iterdir()) == []


def test_no_documents_are_no_pages(tmp_path: Path) -> None:
    """Nothing is rendered for nothing."""
    with PageCache([], Recipe(size=64), "bicubic", Settings(workers=1), tmp_path) as cache:
        assert len(cache) == 0
