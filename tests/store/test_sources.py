"""Which documents are current: what a walk of a whole folder says, and what it cannot say."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.lessons.missing import take
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.core.errors import LabelsError
from embedpipe.embedding.streaming import Settings
from embedpipe.index.page_index import fresh_index
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.sources import EARLIER, GONE, Sources
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import info
from embedpipe.tasks.embed import embed
from embedpipe.tasks.forget import forget

ONE = Settings(workers=1)


@pytest.fixture
def folder(workspace: Workspace, tiny: Backbone, make_pdf: Callable[..., Path], tmp_path: Path) -> Path:
    """Two letters and two posters, embedded with their folders as types."""
    for kind in ("letter", "poster"):
        for number in range(2):
            make_pdf(f"in/{kind}/{number}.pdf", [f"{kind} {number}"], size=30 if kind == "letter" else 120)
    embed(workspace, [str(tmp_path / "in")], tiny, settings=ONE, label_by_folder=True)
    return tmp_path / "in"


def documents(workspace: Workspace) -> set[str]:
    """The documents that count."""
    return set(workspace.store().pages()["document_sha256"])


def test_a_file_that_was_saved_again_is_one_document(
    workspace: Workspace, folder: Path, tiny: Backbone, make_pdf: Callable[..., Path]
) -> None:
    """Its earlier version is neither counted, learnt from nor found; its label goes along, and back again."""
    path = folder / "letter" / "0.pdf"
    old, before = str(workspace.sources().sha256_at(str(path))), path.read_bytes()
    make_pdf("in/letter/0.pdf", ["letter 0, with a layer of text"], size=30)
    report = embed(workspace, [str(folder)], tiny, settings=ONE)
    assert (len(report.changed), len(report.gone), report.kept_labels) == (1, 0, 1)
    new = str(workspace.sources().sha256_at(str(path)))
    assert workspace.sources().standing(old) == EARLIER
    assert old not in documents(workspace)
    assert len(documents(workspace)) == 4
    assert workspace.labels().rows[new, 0].label == "letter"
    assert old not in labelled_pages(workspace, workspace.store(), Selection()).documents
    assert take(workspace, workspace.store()).gaps == []
    index = fresh_index(workspace.store(), workspace.index_path(tiny.identity.space))
    everything = FeatureStore.open(workspace.store_path(tiny.identity.space)).pages()
    _, ids = index.search(index.store.features(everything["page_id"].to_numpy()), 9)
    assert set(ids.ravel()) == set(workspace.store().pages()["page_id"])
    assert info.take(workspace)["spaces"][0]["not_current"] == {"earlier": 1, "gone": 0, "passed_over": 0}
    path.write_bytes(before)
    assert embed(workspace, [str(folder)], tiny, settings=ONE).embedded == 0
    assert old in documents(workspace)
    assert workspace.labels().rows[old, 0].label == "letter"
    assert set(forget(workspace, [str(path)]).documents) == {old, new}
    assert len(FeatureStore.open(workspace.store_path(tiny.identity.space)).pages()) == 3


def test_a_file_that_is_gone_teaches_nothing(workspace: Workspace, folder: Path, tiny: Backbone) -> None:
    """Nor is it counted; put back it is there again without work, and `forget` with `gone` removes it."""
    aside = folder.parent / "aside"
    shutil.move(folder / "poster", aside)
    report = embed(workspace, [str(folder)], tiny, settings=ONE)
    assert len(report.gone) == 2
    assert set(labelled_pages(workspace, workspace.store(), Selection()).y) == {"letter"}
    assert {gap.reason for gap in take(workspace, workspace.store()).gaps} == {GONE}
    shutil.move(aside, folder / "poster")
    assert embed(workspace, [str(folder)], tiny, settings=ONE).embedded == 0
    assert len(documents(workspace)) == 4
    shutil.rmtree(folder / "poster")
    embed(workspace, [str(folder)], tiny, settings=ONE)
    assert len(forget(workspace, [], gone=True).documents) == 2
    assert workspace.labels().types() == {"letter": 2}
    assert forget(workspace, [], gone=True).documents == []


def test_a_moved_file_is_the_same_document(workspace: Workspace, folder: Path, tiny: Backbone) -> None:
    """It is found by its content, and its old path says nothing."""
    shutil.move(folder / "letter" / "0.pdf", folder / "moved.pdf")
    report = embed(workspace, [str(folder)], tiny, settings=ONE)
    assert (report.embedded, len(report.gone)) == (0, 1)
    assert len(documents(workspace)) == 4


def test_what_may_be_out_of_reach_is_not_gone(
    workspace: Workspace, folder: Path, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An empty folder, and a folder on which nothing is mounted any more, may be disks that are not there."""
    shutil.move(folder / "letter", folder.parent / "aside")
    shutil.move(folder / "poster", folder.parent / "posters")
    report = embed(workspace, [str(folder)], tiny, settings=ONE)
    assert (len(report.gone), len(report.unreachable), len(documents(workspace))) == (0, 4, 4)
    shutil.move(folder.parent / "aside", folder / "letter")
    shutil.move(folder.parent / "posters", folder / "poster")
    with monkeypatch.context() as patch:
        mounts = ("/", str(folder / "poster"))
        patch.setattr(os.path, "ismount", lambda path: str(path) in mounts)
        embed(workspace, [str(folder)], tiny, settings=ONE)
    shutil.rmtree(folder / "poster")
    (folder / "poster").mkdir()
    report = embed(workspace, [str(folder)], tiny, settings=ONE)
    assert (len(report.gone), len(report.unreachable), len(documents(workspace))) == (0, 2, 4)
    assert len(forget(workspace, [str(folder / "poster")]).documents) == 2


def test_a_table_of_an_earlier_version_is_read(workspace: Workspace, folder: Path) -> None:
    """Everything in it is current, until a walk says otherwise."""
    file = workspace.root / "sources.parquet"
    pq.write_table(pq.read_table(file).drop_columns(["standing", "mount"]), file)
    sources = Sources(file)
    assert not sources.damaged
    assert len(sources) == 4
    assert {sources.standing(sha256) for sha256 in sources.known()} == {""}


def test_nothing_to_learn_from_is_said(workspace: Workspace, folder: Path, tiny: Backbone) -> None:
    """Where all labelled files are gone, fitting ends with a line."""
    (folder / "other.txt").touch()
    shutil.copy(folder / "letter" / "0.pdf", folder / "keep.pdf")
    shutil.rmtree(folder / "letter")
    shutil.rmtree(folder / "poster")
    embed(workspace, [str(folder)], tiny, settings=ONE)
    assert len(labelled_pages(workspace, workspace.store(), Selection()).y) == 1
    forget(workspace, [str(folder / "keep.pdf")])
    with pytest.raises(LabelsError, match="is labelled"):
        labelled_pages(workspace, workspace.store(), Selection())
