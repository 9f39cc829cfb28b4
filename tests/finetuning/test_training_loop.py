"""The training loop: what moves, what does not, and how it goes on after a kill."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from embedpipe.backbones.building import load_network
from embedpipe.core.errors import EmbedpipeError, UnknownNameError
from embedpipe.finetuning.learning_curves import Epoch
from embedpipe.finetuning.training_loop import (
    FinetuningRecipe,
    Trainer,
    TuningData,
    TuningState,
    Watch,
    page_scores,
    plan_batches,
)
from embedpipe.finetuning.unfreezing import find_depths, set_drop_path, trained_depths

pytestmark = pytest.mark.usefixtures("one_thread")


RECIPE = FinetuningRecipe(
    "timm:test_resnet", "none", "last-stage", epochs=4, batch_size=8, rate=5e-3, dropout=0.1, patience=0, balance=0
)


class Pages:
    """Stands for a page cache: pages of 40 x 32 pixels, some turned, with a dark bar at the top or at the bottom."""

    def __init__(self, count: int) -> None:
        random = np.random.default_rng(3)
        self.pixels = random.integers(200, 255, (count, 40, 32, 3), np.uint8)
        self.pixels[::2, 2:12] = 10
        self.pixels[1::2, 28:38] = 10

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        return self.pixels[index]

    def shape(self, index: int) -> tuple[int, int]:
        """Every fifth page is wider."""
        return (40, 32) if index % 5 else (40, 40)


@pytest.fixture(scope="module")
def data() -> TuningData:
    """Forty pages of two types, the last twelve for validation."""
    pages: Any = Pages(40)
    targets = np.arange(40, dtype=np.int64) % 2
    return TuningData(pages, targets, np.ones(40), np.arange(28), np.arange(28, 40))


def trainer(data: TuningData, recipe: FinetuningRecipe = RECIPE) -> tuple[Trainer, nn.Module]:
    """A trainer of a tiny seeded network, and the network."""
    trunk = load_network(recipe.backbone, "none")
    depths = trained_depths(find_depths(trunk, 64), recipe.unfreeze)
    set_drop_path(trunk, recipe.drop_path)
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("trunk", _Floating(trunk))
    network.add_module("dropout", nn.Dropout(recipe.dropout))
    network.add_module("output", nn.Linear(96, 2))
    named = [[f"trunk.trunk.{name}" for name in names] for names in depths]
    return Trainer(network, [*named, ["output.weight", "output.bias"]], recipe, data, "cpu"), network


class _Floating(nn.Module):
    """Takes uint8 pages with the channels last, as the real network does."""

    def __init__(self, trunk: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.trunk(pixels.permute(0, 3, 1, 2).float() / 255)


def measured(state: TuningState) -> list[Epoch]:
    """The history without the clock."""
    return [replace(epoch, seconds=0.0) for epoch in state.history]


def test_training_learns_and_only_what_is_unfrozen_moves(data: TuningData, tmp_path: Path) -> None:
    """Simple pages are learnt; frozen stages stay bit for bit what they were, in the average of weights too."""
    made, network = trainer(data, replace(RECIPE, epochs=8))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = made.run(tmp_path / "checkpoint", "", Watch())
    assert state.history[-1].train_accuracy > 0.9
    assert min(epoch.validation_loss for epoch in state.history) < state.history[0].validation_loss
    for weights in (network.state_dict(), state.best):
        changed = {name for name, tensor in weights.items() if not torch.equal(tensor, before[name])}
        assert {"output.weight", "output.bias", "trunk.trunk.layer4.0.conv1.weight"} <= changed
        assert {name for name in changed if not name.startswith(("output.", "trunk.trunk.layer4."))} == set()


@pytest.mark.parametrize("unfreeze", ["head", "all"])
def test_the_head_alone_and_everything(data: TuningData, tmp_path: Path, unfreeze: str) -> None:
    """`head` moves the output layer only; `all` moves every parameter."""
    made, network = trainer(data, replace(RECIPE, unfreeze=unfreeze, epochs=1))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made.run(tmp_path / "checkpoint", "", Watch())
    moved = {name for name, parameter in network.named_parameters() if not torch.equal(parameter, before[name])}
    expected = (
        {name for name, _ in network.named_parameters()} if unfreeze == "all" else {"output.weight", "output.bias"}
    )
    assert moved == expected


class Killed(BaseException):
    """Ends a run as a kill does: nothing is tidied up."""


def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_been(data: TuningData, tmp_path: Path) -> None:
    """Weights, average, and every measured figure are those of a run without a break."""

    def kill(number: int, _epoch: Epoch) -> None:
        if number == 2:
            raise Killed

    whole, network = trainer(data)
    expected = whole.run(tmp_path / "whole", "same", Watch())
    with pytest.raises(Killed):
        trainer(data)[0].run(tmp_path / "broken", "same", Watch(epoch=kill))
    torch.manual_seed(99)  # another process begins elsewhere
    again, resumed = trainer(data)
    notices: list[str] = []
    found = again.run(tmp_path / "broken", "same", Watch(notice=notices.append))
    assert "going on after epoch 2" in notices[0]
    assert measured(found) == measured(expected)
    assert found.stopping == expected.stopping
    for mine, other in ((found.best, expected.best), (resumed.state_dict(), network.state_dict())):
        assert all(torch.equal(tensor, other[name]) for name, tensor in mine.items())


def test_a_kill_in_the_middle_of_an_epoch_costs_that_epoch_only(data: TuningData, tmp_path: Path) -> None:
    """Half an epoch leaves no trace."""

    def kill(done: int, _total: int) -> None:
        if done > 40:  # in the second of four epochs of 28 pages
            raise Killed

    expected = trainer(data)[0].run(tmp_path / "whole", "same", Watch())
    with pytest.raises(Killed):
        trainer(data)[0].run(tmp_path / "broken", "same", Watch(pages=kill))
    found = trainer(data)[0].run(tmp_path / "broken", "same", Watch())
    assert measured(found) == measured(expected)


def test_another_training_does_not_go_on_from_a_checkpoint(data: TuningData, tmp_path: Path) -> None:
    """A checkpoint of another recipe or other pages is left aside; a damaged one is named."""
    recipe = replace(RECIPE, epochs=1)
    trainer(data, recipe)[0].run(tmp_path / "checkpoint", "one", Watch())
    begun: list[int] = []
    trainer(data, recipe)[0].run(tmp_path / "checkpoint", "two", Watch(epoch=lambda number, _: begun.append(number)))
    assert begun == [1]
    (tmp_path / "checkpoint").write_bytes(b"PK rubbish")
    with pytest.raises(EmbedpipeError, match="remove it to begin anew"):
        trainer(data, recipe)[0].run(tmp_path / "checkpoint", "two", Watch())


def test_ctrl_c_keeps_the_best_so_far(data: TuningData, tmp_path: Path) -> None:
    """What was measured and the best weights are there, and it is said."""

    def stop(number: int, _epoch: Epoch) -> None:
        if number == 1:
            raise KeyboardInterrupt

    state = trainer(data)[0].run(tmp_path / "checkpoint", "", Watch(epoch=stop))
    assert state.interrupted
    assert len(state.history) == 1
    assert state.best


def test_training_ends_when_it_no_longer_helps(data: TuningData, tmp_path: Path) -> None:
    """With a rate of nearly nothing no epoch is better than the patience allows; the best stays the best."""
    recipe = replace(RECIPE, epochs=30, patience=2, rate=0.5, ema=0.0, statistics="keep")
    state = trainer(data, recipe)[0].run(tmp_path / "checkpoint", "", Watch())
    assert len(state.history) < 30
    assert state.stopping.stop
    assert state.stopping.best == min(epoch.validation_loss for epoch in state.history)


@pytest.mark.parametrize(
    ("weights", "unfreeze", "statistics", "learnt"),
    [
        (None, "last-stage", "auto", True),
        (None, "all", "auto", False),
        (None, "all", "learn", True),
        (None, "last-stage", "keep", False),
        ("none", "all", "auto", True),
    ],
)
def test_statistics_are_kept_where_more_than_the_last_stage_is_trained(
    weights: str | None, unfreeze: str, statistics: str, data: TuningData, *, learnt: bool
) -> None:
    """Unless it is said otherwise, or there are none to keep; the tensors themselves are random here."""
    recipe = replace(RECIPE, weights=weights, unfreeze=unfreeze, statistics=statistics)
    _, network = trainer(data, recipe)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert any(norm.training for norm in norms) == learnt


def test_an_unknown_way_with_statistics_is_refused(data: TuningData) -> None:
    """With the known ones."""
    with pytest.raises(UnknownNameError, match="auto, keep, learn"):
        trainer(data, replace(RECIPE, weights=None, statistics="no"))


def test_batches_share_a_shape_and_hold_every_page_once() -> None:
    """Rare shapes join a common one that is near; a page that lies across is never stretched to stand upright."""
    shapes = [(320, 224)] * 20 + [(320, 240)] * 3 + [(224, 320)] * 2
    batches = plan_batches(shapes, np.arange(25), 8, np.random.default_rng(0))
    assert sorted(int(index) for indices, _ in batches for index in indices) == list(range(25))
    assert max(len(indices) for indices, _ in batches) == 8
    assert Counter(shape for _, shape in batches) == {(320, 224): 3, (224, 320): 1}
    again = plan_batches(shapes, np.arange(25), 8, np.random.default_rng(1))
    assert [list(indices) for indices, _ in again] != [list(indices) for indices, _ in batches]


def test_scores_come_in_the_order_asked_for(data: TuningData) -> None:
    """Pages of different shapes are told batch by batch, and answered in order."""
    _, network = trainer(data)
    network.eval()
    device = torch.device("cpu")
    scores = page_scores(network, data.cache, np.array([7, 0, 5, 33]), 2, device)
    single = [page_scores(network, data.cache, np.array([n]), 1, device)[0] for n in (7, 0, 5, 33)]
    np.testing.assert_allclose(scores, single, atol=1e-5)
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)


def test_pretrained_stages_learn_slower_and_norms_do_not_decay(data: TuningData) -> None:
    """The optimizer has smaller rates for earlier stages, and no decay for vectors; from scratch all rates are one."""
    recipe = replace(RECIPE, weights=None, unfreeze="2", stage_share=0.1, stage_decay=0.5)
    groups = trainer(data, recipe)[0]._optimizer.param_groups
    rates = sorted({group["initial_lr"] for group in groups})
    assert rates == pytest.approx([2.5e-4, 5e-4, 5e-3])
    assert all((group["weight_decay"] == 0) == all(p.ndim < 2 for p in group["params"]) for group in groups)
    scratch = trainer(data, replace(RECIPE, unfreeze="2"))[0]._optimizer.param_groups
    assert {group["initial_lr"] for group in scratch} == {5e-3}


@pytest.mark.parametrize(
    ("changes", "error", "match"),
    [
        ({"optimizer": "adam"}, UnknownNameError, "did you mean adamw"),
        ({"precision": "fp61"}, UnknownNameError, "unknown precision"),
        ({"precision": "fp16"}, EmbedpipeError, "does not train on cpu"),
        ({"precision": "bf16"}, EmbedpipeError, "does not train on cpu"),
    ],
)
def test_odd_recipes_are_refused(data: TuningData, changes: dict[str, str], error: type[Exception], match: str) -> None:
    """One line says what can be written."""
    with pytest.raises(error, match=match):
        trainer(data, replace(RECIPE, **changes))


@pytest.mark.parametrize("changes", [{"optimizer": "sgd"}, {"augment": False}])
def test_the_other_ways_train_too(data: TuningData, tmp_path: Path, changes: dict[str, Any]) -> None:
    """SGD, and pages as they are."""
    state = trainer(data, replace(RECIPE, epochs=3, **changes))[0].run(tmp_path / "checkpoint", "", Watch())
    assert state.history[-1].train_loss < state.history[0].train_loss


def test_a_loss_that_is_no_number_is_an_error(data: TuningData, tmp_path: Path) -> None:
    """It says what to do."""
    poisoned: Callable[[], TuningData] = lambda: replace(data, weights=np.full(40, np.nan))  # noqa: E731
    with pytest.raises(EmbedpipeError, match="smaller rate"):
        trainer(poisoned(), replace(RECIPE, epochs=1))[0].run(tmp_path / "checkpoint", "", Watch())
