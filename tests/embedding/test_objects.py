"""Documents in object storage go through the same steps as files, and are known by content and URL."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pages.test_containers import sevenzipped
from s3 import Server, error
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.commands.base import app
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.objects import places
from embedpipe.core.records import Document
from embedpipe.embedding.sharding import Shard, roots_of
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.documents import Limits
from embedpipe.pages.unfolding import look_up, unfold
from embedpipe.pages.walking import FoundFile, walk
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.embed_plan import plan_shards
from embedpipe.tasks.similar import Finder, Wanted

ONE = Settings(workers=1)


@pytest.fixture
def heap(make_pdf: Callable[..., Path], make_image: Callable[..., Path], tmp_path: Path) -> Path:
    """A folder with documents of two types, and one that is none."""
    make_pdf("heap/letter/a b.pdf", ["Dear Sir", "Yours"])
    make_pdf("heap/form/ü.pdf", ["Name", "", "Date"])
    make_image("heap/form/scan.png")
    (tmp_path / "heap" / "notes.bin").write_bytes(bytes(3 << 20))
    return tmp_path / "heap"


def rows(workspace: Workspace) -> dict[tuple[str, int], bytes]:
    """Features of all pages, to the bit."""
    store = workspace.store()
    pages = store.pages()
    X = store.features(pages["page_id"].to_numpy(np.int64)).astype(np.float16)
    keys = zip(pages["document_sha256"], pages["page_index"], strict=True)
    return {key: row.tobytes() for key, row in zip(keys, X, strict=True)}


def test_objects_are_embedded_as_files_are_and_fetched_once(
    s3: Server, heap: Path, workspace: Workspace, tiny: Backbone, tmp_path: Path
) -> None:
    """The same rows; ledgers name URLs; an unchanged heap is only listed; what changes, goes or is refused is told."""
    here = Workspace(tmp_path / "here")
    embed(here, [str(heap)], tiny, settings=ONE)
    url = s3.put("heap", heap)
    report = embed(workspace, [url], tiny, settings=ONE, label_by_folder=True)
    assert (report.documents, report.embedded, report.ignored, report.failed) == (3, 6, 1, 0)
    assert rows(workspace) == rows(here)
    assert set(workspace.sources().present()) == {
        f"{url}/{n}" for n in ("letter/a b.pdf", "form/ü.pdf", "form/scan.png")
    }
    assert sorted(label.label for label in workspace.labels().rows.values()) == ["form", "form", "letter"]
    assert len(s3.of("GET", ".pdf")) == 2
    assert [request[2] for request in s3.of("GET", ".bin")] == ["bytes=0-1048575"]

    s3.requests.clear()
    assert embed(workspace, [url], tiny, settings=ONE).skipped == 6
    assert s3.of("GET", ".pdf") == s3.of("GET", ".png") == []

    found = Finder(workspace, workspace.store(), lambda: tiny).find(f"{url}/letter/a b.pdf#page=2", Wanted(1))
    assert (found.query.source, found.query.page_number) == (f"{url}/letter/a b.pdf", 2)

    s3.put("heap/letter/a b.pdf", (heap / "form" / "ü.pdf").read_bytes())
    report = embed(workspace, [url], tiny, settings=ONE)
    assert (len(report.changed), report.duplicates, report.gone) == (1, 1, [])
    places.called(url, lambda system: system.rm_file(f"{url}/form/scan.png"))
    assert embed(workspace, [url], tiny, settings=ONE).gone == [f"{url}/form/scan.png"]


def test_a_folder_that_cannot_be_listed_takes_nothing_away(
    s3: Server, heap: Path, workspace: Workspace, tiny: Backbone
) -> None:
    """Refused lists, refused objects and failing services are failures, and what is known of them stays."""
    url = s3.put("heap", heap)
    embed(workspace, [url], tiny, settings=ONE)
    listing = f"/{url.partition('://')[2].partition('/')[0]}"
    s3.fault = lambda method, path: error("403 Forbidden", "AccessDenied") if path == listing else None
    report = embed(workspace, [url], tiny, settings=ONE)
    assert [(f.page.source, f.kind) for f in report.failures] == [(url, "unreadable")]
    assert (report.gone, report.left, len(report.unreachable)) == ([], [], 0)

    s3.put("heap/letter/new.pdf", (heap / "form" / "ü.pdf").read_bytes() + b"%")
    s3.fault = lambda method, path: error("403 Forbidden", "AccessDenied") if path.endswith("new.pdf") else None
    [failed] = embed(workspace, [url], tiny, settings=ONE).failures
    assert "access is refused (403)" in failed.message
    s3.fault = lambda _method, _path: None
    assert embed(workspace, [url], tiny, settings=ONE).embedded == 3


def test_what_is_wrong_with_a_url_is_said_in_a_line(s3: Server) -> None:
    """Before anything is read."""
    for given, words in {
        f"{s3.bucket}/none": r"cannot read s3://.*/none: there is no such object \(404\)",
        "s3://no-such-bucket": r"cannot read s3://no-such-bucket: there is no such object \(404\)",
        "https://host/a.pdf": "https:// is not read",
    }.items():
        with pytest.raises(EmbedpipeError, match=words):
            list(walk([given]))


def test_objects_are_classified_sorted_and_explained(
    s3: Server, heap: Path, workspace: Workspace, tiny: Backbone, tmp_path: Path
) -> None:
    """What needs the file itself gets it: copies of sorted documents, members of archives."""
    url = s3.put("heap", heap)
    embed(workspace, [url], tiny, settings=ONE, label_by_folder=True)
    labels = tmp_path / "more.csv"
    labels.write_text(f"path,label\n{url}/form/scan.png,picture\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["label", str(labels), "--artifacts", str(workspace.root), "--json"])
    assert done.exit_code == 0, done.output
    assert sorted(label.label for label in workspace.labels().rows.values()) == ["form", "letter", "picture"]


def test_what_is_unpacked_by_another_process_is_fetched_as_a_whole_first(
    s3: Server, make_pdf: Callable[..., Path]
) -> None:
    """Of a large archive only its begin and its end are there once it was recognised."""
    page = make_pdf("a.pdf", ["one"]).read_bytes()
    content = sevenzipped([("noise.pdf", page + random.Random(0).randbytes(20 << 20)), ("a.pdf", page)])
    found = list(unfold(look_up(s3.put("large.7z", content)), Limits()))
    assert [item.reader for item in found if isinstance(item, Document)] == ["pdf", "pdf"], found


def test_a_plan_gives_each_shard_the_files_that_it_reads(s3: Server, heap: Path, tiny: Backbone) -> None:
    """Paths count from the folder that was named, of objects as of files."""
    url = f"{s3.put('heap', heap)}/"
    found = [item.path for item in walk([url]) if isinstance(item, FoundFile)]
    planned = [shard.files for shard in plan_shards([url], tiny, ONE, 5).shards]
    assert planned == [sum(Shard(n, 5).holds(path, roots_of([url])) for path in found) for n in range(1, 6)]
    assert roots_of([url]) == [url.rstrip("/")]
