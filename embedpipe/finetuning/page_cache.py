"""Labelled pages rendered once, somewhat larger than the network takes them, and kept as pixels while it is trained."""

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.machine import available_cores
from embedpipe.core.records import Document, PageFailure, PageInfo, Recipe
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.augmentation import larger
from embedpipe.pages.documents import ReadOptions, plan
from embedpipe.pages.rendering import Job, Renderer


class PageCache:
    """Pages of some documents on disk, uint8; a context manager, since the file is removed at the end.

    Memory holds only what is looked at: the file is mapped. It has no name of its own where the system allows it, so
    that not even a killed run leaves it behind.

    Args:
        documents: Those to render; which pages of them, the settings say.
        recipe: Size and resize rule that the network takes.
        interpolation: How images are scaled.
        settings: How documents are read.
        folder: Where the file lies; it must exist.

    Attributes:
        infos: The pages that could be rendered, by document and page index.
        failures: Those that could not.
    """

    def __init__(
        self, documents: Iterable[Document], recipe: Recipe, interpolation: str, settings: Settings, folder: Path
    ) -> None:
        self._recipe = recipe
        self._file = tempfile.TemporaryFile(dir=folder, prefix=".tmp-pages-")  # noqa: SIM115 - closed by __exit__
        self.infos: list[PageInfo] = []
        self.failures: list[PageFailure] = []
        try:
            places = self._render(
                [Job(document, settings.selection) for document in documents], interpolation, settings
            )
        except BaseException:
            self._file.close()
            raise
        self.infos.sort(key=lambda info: (info.ref.document_sha256, info.ref.page_index))
        self._places = [places[info.ref.document_sha256, info.ref.page_index] for info in self.infos]
        self._pixels: NDArray[np.uint8] = np.memmap(self._file, np.uint8, "r") if self.infos else np.empty(0, np.uint8)

    def _render(
        self, jobs: list[Job], interpolation: str, settings: Settings
    ) -> dict[tuple[str, int], tuple[int, tuple[int, ...]]]:
        options = ReadOptions(larger(self._recipe), interpolation, settings.limits, settings.passwords)
        workers = max(1, min(settings.workers or available_cores(), len(jobs)))
        places = {}
        with Renderer(options, workers) as renderer:
            for rendered in renderer.render(jobs):
                for page in rendered.results:
                    if isinstance(page, PageFailure):
                        self.failures.append(page)
                        continue
                    ref = page.info.ref
                    places[ref.document_sha256, ref.page_index] = (self._file.tell(), page.pixels.shape)
                    self._file.write(np.ascontiguousarray(page.pixels).data)
                    self.infos.append(page.info)
        self._file.flush()
        return places

    def __enter__(self) -> Self:
        """Everything is rendered already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Removes the file."""
        self._pixels = np.empty(0, np.uint8)
        self._file.close()

    def __len__(self) -> int:
        """Number of pages."""
        return len(self.infos)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Pixels of a page, uint8 (H, W, 3)."""
        start, shape = self._places[index]
        return self._pixels[start : start + int(np.prod(shape))].reshape(shape)

    def shape(self, index: int) -> tuple[int, int]:
        """Rows and columns that the network takes a page with."""
        info = self.infos[index]
        _, (columns, rows) = plan(info.width, info.height, self._recipe)
        return rows, columns
