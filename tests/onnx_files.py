"""Small ONNX files made at run time, byte by byte, so that no test needs the package that writes them."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_FLOAT, _INT64 = 1, 7
_LARGEST = 2**31 - 1


def _varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes | str) -> bytes:
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


class OnnxFile:
    """Puts a network together, operation by operation; each returns the name of what it gives.

    Args:
        seed: Of its random weights.
    """

    def __init__(self, seed: int = 0) -> None:
        self._nodes: list[bytes] = []
        self._tensors: list[bytes] = []
        self._random = np.random.default_rng(seed)

    def tensor(self, values: NDArray[Any]) -> str:
        """A constant, float32 or int64."""
        kind = _INT64 if values.dtype == np.int64 else _FLOAT
        values = np.asarray(values, np.int64 if kind == _INT64 else np.float32)
        name = f"c{len(self._tensors)}"
        dims = b"".join(_number(1, side) for side in values.shape)
        self._tensors.append(dims + _number(2, kind) + _bytes(8, name) + _bytes(9, values.tobytes()))
        return name

    def op(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        """Any operation with one output."""
        name = f"n{len(self._nodes)}"
        node = b"".join(_bytes(1, one) for one in inputs) + _bytes(2, name) + _bytes(3, name) + _bytes(4, kind)
        for key, value in attributes.items():
            if isinstance(value, float):
                body = _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, 1)
            elif isinstance(value, int):
                body = _number(3, value) + _number(20, 2)
            elif isinstance(value, str):
                body = _bytes(4, value) + _number(20, 3)
            else:
                body = b"".join(_number(8, one) for one in value) + _number(20, 7)
            node += _bytes(5, _bytes(1, key) + body)
        self._nodes.append(node)
        return name

    def conv(self, x: str, before: int, after: int, *, stride: int = 1, groups: int = 1, size: int = 3) -> str:
        """A convolution with random weights, and what follows it: a rectifier."""
        shape = (after, before // groups, size, size)
        scale = (2 / np.prod(shape[1:])) ** 0.5
        weights = self.tensor(self._random.normal(0, scale, shape).astype(np.float32))
        pad = size // 2
        made = self.op(
            "Conv", [x, weights], strides=[stride] * 2, pads=[pad] * 4, group=groups, kernel_shape=[size] * 2
        )
        return self.op("Relu", [made])

    def save(self, file: Path, outputs: list[str], size: tuple[int, int] = (64, 64)) -> Path:
        """Writes the network; it takes `x`, one picture (1, 3, *size)."""

        def value(name: str, shape: tuple[int, ...]) -> bytes:
            dims = b"".join(_bytes(1, _number(1, side)) for side in shape)
            return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, _FLOAT) + _bytes(2, dims)))

        graph = b"".join(_bytes(1, node) for node in self._nodes) + _bytes(2, "g")
        graph += b"".join(_bytes(5, tensor) for tensor in self._tensors)
        graph += _bytes(11, value("x", (1, 3, *size)))
        graph += b"".join(_bytes(12, _bytes(1, name)) for name in outputs)
        file.write_bytes(_number(1, 8) + _bytes(8, _bytes(1, "") + _number(2, 13)) + _bytes(7, graph))
        return file


def classifier(file: Path, seed: int = 0) -> Path:
    """Stages of strides 2 to 16 with 4, 8, 12 and 16 channels; inside the last one is a wider block with a shortcut."""
    net = OnnxFile(seed)
    x = net.conv("x", 3, 4, stride=2)
    for before, after in ((4, 8), (8, 12), (12, 16)):
        x = net.conv(net.conv(x, before, before, stride=2, groups=before), before, after, size=1)
    x = net.op("Add", [x, net.conv(net.conv(x, 16, 64, size=1), 64, 16, size=1)])
    scores = net.op("Flatten", [net.op("GlobalAveragePool", [net.conv(x, 16, 16, size=1)])])
    return net.save(file, [scores])


def orientation(file: Path) -> Path:
    """Tells where the dark bar of a page is: above, right, below or left, as pages turned clockwise by quarters."""
    net = OnnxFile()
    means = []
    for axis, start, end in ((2, 0, 8), (3, -8, _LARGEST), (2, -8, _LARGEST), (3, 0, 8)):
        strip = net.op("Slice", ["x", *(net.tensor(np.array([value], np.int64)) for value in (start, end, axis))])
        means.append(net.op("ReduceMean", [strip], axes=[1, 2, 3], keepdims=0))
    columns = [net.op("Unsqueeze", [mean, net.tensor(np.array([1], np.int64))]) for mean in means]
    dark = net.op("Mul", [net.op("Concat", columns, axis=1), net.tensor(np.array([-10.0], np.float32))])
    return net.save(file, [net.op("Softmax", [dark], axis=1)])


def detector(file: Path) -> Path:
    """Finds dark places (type 0) and bright ones (type 1) at strides 8 and 16, each of a region of one place.

    Between them the coarse map is enlarged and joined with the fine one, as in a neck.
    """
    net = OnnxFile()
    fine = net.op("AveragePool", ["x"], kernel_shape=[8, 8], strides=[8, 8], pads=[0] * 4)
    coarse = net.op("AveragePool", [fine], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    scales = net.tensor(np.array([1, 1, 2, 2], np.float32))
    enlarged = net.op("Resize", [coarse, "", scales], mode="nearest", nearest_mode="floor")
    joined = net.op("Concat", [enlarged, fine], axis=1)
    fine = net.op("Conv", [joined, net.tensor(_last_three())], kernel_shape=[1, 1])
    shape = {2: net.tensor(np.array([1, 2, -1], np.int64)), 32: net.tensor(np.array([1, 32, -1], np.int64))}
    scores, distances = [], []
    for x in (fine, coarse):
        weights = np.zeros((2, 3, 1, 1), np.float32)
        weights[0], weights[1] = -20 / 3, 20 / 3
        bias = net.tensor(np.array([10.0, -10.0], np.float32))
        score = net.op("Sigmoid", [net.op("Conv", [x, net.tensor(weights), bias], kernel_shape=[1, 1])])
        far = np.full(32, -50, np.float32)
        far[1::8] = np.log(0.5)
        far[0::8] = np.log(0.5)  # half a place to each side
        zero = net.tensor(np.zeros((32, 3, 1, 1), np.float32))
        distance = net.op("Conv", [x, zero, net.tensor(far)], kernel_shape=[1, 1])
        scores.append(net.op("Transpose", [net.op("Reshape", [score, shape[2]])], perm=[0, 2, 1]))
        distances.append(net.op("Transpose", [net.op("Reshape", [distance, shape[32]])], perm=[0, 2, 1]))
    return net.save(file, [*scores, *distances])


def _last_three() -> NDArray[np.float32]:
    weights = np.zeros((3, 6, 1, 1), np.float32)
    for channel in range(3):
        weights[channel, 3 + channel] = 1
    return weights
