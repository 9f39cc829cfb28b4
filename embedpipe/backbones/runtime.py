"""Settles device, engine and precision, and starts a network on them: torch, or OpenVINO converted from it."""

import contextlib
import functools
import importlib.util
import logging
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from embedpipe.backbones.engines import (
    AUTO,
    PRECISIONS,
    TOLERANCE,
    Engine,
    EngineChoice,
    OpenVinoEngine,
    Pending,
    check_names,
    cpu_batch_size,
    load_openvino,
    openvino_core,
)
from embedpipe.backbones.layers import FeatureNetwork
from embedpipe.backbones.onnx.graphs import GraphNetwork
from embedpipe.backbones.probe_pages import even_pages, trial_pages
from embedpipe.backbones.rounding import rounded_for_bfloat16
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.machine import available_cores
from embedpipe.core.records import Recipe

log = logging.getLogger(__name__)

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_GPU_BATCH_SIZE = 128


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
    check_names(device, choice.precision, choice.engine)
    _check_device(device)
    engine = choice.engine
    if engine == AUTO:
        engine = "openvino" if device == "cpu" and importlib.util.find_spec("openvino") else "torch"
    if engine == "openvino" and device != "cpu":
        raise UsageError("OpenVINO runs on the CPU here: use --device cpu, or --engine torch")
    if engine == "openvino" and not importlib.util.find_spec("openvino"):
        raise EmbedpipeError("OpenVINO is not installed: pip install openvino, or use --engine torch")
    found = "the GPU that torch finds" if device != "cpu" else "no GPU that torch can use, so the CPU"
    where = found if choice.device == AUTO else f"{device}, as asked"
    how = "OpenVINO runs the same network several times faster there" if engine == "openvino" else "torch runs it"
    threads = choice.threads or available_cores()
    return EngineChoice(device, choice.precision, engine, threads), f"{where}; {how}"


def built_for_gpus() -> bool:
    """Whether the installed torch could use a GPU if there were one."""
    return bool(torch.version.cuda or torch.version.hip or torch.backends.mps.is_built())


def offered_precisions(choice: EngineChoice) -> tuple[str, ...]:
    """The precisions that the device of a settled choice really computes in.

    OpenVINO replaces those that a processor lacks without a message (findings/openvino-f16-hint-without-fp16.sh); torch
    emulates them on a CPU.
    """
    if choice.engine == "openvino":
        units = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        return tuple(name for name in PRECISIONS if name == "fp32" or name.upper() in units)
    if choice.device.startswith("cuda") and not torch.cuda.is_bf16_supported(including_emulation=False):
        return ("fp32", "fp16")
    return PRECISIONS


def fast_precision(choice: EngineChoice) -> str:
    """The fastest precision that the hardware of a settled choice has units for; it may still be too coarse."""
    if choice.device.startswith("cuda"):
        return "fp16"
    if choice.engine == "openvino" and "bf16" in offered_precisions(choice):
        return "bf16"
    return "fp32"


def _check_device(device: str) -> None:
    kind, _, number = device.partition(":")
    if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
        raise EmbedpipeError(f"no {device} here ({torch.cuda.device_count()} CUDA devices): use --device cpu")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise EmbedpipeError("no mps device here: use --device cpu")


def start_engine(network: FeatureNetwork | GraphNetwork, recipe: Recipe, choice: EngineChoice) -> Engine:
    """Puts a network on the device that `choose` settles on.

    With the precision left open, the fast one is taken only if it gives this network's features on made-up pages,
    not those that its weights were rounded for alone, within `TOLERANCE` of full precision, measured here and now. A
    precision that the device does not compute in is replaced in the same way, with a warning.

    Args:
        network: Frozen.
        recipe: Gives the shapes of the pages that will come.
        choice: Device, precision, engine, threads.

    Raises:
        UnknownNameError: A device, precision or engine of that name does not exist.
        EmbedpipeError: It exists, but not on this machine.
    """
    settled, _ = choose(choice)
    if choice.engine == AUTO and settled.device == "cpu" and settled.engine == "torch":
        log.warning("OpenVINO is not installed, so torch runs the network, several times slower: pip install openvino")
    if settled.precision != AUTO and settled.precision not in offered_precisions(settled):
        engine = _start(network, recipe, replace(settled, precision=AUTO))
        log.warning("this %s does not compute in %s: %s is used", settled.device, settled.precision, engine.precision)
        return engine
    return _start(network, recipe, settled)


def _start(network: FeatureNetwork | GraphNetwork, recipe: Recipe, settled: EngineChoice) -> Engine:
    make = _engine_maker(network, settled)
    exact, precision = make("fp32"), settled.precision if settled.precision != AUTO else fast_precision(settled)
    if precision == "fp32":
        return exact
    fast, size = make(precision), network.example().shape[1]
    usual = _Trial(exact, [trial_pages(shape) for shape in _trial_shapes(size, recipe)])
    if isinstance(fast, OpenVinoEngine) and precision == "bf16":
        fast = _for_bfloat16(fast, [usual, _Trial(exact, [even_pages(size)])], size)
    if settled.precision == AUTO and usual.smallest_cosine(fast) < TOLERANCE[precision]:
        return exact
    return fast


def _trial_shapes(size: int, recipe: Recipe) -> list[tuple[int, int]]:
    """Rows and columns of the widest and the narrowest pages, and of small ones, over which errors average out least.

    Args:
        size: Pixels of both sides that the network takes.
        recipe: Of the pages that will come.
    """
    sides = (recipe.size, min(recipe.shortest, recipe.size)) if recipe.resize == "aspect" else (recipe.size,)
    small = min(size, recipe.size)
    return list(dict.fromkeys([(small, small), *((recipe.size, side) for side in sides)]))


def _engine_maker(network: FeatureNetwork | GraphNetwork, settled: EngineChoice) -> Callable[[str], Engine]:
    """Makes engines of different precisions from one network, which is converted once."""
    if isinstance(network, GraphNetwork):
        graph, layout = functools.cache(network.model), network.layout
        return lambda precision: OpenVinoEngine(graph, precision, settled.threads, layout=layout)
    if settled.engine == "openvino":
        model = functools.cache(lambda: convert(network))
        return lambda precision: OpenVinoEngine(model, precision, settled.threads)
    return lambda precision: TorchEngine(network, replace(settled, precision=precision))


class _Trial:
    """Batches of made-up pages, whose features in full precision are computed once, when they are asked for.

    Shapes that the network does not take are left out: real pages of them become failures.
    """

    def __init__(self, exact: Engine, batches: list[NDArray[np.uint8]]) -> None:
        self._exact, self._batches = exact, batches

    @functools.cached_property
    def _taken(self) -> list[tuple[NDArray[np.uint8], NDArray[np.float32]]]:
        taken = []
        for pixels in self._batches:
            with contextlib.suppress(RuntimeError):
                taken.append((pixels, self._exact.start(pixels)()))
        return taken

    def smallest_cosine(self, engine: Engine) -> float:
        """Between an engine's features of a page and those in full precision; -1 where no page is taken."""
        return min((smallest_cosine(engine.start(pixels)(), X) for pixels, X in self._taken), default=-1.0)


def _for_bfloat16(plain: OpenVinoEngine, trials: list[_Trial], size: int) -> OpenVinoEngine:
    """The engine itself where its network bears rounding even on pages of one colour, else one rounded with care.

    The latter takes seconds to minutes, and few networks need it.
    """
    if min(trial.smallest_cosine(plain) for trial in trials) >= TOLERANCE["bf16"]:
        return plain
    log.info("the network is made ready for bf16: this takes seconds, for large networks minutes")
    return plain.changed(lambda model: rounded_for_bfloat16(model, size))


def smallest_cosine(X: NDArray[np.float32], Y: NDArray[np.float32]) -> float:
    """Of the rows of X with those of Y, both (n, dim)."""
    lengths = np.linalg.norm(X, axis=1) * np.linalg.norm(Y, axis=1)
    return float(((X * Y).sum(axis=1) / np.maximum(lengths, 1e-12)).min())


class TorchEngine:
    """Runs the module as it is; on a GPU under autocast, with the channels last and copies beside the computing.

    On CUDA, pages go through pinned memory on a stream of their own, features come back the same way, and the host
    waits for nothing but the features that it asks for.
    """

    name = "torch"

    def __init__(self, network: FeatureNetwork, choice: EngineChoice) -> None:
        self.device, self.precision = choice.device, choice.precision
        self._device = torch.device(choice.device)
        self._network = network.to(self._device).to(memory_format=torch.channels_last)
        self._autocast = _TYPES[choice.precision] if choice.precision != "fp32" else None
        on_cuda = self._device.type == "cuda"
        self.batch_size = cpu_batch_size(choice.threads) if self.device == "cpu" else _GPU_BATCH_SIZE
        self.in_flight = 2 if on_cuda else 1
        self._copies = torch.cuda.Stream(self._device) if on_cuda else None  # type: ignore[no-untyped-call]
        if self.device == "cpu":
            torch.set_num_threads(choice.threads)

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """Begins a call for pages uint8 (n, H, W, 3); off CUDA it is over when this returns."""
        batch = torch.from_numpy(np.require(pixels, requirements=["C", "W"]))
        if self._copies is not None:
            return self._start_on_cuda(batch, self._copies)
        features: NDArray[np.float32] = self._forward(batch.to(self._device)).cpu().numpy()
        return lambda: features

    def _forward(self, batch: torch.Tensor) -> torch.Tensor:
        """Features, float32 (n, dim); a batch that the device's memory cannot take goes in halves."""
        enabled = self._autocast is not None
        try:
            with torch.inference_mode(), torch.autocast(self._device.type, self._autocast, enabled=enabled):
                features: torch.Tensor = self._network(batch).float()
                return features
        except torch.cuda.OutOfMemoryError:
            if len(batch) == 1:
                raise
        return torch.cat([self._forward(half) for half in batch.chunk(2)])

    def _start_on_cuda(self, batch: torch.Tensor, copies: torch.cuda.Stream) -> Pending:
        computing = torch.cuda.current_stream(self._device)
        with torch.cuda.stream(copies):
            there = batch.pin_memory().to(self._device, non_blocking=True)
        computing.wait_stream(copies)
        there.record_stream(computing)  # or its memory could be given to the next batch too early
        features = self._forward(there)
        here = torch.empty(features.shape, dtype=torch.float32, pin_memory=True)
        here.copy_(features, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(computing)

        def wait() -> NDArray[np.float32]:
            done.synchronize()
            result: NDArray[np.float32] = here.numpy()
            return result

        return wait


def convert(network: FeatureNetwork) -> Any:
    """The network as an OpenVINO model for any shape and batch."""
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")  # tracing warns of shapes that become constants; the contract test checks
        example = network.example()  # traced here: OpenVINO traces twice, for the same model
        traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
        return load_openvino().convert_model(traced, example_input=example)
