"""Pictures whose samples have other depths than 8 bits, where Pillow makes something else of them than they show."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedpipe.core.errors import DocumentError

_EIGHT = 8
_SIZE = b"\xff\x4f\xff\x51"
_COMPONENTS = struct.Struct(">HB")
_COMPONENTS_AT = len(_SIZE) + 36
_SYCC = b"colr\x01\x00\x00" + struct.pack(">I", 18)
"""A JP2 file says by this that its colours are luminance and two differences."""

_HEAD = 1 << 16
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_SCALES = {"L;2": 85, "L;4": 17}  # from the largest value of so many bits to 255


def in_eight_bits(image: Image.Image, path: str) -> Image.Image:
    """A JPEG 2000 picture, in 8 bits where it has colours or transparency of more.

    Pillow rounds the largest of these values up, past what a byte holds: white becomes black.

    Args:
        image: As Pillow opened it; of one that it reads well, nothing is decoded.
        path: The file.

    Raises:
        DocumentError: It cannot be decoded.
    """
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    at = head.find(_SIZE)
    if at < 0 or len(head) < at + _COMPONENTS_AT + _COMPONENTS.size:
        return image
    count, depth = _COMPONENTS.unpack_from(head, at + _COMPONENTS_AT)
    bits = (depth & 0x7F) + 1
    if count == 1 or bits <= _EIGHT or count not in _MODES:
        return image
    mode = "YCbCr" if _SYCC in head[:at] and _MODES[count] == "RGB" else _MODES[count]
    flat = Image.fromarray(_decoded(path, bits), mode)
    flat.info = dict(image.info)
    return flat.convert("RGB") if mode == "YCbCr" else flat


def _decoded(path: str, bits: int) -> NDArray[np.uint8]:
    """The samples of a file, scaled to 8 bits, (H, W, channels)."""
    import imagecodecs  # noqa: PLC0415 - loads 45 MB of decoders

    try:
        values: NDArray[Any] = imagecodecs.jpeg2k_decode(Path(path).read_bytes())
    except Exception as error:
        if isinstance(error, MemoryError):
            raise
        raise DocumentError("page_error", f"not a readable picture: {error}") from error
    most = (1 << bits) - 1
    return ((values.astype(np.uint32) * 255 + most // 2) // most).astype(np.uint8)


def scale_transparent_value(image: Image.Image) -> None:
    """Brings the value that a PNG calls transparent to the depth of its pixels; of a picture that is not loaded yet."""
    transparent, stored = image.info.get("transparency"), str(getattr(image, "tile", [[""]])[0][-1])
    if isinstance(transparent, int) and stored in _SCALES:
        image.info["transparency"] = transparent * _SCALES[stored]
    elif isinstance(transparent, tuple) and stored == "RGB;16B":
        image.info["transparency"] = tuple(value >> _EIGHT for value in transparent)
