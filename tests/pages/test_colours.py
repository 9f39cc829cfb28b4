"""Pictures show the colours that are meant, as a second renderer shows them."""

import base64
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from numpy.typing import NDArray
from pages.test_documents import TURNED_HEIC, is_near, read, refusal, shade
from PIL import Image

from embedpipe.core.errors import DocumentError
from embedpipe.pages.documents import ReadOptions, open_document
from embedpipe.pages.formats.colours import in_srgb, profile_of

COLOURS = [(220, 40, 40), (40, 200, 60), (60, 80, 210), (230, 210, 40), (128, 128, 128), (255, 255, 255), (10, 10, 10)]


def patches() -> Image.Image:
    """Colours in stripes, so large that neither scaling nor JPEG changes their middle."""
    pixels = np.repeat(np.array(COLOURS, np.uint8), 40, axis=0)
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(pixels[:, None], (len(pixels), 200, 3))))


def profile(space: bytes = b"RGB ", gamma: float = 2.2) -> bytes:
    """A small ICC profile (version 2): the primaries of Adobe RGB, or grey, with a gamma."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">i", round(value * 65536)) for value in values)

    primaries = (0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457)
    xyz = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True))
    curve = b"curv\0\0\0\0" + struct.pack(">IHH", 1, round(gamma * 256), 0)
    tags = {b"wtpt": b"XYZ \0\0\0\0" + fixed(0.9505, 1.0, 1.0891), b"cprt": b"text\0\0\0\0none\0\0\0\0"}
    tags[b"desc"] = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(79)
    if space == b"RGB ":
        tags |= {name: b"XYZ \0\0\0\0" + fixed(*values) for name, values in xyz.items()}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    else:
        tags[b"kTRC"] = curve
    table, data, at = struct.pack(">I", len(tags)), b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", at + len(data), len(content))
        data += padded
    head = struct.pack(">I4sI4s4s4s", at + len(data), b"none", 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + table + data


def by_mupdf(file: Path) -> NDArray[np.uint8]:
    """The middles of the stripes as MuPDF shows them."""
    picture = pymupdf.Pixmap(os.fspath(file))
    picture = pymupdf.Pixmap(pymupdf.csRGB, picture)
    pixels = np.frombuffer(picture.samples, np.uint8).reshape(picture.h, picture.w, picture.n)[:, :, :3]
    return pixels[20::40, 100]


def stripes(file: Path, key: str) -> NDArray[np.uint8]:
    """The middles of the stripes as we show them."""
    drawn = read(file, key, size=280).pixels
    return drawn[20::40, drawn.shape[1] // 2]


@pytest.mark.parametrize("key", ["jpeg", "png", "tiff"])
def test_a_profile_is_obeyed(tmp_path: Path, key: str) -> None:
    """Colours of a wide space are those that MuPDF shows, and not those that are stored."""
    file = tmp_path / f"a.{key}"
    options = {"quality": 95, "subsampling": 0} if key == "jpeg" else {}
    patches().save(file, key.upper(), icc_profile=profile(), **options)
    shown = stripes(file, key).astype(int)
    assert np.abs(shown - by_mupdf(file)).max() <= 6
    assert np.abs(shown - COLOURS).max() > 20


def test_grey_has_a_profile_too(tmp_path: Path) -> None:
    """A grey of gamma 1.0 is lighter than it is stored; transparency stays what it is."""
    Image.new("L", (200, 280), 60).save(tmp_path / "a.png", icc_profile=profile(b"GRAY", 1.0))
    assert shade(read(tmp_path / "a.png", "png"), 0.5, 0.5)[0] > 100
    clear = Image.new("RGBA", (200, 280), (200, 30, 30, 128))
    clear.save(tmp_path / "b.png", icc_profile=profile())
    plain, wide = (in_srgb(clear, told) for told in (b"", profile()))
    assert np.array_equal(np.asarray(plain)[..., 3], np.asarray(wide)[..., 3])
    assert not np.array_equal(np.asarray(plain), np.asarray(wide))
    read(tmp_path / "b.png", "png")


@pytest.mark.parametrize("told", [b"no profile", profile(b"GRAY"), b"sRGB" + profile(), profile()[:200]])
def test_a_profile_that_does_not_fit_is_not_obeyed(tmp_path: Path, told: bytes) -> None:
    """Damaged ones, and those of other colours, leave what is stored; that of sRGB changes nothing."""
    patches().save(tmp_path / "a.png", icc_profile=told)
    assert np.abs(stripes(tmp_path / "a.png", "png").astype(int) - COLOURS).max() <= 1


def test_a_huge_profile_is_not_read() -> None:
    """A profile of megabytes is not handed to the library."""
    image = patches()
    image.info["icc_profile"] = bytes(9 << 20)
    assert profile_of(image) == b""


@pytest.mark.parametrize("adobe", [True, False])
def test_cmyk_is_not_inverted(tmp_path: Path, adobe: bool) -> None:
    """CMYK is stored inverted in JPEG, with Adobe's mark and without: paper is white and ink dark, as in MuPDF."""
    patches().convert("CMYK").save(tmp_path / "a.jpeg", quality=95, subsampling=0)
    content = (tmp_path / "a.jpeg").read_bytes()
    assert b"Adobe" in content
    if not adobe:
        at = content.index(b"\xff\xee")
        content = content[:at] + content[at + 2 + int.from_bytes(content[at + 2 : at + 4], "big") :]
        (tmp_path / "a.jpeg").write_bytes(content)
    shown = stripes(tmp_path / "a.jpeg", "jpeg").astype(int)
    assert np.abs(shown - COLOURS).max() <= 12
    # MuPDF takes inks for those of a press, so its colours are duller; light and dark agree
    assert np.abs(shown.mean(axis=1) - by_mupdf(tmp_path / "a.jpeg").mean(axis=1)).max() < 60


def test_sixteen_bits_of_jpeg_2000(tmp_path: Path) -> None:
    """Grey of 16 bits is scaled, and alpha is laid on white."""
    values = np.full((280, 200), 65535, np.uint16)
    values[:100] = 6000
    Image.fromarray(values).save(tmp_path / "a.jp2", "JPEG2000")
    drawn = read(tmp_path / "a.jp2", "jpeg2000")
    assert is_near(shade(drawn, 0.5, 0.1), (23, 23, 23), by=3)
    assert is_near(shade(drawn, 0.5, 0.9), (255, 255, 255))
    Image.new("RGBA", (60, 60), (0, 0, 0, 0)).save(tmp_path / "b.jp2", "JPEG2000")
    black = Image.new("RGBA", (60, 60), (0, 0, 0, 0))
    black.paste((255, 0, 0, 255), (0, 0, 60, 20))
    black.save(tmp_path / "b.jp2", "JPEG2000")
    assert is_near(shade(read(tmp_path / "b.jp2", "jpeg2000"), 0.5, 0.9), (255, 255, 255))


def test_several_pictures_of_a_camera_are_the_first(tmp_path: Path) -> None:
    """A JPEG with a second picture behind it (MPO) shows the first, and says that there is more."""
    Image.new("RGB", (60, 60), "red").save(
        tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (60, 60), "blue")]
    )
    drawn = read(tmp_path / "a.jpg", "jpeg")
    assert is_near(shade(drawn, 0.5, 0.5), (255, 0, 0), by=8)
    assert "first picture" in drawn.message


def test_a_turned_heic_is_turned_once(tmp_path: Path) -> None:
    """Phones say the turn twice, in a box and in the EXIF."""
    (tmp_path / "a").write_bytes(base64.b64decode(TURNED_HEIC))
    drawn = read(tmp_path / "a", "heif")
    assert (drawn.width, drawn.height) == (280, 200)
    assert is_near(shade(drawn, 0.9, 0.5), (25, 25, 25))
    assert is_near(shade(drawn, 0.1, 0.5), (255, 255, 255))


def test_without_the_library_it_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEIF without the extra, and AVIF with a Pillow that has none, are no damaged files."""
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setattr("PIL.features.check", lambda _: False)
    for key in ("heif", "avif"):
        with pytest.raises(DocumentError) as caught:
            open_document(os.fspath(tmp_path / "a"), key, ReadOptions())
        assert caught.value.kind == "needs_converter"
    assert refusal(tmp_path / "none", "png").kind == "not_a_document"
