"""Guessed groups reach fits, figures and reports, and come from a frozen network where the own features tell types."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from classifiers.test_groups import BLOCKS as WIDE
from classifiers.test_groups import members, pile
from classifiers.test_training import TYPES, Document, label_all, trained_store, write_store

from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.group_guesses import grouped, separated
from embedpipe.classifiers.labelled_pages import GUESSED, UNGUESSED
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import evaluate, fit
from embedpipe.commands.printing import print_metrics
from embedpipe.commands.terminal.console import Output
from embedpipe.core.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.pages.rendering import Selection
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import evaluate as evaluate_task

FROZEN = Identity("frozen", "cd" * 32, Recipe(), ("all",))


def store_of_templates(workspace: Workspace, *, group: str = "") -> FeatureStore:
    """Thirty documents of three types; each type has five layouts that two documents share."""
    pages = pile([number // 2 for number in range(30)], [TYPES[number // 10] for number in range(30)])
    path = workspace.store_path(FROZEN.space)
    writer = FeatureWriter(FeatureStore.create(path, FROZEN, WIDE), {})
    names = [f"{number:064x}" for number in range(30)]
    infos = [PageInfo(PageRef(name, 0, f"/in/{name}.pdf"), 1, 595.0, 842.0, 0.1, "ok") for name in names]
    writer.append(FeatureBatch(tuple(infos), pages.X))
    writer.flush()
    labels = Labels()
    labels.add(Label(name, "", str(kind), 0, group) for name, kind in zip(names, pages.y, strict=True))
    labels.save(workspace.labels_file)
    return FeatureStore.open(path)


def test_figures_keep_guessed_groups_on_one_side(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Fit and evaluation measure in the same guessed groups and say so; classifiers of earlier versions do not."""
    store = store_of_templates(workspace)
    pages = separated(workspace, labelled_pages(workspace, store, Selection()), store.blocks)
    folds = grouped_folds(pages)
    assert folds[::2].tolist() == folds[1::2].tolist()
    bundle = fit(workspace, store, TrainingRecipe("svm"))
    metrics = evaluate(workspace, store, TrainingRecipe("svm")).metrics
    for figures in (bundle.metrics, metrics):
        assert (figures["groups"], figures["documents_in_guessed_groups"], figures["documents_alone"]) == (15, 30, 0)
    output = Output()
    print_metrics(metrics, output)
    assert (
        "groups: guessed for 30 documents from layout and file names (30 share one, 0 look" in capsys.readouterr().out
    )
    print_metrics({key: value for key, value in metrics.items() if not key.startswith("documents_")}, output)
    assert "guessed" not in capsys.readouterr().out


def test_no_guess_where_all_groups_are_given(workspace: Workspace) -> None:
    """With a group for each document nothing is guessed, and that is said as well."""
    store = store_of_templates(workspace, group="sender")
    labels = workspace.labels()
    labels.add([dataclasses.replace(row, group=row.document_sha256[-1]) for row in labels.rows.values()])
    labels.save(workspace.labels_file)
    metrics = fit(workspace, store, TrainingRecipe("svm")).metrics
    assert metrics["documents_in_given_groups"] == 30
    assert metrics["documents_in_guessed_groups"] == metrics["documents_alone"] == 0


def test_a_frozen_network_tells_the_layouts_for_a_trained_one(workspace: Workspace) -> None:
    """Pages without features, or with those of a fine-tuned network, are grouped as a frozen network sees them."""
    store = store_of_templates(workspace)
    pages = labelled_pages(workspace, store, Selection())
    expected = members(grouped(workspace, pages, store.blocks))
    assert len(expected) == 15
    shuffled = pages.take(np.random.default_rng(0).permutation(30))
    bare = dataclasses.replace(shuffled, X=np.empty((30, 0), np.float32))
    trained = dataclasses.replace(shuffled, X=np.ones((30, 32), np.float32), seen=np.arange(30) < 5)
    for found in (grouped(workspace, bare, ()), grouped(workspace, trained, store.blocks)):
        assert members(found) == expected
        assert found.origins is not None
        assert set(found.origins) == {GUESSED}


def test_nothing_is_guessed_from_a_trained_network_alone(workspace: Workspace) -> None:
    """Without a space of a frozen network that holds all documents, each is one alone, and the figures say so."""
    documents = [Document(TYPES[n % 3]) for n in range(24)]
    store = trained_store(workspace, documents, 12)
    write_store(workspace, documents[:10])
    label_all(workspace, documents)
    found = grouped(workspace, labelled_pages(workspace, store, Selection()), store.blocks)
    assert members(found) == set()
    assert set(found.origins if found.origins is not None else ()) == {UNGUESSED}


def test_the_report_says_which_groups_it_was(workspace: Workspace, tmp_path: Path) -> None:
    """Readers of a report see that nobody gave groups, and how they were guessed."""
    store = store_of_templates(workspace)
    bundle = fit(workspace, store, TrainingRecipe("knn"))
    evaluate_task.write(workspace, bundle, evaluate_task.assess(workspace, store, bundle), tmp_path / "report.html")
    assert "guessed for 30 documents from layout" in (tmp_path / "report.html").read_text(encoding="utf-8")
