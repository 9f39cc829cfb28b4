"""Converted networks that are kept: the same features without torch, and never for anything else."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import embedpipe
from embedpipe.backbones import model_cache
from embedpipe.backbones.building import load_backbone
from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.backbones.model_cache import Wanted, find, keep
from embedpipe.core.cache_folder import CACHE_VARIABLE, cache_folder
from embedpipe.core.records import Recipe

WANTED = Wanted("timm:test_resnet", "none", Recipe(64, "aspect", "stages"), {}, EngineChoice("auto", "fp32", threads=1))
PAGES = np.random.default_rng(0).integers(0, 255, (3, 64, 48, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def loaded() -> Backbone:
    """The network, converted with torch."""
    choice = replace(WANTED.choice, device="cpu")
    return load_backbone(WANTED.name, weights=WANTED.weights, recipe=WANTED.recipe, choice=choice)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache on a machine without a GPU."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(model_cache, "gpu_visible", lambda: False)
    return cache_folder()


def test_a_kept_network_gives_the_same_features(loaded: Backbone) -> None:
    """Identity, blocks and precision come back, and the features agree within rounding."""
    assert find(WANTED) is None
    keep(WANTED, loaded, torch_has_gpus=True)
    kept = find(WANTED)
    assert kept is not None
    assert (kept.identity, kept.blocks, kept.dim) == (loaded.identity, loaded.blocks, loaded.dim)
    assert (kept.engine.name, kept.engine.precision) == ("openvino", "fp32")
    np.testing.assert_allclose(kept(PAGES), loaded(PAGES), rtol=1e-3, atol=1e-6)


def test_it_runs_without_torch(loaded: Backbone, cache: Path) -> None:
    """A process that finds the network embeds a page and has not loaded torch."""
    keep(WANTED, loaded, torch_has_gpus=False)
    code = (
        "import sys\nimport numpy as np\n"
        "from embedpipe.backbones.engines import EngineChoice\n"
        "from embedpipe.backbones.model_cache import Wanted, find\n"
        "from embedpipe.core.records import Recipe\n"
        f"found = find({WANTED!r})\n"
        "X = found(np.zeros((1, 64, 48, 3), np.uint8))\n"
        "sys.exit('torch' in sys.modules or X.shape != (1, found.dim))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    "other",
    [
        replace(WANTED, name="timm:test_vit"),
        replace(WANTED, weights=None),
        replace(WANTED, recipe=Recipe(96, "aspect", "stages")),
        replace(WANTED, recipe=None),
        replace(WANTED, changes={"layers": "penultimate"}),
        replace(WANTED, choice=EngineChoice("auto", "bf16")),
        replace(WANTED, choice=EngineChoice("auto", "fp32", "torch")),
        replace(WANTED, choice=EngineChoice("cuda", "fp32")),
    ],
)
def test_nothing_else_is_taken_for_it(loaded: Backbone, other: Wanted) -> None:
    """Another name, weights, recipe, precision, engine or device does not find it."""
    keep(WANTED, loaded, torch_has_gpus=False)
    assert find(other) is None


@pytest.mark.parametrize(
    ("name", "changed"),
    [("_version", lambda _: "9"), ("_code", lambda: "9"), ("processor", lambda: "another one")],
)
def test_another_version_converts_anew(
    loaded: Backbone, monkeypatch: pytest.MonkeyPatch, name: str, changed: Callable[..., str]
) -> None:
    """Another version of a library or of this program, or another processor, does not find it."""
    keep(WANTED, loaded, torch_has_gpus=False)
    monkeypatch.setattr(model_cache, name, changed)
    assert find(WANTED) is None


def test_a_weights_file_is_known_by_its_content(tmp_path: Path) -> None:
    """The same path with other bytes is another network; the same bytes at another path are the same one."""
    one, two = tmp_path / "one.pth", tmp_path / "two.pth"
    one.write_bytes(b"weights")
    two.write_bytes(b"weights")
    before = replace(WANTED, weights=str(one)).key()
    assert replace(WANTED, weights=str(two)).key() == before
    one.write_bytes(b"other weights")
    assert replace(WANTED, weights=str(one)).key() != before


def test_weights_that_took_the_place_of_others_are_loaded(loaded: Backbone, tmp_path: Path) -> None:
    """When a file where weights were looked for is replaced, comes, or goes, the network is converted anew."""
    used, first = tmp_path / "used.pth", tmp_path / "first.pth"
    used.write_bytes(b"weights")
    keep(WANTED, loaded, torch_has_gpus=False, places=[first, used])
    assert find(WANTED) is not None
    first.write_bytes(b"weights that go before")
    assert find(WANTED) is None
    first.unlink()
    assert find(WANTED) is not None
    used.write_bytes(b"other weights")
    assert find(WANTED) is None
    used.unlink()
    assert find(WANTED) is None


def test_a_gpu_that_torch_could_use_goes_before(loaded: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """With device auto, a GPU and a torch built for it, torch loads the network; not if the CPU was asked for."""
    keep(WANTED, loaded, torch_has_gpus=True)
    on_cpu = replace(WANTED, choice=replace(WANTED.choice, device="cpu"))
    monkeypatch.setattr(model_cache, "gpu_visible", lambda: True)
    assert find(WANTED) is None
    assert find(on_cpu) is not None
    keep(WANTED, loaded, torch_has_gpus=False)
    assert find(WANTED) is not None


@pytest.mark.parametrize("file", ["model.xml", "model.bin", "manifest.json"])
@pytest.mark.parametrize("damage", [lambda content: content[:-9], lambda _: b"", lambda content: b"X" + content[1:]])
def test_a_damaged_network_is_converted_anew(
    loaded: Backbone, cache: Path, file: str, damage: Callable[[bytes], bytes]
) -> None:
    """A file that was cut, emptied or changed is not used, and the next one kept takes its place."""
    keep(WANTED, loaded, torch_has_gpus=False)
    [path] = cache.glob(f"*/{file}")
    path.write_bytes(damage(path.read_bytes()))
    assert find(WANTED) is None
    keep(WANTED, loaded, torch_has_gpus=False)
    assert find(WANTED) is not None


def test_a_cache_that_cannot_be_written_only_costs_time(
    loaded: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file where the folder should be is no error."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    keep(WANTED, loaded, torch_has_gpus=False)
    assert find(WANTED) is None


def test_the_cache_does_not_grow_without_end(loaded: Backbone, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network that was not used for longest goes when there are too many; nothing else is left behind."""
    monkeypatch.setattr(model_cache, "_KEPT", 2)
    three: list[Any] = [replace(WANTED, recipe=Recipe(size, "aspect", "stages")) for size in (64, 80, 96)]

    def keep_as(wanted: Wanted) -> None:
        identity = replace(loaded.identity, recipe=wanted.recipe)
        keep(wanted, Backbone(identity, loaded.blocks, loaded.engine), torch_has_gpus=False)

    for age, wanted in enumerate(three[:2]):
        keep_as(wanted)
        os.utime(cache / wanted.key(), (age + 1, age + 1))
    assert find(three[0]) is not None  # used just now
    keep_as(three[2])
    assert [find(wanted) is not None for wanted in three] == [True, False, True]
    assert len(list(cache.iterdir())) == 2


def test_torch_is_never_kept(tiny: Backbone, cache: Path) -> None:
    """A network that torch runs has nothing to keep."""
    keep(WANTED, tiny, torch_has_gpus=False)
    assert not cache.exists()


def test_a_request_with_defaults_and_the_recipe_that_they_come_to_share_one_network(
    loaded: Backbone, cache: Path
) -> None:
    """`embed` asks for defaults, `classify` for the recipe of a space: the network is kept once, and both find it."""
    defaults = replace(WANTED, recipe=None, changes={"layers": "stages", "size": 64})
    keep(defaults, loaded, torch_has_gpus=False)
    assert find(defaults) is not None
    assert find(replace(WANTED, recipe=loaded.identity.recipe)) is not None
    assert len([path for path in cache.iterdir() if path.is_dir()]) == 1


def test_programs_find_what_was_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`embedpipe.load_backbone` builds a network once; the second call does without."""
    first = embedpipe.load_backbone("timm:test_resnet", weights="none", recipe=WANTED.recipe, choice=WANTED.choice)
    monkeypatch.setattr("embedpipe.backbones.building.load_backbone", None)
    again = embedpipe.load_backbone("timm:test_resnet", weights="none", recipe=WANTED.recipe, choice=WANTED.choice)
    assert again.identity == first.identity
    np.testing.assert_allclose(again(PAGES), first(PAGES), rtol=1e-3, atol=1e-6)


def test_a_cache_that_cannot_be_written_is_said_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Making a network ready may take a minute: whoever pays that at each run is told why, and what to do."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "file"))
    model_cache.warn_if_not_kept(WANTED)
    [line] = caplog.messages
    assert "at each run" in line
    assert CACHE_VARIABLE in line
    caplog.clear()
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "new"))
    model_cache.warn_if_not_kept(WANTED)
    assert caplog.messages == []
