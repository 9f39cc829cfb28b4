"""What becomes of shards that are lost, late, busy or delivered twice; with an executor that does as it is told."""

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from embedpipe.backbones.model_cache import Wanted
from embedpipe.cluster.job import Job, Standing, ended, run
from embedpipe.cluster.protocol import COMPLETE, INTERRUPTED, OUT_OF_TIME, Done, Event, Lost, Told, Work
from embedpipe.core.errors import EmbedpipeError
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace

JOB = Job(("/heap",), 3, Wanted("none"), silence=0.0)


class Scripted:
    """Answers each start of a shard with what a script says; nothing is a worker that is never heard of again."""

    name = "script"

    def __init__(self, answer: Callable[[Work, int], list[Event]], slots: int = 2) -> None:
        self.answer, self.slots = answer, slots
        self.started: list[Work] = []
        self.events_: list[Event] = []
        self.given_up: list[str] = []
        self.closed = 0
        self.stopped = False

    def start(self, work: Work) -> None:
        """Begins a work."""
        self.started.append(work)
        Path(work.artifacts).mkdir(parents=True, exist_ok=True)
        again = sum(other.shard == work.shard for other in self.started)
        self.events_ += self.answer(work, again)

    def events(self, seconds: float) -> Iterable[Event]:
        """All that was told."""
        assert seconds > 0
        told, self.events_ = self.events_, []
        return told

    def give_up(self, shard: str) -> None:
        """Notes it."""
        self.given_up.append(shard)

    def stop(self) -> None:
        """All that still run say that they were interrupted."""
        self.stopped = True
        self.events_ += [done(work, INTERRUPTED) for work in self.started]

    def close(self) -> None:
        """Notes it."""
        self.closed += 1


def done(work: Work, state: str = COMPLETE) -> Done:
    """A worker that ended by itself, with ten pages."""
    return Done(work.shard, "node", work.artifacts, state, {"embedded": 10, "failed_pages": 1})


def never(_: Standing) -> None:
    """Nobody watches."""


def test_all_shards_once_and_counts_add_up(workspace: Workspace) -> None:
    """No more at once than there is room for; what is delivered twice counts once."""
    executor = Scripted(lambda work, _: [Told(work.shard, "node", 5), done(work), done(work)])
    standing = run(workspace, JOB, executor, never)
    assert [work.shard for work in executor.started] == ["1/3", "2/3", "3/3"]
    assert len({work.artifacts for work in executor.started}) == 3
    assert standing.counts() == {"embedded": 30, "failed_pages": 3}
    assert (standing.pages, standing.stopped, standing.lost, executor.closed) == (30, "", {}, 1)


def test_a_lost_shard_is_done_again_in_its_store(workspace: Workspace) -> None:
    """Its finished parts are there; one that is lost each time is given up, and the others are done."""

    def answer(work: Work, again: int) -> list[Event]:
        if work.shard == "2/3":
            return [Lost(work.shard, "gone")]
        return [done(work)] if again == 2 or work.shard == "3/3" else [Lost(work.shard, "gone")]

    executor = Scripted(answer)
    standing = run(workspace, JOB, executor, never)
    assert set(standing.done) == {"1/3", "3/3"}
    assert standing.lost == {"2/3": "gone"}
    assert [work.shard for work in executor.started].count("2/3") == 3
    assert len({work.artifacts for work in executor.started if work.shard == "1/3"}) == 1


def test_a_store_that_is_held_or_silent_gets_another_beside_it(workspace: Workspace) -> None:
    """A worker that counted as lost may still run; what it says later is passed over."""

    def answer(work: Work, again: int) -> list[Event]:
        if again == 1:
            return [Lost(work.shard, "busy", busy=True)] if work.shard == "1/3" else []
        return [done(work)]

    executor = Scripted(answer)
    standing = run(workspace, JOB, executor, never)
    assert set(standing.done) == {"1/3", "2/3", "3/3"}
    assert set(executor.given_up) == {"2/3", "3/3"}
    assert all(one.artifacts.endswith("-of-3-2") for one in standing.done.values())


def test_what_cannot_go_well_ends_the_job(workspace: Workspace) -> None:
    """A wrong option is no reason to try again."""
    executor = Scripted(lambda work, _: [Lost(work.shard, "no such network", again=False)])
    with pytest.raises(EmbedpipeError, match="no such network"):
        run(workspace, JOB, executor, never)
    assert executor.closed == 1


def test_an_interrupted_job_goes_on_with_what_is_left(workspace: Workspace) -> None:
    """Complete shards are not begun again, until the job has ended."""

    def answer(work: Work, _: int) -> list[Event]:
        return [done(work)] if work.shard == "1/3" else []

    def stopping(standing: Standing) -> None:
        if standing.done and not standing.stopped:
            raise KeyboardInterrupt

    patient = Job(JOB.inputs, 3, JOB.wanted, silence=60.0)
    executor = Scripted(answer)
    standing = run(workspace, patient, executor, stopping)
    assert (standing.stopped, executor.stopped, set(standing.done)) == (INTERRUPTED, True, {"1/3"})
    again = Scripted(lambda work, _: [done(work)])
    assert set(run(workspace, patient, again, never).done) == {"1/3", "2/3", "3/3"}
    assert [work.shard for work in again.started] == ["2/3", "3/3"]
    ended(workspace)
    anew = Scripted(lambda work, _: [done(work)])
    run(workspace, patient, anew, never)
    assert len(anew.started) == 3


def test_a_budget_is_that_of_the_job(workspace: Workspace) -> None:
    """Workers get what is left of it, and say where it was used up."""
    job = Job(JOB.inputs, 3, JOB.wanted, Settings(budget=100.0), silence=60.0)
    executor = Scripted(lambda work, _: [done(work, OUT_OF_TIME if work.shard == "2/3" else COMPLETE)])
    standing = run(workspace, job, executor, never)
    assert (standing.stopped, set(standing.done)) == (OUT_OF_TIME, {"1/3", "3/3"})
    assert all(0 < (work.settings.budget or 0) <= 100 for work in executor.started)
    none = Scripted(lambda work, _: [done(work)])
    assert run(workspace, Job(("/x",), 3, JOB.wanted, Settings(budget=0.0)), none, never).stopped == OUT_OF_TIME
    assert not none.started
