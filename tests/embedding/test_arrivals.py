"""New files of a folder, once they are whole."""

import fcntl
import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedpipe.embedding import arrivals
from embedpipe.embedding.arrivals import Arrivals, Journal, is_whole, is_written_to

PDF = b"%PDF-1.7\nsomething\n%%EOF\n"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """An empty folder."""
    folder = tmp_path / "inbox"
    folder.mkdir()
    return folder


@pytest.fixture
def come(inbox: Path, tmp_path: Path) -> Callable[..., Arrivals]:
    """The arrivals of the inbox, with a new process's memory each time."""

    def make(**more: object) -> Arrivals:
        journal = Journal(tmp_path / "watched.jsonl")
        return Arrivals(str(inbox), journal, **{"settle": 0.0, **more})  # type: ignore[arg-type]

    return make


@pytest.fixture
def leases() -> Iterator[None]:
    """Lets the system be asked who writes, as the command does."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


def has_leases(file: Path) -> bool:
    """Whether the file system gives a lease on a file that nobody writes to."""
    file.write_bytes(PDF)
    handle = os.open(file, os.O_RDONLY)
    try:
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_RDLCK)
        fcntl.fcntl(handle, fcntl.F_SETLEASE, fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(handle)
    return True


def names(found: Arrivals) -> list[str]:
    """What is ready now, after a look."""
    found.walk()
    return [os.path.basename(one.path) for one in found.ready()]


def test_each_file_comes_once_also_after_a_restart(inbox: Path, come: Callable[..., Arrivals]) -> None:
    """What was taken is not taken again, unless it has changed; what came meanwhile is found."""
    (inbox / "a.pdf").write_bytes(PDF)
    found = come()
    found.walk()
    found.done(found.ready())
    assert names(found) == []
    (inbox / "below" / "deep").mkdir(parents=True)
    (inbox / "below" / "deep" / "b.pdf").write_bytes(PDF)
    again = come()
    assert names(again) == ["b.pdf"]
    (inbox / "a.pdf").write_bytes(PDF + b"more\n%%EOF\n")
    assert sorted(names(again)) == ["a.pdf", "b.pdf"]


def test_a_file_is_left_until_it_rests(inbox: Path, come: Callable[..., Arrivals]) -> None:
    """It has to be the same for as long as was asked, also where a change keeps its time."""
    found = come(settle=0.3)
    (inbox / "a.pdf").write_bytes(PDF)
    assert names(found) == []
    (inbox / "a.pdf").write_bytes(PDF + PDF)
    time.sleep(0.35)
    assert found.ready() == []  # it has changed since
    time.sleep(0.35)
    [one] = found.ready()
    assert one.size == 2 * len(PDF)
    assert found.unchanged([one]) == [one]
    (inbox / "a.pdf").unlink()
    assert found.unchanged([one]) == []
    assert found.seconds() is None


@pytest.mark.parametrize(
    ("begin", "end"),
    [
        (b"%PDF-1.4\n", b"%%EOF"),
        (b"\x89PNG\r\n\x1a\n", b"IEND\xae\x42\x60\x82"),
        (b"\xff\xd8\xff\xe0", b"\xff\xd9"),
        (b"II*\0\x10\0\0\0", b"0123456789"),
        (b"MM\0*\0\0\0\x10", b"0123456789"),
    ],
)
def test_what_has_no_end_is_not_whole(inbox: Path, begin: bytes, end: bytes) -> None:
    """The end of its kind is missing; an empty file is never whole."""
    file = inbox / "file"
    file.write_bytes(b"")
    assert not is_whole(str(file))
    file.write_bytes(begin + b"xxx"[: 3 if begin[:1] != b"I" else 0])
    assert not is_whole(str(file))
    file.write_bytes(begin + b"xxx" + end)
    assert is_whole(str(file))
    file.write_bytes(b"what nothing is known of")
    assert is_whole(str(file))


def test_without_an_end_a_file_is_taken_in_the_end(
    inbox: Path, come: Callable[..., Arrivals], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left out for ever: after a while it is taken as it is."""
    (inbox / "a.pdf").write_bytes(b"%PDF-1.7 cut off")
    found = come()
    assert names(found) == []
    monkeypatch.setattr(arrivals, "PATIENCE", 0.1)
    time.sleep(0.3)
    assert [os.path.basename(one.path) for one in found.ready()] == ["a.pdf"]


@pytest.mark.usefixtures("leases")
def test_a_file_that_is_open_for_writing_is_left(
    inbox: Path, come: Callable[..., Arrivals], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long nothing is written, as a scanner between two pages; once it is said that it is waited for."""
    if not has_leases(inbox / "nobody-writes.pdf"):
        pytest.skip("this file system does not say who writes")
    (inbox / "nobody-writes.pdf").unlink()
    monkeypatch.setattr(arrivals, "PATIENCE", 0.05)
    with open(inbox / "a.pdf", "wb") as file:
        file.write(PDF)
        file.flush()
        found = come()
        assert names(found) == []
        time.sleep(0.3)
        assert found.ready() == []
        assert found.held_open() == [str(inbox / "a.pdf")]
        assert found.held_open() == []
    time.sleep(0.25)
    assert len(found.ready()) == 1


def test_nothing_is_asked_that_could_end_the_process(inbox: Path) -> None:
    """Where SIGIO has its default action, a writer who breaks a lease would end the process."""
    before = signal.signal(signal.SIGIO, signal.SIG_DFL)  # `watch` may have run in this process
    try:
        with open(inbox / "a.pdf", "wb") as file:
            file.write(PDF)
            file.flush()
            assert not is_written_to(str(inbox / "a.pdf"))
    finally:
        signal.signal(signal.SIGIO, before)


def test_what_is_gone_is_told_but_not_of_an_empty_folder(inbox: Path, come: Callable[..., Arrivals]) -> None:
    """A folder without any file may be a disk that is not mounted."""
    for name in ("a.pdf", "b.pdf"):
        (inbox / name).write_bytes(PDF)
    found = come()
    found.walk()
    found.done(found.ready())
    (inbox / "a.pdf").unlink()
    found.walk()
    assert found.gone == [str(inbox / "a.pdf")]
    found.left()
    assert list(come()._journal.taken) == [str(inbox / "b.pdf")]
    (inbox / "b.pdf").unlink()
    found.walk()
    assert found.gone == []


def test_half_a_line_of_the_journal_costs_one_file(inbox: Path, tmp_path: Path, come: Callable[..., Arrivals]) -> None:
    """A kill while it was written: that file is taken again, the others are not, and the next line is whole."""
    for name in ("a.pdf", "bytes\udcff.pdf"):
        (inbox / name).write_bytes(PDF)
    found = come()
    found.walk()
    found.done(found.ready())
    file = tmp_path / "watched.jsonl"
    torn = file.read_text(encoding="utf-8") + json.dumps({"path": str(inbox / "c.pdf"), "size": 3})[:-4]
    file.write_text(torn, encoding="utf-8")
    (inbox / "c.pdf").write_bytes(PDF)
    found._journal.take([(str(inbox / "d.pdf"), (1, 2))])
    again = come()
    assert str(inbox / "d.pdf") in again._journal.taken
    assert names(again) == ["c.pdf"]


def test_a_folder_apart_is_not_looked_at(inbox: Path, come: Callable[..., Arrivals]) -> None:
    """That is where copies go; also by another name of the folder."""
    (inbox / "done").mkdir()
    (inbox / "done" / "copy.pdf").write_bytes(PDF)
    (inbox / "done-not.pdf").write_bytes(PDF)
    assert names(come(apart=str((inbox / "done").resolve()))) == ["done-not.pdf"]


def test_a_large_folder_is_not_walked_all_the_time(inbox: Path, come: Callable[..., Arrivals]) -> None:
    """The next walk is put off by ten times what the last one took."""
    found = come()
    assert found.walk_in() == 0.0
    (inbox / "a.pdf").write_bytes(PDF)
    found.walk()
    assert found.walk_in() > 0.0
