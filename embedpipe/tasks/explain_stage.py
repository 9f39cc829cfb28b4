"""What the stages of a network make of a page: its feature maps, for people who want to see how it works."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from embedpipe.backbones.building import default_recipe, load_network
from embedpipe.backbones.layers import Stage, find_stages
from embedpipe.backbones.registry import Preprocessing, find_backbone
from embedpipe.core.errors import EmbedpipeError, UnknownNameError
from embedpipe.core.records import PageImage
from embedpipe.drawing.heatmaps import MapSheet, draw_maps
from embedpipe.embedding.streaming import Settings, render_page
from embedpipe.tasks.similar import identify_query, parse_query


@dataclass(frozen=True, slots=True)
class StageMaps:
    """The feature maps of one stage for one page.

    Attributes:
        stage: Which one.
        stages: All that the network has, in its order.
        maps: float32 (channels, rows, columns).
        page: The page as the network saw it.
    """

    stage: Stage
    stages: tuple[Stage, ...]
    maps: NDArray[np.float32]
    page: PageImage

    @property
    def order(self) -> NDArray[np.int64]:
        """Channels by how much they vary over the page, the most first."""
        order: NDArray[np.int64] = np.argsort(-self.maps.std(axis=(1, 2)), kind="stable")
        return order


def stage_maps(
    query: str, stage: str, name: str, weights: str | None = None, settings: Settings | None = None
) -> StageMaps:
    """Sends a page through a network and keeps the maps of one stage.

    Args:
        query: `FILE#page=N`.
        stage: `strideSxCHANNELS`, or `strideS` for the last stage of that stride.
        name: Of the backbone.
        weights: As `load_network` takes them.
        settings: How the document is read.

    Raises:
        UnknownNameError: The network has no such stage; the message lists those that it has.
        EmbedpipeError: It has no feature maps at all.
        DocumentError: The page cannot be read.
    """
    preprocessing = find_backbone(name).preprocessing()
    network = load_network(name, weights)
    stages = find_stages(network)
    if not stages:
        raise EmbedpipeError(f"{name} has no feature maps to show: it does not keep the places of the page")
    known = [known for known in stages if stage in (str(known), f"stride{known.stride}")]
    if not known:
        raise UnknownNameError("stage", stage, [str(known) for known in stages])
    path, index = parse_query(query)
    recipe = default_recipe(preprocessing)
    settings = settings or Settings()
    page = render_page(identify_query(path, settings.limits), index, recipe, preprocessing.interpolation, settings)
    maps = run_to(network, stages[known[-1]], preprocessing, page.pixels)
    return StageMaps(known[-1], tuple(stages), maps, page)


def run_to(
    network: nn.Module, module: nn.Module, preprocessing: Preprocessing, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """What a module of a network gives for one page uint8 (H, W, 3): float32 (channels, rows, columns)."""
    kept: list[Tensor] = []
    hook = module.register_forward_hook(lambda _module, _inputs, output: kept.append(output))
    images = torch.from_numpy(np.ascontiguousarray(pixels)).permute(2, 0, 1)[None].float()
    mean, std = (255 * torch.tensor(values).view(1, 3, 1, 1) for values in (preprocessing.mean, preprocessing.std))
    with torch.inference_mode():
        network((images - mean) / std)
    hook.remove()
    maps: NDArray[np.float32] = kept[0][0].float().numpy()
    return maps


def as_json(found: StageMaps, most: int) -> dict[str, Any]:
    """As the command line prints it."""
    channels, rows, columns = found.maps.shape
    ref = found.page.info.ref
    return {
        "page": {"path": ref.source, "page": ref.page_number},
        "stage": str(found.stage),
        "stages": [str(stage) for stage in found.stages],
        "channels": channels,
        "rows": rows,
        "columns": columns,
        "maps": [
            {"channel": int(c), "mean": float(found.maps[c].mean()), "std": float(found.maps[c].std())}
            for c in found.order[:most]
        ],
    }


def draw(found: StageMaps, most: int, name: str, file: Path) -> str:
    """Draws the page and the maps that vary most over it, as a PNG.

    Args:
        found: Of `stage_maps`.
        most: How many maps at most.
        name: Of the backbone.
        file: The PNG.

    Returns:
        What is drawn, in one line.

    Raises:
        ArtifactError: The file cannot be written.
    """
    channels, rows, columns = found.maps.shape
    shown = found.order[:most]
    ref, stride = found.page.info.ref, found.stage.stride
    heading = (
        f"{found.stage}: the {len(shown)} of {channels} maps that vary most over the page; {columns} × {rows} elements "
        f"of {stride} × {stride} pixels; dark is a map's least, bright its most"
    )
    names = [f"channel {channel}" for channel in shown]
    title = f"{os.path.basename(ref.source)} p. {ref.page_number} through {name}"
    draw_maps(MapSheet(found.page.pixels, found.maps[shown], names, title, heading), file)
    return heading
