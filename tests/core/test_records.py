"""Records hold what they promise: pages that are never without an owner, identities that name their space."""

import dataclasses

import numpy as np
import pytest

from embedpipe.core.records import WHOLE_FILE, FeatureBatch, Identity, PageInfo, PageRef, Recipe

IDENTITY = Identity("timm:some/net", "ab" * 32, Recipe(320, "aspect", "stages"), ("a_avg", "b_max"))


def test_page_ref_counts_from_one_for_people() -> None:
    """People see page numbers from 1, and only the file where the whole file failed."""
    page = PageRef("0" * 64, 0, "/data/a.pdf")
    assert page.page_number == 1
    assert str(page) == "/data/a.pdf#page=1"
    assert str(PageRef("0" * 64, WHOLE_FILE, "/data/a.pdf")) == "/data/a.pdf"


def test_batch_refuses_rows_without_page() -> None:
    """A batch whose rows and pages differ in number cannot be made."""
    page = PageInfo(PageRef("0" * 64, 0, "/a.pdf"), 1, 10, 10, 0.5)
    FeatureBatch((page,), np.zeros((1, 4), np.float32))
    with pytest.raises(ValueError, match="1 pages but 2 rows"):
        FeatureBatch((page,), np.zeros((2, 4), np.float32))


@pytest.mark.parametrize("shortest", [32, 80])
def test_identity_round_trips(shortest: int) -> None:
    """An identity read back from its plain values is equal and names the same space."""
    identity = dataclasses.replace(IDENTITY, recipe=dataclasses.replace(IDENTITY.recipe, shortest=shortest))
    again = Identity.from_json(identity.to_json())
    assert again == identity
    assert again.space == identity.space


def test_spaces_keep_their_names() -> None:
    """What tells spaces apart since some networks need wider pages does not rename the spaces of all others."""
    assert IDENTITY.space == "timm_some_net-fee18ea6"
    assert "shortest" not in IDENTITY.to_json()["recipe"]


@pytest.mark.parametrize(
    "changed",
    [
        dataclasses.replace(IDENTITY, backbone="timm:other"),
        dataclasses.replace(IDENTITY, weights_sha256="ac" + "ab" * 31),
        dataclasses.replace(IDENTITY, recipe=dataclasses.replace(IDENTITY.recipe, size=321)),
        dataclasses.replace(IDENTITY, recipe=dataclasses.replace(IDENTITY.recipe, resize="squash")),
        dataclasses.replace(IDENTITY, recipe=dataclasses.replace(IDENTITY.recipe, layers="penultimate")),
        dataclasses.replace(IDENTITY, recipe=dataclasses.replace(IDENTITY.recipe, shortest=80)),
        dataclasses.replace(IDENTITY, blocks=("b_max", "a_avg")),
        dataclasses.replace(IDENTITY, interpolation="bilinear"),
    ],
)
def test_every_part_of_the_identity_counts(changed: Identity) -> None:
    """Changing any one thing that changes the numbers gives another space."""
    assert changed.space != IDENTITY.space


def test_space_is_a_file_name() -> None:
    """The name of a space holds nothing that a file name must not."""
    assert IDENTITY.space.startswith("timm_some_net-")
    assert len(IDENTITY.space) == len("timm_some_net-") + 8
