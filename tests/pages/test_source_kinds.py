"""Where the picture of a page comes from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from PIL import ExifTags, Image

from embedpipe.core.records import Document
from embedpipe.embedding.kind_table import copy, forget, read_kinds
from embedpipe.pages.documents import ReadOptions, open_document, recognise
from embedpipe.pages.source_kinds import DIGITAL, PHOTO, SCAN, UNKNOWN, codes, document_kind, page_kind
from embedpipe.pages.walking import FoundFile, identify
from embedpipe.store.workspace import Workspace

MakePdf = Callable[..., Path]
LINE = "An ordinary line of text that a page of a letter or a report would hold. " * 12


def kind_of(file: Path) -> str:
    """The kind of a file's first page."""
    reader = recognise(file.read_bytes()[:1024])
    assert reader is not None
    document = open_document(str(file), reader, ReadOptions())
    drawn = document.render(0)
    page = document.pdf[0] if reader == "pdf" else None
    return page_kind(drawn.pixels, page, camera=getattr(document, "taken_by_camera", False))


def picture(name: Path, *, light: float = 0.0, exif: Image.Exif | None = None) -> Path:
    """A page with a few dark lines; with `light`, the paper darkens by so many shades from left to right."""
    pixels = np.full((842, 595), 255.0) - np.linspace(0, light, 595)
    pixels[100:800:40, 60:500] = 20
    Image.fromarray(pixels.astype(np.uint8)).save(name, **({"exif": exif} if exif else {}))
    return name


def scanned(file: Path, image: Path, text: str = "", *, visible: bool = False) -> Path:
    """A PDF whose page is a picture, with text over it."""
    with pymupdf.open() as document:
        page = document.new_page()
        page.insert_image(page.rect, filename=str(image))
        if text:
            page.insert_textbox((40, 40, 555, 800), text, fontsize=14, render_mode=0 if visible else 3)
        document.save(file)
    return file


def test_text_and_drawings_are_digital(tmp_path: Path, make_pdf: MakePdf) -> None:
    """A page with text is digital, also over a picture that fills it, and so is a drawing with a logo."""
    image = picture(tmp_path / "a.png")
    assert kind_of(make_pdf("text.pdf", [LINE], size=14)) == DIGITAL
    assert kind_of(scanned(tmp_path / "background.pdf", image, LINE, visible=True)) == DIGITAL
    with pymupdf.open() as document:
        page = document.new_page()
        page.draw_rect((50, 50, 500, 800))
        page.draw_line((50, 50), (500, 800))
        page.insert_image((60, 60, 160, 160), filename=str(image))
        document.save(tmp_path / "drawing.pdf")
    assert kind_of(tmp_path / "drawing.pdf") == DIGITAL


def test_pictures_are_scans(tmp_path: Path) -> None:
    """A page that is one picture is a scan, whether OCR wrote invisible text below it, or somebody a stamp on it."""
    image = picture(tmp_path / "a.png")
    assert kind_of(image) == SCAN
    assert kind_of(scanned(tmp_path / "b.pdf", image)) == SCAN
    assert kind_of(scanned(tmp_path / "ocr.pdf", image, LINE)) == SCAN
    assert kind_of(scanned(tmp_path / "stamp.pdf", image, "Page 17", visible=True)) == SCAN


def test_photos_have_uneven_light_or_an_exposure(tmp_path: Path) -> None:
    """Light that falls off makes a photo, in a PDF too; so does an exposure time among the tags."""
    dim = picture(tmp_path / "dim.png", light=120)
    assert kind_of(dim) == PHOTO
    assert kind_of(scanned(tmp_path / "dim.pdf", dim)) == PHOTO
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base.ExposureTime: 0.01}
    assert kind_of(picture(tmp_path / "camera.jpg", exif=exif)) == PHOTO
    exif = Image.Exif()
    exif[ExifTags.Base.Make] = "a maker of scanners"
    assert kind_of(picture(tmp_path / "scanner.jpg", exif=exif)) == SCAN


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        ([DIGITAL, SCAN, SCAN], DIGITAL),
        ([DIGITAL] + [SCAN] * 5, SCAN),
        ([UNKNOWN, PHOTO], PHOTO),
        ([UNKNOWN], UNKNOWN),
    ],
)
def test_a_document_is_of_the_kind_of_most_of_its_pages(kinds: list[str], expected: str) -> None:
    """First pages weigh most; pages of an unknown kind say nothing."""
    assert document_kind(kinds, 1.0 / (np.arange(len(kinds)) + 1)) == expected
    assert codes([DIGITAL, SCAN, PHOTO, UNKNOWN]).tolist() == [0, 1, 2, -1]


def test_kinds_are_read_once_and_forgotten(tmp_path: Path, make_pdf: MakePdf) -> None:
    """The kind of a document is kept when its file is gone, copied aside, and forgotten with it."""
    workspace, aside = Workspace(tmp_path / "artifacts"), Workspace(tmp_path / "aside")
    aside.root.mkdir()
    files = [make_pdf("text.pdf", [LINE], size=14), picture(tmp_path / "a.png")]
    documents = [found for file in files if isinstance(found := identify(found_at(file), LIMITS), Document)]
    first, second = (document.sha256 for document in documents)
    assert read_kinds(workspace, documents) == {first: DIGITAL, second: SCAN}
    files[1].unlink()
    assert read_kinds(workspace, documents) == {first: DIGITAL, second: SCAN}
    copy(workspace, aside)
    forget(workspace, {second})
    assert read_kinds(workspace, documents) == {first: DIGITAL}
    assert read_kinds(aside, documents) == {first: DIGITAL, second: SCAN}


LIMITS = ReadOptions().limits


def found_at(file: Path) -> FoundFile:
    """A file as the walk finds it."""
    status = file.stat()
    return FoundFile(str(file), status.st_size, status.st_mtime_ns, named=True, type_folder=None)
