"""The loops that ours is compared with compute the same features, so that their times can be compared."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from embedpipe.backbones.building import load_backbone
from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.backbones.runtime import smallest_cosine
from embedpipe.core.records import Document, Recipe
from embedpipe.pages.documents import Limits, ReadOptions
from embedpipe.pages.walking import FoundFile, identify, walk
from embedpipe.samples import draw_samples
from embedpipe.tasks.baselines import (
    Page,
    baseline_networks,
    loader_loop,
    network_seconds,
    page_loader,
    plain_loop,
    plain_transform,
    render_here,
)

TINY = "timm:test_resnet"


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """Drawn documents; one of them is a scan."""
    folder = tmp_path_factory.mktemp("pile")
    draw_samples(folder, per_type=5, types=("invoice",))
    found = [identify(item, Limits()) for item in walk([str(folder)]) if isinstance(item, FoundFile)]
    return [document for document in found if isinstance(document, Document)]


def options_of(backbone: Backbone) -> ReadOptions:
    """How the backbone's pages are rendered."""
    return ReadOptions(backbone.identity.recipe, backbone.identity.interpolation)


def first_pages(documents: list[Document], backbone: Backbone) -> list[Page]:
    """The first page of each document, with its shape."""
    unknown = [Page(document, 0, ()) for document in documents]
    shapes = [pixels.shape for pixels, _ in render_here(unknown, options_of(backbone))]
    return [Page(document, 0, shape) for document, shape in zip(documents, shapes, strict=True)]


def test_plain_loop_gives_the_usual_features(documents: list[Document]) -> None:
    """Rendered large and cropped by torchvision, or straight to size by ours: the features nearly agree."""
    recipe = Recipe(size=160, resize="crop", layers="penultimate")
    ours = load_backbone(TINY, weights="none", recipe=recipe, choice=EngineChoice("cpu", "fp32", "torch"))
    pages = first_pages(documents, ours)
    network, _ = baseline_networks(ours, "none")
    features = plain_loop(network, plain_transform(ours), pages, "cpu")
    expected = ours(np.stack([pixels for pixels, _ in render_here(pages, options_of(ours))]))
    assert features.shape == expected.shape
    assert smallest_cosine(features, expected) > 0.98


def test_plain_loop_stops_in_time(documents: list[Document], tiny: Backbone) -> None:
    """The pages that were done by then are all that come."""
    network, _ = baseline_networks(tiny, "none")
    pages = first_pages(documents, tiny)
    assert len(plain_loop(network, plain_transform(tiny), pages, "cpu", longest=0)) == 1


def test_loader_loop_gives_our_features(documents: list[Document], tiny: Backbone) -> None:
    """The same rendering, the same network, in batches of one shape."""
    pages = first_pages(documents, tiny)
    _, network = baseline_networks(tiny, "none")
    loader = page_loader(pages, options_of(tiny), workers=0, batch_size=2)
    features = loader_loop(network, loader, "cpu")
    order = [number for batch in loader.batch_sampler for number in batch]  # type: ignore[union-attr]
    pixels = [drawn for drawn, _ in render_here(pages, options_of(tiny))]
    expected = np.concatenate([tiny(pixels[number][None]) for number in order])
    assert sorted(order) == list(range(len(pages)))
    assert np.allclose(features, expected, atol=1e-4)


def test_networks_take_weights_from_a_file(tiny: Backbone, tmp_path: Path) -> None:
    """`--weights FILE` is for the compared networks too."""
    plain, _ = baseline_networks(tiny, "none")
    state = {name: torch.zeros_like(tensor) for name, tensor in plain.state_dict().items()}
    torch.save(state, tmp_path / "zeros.pth")
    zeros, _ = baseline_networks(tiny, str(tmp_path / "zeros.pth"))
    assert not any(tensor.any() for tensor in zeros.parameters())


def test_network_seconds_runs_every_page(tiny: Backbone) -> None:
    """Pages of two shapes, in batches of two, each shape warmed up first."""

    class Counting:
        in_flight = 2

        def __init__(self) -> None:
            self.engine = self
            self.shapes: list[tuple[int, ...]] = []
            self.running: set[int] = set()

        def start(self, batch: np.ndarray) -> Callable[[], None]:
            self.shapes.append(batch.shape)
            number = len(self.shapes)
            self.running.add(number)
            assert len(self.running) <= self.in_flight
            return lambda: self.running.remove(number)

        def __call__(self, batch: np.ndarray) -> None:
            self.start(batch)()

    backbone = Counting()
    pages = [np.zeros((4, height, 3), np.uint8) for height in (4, 6, 4, 4)]
    assert network_seconds(backbone, pages, batch_size=2) > 0  # type: ignore[arg-type]
    assert backbone.shapes.count((2, 4, 4, 3)) == 3
    assert backbone.shapes.count((1, 4, 4, 3)) == 3
    assert backbone.shapes.count((1, 4, 6, 3)) == 5
    assert not backbone.running
