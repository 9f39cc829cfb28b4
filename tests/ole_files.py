"""Writes OLE compound files, which hold what Outlook saves: no library that is kept writes them."""

import struct
from collections.abc import Mapping
from typing import Union

Tree = Mapping[str, Union[bytes, "Tree"]]

_SECTOR, _SMALL, _CUTOFF = 512, 64, 4096
_END, _NONE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def compound(tree: Tree) -> bytes:
    """An OLE compound file (version 3) of streams (bytes) and storages (mappings), all below its root."""
    entries: list[list[object]] = []  # name, kind, child, right, first sector, size, content
    _enter(tree, "Root Entry", 5, entries)
    small = b"".join(_padded(e[6], _SMALL) for e in entries if e[1] == 2 and len(e[6]) < _CUTOFF)
    chains, place = bytearray(), 0
    for entry in entries:
        if entry[1] == 2 and len(entry[6]) < _CUTOFF:
            count = -(-len(entry[6]) // _SMALL)
            entry[4] = place if count else _END
            chains += _chain(place, count)
            place += count
    fat, body = bytearray(), bytearray()

    def put(content: bytes) -> int:
        first, count = len(fat) // 4, -(-len(content) // _SECTOR)
        fat.extend(_chain(first, count))
        body.extend(_padded(content, _SECTOR))
        return first if count else _END

    for entry in entries:
        if entry[1] == 2 and len(entry[6]) >= _CUTOFF:
            entry[4] = put(entry[6])
    entries[0][4], entries[0][5] = put(small), len(small)
    chains += b"\xff" * (-len(chains) % _SECTOR)
    of_chains = put(bytes(chains))
    directory = b"".join(_entry(*entry[:6]) for entry in entries)
    directory += _entry("", 0, _NONE, _NONE, 0, 0) * (-len(entries) % 4)
    of_directory = put(directory)
    of_fat, sectors = len(fat) // 4, 1
    while (of_fat + sectors) * 4 > sectors * _SECTOR:
        sectors += 1
    fat += struct.pack("<I", _FAT) * sectors
    fat += b"\xff" * (sectors * _SECTOR - len(fat))
    places = [of_fat + n if n < sectors else _NONE for n in range(109)]
    head = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(16)
    head += struct.pack(
        "<HHHHH6xIIIIIIIIII",
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        sectors,
        of_directory,
        0,
        _CUTOFF,
        of_chains,
        len(chains) // _SECTOR,
        _END,
        0,
        *places[:1],
    )
    return head + struct.pack("<108I", *places[1:]) + bytes(body) + bytes(fat)


def _enter(tree: Tree, name: str, kind: int, entries: list[list[object]]) -> int:
    """Adds a storage with all that is in it; its members are a chain of right neighbours."""
    here = len(entries)
    entries.append([name, kind, _NONE, _NONE, 0, 0, b""])
    last = None
    for key in sorted(tree, key=lambda one: (len(one), one.upper())):
        value = tree[key]
        if isinstance(value, bytes):
            number = len(entries)
            entries.append([key, 2, _NONE, _NONE, _END, len(value), value])
        else:
            number = _enter(value, key, 1, entries)
        if last is None:
            entries[here][2] = number
        else:
            entries[last][3] = number
        last = number
    return here


def _entry(name: object, kind: object, child: object, right: object, first: object, size: object) -> bytes:
    raw = str(name).encode("utf-16-le")
    length = len(raw) + 2 if name else 0
    return raw.ljust(64, b"\0") + struct.pack("<HBBIII36xIQ", length, kind, 1, _NONE, right, child, first, size)


def _chain(first: int, count: int) -> bytes:
    return b"".join(struct.pack("<I", first + n + 1 if n + 1 < count else _END) for n in range(count))


def _padded(content: object, size: int) -> bytes:
    assert isinstance(content, bytes)
    return content + bytes(-len(content) % size)


def outlook_mail(files: list[tuple[str, "bytes | Tree"]], **properties: str) -> Tree:
    """A mail of Outlook as a tree for `compound`: with files, and mails that are trees again, by name."""
    tree: dict[str, bytes | Tree] = {"__properties_version1.0": bytes(32)}
    texts = {"001A": "IPM.Note", "0037": "papers"} | properties
    tree |= {f"__substg1.0_{number.removeprefix('p')}001F": text.encode("utf-16-le") for number, text in texts.items()}
    for n, (name, content) in enumerate(files):
        is_mail = not isinstance(content, bytes)
        numbers = bytes(8) + struct.pack("<HHIII", 3, 0x3705, 6, 5 if is_mail else 1, 0)
        tree[f"__attach_version1.0_#{n:08X}"] = {
            "__properties_version1.0": numbers,
            "__substg1.0_3707001F": name.encode("utf-16-le"),
            f"__substg1.0_3701{'000D' if is_mail else '0102'}": content,
        }
    return tree
