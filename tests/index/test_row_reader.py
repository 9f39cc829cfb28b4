"""Rows of a Parquet part, read in place, are the bytes that were written."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from embedpipe.index.row_reader import checksums, locate, read_rows

DIM = 33


def write(file: Path, X: NDArray[np.float16], **options: object) -> Path:
    """A part as the store writes it, with small data pages, unless options say otherwise."""
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(X.reshape(-1)), X.shape[1])
    table = pa.table({"page_id": np.arange(len(X)), "embedding": embedding})
    plain = {
        "compression": "none",
        "use_dictionary": ["page_id"],
        "data_page_size": 2048,
        "write_page_checksum": True,
    }
    pq.write_table(table, file, **(plain | options))
    return file


@pytest.fixture(name="X")
def pages() -> NDArray[np.float16]:
    """Features of some pages; some are the same, and some are empty."""
    made = np.random.default_rng(0).normal(size=(700, DIM)).astype(np.float16)
    made[10:20] = made[0]
    made[300:400] = 0
    return made


def test_rows_are_read_as_they_were_written(X: NDArray[np.float16], tmp_path: Path) -> None:
    """Every row of many data pages comes back bit by bit, in any order."""
    file = write(tmp_path / "part", X)
    spans = locate(file, X)
    assert len(spans.starts) > 3
    rows = np.random.default_rng(1).permutation(len(X))
    np.testing.assert_array_equal(read_rows(file, spans, rows, DIM), X[rows])
    np.testing.assert_array_equal(checksums(read_rows(file, spans, rows, DIM)), checksums(X)[rows])


@pytest.mark.parametrize(
    "options", [{"compression": "zstd"}, {"use_dictionary": True}], ids=["compressed", "dictionary"]
)
def test_what_does_not_lie_there_is_not_found(
    options: dict[str, object], X: NDArray[np.float16], tmp_path: Path
) -> None:
    """A file that other programs compressed has no pieces: it must be decoded."""
    assert len(locate(write(tmp_path / "part", X, **options), X).starts) == 0


def test_a_row_may_be_cut_in_pieces(X: NDArray[np.float16], tmp_path: Path) -> None:
    """Rows that are cut by headers, as some writers do, come back whole."""
    content = X.tobytes()
    cuts = [0, 100, 330, 7000, len(content)]
    pieces = [content[first:last] for first, last in itertools.pairwise(cuts)]
    (tmp_path / "part").write_bytes(b"header" + b"\x15\x04 another ".join(pieces))
    spans = locate(tmp_path / "part", X)
    assert spans.starts.tolist() == cuts[:-1]
    rows = np.array([0, 1, 2, 106, 699])
    np.testing.assert_array_equal(read_rows(tmp_path / "part", spans, rows, DIM), X[rows])


def test_a_file_that_was_cut_is_an_error(X: NDArray[np.float16], tmp_path: Path) -> None:
    """A file that is too short now is not read as if it held something."""
    file = write(tmp_path / "part", X)
    spans = locate(file, X)
    file.write_bytes(file.read_bytes()[:5000])
    with pytest.raises(OSError, match="too short"):
        read_rows(file, spans, np.array([len(X) - 1]), DIM)


def test_a_changed_row_has_another_checksum(X: NDArray[np.float16]) -> None:
    """Each changed bit of a row changes its checksum."""
    changed = X[:1].copy()
    changed.view(np.uint16)[0, 5] ^= 1
    assert checksums(changed)[0] != checksums(X[:1])[0]
