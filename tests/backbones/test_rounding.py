"""Rounding weights for bfloat16 so that the errors cancel."""

from typing import Any

import bfloat16
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embedpipe.backbones.engines import OpenVinoEngine
from embedpipe.backbones.probe_pages import trial_pages
from embedpipe.backbones.rounding import greedily_rounded, nearest_bfloat16, rounded_for_bfloat16
from embedpipe.backbones.runtime import convert, smallest_cosine


def layers(groups: int, outputs: int, width: int, rows: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights, and inputs that are much alike, as those on even paper are."""
    random = np.random.default_rng(groups)
    W = random.normal(0, 0.1, (groups, outputs, width))
    X = np.maximum(random.normal(0.5, 1, (groups, 1, width)) + random.normal(0, 0.1, (groups, rows, width)), 0)
    return W.astype(np.float32), X.astype(np.float32)


def error(W: NDArray[np.float32], rounded: NDArray[np.float32], X: NDArray[np.float32]) -> float:
    """How far outputs move."""
    return float(np.linalg.norm((rounded - W) @ X.transpose(0, 2, 1)))


def exact(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Through torch's bfloat16 and back."""
    found: NDArray[np.float32] = torch.from_numpy(values).bfloat16().float().numpy()
    return found


def test_the_nearest_values_are_those_of_torch() -> None:
    """Rounding to the nearest value is that of torch, ties included."""
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(0, 10.0**e, 1000) for e in range(-6, 6)]).astype(np.float32)
    ties = (np.arange(1 << 14, (1 << 14) + 64, dtype=np.uint32) << 16 | 0x8000).view(np.float32)
    for each in (values, -values, ties, np.zeros(3, np.float32)):
        np.testing.assert_array_equal(nearest_bfloat16(each), exact(each))


@pytest.mark.parametrize(("groups", "outputs", "width"), [(1, 24, 40), (16, 1, 9), (4, 3, 18), (2, 5, 150)])
def test_errors_cancel(groups: int, outputs: int, width: int) -> None:
    """Weights are such as bfloat16 holds, a step off at most, and outputs move far less than with nearest ones."""
    W, X = layers(groups, outputs, width, rows=60)
    rounded = greedily_rounded(W, X)
    assert rounded.shape == W.shape
    np.testing.assert_array_equal(rounded, exact(rounded))
    assert np.all(np.abs(rounded - W) <= np.abs(W) * 2.0**-6)
    assert error(W, rounded, X) < 0.7 * error(W, nearest_bfloat16(W), X)
    np.testing.assert_array_equal(rounded, greedily_rounded(W, X))


def test_inputs_that_are_always_zero_lead_to_nearest_values() -> None:
    """Where nothing comes in, weights are rounded to their nearest values."""
    W, X = layers(1, 8, 12, rows=20)
    np.testing.assert_array_equal(greedily_rounded(W, np.zeros_like(X)), nearest_bfloat16(W))


class Deep(torch.nn.Module):
    """Dense, grouped and depthwise convolutions, one after the other."""

    def __init__(self) -> None:
        """Of few channels."""
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Conv2d(3, 24, 3, 2, padding=1)
        self.grouped = torch.nn.Conv2d(24, 48, 3, padding=1, groups=4)
        self.depthwise = torch.nn.Conv2d(48, 48, 5, 2, padding=2, groups=48)
        self.dense = torch.nn.Conv2d(48, 64, 1, bias=False)
        self.wide = torch.nn.Conv2d(64, 32, 4, stride=2)

    def example(self) -> torch.Tensor:
        """What it is converted with."""
        return torch.zeros(1, 64, 64, 3, dtype=torch.uint8)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Features (n, 32) of uint8 (n, H, W, 3)."""
        x = pixels.permute(0, 3, 1, 2).float() / 255
        for layer in (self.stem, self.grouped, self.depthwise, self.dense, self.wide):
            x = torch.relu(layer(x))
        return x.mean((2, 3))


def test_the_simulation_computes_what_units_for_bfloat16_would() -> None:
    """Simulated bf16 is that of torch: each convolution gets rounded inputs and weights, and sums up in float32."""
    with torch.random.fork_rng(devices=[]):
        network = Deep().eval().requires_grad_(False)
    simulated = bfloat16.rounding(convert(network))  # type: ignore[arg-type]
    pages = trial_pages((64, 64))
    X = OpenVinoEngine(lambda: simulated, "fp32", 1).start(pages)()
    full = network(torch.from_numpy(pages)).numpy()
    for layer in (network.stem, network.grouped, network.depthwise, network.dense, network.wide):
        layer.weight.copy_(layer.weight.bfloat16())
        layer.register_forward_pre_hook(lambda _layer, inputs: (inputs[0].bfloat16().float(),))
    truth = network(torch.from_numpy(pages)).numpy()
    assert np.linalg.norm(X - truth) < 0.1 * np.linalg.norm(X - full)


@pytest.fixture(scope="module")
def model() -> Any:
    """The network as OpenVINO has it."""
    with torch.random.fork_rng(devices=[]):
        return convert(Deep().eval())  # type: ignore[arg-type]


def features(model: Any) -> NDArray[np.float32]:
    """Of the trial pages, in full precision: what remains is the rounding of weights."""
    return OpenVinoEngine(lambda: model, "fp32", 1).start(trial_pages((64, 64)))()


def constants(model: Any) -> list[NDArray[np.float32]]:
    """Weights of the convolutions."""
    found = [node for node in model.get_ordered_ops() if node.get_type_name() in ("Convolution", "GroupConvolution")]
    return [np.array(node.input_value(1).get_node().data, np.float32) for node in found]


def test_a_model_with_rounded_weights_is_nearer_than_one_with_nearest_ones(model: Any) -> None:
    """All convolutions get weights of bfloat16, and features of other pages turn less than with nearest values."""
    before = constants(model)
    rounded = rounded_for_bfloat16(model, 64)
    assert len(before) == 5
    for weights, old, new in zip(constants(rounded), constants(model), before, strict=True):
        np.testing.assert_array_equal(old, new)  # the model itself stays as it was
        assert weights.shape == old.shape
        np.testing.assert_array_equal(weights, exact(weights))
    full = features(model)
    assert 1 - smallest_cosine(features(rounded), full) < 0.5 * (1 - smallest_cosine(features(nearest(model)), full))


def nearest(model: Any, *, shifted: bool = False) -> Any:
    """The model with nearest values, with or without changed biases."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedpipe.backbones.rounding.greedily_rounded", lambda W, X: nearest_bfloat16(W))
        if not shifted:
            patch.setattr("embedpipe.backbones.rounding._shift", lambda _node, _values: None)
        return rounded_for_bfloat16(model, 64)


def test_biases_make_up_for_what_is_lost_on_average(model: Any) -> None:
    """With the same weights features are nearer, be there a bias to change or none."""
    full = features(model)
    without, shifted = (features(nearest(model, shifted=shifted)) for shifted in (False, True))
    assert np.linalg.norm(shifted - full) < 0.5 * np.linalg.norm(without - full)
    kinds = [[op.get_type_name() for op in each.get_ordered_ops()] for each in (model, nearest(model, shifted=True))]
    assert kinds[1].count("Add") == kinds[0].count("Add") + 1  # of the convolution that has no bias
