"""What runs a network: torch on any device, or OpenVINO on the CPU, converted from the very same module."""

import importlib.util
import warnings
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from embedpipe.errors import EmbedpipeError, UnknownNameError
from embedpipe.layers import FeatureNetwork
from embedpipe.machine import available_cores

AUTO = "auto"
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
ENGINES = ("torch", "openvino")
TOLERANCE = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999}
"""Smallest cosine between the features of a page in a precision and in torch's fp32."""

STATIC_SHAPES = 8
"""OpenVINO plans memory best for fixed shapes; this many are kept ready."""


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What the user asks for; "auto" leaves it to `choose`.

    Attributes:
        device: "cpu", "cuda", "cuda:N" or "mps".
        precision: A key of `PRECISIONS`.
        engine: One of `ENGINES`.
        threads: CPU threads of the network; 0 for all cores.
    """

    device: str = AUTO
    precision: str = AUTO
    engine: str = AUTO
    threads: int = 0


class Engine(Protocol):
    """Runs a network on batches.

    Attributes:
        name: One of `ENGINES`.
        device: Where it runs.
        precision: What it computes in; features are always float32.
    """

    name: str
    device: str
    precision: str

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (n, dim) of pages uint8 (n, H, W, 3)."""


def choose(choice: EngineChoice) -> tuple[EngineChoice, str]:
    """Replaces "auto" for device, engine and threads by the fastest on this machine.

    Returns:
        The choice, where only the precision may still be "auto", and the reason in one sentence.

    Raises:
        UnknownNameError: A device, precision or engine of that name does not exist.
        EmbedpipeError: It exists, but not on this machine.
    """
    device = choice.device
    if device == AUTO:
        device = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    _check_device(device)
    engine = choice.engine
    if engine == AUTO:
        engine = "openvino" if device == "cpu" and importlib.util.find_spec("openvino") else "torch"
    if engine not in ENGINES:
        raise UnknownNameError("engine", engine, [AUTO, *ENGINES])
    if engine == "openvino" and device != "cpu":
        raise EmbedpipeError("OpenVINO runs on the CPU here: use --device cpu, or --engine torch")
    if engine == "openvino" and not importlib.util.find_spec("openvino"):
        raise EmbedpipeError("OpenVINO is not installed: pip install openvino, or use --engine torch")
    if choice.precision not in (AUTO, *PRECISIONS):
        raise UnknownNameError("precision", choice.precision, [AUTO, *PRECISIONS])
    found = "the GPU that torch finds" if device != "cpu" else "no GPU that torch can use, so the CPU"
    where = found if choice.device == AUTO else f"{device}, as asked"
    how = "OpenVINO runs the same network several times faster there" if engine == "openvino" else "torch runs it"
    threads = choice.threads or available_cores()
    return EngineChoice(device, choice.precision, engine, threads), f"{where}; {how}"


def fast_precision(choice: EngineChoice) -> str:
    """The fastest precision that the hardware of a settled choice has units for; it may still be too coarse."""
    if choice.device.startswith("cuda"):
        return "fp16"
    if choice.engine == "openvino":
        import openvino as ov  # noqa: PLC0415 - an engine of its own, not needed for torch

        if "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            return "bf16"
    return "fp32"


def _check_device(device: str) -> None:
    kind, _, number = device.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (number and (kind != "cuda" or not number.isdecimal())):
        raise UnknownNameError("device", device, [AUTO, "cpu", "cuda", "cuda:N", "mps"])
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise EmbedpipeError(f"no {device} here ({torch.cuda.device_count()} CUDA devices): use --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise EmbedpipeError("no mps device here: use --device cpu")


def start_engine(network: FeatureNetwork, choice: EngineChoice) -> Engine:
    """Puts a network on the device that `choose` settles on.

    With the precision left open, the fast one is taken only if it gives this network's features on sample pages
    within `TOLERANCE` of full precision, measured here and now.
    """
    settled, _ = choose(choice)
    engine = _engine_maker(network, settled)
    if settled.precision != AUTO:
        return engine(settled.precision)
    exact, precision = engine("fp32"), fast_precision(settled)
    if precision == "fp32":
        return exact
    fast = engine(precision)
    pages = sample_pages(network.example().shape[1])
    return fast if smallest_cosine(fast(pages), exact(pages)) >= TOLERANCE[precision] else exact


def _engine_maker(network: FeatureNetwork, settled: EngineChoice) -> Callable[[str], Engine]:
    """Makes engines of different precisions from one network, which is converted once."""
    if settled.engine == "openvino":
        model = convert(network)
        return lambda precision: OpenVinoEngine(model, precision, settled.threads)
    return lambda precision: TorchEngine(network, replace(settled, precision=precision))


def smallest_cosine(X: NDArray[np.float32], Y: NDArray[np.float32]) -> float:
    """Of the rows of X with those of Y, both (n, dim)."""
    lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(Y, axis=1)
    return float(((X * Y).sum(axis=1) / np.maximum(lengths, 1e-12)).min())


def sample_pages(size: int) -> NDArray[np.uint8]:
    """White paper with grey lines of words, bars, and a picture, as pages are; uint8 (3, size, size, 3)."""
    random = np.random.default_rng(0)
    pages = np.full((3, size, size, 3), 255, np.uint8)
    for top in range(size // 10, size - size // 10, 4):
        words = random.integers(90, 255, (2, size * 4 // 5, 1), np.uint8)
        pages[0, top, size // 10 : size // 10 + words.shape[1]] = words[0]
        pages[1, top, size // 10 : size // 2] = words[1, : size // 2 - size // 10]
    pages[1, :: max(size // 8, 1)] = 60
    pages[2, size // 4 : size // 2] = random.integers(0, 255, (size // 2 - size // 4, size, 3), np.uint8)
    return pages


class TorchEngine:
    """Runs the module as it is; on a GPU under autocast with the channels last."""

    name = "torch"

    def __init__(self, network: FeatureNetwork, choice: EngineChoice) -> None:
        self.device, self.precision = choice.device, choice.precision
        self._device = torch.device(choice.device)
        self._network = network.to(self._device).to(memory_format=torch.channels_last)
        self._autocast = PRECISIONS[choice.precision] if choice.precision != "fp32" else None
        if self.device == "cpu":
            torch.set_num_threads(choice.threads)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (n, dim) of pages uint8 (n, H, W, 3)."""
        batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        if self._device.type == "cuda":
            batch = batch.pin_memory().to(self._device, non_blocking=True)
        else:
            batch = batch.to(self._device)
        enabled = self._autocast is not None
        with torch.inference_mode(), torch.autocast(self._device.type, self._autocast, enabled=enabled):
            features = self._network(batch)
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result


def convert(network: FeatureNetwork) -> Any:
    """The network as an OpenVINO model for any shape and batch."""
    import openvino as ov  # noqa: PLC0415 - an engine of its own, not needed for torch

    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of shapes that become constants; the contract test checks
        return ov.convert_model(network, example_input=network.example())


class OpenVinoEngine:
    """Runs a converted model; compiled for each shape that comes often, kept for `STATIC_SHAPES`."""

    name = "openvino"
    device = "cpu"

    def __init__(self, model: Any, precision: str, threads: int) -> None:
        import openvino as ov  # noqa: PLC0415

        self.precision = precision
        self._model = model
        self._core = ov.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._any_shape: Any = None
        self._static: OrderedDict[tuple[int, ...], Any] = OrderedDict()

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features (n, dim) of pages uint8 (n, H, W, 3)."""
        request = self._compiled(pixels.shape)
        return np.array(request.infer([pixels])[0], dtype=np.float32)

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        """An inference request for this shape: a plan of its own once it has come twice, else the general one."""
        if shape in self._static:
            self._static.move_to_end(shape)
            request = self._static[shape]
            if request is None:
                fixed = self._model.clone()
                fixed.reshape(list(shape))
                request = self._static[shape] = self._request(fixed)
            return request
        self._static[shape] = None
        if len(self._static) > STATIC_SHAPES:
            self._static.popitem(last=False)
        if self._any_shape is None:
            self._any_shape = self._request(self._model)
        return self._any_shape

    def _request(self, model: Any) -> Any:
        return self._core.compile_model(model, "CPU", self._settings).create_infer_request()
