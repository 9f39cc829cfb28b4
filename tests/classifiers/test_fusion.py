"""Weights of parts: what tells types counts, what tells nothing does not, and pages without words stay calibrated."""

import numpy as np
import pytest
from scipy.special import log_softmax

from embedpipe.classifiers.scores.fusion import IMPOSSIBLE, Evidence, Fusion, choose, document_losses, learn

CLASSES = 4


def scores_of(truth: np.ndarray, strength: float, seed: int) -> np.ndarray:
    """Log scores that point to the true type by so much, with noise of one."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, 1, (len(truth), CLASSES))
    values[np.arange(len(truth)), truth] += strength
    return np.asarray(log_softmax(values, axis=1))


@pytest.fixture(scope="module")
def evidence() -> Evidence:
    """200 documents of two pages: pictures tell something, words more, of half of them; noise tells nothing."""
    documents = np.repeat(np.arange(200), 2)
    truth = np.random.default_rng(0).integers(0, CLASSES, 200)[documents]
    words = scores_of(truth, 3.0, 2)
    words[documents % 2 == 1] = np.nan
    parts = {"pictures": scores_of(truth, 1.5, 1), "noise": scores_of(truth, 0.0, 3), "words": words}
    return Evidence(parts, truth, documents, np.tile([1.0, 0.5], 200), documents // 2, frozenset({"words"}))


def test_a_part_counts_as_much_as_it_tells(evidence: Evidence) -> None:
    """Noise gets next to no weight, words the most, and both together are better than either."""
    fusion = learn(["pictures", "noise", "words"], evidence)
    assert fusion.full[1] < 0.3 * fusion.full[0]
    assert fusion.full[2] > fusion.full[0]
    alone = document_losses(learn(["pictures"], evidence), evidence)
    both = document_losses(learn(["pictures", "words"], evidence), evidence)
    assert both[::2].mean() < 0.8 * alone[::2].mean()


def test_pages_without_words_are_answered_as_if_nobody_had_words(evidence: Evidence) -> None:
    """Their weights, and so their confidence, are those of pictures alone."""
    fusion, alone = learn(["pictures", "words"], evidence), learn(["pictures"], evidence)
    silent = evidence.documents % 2 == 1
    fused = fusion.apply(evidence.scores)
    assert np.isfinite(fused).all()
    np.testing.assert_allclose(fused[silent], alone.apply(evidence.scores)[silent])
    assert np.allclose(np.exp(fused).sum(axis=1), 1.0, atol=1e-3)


def test_pictures_are_weighted_alone_also_where_all_pages_had_words(evidence: Evidence) -> None:
    """The first page without words is then answered with what pictures alone deserve."""
    worded = evidence.take(evidence.documents % 2 == 0)
    fusion, alone = learn(["pictures", "words"], worded), learn(["pictures"], worded)
    np.testing.assert_allclose(fusion.bare, [alone.full[0], 0.0])


def test_only_what_helps_is_chosen(evidence: Evidence) -> None:
    """Noise is left out; what is forced is not."""
    names = ["pictures", "noise", "words"]
    assert choose(names, ["pictures"], evidence) == ["pictures", "words"]
    assert choose(names, ["pictures", "noise"], evidence) == names
    one = evidence.take(evidence.groups == 0)
    assert choose(names, ["pictures"], one) == ["pictures"]  # of one group nothing is known


def test_types_that_were_not_learnt_stay_impossible(evidence: Evidence) -> None:
    """Whatever the weights are, they are told from types that are only improbable."""
    scores = {name: values.copy() for name, values in evidence.scores.items()}
    for values in scores.values():
        values[:, 0] = np.where(np.isnan(values[:, 0]), np.nan, IMPOSSIBLE)
    fused = Fusion(("pictures", "words"), np.array([9.0, 9.0]), np.array([9.0, 0.0])).apply(scores)
    assert (fused[:, 0] == IMPOSSIBLE).all()
    assert (fused[:, 1:] > IMPOSSIBLE + 1).all()


def test_nothing_held_out_gives_usual_weights(evidence: Evidence) -> None:
    """A network that has seen all documents leaves none to learn weights from."""
    none = evidence.take(np.zeros(len(evidence.truth), bool))
    assert np.isfinite(learn(["pictures", "words"], none).apply(evidence.scores)).all()
