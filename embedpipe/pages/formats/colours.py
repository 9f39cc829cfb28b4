"""Colours as their profile means them: what a picture stores, shown in sRGB as viewers do."""

import functools
from io import BytesIO
from typing import Any

from PIL import Image, ImageCms

_LARGEST_PROFILE = 8 * 1024**2
_SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Colour space of a profile that fits each mode of a picture."""


def profile_of(image: Image.Image) -> bytes:
    """The ICC profile of a picture, b"" where it has none that counts: sRGB itself is what is shown anyway."""
    profile = image.info.get("icc_profile")
    if not isinstance(profile, bytes) or len(profile) > _LARGEST_PROFILE:
        return b""
    return b"" if b"sRGB" in profile or "sRGB".encode("utf-16-be") in profile else profile


def in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """A picture of 8 bits in RGB, or in RGBA where it has that.

    Args:
        image: Mode L, RGB, RGBA or CMYK.
        profile: As `profile_of` gives it; one that is damaged, or is for other colours, is not obeyed.
    """
    if image.mode == "RGBA":
        shown = in_srgb(image.convert("RGB"), profile)
        shown.putalpha(image.getchannel("A"))
        return shown
    transform = _transform(profile, image.mode) if profile else None
    if transform is None:
        return image.convert("RGB")
    return ImageCms.applyTransform(image, transform) or image.convert("RGB")


@functools.lru_cache(16)
def _transform(profile: bytes, mode: str) -> Any:
    """What brings colours to sRGB as most viewers do, relative to white and with black as black; None if it cannot."""
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if source.profile.xcolor_space.strip() != _SPACES.get(mode):
            return None
        return ImageCms.buildTransform(
            source,
            _srgb(),
            mode,
            "RGB",
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@functools.lru_cache(1)
def _srgb() -> Any:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
