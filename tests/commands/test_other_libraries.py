"""What other libraries warn about is one line of ours, and nothing under --quiet."""

import logging
import warnings
from collections.abc import Iterator

import pytest

from embedpipe.commands.terminal.console import hear, hear_libraries


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leaves logging and warnings as they were."""
    handlers, show = list(logging.getLogger().handlers), warnings.showwarning
    yield
    logging.getLogger().handlers[:] = handlers
    warnings.showwarning = show


@pytest.mark.parametrize("quiet", [False, True])
def test_a_warning_is_one_line_or_none(capsys: pytest.CaptureFixture[str], *, quiet: bool) -> None:
    """Whether it comes by `warnings` or by `logging`, and whatever lines it has; asking twice prints it once."""
    hear_libraries(quiet=quiet)
    hear_libraries(quiet=quiet)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning("one\n  two", UserWarning, "/x/site-packages/PIL/Image.py", 9)
    logging.getLogger("library.part").warning("three\nfour")
    logging.getLogger("other").info("nothing")
    told = capsys.readouterr().err
    assert told == ("" if quiet else "warning: PIL: one two\nwarning: library: three four\n")


def test_our_own_warnings_are_not_lost_under_quiet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A damaged part is reported even there, once, however many commands ran in the process before."""
    monkeypatch.setattr(logging.getLogger("embedpipe"), "handlers", [])
    for _ in range(2):
        hear(quiet=True)
    logging.getLogger("embedpipe.store.features").warning("a part is damaged")
    logging.getLogger("embedpipe.store.features").info("only a notice")
    assert capsys.readouterr().err == "warning: a part is damaged\n"
