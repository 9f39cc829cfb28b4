"""Pages for the Embedding Projector of TensorBoard: tensors, metadata and sprite in a folder.

The format is that of `projector_config.proto` and of the readers of TensorBoard's projector plugin: values and metadata
with tabs, the latter with a header; pictures of one size in rows of a PNG of at most 8192 pixels a side.
"""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from embedpipe.core.display import display
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import is_temporary, replacing, sweep
from embedpipe.core.outputs import MAKER

TENSORS, METADATA, SPRITE, CONFIG = FILES = ("tensors.tsv", "metadata.tsv", "sprite.png", "projector_config.pbtxt")

_HEADER = "type\tfile\tpage\tpath\tdocument\n"
_LARGEST_SPRITE = 8192
_LARGEST_TILE = 64
_PAPER, _MISSING = (255, 255, 255), (200, 200, 204)


@dataclass(frozen=True, slots=True)
class Row:
    """What is written about a page: in the order of the columns of the metadata."""

    label: str
    file: str
    page: int
    path: str
    document: str


def check_folder(folder: Path) -> None:
    """Makes sure that a projection can go into a folder.

    Raises:
        ArtifactError: It is a file, or holds other files than an older projection of ours.
    """
    if folder.exists() and not folder.is_dir():
        raise ArtifactError(f"--projector {folder} is a file: name a new or an empty folder")
    names = [item.name for item in folder.iterdir()] if folder.exists() else []
    others = sorted(name for name in names if name not in FILES and not is_temporary(name))
    if others:
        raise ArtifactError(f"--projector {folder} holds other files ({others[0]}): name a new or an empty folder")
    if any(name in FILES for name in names) and not _is_ours(folder):
        raise ArtifactError(f"--projector {folder} holds another projection: name a new or an empty folder")


def _is_ours(folder: Path) -> bool:
    """Whether a projection was made here: its configuration says so, or, after a kill, what else there is of it."""
    for name, begins in ((CONFIG, 'embeddings {\n  tensor_name: "pages"\n'), (METADATA, _HEADER)):
        with contextlib.suppress(OSError), open(folder / name, "rb") as file:
            return file.read(len(begins)) == begins.encode()
    return False


def write_projector(
    folder: Path, X: NDArray[np.float32], rows: Sequence[Row], thumbnails: Sequence[bytes | None]
) -> None:
    """Writes what TensorBoard shows with `tensorboard --logdir FOLDER`; an older projection is replaced.

    The configuration goes first and comes last: a kill leaves a folder that shows nothing, never a mixture.

    Args:
        folder: Of its own.
        X: Features, float32 (n, dim), dim at least 2.
        rows: Of the n pages.
        thumbnails: A picture file of each page, or None.

    Raises:
        ArtifactError: The folder holds other files, or cannot be written.
    """
    check_folder(folder)
    sweep(folder, ())
    tile = tile_size(len(rows))
    try:
        (folder / CONFIG).unlink(missing_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot write {folder}: {error.strerror or error}") from error
    with replacing(folder / TENSORS) as temporary, open(temporary, "w", encoding="ascii", newline="\n") as file:
        file.writelines("\t".join(f"{value:.6g}" for value in row) + "\n" for row in X.tolist())
    with replacing(folder / METADATA) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as file:
        file.write(_HEADER)
        for row in rows:
            cells = (row.label, row.file, str(row.page), row.path, row.document)
            file.write("\t".join(display(cell) for cell in cells) + "\n")  # no tab or line end is left in a name
    with replacing(folder / SPRITE) as temporary:
        info = PngInfo()
        info.add_text("Software", MAKER)
        _sprite(thumbnails, tile).save(temporary, "PNG", pnginfo=info)
    with replacing(folder / CONFIG) as temporary:
        temporary.write_text(_config(X.shape, tile), encoding="ascii")


def tile_size(count: int) -> int:
    """Pixels of a side of each of so many pictures, so that all fit into the sprite."""
    return max(1, min(_LARGEST_TILE, _LARGEST_SPRITE // math.ceil(math.sqrt(count))))


def _sprite(thumbnails: Sequence[bytes | None], tile: int) -> Image.Image:
    per_row = math.ceil(math.sqrt(len(thumbnails)))
    sprite = Image.new("RGB", (per_row * tile, math.ceil(len(thumbnails) / per_row) * tile), _PAPER)
    missing = Image.new("RGB", (tile, tile), _MISSING)
    for number, content in enumerate(thumbnails):
        picture = missing
        if content is not None:
            with Image.open(BytesIO(content)) as page:
                picture = ImageOps.pad(page.convert("RGB"), (tile, tile), Image.Resampling.LANCZOS, color=_MISSING)
        sprite.paste(picture, (number % per_row * tile, number // per_row * tile))
    return sprite


def _config(shape: tuple[int, ...], tile: int) -> str:
    lines = [
        '  tensor_name: "pages"',
        f'  tensor_path: "{TENSORS}"',
        *(f"  tensor_shape: {size}" for size in shape),
        f'  metadata_path: "{METADATA}"',
        f'  sprite {{ image_path: "{SPRITE}" single_image_dim: {tile} single_image_dim: {tile} }}',
    ]
    return "\n".join(["embeddings {", *lines, "}", ""])
