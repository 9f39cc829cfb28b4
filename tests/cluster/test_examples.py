"""The shell lines of docs/big-heaps.md, with a program in the place of embedpipe that writes down what it is asked."""

import os
import re
import subprocess
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs" / "big-heaps.md"


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    """Where a program `embedpipe` on the path of `shell` writes what it was asked; it fails with $CODE."""
    program = tmp_path / "bin" / "embedpipe"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/asked"\nexit ${{CODE:-0}}\n')
    requeue = program.with_name("scontrol")
    requeue.write_text(f'#!/bin/sh\necho "scontrol $@" >> "{tmp_path}/asked"\n')
    for file in (program, requeue):
        file.chmod(0o755)
    return tmp_path / "asked"


def shell(asked: Path, lines: str, **variables: str) -> int:
    """Runs lines as the shell does."""
    path = f"{asked.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(["sh", "-c", lines], env={"PATH": path, **variables}, check=False).returncode


def test_slurm_gives_each_task_its_shard(asked: Path) -> None:
    """Time that is up is asked for again; documents that cannot be read are no failure of the job."""
    (script,) = re.findall(r"```sh\n(#!/bin/bash\n#SBATCH.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    task = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "64", "SLURM_JOB_ID": "77"}
    codes = [shell(asked, script, CODE=code, **task) for code in ("0", "3", "75", "1")]
    assert codes == [0, 0, 75, 1]
    lines = asked.read_text().splitlines()
    assert all("--shard 3/64" in line and "--artifacts /results/shard-3" in line for line in lines if "embed" in line)
    assert [line for line in lines if "scontrol" in line] == ["scontrol requeue 77"]


def test_kubernetes_begins_with_index_0(asked: Path) -> None:
    """Index 0 does shard 1, and the last index the last shard."""
    (block,) = re.findall(
        r"          args:\n            - \|\n(.*?)          volumeMounts", DOCS.read_text(), re.DOTALL
    )
    for index in range(64):
        assert shell(asked, block, JOB_COMPLETION_INDEX=str(index), CODE="3") == 0
    found = re.findall(r"--shard (\d+)/64 .*--artifacts /results/shard-(\d+)", asked.read_text())
    assert [(int(one), int(other)) for one, other in found] == [(n, n) for n in range(1, 65)]
    assert shell(asked, block, JOB_COMPLETION_INDEX="0", CODE="75") == 75
