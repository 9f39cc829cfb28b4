"""Counts add up, whatever lies below a folder and whatever is done to it between runs, and all commands tell the same.

Trees of files, links, leftovers, doubles and damaged files are made and edited by hypothesis. Nothing is rendered: a
stand-in for the stream makes features of each content, so that a run takes milliseconds.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from embedpipe.backbones.engines import Backbone
from embedpipe.core.records import WHOLE_FILE, Document, FeatureBatch, PageFailure, PageInfo, PageRef
from embedpipe.embedding import reading
from embedpipe.embedding.intake import Report
from embedpipe.embedding.reading import Reading
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.rendering import Job
from embedpipe.store import features
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import dedupe, embed, forget, info

FOLDERS = ("", "letters/", "forms/2024/")
NAMES = ("a.pdf", "b.pdf")
LEFTOVERS = ("@eaDir/a.pdf", "._a.pdf", ".stversions/b.pdf", "#recycle/c.pdf", "a.pdf.part", ".git/x")
PLACES = tuple(folder + name for folder in FOLDERS for name in NAMES)

CONTENTS = st.sampled_from(["one", "two", "three", "four", "five", "blank", "damaged", "text"])
EDITS = st.one_of(
    *[st.tuples(st.just("write"), st.sampled_from(PLACES), CONTENTS)] * 3,
    st.tuples(st.just("write"), st.sampled_from([f + n for f in FOLDERS for n in LEFTOVERS]), CONTENTS),
    st.tuples(st.just("remove"), st.sampled_from(PLACES), st.just("")),
    st.tuples(st.sampled_from(["hard", "soft", "copy", "move"]), st.sampled_from(PLACES), st.sampled_from(PLACES)),
    st.tuples(st.just("soft"), st.sampled_from(["letters", "forms"]), st.sampled_from(["link", "forms/link"])),
    st.tuples(st.just("empty"), st.sampled_from(["letters", "forms"]), st.just("")),
)
TREES = st.fixed_dictionaries(dict.fromkeys(PLACES, CONTENTS))
RUNS = st.tuples(*[st.lists(EDITS, min_size=3, max_size=8)] * 3)


class Stream:
    """In place of `PageStream`: features of each content, one to three pages, or a failure."""

    def __init__(self, backbone: Backbone, _settings: Settings, _files: int, **_options: object) -> None:
        self.dim = backbone.dim
        self.seconds = {"render": 0.0, "wait": 0.0, "network": 0.0}
        self.bytes_finished = 0
        self.converted = Counter[str]()
        self.stopped = SimpleNamespace(is_set=lambda: False)

    def run(self, jobs: Iterable[Job]) -> Iterator[FeatureBatch | PageFailure]:
        """What each document gives."""
        for job in jobs:
            document, content = job.document, Path(job.document.path).read_bytes()
            if b"damaged" in content:
                yield PageFailure(PageRef(document.sha256, WHOLE_FILE, document.path), "no_pages", "nothing in it")
                continue
            count = 1 + int(document.sha256, 16) % 3
            left = [index for index in range(count) if index not in job.known]
            outcome = "blank" if b"blank" in content else "ok"
            infos = tuple(
                PageInfo(PageRef(document.sha256, index, document.path), count, 595, 842, 0.1, outcome)
                for index in left
            )
            X = np.random.default_rng(int(document.sha256[:8], 16)).random((count, self.dim), np.float32)
            yield FeatureBatch(infos, X[left])


def edit(root: Path, what: str, place: str, more: str) -> None:
    """Does one thing to the tree; what is not possible is not done."""
    path, other = root / place, root / more
    if what == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        text = "" if more == "text" else "%PDF-1.7\n"
        if not path.is_symlink():
            path.unlink(missing_ok=True)
            path.write_text(text + more)
    elif what == "remove":
        path.unlink(missing_ok=True)
    elif what == "empty":
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path) and not os.path.lexists(other):
        other.parent.mkdir(parents=True, exist_ok=True)
        if what == "soft":
            other.symlink_to(path)
        elif path.is_file() and not path.is_symlink():
            {"hard": os.link, "copy": shutil.copyfile, "move": shutil.move}[what](path, other)


def inode(path: str | Path) -> tuple[int, int]:
    """What tells files apart, whatever they are called."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def read_below(root: Path) -> dict[str, tuple[object, bytes]]:
    """What a person would count: the files of the user that are documents, each with what it is, told apart by hand."""
    found = {}
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name[0] not in ".@#"]
        for name in files:
            path = Path(folder, name)
            own = not path.is_symlink() and not name.startswith("._") and not name.endswith(".part")
            if own and path.read_bytes().startswith(b"%PDF-"):
                found[str(path)] = (inode(path), path.read_bytes())
    return found


def assert_adds_up(report: Report, root: Path) -> None:
    """Every file and every page has one outcome, and those of documents are what a person counts."""
    others = report.ignored + report.failed_files
    assert report.files == report.documents + report.duplicates + report.same_files + others
    assert sum(report.others.values()) == report.ignored
    assert report.pages == report.embedded + report.skipped + report.failed_pages
    files = read_below(root)
    inodes = dict(files.values())
    contents = set(inodes.values())
    assert report.same_files >= len(files) - len(inodes)
    assert report.documents == len([content for content in contents if b"damaged" not in content])
    assert report.duplicates == len(inodes) - len(contents)


def assert_all_agree(workspace: Workspace, report: Report, root: Path, tiny: Backbone) -> None:
    """`info`, the pages that others see, `dedupe` and what `classify` reads tell what `embed` told."""
    [space] = info.take(workspace)["spaces"]
    pages = workspace.store().pages()
    files = read_below(root)
    told = set(pages["document_sha256"])
    reading_now = Reading(workspace, tiny.identity, Settings())
    batches = [item for item in reading_now.read([str(root)], lambda: tiny) if isinstance(item, FeatureBatch)]
    found = {item.sha256 for item in reading_now.found if isinstance(item, Document)}
    again = reading_now.report
    if report.unreachable:
        return  # what cannot be reached counts as before, and is no longer below the folder
    assert (space["documents"], space["pages"]) == (len(told), len(pages)) == (report.documents, report.pages)
    assert {(f["path"], f["kind"]) for f in space["failures"]} == {(f.page.source, f.kind) for f in report.failures}
    assert {info.ref.document_sha256 for batch in batches for info in batch.pages} == told <= found
    assert (again.files, again.documents, again.duplicates, again.same_files) == (
        *(report.files, report.documents, report.duplicates, report.same_files),
    )
    assert again.embedded == 0
    groups = [g for g in dedupe.find(workspace, workspace.store()).groups if g.kind == "exact"]
    listed = [copy.path for group in groups for copy in group.copies]
    assert len(listed) == len({inode(path) for path in listed})
    assert len(listed) - len(groups) == report.duplicates
    left = {
        content for path, (_, content) in files.items() if path not in {c.path for g in groups for c in g.copies[1:]}
    }
    assert left == {content for _, content in files.values()}


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves out rendering, the network, and waiting for the disk."""
    monkeypatch.setattr(embed, "PageStream", Stream)
    monkeypatch.setattr(reading, "PageStream", Stream)
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(features, "version", lambda _: "0")
    monkeypatch.setattr(dedupe, "candidates", lambda *_: (np.empty((0, 2), np.int64), 0))


@settings(
    max_examples=15,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(tree=TREES, runs=RUNS)
def test_counts_add_up(quick: None, tiny: Backbone, tree: dict[str, str], runs: tuple[list[Any], ...]) -> None:
    """Inputs are documents, duplicates, same files, failures and others; a second run does nothing; all agree."""
    with tempfile.TemporaryDirectory() as name:
        root, workspace = Path(name) / "in", Workspace(Path(name) / "artifacts")
        ids: dict[tuple[str, int], int] = {}
        for edits in ([("write", place, content) for place, content in tree.items()], *runs):
            root.mkdir(exist_ok=True)
            for what, place, more in edits:
                edit(root, what, place, more)
            report = embed.embed(workspace, [str(root)], tiny, keep=())
            assert_adds_up(report, root)
            second = embed.embed(workspace, [str(root)], tiny, keep=())
            assert_adds_up(second, root)
            assert (second.embedded, len(second.changed), len(second.gone), len(second.left)) == (0, 0, 0, 0)
            assert (second.documents, second.pages) == (report.documents, report.pages)
            if len(workspace.store().pages()):
                assert_all_agree(workspace, second, root, tiny)
            store = features.FeatureStore.open(workspace.store_path(tiny.identity.space)).pages()
            keys = zip(store["document_sha256"], store["page_index"].tolist(), strict=True)
            now = dict(zip(keys, store["page_id"].tolist(), strict=True))
            assert ids.items() <= now.items()
            ids = now
        gone = forget.forget(workspace, [], gone=True)
        assert set(gone.documents).isdisjoint(workspace.store().pages()["document_sha256"])
        assert not len(workspace.store().set_aside())
