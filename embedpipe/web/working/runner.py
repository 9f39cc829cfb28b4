"""Starts the processes of jobs, one after the other, and watches them."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from embedpipe.core.files import now
from embedpipe.web.working.ledger import CANCELLED, DONE, FAILED, INTERRUPTED, QUEUED, RUNNING, Job, Ledger

_LOOK_AGAIN = 0.1
_GRACE = 20.0
"""Seconds that a job may take to end well once it is cancelled."""

_INTAKE, _OTHERS = "intake", "others"
_LINES = {"embed": _INTAKE}
"""Jobs that wait in a line of their own, for they may take hours; all others wait for each other."""


class Runner:
    """Runs jobs. For several threads.

    Args:
        ledger: Their records.
        root: The artifacts.
        how: What every job is told of the server's settings.
        most: Jobs that may wait.
        tell: Called whenever something is new of a job.
    """

    def __init__(
        self, ledger: Ledger, root: Path, how: Mapping[str, Any], most: int, tell: Callable[[Job], None]
    ) -> None:
        self._ledger, self._root, self._how, self._most, self._tell = ledger, root, how, most, tell
        self._lines: dict[str, queue.Queue[str | None]] = {name: queue.Queue() for name in (_INTAKE, _OTHERS)}
        self._derived: dict[str, Mapping[str, Any]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._spare: subprocess.Popen[bytes] | None = None
        self._threads = [
            threading.Thread(target=self._work, args=(line,), name=f"embedpipe-jobs-{name}", daemon=True)
            for name, line in self._lines.items()
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, kind: str, title: str, wish: Mapping[str, Any], derived: Mapping[str, Any] | None = None
    ) -> Job | None:
        """Adds a job; None where too many wait.

        Args:
            kind: A key of `kinds.KINDS`.
            title: For people.
            wish: What is wanted, as JSON can hold it.
            derived: The file that keeps what is derived, and the key of what it is derived from.
        """
        with self._lock:
            if sum(not job.over for job in self._ledger.all()) >= self._most:
                return None
            job = self._ledger.add(kind, title, wish)
            if derived is not None:
                self._derived[job.name] = derived
        self._tell(job)
        self._lines[_LINES.get(kind, _OTHERS)].put(job.name)
        return job

    def cancel(self, name: str) -> Job | None:
        """Ends a job, where it is not over; what it has kept stays."""
        with self._lock:
            job = self._ledger.find(name)
            if job is None or job.over:
                return job
            self._cancelled.add(name)
            if job.state == QUEUED:
                job = self._ledger.change(name, state=CANCELLED, ended=now())
            process = self._running.get(name)
        if process is not None:
            _end(process, signal.SIGTERM)
        self._tell(job)
        return job

    def close(self) -> None:
        """Ends all jobs; they count as interrupted, and can be resumed."""
        self._closed = True
        for line in self._lines.values():
            line.put(None)
        with self._lock:
            processes = list(self._running.values())
        for process in processes:
            _end(process, signal.SIGTERM)
        for thread in self._threads:
            thread.join(timeout=_GRACE)
        if self._spare is not None:
            _end(self._spare, signal.SIGKILL)
            _forget(self._spare)
            self._spare = None
        self._ledger.interrupt()

    def _work(self, line: "queue.Queue[str | None]") -> None:
        while (name := line.get()) is not None and not self._closed:
            job = self._ledger.find(name)
            if job is not None and job.state == QUEUED:
                try:
                    self._run(job)
                except OSError as error:
                    self._finish(name, FAILED, f"the job cannot be started: {error.strerror or error}")

    def _run(self, job: Job) -> None:
        folder, derived = self._ledger.folder(job.name), self._derived.pop(job.name, None)
        order = {"kind": job.kind, "wish": job.wish, "root": str(self._root), "how": self._how, "derived": derived}
        order["folder"] = str(folder)
        process = self._process(spared=_LINES.get(job.kind, _OTHERS) == _OTHERS)
        assert process.stdin is not None
        with self._lock:
            self._running[job.name] = process
            cancelled = job.name in self._cancelled
        self._tell(self._ledger.change(job.name, state=RUNNING, started=now(), process=process.pid))
        with contextlib.suppress(OSError):
            process.stdin.write(json.dumps(order).encode() + b"\n")
            process.stdin.flush()
        if cancelled or self._closed:
            _end(process, signal.SIGTERM)
        code = self._watch(job.name, process)
        _forget(process)
        with self._lock:
            del self._running[job.name]
        self._settle(job.name, code)
        if self._spare is None and not self._closed and _LINES.get(job.kind, _OTHERS) == _OTHERS:
            self._spare = _started("--spare")

    def _process(self, *, spared: bool) -> "subprocess.Popen[bytes]":
        """A process that waits to be told what to do: the spare one, where it is still there and may be taken."""
        if spared and self._spare is not None:
            spare, self._spare = self._spare, None
            if spare.poll() is None:
                return spare
            _forget(spare)
        return _started()

    def _watch(self, name: str, process: "subprocess.Popen[bytes]") -> int:
        """Waits for a process, tells how far it is, and ends it where it does not end when it is told to."""
        seen: object = None
        told_to_end: float | None = None
        while (code := _ended(process)) is None:
            progress = self._ledger.progress(name)
            job = self._ledger.find(name)
            if progress != seen and job is not None:
                seen = progress
                self._tell(job)
            if name in self._cancelled or self._closed:
                told_to_end = told_to_end or time.monotonic()
                if time.monotonic() - told_to_end > _GRACE:
                    _end(process, signal.SIGKILL)
        _end(process, signal.SIGKILL)  # workers that it left
        return code

    def _settle(self, name: str, code: int) -> None:
        told = self._ledger.result(name)
        if name in self._cancelled:
            self._finish(name, CANCELLED, "")
        elif self._closed:
            self._finish(name, INTERRUPTED, "the server was stopped before the job was done: resume it")
        elif "error" in told:
            self._finish(name, FAILED, str(told["error"]))
        elif "result" in told and code == 0:
            self._finish(name, DONE, "")
        else:
            self._finish(name, FAILED, f"the process of the job ended unexpectedly (code {code})")

    def _finish(self, name: str, state: str, message: str) -> None:
        self._cancelled.discard(name)
        self._tell(self._ledger.change(name, state=state, ended=now(), message=message, process=0))


def _end(process: "subprocess.Popen[bytes]", number: int) -> None:
    """Signals a process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, number)
        else:
            process.terminate()


def _ended(process: "subprocess.Popen[bytes]") -> int | None:
    """The exit code of a process, once it has ended; None where it has not within `_LOOK_AGAIN`."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        return process.wait(_LOOK_AGAIN)
    return None


def _started(*options: str) -> "subprocess.Popen[bytes]":
    """A process of a job; it looks for modules where the server does.

    By itself it would look in the folder that the server was started in, and take a file there for a module.
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.Popen(  # noqa: S603 - this interpreter, and nothing of anybody else's
        [sys.executable, "-P", "-m", "embedpipe.web.working.child", *options],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _forget(process: "subprocess.Popen[bytes]") -> None:
    """Closes what is left of a process that has ended."""
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
