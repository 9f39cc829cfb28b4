"""Text recognition: which pages, through the real workers with a recogniser that is made up, and with the real one."""

import logging
import os
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pymupdf
import pytest
from PIL import Image
from typer.testing import CliRunner

from embedpipe.backbones.building import load_backbone
from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.commands.base import app, run
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.records import NO_WORDS, OCR_WORDS, TEXT_WORDS, FeatureBatch, Recipe
from embedpipe.embedding import recognition
from embedpipe.embedding.intake import Report
from embedpipe.embedding.reading import Reading
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.contract import plan
from embedpipe.pages.documents import Limits
from embedpipe.pages.extras import ocr
from embedpipe.pages.extras.ocr import ALWAYS, AUTO, NEVER, Ocr, RapidOcr, Recogniser
from embedpipe.pages.extras.words import as_rows, hashed
from embedpipe.pages.rendering import Selection
from embedpipe.store.page_extras import WORDS, page_table, word_counts, words_of
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.forget import forget
from embedpipe.tasks.info import describe, take

MADE_UP = '''
"""A recogniser that tells the colour of the bar on the page, and does to the worker what the colour says."""

import os, signal, time
from dataclasses import dataclass


@dataclass(frozen=True)
class Colours:
    calls: str
    address_space: int = 0

    def check(self):
        pass

    def load(self):
        def read(pixels):
            red, green, blue = (int(value) > 128 for value in pixels[pixels.shape[0] // 8, pixels.shape[1] // 2])
            colours = {(1, 0, 0): "red", (0, 1, 0): "green", (0, 0, 1): "blue", (0, 0, 0): "black", (1, 1, 0): "yellow",
                       (1, 0, 1): "magenta", (0, 1, 1): "cyan"}
            colour = colours.get((red, green, blue), "white")
            with open(self.calls, "a") as file:
                file.write(f"{colour} {max(pixels.shape)}\\n")
            if colour == "red":
                os.abort()
            if colour == "blue":
                time.sleep(100)
            while colour == "cyan":
                pass
            if colour == "magenta":
                bytearray(2**40)
            if colour == "green":
                raise ValueError("too green")
            if colour == "yellow":
                return "nothing"
            return f"the bar of this page is {colour}"

        return read
'''
COLOURS = {
    "red": (1, 0, 0),
    "green": (0, 1, 0),
    "blue": (0, 0, 1),
    "black": (0, 0, 0),
    "yellow": (1, 1, 0),
    "magenta": (1, 0, 1),
    "cyan": (0, 1, 1),
}
TEXT = "Dear Sir or Madam, we thank you for your order"
BLACK = "the bar of this page is black"


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recogniser:
    """The made-up recogniser; workers find it as they find every module."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "made_up_recogniser.py").write_text(MADE_UP)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, "made_up_recogniser", raising=False)
    import made_up_recogniser  # noqa: PLC0415 - it is written just now

    made: Recogniser = made_up_recogniser.Colours(str(tmp_path / "calls"))
    return made


@pytest.fixture
def auto(colours: Recogniser) -> Settings:
    """Settings with which first and last pages without text are recognised."""
    return Settings(ocr=Ocr(AUTO, colours), workers=1)


def calls(tmp_path: Path) -> Counter[str]:
    """How often a page of each colour was looked at."""
    file = tmp_path / "calls"
    return Counter(line.split()[0] for line in file.read_text().splitlines()) if file.exists() else Counter()


def write(tmp_path: Path, name: str, *pages: str) -> Path:
    """A PDF of pages with a bar of a colour; other texts are written, and "" is a blank page."""
    file = tmp_path / "in" / name
    file.parent.mkdir(exist_ok=True)
    with pymupdf.open() as document:
        for text in pages:
            page = document.new_page(width=420, height=595)
            if text in COLOURS:
                page.draw_rect((0, 0, 420, 200), color=None, fill=COLOURS[text])
            elif text:
                page.insert_textbox((20, 20, 400, 500), text, fontsize=30)
        document.save(file)
    return file


def kept(workspace: Workspace) -> dict[int, tuple[str, str]]:
    """Origin and message of the words of each page of the one document."""
    table = page_table(workspace.root, WORDS)
    ((sha256, indices),) = table.kept().items()
    rows = table.read([(sha256, index) for index in sorted(indices)], ["origin", "message"])
    return dict(enumerate(zip(rows["origin"].to_pylist(), rows["message"].to_pylist(), strict=True)))


def test_auto_looks_at_first_and_last_pages_without_text(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings
) -> None:
    """Neither at the middle of a document, nor at text, nor at blank pages; and never twice."""
    write(tmp_path, "three.pdf", "black", "black", "black")
    write(tmp_path, "text.pdf", TEXT, "black")
    write(tmp_path, "blank.pdf", "", "black", "")
    report = embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    assert calls(tmp_path) == {"black": 3}
    assert (report.recognised.pages, report.recognised.with_words, report.recognised.failures) == (3, 3, [])
    assert word_counts(workspace.root) == {OCR_WORDS: 3, TEXT_WORDS: 1, NO_WORDS: 4}
    assert "words of pages: 1 from their text, 3 recognised, 4 without any" in describe(take(workspace), failures=False)
    again = embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    assert (again.recognised.pages, calls(tmp_path)) == (0, {"black": 3})


def test_what_is_kept_are_the_words_of_the_text_that_was_read(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings
) -> None:
    """Hashed as those of a document's own text; the picture that is read is far sharper than the network's."""
    write(tmp_path, "one.pdf", "black")
    embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    (sha256,) = page_table(workspace.root, WORDS).kept()
    assert (words_of(workspace.root, [(sha256, 0)]) != as_rows([hashed(BLACK)])).nnz == 0
    assert (tmp_path / "calls").read_text() == "black 1281\n"  # 420 x 595 is a little longer than a sheet


def test_always_looks_at_each_page_that_is_wanted(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings, colours: Recogniser
) -> None:
    """Also at text, whose words those that are read replace; of the pages that `--pages` names."""
    write(tmp_path, "a.pdf", TEXT, "black", "", "black")
    always = replace(auto, ocr=Ocr(ALWAYS, colours), selection=Selection.parse("1-3"))
    embed(workspace, [str(tmp_path / "in")], tiny, settings=always)
    assert kept(workspace) == {0: (OCR_WORDS, ""), 1: (OCR_WORDS, ""), 2: (NO_WORDS, "")}


def test_a_page_that_ends_its_worker_stays_without_words_with_the_reason(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings, colours: Recogniser
) -> None:
    """A crash, an error and too much memory: each costs that page alone, which is tried again only when asked."""
    write(tmp_path, "a.pdf", "black", "red", "green", "yellow", "magenta")
    always = replace(auto, ocr=Ocr(ALWAYS, colours))
    report = embed(workspace, [str(tmp_path / "in")], tiny, settings=always)
    assert report.failed == 0
    found = {f.page.page_number: f.kind for f in report.recognised.failures}
    assert found == {2: "crash", 3: "page_error", 5: "memory"}
    rows = kept(workspace)
    assert {origin for origin, _ in rows.values()} == {OCR_WORDS}
    assert [bool(message) for _, message in rows.values()] == [False, True, True, False, True]
    assert rows[2][1] == "page_error: its text cannot be recognised: ValueError: too green"
    assert word_counts(workspace.root) == {OCR_WORDS: 1, NO_WORDS: 4}
    assert embed(workspace, [str(tmp_path / "in")], tiny, settings=always).recognised.pages == 0
    assert embed(workspace, [str(tmp_path / "in")], tiny, settings=always, retry_failed=True).recognised.pages == 3
    assert calls(tmp_path) == {"black": 1, "yellow": 1, "red": 2, "green": 2, "magenta": 2}


def test_a_page_without_end_is_given_up(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings, colours: Recogniser
) -> None:
    """One that computes, after the time that rendering may take; one that waits, after ten times as long."""
    write(tmp_path, "a.pdf", "blue", "yellow", "cyan")
    always = replace(auto, ocr=Ocr(ALWAYS, colours), limits=Limits(page_seconds=0.6))
    report = embed(workspace, [str(tmp_path / "in")], tiny, settings=always)
    assert {(f.page.page_number, f.kind) for f in report.recognised.failures} == {(1, "timeout"), (3, "timeout")}
    told = {f.page.page_number: f.message for f in report.recognised.failures}
    waited = "not finished after 6 s (--page-timeout)"
    assert told[1] == waited
    assert told[3] in {"took 0.6 s of processor time (--page-timeout)", waited}  # the other on a very busy machine
    assert report.recognised.pages == 3


def test_ctrl_c_keeps_what_was_read(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same command goes on with the pages that are missing; each step is on disk when its time has come."""
    monkeypatch.setattr(recognition, "_WRITE_SECONDS", 0.0)
    monkeypatch.setattr(recognition, "_WRITE_SHARE", 0.0)
    for number in range(3):
        write(tmp_path, f"{number}.pdf", "black", *[""] * number)
    seen: list[tuple[int, int, int]] = []

    def interrupt(progress: Any) -> None:
        if progress.stage != "embedding":
            seen.append((progress.pages, progress.bytes_total, word_counts(workspace.root)[OCR_WORDS]))
            if len(seen) == 2:
                raise KeyboardInterrupt

    report = embed(workspace, [str(tmp_path / "in")], tiny, settings=auto, progress=interrupt)
    assert (report.interrupted, report.embedded, report.recognised.pages) == (True, 6, 2)
    assert seen == [(1, 3, 1), (2, 3, 2)]
    again = embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    assert (again.interrupted, again.recognised.pages) == (False, 1)
    assert word_counts(workspace.root)[OCR_WORDS] == 3


SLOW_RUN = """
import sys, time
from conftest import TINY
from made_up_recogniser import Colours
from embedpipe.backbones.building import load_backbone
from embedpipe.backbones.engines import EngineChoice
from embedpipe.core.records import Recipe
from embedpipe.embedding import recognition
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.extras.ocr import AUTO, Ocr
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed

recognition._WRITE_SECONDS = recognition._WRITE_SHARE = 0.0
recipe = Recipe(size=64, resize="aspect", layers="penultimate")
tiny = load_backbone(TINY, weights="none", recipe=recipe, choice=EngineChoice("cpu", "fp32", "torch"))

def tell(progress):
    if progress.stage != "embedding":
        print(progress.pages, flush=True)
        time.sleep(0.2)

settings = Settings(ocr=Ocr(AUTO, Colours(sys.argv[3])), workers=2)
embed(Workspace(sys.argv[1]), [sys.argv[2]], tiny, settings=settings, progress=tell)
"""


def test_a_kill_loses_only_what_was_not_written(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings
) -> None:
    """After `kill -9` of the whole program the same call goes on, and no page is read a third time."""
    for number in range(6):
        write(tmp_path, f"{number}.pdf", "black", *[""] * number)
    places = [str(workspace.root), str(tmp_path / "in"), str(tmp_path / "calls")]
    paths = os.pathsep.join([str(tmp_path / "modules"), str(Path(__file__).parents[1]), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_RUN, *places], env=os.environ | {"PYTHONPATH": paths}, stdout=subprocess.PIPE
    ) as program:
        assert program.stdout is not None
        while program.stdout.readline() != b"2\n":
            pass
        program.kill()
    kept_before = word_counts(workspace.root)[OCR_WORDS]
    assert kept_before >= 2
    report = embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    assert (report.embedded, report.recognised.pages) == (0, 6 - kept_before)
    assert word_counts(workspace.root) == {OCR_WORDS: 6, NO_WORDS: 15}


def test_another_network_keeps_the_words_that_were_recognised(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings
) -> None:
    """They are shared by all spaces: a second embedding of the same pages neither loses nor reads them again."""
    write(tmp_path, "a.pdf", "black")
    embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    recipe = Recipe(size=48, layers="penultimate")
    other = load_backbone(
        tiny.identity.backbone, weights="none", recipe=recipe, choice=EngineChoice("cpu", "fp32", "torch")
    )
    assert embed(workspace, [str(tmp_path / "in")], other, settings=auto).embedded == 1
    assert kept(workspace) == {0: (OCR_WORDS, "")}
    assert calls(tmp_path) == {"black": 1}


def test_damage_and_forgetting(workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings) -> None:
    """A damaged table is filled again; of a forgotten document nothing stays."""
    file = write(tmp_path, "a.pdf", "black")
    embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    for part in (workspace.root / "pages").glob("words-*.parquet"):
        part.write_bytes(part.read_bytes()[:-40])
    assert embed(workspace, [str(tmp_path / "in")], tiny, settings=auto).recognised.with_words == 1
    assert kept(workspace) == {0: (OCR_WORDS, "")}
    forget(workspace, [str(file)])
    assert word_counts(workspace.root) == {}


def test_no_words_wins(workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings) -> None:
    """Where no words are kept, none are read."""
    write(tmp_path, "a.pdf", "black")
    report = embed(workspace, [str(tmp_path / "in")], tiny, settings=auto, keep=("thumbnails",))
    assert (report.recognised.pages, calls(tmp_path)) == (0, {})


def read(workspace: Workspace, tiny: Backbone, tmp_path: Path, settings: Settings) -> tuple[dict[int, bool], Report]:
    """Which pages of the one document have words, as a classifier is told."""
    reading = Reading(workspace, tiny.identity, settings, words=True)
    batches = [item for item in reading.read([str(tmp_path / "in")], lambda: tiny) if isinstance(item, FeatureBatch)]
    assert all(len(batch.pages) == len(batch.X) == batch.words.shape[0] for batch in batches)
    found = {info.ref.page_index: batch.words[[i]].nnz > 0 for batch in batches for i, info in enumerate(batch.pages)}
    return found, reading.report


def test_new_documents_are_recognised_as_stored_ones_are(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing of it is kept; what the store holds is not read again; and pages that were not read are told of."""
    write(tmp_path, "a.pdf", "black", TEXT, "green", "black", "yellow")
    never = replace(auto, ocr=Ocr(NEVER))
    found, report = read(workspace, tiny, tmp_path, never)
    assert found == {0: False, 1: True, 2: False, 3: False, 4: False}
    assert (report.recognised.unread, report.documents, caplog.messages) == (2, 1, [])
    found, report = read(workspace, tiny, tmp_path, auto)
    assert found == {0: True, 1: True, 2: False, 3: False, 4: False}
    assert (report.recognised.pages, report.recognised.with_words, report.recognised.unread) == (2, 1, 0)
    assert not (workspace.root / "pages").exists()
    embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    assert read(workspace, tiny, tmp_path, auto)[0] == found
    assert calls(tmp_path) == {"black": 2, "yellow": 2}
    write(tmp_path, "b.pdf", "black")
    with caplog.at_level(logging.WARNING, "embedpipe"):
        report = read(workspace, tiny, tmp_path, never)[1]
    assert report.recognised.unread == 1
    warned = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [message.partition(";")[0] for message in warned] == [
        "pages without text, and without words, for nothing was recognised: 1"
    ]


def test_a_recogniser_that_cannot_be_loaded_ends_the_run_with_its_name(
    workspace: Workspace, tiny: Backbone, tmp_path: Path, auto: Settings
) -> None:
    """What was embedded before is kept."""
    write(tmp_path, "a.pdf", "black")
    module = tmp_path / "modules" / "made_up_recogniser.py"
    module.write_text(
        MADE_UP.replace("        def read(pixels):", "        raise OSError\n\n        def read(pixels):")
    )
    with pytest.raises(EmbedpipeError, match="from made_up_recogniser import Colours"):
        embed(workspace, [str(tmp_path / "in")], tiny, settings=auto)
    assert len(workspace.store().pages()) == 1


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [(595, 842, (912, 1280)), (842, 595, (1280, 912)), (500, 500, (1076, 1072)), (100, 1000, (336, 3404))],
)
def test_every_shape_has_as_many_pixels(width: float, height: float, expected: tuple[int, int]) -> None:
    """A till roll is read at the same sharpness as a sheet, and a line is not drawn without end."""
    assert plan(width, height, recognition.RECIPE)[1] == expected
    assert max(plan(1, 10_000, recognition.RECIPE)[1]) == 6000
    assert plan(width, height, Recipe(320, "aspect"))[1] in {(320, s) for s in (320, 224, 32)} | {
        (s, 320) for s in (224, 32)
    }


class TestWithoutThePackage:
    """One line says what to do; nothing is downloaded."""

    def test_the_extra_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_pdf: Callable[..., Path]
    ) -> None:
        """Before anything is read."""
        monkeypatch.setattr(
            ocr.importlib.util, "find_spec", lambda name: None if name == "rapidocr" else find_spec(name)
        )
        done = CliRunner().invoke(
            app, ["embed", str(make_pdf("a.pdf", ["a"])), "--ocr", "auto", "--artifacts", str(tmp_path / "x")]
        )
        assert isinstance(done.exception, EmbedpipeError)
        assert "pip install 'embedpipe[ocr]'" in str(done.exception)
        assert not (tmp_path / "x").exists()

    def test_networks_that_are_missing_are_not_downloaded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor is a runtime that is not there taken for another."""
        spec = ModuleSpec("rapidocr", None, origin=str(tmp_path / "rapidocr" / "__init__.py"))
        monkeypatch.setattr(ocr.importlib.util, "find_spec", lambda name: spec if name == "rapidocr" else None)
        with pytest.raises(EmbedpipeError, match="pip install openvino"):
            RapidOcr().check()
        with pytest.raises(EmbedpipeError, match="pip install onnxruntime"):
            RapidOcr("onnxruntime").check()
        monkeypatch.setattr(ocr.importlib.util, "find_spec", lambda name: spec)
        with pytest.raises(EmbedpipeError, match="is missing, and nothing is downloaded"):
            RapidOcr().check()

    def test_an_unknown_mode_is_a_wrong_command_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        """With the modes there are."""
        assert run(["embed", "x", "--ocr", "maybe"]) == 2
        assert capsys.readouterr().err == "error: --ocr maybe: write never, auto or always\n"


ENGLISH, CHINESE = "Invoice for the delivery of forty chairs", "增值税专用发票购买方名称地址电话"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page in English and Chinese, as a picture of 150 dots an inch."""
    file = tmp_path_factory.mktemp("scan") / "scan.png"
    with pymupdf.open() as document:
        page = document.new_page()
        page.insert_text((60, 120), ENGLISH, fontsize=22)
        page.insert_text((60, 200), CHINESE, fontsize=22, fontname="china-s")
        page.get_pixmap(dpi=150).save(file)
    return file


@pytest.mark.skipif(not find_spec("rapidocr"), reason="needs the extra `ocr`: pip install 'embedpipe[ocr]'")
class TestRapidOcr:
    """The real recogniser."""

    def test_chinese_and_english_are_read_in_a_worker(self, workspace: Workspace, tiny: Backbone, scan: Path) -> None:
        """Within the limits of a page that hold by default."""
        report = embed(workspace, [str(scan)], tiny, settings=Settings(ocr=Ocr(AUTO)))
        assert (report.recognised.with_words, report.recognised.failures) == (1, [])
        (sha256,) = page_table(workspace.root, WORDS).kept()
        expected = as_rows([hashed(f"{ENGLISH}\n{CHINESE}")])
        assert words_of(workspace.root, [(sha256, 0)]).minimum(expected).sum() > 0.9 * expected.sum()

    def test_nothing_is_asked_of_the_network_and_turned_pages_are_read(
        self, scan: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Each line finds its own direction: upside down, and lying on either side."""

        def offline(*_: Any, **__: Any) -> None:
            raise AssertionError("a connection was made")

        monkeypatch.setattr(socket, "create_connection", offline)
        monkeypatch.setattr(socket.socket, "connect", offline)
        assert RapidOcr().version().startswith("rapidocr 3.")
        read = RapidOcr().load()
        with Image.open(scan) as picture:
            pixels = np.asarray(picture.convert("RGB"))
        for quarters in range(4):
            text = read(np.rot90(pixels, quarters))
            assert CHINESE in text
            assert ENGLISH.replace(" ", "") in text.replace(" ", "")
