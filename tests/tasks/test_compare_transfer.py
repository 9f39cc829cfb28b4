"""The three ways of transfer on the same held-out documents."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.commands import app
from embedpipe.core.errors import EmbedpipeError, LabelsError
from embedpipe.finetuning.training_loop import FinetuningRecipe
from embedpipe.samples import draw_samples
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.compare_transfer import FROZEN, TUNED, as_json, compare_ways
from embedpipe.tasks.embed import embed

TYPES = ("invoice", "slides")
RECIPE = FinetuningRecipe(
    backbone="timm:test_resnet", weights="none", unfreeze="head", pages="1", size=64, epochs=1, augment=False
)


@pytest.fixture(scope="module")
def drawn(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Drawn documents of two types, embedded by a tiny network."""
    folder = tmp_path_factory.mktemp("transferred")
    draw_samples(folder / "pile", per_type=6, types=TYPES)
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    return workspace


def test_all_ways_are_measured_on_the_same_documents(drawn: Workspace) -> None:
    """None of them has seen the held-out documents, and nothing is left behind by the training."""
    before = sorted(path.name for path in drawn.root.iterdir())
    found = compare_ways(drawn, drawn.store(), RECIPE)
    assert [way.name for way in found.ways] == [*FROZEN, TUNED]
    assert found.documents >= 2
    assert found.documents + found.learnt == 12
    assert len({way.metrics["groups"] for way in found.ways}) == 1
    assert all(0 <= way.metrics["document_macro_f1"] <= 1 for way in found.ways)
    assert all(way.seconds > 0 for way in found.ways)
    assert "timm:test_resnet" in found.ways[-1].detail
    assert as_json(found)["held_out_documents"] == found.documents
    assert sorted(path.name for path in drawn.root.iterdir()) == before


def test_evaluate_compares(drawn: Workspace) -> None:
    """`evaluate --compare` needs no classifier, and prints each way; random weights are the frozen ones' own."""
    options = ["--compare", "--epochs", "1", "--pages", "1", "--unfreeze", "head", "--weights", "none"]
    done = CliRunner().invoke(app, ["evaluate", "--artifacts", str(drawn.root), *options, "--json"])
    assert done.exit_code == 0, done.output
    assert [way["way"] for way in json.loads(done.stdout)["ways"]] == [*FROZEN, TUNED]


def test_too_few_labels_are_an_error(workspace: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """One type cannot be told from another."""
    draw_samples(tmp_path / "pile", per_type=2, types=TYPES[:1])
    embed(workspace, [str(tmp_path / "pile")], tiny, label_by_folder=True)
    with pytest.raises(LabelsError):
        compare_ways(workspace, workspace.store(), RECIPE)


@pytest.mark.parametrize("option", ["--test", "--html", "--labels", "--classifier"])
def test_options_that_do_not_go_together_are_refused(tmp_path: Path, option: str) -> None:
    """`evaluate --compare` never passes over what it cannot do: one line names the option."""
    command = ["evaluate", "--artifacts", str(tmp_path), "--compare", option, str(tmp_path / "x")]
    done = CliRunner().invoke(app, command)
    assert isinstance(done.exception, EmbedpipeError)
    assert f"leave {option} out" in str(done.exception)
