"""Memory is that of this process and of all that it started; nothing is lost at its end."""

import os
import subprocess
import sys
import time

import pytest

from embedpipe.core.process import PeakMemory, family_megabytes

COUNTED = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="needs /proc")


@COUNTED
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


def test_nothing_is_lost_at_the_end() -> None:
    """Threads end their work, what is to be done at any exit is done, and all that was written arrives."""
    code = """
import atexit, concurrent.futures, threading, time
from embedpipe.core.process import end
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.2), print("a thread"))).start()
concurrent.futures.ThreadPoolExecutor().submit(lambda: (time.sleep(0.3), print("a pool")))
print("x" * 100_000)
end(7)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 7
    assert done.stdout.split() == ["x" * 100_000, "a", "thread", "a", "pool", "at", "exit"]
