"""What TensorBoard's projector reads."""

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import replacing
from embedpipe.drawing.projector import FILES, Row, check_folder, tile_size, write_projector


def jpeg(colour: tuple[int, int, int]) -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (30, 40), colour).save(buffer, "JPEG")
    return buffer.getvalue()


def rows(count: int) -> list[Row]:
    """As many pages, the first with a hostile name."""
    return [
        Row("form", "a\tb\nc.pdf" if n == 0 else f"中文{n}.pdf", n + 1, f"/pile/{n}", "0" * 64) for n in range(count)
    ]


def test_every_file_speaks_of_the_same_rows(tmp_path: Path) -> None:
    """Tensors, metadata and the tiles of the sprite are read back in the order of the pages."""
    X = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    colours = [(200, 0, 0), (0, 200, 0), None, (0, 0, 200), (90, 90, 0)]
    folder = tmp_path / "projector"
    write_projector(folder, X, rows(5), [None if c is None else jpeg(c) for c in colours])
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    np.testing.assert_allclose(np.loadtxt(folder / "tensors.tsv", delimiter="\t"), X, rtol=1e-5)
    header, *lines = (folder / "metadata.tsv").read_text(encoding="utf-8").splitlines()
    assert header.split("\t") == ["type", "file", "page", "path", "document"]
    assert [line.split("\t")[2] for line in lines] == ["1", "2", "3", "4", "5"]
    assert [line.split("\t")[1] for line in lines[:2]] == ["a\ufffdb\ufffdc.pdf", "中文1.pdf"]
    config = (folder / "projector_config.pbtxt").read_text()
    assert re.findall(r"tensor_shape: (\d+)", config) == ["5", "3"]
    [tile, _] = map(int, re.findall(r"single_image_dim: (\d+)", config))
    with Image.open(folder / "sprite.png") as sprite:
        assert sprite.size == (3 * tile, 2 * tile)
        for number, colour in enumerate(colours):
            middle = (number % 3 * tile + tile // 2, number // 3 * tile + tile // 2)
            np.testing.assert_allclose(sprite.getpixel(middle), colour or (200, 200, 204), atol=6)


@pytest.mark.parametrize("count", [1, 2, 5, 4148, 50_000, 1_000_000])
def test_the_sprite_is_never_too_large(count: int) -> None:
    """TensorBoard shows none above 8192 pixels a side."""
    assert int(np.ceil(np.sqrt(count))) * tile_size(count) <= 8192
    assert tile_size(count) >= 1


def test_a_folder_with_other_files_is_left_alone(tmp_path: Path) -> None:
    """What belongs to somebody else is neither replaced nor mixed with; an older projection is replaced."""
    X = np.zeros((2, 2), np.float32)
    write_projector(tmp_path / "a", X, rows(2), [None, None])
    write_projector(tmp_path / "a", X[:1], rows(1), [None])
    assert len((tmp_path / "a" / "tensors.tsv").read_text().splitlines()) == 1
    with replacing(tmp_path / "a" / "sprite.png") as left:
        left.write_text("")
    left.write_text("of a killed run")
    write_projector(tmp_path / "a", X, rows(2), [None, None])
    assert not left.exists()
    (tmp_path / "a" / "mine.txt").write_text("mine")
    with pytest.raises(ArtifactError, match=r"mine\.txt"):
        write_projector(tmp_path / "a", X, rows(2), [None, None])
    with pytest.raises(ArtifactError, match="is a file"):
        check_folder(tmp_path / "a" / "mine.txt")
