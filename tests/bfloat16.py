"""What a CPU with units for bfloat16 computes, on any CPU alike: so the fast precision is tested on all of them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from embedpipe.backbones.engines import OpenVinoEngine, load_openvino

_SPLIT = np.float32(2**16 + 1)
"""Veltkamp's constant (Dekker 1971, Numerische Mathematik 18) that leaves a float32 the 8 digits of a bfloat16."""


class SimulatedEngine(OpenVinoEngine):
    """In bf16 all convolutions and products of matrices get rounded inputs and weights, and sum up in float32."""

    def __init__(self, read: Callable[[], Any], precision: str, threads: int, **options: Any) -> None:
        """Leaves to OpenVINO what is computed in float32."""
        super().__init__(read, "fp32", threads, **options)
        self.precision = precision

    def _note_precision(self, element_type: str) -> None:
        """OpenVINO itself computes in float32."""

    def _compile(self, model: Any) -> Any:
        return super()._compile(rounding(model) if self.precision == "bf16" else model)


def rounding(model: Any) -> Any:
    """A copy of a model that rounds what goes into its convolutions and products of matrices."""
    op, copy = load_openvino().opset13, model.clone()
    for node in copy.get_ordered_ops():
        if node.get_type_name() not in ("Convolution", "GroupConvolution", "MatMul"):
            continue
        for place in (0, 1):
            values = node.input_value(place)
            if values.get_node().get_type_name() == "Constant":
                exact = torch.from_numpy(np.array(values.get_node().data, np.float32))
                rounded = op.constant(exact.bfloat16().float().numpy())
            else:
                scaled = op.multiply(values, op.constant(_SPLIT))
                rounded = op.subtract(scaled, op.subtract(scaled, values))
            node.input(place).replace_source_output(rounded.output(0))
    return copy
