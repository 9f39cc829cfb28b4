"""Backbones that were fine-tuned in a workspace, `finetuned:NAME`: their files, and what they were trained on."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.backbones import loading
from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.backbones.model_cache import Wanted
from embedpipe.backbones.names import full_name
from embedpipe.core.errors import ArtifactError, UnknownNameError, UsageError
from embedpipe.core.files import check_sha256, read_json
from embedpipe.core.records import Identity, Member, Recipe
from embedpipe.store.workspace import FINETUNED, Workspace

WEIGHTS, MANIFEST, CARD, CURVES = "weights.safetensors", "manifest.json", "MODEL_CARD.md", "curves.png"


def resolve(workspace: Workspace, wanted: Wanted) -> Wanted:
    """What is to be loaded for a name: of a fine-tuned backbone its base, with its own weights; any other as it is.

    Without a recipe, a fine-tuned backbone takes pages as it was trained with them.

    Raises:
        UnknownNameError: There is no fine-tuned backbone of that name.
        ArtifactError: It is damaged.
        UsageError: Other weights were asked for.
    """
    if not wanted.name.startswith(FINETUNED):
        return wanted
    if wanted.weights is not None:
        raise UsageError(f"{wanted.name} has weights of its own: leave --weights out")
    folder, manifest = read_finetuned(workspace, wanted.name)
    try:
        recipe = wanted.recipe or replace(Recipe(**manifest["picture"]), **wanted.changes)
        return Wanted(str(manifest["base"]), str(folder / WEIGHTS), recipe, {}, wanted.choice)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{folder / MANIFEST} is damaged: {type(error).__name__}") from error


def load(workspace: Workspace, wanted: Sequence[Wanted], request: Wanted) -> Backbone:
    """The networks of a request as one backbone, each under the name that it was asked for by.

    Args:
        workspace: Where fine-tuned backbones are.
        wanted: The networks.
        request: What they were asked for as; it says whether pages are turned upright.

    Raises:
        EmbedpipeError: As `resolve` and `loading.load_backbone`.
    """
    return loading.finished([named(loading.load(resolve(workspace, one)), one.name) for one in wanted], request)


def load_for(
    workspace: Workspace, identity: Identity, name: str | None, weights: str | None, choice: EngineChoice
) -> Backbone:
    """The network that features were made with, or the one that was asked for instead, loaded as by `load`.

    Args:
        workspace: Where fine-tuned backbones are.
        identity: What the features were made with: pages are taken, and turned upright, as for them.
        name: The backbone that was asked for; None for that of the identity.
        weights: The weights that were asked for, if any.
        choice: How it is run.
    """
    asked = Wanted(name or identity.backbone, weights, identity.recipe, {}, choice, identity.upright)
    same = full_name(asked.name) == identity.backbone
    return load(workspace, Wanted.of(identity, choice, weights) if same else asked.members(), asked)


def named(backbone: Backbone, name: str) -> Backbone:
    """A backbone under the name that it was asked for by: it is part of the identity of its space."""
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


def trained_on(workspace: Workspace, identity: Identity | Member) -> tuple[set[str], set[str]] | None:
    """Documents and groups that a fine-tuned network was trained on; None where that is not known.

    Args:
        workspace: Where fine-tuned backbones are.
        identity: Of the network's space: another network of the same name was trained on something else.
    """
    file = workspace.backbone_path(identity.backbone.removeprefix(FINETUNED)) / MANIFEST
    try:
        manifest = read_json(file)
        if manifest["weights_sha256"] != identity.weights_sha256:
            return None
        return set(manifest["documents"]["trained"]), set(manifest.get("groups", {}).get("trained", ()))
    except (ArtifactError, KeyError, TypeError, AttributeError):
        return None


def seen_pages(
    workspace: Workspace, identity: Identity, documents: NDArray[Any], groups: NDArray[Any]
) -> NDArray[np.bool_] | None:
    """Which pages belong to documents, or to groups of documents, that the network itself was trained on.

    Where it is not known what a fine-tuned network was trained on, it counts as trained on all of them.

    Args:
        workspace: Where fine-tuned backbones are.
        identity: Of the network's space.
        documents: SHA-256 of each page's document, (n,).
        groups: Of each page, (n,).

    Returns:
        (n,); None for a network that was not fine-tuned here.
    """
    tuned = [one for one in parts_of(identity) if one.backbone.startswith(FINETUNED)]
    if not tuned:
        return None
    seen = np.zeros(len(documents), bool)
    for one in tuned:
        trained = trained_on(workspace, one)
        if trained is None:
            return np.ones(len(documents), bool)
        seen |= np.isin(documents.astype(str), sorted(trained[0])) | np.isin(groups.astype(str), sorted(trained[1]))
    shared: NDArray[np.bool_] = np.isin(groups.astype(str), groups[seen].astype(str))
    return shared


def parts_of(identity: Identity) -> Sequence[Identity | Member]:
    """The networks of an identity: the members of a list, or itself."""
    return identity.members or (identity,)


def check_weights(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Raises ArtifactError unless the weights file is the one that the manifest describes."""
    check_sha256(folder / WEIGHTS, manifest.get("file_sha256"), "fine-tune it again")
