"""Pictures of pages, out of what is kept: those of first pages stay in memory, as people scroll over them."""

import io
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedpipe.core.files import mark_of
from embedpipe.pages.documents import THUMBNAILS
from embedpipe.store.page_extras import page_table
from embedpipe.store.page_table import KEY, POSITION, Key, PageTable

_BUDGET = 160 * 1024**2
"""Bytes of pictures in memory: about 70,000."""

_TOGETHER = 64
"""Pages around one that is asked for, which are read with it: they lie together in the file."""


class Thumbnails:
    """The kept pictures of the pages of artifacts, as JPEG. For several threads.

    Args:
        root: The artifacts.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._table: tuple[object, PageTable] | None = None
        self._order: list[Key] = []
        self._place: dict[Key, int] = {}
        self._pictures: OrderedDict[Key, bytes] = OrderedDict()
        self._bytes = 0

    def find(self, key: Key) -> bytes | None:
        """The picture of a page; None where none is kept."""
        with self._lock:
            table = self._fresh()
            found = self._pictures.get(key)
            if found is not None:
                self._pictures.move_to_end(key)
                return found
            place = self._place.get(key)
            if place is None:
                return None
            first = place // _TOGETHER * _TOGETHER
            keys = self._order[first : first + _TOGETHER]
            rows = table.read(keys, ["picture"])
            for position, picture in zip(rows[POSITION].to_pylist(), rows["picture"].to_pylist(), strict=True):
                if picture:
                    self._keep(keys[position], picture)
            return self._pictures.get(key)

    def _fresh(self) -> PageTable:
        """The table as it is now."""
        mark = mark_of(self._root / "pages" / f"{THUMBNAILS}.json")
        if self._table is None or self._table[0] != mark:
            table = page_table(self._root, THUMBNAILS)
            places = table.places()
            columns = (places[name].tolist() for name in KEY)
            self._order = [(str(sha256), int(index)) for sha256, index in zip(*columns, strict=True)]
            self._place = {key: place for place, key in enumerate(self._order)}
            for gone in self._pictures.keys() - self._place.keys():  # forgotten
                self._bytes -= len(self._pictures.pop(gone))
            self._table = (mark, table)
        return self._table[1]

    def _keep(self, key: Key, picture: bytes) -> None:
        before = self._pictures.pop(key, b"")
        self._pictures[key] = picture
        self._bytes += len(picture) - len(before)
        while self._bytes > _BUDGET:
            _, gone = self._pictures.popitem(last=False)
            self._bytes -= len(gone)


def as_webp(picture: bytes) -> bytes:
    """A JPEG as WebP."""
    with Image.open(io.BytesIO(picture), formats=["JPEG"]) as opened:
        return _saved(opened.convert("RGB"), "WEBP", quality=70, method=0)


def encoded(pixels: NDArray[np.uint8], suffix: str) -> bytes:
    """A picture uint8 (H, W, 3) as WebP or JPEG."""
    picture = Image.fromarray(pixels)
    return _saved(picture, "WEBP", quality=80, method=1) if suffix == "webp" else _saved(picture, "JPEG", quality=85)


def _saved(picture: Image.Image, kind: str, **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()
