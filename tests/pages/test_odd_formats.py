"""DjVu, Photoshop and CAJ, each compared with a second reader; what all readers share is in test_documents."""

import io
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import odd_files
import pymupdf
import pypdfium2 as pdfium
import pytest
from numpy.typing import NDArray
from pages.test_documents import is_near, read, refusal, shade
from pages.test_second_opinion import ours, pdf, theirs
from PIL import Image

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Recipe
from embedpipe.pages.documents import WORDS, Limits, ReadOptions, open_document
from embedpipe.pages.facts import facts_of
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.unfolding import look_up
from embedpipe.pages.walking import identify


def gradient(mode: str = "RGB") -> Image.Image:
    """A picture with a slope of shades in both directions."""
    y, x = np.mgrid[0:280, 0:200]
    return Image.fromarray(np.stack([x, y * 0.9, (x + y) / 2], axis=2).clip(0, 255).astype(np.uint8)).convert(mode)


def put(folder: Path, content: bytes) -> Path:
    """A file; its name says nothing."""
    (folder / "x").write_bytes(content)
    return folder / "x"


class TestDjvu:
    """DjVu, with djvu-rs."""

    @pytest.mark.skipif(shutil.which("ddjvu") is None, reason="djvulibre-bin is not installed")
    def test_pages_are_those_of_djvulibre(self, tmp_path: Path) -> None:
        """At their own size, to the pixel but for how a JPEG is decoded."""
        file = put(tmp_path, odd_files.djvu(gradient()))
        done = subprocess.run(["ddjvu", "-format=ppm", os.fspath(file)], capture_output=True, check=True)
        theirs = np.asarray(Image.open(io.BytesIO(done.stdout))).astype(int)
        drawn = read(file, "djvu", recipe=Recipe(size=280, resize="squash"))
        expected = np.asarray(Image.fromarray(theirs.astype(np.uint8)).resize((280, 280), Image.Resampling.BICUBIC))
        assert np.abs(drawn.pixels - expected.astype(int)).max() <= 6

    def test_the_text_behind_a_page_gives_its_words(self, tmp_path: Path) -> None:
        """As the text of a PDF does."""
        file = put(tmp_path, odd_files.djvu(text="Words of a scan that somebody has recognised"))
        assert read(file, "djvu").text == "Words of a scan that somebody has recognised"
        document = identify(look_up(os.fspath(file)), Limits())
        with Renderer(ReadOptions(extras=frozenset({WORDS}))) as renderer:
            [rendered] = list(renderer.render([Job(document, Selection())]))
        assert [len(page.info.words.columns) > 9 for page in rendered.results] == [True]
        [facts] = facts_of([document], ReadOptions())
        assert facts["library"].startswith("djvu-rs")

    def test_huge_pages_are_refused_before_they_are_decoded(self, tmp_path: Path) -> None:
        """By what the page says of its size."""
        file = put(tmp_path, odd_files.djvu())
        with pytest.raises(DocumentError) as caught:
            read(file, "djvu", limits=Limits(pixels=50_000))
        assert caught.value.kind == "too_large"

    def test_without_the_library_it_says_what_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Photoshop as well; nothing is wrong with the file."""
        for key, module in (("djvu", "djvu"), ("psd", "photoshop")):
            monkeypatch.setitem(sys.modules, f"embedpipe.pages.formats.{module}", None)
            error = refusal(put(tmp_path, b""), key)
            assert (error.kind, f"the extra {key}" in str(error)) == ("needs_converter", True)


class TestPhotoshop:
    """PSD and PSB, with psd-tools."""

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
    def test_colours_are_those_of_pillow(self, tmp_path: Path, mode: str) -> None:
        """Pillow reads those of 8 bits."""
        file = put(tmp_path, odd_files.psd(gradient(mode)))
        with Image.open(file, formats=["PSD"]) as image:
            expected = np.asarray(image.convert("RGB").resize((160, 160), Image.Resampling.BICUBIC)).astype(int)
        drawn = read(file, "psd", recipe=Recipe(size=160, resize="squash"))
        assert np.abs(drawn.pixels - expected).max() <= 4

    @pytest.mark.parametrize(("depth", "version"), [(16, 1), (8, 2), (16, 2)])
    def test_deep_and_large_ones_look_the_same(self, tmp_path: Path, depth: int, version: int) -> None:
        """Of 16 bits, and in the format for large documents."""
        plain = read(put(tmp_path, odd_files.psd(gradient())), "psd").pixels.astype(int)
        other = read(put(tmp_path, odd_files.psd(gradient(), depth, version)), "psd").pixels
        assert np.abs(plain - other).max() <= 1

    def test_one_without_a_flattened_picture_says_what_to_do(self, tmp_path: Path) -> None:
        """Its layers are not put together by guesses."""
        error = refusal(put(tmp_path, odd_files.psd(flattened=False)), "psd")
        assert (error.kind, "compatibility" in str(error)) == ("page_error", True)

    def test_transparency_is_on_white(self, tmp_path: Path) -> None:
        """As Photoshop stored it."""
        psd_tools = pytest.importorskip("psd_tools")
        image = Image.new("RGBA", (200, 280), (0, 0, 0, 0))
        image.paste((10, 20, 200, 255), (0, 0, 200, 100))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            psd_tools.PSDImage.frompil(image).save(tmp_path / "x")
        drawn = read(tmp_path / "x", "psd")
        assert is_near(shade(drawn, 0.5, 0.9), (255, 255, 255))
        assert is_near(shade(drawn, 0.5, 0.1), (10, 20, 200))


class TestCaj:
    """CAJ, as the PDF in it."""

    @pytest.mark.parametrize("made", [odd_files.caj, odd_files.kdh])
    def test_pages_are_those_of_the_pdf(self, tmp_path: Path, made: Callable[[int], bytes]) -> None:
        """In their order, as pdfium draws the same PDF."""
        document = open_document(os.fspath(put(tmp_path, made(3))), "caj", ReadOptions(recipe=Recipe(size=280)))
        second = pdfium.PdfDocument(odd_files.small_pdf(3))
        assert document.page_count == len(second) == 3
        for index in range(3):
            drawn = document.render(index)
            shown = second[index].render(scale=1).to_numpy()[..., :3].mean(axis=2)
            same = np.asarray(Image.fromarray(shown.astype(np.uint8)).resize(drawn.pixels.shape[1::-1]))
            assert np.abs(drawn.pixels.mean(axis=2) - same).mean() < 2
            assert (drawn.message, drawn.repaired) == ("", False)
        document.close()
        second.close()

    def test_missing_pages_are_told(self, tmp_path: Path) -> None:
        """The file says how many there should be."""
        drawn = read(put(tmp_path, odd_files.caj(2, told=5)), "caj")
        assert (drawn.repaired, drawn.message) == (True, "damaged: 3 of its 5 pages are missing")

    def test_objects_that_are_there_twice(self, tmp_path: Path) -> None:
        """A copy that is cut where the next object begins does not hide that, and the whole copy counts."""
        content = odd_files.caj(3)
        begin = content.index(b"10 0 obj")
        cut = content[begin : begin + 40] + b"11 0 obj<</Type/Page/Par"
        file = put(tmp_path, content[:begin] + cut + content[begin:])
        drawn = read(file, "caj")
        assert (drawn.message, drawn.repaired) == ("", False)
        assert drawn.ink > 0.3
        second = open_document(os.fspath(file), "caj", ReadOptions())
        assert [second.render(index).ink > 0.3 for index in range(3)] == [True, True, True]
        second.close()
        later = content.index(b"22 0 obj")  # what comes after the last object is not looked at
        file = put(tmp_path, content[:later] + content[begin : begin + 40] + content[later:])
        second = open_document(os.fspath(file), "caj", ReadOptions())
        shades = [second.render(index).ink for index in range(3)]
        second.close()
        assert shades == sorted(shades, reverse=True)
        assert min(shades) > 0.3

    @pytest.mark.parametrize(("begin", "kind"), [(b"HN\0\0", "HN"), (b"\xc8" + bytes(7), "C8")])
    def test_other_kinds_are_named(self, tmp_path: Path, begin: bytes, kind: str) -> None:
        """They are documents that another program has to convert."""
        file = put(tmp_path, begin + b"x" * 900)
        assert identify(look_up(os.fspath(file)), Limits()).reader == "caj"
        error = refusal(file, "caj")
        assert (error.kind, f"the kind {kind}" in str(error)) == ("needs_converter", True)

    def test_a_pointer_that_leads_nowhere(self, tmp_path: Path) -> None:
        """It is damaged."""
        content = bytearray(odd_files.caj())
        content[0x14:0x18] = b"\xff" * 4
        assert refusal(put(tmp_path, bytes(content)), "caj").kind == "unreadable"


def by_mupdf(file: Path, size: int = 160) -> NDArray[np.int_]:
    """A picture as MuPDF shows it on white, as a square of three channels."""
    with Image.open(file) as image, pymupdf.open(file, filetype=str(image.format).lower()) as document:
        page = document[0]
        scale = pymupdf.Matrix(image.width / page.rect.width, image.height / page.rect.height)
        shown = page.get_pixmap(matrix=scale, colorspace=pymupdf.csRGB, alpha=False)
    whole = Image.frombytes("RGB", (shown.width, shown.height), shown.samples)
    return np.asarray(whole.resize((size, size), Image.Resampling.BICUBIC)).astype(int)


class TestPicturesOfTwoReaders:
    """What Pillow reads is what MuPDF shows."""

    @pytest.mark.parametrize(
        ("key", "mode", "options"),
        [
            ("tiff", "1", {"compression": "group4"}),
            ("png", "1", {}),
            ("png", "I;16", {}),
            ("png", "P", {}),
            ("png", "LA", {}),
            ("png", "RGBA", {}),
            ("tiff", "RGB", {"compression": "tiff_lzw"}),
            ("gif", "P", {}),
            ("jpeg", "L", {"quality": 95}),
            ("jpeg2000", "RGB", {}),
        ],
    )
    def test_they_agree(self, tmp_path: Path, key: str, mode: str, options: dict[str, object]) -> None:
        """Bits, depths, palettes and transparency over white."""
        image = gradient()
        if mode in ("LA", "RGBA"):
            image.putalpha(gradient("L"))
        if mode == "I;16":
            image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
        else:
            image = image.convert(mode)
        kind = {"jpeg2000": "JPEG2000"}.get(key, key.upper())
        image.save(tmp_path / "x", kind, **options)
        drawn = read(tmp_path / "x", key, recipe=Recipe(size=160, resize="squash")).pixels.astype(int)
        assert np.abs(drawn - by_mupdf(tmp_path / "x")).mean() < 3


def test_jbig2_is_what_pdfium_shows(tmp_path: Path) -> None:
    """A scan as copiers store it: one region, coded as a fax is."""
    image = gradient("1").resize((200, 200))
    stored = io.BytesIO()
    image.point(lambda value: 255 - value).save(stored, "TIFF", compression="group4", strip_size=1 << 20)
    with Image.open(stored) as opened:
        begin, count = opened.tag_v2[273][0], opened.tag_v2[279][0]
    fax = stored.getvalue()[begin : begin + count]

    def segment(number: int, kind: int, content: bytes) -> bytes:
        return number.to_bytes(4, "big") + bytes([kind, 0, 1]) + len(content).to_bytes(4, "big") + content

    size = (200).to_bytes(4, "big") * 2
    data = segment(0, 48, size + bytes(8) + b"\0" + bytes(2)) + segment(1, 38, size + bytes(8) + b"\0" + b"\1" + fax)
    draw = b"q 200 0 0 200 0 0 cm /I Do Q"
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R/Resources<</XObject<</I 5 0 R>>>>>>"
    head = (
        b"<</Subtype/Image/Width 200/Height 200/ColorSpace/DeviceGray/BitsPerComponent 1/Filter/JBIG2Decode/Length %d>>"
    )
    content = pdf(
        [
            page,
            b"<</Length %d>>stream\n%s\nendstream" % (len(draw), draw),
            head % len(data) + b"stream\n" + data + b"\nendstream",
        ]
    )
    drawn, second = ours(content, tmp_path), theirs(content)
    assert np.abs(drawn - second).mean() < 12
    assert drawn.std() > 40
