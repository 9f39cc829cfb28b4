"""The process of a job: does it, says how far it is, and ends with the server that started it.

    python -m embedpipe.web.working.child [--spare]

It is told what to do on its standard input, whose end says that the server is gone. A spare one loads what most jobs
need before it is told: that takes longer than many a job.
"""

import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedpipe.classifiers.bundles import skops_io
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.process import end, is_lack_of_memory
from embedpipe.web.settings import workspace_of
from embedpipe.web.working.kinds import KINDS, Task
from embedpipe.web.working.ledger import tell_progress, tell_result, write_plain

_OFTEN = (
    "embedpipe.classifiers.training",
    "embedpipe.tasks.heap",
    "embedpipe.tasks.families",
    "embedpipe.tasks.changes",
)
"""Modules of jobs that people wait for."""

_PAUSE = 0.2
"""Seconds between two words on how far it is."""


class _Teller:
    """Says how far a job is, with its rate, now and then."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._values: dict[str, Any] = {}
        self._begin = time.monotonic()
        self._last = 0.0
        self._stage_begin, self._stage_done = self._begin, 0

    def __call__(self, **values: Any) -> None:
        now = time.monotonic()
        fresh = values.get("stage", self._values.get("stage")) != self._values.get("stage")
        if fresh:
            self._stage_begin, self._stage_done = now, int(values.get("done", 0))
        self._values |= values
        if fresh or now - self._last >= _PAUSE:
            self._last = now
            tell_progress(self._folder, self._values | self._rate(now))

    def _rate(self, now: float) -> dict[str, Any]:
        seconds, done = now - self._stage_begin, int(self._values.get("done", 0)) - self._stage_done
        share = self._values.get("share")
        left = seconds * (1 - share) / share if share else None
        return {
            "rate": round(done / seconds, 2) if seconds > 1 and done > 0 else None,
            "seconds_left": None if left is None else round(left),
        }


def main(*, spare: bool = False) -> int:
    """Does the job that it is told to do; returns the exit code."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's to answer
    if spare:
        for module in _OFTEN:
            importlib.import_module(module)
        skops_io()
    told = _order()
    if not told:
        return 0
    order = json.loads(told)
    folder = Path(order["folder"])
    with open(folder / "log.txt", "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    threading.Thread(target=_end_with_server, daemon=True).start()
    signal.signal(signal.SIGTERM, _stop)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(message)s")
    workspace = workspace_of(Path(order["root"]), order["how"]["aside"])
    derived = order.get("derived")

    def keep(values: Mapping[str, Any]) -> None:
        if derived:
            file = Path(derived["file"])
            file.parent.mkdir(parents=True, exist_ok=True)
            write_plain(file, {"key": derived["key"], "made": time.time(), "data": dict(values)})

    aside = Path(derived["file"]).with_suffix(".npz") if derived else folder / "result.npz"
    task = Task(workspace, order["wish"], order["how"], _Teller(folder), keep, aside)
    try:
        tell_result(folder, {"result": KINDS[order["kind"]](task)})
    except KeyboardInterrupt:
        return 130
    except EmbedpipeError as error:
        tell_result(folder, {"error": str(error)})
        return 1
    except Exception as error:  # noqa: BLE001 - the last resort: a line for people, and the rest for the log
        traceback.print_exc()
        lack = "memory is too little for this: close other programs, or run it on a larger machine"
        unexpected = f"unexpected {type(error).__name__}: {error}; please report it"
        tell_result(folder, {"error": lack if is_lack_of_memory(error) else unexpected})
        return 1
    return 0


def _order() -> bytes:
    """The line on the standard input; read as it is, for a thread that waits in a buffer's lock aborts the exit."""
    line = b""
    while not line.endswith(b"\n") and (piece := os.read(0, 65536)):
        line += piece
    return line


def _stop(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _end_with_server() -> None:
    """Ends this process and its workers once the server is gone."""
    while os.read(0, 1):
        pass
    if hasattr(os, "killpg") and os.getpgid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os._exit(1)


if __name__ == "__main__":
    end(main(spare="--spare" in sys.argv))
