"""Which outputs of a network are kept: the penultimate layer, pooled maps of earlier stages, or both."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from embedpipe.core.errors import EmbedpipeError, UnknownNameError

PENULTIMATE, STAGES = "penultimate", "stages"
_PROBE_SIZE = 128
_MAP_DIMENSIONS, _TOKEN_DIMENSIONS = 4, 3


@dataclass(frozen=True, slots=True)
class LayerSet:
    """Which outputs make the features.

    Attributes:
        penultimate: Whether the penultimate layer is kept.
        poolings: Keys in `POOLINGS`: how the maps of the stages are reduced.
        first_stride: Stages of lower strides, which see edges and lines only, are left out.
    """

    penultimate: bool
    poolings: tuple[str, ...] = ()
    first_stride: int = 8


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of a network: `stride` is the pixels of the page per element of its map, `channels` the map's depth."""

    stride: int
    channels: int

    def __str__(self) -> str:
        """As in the names of blocks."""
        return f"stride{self.stride}x{self.channels}"


def _std(maps: Tensor) -> Tensor:
    # in float32 and from the centred values: squares of half precision overflow and cancel
    maps = maps.float()
    centred = maps - maps.mean((2, 3), keepdim=True)
    return (centred * centred).mean((2, 3)).sqrt()


POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "avg": lambda maps: maps.float().mean((2, 3)),
    "max": lambda maps: maps.amax((2, 3)),
    "std": _std,
}
"""Reductions of a map (n, channels, rows, columns) to (n, channels)."""

LAYERS: dict[str, LayerSet] = {
    PENULTIMATE: LayerSet(penultimate=True),
    STAGES: LayerSet(penultimate=False, poolings=("avg", "std")),
    "penultimate+stages": LayerSet(penultimate=True, poolings=("avg", "std")),
}
"""Sets of layers by name. The default is the best that was measured on documents, see docs/quality.md."""


class FeatureNetwork(nn.Module):
    """A network without its classifier, from uint8 pages to features, in one module that every engine can run.

    Args:
        network: Frozen, in eval mode, ending with its penultimate layer.
        mean: Per channel, on a 0..1 scale.
        std: Likewise.
        layers: Key in `LAYERS`.

    Attributes:
        blocks: Where each layer's features lie, as (name, start, stop).
        dim: Their total width.

    Raises:
        UnknownNameError: There is no such set of layers.
        EmbedpipeError: The network has no feature map of a resolution that the set needs.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, mean: tuple[float, float, float], std: tuple[float, float, float], layers: str
    ) -> None:
        super().__init__()
        if layers not in LAYERS:
            raise UnknownNameError("set of layers", layers, LAYERS)
        self.network = network
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", 255 * torch.tensor(std).view(1, 3, 1, 1))
        self._maps: dict[Stage, Tensor] = {}
        self._layers = LAYERS[layers]
        self._poolings = [(stage, key) for stage in self._watch() for key in self._layers.poolings]
        widths = self._probe()
        self.blocks: list[tuple[str, int, int]] = []
        for name, width in widths:
            start = self.blocks[-1][2] if self.blocks else 0
            self.blocks.append((name, start, start + width))
        self.dim = self.blocks[-1][2]

    def forward(self, pixels: Tensor) -> Tensor:
        """Features of pages: uint8 (n, H, W, 3) to float32 (n, dim)."""
        return torch.cat(self._outputs(pixels), dim=1)

    def example(self) -> Tensor:
        """Two white pages of a size that the network takes, uint8 (2, H, W, 3)."""
        size = _probe_size(self.network)
        return torch.full((2, size, size, 3), 255, dtype=torch.uint8)

    def _outputs(self, pixels: Tensor) -> list[Tensor]:
        self._maps.clear()
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        penultimate = pooled(self.network(images), self.network)
        outputs = [penultimate] if self._layers.penultimate else []
        outputs += [POOLINGS[key](self._maps[stage]).float() for stage, key in self._poolings]
        self._maps.clear()
        return outputs

    def _watch(self) -> list[Stage]:
        """Keeps the maps of the stages on the way through the network."""
        if not self._layers.poolings:
            return []
        stages = {s: m for s, m in find_stages(self.network).items() if s.stride >= self._layers.first_stride}
        if not stages:
            raise EmbedpipeError("this network has no feature maps to pool: use --layers penultimate")
        for stage, module in stages.items():
            module.register_forward_hook(self._keeper(stage))
        return list(stages)

    def _keeper(self, stage: Stage) -> Callable[[nn.Module, object, Tensor], None]:
        def keep(_module: nn.Module, _inputs: object, output: Tensor) -> None:
            channels_last = output.shape[1] != stage.channels
            self._maps[stage] = output.permute(0, 3, 1, 2) if channels_last else output

        return keep

    def _probe(self) -> list[tuple[str, int]]:
        with torch.inference_mode():
            outputs = self._outputs(self.example())
        names = [PENULTIMATE] * self._layers.penultimate + [f"{stage}_{key}" for stage, key in self._poolings]
        return [(name, output.shape[1]) for name, output in zip(names, outputs, strict=True)]


def pooled(output: Tensor, network: nn.Module) -> Tensor:
    """What a network ends with as one row a page: maps and tokens are averaged over their places.

    Args:
        output: (n, width), tokens (n, places, width), or maps with their channels first or last.
        network: timm's say how wide their output is, which distinguishes the channels of a map from its places.

    Returns:
        float32 (n, width).
    """
    if output.ndim <= 2:  # noqa: PLR2004 - rows already
        return output.flatten(1).float()
    width = getattr(network, "head_hidden_size", None) or getattr(network, "num_features", None)
    first = output.ndim == _MAP_DIMENSIONS and (output.shape[1] == width or output.shape[-1] != width)
    places = tuple(range(2, output.ndim)) if first else tuple(range(1, output.ndim - 1))
    return output.float().mean(places)


def find_stages(network: nn.Module) -> dict[Stage, nn.Module]:
    """The modules that end a network's stages, found by sending one picture through it.

    A stage ends with the last map of a stride and depth. Only the network's own parts and the members of its
    sequences count, not the inside of a block, where channels are widened for a moment. A map as deep as the
    penultimate layer is wide is that layer before its pooling; it counts only where its stride has no other. Neither
    do maps count that were pooled to a fixed number of rows, nor those from which tokens are made. Channels may come
    first or last.

    Returns:
        The modules by stage, in the order of the network.
    """
    parts = dict(network.named_children())
    for name, module in list(parts.items()):
        if isinstance(module, nn.Sequential):
            parts.update({f"{name}.{child}": inner for child, inner in module.named_children()})
    last: dict[Stage, nn.Module] = {}
    size = _probe_size(network)

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        if not isinstance(output, Tensor):
            return
        if output.ndim == _TOKEN_DIMENSIONS:
            last.clear()  # the maps so far only made the tokens
        elif output.ndim == _MAP_DIMENSIONS:
            _, first, rows, columns = output.shape
            channels = first if rows == columns else columns if first == rows else 0
            if channels and rows > 1:
                last[Stage(2 ** round(math.log2(size / rows)), channels)] = module

    to_one_size = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
    hooks = [part.register_forward_hook(note) for part in parts.values() if not isinstance(part, to_one_size)]
    with torch.inference_mode():
        width = pooled(network(torch.zeros((1, 3, size, size))), network).shape[1]
    for hook in hooks:
        hook.remove()
    others = {stage.stride for stage in last if stage.channels != width}
    return {stage: module for stage, module in last.items() if stage.channels != width or stage.stride not in others}


def _probe_size(network: nn.Module) -> int:
    """A size that the network takes: small, or its own if it takes no other."""
    config = getattr(network, "pretrained_cfg", None) or {}
    if config.get("fixed_input_size"):
        return int(config["input_size"][-1])
    return int(getattr(network, "image_size", _PROBE_SIZE))  # torchvision's transformers have one
