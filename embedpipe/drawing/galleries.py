"""Groups of pages as an HTML file that stands alone: look-alikes, duplicates, families."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedpipe.drawing.pictures import Tile, jpeg_bytes, thumbnail
from embedpipe.drawing.templating import data_uri, write_html

MOST_PICTURES = 600
"""Pictures in one file, about 15 MB; pages beyond are listed without."""

_THUMBNAIL = (300, 340)  # twice the pixels of the place, for fine screens


@dataclass(frozen=True, slots=True)
class Group:
    """Some pages that belong together.

    Attributes:
        title: What they are.
        detail: A line about them, or "".
        tiles: The first stands for the others and is drawn with a frame.
    """

    title: str
    detail: str
    tiles: Sequence[Tile]


def write_gallery(
    file: Path, title: str, facts: Mapping[str, str], groups: Sequence[Group], *, empty: str = "Nothing was found."
) -> None:
    """Writes groups of pages; an older file is replaced in one step.

    Args:
        file: The HTML file.
        title: What is shown.
        facts: How it was found: names and values.
        groups: In the order shown.
        empty: Said where there are no groups.

    Raises:
        ArtifactError: The file cannot be written.
    """
    room, shown = MOST_PICTURES, []
    for group in groups:
        cards = [_card(tile, with_picture=number < room) for number, tile in enumerate(group.tiles)]
        room -= len(cards)
        shown.append({"title": group.title, "detail": group.detail, "cards": cards})
    left_out = max(0, -room)
    write_html(file, "gallery.html", title=title, facts=facts, groups=shown, left_out=left_out, empty=empty)


def _card(tile: Tile, *, with_picture: bool) -> dict[str, Any]:
    picture = ""
    if with_picture and tile.pixels is not None and tile.pixels.size > 0:
        picture = data_uri(jpeg_bytes(thumbnail(tile.pixels, _THUMBNAIL)), "jpeg")
    return {"picture": picture, "caption": tile.caption, "detail": tile.detail}
