#!/usr/bin/env bash
# Surprise: NonMaxSuppression in OpenVINO takes away boxes whose overlap is equal to the threshold. With a threshold of 0, which is
# ONNX's default, that is every box but the best one, also those that touch nothing: one region is left of a whole page.
# ONNX Runtime and ONNX's reference keep them, with 0 and with any other threshold that an overlap meets exactly.
# Expected: three boxes that lie apart are kept; a box goes if it overlaps more than the threshold (OpenVINO's own definition of
# the operation keeps what is less or equal).
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
scores = np.array([[[0.9, 0.8, 0.7]]], np.float32)
most = np.array([9], np.int64)


def kept(boxes, threshold):
    """Which boxes each one keeps."""
    values = {"boxes": np.array([boxes], np.float32), "scores": scores}
    constants = {"most": most, "threshold": np.array([threshold], np.float32)}
    return [found[:, 2].tolist() for found in answers("NonMaxSuppression", values, constants, TensorProto.INT64, 2)]


apart = [[0, 0, 1, 1], [0, 10, 1, 11], [0, 20, 1, 21]]
half = [[0, 0, 1, 2], [0, 1, 1, 2], [0, 20, 1, 21]]  # the second is a half of the first
seen = [kept(apart, 0.0), kept(apart, 1e-6), kept(half, 0.5)]
for case, found in zip(("apart, threshold 0", "apart, threshold 0.000001", "overlap 0.5, threshold 0.5"), seen, strict=True):
    print(f"expected: boxes [0, 1, 2], {case}")
    print(f"observed: reference {found[0]}, ONNX Runtime {found[1]}, OpenVINO {found[2]}")
all_three = [0, 1, 2]
if seen == [[all_three, all_three, [0]], [all_three] * 3, [all_three, all_three, [0, 2]]]:
    sys.exit(0)
print("the behaviour is no longer seen")
sys.exit(1)
PYTHON
