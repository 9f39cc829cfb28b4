"""Memory is that of this process and of all that it started."""

import os
import subprocess
import sys
import time

import pytest

from embedpipe.core.memory import PeakMemory, family_megabytes

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


def test_a_child_counts() -> None:
    """A process that takes 100 MB is seen as long as it lives, and in the peak afterwards."""
    code = "x = bytearray(100_000_000); print(flush=True); input()"
    with PeakMemory() as memory:
        before = family_megabytes()
        with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            child.stdout.readline()
            assert family_megabytes() > before + 90
            time.sleep(0.3)
            child.communicate(b"\n")
    assert memory.peak_mb is not None
    assert memory.peak_mb > before + 90
