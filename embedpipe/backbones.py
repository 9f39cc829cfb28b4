"""Pretrained networks up to the penultimate layer, each with the preprocessing that belongs to its weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedpipe.engines import Backbone, EngineChoice
from embedpipe.layers import FeatureNetwork
from embedpipe.records import DEFAULT_BACKBONE, Identity, Recipe
from embedpipe.sources import BACKBONES, PREFIXES, BackboneSource, Preprocessing, find_backbone
from embedpipe.starting import start_engine
from embedpipe.weights import NO_WEIGHTS, download, load_into, read_state_dict, tensors_sha256

__all__ = [
    "BACKBONES",
    "DEFAULT_BACKBONE",
    "PREFIXES",
    "Backbone",
    "BackboneSource",
    "Preprocessing",
    "classifier_layer",
    "default_recipe",
    "find_backbone",
    "list_backbones",
    "load_backbone",
    "load_network",
    "remove_classifier",
]


def classifier_layer(network: nn.Module) -> str:
    """Name of the output layer, or "" for a network that ends with its features."""
    config = getattr(network, "pretrained_cfg", None)
    if config is not None:  # timm says which it is
        name = config.get("classifier")
        name = name[0] if isinstance(name, tuple | list) else name  # distilled networks have two
        return str(name) if isinstance(name, str) and getattr(network, "num_classes", None) else ""
    linear: list[str] = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    return linear[-1]


def remove_classifier(network: nn.Module) -> None:
    """Lets a network end with its penultimate layer."""
    reset = getattr(network, "reset_classifier", None)
    if callable(reset):  # timm
        reset(0)
    elif head := classifier_layer(network):
        network.set_submodule(head, nn.Identity())


def default_recipe(preprocessing: Preprocessing) -> Recipe:
    """The measured default, or the only size that a network of fixed size takes."""
    if preprocessing.fixed_size:
        return Recipe(size=preprocessing.input_size, resize="squash", layers="penultimate")
    return Recipe()


def load_backbone(
    name: str = DEFAULT_BACKBONE,
    *,
    weights: str | None = None,
    recipe: Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    choice: EngineChoice | None = None,
) -> Backbone:
    """Builds a network, loads its weights and starts it on a device.

    Args:
        name: A name in `BACKBONES`, or `timm:NAME`.
        weights: A .pth or .safetensors file; "none" for random weights; None for the name's own pretrained ones.
        recipe: Rendering and layers; None for the default of the backbone.
        changes: Fields of the default recipe to replace.
        choice: Device, precision and engine; None for the fastest correct ones.

    Raises:
        UnknownNameError: There is no such backbone or set of layers.
        WeightsError: The weights are missing or do not fit.
    """
    source = find_backbone(name)
    preprocessing = source.preprocessing()
    recipe = recipe or replace(default_recipe(preprocessing), **(changes or {}))
    network = load_network(name, weights)
    weights_sha256 = tensors_sha256(network)
    features = FeatureNetwork(network, preprocessing.mean, preprocessing.std, recipe.layers)
    blocks = tuple(block for block, _, _ in features.blocks)
    identity = Identity(name, weights_sha256, recipe, blocks, _scaling(preprocessing.interpolation))
    return Backbone(identity, features.blocks, start_engine(features, choice or EngineChoice()))


def _scaling(interpolation: str) -> str:
    return interpolation if interpolation in ("bicubic", "bilinear") else "bicubic"


def load_network(name: str, weights: str | None) -> nn.Module:
    """A frozen torch network up to its penultimate layer, with weights as `load_backbone` takes them."""
    source = find_backbone(name)
    network = _with_weights(source, name, weights)
    remove_classifier(network)
    return network.eval().requires_grad_(False)


def _with_weights(source: BackboneSource, name: str, weights: str | None) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # random weights, where they are asked for, are the same every time
        network = source.build()
    if weights == NO_WEIGHTS:
        return network
    if weights is not None:
        state, origin = read_state_dict(Path(weights)), weights
    else:
        state, origin = download(source.fetch, name, source.url), f"the weights of {name}"
    load_into(network, state, origin, classifier_layer(network))
    return network


def list_backbones() -> list[dict[str, Any]]:
    """The table for people: width of the default features and of the penultimate layer, read from the networks."""
    rows = []
    for name, entry in BACKBONES.items():
        source = entry()
        preprocessing = source.preprocessing()
        with torch.random.fork_rng(devices=[]):
            network = source.build()
        parameters = sum(parameter.numel() for parameter in network.parameters())
        remove_classifier(network)
        recipe = default_recipe(preprocessing)
        layers = "penultimate" if preprocessing.fixed_size else "penultimate+stages"
        both = FeatureNetwork(network.eval(), preprocessing.mean, preprocessing.std, layers)
        penultimate = both.blocks[0][2]
        rows.append(
            {
                "name": name,
                "dim": both.dim - penultimate if recipe.layers == "stages" else penultimate,
                "penultimate": penultimate,
                "input_size": recipe.size,
                "parameters": parameters,
                "here": source.is_here(),
                "licence": source.licence,
                "url": source.url,
                "description": source.description,
            }
        )
    return rows
