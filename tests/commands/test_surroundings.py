"""What libraries say and where they keep things, whatever the user has."""

import logging
import os
import warnings
from pathlib import Path

import pytest

from embedpipe.commands import base
from embedpipe.commands.terminal import console
from embedpipe.core.cache_folder import CACHE_VARIABLE


@pytest.mark.parametrize("quiet", [False, True])
def test_libraries_speak_in_lines_of_ours(
    quiet: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A warning and a log record of a library are one line each, said once, and nothing under --quiet."""
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setattr(console, "_libraries", console.LibraryHandler())
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    console.hear_libraries(quiet=quiet)
    for _ in range(2):
        warnings.showwarning(UserWarning("two\nlines"), UserWarning, "/x/site-packages/somelib/module.py", 3)
        logging.getLogger("PIL.Image").warning("odd %s", "tag")
    logging.getLogger("PIL.Image").info("nothing")
    expected = "warning: somelib: two lines\nwarning: PIL: odd tag\n"
    assert capsys.readouterr().err == ("" if quiet else expected)


def test_caches_of_libraries_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the home is unknown, they lie in our cache; where it is known, nothing is changed."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))
    for name in ("XDG_CACHE_HOME", "MPLCONFIGDIR"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setattr(base.os.path, "expanduser", lambda path: "/home/x")
    base._settle_home()
    assert "XDG_CACHE_HOME" not in os.environ
    monkeypatch.setattr(base.os.path, "expanduser", lambda path: path)
    base._settle_home()
    assert os.environ["XDG_CACHE_HOME"] == str(tmp_path)
    assert os.environ["MPLCONFIGDIR"] == str(tmp_path / "matplotlib")
