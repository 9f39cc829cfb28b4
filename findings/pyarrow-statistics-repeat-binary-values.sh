#!/usr/bin/env bash
# Surprise: a Parquet file of eight binary values of 4,096 bytes is five times as large as its data, and nearly five times
# as large as a file of eight values that are longer by one byte.
# pyarrow writes the smallest and the largest value of each row group in full, up to 4,096 bytes, into the statistics of
# the footer and into the headers of the pages; the format allows shortened ones. With few values in a row group the
# footer is larger than the data, and every reader has to take it in first.
# Expected: files of about the size of their data, as with write_statistics=False.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check pyarrow==26.0.1
venv/bin/python - <<'PYTHON'
import io
import sys

import pyarrow as pa
import pyarrow.parquet as pq


def sizes(length, **options):
    values = [bytes([i]) * length for i in range(8)]
    file = io.BytesIO()
    table = pa.table({"value": pa.array(values, pa.binary())})
    pq.write_table(table, file, compression="none", use_dictionary=False, row_group_size=1, **options)
    written = file.getvalue()
    return len(written), int.from_bytes(written[-8:-4], "little")


print("pyarrow", pa.__version__)
small, large = sizes(4096), sizes(4097)
plain = sizes(4096, write_statistics=False)
print("expected: about", plain[0], "bytes for values of 4096 bytes, footer", plain[1])
print("observed: values of 4096 bytes:", small[0], "bytes, footer", small[1])
print("observed: values of 4097 bytes:", large[0], "bytes, footer", large[1])
if small[0] > 4 * plain[0] and small[0] > 4 * large[0] and small[1] > 2 * 8 * 4096:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
