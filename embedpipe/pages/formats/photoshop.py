"""The reader of Photoshop pictures (PSD and PSB): the flattened picture that they hold for other programs."""

from typing import Any

from PIL import ImageCms
from psd_tools import PSDImage

from embedpipe.core.errors import DocumentError
from embedpipe.pages.contract import ReadOptions, Rendering
from embedpipe.pages.formats.pictures import Picture, check_size, draw, pillow_errors


class PhotoshopDocument:
    """A picture of Photoshop. Its layers are neither drawn nor put together: what Photoshop showed is in the file.

    Attributes:
        pdf: None, see `OpenDocument`.
        taken_by_camera: Never.

    Raises:
        DocumentError: It cannot be opened, or was saved without the flattened picture.
    """

    def __init__(self, path: str, options: ReadOptions) -> None:
        self._options = options
        self.page_count = 1
        self.pdf = None
        self.taken_by_camera = False
        with pillow_errors("not_a_document"), open(path, "rb") as file:
            self._picture = PSDImage.open(file)
            check_size(self._picture.width, self._picture.height, options.limits)
        if not self._picture.has_preview():
            message = "saved without a flattened picture: save it with the largest compatibility, or as TIFF or PDF"
            raise DocumentError("page_error", message)

    def render(self, index: int) -> Rendering:
        """Renders the picture; raises DocumentError."""
        if index:
            raise DocumentError("page_error", f"it has no page {index + 1}")
        with pillow_errors("page_error"):
            image: Any = self._picture.topil(apply_icc=False)
            if image.mode == "LAB":
                spaces = (ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"))
                image = ImageCms.profileToProfile(image, *spaces, outputMode="RGB")
            return draw(Picture(image, image.size), self._options)

    def close(self) -> None:
        """Nothing is open."""
