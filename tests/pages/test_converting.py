"""Documents that a program makes PDFs of: whatever it does is an outcome, and it does it once."""

import errno
import importlib.util
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import office_files
import psutil
import pytest
from book_files import zipped

from embedpipe.core.cache_folder import CACHE_VARIABLE
from embedpipe.core.errors import DocumentError, UsageError
from embedpipe.core.records import Document, PageImage
from embedpipe.pages.containers.kinds import other_kind, zip_kind
from embedpipe.pages.contract import Limits, ReadOptions, Selection
from embedpipe.pages.converting import kept, table
from embedpipe.pages.converting.conversions import Conversions, convert
from embedpipe.pages.converting.fonts import named_fonts
from embedpipe.pages.converting.running import Caps, run
from embedpipe.pages.documents import open_document
from embedpipe.pages.rendering import Job, Renderer
from embedpipe.pages.unfolding import identify_at, look_up, unfold

LIMITS = Limits(convert_seconds=20)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a program that stands for LibreOffice, and an empty cache."""
    monkeypatch.setenv(table.VARIABLE, str(office_files.fake_office(tmp_path / "office")))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "office"


def put(folder: Path, content: bytes, name: str = "a.docx") -> Document:
    """A document as it is found."""
    (folder / name).write_bytes(content)
    found = identify_at(look_up(str(folder / name)), LIMITS)
    assert isinstance(found, Document), found
    return found


def test_a_document_is_converted_once(office: Path, tmp_path: Path) -> None:
    """Its PDF is kept under the content, so neither a copy nor a second opening runs the program again."""
    document = put(tmp_path, office_files.docx())
    assert document.reader == "office"
    made = convert(document, LIMITS)
    assert made.made_by == "Fake Office 7.1"
    assert Path(made.path).parent == tmp_path / "cache" / "documents"
    assert Path(made.path).stat().st_mode & 0o077 == 0
    assert convert(put(tmp_path, office_files.docx(), "copy.bin"), LIMITS) == made
    opened = open_document(document.path, document.reader, ReadOptions())
    drawn = opened.render(0)
    opened.close()
    assert (opened.page_count, drawn.width, drawn.message) == (1, 200, "converted by Fake Office 7.1")
    assert office_files.calls(office) == 1
    kept.forget(document.sha256)
    assert not Path(made.path).exists()


@pytest.mark.parametrize(
    ("text", "outcome", "told"),
    [
        ("CRASHES", "crash", "Fake Office crashed"),
        ("FAILS", "not_a_document", "makes no PDF of it: Error: source file could not be loaded"),
        ("LIES", "not_a_document", "makes no PDF"),
        ("LINKS", "not_a_document", "makes no PDF"),
        ("EATS", "memory", "--page-memory"),
        ("HANGS", "timeout", "--convert-timeout"),
    ],
)
def test_what_goes_wrong_is_an_outcome(office: Path, tmp_path: Path, text: str, outcome: str, told: str) -> None:
    """Nothing of it is kept, and no process or file outlives it."""
    limits = Limits(convert_seconds=1 if text == "HANGS" else 20, page_bytes=128 * 1024**2)
    with pytest.raises(DocumentError, match=told) as refused:
        convert(put(tmp_path, office_files.docx(text)), limits)
    assert refused.value.kind == outcome
    assert not list((tmp_path / "cache").glob("documents/*"))
    if text == "HANGS":
        child = int((office / "child").read_text())
        assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_a_stop_ends_the_program(office: Path, tmp_path: Path) -> None:
    """Also one that would run for a minute."""
    begin = time.monotonic()
    conversions = Conversions(LIMITS)
    future = conversions.submit(put(tmp_path, office_files.docx("HANGS")))
    while not (office / "child").exists():
        assert time.monotonic() < begin + 30
        time.sleep(0.05)
    conversions.stop()
    assert isinstance(future.exception(), DocumentError)
    assert time.monotonic() < begin + 40


def test_several_at_a_time(office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that takes several is given those that wait; one that brings it down costs the others nothing."""
    (office / "many").write_text(office_files.SEVERAL)
    (office / "many").chmod(0o755)
    command = f'command = ["{office}/many", "{{outdir}}", "{{input}}"]'
    (tmp_path / "r.toml").write_text(f"[office]\n{command}\nseveral = 8\n")
    monkeypatch.setenv(table.VARIABLE, str(tmp_path / "r.toml"))
    texts = ["1", "2", "FAILS", "3", "CRASHES", "4"]
    documents = [put(tmp_path, office_files.docx(text), f"{n}.docx") for n, text in enumerate(texts)]
    documents.append(put(tmp_path, office_files.doc("EncryptedPackage"), "locked.docx"))
    with Conversions(LIMITS) as conversions:
        conversions._pool = ThreadPoolExecutor(1)
        hold = threading.Event()
        conversions._pool.submit(hold.wait)
        futures = [conversions.submit(one) for one in documents]
        hold.set()
        errors = [getattr(future.exception(60), "kind", "") for future in futures]
    assert errors == ["", "", "not_a_document", "", "crash", "", "encrypted"]
    assert (office / "calls").read_text().split() == ["6", "1", "1", "1"]


def test_what_nobody_thought_of_leaves_no_document_waiting(
    office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong with several documents, each has an outcome."""

    def made(*_: object) -> None:
        raise IndexError

    monkeypatch.setattr(Conversions, "_made", made)
    with Conversions(LIMITS) as conversions:
        found = conversions._convert([put(tmp_path, office_files.docx(text), f"{text}.docx") for text in "12"])
    assert [type(one) for one in found] == [IndexError, IndexError]


def test_a_copy_that_was_cut_short_is_removed(office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cache is on another disk, and that becomes full."""

    def moved(source: Path, target: Path) -> None:
        if target.parent == kept.folder():
            target.write_bytes(b"%PDF")
            raise OSError(errno.ENOSPC, "no space")
        source.rename(target)

    monkeypatch.setattr(kept.shutil, "move", moved)
    (tmp_path / "made").write_bytes(b"%PDF-1.7")
    file = kept.keep(tmp_path / "made", kept.place("1", "a", ["b"]), tmp_path / "otherwise")
    assert (file.parent, file.read_bytes()) == (tmp_path / "otherwise", b"%PDF-1.7")
    assert list(kept.folder().iterdir()) == []


def test_without_the_program_it_is_told_what_to_do(office: Path, tmp_path: Path) -> None:
    """As long as it is missing, and no longer; and nothing is converted where that was asked for."""
    document = put(tmp_path, office_files.docx())
    (office / "fake").rename(office / "later")
    with pytest.raises(DocumentError, match="need Fake Office, which is not here") as refused:
        convert(document, LIMITS)
    assert refused.value.kind == "needs_converter"
    (office / "later").rename(office / "fake")
    assert convert(document, LIMITS).made_by


def test_pages_are_drawn_while_programs_run(office: Path, tmp_path: Path) -> None:
    """A program that takes long keeps no PDF from being drawn, and each document comes out once."""
    waiting = put(tmp_path, office_files.docx("WAITS"))
    good = put(tmp_path, office_files.docx("FAILS"), "bad.docx")
    plain = put(tmp_path, (office / "one.pdf").read_bytes(), "b.pdf")
    order = []
    with Renderer(ReadOptions(limits=Limits(convert_seconds=90)), workers=1) as renderer:
        for step in renderer.render(Job(one, Selection()) for one in (waiting, good, plain)):
            order += [(Path(step.document.path).name, isinstance(page, PageImage)) for page in step.results]
            (office / "go").touch()
        assert dict(renderer.stats.converted) == {"Fake Office 7.1": 1}
    assert order[0] == ("b.pdf", True)
    assert sorted(order) == [("a.docx", True), ("b.pdf", True), ("bad.docx", False)]


@pytest.mark.parametrize(
    ("content", "reader"),
    [
        (office_files.docx(), "office"),
        (office_files.doc(), "office"),
        (office_files.doc("Workbook"), "office"),
        (office_files.doc("HwpSummaryInformation"), "hwp"),
        (b"{\\rtf1 x}", "office"),
        (office_files.ofd(), "ofd"),
    ],
)
def test_they_are_known_by_content(office: Path, tmp_path: Path, content: bytes, reader: str) -> None:
    """Whatever they are called, and also as members of an archive."""
    alone = put(tmp_path, content, "x")
    assert alone.reader == reader
    (tmp_path / "m.zip").write_bytes(zipped([("x.tmp2", content)]))
    (member,) = unfold(look_up(str(tmp_path / "m.zip")), LIMITS)
    assert isinstance(member, Document)
    assert (member.reader, member.sha256) == (reader, alone.sha256)
    assert identify_at(look_up(member.path), LIMITS) == member


def test_members_are_converted(office: Path, tmp_path: Path) -> None:
    """From the archive, and only if they are still what was found."""
    (tmp_path / "m.zip").write_bytes(zipped([("deep/a.docx", office_files.docx("inside"))]))
    (member,) = unfold(look_up(str(tmp_path / "m.zip")), LIMITS)
    assert isinstance(member, Document)
    assert convert(member, LIMITS).made_by
    (tmp_path / "b.docx").write_bytes(office_files.docx("one"))
    found = identify_at(look_up(str(tmp_path / "b.docx")), LIMITS)
    (tmp_path / "b.docx").write_bytes(office_files.docx("two"))
    with pytest.raises(DocumentError, match="changed while it was read"):
        convert(found, LIMITS)


def test_locked_documents_are_told(office: Path, tmp_path: Path) -> None:
    """Office with a password is an OLE file; OpenDocument says it in its list of files."""
    manifest = {"content.xml": b"\1", "META-INF/manifest.xml": "<m><manifest:encryption-data/></m>"}
    for content in (office_files.doc("EncryptedPackage"), office_files.zipped(manifest)):
        with pytest.raises(DocumentError, match="password") as refused:
            convert(put(tmp_path, content), LIMITS)
        assert refused.value.kind == "encrypted"
    assert not office_files.calls(office)


def test_a_damaged_document_is_a_failure(office: Path, tmp_path: Path) -> None:
    """In an archive of documents and loose; but a text that is called .doc is not one."""
    whole = office_files.docx()
    (tmp_path / "cut.docx").write_bytes(whole[: len(whole) // 2])
    (item,) = unfold(look_up(str(tmp_path / "cut.docx")), LIMITS)
    assert item.kind in ("unreadable", "not_a_document")
    (tmp_path / "m.zip").write_bytes(zipped([("cut.docx", whole[: len(whole) // 2]), ("readme.doc", b"plain text")]))
    cut, text = unfold(look_up(str(tmp_path / "m.zip")), LIMITS)
    assert cut.kind in ("unreadable", "not_a_document")
    assert text.kind == "unread"


@pytest.mark.parametrize(
    ("recognised", "content"),
    [
        ('starts = ["hex:00 ff 10", "ZZ"]', b"\0\xff\x10 x"),
        ('holds = ["a.xml", "b.xml"]', office_files.zipped({"a.xml": "", "b.xml": ""})),
        ('kinds = ["PostScript document"]', b"%!PS-Adobe-3.0"),
    ],
)
def test_a_kind_of_ones_own(
    office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recognised: str, content: bytes
) -> None:
    """A `readers.toml` names a kind, how it is known, and its program; the built-in ones stay."""
    command = f'command = ["{office}/fake", "{{input}}", "{{output}}"]'
    (tmp_path / "r.toml").write_text(f"[mine]\n{recognised}\n{command}\nmegabytes = 64\nseconds = 9.5\n")
    monkeypatch.setenv(table.VARIABLE, str(tmp_path / "r.toml"))
    document = put(tmp_path, content, "x.bin")
    assert document.reader == "mine"
    assert convert(document, LIMITS).made_by == "fake"
    assert set(table.active()) == {"mine", *table.CONVERTERS}
    assert (table.active()["mine"].seconds, table.active()["mine"].memory_bytes) == (9.5, 64 * 1024**2)
    monkeypatch.setenv(table.VARIABLE, table.NONE)
    assert table.converter_of("a Word document") is None
    assert (other_kind(b"ZZ"), zip_kind(["a.xml", "b.xml"])) == ("", "")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[office", "no TOML"),
        ("office = 1", "office is no table"),
        ("[mine]\nname = 'x'", r"\[mine\] needs a command"),
        ("[office]\ncommand = ['x']", r"\{input\} is missing"),
        ("[office]\ncommand = 'x'", "write a list of texts"),
        ("[office]\nseconds = -1", "write a number above 0"),
        ("[office]\nmegabytes = inf", "write a number above 0"),
        ("[office]\nseconds = nan", "write a number above 0"),
        ("[office]\nenabled = 1", "write true or false"),
        ("[office]\nprogramme = 'x'", "programme: there is no such value: known: program"),
        ("[mine]\nstarts = ['hex:0']\ncommand = ['x', '{input}']", "pairs of hexadecimal digits"),
    ],
)
def test_a_mistake_in_a_table_is_told(tmp_path: Path, text: str, told: str) -> None:
    """In one line, with the place and what to write."""
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(UsageError, match=told) as refused:
        table.use(str(tmp_path / "r.toml"))
    assert "\n" not in str(refused.value)


def test_a_converter_can_be_switched_off_or_lie_elsewhere(office: Path, tmp_path: Path) -> None:
    """Only what a table says is other than built in."""
    (tmp_path / "r.toml").write_text("[ofd]\nenabled = false\n[office]\nprogram = '/opt/office/soffice'\n")
    told = table._named(str(tmp_path / "r.toml")).converters
    assert set(told) == {"office", "hwp"}
    assert told["office"].program == ("/opt/office/soffice",)
    assert told["office"].command == table.CONVERTERS["office"].command
    assert table.active()["office"].found() == str(office / "fake")
    with pytest.raises(UsageError, match="No such file"):
        table.use(str(tmp_path / "none.toml"))


def test_the_cache_stays_within_its_size(office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was not used for longest goes, but nothing that was asked for a moment ago."""
    monkeypatch.setattr(kept, "MOST_BYTES", 2500)
    now = time.time()
    for number in range(4):
        (tmp_path / "made").write_bytes(b"x" * 1000)
        file = kept.keep(tmp_path / "made", kept.place(f"{number}", "a", ["b"]), tmp_path)
        os.utime(file, (now - 5000 + number, now - 5000 + number))
    assert kept.find(kept.place("2", "a", ["b"]))
    (tmp_path / "made").write_bytes(b"x" * 1000)
    kept.keep(tmp_path / "made", kept.place("4", "a", ["b"]), tmp_path)
    assert {file.name[0] for file in kept.folder().iterdir()} == {"2", "4"}


def test_a_cache_that_cannot_be_written_costs_only_time(office: Path, tmp_path: Path) -> None:
    """The PDF is there for the run, in the folder for temporary files."""
    (tmp_path / "cache").write_text("no folder")
    with Conversions(LIMITS) as conversions:
        made = conversions.convert(put(tmp_path, office_files.docx()))
        assert Path(made.path).read_bytes() == (office / "one.pdf").read_bytes()
    assert not Path(made.path).exists()


def test_it_has_no_network(tmp_path: Path) -> None:
    """Where the system lets everybody do without; elsewhere it is told of a proxy that answers nothing."""
    ended = run(
        ["sh", "-c", "cat /proc/net/dev; echo $https_proxy; pwd; echo $TMPDIR"],
        tmp_path,
        Caps(20, 2**30, 2**20),
        threading.Event(),
    )
    assert ended.code == 0
    assert "127.0.0.1:9" in ended.told
    assert ended.told.split("\n")[-2:] == [str(tmp_path), str(tmp_path)]


def test_fonts_that_a_document_names(tmp_path: Path) -> None:
    """Of Word and OFD; a file that cannot be read names none."""
    for content, fonts in (
        (office_files.docx(font="FangSong"), ["FangSong"]),
        (office_files.ofd(), ["宋体"]),
        (b"PK", []),
    ):
        (tmp_path / "a").write_bytes(content)
        assert named_fonts(str(tmp_path / "a")) == fonts


@pytest.mark.skipif(importlib.util.find_spec("easyofd") is None, reason="easyofd is not installed")
def test_easyofd_converts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An OFD document becomes a page of its size, with its text in a font that has it."""
    monkeypatch.setenv(table.VARIABLE, "")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    document = put(tmp_path, office_files.ofd(), "a.ofd")
    assert convert(document, LIMITS).made_by.startswith(("easyofd 2", "ofd-converter"))
    opened = open_document(document.path, document.reader, ReadOptions())
    drawn = opened.render(0)
    assert (drawn.width, drawn.height) == pytest.approx((210 / 25.4 * 72, 140 / 25.4 * 72), abs=1)
    assert "电子发票" in opened.pdf[0].get_text()
    opened.close()
