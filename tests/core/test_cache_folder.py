"""The user's cache folder, also where there is no home."""

import errno
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from embedpipe.core import cache_folder as places
from embedpipe.core.cache_folder import CACHE_VARIABLE, Aside, cache_folder


def test_a_user_without_a_home_has_a_cache_of_his_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is in the folder for temporary files, and never one that somebody else could have filled."""

    def nobody(*_: object, **__: object) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setattr(places.platformdirs, "user_cache_path", nobody)
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(places.tempfile, "tempdir", str(tmp_path))
    places._cache_without_home.cache_clear()
    mine = cache_folder()
    assert mine.parent == tmp_path
    assert mine.stat().st_mode & 0o077 == 0
    mine.rmdir()
    mine.symlink_to(tmp_path / "elsewhere")
    places._cache_without_home.cache_clear()
    other = cache_folder()
    assert other != mine
    assert other.parent == tmp_path
    places._cache_without_home.cache_clear()


def test_what_a_killed_process_had_aside_goes_at_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folders of processes that run stay, and what only has such a name."""
    monkeypatch.setattr(places.tempfile, "tempdir", str(tmp_path))
    (tmp_path / "yours").mkdir()
    link = tmp_path / "embedpipe-x.aside"
    link.symlink_to(tmp_path / "yours")
    running = Aside("request")
    killed = (
        f"import os, tempfile; tempfile.tempdir = {str(tmp_path)!r}\nfrom embedpipe.core.cache_folder import Aside\n"
    )
    killed += "one = Aside('request'); open(one.path / 'file.pdf', 'w').close(); os.kill(os.getpid(), 9)"
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", killed], env=env, check=False).returncode == -9
    left = set(tmp_path.iterdir()) - {running.path, link, tmp_path / "yours"}
    assert [one.name for folder in left for one in folder.iterdir()] == ["file.pdf"]
    with Aside("font") as name:
        assert set(tmp_path.iterdir()) == {running.path, link, tmp_path / "yours", Path(name)}
    running.cleanup()
    assert sorted(tmp_path.iterdir()) == [link, tmp_path / "yours"]


def test_nothing_is_removed_where_nothing_can_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot be told there whose process runs still."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOTSUP, "no locks")

    monkeypatch.setattr(places.fcntl, "flock", flock)
    with Aside("font", tmp_path) as first, Aside("font", tmp_path):
        assert Path(first).is_dir()
    assert list(tmp_path.iterdir()) == []


def test_all_folders_of_one_run_go_with_it() -> None:
    """Nothing in the package makes one in another way, but inside of such a folder."""
    package = Path(places.__file__).parents[1]
    others = [
        f"{file.relative_to(package)}: {line.strip()}"
        for file in package.rglob("*.py")
        for line in file.read_text(encoding="utf-8").splitlines()
        if re.search(r"\b(TemporaryDirectory|mkdtemp)\(", line) and "dir=folder" not in line
    ]
    assert [line.partition(":")[0] for line in others if "dir=self._private()" not in line] == [
        "core/cache_folder.py",
        "pages/containers/opening.py",  # where a file cannot be opened without a name, as it can on Linux
    ]
