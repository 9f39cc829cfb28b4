"""What the machine offers: cores and memory within the limits of a container."""

import os
from pathlib import Path

import pytest

from embedpipe.core import machine
from embedpipe.core.machine import available_cores, available_memory, gpu_visible, processor, render_workers


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which a container's limits stand; eight cores are there."""
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("200000 100000", 2), ("150000 100000", 2), ("50000 100000", 1), ("9900000 100000", 8), ("max 100000", 8)],
)
def test_cores_are_no_more_than_the_containers_share(container: Path, limit: str, cores: int) -> None:
    """A share of one and a half cores counts as two; without a limit all cores count."""
    (container / "cpu.max").write_text(f"{limit}\n")
    assert available_cores() == cores


@pytest.mark.usefixtures("container")
def test_without_a_container_all_cores_count() -> None:
    """Nothing is limited where no limit stands."""
    assert available_cores() == 8


def test_memory_is_what_the_container_has_left(container: Path) -> None:
    """The smaller of the machine's and the container's memory is told."""
    free = available_memory()
    assert free is None or free > 0
    (container / "memory.max").write_text(f"{300 * 1024**2}\n")
    (container / "memory.current").write_text(f"{100 * 1024**2}\n")
    assert available_memory() == 200 * 1024**2
    (container / "memory.max").write_text("max\n")
    assert available_memory() != 200 * 1024**2


@pytest.mark.parametrize(("memory", "workers"), [(None, 8), (64 * 1024**3, 8), (2 * 1024**3, 4), (1, 1)])
@pytest.mark.usefixtures("container")
def test_workers_fit_into_the_memory(monkeypatch: pytest.MonkeyPatch, memory: int | None, workers: int) -> None:
    """One worker for each core, fewer where memory is short, never none."""
    monkeypatch.setattr(machine, "available_memory", lambda: memory)
    assert render_workers() == workers


def test_a_gpu_shows_by_its_drivers_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On Linux a GPU is ruled out only where no driver's file is; elsewhere it never is."""
    monkeypatch.setattr(machine.sys, "platform", "linux")
    monkeypatch.setattr(machine, "_GPU_FILES", (str(tmp_path / "nvidiactl"),))
    assert not gpu_visible()
    (tmp_path / "nvidiactl").touch()
    assert gpu_visible()
    monkeypatch.setattr(machine, "_GPU_FILES", ())
    monkeypatch.setattr(machine.sys, "platform", "darwin")
    assert gpu_visible()


def test_the_processor_is_the_same_every_time() -> None:
    """Cores that run at different speeds do not change the text."""
    assert processor() == processor() != ""
