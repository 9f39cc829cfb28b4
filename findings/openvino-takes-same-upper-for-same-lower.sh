#!/usr/bin/env bash
# Surprise: OpenVINO takes SAME_UPPER of ONNX's ConvTranspose for SAME_LOWER where output_shape is given and the padding is odd: the
# picture is shifted by one pixel. So a network that enlarges masks (of lines, of tables) draws them beside what they mark.
# With the same padding written as numbers it is right, as ONNX Runtime and ONNX's reference are in all cases.
# Expected: with SAME_UPPER the odd one is taken off at the end, with SAME_LOWER at the beginning (ONNX, ConvTranspose-11 and
# later: the formula of pads from total_padding).
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
marks = {"marks": np.arange(1, 4, dtype=np.float32).reshape(1, 1, 1, 3)}
kernel = {"kernel": np.array([10, 1, 100], np.float32).reshape(1, 1, 1, 3)}
whole = answers("ConvTranspose", marks, kernel, strides=[1, 2])[0].ravel().tolist()  # 7 values; 6 are asked for
print("not cut:", whole)
seen = {}
for name, attributes in {
    "SAME_UPPER": {"auto_pad": "SAME_UPPER", "output_shape": [1, 6]},
    "SAME_LOWER": {"auto_pad": "SAME_LOWER", "output_shape": [1, 6]},
    "pads at the end": {"pads": [0, 0, 0, 1]},
}.items():
    seen[name] = [found.ravel().tolist() for found in answers("ConvTranspose", marks, kernel, strides=[1, 2], **attributes)]
    print(f"expected: {name}: {seen[name][0]}")
    print(f"observed: ONNX Runtime {seen[name][1]}, OpenVINO {seen[name][2]}")
first, last = whole[:6], whole[1:]
if seen == {"SAME_UPPER": [first, first, last], "SAME_LOWER": [last, last, last], "pads at the end": [first] * 3}:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
