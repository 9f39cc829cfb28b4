#!/usr/bin/env bash
# Surprise: on a CPU that does not list FP16 among its OPTIMIZATION_CAPABILITIES, OpenVINO accepts
# INFERENCE_PRECISION_HINT=f16, compiles without an error or a warning, and runs in another type.
# Expected: an error or a warning; or f16 is reported because it is used.
# Skipped (exit code 0, with a message) where the CPU lists FP16.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check openvino==2026.4.1
cat > hint.py <<'PYTHON'
import sys

import numpy as np
import openvino as ov
from openvino import opset13 as ops

core = ov.Core()
capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
print("OpenVINO", ov.__version__, "capabilities of the CPU:", ", ".join(capabilities))
if "FP16" in capabilities:
    print("skipped: this CPU computes in FP16")
    sys.exit(0)
picture = ops.parameter([1, 3, 8, 8], np.float32)
weights = ops.constant(np.ones((4, 3, 3, 3), np.float32))
network = ops.convolution(picture, weights, [1, 1], [0, 0], [0, 0], [1, 1])
compiled = core.compile_model(ov.Model([network], [picture]), "CPU", {"INFERENCE_PRECISION_HINT": ov.Type.f16})
used = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
print("expected: an error, a warning, or f16")
print("observed: no error; the compiled model reports", used)
if used == "f16":
    print("the behaviour is no longer seen")
    sys.exit(1)
PYTHON
code=0
venv/bin/python hint.py 2> messages || code=$?
if [ "$code" -ne 0 ]; then
    cat messages
    echo "the behaviour is no longer seen: exit code $code"
    exit 1
fi
if grep -iE "f16|precision" messages; then
    echo "the behaviour is no longer seen: there is a warning"
    exit 1
fi
