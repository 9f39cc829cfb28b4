"""Modules that have moved, under the names that saved classifiers and exported pickles still hold."""

import importlib
import sys
import types
from typing import Any

MOVED = {
    "embedpipe.neighbours": "embedpipe.classifiers.neighbours",
    "embedpipe.novelty": "embedpipe.classifiers.calibration.novelty",
    "embedpipe.scaling": "embedpipe.store.scaling",
}
"""Former name and present name of each module whose estimators are written to files by name."""


def install() -> None:
    """Makes the former names importable; a module is loaded when something in it is asked for."""
    for former, present in MOVED.items():
        sys.modules.setdefault(former, _alias(former, present))


def _alias(former: str, present: str) -> types.ModuleType:
    def attribute(name: str) -> Any:
        if name.startswith("__"):  # other libraries look at all modules, and must not load this one
            raise AttributeError(name)
        return getattr(importlib.import_module(present), name)

    module = types.ModuleType(former, f"Now `{present}`.")
    module.__dict__["__getattr__"] = attribute
    return module
