"""Thumbnails and words are kept with the features, filled up where they lack, and forgotten with their document."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TINY

from embedpipe.backbones.building import load_backbone
from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.core.errors import NetworkError
from embedpipe.core.records import NO_WORDS, OCR_WORDS, TEXT_WORDS, FeatureBatch, PageInfo, PageRef
from embedpipe.embedding.reading import Reading
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.documents import Limits
from embedpipe.pages.extras.thumbnails import LONG_SIDE, pixels_of
from embedpipe.pages.extras.words import BUCKETS, as_rows, hashed
from embedpipe.pages.rendering import Selection
from embedpipe.store.page_extras import TABLES, THUMBNAILS, WORDS, ExtrasWriter, page_table, thumbnails_of, words_of
from embedpipe.store.page_table import PageTableWriter
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.forget import forget
from embedpipe.tasks.info_verify import examine

LETTER = "Dear Sir or Madam, we thank you for your order"


@pytest.fixture
def letter(make_pdf: Callable[..., Path]) -> Path:
    """A page with words and one without."""
    return make_pdf("in/letter.pdf", [LETTER, ""])


def no_network(*_: Any) -> None:
    """Stands for a network that is not to be used."""
    raise NetworkError("the network was used")


def keys_of(workspace: Workspace) -> list[tuple[str, int]]:
    """All stored pages."""
    pages = workspace.store().pages()
    return list(zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True))


def test_every_page_has_a_thumbnail_and_its_words(
    workspace: Workspace, tiny: Backbone, letter: Path, make_image: Callable[..., Path]
) -> None:
    """The thumbnail has the page's shape and the words are those of its text; pictures and empty pages have none."""
    make_image("in/wide.png", size=(280, 200))
    embed(workspace, [str(letter.parent)], tiny)
    keys = keys_of(workspace)
    shapes = sorted(pixels_of(picture).shape for picture in thumbnails_of(workspace.root, keys).values())
    assert shapes == [(137, LONG_SIDE, 3), (LONG_SIDE, 136, 3), (LONG_SIDE, 136, 3)]
    table = page_table(workspace.root, WORDS).read(keys)
    assert sorted(table["origin"].to_pylist()) == [NO_WORDS, NO_WORDS, TEXT_WORDS]
    rows = words_of(workspace.root, keys)
    (page,) = np.flatnonzero(np.diff(rows.indptr))
    assert (rows[[page]] != as_rows([hashed(LETTER)])).nnz == 0


def test_what_is_not_wanted_is_not_kept_and_comes_later_without_the_network(
    workspace: Workspace, tiny: Backbone, letter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of before fills up when its files are met, once; features, ids and parts stay as they are."""
    embed(workspace, [str(letter)], tiny, keep=())
    assert not (workspace.root / "pages").exists()
    before = workspace.store().pages()
    monkeypatch.setattr(Backbone, "start", no_network)
    report = embed(workspace, [str(letter)], tiny)
    assert (report.embedded, report.skipped, report.filled) == (0, 2, 2)
    assert workspace.store().pages().equals(before)
    assert len(thumbnails_of(workspace.root, keys_of(workspace))) == 2
    assert embed(workspace, [str(letter)], tiny).filled == 0


def test_new_pages_and_lacking_ones_come_in_one_run(workspace: Workspace, tiny: Backbone, letter: Path) -> None:
    """A document of which one page is stored without thumbnail and the other is not stored."""
    first = Settings(selection=Selection.parse("1"))
    embed(workspace, [str(letter)], tiny, keep=("words",), settings=first)
    report = embed(workspace, [str(letter)], tiny)
    assert (report.embedded, report.skipped, report.filled) == (1, 1, 1)
    assert all(page_table(workspace.root, name).kept() == {keys_of(workspace)[0][0]: {0, 1}} for name in TABLES)


def test_a_page_that_cannot_be_drawn_again_keeps_its_features(
    workspace: Workspace, tiny: Backbone, letter: Path
) -> None:
    """It is no failure, is tried once, and has no thumbnail."""
    embed(workspace, [str(letter)], tiny, keep=())
    report = embed(workspace, [str(letter)], tiny, settings=Settings(limits=Limits(page_seconds=1e-6)))
    assert (report.failed, report.filled, workspace.store().failures()) == (0, 0, [])
    assert thumbnails_of(workspace.root, keys_of(workspace)) == {}
    again = embed(workspace, [str(letter)], tiny)
    assert (again.skipped, again.filled) == (2, 0)


def keep_as_before_heads(workspace: Workspace) -> None:
    """Makes the words of pages what an earlier version kept."""
    table = page_table(workspace.root, WORDS)
    keys = [(sha256, index) for sha256, indices in table.kept().items() for index in indices]
    rows = table.read(keys).drop_columns("position").to_pylist()
    shutil.rmtree(workspace.root / "pages")
    writer = PageTableWriter(page_table(workspace.root, WORDS))
    for key, row in zip(keys, rows, strict=True):
        own = [place for place, column in enumerate(row["columns"]) if column < BUCKETS]
        writer.append(key, row | {name: [row[name][place] for place in own] for name in ("columns", "counts")})
    writer.flush()


def test_words_of_an_earlier_version_get_their_heads_when_files_are_met(
    workspace: Workspace, tiny: Backbone, letter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the network, once; what was recognised in pictures stays, as does what cannot be drawn again."""
    embed(workspace, [str(letter)], tiny, keep=("words",))
    keep_as_before_heads(workspace)
    keys = keys_of(workspace)
    assert words_of(workspace.root, keys)[:, BUCKETS:].nnz == 0
    before = words_of(workspace.root, keys)
    monkeypatch.setattr(Backbone, "start", no_network)
    with monkeypatch.context() as patch:
        patch.setattr("embedpipe.store.page_extras.TEXT_WORDS", OCR_WORDS)
        assert embed(workspace, [str(letter)], tiny, keep=("words",)).filled == 0
    report = embed(workspace, [str(letter)], tiny, keep=("words",))
    assert (report.embedded, report.filled) == (0, 1)
    (page,) = np.flatnonzero(np.diff(words_of(workspace.root, keys).indptr))
    assert (words_of(workspace.root, keys)[[page]] != as_rows([hashed(LETTER)])).nnz == 0
    assert embed(workspace, [str(letter)], tiny, keep=("words",)).filled == 0
    keep_as_before_heads(workspace)
    broken = Settings(limits=Limits(page_seconds=1e-6))
    report = embed(workspace, [str(letter)], tiny, keep=("words",), settings=broken)
    assert (report.failed, report.filled) == (0, 0)
    assert (words_of(workspace.root, keys) != before).nnz == 0
    assert embed(workspace, [str(letter)], tiny, keep=("words",)).filled == 0


def test_damage_heals_when_the_files_are_met(workspace: Workspace, tiny: Backbone, letter: Path) -> None:
    """`info --verify` names the damaged part."""
    embed(workspace, [str(letter)], tiny)
    (part,) = (workspace.root / "pages").glob("thumbnails-*.parquet")
    part.write_bytes(part.read_bytes()[:-40])
    assert any(str(part) in problem for problem in examine(workspace).problems)
    assert embed(workspace, [str(letter)], tiny).filled == 2
    assert examine(workspace).problems == []
    assert len(thumbnails_of(workspace.root, keys_of(workspace))) == 2


def test_forgetting_a_document_removes_them(workspace: Workspace, tiny: Backbone, letter: Path) -> None:
    """Nothing of it stays in any table."""
    embed(workspace, [str(letter)], tiny)
    forget(workspace, [str(letter)])
    assert [page_table(workspace.root, name).kept() for name in (THUMBNAILS, WORDS)] == [{}, {}]


def test_words_are_the_same_stored_or_new(workspace: Workspace, tiny: Backbone, letter: Path) -> None:
    """A classifier sees one page one way, whether its document is in the store or was just found."""

    def read() -> list[FeatureBatch]:
        reading = Reading(workspace, tiny.identity, Settings(), words=True)
        return [item for item in reading.read([str(letter)], lambda: tiny) if isinstance(item, FeatureBatch)]

    def rows(batches: list[FeatureBatch]) -> dict[int, list[int]]:
        pairs = ((info.ref.page_index, batch.words[[i]]) for batch in batches for i, info in enumerate(batch.pages))
        return {index: row.indices.tolist() for index, row in pairs}

    new = rows(read())
    embed(workspace, [str(letter)], tiny)
    assert rows(read()) == new
    assert new[0]
    assert not new[1]


def test_another_network_keeps_nothing_twice(workspace: Workspace, tiny: Backbone, letter: Path) -> None:
    """What a page shows and says is kept once for all networks; a page that is turned upright is shown as it is now."""
    embed(workspace, [str(letter)], tiny)
    other = load_backbone(
        TINY, weights="none", recipe=replace(tiny.identity.recipe, size=48), choice=EngineChoice("cpu", "fp32", "torch")
    )
    assert embed(workspace, [str(letter)], other).embedded == 2
    for name in TABLES:
        table = page_table(workspace.root, name)
        assert sum(part.rows for part in table.parts) == 2
    pages = workspace.store(space=other.identity.space).pages()
    keys = list(zip(pages["document_sha256"], pages["page_index"].tolist(), strict=True))
    before = thumbnails_of(workspace.root, keys)
    infos = [
        PageInfo(PageRef(*key, str(letter)), 2, 595, 842, 0.1, turned=180 * (key[1] == 0), thumbnail=b"turned")
        for key in keys
    ]
    writer = ExtrasWriter(workspace.root, [THUMBNAILS])
    writer.append(infos)
    writer.flush()
    now = thumbnails_of(workspace.root, keys)
    assert [now[key] == b"turned" for key in keys] == [key[1] == 0 for key in keys]
    assert all(now[key] == before[key] for key in keys if key[1])
