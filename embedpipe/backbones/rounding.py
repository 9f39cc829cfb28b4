"""Rounds a network's weights for bfloat16 so that the errors cancel, instead of each weight to its nearest value.

Rounding shifts what a convolution gives in the same way at every place of a page, so pooling does not average it away:
on large areas of one colour the features turn visibly. Whether a weight goes up or down is therefore decided one after
the other, such that the sum of all errors so far, for inputs that were seen on made-up pages, stays as small as can be:
greedy path following quantization (Lybrand and Saab, 2021, arXiv:2010.15979), here to one of the two or three nearest
values. What remains of the mean error is taken off the biases, which keep their precision (Nagel et al., 2019,
arXiv:1906.04721). docs/quality.md says what it brings.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.backbones.engines import load_openvino, openvino_core
from embedpipe.backbones.probe_pages import rounding_pages

_PLACES = 12
"""Places of each page's map that a convolution's input is looked at, beside its mean."""
_MEANS = 4.0
"""What the mean counts: it is what pooling is left with."""
_BLOCK = 64
"""Weights between which errors are passed by the products of their inputs alone, which are few enough to be fast."""


def rounded_for_bfloat16(model: Any, size: int) -> Any:
    """A copy of a model whose convolutions have weights that bfloat16 holds exactly, and biases that make up for it.

    Args:
        model: Of OpenVINO, taking uint8 (n, H, W, 3).
        size: Of the pages that it is shown, pixels.
    """
    op = load_openvino().opset13
    copy = model.clone()
    convolutions = _convolutions(copy)
    for node, (X, mean) in zip(convolutions, _inputs(model, rounding_pages(size)), strict=True):
        weights = np.array(node.input_value(1).get_node().data, np.float32)
        W = weights.reshape(len(X), -1, X.shape[2])
        rounded = greedily_rounded(W, X)
        node.input(1).replace_source_output(op.constant(rounded.reshape(weights.shape)).output(0))
        _shift(node, np.einsum("gmn,gn->gm", W - rounded, mean).ravel())
    return copy


def _shift(node: Any, values: NDArray[np.float32]) -> None:
    """Adds a value (channels,) to each output of a convolution: by its bias, where it has one."""
    op, column = load_openvino().opset13, values.reshape(1, -1, 1, 1)
    followers = list(node.output(0).get_target_inputs())
    if len(followers) == 1 and followers[0].get_node().get_type_name() == "Add":
        bias = followers[0].get_node().input(1 - followers[0].get_index())
        if bias.get_source_output().get_node().get_type_name() == "Constant":
            values = np.array(bias.get_source_output().get_node().data, np.float32)
            bias.replace_source_output(op.constant(values + column).output(0))
            return
    shifted = op.add(node, op.constant(column))
    for follower in followers:
        follower.replace_source_output(shifted.output(0))


def greedily_rounded(W: NDArray[np.float32], X: NDArray[np.float32]) -> NDArray[np.float32]:
    """Weights as bfloat16 holds them, whose errors on some inputs cancel.

    Args:
        W: Of each group of a convolution, a row for each output, float32 (groups, m, n).
        X: Inputs of each group, float32 (groups, k, n).

    Returns:
        float32 (groups, m, n): W @ X.T changes less than with each weight rounded to its nearest value.
    """
    order = np.argsort(-np.einsum("gkn,gkn->n", X, X), kind="stable")  # what counts most first, others make up for it
    weights = np.ascontiguousarray(W.transpose(2, 0, 1)[order])  # (n, groups, m)
    inputs = np.ascontiguousarray(X.transpose(0, 2, 1)[:, order])  # (groups, n, k)
    errors = np.zeros((len(W), X.shape[1], W.shape[1]), np.float32)  # of the outputs so far, (groups, k, m)
    rounded = np.empty_like(weights)
    for first in range(0, len(order), _BLOCK):
        block, own = slice(first, first + _BLOCK), inputs[:, first : first + _BLOCK]
        rounded[block] = _rounded_block(weights[block], own, own @ errors)
        errors += own.transpose(0, 2, 1) @ (weights[block] - rounded[block]).transpose(1, 0, 2)
    result = np.empty_like(W)
    result[:, :, order] = rounded.transpose(1, 2, 0)
    return result


def _rounded_block(
    weights: NDArray[np.float32], inputs: NDArray[np.float32], owed: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Some of the weights of each output, rounded one after the other.

    Args:
        weights: float32 (b, groups, m).
        inputs: What they are multiplied with, float32 (groups, b, k).
        owed: Products of the inputs with the errors so far, float32 (groups, b, m).
    """
    owed = np.ascontiguousarray(owed.transpose(1, 0, 2))
    products = np.ascontiguousarray((inputs @ inputs.transpose(0, 2, 1)).transpose(1, 2, 0))[..., np.newaxis]
    step = np.exp2(np.floor(np.log2(np.maximum(np.abs(weights), np.float32(1e-30)))) - 7)
    rounded = np.empty_like(weights)
    for place, (weight, limit) in enumerate(zip(weights, step, strict=True)):
        change = owed[place] / np.maximum(products[place, place], np.float32(1e-30))
        rounded[place] = nearest_bfloat16(weight + np.clip(change, -limit, limit))
        owed[place + 1 :] += products[place, place + 1 :] * (weight - rounded[place])
    return rounded


def nearest_bfloat16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The nearest values that bfloat16 holds, to even where two are as near."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    odd = (bits >> 16) & 1
    nearest: NDArray[np.float32] = ((bits + 0x7FFF + odd) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return nearest


def _convolutions(model: Any) -> list[Any]:
    """Those whose weights are constants, in the order of the network."""
    return [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in ("Convolution", "GroupConvolution")
        and node.input_value(1).get_node().get_type_name() == "Constant"
    ]


class _Seen:
    """What a convolution sees, group by group: some places and the mean of each page.

    Rounding asks for the inner products of the inputs alone, so where these are fewer numbers, they are summed up.
    """

    def __init__(self, node: Any, pages: int) -> None:
        shape = list(node.input_value(1).get_shape())
        self._kernel = shape[-2:]
        self._groups = shape[0] if node.get_type_name() == "GroupConvolution" else 1
        self._width = int(np.prod(shape[-3:]))
        summed = self._width < pages * (1 + _PLACES)
        self._products = np.zeros((self._groups, self._width, self._width)) if summed else None
        self._rows: list[NDArray[np.float32]] = []
        self._means: list[NDArray[np.float32]] = []

    def add(self, values: NDArray[np.float32], random: np.random.Generator) -> None:
        """Takes in the map (channels, H, W) of a page."""
        X = _patches(values, self._kernel, random).reshape(1 + _PLACES, self._groups, self._width).transpose(1, 0, 2)
        self._means.append(X[:, 0] / _MEANS)
        if self._products is None:
            self._rows.append(X)
        else:
            self._products += X.transpose(0, 2, 1) @ X

    def inputs(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Rows with the inner products of all that was seen, float32 (groups, k, width); its mean, (groups, width)."""
        mean: NDArray[np.float32] = np.mean(self._means, axis=0)
        if self._products is None:
            return np.concatenate(self._rows, axis=1), mean
        values, vectors = np.linalg.eigh(self._products)
        factor: NDArray[np.float32] = np.sqrt(np.maximum(values, 0))[:, :, None] * vectors.transpose(0, 2, 1)
        return factor.astype(np.float32), mean


def _inputs(
    model: Any, pages: Sequence[NDArray[np.uint8]]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """What each convolution sees of the pages, as `_Seen.inputs` gives it."""
    openvino, copy = load_openvino(), model.clone()
    convolutions = _convolutions(copy)
    seen = [_Seen(node, len(pages)) for node in convolutions]
    results = [openvino.opset13.result(node.input_value(0)) for node in convolutions]
    watched = openvino.Model(results, copy.get_parameters())
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    request = openvino_core().compile_model(watched, "CPU", settings).create_infer_request()
    random = np.random.default_rng(0)
    for page in pages:
        maps = request.infer([page[None]])
        for number, one in enumerate(seen):
            one.add(maps[number][0], random)
    return (one.inputs() for one in seen)


def _patches(values: NDArray[np.float32], kernel: Sequence[int], random: np.random.Generator) -> NDArray[np.float32]:
    """The mean of a map (channels, H, W) and places with their surroundings; (1 + _PLACES, channels, rows, columns)."""
    rows, columns = kernel
    padded = np.pad(values, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2)))
    found = np.empty((1 + _PLACES, len(values), rows, columns), np.float32)
    found[0] = _MEANS * values.mean(axis=(1, 2))[:, None, None]
    for place in found[1:]:
        top, left = (random.integers(0, n - k + 1) for n, k in zip(padded.shape[1:], kernel, strict=True))
        place[:] = padded[:, top : top + rows, left : left + columns]
    return found
