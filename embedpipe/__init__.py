"""embedpipe sorts piles of documents by what their pages look like.

The names below are the library's public face; each is loaded when it is first used, so that importing the package is
quick and fitting on stored features never loads torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embedpipe.classification import classify
    from embedpipe.classifiers import ClassifierBundle
    from embedpipe.engines import Backbone
    from embedpipe.errors import EmbedpipeError
    from embedpipe.features import FeatureStore
    from embedpipe.loading import load_backbone
    from embedpipe.lookalikes import similar
    from embedpipe.pipeline import embed
    from embedpipe.records import Recipe
    from embedpipe.streaming import Settings
    from embedpipe.training import TrainingRecipe, evaluate, fit, make_variants
    from embedpipe.workspace import Workspace

_HOMES = {
    "Backbone": "engines",
    "load_backbone": "loading",
    "classify": "classification",
    "ClassifierBundle": "classifiers",
    "EmbedpipeError": "errors",
    "FeatureStore": "features",
    "similar": "lookalikes",
    "Settings": "streaming",
    "embed": "pipeline",
    "Recipe": "records",
    "TrainingRecipe": "training",
    "evaluate": "training",
    "fit": "training",
    "make_variants": "training",
    "Workspace": "workspace",
}

__all__ = [
    "Backbone",
    "ClassifierBundle",
    "EmbedpipeError",
    "FeatureStore",
    "Recipe",
    "Settings",
    "TrainingRecipe",
    "Workspace",
    "classify",
    "embed",
    "evaluate",
    "fit",
    "load_backbone",
    "make_variants",
    "similar",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
