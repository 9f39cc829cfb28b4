"""`run`: the steps of a job file, one after the other, as their commands would do them."""

import contextlib
import hashlib
import io
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embedpipe.commands import base
from embedpipe.commands.base import DONE, SOME_FAILED, command
from embedpipe.commands.terminal.console import Output, finish_output, hear
from embedpipe.commands.terminal.options import Common, in_a_job
from embedpipe.commands.unattended.steps import Job, Planned, check, read
from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.languages.choice import current as current_language

if TYPE_CHECKING:
    from embedpipe.store.workspace import Workspace

_MEMORY = "jobs.json"
_DEFAULT = Path("artifacts")


@command("run")
def run(
    common: Common,
    file: Annotated[
        Path, typer.Argument(metavar="[FILE]", help="The job file; its paths are relative to its folder.")
    ] = Path("embedpipe.toml"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check the file and say what would be done.")] = False,
) -> int:
    """Do what a job file says: each of its tables is a command with its options."""
    from embedpipe.store.workspace import Workspace

    hear(quiet=common.quiet)
    output = Output(common.as_json, common.quiet)
    given = None if common.artifacts == _DEFAULT else Path(os.path.abspath(common.artifacts))
    path = Path(os.path.abspath(file))
    if not path.parent.is_dir():
        raise EmbedpipeError(f"{file} is not there")
    with _within(path.parent):
        job = read(path)
        workspace = Workspace(given or job.artifacts or _DEFAULT, share=job.share_folder or common.share_folder)
        options = _common(workspace, common)
        check(job, options)
        if dry_run:
            return _say(job, workspace, output)
        return _Run(workspace, options, output).run(job)


@contextlib.contextmanager
def _within(folder: Path) -> Iterator[None]:
    with contextlib.chdir(folder):
        yield


def _common(workspace: "Workspace", common: Common) -> list[str]:
    """The options that every step gets."""
    given = {"--share-folder": workspace.share, "--json": common.as_json, "--quiet": common.quiet}
    return [
        f"--artifacts={workspace.root}",
        f"--lang={current_language()}",
        *(name for name, wanted in given.items() if wanted),
    ]


def _say(job: Job, workspace: "Workspace", output: Output) -> int:
    rows = [{"step": p.step.command, "command": ["embedpipe", *p.line], "idle": _idle(p, workspace)} for p in job.steps]
    output.result({"artifacts": str(workspace.root), "steps": rows})
    output.line(f"artifacts: {workspace.root}")
    for row, planned in zip(rows, job.steps, strict=True):
        output.line(
            f"embedpipe {shlex.join(planned.line)}" + (f"   # nothing to do: {row['idle']}" if row["idle"] else "")
        )
    output.line("nothing was done")
    return DONE


class _Run:
    """One call of `run`."""

    def __init__(self, workspace: "Workspace", options: list[str], output: Output) -> None:
        self._workspace, self._options, self._output = workspace, options, output
        self._done: list[dict[str, Any]] = []

    def run(self, job: Job) -> int:
        """Does the steps; an error ends the job, while files that failed do not."""
        worst = DONE
        for number, planned in enumerate(job.steps):
            if idle := _idle(planned, self._workspace):
                self._output.line(f"{planned.step.command}: nothing to do: {idle}")
                self._done.append({"step": planned.step.command, "exit_code": DONE, "idle": idle, "result": None})
                continue
            self._output.line(f"{planned.step.command}:")
            code = self._one(planned)
            worst = worst or code
            if code not in (DONE, SOME_FAILED):
                worst = code
                if left := [later.step.command for later in job.steps[number + 1 :]]:
                    self._output.notice(f"not done, for {planned.step.command} ended with {code}: {', '.join(left)}")
                break
            if planned.step.remembers and code == DONE:
                _remember(planned, self._workspace)
        self._output.result({"artifacts": str(self._workspace.root), "exit_code": worst, "steps": self._done})
        return worst

    def _one(self, planned: Planned) -> int:
        token = in_a_job.set(True)
        try:
            return self._run([planned.step.command, *self._options, *planned.arguments], planned)
        finally:
            in_a_job.reset(token)

    def _run(self, line: list[str], planned: Planned) -> int:
        if not self._output.as_json:
            code = base.run(line)
            finish_output()
            return code
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            code = base.run(line)
        result = None
        with contextlib.suppress(ValueError):
            result = json.loads(printed.getvalue().strip() or "null")
        self._done.append({"step": planned.step.command, "exit_code": code, "idle": None, "result": result})
        return code


def _idle(planned: Planned, workspace: "Workspace") -> str:
    """Why a step has nothing to do now, or ""."""
    if planned.step.if_files:
        inputs = planned.values.get(planned.step.if_files, [])
        paths = [inputs] if isinstance(inputs, str) else list(inputs)
        if paths and all(os.path.isdir(path) and not _has_files(path) for path in paths):
            return f"no file in {', '.join(paths)}"
    if planned.step.remembers and _remembered(workspace).get(_key(planned)) == _state(planned, workspace):
        return "the labels, the features and the options are those of the last time"
    return ""


def _has_files(folder: str) -> bool:
    return any(files for _, _, files in os.walk(folder, followlinks=True))


def _key(planned: Planned) -> str:
    return shlex.join(planned.line)


def _remembered(workspace: "Workspace") -> dict[str, Any]:
    from embedpipe.core.files import read_json

    file = workspace.root / _MEMORY
    with contextlib.suppress(ArtifactError, AttributeError):
        return dict(read_json(file).get("done", {}))
    return {}


def _remember(planned: Planned, workspace: "Workspace") -> None:
    """Notes what a step was done with; where that cannot be written it is done again the next time."""
    from embedpipe.core.files import write_json

    with contextlib.suppress(ArtifactError):
        done = _remembered(workspace) | {_key(planned): _state(planned, workspace)}
        write_json(workspace.root / _MEMORY, {"done": done})


def _state(planned: Planned, workspace: "Workspace") -> str:
    """A hash of all that a fitted classifier depends on: labels, lists of parts, where documents are, and itself."""
    root, name = workspace.root, str(planned.values.get("name", planned.step.command.removeprefix("fit-")))
    files = [root / "labels.csv", root / "sources.parquet", *sorted(root.glob("features/*/manifest.json"))]
    files += [*sorted(root.glob("pages/*.json")), root / "classifiers" / name / "current.json"]
    files += [Path(str(planned.values[key])) for key in planned.step.reads if key in planned.values]
    digest = hashlib.sha256()
    for file in files:
        with contextlib.suppress(OSError):
            digest.update(os.fsencode(file) + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()
