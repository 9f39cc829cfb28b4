"""The layers that are kept: which maps count, how they are pooled, and in which order they are laid out."""

import numpy as np
import pytest
import timm
import torch
from torch import Tensor, nn

from embedpipe.backbones.building import remove_classifier
from embedpipe.backbones.layers import LAYERS, POOLINGS, FeatureNetwork, Stage, find_stages, pooled
from embedpipe.core.errors import EmbedpipeError, UnknownNameError

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.25, 0.125)


class Widening(nn.Module):
    """A block that widens its channels for a moment, as those of EfficientNet do."""

    def __init__(self, channels: int) -> None:
        """Two convolutions of the same stride and another depth."""
        super().__init__()
        self.expand = nn.Conv2d(channels, 4 * channels, 1)
        self.project = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Widens and narrows."""
        return self.project(torch.relu(self.expand(x)))


def small_network(*, last_convolution: bool) -> nn.Module:
    """Strides 2 to 16 with depths 4 to 7; optionally a last convolution to the penultimate layer's 9 channels."""
    torch.manual_seed(1)
    parts = [
        nn.Conv2d(3, 4, 2, 2),
        nn.Sequential(nn.Conv2d(4, 5, 2, 2), Widening(5)),
        nn.Sequential(nn.Conv2d(5, 6, 2, 2), Widening(6)),
        nn.Sequential(nn.Conv2d(6, 7, 2, 2), Widening(7)),
    ]
    head = [nn.Conv2d(7, 9, 1)] if last_convolution else []
    return nn.Sequential(*parts, *head, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval().requires_grad_(False)


class Parts(nn.Module):
    """A network whose parts have names, like those of the libraries."""

    def __init__(self, body: nn.Module) -> None:
        """Takes the members of a sequence as its own parts."""
        super().__init__()
        for number, part in enumerate(body.children()):
            self.add_module(f"part{number}", part)

    def forward(self, x: Tensor) -> Tensor:
        """Part after part."""
        for part in self.children():
            x = part(x)
        return x


def test_stages_end_with_the_last_map_of_a_stride_and_not_inside_blocks() -> None:
    """Strides 2 to 16 are found with the depths of their last maps; the widened insides of blocks are not."""
    network = Parts(small_network(last_convolution=False))
    stages = find_stages(network)
    assert list(stages) == [Stage(2, 4), Stage(4, 5), Stage(8, 6), Stage(16, 7)]
    assert stages[Stage(8, 6)] is network.part2  # type: ignore[comparison-overlap]


def test_the_last_convolution_counts_only_where_its_stride_has_no_other_map() -> None:
    """A map as deep as the penultimate layer is that layer before pooling, and is left out beside another map."""
    assert Stage(16, 9) not in find_stages(Parts(small_network(last_convolution=True)))
    assert Stage(16, 7) in find_stages(Parts(small_network(last_convolution=False)))


class Turned(nn.Module):
    """A part that gives its maps with the channels last, as Swin does."""

    def __init__(self, part: nn.Module) -> None:
        """Takes a part whose channels come first."""
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        """Turns, runs, turns back."""
        x = x.permute(0, 3, 1, 2) if x.shape[1] == x.shape[2] != x.shape[3] else x
        return self.part(x).permute(0, 2, 3, 1)


def test_maps_with_channels_last_are_pooled_like_others() -> None:
    """A network that turns its maps gives the same stages and, pooled over rows and columns, the same features."""
    plain = Parts(small_network(last_convolution=False))
    turned = Parts(small_network(last_convolution=False))
    for name in ("part2", "part3"):
        turned.set_submodule(name, Turned(turned.get_submodule(name)))
    turned.part4 = nn.Sequential(Back(), turned.get_submodule("part4"))  # type: ignore[assignment]
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8))
    first, second = (FeatureNetwork(network, MEAN, STD, "stages") for network in (plain, turned))
    assert first.blocks == second.blocks
    with torch.inference_mode():
        torch.testing.assert_close(first(pixels), second(pixels))


class Back(nn.Module):
    """Channels first again."""

    def forward(self, x: Tensor) -> Tensor:
        """Turns back."""
        return x.permute(0, 3, 1, 2)


def test_what_comes_before_tokens_is_no_stage() -> None:
    """The patches of a transformer are a map, but not one of its stages; a pooled grid is none either."""
    tokens = nn.Sequential(nn.Conv2d(3, 9, 16, 16), nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten())
    assert find_stages(Parts(tokens.eval())) == {}
    grid = nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.AdaptiveAvgPool2d(5), nn.Flatten(), nn.Linear(100, 9))
    assert list(find_stages(Parts(grid.eval()))) == [Stage(8, 4)]


def test_no_hooks_of_the_search_remain() -> None:
    """Finding the stages leaves the network as it was."""
    network = Parts(small_network(last_convolution=True))
    find_stages(network)
    assert all(not module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("layers", LAYERS)
def test_features_are_the_pooled_maps_in_the_order_of_the_blocks(layers: str) -> None:
    """Each block holds what its name says, computed by hand from the network's own maps."""
    body = small_network(last_convolution=True)
    features = FeatureNetwork(Parts(body), MEAN, STD, layers)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8))
    x = pixels.permute(0, 3, 1, 2).double() / 255
    x = ((x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)).float()
    expected = {}
    with torch.inference_mode():
        for number, part in enumerate(body.children()):
            x = part(x)
            if number in (2, 3):
                name = str(Stage(2 ** (number + 1), x.shape[1]))
                expected[f"{name}_avg"] = x.numpy().mean(axis=(2, 3))
                expected[f"{name}_std"] = x.numpy().std(axis=(2, 3))
        expected["penultimate"] = x.numpy()
        X = features(pixels).numpy()

    order = ["penultimate"] if "penultimate" in layers else []
    if "stages" in layers:
        order += ["stride8x6_avg", "stride8x6_std", "stride16x7_avg", "stride16x7_std"]
    assert [name for name, _, _ in features.blocks] == order
    assert features.blocks[0][1] == 0
    assert [stop for _, _, stop in features.blocks[:-1]] == [start for _, start, _ in features.blocks[1:]]
    assert features.dim == features.blocks[-1][2] == X.shape[1]
    for name, start, stop in features.blocks:
        np.testing.assert_allclose(X[:, start:stop], expected[name], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("key", POOLINGS)
def test_poolings_keep_their_precision_in_half_precision(key: str) -> None:
    """Maps of float16 whose squares overflow are pooled as float32 maps of the same values are."""
    rng = np.random.default_rng(0)
    maps = (1000 + rng.normal(0, 300, (2, 3, 8, 8))).astype(np.float16)
    by_hand = {"avg": np.mean, "max": np.max, "std": np.std}[key](maps.astype(np.float64), axis=(2, 3))
    pooled = POOLINGS[key](torch.from_numpy(maps)).float().numpy()
    np.testing.assert_allclose(pooled, by_hand, rtol=1e-4)


def test_an_unknown_set_of_layers_lists_the_nearest() -> None:
    """A misspelt set of layers is refused with the name that was meant."""
    with pytest.raises(UnknownNameError, match=r"unknown set of layers 'stage': did you mean stages\?.*penultimate"):
        FeatureNetwork(small_network(last_convolution=False), MEAN, STD, "stage")


def test_a_network_without_maps_says_what_to_use_instead() -> None:
    """A network that has no feature maps asks for the penultimate layer."""
    flat = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4)).eval()
    with pytest.raises(EmbedpipeError, match="--layers penultimate"):
        FeatureNetwork(flat, MEAN, STD, "stages")
    with torch.inference_mode():
        assert FeatureNetwork(flat, MEAN, STD, "penultimate").dim == 4


def test_the_example_has_the_size_that_a_fixed_network_takes() -> None:
    """The example pages are as large as a network of fixed size wants them."""
    network = small_network(last_convolution=False)
    network.pretrained_cfg = {"fixed_input_size": True, "input_size": (3, 48, 48)}  # type: ignore[assignment]
    example = FeatureNetwork(network, MEAN, STD, "penultimate").example()
    assert example.shape == (2, 48, 48, 3)
    assert example.dtype == torch.uint8


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "gemma4_vit_167m_enc", "mobilenetv5_300m_enc"])
def test_a_network_of_any_output_rank_gives_one_row_a_page(architecture: str) -> None:
    """Rows, tokens and maps of timm's networks become as many features as the network says it is wide."""
    with torch.device("meta"):  # shapes only: nothing is computed
        network = timm.create_model(architecture, pretrained=False).eval()
        remove_classifier(network)
        size = network.pretrained_cfg["input_size"][-1]
        with torch.inference_mode():
            features = pooled(network(torch.zeros(2, 3, size, size)), network)
    assert features.shape == (2, network.head_hidden_size)


@pytest.mark.parametrize("shape", [(2, 5, 3, 4), (2, 3, 4, 5), (2, 12, 5)])
def test_places_are_averaged_wherever_the_channels_stand(shape: tuple[int, ...]) -> None:
    """Channels first, channels last and tokens give the same mean."""
    network = nn.Identity()
    network.num_features = 5  # type: ignore[assignment]
    values = torch.arange(5.0)
    output = values.view(1, 5, 1, 1).expand(shape) if shape[1] == 5 else values.expand(shape)
    assert torch.equal(pooled(output, network), values.expand(2, 5))
