"""Files in, features out: every page once, whatever the files are, and whatever ends the run before its time."""

import contextlib
import errno
import os
import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pymupdf
import pytest
from numpy.typing import NDArray
from PIL import Image

from embedpipe.backbones.engines import Backbone, Pending
from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.files import read_json, write_json
from embedpipe.core.records import WHOLE_FILE, Document
from embedpipe.embedding import streaming
from embedpipe.embedding.intake import Report
from embedpipe.embedding.streaming import Settings, render_pages
from embedpipe.pages import unfolding
from embedpipe.pages.documents import Limits, ReadOptions, open_document
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.walking import FoundFile, identify, identify_open
from embedpipe.store import feature_writer
from embedpipe.store import workspace as workspace_module
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import Progress, embed, plan_run

SHAPES = ((595, 842), (842, 595), (600, 600), (300, 900), (500, 600))
ONE_WORKER = Settings(workers=1)
SMALL = Limits(pixels=200_000)
Key = tuple[str, int]
Rows = dict[Key, NDArray[np.float32]]


@dataclass(frozen=True)
class Embedded:
    """A folder of documents, the artifacts that a run made of it, and what the run reported."""

    folder: Path
    workspace: Workspace
    report: Report


def pdf(file: Path, pages: int, *, paper: tuple[float, float] = (595, 842), password: str = "", seed: int = 0) -> Path:
    """Writes a PDF whose pages all look different; a seed of -1 leaves them blank."""
    file.parent.mkdir(parents=True, exist_ok=True)
    dice = random.Random(f"{seed} {pages} {paper}")
    secret = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "user_pw": password} if password else {}
    with pymupdf.open() as document:
        for _ in range(pages):
            page = document.new_page(width=paper[0], height=paper[1])
            for _ in range(6 if seed >= 0 else 0):
                left, top = dice.random() * paper[0] * 0.7, dice.random() * paper[1] * 0.7
                box = (left, top, left + dice.uniform(0.1, 0.3) * paper[0], top + dice.uniform(0.1, 0.3) * paper[1])
                page.draw_rect(box, color=None, fill=[dice.random() * 0.7 for _ in range(3)])
        document.save(file, **secret)
    return file


def picture(width: int, height: int) -> Image.Image:
    """A grey picture with a dark bar."""
    image = Image.new("L", (width, height), 200)
    image.paste(20, (0, 0, width, height // 5))
    return image


def sha256_at(file: Path) -> str:
    """The hash by which a file's document is known."""
    status = file.stat()
    found = FoundFile(str(file), status.st_size, status.st_mtime_ns, named=True, type_folder=None)
    document = identify(found, Limits())
    assert isinstance(document, Document)
    return document.sha256


def rows(workspace: Workspace) -> Rows:
    """Features by document and page; no page twice."""
    store = workspace.store()
    pages = store.pages()
    keys = list(zip(pages["document_sha256"], pages["page_index"], strict=True))
    assert len(set(keys)) == len(keys)
    return dict(zip(keys, store.features(pages["page_id"].to_numpy()), strict=True))


def assert_same(found: Rows, expected: Rows) -> None:
    """The same pages with the same features."""
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        np.testing.assert_allclose(found[key], row, atol=1e-3)


def assert_adds_up(report: Report) -> None:
    """Every file and every page has exactly one outcome."""
    assert report.files == report.documents + report.duplicates + report.ignored + report.failed_files
    assert report.pages == report.embedded + report.skipped + report.failed_pages
    assert report.failed == len(report.failures)


def content(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file below a folder, with its time of change and its bytes."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def pile(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    """One run over a folder with a file of every kind; treat it as read-only."""
    root = tmp_path_factory.mktemp("pile")
    folder = root / "in"
    pdf(folder / "letters" / "five.pdf", 5)
    pdf(folder / "letters" / "two.pdf", 2, seed=1)
    shutil.copy(folder / "letters" / "two.pdf", folder / "letters" / "two again.pdf")
    pdf(folder / "forms" / "wide.pdf", 1, paper=(842, 595))
    shutil.copy(folder / "letters" / "five.pdf", folder / "forms" / "five.pdf")
    pdf(folder / "blank.pdf", 1, seed=-1)
    pdf(folder / "secret.pdf", 2, password="open sesame", seed=2)
    (folder / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing that could be repaired")
    (folder / "no.pdf").write_text("a text that calls itself a PDF")
    (folder / "empty.pdf").touch()
    (folder / "README.txt").write_text("no document, and no promise of one")
    (folder / "notes.json").write_text("{}")
    picture(200, 280).convert("RGB").save(folder / "photo.jpg")
    (folder / "photo.jpg").rename(folder / "misnamed.pdf")
    frames = [picture(100, 140), picture(900, 1200), picture(120, 140)]
    frames[0].save(folder / "scan.tif", save_all=True, append_images=frames[1:])
    workspace = Workspace(root / "artifacts")
    report = embed(workspace, [str(folder)], tiny, settings=Settings(limits=SMALL), label_by_folder=True)
    return Embedded(folder, workspace, report)


@pytest.fixture
def later(pile: Embedded, tmp_path: Path) -> Workspace:
    """The artifacts of the pile, to go on with."""
    shutil.copytree(pile.workspace.root, tmp_path / "later")
    return Workspace(tmp_path / "later")


@pytest.fixture(scope="module")
def stack(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Embedded:
    """One run over many documents of different shapes, shuffled; treat it as read-only."""
    root = tmp_path_factory.mktemp("stack")
    dice = random.Random(0)
    names = [f"{i:02}.pdf" for i in range(24)]
    dice.shuffle(names)
    for i, name in enumerate(names):
        pdf(root / "in" / name, dice.choice((1, 2, 3)), paper=SHAPES[i % len(SHAPES)], seed=i)
    pdf(root / "in" / "long.pdf", 20, seed=99)
    workspace = Workspace(root / "artifacts")
    report = embed(workspace, [str(root / "in")], tiny, settings=Settings(workers=2, batch_size=4))
    return Embedded(root / "in", workspace, report)


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What is handed to the render processes."""
    seen: list[Job] = []

    class Watched(Renderer):
        def render(self, jobs: Any) -> Any:
            def noted() -> Iterator[Job]:
                for job in jobs:
                    seen.append(job)
                    yield job

            return super().render(noted())

    monkeypatch.setattr(streaming, "Renderer", Watched)
    return seen


def test_counts_add_up(pile: Embedded) -> None:
    """Of a folder with files of every kind, each file and each page is counted once, under what became of it."""
    report = pile.report
    assert_adds_up(report)
    assert (report.files, report.documents, report.duplicates, report.ignored) == (14, 6, 2, 2)
    assert (report.embedded, report.skipped, report.failed_pages, report.failed_files) == (12, 0, 1, 4)
    assert report.outcomes == {"ok": 11, "blank": 1, "too_large": 1, "encrypted": 1, "not_a_document": 3}
    failed = {(os.path.basename(f.page.source), f.page.page_index, f.kind) for f in report.failures}
    assert failed == {
        ("secret.pdf", WHOLE_FILE, "encrypted"),
        ("broken.pdf", WHOLE_FILE, "not_a_document"),
        ("no.pdf", WHOLE_FILE, "not_a_document"),
        ("empty.pdf", WHOLE_FILE, "not_a_document"),
        ("scan.tif", 1, "too_large"),
    }
    assert {(f.page, f.kind) for f in pile.workspace.store().failures()} == {(f.page, f.kind) for f in report.failures}


def test_what_is_stored(pile: Embedded) -> None:
    """Each page is stored once, under its document and number, duplicates too; a failed page leaves a gap."""
    folder = pile.folder
    counts = {"letters/five.pdf": 5, "letters/two.pdf": 2, "forms/wide.pdf": 1, "blank.pdf": 1, "misnamed.pdf": 1}
    expected = {(sha256_at(folder / name), index) for name, count in counts.items() for index in range(count)}
    expected |= {(sha256_at(folder / "scan.tif"), 0), (sha256_at(folder / "scan.tif"), 2)}
    assert rows(pile.workspace).keys() == expected
    pages = pile.workspace.store().pages().set_index(["document_sha256", "page_index"])
    assert pages.loc[(sha256_at(folder / "blank.pdf"), 0), "outcome"] == "blank"
    assert pages.loc[(sha256_at(folder / "scan.tif"), 2), "page_count"] == 3
    assert pages.loc[(sha256_at(folder / "misnamed.pdf"), 0), "source"] == str(folder / "misnamed.pdf")


def test_the_second_run_embeds_nothing(pile: Embedded, later: Workspace, tiny: Backbone, jobs: list[Job]) -> None:
    """A second run over the same files embeds nothing, tries no failure again, and reports them as before."""
    before = content(later.root / "features")
    report = embed(later, [str(pile.folder)], tiny, settings=Settings(limits=SMALL))
    assert_adds_up(report)
    assert (report.embedded, report.skipped, report.files, report.documents) == (0, 12, 14, 6)
    assert jobs == []
    assert {(f.page, f.kind, f.message) for f in report.failures} == {
        (f.page, f.kind, f.message) for f in pile.report.failures
    }
    after = content(later.root / "features")
    assert {p: c for p, c in after.items() if "part-" in p} == {p: c for p, c in before.items() if "part-" in p}


def test_moved_files_are_recognised(
    pile: Embedded, later: Workspace, tiny: Backbone, tmp_path: Path, jobs: list[Job]
) -> None:
    """Files at another place, under another name, are known by their content and found there."""
    shutil.copytree(pile.folder, tmp_path / "moved")
    (tmp_path / "moved" / "letters" / "five.pdf").rename(tmp_path / "moved" / "renamed.pdf")
    report = embed(later, [str(tmp_path / "moved")], tiny, settings=Settings(limits=SMALL))
    assert (report.embedded, report.skipped, jobs) == (0, 12, [])
    assert {os.path.dirname(f.page.source) for f in report.failures} == {str(tmp_path / "moved")}
    document = later.sources().document(sha256_at(tmp_path / "moved" / "misnamed.pdf"))
    assert document is not None
    report = embed(later, [str(tmp_path / "moved" / "renamed.pdf")], tiny)
    assert (report.embedded, report.skipped) == (0, 5)


def test_labels_by_folder(pile: Embedded) -> None:
    """The folder below the input is the type; a document in two such folders has none, nor has one in neither."""
    labels = {key: label.label for key, label in pile.workspace.labels().rows.items()}
    assert labels == {
        (sha256_at(pile.folder / "letters" / "two.pdf"), 0): "letters",
        (sha256_at(pile.folder / "forms" / "wide.pdf"), 0): "forms",
    }


def test_labels_by_a_folder_that_is_not_utf8(pile: Embedded, later: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """A folder whose name is not UTF-8 is a type like any other."""
    folder = tmp_path / "in" / os.fsdecode(b"re\xe7us")
    folder.mkdir(parents=True)
    shutil.copy(pile.folder / "letters" / "two.pdf", folder)
    embed(later, [str(tmp_path / "in")], tiny, label_by_folder=True)
    assert later.labels().types()["forms"] == 1


def test_retrying_what_failed(pile: Embedded, later: Workspace, tiny: Backbone, jobs: list[Job]) -> None:
    """With a password, larger limits and `retry_failed`, exactly the failed pages are tried, and now embedded."""
    settings = Settings(workers=1, passwords=("wrong", "open sesame"))
    report = embed(later, [str(pile.folder)], tiny, settings=settings, retry_failed=True)
    assert_adds_up(report)
    assert (report.embedded, report.skipped, report.failed_pages, report.failed_files) == (3, 12, 0, 3)
    assert {os.path.basename(job.document.path) for job in jobs} == {"secret.pdf", "scan.tif", "broken.pdf"}
    secret, scan = sha256_at(pile.folder / "secret.pdf"), sha256_at(pile.folder / "scan.tif")
    assert rows(later).keys() - rows(pile.workspace).keys() == {(secret, 0), (secret, 1), (scan, 1)}


def test_what_was_retried_is_no_failure_any_more(pile: Embedded, later: Workspace, tiny: Backbone) -> None:
    """A file that failed once and was embedded later is no failure in the runs that follow."""
    secret = [str(pile.folder / "secret.pdf")]
    embed(later, secret, tiny, settings=replace(ONE_WORKER, passwords=("open sesame",)), retry_failed=True)
    report = embed(later, secret, tiny)
    assert (report.skipped, report.failed, report.documents) == (2, 0, 1)


def test_a_file_that_changed_is_tried_again(
    workspace: Workspace, make_pdf, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that was touched between hashing and rendering is embedded by the next run, as its failure says."""
    file = str(make_pdf("a.pdf", ["one"]))
    with monkeypatch.context() as patch:
        patch.setattr(unfolding, "identify_open", lambda *told: replace(identify_open(*told), mtime_ns=1))
        report = embed(workspace, [file], tiny, settings=ONE_WORKER)
    assert [f.kind for f in report.failures] == ["unreadable"]
    assert embed(workspace, [file], tiny, settings=ONE_WORKER).embedded == 1


def test_a_selection_and_then_all(workspace: Workspace, tmp_path: Path, tiny: Backbone, jobs: list[Job]) -> None:
    """After some pages of a document were embedded, a run over all embeds only those that are missing."""
    file = pdf(tmp_path / "five.pdf", 5)
    first = embed(workspace, [str(file)], tiny, settings=replace(ONE_WORKER, selection=Selection.parse("1-3")))
    assert (first.embedded, first.skipped) == (3, 0)
    assert {index for _, index in rows(workspace)} == {0, 1, 2}
    again = embed(workspace, [str(file)], tiny, settings=Settings(selection=Selection.parse("2")))
    assert (again.embedded, again.skipped) == (0, 1)
    rest = embed(workspace, [str(file)], tiny, settings=ONE_WORKER)
    assert (rest.embedded, rest.skipped) == (2, 3)
    assert jobs[1].known == {0, 1, 2}
    assert {index for _, index in rows(workspace)} == {0, 1, 2, 3, 4}


def test_features_do_not_depend_on_the_batch(tiny: Backbone) -> None:
    """A page has the same features alone and in any batch."""
    pages = np.random.default_rng(0).integers(0, 255, (7, 64, 48, 3), np.uint8)
    alone = np.concatenate([tiny(page[None]) for page in pages])
    for order in ([0, 1, 2, 3, 4, 5, 6], [6, 2, 0], [3, 3, 5, 1]):
        np.testing.assert_allclose(tiny(pages[order]), alone[order], atol=1e-5)


def test_ids_travel_with_the_pixels(stack: Embedded, tiny: Backbone) -> None:
    """The features of every stored page are those of rendering that very page alone, and no other's."""
    identity = tiny.identity
    alone: Rows = {}
    for file in stack.folder.iterdir():
        document = open_document(str(file), "pdf", ReadOptions(identity.recipe, identity.interpolation))
        for index in range(document.page_count):
            alone[(sha256_at(file), index)] = tiny(document.render(index).pixels[None])[0]
        document.close()
    X = np.stack(list(alone.values()))
    apart = np.abs(X[:, None] - X[None]).max(axis=2) + np.eye(len(X))
    assert apart.min() > 5e-3, "two of the pages look the same: a mix-up could not be seen"
    assert stack.report.embedded == len(alone) > 60
    assert_same(rows(stack.workspace), alone)


def test_interrupted_and_resumed(stack: Embedded, workspace: Workspace, tiny: Backbone) -> None:
    """Ctrl-C keeps what was computed, and the next run completes it to the rows of an undisturbed one."""
    settings = Settings(workers=2, batch_size=4)
    calls = []

    def press(progress: Progress) -> None:
        calls.append(progress)
        if len(calls) == 3:
            raise KeyboardInterrupt

    report = embed(workspace, [str(stack.folder)], tiny, settings=settings, progress=press)
    kept = rows(workspace)
    assert report.interrupted
    assert report.embedded == len(kept) == 12
    assert len(calls) == 3
    rest = embed(workspace, [str(stack.folder)], tiny, settings=settings)
    assert (rest.interrupted, rest.skipped) == (False, 12)
    assert_same(rows(workspace), rows(stack.workspace))
    assert_same(kept, {key: row for key, row in rows(stack.workspace).items() if key in kept})


def test_nothing_goes_on_after_an_interrupt(
    pile: Embedded, workspace: Workspace, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When an interrupted run saves what it knows, no thread of its own is still changing it."""
    feeding = []
    save = workspace_module.Sources.save

    def watched(sources: Any) -> None:
        feeding.extend(thread for thread in threading.enumerate() if thread.name == "embedpipe-feeder")
        save(sources)

    def press(_: Progress) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workspace_module.Sources, "save", watched)
    settings = replace(ONE_WORKER, batch_size=1)
    report = embed(workspace, [str(pile.folder / "letters")], tiny, settings=settings, progress=press)
    assert report.interrupted
    for thread in feeding:
        thread.join(10)
    assert feeding == []


KILLED = """
import sys
import time
from types import SimpleNamespace
import numpy as np
from embedpipe.store import feature_writer
from embedpipe.tasks.embed import embed
from embedpipe.embedding.streaming import Settings
from embedpipe.core.records import Identity, Recipe
from embedpipe.store.workspace import Workspace

class Shades:  # needs no torch, so that many runs cost little
    identity = Identity("shades", "0" * 64, Recipe(64, "aspect", "penultimate"), ("p",))
    blocks = [("p", 0, 24)]
    engine = SimpleNamespace(name="none", device="cpu", precision="fp32", batch_size=2, in_flight=1)
    turner = None

    def start(self, pixels):
        time.sleep(0.01)
        bands = [band.mean(axis=(1, 2)) for band in np.array_split(pixels / 255, 8, axis=1)]
        return lambda: np.concatenate(bands, axis=1).astype(np.float32)

feature_writer.ROWS_PER_PART = 3
report = embed(Workspace(sys.argv[1]), sys.argv[2:], Shades(), settings=Settings(workers=2, batch_size=2),
               progress=lambda _: print("step", flush=True))
print("embedded", report.embedded, report.failed, flush=True)
"""


def run_and_kill(root: Path, folder: Path, steps: int, delay: float) -> bool:
    """Starts a run, kills it some time after some steps, and waits for its workers to go; whether it was killed."""
    command = [sys.executable, "-c", KILLED, str(root), str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        for _ in range(steps):
            if not run.stdout.readline().startswith("step"):
                break
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.wait(delay)
        run.kill()
        run.communicate(timeout=60)  # ends when the workers too, who hold the pipe, have ended
        return run.returncode != 0


def test_killed_at_random_and_resumed(stack: Embedded, tmp_path: Path) -> None:
    """Runs killed at random moments, and one to the end, give the rows of an undisturbed run, and leave no process."""
    command = [sys.executable, "-c", KILLED, str(tmp_path / "calm"), str(stack.folder)]
    subprocess.run(command, check=True, capture_output=True)
    calm = rows(Workspace(tmp_path / "calm"))
    assert len(calm) == stack.report.embedded
    dice = random.Random(4)
    moments = [(0, dice.random()), *((steps, dice.random() / 20) for steps in (1, 3, 5))]
    killed = [run_and_kill(tmp_path / "torn", stack.folder, steps, delay) for steps, delay in moments]
    assert killed == [True] * 4
    torn = Workspace(tmp_path / "torn")
    assert torn.store().verify() == []
    assert 0 < len(rows(torn)) < len(calm)
    command[3] = str(tmp_path / "torn")
    last = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(last.stdout.splitlines()[-1].split()[1]) > 0
    assert_same(rows(torn), calm)
    assert torn.store().verify() == []
    assert list(torn.root.rglob(".embedpipe-*")) == []


def test_a_full_disk_ends_the_run(
    workspace: Workspace, stack: Embedded, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fills up ends the run with one line of error; the next run goes on from what was written."""
    write, parts = feature_writer.pq.write_table, []

    def filling(table: Any, where: Path, **options: Any) -> None:
        if "embedding" in table.column_names:
            parts.append(where)
        if len(parts) == 3:
            where.write_bytes(b"PAR1 and no more")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(table, where, **options)

    monkeypatch.setattr(feature_writer, "ROWS_PER_PART", 8)
    settings = Settings(workers=2, batch_size=4)
    with monkeypatch.context() as patch:
        patch.setattr(feature_writer.pq, "write_table", filling)
        with pytest.raises(ArtifactError, match="No space left on device") as caught:
            embed(workspace, [str(stack.folder)], tiny, settings=settings)
    assert "\n" not in str(caught.value)
    assert len(rows(workspace)) == 16
    assert workspace.store().verify() == []
    report = embed(workspace, [str(stack.folder)], tiny, settings=settings)
    assert report.skipped == 16
    assert_same(rows(workspace), rows(stack.workspace))


def test_a_second_run_at_the_same_time(pile: Embedded, later: Workspace, tiny: Backbone) -> None:
    """While another writes to the artifacts, a run is refused."""
    with later.writing("label"), pytest.raises(ArtifactError, match="`label`"):
        embed(later, [str(pile.folder)], tiny)


def test_inputs_that_do_not_exist(workspace: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """An input that is not there is refused and named."""
    with pytest.raises(EmbedpipeError, match=r"cannot read .*nowhere"):
        embed(workspace, [str(tmp_path / "nowhere")], tiny)


def test_trusting_times(pile: Embedded, later: Workspace, tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """With `trust_mtime` a file that looks unchanged is not read again; one that was touched is."""
    read = []

    def noted(file: BinaryIO, found: FoundFile, limits: Limits) -> Any:
        read.append(found.path)
        return identify_open(file, found, limits)

    monkeypatch.setattr(unfolding, "identify_open", noted)
    inputs = [str(pile.folder / "letters")]
    assert embed(later, inputs, tiny, settings=Settings(trust_mtime=True)).skipped == 7
    assert read == []
    assert embed(later, inputs, tiny).skipped == 7
    assert len(read) == 3


def test_paths_that_are_not_utf8(workspace: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """Files whose names are not UTF-8 are embedded, stored once and known again."""
    file = pdf(tmp_path / "in" / "a.pdf", 2)
    file = file.rename(file.with_name(os.fsdecode(b"caf\xe9.pdf")))
    report = embed(workspace, [str(file.parent)], tiny, settings=ONE_WORKER)
    assert (report.embedded, report.failed) == (2, 0)
    report = embed(workspace, [str(file.parent)], tiny)
    assert (report.embedded, report.skipped) == (0, 2)
    assert set(workspace.store().pages()["source"]) == {str(file)}
    document = workspace.sources().document(sha256_at(file))
    assert document is not None
    assert document.path == str(file)


def test_a_warning_that_is_not_utf8(workspace: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """A PDF that makes MuPDF warn of a name that is not UTF-8 is embedded like any other."""
    with pymupdf.open() as document:
        page = document.new_page()
        page.draw_rect((50, 50, 300, 300), fill=(0, 0, 0))
        document.update_stream(page.get_contents()[0], b"/X#e9 Do 10 10 300 300 re f")
        document.save(tmp_path / "odd.pdf")
    report = embed(workspace, [str(tmp_path / "odd.pdf")], tiny, settings=ONE_WORKER)
    assert report.embedded == 1
    assert "cannot find XObject" in workspace.store().pages()["message"][0]


def test_features_that_are_no_numbers(workspace: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """Features that float16 cannot hold are failures of their pages; the other pages of the batch are kept."""

    class Overflowing:
        identity, dim, blocks, engine, turner = tiny.identity, tiny.dim, tiny.blocks, tiny.engine, tiny.turner

        def start(self, pixels: NDArray[np.uint8]) -> Pending:
            X = tiny(pixels)
            X[0, 3], X[1, 0], X[3, 5] = 1e6, np.nan, -np.inf
            return lambda: X

    file = pdf(tmp_path / "five.pdf", 5)
    settings = replace(ONE_WORKER, batch_size=5)
    report = embed(workspace, [str(file)], Overflowing(), settings=settings)  # type: ignore[arg-type]
    assert_adds_up(report)
    assert (report.embedded, report.failed_pages) == (2, 3)
    assert {f.page.page_index for f in report.failures} == {0, 1, 3}
    assert {f.kind for f in report.failures} == {"page_error"}
    assert {index for _, index in rows(workspace)} == {2, 4}


def test_planning_writes_nothing(
    pile: Embedded, later: Workspace, workspace: Workspace, tiny: Backbone, tmp_path: Path
) -> None:
    """A plan counts what is new and what is known, estimates the pages, and writes nothing."""
    before = content(later.root)
    plan = plan_run(later, [str(pile.folder / "letters"), str(pile.folder / "README.txt")], tiny, Settings())
    assert (plan["documents"], plan["new_documents"], plan["duplicates"], plan["failed"]) == (2, 0, 1, 1)
    assert content(later.root) == before
    plan = plan_run(workspace, [str(pile.folder / "letters")], tiny, ONE_WORKER)
    assert (plan["documents"], plan["new_documents"], plan["estimated_pages"]) == (2, 2, 7)
    assert not workspace.root.exists()


def test_a_plan_for_few_pages(pile: Embedded, workspace: Workspace, tiny: Backbone) -> None:
    """The estimate for pages that fit into one batch is not far below the time that this batch took."""

    class Slow:
        identity, dim, blocks, engine, turner = tiny.identity, tiny.dim, tiny.blocks, tiny.engine, tiny.turner

        def start(self, pixels: NDArray[np.uint8]) -> Pending:
            time.sleep(0.5)
            return tiny.start(pixels)

    plan = plan_run(workspace, [str(pile.folder / "letters")], Slow(), ONE_WORKER)  # type: ignore[arg-type]
    assert plan["estimated_seconds"] >= 0.4


def test_pictures_for_people(pile: Embedded) -> None:
    """Pages that can be rendered come as pictures, each under its own key; others are left out."""
    sources = pile.workspace.sources()
    two, secret = (sources.document(sha256_at(pile.folder / n)) for n in ("letters/two.pdf", "secret.pdf"))
    assert two is not None
    assert secret is not None
    pictures = render_pages([(two, 1), (two, 0), (secret, 0), (two, 1)], size=96)
    assert pictures.keys() == {(two.sha256, 0), (two.sha256, 1)}
    document = open_document(two.path, "pdf", ReadOptions(replace(ReadOptions().recipe, size=96)))
    for index in range(2):
        np.testing.assert_array_equal(pictures[(two.sha256, index)], document.render(index).pixels)
    document.close()
    assert render_pages([]) == {}


def test_a_store_of_another_identity(pile: Embedded, later: Workspace, tiny: Backbone) -> None:
    """A store whose folder holds another identity is refused before anything is rendered."""
    store = later.store()
    manifest = store.path / "manifest.json"
    values = read_json(manifest)
    write_json(manifest, values | {"identity": values["identity"] | {"weights_sha256": "0" * 64}})
    with pytest.raises(EmbedpipeError, match="belongs to"):
        embed(later, [str(pile.folder)], tiny)
    assert FeatureStore.open(store.path).identity.weights_sha256 == "0" * 64
