"""The one place that loads a backbone, for commands and programs alike: the kept network, else torch, and then kept.

Nothing here loads torch unless a network has to be built.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from embedpipe.backbones import lists, model_cache
from embedpipe.backbones.engines import Backbone, EngineChoice, check_not_forked, note_process
from embedpipe.backbones.model_cache import Wanted
from embedpipe.backbones.names import NEVER, UPRIGHT, upright_by_default
from embedpipe.backbones.onnx.orientation import start_turner
from embedpipe.core.errors import UnknownNameError
from embedpipe.core.machine import available_cores
from embedpipe.core.records import DEFAULT_BACKBONE, Recipe


def load_backbone(
    name: str = DEFAULT_BACKBONE,
    *,
    weights: str | None = None,
    recipe: Recipe | None = None,
    changes: Mapping[str, Any] | None = None,
    choice: EngineChoice | None = None,
    upright: str | None = None,
) -> Backbone:
    """Loads a network with its weights and starts it on a device.

    On a CPU the network is converted once and kept in the user's cache folder; later calls do not load torch.

    Args:
        name: A name in `BACKBONES`, or `timm:NAME`; several of these, joined by `+`; or a preset, such as `documents`.
        weights: A .pth or .safetensors file; "none" for random weights; None for the name's own pretrained ones.
        recipe: Rendering and layers; None for the default of the backbone.
        changes: Fields of the default recipe to replace.
        choice: Device, precision and engine; None for the fastest correct ones.
        upright: "auto" to turn scans and photos upright that lie sideways or upside down, "never" to take pages as they
            are; None for "auto" where the network that tells this is one of the list.

    Raises:
        UnknownNameError: There is no such backbone or set of layers.
        WeightsError: The weights are missing or do not fit.
        EmbedpipeError: The network does not take pages of that size, or this process was forked from one that had run a
            network.
    """
    wanted = Wanted(name, weights, recipe, changes or {}, choice or EngineChoice(), upright)
    return finished([load(one) for one in wanted.members()], wanted)


def finished(members: Sequence[Backbone], wanted: Wanted) -> Backbone:
    """The networks of a request as one, which turns pages upright where that is wanted.

    Args:
        members: What `load` gave for each of `wanted.members()`.
        wanted: The request.

    Raises:
        UnknownNameError: `upright` is none of the choices.
        WeightsError: The network that tells which way up pages are is not here.
        ArtifactError: The pages of the identity were turned by another rule.
    """
    backbone = members[0] if len(members) == 1 else lists.combine(members)
    upright = wanted.upright if wanted.upright is not None else upright_by_default(wanted.name)
    if upright in (NEVER, ""):
        return backbone
    if upright in UPRIGHT:
        turner = start_turner(wanted.choice.threads or available_cores())
    elif "-" in upright:
        turner = start_turner(wanted.choice.threads or available_cores(), upright)
    else:
        raise UnknownNameError("way to take pages", upright, UPRIGHT)
    identity = replace(backbone.identity, upright=turner.rule)
    return Backbone(identity, backbone.blocks, backbone.engine, turner)


def load(wanted: Wanted) -> Backbone:
    """As `load_backbone`, of a request for one network, whose pages are taken as they are."""
    check_not_forked()
    return model_cache.find(wanted) or _built(wanted)


def _built(wanted: Wanted) -> Backbone:
    from embedpipe.backbones import building, registry, runtime  # noqa: PLC0415 - torch takes seconds to load

    note_process()
    model_cache.warn_if_not_kept(wanted)
    backbone = building.load_backbone(
        wanted.name, weights=wanted.weights, recipe=wanted.recipe, changes=wanted.changes, choice=wanted.choice
    )
    file = registry.find_backbone(wanted.name).file if wanted.weights is None else None
    places = file.places() if file else ()
    model_cache.keep(wanted, backbone, torch_has_gpus=runtime.built_for_gpus(), places=places)
    return backbone
