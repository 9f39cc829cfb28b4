"""Files beside the documents in formats that are not read: counted and named, and no failures unless asked for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from embedpipe.backbones.engines import Backbone
from embedpipe.commands.base import DONE, SOME_FAILED, exit_code
from embedpipe.commands.printing import print_report
from embedpipe.commands.terminal.console import Output
from embedpipe.embedding.intake import Report
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import info
from embedpipe.tasks.embed import describe_plan, embed, plan_run


@pytest.fixture
def mixed(tmp_path: Path, make_pdf: Callable[..., Path]) -> Path:
    """A PDF beside office files, e-mails and a README."""
    make_pdf("mixed/a.pdf", ["one"])
    for name in ("b.docx", "c.DOCX", "mail.emlx", "sub/d.xlsx"):
        (tmp_path / "mixed" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "mixed" / name).write_bytes(b"PK\x03\x04")
    (tmp_path / "mixed" / "README.md").write_text("about this folder")
    return tmp_path / "mixed"


UNREAD = {"Word document": 2, "Excel workbook": 1, "e-mail": 1}


def adds_up(report: Report) -> bool:
    """Whether each file is counted once."""
    parts = report.documents + report.duplicates + report.same_files + report.ignored + report.failed_files
    return report.files == parts and report.ignored == report.others.total()


def test_they_are_named_once_and_are_no_failures(
    workspace: Workspace, mixed: Path, tiny: Backbone, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run ends well, says in one line what they are, and `info` shows them until they are gone."""
    plan = plan_run(workspace, [str(mixed)], tiny, Settings())
    assert plan["unread"] == UNREAD
    assert "5 other files (2 Word documents, 1 Excel workbook, 1 e-mail)" in describe_plan(plan)
    report = embed(workspace, [str(mixed)], tiny)
    assert exit_code(report) == DONE
    assert adds_up(report)
    assert report.others == {"unread": 4, "other": 1}
    values = report.as_json()
    assert values["unread"] == UNREAD
    assert values["failures"] == []
    assert {"path": str(mixed / "mail.emlx"), "format": "e-mail"} in values["unread_files"]
    print_report(report, Output())
    said = [line for line in capsys.readouterr().out.splitlines() if "Word" in line]
    assert len(said) == 1
    assert said[0].startswith("not read: 2 Word documents, 1 Excel workbook, 1 e-mail: embedpipe does not read these")
    held = info.take(workspace)
    [space] = held["spaces"]
    assert space["failures"] == []
    assert min(file["path"] for file in space["unread"]) == str(mixed / "b.docx")
    lines = list(info.describe(held, failures=True))
    assert "  not read: 2 Word documents, 1 Excel workbook, 1 e-mail: embedpipe does not read these" in lines
    assert f"    {mixed / 'mail.emlx'}: not read: e-mail" in lines
    (mixed / "mail.emlx").unlink()
    embed(workspace, [str(mixed)], tiny)
    assert len(info.take(workspace)["spaces"][0]["unread"]) == 3


def test_strict_makes_them_failures(workspace: Workspace, mixed: Path, tiny: Backbone) -> None:
    """With --strict the exit code is 3, and a later run without it takes that back; a named file always fails."""
    report = embed(workspace, [str(mixed)], tiny, settings=Settings(strict=True))
    assert exit_code(report) == SOME_FAILED
    assert adds_up(report)
    assert {f.message for f in report.failures if f.page.source.endswith(".docx")} == {
        "Word document: embedpipe does not read these; convert it to PDF first"
    }
    [space] = info.take(workspace)["spaces"]
    assert (len(space["failures"]), space["unread"]) == (4, [])
    assert exit_code(embed(workspace, [str(mixed)], tiny)) == DONE
    [space] = info.take(workspace)["spaces"]
    assert (space["failures"], len(space["unread"])) == ([], 4)
    assert exit_code(embed(workspace, [str(mixed / "b.docx")], tiny)) == SOME_FAILED


def test_damaged_documents_still_fail(workspace: Workspace, mixed: Path, tiny: Backbone) -> None:
    """A PDF that is none is a failure beside them."""
    (mixed / "broken.pdf").write_bytes(b"no PDF")
    report = embed(workspace, [str(mixed)], tiny)
    assert exit_code(report) == SOME_FAILED
    assert adds_up(report)
    assert [Path(f.page.source).name for f in report.failures] == ["broken.pdf"]
