"""Parts of a document look as their pages do in the whole, to the pixel."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from PIL import Image
from PIL.TiffImagePlugin import AppendingTiffWriter

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Document
from embedpipe.pages import extraction
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.extraction import extract

SPANS = [(0, 0), (1, 2), (3, 3)]


def parts_of(file: Path, spans: list[tuple[int, int]], passwords: tuple[str, ...] = ()) -> list[Path]:
    """Writes parts beside the file."""
    reader = "pdf" if file.suffix == ".pdf" else "tiff"
    folder = file.with_suffix(".parts")
    folder.mkdir()
    options = ReadOptions(passwords=passwords)
    made = list(extract(Document(str(file), "0" * 64, 1, 1, reader), spans, folder, options))
    assert all(isinstance(part, Path) for part in made), made
    return [part for part in made if isinstance(part, Path)]


def grey_profile(gamma: float) -> bytes:
    """A small ICC profile of grey."""
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    white = b"XYZ \0\0\0\0" + struct.pack(">iii", 63190, 65536, 54061)
    table = struct.pack(">I4sII4sII", 2, b"kTRC", 156, len(curve), b"wtpt", 156 + len(curve), len(white))
    size = 156 + len(curve) + len(white)
    head = struct.pack(">I4sI4s4s4s12x4s28x", size, b"none", 0x02200000, b"prtr", b"GRAY", b"XYZ ", b"acsp")
    return (head + white[8:]).ljust(128, b"\0") + table + curve + white


def layers(pile: pymupdf.Document) -> None:
    """A layer that is off, one that is on, and one that only shows with another."""
    off, on = pile.add_ocg("off", on=False), pile.add_ocg("on", on=True)
    both = pile.set_ocmd(ocgs=[off, on], policy="AllOn")
    for page in pile:
        for number, layer in enumerate((off, on, both)):
            page.insert_text((60, 80 + 60 * number), f"layer {number}", fontsize=40, oc=layer)


def annotations(pile: pymupdf.Document) -> None:
    """Notes of several kinds, one hidden, and a link to another page."""
    for number, page in enumerate(pile):
        page.add_freetext_annot(pymupdf.Rect(60, 60, 200, 100), f"note {number}")
        page.add_highlight_annot(pymupdf.Rect(60, 120, 200, 140))
        page.add_stamp_annot(pymupdf.Rect(60, 160, 200, 220), stamp=number)
        page.add_text_annot((220, 60), "pops up")
        hidden = page.add_rect_annot(pymupdf.Rect(220, 160, 300, 220))
        hidden.set_flags(pymupdf.PDF_ANNOT_IS_HIDDEN)
        link = {"kind": pymupdf.LINK_GOTO, "from": pymupdf.Rect(0, 0, 20, 20), "page": (number + 1) % len(pile)}
        page.insert_link({**link, "to": pymupdf.Point(0, 0)})


def form(pile: pymupdf.Document) -> None:
    """Fields with values, boxes that are ticked, and a field of which the viewer has to draw what it shows."""
    for number, page in enumerate(pile):
        for row, kind in enumerate((pymupdf.PDF_WIDGET_TYPE_TEXT, pymupdf.PDF_WIDGET_TYPE_CHECKBOX)):
            field = pymupdf.Widget()
            field.field_type, field.field_name = kind, f"field {number}.{row}"
            field.field_value = True if row else f"value {number}"
            field.rect = pymupdf.Rect(60, 100 + 60 * row, 60 + (20 if row else 140), 130 + 60 * row)
            page.add_widget(field)
        drawn = next(iter(page.widgets()))
        pile.xref_set_key(drawn.xref, "AP", "null")
    catalogue = pile.pdf_catalog()
    fields = pile.xref_get_key(catalogue, "AcroForm/Fields")[1].strip("[]").split(" R")[:-1]
    parent = pile.get_new_xref()  # the boxes of all pages are kids of one field, as those of a group are
    pile.update_object(parent, f"<</T(group)/FT/Tx/Kids[{' R '.join(fields[::2])} R]>>")
    for kid in fields[::2]:
        pile.xref_set_key(int(kid.split()[0]), "Parent", f"{parent} 0 R")
    rest = " R ".join([f"{parent} 0", *fields[1::2]])
    pile.xref_set_key(catalogue, "AcroForm", f"<</Fields[{rest} R]/NeedAppearances true/DA(/Helv 20 Tf 1 0 0 rg)>>")


def boxes(pile: pymupdf.Document) -> None:
    """Pages that are cropped, turned and in other units, with a size that they take from above."""
    for number, page in enumerate(pile):
        page.set_cropbox(pymupdf.Rect(10, 20 + number, 250, 300))
        page.set_rotation(90 * number)
        pile.xref_set_key(page.xref, "UserUnit", "2")
    parent = int(pile.xref_get_key(pile[0].xref, "Parent")[1].split()[0])
    pile.xref_set_key(parent, "MediaBox", "[0 0 320 400]")
    for page in pile:
        pile.xref_set_key(page.xref, "MediaBox", "null")


def colours(pile: pymupdf.Document) -> None:
    """Grey that a profile of the whole document makes darker."""
    profile = pile.get_new_xref()
    pile.update_object(profile, "<</N 1>>")
    pile.update_stream(profile, grey_profile(3.5))
    intent = f"[<</Type/OutputIntent/S/GTS_PDFX/OutputConditionIdentifier(x)/DestOutputProfile {profile} 0 R>>]"
    pile.xref_set_key(pile.pdf_catalog(), "OutputIntents", intent)
    for page in pile:
        page.draw_rect((60, 60, 200, 200), fill=(0.5,))


def drawn(file: Path, *changes: Callable[[pymupdf.Document], None]) -> Path:
    """A pile of four pages."""
    with pymupdf.open() as pile:
        for number in range(4):
            pile.new_page(width=300, height=400).insert_text((60, 40), f"secret of page {number}")
        for change in changes:
            change(pile)
        pile.save(file)
    return file


@pytest.mark.parametrize("change", [layers, annotations, form, boxes, colours])
def test_a_part_shows_what_the_pile_shows(tmp_path: Path, change: Callable[[pymupdf.Document], None]) -> None:
    """Whatever decides in a PDF how pages look goes with them, and no other page does."""
    file = drawn(tmp_path / "pile.pdf", change)
    parts = parts_of(file, SPANS)
    with pymupdf.open(file) as pile:
        for part, (first, last) in zip(parts, SPANS, strict=True):
            with pymupdf.open(part) as written:
                assert len(written) == last - first + 1
                for number, page in enumerate(written):
                    whole = pile[first + number]
                    assert page.rect == whole.rect
                    for scale in (0.5, 2.0):
                        matrix = pymupdf.Matrix(scale, scale)
                        assert page.get_pixmap(matrix=matrix).samples == whole.get_pixmap(matrix=matrix).samples
                    fields = [(f.field_name, f.field_value) for f in page.widgets()]
                    assert fields == [(f.field_name, f.field_value) for f in whole.widgets()]
                objects = [written.xref_object(n, compressed=True) for n in range(1, written.xref_length())]
                assert sum("/Type/Page/" in text for text in objects) == len(written)


def test_what_cannot_be_written_is_one_failure(tmp_path: Path) -> None:
    """A document that is gone, or has fewer pages by now, is a failure of its parts; the others are written."""
    file = drawn(tmp_path / "pile.pdf")
    document = Document(str(file), "0" * 64, 1, 1, "pdf")
    first, second = extract(document, [(2, 9), (0, 1)], tmp_path, ReadOptions())
    assert isinstance(first, DocumentError)
    assert (first.kind, str(first).partition(":")[0]) == ("page_error", "its pages cannot be written")
    assert isinstance(second, Path)


def test_a_page_that_changed_is_refused(tmp_path: Path) -> None:
    """A part is compared with its pages in the pile, and one that looks otherwise is never kept."""
    file = drawn(tmp_path / "pile.pdf", layers)
    document, part = Document(str(file), "0" * 64, 1, 1, "pdf"), str(tmp_path / "part.pdf")
    with pymupdf.open(file) as pile:
        pile.xref_set_key(pile.pdf_catalog(), "OCProperties", "null")
        pile.select([1, 2])
        pile.save(part)
    with pytest.raises(DocumentError, match="page 2 would not look as it does in the pile"):
        extraction._compare(document, (1, 2), part, ReadOptions())


def scan(file: Path) -> list[Image.Image]:
    """Four pictures that differ in depth, size, compression, resolution and orientation."""
    rng = np.random.default_rng(0)
    text = np.kron(rng.integers(0, 2, (14, 10)), np.ones((10, 10))).astype(np.uint8) * 255
    pictures = [
        Image.fromarray(text).convert("1"),
        Image.fromarray(np.stack([text, text // 2, 255 - text], axis=2)),
        Image.fromarray(text[:100].astype(np.uint16) * 200),
        Image.fromarray(text.T),
    ]
    given = [("group4", (204, 98), 1), ("jpeg", (300, 300), 6), ("raw", (100, 50), 3), ("tiff_lzw", (72, 72), 8)]
    with AppendingTiffWriter(file, new=True) as target:
        for picture, (compression, dpi, orientation) in zip(pictures, given, strict=True):
            exif = Image.Exif()
            exif[0x0112] = orientation
            picture.save(target, format="TIFF", compression=compression, dpi=dpi, exif=exif)
            target.newFrame()
    return pictures


def test_pictures_of_a_tiff_stay_as_they_are_stored(tmp_path: Path) -> None:
    """Each picture keeps its depth, compression, resolution and orientation, and its pixels."""
    file = tmp_path / "scan.tif"
    scan(file)
    for part, (first, last) in zip(parts_of(file, SPANS), SPANS, strict=True):
        with Image.open(file) as whole, Image.open(part) as written:
            assert written.n_frames == last - first + 1
            for number in range(written.n_frames):
                whole.seek(first + number)
                written.seek(number)
                for tag in (256, 257, 258, 259, 262, 274, 277, 282, 283, 296):
                    assert written.tag_v2.get(tag) == whole.tag_v2.get(tag), tag
                assert written.mode == whole.mode
                np.testing.assert_array_equal(np.asarray(written), np.asarray(whole))


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_tiffs_of_both_orders_and_widths(tmp_path: Path, order: str, *, big: bool) -> None:
    """Little and big endian, and BigTIFF, of which pictures are found by 64 bits."""
    offset, inline = ("Q", 8) if big else ("L", 4)
    entry = order + "HH" + offset
    body, link, pixels = b"", 0, [bytes(range(n, n + 12)) for n in range(3)]
    head = struct.pack(order + "HHHQ", 43, 8, 0, 16) if big else struct.pack(order + "HL", 42, 8)
    content = (b"II" if order == "<" else b"MM") + head
    for number, values in enumerate(pixels):
        place = len(content)
        tags = {256: 4, 257: 3, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: 3, 279: 12}
        width = 2 if not big else 8
        size = width + len(tags) * (4 + struct.calcsize(order + offset) + inline) + inline
        tags[273] = place + size
        body = b"".join(
            struct.pack(entry, tag, 16 if big else 4, 1) + struct.pack(order + offset, v) for tag, v in tags.items()
        )
        link = 0 if number == 2 else place + size + 16
        counted = struct.pack(order + ("Q" if big else "H"), len(tags))
        content += counted + body + struct.pack(order + offset, link) + values.ljust(16, b"\0")
    file = tmp_path / "scan.tif"
    file.write_bytes(content)
    [part] = parts_of(file, [(1, 2)])
    assert part.read_bytes()[:4] == content[:4]
    with Image.open(part) as written:
        for number in (0, 1):
            written.seek(number)
            assert written.tobytes() == pixels[number + 1]


def test_a_tiff_that_breaks_the_format_is_written_anew(tmp_path: Path) -> None:
    """Pictures whose strips have no lengths are decoded and stored without loss, with their resolutions."""
    file = tmp_path / "scan.tif"
    pictures = [Image.fromarray(np.full((60, 40), shade, np.uint8)) for shade in (10, 90, 170)]
    with AppendingTiffWriter(file, new=True) as target:
        for number, picture in enumerate(pictures):
            picture.paste(255, (5, 5, 20, 20))
            picture.save(target, format="TIFF", dpi=(100 + number, 50))
            target.newFrame()
    content = file.read_bytes()
    file.write_bytes(content.replace(struct.pack("<H", 279), struct.pack("<H", 280)))  # another tag has the lengths
    [part] = parts_of(file, [(1, 2)])
    with Image.open(part) as written:
        for number in (0, 1):
            written.seek(number)
            np.testing.assert_array_equal(np.asarray(written), np.asarray(pictures[number + 1]))
            assert written.info["dpi"] == (101 + number, 50)
