"""Labels from folders, however the folders are given."""

import logging
import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from embedpipe.backbones.engines import Backbone
from embedpipe.commands.terminal.options import read_passwords
from embedpipe.core.errors import EmbedpipeError
from embedpipe.embedding.streaming import Settings
from embedpipe.store.sorted_ledger import Entry, Ledger, SortedFolders
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.label import take

SETTINGS = Settings(workers=1)


def picture(file: Path) -> Path:
    """A page of its own."""
    file.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(map(ord, str(file)))
    pixels = np.random.default_rng(seed).integers(0, 255, (64, 48)).astype(np.uint8)
    Image.fromarray(pixels).save(file, format="PNG")
    return file


@pytest.fixture
def heap(tmp_path: Path) -> Path:
    """Two type folders with a document each."""
    for name in ("letter", "Verträge"):
        picture(tmp_path / "heap" / name / "a.png")
    return tmp_path / "heap"


def types(workspace: Workspace, inputs: list[Path], tiny: Backbone) -> dict[str, int]:
    """Types after `embed --label-by folder`."""
    embed(workspace, list(map(str, inputs)), tiny, settings=SETTINGS, label_by_folder=True)
    return workspace.labels().types()


@pytest.mark.parametrize("pattern", ["*", "*/*"])
def test_what_a_shell_expands(
    heap: Path, pattern: str, tiny: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """`heap/*` is the type folders themselves: they are the types, and that is said in a line."""
    with caplog.at_level(logging.WARNING):
        found = types(Workspace(tmp_path / "artifacts"), sorted(heap.glob(pattern)), tiny)
    assert found == {"Verträge": 1, "letter": 1}
    assert "the folders that they lie in are their types: Verträge, letter" in caplog.text


@pytest.mark.parametrize("inputs", [["letter"], [".", "letter"], ["letter", "Verträge", "deep"]])
def test_what_nobody_can_tell_gets_no_label_and_a_line(
    heap: Path, inputs: list[str], tiny: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One folder of documents, or documents of several depths, are no types; the line says what to give instead."""
    picture(heap / "deep" / "more" / "b.png")
    picture(heap / "loose.png")
    with caplog.at_level(logging.WARNING):
        found = types(Workspace(tmp_path / "artifacts"), [heap / name for name in inputs], tiny)
    assert "letter" not in found or inputs[0] == "."
    assert "got no label: they lie directly in an input" in caplog.text
    assert "give the folder above the types, without /*" in caplog.text


def test_a_time_that_64_bits_cannot_hold_costs_nothing(heap: Path, tiny: Backbone, tmp_path: Path) -> None:
    """A file of the year 2400 is embedded, labelled and found again like any other."""
    far = 13_569_465_600 * 10**9
    try:
        os.utime(heap / "letter" / "a.png", ns=(far, far))
    except (OSError, OverflowError):
        pytest.skip("the file system holds no such time")
    if (heap / "letter" / "a.png").stat().st_mtime_ns < 2**63:
        pytest.skip("the file system holds no such time")
    workspace = Workspace(tmp_path / "artifacts")
    assert types(workspace, [heap], tiny) == {"Verträge": 1, "letter": 1}
    assert len(workspace.sources()) == 2
    assert embed(workspace, [str(heap)], tiny, settings=Settings(workers=1, trust_mtime=True)).skipped == 2


def test_a_folder_that_was_renamed_by_a_mac_is_still_ours(tmp_path: Path) -> None:
    """Copies stay answers, and no labels, where another system writes the letters of their names in another form."""
    folder = tmp_path / "sorted"
    copied = picture(folder / unicodedata.normalize("NFD", "Verträge") / unicodedata.normalize("NFD", "é.png"))
    own = picture(copied.with_name("own.png"))
    ledger = Ledger(folder)
    ledger.save([Entry("/inbox/é.png", "a" * 64, "copied", "Verträge/é.png", type="Verträge", status="ok")])
    folders = SortedFolders()
    assert folders.type_of(str(copied), copied.parent.name) is None
    assert folders.type_of(str(own), own.parent.name) == "Verträge"
    [entry] = Ledger(folder).entries
    assert folder / entry.copy == copied
    assert take(Workspace(tmp_path / "artifacts"), str(folder))[1].types() == {"Verträge": 1}


@pytest.mark.parametrize(
    ("content", "password"),
    [
        (b"\xef\xbb\xbfsimple\r\nother", "simple"),
        ("simple\ngrößer\n".encode("utf-16"), "größer"),
        ("größer\n".encode("cp1252"), "größer"),
        ("密码\n".encode("gb18030"), "密码"),
        (b" spaced \n", " spaced "),
        (b" spaced \n", "spaced"),
        ("\N{LATIN SMALL LETTER U}\N{COMBINING DIAERESIS}\n".encode(), "ü"),
        ("a\N{LINE SEPARATOR}b\n".encode(), "a\N{LINE SEPARATOR}b"),
    ],
)
def test_passwords_in_any_encoding(tmp_path: Path, content: bytes, password: str) -> None:
    """A mark spoils no password, and of encodings that cannot be told each is tried."""
    (tmp_path / "passwords.txt").write_bytes(content)
    assert password in read_passwords(tmp_path / "passwords.txt")


def test_a_password_file_that_cannot_be_read(tmp_path: Path) -> None:
    """One line names the option and the file."""
    with pytest.raises(EmbedpipeError, match=r"--password-file .*cannot be read"):
        read_passwords(tmp_path / "none.txt")
