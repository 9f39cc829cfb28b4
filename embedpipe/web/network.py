"""The network of a server: loaded once, for all requests, and asked by one at a time."""

import threading

import numpy as np
from numpy.typing import NDArray

from embedpipe.backbones.engines import Backbone, EngineChoice, Pending
from embedpipe.backbones.model_cache import Wanted
from embedpipe.classifiers import finetuned
from embedpipe.core.records import DEFAULT_BACKBONE, Identity
from embedpipe.store.workspace import Workspace
from embedpipe.web.settings import NetworkWish


def load(workspace: Workspace, wish: NetworkWish, identity: Identity | None) -> Backbone:
    """Loads the backbone of an identity, or the one that was asked for, as the command line does.

    Args:
        workspace: Where fine-tuned backbones are.
        wish: What was asked for.
        identity: What features were made with; None for a new space.
    """
    choice = EngineChoice(wish.device, wish.precision, wish.engine)
    if identity is not None:
        return finetuned.load_for(workspace, identity, wish.backbone, wish.weights, choice)
    asked = Wanted(wish.backbone or DEFAULT_BACKBONE, wish.weights, None, {}, choice)
    return finetuned.load(workspace, asked.members(), asked)


class SharedBackbone(Backbone):
    """A backbone that several threads may use: each call is over before the next begins.

    Args:
        backbone: The one that is shared.
    """

    def __init__(self, backbone: Backbone) -> None:
        super().__init__(backbone.identity, backbone.blocks, backbone.engine, backbone.turner)
        self._lock = threading.Lock()

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """As of the base class; waits for the features."""
        with self._lock:
            features = super().start(pixels)()
        return lambda: features
