"""The loops that people write today, on the same pages and with the same network, and the two halves of ours alone.

`bench` compares them.
"""

import contextlib
import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pymupdf
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from embedpipe.backbones.building import find_backbone, load_network
from embedpipe.backbones.engines import Backbone, Pending
from embedpipe.backbones.layers import FeatureNetwork
from embedpipe.backbones.names import members
from embedpipe.core.errors import UsageError
from embedpipe.core.records import Document
from embedpipe.pages.containers.opening import on_the_disk
from embedpipe.pages.documents import BOOKS, PHOTO_CROP, OpenDocument, ReadOptions, needs_converting, open_document

PLAIN_DPI = 150


@dataclass(frozen=True, slots=True)
class Page:
    """A page that is known to be rendered without fault; `shape` is that of its pixels."""

    document: Document
    index: int
    shape: tuple[int, ...]


def _opened(pages: Iterable[Page], options: ReadOptions) -> Iterator[tuple[Page, OpenDocument]]:
    """Each page with its document, which is open while its pages come."""
    for document, those in itertools.groupby(pages, key=lambda page: page.document):
        opened = open_document(document.path, document.reader, options)
        yield from ((page, opened) for page in those)
        opened.close()


def render_here(pages: Iterable[Page], options: ReadOptions) -> Iterator[tuple[NDArray[np.uint8], float]]:
    """What one worker does, in this process, on one core: pixels and ink of each page."""
    for page, opened in _opened(pages, options):
        drawn = opened.render(page.index)
        yield drawn.pixels, drawn.ink


def network_seconds(backbone: Backbone, pixels: Iterable[NDArray[np.uint8]], batch_size: int) -> float:
    """Time of the network alone for all pages, in the pipeline's batches; each shape is warmed up before it counts."""
    seconds = 0.0
    shapes: dict[tuple[int, ...], list[NDArray[np.uint8]]] = {}
    for page in pixels:
        shapes.setdefault(page.shape, []).append(page)
    for those in shapes.values():
        batches = [np.stack(those[i : i + batch_size]) for i in range(0, len(those), batch_size)]
        for warm in [batches[0]] * 2 + [batches[-1]] * 2:
            backbone(warm)
        begin = time.perf_counter()
        running: deque[Pending] = deque()
        for batch in batches:
            while len(running) >= backbone.engine.in_flight:
                running.popleft()()
            running.append(backbone.start(batch))
        for pending in running:
            pending()
        seconds += time.perf_counter() - begin
    return seconds


def compared_name(backbone: Backbone) -> str:
    """The network that the loops run: of a list, its first one of torch; raises UsageError where there is none."""
    names = members(backbone.identity.backbone)
    found = next((name for name in names if not find_backbone(name).onnx), None)
    if found is None:
        raise UsageError(f"{backbone.identity.backbone}: bench compares with loops around a network of torch: add one")
    return found


def baseline_networks(backbone: Backbone, weights: str | None) -> tuple[nn.Module, nn.Module]:
    """The same network in torch and fp32: as people use it, and from uint8 pages to our features, channels last."""
    device = torch.device(backbone.engine.device)
    name, layers = compared_name(backbone), backbone.identity.recipe.layers
    preprocessing = find_backbone(name).preprocessing()
    plain, staged = (load_network(name, weights) for _ in range(2))
    features = FeatureNetwork(staged, preprocessing.mean, preprocessing.std, layers).eval()
    return plain.to(device), features.to(device).to(memory_format=torch.channels_last)


def plain_transform(backbone: Backbone) -> Callable[[Image.Image], Tensor]:
    """The transform that belongs to the weights, put together as torchvision and timm do."""
    preprocessing = find_backbone(compared_name(backbone)).preprocessing()
    size = preprocessing.input_size
    steps: Callable[[Image.Image], Tensor] = transforms.Compose(
        [
            transforms.Resize(round(size / PHOTO_CROP), transforms.InterpolationMode(backbone.identity.interpolation)),
            transforms.CenterCrop(size),
            transforms.ToTensor(),
            transforms.Normalize(preprocessing.mean, preprocessing.std),
        ]
    )
    return steps


def _pictures(pages: Iterable[Page]) -> Iterator[Image.Image]:
    """Pages as people render them."""
    for document, those in itertools.groupby(pages, key=lambda page: page.document):
        with on_the_disk(document.path) as path, contextlib.ExitStack() as stack:
            if document.reader == "pdf":
                opened = stack.enter_context(pymupdf.open(path, filetype="pdf"))
            elif document.reader in BOOKS or needs_converting(document.reader):
                held = open_document(document.path, document.reader, ReadOptions())
                stack.callback(held.close)
                opened = held.pdf
            else:
                image = stack.enter_context(Image.open(path))
                for page in those:
                    image.seek(page.index)
                    yield image.convert("RGB")
                continue
            for page in those:
                drawn = opened[page.index].get_pixmap(dpi=PLAIN_DPI)
                yield Image.frombytes("RGB", (drawn.width, drawn.height), drawn.samples)


def plain_loop(
    network: nn.Module,
    transform: Callable[[Image.Image], Tensor],
    pages: Iterable[Page],
    device: str,
    longest: float = math.inf,
) -> NDArray[np.float32]:
    """The loop of a first script: one page at a time, penultimate features (n, width).

    Args:
        network: In torch.
        transform: Makes its input.
        pages: What to embed.
        device: Where the network is.
        longest: Stop after so many seconds, with the pages that are done.
    """
    rows = []
    end = time.perf_counter() + longest
    with torch.inference_mode():
        for picture in _pictures(pages):
            batch = transform(picture).unsqueeze(0).to(device)
            rows.append(network(batch).flatten(1).cpu().numpy())
            if time.perf_counter() > end:
                break
    return np.concatenate(rows)


class PageDataset(Dataset[Tensor]):
    """Pages for a DataLoader, rendered as ours are; a process keeps the document open that it read last."""

    def __init__(self, pages: list[Page], options: ReadOptions) -> None:
        self._pages = pages
        self._options = options
        self._last: tuple[Document, OpenDocument] | None = None

    def __getitem__(self, index: int) -> Tensor:
        """Pixels of a page, uint8 (H, W, 3)."""
        page = self._pages[index]
        if self._last is None or self._last[0] != page.document:
            if self._last is not None:
                self._last[1].close()
            self._last = page.document, open_document(page.document.path, page.document.reader, self._options)
        return torch.tensor(self._last[1].render(page.index).pixels)


def page_loader(pages: list[Page], options: ReadOptions, workers: int, batch_size: int) -> DataLoader[Tensor]:
    """Batches of pages of one shape, as in ours: padding would only make this loop slower."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for number, page in enumerate(pages):
        shapes.setdefault(page.shape, []).append(number)
    batches = [those[i : i + batch_size] for those in shapes.values() for i in range(0, len(those), batch_size)]
    return DataLoader(
        PageDataset(pages, options),
        batch_sampler=batches,
        num_workers=workers,
        pin_memory=torch.cuda.is_available(),
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=workers > 0,
    )


def loader_loop(network: nn.Module, loader: DataLoader[Tensor], device: str) -> NDArray[np.float32]:
    """The loop of a better script: features (n, dim), in the order of the loader's batches."""
    with torch.inference_mode():
        return np.concatenate([network(batch.to(device, non_blocking=True)).cpu().numpy() for batch in loader])
