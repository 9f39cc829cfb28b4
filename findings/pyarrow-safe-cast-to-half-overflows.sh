#!/usr/bin/env bash
# Surprise: pyarrow's cast of whole numbers to half floats checks nothing, though it is safe by default: 70000 becomes infinite,
# and 2049 becomes 2048. A cast of a number that a float or a double cannot hold is refused.
# Expected: ArrowInvalid, as for float and double: the documentation says that a safe cast checks for overflow.
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


def cast(value, wanted):
    """What a value becomes, or the name of the error."""
    try:
        return float(pa.array([value], pa.int64()).cast(wanted, safe=True)[0].as_py())
    except pa.ArrowInvalid as error:
        return type(error).__name__


print("pyarrow", pa.__version__)
seen = {}
for wanted, value in ((pa.float64(), 2**53 + 1), (pa.float32(), 2**24 + 1), (pa.float16(), 2**11 + 1), (pa.float16(), 70000)):
    seen[value] = cast(value, wanted)
    print(f"{value} to {wanted}: expected ArrowInvalid, observed {seen[value]}")
if list(seen.values()) == ["ArrowInvalid", "ArrowInvalid", 2048.0, math.inf]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
