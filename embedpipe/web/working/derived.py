"""What is computed from the artifacts for all documents at once, and kept until they change.

    derived/<what>.json     what was computed, and the key of what it was computed from

Whoever asks gets what is there, and is told whether it is up to date; if it is not, a job makes it anew.
"""

import hashlib
import json
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedpipe.core.files import mark_of
from embedpipe.web.working.ledger import FAILED, Job, Ledger, read_plain
from embedpipe.web.working.runner import Runner

READY, STALE, PENDING, MISSING = "ready", "stale", "pending", "missing"

_HELD = 6
"""Results that stay in memory."""


class Derived:
    """Results and the jobs that make them. For several threads.

    Args:
        folder: Where results are.
        ledger: The records of jobs.
        runner: Runs them.
    """

    def __init__(self, folder: Path, ledger: Ledger, runner: Runner) -> None:
        self._folder, self._ledger, self._runner = folder, ledger, runner
        self._held: dict[Path, tuple[object, dict[str, Any]]] = {}
        self._jobs: dict[Path, tuple[str, str]] = {}
        self._lock = threading.Lock()

    def file(self, what: str, of: Mapping[str, Any]) -> Path:
        """Where a result is.

        Args:
            what: A kind of job.
            of: What was asked about, besides the artifacts.
        """
        if not of:
            return self._folder / f"{what}.json"
        digest = hashlib.sha256(json.dumps(of, sort_keys=True, default=str).encode()).hexdigest()[:16]
        return self._folder / f"{what}-{digest}.json"

    def get(
        self, what: str, title: str, of: Mapping[str, Any], wish: Mapping[str, Any], key: str, *, refresh: bool = True
    ) -> tuple[str, dict[str, Any] | None, Job | None]:
        """A result, and whether it is up to date.

        Args:
            what: A kind of job.
            title: Of the job, for people.
            of: What is asked about, besides the artifacts: each has a result of its own.
            wish: What the job is given.
            key: Of what the result comes from: it is up to date if it was made with the same.
            refresh: Whether a job is started where it is not.

        Returns:
            `READY`, `STALE`, `PENDING`, `MISSING` or `failed`; the result, if there is any; and the job that makes it.
        """
        file = self.file(what, of)
        found = self._read(file)
        if found is not None and found.get("key") == key:
            return READY, found["data"], None
        job = self._job(file, key)
        if refresh and (job is None or (job.over and job.state != FAILED)):
            with self._lock:
                job = self._job(file, key)
                if job is None or (job.over and job.state != FAILED):
                    job = self._runner.submit(what, title, wish, {"file": str(file), "key": key})
                    if job is not None:
                        self._jobs[file] = (key, job.name)
        data = found["data"] if found is not None else None
        if job is not None and job.state == FAILED:
            return FAILED, data, job
        if data is not None:
            return STALE, data, job
        return (PENDING if job is not None else MISSING), None, job

    def _job(self, file: Path, key: str) -> Job | None:
        known = self._jobs.get(file)
        job = self._ledger.find(known[1]) if known is not None else None
        if known is None or job is None or (known[0] != key and job.over):
            return None
        return job  # of an earlier key, as long as it runs: what it makes is newer than what is there

    def _read(self, file: Path) -> dict[str, Any] | None:
        mark = mark_of(file)
        if mark is None:
            return None
        held = self._held.get(file)
        if held is None or held[0] != mark:
            values = read_plain(file)
            if not isinstance(values.get("data"), dict):
                return None
            held = (mark, values)
            self._held[file] = held
            while len(self._held) > _HELD:
                self._held.pop(next(iter(self._held)), None)
        return held[1]
