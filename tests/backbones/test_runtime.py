"""Starting a network: what is chosen, what is refused, and that all engines give the same features."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from embedpipe.backbones import runtime
from embedpipe.backbones.engines import ENGINES, FIXED_PLANS, TOLERANCE, Backbone, EngineChoice, OpenVinoEngine, Pending
from embedpipe.backbones.layers import FeatureNetwork
from embedpipe.backbones.runtime import TorchEngine, choose, fast_precision, smallest_cosine, start_engine
from embedpipe.core.errors import EmbedpipeError, NetworkError, UnknownNameError
from embedpipe.core.machine import available_cores
from embedpipe.core.records import Identity, Recipe

Pixels = NDArray[np.uint8]
RECIPE = Recipe(64, "aspect", "penultimate+stages")


@pytest.fixture
def cpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without a GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one CUDA device."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def no_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which OpenVINO is not installed."""
    find = importlib.util.find_spec
    fake = SimpleNamespace(util=SimpleNamespace(find_spec=lambda name: None if name == "openvino" else find(name)))
    monkeypatch.setattr(runtime, "importlib", fake)


@pytest.mark.usefixtures("cpu_only")
def test_auto_on_a_cpu_is_openvino() -> None:
    """Without a GPU, auto is OpenVINO on all cores, the precision is left to be measured, and the reason says so."""
    choice, reason = choose(EngineChoice())
    assert choice == EngineChoice("cpu", "auto", "openvino", available_cores())
    assert "OpenVINO" in reason
    assert "CPU" in reason


@pytest.mark.usefixtures("cpu_only", "no_openvino")
def test_auto_without_openvino_is_torch() -> None:
    """Where OpenVINO is not installed, auto is torch, and asking for OpenVINO says how to install it."""
    choice, reason = choose(EngineChoice())
    assert (choice.device, choice.engine) == ("cpu", "torch")
    assert "torch runs it" in reason
    assert fast_precision(choice) == "fp32"
    with pytest.raises(EmbedpipeError, match="pip install openvino, or use --engine torch"):
        choose(EngineChoice(engine="openvino"))


@pytest.mark.usefixtures("cpu_only", "no_openvino", "threads")
def test_falling_back_to_torch_is_said(caplog: pytest.LogCaptureFixture) -> None:
    """Where OpenVINO is missing, whoever leaves the engine open is told what it costs; who asked for torch is not."""
    start_engine(small_features(), RECIPE, EngineChoice("cpu", "fp32", "torch", 1))
    assert not caplog.records
    assert start_engine(small_features(), RECIPE, EngineChoice("cpu", "fp32", threads=1)).name == "torch"
    assert "pip install openvino" in caplog.text


@pytest.mark.usefixtures("one_gpu")
def test_auto_on_a_gpu_is_torch_in_half_precision() -> None:
    """With a GPU, auto is torch on it, fp16 being its fast precision; what was asked for goes before."""
    choice, reason = choose(EngineChoice())
    assert (choice.device, choice.precision, choice.engine) == ("cuda", "auto", "torch")
    assert fast_precision(choice) == "fp16"
    assert "GPU" in reason
    choice, _ = choose(EngineChoice(device="cpu", precision="bf16", threads=3))
    assert choice == EngineChoice("cpu", "bf16", "openvino", 3)


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize("engine", ENGINES)
def test_an_explicit_choice_is_kept(engine: str) -> None:
    """A complete choice that the machine allows is not changed."""
    asked = EngineChoice("cpu", "bf16", engine, 1)
    assert choose(asked)[0] == asked


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (EngineChoice(device="cdua"), r"unknown device 'cdua': did you mean cuda.*known: auto, cpu, cuda, cuda:N, mps"),
        (EngineChoice(device="tpu"), "unknown device 'tpu'.*known: auto, cpu"),
        (EngineChoice(precision="fp61"), r"unknown precision 'fp61': did you mean fp16.*known: auto, bf16, fp16, fp32"),
        (EngineChoice(engine="openvno"), r"unknown engine 'openvno': did you mean openvino\?"),
        (EngineChoice(engine="onnx"), "unknown engine 'onnx'.*known: auto, openvino, torch"),
    ],
)
def test_unknown_names_list_the_nearest(choice: EngineChoice, message: str) -> None:
    """A device, precision or engine of an unknown name is refused with the known and the nearest ones."""
    with pytest.raises(UnknownNameError, match=message):
        choose(choice)


@pytest.mark.usefixtures("cpu_only")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3", "mps"])
def test_a_device_that_is_not_here_is_refused(device: str) -> None:
    """A device that torch knows but this machine lacks is refused with the way out."""
    with pytest.raises(EmbedpipeError, match=f"no {device} (device )?here.*: use --device cpu"):
        choose(EngineChoice(device=device))


@pytest.mark.usefixtures("one_gpu")
def test_the_second_of_one_gpus_is_refused() -> None:
    """A device number beyond those present is refused, and the number of devices told."""
    assert choose(EngineChoice(device="cuda:0"))[0].device == "cuda:0"
    with pytest.raises(EmbedpipeError, match=r"no cuda:1 here \(1 CUDA devices\)"):
        choose(EngineChoice(device="cuda:1"))


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:0"])
def test_openvino_on_a_gpu_is_refused(device: str) -> None:
    """OpenVINO together with a GPU is refused with both ways out."""
    with pytest.raises(EmbedpipeError, match="use --device cpu, or --engine torch"):
        choose(EngineChoice(device=device, engine="openvino"))


@pytest.mark.usefixtures("one_gpu")
@pytest.mark.parametrize("device", ["cuda:x", "cuda:-1", "cpu:x"])
def test_a_device_with_a_bad_number_is_refused(device: str) -> None:
    """A device whose number is none is refused like any unknown device."""
    with pytest.raises(EmbedpipeError):
        choose(EngineChoice(device=device))


@pytest.mark.usefixtures("one_gpu")
def test_the_reason_does_not_deny_a_gpu() -> None:
    """The reason for the CPU that was asked for does not say that there is no GPU."""
    assert "no GPU" not in choose(EngineChoice(device="cpu"))[1]


class Small(torch.nn.Module):
    """A network of two stages whose features differ clearly from page to page."""

    def __init__(self) -> None:
        """Convolutions of stride 4 and 2."""
        super().__init__()
        torch.manual_seed(0)
        self.stem = torch.nn.Conv2d(3, 16, 4, 4)
        self.body = torch.nn.Conv2d(16, 32, 3, 2, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Means of the last maps."""
        return torch.relu(self.body(torch.relu(self.stem(x)))).mean((2, 3))


def small_features() -> FeatureNetwork:
    """The small network with its stage and its penultimate layer."""
    with torch.random.fork_rng(devices=[]):
        network = Small().eval().requires_grad_(False)
    return FeatureNetwork(network, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "penultimate+stages")


def with_large_filter() -> FeatureNetwork:
    """A network that takes pages of 20 pixels and more."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        large = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 20), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    return FeatureNetwork(large.eval().requires_grad_(False), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "penultimate")


def pages(n: int, height: int, width: int) -> Pixels:
    """Pages of noise, each of another brightness."""
    rng = np.random.default_rng(n + height)
    noise = rng.integers(0, 100, (n, height, width, 3))
    return (noise + rng.integers(0, 150, (n, 1, 1, 3))).astype(np.uint8)


@pytest.fixture(scope="module")
def by_hand() -> FeatureNetwork:
    """The module itself, run without an engine."""
    return small_features()


@pytest.fixture(scope="module")
def openvino_engine() -> OpenVinoEngine:
    """OpenVINO with the small network."""
    engine = start_engine(small_features(), RECIPE, EngineChoice("cpu", "fp32", "openvino", 1))
    assert isinstance(engine, OpenVinoEngine)
    return engine


class Coarse:
    """An engine whose features in one precision are off by a known angle."""

    def __init__(self, precision: str, cosine: float) -> None:
        """Notes what to give."""
        self.name, self.device, self.precision, self._cosine = "torch", "cpu", precision, cosine

    def start(self, pixels: Pixels) -> Pending:
        """The same features for all pages, but for the last one, which is off in any but full precision."""
        X = np.tile(np.array([[1, 0]], np.float32), (len(pixels), 1))
        if self.precision != "fp32":
            X[-1] = self._cosine, np.sqrt(1 - self._cosine**2)
        return lambda: X


@pytest.mark.parametrize(("cosine", "taken"), [(0.9995, "bf16"), (0.9985, "fp32")])
def test_the_fast_precision_is_taken_only_within_the_tolerance(
    by_hand: FeatureNetwork, monkeypatch: pytest.MonkeyPatch, cosine: float, taken: str
) -> None:
    """With the precision left open, a single page off by more than the tolerance leads to full precision."""
    assert TOLERANCE["bf16"] == 0.999
    monkeypatch.setattr(runtime, "offered_precisions", lambda _choice: ("fp32", "bf16"))
    monkeypatch.setattr(runtime, "_engine_maker", lambda *_: lambda precision: Coarse(precision, cosine))
    assert start_engine(by_hand, RECIPE, EngineChoice("cpu")).precision == taken
    assert start_engine(by_hand, RECIPE, EngineChoice("cpu", "bf16")).precision == "bf16"


def test_a_precision_that_the_device_does_not_compute_in_is_replaced_and_said(
    by_hand: FeatureNetwork, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """OpenVINO would take another one silently; what is used is what the engine says and what is recorded."""
    monkeypatch.setattr(runtime, "offered_precisions", lambda _choice: ("fp32", "bf16"))
    monkeypatch.setattr(runtime, "_engine_maker", lambda *_: lambda precision: Coarse(precision, 0.9995))
    assert start_engine(by_hand, RECIPE, EngineChoice("cpu", "fp16")).precision == "bf16"
    assert caplog.messages == ["this cpu does not compute in fp16: bf16 is used"]


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_an_engine_says_what_openvino_really_computes_in(
    by_hand: FeatureNetwork, precision: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever the processor lacks, the precision after the first pages is the one that was read back."""
    engine = OpenVinoEngine(lambda: runtime.convert(by_hand), precision, 1)
    engine.start(pages(1, 64, 64))()
    assert engine.precision in runtime.offered_precisions(EngineChoice("cpu", "auto", "openvino"))
    assert bool(caplog.messages) == (engine.precision != precision)


@pytest.mark.parametrize(("cosine", "rounded"), [(0.9995, False), (0.9985, True)])
def test_weights_are_rounded_with_care_only_where_nearest_values_turn_features(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cosine: float, rounded: bool
) -> None:
    """For bf16 a model is taken as it is where it keeps the tolerance on made-up pages, else rounded, which is said."""

    class Plain(Coarse):
        def changed(self, change: Callable[[Any], Any]) -> Any:
            return change("model")

    plain: Any = Plain("bf16", cosine)
    trial = runtime._Trial(Coarse("fp32", 1), [pages(2, 64, 64)])  # type: ignore[arg-type]
    monkeypatch.setattr(runtime, "rounded_for_bfloat16", lambda model, size: f"{model}, rounded for {size}")
    with caplog.at_level("INFO", "embedpipe"):
        assert runtime._for_bfloat16(plain, [trial], 64) == ("model, rounded for 64" if rounded else plain)
    assert ("this takes seconds" in caplog.text) == rounded


@pytest.mark.parametrize(
    ("recipe", "shapes"),
    [
        (Recipe(), {(128, 128), (320, 320), (320, 32)}),
        (Recipe(shortest=80), {(128, 128), (320, 320), (320, 80)}),
        (Recipe(64), {(64, 64), (64, 32)}),
        (Recipe(224, "squash"), {(128, 128), (224, 224)}),
        (Recipe(128, "crop"), {(128, 128)}),
    ],
)
def test_a_precision_is_tried_on_pages_of_all_shapes(
    by_hand: FeatureNetwork, monkeypatch: pytest.MonkeyPatch, recipe: Recipe, shapes: set[tuple[int, int]]
) -> None:
    """Small pages, the widest and the narrowest of a recipe each can lead to full precision by themselves."""
    tried = set()

    class OffForOne(Coarse):
        def start(self, pixels: Pixels) -> Pending:
            tried.add(pixels.shape[1:3])
            self._cosine = 0.5 if pixels.shape[1:3] == off else 1
            return super().start(pixels)

    monkeypatch.setattr(runtime, "fast_precision", lambda _choice: "bf16")
    monkeypatch.setattr(runtime, "_engine_maker", lambda *_: lambda precision: OffForOne(precision, 1))
    for off in (None, *shapes):
        assert start_engine(by_hand, recipe, EngineChoice("cpu")).precision == ("fp32" if off else "bf16")
    assert tried == shapes


@pytest.mark.usefixtures("bf16")
@pytest.mark.parametrize(("size", "precision"), [(64, "bf16"), (16, "fp32")])
def test_a_precision_is_tried_on_the_pages_that_the_network_takes(size: int, precision: str) -> None:
    """Shapes that a network fails on do not keep it from the fast precision, unless it fails on all that will come."""
    recipe = Recipe(size, "aspect", "penultimate", shortest=16)
    started = start_engine(with_large_filter(), recipe, EngineChoice("cpu", "auto", "openvino", 1))
    assert started.precision == precision


def test_auto_is_within_the_tolerance_here(by_hand: FeatureNetwork) -> None:
    """Whatever precision this machine's auto takes, features of other pages are within its tolerance."""
    started = start_engine(small_features(), RECIPE, EngineChoice("cpu", "auto", "openvino", 1))
    pixels = pages(4, 64, 64)
    assert smallest_cosine(started.start(pixels)(), expected(by_hand, pixels)) >= TOLERANCE[started.precision]


def test_the_smallest_cosine_is_of_the_worst_row() -> None:
    """The cosine is that of the row that is off most, whatever the rows' lengths; an empty row counts as off."""
    X = np.array([[1, 0], [3, 4], [0, 2]], np.float32)
    Y = np.array([[5, 0], [4, 3], [0, 1]], np.float32)
    assert smallest_cosine(X, Y) == pytest.approx(24 / 25)
    assert smallest_cosine(X, np.zeros_like(Y)) == 0


def expected(network: FeatureNetwork, pixels: Pixels) -> Any:
    """Features as the module computes them."""
    with torch.inference_mode():
        return network(torch.from_numpy(pixels)).numpy()


def test_plans_for_fixed_and_for_any_shapes_agree(by_hand: FeatureNetwork, openvino_engine: OpenVinoEngine) -> None:
    """The first call of a shape runs the general plan and the next one a plan of its own, with the same features."""
    for shape in [(3, 64, 96), (1, 64, 96), (3, 96, 64)]:
        pixels = pages(*shape)
        general = openvino_engine.start(pixels)()
        assert pixels.shape not in openvino_engine._fixed
        own = openvino_engine.start(pixels)()
        assert pixels.shape in openvino_engine._fixed
        again = openvino_engine.start(pixels)()
        np.testing.assert_allclose(general, expected(by_hand, pixels), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(own, general, rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(own, again)


def test_results_are_not_overwritten_by_the_next_call(openvino_engine: OpenVinoEngine) -> None:
    """Features that were returned stay as they are when the engine runs again."""
    first, second = pages(2, 32, 32), pages(2, 32, 32)[::-1].copy()
    openvino_engine.start(first)()
    kept = openvino_engine.start(first)()
    copy = kept.copy()
    openvino_engine.start(second)()
    np.testing.assert_array_equal(kept, copy)


def test_more_shapes_than_plans_stay_right(by_hand: FeatureNetwork, openvino_engine: OpenVinoEngine) -> None:
    """With more shapes than plans are kept for, the number of plans stays bounded and the features right."""
    shapes = [(1, 32 + 8 * i, 40) for i in range(FIXED_PLANS + 2)]
    for shape in shapes + shapes[:2] + shapes[:2]:
        pixels = pages(*shape)
        np.testing.assert_allclose(openvino_engine.start(pixels)(), expected(by_hand, pixels), rtol=1e-4, atol=1e-5)
        assert len(openvino_engine._fixed) <= FIXED_PLANS


def test_the_shapes_that_come_most_often_have_the_plans() -> None:
    """A shape that comes far more often takes the plan of a rare one; one that comes as often does not."""
    engine = start_engine(small_features(), RECIPE, EngineChoice("cpu", "fp32", "openvino", 1))
    assert isinstance(engine, OpenVinoEngine)
    shapes = [(1, 32 + 8 * i, 40) for i in range(FIXED_PLANS + 1)]
    for shape in shapes[:-1] * 2:
        engine.start(pages(*shape))()
    frequent, rare = pages(*shapes[-1]), pages(*shapes[0])
    for times in (1, 2, 3):
        engine.start(frequent)()
        assert frequent.shape not in engine._fixed, times
    assert rare.shape in engine._fixed
    engine.start(frequent)()
    assert frequent.shape in engine._fixed
    assert len(engine._fixed) == FIXED_PLANS


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_and_precision_gives_float32_near_the_module(
    by_hand: FeatureNetwork, engine: str, precision: str
) -> None:
    """Features are float32 and those of the module, within the tolerance of the precision."""
    pixels = pages(4, 64, 64)
    started = start_engine(small_features(), RECIPE, EngineChoice("cpu", precision, engine, 1))
    offered = runtime.offered_precisions(EngineChoice("cpu", precision, engine, 1))
    assert (started.name, started.device) == (engine, "cpu")
    assert started.precision == (precision if precision in offered else "fp32")
    X, truth = started.start(pixels)(), expected(by_hand, pixels)
    assert X.dtype == np.float32
    assert X.shape == truth.shape
    assert smallest_cosine(X, truth) >= TOLERANCE[precision]
    assert smallest_cosine(X, truth[::-1]) < 0.99


@pytest.fixture
def threads() -> Iterator[None]:
    """Restores torch's number of threads."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_torch_uses_as_many_threads_as_asked_for() -> None:
    """The number of threads reaches torch."""
    TorchEngine(small_features(), EngineChoice("cpu", "fp32", "torch", 1))
    assert torch.get_num_threads() == 1
    TorchEngine(small_features(), EngineChoice("cpu", "fp32", "torch", 2))
    assert torch.get_num_threads() == 2


def test_openvino_uses_as_many_threads_as_asked_for(openvino_engine: OpenVinoEngine) -> None:
    """The number of threads reaches OpenVINO's compiled network."""
    pixels = pages(2, 32, 48)
    openvino_engine.start(pixels)()
    request = openvino_engine._any_shape
    assert request.get_compiled_model().get_property("INFERENCE_NUM_THREADS") == 1


@pytest.mark.usefixtures("threads")
def test_a_batch_that_memory_cannot_take_goes_in_halves(by_hand: FeatureNetwork) -> None:
    """Where memory runs out, the features are those of the whole batch; a page that is too much says so."""
    most = 2

    class Limited(FeatureNetwork):
        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            if len(pixels) > most:
                raise torch.cuda.OutOfMemoryError
            return super().forward(pixels)

    with torch.random.fork_rng(devices=[]):
        network = Limited(Small().eval(), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), "penultimate+stages")
    engine = TorchEngine(network, EngineChoice("cpu", "fp32", "torch", 1))
    pixels = pages(7, 32, 32)
    np.testing.assert_allclose(engine.start(pixels)(), expected(by_hand, pixels), rtol=1e-4, atol=1e-5)
    most = 0
    with pytest.raises(torch.cuda.OutOfMemoryError):
        engine.start(pixels)


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("engine", ENGINES)
def test_pages_that_a_network_does_not_take_are_an_error_of_one_line(engine: str) -> None:
    """Pages smaller than a filter give one line with their size, each time, and pages after them their features."""
    identity = Identity("large_filter", "0" * 64, Recipe(64, "aspect", "penultimate"), ("penultimate",))
    network = with_large_filter()
    started = start_engine(network, identity.recipe, EngineChoice("cpu", "fp32", engine, 1))
    backbone = Backbone(identity, network.blocks, started)
    for _ in range(3):  # OpenVINO makes a plan for a shape the second time that it comes
        with pytest.raises(NetworkError, match=r"^the network failed on pages of 48 x 16 pixels, 2 at once: \S.*$"):
            backbone(pages(2, 16, 48))
        assert backbone(pages(2, 32, 48)).shape == (2, 4)


def test_openvino_reports_to_nobody() -> None:
    """A process that converts and runs a network has not loaded the package by which OpenVINO reports what it does."""
    code = (
        "import sys\n"
        "from embedpipe.backbones.building import load_backbone\n"
        "from embedpipe.backbones.engines import EngineChoice\n"
        "load_backbone('timm:test_resnet', weights='none', choice=EngineChoice('cpu', 'fp32', 'openvino', 1))"
        ".start(__import__('numpy').zeros((1, 320, 320, 3), 'uint8'))()\n"
        "from openvino.tools.ovc import convert_impl, telemetry_stub\n"
        "loaded = [name for name, module in sys.modules.items() if name.startswith('openvino_telemetry') and module]\n"
        "sys.exit(bool(loaded) or convert_impl.tm is not telemetry_stub)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def always_warn() -> Iterator[None]:
    """Lets torch repeat the warnings that it gives once per process."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.usefixtures("always_warn", "threads")
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["read-only", "reversed", "strided"])
def test_arrays_of_any_layout_are_taken(
    by_hand: FeatureNetwork, openvino_engine: OpenVinoEngine, engine: str, kind: str
) -> None:
    """Pages that may not be written to, as Pillow gives them, or that are views of others have the same features."""
    pixels = pages(2, 32, 32)
    truth = expected(by_hand, pixels)
    if kind == "read-only":
        pixels.setflags(write=False)
    elif kind == "reversed":
        pixels, truth = pixels[::-1], truth[::-1]
    else:
        pixels = np.repeat(pixels, 2, axis=2)[:, :, ::2]
    torch_engine = TorchEngine(small_features(), EngineChoice("cpu", "fp32", "torch", 1))
    X = (openvino_engine if engine == "openvino" else torch_engine).start(pixels)()
    np.testing.assert_allclose(X, truth, rtol=1e-4, atol=1e-5)
