"""Our own networks are those of their papers."""

import pytest
import torch
from torch import nn

from embedpipe.backbones.architectures import LeNet5, ZFNet


def parameters(network: nn.Module) -> int:
    """Number of weights."""
    return sum(parameter.numel() for parameter in network.parameters())


def test_lenet5_has_the_layers_of_the_paper() -> None:
    """Ten classes make the well-known 61,706 weights, and on the paper's 32 pixels S4 has nothing more to average."""
    network = LeNet5(10)
    assert parameters(network) == 61_706
    c3 = torch.randn(1, 16, 10, 10)
    assert torch.allclose(network.s4(c3), nn.AvgPool2d(2)(c3), atol=1e-6)
    assert (network.f6.out_features, network.output.in_features) == (84, 84)


def test_lenet5_sees_grey() -> None:
    """Colours of the same mean give the same scores."""
    torch.manual_seed(0)
    network, page = LeNet5(4).eval(), torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        torch.testing.assert_close(network(page), network(page[:, [2, 0, 1]]))
        assert not torch.allclose(network(page), network(-page))


def test_zfnet_has_the_maps_of_the_paper() -> None:
    """A picture of 224 pixels becomes 96 x 55, 256 x 13, 512, 1024 x 13, 512 x 6, and then 4096 twice."""
    with torch.device("meta"):
        network, x = ZFNet(1000), torch.zeros(2, 3, 224, 224)
    shapes = []
    for name in ("layer1", "layer2", "layer3", "layer4", "layer5"):
        x = network.get_submodule(name)(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(96, 55, 55), (256, 13, 13), (512, 13, 13), (1024, 13, 13), (512, 6, 6)]
    assert network.layer7(network.layer6(x.flatten(1))).shape == (2, 4096)
    assert parameters(network) == 107_627_624


@pytest.mark.parametrize(("architecture", "size"), [(LeNet5, 128), (ZFNet, 224)])
def test_their_gradients_reach_the_first_layer(architecture: type[LeNet5 | ZFNet], size: int) -> None:
    """A random network passes on signals and gradients of a size from which training can start."""
    torch.manual_seed(0)
    network = architecture(4).eval()
    images = torch.randn(4, 3, size, size)
    scores = network(images)
    assert 0.01 < scores.std(0).mean() < 10  # pages differ in their scores
    nn.functional.cross_entropy(scores, torch.arange(4)).backward()
    first = next(network.parameters())
    assert first.grad is not None
    assert 1e-5 < first.grad.abs().mean() < 10
