"""Office documents go through `embed` and the commands after it; LibreOffice itself where it is installed."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import office_files
import pyarrow.parquet as pq
import pytest
from book_files import zipped
from openpyxl import Workbook
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.commands import app
from embedpipe.core.cache_folder import CACHE_VARIABLE
from embedpipe.core.errors import UsageError
from embedpipe.embedding.page_pictures import page_pictures
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.contract import Limits
from embedpipe.pages.converting import libre_office, table
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import info
from embedpipe.tasks.embed import embed
from embedpipe.tasks.embed_explain import explain, in_words

SETTINGS = Settings(workers=1, limits=Limits(convert_seconds=120))
SOFFICE = table.CONVERTERS["office"].found()
WHOLE = SOFFICE is not None and not libre_office.lacking(SOFFICE)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a program that stands for LibreOffice, and an empty cache."""
    monkeypatch.setenv(table.VARIABLE, str(office_files.fake_office(tmp_path / "office")))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "office"


def test_they_are_embedded_like_others(
    office: Path, workspace: Workspace, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loose and as members, each outcome once; what made the PDFs is in the pages, the parts and the report."""
    pile = tmp_path / "pile"
    pile.mkdir()
    (pile / "a.docx").write_bytes(office_files.docx("one"))
    (pile / "b.docx").write_bytes(office_files.docx("FAILS"))
    (pile / "m.zip").write_bytes(zipped([("c.docx", office_files.docx("two")), ("d.docx", office_files.docx("one"))]))
    report = embed(workspace, [str(pile)], tiny, settings=SETTINGS)
    assert (report.documents, report.duplicates, report.failed_files, report.members) == (2, 1, 1, 2)
    assert report.outcomes == {"ok": 2, "not_a_document": 1}
    assert report.as_json()["converted"] == {"Fake Office 7.1": 2}
    store = workspace.store()
    assert set(store.pages()["message"]) == {"converted by Fake Office 7.1"}
    (part,) = store.path.glob("part-*.parquet")
    assert pq.read_schema(part).metadata[b"converters"] == b"Fake Office 7.1"
    assert office_files.calls(office) == 3
    held = info.take(workspace)
    assert held["spaces"][0]["converted"] == {"Fake Office 7.1": 2}
    assert "  pages of documents that Fake Office 7.1 made PDFs of: 2" in list(info.describe(held, failures=False))
    again = embed(workspace, [str(pile)], tiny, settings=SETTINGS)
    assert (again.embedded, again.skipped, again.failed_files) == (0, 2, 1)
    (workspace.root / "pages" / "thumbnails.json").unlink()
    keys = [(sha256, 0) for sha256 in store.pages()["document_sha256"]]
    assert set(page_pictures(workspace, keys)) == set(keys)
    assert office_files.calls(office) == 3
    (told,) = explain([str(pile / "a.docx")], tiny, SETTINGS)
    lines = "\n".join(in_words(told))
    assert "kind: Office" in lines
    assert "converted by: Fake Office 7.1" in lines
    assert "fonts not in the pdf: SimSun" in lines


def test_they_are_tried_again_once_the_program_is_there(
    office: Path, workspace: Workspace, tiny: Backbone, tmp_path: Path
) -> None:
    """`needs_converter` says nothing about the file; with `--readers none` they are other files, as before."""
    (tmp_path / "a.docx").write_bytes(office_files.docx())
    (office / "fake").rename(office / "later")
    report = embed(workspace, [str(tmp_path / "a.docx")], tiny, settings=SETTINGS)
    assert report.outcomes == {"needs_converter": 1}
    (office / "later").rename(office / "fake")
    report = embed(workspace, [str(tmp_path / "a.docx")], tiny, settings=SETTINGS)
    assert report.outcomes == {"ok": 1}
    assert workspace.store().failures() == []


def test_readers_are_an_option(office: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake in the file is one line and exit code 2; `none` leaves them out."""
    (tmp_path / "pile").mkdir()
    (tmp_path / "pile" / "a.docx").write_bytes(office_files.docx())
    (tmp_path / "bad.toml").write_text("[office")
    monkeypatch.setenv(table.VARIABLE, "")
    options = ["--backbone", "timm:test_resnet", "--weights", "none", "--size", "64", "--engine", "torch"]
    command = ["embed", str(tmp_path / "pile"), *options, "--artifacts", str(tmp_path / "artifacts")]
    done = CliRunner().invoke(app, [*command, "--readers", str(tmp_path / "bad.toml")])
    assert isinstance(done.exception, UsageError)
    assert "no TOML" in str(done.exception)
    done = CliRunner().invoke(app, [*command, "--readers", "none"])
    assert (done.exit_code, "not read: 1 Word document" in done.output) == (0, True)


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this machine, and what was asked there."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(99))

        threading.Thread(target=listen, daemon=True).start()
        yield server.getsockname()[1], asked


@pytest.mark.skipif(not WHOLE, reason="LibreOffice with Writer, Calc and Impress is not installed")
def test_libre_office_converts(
    workspace: Workspace,
    tiny: Backbone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listener: tuple[int, list[bytes]],
) -> None:
    """A text and a workbook have their pages; a picture that lies elsewhere is not fetched; damage is an outcome."""
    monkeypatch.setenv(table.VARIABLE, "")
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    pile = tmp_path / "pile"
    pile.mkdir()
    port, asked = listener
    whole = office_files.docx("发票 Rechnung", linked=f"http://127.0.0.1:{port}/x.png")
    (pile / "a.docx").write_bytes(whole)
    damaged = whole.replace(b"<w:body>", b"<w:bad>>")
    (pile / "damaged.docx").write_bytes(damaged)
    book = Workbook()
    book.worksheets[0].append(["Posten", 1.19, "项目"])
    book.save(pile / "b.xlsx")
    report = embed(workspace, [str(pile)], tiny, settings=SETTINGS)
    assert (report.documents + report.failed_files, report.outcomes["ok"] >= 2) == (3, True)
    assert all("LibreOffice" in message for message in workspace.store().pages()["message"])
    assert asked == []
    (told,) = explain([str(pile / "a.docx")], tiny, SETTINGS)
    assert told.facts["fonts_not_in_the_pdf"] == ["SimSun"]
    assert told.facts["fonts_of_the_pdf"]
