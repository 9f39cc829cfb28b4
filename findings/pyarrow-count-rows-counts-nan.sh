#!/usr/bin/env bash
# Surprise: for one filter on one Parquet file, pyarrow's Dataset.count_rows and the rows that it reads differ: `x <= 5` counts
# a NaN, which it does not read. Where the smallest and largest value in the statistics fulfil a filter, rows are counted
# without a look at them, and a NaN is not in the statistics. For the same reason `x != 1` never reads the NaN of a row group
# whose other values are 1, though the same filter on the same table in memory keeps it.
# Expected: as many rows as the same filter keeps in memory (Parquet's definition says to disregard both values where NaN
# counts).
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import math
import sys

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

x = pc.field("x")
print("pyarrow", pa.__version__)
seen = []
for values, condition in (([1.0, 2.0, math.nan], x <= 5), ([1.0, 1.0, math.nan], x != 1)):
    table = pa.table({"x": values})
    pq.write_table(table, "x.parquet")
    file = ds.dataset("x.parquet")
    seen.append((table.filter(condition).num_rows, file.to_table(filter=condition).num_rows, file.count_rows(filter=condition)))
    print(f"{values} with {condition}: expected {seen[-1][0]} rows, as in memory; read {seen[-1][1]}, counted {seen[-1][2]}")
if seen == [(2, 2, 3), (1, 0, 0)]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
