"""What tells that something may have changed below a folder."""

import os
import threading
import time
from pathlib import Path

import pytest

from embedpipe.embedding import notices
from embedpipe.embedding.notices import Notices, silent


def later(work: object) -> None:
    """Does something in a moment, in another thread."""
    threading.Timer(0.2, work).start()  # type: ignore[arg-type]


def test_a_change_wakes_at_once_and_waiting_costs_no_time(tmp_path: Path) -> None:
    """Also in a folder that is made later; without a change the wait takes no processor time worth naming."""
    with Notices(str(tmp_path)) as waiting:
        if waiting.why:
            pytest.skip(f"no notices here: {waiting.why}")
        before = time.process_time()
        assert waiting.wait(1.0) == "time"
        assert time.process_time() - before < 0.5
        later(lambda: (tmp_path / "new" / "deep").mkdir(parents=True))
        assert waiting.wait(20) == "changed"
        waiting.wait(0.5)
        later(lambda: (tmp_path / "new" / "deep" / "a.pdf").write_bytes(b"x"))
        assert waiting.wait(20) == "changed"


def test_a_name_that_is_not_utf8_wakes_as_any_other(tmp_path: Path) -> None:
    """What listens cannot say such a name, and goes on listening."""
    with Notices(str(tmp_path)) as waiting:
        if waiting.why:
            pytest.skip(f"no notices here: {waiting.why}")
        for number in range(2):
            later(lambda n=number: Path(os.fsdecode(os.fsencode(tmp_path) + b"/x\xff%d" % n)).write_bytes(b"x"))
            assert waiting.wait(20) == "changed"
        assert not waiting.why


def test_notices_that_fail_for_ever_become_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not turn in a circle without a pause."""

    class Broken:
        def __init__(self, *_: object) -> None:
            pass

        def watch(self, *_: object) -> None:
            raise notices.WatchfilesRustInternalError("broken")

        def close(self) -> None:
            pass

    monkeypatch.setattr(notices, "RustNotify", Broken)
    waiting = Notices(str(tmp_path))
    if waiting.why:
        pytest.skip(f"no notices here: {waiting.why}")
    while waiting.wait(0.01) == "changed":
        pass
    assert waiting.why == "the system's notices fail: broken"


def test_polling_waits_its_time_and_stops_at_once(tmp_path: Path) -> None:
    """Where that is asked for; also where the system has no room for more notices."""
    stop = threading.Event()
    waiting = Notices(str(tmp_path), poll=0.2, stop=stop)
    assert waiting.why == "--poll"
    begin = time.monotonic()
    assert waiting.wait(60) == "time"
    assert 0.1 < time.monotonic() - begin < 10
    stop.set()
    assert waiting.wait(60) == "stop"


def test_without_room_for_notices_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system's limit of watched folders is no reason to give up."""

    def full(*_: object) -> None:
        raise OSError("OS file watch limit reached.")

    monkeypatch.setattr(notices, "RustNotify", full)
    monkeypatch.setattr(notices, "silent", lambda _: "")
    assert "limit reached" in Notices(str(tmp_path)).why


def test_drives_of_other_machines_are_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the innermost mount; a name with a space is written with an escape there."""
    folder = tmp_path / "my share"
    folder.mkdir()
    place = str(folder).replace(" ", "\\040")
    table = f"dev / ext4 rw 0 0\nserver:/x {place} nfs4 rw 0 0\n"
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: table)
    assert silent(str(folder)) == "it lies on nfs4"
    assert silent(str(tmp_path)) == ""
