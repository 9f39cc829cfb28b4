"""No page stops the run: each wanted page comes exactly once, as pixels or as a failure, and no worker stays behind."""

import contextlib
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embedpipe.core.records import FAILURES, STORED, WHOLE_FILE, Document, PageFailure, PageImage, Recipe
from embedpipe.pages.augmentation import Variants, larger
from embedpipe.pages.documents import Limits, ReadOptions
from embedpipe.pages.page_tasks import PAGES_PER_TASK
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.walking import FoundFile, IgnoredFile, identify

pytestmark = pytest.mark.usefixtures("alone")

OPTIONS = ReadOptions(recipe=Recipe(size=64))
LONG = 2 * PAGES_PER_TASK + 8

Results = dict[int, list[PageImage | PageFailure]]


def document_of(path: Path | str) -> Document:
    """The document that a file is."""
    status = os.stat(path)
    item = identify(FoundFile(os.fspath(path), status.st_size, status.st_mtime_ns, True, None), Limits())
    assert isinstance(item, Document)
    return item


def shade_of(index: int) -> int:
    """The grey of page `index`: neighbours differ by far more than rendering does."""
    return 20 + 37 * index % 200


def write_pages(file: Path, pages: int, *, endless: Iterable[int] = ()) -> Path:
    """Writes a PDF whose pages are marked by their shade; those that are named `endless` never finish."""
    with pymupdf.open() as document:
        for index in range(pages):
            page = document.new_page(width=200, height=200)
            page.draw_rect((0, 0, 200, 100), color=None, fill=(shade_of(index) / 255,) * 3)
        for index in endless:
            below = 0  # each form draws the next one ten times, twelve deep: a trillion drawings
            for level in range(12):
                form = document.get_new_xref()
                resources = f"/Resources<</XObject<</X {below} 0 R>>>>" if level else ""
                document.update_object(form, f"<</Type/XObject/Subtype/Form/BBox[0 0 200 200]{resources}>>")
                document.update_stream(form, b"/X Do " * 10 if level else b"0 0 9 9 re f", new=True)
                below = form
            page = document[index]
            document.xref_set_key(page.xref, "Resources", f"<</XObject<</X {below} 0 R>>>>")
            content = document.get_new_xref()
            document.update_object(content, "<<>>")
            document.update_stream(content, b"/X Do", new=True)
            document.xref_set_key(page.xref, "Contents", f"{content} 0 R")
        document.save(file)
    return file


def index_of(item: PageImage | PageFailure) -> int:
    """The index of the page that a result is about."""
    return item.info.ref.page_index if isinstance(item, PageImage) else item.page.page_index


def outcome_of(item: PageImage | PageFailure) -> str:
    """The outcome of a page, stored or failed."""
    return item.info.outcome if isinstance(item, PageImage) else item.kind


@dataclass
class Run:
    """All that a renderer gave, by the path of the document."""

    results: dict[str, list[PageImage | PageFailure]] = field(default_factory=dict)
    finished: Counter[str] = field(default_factory=Counter)
    steps: Counter[str] = field(default_factory=Counter)
    pages: int = 0
    seconds: float = 0.0

    def outcomes(self, path: Path | str) -> dict[int, str]:
        """Outcome of each page of a file; a page that came twice is an error."""
        items = self.results[os.fspath(path)]
        assert len({index_of(item) for item in items}) == len(items)
        return {index_of(item): outcome_of(item) for item in sorted(items, key=index_of)}


def limited(options: ReadOptions = OPTIONS, **limits: float) -> ReadOptions:
    """Options with other limits for a page."""
    return replace(options, limits=replace(options.limits, **limits))


def run(jobs: Iterable[Job], options: ReadOptions = OPTIONS, workers: int = 1) -> Run:
    """Renders jobs to the end."""
    done = Run()
    with Renderer(options, workers) as renderer:
        for step in renderer.render(jobs):
            path = step.document.path
            done.steps[path] += 1
            done.finished[path] += step.finished
            done.results.setdefault(path, []).extend(step.results)
        done.pages, done.seconds = renderer.stats.pages, renderer.stats.seconds
    return done


def no_workers_left() -> bool:
    """Whether all worker processes are gone."""
    return multiprocessing.active_children() == []


class TestSelection:
    """Which pages people want."""

    @pytest.mark.parametrize(
        ("text", "pages", "expected"),
        [
            ("all", 3, [0, 1, 2]),
            (" all ", 2, [0, 1]),
            ("1", 9, [0]),
            ("last", 9, [8]),
            ("1-3", 9, [0, 1, 2]),
            ("1-3", 2, [0, 1]),
            ("1,last", 9, [0, 8]),
            ("1,last", 1, [0]),
            ("3-last", 5, [2, 3, 4]),
            ("last-last", 5, [4]),
            (" 2 - 3 , 1 ", 5, [0, 1, 2]),
            ("1-3,2-4,3", 9, [0, 1, 2, 3]),
            ("7", 3, []),
            ("7-last", 3, []),
            ("1-999999999999", 3, [0, 1, 2]),
            ("last", 0, []),
            ("all", 0, []),
        ],
    )
    def test_pages_count_from_one(self, text: str, pages: int, expected: list[int]) -> None:
        """Numbers are those that people see; each page comes once, ascending, and none that does not exist."""
        assert Selection.parse(text).indices(pages) == expected

    @pytest.mark.parametrize(
        "text",
        ["", "0", "-1", "1-", "-", "3-1", "0-2", "1-0", "1,,2", "1,", "one", "first", "1.5", "1-2-3", "all,1", "LAST"],
    )
    def test_what_is_no_selection_is_refused(self, text: str) -> None:
        """Texts that name no pages raise ValueError."""
        with pytest.raises(ValueError, match=f"invalid literal|^{re.escape(text)}$"):
            Selection.parse(text)

    @pytest.mark.parametrize("text", ["last-0", "last-2"])
    def test_nothing_comes_after_the_last_page(self, text: str) -> None:
        """A range that begins with the last page and ends with a number is refused."""
        with pytest.raises(ValueError, match=text):
            Selection.parse(text)

    @given(
        ranges=st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20), st.booleans()), min_size=1, max_size=5),
        pages=st.integers(0, 30),
    )
    def test_any_ranges_give_their_pages(self, ranges: list[tuple[int, int, bool]], pages: int) -> None:
        """Pages of a selection are those of the document that lie in one of its ranges."""
        text = ",".join(f"{a}-last" if open_end else f"{a}-{a + n}" if n else f"{a}" for a, n, open_end in ranges)
        expected = [
            i for i in range(pages) if any(a <= i + 1 and (open_end or i + 1 <= a + n) for a, n, open_end in ranges)
        ]
        assert Selection.parse(text).indices(pages) == expected

    @given(st.text(st.sampled_from("0123456789-, lastALL"), max_size=12))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        """Any text is a selection of pages that exist, or raises ValueError and nothing else."""
        with contextlib.suppress(ValueError):
            indices = Selection.parse(text).indices(7)
            assert indices == sorted(set(indices))
            assert set(indices) <= set(range(7))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of all sorts, sound and unsound."""
    root = tmp_path_factory.mktemp("documents")
    write_pages(root / "long.pdf", LONG)
    write_pages(root / "endless.pdf", PAGES_PER_TASK + 6, endless=[3, PAGES_PER_TASK + 2])
    for name in ("selected", "known", "nothing", "beyond", "changed", "vanished", "swapped"):
        write_pages(root / f"{name}.pdf", 5 + len(name))
    write_pages(root / "both.pdf", LONG + 1)
    shutil.copy(root / "long.pdf", root / "copy.pdf")
    frames = [Image.new("L", (64, 64), shade_of(i)) for i in range(PAGES_PER_TASK + 1)]
    frames[0].save(root / "frames.tif", save_all=True, append_images=frames[1:])
    (root / "broken.pdf").write_bytes(b"%PDF-1.7\nno more")
    with pymupdf.open() as secret:
        secret.new_page()
        secret.save(root / "encrypted.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="x", owner_pw="y")
    with pymupdf.open() as blank:
        blank.new_page()
        blank.save(root / "blank.pdf")
    content = write_pages(root / "cut.pdf", 1).read_bytes()
    (root / "cut.pdf").write_bytes(content[: content.rindex(b"xref\n0")])
    (root / "half.tif").write_bytes((root / "frames.tif").read_bytes()[: 64 * 64 // 2])
    return root


SELECTIONS = {"selected": "2,last", "beyond": "7-8,99-last", "both": f"1-{LONG}"}
KNOWN = {"known": {0, 3, 4}, "nothing": set(range(12)), "both": {0, PAGES_PER_TASK, LONG - 1}}


@pytest.fixture(scope="module")
def everything(folder: Path) -> Iterator[Run]:
    """One run over all of them by two workers."""
    jobs = []
    first = ("copy.pdf", "long.pdf")  # the copies are under way together
    for path in sorted(folder.iterdir(), key=lambda path: (path.name not in first, path.name)):
        selection = Selection.parse(SELECTIONS.get(path.stem, "all"))
        jobs.append(Job(document_of(path), selection, frozenset(KNOWN.get(path.stem, ()))))
    (folder / "vanished.pdf").unlink()
    with (folder / "changed.pdf").open("ab") as file:
        file.write(b"\n")
    os.utime(folder / "swapped.pdf", ns=(1, 1))
    yield run(jobs, limited(page_seconds=2), workers=2)
    assert no_workers_left()


class TestEverything:
    """What a run over sound and unsound documents gives."""

    def test_every_document_has_an_end(self, folder: Path, everything: Run) -> None:
        """Each document of the input is told to be finished exactly once, also the ones of which nothing is wanted."""
        names = {os.path.basename(path) for path in everything.finished}
        assert names == {path.name for path in folder.iterdir()} | {"vanished.pdf"}
        same = {os.fspath(folder / "copy.pdf"), os.fspath(folder / "long.pdf")}
        assert {n for path, n in everything.finished.items() if path not in same} == {1}

    def test_copies_have_an_end_each(self, folder: Path, everything: Run) -> None:
        """Two files with the same content are finished one by one."""
        assert everything.finished[os.fspath(folder / "copy.pdf")] == 1
        assert everything.finished[os.fspath(folder / "long.pdf")] == 1

    @pytest.mark.parametrize("name", ["long.pdf", "copy.pdf"])
    def test_long_documents_are_shared_out(self, folder: Path, everything: Run, name: str) -> None:
        """A long document comes in several steps, and each of its pages exactly once."""
        assert everything.steps[os.fspath(folder / name)] == -(-LONG // PAGES_PER_TASK)
        assert everything.outcomes(folder / name) == dict.fromkeys(range(LONG), "ok")

    def test_each_page_has_its_own_pixels(self, folder: Path, everything: Run) -> None:
        """The pixels under a page's id are those of that page, in PDFs and TIFFs, near killed pages too."""
        seen = 0
        for items in everything.results.values():
            for item in items:
                if isinstance(item, PageImage) and item.info.outcome == "ok":
                    seen += 1
                    assert item.pixels.dtype == np.uint8
                    assert item.pixels.shape == (64, 64, 3)
                    assert abs(int(item.pixels[10, 30, 0]) - shade_of(item.info.ref.page_index)) <= 2
        assert seen > 3 * LONG

    def test_each_page_knows_its_document(self, folder: Path, everything: Run) -> None:
        """Ids hold the hash and the path of the document that was asked for, and the count of its pages."""
        for path, items in everything.results.items():
            for item in items:
                ref = item.info.ref if isinstance(item, PageImage) else item.page
                assert ref.source == path
                if os.path.exists(path) and outcome_of(item) != "unreadable":
                    assert ref.document_sha256 == document_of(path).sha256
        counts = {i.info.page_count for i in everything.results[os.fspath(folder / "selected.pdf")]}
        assert counts == {13}

    def test_an_endless_page_is_killed_and_its_neighbours_are_rendered(self, folder: Path, everything: Run) -> None:
        """Only the pages that never end have the outcome `timeout`, in the first task and in a later one."""
        expected = dict.fromkeys(range(PAGES_PER_TASK + 6), "ok") | {3: "timeout", PAGES_PER_TASK + 2: "timeout"}
        assert everything.outcomes(folder / "endless.pdf") == expected
        messages = {
            i.message for i in everything.results[os.fspath(folder / "endless.pdf")] if isinstance(i, PageFailure)
        }
        assert messages == {"not finished after 2 s (--page-timeout)"}

    def test_only_selected_pages_are_rendered(self, folder: Path, everything: Run) -> None:
        """A selection gives its pages, and pages past the end are not missed."""
        assert everything.outcomes(folder / "selected.pdf") == {1: "ok", 12: "ok"}
        assert everything.outcomes(folder / "beyond.pdf") == {6: "ok", 7: "ok"}

    def test_known_pages_are_not_rendered_again(self, folder: Path, everything: Run) -> None:
        """Pages that are known are left out, and a document that is known whole gives nothing."""
        assert everything.outcomes(folder / "known.pdf") == dict.fromkeys({1, 2, *range(5, 10)}, "ok")
        assert everything.outcomes(folder / "nothing.pdf") == {}

    def test_known_pages_and_a_selection_go_together(self, folder: Path, everything: Run) -> None:
        """Of a long document the pages come that are selected and not known, each exactly once."""
        expected = set(range(LONG)) - KNOWN["both"]
        assert everything.outcomes(folder / "both.pdf") == dict.fromkeys(expected, "ok")

    def test_pictures_of_a_tiff_are_pages(self, folder: Path, everything: Run) -> None:
        """A TIFF of more pictures than fit a task gives each of them once; all are flat, so all are blank."""
        outcomes = everything.outcomes(folder / "frames.tif")
        assert outcomes == dict.fromkeys(range(PAGES_PER_TASK + 1), "blank")
        for item in everything.results[os.fspath(folder / "frames.tif")]:
            assert item.pixels[5, 5, 0] == shade_of(index_of(item))

    @pytest.mark.parametrize(
        ("name", "kinds"),
        [
            ("broken.pdf", {"not_a_document", "no_pages"}),
            ("encrypted.pdf", {"encrypted"}),
            ("changed.pdf", {"unreadable"}),
            ("swapped.pdf", {"unreadable"}),
            ("vanished.pdf", {"unreadable"}),
        ],
    )
    def test_a_file_that_cannot_be_opened_is_one_failure(
        self, folder: Path, everything: Run, name: str, kinds: set[str]
    ) -> None:
        """Broken, encrypted, changed and vanished files are one failure of the whole file each."""
        outcomes = everything.outcomes(folder / name)
        assert list(outcomes) == [WHOLE_FILE]
        assert set(outcomes.values()) <= kinds

    def test_blank_and_repaired_pages_are_marked(self, folder: Path, everything: Run) -> None:
        """An empty page is `blank`, and a page of a file without its table of objects is `repaired`."""
        assert everything.outcomes(folder / "blank.pdf") == {0: "blank"}
        assert everything.outcomes(folder / "cut.pdf") == {0: "repaired"}

    def test_failures_are_told_in_one_line(self, everything: Run) -> None:
        """Each failure has an outcome of the list and a message of one line."""
        failures = [i for items in everything.results.values() for i in items if isinstance(i, PageFailure)]
        assert failures
        for failure in failures:
            assert failure.kind in FAILURES
            assert failure.message
            assert "\n" not in failure.message

    def test_the_cost_is_told(self, everything: Run) -> None:
        """Pages are counted, but for those that died with their worker, and the time that the workers took."""
        results = [i for items in everything.results.values() for i in items]
        assert everything.pages == sum(outcome_of(i) != "timeout" for i in results)
        assert everything.seconds > 0


class TestWorkers:
    """What happens to worker processes, and what they do to pages."""

    @pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes have no signals on this system")
    @pytest.mark.parametrize(("number", "kind"), [("SIGSEGV", "crash"), ("SIGKILL", "memory")])
    def test_a_worker_that_dies_costs_one_page(self, tmp_path: Path, number: str, kind: str) -> None:
        """The page at which a worker crashes or is killed is the only one that is lost, and the run goes on."""
        fatal = document_of(write_pages(tmp_path / "fatal.pdf", 4, endless=[1]))
        other = document_of(write_pages(tmp_path / "other.pdf", 2))
        killed: list[int] = []

        def kill(renderer: Renderer) -> None:
            deadline = time.monotonic() + 60
            while 1 not in renderer._marks[:]:  # page 1 of the first document is being rendered
                if time.monotonic() > deadline:
                    return
                time.sleep(0.02)
            (worker,) = multiprocessing.active_children()
            os.kill(worker.pid, getattr(signal, number))
            killed.append(worker.pid)

        done: dict[str, dict[int, str]] = {"fatal.pdf": {}, "other.pdf": {}}
        with Renderer(limited(page_seconds=100), 1) as renderer:
            killer = threading.Thread(target=kill, args=[renderer], daemon=True)
            killer.start()
            for step in renderer.render(Job(document, Selection()) for document in (fatal, other)):
                for item in step.results:
                    assert index_of(item) not in done[os.path.basename(step.document.path)]
                    done[os.path.basename(step.document.path)][index_of(item)] = outcome_of(item)
        killer.join(60)
        assert killed
        assert done == {"fatal.pdf": {0: "ok", 1: kind, 2: "ok", 3: "ok"}, "other.pdf": {0: "ok", 1: "ok"}}

    @pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is capped on Linux only")
    def test_a_page_that_needs_too_much_memory_is_a_failure(self, tmp_path: Path) -> None:
        """A picture that does not fit under the cap has the outcome `memory`, the next document is rendered."""
        Image.new("RGB", (6000, 6000)).save(tmp_path / "big.png", compress_level=1)
        write_pages(tmp_path / "small.pdf", 2)
        jobs = [Job(document_of(tmp_path / name), Selection()) for name in ("big.png", "small.pdf")]
        capped = run(jobs, limited(page_seconds=60, page_bytes=64 * 1024**2))
        assert capped.outcomes(tmp_path / "big.png") == {0: "memory"}
        assert capped.outcomes(tmp_path / "small.pdf") == {0: "ok", 1: "ok"}
        free = run(jobs[:1], limited(page_seconds=60))
        assert free.outcomes(tmp_path / "big.png") == {0: "blank"}

    def test_a_consumer_may_stop_in_the_middle(self, tmp_path: Path) -> None:
        """No worker is left after the context, though one was in the middle of an endless page."""
        endless = document_of(write_pages(tmp_path / "endless.pdf", 1, endless=[0]))
        short = document_of(write_pages(tmp_path / "short.pdf", 1))
        jobs = iter([Job(endless, Selection()), *[Job(short, Selection())] * 50])
        with Renderer(limited(page_seconds=200), 2) as renderer:
            step = next(renderer.render(jobs))
            workers = multiprocessing.active_children()
            assert step.document == short
            assert len(workers) == 2
            assert len(list(jobs)) > 30  # documents are drawn only when there is room
        assert no_workers_left()
        assert not any(worker.is_alive() for worker in workers)

    def test_an_error_of_the_consumer_ends_the_workers(self, tmp_path: Path) -> None:
        """An exception passes through the context, and no worker is left."""
        short = document_of(write_pages(tmp_path / "short.pdf", 1))

        def consume() -> None:
            with Renderer(OPTIONS) as renderer:
                for _ in renderer.render([Job(short, Selection())]):
                    assert not no_workers_left()
                    raise KeyError

        with pytest.raises(KeyError):
            consume()
        assert no_workers_left()

    def test_a_renderer_without_work_starts_and_ends(self) -> None:
        """No documents give no results."""
        assert run([]).steps == {}

    @pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="libraries of a process are told by Linux only")
    def test_workers_load_no_network(self, tmp_path: Path) -> None:
        """A worker has MuPDF in its memory and nothing of torch, so it starts fast and stays small."""
        short = document_of(write_pages(tmp_path / "short.pdf", 1))
        with Renderer(OPTIONS) as renderer:
            list(renderer.render([Job(short, Selection())]))
            (worker,) = multiprocessing.active_children()
            libraries = Path(f"/proc/{worker.pid}/maps").read_text()
        assert "mupdf" in libraries
        for heavy in ("torch", "faiss", "sklearn", "pyarrow", "openvino"):
            assert heavy not in libraries

    def test_the_module_loads_no_network(self) -> None:
        """What render workers load, decoders included, is neither torch nor any other heavy library."""
        code = (
            "import sys, embedpipe.pages.rendering; from embedpipe.pages.documents import load_decoders; "
            "load_decoders(); print(*sys.modules)"
        )
        loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
        assert "pymupdf" in loaded
        assert not {"torch", "timm", "sklearn", "faiss", "pyarrow", "pandas", "matplotlib"} & set(loaded)

    def test_any_name_is_rendered(self, tmp_path: Path) -> None:
        """Documents are rendered whatever the bytes of their names are."""
        jobs = []
        for name in (b"caf\xe9.pdf", b"two\nlines.pdf", b"-rf.pdf", "发票\u202e.pdf".encode(), b"\xff.png"):
            path = os.path.join(tmp_path, os.fsdecode(name))
            if name.endswith(b"pdf"):
                os.rename(write_pages(tmp_path / "x", len(jobs) + 1), path)
            else:
                with open(path, "wb") as file:
                    Image.new("L", (64, 64)).save(file, "PNG")
            jobs.append(Job(document_of(path), Selection()))
        done = run(jobs)
        outcomes = {outcome for job in jobs for outcome in done.outcomes(job.document.path).values()}
        assert outcomes == {"ok", "blank"}


ONE_ERROR = {"page_error"}
OF_THE_FILE = {"no_pages", "not_a_document"}
ODD = {"not_a_document", "page_error", "too_large", "memory"}
SLOW = {"ok", "blank", "timeout"}

NASTY: dict[str, tuple[int | None, set[str]]] = {
    "Pillow__crash-63b1dffefc8c075ddc606c0a2f5fdc15ece78863.tif": (None, ODD),
    "Pillow__reallybig.bmp": (None, {"too_large"}),
    "Pillow__timeout-060745d3f534ad6e4128c51d336ea5489182c69d.blp": (None, {"not_a_document"}),
    "Pillow__timeout-d675703545fee17acab56e5fec644c19979175de.eps": (None, {"not_a_document"}),
    "PyMuPDF__test_2548.pdf": (1, {"timeout"}),
    "PyMuPDF__test_4435.pdf": (3, {"ok", "timeout"}),
    "Test-PDF-Files__corrupted.pdf": (None, OF_THE_FILE),
    "Test-PDF-Files__encrypted.pdf": (None, {"encrypted"}),
    "gen__array_nest_100k.pdf": (1, ONE_ERROR),
    "gen__big_182Mpx_gray_error.png": (None, {"too_large"}),
    "gen__big_79Mpx_rgba_under_limit_317MB.png": (1, SLOW | {"too_large", "memory"}),
    "gen__big_90Mpx_gray_warns.png": (None, {"ok", "blank", "too_large"}),
    "gen__billion.svg": (None, {"not_a_document"}),
    "gen__bomb_2.5Gpx_1bit.png": (None, {"too_large"}),
    "gen__content_bomb_1G_spaces.pdf": (1, {"blank", "timeout"}),
    "gen__content_bomb_nested_flate.pdf": (1, {"blank", "timeout"}),
    "gen__count_1000000.pdf": (None, OF_THE_FILE | {"too_large"}),
    "gen__cropbox_outside.pdf": (1, {"repaired"}),
    "gen__embedded_exe.pdf": (1, {"cover"}),
    "gen__empty.pdf": (None, {"not_a_document"}),
    "gen__exif_orient_6.jpg": (1, {"ok"}),
    "gen__external_stream_etc_passwd.pdf": (1, {"blank"}),
    "gen__float32.tif": (1, {"ok"}),
    "gen__form_billion_laughs.pdf": (1, {"timeout"}),
    "gen__gif_5000_frames.gif": (1, {"ok"}),
    "gen__header_only.pdf": (None, OF_THE_FILE),
    "gen__icc_bomb.png": (None, ODD),
    "gen__img_30000x30000_rgb.pdf": (1, {"ok", "timeout"}),
    "gen__jpg_named.pdf": (1, {"ok"}),
    "gen__js_openaction.pdf": (1, {"ok"}),
    "gen__kids_same_page_x200000.pdf": (None, OF_THE_FILE | {"too_large"}),
    "gen__kids_self.pdf": (1, ONE_ERROR),
    "gen__launch.pdf": (1, {"ok"}),
    "gen__media_line.pdf": (1, {"ok", "blank", "page_error"}),
    "gen__owner_only_aes_256.pdf": (3, {"ok"}),
    "gen__page_bomb_1e9.pdf": (None, OF_THE_FILE | {"too_large"}),
    "gen__pages_10000.pdf": (10_000, {"ok"}),
    "gen__path_300k_stroke_wide.pdf": (1, SLOW),
    "gen__pdf_named.png": (1, {"ok"}),
    "gen__q_nest_1M.pdf": (1, ONE_ERROR),
    "gen__rgba_transparent_black_text.png": (1, {"ok"}),
    "gen__rotate_45.pdf": (1, {"ok"}),
    "gen__text_bomb_zTXt.png": (None, ODD),
    "gen__tiling_tiny_step.pdf": (1, SLOW),
    "gen__trunc_50.jpg": (1, ONE_ERROR),
    "gen__truncated_50.pdf": (3, {"repaired", "blank"}),
    "gen__user_pw_aes_256.pdf": (None, {"encrypted"}),
    "gen__userunit_0.pdf": (1, ONE_ERROR),
    "gen__zero_page.pdf": (None, {"no_pages"}),
    "pdf.js__encrypted-attachment.pdf": (None, {"encrypted"}),
    "pdf.js__issue9418.pdf": (None, {"no_pages"}),
    "pdf.js__poppler-67295-0.pdf": (None, OF_THE_FILE),
    "pdf.js__poppler-91414-0-53.pdf": (None, {"no_pages"}),
    "qpdf__440599107.fuzz": (100, {"ok", "blank", "repaired", "page_error"}),
    "qpdf__issue-1688a.pdf": (1, ONE_ERROR),
    "qpdf__pages-is-page.pdf": (None, {"no_pages"}),
}
"""Hostile file: how many pages it gives (None: one failure of the whole file, or of its page), and their outcomes."""


@pytest.fixture(scope="module")
def survived(nasty: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One run over all hostile files, from an empty folder; of one with many endless pages only the first."""
    done, jobs = Run(), []
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("elsewhere"))
    try:
        for path in sorted(nasty.iterdir()):
            status = path.stat()
            item = identify(
                FoundFile(os.fspath(path), status.st_size, status.st_mtime_ns, path.name in NASTY, None), Limits()
            )
            if isinstance(item, Document):
                jobs.append(Job(item, Selection.parse("1" if "2548" in path.name else "all")))
            elif isinstance(item, PageFailure):
                done.results[os.fspath(path)] = [item]
                done.finished[os.fspath(path)] += 1
        rendered = run(jobs, limited(page_seconds=3), workers=2)
        assert [name for name in os.listdir() if not name.startswith(".coverage")] == []  # measured runs leave data
    finally:
        os.chdir(before)
    rendered.results |= done.results
    rendered.finished += done.finished
    return rendered


@pytest.mark.corpus
class TestNasty:
    """Hostile and odd files leave the run alive."""

    def test_every_file_is_in_the_table(self, nasty: Path) -> None:
        """No hostile file is forgotten."""
        assert {path.name for path in nasty.iterdir()} - {"README.md"} == set(NASTY)

    def test_every_file_is_finished(self, nasty: Path, survived: Run) -> None:
        """Each hostile file ends, exactly once, and no worker is left."""
        assert survived.finished == {os.fspath(nasty / name): 1 for name in NASTY}
        assert no_workers_left()

    @pytest.mark.parametrize("name", NASTY)
    def test_each_page_has_one_outcome(self, nasty: Path, survived: Run, name: str) -> None:
        """The outcomes are those that are expected of the file, one for each page or one for the file."""
        pages, accepted = NASTY[name]
        outcomes = survived.outcomes(nasty / name)
        assert set(outcomes.values()) <= accepted
        assert set(outcomes.values()) <= {*STORED, *FAILURES}
        assert list(outcomes) == (list(range(pages)) if pages else [next(iter(outcomes))])
        if pages is None:
            assert next(iter(outcomes)) in (WHOLE_FILE, 0)

    def test_the_mix_of_outcomes_is_right(self, nasty: Path, survived: Run) -> None:
        """Files with both kinds of pages keep the good ones and lose the bad ones."""
        slow = survived.outcomes(nasty / "PyMuPDF__test_4435.pdf")
        assert (slow[0], slow[1]) == ("ok", "ok")
        cut = Counter(survived.outcomes(nasty / "gen__truncated_50.pdf").values())
        assert cut == {"repaired": 1, "blank": 2}
        fuzz = Counter(survived.outcomes(nasty / "qpdf__440599107.fuzz").values())
        assert fuzz["page_error"] < 100

    def test_pictures_are_seen_as_people_see_them(self, nasty: Path, survived: Run) -> None:
        """A turned photo is wide, transparent black text is readable, and a float TIFF is neither black nor white."""
        (turned,) = survived.results[os.fspath(nasty / "gen__exif_orient_6.jpg")]
        assert turned.info.width > turned.info.height
        assert turned.pixels.shape[1] > turned.pixels.shape[0]
        for name in ("gen__rgba_transparent_black_text.png", "gen__float32.tif"):
            (item,) = survived.results[os.fspath(nasty / name)]
            assert item.pixels.std() > 1
            assert item.pixels.mean() > 100

    def test_nothing_was_started(self, survived: Run) -> None:
        """The launch action of the hostile PDF has touched nothing."""
        assert not os.path.exists("/tmp/badpdf/PWNED")


def test_hostile_and_readme_files_are_told_apart(nasty: Path) -> None:
    """The list of hostile files lies beside them and is ignored by the walk."""
    path = nasty / "README.md"
    found = FoundFile(os.fspath(path), path.stat().st_size, path.stat().st_mtime_ns, False, None)
    assert identify(found, Limits()) == IgnoredFile(os.fspath(path))


def test_workers_make_the_variants_that_are_wanted(tmp_path: Path) -> None:
    """Instead of each page, its variants come, each once, in the network's shape; a page that fails is one failure."""
    file = write_pages(tmp_path / "long.pdf", PAGES_PER_TASK + 4, endless=[3])
    wanted = Variants((2, 5), OPTIONS.recipe)
    options = replace(OPTIONS, recipe=larger(OPTIONS.recipe), variants=wanted)
    done = run([Job(document_of(file), Selection(), frozenset({0}))], limited(options, page_seconds=2), 2)
    items = done.results[os.fspath(file)]
    pages = [item for item in items if isinstance(item, PageImage)]
    expected = {(index, number) for index in range(1, PAGES_PER_TASK + 4) if index != 3 for number in (2, 5)}
    assert sorted((page.info.ref.page_index, page.info.variant) for page in pages) == sorted(expected)
    assert [outcome_of(item) for item in items if isinstance(item, PageFailure)] == ["timeout"]
    assert {page.pixels.shape for page in pages} == {(64, 64, 3)}
    for page in pages:
        assert abs(int(np.median(page.pixels[5:25, 10:50])) - shade_of(page.info.ref.page_index)) < 80
    assert done.steps[os.fspath(file)] >= (PAGES_PER_TASK + 3) // (PAGES_PER_TASK // 2)  # no larger messages


STARTING = """
import os, sys
from embedpipe.pages.documents import Limits, ReadOptions
from embedpipe.core.records import Recipe
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.walking import FoundFile, identify

if __name__ == "__main__":
    status = os.stat(sys.argv[1])
    document = identify(FoundFile(sys.argv[1], status.st_size, status.st_mtime_ns, True, None), Limits())
    print("starting", flush=True)
    try:
        with Renderer(ReadOptions(Recipe(size=64)), 2) as renderer:
            for _ in renderer.render(Job(document, Selection()) for _ in range(100_000)):
                pass
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="needs signals that can be blocked")
@pytest.mark.parametrize("seconds", [0.1, 0.3, 0.6])
def test_workers_that_are_starting_say_nothing_of_ctrl_c(tmp_path: Path, seconds: float) -> None:
    """Ctrl-C of the terminal, which reaches workers too, prints no traceback while Python starts in them."""
    (tmp_path / "starting.py").write_text(STARTING)
    command = [sys.executable, str(tmp_path / "starting.py"), str(write_pages(tmp_path / "a.pdf", 3))]
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs inherit its being ignored
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        signal.signal(signal.SIGINT, before)
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        time.sleep(seconds)
        os.killpg(process.pid, signal.SIGINT)
        printed, errors = process.communicate(timeout=60)
    assert (printed, errors) == ("interrupted\n", "")
