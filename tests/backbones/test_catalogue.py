"""The table for people, and weights that go from here to there."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from embedpipe.backbones.catalogue import COLUMNS, NAMES, cells, describe, export_weights, fetch_weights
from embedpipe.backbones.onnx.networks import NETWORKS
from embedpipe.commands import app
from embedpipe.core.errors import UnknownNameError, WeightsError


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


def test_the_table_has_the_networks_of_the_literature() -> None:
    """Every network that people read about is there by its name."""
    wanted = ["lenet5", "alexnet", "zfnet", "vgg16", "vgg19", "googlenet", "inception_v3", "inception_resnet_v2"]
    wanted += ["resnet18", "resnet50", "resnet50_v1", "resnext50_32x4d", "seresnet50", "resnet50d"]
    wanted += ["mobilenetv1_100", "mobilenet_v2", "mobilenet_v3_large", "mnasnet1_0", "nasnetalarge"]
    wanted += ["vit_b_16", "swin_t", "convnext_tiny"]
    wanted += ["pplcnet_doc", "picodet_cdla", "ppocr_det"]
    wanted += [f"efficientnet_b{n}" for n in range(8)] + [f"efficientnet_lite{n}" for n in range(3)]
    assert sorted(NAMES) == sorted(wanted)


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("resnet50", {"penultimate": 2048, "parameters": 25_557_032, "trained_size": 224, "here": False}),
        ("vgg19", {"dim": 4096, "parameters": 143_667_240, "fixed_size": True, "input_size": 224}),
        ("seresnet50", {"licence": "apache-2.0", "interpolation": "bicubic"}),
        ("efficientnet_b7", {"penultimate": 2560, "trained_size": 600, "input_size": 320}),
        ("efficientnet_lite1", {"here": True, "download_bytes": 21_946_926}),
        ("lenet5", {"penultimate": 84, "url": "", "download_bytes": 0, "here": False}),
        ("pplcnet_doc", {"dim": 1792, "penultimate": 512, "licence": "Apache-2.0", "input_size": 320}),
        ("picodet_cdla", {"dim": 1802, "trained_size": 800, "input_size": 800}),
    ],
)
def test_a_row_tells_what_the_network_is(name: str, known: dict[str, object]) -> None:
    """Widths, weights, sizes and licence are those of the libraries, without loading any weights."""
    row = describe(name)
    assert {key: row[key] for key in known} == known
    assert len(cells(row)) == len(COLUMNS)


@pytest.mark.parametrize(("name", "megabytes"), [("mobilenet_v2", (13, 15)), ("mobilenetv1_100", (16, 18))])
def test_the_download_is_told_before_it_is_made(name: str, megabytes: tuple[int, int]) -> None:
    """The size is the one of the record, or what the tensors need."""
    assert megabytes[0] < describe(name)["download_bytes"] / 1e6 < megabytes[1]


def test_unknown_names_are_refused_with_the_nearest() -> None:
    """A misspelt name is answered with the one that was meant."""
    with pytest.raises(UnknownNameError, match=r"did you mean .*vgg16"):
        describe("vgg61")


@pytest.mark.parametrize("name", ["lenet5", "zfnet"])
def test_there_is_nothing_to_download_for_our_own(name: str) -> None:
    """A network without public weights says so."""
    with pytest.raises(WeightsError, match=rf"^{name}: there are no pretrained weights"):
        fetch_weights(name)


def test_weights_that_are_not_here_cannot_be_packed(tmp_path: Path) -> None:
    """An export of weights that are not here says how to get them."""
    with pytest.raises(WeightsError, match=r"vgg16: .* get them with `backbones --download vgg16` first"):
        export_weights(["vgg16"], tmp_path / "out")


def test_the_command_packs_what_is_here_and_says_how_to_use_it(tmp_path: Path, torch_home: Path) -> None:
    """Without names it packs all weights that are here; as TORCH_HOME the folder has them."""
    done = CliRunner().invoke(app, ["backbones", "--export-weights", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["exported"]
    documents = [row["name"] for row in rows if row["name"] in NETWORKS]  # where their packages are installed
    assert [row["name"] for row in rows] == [f"efficientnet_lite{n}" for n in range(3)] + documents
    assert all(Path(row["file"]).stat().st_size == row["bytes"] for row in rows)
    told = CliRunner().invoke(app, ["backbones", "efficientnet_lite1", "--export-weights", str(tmp_path / "one")])
    assert "export TORCH_HOME=/path/to/one" in told.output
    assert len(list((tmp_path / "one/hub/checkpoints").glob("*.pth"))) == 1


def test_the_command_lists_single_backbones() -> None:
    """With names it lists these, of timm too."""
    done = CliRunner().invoke(app, ["backbones", "lenet5", "timm:test_resnet", "--json"])
    assert [row["name"] for row in json.loads(done.stdout)["backbones"]] == ["lenet5", "timm:test_resnet"]
