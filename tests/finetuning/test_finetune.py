"""From labelled documents to a backbone of its own, and its use by name."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file, save_file

from embedpipe.backbones.engines import EngineChoice
from embedpipe.backbones.model_cache import Wanted
from embedpipe.classifiers.finetuned import named, read_finetuned, resolve
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.core.errors import ArtifactError, EmbedpipeError, LabelsError, UnknownNameError, UsageError
from embedpipe.core.records import Recipe
from embedpipe.embedding.streaming import Settings
from embedpipe.finetuning.finetune import Finetuned, finetune, open_backbone, training_weights, validation_rows
from embedpipe.finetuning.learning_curves import Epoch
from embedpipe.finetuning.training_loop import FinetuningRecipe, Watch
from embedpipe.pages.rendering import Selection
from embedpipe.samples import draw_samples
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import info, label
from embedpipe.tasks.embed import embed
from embedpipe.tasks.evaluate import measure_elsewhere
from embedpipe.tasks.info_verify import examine

pytestmark = pytest.mark.usefixtures("one_thread")


TYPES = ("invoice", "slides")
RECIPE = FinetuningRecipe("timm:test_resnet", "none", "last-stage", "1", size=64, epochs=2, batch_size=4)
SETTINGS = Settings(workers=1)
TORCH = EngineChoice("cpu", "fp32", "torch", threads=1)


@pytest.fixture(scope="module")
def pile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five documents of each of two types."""
    folder = tmp_path_factory.mktemp("pile")
    draw_samples(folder, per_type=5, types=TYPES)
    return folder


def labelled(pile: Path, folder: Path) -> Workspace:
    """A workspace that knows the labels of the pile, and nothing else."""
    workspace = Workspace(folder)
    label.take(workspace, str(pile))
    return workspace


@pytest.fixture(scope="module")
def made(pile: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, Finetuned, list[Epoch]]:
    """A fine-tuned backbone, its workspace, and the epochs that were told."""
    workspace = labelled(pile, tmp_path_factory.mktemp("made") / "artifacts")
    told: list[Epoch] = []
    watch = Watch(epoch=lambda _number, epoch: told.append(epoch))
    test = sorted(document for document, _ in workspace.labels().rows)[:2]
    return workspace, finetune(workspace, RECIPE, "mine", test=test, settings=SETTINGS, watch=watch), told


def test_the_sides_share_no_document(made: tuple[Workspace, Finetuned, list[Epoch]]) -> None:
    """Trained, validated and tested documents are apart, and are all that there are."""
    workspace, tuned, told = made
    sides = [set(tuned.manifest["documents"][side]) for side in ("trained", "validated")]
    assert tuned.test is not None
    sides.append(set(tuned.test.pages.documents))
    assert sum(map(len, sides)) == len(set().union(*sides)) == 10
    assert set(tuned.validation.pages.documents) == sides[1]
    assert tuned.test.log_scores.shape == (2, 2)
    np.testing.assert_allclose(np.exp(tuned.test.log_scores).sum(axis=1), 1)
    assert len(told) == len(tuned.manifest["epochs"]) == 2
    assert {"document_accuracy", "macro_f1", "types_not_held_out"} <= tuned.manifest["metrics"].keys()
    assert workspace.backbones() == ["mine"]


def test_everything_that_belongs_to_it_is_there(made: tuple[Workspace, Finetuned, list[Epoch]]) -> None:
    """Weights by the names of the base, manifest, curves, and a card that names types, base and limits."""
    _, tuned, _ = made
    assert sorted(file.name for file in tuned.folder.iterdir()) == [
        "MODEL_CARD.md",
        "curves.png",
        "manifest.json",
        "weights.safetensors",
    ]
    tensors = load_file(tuned.folder / "weights.safetensors")
    assert tensors["output.weight"].shape == (2, 96)
    assert "layer4.0.conv1.weight" in tensors
    assert not any(name.startswith(("features.", "mean", "std")) for name in tensors)
    card = (tuned.folder / "MODEL_CARD.md").read_text()
    for words in ("finetuned:mine", "invoice, slides", "timm:test_resnet", "last-stage", "- rate: 0.001", "chosen on"):
        assert words in card
    assert tuned.manifest["fit"] in card


def test_it_is_a_backbone_like_any_other(
    made: tuple[Workspace, Finetuned, list[Epoch]], pile: Path, tmp_path: Path
) -> None:
    """It embeds by name into a space of its own, with its own weights and picture; a classifier is bound to it."""
    workspace, tuned, _ = made
    backbone = open_backbone(workspace, Wanted("finetuned:mine", choice=TORCH))
    assert backbone.identity.backbone == "finetuned:mine"
    assert backbone.identity.weights_sha256 == tuned.manifest["weights_sha256"]
    assert backbone.identity.recipe.size == 64
    base = open_backbone(workspace, Wanted("timm:test_resnet", "none", backbone.identity.recipe, choice=TORCH))
    assert base.identity.space != backbone.identity.space
    assert base.identity.weights_sha256 == tuned.manifest["base_weights_sha256"]
    other = Workspace(tmp_path)
    embed(other, [str(pile)], backbone, settings=SETTINGS, label_by_folder=True)
    bundle = fit(other, other.store("finetuned:mine"), TrainingRecipe("svm"))
    again = open_backbone(workspace, Wanted(bundle.identity.backbone, recipe=bundle.identity.recipe, choice=TORCH))
    bundle.require(again.identity)


def test_it_is_listed(made: tuple[Workspace, Finetuned, list[Epoch]]) -> None:
    """`info` and `backbones` name it, with its base and its quality."""
    workspace, tuned, _ = made
    [row] = info.backbones(workspace)
    assert (row["name"], row["base"], row["unfreeze"]) == ("finetuned:mine", "timm:test_resnet", "last-stage")
    assert row["metrics"] == tuned.manifest["metrics"]
    lines = list(info.describe(info.take(workspace), failures=False))
    assert any("finetuned:mine" in line for line in lines)
    assert examine(workspace).problems == []


def test_names_and_weights_are_checked(made: tuple[Workspace, Finetuned, list[Epoch]], pile: Path) -> None:
    """An unknown name lists the known ones; other weights, a used name, odd names and settings are refused."""
    workspace, _, _ = made
    with pytest.raises(UnknownNameError, match="did you mean finetuned:mine"):
        resolve(workspace, Wanted("finetuned:mime"))
    with pytest.raises(UsageError, match="leave --weights out"):
        resolve(workspace, Wanted("finetuned:mine", weights="none"))
    with pytest.raises(EmbedpipeError, match="already: give another --name"):
        finetune(workspace, RECIPE, "mine", settings=SETTINGS)
    with pytest.raises(EmbedpipeError, match="write letters"):
        finetune(workspace, RECIPE, "../mine", settings=SETTINGS)
    with pytest.raises(EmbedpipeError, match="has seen its documents"):
        finetune(workspace, replace(RECIPE, backbone="finetuned:mine"), "second", settings=SETTINGS)
    with pytest.raises(EmbedpipeError, match="write all, 1-3"):
        finetune(workspace, replace(RECIPE, pages="first"), "second", settings=SETTINGS)


def test_damage_is_found(made: tuple[Workspace, Finetuned, list[Epoch]], tmp_path: Path) -> None:
    """Other weights under the same manifest, missing weights, and a manifest without its keys are named."""
    source, tuned, _ = made
    workspace = Workspace(tmp_path)
    folder = workspace.backbone_path("mine")
    folder.mkdir(parents=True)
    for file in ("manifest.json", "weights.safetensors"):
        (folder / file).write_bytes((tuned.folder / file).read_bytes())
    assert read_finetuned(workspace, "finetuned:mine")[1] == read_finetuned(source, "finetuned:mine")[1]
    tensors = load_file(folder / "weights.safetensors")
    save_file({name: tensor + 1 for name, tensor in tensors.items()}, folder / "weights.safetensors")
    with pytest.raises(ArtifactError, match="is damaged"):
        resolve(workspace, Wanted("finetuned:mine"))
    assert len(examine(workspace).problems) == 1
    (folder / "weights.safetensors").unlink()
    with pytest.raises(ArtifactError, match="cannot be read: fine-tune it again"):
        resolve(workspace, Wanted("finetuned:mine"))
    (folder / "weights.safetensors").write_bytes((tuned.folder / "weights.safetensors").read_bytes())
    manifest, gone = json.loads((folder / "manifest.json").read_text()), ("picture", "checksum")
    (folder / "manifest.json").write_text(json.dumps({k: v for k, v in manifest.items() if k not in gone}))
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        resolve(workspace, Wanted("finetuned:mine"))
    with pytest.raises(ArtifactError, match=r"manifest\.json is damaged"):
        info.backbones(workspace)


def test_other_names_stay_what_they_are(workspace: Workspace) -> None:
    """Only `finetuned:` means something here."""
    wanted = Wanted("resnet50", "none", Recipe(64))
    assert resolve(workspace, wanted) is wanted


def test_a_killed_program_goes_on(pile: Path, tmp_path: Path) -> None:
    """SIGKILL after the first epoch: the same command goes on, and ends with the weights of a run without a break."""
    recipe = replace(RECIPE, epochs=12, patience=0)
    broken, whole = labelled(pile, tmp_path / "broken"), labelled(pile, tmp_path / "whole")
    program = Path(sys.executable).with_name("embedpipe")
    options = ["--backbone", recipe.backbone, "--weights", "none", "--pages", "1", "--size", "64", "--name", "mine"]
    options += ["--epochs", "12", "--batch-size", "4", "--set", "patience=0", "--artifacts", str(broken.root)]
    running = subprocess.Popen(
        [program, "finetune", *options], stderr=subprocess.DEVNULL, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    checkpoint = broken.backbone_path("mine") / "checkpoint.pt"
    while not checkpoint.exists():
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert broken.backbones() == []
    notices: list[str] = []
    found = finetune(broken, recipe, "mine", settings=SETTINGS, watch=Watch(notice=notices.append))
    assert any("going on after epoch" in notice for notice in notices)
    expected = finetune(whole, recipe, "mine", settings=SETTINGS)
    assert found.manifest["weights_sha256"] == expected.manifest["weights_sha256"]
    assert found.manifest["best_epoch"] == expected.manifest["best_epoch"]
    assert not checkpoint.exists()


def test_ctrl_c_keeps_the_best_and_the_same_call_goes_on(pile: Path, tmp_path: Path) -> None:
    """What was stopped is a backbone already, says so, and is finished by the next call."""
    workspace = labelled(pile, tmp_path / "artifacts")

    def stop(_number: int, _epoch: Epoch) -> None:
        raise KeyboardInterrupt

    first = finetune(workspace, RECIPE, settings=SETTINGS, watch=Watch(epoch=stop))
    assert first.name == "timm-test_resnet-last-stage"
    assert first.manifest["interrupted"]
    assert "stopped before its end" in (first.folder / "MODEL_CARD.md").read_text()
    second = finetune(workspace, RECIPE, settings=SETTINGS)
    assert not second.manifest["interrupted"]
    assert second.manifest["epochs"][0]["validation_loss"] == first.manifest["epochs"][0]["validation_loss"]
    assert len(second.manifest["epochs"]) == 2


def test_without_labels_it_says_how_to_label(workspace: Workspace) -> None:
    """One line."""
    with pytest.raises(LabelsError, match="no document is labelled"):
        finetune(workspace, RECIPE, settings=SETTINGS)


def rows(kinds: list[str], groups: list[str]) -> LabelledPages:
    """Documents of one page each."""
    n = len(kinds)
    names = np.array([f"{row:064d}" for row in range(n)], object)
    return LabelledPages(
        np.arange(n), np.empty((n, 0), np.float32), np.array(kinds, object), names, np.array(groups, object),
        np.zeros(n, np.int64),
    )  # fmt: skip


def test_a_size_that_the_network_does_not_take_is_refused(made: tuple[Workspace, Finetuned, list[Epoch]]) -> None:
    """It says so in one line before anything is rendered or written."""
    recipe = replace(RECIPE, backbone="vit_b_16", size=320)
    with pytest.raises(EmbedpipeError, match="vit_b_16 takes pages of 224 x 224 pixels only"):
        finetune(made[0], recipe, "too-large", settings=SETTINGS)
    assert not made[0].backbone_path("too-large").exists()


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_on_one_side_and_no_type_is_only_validated(seed: int) -> None:
    """Copies of one template never help each other, and a type with one group is trained on."""
    groups = [f"{kind}{number // 3}" for kind in "ab" for number in range(24)] + ["alone"] * 6
    pages = rows(["a"] * 24 + ["b"] * 24 + ["c"] * 6, groups)
    held_out = validation_rows(pages, seed)
    assert not set(pages.groups[held_out]) & set(pages.groups[~held_out])
    assert not held_out[-6:].any()
    assert 6 <= held_out.sum() <= 18


def test_rare_types_count_more() -> None:
    """Weights have mean 1 over the training pages; with full balance every type has the same sum."""
    pages = rows(["a"] * 9 + ["b"] * 3, [str(n) for n in range(12)])
    trained = np.ones(12, bool)
    for balance, ratio in ((0.0, 3.0), (0.5, 3**0.5), (1.0, 1.0)):
        weights = training_weights(pages, trained, balance)
        assert weights.mean() == pytest.approx(1)
        assert weights[:9].sum() / weights[9:].sum() == pytest.approx(ratio)


def test_a_renamed_backbone_is_another_space(made: tuple[Workspace, Finetuned, list[Epoch]]) -> None:
    """The name stands in the identity."""
    workspace, _, _ = made
    backbone = open_backbone(workspace, Wanted("finetuned:mine", choice=TORCH))
    assert named(backbone, "finetuned:other").identity.space != backbone.identity.space


def test_figures_leave_out_what_the_network_was_trained_on(
    made: tuple[Workspace, Finetuned, list[Epoch]], pile: Path
) -> None:
    """The manifest names the groups that were trained on; in the network's space nothing is told of them."""
    workspace, tuned, _ = made
    assert tuned.manifest["groups"] == {"trained": [], "validated": []}  # every document is a group of its own
    embed(workspace, [str(pile)], open_backbone(workspace, Wanted("finetuned:mine", choice=TORCH)), settings=SETTINGS)
    store = workspace.store("finetuned:mine")
    pages = labelled_pages(workspace, store, Selection())
    assert pages.seen is not None
    assert set(pages.documents[pages.seen]) == set(tuned.manifest["documents"]["trained"])
    assert fit(workspace, store, TrainingRecipe("knn")).metrics["document_accuracy"] is None


def test_documents_from_elsewhere_that_it_was_trained_on_are_not_measured(
    made: tuple[Workspace, Finetuned, list[Epoch]], pile: Path, tmp_path: Path
) -> None:
    """Without their labels, too, they are no documents that the network has not seen."""
    shutil.copytree(made[0].root, tmp_path / "artifacts")
    workspace, trained = Workspace(tmp_path / "artifacts"), set(made[1].manifest["documents"]["trained"])
    backbone = open_backbone(workspace, Wanted("finetuned:mine", choice=TORCH))
    embed(workspace, [str(pile)], backbone, settings=SETTINGS)
    bundle = fit(workspace, workspace.store("finetuned:mine"), TrainingRecipe("knn"))
    workspace.labels_file.unlink()
    found = measure_elsewhere(workspace, bundle, str(pile), None, lambda: backbone)
    assert len(found.learnt) == len(trained)
    assert found.metrics["documents"] == 10 - len(trained)
