"""Every reader keeps one contract, and each kind of file has oddities of its own that must come out right."""

import base64
import itertools
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import book_files
import numpy as np
import odd_files
import pymupdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import FAILURES, SHORTEST_SIDE, Recipe
from embedpipe.pages.contract import first_line
from embedpipe.pages.documents import (
    BLANK_INK,
    CONVERTED,
    PHOTO_CROP,
    READERS,
    SHAPE_STEP,
    SUFFIXES,
    Limits,
    OpenDocument,
    ReadOptions,
    Rendering,
    open_document,
    plan,
    recognise,
)
from embedpipe.pages.formats.pictures import MORE_PICTURES
from embedpipe.pages.unfolding import look_up
from embedpipe.pages.walking import identify

KEYS = sorted(set(READERS) - {"txt"} - CONVERTED)  # any text is one: see test_books; test_converting has the others
BOOKS = {
    "xps": book_files.xps,
    "epub": book_files.epub,
    "fb2": book_files.fb2,
    "mobi": book_files.mobi,
    "svg": book_files.svg,
    "cbz": lambda: book_files.cbz([Image.new("L", (60, 80), 9)]),
}
BY_HAND = {"djvu": odd_files.djvu, "psd": odd_files.psd, "caj": odd_files.caj}
LAID_OUT = ("epub", "fb2", "mobi", "cbz")
"""Kinds whose samples show no dark bar, or are not of the size of the others."""

RESIZES = ("aspect", "squash", "crop")
RED, WHITE = (255, 0, 0), (255, 255, 255)

T = Image.Transpose
STORED_AS = {
    1: None,
    2: T.FLIP_LEFT_RIGHT,
    3: T.ROTATE_180,
    4: T.FLIP_TOP_BOTTOM,
    5: T.TRANSPOSE,
    6: T.ROTATE_90,
    7: T.TRANSVERSE,
    8: T.ROTATE_270,
}
"""What turns an upright picture into the one that a camera with this EXIF orientation stores."""

HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAVZtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9j"
    "AAAAAERAAAEAAQAAAAABegABAAAAAAAAAFEAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA1mlw"
    "cnAAAAC3aXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAPPAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAPLoCQGEAAQArQgEBA3AA"
    "AAMAkAAAAwAAAwA8oBkgEZZbqSSmubgIaDAgAAADAyAAAAMAIWIAAQAHRAHBcrBiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAA"
    "AADIAAABGAAAABBwaXhpAAAAAAMICAgAAAAXaXBtYQAAAAAAAAABAAEEgQIDBAAAAFltZGF0AAAATSgBrxkpZROi9wHgT//xL/xitYiWBoEY"
    "AAAakKeFwbD/wv1PcNYa6BihggAC7s+CaEyAAAF1hwAAAwAAAwNeAAADAAADAAADAAADAB4Q"
)
"""The sample as a phone would store it: nothing in the test tools writes HEIF."""

TURNED_HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAaFtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAADRpbG9j"
    "AAAAAERAAAIAAQAAAAABxQABAAAAAAAAAFEAAgAAAAACFgABAAAAAAAAACQAAAA4aWluZgAAAAAAAgAAABVpbmZlAgAAAAABAABodmMxAAAA"
    "ABVpbmZlAgAAAQACAABFeGlmAAAAAA5waXRtAAAAAAABAAAA4GlwcnAAAADAaXBjbwAAAHhodmNDAQNwAAAAkAAAAAAAPPAA/P34+AAADwNg"
    "AAEAGEABDAH//wNwAAADAJAAAAMAAAMAPLoCQGEAAQArQgEBA3AAAAMAkAAAAwAAAwA8oBkgEZZbqSSmubgIaDAgAAADAyAAAAMAIWIAAQAH"
    "RAHBcrBiQAAAABNjb2xybmNseAABAA0ABoAAAAAUaXNwZQAAAAAAAADIAAABGAAAABBwaXhpAAAAAAMICAgAAAAJaXJvdAMAAAAYaXBtYQAA"
    "AAAAAAABAAEFgQIDBIUAAAAaaXJlZgAAAAAAAAAOY2RzYwACAAEAAQAAAH1tZGF0AAAATSgBrxkpZROi9wHgT//xL/xitYiWBoEYAAAakKeF"
    "wbD/wv1PcNYa6BihggAC7s+CaEyAAAF1hwAAAwAAAwNeAAADAAADAAADAAADAB4QAAAABkV4aWYAAE1NACoAAAAIAAEBEgADAAAAAQAGAAAA"
    "AAAA"
)
"""The same stored as a picture that is to be turned clockwise, by its box and by its EXIF, as phones do it."""


def sample(folder: Path, key: str, size: tuple[int, int] = (200, 280)) -> Path:
    """A white page with a dark bar at its top, as a file that the reader `key` opens; its name says nothing."""
    file = folder / f"{key}.bin"
    width, height = size
    if key == "pdf":
        with pymupdf.open() as document:
            page = document.new_page(width=width, height=height)
            page.draw_rect((0, 0, width, height * 0.4), color=None, fill=(0.1, 0.1, 0.1))
            document.save(file)
        return file
    if key in BOOKS or key in BY_HAND:
        file.write_bytes((BOOKS | BY_HAND)[key]())
        return file
    if key == "heif":
        file.write_bytes(base64.b64decode(HEIC))
        return file
    pixels = np.full((height, width, 3), 255, np.uint8)
    pixels[: height * 2 // 5] = 25
    Image.fromarray(pixels).save(file, READERS[key].name)
    return file


def read(path: Path, key: str, index: int = 0, *, size: int = 160, **options: object) -> Rendering:
    """Renders one page of a file; `size` is the long side."""
    options.setdefault("recipe", Recipe(size=size))
    document = open_document(os.fspath(path), key, ReadOptions(**options))
    try:
        return document.render(index)
    finally:
        document.close()


def refusal(path: Path, key: str, index: int = 0, **options: object) -> DocumentError:
    """The error that reading a page of a file ends with."""
    with pytest.raises(DocumentError) as caught:
        read(path, key, index, **options)
    return caught.value


def shade(drawn: Rendering, x: float, y: float) -> tuple[int, ...]:
    """The colour at a place that is given as shares of the width and the height."""
    rows, columns, _ = drawn.pixels.shape
    return tuple(int(c) for c in drawn.pixels[int(y * rows), int(x * columns)])


def is_near(colour: Iterable[int], other: Iterable[int], by: int = 12) -> bool:
    """Whether two colours differ by no more than a lossy format may make them."""
    return all(abs(a - b) <= by for a, b in zip(colour, other, strict=True))


def write_pdf(file: Path, *objects: str) -> Path:
    """Writes a PDF from the text of its objects 1, 2, ...; object 1 is the catalog."""
    out = b"%PDF-1.7\n"
    offsets = []
    for number, text in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{text}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    end = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    end += f"trailer\n<</Root 1 0 R/Size {len(objects) + 1}>>\nstartxref\n{len(out)}\n%%EOF\n"
    file.write_bytes(out + end.encode())
    return file


def one_page_pdf(file: Path, page: str) -> Path:
    """Writes a PDF with one empty page that has these entries."""
    return write_pdf(
        file,
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R{page}>>",
    )


class TestPlan:
    """What part of a page is drawn, onto how many pixels."""

    @pytest.mark.parametrize(
        ("width", "height", "expected"),
        [
            (595, 842, (224, 320)),
            (842, 595, (320, 224)),
            (100, 100, (320, 320)),
            (1, 1_000_000, (32, 320)),
            (1_000_000, 1, (320, 32)),
            (1e-6, 1e-6, (320, 320)),
        ],
    )
    def test_aspect_keeps_the_shape_to_a_step(self, width: float, height: float, expected: tuple[int, int]) -> None:
        """The long side has the size, the short one is the nearest step, and a till roll keeps the shortest side."""
        assert plan(width, height, Recipe(size=320, resize="aspect")) == ((0, 0, width, height), expected)

    @given(
        width=st.floats(1e-3, 1e7),
        height=st.floats(1e-3, 1e7),
        size=st.sampled_from([16, 32, 64, 224, 320, 448, 1024]),
        shortest=st.sampled_from([SHORTEST_SIDE, 80]),
    )
    def test_aspect_of_any_page_fits_the_network(self, width: float, height: float, size: int, shortest: int) -> None:
        """The long side is the size, the short one a step between the shortest side and the size, the shape is kept."""
        region, (columns, rows) = plan(width, height, Recipe(size=size, resize="aspect", shortest=shortest))
        short, exact = min(columns, rows), size * min(width, height) / max(width, height)
        assert region == (0, 0, width, height)
        assert max(columns, rows) == size
        assert short % SHAPE_STEP == 0
        assert min(shortest, size) <= short <= size
        assert abs(short - exact) <= SHAPE_STEP / 2 or short == min(shortest, size)
        assert (columns >= rows) == (width >= height) or columns == rows

    @pytest.mark.parametrize(("width", "height"), [(595, 842), (1, 1e6), (1e6, 1)])
    def test_squash_draws_all_of_it_onto_a_square(self, width: float, height: float) -> None:
        """The whole page becomes a square, whatever its shape."""
        assert plan(width, height, Recipe(size=224, resize="squash")) == ((0, 0, width, height), (224, 224))

    @given(width=st.floats(1, 1e6), height=st.floats(1, 1e6))
    def test_crop_takes_the_middle_square(self, width: float, height: float) -> None:
        """The region is a square of the usual share of the short side, inside the page and at its middle."""
        (left, top, right, bottom), pixels = plan(width, height, Recipe(size=224, resize="crop"))
        side = PHOTO_CROP * min(width, height)
        assert pixels == (224, 224)
        assert right - left == pytest.approx(side, rel=1e-6)
        assert bottom - top == pytest.approx(side, rel=1e-6)
        assert (left + right) / 2 == pytest.approx(width / 2)
        assert (top + bottom) / 2 == pytest.approx(height / 2)
        assert left >= 0
        assert top >= 0
        assert right <= width
        assert bottom <= height


class TestEveryReader:
    """The contract that each entry of the table keeps."""

    @pytest.mark.parametrize("key", KEYS)
    def test_recognises_its_files_by_content(self, tmp_path: Path, key: str) -> None:
        """A file whose name promises nothing is known by its first kilobyte."""
        assert identify(look_up(os.fspath(sample(tmp_path, key))), Limits()).reader == key

    @pytest.mark.parametrize("resize", RESIZES)
    @pytest.mark.parametrize("key", sorted(set(KEYS) - set(LAID_OUT)))
    def test_renders_to_the_planned_size(self, tmp_path: Path, key: str, resize: str) -> None:
        """Pixels are uint8 (H, W, 3) of the planned size, upright, and the page's own size is told."""
        recipe = Recipe(size=96, resize=resize)
        drawn = read(sample(tmp_path, key), key, recipe=recipe)
        _, (columns, rows) = plan(200, 280, recipe)
        assert drawn.pixels.dtype == np.uint8
        assert drawn.pixels.shape == (rows, columns, 3)
        assert (drawn.width, drawn.height) == ((150, 210) if key == "xps" else (200, 280))
        assert is_near(shade(drawn, 0.5, 0.1), (25, 25, 25))
        assert is_near(shade(drawn, 0.5, 0.9), WHITE)
        assert not drawn.repaired

    @pytest.mark.parametrize("key", KEYS)
    def test_has_one_page_and_no_other(self, tmp_path: Path, key: str) -> None:
        """A page that the document does not have is an error of that page."""
        document = open_document(os.fspath(sample(tmp_path, key)), key, ReadOptions())
        try:
            assert document.page_count == 1
            with pytest.raises(DocumentError) as caught:
                document.render(1)
        finally:
            document.close()
        assert caught.value.kind == "page_error"

    @pytest.mark.parametrize(
        "key",
        [
            pytest.param(
                key,
            )
            for key in KEYS
        ],
    )
    def test_gives_the_same_twice(self, tmp_path: Path, key: str) -> None:
        """A page that is rendered again is the same in pixels and in size."""
        document = open_document(os.fspath(sample(tmp_path, key)), key, ReadOptions(recipe=Recipe(size=64)))
        try:
            first, second = document.render(0), document.render(0)
        finally:
            document.close()
        assert np.array_equal(first.pixels, second.pixels)
        assert (first.width, first.height) == (second.width, second.height)

    @pytest.mark.parametrize(
        ("key", "other"),
        [
            pytest.param(
                key,
                other,
            )
            for key, other in itertools.permutations(KEYS, 2)
        ],
    )
    def test_refuses_files_of_another_kind(self, tmp_path: Path, key: str, other: str) -> None:
        """A reader that is given the file of another reader raises DocumentError of the whole file."""
        error = refusal(sample(tmp_path, other), key)
        assert error.kind in ("not_a_document", "no_pages")

    @pytest.mark.parametrize("key", KEYS)
    @pytest.mark.parametrize(
        "content", [b"", b"\0" * 4096, b"%PDF-", b"hello " * 900], ids=["empty", "zeros", "head", "text"]
    )
    def test_refuses_what_is_none(self, tmp_path: Path, key: str, content: bytes) -> None:
        """Content that is no document raises DocumentError with an outcome of the list."""
        file = tmp_path / f"x{READERS[key].suffixes[0]}"
        file.write_bytes(content)
        assert refusal(file, key).kind in ("not_a_document", "no_pages")

    @pytest.mark.parametrize("key", KEYS)
    def test_refuses_what_is_not_there(self, tmp_path: Path, key: str) -> None:
        """A file that vanished raises DocumentError and not OSError."""
        assert refusal(tmp_path / "none", key).kind in FAILURES

    @pytest.mark.parametrize("key", sorted(set(KEYS) - set(BOOKS)))  # of these see test_books
    def test_damage_is_either_read_or_refused(self, tmp_path: Path, key: str) -> None:
        """Files cut short or with bytes overwritten give a page of the planned size or DocumentError, nothing else."""
        whole = sample(tmp_path, key).read_bytes()
        rng = np.random.default_rng(7)
        damaged = [whole[: len(whole) * eighth // 8] for eighth in range(1, 8)]
        for _ in range(25):
            content = np.frombuffer(whole, np.uint8).copy()
            at = rng.integers(8, len(content), 12)
            content[at] = rng.integers(0, 256, 12)
            damaged.append(content.tobytes())
        file = tmp_path / "damaged"
        refused = []
        for content in damaged:
            file.write_bytes(content)
            try:
                assert max(read(file, key).pixels.shape) == 160
            except DocumentError as error:
                refused.append(error)
        assert refused
        assert {error.kind for error in refused} <= set(FAILURES)
        assert not any("\n" in str(error) for error in refused)

    @pytest.mark.parametrize("key", KEYS)
    def test_its_suffixes_are_its_own(self, key: str) -> None:
        """Suffixes are lower case, begin with a dot, and promise one kind of file only."""
        others = {suffix for other in KEYS if other != key for suffix in READERS[other].suffixes}
        for suffix in READERS[key].suffixes:
            assert suffix.startswith(".")
            assert suffix == suffix.lower()
            assert suffix in SUFFIXES
            assert suffix not in others

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            b"PK\x03\x04",
            b"%!PS-Adobe-3.0 EPSF-3.0\n",
            b"BLP2",
            b"<html><svg xmlns=",
            b"\0\0\0\x18ftypisom\0\0\0\0mp42mp41",
            b"8BPS",
            b"RIFF\0\0\0\0WAVE",
        ],
    )
    def test_nothing_else_reaches_a_decoder(self, head: bytes) -> None:
        """PostScript, HTML, BLP, archives and all that is not in the table are of no kind."""
        assert recognise(head) is None

    def test_a_picture_that_mentions_pdf_is_a_picture(self, tmp_path: Path) -> None:
        """A PNG whose title holds the magic of PDF is still a PNG."""
        title = PngImagePlugin.PngInfo()
        title.add_text("Title", "made from %PDF-1.4")
        Image.new("L", (64, 64)).save(tmp_path / "a.png", pnginfo=title)
        assert recognise((tmp_path / "a.png").read_bytes()) == "png"

    @pytest.mark.parametrize(
        "content",
        [
            "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><!-- %PDF-1.7 --></svg>",
            "<!DOCTYPE html><html><body>%PDF-1.7</body></html>",
        ],
        ids=["svg", "html"],
    )
    def test_what_mentions_pdf_is_no_pdf(self, tmp_path: Path, content: str) -> None:
        """SVG and HTML that hold the magic of PDF reach no decoder of theirs."""
        (tmp_path / "a.pdf").write_text(content)
        assert refusal(tmp_path / "a.pdf", "pdf").kind in ("not_a_document", "no_pages")

    def test_a_pdf_may_begin_with_something_else(self, tmp_path: Path) -> None:
        """A PDF behind some bytes of a mail or a printer is a PDF and opens."""
        file = tmp_path / "x"
        file.write_bytes(b"\x1b%-12345X@PJL\r\n" + sample(tmp_path, "pdf").read_bytes())
        assert recognise(file.read_bytes()[:1024]) == "pdf"
        assert is_near(shade(read(file, "pdf"), 0.5, 0.02), (25, 25, 25))


def with_corner(size: tuple[int, int] = (100, 60)) -> Image.Image:
    """A white picture with its upper left corner red."""
    image = Image.new("RGB", size, WHITE)
    image.paste(RED, (0, 0, 30, 20))
    return image


class TestOrientation:
    """Pictures come out upright."""

    @pytest.mark.parametrize(
        ("key", "orientation"),
        [
            pytest.param(
                key,
                orientation,
            )
            for key in ("jpeg", "png", "webp", "tiff")
            for orientation in STORED_AS
        ],
    )
    def test_the_marked_corner_is_upper_left(self, tmp_path: Path, key: str, orientation: int) -> None:
        """All eight values of the EXIF orientation show the marked corner at the upper left of a wide picture."""
        image, turn = with_corner(), STORED_AS[orientation]
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = tmp_path / "turned"
        (image if turn is None else image.transpose(turn)).save(file, READERS[key].name, exif=exif)
        drawn = read(file, key)
        assert drawn.pixels.shape == (96, 160, 3)
        assert (drawn.width, drawn.height) == (100, 60)
        assert is_near(shade(drawn, 0.1, 0.1), RED, by=40)
        for x, y in ((0.9, 0.1), (0.1, 0.9), (0.9, 0.9)):
            assert is_near(shade(drawn, x, y), WHITE)

    def test_a_turned_photo_is_cropped_where_it_is_seen(self, tmp_path: Path) -> None:
        """The middle square of a turned and drafted JPEG is the middle square of what people see."""
        upright = np.full((1600, 900, 3), 255, np.uint8)
        upright[: (1600 - 900) // 2] = 0  # black above the middle square only
        exif = Image.Exif()
        exif[0x0112] = 6
        file = tmp_path / "photo"
        Image.fromarray(upright).transpose(STORED_AS[6]).save(file, "JPEG", exif=exif)
        drawn = read(file, "jpeg", recipe=Recipe(size=128, resize="crop"))
        assert drawn.pixels.shape == (128, 128, 3)
        assert drawn.pixels.mean() > 250

    @pytest.mark.parametrize("value", [0, 9, 4711])
    def test_a_value_that_means_nothing_turns_nothing(self, tmp_path: Path, value: int) -> None:
        """An orientation outside 1..8 leaves the picture as it is stored."""
        exif = Image.Exif()
        exif[0x0112] = value
        with_corner().save(tmp_path / "a", "JPEG", exif=exif)
        assert is_near(shade(read(tmp_path / "a", "jpeg"), 0.1, 0.1), RED, by=40)


class TestDepth:
    """Whatever the bits of a picture, black is black and white is white."""

    @staticmethod
    def is_a_ramp(drawn: Rendering) -> bool:
        """Whether a picture goes from black at its left to white at its right, grey in between."""
        shades = [shade(drawn, x, 0.5)[0] for x in (0.01, 0.25, 0.5, 0.75, 0.99)]
        return is_near(shades, (2, 64, 128, 191, 252), by=6)

    @pytest.mark.parametrize("name", ["deep.png", "deep.tiff"])
    def test_sixteen_bits_are_scaled(self, tmp_path: Path, name: str) -> None:
        """16-bit grey is scaled by its full range and is not clipped to white."""
        Image.fromarray(np.tile(np.linspace(0, 65535, 300).astype(np.uint16), (200, 1))).save(tmp_path / name)
        assert self.is_a_ramp(read(tmp_path / name, name.partition(".")[2]))

    def test_big_endian_sixteen_bits_are_scaled(self, tmp_path: Path) -> None:
        """16-bit grey in the other byte order gives the same picture."""
        ramp = np.tile(np.linspace(0, 65535, 300).astype(">u2"), (200, 1))
        Image.frombytes("I;16B", (300, 200), ramp.tobytes()).save(tmp_path / "a.tiff")
        assert self.is_a_ramp(read(tmp_path / "a.tiff", "tiff"))

    @pytest.mark.parametrize("factor", [1.0, 1e-6, 1e6])
    def test_floats_are_scaled_from_darkest_to_lightest(self, tmp_path: Path, factor: float) -> None:
        """A float TIFF shows its whole range, whatever its unit."""
        ramp = np.tile(np.linspace(-factor, factor, 300).astype(np.float32), (200, 1))
        Image.fromarray(ramp).save(tmp_path / "a.tiff")
        assert self.is_a_ramp(read(tmp_path / "a.tiff", "tiff"))

    def test_floats_that_are_no_numbers_are_white(self, tmp_path: Path) -> None:
        """NaN in a float TIFF is shown as the lightest shade and leaves the others as they are."""
        ramp = np.tile(np.linspace(0, 1, 300).astype(np.float32), (200, 1))
        ramp[:40] = np.nan
        Image.fromarray(ramp).save(tmp_path / "a.tiff")
        drawn = read(tmp_path / "a.tiff", "tiff")
        assert self.is_a_ramp(drawn)
        assert is_near(shade(drawn, 0.05, 0.05), WHITE)

    @pytest.mark.parametrize("infinite", [np.inf, -np.inf])
    def test_floats_without_end_leave_the_others(self, tmp_path: Path, infinite: float) -> None:
        """An infinite pixel in a float TIFF leaves the others as they are."""
        ramp = np.tile(np.linspace(0, 1, 300).astype(np.float32), (200, 1))
        ramp[0, 0] = infinite
        Image.fromarray(ramp).save(tmp_path / "a.tiff")
        assert self.is_a_ramp(read(tmp_path / "a.tiff", "tiff"))

    def test_a_flat_float_picture_is_one_shade(self, tmp_path: Path) -> None:
        """A float TIFF of one value has no range to scale and is rendered all the same."""
        Image.fromarray(np.full((50, 50), 3.5, np.float32)).save(tmp_path / "a.tiff")
        assert read(tmp_path / "a.tiff", "tiff").ink == 0

    def test_32_bits_are_scaled_from_darkest_to_lightest(self, tmp_path: Path) -> None:
        """32-bit whole numbers past the 16-bit range are scaled by what the picture holds."""
        Image.fromarray(np.tile(np.linspace(0, 2_000_000_000, 300).astype(np.int32), (200, 1))).save(
            tmp_path / "a.tiff"
        )
        assert self.is_a_ramp(read(tmp_path / "a.tiff", "tiff"))

    @pytest.mark.parametrize(
        ("mode", "name"),
        [
            ("1", "a.tiff"),
            ("1", "a.png"),
            ("L", "a.jpeg"),
            ("P", "a.png"),
            ("P", "a.gif"),
            ("CMYK", "a.jpeg"),
            ("CMYK", "a.tiff"),
            ("YCbCr", "a.tiff"),
        ],
    )
    def test_every_mode_keeps_dark_and_light(self, make_image: Callable[..., Path], mode: str, name: str) -> None:
        """1-bit, grey, palette, CMYK and YCbCr pictures have their dark bar at the top and white below."""
        drawn = read(make_image(name, mode=mode), name.partition(".")[2])
        assert is_near(shade(drawn, 0.5, 0.5), WHITE)
        assert max(shade(drawn, 0.5, 0.05)) < 60

    def test_one_bit_is_smoothed_when_it_shrinks(self, tmp_path: Path) -> None:
        """Fine black and white lines of a fax become grey and not a pattern."""
        lines = np.zeros((1600, 1600), bool)
        lines[::2] = True
        Image.fromarray(lines).save(tmp_path / "a.tiff")
        pixels = read(tmp_path / "a.tiff", "tiff").pixels
        assert pixels.min() > 90
        assert pixels.max() < 165


class TestTransparency:
    """What is transparent is shown on white, as paper would."""

    @pytest.mark.parametrize(
        ("mode", "name"), [("RGBA", "a.png"), ("LA", "a.png"), ("RGBA", "a.webp"), ("RGBA", "a.tiff"), ("LA", "a.tiff")]
    )
    def test_alpha_is_laid_on_white(self, tmp_path: Path, mode: str, name: str) -> None:
        """Black text on transparent black is black on white, and what is half opaque is grey."""
        image = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), (0, 0, 100, 30))
        image.paste((0, 0, 0, 128), (0, 70, 100, 100))
        options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
        image.convert(mode).save(tmp_path / name, **options)
        drawn = read(tmp_path / name, name.partition(".")[2])
        assert is_near(shade(drawn, 0.5, 0.1), (0, 0, 0))
        assert is_near(shade(drawn, 0.5, 0.5), WHITE)
        assert is_near(shade(drawn, 0.5, 0.9), (127, 127, 127))

    @pytest.mark.parametrize("name", ["a.png", "a.gif"])
    def test_a_transparent_colour_of_a_palette_is_white(self, tmp_path: Path, name: str) -> None:
        """The palette's transparent entry is white, whatever colour it hides."""
        image = Image.new("P", (100, 100), 0)
        image.putpalette([0, 0, 0, 0, 0, 200])
        image.paste(1, (0, 0, 100, 30))
        image.save(tmp_path / name, transparency=0)
        drawn = read(tmp_path / name, name.partition(".")[2])
        assert is_near(shade(drawn, 0.5, 0.1), (0, 0, 200))
        assert is_near(shade(drawn, 0.5, 0.7), WHITE)

    @pytest.mark.parametrize(("mode", "colour"), [("L", 0), ("RGB", (0, 0, 0))])
    def test_a_transparent_colour_without_alpha_is_white(
        self, tmp_path: Path, mode: str, colour: int | tuple[int, int, int]
    ) -> None:
        """A PNG that names one colour as transparent shows it white."""
        image = Image.new(mode, (100, 100), colour)
        image.paste(90 if mode == "L" else (90, 90, 90), (0, 0, 100, 30))
        image.save(tmp_path / "a.png", transparency=colour)
        drawn = read(tmp_path / "a.png", "png")
        assert is_near(shade(drawn, 0.5, 0.1), (90, 90, 90))
        assert is_near(shade(drawn, 0.5, 0.7), WHITE)


class TestPictures:
    """Pages, frames and sizes of pictures."""

    def test_each_picture_of_a_tiff_is_a_page(self, tmp_path: Path) -> None:
        """Pages of a TIFF are rendered in any order, each with its own size and shade."""
        pages = [Image.new("L", (100 + 10 * i, 100), 40 * i) for i in range(5)]
        pages[0].save(tmp_path / "a.tiff", save_all=True, append_images=pages[1:])
        document = open_document(os.fspath(tmp_path / "a.tiff"), "tiff", ReadOptions())
        try:
            assert document.page_count == 5
            for index in (3, 0, 4, 4, 1, 2):
                drawn = document.render(index)
                assert drawn.width == 100 + 10 * index
                assert is_near(shade(drawn, 0.5, 0.5), (40 * index,) * 3, by=1)
        finally:
            document.close()

    def test_too_many_pictures_are_refused(self, tmp_path: Path) -> None:
        """A TIFF with more pages than allowed is too large as a whole."""
        page = Image.new("L", (20, 20))
        page.save(tmp_path / "a.tiff", save_all=True, append_images=[page] * 3)
        assert refusal(tmp_path / "a.tiff", "tiff", limits=Limits(pages=3)).kind == "too_large"
        assert read(tmp_path / "a.tiff", "tiff", 3, limits=Limits(pages=4)).width == 20

    @pytest.mark.parametrize("key", ["gif", "webp", "png", "avif"])
    def test_an_animation_is_its_first_frame(self, tmp_path: Path, key: str) -> None:
        """Frames after the first are moments of one picture and no pages."""
        first, second = Image.new("RGB", (60, 60), RED), Image.new("RGB", (60, 60), (0, 0, 255))
        options = {"lossless": True} if key == "webp" else {}
        first.save(tmp_path / "a", READERS[key].name, save_all=True, append_images=[second], **options)
        document = open_document(os.fspath(tmp_path / "a"), key, ReadOptions())
        document.close()
        assert document.page_count == 1
        drawn = read(tmp_path / "a", key)
        assert is_near(shade(drawn, 0.5, 0.5), RED, by=8)
        assert drawn.message == MORE_PICTURES
        first.save(tmp_path / "a", READERS[key].name)
        assert not read(tmp_path / "a", key).message

    @pytest.mark.parametrize("key", ["png", "jpeg", "tiff", "gif", "bmp", "webp", "jpeg2000", "avif"])
    def test_too_many_pixels_are_refused(self, tmp_path: Path, key: str) -> None:
        """A picture past the limit of pixels is too large, one at the limit is not."""
        file = sample(tmp_path, key, (50, 40))
        assert refusal(file, key, limits=Limits(pixels=1999)).kind == "too_large"
        assert read(file, key, limits=Limits(pixels=2000)).width == 50

    def test_the_limit_of_pixels_can_be_raised(self, tmp_path: Path) -> None:
        """A picture of 92 million pixels is read where 100 million are allowed."""
        Image.new("1", (9600, 9600), 1).save(tmp_path / "a.png")
        assert read(tmp_path / "a.png", "png").width == 9600

    def test_a_picture_of_nearly_no_pixels_is_rendered(self, tmp_path: Path) -> None:
        """One pixel, and a row of pixels, are enlarged to what the network takes."""
        Image.new("L", (1, 1), 0).save(tmp_path / "dot.png")
        Image.new("L", (3000, 1), 0).save(tmp_path / "line.png")
        assert read(tmp_path / "dot.png", "png").pixels.shape == (160, 160, 3)
        line = read(tmp_path / "line.png", "png").pixels
        assert line.shape == (32, 160, 3)
        assert line.max() == 0

    @pytest.mark.parametrize("key", ["png", "jpeg", "tiff", "bmp", "jpeg2000", "avif"])
    def test_half_a_picture_is_no_picture(self, tmp_path: Path, key: str) -> None:
        """A picture that was cut short is an error of its page and not half grey."""
        noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "whole", READERS[key].name)
        whole = (tmp_path / "whole").read_bytes()
        (tmp_path / "half").write_bytes(whole[: len(whole) // 2])
        assert refusal(tmp_path / "half", key).kind in ("page_error", "not_a_document")

    def test_odd_metadata_raises_no_warning(self, tmp_path: Path) -> None:
        """Pillow's complaints about odd metadata do not reach the caller."""
        exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff"
        Image.new("L", (64, 64), 7).save(tmp_path / "a.jpeg", exif=exif)
        assert is_near(shade(read(tmp_path / "a.jpeg", "jpeg"), 0.5, 0.5), (7, 7, 7))


def photo(width: int, height: int) -> Image.Image:
    """A colourful picture with waves of fifty pixels."""
    x, y = np.meshgrid(np.arange(width) / 8, np.arange(height) / 8)
    waves = [np.sin(x), np.cos(y), np.sin(x + y)]
    return Image.fromarray((127 + 120 * np.stack(waves, axis=2)).astype(np.uint8))


class TestDraft:
    """A JPEG may be decoded at a fraction of its size, as long as nobody sees it."""

    @pytest.mark.parametrize("resize", RESIZES)
    def test_draft_agrees_with_full_decoding(self, tmp_path: Path, resize: str) -> None:
        """A large JPEG gives nearly the pixels that the same picture gives as PNG."""
        photo(2400, 1600).save(tmp_path / "a.jpeg", quality=95)
        with Image.open(tmp_path / "a.jpeg") as image:
            image.save(tmp_path / "a.png", compress_level=1)
        recipe = Recipe(size=320, resize=resize)
        drafted, full = read(tmp_path / "a.jpeg", "jpeg", recipe=recipe), read(tmp_path / "a.png", "png", recipe=recipe)
        difference = np.abs(drafted.pixels.astype(int) - full.pixels)
        assert drafted.pixels.shape == full.pixels.shape
        assert (drafted.width, drafted.height) == (full.width, full.height) == (2400, 1600)
        assert difference.mean() < 1.5
        assert difference.max() < 24

    @pytest.mark.parametrize(
        "size",
        [
            (2400, 1600),
            (2481, 3508),
            (2001, 2000),
            (2000, 2001),
        ],
    )
    def test_draft_takes_any_size(self, tmp_path: Path, size: tuple[int, int]) -> None:
        """JPEGs whose sides do not divide by the fraction are read too, such as A4 at 300 dpi (2481 x 3508)."""
        photo(*size).save(tmp_path / "a.jpeg")
        drawn = read(tmp_path / "a.jpeg", "jpeg", size=320)
        assert (drawn.width, drawn.height) == size
        assert max(drawn.pixels.shape) == 320

    def test_cmyk_jpegs_are_drafted_too(self, tmp_path: Path) -> None:
        """A large CMYK JPEG of a white page with a dark bar has the bar at its top."""
        image = Image.new("CMYK", (1600, 1600), (0, 0, 0, 0))
        image.paste((0, 0, 0, 255), (0, 0, 1600, 320))
        image.save(tmp_path / "a.jpeg")
        drawn = read(tmp_path / "a.jpeg", "jpeg")
        assert max(shade(drawn, 0.5, 0.1)) < 60
        assert is_near(shade(drawn, 0.5, 0.5), WHITE)


def pdf_with(file: Path, draw: Callable[[pymupdf.Page], object], paper: tuple[float, float] = (400, 600)) -> Path:
    """Writes a PDF of one page that `draw` has drawn on."""
    with pymupdf.open() as document:
        draw(document.new_page(width=paper[0], height=paper[1]))
        document.save(file)
    return file


def red_corner(page: pymupdf.Page) -> None:
    """Marks the upper left corner of a page."""
    page.draw_rect((0, 0, 100, 100), color=None, fill=(1, 0, 0))


class TestPdf:
    """Pages of PDFs as people see them."""

    @pytest.mark.parametrize(
        ("angle", "corner"), [(0, (0.08, 0.05)), (90, (0.95, 0.05)), (180, (0.95, 0.95)), (270, (0.05, 0.95))]
    )
    def test_rotation_is_obeyed(self, tmp_path: Path, angle: int, corner: tuple[float, float]) -> None:
        """A page with /Rotate is shown turned clockwise, with its shape."""

        def draw(page: pymupdf.Page) -> None:
            red_corner(page)
            page.set_rotation(angle)

        drawn = read(pdf_with(tmp_path / "a", draw), "pdf")
        assert (drawn.width, drawn.height) == ((600, 400) if angle % 180 else (400, 600))
        assert is_near(shade(drawn, *corner), RED)
        others = {(0.05, 0.05), (0.95, 0.05), (0.95, 0.95), (0.05, 0.95)} - {(round(corner[0], 1), corner[1])}
        assert sum(is_near(shade(drawn, *place), WHITE) for place in others) >= 3

    @pytest.mark.parametrize("resize", RESIZES)
    def test_only_the_cropbox_is_seen(self, tmp_path: Path, resize: str) -> None:
        """The crop box is the page: what lies outside is not drawn, and sizes are those of the box."""

        def draw(page: pymupdf.Page) -> None:
            page.draw_rect((0, 0, 400, 600), color=None, fill=(0, 0, 1))
            page.draw_rect((100, 100, 300, 300), color=None, fill=(1, 0, 0))
            page.set_cropbox(pymupdf.Rect(100, 100, 300, 300))

        drawn = read(pdf_with(tmp_path / "a", draw), "pdf", recipe=Recipe(size=96, resize=resize))
        assert (drawn.width, drawn.height) == (200, 200)
        assert drawn.pixels.shape == (96, 96, 3)
        assert np.array_equal(np.unique(drawn.pixels.reshape(-1, 3), axis=0), [RED])

    def test_a_crop_takes_the_middle_of_the_page(self, tmp_path: Path) -> None:
        """The resize rule "crop" leaves out the upper and lower ends of a tall page."""

        def draw(page: pymupdf.Page) -> None:
            page.draw_rect((0, 0, 400, 100), color=None, fill=(0, 0, 0))
            page.draw_rect((0, 500, 400, 600), color=None, fill=(0, 0, 0))
            page.draw_rect((150, 250, 250, 350), color=None, fill=(1, 0, 0))

        drawn = read(pdf_with(tmp_path / "a", draw), "pdf", recipe=Recipe(size=128, resize="crop"))
        assert is_near(shade(drawn, 0.5, 0.5), RED)
        assert is_near(shade(drawn, 0.5, 0.0), WHITE)
        assert is_near(shade(drawn, 0.5, 0.99), WHITE)

    def test_the_paper_is_white(self, tmp_path: Path) -> None:
        """A page without a background is white and not transparent black, and half transparent ink is grey."""

        def draw(page: pymupdf.Page) -> None:
            page.draw_rect((0, 0, 400, 150), color=None, fill=(0, 0, 0), fill_opacity=0.5)

        drawn = read(pdf_with(tmp_path / "a", draw), "pdf")
        assert shade(drawn, 0.5, 0.9) == WHITE
        assert is_near(shade(drawn, 0.5, 0.1), (127, 127, 127))

    def test_annotations_are_drawn(self, tmp_path: Path) -> None:
        """A stamp, a note or a highlight is part of what is seen."""

        def draw(page: pymupdf.Page) -> None:
            annotation = page.add_rect_annot((50, 50, 350, 250))
            annotation.set_colors(stroke=(1, 0, 0), fill=(1, 0, 0))
            annotation.update()

        assert is_near(shade(read(pdf_with(tmp_path / "a", draw), "pdf"), 0.5, 0.25), RED)

    def test_form_fields_are_drawn(self, tmp_path: Path) -> None:
        """What was typed into a form is part of what is seen."""

        def draw(page: pymupdf.Page) -> None:
            field = pymupdf.Widget()
            field.field_name, field.field_type = "name", pymupdf.PDF_WIDGET_TYPE_TEXT
            field.rect, field.field_value, field.text_fontsize = pymupdf.Rect(50, 50, 350, 150), "MMMM", 60
            page.add_widget(field)

        assert read(pdf_with(tmp_path / "a", draw), "pdf").ink > 0.01

    def test_pages_keep_their_numbers(self, tmp_path: Path) -> None:
        """Page i of a document is rendered for index i, in any order."""
        with pymupdf.open() as made:
            for i in range(6):
                made.new_page(width=100, height=100).draw_rect((0, 0, 100, 100), color=None, fill=(i / 10,) * 3)
            made.save(tmp_path / "a")
        document = open_document(os.fspath(tmp_path / "a"), "pdf", ReadOptions())
        try:
            assert document.page_count == 6
            for i in (4, 0, 5, 2, 2, 1, 3):
                assert is_near(shade(document.render(i), 0.5, 0.5), (round(25.5 * i),) * 3, by=2)
        finally:
            document.close()

    @pytest.mark.parametrize(
        ("passwords", "opens"), [((), False), (("wrong",), False), (("wrong", "open sesame"), True), (("owner",), True)]
    )
    def test_encrypted_files_open_with_a_password(
        self, tmp_path: Path, passwords: tuple[str, ...], opens: bool
    ) -> None:
        """Of the passwords that are given one must fit, the user's or the owner's; else the outcome is `encrypted`."""
        with pymupdf.open() as made:
            red_corner(made.new_page(width=200, height=200))
            made.save(tmp_path / "a", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="open sesame", owner_pw="owner")
        if opens:
            assert is_near(shade(read(tmp_path / "a", "pdf", passwords=passwords), 0.1, 0.1), RED)
        else:
            assert refusal(tmp_path / "a", "pdf", passwords=passwords).kind == "encrypted"

    def test_a_file_that_only_its_owner_may_change_opens(self, tmp_path: Path) -> None:
        """An owner password alone keeps nobody from reading."""
        with pymupdf.open() as made:
            red_corner(made.new_page(width=200, height=200))
            made.save(tmp_path / "a", encryption=pymupdf.PDF_ENCRYPT_AES_256, owner_pw="owner")
        assert is_near(shade(read(tmp_path / "a", "pdf"), 0.1, 0.1), RED)

    def test_a_file_without_pages_is_refused(self, tmp_path: Path) -> None:
        """A PDF that opens and has no pages has the outcome `no_pages`."""
        file = write_pdf(tmp_path / "a", "<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Kids[]/Count 0>>")
        assert refusal(file, "pdf").kind == "no_pages"

    def test_a_page_tree_that_is_none_is_refused(self, tmp_path: Path) -> None:
        """A PDF that claims a million pages and has one gives one error and not a million."""
        page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>"
        tree = "<</Type/Pages/Kids[3 0 R]/Count 1000000>>"
        file = write_pdf(tmp_path / "a", "<</Type/Catalog/Pages 2 0 R>>", tree, page)
        assert refusal(file, "pdf").kind in ("no_pages", "too_large")

    def test_too_many_pages_are_refused(self, make_pdf: Callable[..., Path]) -> None:
        """A document with more pages than allowed is too large, one at the limit is not."""
        file = make_pdf("a.pdf", ["one", "two", "three"])
        error = refusal(file, "pdf", limits=Limits(pages=2))
        assert error.kind == "too_large"
        assert "3 pages" in str(error)
        assert read(file, "pdf", 2, limits=Limits(pages=3)).ink > 0

    def test_a_page_without_area_is_refused(self, tmp_path: Path) -> None:
        """A page whose unit is nothing has the outcome `page_error` and never a picture without pixels."""
        file = one_page_pdf(tmp_path / "a", "/MediaBox[0 0 612 792]/UserUnit 0")
        assert refusal(file, "pdf").kind == "page_error"

    @pytest.mark.parametrize(
        ("box", "shape"),
        [
            ("0 0 1000000 1", (32, 160)),
            ("0 0 1 1000000", (160, 32)),
            ("-300 -400 300 400", (160, 128)),
            ("612 792 0 0", None),
        ],
    )
    def test_odd_boxes_are_rendered_to_the_planned_size(
        self, tmp_path: Path, box: str, shape: tuple[int, int] | None
    ) -> None:
        """Pages of a line, with a negative origin or with a box the wrong way round have no empty side."""
        drawn = read(one_page_pdf(tmp_path / "a", f"/MediaBox[{box}]"), "pdf")
        _, (columns, rows) = plan(drawn.width, drawn.height, Recipe(size=160))
        assert drawn.pixels.shape == (rows, columns, 3)
        assert shape in (None, (rows, columns))

    def test_blank_pages_have_no_ink(self, make_pdf: Callable[..., Path]) -> None:
        """An empty page is below the threshold of blank pages, and one with a single small line is not."""
        file = make_pdf("a.pdf", ["", "a line"], size=11)
        assert read(file, "pdf", 0).ink == 0
        assert read(file, "pdf", 1, size=320).ink > BLANK_INK

    @pytest.mark.parametrize("fill", [(1, 1, 0), (0.85, 0.85, 0.6), (0, 0, 0)])
    def test_coloured_paper_is_blank_too(self, tmp_path: Path, fill: tuple[float, float, float]) -> None:
        """A page of one colour has no ink, whatever the colour."""
        file = pdf_with(tmp_path / "a", lambda page: page.draw_rect((-9, -9, 999, 999), color=None, fill=fill))
        assert read(file, "pdf").ink == 0

    def test_yellow_on_white_is_ink(self, tmp_path: Path) -> None:
        """What is dark in one channel only counts as ink."""
        file = pdf_with(tmp_path / "a", lambda page: page.draw_rect((0, 0, 400, 300), color=None, fill=(1, 1, 0)))
        assert read(file, "pdf").ink == pytest.approx(0.5, abs=0.02)

    def test_a_repaired_file_says_so(self, tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
        """A PDF without its table of objects is read and its pages are marked as repaired; a sound one's are not."""
        sound = make_pdf("a.pdf", ["one"])
        assert not read(sound, "pdf").repaired
        content = sound.read_bytes()
        (tmp_path / "cut").write_bytes(content[: content.rindex(b"xref\n0")])
        drawn = read(tmp_path / "cut", "pdf")
        assert drawn.repaired
        assert drawn.ink > 0

    def test_a_file_that_is_repaired_late_says_so(self, tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
        """A PDF whose damage shows only when a page is rendered has that page marked as repaired."""
        sound = make_pdf("a.pdf", ["one", "two"])
        with pymupdf.open(sound) as document:
            wrong = document[1].get_contents()[0]
        body, xref, table = sound.read_bytes().partition(b"xref\n0 ")
        lines = table.split(b"\n")
        lines[1 + wrong] = b"0000000017 00000 n "
        (tmp_path / "late").write_bytes(body + xref + b"\n".join(lines))
        drawn = read(tmp_path / "late", "pdf", 1)
        assert drawn.ink > 0
        assert drawn.repaired

    def test_a_warning_of_the_reader_is_kept(self, tmp_path: Path) -> None:
        """What MuPDF warns about on one page is that page's message and not its neighbour's."""
        file = write_pdf(
            tmp_path / "a",
            "<</Type/Catalog/Pages 2 0 R>>",
            "<</Type/Pages/Kids[3 0 R 4 0 R]/Count 2/MediaBox[0 0 90 90]>>",
            "<</Type/Page/Parent 2 0 R/Contents 5 0 R>>",
            "<</Type/Page/Parent 2 0 R>>",
            "<</Length 13>>stream\n/None gs (x Tj\nendstream",
        )
        document = open_document(os.fspath(file), "pdf", ReadOptions())
        try:
            assert document.render(0).message
            assert document.render(1).message == ""
        finally:
            document.close()

    def test_nothing_outside_the_file_is_read(self, tmp_path: Path) -> None:
        """A content stream that names another file draws nothing of it."""
        (tmp_path / "secret").write_bytes(b"0 0 90 90 re f")
        file = write_pdf(
            tmp_path / "a",
            "<</Type/Catalog/Pages 2 0 R>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 90 90]>>",
            "<</Type/Page/Parent 2 0 R/Contents 4 0 R>>",
            f"<</Length 0/F({tmp_path / 'secret'})>>stream\n\nendstream",
        )
        assert read(file, "pdf").ink == 0

    def test_scripts_actions_and_attachments_do_nothing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Launch actions are not started, scripts are not run, and attachments are not written."""
        monkeypatch.chdir(tmp_path)
        file = write_pdf(
            tmp_path / "a",
            "<</Type/Catalog/Pages 2 0 R/OpenAction 4 0 R/Names<</EmbeddedFiles<</Names[(evil.sh) 6 0 R]>>>>>>",
            "<</Type/Pages/Kids[3 0 R]/Count 1/MediaBox[0 0 90 90]>>",
            "<</Type/Page/Parent 2 0 R/AA<</O 5 0 R>>>>",
            f"<</S/Launch/F(/bin/sh)/Unix<</F(/bin/sh)/P(-c 'touch {tmp_path}/started')>>>>",
            "<</S/JavaScript/JS(while\\(true\\);)>>",
            "<</Type/Filespec/F(evil.sh)/EF<</F 7 0 R>>>>",
            "<</Length 4>>stream\nevil\nendstream",
        )
        assert read(file, "pdf").ink == 0
        assert os.listdir(tmp_path) == ["a"]

    def test_a_name_that_is_not_utf8_opens(self, tmp_path: Path) -> None:
        """A PDF opens whatever the bytes of its name are."""
        file = os.path.join(os.fsencode(tmp_path), b"caf\xe9.pdf")
        os.rename(sample(tmp_path, "pdf"), file)
        assert read(Path(os.fsdecode(file)), "pdf").ink > 0.1


def test_memory_is_told_from_damage(monkeypatch: pytest.MonkeyPatch, make_pdf: Callable[..., Path]) -> None:
    """A failed allocation of MuPDF has the outcome `memory`, and MemoryError is left to the caller."""
    document: OpenDocument = open_document(os.fspath(make_pdf("a.pdf", ["one"])), "pdf", ReadOptions())
    errors: list[Exception] = [RuntimeError("code=2: malloc (900000000 bytes) failed"), MemoryError()]

    def fail(*_: object, **__: object) -> None:
        raise errors.pop(0)

    monkeypatch.setattr(pymupdf.Page, "get_displaylist", fail)
    try:
        with pytest.raises(DocumentError) as caught:
            document.render(0)
        with pytest.raises(MemoryError):
            document.render(0)
    finally:
        document.close()
    assert caught.value.kind == "memory"


@pytest.mark.parametrize(("name", "key"), [("it's broken.pdf", "pdf"), ("broken.png", "png"), ("broken.epub", "epub")])
def test_what_is_said_of_a_content_names_no_place(tmp_path: Path, name: str, key: str) -> None:
    """It is kept with the content: another file with the same bytes lies elsewhere, and this one may move."""
    (tmp_path / name).write_bytes(b"%PDF-1.7 and nothing more")
    with pytest.raises(DocumentError) as caught:
        read(tmp_path / name, key)
    assert "readable" in str(caught.value)
    assert name not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


def test_what_a_folder_is_called_says_nothing_of_its_files(tmp_path: Path) -> None:
    """The words by which MuPDF tells encryption and lack of memory may stand in a path, which it names as well."""
    folder = tmp_path / "encryption, alloc failed"
    folder.mkdir()
    (folder / "a.pdf").write_bytes(b"%PDF-1.7 and nothing more")
    with pytest.raises(DocumentError) as caught:
        read(folder / "a.pdf", "pdf")
    assert caught.value.kind == "not_a_document"
    assert str(caught.value) == "not a readable PDF: no objects found"


def test_other_words_in_quotes_stay() -> None:
    """Names of PDF begin with a slash, too."""
    error = ValueError("no object '/Root' in file 'C:\\scans\\a.pdf', see '/tmp/b/c.pdf'")
    assert first_line(error) == "ValueError: no object '/Root' in file"
