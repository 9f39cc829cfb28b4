"""Some pictures of a TIFF as a TIFF of their own, copied as they are stored: nothing is decoded.

So depth, compression, colours, resolution and orientation of each picture stay what they are. The layout of the file is
that of TIFF 6.0 (Adobe, 1992), and of BigTIFF where offsets have 64 bits.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from embedpipe.core.errors import DocumentError

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a value of each type."""
_BIG = 43
_SHORT, _LONG, _DIRECTORY, _LONG8 = 3, 4, 13, 16
_LETTERS = {3: "H", 4: "L", 16: "Q"}
_DATA = {273: 279, 324: 325, 513: 514}
"""Tags that say where the strips, the tiles or the JPEG of a picture lie, each with the tag of their lengths."""
_FOLDERS = (34665, 34853)
"""Tags that say where facts from a camera lie, in a directory of their own."""
_PAGE_NUMBER = 297
_LEFT_OUT = (288, 289, 330, 40965)
"""Room that is free, and smaller copies of the picture."""
_UNKNOWN = (519, 520, 521)
"""Tables of a JPEG of the old kind, of which nothing tells the length."""
_MOST_PICTURES = 1_000_000


@dataclass(frozen=True, slots=True)
class _Layout:
    """How numbers are written: byte order, and the widths of a classic TIFF or a BigTIFF."""

    order: str
    big: bool

    @property
    def offset(self) -> str:
        return "Q" if self.big else "L"

    @property
    def width(self) -> int:
        return 8 if self.big else 4

    def pack(self, letters: str, *values: int) -> bytes:
        return struct.pack(self.order + letters, *values)

    def unpack(self, letters: str, content: bytes) -> tuple[int, ...]:
        return struct.unpack(self.order + letters, content)


_Tags = dict[int, tuple[int, int, bytes]]
"""Type, count and bytes of the values of each tag."""


def copy_pictures(path: str, span: tuple[int, int], file: Path) -> None:
    """Copies some pictures of a TIFF.

    Args:
        path: The TIFF.
        span: First and last picture, from 0.
        file: Where to.

    Raises:
        DocumentError: It is not as the format says, or holds what cannot be copied.
        OSError: It cannot be read or written.
    """
    with open(path, "rb") as source, open(file, "wb") as target:
        try:
            _copy(source, target, span)
        except (struct.error, ValueError, OverflowError, LookupError) as error:
            raise DocumentError("page_error", f"its pictures cannot be copied as they are: {error}") from error


def _copy(source: BinaryIO, target: BinaryIO, span: tuple[int, int]) -> None:
    layout, place = _header(source)
    offsets = list(_directories(source, layout, place, span[1] + 1))[span[0] :]
    if len(offsets) != span[1] - span[0] + 1:
        raise ValueError("it has fewer pictures than it says")
    order = b"II" if layout.order == "<" else b"MM"
    target.write(order + (layout.pack("HHH", _BIG, 8, 0) if layout.big else layout.pack("H", 42)))
    link = target.tell()  # where the place of the next directory is to be written
    target.write(bytes(layout.width))
    for number, offset in enumerate(offsets):
        tags = _tags(source, layout, offset)
        if _PAGE_NUMBER in tags:
            tags[_PAGE_NUMBER] = (_SHORT, 2, layout.pack("HH", number, len(offsets)))
        _copy_data(source, target, layout, tags)
        place, following = _write_directory(target, layout, tags)
        target.seek(link)
        target.write(layout.pack(layout.offset, place))
        link = following


def _header(source: BinaryIO) -> tuple[_Layout, int]:
    """The layout of a file, and where its first directory lies."""
    head = source.read(16)
    order = {b"II": "<", b"MM": ">"}[head[:2]]
    layout = _Layout(order, struct.unpack(order + "H", head[2:4])[0] == _BIG)
    [place] = layout.unpack(layout.offset, head[8:16] if layout.big else head[4:8])
    return layout, place


def _directories(source: BinaryIO, layout: _Layout, place: int, most: int) -> Iterator[int]:
    """Where the directory of each picture lies."""
    seen: set[int] = set()
    while place and place not in seen and len(seen) < min(most, _MOST_PICTURES):
        seen.add(place)
        yield place
        source.seek(place)
        count = _count(source, layout)
        source.seek(count * (12 + 8 * layout.big), os.SEEK_CUR)
        [place] = layout.unpack(layout.offset, source.read(layout.width))


def _count(source: BinaryIO, layout: _Layout) -> int:
    letter = "Q" if layout.big else "H"
    return layout.unpack(letter, source.read(struct.calcsize("=" + letter)))[0]


def _tags(source: BinaryIO, layout: _Layout, place: int) -> _Tags:
    """The tags of the directory that lies at a place."""
    source.seek(place)
    length = 12 + 8 * layout.big
    entries = source.read(min(_count(source, layout), 65535) * length)
    tags: _Tags = {}
    for first in range(0, len(entries), length):
        tag, kind = layout.unpack("HH", entries[first : first + 4])
        [count] = layout.unpack(layout.offset, entries[first + 4 : first + 4 + layout.width])
        value = entries[first + 4 + layout.width : first + length]
        if tag in _UNKNOWN:
            raise ValueError(f"tag {tag} is of an old kind")
        if tag in _LEFT_OUT or kind not in _SIZES:
            continue
        size = _SIZES[kind] * count
        tags[tag] = (kind, count, value[:size] if size <= layout.width else _piece(source, layout, value, size))
    return tags


def _piece(source: BinaryIO, layout: _Layout, place: bytes, size: int) -> bytes:
    source.seek(layout.unpack(layout.offset, place)[0])
    content = source.read(size)
    if len(content) != size:
        raise ValueError("a directory ends beyond the file")
    return content


def _numbers(layout: _Layout, value: tuple[int, int, bytes]) -> tuple[int, ...]:
    kind, count, content = value
    return layout.unpack(f"{count}{_LETTERS[kind]}", content)


def _copy_data(source: BinaryIO, target: BinaryIO, layout: _Layout, tags: _Tags) -> None:
    """Copies what the tags of a picture point to, and lets them point to the copy."""
    for tag, lengths_tag in _DATA.items():
        if tag not in tags:
            continue
        offsets, lengths = _numbers(layout, tags[tag]), _numbers(layout, tags[lengths_tag])
        if len(offsets) != len(lengths) or not sum(lengths):
            raise ValueError("it does not tell how long its strips are")
        places = []
        for offset, length in zip(offsets, lengths, strict=True):
            places.append(_aligned(target))
            source.seek(offset)
            target.write(source.read(length))
        tags[tag] = _places(layout, places)
    for tag in _FOLDERS:
        if tag in tags:
            kind, count, content = tags[tag]
            [inner] = _numbers(layout, (_LONG if kind == _DIRECTORY else kind, count, content))
            place, _ = _write_directory(target, layout, _tags(source, layout, inner))
            tags[tag] = _places(layout, [place])


def _places(layout: _Layout, places: list[int]) -> tuple[int, int, bytes]:
    kind = _LONG8 if layout.big else _LONG
    return kind, len(places), layout.pack(f"{len(places)}{layout.offset}", *places)


def _write_directory(target: BinaryIO, layout: _Layout, tags: _Tags) -> tuple[int, int]:
    """Writes a directory that no other follows; gives its place, and where the place of the next one belongs."""
    entries = []
    for tag, (kind, count, content) in sorted(tags.items()):
        value = content
        if len(content) > layout.width:
            value = layout.pack(layout.offset, _aligned(target))
            target.write(content)
        entries.append(layout.pack(f"HH{layout.offset}", tag, kind, count) + value.ljust(layout.width, b"\0"))
    place = _aligned(target)
    target.write(layout.pack("Q" if layout.big else "H", len(entries)) + b"".join(entries))
    link = target.tell()
    target.write(bytes(layout.width))
    return place, link


def _aligned(target: BinaryIO) -> int:
    """The end of a file, where numbers may begin."""
    end = target.seek(0, os.SEEK_END)
    target.write(bytes(-end % 8))
    return target.tell()
