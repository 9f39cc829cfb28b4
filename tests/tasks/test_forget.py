"""Forgetting documents, and exporting classifiers."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import joblib
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.commands import app
from embedpipe.core.errors import ArtifactError, EmbedpipeError, UnknownNameError
from embedpipe.core.files import read_json, write_json
from embedpipe.index.page_index import fresh_index
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import info
from embedpipe.tasks.classifiers import prune, roll_back
from embedpipe.tasks.embed import embed
from embedpipe.tasks.export import export_joblib
from embedpipe.tasks.forget import forget
from embedpipe.tasks.info_verify import examine
from embedpipe.tasks.merge import merge


@pytest.fixture
def filled(workspace: Workspace, tiny: Backbone, make_pdf: Callable[..., Path], tmp_path: Path) -> Workspace:
    """Four labelled documents of two types, one file that fails, and an index."""
    for kind in ("letter", "poster"):
        for number in range(2):
            make_pdf(f"pile/{kind}/{number}.pdf", [f"{kind} {number}", "second"], size=30 if kind == "letter" else 120)
    (tmp_path / "pile" / "letter" / "broken.pdf").write_bytes(b"%PDF-1.7")
    embed(workspace, [str(tmp_path / "pile")], tiny, label_by_folder=True)
    fresh_index(workspace.store(), workspace.index_path(tiny.identity.space))
    return workspace


def test_a_forgotten_document_is_gone_everywhere(filled: Workspace, tmp_path: Path) -> None:
    """Neither features, labels, sources nor index know the document; the others keep their rows and ids."""
    file = tmp_path / "pile" / "letter" / "0.pdf"
    before = filled.store()
    sha256 = filled.sources().sha256_at(str(file))
    others = before.pages()[before.pages()["document_sha256"] != sha256]
    shard = filled.root / "shards" / "1-of-1"
    shutil.move(shutil.copytree(filled.root, tmp_path / "copy"), shard)
    shutil.copytree(shard / "pages", filled.root / "serve" / "derived")  # as good as any file that knows of it
    features = before.features(others["page_id"].to_numpy())
    gone = forget(filled, [str(file)])
    assert gone.documents == [sha256]
    assert (gone.rows, gone.labels) == (2, 1)
    after = filled.store()
    assert after.pages()["page_id"].tolist() == others["page_id"].tolist()
    assert np.array_equal(after.features(others["page_id"].to_numpy()), features)
    assert sha256 not in {key[0] for key in filled.labels().rows}
    merge(filled, [Workspace(shard)])  # as the next run of a job does
    assert filled.store().pages()["page_id"].tolist() == others["page_id"].tolist()
    assert examine(filled).problems == []
    index = fresh_index(after, filled.index_path(after.identity.space))
    assert sorted(index.page_ids) == sorted(others["page_id"])
    held = b"".join(path.read_bytes() for path in filled.root.rglob("*") if path.is_file())
    assert str(sha256).encode() not in held


def test_a_failure_is_forgotten_by_its_hash(filled: Workspace, tmp_path: Path) -> None:
    """A file that failed is forgotten too."""
    [failure] = filled.store().failures()
    assert forget(filled, [failure.page.document_sha256]).rows == 1
    assert filled.store().failures() == []
    assert str(tmp_path)


def test_a_file_that_is_gone_is_found_by_where_it_was(filled: Workspace, tmp_path: Path) -> None:
    """The document of a deleted file can be forgotten by its old path."""
    file = tmp_path / "pile" / "poster" / "1.pdf"
    file.unlink()
    assert forget(filled, [str(file)]).rows == 2


def test_an_unknown_document_changes_nothing(filled: Workspace, tmp_path: Path) -> None:
    """One unknown name among known ones is an error, and nothing is removed."""
    pages = len(filled.store().pages())
    with pytest.raises(EmbedpipeError, match="neither a document nor a SHA-256"):
        forget(filled, [str(tmp_path / "pile" / "letter" / "0.pdf"), str(tmp_path / "nobody.pdf")])
    assert len(filled.store().pages()) == pages


def test_what_was_never_stored_is_not_forgotten(filled: Workspace, make_pdf: Callable[..., Path]) -> None:
    """A file and a hash of which nothing is kept are named, and not counted; the others are removed all the same."""
    fit(filled, filled.store(), TrainingRecipe("head"))
    manifest = filled.classifier_path("head") / "manifest.json"
    write_json(manifest, {key: value for key, value in read_json(manifest).items() if key != "learnt"})
    never, stored = make_pdf("never.pdf", ["never stored"]), filled.store().pages()["source"][0]
    gone = forget(filled, [str(never), "cd" * 32])
    assert (gone.documents, gone.rows, gone.labels) == ([], 0, 0)
    assert gone.unknown == [str(never), "cd" * 32]
    assert gone.classifiers == []
    told = CliRunner().invoke(app, ["forget", str(never), stored, "--artifacts", str(filled.root)])
    assert told.exit_code == 0
    assert told.stdout.startswith("1 document forgotten: 2 pages and failures, 1 labels\n")
    assert f"nothing was kept of {never}" in told.stdout
    assert forget(filled, [stored]).unknown == [stored]


def test_what_learnt_from_a_document_is_named(filled: Workspace, tiny: Backbone, make_pdf: Callable[..., Path]) -> None:
    """The versions of classifiers that were fitted on a document are named, no others; its cues are removed."""
    late = make_pdf("pile/letter/late.pdf", ["letter late"])
    fit(filled, filled.store(), TrainingRecipe("svm"))
    embed(filled, [str(late.parent.parent)], tiny, label_by_folder=True)
    fit(filled, filled.store(), TrainingRecipe("svm", cues=True))
    fit(filled, filled.store(), TrainingRecipe("knn"))
    for name, trained in (("on-it", [filled.sources().sha256_at(str(late))]), ("on-others", ["ab" * 32])):
        sides = {"documents": {"trained": trained, "validated": []}}
        write_json(filled.root / "backbones" / name / "manifest.json", sides)
    gone = forget(filled, [str(late)])
    assert gone.backbones == ["finetuned:on-it"]
    assert (gone.classifiers, gone.versions) == (["knn", "svm"], {"knn": [1], "svm": [2]})
    assert gone.documents[0] not in pq.read_table(filled.root / "cues.parquet")["document_sha256"].to_pylist()
    fit(filled, filled.store(), TrainingRecipe("svm"))
    prune(filled, "svm")
    other = filled.store().pages()["document_sha256"][0]
    assert forget(filled, [other]).versions == {"knn": [1], "svm": [3]}
    (filled.root / "cues.parquet").write_bytes(b"damaged")
    last = filled.store().pages()["document_sha256"][0]
    manifest = filled.classifier_path("svm") / "manifest.json"
    values = read_json(manifest)
    del values["learnt"]
    write_json(manifest, values)
    assert "svm" in forget(filled, [last]).classifiers  # of an earlier version: nobody knows
    assert not (filled.root / "cues.parquet").exists()


@pytest.mark.parametrize("step", ["before the manifest", "after the manifest"])
def test_a_kill_while_forgetting_leaves_one_of_the_two_states(
    step: str, filled: Workspace, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill in between, the next writer sees each page once: all of them, or all but the forgotten ones."""
    store = filled.store()
    pages = len(store.pages())
    name = "replace_parts" if step == "before the manifest" else "flush"

    def killed(*_: object) -> None:
        raise SystemError

    with monkeypatch.context() as patch:
        patch.setattr(FeatureStore if name == "replace_parts" else FeatureWriter, name, killed)
        with pytest.raises(SystemError):
            forget(filled, [str(tmp_path / "pile" / "letter" / "0.pdf")])
    embed(filled, [str(tmp_path / "pile" / "poster")], tiny)
    rows = filled.store().pages()
    assert not rows.duplicated(["document_sha256", "page_index"]).any()
    assert len(rows) == (pages if step == "before the manifest" else pages - 2)
    assert len(list(store.path.glob("part-*"))) == len(filled.store().parts)


def test_an_exported_classifier_is_a_scikit_learn_pipeline(filled: Workspace, tmp_path: Path) -> None:
    """Another program loads the pickle with joblib and gets the same answers."""
    store = filled.store()
    bundle = fit(filled, store, TrainingRecipe("head"))
    export_joblib(bundle, tmp_path / "head.joblib")
    X = store.features(store.pages()["page_id"].to_numpy())
    assert np.array_equal(joblib.load(tmp_path / "head.joblib").predict(X), bundle.pipeline.predict(X))
    assert isinstance(ClassifierBundle.load(filled.classifier_path("head")), ClassifierBundle)
    assert os.path.getsize(tmp_path / "head.joblib") > 0


def test_a_classifier_can_be_rolled_back_and_forward(filled: Workspace) -> None:
    """Each fit is a version; an earlier one can be used again, and the later one after it."""
    store = filled.store()
    for strength in ("1", "2"):
        fit(filled, store, TrainingRecipe("head", {"C": strength}))

    def in_use() -> str:
        return str(ClassifierBundle.load(filled.classifier_path("head")).fitted_on["settings"]["C"])

    assert in_use() == "2"
    assert roll_back(filled, "head") == 1
    assert in_use() == "1"
    assert roll_back(filled, "head", 2) == 2
    assert in_use() == "2"
    rows = info.classifier_versions(filled, "head")
    assert [(row["version"], row["in_use"], row["types"], row["documents"]) for row in rows] == [
        (2, True, 2, 4),
        (1, False, 2, 4),
    ]
    assert all(row["time"] and row["macro_f1"] is not None for row in rows)


def test_a_damaged_version_is_named_and_never_used(filled: Workspace) -> None:
    """A version whose model has changed is named in the list, and going back to it changes nothing."""
    store = filled.store()
    for _ in range(2):
        fit(filled, store, TrainingRecipe("svm"))
    damaged = filled.classifier_folder("svm") / "versions" / "1" / "model.skops"
    damaged.write_bytes(b"nothing")
    newest, oldest = info.classifier_versions(filled, "svm")
    assert newest["problem"] is None
    assert str(damaged) in oldest["problem"]
    with pytest.raises(ArtifactError, match="damaged"):
        roll_back(filled, "svm")
    assert filled.classifier_path("svm").name == "2"
    with pytest.raises(UnknownNameError, match="unknown classifier 'smv': did you mean svm"):
        roll_back(filled, "smv")
    assert prune(filled, "svm") == 1
    assert [row["version"] for row in info.classifier_versions(filled, "svm")] == [2]
