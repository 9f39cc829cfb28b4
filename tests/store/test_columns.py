"""Parquet and Arrow without pandas."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embedpipe.store import columns
from embedpipe.store.columns import array_of, by_value, numbers, read, repeated, texts


def test_columns_come_back_as_they_were(tmp_path: Path) -> None:
    """In the order asked for; a column that is not there is an error."""
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1, 2, 3], "b": ["x", "发票", ""]}), file, write_page_checksum=True)
    table = read(file, ["b", "a"])
    assert table.column_names == ["b", "a"]
    assert table["b"].to_pylist() == ["x", "发票", ""]
    assert array_of(table["a"]).tolist() == [1, 2, 3]
    with pytest.raises(ValueError, match="lacks c"):
        read(file, ["a", "c"])


def test_values_become_columns() -> None:
    """Texts of any script, numbers, none at all, and the same one often."""
    assert texts(["a", "", "合同"]).to_pylist() == ["a", "", "合同"]
    assert texts([]).to_pylist() == []
    assert numbers(np.array([3, -1])).to_pylist() == [3, -1]
    assert repeated(7, pa.int8(), 3).to_pylist() == [7, 7, 7]
    assert repeated(0.5, pa.float32(), 2).to_pylist() == [0.5, 0.5]
    assert repeated("", pa.string(), 2).to_pylist() == ["", ""]


@pytest.mark.parametrize("chunks", [[], [[]], [["b", "a"], ["a"]]])
def test_values_are_told_apart_in_their_order(chunks: list[list[str]]) -> None:
    """Across chunks; also of a column without rows."""
    values, own = by_value(pa.chunked_array(chunks, pa.string()))
    assert [values[place] for place in own] == [value for chunk in chunks for value in chunk]
    assert values == list(dict.fromkeys(value for chunk in chunks for value in chunk))


def test_nothing_of_it_loads_pandas(tmp_path: Path) -> None:
    """Which is why it is there."""
    file = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [1, 2, 3], "b": ["x", "y", "x"]}), file)
    code = (
        "import sys, pathlib, numpy as np, pyarrow as pa\n"
        "from embedpipe.store.columns import array_of, by_value, empty, numbers, read, repeated, texts\n"
        "table = read(pathlib.Path(sys.argv[1]), ['b', 'a'])\n"
        "none = empty(table.schema)\n"
        "by_value(none['b']), array_of(none['a'])\n"
        "by_value(table['b']), array_of(table['a']), texts(['x']), empty(table.schema)\n"
        "table.take(numbers(np.array([0, 2]))).append_column('c', repeated(1, pa.int8(), 2))\n"
        "print('pandas' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("most", [0, 100_000])
def test_rows_are_found_one_by_one_or_by_arrow(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Few rows without `pyarrow.compute`, many with it: the same ones, in their order."""
    monkeypatch.setattr(columns, "_MANY_ROWS", most)
    monkeypatch.setattr(columns, "_MANY_RUNS", most // 1000)
    names = ["b", "a", "b", "c", "a"]
    parts = {"name": names[:3], "n": [0, 1, 2]}, {"name": names[3:], "n": [3, 0]}
    table = pa.concat_tables([pa.table(part) for part in parts])
    assert columns.distinct(table["name"]) == ["b", "a", "c"]
    assert list(columns.rows_with(table, "name", {"a", "c", "d"}, ["n", "name"])) == [(1, "a"), (3, "c"), (0, "a")]
    assert list(columns.rows_with(table, "n", {0}, ["name"])) == [("b",), ("a",)]
    assert columns.texts_at(table["name"], np.array([3, 0])) == ["c", "b"]
    for places in ([], [1, 2, 4], [4, 0, 1], list(range(5))):
        found = columns.rows_at(table, np.array(places, np.int64))
        assert found.to_pylist() == [{"name": names[place], "n": [0, 1, 2, 3, 0][place]} for place in places]
    told, own = columns.by_value(table["name"])
    assert (told, own.tolist()) == (["b", "a", "c"], [0, 1, 0, 2, 1])
