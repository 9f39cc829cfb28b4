"""Features of files, whether the store holds them or not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from embedpipe.backbones.engines import Backbone
from embedpipe.core.records import FeatureBatch, PageFailure
from embedpipe.embedding.reading import Reading
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.rendering import Selection
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed

MakePdf = Callable[..., Path]


def no_backbone() -> Backbone:
    """For reads that need no network."""
    raise AssertionError


def test_pages_are_the_same_from_store_and_network(workspace: Workspace, tiny: Backbone, make_pdf: MakePdf) -> None:
    """A page has one row of features and one description, stored or not; what cannot be read is a failure."""
    document, broken = make_pdf("a.pdf", ["one", "", "three"]), make_pdf("b.pdf", ["x"])
    broken.write_bytes(b"%PDF-1.4\nnothing")
    inputs, results = [str(document), str(broken)], []
    for _ in range(2):
        reading = Reading(workspace, tiny.identity, Settings(workers=1))
        items = list(reading.read(inputs, lambda: tiny))
        assert [type(item) for item in items].count(PageFailure) == 1
        batches = [item for item in items if isinstance(item, FeatureBatch)]
        rows = {info: row for batch in batches for info, row in zip(batch.pages, batch.X, strict=True)}
        results.append(dict(sorted(rows.items(), key=lambda row: row[0].ref.page_index)))
        report = reading.report
        assert (report.files, report.documents, report.pages, report.failed) == (2, 1, 3, 1)
        if not workspace.root.exists():
            assert (report.embedded, report.skipped) == (3, 0)
            embed(workspace, [str(document)], tiny, settings=Settings(workers=1))
    assert (report.embedded, report.skipped) == (0, 3)
    new, stored = results
    assert [info.ref for info in new] == [info.ref for info in stored]
    assert [info.outcome for info in stored] == ["ok", "blank", "ok"]
    np.testing.assert_allclose(np.stack(list(new.values())), np.stack(list(stored.values())), atol=2e-2)


def test_only_what_is_missing_is_rendered(workspace: Workspace, tiny: Backbone, make_pdf: MakePdf) -> None:
    """Stored pages are taken from the store, the others through the network; nothing wanted loads no network."""
    document = make_pdf("a.pdf", ["one", "two"])
    embed(workspace, [str(document)], tiny, settings=Settings(Selection.parse("1"), workers=1))
    reading = Reading(workspace, tiny.identity, Settings(workers=1))
    batches = list(reading.read([str(document)], lambda: tiny))
    assert [[page.ref.page_index for page in batch.pages] for batch in batches] == [[0], [1]]  # type: ignore[union-attr]
    for pages in ("1", "7"):
        reading = Reading(workspace, tiny.identity, Settings(Selection.parse(pages), workers=1))
        assert len(list(reading.read([str(document)], no_backbone))) == (pages == "1")
