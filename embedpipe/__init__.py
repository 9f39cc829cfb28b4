"""embedpipe sorts piles of documents by what their pages look like.

The names below are the library's public face; each is loaded when it is first used, so that importing the package is
quick and fitting on stored features never loads torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

from embedpipe.core import moved

if TYPE_CHECKING:
    from embedpipe.backbones.engines import Backbone
    from embedpipe.backbones.loading import load_backbone
    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.classifiers.lessons.reading import make_variants
    from embedpipe.classifiers.lessons.recipes import TrainingRecipe
    from embedpipe.classifiers.training import evaluate, fit
    from embedpipe.core.errors import EmbedpipeError, UsageError
    from embedpipe.core.records import Recipe
    from embedpipe.embedding.streaming import Settings
    from embedpipe.pages.contract import Limits
    from embedpipe.pages.extras.ocr import Ocr
    from embedpipe.store.features import FeatureStore
    from embedpipe.store.workspace import Workspace
    from embedpipe.tasks.classify import classify
    from embedpipe.tasks.embed import embed
    from embedpipe.tasks.similar import similar

_HOMES = {
    "Backbone": "backbones.engines",
    "load_backbone": "backbones.loading",
    "classify": "tasks.classify",
    "ClassifierBundle": "classifiers.bundles",
    "EmbedpipeError": "core.errors",
    "UsageError": "core.errors",
    "FeatureStore": "store.features",
    "similar": "tasks.similar",
    "Settings": "embedding.streaming",
    "Limits": "pages.contract",
    "Ocr": "pages.extras.ocr",
    "embed": "tasks.embed",
    "Recipe": "core.records",
    "TrainingRecipe": "classifiers.lessons.recipes",
    "evaluate": "classifiers.training",
    "fit": "classifiers.training",
    "make_variants": "classifiers.lessons.reading",
    "Workspace": "store.workspace",
}

__all__ = [
    "Backbone",
    "ClassifierBundle",
    "EmbedpipeError",
    "FeatureStore",
    "Limits",
    "Ocr",
    "Recipe",
    "Settings",
    "TrainingRecipe",
    "UsageError",
    "Workspace",
    "classify",
    "embed",
    "evaluate",
    "fit",
    "load_backbone",
    "make_variants",
    "similar",
]

moved.install()


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
