"""Workers wherever they are started: scripts of any kind, daemonic processes, machines without shared memory."""

import errno
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from multiprocessing import heap, spawn, synchronize
from pathlib import Path

import pytest
from pages.test_rendering import OPTIONS, document_of, run

from embedpipe.core.records import PageImage
from embedpipe.pages.rendering import Job, Selection
from embedpipe.pages.workers import PipeLock, _no_main, _no_traces

SCRIPT = """
import multiprocessing, os
from embedpipe.pages.documents import Limits, ReadOptions
from embedpipe.core.records import Recipe
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.walking import FoundFile, identify

def render():
    status = os.stat({file!r})
    document = identify(FoundFile({file!r}, status.st_size, status.st_mtime_ns, True, None), Limits())
    with Renderer(ReadOptions(Recipe(size=64))) as renderer:
        steps = list(renderer.render([Job(document, Selection())]))
    print(sum(len(step.results) for step in steps), multiprocessing.current_process().daemon, flush=True)

render()
process = multiprocessing.get_context("fork").Process(target=render, daemon=True)
process.start()
process.join()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("from_stdin", [False, True])
def test_scripts_need_no_main_guard_and_no_file(
    from_stdin: bool, make_pdf: Callable[..., Path], tmp_path: Path
) -> None:
    """What a script does at its top level is done once, also from stdin, and also by a daemonic process."""
    text = SCRIPT.format(file=str(make_pdf("a.pdf", ["one", "two"])))
    script = tmp_path / "script.py"
    script.write_text(text)
    command = [sys.executable, "-"] if from_stdin else [sys.executable, str(script)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=100)
    assert (done.stdout, done.stderr) == ("2 False\n2 True\n", "")


def test_a_worker_that_cannot_start_prints_nothing() -> None:
    """It may be stopped, or its parent may end, while it starts; other processes keep their stderr."""
    with _no_traces():
        ours, others = spawn.get_command_line(pipe_handle=99), []
        thread = threading.Thread(target=lambda: others.append(spawn.get_command_line(pipe_handle=99)))
        thread.start()
        thread.join()
    done = subprocess.run(ours, capture_output=True, text=True, check=False)
    assert (done.returncode != 0, done.stdout, done.stderr) == (True, "", "")
    assert "Error" in subprocess.run(others[0], capture_output=True, text=True, check=False).stderr


def test_other_processes_import_the_program_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what a thread of ours starts goes without it."""
    monkeypatch.setattr(sys.modules["__main__"], "__file__", __file__, raising=False)  # the test runner may have none
    with _no_main():
        ours, others = spawn.get_preparation_data("x"), []
        thread = threading.Thread(target=lambda: others.append(spawn.get_preparation_data("x")))
        thread.start()
        thread.join()
    assert not any(key.startswith("init_main") for key in ours)
    assert any(key.startswith("init_main") for key in others[0])


def _no_shared_memory(*_: object, **__: object) -> None:
    raise OSError(errno.EROFS, "Read-only file system", "/dev/shm")


def test_pages_come_without_shared_memory(
    make_pdf: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where neither memory can be shared nor semaphores made, pages are rendered all the same, and crashes noticed."""
    monkeypatch.setattr(heap.Arena, "__init__", _no_shared_memory)
    monkeypatch.setattr(synchronize.SemLock, "__init__", _no_shared_memory)
    monkeypatch.setattr(heap.BufferWrapper, "_heap", heap.Heap())  # the old one may have room
    files = [make_pdf("a.pdf", ["one"] * 20), make_pdf("b.pdf", ["two"])]
    done = run([Job(document_of(file), Selection()) for file in files], OPTIONS, 2)
    assert [len(done.results[os.fspath(file)]) for file in files] == [20, 1]
    assert all(isinstance(item, PageImage) for items in done.results.values() for item in items)
    assert not capfd.readouterr().err


def test_a_lock_of_a_pipe() -> None:
    """It is held by one thread, which may take it again, and is free when that has let go as often."""
    lock = PipeLock(multiprocessing.get_context("spawn"))
    answers: list[bool] = []

    def other() -> None:
        thread = threading.Thread(target=lambda: answers.append(lock.acquire(timeout=0.05)))
        thread.start()
        thread.join()

    assert lock.acquire()
    assert lock.acquire(block=False)
    other()
    lock.release()
    other()
    lock.release()
    other()
    assert answers == [False, False, True]
