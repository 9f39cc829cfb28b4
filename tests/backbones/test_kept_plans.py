"""Plans that are kept between runs: the same features sooner, and never anything else."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from backbones.test_model_cache import PAGES, WANTED, cache, loaded
from numpy.typing import NDArray

from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.backbones.model_cache import Wanted, find, keep
from embedpipe.core.files import sha256_of

__all__ = ["cache", "loaded"]


@pytest.fixture
def kept(loaded: Backbone, cache: Path) -> Path:
    """The folder of a network that was kept, and has not run since."""
    keep(WANTED, loaded, torch_has_gpus=False)
    [manifest] = cache.glob("*/manifest.json")
    return manifest.parent


def features(wanted: Wanted = WANTED) -> NDArray[np.float32]:
    """Of some pages, by the kept network."""
    backbone = find(wanted)
    assert backbone is not None
    return backbone(PAGES)


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many plans were made since the last call."""
    counts: list[Any] = []
    from embedpipe.backbones import engines  # noqa: PLC0415

    original = engines.OpenVinoEngine._compile
    monkeypatch.setattr(
        engines.OpenVinoEngine, "_compile", lambda self, model: counts.append(1) or original(self, model)
    )

    def since() -> int:
        found = len(counts)
        counts.clear()
        return found

    return since


def test_a_plan_is_made_once(kept: Path, compiled: Callable[[], int]) -> None:
    """The next run reads it, and gives the same features to the last bit."""
    first = features()
    assert compiled() == 1
    assert len(list(kept.glob("*.plan"))) == 1
    assert np.array_equal(features(), first)
    assert compiled() == 0


@pytest.mark.parametrize("damage", [lambda b: b[:-1] + bytes([b[-1] ^ 1]), lambda b: b[:100], lambda _: b""])
def test_a_damaged_plan_is_made_again(
    kept: Path, compiled: Callable[[], int], damage: Callable[[bytes], bytes]
) -> None:
    """One flipped bit, one that was cut short, an empty file."""
    first = features()
    [plan] = kept.glob("*.plan")
    whole = sha256_of(plan)
    plan.write_bytes(damage(plan.read_bytes()))
    compiled()
    assert np.array_equal(features(), first)
    assert compiled() == 1
    assert plan.stat().st_size > 100
    assert np.array_equal(features(), first)
    assert compiled() == 0
    assert sha256_of(plan) == whole or plan.exists()


def test_a_plan_that_openvino_refuses_is_made_again(kept: Path, compiled: Callable[[], int]) -> None:
    """Its hash is right, and it is none."""
    import hashlib  # noqa: PLC0415

    first = features()
    [plan] = kept.glob("*.plan")
    plan.write_bytes(hashlib.sha256(b"no plan").digest() + b"no plan")
    compiled()
    assert np.array_equal(features(), first)
    assert compiled() == 1


def test_other_settings_have_other_plans_and_few_are_kept(kept: Path, compiled: Callable[[], int]) -> None:
    """Threads are part of a plan; of many settings the last two are kept."""
    for threads in (1, 2, 3, 4):
        features(replace(WANTED, choice=EngineChoice("auto", "fp32", threads=threads)))
    assert compiled() == 4
    assert len(list(kept.glob("*.plan"))) == 2
    features(replace(WANTED, choice=EngineChoice("auto", "fp32", threads=4)))
    assert compiled() == 0


def test_where_nothing_can_be_written_it_runs_all_the_same(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache only saves time."""
    from embedpipe.backbones import kept_plans  # noqa: PLC0415
    from embedpipe.core.errors import ArtifactError  # noqa: PLC0415

    def full(_: Path) -> Any:
        raise ArtifactError("the disk is full")

    monkeypatch.setattr(kept_plans, "replacing", full)
    assert features().shape[0] == len(PAGES)
    assert not list(kept.glob("*.plan"))


def test_runs_at_once_share_a_plan(kept: Path) -> None:
    """Whoever comes second reads a whole plan or none."""
    found: list[NDArray[np.float32]] = []
    threads = [threading.Thread(target=lambda: found.append(features())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(np.array_equal(one, found[0]) for one in found)
    assert len(list(kept.glob("*.plan"))) == 1
    assert not [file for file in kept.iterdir() if file.name.startswith(".")]
