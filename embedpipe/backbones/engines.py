"""What a running network is, and OpenVINO as one way to run it. Nothing here loads torch."""

import importlib
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from embedpipe.backbones.kept_plans import KeptPlans
from embedpipe.core.display import whole_number
from embedpipe.core.errors import EmbedpipeError, NetworkError, UnknownNameError
from embedpipe.core.machine import report_nothing
from embedpipe.core.records import Identity

log = logging.getLogger(__name__)

AUTO = "auto"
PRECISIONS = ("fp32", "bf16", "fp16")
ENGINES = ("torch", "openvino")
TOLERANCE = {"fp32": 0.9999, "bf16": 0.999, "fp16": 0.999}
"""Smallest cosine between the features of a page in a precision and in torch's fp32."""

_OPENVINO_TYPES = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
"""What OpenVINO calls the precisions, in its settings and in what it reports."""

FIXED_PLANS = 3
"""OpenVINO is fastest with a plan for one fixed shape. Each takes memory, so these are kept, and one for the others."""

_REPLACING = 2
"""A shape takes the plan of another when it has come so many times as often: plans cost time to make."""

_REASON = 160
"""Characters of a library's own message that are passed on."""

Pending = Callable[[], NDArray[np.float32]]
"""A call that was begun: waits for its features, (n, dim)."""


def check_names(device: str, precision: str, engine: str) -> None:
    """Raises UnknownNameError where a device, precision or engine of that name exists on no machine."""
    if engine not in (AUTO, *ENGINES):
        raise UnknownNameError("engine", engine, [AUTO, *ENGINES])
    if precision not in (AUTO, *PRECISIONS):
        raise UnknownNameError("precision", precision, [AUTO, *PRECISIONS])
    kind, colon, number = device.partition(":")
    if kind not in (AUTO, "cpu", "cuda", "mps") or (colon and (kind != "cuda" or whole_number(number) is None)):
        raise UnknownNameError("device", device, [AUTO, "cpu", "cuda", "cuda:N", "mps"])


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """What the user asks for; "auto" leaves it to `runtime.choose`.

    Attributes:
        device: "cpu", "cuda", "cuda:N" or "mps".
        precision: One of `PRECISIONS`.
        engine: One of `ENGINES`.
        threads: CPU threads of the network; 0 for all cores.
    """

    device: str = AUTO
    precision: str = AUTO
    engine: str = AUTO
    threads: int = 0


def cpu_batch_size(threads: int) -> int:
    """Pages per call on a CPU: larger batches take more memory and are no faster there, see docs/performance.md."""
    return min(max(2 * threads, 4), 16)


class Engine(Protocol):
    """Runs a network on batches.

    Attributes:
        name: One of `ENGINES`.
        device: Where it runs.
        precision: What it computes in; features are always float32.
        batch_size: Pages per call that suit it.
        in_flight: Calls that may be begun before the first is waited for.
    """

    name: str
    device: str
    precision: str
    batch_size: int
    in_flight: int

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """Begins a call for pages uint8 (n, H, W, 3); the caller may prepare the next batch meanwhile."""


_process: int | None = None
"""The one in which a network was run first."""


def check_not_forked() -> None:
    """Refuses a process whose parent had run a network before it was forked: its threads were not forked with it.

    A network would wait for them for ever, a new one as well.

    Raises:
        EmbedpipeError: This is such a process.
    """
    if _process not in (None, os.getpid()):
        raise EmbedpipeError(
            "this process was forked from one that had run a network, and cannot run any: load it only after the fork, "
            'or start processes with multiprocessing.get_context("spawn")'
        )


def note_process() -> None:
    """To be called before a network is run; raises as `check_not_forked`."""
    global _process  # noqa: PLW0603 - of the process
    check_not_forked()
    _process = os.getpid()


class Detected(Protocol):
    """Makes features of what a detector of regions found; see `onnx.layouts`."""

    def in_place_of_raw(self, rows: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
        """Features (n, dim) of rows (n, k) that end with what was found on pages of that many pixels."""


class UprightTurner(Protocol):
    """Tells by how much pages have to be turned; see `onnx.orientation`."""

    def turns(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Degrees clockwise by which pages uint8 (n, H, W, 3) have to be turned: 0, 90, 180 or 270, (n,)."""


class Backbone:
    """A frozen network, or several: uint8 pages in, features out. Make one with `loading.load_backbone`.

    Attributes:
        identity: What changes the numbers; `identity.space` names the feature space.
        blocks: Where each layer's features lie, as (name, start, stop); penultimate first.
        engine: What runs it: library, device, precision.
        dim: Width of the features.
        turner: What turns scans and photos upright before they are taken; None where pages are taken as they are.
    """

    def __init__(
        self,
        identity: Identity,
        blocks: list[tuple[str, int, int]],
        engine: Engine,
        turner: UprightTurner | None = None,
    ) -> None:
        self.identity = identity
        self.blocks = blocks
        self.engine = engine
        self.dim = blocks[-1][2]
        self.turner = turner

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Features of a batch of pages of one shape.

        Args:
            pixels: uint8 (n, H, W, 3), RGB.

        Returns:
            float32 (n, dim); a row does not depend on the other pages of the batch.
        """
        return self.start(pixels)()

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """The same, begun: the caller may prepare the next batch before it waits for the features.

        What is returned raises NetworkError where the network cannot work on these pages.
        """
        note_process()
        try:
            pending = self.engine.start(pixels)
        except RuntimeError as error:  # what torch and OpenVINO raise, for wrong shapes as for lack of memory
            return partial(_refuse, pixels.shape, error)

        def wait() -> NDArray[np.float32]:
            try:
                return pending()
            except RuntimeError as error:
                _refuse(pixels.shape, error)

        return wait


def _refuse(shape: tuple[int, ...], error: RuntimeError) -> NoReturn:
    count, rows, columns, _ = shape
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    reasons = [line for line in lines if "Exception from" not in line]  # OpenVINO names places in its source first
    reason = next(iter(reasons or lines), type(error).__name__)[:_REASON]
    pages = f"pages of {columns} x {rows} pixels, {count} at once"
    raise NetworkError(f"the network failed on {pages}: {reason}") from error


class OpenVinoEngine:
    """Runs a converted model on the CPU, with a plan of its own for each of the `FIXED_PLANS` most frequent shapes.

    Args:
        read: Returns the model; called when the first page comes, for a run may find that nothing is new.
        precision: One of `PRECISIONS`.
        threads: CPU threads.
        plans: Where the general plan is kept between runs, if anywhere; may be set later.
        layout: What makes features of what a detector of regions found, at the end of each row; None for others.
    """

    name = "openvino"
    device = "cpu"
    in_flight = 1  # two at once would share the same cores

    def __init__(
        self,
        read: Callable[[], Any],
        precision: str,
        threads: int,
        plans: KeptPlans | None = None,
        layout: Detected | None = None,
    ) -> None:
        self.plans = plans
        self.precision = precision
        self.layout = layout
        self.batch_size = cpu_batch_size(threads)
        self._read, self._threads = read, threads
        self._model: Any = None
        self._core: Any = None
        self._settings = {
            "INFERENCE_PRECISION_HINT": _OPENVINO_TYPES[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        self._any_shape: Any = None
        self._fixed: dict[tuple[int, ...], Any] = {}
        self._calls: Counter[tuple[int, ...]] = Counter()

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """Begins a call for pages uint8 (n, H, W, 3)."""
        request = self._compiled(pixels.shape)
        request.start_async([pixels])

        def wait() -> NDArray[np.float32]:
            request.wait()
            X = np.array(request.get_output_tensor(0).data, dtype=np.float32)  # the next call writes there again
            return self.layout.in_place_of_raw(X, *pixels.shape[1:3]) if self.layout else X

        return wait

    def changed(self, change: Callable[[Any], Any]) -> Self:
        """Another one, of the same precision, whose model is what `change` makes of this one's."""
        model = change(self._read())
        return type(self)(lambda: model, self.precision, self._threads, layout=self.layout)

    def save(self, file: Path) -> None:
        """Writes the model, in full precision, to a file and its tensors beside it.

        Raises:
            RuntimeError: OpenVINO cannot write it.
        """
        load_openvino().save_model(self._read(), file, compress_to_fp16=False)

    def _compiled(self, shape: tuple[int, ...]) -> Any:
        """An inference request for this shape: by a plan of its own where it comes often, else by the general one."""
        self._calls[shape] += 1
        if shape not in self._fixed and self._calls[shape] > 1 and self._has_room_for(shape):
            fixed = self._network().clone()
            fixed.reshape(list(shape))
            self._fixed[shape] = self._request(self._compile(fixed))
        if shape in self._fixed:
            return self._fixed[shape]
        if self._any_shape is None:
            self._any_shape = self._request(self._general_plan())
        return self._any_shape

    def _network(self) -> Any:
        if self._model is None:
            self._model = self._read()
        return self._model

    def _general_plan(self) -> Any:
        """The kept plan, else a new one, which is kept."""
        self._core = self._core or openvino_core()
        found = self.plans.find(self._core, self._settings) if self.plans else None
        if found is None:
            found = self._compile(self._network())
            if self.plans:
                self.plans.keep(found, self._settings)
        return found

    def _compile(self, model: Any) -> Any:
        self._core = self._core or openvino_core()
        return self._core.compile_model(model, "CPU", self._settings)

    def _has_room_for(self, shape: tuple[int, ...]) -> bool:
        """Whether one more plan may be made; the plan of a shape that comes far less often makes room."""
        if len(self._fixed) < FIXED_PLANS:
            return True
        rarest = min(self._fixed, key=self._calls.__getitem__)
        if self._calls[shape] < _REPLACING * self._calls[rarest]:
            return False
        del self._fixed[rarest]
        return True

    def _request(self, compiled: Any) -> Any:
        self._note_precision(compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name())
        return compiled.create_infer_request()

    def _note_precision(self, element_type: str) -> None:
        """Records what OpenVINO computes in, which is not always what it was asked for."""
        actual = next((name for name, kind in _OPENVINO_TYPES.items() if kind == element_type), element_type)
        if actual != self.precision:
            log.warning("OpenVINO computes in %s here, not in %s", actual, self.precision)
            self.precision = actual


def load_openvino() -> Any:
    """OpenVINO, loaded when it is needed, for torch does without, and so does a run without new pages."""
    report_nothing()
    return importlib.import_module("openvino")


def openvino_core() -> Any:
    """OpenVINO's entry."""
    return load_openvino().Core()
