"""The record of jobs: a folder for each, so that what was begun is known after a crash.

jobs/<job>/job.json        what is wanted, and its state
jobs/<job>/progress.json   how far it is, written by its process
jobs/<job>/result.json     what came of it, written by its process at the end
"""

import json
import logging
import os
import secrets
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import now, read_json, write_json

log = logging.getLogger(__name__)

QUEUED, RUNNING, DONE, FAILED, CANCELLED, INTERRUPTED = (
    *("queued", "running", "done", "failed", "cancelled", "interrupted"),
)

_JOB, _PROGRESS, _RESULT = "job.json", "progress.json", "result.json"
_KEPT = 200


@dataclass(frozen=True, slots=True)
class Job:
    """A job.

    Attributes:
        name: What it is known by.
        kind: A key of `kinds.KINDS`.
        title: For people.
        wish: What is wanted, as its kind takes it.
        state: `QUEUED`, `RUNNING`, `DONE`, `FAILED`, `CANCELLED` or `INTERRUPTED`.
        created: ISO 8601, UTC; `started` and `ended` likewise, "" before.
        message: Why it failed, or was not finished.
        process: Number of its process group; 0 where there is none.
    """

    name: str
    kind: str
    title: str
    wish: Mapping[str, Any] = field(default_factory=dict)
    state: str = QUEUED
    created: str = ""
    started: str = ""
    ended: str = ""
    message: str = ""
    process: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.state not in (QUEUED, RUNNING)


class Ledger:
    """The jobs of a folder. For several threads, as long as each job is changed by one.

    Args:
        folder: Made when the first job comes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[str, Job] = {}
        for file in sorted(folder.glob(f"*/{_JOB}")):
            try:
                values = read_json(file)
                values.pop("format", None)
                job = Job(**values)
            except (ArtifactError, TypeError):
                continue
            self._jobs[job.name] = job

    def interrupt(self) -> None:
        """Marks what an earlier server had not finished: its processes ended with it."""
        values = {"state": INTERRUPTED, "ended": now(), "message": _INTERRUPTED, "process": 0}
        for job in list(self._jobs.values()):
            if not job.over:
                self.change(job.name, **values)

    def all(self) -> list[Job]:
        """All jobs, newest first."""
        return sorted(self._jobs.values(), key=lambda job: (job.created, job.name), reverse=True)

    def find(self, name: str) -> Job | None:
        """The job of a name; None where there is none."""
        return self._jobs.get(name)

    def add(self, kind: str, title: str, wish: Mapping[str, Any]) -> Job:
        """Notes a new job; the oldest ones that are over go."""
        job = Job(
            time.strftime("%Y%m%d-%H%M%S-", time.gmtime()) + secrets.token_hex(3), kind, title, wish, created=now()
        )
        self._write(job)
        over = [old for old in self.all() if old.over]
        for old in over[_KEPT:]:
            del self._jobs[old.name]
            shutil.rmtree(self.folder(old.name), ignore_errors=True)
        return job

    def change(self, name: str, **values: Any) -> Job:
        """Notes something about a job; where the disk takes no more, for as long as the server runs."""
        job = self._jobs[name] = replace(self._jobs[name], **values)
        try:
            self._write(job)
        except ArtifactError as error:  # whoever watches jobs goes on: after a restart it counts as interrupted
            log.warning("%s", error)
        return job

    def _write(self, job: Job) -> None:
        write_json(self.folder(job.name) / _JOB, asdict(job))
        self._jobs[job.name] = job

    def folder(self, name: str) -> Path:
        """Where the files of a job are."""
        return self._folder / name

    def progress(self, name: str) -> dict[str, Any]:
        """How far a job is, as its process said last; empty where it has said nothing."""
        return read_plain(self.folder(name) / _PROGRESS)

    def result(self, name: str) -> dict[str, Any]:
        """What came of a job; empty where nothing did."""
        return read_plain(self.folder(name) / _RESULT)


_INTERRUPTED = "the server ended before the job did: resume it, and it goes on from what is there"


def tell_progress(folder: Path, values: Mapping[str, Any]) -> None:
    """Says how far a job is."""
    write_plain(folder / _PROGRESS, values)


def tell_result(folder: Path, values: Mapping[str, Any]) -> None:
    """Says what came of a job."""
    write_plain(folder / _RESULT, values)


def read_plain(file: Path) -> dict[str, Any]:
    """Reads what `write_plain` wrote; empty where that is not there, or no JSON."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return values if isinstance(values, dict) else {}


def write_plain(file: Path, values: Mapping[str, Any]) -> None:
    """Writes JSON in one step; it may be lost with the machine's power, for nothing is lost with it."""
    temporary = file.with_suffix(".new")
    temporary.write_text(json.dumps(values, ensure_ascii=True), encoding="utf-8")
    os.replace(temporary, file)
