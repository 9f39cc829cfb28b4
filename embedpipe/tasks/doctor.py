"""What this machine runs the network with, why, and what to do about what is missing."""

import importlib.util
import platform
from importlib.metadata import version
from typing import Any

import torch

from embedpipe.backbones.building import BACKBONES
from embedpipe.backbones.engines import EngineChoice
from embedpipe.backbones.runtime import choose, fast_precision
from embedpipe.core.cache_folder import cache_folder
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.machine import available_cores
from embedpipe.core.records import DEFAULT_BACKBONE
from embedpipe.pages.converting.conversions import lacking, version_of
from embedpipe.pages.converting.table import active
from embedpipe.pages.extras.ocr import RapidOcr
from embedpipe.store.workspace import Workspace

_LIBRARIES = ("torch", "torchvision", "timm", "scikit-learn", "pymupdf", "pillow", "pyarrow", "faiss-cpu", "skops")


def examine(workspace: Workspace) -> dict[str, Any]:
    """Device, engine, precision, threads, libraries, weights; and advice, a line each."""
    settled, reason = choose(EngineChoice())
    fast = fast_precision(settled)
    reason += f"; {fast} is the fastest precision here, and a network whose features suffer from it runs in fp32"
    advice = []
    if not importlib.util.find_spec("openvino"):
        advice.append("pip install openvino: the network runs several times faster with it on a CPU")
    if torch.version.cuda is None and not torch.backends.mps.is_available():
        advice.append("this torch is built for CPUs only; with an NVIDIA GPU, install a CUDA build of torch")
    try:
        default = BACKBONES[DEFAULT_BACKBONE]()
        default.fetch()
        weights = f"{DEFAULT_BACKBONE}: here, SHA-256 as expected"
    except EmbedpipeError as error:
        weights = f"{DEFAULT_BACKBONE}: {error}"
        advice.append(str(error))
    try:
        ocr = RapidOcr().version()
    except EmbedpipeError as error:
        ocr = f"not here: {error}"
    here = [name for name, source in BACKBONES.items() if source().is_here()]
    return {
        "device": settled.device,
        "engine": settled.engine,
        "precision": fast,
        "why": reason,
        "threads": settled.threads,
        "cores": available_cores(),
        "cuda": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "weights": weights,
        "weights_here": here,
        "ocr": ocr,
        "heif": _heif(),
        "converters": _converters(),
        "artifacts": str(workspace.root.absolute()),
        "converted": str(cache_folder()),
        "advice": advice,
    }


def _converters() -> dict[str, str]:
    """Which program makes PDFs of each kind of document that needs one, or how to get it."""
    told = {}
    for converter in active().values():
        program = converter.found()
        if program is None:
            told[converter.name] = f"not here: {converter.made_by}: {converter.get}"
            continue
        version, missing = version_of(converter, program), lacking(converter, program)
        told[converter.name] = " ".join(filter(None, (converter.made_by, version, f"({program})")))
        told[converter.name] += f", without {missing}: {converter.get}" if missing else ""
        told[converter.name] += f"; {converter.fails}" if converter.fails else ""
    return told


def _heif() -> str:
    """Whether pictures of phones can be read."""
    if not importlib.util.find_spec("pi_heif"):
        return 'not here: pip install "embedpipe[heif]", or pi-heif, reads HEIC pictures of phones'
    return f"pi-heif {version('pi-heif')}"
