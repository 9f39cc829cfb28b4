#!/usr/bin/env bash
# Surprise: pyarrow reads a time after the year 2262 that is stored as Parquet's INT96 as another time, without an error:
# 2500-01-01 becomes 1915-06-14. It reads INT96 as nanoseconds by default, whose range ends in 2262, and lets them wrap.
# The file is right: with coerce_int96_timestamp_unit="us" the same file gives the time that was written.
# Expected: ArrowInvalid, as a cast to timestamp[ns] gives.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import datetime
import sys

import pyarrow as pa
import pyarrow.parquet as pq

time = datetime.datetime(2500, 1, 1)
table = pa.table({"time": pa.array([time], pa.timestamp("s"))})
pq.write_table(table, "times.parquet", use_deprecated_int96_timestamps=True)
print("pyarrow", pa.__version__)
try:
    table["time"].cast(pa.timestamp("ns"))
except pa.ArrowInvalid as error:
    print("a cast to ns is refused:", str(error)[:80])
right = pq.read_table("times.parquet", coerce_int96_timestamp_unit="us")["time"][0].as_py()
print("read as us:", right)
print("expected: by default an error, or", time)
try:
    column = pq.read_table("times.parquet")["time"]
    default = str(column.cast(pa.timestamp("us"), safe=False)[0].as_py())
except pa.ArrowException as error:
    default = f"{type(error).__name__}: {error}"
print("observed:", default)
if right == time and default.startswith("1915-06-14"):
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
