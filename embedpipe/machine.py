"""What this machine offers, told without loading a heavy library."""

import os
import platform
import sys
from pathlib import Path

_GPU_FILES = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/kfd", "/dev/dxg")
"""What the drivers of NVIDIA and AMD put there; the last is Windows' for its Linux."""

_CPU_FACTS = ("model name", "flags", "features", "cpu part")


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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
