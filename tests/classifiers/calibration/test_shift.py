"""Whether a batch is like what was measured, and that nothing is sure where nothing was measured."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import log_softmax

from embedpipe.classifiers.calibration import shift
from embedpipe.classifiers.calibration.decisions import Calibration, Decisions, Rule, robust_rate
from embedpipe.classifiers.calibration.shift import (
    FEWEST,
    Asked,
    advice,
    as_json,
    compare,
    count,
    measured_kinds,
    never_ok,
    promise,
)

RATE = 0.05
TYPES = 4
MEANS = np.array([0.1, 0.2, 0.3, 0.5])  # distances of the types differ, as they do


@pytest.fixture(autouse=True)
def fewer_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough for the tests, and quick."""
    monkeypatch.setattr(shift, "_DRAWS", 150)


class Source:
    """Documents of one source: how they score, how far they are."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def draw(
        self, n: int, *, far: float = 0.0, vague: float = 0.0, mix: list[float] | None = None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Scores, types and distances."""
        truth = self.rng.choice(TYPES, n, p=mix)
        decisions = self.rng.normal(0, 1, (n, TYPES))
        decisions[np.arange(n), truth] += 4.0 - vague
        distances = MEANS[truth] + self.rng.gamma(2.0, 0.03, n) + far
        return log_softmax(decisions, axis=1), truth, distances


def calibrated(n: int = 300, kinds: int = 0) -> Calibration:
    """From held-out documents, two of each group."""
    made = Source(0).draw(n)
    return Calibration.fit(*made, kinds=np.full(n, kinds), groups=np.arange(n) // 2)


def asked(calibration: Calibration, drawn: tuple[np.ndarray, np.ndarray, np.ndarray], kind: int = 0) -> Asked:
    """As `classify` asks."""
    probabilities = np.exp(calibration.scale.log_probabilities(drawn[0]))
    return Asked(drawn[2], probabilities.argmax(axis=1), probabilities.max(axis=1), np.full(len(drawn[1]), kind))


def decide(calibration: Calibration, n: int, kind: int, **more: np.ndarray) -> Decisions:
    """Decisions on ordinary documents."""
    scores, _, distances = Source(3).draw(n)
    return calibration.decide(scores, distances, Rule(), kinds=np.full(n, kind), **more)


def test_alarms_are_rare_and_true() -> None:
    """Batches like the held-out documents raise no alarm; farther or vaguer ones do, and it is told which."""
    calibration = calibrated()
    alarms = [bool(compare(calibration, asked(calibration, Source(9 + i).draw(30)), RATE).shifted) for i in range(25)]
    assert sum(alarms) <= 2
    far = compare(calibration, asked(calibration, Source(1).draw(30, far=0.15)), RATE)
    assert far.shifted == {"digital"}
    assert far.kinds[0].by == "distance"
    assert (far.kinds[0].share or 0) > 0.5
    vague = compare(calibration, asked(calibration, Source(1).draw(60, vague=3.0)), RATE)
    assert vague.kinds[0].by == "confidence"
    [line] = advice(vague, "svm", RATE)
    assert "60 born-digital documents do not look like" in line
    assert "none is ok" in line
    assert "label some" in line


@pytest.mark.parametrize("kind", range(TYPES))
def test_another_mix_of_types_is_no_alarm(kind: int) -> None:
    """An inbox of one type is ordinary, though its distances are not those of all types."""
    calibration = calibrated()
    mix = [1.0 if other == kind else 0.0 for other in range(TYPES)]
    assert not compare(calibration, asked(calibration, Source(5).draw(50, mix=mix)), RATE).shifted


def test_documents_of_one_group_count_together() -> None:
    """Where held-out documents of a group are alike, a batch that is one group is no alarm."""
    rng = np.random.default_rng(0)
    scores, truth, distances = Source(0).draw(400, mix=[1.0, 0.0, 0.0, 0.0])
    groups = np.arange(400) // 20
    distances = distances + rng.normal(0, 0.2, 20)[groups]
    calibration = Calibration.fit(scores, truth, distances, kinds=np.zeros(400, int), groups=groups)
    alone = replace(calibration, groups=np.arange(400))
    batch = asked(calibration, (scores[:20], truth[:20], np.full(20, np.quantile(distances, 0.8))))
    assert compare(alone, batch, RATE).shifted
    assert not compare(calibration, batch, RATE).shifted


def test_few_documents_are_not_compared() -> None:
    """A handful has no power, and without groups nobody knows what is ordinary: the kind is told all the same."""
    calibration = calibrated()
    few = compare(calibration, asked(calibration, Source(1).draw(FEWEST - 1, far=1.0)), RATE)
    assert [(test.p_value, test.measured) for test in few.kinds] == [(None, True)]
    many = asked(calibration, Source(1).draw(30, far=1.0))
    assert not compare(replace(calibration, groups=None), many, RATE).shifted


@pytest.mark.parametrize("kind", [-1, 1, 2])
def test_what_was_not_measured_is_never_ok(kind: int) -> None:
    """Documents of an unknown kind, or of one that was not held out, are not ok, and have more candidates."""
    calibration = calibrated()
    measured, other = decide(calibration, 200, 0), decide(calibration, 200, kind)
    assert (measured.status == "ok").mean() > 0.5
    assert not (other.status == "ok").any()
    assert not other.measured.any()
    assert (other.candidates >= measured.candidates).all()
    assert other.candidates.sum() > measured.candidates.sum()
    wished = calibration.decide(*Source(3).draw(50)[::2], Rule(0.05, 0.5), kinds=np.full(50, kind))
    assert not (wished.status == "ok").any()


@pytest.mark.parametrize(("documents", "enough"), [(18, False), (19, True)])
def test_a_kind_needs_as_many_documents_as_its_error_rate(documents: int, enough: bool) -> None:
    """One in twenty can be promised of nineteen held-out documents, not of eighteen; of each kind on its own."""
    scores, truth, distances = Source(0).draw(300)
    kinds = np.zeros(300, int)
    kinds[:documents] = 1
    calibration = Calibration.fit(scores, truth, distances, kinds=kinds)
    assert (decide(calibration, 100, 1).status == "ok").any() == enough
    assert calibration.measured(1, RATE) == enough
    assert measured_kinds(calibration, RATE) == {"digital": 300 - documents} | ({"scan": 19} if enough else {})


def test_a_shifted_batch_is_never_ok() -> None:
    """Rows of a kind that was measured are not ok where their batch is unlike what was measured."""
    calibration = calibrated()
    shifted = np.arange(100) < 50
    found, before = decide(calibration, 100, 0, shifted=shifted), decide(calibration, 100, 0)
    assert not (found.status[:50] == "ok").any()
    assert found.status[50:].tolist() == before.status[50:].tolist()
    assert found.candidates[:50].sum() > before.candidates[:50].sum()


def test_robust_rate_is_the_bound() -> None:
    """The rate plus what a divergence can add to it is the rate that was asked for."""
    for rate in (0.01, 0.05, 0.2):
        less = robust_rate(rate)
        assert 0 < less < rate
        assert less + np.sqrt(less * (1 - less)) == pytest.approx(rate)


def test_what_is_promised_is_said_with_its_limits() -> None:
    """The promise names error rate, kinds and numbers; what is missing is said with what to do."""
    calibration = calibrated()
    line = promise(calibration, RATE)
    for part in ("5%", "labelled types", "300 born-digital documents", "scans and photos are never ok"):
        assert part in line
    assert "no error rate" in promise(calibrated(10), RATE)
    found = count(calibration, np.array([1, 1, -1, 0]), RATE)
    lines = advice(found, "svm", RATE)
    assert len(lines) == 2
    assert "2 scans" in lines[0]
    assert "--augment" in lines[0]
    shown = as_json(found, "svm", RATE)
    assert [kind["source_kind"] for kind in shown["kinds"]] == ["digital", "scan", None]
    assert [kind["measured"] for kind in shown["kinds"]] == [True, False, False]
    assert shown["advice"] == lines


def test_it_is_said_why_nothing_can_be_ok() -> None:
    """Too few documents, types of one group, or too many mistakes; no word where some answers can."""
    names = ["a", "b", "c", "d"]

    def told(scores: np.ndarray, truth: np.ndarray, distances: np.ndarray, kind: int = 0) -> list[str]:
        calibration = Calibration.fit(scores, truth, distances, kinds=np.full(len(truth), kind))
        found = calibration.decide(scores, distances, Rule(), kinds=np.full(len(truth), kind))
        lines = never_ok(calibration, names, RATE)
        assert bool(lines) == ("ok" not in set(found.status))
        return lines

    assert told(*Source(0).draw(300)) == []
    [line] = told(*Source(0).draw(10))
    assert "it takes 19 held-out documents of one kind of source, and there are 10" in line
    scores, truth, distances = Source(0).draw(300)
    rows = np.flatnonzero(truth >= 2)[:30]
    scores[rows, truth[rows]] = -30.0
    [line] = told(scores, truth, distances)
    assert "30 of 300 held-out documents are of types with labels from one source only (2: c, d)" in line
    [line] = told(*Source(0).draw(300, vague=4.0))
    assert "of 300 held-out documents got another type than theirs" in line
    old = replace(Calibration.fit(*Source(0).draw(300), kinds=np.zeros(300, int)), second=None)
    assert never_ok(old, names, RATE) == []


def test_a_type_of_one_group_does_not_make_every_type_a_candidate() -> None:
    """Held-out documents whose type was not learnt say nothing of how improbable a true type can be."""
    scores, truth, distances = Source(0).draw(300)
    scores[0, truth[0]] = -30.0
    calibration = Calibration.fit(scores, truth, distances, kinds=np.zeros(300, int))
    assert not decide(calibration, 100, 1).candidates.all(axis=1).any()
    assert decide(replace(calibration, learnt=None), 100, 1).candidates.all()
