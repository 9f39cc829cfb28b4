"""Weights: every file format gives the same tensors, and what does not fit is named."""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from embedpipe.backbones.state_dicts import load_into, read_state_dict, tensors_sha256
from embedpipe.core.errors import WeightsError


def network(seed: int, *, classes: int = 5, kernel: int = 3) -> nn.Sequential:
    """Two convolutions, a normalisation with its own state, and a classifier."""
    torch.manual_seed(seed)
    made = nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 4, kernel),
            norm=nn.BatchNorm2d(4),
            body=nn.Conv2d(4, 6, 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flat=nn.Flatten(),
            classifier=nn.Linear(6, classes),
        )
    )
    made.norm.running_mean.normal_()
    return made


def save_safetensors(state: dict[str, Tensor], file: Path) -> None:
    """Writes a .safetensors file."""
    pytest.importorskip("safetensors.torch").save_file(state, file)


def below_module(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Names as DataParallel makes them, in an order that does not help."""
    return {f"module.{name}": tensor for name, tensor in reversed(state.items())}


FORMATS: dict[str, Callable[[dict[str, Tensor], Path], None]] = {
    "plain.pth": torch.save,
    "old.pt": lambda state, file: torch.save(state, file, _use_new_zipfile_serialization=False),
    "state_dict.bin": lambda state, file: torch.save({"epoch": 3, "state_dict": state}, file),
    "model.pth": lambda state, file: torch.save({"model": state, "optimizer": {"lr": 0.1}}, file),
    "ema.pth": lambda state, file: torch.save({"state_dict_ema": state}, file),
    "module.pth": lambda state, file: torch.save(below_module(state), file),
    "both.pth": lambda state, file: torch.save({"state_dict": below_module(state)}, file),
    "plain.safetensors": save_safetensors,
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_tensors(tmp_path: Path, name: str) -> None:
    """Whatever the file's format and wrapping, the network ends with the very tensors that were saved."""
    saved, loaded = network(0), network(1)
    FORMATS[name](dict(saved.state_dict()), tmp_path / name)
    assert tensors_sha256(saved) != tensors_sha256(loaded)
    load_into(loaded, read_state_dict(tmp_path / name), name, ())
    assert tensors_sha256(saved) == tensors_sha256(loaded)
    for key, tensor in saved.state_dict().items():
        assert torch.equal(tensor, loaded.state_dict()[key])


class Malicious:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        """Notes the file to write."""
        self.target = target

    def __reduce__(self) -> Any:
        """Asks pickle to call `Path.touch`."""
        return Path.touch, (self.target,)


@pytest.mark.parametrize("kind", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    """A weights file that would run code is refused before it does."""
    file, trace = tmp_path / "evil.pth", tmp_path / "trace"
    content = {**network(0).state_dict(), "evil": Malicious(trace)}
    if kind == "torch":
        torch.save(content, file)
    else:
        file.write_bytes(pickle.dumps(content))
    with pytest.raises(WeightsError, match=r"evil\.pth is not a readable weights file") as caught:
        read_state_dict(file)
    assert "\n" not in str(caught.value)
    assert not trace.exists()


@pytest.mark.parametrize("name", ["noise.pth", "noise.safetensors", "folder.pth", "empty.pth"])
def test_what_is_no_weights_file_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    """Noise, an empty file and a folder are refused in one line that names the file."""
    file = tmp_path / name
    if name.startswith("folder"):
        file.mkdir()
    else:
        file.write_bytes(b"noise " * 100 * name.startswith("noise"))
    with pytest.raises(WeightsError, match="is not a readable weights file") as caught:
        read_state_dict(file)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"epoch": 3}, [torch.zeros(3)], torch.zeros(3)], ids=["dict", "list", "tensor"])
def test_a_file_without_named_tensors_says_what_to_save(tmp_path: Path, content: object) -> None:
    """A readable file that holds no tensors by name asks for the network's state dict."""
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth holds no tensors by name; save network\.state_dict\(\)"):
        read_state_dict(tmp_path / "other.pth")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A weights file that does not exist is named."""
    with pytest.raises(WeightsError, match=r"no weights file .*gone\.pth"):
        read_state_dict(tmp_path / "gone.pth")


def test_the_first_tensor_of_another_shape_is_named() -> None:
    """The first tensor of another shape is named with both shapes, and the network keeps its weights."""
    mine = network(0)
    before = tensors_sha256(mine)
    with pytest.raises(WeightsError, match=r"x\.pth does not fit: stem\.weight is \(4, 3, 5, 5\), not \(4, 3, 3, 3\)"):
        load_into(mine, network(1, kernel=5).state_dict(), "x.pth", ("classifier",))
    assert tensors_sha256(mine) == before


def test_a_missing_tensor_is_named() -> None:
    """The first tensor that the file lacks is named with its shape, and the network keeps its weights."""
    mine = network(0)
    before = tensors_sha256(mine)
    state = {key: tensor for key, tensor in network(1).state_dict().items() if not key.startswith("body")}
    with pytest.raises(WeightsError, match=r"x\.pth does not fit: it has no tensor body\.weight \(6, 4, 1, 1\)"):
        load_into(mine, state, "x.pth", ("classifier",))
    assert tensors_sha256(mine) == before


@pytest.mark.parametrize("classes", [2, 0])
def test_the_classifier_may_have_another_size_or_be_absent(classes: int) -> None:
    """Weights of a network with another classifier, or with none, are taken for all the other layers."""
    mine, other = network(0), network(1, classes=classes or 5)
    head = mine.classifier.weight.clone()
    state = {k: v for k, v in other.state_dict().items() if classes or not k.startswith(("classifier",))}
    load_into(mine, state, "x.pth", ("classifier",))
    assert torch.equal(mine.stem.weight, other.stem.weight)
    assert torch.equal(mine.norm.running_mean, other.norm.running_mean)
    assert torch.equal(mine.classifier.weight, head)


def test_a_layer_whose_name_only_begins_like_the_classifier_is_needed() -> None:
    """Only the classifier itself may be missing, not a layer whose name begins alike."""
    mine = nn.Sequential(OrderedDict(head=nn.Linear(2, 2), head_norm=nn.LayerNorm(2)))
    with pytest.raises(WeightsError, match=r"no tensor head_norm\.weight"):
        load_into(mine, {"head.weight": torch.zeros(2, 2)}, "x.pth", ("head",))


def test_tensors_with_other_names_are_taken_in_order() -> None:
    """A file that calls every tensor otherwise is taken in order where all the shapes agree."""
    mine, other = network(0), network(1)
    load_into(mine, {f"_net{i}": t for i, t in enumerate(other.state_dict().values())}, "x.pth", ("classifier",))
    for key, tensor in other.state_dict().items():
        assert key.startswith(("classifier",)) or torch.equal(tensor, mine.state_dict()[key])


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda tensors: tensors[1:], r"stem\.weight"),
        (lambda tensors: [*tensors[:7], torch.zeros(7), *tensors[8:]], r"body\.weight|body\.bias"),
        (lambda tensors: tensors[:4], "norm"),
    ],
)
def test_tensors_with_other_names_and_shapes_are_refused(
    change: Callable[[list[Tensor]], list[Tensor]], named: str
) -> None:
    """A file that calls every tensor otherwise and has another shape in the row is refused with a tensor's name."""
    tensors = change(list(network(1).state_dict().values()))
    with pytest.raises(WeightsError, match=named):
        load_into(network(0), {f"_net{i}": t for i, t in enumerate(tensors)}, "x.pth", ("classifier",))


def test_older_files_without_step_counters_fit() -> None:
    """The counter of training steps, which older files lack, is not needed."""
    mine, other = network(0), network(1)
    state = {k: v for k, v in other.state_dict().items() if not k.endswith("num_batches_tracked")}
    load_into(mine, state, "x.pth", ("classifier",))
    assert torch.equal(mine.norm.running_mean, other.norm.running_mean)


def test_the_hash_is_of_the_values_alone() -> None:
    """The hash changes with the least bit of one weight or statistic, and not with the counter of steps."""
    mine = network(0)
    digests = {tensors_sha256(mine)}
    mine.norm.num_batches_tracked += 7
    digests.add(tensors_sha256(mine))
    assert len(digests) == 1
    with torch.no_grad():
        mine.body.bias[-1] += 1e-6
    digests.add(tensors_sha256(mine))
    mine.norm.running_var[0] *= 1.001
    digests.add(tensors_sha256(mine))
    assert len(digests) == 3


def test_both_classifiers_of_a_distilled_network_may_have_another_size() -> None:
    """A file whose two classifiers have other classes fits; with one of them named as needed it does not."""

    def distilled(seed: int, classes: int) -> nn.Sequential:
        torch.manual_seed(seed)
        parts = OrderedDict(body=nn.Linear(3, 4), head=nn.Linear(4, classes), head_dist=nn.Linear(4, classes))
        return nn.Sequential(parts)

    mine, other = distilled(0, 5), distilled(1, 7)
    load_into(mine, other.state_dict(), "x.pth", ("head", "head_dist"))
    assert torch.equal(mine.body.weight, other.body.weight)
    with pytest.raises(WeightsError, match=r"head_dist\.weight is \(7, 4\), not \(5, 4\)"):
        load_into(mine, other.state_dict(), "x.pth", ("head",))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(value: float) -> None:
    """One NaN would make every feature one; the tensor is named."""
    state = dict(network(0).state_dict())
    state["body.weight"] = state["body.weight"].clone()
    state["body.weight"][0, 0] = value
    with pytest.raises(WeightsError, match=r"^mine: body\.weight holds values that are no finite numbers"):
        load_into(network(1), state, "mine", ["classifier"])
