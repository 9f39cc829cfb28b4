"""Pictures and PDFs that other programs open: damaged tags, a lost end, nothing but transparency, certificates."""

import random
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from pages.test_documents import RED, is_near, read, refusal, shade, write_pdf
from pages.test_pixel_shapes import add_chunk, page
from PIL import Image

BAD_EXIF = (
    b"",
    b"Exif\0\0",
    b"II*\0\x08\0\0\0\xff\xff",
    b"MM\0*garbage",
    b"no tags at all",
    random.Random(0).randbytes(64),
)


@pytest.mark.parametrize("exif", BAD_EXIF)
@pytest.mark.parametrize("key", ["png", "webp", "jpeg"])
def test_bad_tags_lose_no_picture(tmp_path: Path, key: str, exif: bytes) -> None:
    """The picture is the one without tags."""
    page().save(tmp_path / "a", key.upper(), **({"lossless": True} if key == "webp" else {}))
    expected = read(tmp_path / "a", key)
    if key == "png":
        add_chunk(tmp_path / "a", b"eXIf", exif)
    else:
        page().save(tmp_path / "a", key.upper(), exif=exif, **({"lossless": True} if key == "webp" else {}))
    assert np.array_equal(read(tmp_path / "a", key).pixels, expected.pixels)


def jpeg(folder: Path, *, progressive: bool = False) -> tuple[bytes, NDArray[np.uint8]]:
    """The bytes of a JPEG of noise, in which every byte counts, and how it is drawn."""
    noise = np.random.default_rng(3).integers(0, 256, (300, 220, 3), np.uint8)
    Image.fromarray(noise).save(folder / "whole", "JPEG", quality=90, progressive=progressive)
    return (folder / "whole").read_bytes(), read(folder / "whole", "jpeg").pixels


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("tail", [b"", b"\xff"])
def test_a_jpeg_without_its_end_marker_is_repaired(tmp_path: Path, *, progressive: bool, tail: bytes) -> None:
    """Every pixel is there; drawn again, it is the same."""
    whole, expected = jpeg(tmp_path, progressive=progressive)
    (tmp_path / "cut").write_bytes(whole[:-2] + tail)
    drawn = read(tmp_path / "cut", "jpeg")
    assert np.array_equal(drawn.pixels, expected)
    assert drawn.repaired


def test_a_jpeg_without_more_than_its_end_is_an_error(tmp_path: Path) -> None:
    """What the decoder would make up is not shown."""
    whole, _ = jpeg(tmp_path)
    for share in (0.2, 0.5, 0.9):
        (tmp_path / "cut").write_bytes(whole[: int(len(whole) * share)])
        assert refusal(tmp_path / "cut", "jpeg").kind == "page_error"


@pytest.mark.parametrize(("mode", "name"), [("RGBA", "a.png"), ("LA", "a.png"), ("RGBA", "a.webp"), ("RGBA", "a.tiff")])
def test_what_is_wholly_transparent_is_shown_by_its_colours(tmp_path: Path, mode: str, name: str) -> None:
    """A channel of transparency that hides everything was left over by some program."""
    image = page().convert("RGB")
    image.putalpha(0)
    options = {"lossless": True, "exact": True} if name.endswith("webp") else {}
    image.convert(mode).save(tmp_path / name, **options)
    page().save(tmp_path / "b.png")
    drawn = read(tmp_path / name, name.partition(".")[2])
    assert np.abs(drawn.pixels.astype(int) - read(tmp_path / "b.png", "png").pixels).max() <= 2


def test_what_is_partly_transparent_is_still_laid_on_white(tmp_path: Path) -> None:
    """One opaque pixel is enough for transparency to be meant."""
    image = Image.new("RGBA", (100, 100), (0, 0, 0, 0))
    image.paste((*RED, 255), (0, 0, 50, 50))
    image.save(tmp_path / "a.png")
    drawn = read(tmp_path / "a.png", "png")
    assert is_near(shade(drawn, 0.2, 0.2), RED)
    assert is_near(shade(drawn, 0.8, 0.8), (255, 255, 255))


@pytest.mark.parametrize("handler", ["/Adobe.PubSec", "/Some.Other"])
def test_encryption_for_certificates_is_encryption(tmp_path: Path, handler: str) -> None:
    """No password opens it, and the message says why."""
    file = write_pdf(
        tmp_path / "a.pdf",
        "<</Type/Catalog/Pages 2 0 R>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]>>",
        f"<</Filter{handler}/SubFilter/adbe.pkcs7.s5/V 4/Length 128/CF<</DefaultCryptFilter<</CFM/AESV2>>>>>>",
    )
    content = file.read_bytes().replace(b"<</Root 1 0 R", b"<</Encrypt 4 0 R/ID[<00><00>]/Root 1 0 R")
    file.write_bytes(content)
    error = refusal(file, "pdf", passwords=("simple",))
    assert error.kind == "encrypted"
    assert "certificate" in str(error)


def test_a_warning_of_a_decoder_is_kept_with_the_page(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """In one line, as the message of the page, and nowhere else."""
    page().save(tmp_path / "a", "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff")
    drawn = read(tmp_path / "a", "jpeg")
    assert "Corrupt EXIF" in drawn.message
    assert "\n" not in drawn.message
    assert not len(recwarn)
