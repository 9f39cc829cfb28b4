"""The families of a store."""

from pathlib import Path

import pytest

from embedpipe.backbones.building import Backbone
from embedpipe.core.tables import read_csv
from embedpipe.samples import draw_samples
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.families import as_json, draw, find, write_html, write_table


@pytest.fixture(scope="module")
def workspace(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A small labelled pile."""
    folder = tmp_path_factory.mktemp("layouts")
    draw_samples(folder / "pile", per_type=4, types=("slides", "book"))
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    return workspace


def test_families_are_told_with_pages_documents_and_type(workspace: Workspace, tmp_path: Path) -> None:
    """JSON, CSV, HTML and contact sheets speak of the same families."""
    layouts = find(workspace, workspace.store(), threshold=0.5)
    values = as_json(layouts)
    assert values
    assert [v["pages"] for v in values] == sorted((v["pages"] for v in values), reverse=True)
    assert {v["type"] for v in values} <= {"slides", "book"}
    write_table(layouts, tmp_path / "f.csv")
    rows = read_csv(tmp_path / "f.csv")
    assert len(rows) == sum(v["pages"] for v in values)
    assert sum(row["representative"] == "yes" for row in rows) == len(values)
    write_html(workspace, layouts, {}, tmp_path / "f.html")
    assert "Family 1" in (tmp_path / "f.html").read_text(encoding="utf-8")
    draw(workspace, layouts[:2], tmp_path / "sheets")
    assert (tmp_path / "sheets" / "family-001.png").exists()


def test_first_pages_alone(workspace: Workspace) -> None:
    """Each document is in one family at most."""
    layouts = find(workspace, workspace.store(), threshold=0.2, first_pages=True)
    assert all(page.page_index == 0 for layout in layouts for page in layout.pages)
    assert all(layout.documents == len(layout.pages) for layout in layouts)
