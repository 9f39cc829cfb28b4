"""Backbones that were fine-tuned in a workspace, `finetuned:NAME`: their files, and what they stand for."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from embedpipe.engines import Backbone
from embedpipe.errors import ArtifactError, UnknownNameError, WeightsError
from embedpipe.files import read_json, sha256_of
from embedpipe.networks import Wanted
from embedpipe.records import Recipe
from embedpipe.workspace import FINETUNED, Workspace

WEIGHTS, MANIFEST, CARD, CURVES = "weights.safetensors", "manifest.json", "MODEL_CARD.md", "curves.png"


def resolve(workspace: Workspace, wanted: Wanted) -> Wanted:
    """What is to be loaded for a name: of a fine-tuned backbone its base, with its own weights; any other as it is.

    Without a recipe, a fine-tuned backbone takes pages as it was trained with them.

    Raises:
        UnknownNameError: There is no fine-tuned backbone of that name.
        ArtifactError: It is damaged.
        WeightsError: Other weights were asked for.
    """
    if not wanted.name.startswith(FINETUNED):
        return wanted
    if wanted.weights is not None:
        raise WeightsError(f"{wanted.name} has weights of its own: leave --weights out")
    folder, manifest = read_finetuned(workspace, wanted.name)
    try:
        recipe = wanted.recipe or replace(Recipe(**manifest["picture"]), **wanted.changes)
        return Wanted(str(manifest["base"]), str(folder / WEIGHTS), recipe, {}, wanted.choice)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / MANIFEST} is damaged: {type(error).__name__}") from error


def named(backbone: Backbone, name: str) -> Backbone:
    """A backbone under the name that it was asked for by: it stands in the identity of its space."""
    return Backbone(replace(backbone.identity, backbone=name), backbone.blocks, backbone.engine)


def read_finetuned(workspace: Workspace, name: str) -> tuple[Path, dict[str, Any]]:
    """Folder and manifest of a fine-tuned backbone, `finetuned:NAME`, after comparing its weights with their hash.

    Raises:
        UnknownNameError: There is none of that name; lists those that there are.
        ArtifactError: It is damaged.
    """
    short = name.removeprefix(FINETUNED)
    known = workspace.backbones()
    if short not in known:
        raise UnknownNameError("fine-tuned backbone", name, [FINETUNED + other for other in known])
    folder = workspace.backbone_path(short)
    manifest = read_json(folder / MANIFEST)
    check_weights(folder, manifest)
    return folder, manifest


def check_weights(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises ArtifactError unless the weights file is the one that the manifest describes."""
    try:
        found = sha256_of(folder / WEIGHTS)
    except OSError as error:
        raise ArtifactError(f"{folder / WEIGHTS} cannot be read: fine-tune it again") from error
    if found != manifest.get("file_sha256"):
        raise ArtifactError(f"{folder / WEIGHTS} is damaged (its SHA-256 is not the manifest's): fine-tune it again")
