"""Contact sheets and confusion matrices show every script, keep their words apart, and defuse hostile names."""

import io
import itertools
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont

from embedpipe.core.display import display
from embedpipe.drawing.pictures import (
    PER_ROW,
    Tile,
    cjk_font_file,
    confusion_picture,
    contact_sheet,
    drawable,
    fitted,
    gallery,
    thumbnail,
)

QUERY_BLUE = (37, 99, 235)
MARK_ORANGE = (217, 119, 6)
RED, GREEN, YELLOW = (200, 20, 20), (20, 160, 20), (220, 200, 20)
FRAMES = 5
"""Pixels that a frame may take beside its page."""


def page(colour: tuple[int, int, int], width: int = 200, height: int = 280) -> NDArray[np.uint8]:
    """A page of one colour, which can be found again."""
    return np.full((height, width, 3), colour, np.uint8)


def sheet(tmp_path: Path, query: Tile, *tiles: Tile, title: str = "") -> NDArray[np.int16]:
    """The pixels of a contact sheet."""
    contact_sheet(query, tiles, tmp_path / "sheet.png", title)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(np.int16)


def found(pixels: NDArray[np.int16], colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Where a colour is: left, top, right, bottom."""
    ys, xs = np.nonzero((np.abs(pixels - np.array(colour)) <= 2).all(axis=2))
    assert len(xs), f"{colour} is nowhere"
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def changed(one: NDArray[np.int16], other: NDArray[np.int16]) -> tuple[int, int, int, int]:
    """Where two pictures of one size differ: left, top, right, bottom."""
    assert one.shape == other.shape
    ys, xs = np.nonzero((one != other).any(axis=2))
    assert len(xs), "the pictures are the same"
    return int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1


def test_font_holds_chinese() -> None:
    """The font file has glyphs for Chinese that are not its box for missing ones, and two signs differ."""
    font = ImageFont.truetype(io.BytesIO(cjk_font_file().read_bytes()), 32)
    missing = bytes(font.getmask("\u0378"))
    drawn = {sign: bytes(font.getmask(sign)) for sign in "发票简历"}
    assert missing not in drawn.values()
    assert len(set(drawn.values())) == len(drawn)
    assert cjk_font_file() == cjk_font_file()


def test_captions_are_drawn_in_chinese(tmp_path: Path) -> None:
    """Captions, details and titles of as many signs differ in the picture: none is a row of boxes."""
    for one, other in itertools.pairwise(["发票", "简历", "论文"]):
        assert (sheet(tmp_path, Tile(None, "q"), title=one) != sheet(tmp_path, Tile(None, "q"), title=other)).any()
        for pair in ([Tile(None, one), Tile(None, other)], [Tile(None, "", one), Tile(None, "", other)]):
            first, second = (sheet(tmp_path, Tile(None, "q"), tile) for tile in pair)
            assert (first != second).any()


def test_neighbours_stand_in_order_beside_the_query(tmp_path: Path) -> None:
    """The query is left of all neighbours, which follow each other from left to right."""
    pixels = sheet(tmp_path, Tile(page(RED), "q"), Tile(page(GREEN), "a"), Tile(page(YELLOW), "b"))
    assert found(pixels, RED)[2] < found(pixels, GREEN)[0]
    assert found(pixels, GREEN)[2] < found(pixels, YELLOW)[0]


def test_query_and_marked_tiles_are_framed(tmp_path: Path) -> None:
    """The query has a blue frame around it, a marked tile an orange one, and another tile neither."""
    pixels = sheet(tmp_path, Tile(page(RED), "q"), Tile(page(GREEN), "a"), Tile(page(YELLOW), "b", marked=True))
    blue, red = found(pixels, QUERY_BLUE), found(pixels, RED)
    orange, yellow = found(pixels, MARK_ORANGE), found(pixels, YELLOW)
    for frame, inside in ((blue, red), (orange, yellow)):
        assert inside[0] - FRAMES <= frame[0] < inside[0]
        assert frame[2] > inside[2]
        assert frame[3] > inside[3]
    assert orange[0] > found(pixels, GREEN)[2]


def test_shapes_are_kept_and_stand_on_one_line(tmp_path: Path) -> None:
    """Upright and wide pages keep their shapes, do not overlap, and end at the same height."""
    tiles = [Tile(page(GREEN, 210, 297), "a"), Tile(page(YELLOW, 800, 450), "b")]
    pixels = sheet(tmp_path, Tile(page(RED, 1, 3000), "q"), *tiles)
    upright, wide = found(pixels, GREEN), found(pixels, YELLOW)
    assert (upright[2] - upright[0]) / (upright[3] - upright[1]) == pytest.approx(210 / 297, rel=0.03)
    assert (wide[2] - wide[0]) / (wide[3] - wide[1]) == pytest.approx(800 / 450, rel=0.03)
    assert upright[2] < wide[0]
    assert upright[3] == wide[3]


@pytest.mark.parametrize(("n", "columns"), [(1, 1), (5, 5), (6, 3), (7, 4), (11, 4)])
def test_grid_is_balanced(tmp_path: Path, n: int, columns: int) -> None:
    """No row has more than five tiles, and rows are about equally long."""
    colours = [(40 + 15 * i, 90, 200 - 15 * i) for i in range(n)]
    pixels = sheet(tmp_path, Tile(None, "q"), *(Tile(page(colour), "t") for colour in colours))
    places = [found(pixels, colour) for colour in colours]
    first_row = [place for place in places if place[1] == places[0][1]]
    assert len(first_row) == columns <= PER_ROW
    assert places == sorted(places, key=lambda place: (place[1], place[0]))
    assert max(place[3] for place in places) < len(pixels)


def test_long_captions_do_not_overlap(tmp_path: Path) -> None:
    """The words of a tile stay in its column, however long they are."""
    plain = [Tile(None, ""), Tile(None, ""), Tile(None, "")]
    none = sheet(tmp_path, *plain)
    spans = []
    for at in range(3):
        tiles = list(plain)
        tiles[at] = Tile(None, "发票W" * 5000, "detail M" * 60)
        spans.append(changed(none, sheet(tmp_path, *tiles)))
    for left, right in itertools.pairwise(spans):
        assert left[2] + 10 < right[0]
    assert spans[-1][2] < none.shape[1]


def test_long_titles_stay_on_the_sheet(tmp_path: Path) -> None:
    """A title that is too long ends before the margin."""
    short = sheet(tmp_path, Tile(None, "q"), title="x")
    long = sheet(tmp_path, Tile(None, "q"), title="title " * 300)
    assert changed(short, long)[2] <= short.shape[1] - 20


def test_missing_page_says_so(tmp_path: Path) -> None:
    """A page that cannot be shown is a grey place with words in it; an empty array is the same."""
    pixels = sheet(tmp_path, Tile(page(RED), "q"), Tile(None, "a"))
    left, top, right, bottom = found(pixels, (226, 226, 230))
    assert right - left > 150
    place = pixels[top:bottom, left:right]
    assert (place.sum(axis=2) < 450).sum() > 100  # dark: letters
    empty = sheet(tmp_path, Tile(page(RED), "q"), Tile(np.zeros((0, 0, 3), np.uint8), "a"))
    assert np.array_equal(pixels, empty)


def test_sheet_without_neighbours_says_so(tmp_path: Path) -> None:
    """Nothing found is a picture, too, and it has words where the neighbours would be."""
    pixels = sheet(tmp_path, Tile(page(RED), "q"))
    beside = pixels[:, found(pixels, RED)[2] + 60 :]
    assert (beside.sum(axis=2) < 450).sum() > 100


@pytest.mark.parametrize(
    "character", ["\n", "\r", "\x00", "\x1b", "\u202e", "\u2066", "\u200f", "\u2028", "\udcff", "\ue000"]
)
def test_hostile_characters_become_visible(character: str, tmp_path: Path) -> None:
    """Control characters, line ends, direction marks and surrogates are shown as U+FFFD, in place."""
    name = f"a{character}b"
    assert display(name) == "a\ufffdb"
    assert drawable(name) == "a\ufffdb"
    hostile = sheet(tmp_path, Tile(None, name))
    assert np.array_equal(hostile, sheet(tmp_path, Tile(None, "a\ufffdb")))
    assert not np.array_equal(hostile, sheet(tmp_path, Tile(None, "ab")))


def test_harmless_text_stays() -> None:
    """Letters of all scripts stay as they are; exotic spaces become plain ones."""
    assert display("Größe 发票 שלום 한국") == "Größe 发票 שלום 한국"
    assert display("a\u00a0b\u3000c") == "a b c"
    assert drawable("发票 é 🙂") == "发票 é \ufffd"


def test_elision_keeps_both_ends() -> None:
    """What is too long loses its middle, as much as must be and no more; what fits is not touched."""
    assert fitted("short.pdf p. 3", 300, 13) == "short.pdf p. 3"
    narrow, wide = (fitted("2023-annual-report-of-the-company-final.pdf p. 12", width, 13) for width in (120, 220))
    assert narrow.startswith("2023-")
    assert narrow.endswith("p. 12")
    assert narrow.count("…") == 1
    assert len(narrow) < len(wide) < 49
    assert fitted("wide", 1, 13) == "…"


def test_thumbnails_fit() -> None:
    """A thumbnail fits its box, keeps its shape, is never empty, and a tiny page is not blown up."""
    assert thumbnail(page(RED, 1000, 500), (100, 100)).size == (100, 50)
    assert thumbnail(page(RED, 1, 5000), (100, 100)).size == (1, 100)
    assert thumbnail(page(RED, 10, 10), (100, 100)).size == (20, 20)
    assert thumbnail(np.full((50, 100), 7, np.uint8), (50, 50)).getpixel((0, 0)) == (7, 7, 7)


def confusion_pixels(matrix: list[list[int]], classes: list[str]) -> NDArray[np.int16]:
    """The pixels of a confusion matrix."""
    with Image.open(io.BytesIO(confusion_picture(np.array(matrix, np.int64), classes))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(np.int16)


def test_confusion_picture_is_drawn_in_chinese() -> None:
    """Matrices with different Chinese types differ: their names are no boxes."""
    one = confusion_pixels([[3, 1], [0, 4]], ["发票", "简历"])
    other = confusion_pixels([[3, 1], [0, 4]], ["论文", "书籍"])
    assert one.shape != other.shape or (one != other).any()


def test_confusion_picture_has_truth_on_rows() -> None:
    """A mistake is right of the diagonal when the true type comes first, and orange; what is right is blue."""
    pixels = confusion_pixels([[0, 9], [0, 9]], ["a", "b"])
    orange, blue = found(pixels, (194, 71, 8)), found(pixels, (26, 82, 168))
    assert orange[3] <= blue[1] + 2
    assert abs(orange[0] - blue[0]) <= 2


def test_confusion_picture_normalises_rows() -> None:
    """A rare type that is always right is as blue as a frequent one; counts are written, zeros are not."""
    pixels = confusion_pixels([[1, 0], [0, 1000]], ["a", "b"])
    left, top, right, bottom = found(pixels, (26, 82, 168))
    middle = (left + right) // 2, (top + bottom) // 2
    first = pixels[top : middle[1] - 2, left : middle[0] - 2]
    second = pixels[middle[1] + 2 : bottom, middle[0] + 2 : right]
    for cell in (first, second):
        assert (np.abs(cell - (26, 82, 168)) <= 2).all(axis=2).mean() > 0.5
        assert (cell.min(axis=2) > 240).any()  # white digits
    zero = pixels[top + 4 : middle[1] - 4, middle[0] + 4 : right - 4]
    assert len(np.unique(zero.reshape(-1, 3), axis=0)) == 1


def test_single_mistake_can_be_seen() -> None:
    """One mistake among a thousand is not the colour of none."""
    pixels = confusion_pixels([[1000, 1], [0, 1000]], ["a", "b"])
    blue = found(pixels, (26, 82, 168))
    size = (blue[2] - blue[0]) // 2
    mistake = pixels[blue[1] + 5, blue[0] + size + 5]
    none = pixels[blue[1] + size + 5, blue[0] + 5]
    assert np.abs(mistake - none).sum() > 10


@pytest.mark.parametrize("n", [1, 2, 40])
def test_confusion_picture_of_any_size(n: int) -> None:
    """One, two or forty types, empty rows, huge counts and names that look like formulas all give a picture."""
    matrix = np.diag([10**7] * n)
    matrix[0] = 0
    matrix[-1, -1] = 10**14
    pixels = confusion_pixels(matrix.tolist(), [f"$x^{i}_{{ & \\frac \n 发票 {'long ' * 40}" for i in range(n)])
    assert n * 30 < pixels.shape[0] < 60 * n + 500
    assert pixels.shape[1] < 60 * n + 500


def test_names_are_no_formulas() -> None:
    """A name with dollars is written as it is, and not read as mathematics."""
    assert confusion_pixels([[1, 0], [0, 1]], ["$\\frac$", "b"]).size


def test_confusion_picture_refuses_another_shape() -> None:
    """A matrix that does not fit the types is refused."""
    with pytest.raises(ValueError, match="3 classes but a matrix of"):
        confusion_picture(np.zeros((2, 2), np.int64), ["a", "b", "c"])


def test_a_gallery_has_a_heading_above_each_section(tmp_path: Path) -> None:
    """Sections follow each other, all their pages are shown, and what cannot be shown has its place."""
    tiles = [Tile(page(RED), "a.pdf", "invoice?"), Tile(None, "b.pdf")]
    sections = [("First family", tiles), ("没有", []), ("Second family", [Tile(page(GREEN), "c.pdf")])]
    gallery(sections, tmp_path / "gallery.png", "Families")
    with Image.open(tmp_path / "gallery.png") as image:
        pixels = np.asarray(image.convert("RGB")).astype(np.int16)
    first, second = found(pixels, RED), found(pixels, GREEN)
    assert first[3] < second[1]
    headings = np.flatnonzero((np.abs(pixels - np.array(QUERY_BLUE)) <= 2).all(axis=2).any(axis=1))
    assert headings.min() < first[1]
    assert ((headings > first[3]) & (headings < second[1])).any()
