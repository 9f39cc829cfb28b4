"""Batches of one shape, begun before the one before is waited for, and bounded however many shapes there are."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.backbones.engines import Pending
from embedpipe.core.errors import NetworkError
from embedpipe.core.records import Document, FeatureBatch, Identity, PageFailure, PageImage, PageInfo, PageRef, Recipe
from embedpipe.embedding import streaming
from embedpipe.embedding.streaming import PageStream, Settings
from embedpipe.pages.contract import Limits
from embedpipe.pages.rendering import Rendered

DOCUMENT = Document("/a.pdf", "a" * 64, 1, 0, "pdf")


def page(number: int, height: int) -> PageImage:
    """A page whose pixels are its number."""
    info = PageInfo(PageRef(DOCUMENT.sha256, number, DOCUMENT.path), 999, 1, 1, 0.5)
    return PageImage(info, np.full((height, 8, 3), number % 250, np.uint8))


class FakeRenderer:
    """Gives the pages that the test laid out, without processes."""

    results: tuple[PageImage | PageFailure, ...] = ()

    def __init__(self, *_: object) -> None:
        self.stats = SimpleNamespace(seconds=0.0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def stop(self) -> None:
        """Nothing to stop."""

    def render(self, _jobs: Iterable[Any]) -> Iterator[Rendered]:
        """One result at a time."""
        for result in self.results:
            yield Rendered(DOCUMENT, [result])


class FakeBackbone:
    """Features are the first pixel; notes what was begun and waited for, in order."""

    identity = Identity("fake", "0" * 64, Recipe(8, "aspect", "penultimate"), ("p",))
    turner = None

    def __init__(self, in_flight: int, least_rows: int = 0) -> None:
        self.least_rows = least_rows
        self.engine = SimpleNamespace(batch_size=4, in_flight=in_flight)
        self.events: list[tuple[str, int]] = []
        self.sizes: list[int] = []

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Begins a call and waits for it."""
        return self.start(pixels)()

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """Begins a call."""
        number = len(self.sizes)
        self.sizes.append(len(pixels))
        self.events.append(("start", number))

        def wait() -> NDArray[np.float32]:
            self.events.append(("wait", number))
            if pixels.shape[1] < self.least_rows:
                raise NetworkError("too few rows")
            return pixels[:, 0, 0, :1].astype(np.float32)

        return wait


def stream(
    monkeypatch: pytest.MonkeyPatch, backbone: FakeBackbone, results: Iterable[PageImage | PageFailure], **settings: int
) -> list[FeatureBatch | PageFailure]:
    """Everything that comes out for these results of the renderer."""
    monkeypatch.setattr(FakeRenderer, "results", tuple(results))
    monkeypatch.setattr(streaming, "Renderer", FakeRenderer)
    return list(PageStream(backbone, Settings(**settings), 1).run([]))  # type: ignore[arg-type]


@pytest.mark.parametrize("in_flight", [1, 2, 3])
def test_the_next_batch_is_begun_before_the_last_is_yielded(monkeypatch: pytest.MonkeyPatch, in_flight: int) -> None:
    """So many calls are under way as the engine allows, never more, and all are waited for in order."""
    backbone = FakeBackbone(in_flight)
    found = stream(monkeypatch, backbone, [page(n, 8) for n in range(22)])
    waited = [number for what, number in backbone.events if what == "wait"]
    assert waited == list(range(6))
    running = np.cumsum([1 if what == "start" else -1 for what, _ in backbone.events])
    assert running.max() == in_flight
    for batch in found:
        assert isinstance(batch, FeatureBatch)
        assert [info.ref.page_index for info in batch.pages] == batch.X[:, 0].astype(int).tolist()
    assert sum(len(batch.pages) for batch in found if isinstance(batch, FeatureBatch)) == 22


def test_the_batch_size_is_the_engines_unless_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Auto takes what suits the engine; a number goes before it."""
    for settings, sizes in (({}, [4, 4, 1]), ({"batch_size": 6}, [6, 3])):
        backbone = FakeBackbone(1)
        stream(monkeypatch, backbone, [page(n, 8) for n in range(9)], **settings)
        assert backbone.sizes == sizes


def test_many_shapes_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """When too many pages wait for others of their shape, the largest group goes before it is full; none is lost."""
    monkeypatch.setattr(streaming, "_BATCHES_WAITING", 2)
    heights = [8] * 3 + list(range(9, 29))
    pages = [page(n, height) for n, height in enumerate(heights)]
    backbone = FakeBackbone(1)
    found = stream(monkeypatch, backbone, pages)
    assert backbone.sizes[0] == 3  # the largest, when the ninth page came
    indices = [i.ref.page_index for batch in found if isinstance(batch, FeatureBatch) for i in batch.pages]
    assert sorted(indices) == list(range(len(pages)))


def test_failures_pass_while_batches_are_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure between pages comes out once, and the pages around it keep their rows."""
    failure = PageFailure(PageRef(DOCUMENT.sha256, 4, DOCUMENT.path), "page_error", "broken")
    results = [*(page(n, 8) for n in range(4)), failure, *(page(n, 8) for n in range(5, 8))]
    found = stream(monkeypatch, FakeBackbone(2), results)
    assert [item for item in found if isinstance(item, PageFailure)] == [failure]
    indices = [i.ref.page_index for batch in found if isinstance(batch, FeatureBatch) for i in batch.pages]
    assert sorted(indices) == [0, 1, 2, 3, 5, 6, 7]


@pytest.mark.parametrize("in_flight", [1, 2])
def test_pages_that_the_network_does_not_take_are_failures(monkeypatch: pytest.MonkeyPatch, in_flight: int) -> None:
    """Pages of a shape that the network fails on become failures that say what to do; all others keep their rows."""
    heights = [8, 4, 8, 4, 8, 4, 8, 4, 4, 8]
    found = stream(
        monkeypatch, FakeBackbone(in_flight, least_rows=5), [page(n, height) for n, height in enumerate(heights)]
    )
    failures = [item for item in found if isinstance(item, PageFailure)]
    assert sorted(failure.page.page_index for failure in failures) == [1, 3, 5, 7, 8]
    message = "the network takes no pages of 8 x 4 pixels: with --resize squash all are squares"
    assert {(failure.kind, failure.message) for failure in failures} == {("page_error", message)}
    for batch in found:
        if isinstance(batch, FeatureBatch):
            assert [info.ref.page_index for info in batch.pages] == batch.X[:, 0].astype(int).tolist()
    indices = [i.ref.page_index for batch in found if isinstance(batch, FeatureBatch) for i in batch.pages]
    assert sorted(indices) == [0, 2, 4, 6, 9]


def test_a_network_that_fails_on_everything_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a plain white page fails as well, the pages are not to blame, and none is recorded as a failure."""
    with pytest.raises(NetworkError, match="too few rows"):
        stream(monkeypatch, FakeBackbone(1, least_rows=9), [page(n, 8) for n in range(9)])


def test_settings_take_limits_by_their_earlier_names() -> None:
    """Programs that were written before limits were one record go on working."""
    settings = Settings(limits=Limits(pages=3), page_seconds=5.0, page_bytes=7)
    assert settings.limits == Limits(pages=3, page_seconds=5.0, page_bytes=7)
    assert replace(settings, workers=2).limits == settings.limits
    assert Settings().limits == Limits()
