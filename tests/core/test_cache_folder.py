"""The user's cache folder, also where there is no home."""

from pathlib import Path

import pytest

from embedpipe.core import cache_folder as places
from embedpipe.core.cache_folder import CACHE_VARIABLE, cache_folder


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
