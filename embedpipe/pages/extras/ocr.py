"""Recognition of the text in a page's picture: what a recogniser is, and the one of the extra `ocr`.

A recogniser is loaded once in each worker. `RapidOcr` runs the networks that lie in the wheel of `rapidocr` (PP-OCR of
PaddleOCR, Apache-2.0: a text detector after Liao et al., 2020, a classifier of upside-down lines, and a recogniser of
lines for Chinese and English). It is told the file of each, so that nothing is ever downloaded.
"""

import importlib
import importlib.metadata
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.machine import report_nothing

NEVER, AUTO, ALWAYS = MODES = ("never", "auto", "always")
"""Which pages are recognised: none, first and last pages without text of their own, or each page."""

LONG_SIDE = 1280
"""Pixels of the long side of a page of paper that is recognised; other shapes get as many pixels."""

PATIENCE = 10
"""So many times as long as rendering may recognition take, and as long in processor time: a newspaper takes 7 s of a
core, and on a busy machine a worker has a small part of one."""

READY_BYTES = 1792 * 1024**2
"""Memory that a worker is allowed for when workers are counted: one takes 1.3 to 1.7 GB after some pages."""

RUNTIMES = ("openvino", "onnxruntime")
"""What runs the networks, the fastest first."""

_PARTS = {"Det": "*_det_*.onnx", "Cls": "*_cls_*.onnx", "Rec": "*_rec_*.onnx"}
_LARGEST_SIDE = 6000

PageReader = Callable[[NDArray[np.uint8]], str]
"""The text of a picture, uint8 (H, W, 3), RGB, in lines; "" where there is none. May raise anything."""


class Recogniser(Protocol):
    """How text is recognised; it crosses to the workers."""

    @property
    def address_space(self) -> int:
        """Bytes that it takes in a worker beyond what the page may take."""

    def check(self) -> None:
        """Raises EmbedpipeError, with what to do, where it cannot be loaded."""

    def load(self) -> PageReader:
        """Loads it; called once in each worker."""


@dataclass(frozen=True, slots=True)
class RapidOcr:
    """The recogniser of the package `rapidocr`.

    Attributes:
        runtime: One of `RUNTIMES`; "" for the first that is installed.
        threads: Of one worker.
        address_space: See `Recogniser`: OpenVINO reserves far more than it uses.
    """

    runtime: str = ""
    threads: int = 1
    address_space: int = 6 * 1024**3

    def check(self) -> None:
        """Raises EmbedpipeError where the package, a runtime or one of its networks is missing."""
        self._chosen_runtime()
        _networks()

    def version(self) -> str:
        """Of the package and what runs it, such as `rapidocr 3.10.0 on openvino`; raises as `check`."""
        self.check()
        return f"rapidocr {importlib.metadata.version('rapidocr')} on {self._chosen_runtime()}"

    def _chosen_runtime(self) -> str:
        for name in [self.runtime] if self.runtime else RUNTIMES:
            if importlib.util.find_spec(name):
                return name
        wanted = self.runtime or " or ".join(RUNTIMES)
        raise EmbedpipeError(f"--ocr needs {wanted} to run its networks: pip install {wanted.partition(' ')[0]}")

    def load(self) -> PageReader:
        """Loads the networks; the reader is for one thread."""
        runtime, files = self._chosen_runtime(), _networks()
        report_nothing()
        cv2 = importlib.import_module("cv2")
        cv2.setNumThreads(self.threads)
        rapidocr = importlib.import_module("rapidocr")
        params: dict[str, Any] = {"Global.log_level": "critical", "Global.max_side_len": _LARGEST_SIDE}
        for part, file in files.items():
            params[f"{part}.model_path"] = str(file)
            params[f"{part}.engine_type"] = rapidocr.EngineType(runtime)
        if runtime == "openvino":
            params["EngineConfig.openvino.inference_num_threads"] = self.threads
        else:
            params["EngineConfig.onnxruntime.intra_op_num_threads"] = self.threads
            params["EngineConfig.onnxruntime.inter_op_num_threads"] = 1
        reader = rapidocr.RapidOCR(params=params)

        def read(pixels: NDArray[np.uint8]) -> str:
            found = reader(np.ascontiguousarray(pixels[:, :, ::-1]))  # it takes BGR
            return "\n".join(getattr(found, "txts", None) or ())

        # each network is loaded when it is first needed: now, before the memory is limited
        sample = np.full((96, 480, 3), 255, np.uint8)
        read(cv2.putText(sample, "Sample 123", (20, 64), cv2.FONT_HERSHEY_SIMPLEX, 1.6, (0, 0, 0), 3))
        return read


def _networks() -> dict[str, Path]:
    """The file of each network, by its name in `rapidocr`; raises EmbedpipeError where one is missing."""
    spec = importlib.util.find_spec("rapidocr")
    if spec is None or spec.origin is None:
        raise EmbedpipeError("--ocr needs the extra `ocr`: pip install 'embedpipe[ocr]' (or leave --ocr out)")
    folder, files = Path(spec.origin).parent / "models", {}
    for part, pattern in _PARTS.items():
        found = sorted(folder.glob(pattern))
        if not found:
            raise EmbedpipeError(
                f"--ocr: {folder / pattern} is missing, and nothing is downloaded: install rapidocr anew, with "
                "pip install --force-reinstall --no-deps 'rapidocr>=3.10,<4'"
            )
        files[part] = found[-1]
    return files


@dataclass(frozen=True, slots=True)
class Ocr:
    """Whether pages are recognised, and how.

    Attributes:
        mode: One of `MODES`.
        recogniser: What recognises them.
    """

    mode: str = NEVER
    recogniser: Recogniser = field(default_factory=RapidOcr)

    def __bool__(self) -> bool:
        """Whether any page is."""
        return self.mode != NEVER

    def wants(self, index: int, page_count: int, *, has_text: bool) -> bool:
        """Whether a page is recognised that is not blank.

        Args:
            index: Of the page, from 0.
            page_count: Of its document.
            has_text: Whether the document itself tells its words.
        """
        return self.mode == ALWAYS or (self.mode == AUTO and not has_text and index in (0, page_count - 1))
