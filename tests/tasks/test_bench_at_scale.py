"""How commands grow: stores of invented pages, and what is said of each command."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from embedpipe.backbones.building import Backbone
from embedpipe.commands import app
from embedpipe.core.errors import UnknownNameError
from embedpipe.samples import draw_samples
from embedpipe.store.page_extras import words_of_pages
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import bench_at_scale
from embedpipe.tasks.bench_at_scale import Real, Run, growth, invent, measure, table
from embedpipe.tasks.embed import embed


@pytest.fixture(scope="module")
def real(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small labelled pile."""
    folder = tmp_path_factory.mktemp("real")
    draw_samples(folder / "pile", per_type=3, types=("slides", "book"))
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    return workspace


def test_invented_pages_are_labelled_documents_with_near_copies(real: Workspace, tmp_path: Path) -> None:
    """Eight pages a document, a tenth more without a label, and a copy among twenty; `similar` has a file."""
    store, target = real.store(), Workspace(tmp_path / "artifacts")
    invent(Real.of(real, store), store, target, 640)
    made = target.store()
    pages, labels = made.pages(), target.labels()
    assert made.identity == store.identity
    assert pages.groupby("document_sha256").size().tolist() == [8] * 88
    assert len(labels.rows) == 80
    assert set(labels.types()) == {"slides", "book"}
    assert set(pages["source_kind"]) <= {"digital", "scan"}
    assert target.sources().document(pages["document_sha256"].iloc[0]) is not None
    assert pages["source"].iloc[0] == str(tmp_path / "first.pdf")
    X = np.concatenate([rows for _, rows in made.batches()])
    size = np.abs(X).mean()
    assert np.abs(X[8:16] - X[:8]).mean() < 0.05 * size < 0.1 * size < np.abs(X[16:24] - X[:8]).mean()
    words = words_of_pages(made, pages["page_id"].to_numpy())
    assert np.diff(words.indptr).min() > 50


def test_pages_without_labels_get_types_by_their_looks(real: Workspace, tmp_path: Path) -> None:
    """A store of which nothing is labelled can be measured as well."""
    found = Real.of(Workspace(tmp_path / "without"), real.store())
    assert len(set(found.y)) > 2
    assert len(found.X) == len(found.y) == len(found.kinds) == found.documents[-1]


def test_commands_run_as_processes_and_what_fails_is_told(real: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time, processor time and memory of a child, and the last line of one that fails."""
    monkeypatch.setattr(bench_at_scale, "_PROGRAM", "import sys; print(sys.argv); sys.exit('no ' + sys.argv[1])")
    said: list[str] = []
    values = measure(real, real.store(), 1000, ["info"], said.append)
    assert values["at_scale"]["pages"] == [100, 1000]
    assert list(values["at_scale"]["commands"]) == ["index", "info"]
    info = values["at_scale"]["commands"]["info"]
    assert info["errors"] == ["no info"] * 2
    assert info["growth"] is None
    assert all(seconds > 0 for seconds in info["seconds"])
    if sys.platform != "win32":
        assert all(peak > 1 for peak in info["peak_mb"])
    assert said[0] == f"inventing 100 labelled pages around {len(Real.of(real, real.store()).X)} real ones"
    assert ("info", "failed:", "no info", "", "", "", "", "") in table(values)[1]


def test_growth_is_an_exponent_of_processor_time() -> None:
    """Ten times the pages in ten times the time is 1; the clock counts where nothing else is known."""
    assert growth([Run(9.0, 1.0, 10.0), Run(9.0, 10.0, 10.0)], (100, 1000)) == pytest.approx(1)
    assert growth([Run(1.0, None, None), Run(100.0, None, None)], (100, 1000)) == pytest.approx(2)
    assert growth([Run(1.0, 1.0, 1.0, "broken"), Run(1.0, 1.0, 1.0)], (100, 1000)) is None


def test_unknown_commands_are_refused_before_anything_is_invented(real: Workspace) -> None:
    """The message lists what can be measured."""
    with pytest.raises(UnknownNameError, match="fit-knn"):
        measure(real, real.store(), 1000, ["fit-knm"])


def test_the_command_line_prints_a_table_and_json(real: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """`bench --at-scale`; a command that fails is a partial failure."""
    monkeypatch.setattr(bench_at_scale, "_run", lambda *_: Run(2.0, 1.0, 300.0))
    arguments = ["bench", "--at-scale", "1000", "--what", "info", "--artifacts", str(real.root)]
    shown = CliRunner().invoke(app, arguments)
    assert shown.exit_code == 0, shown.output
    assert "growth" in shown.output
    assert "info" in shown.output
    told = CliRunner().invoke(app, [*arguments, "--json"])
    assert json.loads(told.stdout)["at_scale"]["commands"]["info"]["growth"] == 0
    monkeypatch.setattr(bench_at_scale, "_run", lambda *_: Run(2.0, 1.0, 300.0, "error: broken"))
    assert CliRunner().invoke(app, arguments).exit_code == 3
    assert CliRunner().invoke(app, ["bench", "--at-scale", "10", "--artifacts", str(real.root)]).exit_code == 2
