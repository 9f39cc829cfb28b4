"""Families of one layout are labelled in one stroke, and labels that are there stay."""

from pathlib import Path

import numpy as np
import pytest
from classifiers.test_training import BLOCKS, IDENTITY, sha, write_labels
from PIL import Image

from embedpipe.core.errors import LabelsError, UsageError
from embedpipe.core.records import FeatureBatch, PageInfo, PageRef
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import label_cluster

LAYOUTS = [0] * 5 + [1] * 3 + [2]


@pytest.fixture
def store(workspace: Workspace) -> FeatureStore:
    """Nine documents: five of one layout, of which one is labelled, three of another, and one alone."""
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (3, 12))
    path = workspace.store_path(IDENTITY.space)
    writer = FeatureWriter(FeatureStore.create(path, IDENTITY, BLOCKS), {})
    refs = [PageRef(sha(n), 0, f"/{n}.pdf") for n in range(len(LAYOUTS))]
    pages = tuple(PageInfo(ref, 1, 595.0, 842.0, 0.1) for ref in refs)
    writer.append(FeatureBatch(pages, np.float32(centres[LAYOUTS] + rng.normal(0, 0.02, (9, 12)))))
    writer.flush()
    write_labels(workspace, [Label(sha(0), "", "form")])
    return FeatureStore.open(path)


def test_families_are_listed_with_what_is_to_label(workspace: Workspace, store: FeatureStore) -> None:
    """Each family has its documents and the labels among them; a document alone is in none."""
    first, second = label_cluster.find(workspace, store)
    assert (first.number, set(first.unlabelled), first.labelled) == (1, {sha(n) for n in range(1, 5)}, {"form": 1})
    assert (second.number, set(second.unlabelled), second.labelled) == (2, {sha(n) for n in range(5, 8)}, {})
    assert label_cluster.as_json([second])[0]["family"] == 2


def test_a_family_is_labelled_in_one_stroke(workspace: Workspace, store: FeatureStore) -> None:
    """All its documents without a label get the type, the labelled one keeps its own, and numbers stay."""
    assert label_cluster.label(workspace, store, {1: "invoice"}) == 4
    assert workspace.labels().types() == {"form": 1, "invoice": 4}
    assert [family.number for family in label_cluster.find(workspace, store)] == [2]
    with pytest.raises(LabelsError, match="no family 1 "):
        label_cluster.label(workspace, store, {1: "invoice"})


def test_families_are_labelled_by_a_csv(workspace: Workspace, store: FeatureStore, tmp_path: Path) -> None:
    """The CSV has a line for each family; those that are filled in are labelled."""
    file = tmp_path / "families.csv"
    label_cluster.save(label_cluster.find(workspace, store), file)
    with pytest.raises(LabelsError, match="no line"):
        label_cluster.read(workspace, store, file)
    file.write_text(file.read_text(encoding="utf-8-sig").replace("\n2,,", "\n2,memo,"), encoding="utf-8")
    assert label_cluster.read(workspace, store, file) == {2: "memo"}
    assert label_cluster.label(workspace, store, {2: "memo"}) == 3


def test_families_are_drawn(workspace: Workspace, store: FeatureStore, tmp_path: Path) -> None:
    """The contact sheet is drawn, also where the files are gone."""
    label_cluster.draw(workspace, label_cluster.find(workspace, store), tmp_path / "families.png")
    with Image.open(tmp_path / "families.png") as image:
        assert image.height > 600


def test_numbers_are_read() -> None:
    """One number or several; anything else is one line that says what is wanted."""
    assert label_cluster.numbers("3") == [3]
    assert label_cluster.numbers("3, 7") == [3, 7]
    with pytest.raises(UsageError, match="such as 3,7"):
        label_cluster.numbers("three")
