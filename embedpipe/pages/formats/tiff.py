"""The reader of TIFF: with Pillow where it shows what is stored, else with tifffile.

Pillow knows neither the range of 10 and 12 bits nor that 0 is white where a pixel has 16; planes of 16 bits come out as
noise; grey that is turned by a quarter and not compressed is read in lines of the wrong length; thumbnails and the
levels of a pyramid count as pages (findings/pillow-min-is-white-16-bit.sh, pillow-planes-of-16-bits.sh and
pillow-turned-tiff-from-a-path.sh).
"""

import contextlib
import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from embedpipe.core.errors import DocumentError
from embedpipe.pages.contract import ReadOptions
from embedpipe.pages.formats.pictures import ORIENTATION, TURNS, ImageDocument, Picture, pillow_errors
from embedpipe.pages.formats.pixel_shapes import SQUARE, pixel_shape, stored_shape, swapped
from embedpipe.pages.formats.shades import SIXTEEN_BITS, high_value

logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it warns about is told by the outcome of the page

_REDUCED, _MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy of another picture, and the mask of one."""

_OLD_REDUCED = 2
"""Value of SubfileType, which came before."""

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _SEPARATED = 0, 1, 2, 3, 5
_UNSIGNED, _FLOAT = 1, 3
_BYTE, _WORD = 8, 16
_UNCOMPRESSED = 1
_MAX_SAMPLE_VALUE = 281
_RESOLUTIONS = (282, 283)
_TURNED_BY_A_QUARTER = (5, 6, 7, 8)
_REMEDY = "save it again as a plain TIFF (LZW, Deflate or CCITT), PNG or PDF"


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a TIFF that is a page.

    Attributes:
        number: In the chain of the file.
        width: In pixels.
        height: In pixels.
        needs_tifffile: Pillow reads it otherwise than it is meant.
        highest: The value of white.
    """

    number: int
    width: int
    height: int
    needs_tifffile: bool
    highest: int


class TiffDocument(ImageDocument):
    """The pictures of a TIFF, less thumbnails, levels of a pyramid and masks."""

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._orientations: dict[int, int] = {}
        self._frames = _frames(path, options.limits.pages)
        super().__init__(path, options, "TIFF")
        self.page_count = len(self._frames) or int(getattr(self._image, "n_frames", 1))
        if self.page_count > options.limits.pages:
            self.close()
            raise DocumentError("too_large", f"{self.page_count} pages, more than --max-pages {options.limits.pages}")

    def _open(self) -> Image.Image:
        try:
            return super()._open()
        except DocumentError:
            if not self._frames:
                raise
            return Image.new("L", (1, 1))  # Pillow cannot open it; each picture is read with tifffile

    def picture(self, index: int) -> Picture:
        """The stored picture `index`; raises DocumentError and whatever the libraries raise."""
        if not self._frames:
            return self._by_pillow(index)
        frame = self._frames[index] if index >= 0 else self._frames[len(self._frames)]
        self.check_size(frame.width, frame.height)
        if not frame.needs_tifffile and self._image.format == "TIFF":
            try:
                return self._by_pillow(frame.number)
            except MemoryError:
                raise
            except Exception:
                with contextlib.suppress(DocumentError):
                    return self._by_tifffile(frame)
                raise
        return self._by_tifffile(frame)

    def whole(self, index: int) -> Image.Image:
        """Picture `index` upright, in full size and depth, with its own resolution: to be saved again.

        Raises:
            DocumentError: It cannot be read.
        """
        with pillow_errors("page_error"):
            picture = self.picture(index)
            image = picture.image.copy()
            told = image.info.get("dpi") or (image.info.get("resolution") if picture.shape != SQUARE else None)
            image.info.pop("dpi", None)
            if told:
                turned = self._orientations.get(self.frame_number(index), 1) in _TURNED_BY_A_QUARTER
                image.info["dpi"] = told[::-1] if turned else told
            if picture.turn is not None:
                info, image = image.info, image.transpose(picture.turn)
                image.info = info
            if image.mode == "I;16" and picture.highest < SIXTEEN_BITS:
                values = np.asarray(image).astype(np.float32) * (SIXTEEN_BITS / picture.highest)
                info, image = image.info, Image.fromarray(values.round().clip(0, SIXTEEN_BITS).astype(np.uint16))
                image.info = info
        return image

    def frame_number(self, index: int) -> int:
        """Which of the file's frames a page is, both counted from 0."""
        return self._frames[index].number if self._frames else index

    def _by_pillow(self, number: int) -> Picture:
        image = self._image
        image.seek(number)
        self.check_size(image.width, image.height)
        # Pillow forgets it once it has turned the picture
        orientation = self._orientations.setdefault(number, image.getexif().get(ORIENTATION, 1))
        shape = stored_shape(image, {}, self._path)
        image.load()  # Pillow turns it here, and only TIFF
        self._stored = image.size
        found = super().picture(number)
        return Picture(image, image.size, swapped(shape) if orientation in _TURNED_BY_A_QUARTER else shape, found.turn)

    def _by_tifffile(self, frame: Frame) -> Picture:
        with pillow_errors("page_error"), open(self._path, "rb") as file, tifffile.TiffFile(file) as tiff:
            page: Any = tiff.pages[frame.number]
            compression = _unread_compression(page)
            if compression:
                raise DocumentError("page_error", f"its compression, {compression}, is not read: {_REMEDY}")
            image = _as_image(page, frame.highest)
            tags = page.tags
            told = tuple(_resolution(tags.valueof(code)) for code in _RESOLUTIONS)
            if all(told):
                image.info["dpi"] = told
            self._orientations[frame.number] = tags.valueof(ORIENTATION, default=1)
        self.taken_by_camera = False
        turn = TURNS.get(self._orientations[frame.number])
        return Picture(image, image.size, pixel_shape(*told), turn, frame.highest)


def _frames(path: str, most: int) -> tuple[Frame, ...]:
    """The pages of a TIFF; none where tifffile cannot tell."""
    try:
        with open(path, "rb") as file, tifffile.TiffFile(file) as tiff:
            count = len(tiff.pages)
            if count > most:
                return ()
            pages: list[Any] = [tiff.pages[number] for number in range(count)]
            frames = [(_frame(number, page), _is_copy(page)) for number, page in enumerate(pages)]
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001 - damaged files raise many kinds; Pillow may read them
        return ()
    return tuple(frame for frame, copy in frames if not copy) or tuple(frame for frame, _ in frames)


def _is_copy(page: Any) -> bool:
    kind = int(page.tags.valueof(254, default=0) or 0)
    return bool(kind & (_REDUCED | _MASK)) or page.tags.valueof(255) == _OLD_REDUCED


def _frame(number: int, page: Any) -> Frame:
    bits, planes = int(page.bitspersample), int(page.samplesperpixel)
    told = page.tags.valueof(_MAX_SAMPLE_VALUE)
    told = max(told) if isinstance(told, tuple) else told
    unsigned = int(page.sampleformat) == _UNSIGNED
    highest = high_value(bits, told) if unsigned and bits <= _WORD else SIXTEEN_BITS
    usual = bits in (1, 2, 4, _BYTE) or (
        bits in (_WORD, 2 * _WORD)
        and int(page.photometric) != _WHITE_IS_ZERO
        and (int(page.planarconfig) == 1 or planes == 1)
        and (bits != _WORD or highest == SIXTEEN_BITS)
    )
    if int(page.compression) == _UNCOMPRESSED and page.tags.valueof(ORIENTATION) in _TURNED_BY_A_QUARTER:
        usual = False
    return Frame(number, int(page.imagewidth), int(page.imagelength), not usual, highest)


def _resolution(value: Any) -> float | None:
    """A resolution, which is stored as a fraction; raises nothing."""
    with contextlib.suppress(TypeError, ValueError, ArithmeticError, IndexError):
        return float(value[0]) / float(value[1])
    return None


def _unread_compression(page: Any) -> str:
    """The name and number of a compression that is not read, or ""."""
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
    except KeyError:
        number = int(page.compression)
        return f"{getattr(page.compression, 'name', 'of number')} {number}"
    return ""


def _as_image(page: Any, highest: int) -> Image.Image:
    """The values of a picture, as an image of Pillow; colours in 8 bits, grey as deep as it is."""
    if page.imagedepth != 1 or page.samplesperpixel > 8:  # noqa: PLR2004
        raise DocumentError("page_error", f"it is no picture but {page.shape} values: {_REMEDY}")
    values: NDArray[Any] = page.asarray()
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, 2)
    photometric = int(page.photometric)
    if photometric == _PALETTE:
        return Image.fromarray((page.colormap[:, values] >> 8).astype(np.uint8).transpose(1, 2, 0))
    if photometric in (_WHITE_IS_ZERO, _BLACK_IS_ZERO):
        grey = values if values.ndim == 2 else values[:, :, 0]  # noqa: PLR2004
        return _as_grey(grey, highest, inverted=photometric == _WHITE_IS_ZERO)
    colours = _eight_bits(values, highest)
    if photometric == _SEPARATED and colours.shape[2] >= 4:  # noqa: PLR2004
        return Image.frombytes("CMYK", (values.shape[1], values.shape[0]), colours[:, :, :4].tobytes())
    # what JPEG stores as YCbCr is decoded to RGB
    if (photometric == _RGB or int(page.compression) in (6, 7)) and colours.shape[2] >= 3:  # noqa: PLR2004
        alpha = 1 if page.extrasamples and int(page.extrasamples[0]) in (1, 2) else 0
        return Image.fromarray(np.ascontiguousarray(colours[:, :, : 3 + alpha]))
    raise DocumentError("page_error", f"its colours, {getattr(page.photometric, 'name', photometric)}, are not read")


def _as_grey(values: NDArray[Any], highest: int, *, inverted: bool) -> Image.Image:
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
        highest = 255
    if values.dtype.kind == "f":
        values = values.astype(np.float32)
        if inverted:
            values = np.nanmin(values) + np.nanmax(values) - values
    elif inverted and values.dtype.kind == "u":
        white = highest if values.size and values.max() <= highest else np.iinfo(values.dtype).max
        values = white - values
    elif inverted:
        values = -1 - values
    if values.dtype.itemsize > 2 and values.dtype.kind != "f":  # noqa: PLR2004
        values = values.astype(np.float32)
    elif values.dtype == np.int16:
        values = values.astype(np.int32)
    return Image.fromarray(np.ascontiguousarray(values.astype(values.dtype.newbyteorder("="))))


def _eight_bits(values: NDArray[Any], highest: int) -> NDArray[np.uint8]:
    if values.ndim != 3:  # noqa: PLR2004
        raise DocumentError("page_error", f"it is no picture but {values.shape} values: {_REMEDY}")
    if values.dtype == np.uint8:
        return values
    finite = np.nan_to_num(values.astype(np.float32), posinf=0.0, neginf=0.0)
    low, high = 0.0, float(highest)
    if values.dtype.kind != "u" or finite.max(initial=0.0) > high:
        low, high = (0.0, 65535.0) if values.dtype == np.uint16 else (float(finite.min()), float(finite.max()))
    return ((finite - low) * (255.0 / max(high - low, 1e-12))).round().clip(0, 255).astype(np.uint8)
