"""Classifiers and variants as files: what lies where, and whether it is what its manifest says."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import check_sha256, read_json

MODEL = "model.skops"
MANIFEST = "manifest.json"
VARIANTS = "variants"
"""Below the store of a space: variants of its pages, each a store of its own."""


def brief(sha256: str) -> str:
    """A document in the manifest of a classifier: enough of its hash to know whether it was learnt from."""
    return sha256[:16]


def may_have_learnt(folder: Path, sha256s: Iterable[str]) -> bool:
    """Whether a classifier was fitted on one of these documents; also where its manifest does not say."""
    try:
        learnt = set(read_json(folder / MANIFEST)["learnt"])
    except (ArtifactError, LookupError, TypeError):
        return True
    return not learnt.isdisjoint(map(brief, sha256s))


def check_model(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises ArtifactError unless the model file is the one that the manifest describes."""
    check_sha256(folder / MODEL, manifest.get("model_sha256"), "fit it again")


def variant_folders(store: Path) -> list[Path]:
    """The folders of all variants of a space, of every augmentation and seed, each in the format of a store."""
    return sorted(manifest.parent for manifest in store.glob(f"{VARIANTS}/*/*/{MANIFEST}"))
