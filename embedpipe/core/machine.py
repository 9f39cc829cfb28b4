"""What this machine offers, found without loading a heavy library."""

import contextlib
import math
import os
import platform
import sys
from pathlib import Path
from typing import Any

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""What the drivers of NVIDIA and AMD put there; the last is Windows' for its Linux."""

_CPU_FACTS = ("model name", "flags", "features", "cpu part")
_CGROUP = Path("/sys/fs/cgroup")
_WORKER_BYTES = 512 * 1024**2
"""Memory that a render worker is allowed for when workers are counted: twice what one needs for usual pages."""


def available_cores() -> int:
    """Cores that this process may use: those it is bound to, and no more than its container's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):  # "max 100000" where there is no limit
        share, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        cores = min(cores, math.ceil(int(share) / int(period)))
    return max(cores, 1)


def available_memory() -> int | None:
    """Bytes that this process and its workers may still take; None where that is not known."""
    limits = []
    with contextlib.suppress(OSError, ValueError, LookupError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        limits.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")))
    with contextlib.suppress(OSError, ValueError):
        most, used = ((_CGROUP / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
        limits.append(max(int(most) - int(used), 0))
    return min(limits, default=None)


def render_workers(worker_bytes: int = _WORKER_BYTES) -> int:
    """Render processes that suit this machine: one for each core, fewer where memory is short.

    Args:
        worker_bytes: Memory that each is allowed for.
    """
    memory = available_memory()
    return available_cores() if memory is None else max(1, min(available_cores(), memory // worker_bytes))


def report_nothing() -> None:
    """Keeps OpenVINO from reporting, for this process; call it before it is imported.

    It would report every import and conversion to its makers over the network, in a process forked for that, which can
    hang. Nothing leaves the machine here: its own stub takes over where the package that reports is missing.
    """
    modules: dict[str, Any] = sys.modules
    modules.setdefault("openvino_telemetry", None)  # makes the import fail


def gpu_visible() -> bool:
    """Whether there may be a GPU that torch can use; False only where there is none for sure."""
    return not sys.platform.startswith("linux") or any(map(os.path.exists, _GPU_FILES))


def processor() -> str:
    """What the CPU is and can do, as one text."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    facts = {line for line in lines if line.lower().startswith(_CPU_FACTS)}
    return "\n".join([platform.machine(), *sorted(facts)])
