"""Model files of skops as plain values: estimators become the names of their classes and their attributes.

skops writes a tree in JSON beside its arrays (https://skops.readthedocs.io/en/stable/persistence.html). What is read
here runs no code, as with skops; and nothing is trusted, for no class is looked up.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

_SCHEMA = "schema.json"


@dataclass(frozen=True, slots=True)
class Estimator:
    """An object of a class that was not loaded.

    Attributes:
        kind: The full name of its class.
        values: Its attributes.
    """

    kind: str
    values: Mapping[str, Any]


def read_tree(file: Path) -> Any:
    """What a model file holds: dicts, lists, tuples, numbers, texts, arrays and `Estimator`.

    Raises:
        LookupError: It holds something else.
        OSError: It cannot be read.
        ValueError: It is damaged.
        zipfile.BadZipFile: It is damaged.
    """
    with zipfile.ZipFile(file) as archive:
        return _Reader(archive).value(json.loads(archive.read(_SCHEMA)))


class _Reader:
    """Makes values of the nodes of a tree; what is the same object in several places is read once."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._made: dict[int, Any] = {}

    def value(self, node: Mapping[str, Any]) -> Any:
        """The value of a node."""
        loader, content = node["__loader__"], node.get("content")
        if loader == "CachedNode":
            return self._made[node["__id__"]]
        if loader == "JsonNode":
            found: Any = json.loads(str(content))
        elif loader == "DictNode":
            found = {key: self.value(inner) for key, inner in _items(content)}
        elif loader in ("ListNode", "TupleNode"):
            found = [self.value(inner) for inner in content or ()]
            found = tuple(found) if loader == "TupleNode" else found
        elif loader == "NdArrayNode" and node["type"] == "numpy":
            found = np.load(io.BytesIO(self._archive.read(node["file"])), allow_pickle=False)
        elif loader == "NdArrayNode" and node["type"] == "json":
            found = np.array([self.value(inner) for inner in content or ()], object).reshape(self.value(node["shape"]))
        elif loader == "ObjectNode" and isinstance(content, Mapping):
            found = Estimator(f"{node['__module__']}.{node['__class__']}", self.value(content))
        else:
            raise LookupError(f"{loader} is not known here")
        if "__id__" in node:
            self._made[node["__id__"]] = found
        return found


def _items(content: Any) -> Any:
    if not isinstance(content, Mapping):
        raise TypeError("a table without content")
    return content.items()
