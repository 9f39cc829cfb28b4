"""The table of backbones for people: what each network is, and which weights are here; nothing is computed for it."""

import functools
import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from embedpipe.backbones.building import BACKBONES, BackboneSource, default_recipe, find_backbone, remove_classifier
from embedpipe.backbones.layers import LAYERS, PENULTIMATE, FeatureNetwork, Stage
from embedpipe.backbones.names import PRESETS, is_list, members
from embedpipe.backbones.onnx.networks import OnnxNetwork
from embedpipe.backbones.weight_files import WeightsFile, export
from embedpipe.core.errors import WeightsError
from embedpipe.core.files import sha256_of

_BYTES_PER_WEIGHT = 4
NAMES = tuple(BACKBONES)
"""Of the table, in its order."""

COLUMNS = ("name", "features", "penultimate", "pixels", "weights", "download", "here", "licence", "network")
"""Headings of the listing."""


PRESET_COLUMNS = ("preset", "stands for", "features", "here")
"""Headings of the listing of presets."""


def presets() -> list[dict[str, Any]]:
    """What is known of each preset: the networks that it stands for, and whether all of them are here."""
    return [describe(name) for name in PRESETS]


def preset_cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of `presets` for the listing, under `PRESET_COLUMNS`."""
    return row["name"], row["members"], f"{row['dim']}", "yes" if row["here"] else "no"


def cells(row: dict[str, Any]) -> tuple[str, ...]:
    """A row of `describe` for the listing, under `COLUMNS`."""
    return (
        row["name"],
        f"{row['dim']}",
        f"{row['penultimate']}",
        f"{row['input_size']}",
        f"{row['parameters'] / 1e6:.1f} M",
        f"{row['download_bytes'] / 1e6:.0f} MB" if row["download_bytes"] else "none",
        "yes" if row["here"] else "no",
        row["licence"],
        row["description"],
    )


def describe(name: str) -> dict[str, Any]:
    """What is known of a backbone: widths, sizes in pixels, weights, licence, bytes to download, and what is here.

    Raises:
        UnknownNameError: There is no such backbone.
    """
    if is_list(name):
        return _describe_list(name)
    source = find_backbone(name)
    preprocessing = source.preprocessing()
    recipe = default_recipe(preprocessing)
    blocks, parameters, bytes_ = _recorded(source.onnx) if source.onnx else _planned(name)
    penultimate = blocks[0][2]
    default = blocks if recipe.layers == PENULTIMATE else blocks[1:]
    return {
        "name": name,
        "dim": sum(stop - start for _, start, stop in default),
        "penultimate": penultimate,
        "layers": recipe.layers,
        "blocks": [block for block, _, _ in default],
        "input_size": recipe.size,
        "trained_size": preprocessing.input_size,
        "fixed_size": preprocessing.fixed_size,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "interpolation": preprocessing.interpolation,
        "parameters": parameters,
        "licence": source.licence,
        "here": source.is_here(),
        **_published(source, bytes_),
        "description": source.description,
    }


def _describe_list(name: str) -> dict[str, Any]:
    """As `describe`, of several networks: sums of what adds up, and what each of them is under `networks`."""
    rows = [describe(member) for member in members(name)]
    sums = {key: sum(row[key] for row in rows) for key in ("dim", "penultimate", "parameters", "download_bytes")}
    return {
        "name": name,
        "members": "+".join(row["name"] for row in rows),
        **sums,
        "blocks": [f"{row['name']}/{block}" for row in rows for block in row["blocks"]],
        "input_size": max(row["input_size"] for row in rows),
        "licence": ", ".join(dict.fromkeys(row["licence"] for row in rows)),
        "here": all(row["here"] for row in rows),
        "description": f"{len(rows)} networks",
        "networks": rows,
    }


def _recorded(known: OnnxNetwork) -> tuple[tuple[tuple[str, int, int], ...], int, int]:
    """As `_planned`, of a network whose file need not be here."""
    stages = [Stage(*stage) for stage in known.stages]
    named = [(PENULTIMATE, stages[-1].channels)]
    named += [(f"{stage}_{key}", stage.channels) for stage in stages for key in LAYERS["stages"].poolings]
    named += [("layout", len(known.layout.types))] if known.layout else []
    starts = [0, *itertools.accumulate(width for _, width in named)]
    blocks = [(name, start, start + width) for (name, width), start in zip(named, starts, strict=False)]
    return tuple(blocks), known.parameters, _BYTES_PER_WEIGHT * known.parameters


@functools.cache
def _planned(name: str) -> tuple[tuple[tuple[str, int, int], ...], int, int]:
    """Blocks, weights and bytes of a network, planned on torch's `meta` device: tensors have shapes and no values."""
    source = find_backbone(name)
    preprocessing = source.preprocessing()
    both = PENULTIMATE if default_recipe(preprocessing).layers == PENULTIMATE else "penultimate+stages"
    with torch.device("meta"):
        network = source.build().eval()
        parameters = sum(parameter.numel() for parameter in network.parameters())
        bytes_ = _BYTES_PER_WEIGHT * sum(tensor.numel() for tensor in network.state_dict().values())
        remove_classifier(network)
        blocks = FeatureNetwork(network, preprocessing.mean, preprocessing.std, both).blocks
    return tuple(blocks), parameters, bytes_


def _published(source: BackboneSource, expected: int) -> dict[str, Any]:
    """Where the weights are, and the bytes of the file: as it is here, else as recorded, else as the tensors need."""
    if source.file is None:
        return {"url": "", "file": "", "sha256": "", "download_bytes": 0}
    found = source.file.find()
    size = os.path.getsize(found) if found else source.download_bytes or expected
    return {
        "url": source.file.url,
        "file": str(found or source.file.cached),
        "sha256": source.file.sha256,
        "download_bytes": size,
    }


def fetch_weights(name: str) -> list[dict[str, Any]]:
    """Downloads a backbone's weights, unless they are here, and checks them; returns where they are.

    Args:
        name: A backbone, or a list or preset, of which those of each network are fetched.

    Raises:
        UnknownNameError: There is no such backbone.
        WeightsError: It has no public weights, or they are not to be had, or are damaged.
    """
    found = []
    for member in members(name):
        try:
            file = _file(member).download()
        except WeightsError as error:
            raise WeightsError(f"{member}: {error}") from error
        found.append({"name": member, "file": str(file), "bytes": os.path.getsize(file), "sha256": sha256_of(file)})
    return found


def export_weights(names: Iterable[str], folder: Path, *, force: bool = False) -> list[dict[str, Any]]:
    """Packs weights that are here for a machine without network, where the folder serves as `TORCH_HOME`.

    Args:
        names: Backbones; none for all of the table whose weights are here.
        folder: Where to; what it already holds stays.
        force: Replace files of the same name and other content.

    Returns:
        Name, bytes, SHA-256 and file of each.

    Raises:
        UnknownNameError: There is no such backbone.
        WeightsError: Weights that were asked for by name are not here.
        ArtifactError: The folder cannot be written, or holds another file of such a name.
    """
    chosen = list(dict.fromkeys(member for name in names for member in members(name))) or [
        name for name in BACKBONES if find_backbone(name).is_here()
    ]
    files = []
    for name in chosen:
        file = _file(name)
        if file.find() is None:
            raise WeightsError(f"{name}: the weights are not here: get them with `backbones --download {name}` first")
        files.append(file)
    rows = export(files, folder, force=force)
    return [
        {"name": name, "bytes": size, "sha256": digest, "file": str(file)}
        for name, (file, digest, size) in zip(chosen, rows, strict=True)
    ]


def _file(name: str) -> WeightsFile:
    source = find_backbone(name)
    if source.file is None:
        source.fetch()  # says why there is none
        raise WeightsError("there are no published weights")
    return source.file
