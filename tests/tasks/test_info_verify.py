"""`info --verify` names what is damaged, missing or lost, of every kind of file."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from classifiers.test_missing import embed_again, put_aside, zero
from classifiers.test_training import TYPES, Document, label_all, write_store
from typer.testing import CliRunner

from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.commands import app
from embedpipe.core import versions
from embedpipe.core.files import read_json, sha256_of, write_json
from embedpipe.core.records import Document as File
from embedpipe.core.records import PageFailure, PageRef
from embedpipe.embedding.cue_table import _save as save_cues
from embedpipe.index.page_index import fresh_index
from embedpipe.pages.cues import UNKNOWN
from embedpipe.store import part_contents
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.info_verify import examine


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features, variants, failures, labels, sources, cues, an index, two versions of a classifier, a network."""
    workspace = Workspace(tmp_path_factory.mktemp("whole"))
    documents = [Document(TYPES[n // 10], ["ok"] * 3) for n in range(30)]
    label_all(workspace, documents)
    store = write_store(workspace, documents)
    writer = FeatureWriter(store, {})
    writer.fail(PageFailure(PageRef("ab" * 32, 0, "/failed.pdf"), "page_error", "broken"))
    writer.flush()
    sources = workspace.sources()
    sources.add(File("/0.pdf", f"{0:064x}", 1, 1, "pdf"))
    sources.save()
    save_cues(workspace, {("ab" * 32, 0): UNKNOWN})
    for _ in range(2):
        fit(workspace, store, TrainingRecipe("head"))
    fresh_index(store, workspace.index_path(store.identity.space))
    shutil.copytree(store.path, store.path / "variants" / "key-0" / "1", ignore=shutil.ignore_patterns("variants"))
    network = workspace.backbone_path("mine")
    network.mkdir(parents=True)
    (network / "weights.safetensors").write_bytes(b"weights")
    facts = dict.fromkeys(("base", "base_licence"), "any") | {"classes": ["form"], "interrupted": False}
    facts |= {"recipe": {"unfreeze": "head"}, "picture": {"size": 64}, "metrics": {"document_accuracy": None}}
    write_json(network / "manifest.json", facts | {"file_sha256": sha256_of(network / "weights.safetensors")})
    assert examine(workspace).problems == []
    return workspace.root


@pytest.fixture
def copied(whole: Path, workspace: Workspace) -> Workspace:
    """A copy of them to damage."""
    shutil.copytree(whole, workspace.root)
    return workspace


def halve(file: Path) -> None:
    """Cuts a file in half."""
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip(file: Path) -> None:
    """Changes a byte in the middle of a file; of a table, in its first column."""
    content = bytearray(file.read_bytes())
    place = len(content) // 2
    if file.suffix == ".parquet":
        column = pq.read_metadata(file).row_group(0).column(0)
        start = column.dictionary_page_offset or column.data_page_offset
        place = start + column.total_compressed_size - 1
    content[place] ^= 0xFF
    file.write_bytes(content)


def remove(file: Path) -> None:
    """Deletes a file."""
    file.unlink()


FILES = [
    ("features/*/manifest.json", "manifest.json"),
    ("features/*/part-000001.parquet", "part-000001.parquet"),
    ("features/*/contents-000001.parquet", "contents-000001.parquet"),
    ("features/*/failures.parquet", "failures.parquet"),
    ("features/*/variants/*/1/manifest.json", "manifest.json"),
    ("features/*/variants/*/1/part-000001.parquet", "part-000001.parquet"),
    ("index/*/manifest.json", "manifest.json"),
    ("index/*/segment-*.faiss", "segment-"),
    ("classifiers/head/current.json", "current.json"),
    ("classifiers/head/versions/1/model.skops", "versions/1/model.skops"),
    ("classifiers/head/versions/2/manifest.json", "manifest.json"),
    ("backbones/mine/manifest.json", "manifest.json"),
    ("backbones/mine/weights.safetensors", "weights.safetensors"),
    ("sources.parquet", "sources.parquet"),
    ("cues.parquet", "cues.parquet"),
]
"""Every kind of file, and how a problem names it."""

MAY_BE_MISSING = {
    "features/*/contents-000001.parquet",  # of an earlier version; of a part that is whole
    "features/*/failures.parquet",  # there are none
    "classifiers/head/current.json",  # then the newest version is in use
    "classifiers/head/versions/2/manifest.json",  # then it is not finished, and the other one is named
    "sources.parquet",
    "cues.parquet",
}


@pytest.mark.parametrize("how", [halve, flip, remove])
@pytest.mark.parametrize(("pattern", "named"), FILES)
def test_no_damaged_file_agrees(pattern: str, named: str, how: Callable[[Path], None], copied: Workspace) -> None:
    """Whatever file is cut, changed or deleted, it is named; what may be missing is no problem when it is."""
    file = next(iter(copied.root.glob(pattern)))
    how(file)
    problems = examine(copied).problems
    if how is remove and pattern in MAY_BE_MISSING:
        named = "current.json" if "versions/2" in pattern else ""
    assert [named in problem for problem in problems] == ([True] if named else [])


def test_labels_that_cannot_be_read_are_a_problem(copied: Workspace) -> None:
    """A line without a type, a document with two types: `info` goes on with the rest."""
    lines = copied.labels_file.read_text(encoding="utf-8-sig").splitlines()
    letter = next(line for line in lines if "letter" in line)
    copied.labels_file.write_text("\n".join([*lines, letter.replace("letter", "memo")]) + "\n")
    [problem] = examine(copied).problems
    assert "has no label until one line is left" in problem
    copied.labels_file.write_text("nothing,of,this\n1,2,3\n")
    [problem] = examine(copied).problems
    assert "needs the columns path and label" in problem
    for verify in ([], ["--verify"]):
        told = CliRunner().invoke(app, ["info", *verify, "--artifacts", str(copied.root)])
        assert told.exit_code == 1
        assert "needs the columns path and label" in told.stdout
        assert "space made_up" in told.stdout
        assert "labels: none" not in told.stdout


def test_a_part_that_was_put_aside_is_a_problem_until_its_pages_are_back(copied: Workspace) -> None:
    """`info --verify` names it with its pages, then only notes it, and the exit code follows."""
    store = FeatureStore.open(next(iter(copied.root.glob("features/*"))))
    zero(store.path / "part-000001.parquet", "embedding")
    list(store.batches())
    put_aside(store)
    runner, command = CliRunner(), ["info", "--verify", "--artifacts", str(copied.root)]
    told = runner.invoke(app, command)
    assert told.exit_code == 1
    assert "part-000001.parquet.damaged: put aside as damaged, with 30 pages of 10 documents" in told.stdout
    assert "lost: 30 pages of 10 documents: run `embed` again on their files" in told.stdout
    assert "agrees" not in told.stdout
    embed_again(store, range(30))
    told = runner.invoke(app, command)
    assert told.exit_code == 0, told.stdout
    assert "what it held is there again, so it may be removed" in told.stdout
    assert "every listed file agrees with its manifest" in told.stdout
    next(iter(store.path.glob("*.damaged"))).unlink()
    assert "every file agrees with its manifest" in runner.invoke(app, command).stdout


def test_what_no_manifest_lists_is_noted(copied: Workspace) -> None:
    """Parts, segments and versions of killed runs, and unfinished networks: nothing depends on them."""
    store = next(iter(copied.root.glob("features/*")))
    shutil.copy(store / "part-000002.parquet", store / "part-000099.parquet")
    segment = next(iter(copied.root.glob("index/*/*.faiss")))
    shutil.copy(segment, segment.with_name("segment-000099.faiss"))
    (copied.classifier_folder("head") / "versions" / "9").mkdir()
    (copied.backbone_path("other")).mkdir()
    (copied.backbone_path("other") / "checkpoint.pt").touch()
    found = examine(copied)
    assert len(found.notes) == 4
    assert found.problems == []


def test_a_space_without_manifest_is_not_passed_over(copied: Workspace) -> None:
    """`info` names it, and no other space is taken in its place."""
    store = next(iter(copied.root.glob("features/*")))
    shutil.copytree(store, store.with_name("other"), ignore=shutil.ignore_patterns("manifest.json"))
    told = CliRunner().invoke(app, ["info", "--verify", "--artifacts", str(copied.root)])
    assert "other/manifest.json is missing: run `embed` again" in told.stdout
    refused = CliRunner().invoke(app, ["families", "--artifacts", str(copied.root)])
    assert "choose another space with --space" in str(refused.exception)
    assert CliRunner().invoke(app, ["families", "--space", store.name, "--artifacts", str(copied.root)]).exit_code == 0


def test_damaged_contents_are_written_again(copied: Workspace) -> None:
    """The next writer makes them from the part."""
    store = next(iter(copied.root.glob("features/*")))
    halve(part_contents.path_of(store, 1))
    assert len(examine(copied).problems) == 1
    put_aside(FeatureStore.open(store))
    assert examine(copied) == examine(Workspace(copied.root))
    assert examine(copied).problems == []


def test_info_tells_the_quality_of_documents(copied: Workspace) -> None:
    """The figures of documents come first, and those of pages are called so."""
    told = CliRunner().invoke(app, ["info", "--verify", "--artifacts", str(copied.root)]).stdout
    manifest = read_json(versions.in_use(copied.classifier_folder("head")) / "manifest.json")
    documents, pages = manifest["metrics"]["document_accuracy"], manifest["metrics"]["accuracy"]
    assert f"held-out documents: accuracy {documents:.3f}" in told
    assert f"their pages: accuracy {pages:.3f}" in told
    assert "its own output layer on its validation documents: accuracy not measured" in told
