"""Runs one program on one file: in a folder of its own, without network, under a timer and caps, ended as a whole."""

import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedpipe.core.errors import DocumentError

_LOOK_UP = 0.05  # seconds
_TOLD_BYTES = 4096
_KILOBYTE, _BLOCK = 1024, 512

_LIMITED = 'ulimit -c 0; ulimit -d "$1"; ulimit -f "$2"; ulimit -t "$3"; shift 3; exec "$@"'
"""A shell that sets the caps and becomes the program: what Python could set after the fork, it must not do in threads.
`-d` counts what is written to (since Linux 4.7), and not the addresses that Java, Go or Node set aside."""

_NO_MEMORY = re.compile(
    r"out of memory|bad_alloc|memoryerror|cannot allocate|memory exhausted|heap space", re.IGNORECASE
)

_DEAD_PROXY = "http://127.0.0.1:9"
_ENVIRONMENT = {
    "SAL_USE_VCLPLUGIN": "svp",
    "PYTHONDONTWRITEBYTECODE": "1",
    **dict.fromkeys(("http_proxy", "https_proxy", "ftp_proxy", "all_proxy"), _DEAD_PROXY),
    **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "ALL_PROXY"), _DEAD_PROXY),
}


@dataclass(frozen=True, slots=True)
class Caps:
    """What one run of a program may take.

    Attributes:
        seconds: Of the clock.
        memory_bytes: That each of its processes may write to.
        file_bytes: Of each file that it writes.
    """

    seconds: float
    memory_bytes: int
    file_bytes: int


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended: its exit code (negative for a signal), and the end of what it printed."""

    code: int
    told: str


def run(command: Sequence[str], folder: Path, caps: Caps, stopped: threading.Event) -> Ended:
    """Runs a program to its end, without a network where the system lets us, and ends whatever it started.

    Args:
        command: The program, and what it is given.
        folder: A folder of its own: its working and temporary folder.
        caps: What it may take.
        stopped: Ends it at once when set.

    Raises:
        DocumentError: It took too long or too much memory, or cannot be started; or the run was stopped.
    """
    environment = {**os.environ, **_ENVIRONMENT, "TMPDIR": str(folder), "TMP": str(folder), "TEMP": str(folder)}
    line = [*_without_network(), *_within(caps), *command]
    with open(folder / "told.txt", "w+b") as told:
        process = _start(line, folder, environment, told.fileno())
        end = time.monotonic() + caps.seconds
        late = False
        try:
            while not (late or stopped.is_set()):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_LOOK_UP)
                    break
                late = time.monotonic() > end
        finally:
            _end(process)
        told.seek(max(0, told.seek(0, os.SEEK_END) - _TOLD_BYTES))
        text = told.read().decode("utf-8", "replace").strip()
    if late:
        raise DocumentError("timeout", f"not finished after {caps.seconds:g} s (--convert-timeout)")
    if stopped.is_set():
        raise DocumentError("unreadable", "the run was stopped")
    code = process.returncode
    if code == -getattr(signal, "SIGKILL", 0):
        raise DocumentError("memory", "the system killed it, most likely for lack of memory")
    if code and _NO_MEMORY.search(text):
        raise DocumentError("memory", "needs more memory than --page-memory allows")
    return Ended(code, text)


def _start(line: Sequence[str], folder: Path, environment: Mapping[str, str], output: int) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(  # noqa: S603 - the command is that of the table, or of the user's own file
            line,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    except OSError as error:
        raise DocumentError("needs_converter", f"{line[0]} cannot be started: {error.strerror or error}") from None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process, and its group, which may outlive it."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    elif process.poll() is None:
        process.kill()
    process.wait()


def _within(caps: Caps) -> list[str]:
    """The begin of a command line that runs within caps; empty where there is no shell to set them."""
    shell = shutil.which("sh") if os.name == "posix" else None
    if shell is None:
        return []
    # a program without its parent ends by the last one: processor time on several cores
    numbers = (caps.memory_bytes // _KILOBYTE, caps.file_bytes // _BLOCK, int(caps.seconds) * 4 + 1)
    return [shell, "-c", _LIMITED, "sh", *map(str, numbers)]


@functools.cache
def _without_network() -> tuple[str, ...]:
    """The begin of a command line that has no network, where the system lets everybody have it so."""
    program = shutil.which("unshare")
    for options in (("--net",), ("--user", "--map-root-user", "--net")):
        if program:
            line = (program, *options, "--")
            done = subprocess.run([*line, "true"], capture_output=True, check=False)  # noqa: S603 - as above
            if not done.returncode:
                return line
    return ()


def network_is_cut() -> bool:
    """Whether programs run without any network here, and not only told to use none."""
    return bool(_without_network())
