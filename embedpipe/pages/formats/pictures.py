"""The reader of pictures, with Pillow."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedpipe.core.errors import DocumentError
from embedpipe.pages.contract import BLANK_INK, Limits, ReadOptions, Region, Rendering, first_line, ink, plan
from embedpipe.pages.formats.colours import in_srgb, profile_of
from embedpipe.pages.formats.depths import in_eight_bits, scale_transparent_value
from embedpipe.pages.formats.pixel_shapes import SQUARE, Shape, in_square_pixels, stored_shape
from embedpipe.pages.formats.shades import SIXTEEN_BITS, as_floats, eight_bits, high_value, is_deep, visible
from embedpipe.pages.source_kinds import taken_by_camera

_T = Image.Transpose
TURNS = {
    2: _T.FLIP_LEFT_RIGHT,
    3: _T.ROTATE_180,
    4: _T.FLIP_TOP_BOTTOM,
    5: _T.TRANSPOSE,
    6: _T.ROTATE_270,
    7: _T.TRANSVERSE,
    8: _T.ROTATE_90,
}
"""What turns a stored picture upright, by its EXIF orientation."""

SIDEWAYS = (_T.TRANSPOSE, _T.ROTATE_270, _T.TRANSVERSE, _T.ROTATE_90)
ORIENTATION = 0x0112

MORE_PICTURES = "only its first picture is read: it is an animation, or holds a gain map or other views of the same"
"""What is said of a file of one page that holds more pictures."""

_JPEG_END = b"\xff\xd9"
_MORE = b"\x55\x2a" * 256
_MADE_UP = 0.02
"""Share of a picture that may be made up by the decoder, where it was cut: a margin."""

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture of a file, ready to be drawn.

    Attributes:
        image: With its pixels as they are stored.
        stored: Width and height before a draft changes them.
        shape: Of its pixels.
        turn: What brings it upright, or None.
        highest: The value of white, of a deep picture.
    """

    image: Image.Image
    stored: tuple[int, int]
    shape: Shape = SQUARE
    turn: Image.Transpose | None = None
    highest: int = SIXTEEN_BITS


class ImageDocument:
    """A picture, opened with Pillow; of animations and of several pictures only the first counts, which is said.

    A picture that was cut short is an error; a JPEG that only lacks its end marker is `repaired`.

    Attributes:
        pdf: None, see `OpenDocument`.
        taken_by_camera: Whether the picture that was rendered last says so.

    Raises:
        DocumentError: It cannot be opened.
    """

    def __init__(self, path: str, options: ReadOptions, image_format: str) -> None:
        self._path, self._options, self._format = path, options, image_format
        self.page_count = 1
        self.pdf = None
        self.taken_by_camera = False
        self._warning = ""
        self._image = self._open()
        self._stored = self._image.size  # before a draft changes it
        self._more = ""

    def _open(self) -> Image.Image:
        with pillow_errors("not_a_document") as told:
            image = Image.open(self._path, formats=[self._format])
            if self._format == "PNG":
                scale_transparent_value(image)  # before anything loads it
        self._warning = told.warning
        return image

    def render(self, index: int) -> Rendering:
        """Renders picture `index`: turned as EXIF says, with square pixels, transparency on white, in 8 bits."""
        try:
            with pillow_errors("page_error") as told:
                drawn = draw(self.picture(index), self._options)
            return replace(drawn, message=drawn.message or self._warning or told.warning or self._more)
        except DocumentError as error:
            if error.kind != "page_error" or self._format != "JPEG" or index != 0:
                raise
            return self._with_an_end(error)

    def _with_an_end(self, error: DocumentError) -> Rendering:
        """A JPEG with the end marker that it lacks; where more than that is missing, the error stands.

        Decoders make up what is missing. So it is drawn twice, with different bytes after its own: they change what is
        seen only where its own do not reach.
        """
        with open(self._path, "rb") as file:
            content = file.read().rstrip(b"\xff")  # half of the marker
        try:
            with pillow_errors("page_error"):
                images = [Image.open(BytesIO(content + more + _JPEG_END), formats=["JPEG"]) for more in (b"", _MORE)]
                first, second = (draw(self._picture_of(image, image.size), self._options) for image in images)
        except DocumentError:
            raise error from None
        if np.mean((first.pixels != second.pixels).any(axis=2)) > _MADE_UP:
            raise error
        return replace(first, repaired=True, message="; ".join(filter(None, ("it has no end marker", first.message))))

    def check_size(self, width: int, height: int) -> None:
        """Raises DocumentError where a picture has more pixels than are allowed."""
        check_size(width, height, self._options.limits)

    def picture(self, index: int) -> Picture:
        """The stored picture `index`; raises DocumentError and whatever Pillow raises."""
        if self._image.tell() != index:  # a HEIF need not begin with the picture that stands for it
            self._image.seek(index)
        if self.page_count == 1 and getattr(self._image, "is_animated", False):
            self._more = MORE_PICTURES
        return self._picture_of(self._image, self._stored)

    def _picture_of(self, image: Image.Image, stored: tuple[int, int]) -> Picture:
        self.check_size(image.width, image.height)
        exif = _exif(image)
        self.taken_by_camera = taken_by_camera(image)
        shape = stored_shape(image, exif, self._path)
        if self._format == "JPEG2000":
            image = in_eight_bits(image, self._path)
        highest = high_value(16, _png_bits(self._path)) if image.format == "PNG" and is_deep(image) else SIXTEEN_BITS
        return Picture(image, stored, shape, TURNS.get(exif.get(ORIENTATION, 1)), highest)

    def close(self) -> None:
        """Closes the file."""
        self._image.close()


def check_size(width: int, height: int, limits: Limits) -> None:
    """Raises DocumentError where a picture has more pixels than are allowed."""
    if width * height > limits.pixels:
        most = f"--max-pixels {limits.pixels // 1_000_000} megapixels"
        raise DocumentError("too_large", f"{width} x {height} pixels, more than {most}")


def draw(picture: Picture, options: ReadOptions) -> Rendering:
    """Draws a picture upright, with square pixels, at the size of the recipe."""
    image, turn = picture.image, picture.turn
    sideways = turn in SIDEWAYS
    shown = in_square_pixels(picture.stored, picture.shape)
    width, height = (shown[1], shown[0]) if sideways else shown
    region, (columns, rows) = plan(width, height, options.recipe)
    if sideways:  # planned on the upright picture; the stored one is scaled, and the small result turned
        region, (columns, rows) = (region[1], region[0], region[3], region[2]), (rows, columns)
    if picture.shape == SQUARE:
        image.draft(image.mode, (columns * 2, rows * 2))  # JPEG may skip detail below twice the size
        x, y = image.width / shown[0], image.height / shown[1]  # not quite the same: both sides are rounded up
        region = (region[0] * x, region[1] * y, region[2] * x, region[3] * y)
    resampling = _RESAMPLING[options.interpolation]

    def upright(small: Image.Image) -> NDArray[Any]:
        return np.asarray(small if turn is None else small.transpose(turn))

    def square(flat: Image.Image) -> Image.Image:
        # first at its own size, and then made small: so it becomes as the picture with square pixels does
        return flat if picture.shape == SQUARE else flat.resize(shown, Image.Resampling.BICUBIC)

    deep = is_deep(image)
    profile = profile_of(image)
    flat = square(_in_colours(eight_bits(image, picture.highest) if deep else image, profile))
    pixels = upright(_on_white(flat, (columns, rows), region, resampling, profile))
    stored = None
    if deep and ink(pixels) < BLANK_INK:
        small = square(as_floats(image)).resize((columns, rows), resampling, box=region, reducing_gap=3.0)
        stored = upright(small)
    pixels, message = visible(pixels, stored)
    return Rendering(pixels, width, height, message=message)


def _in_colours(image: Image.Image, profile: bytes) -> Image.Image:
    """An image of any mode of 8 bits as L or RGB, or as RGBA where some of it is transparent and some is not.

    With a profile also as CMYK: its colours are brought to RGB when the picture is small.
    """
    if image.mode == "CMYK" and profile:
        return image
    transparent = image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info
    image = image.convert("RGBA" if transparent else "L" if image.mode in ("1", "L") else "RGB")
    if transparent and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")  # nothing would be seen: its colours are what is meant
    return image


def _on_white(
    image: Image.Image, size: tuple[int, int], region: Region, resampling: Image.Resampling, profile: bytes
) -> Image.Image:
    """Scales a region of an image to RGB, with colours as the profile means them and what is transparent on white."""
    image = in_srgb(image.resize(size, resampling, box=region, reducing_gap=3.0), profile)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def _exif(image: Image.Image) -> Mapping[int, Any]:
    """The tags of a picture; damaged ones are none, for the picture itself can be read."""
    try:
        return image.getexif()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - Pillow raises many kinds
        return {}


def _png_bits(path: str) -> float | None:
    """The highest value of the significant bits of a grey PNG (`sBIT`), or None where it does not tell."""
    with open(path, "rb") as file:
        file.seek(8)
        while len(header := file.read(8)) == 8 and header[4:] != b"IDAT":  # noqa: PLR2004
            length = int.from_bytes(header[:4], "big")
            if header[4:] == b"sBIT" and length:
                return float(2 ** min(file.read(1)[0], 16) - 1)
            file.seek(length + 4, 1)
    return None


class pillow_errors:  # noqa: N801 - used like a function in `with`
    """Turns all that Pillow raises on odd files into DocumentError."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._warnings = warnings.catch_warnings(record=True)
        self._told: list[warnings.WarningMessage] | None = None

    @property
    def warning(self) -> str:
        """What the libraries warned about first, in one line, or ""."""
        return " ".join(str(self._told[0].message).split()) if self._told else ""

    def __enter__(self) -> Self:
        self._told = self._warnings.__enter__()
        warnings.simplefilter("always")
        self._limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # `Limits.pixels` is checked before decoding
        return self

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> Literal[False]:
        self._warnings.__exit__(None, None, None)
        Image.MAX_IMAGE_PIXELS = self._limit
        if isinstance(error, Exception) and not isinstance(error, DocumentError | MemoryError):
            raise DocumentError(self._kind, f"not a readable picture: {first_line(error)}") from error
        return False
