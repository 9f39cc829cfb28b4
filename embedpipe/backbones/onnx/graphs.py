"""Networks that come as ONNX graphs: where their stages end, and one OpenVINO model from uint8 pages to features."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.backbones.engines import load_openvino
from embedpipe.backbones.layers import LAYERS, PENULTIMATE, Stage
from embedpipe.backbones.onnx.layouts import DISTANCES, Layout
from embedpipe.backbones.onnx.networks import OnnxNetwork, of_pages, read_onnx
from embedpipe.core.errors import EmbedpipeError, UnknownNameError

_PROBE_SIZE = 256
_MAP_DIMENSIONS = 4
_PLACES = [2, 3]
"""Axes of a map (n, channels, rows, columns) over which it is pooled."""


class GraphNetwork:
    """An ONNX network, from uint8 pages to features, as one OpenVINO model for any batch and shape.

    Its blocks are those of a torch network of the same layers: each stage's map pooled. Of a detector of regions, the
    shares of the page that each type of region covers are one more block, `layout`.

    Args:
        file: The .onnx file.
        known: What is known of it.
        layers: Key in `LAYERS`.

    Attributes:
        blocks: Where each layer's features lie, as (name, start, stop).
        layout: Of the network, where the set of layers keeps what it detects; else None.

    Raises:
        UnknownNameError: There is no such set of layers.
        WeightsError: The file is not a network that OpenVINO reads.
        EmbedpipeError: It has no maps to pool.
    """

    def __init__(self, file: Path, known: OnnxNetwork, layers: str) -> None:
        if layers not in LAYERS:
            raise UnknownNameError("set of layers", layers, LAYERS)
        self._known, self._network = known, read_onnx(file)
        stages, own = find_graph_stages(self._network), LAYERS[layers]
        kept = [stage for stage in stages if stage.stride >= own.first_stride]
        if not kept:
            raise EmbedpipeError(f"{file} has no feature maps to pool")
        self.layout = known.layout if own.poolings else None
        self._pooled = [("avg", stages[kept[-1]])] if own.penultimate else []
        self._pooled += [(key, stages[stage]) for stage in kept for key in own.poolings]
        named = [(PENULTIMATE, kept[-1].channels)] if own.penultimate else []
        named += [(f"{stage}_{key}", stage.channels) for stage in kept for key in own.poolings]
        named += [("layout", len(self.layout.types))] if self.layout else []
        self.blocks: list[tuple[str, int, int]] = []
        for name, width in named:
            start = self.blocks[-1][2] if self.blocks else 0
            self.blocks.append((name, start, start + width))

    @staticmethod
    def example() -> NDArray[np.uint8]:
        """Two white pages of a size that every network takes, uint8 (2, H, W, 3)."""
        return np.full((2, _PROBE_SIZE, _PROBE_SIZE, 3), 255, np.uint8)

    def model(self) -> Any:
        """The OpenVINO model: uint8 (n, H, W, 3) to float32 (n, width), with what `layout` reads at the end."""
        op, network = load_openvino().opset13, self._network.clone()
        _fit_enlarged(op, network)
        places = {node.get_friendly_name(): node for node in network.get_ordered_ops()}
        outputs = [POOLINGS[key](op, places[place].output(0)) for key, place in self._pooled]
        if self.layout:
            outputs += _raw_regions(op, network, self.layout)
        return of_pages(network, self._known, outputs[0] if len(outputs) == 1 else op.concat(outputs, 1))


def _average(op: Any, maps: Any) -> Any:
    return op.reduce_mean(maps, np.array(_PLACES), keep_dims=False)


def _std(op: Any, maps: Any) -> Any:
    centred = op.subtract(maps, op.reduce_mean(maps, np.array(_PLACES), keep_dims=True))
    return op.sqrt(op.reduce_mean(op.multiply(centred, centred), np.array(_PLACES), keep_dims=False))


def _maximum(op: Any, maps: Any) -> Any:
    return op.reduce_max(maps, np.array(_PLACES), keep_dims=False)


POOLINGS: Mapping[str, Callable[[Any, Any], Any]] = {"avg": _average, "std": _std, "max": _maximum}
"""As `layers.POOLINGS`, in OpenVINO's operations."""


def _raw_regions(op: Any, network: Any, layout: Layout) -> list[Any]:
    """Scores and distances of each place of a detector, a row (n, (types + 4) * places) for each stride."""
    maps = [_map_before(output) for output in network.outputs]
    scores, distances = maps[: len(layout.strides)], maps[len(layout.strides) :]
    rows = []
    for score, distance in zip(scores, distances, strict=True):
        bins = distance.get_partial_shape()[1].get_length() // DISTANCES
        split = op.softmax(op.reshape(distance, np.array([0, DISTANCES, bins, -1]), special_zero=True), 2)
        far = op.constant(np.arange(bins, dtype=np.float32).reshape(1, 1, bins, 1))
        expected = op.reduce_sum(op.multiply(split, far), np.array([2]), keep_dims=False)
        flat = op.reshape(score, np.array([0, len(layout.types), -1]), special_zero=True)
        rows.append(op.reshape(op.concat([flat, expected], 1), np.array([0, -1]), special_zero=True))
    return rows


def _fit_enlarged(op: Any, network: Any) -> None:
    """Cuts maps that were doubled to the size of those they are joined with: of odd sizes they are one too large."""
    corner, step, axes = (np.array(values) for values in ([0, 0], [1, 1], _PLACES))
    for node in network.get_ordered_ops():
        followers = list(node.output(0).get_target_inputs()) if node.get_type_name() == "Interpolate" else []
        for follower in followers:
            joined = follower.get_node()
            if joined.get_type_name() not in ("Concat", "Add"):
                continue
            partner = next(value for value in joined.input_values() if value.get_node() != node)
            size = op.gather(op.shape_of(partner), np.array(_PLACES), np.array(0))
            follower.replace_source_output(op.slice(node, corner, size, step, axes).output(0))


def _map_before(output: Any) -> Any:
    """The map that an output of a network was made of by changing its shape alone."""
    while len(output.get_partial_shape()) != _MAP_DIMENSIONS:
        output = output.get_node().input_value(0)
    return output


def find_graph_stages(network: Any) -> dict[Stage, str]:
    """Where a network's stages end, found from the shapes of its maps.

    Only the way down counts: maps that come after one that was enlarged belong to a neck or a head. Of the maps of one
    stride, a stage ends with the last one that whatever is deeper depends on, so the inside of a block that has a
    shortcut is no end of a stage; and with the last of the most channels, so neither is what only hands a map on with
    fewer channels. Strides from which on there are fewer channels are a neck's.

    Args:
        network: An OpenVINO model with one picture (n, 3, H, W) as its input.

    Returns:
        The names of the operations by stage, in the order of the network.
    """
    probe = network.clone()
    probe.reshape([1, 3, _PROBE_SIZE, _PROBE_SIZE])
    maps, dominators = _way_down(probe)
    deepest = max((stage.stride for stage in maps.values()), default=0)
    last = [name for name, stage in maps.items() if stage.stride == deepest][-1:]
    ends: dict[int, str] = {}
    for name, stage in maps.items():
        if not last or name not in dominators[last[0]]:
            continue
        if stage.stride not in ends or stage.channels >= maps[ends[stage.stride]].channels:
            ends[stage.stride] = name
    found: dict[Stage, str] = {}
    for name in ends.values():
        if found and maps[name].channels < [*found][-1].channels:
            break
        found[maps[name]] = name
    return found


def _way_down(probe: Any) -> tuple[dict[str, Stage], dict[str, frozenset[str]]]:
    """Maps that were never enlarged on their way, by operation in order, and what each operation depends on alone."""
    maps: dict[str, Stage] = {}
    heights: dict[str, int] = {}
    enlarged: set[str] = set()
    dominators: dict[str, frozenset[str]] = {}
    for node in probe.get_ordered_ops():
        name = node.get_friendly_name()
        before = [value.get_node().get_friendly_name() for value in node.input_values()]
        before = [other for other in before if other in dominators]
        if node.get_type_name() == "Parameter":
            dominators[name] = frozenset([name])
            heights[name] = _PROBE_SIZE
            continue
        if not before:
            continue  # constants, and what is made of them alone
        dominators[name] = reduce(frozenset.intersection, (dominators[other] for other in before)) | {name}
        shape = _map_shape(node)
        if shape is None:
            enlarged.update([name] if enlarged.intersection(before) else [])
            continue
        heights[name] = shape[2]
        grown = any(other in heights and shape[2] > heights[other] > 1 for other in before)
        if grown or enlarged.intersection(before):
            enlarged.add(name)
        elif min(shape[2:]) > 1:
            maps[name] = Stage(_PROBE_SIZE // shape[2], shape[1])
    return maps, dominators


def _map_shape(node: Any) -> Sequence[int] | None:
    """Shape of what an operation gives, where it is one map."""
    if node.get_output_size() != 1 or not node.output(0).get_partial_shape().is_static:
        return None
    shape = list(node.output(0).get_shape())
    return shape if len(shape) == _MAP_DIMENSIONS and node.get_type_name() != "Result" else None
