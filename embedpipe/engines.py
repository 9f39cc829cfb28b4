"""What runs a network: torch on any device, or OpenVINO on the CPU, converted from the very same module."""

import importlib.util
import warnings
from collections import OrderedDict
from dataclasses import dataclass
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
    """Replaces every "auto" by the fastest choice that is correct on this machine.

    Returns:
        The complete choice, and the reason in one sentence.

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
    precision = choice.precision
    if precision == AUTO:
        precision = "fp16" if device.startswith("cuda") else "fp32"
    if precision not in PRECISIONS:
        raise UnknownNameError("precision", precision, [AUTO, *PRECISIONS])
    threads = choice.threads or available_cores()
    return EngineChoice(device, precision, engine, threads), _reason(engine, device, precision)


def _reason(engine: str, device: str, precision: str) -> str:
    where = "the GPU that torch finds" if device != "cpu" else "no GPU that torch can use, so the CPU"
    how = {
        "openvino": "OpenVINO runs the same network several times faster than torch there",
        "torch": "torch runs the network",
    }[engine]
    return f"{where}; {how}; {precision} keeps the features within the tolerance of full precision"


def _check_device(device: str) -> None:
    kind = device.partition(":")[0]
    if kind not in ("cpu", "cuda", "mps"):
        raise UnknownNameError("device", device, [AUTO, "cpu", "cuda", "cuda:N", "mps"])
    if kind == "cuda":
        index = int(device.partition(":")[2] or 0)
        if index >= torch.cuda.device_count():
            raise EmbedpipeError(f"no {device} here ({torch.cuda.device_count()} CUDA devices): use --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise EmbedpipeError("no mps device here: use --device cpu")


def start_engine(network: FeatureNetwork, choice: EngineChoice) -> Engine:
    """Puts a network on the device that `choose` settles on."""
    settled, _ = choose(choice)
    if settled.engine == "openvino":
        return OpenVinoEngine(network, settled)
    return TorchEngine(network, settled)


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
        batch = torch.from_numpy(pixels)
        if self._device.type == "cuda":
            batch = batch.pin_memory().to(self._device, non_blocking=True)
        else:
            batch = batch.to(self._device)
        enabled = self._autocast is not None
        with torch.inference_mode(), torch.autocast(self._device.type, self._autocast, enabled=enabled):
            features = self._network(batch)
        result: NDArray[np.float32] = features.float().cpu().numpy()
        return result


class OpenVinoEngine:
    """Runs the module converted to OpenVINO; compiled for each shape that comes often, kept for `STATIC_SHAPES`."""

    name = "openvino"
    device = "cpu"

    def __init__(self, network: FeatureNetwork, choice: EngineChoice) -> None:
        import openvino as ov  # noqa: PLC0415 - an engine of its own, not needed for torch

        self.precision = choice.precision
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # tracing warns of shapes that become constants; the contract test checks
            self._model = ov.convert_model(network, example_input=network.example())
        self._core = ov.Core()
        self._settings = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}[choice.precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": choice.threads,
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
