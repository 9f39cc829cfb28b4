"""What a fine-tuned network has seen, told from its manifest."""

from pathlib import Path

import numpy as np
import pytest

from embedpipe.classifiers.finetuned import MANIFEST, seen_pages, trained_on
from embedpipe.core.files import write_json
from embedpipe.core.records import Identity, Recipe
from embedpipe.store.workspace import Workspace

IDENTITY = Identity("finetuned:mine", "ab" * 32, Recipe(), ("all",))
DOCUMENTS = np.array(["d0", "d0", "d1", "d2", "d3", "d4"], object)
GROUPS = np.array(["g0", "g0", "g0", "d2", "old", "d4"], object)


def write_manifest(workspace: Workspace, trained: list[str], groups: list[str], sha256: str = "ab" * 32) -> Path:
    """The part of a manifest that says what a network was trained on."""
    file = workspace.backbone_path("mine") / MANIFEST
    write_json(file, {"weights_sha256": sha256, "documents": {"trained": trained}, "groups": {"trained": groups}})
    return file


def test_pages_of_trained_documents_and_of_their_groups_are_seen(workspace: Workspace) -> None:
    """A document that shares its group with one that was trained on, today or then, is no unseen one."""
    write_manifest(workspace, ["d0", "gone"], ["old"])
    seen = seen_pages(workspace, IDENTITY, DOCUMENTS, GROUPS)
    assert seen is not None
    assert seen.tolist() == [True, True, True, False, True, False]


def test_a_frozen_network_has_seen_nothing(workspace: Workspace) -> None:
    """Only what was fine-tuned here has seen documents."""
    write_manifest(workspace, ["d0"], [])
    frozen = Identity("mine", "ab" * 32, Recipe(), ("all",))
    assert seen_pages(workspace, frozen, DOCUMENTS, GROUPS) is None


def test_where_nobody_knows_everything_counts_as_seen(workspace: Workspace) -> None:
    """Without the manifest, with a damaged one, and with that of another network of the same name."""
    for write in (
        lambda: None,
        lambda: write_manifest(workspace, ["d0"], [], sha256="cd" * 32),
        lambda: write_manifest(workspace, ["d0"], []).write_text("{}"),
    ):
        write()
        assert trained_on(workspace, IDENTITY) is None
        seen = seen_pages(workspace, IDENTITY, DOCUMENTS, GROUPS)
        assert seen is not None
        assert seen.all()


@pytest.mark.parametrize("groups", [{}, {"groups": {}}])
def test_a_manifest_without_groups_is_read(workspace: Workspace, groups: dict[str, object]) -> None:
    """Earlier ones named documents alone."""
    file = workspace.backbone_path("mine") / MANIFEST
    write_json(file, {"weights_sha256": "ab" * 32, "documents": {"trained": ["d2"]}, **groups})
    seen = seen_pages(workspace, IDENTITY, DOCUMENTS, GROUPS)
    assert seen is not None
    assert seen.tolist() == [False, False, False, True, False, False]
