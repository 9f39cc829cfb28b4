"""What is computed of all documents, and kept; the server's tests ask the rest."""

from pathlib import Path

import numpy as np
import pytest

from embedpipe.core.errors import ArtifactError
from embedpipe.store.labels import Label, Labels
from embedpipe.tasks.heap import CHECKED, PARTLY, SUGGESTED, UNKNOWN, Stock, Survey, columns


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(100), b"no archive"])
def test_a_damaged_survey_is_said(tmp_path: Path, content: bytes) -> None:
    """Whatever is there in its place."""
    (tmp_path / "answers.npz").write_bytes(content)
    with pytest.raises(ArtifactError, match="cannot be read"):
        Survey.load(tmp_path / "answers.npz")


@pytest.mark.parametrize(
    ("checked", "suggested", "state", "label"),
    [
        ({}, {}, UNKNOWN, None),
        ({}, {0: "memo"}, SUGGESTED, "memo"),
        ({1: "letter"}, {}, PARTLY, None),
        ({1: "letter", 2: "letter"}, {}, PARTLY, None),
        ({1: "letter", 3: "letter"}, {}, CHECKED, "letter"),
        ({1: "letter", 2: "memo", 3: "letter"}, {}, CHECKED, "letter"),
        ({1: "letter", 3: "form"}, {}, CHECKED, None),
        ({0: "memo", 1: "letter"}, {}, CHECKED, "memo"),
    ],
)
def test_labels_of_pages_count_as_what_they_are(
    checked: dict[int, str], suggested: dict[int, str], state: int, label: str | None
) -> None:
    """A pile whose second page is blank is checked by labels of the two others, and partly checked by one of them."""
    pile = "a" * 64
    held = Stock([pile], ["/pile.pdf"], np.array([3]), [""], np.zeros(1, bool), {pile: 0}, {pile: frozenset({1, 3})})

    def labels(given: dict[int, str]) -> Labels:
        return Labels({(pile, page): Label(pile, "/pile.pdf", kind, page) for page, kind in given.items()})

    found = columns(held, labels(checked), labels(suggested), None, {})
    number = found["columns"]["label"][0]
    assert found["columns"]["label_state"] == [state]
    assert (found["dictionaries"]["type"][number] if number >= 0 else None) == label
    assert set(checked.values()) <= set(found["dictionaries"]["type"])
