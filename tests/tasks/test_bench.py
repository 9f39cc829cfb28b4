"""The bench measures what it says, on the pages that it says; how fast this machine is, is nobody's business here."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from embedpipe.backbones.engines import Backbone
from embedpipe.core.errors import EmbedpipeError, UnknownNameError
from embedpipe.samples import draw_samples
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import bench
from embedpipe.tasks.bench import (
    Plan,
    Sample,
    choose_pages,
    draw_rows,
    limit,
    measure_similar,
    starving,
    summary,
    tables,
)

RATES = ("pipeline", "plain_loop", "dataloader", "limit", "render", "render_one_core", "model")


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six drawn documents and one that is no document."""
    folder = tmp_path_factory.mktemp("pile")
    draw_samples(folder, per_type=3, types=("invoice", "slides"))
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
    return folder


@pytest.fixture(scope="module")
def sample(pile: Path, tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Pages of the drawn documents."""
    return choose_pages([str(pile)], tiny, 5, Workspace(tmp_path_factory.mktemp("workspace")))


def test_limit_on_shared_cores_adds_the_times() -> None:
    """Two cores: 0.1 s / 2 to render and 0.05 s in the network are ten pages a second."""
    assert limit(0.1, 0.07, 0.05, 2, shared=True) == pytest.approx(10)


def test_limit_beside_a_gpu_is_the_slower_half() -> None:
    """The cores render while the GPU computes; what counts is how all the cores render in fact."""
    assert limit(0.1, 0.07, 0.05, 2, shared=False) == pytest.approx(1 / 0.07)
    assert limit(0.1, 0.02, 0.05, 2, shared=False) == pytest.approx(20)


def test_summary_leaves_the_start_out_of_the_rates() -> None:
    """100 pages in 6 s of which 1 s is the start: 20 a second, of 25 that could be."""
    seconds = {"plain_loop": 30.0, "dataloader": 10.0, "pipeline": 6.0, "start": 1.0}
    seconds |= {"render_one_core": 4.0, "render": 2.5, "model": 2.0}
    values = summary(seconds, 100, 2, {"render": 8.0, "forward": 4.0, "wait": 1.2, "write": 0.1}, shared=True)
    assert values["pipeline_pages_per_second"] == 20
    assert values["limit_pages_per_second"] == 25
    assert values["limit_ratio"] == pytest.approx(0.8)
    assert values["plain_loop_ratio"] == pytest.approx(6)
    assert values["dataloader_ratio"] == pytest.approx(2)
    assert values["render_one_core_pages_per_second"] == 25
    assert (values["start_seconds"], values["seconds_with_start"]) == (1, 6)


@pytest.mark.parametrize(
    ("render", "wait", "told"),
    [
        (20.0, 6.0, "the network waits for pages"),
        (10.0, 1.0, "rendering waits for the network"),
        (19.0, 1.5, "nothing"),
    ],
)
def test_starving_tells_who_waits(render: float, wait: float, told: str) -> None:
    """Of 11 s the first is the start; two workers have 20 s for the rest."""
    assert starving({"render": render, "wait": wait}, 11.0, 1.0, 2)["starves"] == told


def test_chosen_pages_are_the_first_of_whole_documents(sample: Sample) -> None:
    """Enough pages, without holes, and none of the file that cannot be opened."""
    assert len(sample.pages) >= 5
    assert not any(path.endswith("broken.pdf") for path in sample.paths)
    for path in sample.paths:
        indices = [page.index for page in sample.pages if page.document.path == path]
        assert indices == list(range(len(indices)))


def test_chosen_pages_are_always_the_same(sample: Sample, pile: Path, tiny: Backbone, tmp_path: Path) -> None:
    """Two runs measure the same thing."""
    assert choose_pages([str(pile)], tiny, 5, Workspace(tmp_path)) == sample


def test_nothing_to_measure_is_an_error(tiny: Backbone, tmp_path: Path) -> None:
    """An empty folder has no rate."""
    with pytest.raises(EmbedpipeError, match="nothing to measure"):
        choose_pages([str(tmp_path)], tiny, 5, Workspace(tmp_path / "artifacts"))


def test_unknown_part_is_refused_before_any_work(tiny: Backbone) -> None:
    """A word that is none of the parts is named."""
    with pytest.raises(UnknownNameError, match="renders"):
        bench.run([], tiny, Plan(("renders",)), print)


def test_drawn_rows_have_every_type_near_the_real_pages() -> None:
    """400 rows around 3 pages: 16 types, finite, and the pages' mean."""
    X = np.random.default_rng(1).normal(5, 1, (3, 20)).astype(np.float32)
    rows, y = draw_rows(X, 400)
    assert rows.shape == (400, 20)
    assert rows.dtype == np.float32
    assert len(set(y)) == 16
    assert abs(rows.mean() - X.mean()) < 0.1
    same = draw_rows(X, 400)
    assert np.array_equal(rows, same[0])
    assert np.array_equal(y, same[1])


def test_similar_takes_fewer_rows_than_neighbours(tiny: Backbone, tmp_path: Path) -> None:
    """A store of three pages is measured too."""
    X = np.random.default_rng(1).random((3, tiny.dim), np.float32)
    assert measure_similar(X, tiny.identity, tiny.blocks, tmp_path / "rows")["p50_ms"] > 0


def test_the_command_measures_everything(pile: Path) -> None:
    """Every figure of the contract is there and can be a figure; the tables show them."""
    # in a process of its own: the DataLoader's signal handler and the threads of many networks do not go together
    script = Path(sys.executable).with_name("embedpipe")
    options = ["--backbone", "timm:test_resnet", "--weights", "none", "--json", "--repeats", "1"]
    command = [str(script), "bench", str(pile), *options, "--max-pages-used", "4"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=250)
    assert done.returncode == 0, done.stderr
    values = json.loads(done.stdout)
    assert values["backbone"] == "timm:test_resnet"
    assert all(values[f"{name}_pages_per_second"] > 0 for name in RATES)
    assert all(values[key] > 0 for key in ("plain_loop_ratio", "dataloader_ratio", "limit_ratio"))
    assert values["peak_rss_mb"] is None or values["peak_rss_mb"] > 50
    assert set(values["stages"]) == {"render", "forward", "wait", "write"}
    assert set(values["fit"]["seconds"]) == {"svm", "knn", "head"}
    assert values["fit"]["rows"] == values["similar"]["rows"] == 10_000
    assert 0 < values["similar"]["p50_ms"] <= values["similar"]["p99_ms"]
    shown = tables(values)
    assert len(shown) == 4
    assert all(len(row) == len(columns) for columns, rows in shown for row in rows)


def test_parts_can_be_left_out(pile: Path, tiny: Backbone) -> None:
    """Without a part there are none of its figures."""
    values = bench.run([str(pile)], tiny, Plan((), pages=2, repeats=1, weights="none"), lambda _: None)
    assert not {"fit", "similar", "stages"} & values.keys()
