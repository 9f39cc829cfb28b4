#!/usr/bin/env bash
# Surprise: OpenVINO reads ONNX's Resize with keep_aspect_ratio_policy "not_larger" or "not_smaller", says nothing, and stretches
# all the same: the result has another shape than the graph says, and pages are squeezed to squares. A network that brings its own
# preprocessing is wrong with it. exclude_outside and antialias are ignored as silently.
# Expected: a page of 40 x 20 becomes 10 x 5 or 20 x 10 in a square of 10, as in ONNX Runtime and ONNX's reference, or an error, as
# OpenVINO gives for the transformation "half_pixel_symmetric" that it does not have.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/python -m pip install --quiet --disable-pip-version-check openvino==2026.4.1 onnx==1.23.2 onnxruntime==1.32.0 numpy
venv/bin/python - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator


def answers(kind, values, constants, output=TensorProto.FLOAT, axes_out=4, **attributes):
    """What ONNX's reference, ONNX Runtime and OpenVINO answer to a graph of one node; constants that are None are left out."""
    names = [*values, *(name if value is not None else "" for name, value in constants.items())]
    graph = helper.make_graph(
        [helper.make_node(kind, names, ["out"], **attributes)],
        "graph",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in values.items()],
        [helper.make_tensor_value_info("out", output, [None] * axes_out)],
        [numpy_helper.from_array(value, name) for name, value in constants.items() if value is not None],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(data), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    runtime = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, values)[0], runtime.run(None, values)[0], compiled(values)[0]


print("OpenVINO", openvino.__version__, "ONNX", onnx.__version__, "ONNX Runtime", onnxruntime.__version__)
page = {"page": np.random.default_rng(0).random((1, 1, 40, 20), dtype=np.float32)}
empty = {"roi": None, "scales": None}
seen = {}
for policy in ("stretch", "not_larger", "not_smaller"):
    sizes = {**empty, "sizes": np.array([10, 10], np.int64)}
    found = answers("Resize", page, sizes, mode="linear", axes=[2, 3], keep_aspect_ratio_policy=policy)
    seen[policy] = [result.shape[2:] for result in found]
    print(f"expected: {policy}: {seen[policy][0]}; observed: ONNX Runtime {seen[policy][1]}, OpenVINO {seen[policy][2]}")
ignored = {}
for name in ("exclude_outside", "antialias"):
    sizes = {**empty, "sizes": np.array([1, 1, 8, 8], np.int64)}
    off, on = (answers("Resize", page, sizes, mode="cubic", **{name: value}) for value in (0, 1))
    ignored[name] = [bool(np.array_equal(a, b)) for a, b in zip(off, on, strict=True)]
    print(f"expected: {name} changes the picture; ignored by reference, ONNX Runtime, OpenVINO: {ignored[name]}")
square = (10, 10)
shapes = {"stretch": [square] * 3, "not_larger": [(10, 5), (10, 5), square], "not_smaller": [(20, 10), (20, 10), square]}
if seen == shapes and ignored == {"exclude_outside": [False, False, True], "antialias": [False, False, True]}:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
