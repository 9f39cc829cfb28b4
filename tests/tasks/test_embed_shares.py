"""`embed` in pieces: budgets, forecasts and plans of shards."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from typer.testing import CliRunner

from embedpipe.commands import app
from embedpipe.commands.terminal.options import Sharing, read_duration
from embedpipe.core.errors import UsageError
from embedpipe.embedding.sharding import Shard
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import embed as embed_module
from embedpipe.tasks.embed import Progress, embed
from embedpipe.tasks.embed_forecast import CORES, DISK, NETWORK, RENDERING, Heap, Load, in_bytes, in_hours, limit_of
from embedpipe.tasks.embed_plan import plan_shards

if TYPE_CHECKING:
    from embedpipe.backbones.engines import Backbone


@pytest.fixture
def heap(make_pdf: Callable[..., Path], tmp_path: Path) -> str:
    """Twelve documents of five pages."""
    for number in range(12):
        make_pdf(f"heap/{number}.pdf", [f"{number}.{page}" for page in range(5)])
    return str(tmp_path / "heap")


def test_a_run_stops_at_its_budget_and_goes_on(heap: str, workspace: Workspace, tiny: "Backbone") -> None:
    """Nothing is begun once the time is up; the next run does the rest."""
    report = embed(workspace, [heap], tiny, settings=Settings(workers=1, budget=0.0))
    assert report.out_of_time
    assert not report.interrupted
    assert report.embedded < 60
    assert not report.gone
    rest = embed(workspace, [heap], tiny, settings=Settings(workers=1, budget=600.0))
    assert not rest.out_of_time
    assert rest.embedded + rest.skipped == 60


def test_the_first_pages_say_what_the_rest_takes(
    heap: str, workspace: Workspace, tiny: "Backbone", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told at the first pages and at ten times as many; about as many pages as there are."""
    monkeypatch.setattr(embed_module, "FIRST_PAGES", 20)
    told: list[Progress] = []
    embed(workspace, [heap], tiny, settings=Settings(workers=1, batch_size=4), progress=told.append)
    (foreseen,) = [progress.forecast for progress in told if progress.forecast]
    assert 20 <= foreseen.pages <= 40
    assert 10 <= foreseen.pages_left <= 60
    assert 0 < foreseen.disk_left < 1e6 < foreseen.disk_free
    first, second = foreseen.lines()
    assert f"about {foreseen.pages_left} more pages" in first
    assert second.startswith("what the rest waits for: ")


def test_which_stage_the_others_wait_for() -> None:
    """From where the time went."""

    def limit(device: str = "cuda", **spent: float) -> str:
        values = {"render": 0.0, "forward": 0.0, "wait": 0.0, "read": 0.0} | spent
        load = Load(10.0, values["render"], values["forward"], values["wait"], values["read"], 4, 4, device)
        return limit_of(load, {"wait": load.wait / 10, "read": load.read / 10, "render": load.render / 40})

    assert limit(forward=9.5, render=10) == NETWORK
    assert limit(wait=8, render=38, forward=2) == RENDERING
    assert limit(wait=8, render=6, read=9) == DISK
    assert limit("cpu", wait=5, render=35, forward=5) == CORES


def test_how_much_is_to_come() -> None:
    """Bytes and files err to different sides: a first document that is long, and one that is large."""
    assert Heap(100, 10, 1000, 90, 9000).pages_left() == 900
    assert 900 < Heap(100, 1, 1000, 90, 9000).pages_left() < 9000
    assert (in_hours(45), in_hours(600), in_hours(9000)) == ("45 s", "10 min", "2 h 30 min")
    assert (in_bytes(900), in_bytes(2.5e9), in_bytes(3e12)) == ("1 KB", "2.5 GB", "3.0 TB")


def test_a_plan_counts_every_file_once(heap: str, tiny: "Backbone") -> None:
    """Pages and files of all shards are those of the heap; nothing is written."""
    plan = plan_shards([heap], tiny, Settings(workers=1), 3)
    assert sum(shard.files for shard in plan.shards) == 12
    assert sum(shard.pages for shard in plan.shards) == pytest.approx(60)
    assert plan.sampled_files == 12
    assert plan.rate > 0
    assert plan.balance >= 1
    assert all(shard.seconds > 0 and shard.disk > 0 for shard in plan.shards if shard.files)


def test_what_options_say() -> None:
    """Shards count from 1, and times have units."""
    assert Sharing(shard="2/3", budget="1h30m").on(Settings()).shard == Shard(2, 3)
    assert read_duration("1h30m") == 5400
    assert read_duration("90m") == 5400
    assert read_duration("2H") == 7200
    for wrong in ("2", "h", "0h", "2h later", "-1h"):
        with pytest.raises(UsageError, match="such as 2h"):
            read_duration(wrong)
    with pytest.raises(UsageError, match="counted from 1"):
        Sharing(shard="0/3").on(Settings())
    with pytest.raises(UsageError, match="leave --shard out"):
        Sharing(shard="1/3", plan=3).on(Settings())


def test_the_command_says_that_time_is_up(heap: str, tmp_path: Path) -> None:
    """Exit code 75, and what to do; a shard says what is elsewhere; `merge` takes it."""
    network = ["--backbone", "timm:test_resnet", "--weights", "none", "--size", "64", "--layers", "penultimate"]
    own = ["embed", heap, "--artifacts", str(tmp_path / "a"), "--workers", "1", *network]
    done = CliRunner().invoke(app, [*own, "--budget", "1s"], catch_exceptions=False)
    assert done.exit_code in (0, 75)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("embedpipe.commands.terminal.options.read_duration", lambda *_: 0.0)
        done = CliRunner().invoke(app, [*own, "--budget", "1s", "--shard", "1/2"], catch_exceptions=False)
    assert done.exit_code == 75
    assert "files of other shards: " in done.output
    assert "the same command goes on from here" in done.output
    merged = CliRunner().invoke(app, ["merge", str(tmp_path / "a"), "--into", str(tmp_path / "b")])
    assert merged.exit_code == 0, merged.output
    assert "as expected" in merged.output
