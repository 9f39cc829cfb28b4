"""Manifests of any content, as a failing disk or a person may leave them."""

import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.files import FORMAT, read_json, write_json
from embedpipe.core.records import Identity, Recipe
from embedpipe.index import storage
from embedpipe.store.features import FeatureStore

IDENTITY = Identity("any", "0" * 64, Recipe(), ("penultimate",))
KEYS = ("format", "identity", "dim", "blocks", "parts", "classes", "name", "sha256", "model_sha256")
OURS = ("format", "checksum")
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
manifests = st.dictionaries(st.sampled_from(KEYS), values).map(lambda own: {"format": FORMAT, **own})
contents = st.binary(max_size=80) | (manifests | values).map(lambda value: json.dumps(value).encode())


@pytest.mark.parametrize(
    "load",
    [
        FeatureStore.open,
        ClassifierBundle.load,
        lambda folder: storage.load(folder, cast(Any, SimpleNamespace(identity=IDENTITY))),
        lambda folder: read_json(folder / "manifest.json"),
    ],
    ids=["store", "classifier", "index", "json"],
)
@settings(max_examples=150, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=contents)
def test_any_manifest_is_read_or_refused_with_a_line(load: Any, content: bytes, tmp_path: Path) -> None:
    """Whatever stands in a manifest, it is read or refused with an error of ours, never with a traceback."""
    (tmp_path / "manifest.json").write_bytes(content)
    with contextlib.suppress(EmbedpipeError):
        load(tmp_path)


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(own=st.dictionaries(st.text(max_size=8).filter(lambda key: key not in OURS), values, max_size=5))
def test_what_is_written_is_read_again(own: dict[str, Any], tmp_path: Path) -> None:
    """Any values come back from a manifest as they were."""
    write_json(tmp_path / "manifest.json", own)
    assert read_json(tmp_path / "manifest.json") == {"format": FORMAT, **own}
