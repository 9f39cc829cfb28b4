"""Learning curves of types, and what they say of more labels."""

import numpy as np
import pytest
from classifiers.test_training import TYPES, Document, label_all, sha, write_labels, write_store

from embedpipe.classifiers.figures.learning_curves import LITTLE, MORE, Law, _of_type, learning_curves
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.rehearsals import rehearse
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace


def test_a_law_is_found_again() -> None:
    """Points of a power law give that law, what it would gain, and where it ends."""
    sizes = [1, 2, 5, 10, 20, 40]
    law = Law.fit(sizes, [0.9 - 0.6 * n**-0.5 for n in sizes])
    assert law is not None
    assert (law.limit, law.drop, law.exponent) == pytest.approx((0.9, 0.6, 0.5))
    assert law.gain(40) == pytest.approx(0.6 * (40**-0.5 - 50**-0.5))
    enough = law.enough()
    assert enough is not None
    assert law.gain(enough) < LITTLE <= law.gain(enough // 2)


@pytest.mark.parametrize(("values", "gain"), [([0.8, 0.6, 0.5], 0), ([0.5, 0.5, 0.5], 0), ([0.2, 0.6, 1.0], None)])
def test_no_law_falls_or_passes_one(values: list[float], gain: float | None) -> None:
    """Noise that falls counts as flat, and nothing is better than perfect."""
    law = Law.fit([1, 2, 5], values)
    assert law is not None
    assert 0 <= law.at(1000) <= 1
    assert law.gain(5) == pytest.approx(gain) if gain is not None else law.gain(5) >= 0
    assert Law.fit([1, 2, 2], [0.1, 0.2, 0.2]) is None


def test_what_a_curve_says() -> None:
    """More labels where it rises, enough where it does not, and why nothing can be said."""
    sizes = (1, 2, 5, 10, 20)

    def row(f1: list[float], alone: list[float | None], count: int = 25) -> dict[str, object]:
        figures = {size: {"form": pair} for size, pair in zip(sizes, zip(f1, alone, strict=True), strict=True)}
        return _of_type("form", [20] * 5, figures, count, ["words"])

    rising = row([0.9 - 0.7 * n**-0.5 for n in sizes], [0.5] * 5)
    assert rising["gain"] > LITTLE
    assert f"{MORE} more would bring about +0.02" in str(rising["sentence"])
    assert "words over pictures alone: +0.24, and these alone gain nothing more from about 1 on" in str(
        rising["sentence"]
    )
    flat = row([0.8] * 5, [None] * 5)
    assert str(flat["sentence"]).endswith("25 labelled, F1 0.80; 10 more would bring less than 0.01")
    assert "too few" in str(row([0.8] * 5, [None] * 5, count=3)["sentence"])
    assert "of one group" in str(_of_type("form", [0] * 5, {1: {}, 2: {}}, 4, [])["sentence"])


def test_curves_of_a_workspace(workspace: Workspace) -> None:
    """Each type has its curve, which ends with the figure of all documents; those of one group have none."""
    documents = [Document(TYPES[n % 3], noise=1.0) for n in range(36)]
    label_all(workspace, documents)
    store = write_store(workspace, documents)
    labels = [Label(sha(n), "", d.kind, 0, "one" if d.kind == "letter" else "") for n, d in enumerate(documents)]
    write_labels(workspace, labels)
    overall, types = learning_curves(rehearse(workspace, store, TrainingRecipe("head")))
    assert [row["documents_per_type"] for row in overall] == [1, 2, 5, 10, 12]
    by_name = {row["type"]: row for row in types}
    assert sorted(by_name) == sorted(TYPES)
    assert by_name["letter"]["points"] == []
    numbers = [point["documents"] for point in by_name["form"]["points"]]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] < by_name["form"]["documents"] == 12
    assert [row["gain"] or -1.0 for row in types] == sorted((row["gain"] or -1.0 for row in types), reverse=True)
    assert all(0 <= point["f1"] <= 1 for row in types for point in row["points"])
    assert np.isfinite([row["accuracy"] for row in overall]).all()
