"""Several networks as one backbone: names, pictures, features, identity, devices, and what is kept of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY
from onnx_files import classifier

from embedpipe.backbones.engines import AUTO, EngineChoice
from embedpipe.backbones.lists import combine, shared_recipe
from embedpipe.backbones.loading import load_backbone
from embedpipe.backbones.model_cache import Wanted
from embedpipe.backbones.names import PRESETS, full_name, is_list, members, one_name, upright_by_default
from embedpipe.backbones.onnx import networks as onnx_networks
from embedpipe.backbones.weight_files import WeightsFile
from embedpipe.core.cache_folder import CACHE_VARIABLE
from embedpipe.core.errors import UnknownNameError, UsageError, WeightsError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import Identity, Recipe

CPU = EngineChoice("cpu", "fp32", "openvino", 1)
SMALL = {"size": 64}


@pytest.fixture
def onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a tiny ONNX network, in the place of a real one, as if it lay in torch's cache."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    known = onnx_networks.NETWORKS["ppocr_det"]
    here = WeightsFile("pip install tiny", "tiny.onnx", package="embedpipe_no_such_package", distribution="tiny==1")
    here.cached.parent.mkdir(parents=True)
    file = replace(here, sha256=sha256_of(classifier(here.cached)))
    tiny = replace(known, file=file, stages=((8, 12), (16, 16)))
    monkeypatch.setitem(onnx_networks.NETWORKS, "ppocr_det", tiny)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return "ppocr_det"


def pages(*shape: int) -> np.ndarray:
    """Noise, uint8 (*shape, 3)."""
    return np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)


def test_names_are_lists_and_presets() -> None:
    """A preset stands for its networks, also within a list; mistakes are told in one line."""
    assert members("a") == ("a",)
    assert full_name("documents") == PRESETS["documents"] == "efficientnet_lite0+pplcnet_doc"
    assert members("documents + vgg16") == ("efficientnet_lite0", "pplcnet_doc", "vgg16")
    assert (is_list("a"), is_list("a+b"), is_list("documents")) == (False, True, True)
    assert (upright_by_default("documents"), upright_by_default("vgg16")) == ("auto", "never")
    with pytest.raises(UsageError, match="pplcnet_doc is in it twice"):
        members("documents+pplcnet_doc")
    with pytest.raises(UsageError, match="joined by"):
        members("a++b")
    with pytest.raises(UsageError, match="training takes one of them, such as a"):
        one_name("a+b", "training")


def test_features_of_a_list_are_those_of_its_networks(onnx: str) -> None:
    """One row has the blocks of each network, as it gives them alone, where all take the same picture."""
    alone = [load_backbone(TINY, weights="none", changes=SMALL, choice=CPU)]
    alone.append(load_backbone(onnx, changes=SMALL, choice=CPU))
    both = combine(alone)
    X = both(pages(3, 64, 48))
    assert np.allclose(X, np.hstack([one(pages(3, 64, 48)) for one in alone]), rtol=1e-3, atol=1e-3)
    assert both.dim == X.shape[1] == sum(one.dim for one in alone)
    assert both.blocks[-1] == (f"{onnx}/stride16x16_std", both.dim - 16, both.dim)
    assert both.identity.backbone == f"{TINY}+{onnx}"
    assert both.identity.recipe == alone[0].identity.recipe
    assert [one.weights_sha256 for one in both.identity.members] == [one.identity.weights_sha256 for one in alone]


def test_each_network_has_a_picture_of_its_own_size(onnx: str) -> None:
    """The page is drawn as large as any needs it; one that takes squares is given the whole page as a square."""
    alone = [
        load_backbone(onnx, recipe=Recipe(size=96), choice=CPU),
        load_backbone(TINY, weights="none", recipe=Recipe(size=64, resize="squash"), choice=CPU),
    ]
    both = combine(alone)
    assert both.identity.recipe == Recipe(size=96)
    white = np.full((2, 96, 80, 3), 200, np.uint8)
    expected = np.hstack([alone[0](white), alone[1](np.full((2, 64, 64, 3), 200, np.uint8))])
    assert np.allclose(both(white), expected, rtol=1e-3, atol=1e-3)
    assert shared_recipe([Recipe(size=224, resize="crop"), Recipe(size=320)]).size == 384


def test_an_identity_of_a_list_survives_json_and_old_ones_stay_as_they_were() -> None:
    """What is new in identities is left out where it says nothing, so that the spaces of stores keep their names."""
    old = Identity("efficientnet_lite0", "ab" * 32, Recipe(), ("stride8x40_avg",))
    assert old.to_json().keys() == {"backbone", "weights_sha256", "recipe", "blocks", "interpolation"}
    assert old.space == "efficientnet_lite0-68352123"
    turned = replace(old, upright="pplcnet_doc-2f62c9bf-0.8")
    assert turned.space != old.space
    assert "turned upright" in str(turned)
    assert Identity.from_json(turned.to_json()) == turned


def test_a_list_is_kept_network_by_network(onnx: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second load builds nothing, and has the same identity and features; its identity alone is enough."""
    both = combine([load_backbone(TINY, weights="none", changes=SMALL, choice=CPU), load_backbone(onnx, changes=SMALL)])
    assert Identity.from_json(both.identity.to_json()) == both.identity
    monkeypatch.setattr("embedpipe.backbones.loading._built", lambda wanted: pytest.fail(f"{wanted.name} was built"))
    again = load_backbone(onnx, changes=SMALL)
    assert again.identity.weights_sha256 == both.identity.members[1].weights_sha256
    wanted = Wanted.of(both.identity, CPU)
    assert [(one.name, one.recipe) for one in wanted] == [(m.backbone, m.recipe) for m in both.identity.members]


def test_onnx_networks_run_on_the_cpu(onnx: str) -> None:
    """Alone they refuse a GPU in one line; in a list they go to the CPU, whatever the others run on."""
    with pytest.raises(UsageError, match="runs on the CPU"):
        load_backbone(onnx, choice=EngineChoice("cuda"))
    with pytest.raises(UsageError, match="leave out --device and --engine"):
        load_backbone(onnx, choice=EngineChoice(engine="torch"))
    devices = [one.choice.device for one in Wanted(f"vgg16+{onnx}", choice=EngineChoice("cuda")).members()]
    assert devices == ["cuda", "cpu"]
    assert [one.choice.device for one in Wanted(onnx).members()] == [AUTO]


def test_weights_of_onnx_networks(onnx: str, tmp_path: Path) -> None:
    """A file can be given; random ones cannot, nor one file for several networks; the identity has the file's hash."""
    file = classifier(tmp_path / "other.onnx", seed=1)
    given = load_backbone(onnx, weights=str(file), changes=SMALL, choice=CPU)
    assert given.identity.weights_sha256 == sha256_of(file)
    assert given.identity.space != load_backbone(onnx, changes=SMALL, choice=CPU).identity.space
    with pytest.raises(UsageError, match="no random weights"):
        load_backbone(onnx, weights="none")
    with pytest.raises(UsageError, match="is a list, and the file is of one network"):
        load_backbone(f"vgg16+{onnx}", weights=str(file))
    with pytest.raises(WeightsError, match="cannot read the weights"):
        load_backbone(onnx, weights=str(tmp_path / "none.onnx"))


def test_unknown_members_are_named(onnx: str) -> None:
    """As single names are."""
    with pytest.raises(UnknownNameError, match="vgg61"):
        load_backbone(f"{onnx}+vgg61", changes=SMALL, choice=CPU)
