"""Pretrained networks up to the penultimate layer, each with the preprocessing that belongs to its weights."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from embedpipe.backbones.engines import AUTO, Backbone, EngineChoice
from embedpipe.backbones.layers import PENULTIMATE, STAGES, FeatureNetwork
from embedpipe.backbones.names import NO_WEIGHTS
from embedpipe.backbones.onnx.graphs import GraphNetwork
from embedpipe.backbones.registry import BACKBONES, PREFIXES, BackboneSource, Preprocessing, find_backbone
from embedpipe.backbones.runtime import start_engine
from embedpipe.backbones.state_dicts import load_into, read_state_dict, tensors_sha256
from embedpipe.backbones.weight_files import check_sha256
from embedpipe.core.errors import UsageError, WeightsError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import DEFAULT_BACKBONE, Identity, Recipe

__all__ = [
    "BACKBONES",
    "DEFAULT_BACKBONE",
    "PREFIXES",
    "Backbone",
    "BackboneSource",
    "Preprocessing",
    "check_size",
    "classifier_layer",
    "classifier_layers",
    "default_recipe",
    "find_backbone",
    "load_backbone",
    "load_network",
    "remove_classifier",
]


def classifier_layers(network: nn.Module) -> tuple[str, ...]:
    """Names of the output layers: one, two in distilled networks, none where a network ends with its features."""
    config = getattr(network, "pretrained_cfg", None)
    if config is None:  # torchvision's and ours have one, which is the last
        return tuple([name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1:])
    names = config.get("classifier")  # timm says which
    if not names or not getattr(network, "num_classes", None):
        return ()
    return (names,) if isinstance(names, str) else tuple(names)


def classifier_layer(network: nn.Module) -> str:
    """Name of the output layer, the first if there are two, or "" for a network that ends with its features."""
    return next(iter(classifier_layers(network)), "")


def remove_classifier(network: nn.Module) -> None:
    """Lets a network end with its penultimate layer."""
    reset = getattr(network, "reset_classifier", None)
    if callable(reset):  # timm
        reset(0)
    elif head := classifier_layer(network):
        network.set_submodule(head, nn.Identity())


def default_recipe(preprocessing: Preprocessing, layers: str | None = None) -> Recipe:
    """The measured default, or the only size that a network of fixed size takes.

    Args:
        preprocessing: Of the backbone.
        layers: The set of layers, if it is settled already.
    """
    free = preprocessing.stages_of_any_size and layers == STAGES
    if preprocessing.fixed_size and not free:
        return Recipe(size=preprocessing.input_size, resize="squash", layers=layers or PENULTIMATE)
    return Recipe(preprocessing.page_size, layers=layers or STAGES, shortest=preprocessing.shortest_side)


def check_size(name: str, preprocessing: Preprocessing, recipe: Recipe) -> None:
    """Raises EmbedpipeError for a recipe whose pages have a size that the network does not take."""
    own = default_recipe(preprocessing, recipe.layers)
    if own.resize == "squash" and (recipe.size != own.size or recipe.resize == "aspect"):
        freer = f", or --layers {STAGES} for any size" if preprocessing.stages_of_any_size else ""
        raise UsageError(
            f"{name} takes pages of {own.size} x {own.size} pixels only: leave out --size, and take --resize squash "
            f"or crop{freer}"
        )
    if recipe.size < own.shortest:
        raise UsageError(f"{name} takes pages of {own.shortest} pixels and more: take a larger --size")


def load_backbone(
    name: str = DEFAULT_BACKBONE,
    *,
    weights: str | None = None,
    recipe: Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    choice: EngineChoice | None = None,
) -> Backbone:
    """Builds a network with torch and starts it, with the arguments and errors of `loading.load_backbone`.

    That looks for a kept network first: use it unless the network is known to be a new one.
    """
    source = find_backbone(name)
    preprocessing = source.preprocessing()
    changes = changes or {}
    recipe = recipe or replace(default_recipe(preprocessing, changes.get("layers")), **changes)
    check_size(name, preprocessing, recipe)
    choice = choice or EngineChoice()
    features, weights_sha256 = _graph(source, name, weights, recipe) if source.onnx else _module(name, weights, recipe)
    if isinstance(features, GraphNetwork):
        choice = for_onnx(name, choice)
    blocks = tuple(block for block, _, _ in features.blocks)
    identity = Identity(name, weights_sha256, recipe, blocks, _scaling(preprocessing.interpolation))
    return Backbone(identity, features.blocks, start_engine(features, recipe, choice))


def _module(name: str, weights: str | None, recipe: Recipe) -> tuple[FeatureNetwork, str]:
    """A network of torch up to its features, and the hash of its tensors."""
    network, preprocessing = load_network(name, weights), find_backbone(name).preprocessing()
    weights_sha256 = tensors_sha256(network)
    return FeatureNetwork(network, preprocessing.mean, preprocessing.std, recipe.layers), weights_sha256


def _graph(source: BackboneSource, name: str, weights: str | None, recipe: Recipe) -> tuple[GraphNetwork, str]:
    """An ONNX network up to its features, and the hash of its file."""
    if weights == NO_WEIGHTS:
        source.build()  # says why there are no random ones
    if source.onnx is None:
        raise UsageError(f"{name} is no ONNX network")
    try:
        file = Path(weights) if weights else source.onnx.file.fetch()
        check_sha256(file, "")
        return GraphNetwork(file, source.onnx, recipe.layers), sha256_of(file)
    except WeightsError as error:
        raise WeightsError(f"{name}: {error}") from error


def for_onnx(name: str, choice: EngineChoice) -> EngineChoice:
    """A choice for an ONNX network: OpenVINO runs it on the CPU, also where torch finds a GPU.

    Raises:
        UsageError: It is asked for elsewhere.
    """
    if choice.device not in (AUTO, "cpu") or choice.engine not in (AUTO, "openvino"):
        raise UsageError(f"{name} is an ONNX network, which OpenVINO runs on the CPU: leave out --device and --engine")
    return replace(choice, device="cpu", engine="openvino")


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
        try:
            state, origin = source.fetch(), f"the weights of {name}"
        except WeightsError as error:
            raise WeightsError(f"{name}: {error}") from error
    load_into(network, state, origin, classifier_layers(network))
    return network
