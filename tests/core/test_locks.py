"""Locks on file systems that have none, and writing where syncing or rights cannot be asked for."""

import errno
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from embedpipe.core import files, locks
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import copied, replacing, writing
from embedpipe.core.locks import TakenError, alone
from embedpipe.tasks.sort_into import Wish, sort_into

NONE = [errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EINVAL]
"""What `flock` or `fsync` say where a file system has none."""

HOLD = """
import errno, fcntl, sys
from pathlib import Path
from embedpipe.core.files import writing

def none(*_):
    raise OSError(errno.ENOLCK, "No locks available")

fcntl.flock = none
with writing(Path(sys.argv[1]), "embed"):
    print("held", flush=True)
    sys.stdin.readline()
"""


def _failing(code: int) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("code", NONE)
def test_one_writer_where_nothing_can_be_locked(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """One writer at a time, without a warning, and nothing is left."""
    monkeypatch.setattr(locks.fcntl, "flock", _failing(code))
    for _ in range(2):
        with writing(tmp_path, "embed"):
            with (
                pytest.raises(ArtifactError, match=r"written by `embed` .*: wait until it ends"),
                writing(tmp_path, "b"),
            ):
                pytest.fail("two writers at a time")
            with pytest.raises(TakenError), alone(tmp_path / ".lock"):
                pytest.fail("two owners at a time")
    assert [path.name for path in tmp_path.iterdir()] == []
    sort_into([], [], Wish(tmp_path / "sorted"))
    assert not capfd.readouterr().err


def test_a_dead_owner_does_not_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that runs is respected; when it is killed, its lock is taken over."""
    monkeypatch.setattr(locks.fcntl, "flock", _failing(errno.ENOLCK))
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match=f"process {other.pid}, since"), writing(tmp_path, "label"):
            pytest.fail("two writers at a time")
        other.kill()
    with writing(tmp_path, "label"):
        pass
    assert list(tmp_path.iterdir()) == []


def _owner(**facts: object) -> str:
    mine = {"machine": platform.node(), "process": os.getpid(), "start": locks._start(os.getpid())}
    return json.dumps({**mine, **facts})


@pytest.mark.parametrize(
    ("text", "age"), [(_owner(start="earlier"), 0), (_owner(process=4194999), 0), ("", 3600), ('{"machine": 1', 3600)]
)
def test_owners_that_are_gone(text: str, age: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that another process has now, one that nobody has, and a name that was never finished block nobody."""
    monkeypatch.setattr(locks.fcntl, "flock", _failing(errno.ENOSYS))
    file = tmp_path / ".lock.owner"
    file.write_text(text)
    os.utime(file, (file.stat().st_mtime - age,) * 2)
    with alone(tmp_path / ".lock"):
        assert json.loads(file.read_text())["process"] == os.getpid()


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (_owner(machine="elsewhere"), "if process .* on elsewhere runs no more, delete .*owner"),
        ("", "wait until it ends"),
    ],
)
def test_owners_of_whom_nobody_knows(text: str, advice: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine's lock stays, and the error names the file; one that is just being made stays as well."""
    monkeypatch.setattr(locks.fcntl, "flock", _failing(errno.ENOSYS))
    (tmp_path / ".lock.owner").write_text(text)
    with pytest.raises(ArtifactError, match=advice), writing(tmp_path, "embed"):
        pytest.fail("another's lock was taken")
    assert (tmp_path / ".lock.owner").read_text() == text


def test_a_takeover_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that died while it took a lock over keeps others off for a minute, and not for ever."""
    monkeypatch.setattr(locks.fcntl, "flock", _failing(errno.ENOSYS))
    (tmp_path / ".lock.owner").write_text(_owner(process=4194999))
    change = tmp_path / ".lock.owner-change"
    change.write_text("")
    with pytest.raises(TakenError), alone(tmp_path / ".lock"):
        pytest.fail("two takeovers at a time")
    os.utime(change, (0, 0))
    with alone(tmp_path / ".lock"):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("code", NONE)
def test_writing_where_nothing_can_be_synced(code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder, or a file, whose `fsync` is unknown to the file system is written all the same."""
    monkeypatch.setattr(files.os, "fsync", _failing(code if code != errno.ENOLCK else errno.EBADF))
    with replacing(tmp_path / "new") as temporary:
        temporary.write_text("content")
    assert (tmp_path / "new").read_text() == "content"


def test_a_disk_that_fails_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the disk could not keep is an error."""
    monkeypatch.setattr(files.os, "fsync", _failing(errno.EIO))
    with pytest.raises(ArtifactError, match="cannot write"), replacing(tmp_path / "new") as temporary:
        temporary.write_text("content")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["chmod", "utime", "setxattr"])
def test_copies_where_rights_cannot_be_set(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file is copied whose rights or times the other file system does not take."""
    (tmp_path / "a").write_text("content")
    monkeypatch.setattr(files.os, name, _failing(errno.EPERM), raising=False)
    copied(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_text() == "content"
