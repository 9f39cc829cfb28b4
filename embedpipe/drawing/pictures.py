"""Pictures with captions in any script, drawn offline: contact sheets of neighbours, and confusion matrices."""

import atexit
import functools
import io
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pymupdf
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from embedpipe.core.cache_folder import Aside
from embedpipe.core.display import display
from embedpipe.core.languages.translation import word
from embedpipe.core.outputs import MAKER, written

PER_ROW = 5
"""Most neighbours in one row of a contact sheet."""

_GALLERY_ROW = 4  # an even number: pairs stay side by side
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ELLIPSIS = "…"
_LATIN = "DejaVu Sans"  # comes with matplotlib
_LONGEST = 400  # characters of a caption that are looked at; no caption has room for more

_MARGIN = 28
_GAP = 22
_PANEL = 16  # padding of the panel behind the query
_BOX = (232, 310)
_QUERY_BOX = (310, 420)
_PANEL_WIDTH = _QUERY_BOX[0] + 2 * _PANEL
_TITLE, _HEADING, _CAPTION, _DETAIL = 22, 15, 13, 12  # pixels of the letters
_TEXT_HEIGHT = 52  # caption and detail below a tile
_HEADING_HEIGHT = 28  # "Query", and the words above the neighbours
_LARGEST_ZOOM = 2.0

_PAPER = (250, 250, 248)
_INK = (28, 28, 32)
_DIM = (104, 104, 112)
_LINE = (205, 205, 210)
_GREY = (226, 226, 230)
_QUERY_COLOUR = (37, 99, 235)
_QUERY_PANEL = (228, 236, 253)
_MARK_COLOUR = (217, 119, 6)

_RIGHT_SHADES = np.array([[0.96, 0.96, 0.97], [0.10, 0.32, 0.66]])  # of no document, of all documents
_WRONG_SHADES = np.array([[0.96, 0.96, 0.97], [0.76, 0.28, 0.03]])
_FAINTEST = 0.08
_DARK = 0.5  # from this share on, black digits cannot be read
_LABEL_WIDTH = 190  # pixels, where the letters are of _CAPTION's size
_SMALLEST_DIGITS = 2.5  # points


@dataclass(frozen=True, slots=True)
class Tile:
    """One page of a contact sheet.

    Attributes:
        pixels: uint8 (H, W, 3), RGB; None where the page cannot be shown.
        caption: File name and page; shortened in the middle where there is no room.
        detail: A second, smaller line, such as the score and the type.
        marked: Whether it gets a thick frame and a folded corner.
    """

    pixels: NDArray[np.uint8] | None
    caption: str
    detail: str = ""
    marked: bool = False


@functools.cache
def cjk_font_file() -> Path:
    """A font file with Chinese, Japanese and Korean, written from PyMuPDF once in a process and removed at its end."""
    folder = Aside("font")
    atexit.register(folder.cleanup)
    file = folder.path / "cjk.ttf"
    file.write_bytes(pymupdf.Font("cjk").buffer)
    return file


@functools.cache
def font_families() -> tuple[str, ...]:
    """Families for matplotlib, in the order in which they are asked for a glyph."""
    file = cjk_font_file()
    # matplotlib falls back between fonts by their family names only, and looks these up in its one list
    font_manager.fontManager.addfont(file)
    return _LATIN, font_manager.get_font(file).family_name


def _font_files() -> tuple[Path, Path]:
    return Path(font_manager.findfont(_LATIN)), cjk_font_file()


@functools.cache
def _characters() -> tuple[frozenset[int], ...]:
    return tuple(frozenset(font_manager.get_font(file).get_charmap()) for file in _font_files())


@functools.cache
def _fonts(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    return tuple(ImageFont.truetype(file, size) for file in _font_files())


def drawable(text: str) -> str:
    """`display`, and U+FFFD for every character that no font here has (emoji, rare scripts)."""
    latin, cjk = _characters()
    return "".join(c if ord(c) in latin or ord(c) in cjk else _REPLACEMENT for c in display(text))


def _font_of(character: str) -> int:
    return 0 if ord(character) in _characters()[0] else 1


def _width(text: str, size: int) -> float:
    return sum(_fonts(size)[font].getlength("".join(run)) for font, run in itertools.groupby(text, _font_of))


def fitted(text: str, width: float, size: int) -> str:
    """Makes a text drawable and elides its middle until it is at most `width` pixels wide: both ends distinguish files.

    Args:
        text: Any text.
        width: Room, in pixels.
        size: Of the letters, in pixels.
    """
    if len(text) > _LONGEST:
        text = text[: _LONGEST // 2] + _ELLIPSIS + text[-_LONGEST // 2 :]
    text = drawable(text)
    if _width(text, size) <= width:
        return text
    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        kept = (fits + too_long) // 2
        if _width(_elided(text, kept), size) <= width:
            fits = kept
        else:
            too_long = kept
    return _elided(text, fits)


def _elided(text: str, kept: int) -> str:
    tail = kept // 2
    return text[: kept - tail].rstrip() + _ELLIPSIS + text[len(text) - tail :].lstrip()


def _write(draw: ImageDraw.ImageDraw, corner: tuple[float, float], text: str, size: int, fill: tuple[int, ...]) -> None:
    """Writes a line whose characters may need both fonts; `corner` is where its first letter's top left is."""
    x, baseline = corner[0], corner[1] + size
    for font, run in itertools.groupby(text, _font_of):
        letters = "".join(run)
        draw.text((x, baseline), letters, fill=fill, font=_fonts(size)[font], anchor="ls")
        x += _fonts(size)[font].getlength(letters)


def thumbnail(pixels: NDArray[np.uint8], box: tuple[int, int]) -> Image.Image:
    """Scales a page into a box; keeps its shape, and does not blow a tiny one up.

    Args:
        pixels: uint8 (H, W, 3), or (H, W) for grey.
        box: Greatest width and height.
    """
    image = Image.fromarray(pixels).convert("RGB")
    zoom = min(box[0] / image.width, box[1] / image.height, _LARGEST_ZOOM)
    size = (max(1, round(image.width * zoom)), max(1, round(image.height * zoom)))
    return image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)


def _placeholder(box: tuple[int, int]) -> Image.Image:
    image = Image.new("RGB", box, _GREY)
    draw = ImageDraw.Draw(image)
    for line, text in enumerate((word("page not"), word("available"))):
        left = (box[0] - _width(text, _CAPTION)) / 2
        _write(draw, (left, box[1] / 2 + (line - 1) * 1.4 * _CAPTION), text, _CAPTION, _DIM)
    return image


def _picture(tile: Tile, box: tuple[int, int]) -> Image.Image:
    if tile.pixels is None or tile.pixels.size == 0:
        return _placeholder(box)
    return thumbnail(tile.pixels, box)


def _place(sheet: Image.Image, corner: tuple[int, int], picture: Image.Image, tile: Tile, *, query: bool) -> None:
    """Draws a tile with its frame; its captions lie below. `corner` is the picture's top left."""
    draw = ImageDraw.Draw(sheet)
    x, y = corner
    right, bottom = x + picture.width, y + picture.height
    sheet.paste(picture, corner)
    colour, thickness = (_QUERY_COLOUR, 3) if query else (_MARK_COLOUR, 4) if tile.marked else (_LINE, 1)
    frame = (x - thickness, y - thickness, right + thickness - 1, bottom + thickness - 1)
    draw.rectangle(frame, outline=colour, width=thickness)
    if tile.marked:  # seen without colours, too
        draw.polygon([(right - 24, y - 1), (right, y - 1), (right, y + 24)], fill=_MARK_COLOUR)


def _describe(draw: ImageDraw.ImageDraw, corner: tuple[int, int], width: int, caption: str, detail: str) -> None:
    """Writes the two lines below a tile."""
    x, y = corner
    _write(draw, (x, y + 8), fitted(caption, width, _CAPTION), _CAPTION, _INK)
    _write(draw, (x, y + 30), fitted(word(detail), width, _DETAIL), _DETAIL, _DIM)


def _rows(tiles: Sequence[Tile], columns: int | None = None) -> list[list[tuple[Tile, Image.Image]]]:
    """Spreads the tiles over as few rows as will do, each as long as the others: six become three and three."""
    shown = [(tile, _picture(tile, _BOX)) for tile in tiles]
    n_rows = max(1, -(-len(tiles) // PER_ROW))
    columns = columns or max(1, -(-len(tiles) // n_rows))
    return [shown[start : start + columns] for start in range(0, len(shown), columns)]


def _height(row: list[tuple[Tile, Image.Image]]) -> int:
    return max(picture.height for _, picture in row)


def _draw_query(sheet: Image.Image, top: int, query: Tile, picture: Image.Image, heading: str) -> None:
    draw = ImageDraw.Draw(sheet)
    bottom = top + 2 * _PANEL + _HEADING_HEIGHT + picture.height + _TEXT_HEIGHT
    draw.rounded_rectangle((_MARGIN, top, _MARGIN + _PANEL_WIDTH, bottom), radius=10, fill=_QUERY_PANEL)
    x, y = _MARGIN + _PANEL, top + _PANEL
    _write(draw, (x, y), word(heading), _HEADING, _QUERY_COLOUR)
    y += _HEADING_HEIGHT
    _place(sheet, (x + (_QUERY_BOX[0] - picture.width) // 2, y), picture, query, query=True)
    _describe(draw, (x, y + picture.height), _QUERY_BOX[0], query.caption, query.detail)


def _draw_neighbours(sheet: Image.Image, top: int, rows: list[list[tuple[Tile, Image.Image]]], heading: str) -> None:
    draw = ImageDraw.Draw(sheet)
    left, y = _MARGIN + _PANEL_WIDTH + 2 * _GAP, top + _PANEL
    _write(draw, (left, y), word(heading if rows else "Nothing looks like it"), _HEADING, _DIM)
    _draw_rows(sheet, (left, y + _HEADING_HEIGHT), rows)


def _draw_rows(sheet: Image.Image, corner: tuple[int, int], rows: list[list[tuple[Tile, Image.Image]]]) -> None:
    """Draws numbered tiles row by row; `corner` is the top left of the first one's place."""
    draw = ImageDraw.Draw(sheet)
    left, y = corner
    rank = itertools.count(1)
    for row in rows:
        bottom = y + _height(row)  # pictures stand on one line, whatever their shapes
        for column, (tile, picture) in enumerate(row):
            x = left + column * (_BOX[0] + _GAP)
            corner = (x + (_BOX[0] - picture.width) // 2, bottom - picture.height)
            _place(sheet, corner, picture, tile, query=False)
            _describe(draw, (x, bottom), _BOX[0], f"{next(rank)}. {tile.caption}", tile.detail)
        y = bottom + _TEXT_HEIGHT + _GAP


def contact_sheet(
    query: Tile,
    tiles: Sequence[Tile],
    file: Path,
    title: str = "",
    headings: tuple[str, str] = ("Query", "Most alike first"),
) -> None:
    """Draws a page beside the pages that look like it, as a PNG.

    Args:
        query: The page that was asked for.
        tiles: Its neighbours, best first; they are numbered and read row by row.
        file: The PNG; it is replaced in one step.
        title: Above it all, or "".
        headings: Above the page, and above its neighbours.

    Raises:
        ArtifactError: The file cannot be written.
    """
    rows = _rows(tiles)
    asked = _picture(query, _QUERY_BOX)
    columns = len(rows[0]) if rows else 1
    width = _MARGIN + _PANEL_WIDTH + 2 * _GAP + columns * (_BOX[0] + _GAP) - _GAP + _MARGIN
    top = _MARGIN + (_TITLE + 20 if title else 0)
    asked_height = _PANEL + _HEADING_HEIGHT + asked.height + _TEXT_HEIGHT + _PANEL
    rows_height = _PANEL + _HEADING_HEIGHT + sum(_height(row) + _TEXT_HEIGHT + _GAP for row in rows)
    sheet = Image.new("RGB", (width, top + max(asked_height, rows_height) + _MARGIN), _PAPER)
    title = fitted(word(title), width - 2 * _MARGIN, _TITLE)
    _write(ImageDraw.Draw(sheet), (_MARGIN, _MARGIN - 4), title, _TITLE, _INK)
    _draw_query(sheet, top, query, asked, headings[0])
    _draw_neighbours(sheet, top, rows, headings[1])
    with written(file) as temporary:
        sheet.save(temporary, "PNG", pnginfo=_made())


def gallery(sections: Sequence[tuple[str, Sequence[Tile]]], file: Path, title: str) -> None:
    """Draws pages in sections, each with a heading of its own, as a PNG.

    Args:
        sections: Headings and pages; the pages are numbered within their section and read row by row.
        file: The PNG; it is replaced in one step.
        title: Above it all.

    Raises:
        ArtifactError: The file cannot be written.
    """
    drawn = [(heading, _rows(tiles, _GALLERY_ROW)) for heading, tiles in sections]
    heights = [_HEADING_HEIGHT + _GAP + sum(_height(row) + _TEXT_HEIGHT + _GAP for row in rows) for _, rows in drawn]
    width = 2 * _MARGIN + _GALLERY_ROW * (_BOX[0] + _GAP) - _GAP
    top = _MARGIN + _TITLE + 20
    sheet = Image.new("RGB", (width, top + sum(heights) + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_MARGIN, _MARGIN - 4), fitted(word(title), width - 2 * _MARGIN, _TITLE), _TITLE, _INK)
    for (heading, rows), height in zip(drawn, heights, strict=True):
        _write(draw, (_MARGIN, top), fitted(word(heading), width - 2 * _MARGIN, _HEADING), _HEADING, _QUERY_COLOUR)
        _draw_rows(sheet, (_MARGIN, top + _HEADING_HEIGHT), rows)
        top += height
    with written(file) as temporary:
        sheet.save(temporary, "PNG", pnginfo=_made())


def save_figure(figure: Figure, file: Path) -> None:
    """Writes a figure as a PNG; an older one is replaced in one step."""
    with written(file) as temporary:
        FigureCanvasAgg(figure).figure.savefig(temporary, format="png", metadata={"Software": MAKER})


def _made() -> PngInfo:
    """Tells who made a PNG."""
    info = PngInfo()
    info.add_text("Software", MAKER)
    return info


def save_pixels(pixels: NDArray[np.uint8], file: Path) -> None:
    """Writes a page as it is, uint8 (H, W, 3), as a PNG; an older one is replaced in one step."""
    with written(file) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG", pnginfo=_made())


def png_bytes(image: Image.Image) -> bytes:
    """A picture as the bytes of a PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def jpeg_bytes(image: Image.Image, quality: int = 80) -> bytes:
    """A picture as the bytes of a JPEG: of a page, a quarter of a PNG's."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def confusion_picture(matrix: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """Draws a confusion matrix: counts in the cells, blue on the diagonal, orange off it, zeros left empty.

    The depth of the colour is the share of the row, so that rare types are as easy to read as frequent ones.

    Args:
        matrix: Documents of each type (rows) by the predicted type (columns), (n_classes, n_classes).
        classes: Names of the types; long ones are elided.

    Returns:
        A PNG.
    """
    n = len(classes)
    if matrix.shape != (n, n):
        raise ValueError(f"{n} classes but a matrix of {matrix.shape}")
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    cell = min(0.62, max(0.29, 6 / n), 20 / n)  # inches
    label_size = max(4.0, min(10.0, 26 * cell))  # points
    figure = Figure(figsize=(n * cell, n * cell), dpi=130, facecolor="white")
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    diagonal = np.eye(n, dtype=bool)[..., None]
    axes.imshow(np.where(diagonal, _shaded(shares, _RIGHT_SHADES), _shaded(shares, _WRONG_SHADES)), aspect="equal")
    _label_axes(axes, [fitted(name, _LABEL_WIDTH, _CAPTION) for name in classes], label_size)
    _write_counts(axes, matrix, shares, cell * 72)
    buffer = io.BytesIO()
    canvas.figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    return buffer.getvalue()


def _shaded(shares: NDArray[np.float64], shades: NDArray[np.float64]) -> NDArray[np.float64]:
    # a single mistake among many documents must not look like none
    depth = np.where(shares > 0, _FAINTEST + (1 - _FAINTEST) * np.sqrt(shares), 0)[..., None]
    colours: NDArray[np.float64] = shades[0] + depth * (shades[1] - shades[0])
    return colours


def _label_axes(axes: Axes, names: list[str], size: float) -> None:
    families = list(font_families())
    places = np.arange(len(names))
    # a name such as "$5 bills" is no formula
    axes.set_yticks(places, names, fontsize=size, family=families, parse_math=False)
    axes.set_xticks(places, names, fontsize=size, family=families, parse_math=False)
    for label in axes.get_xticklabels():
        label.set(rotation=45, horizontalalignment="right", rotation_mode="anchor")
    axes.set_ylabel(word("true type"), fontsize=size + 2, family=families, labelpad=8)
    axes.set_xlabel(word("predicted type"), fontsize=size + 2, family=families, labelpad=4)
    between = places[1:] - 0.5
    axes.set_xticks(between, minor=True)
    axes.set_yticks(between, minor=True)
    axes.grid(visible=True, which="minor", color="white", linewidth=1.0)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)


def _write_counts(axes: Axes, matrix: NDArray[np.int64], shares: NDArray[np.float64], cell: float) -> None:
    """Writes the counts that are not zero; `cell` is the side of a cell in points."""
    for row, column in np.argwhere(matrix):
        text = str(matrix[row, column])
        size = min(11.0, 0.42 * cell, 0.85 * cell / (0.65 * len(text)))
        if size < _SMALLEST_DIGITS:
            continue
        colour = "white" if np.sqrt(shares[row, column]) > _DARK else "#222226"
        axes.text(
            column, row, text, fontsize=size, color=colour, family=list(font_families()), ha="center", va="center"
        )
