"""Held-out quality with all that tells how far to trust it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from classifiers.test_training import Document, label_all, trained_store, write_store
from typer.testing import CliRunner

from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.commands import app
from embedpipe.core.records import FeatureBatch, Identity, PageInfo, PageRef, Recipe
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.evaluate import MISTAKES_SHOWN, as_json, assess, in_a_sentence, write

IDENTITY = Identity("made_up", "ab" * 32, Recipe(), ("all",))
TYPES = ("form", "invoice", "letter")


@pytest.fixture
def store(workspace: Workspace) -> FeatureStore:
    """Thirty documents of two pages that look like their document first and like their type second."""
    path = workspace.store_path(IDENTITY.space)
    writer = FeatureWriter(FeatureStore.create(path, IDENTITY, [("all", 0, 12)]), {})
    labels = Labels()
    for number in range(30):
        rng, sha256 = np.random.default_rng(number), f"{number:064x}"
        pages = tuple(PageInfo(PageRef(sha256, i, f"/{number}.pdf"), 2, 595.0, 842.0, 0.1) for i in range(2))
        X = 0.6 * np.eye(12)[number % 3] + rng.normal(0, 0.5, 12) + rng.normal(0, 0.1, (2, 12))
        writer.append(FeatureBatch(pages, X.astype(np.float32)))
        labels.add([Label(sha256, f"/{number}.pdf", TYPES[number % 3])])
    writer.flush()
    labels.save(workspace.labels_file)
    return FeatureStore.open(path)


def test_what_the_network_was_trained_on_is_not_counted(workspace: Workspace, tmp_path: Path) -> None:
    """The report says how many were left out; where too few are left it claims no figure, and is still written."""
    documents = [Document(TYPES[n % 3], ["ok"] * 2, 1.0) for n in range(30)]
    for trained, judged in ((15, 15), (24, 0)):
        store = trained_store(workspace, documents, trained)
        bundle = fit(workspace, store, TrainingRecipe("head"))
        found = assess(workspace, store, bundle)
        assert sum(row["rows"] for row in found.reliability) == len(found.evaluation.verdicts) == judged
        assert (found.careless["accuracy"] is None) == (found.intervals == {}) == (judged == 0)
        json.dumps(as_json(found))
        write(workspace, bundle, found, tmp_path / "report.html")
        assert f"{30 - judged} documents: the network itself was trained on them" in (
            tmp_path / "report.html"
        ).read_text(encoding="utf-8")


def test_an_assessment_is_consistent(workspace: Workspace, store: FeatureStore, tmp_path: Path) -> None:
    """Intervals hold the figures, the careless one flatters, the curve ends with all documents; the report shows it."""
    bundle = fit(workspace, store, TrainingRecipe("head"))
    found = assess(workspace, store, bundle)
    metrics = found.evaluation.metrics
    for name, interval in found.intervals.items():
        assert interval.low <= interval.value <= interval.high
        assert interval.value == pytest.approx(metrics[f"document_{name}"])
    assert found.careless["accuracy"] > metrics["accuracy"] + 0.1
    assert found.learning_curve[-1]["accuracy"] == metrics["document_accuracy"]
    assert [point["documents_per_type"] for point in found.learning_curve] == [1, 2, 5, 10]
    shares = metrics["document_accuracy"], *found.intervals["accuracy"].to_json()
    about, low, high = (round(100 * share) for share in shares)
    assert as_json(found)["summary"].startswith(f"Of 100 new documents about {about} get the right type (between ")
    assert abs(int(as_json(found)["summary"].split("between ")[1].split()[0]) - low) <= 1 < high
    for kinds in found.decisions.values():
        assert 0 <= kinds["ok_accuracy_interval"][0] < kinds["ok_accuracy_interval"][1] <= 1
        assert kinds["ok"] + kinds["ambiguous"] + kinds["novel"] == pytest.approx(1)
    assert sum(row["rows"] for row in found.reliability) == 30
    assert json.loads(json.dumps(as_json(found)))["per_class"][0].keys() >= {"recall", "recall_interval"}
    few = [{**found.per_class_intervals[0], "recall": None}, *found.per_class_intervals[1:]]
    found = replace(found, per_class_intervals=few)
    row = as_json(found)["per_class"][0]
    assert (row["recall_interval"], row["interval_reason"]) == (None, "too few groups, fewer than 5")
    assert as_json(found)["per_class"][1]["interval_reason"] is None
    write(workspace, bundle, found, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert html.count("data:image/png") == 5  # the charts, and the learning curve of each type
    assert html.count("too few groups, fewer than 5") == 1
    assert "What a careless test would say" in html
    assert as_json(found)["summary"] in html
    wrong = [verdict for verdict in found.evaluation.verdicts if verdict.predicted != verdict.truth]
    assert 0 < len(wrong) <= MISTAKES_SHOWN
    assert html.count("looks like these labelled pages") == len(wrong)
    assert html.count('<bdi>form</bdi> <span class="dim">') > 0
    for verdict in wrong:
        assert verdict.second != verdict.predicted
        assert 0 <= verdict.second_confidence <= verdict.confidence


def test_one_document_of_each_type_is_not_measured(workspace: Workspace, tmp_path: Path) -> None:
    """Neither 0.000 nor an interval is claimed: `fit-*`, `evaluate`, `info` and the report say that it is not known."""
    documents = [Document(kind, ["ok"] * 4) for kind in ("form", "invoice", "letter")]
    label_all(workspace, documents)
    store = write_store(workspace, documents)
    bundle = fit(workspace, store, TrainingRecipe("head"))
    assert (bundle.metrics["document_accuracy"], bundle.metrics["accuracy"]) == (None, None)
    found = assess(workspace, store, bundle)
    assert (found.intervals, found.decisions, found.learning_curve, found.evaluation.verdicts) == ({}, {}, [], [])
    assert in_a_sentence(found) == ""
    assert set(found.careless.values()) == {None}
    write(workspace, bundle, found, tmp_path / "report.html")
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "nothing: each type has one group of documents only" in html
    for command in (["evaluate"], ["fit-head"]):
        told = CliRunner().invoke(app, [*command, "--artifacts", str(workspace.root)])
        assert told.exit_code == 0
        assert "not measured: no type was learnt while documents of it were held out" in told.stdout
        assert "0.000" not in told.stdout
    told = CliRunner().invoke(app, ["info", "--artifacts", str(workspace.root)])
    assert "not measured, for each type has one group of documents only" in told.stdout
