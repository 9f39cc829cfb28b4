"""Pictures of stored pages: kept thumbnails first, then what can be drawn, and a word about the rest."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedpipe.backbones.building import load_backbone
from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.core.records import PageRef
from embedpipe.drawing.tiles import page_tiles
from embedpipe.embedding import page_pictures as module
from embedpipe.embedding.page_pictures import page_jpegs, page_pictures
from embedpipe.pages.extras.thumbnails import LONG_SIDE, pixels_of
from embedpipe.store.page_extras import thumbnails_of
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed

CHOICE = EngineChoice("cpu", "fp32", "torch")


@pytest.fixture
def letter(make_pdf: Callable[..., Path]) -> Path:
    """Two pages."""
    return make_pdf("in/letter.pdf", ["Dear Sir or Madam", "Yours sincerely"])


def keys_of(workspace: Workspace) -> list[tuple[str, int]]:
    """All stored pages."""
    pages = workspace.store().pages()
    return list(zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True))


def test_kept_thumbnails_need_no_document(
    workspace: Workspace, tiny: Backbone, letter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No worker starts, also while the document is there."""
    embed(workspace, [str(letter)], tiny)

    def draw(*_: Any, **__: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(module, "each_page", draw)
    keys = keys_of(workspace)
    assert page_jpegs(workspace, keys) == thumbnails_of(workspace.root, keys)
    letter.unlink()
    shown = page_pictures(workspace, keys)
    assert {max(pixels.shape) for pixels in shown.values()} == {LONG_SIDE}
    assert [tile.caption for tile in page_tiles(workspace, [(PageRef(*keys[0], str(letter)), "")])] == [
        "letter.pdf p. 1"
    ]


def test_what_is_not_kept_is_drawn_and_the_rest_is_told(
    workspace: Workspace, tiny: Backbone, letter: Path, make_pdf: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    """One page kept, one drawn at the size that is asked for, one of a document that is gone."""
    gone = make_pdf("in/gone.pdf", ["Gone"])
    embed(workspace, [str(gone), str(letter)], tiny, keep=())
    gone.unlink()
    keys = sorted(keys_of(workspace), key=lambda key: key[1])
    small = page_jpegs(workspace, keys)
    assert len(small) == 2
    first = next(iter(small))
    with caplog.at_level(logging.WARNING):
        shown = page_pictures(workspace, keys, 400, known={first: small[first]})
    assert sorted(max(pixels.shape) for pixels in shown.values()) == [LONG_SIDE, 400]
    assert "1 of 3 pages are shown without a picture" in caplog.text


def test_of_cropped_pages_the_whole_is_kept(
    workspace: Workspace, tiny: Backbone, make_image: Callable[..., Path]
) -> None:
    """The network sees the middle of the page, and people see all of it."""
    wide = make_image("in/wide.png", size=(400, 200))
    recipe = replace(tiny.identity.recipe, resize="crop")
    cropping = load_backbone(tiny.identity.backbone, weights="none", recipe=recipe, choice=CHOICE)
    embed(workspace, [str(wide)], cropping)
    [picture] = thumbnails_of(workspace.root, keys_of(workspace)).values()
    assert np.abs(np.array(pixels_of(picture).shape) - (LONG_SIDE / 2, LONG_SIDE, 3)).max() <= 1
