"""Paths come back byte by byte from their text form, and what people are shown steers nothing."""

import os

from hypothesis import example, given
from hypothesis import strategies as st

from embedpipe.core.display import display, path_to_text, text_to_path

file_names = st.binary(min_size=1).filter(lambda name: b"\0" not in name).map(os.fsdecode)


@given(file_names)
@example("/data/caf\udce9.pdf")
@example("/data/100%.pdf")
def test_absolute_paths_round_trip(name: str) -> None:
    """Any absolute path becomes text that UTF-8 can hold, and comes back as it was."""
    path = "/" + name
    text = path_to_text(path)
    assert text.encode("utf-8").decode("utf-8") == text
    assert text_to_path(text) == path


def test_utf8_paths_stay_readable() -> None:
    """A path that is UTF-8 is written as it is."""
    assert path_to_text("/data/合同 café.pdf") == "/data/合同 café.pdf"
    assert path_to_text("/data/caf\udce9") == "bytes:/data/caf%E9"


def test_relative_path_that_looks_encoded() -> None:
    """A relative path that begins with `bytes:` comes back as it was, too."""
    assert text_to_path(path_to_text("bytes:%41.pdf")) == "bytes:%41.pdf"


@given(st.text(st.characters(), max_size=40))
@example("a\u202egpj.exe\x1b[31m\r\n\u2028b\udce9")
def test_display_is_one_harmless_line(text: str) -> None:
    """What is displayed has as many characters as the text, is one line, and steers no terminal."""
    shown = display(text)
    assert len(shown) == len(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    shown.encode("utf-8")


def test_display_keeps_what_can_be_shown() -> None:
    """Text in any script is displayed unchanged."""
    assert display("合同 Straße №5 – عقد.pdf") == "合同 Straße №5 – عقد.pdf"
