"""What `classify` says to people, and to a table."""

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from embedpipe.commands.answers import BEFORE, COLUMNS, Answers
from embedpipe.commands.terminal.console import Output
from embedpipe.commands.terminal.widths import width_of
from embedpipe.core.outputs import csv_of
from embedpipe.core.records import WHOLE_FILE, PageFailure, PageRef, Prediction
from embedpipe.embedding.intake import Report
from embedpipe.store.labels import Label, Labels
from embedpipe.store.sorted_ledger import Entry
from embedpipe.tasks.classify import DocumentVerdict, PageVerdict, as_json, reason, with_labels
from embedpipe.tasks.sort_into import Sorted

FOLDER = "/data/a folder with a long name/收件箱"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """A terminal of 80 columns in the place of stdout and stderr; call it in the test, for pytest sets them before."""
    monkeypatch.setenv("COLUMNS", "80")
    stream = _Terminal()
    for name in ("sys.stdout", "sys.stderr"):
        monkeypatch.setattr(name, stream)
    return stream


def verdict(name: str, kind: str | None, status: str, *others: str, message: str = "") -> DocumentVerdict:
    """An answer for a file of that name, with further candidates."""
    candidates = tuple((k, 0.4) for k in (kind, *others) if k)
    told = Prediction(kind, 0.4 if kind else 0.0, status, candidates, measured=True)  # type: ignore[arg-type]
    return DocumentVerdict(f"{FOLDER}/{name}", name if status != "failed" else "", told, (), message)


def answers(verdicts: Sequence[DocumentVerdict], **more: int) -> Answers:
    """What `classify` found; files that failed are in the report."""
    failed = [PageFailure(PageRef("", WHOLE_FILE, v.path), *v.message.split(": ")) for v in verdicts if v.message]
    report = Report(files=len(verdicts) + sum(more.values()), documents=len(verdicts) - len(failed), **more)
    for failure in failed:
        report.fail(failure)
    return Answers(list(verdicts), report, "svm version 1")


MANY = [
    *(verdict(f"sure-{n}.pdf", "invoice", "ok") for n in range(30)),
    *(verdict(f"2024/三月/一份名字很长很长的中文文件第{n}号.pdf", "letter", "ambiguous", "memo") for n in range(45)),
    verdict("strange.pdf", "letter", "novel"),
    verdict("broken.pdf", None, "failed", message="no_pages: the PDF opens but has no pages"),
]


def test_counts_come_first_and_failures_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """In a terminal the sure ones of many are counted only, no line of a table is wider, and counts add up."""
    seen = terminal(monkeypatch)
    answers(MANY, duplicates=3).present("the promise", ["they are unlike the labelled ones"], Output())
    lines = seen.getvalue().splitlines()
    assert lines[0] == "80 files: 30 ok, 45 ambiguous, 1 novel, 1 failed, 3 skipped"
    assert re.search(r"letter +45 +1", seen.getvalue())
    assert lines.index("warning: they are unlike the labelled ones") < lines.index("to look at: 46 of 77 documents")
    table = [line for line in lines if "号.pdf" in line or "strange.pdf" in line]
    assert len(table) == 40
    assert max(map(width_of, table)) <= 80
    assert all("…" in line and "may also be memo" in line for line in table[:39])
    assert not any("sure-" in line for line in lines)
    assert lines[-2] == "not listed here: 6 more doubtful ones; --csv FILE writes them all"
    assert lines[-1] == f"failed: {FOLDER}/broken.pdf: no_pages: the PDF opens but has no pages"


def test_a_program_gets_every_answer(capsys: pytest.CaptureFixture[str]) -> None:
    """Where no person watches, all documents are listed with their whole paths."""
    answers(MANY).present("", [], Output())
    out = capsys.readouterr().out
    assert all(v.path in out for v in MANY if v.prediction.status != "failed")


def test_what_a_person_labelled_is_of_that_type() -> None:
    """Status, reason and JSON say so, pages have labels of their own, and the classifier's ranking stays."""
    pages = tuple(PageVerdict(n, Prediction("letter", 0.6, "ambiguous")) for n in (1, 2))
    asked = [
        DocumentVerdict("a", "a", Prediction("letter", 0.6, "novel", ranking=(("letter", 0.6),)), pages),
        verdict("b", "letter", "ok"),
        DocumentVerdict("c", "c", Prediction(None, 0.0, "failed"), (), "encrypted: needs a password"),
        verdict("d", "letter", "ok"),
    ]
    labels = Labels()
    labels.add([Label("a", "a", "invoice"), Label("a", "a", "plan", 2), Label("b", "b", "none"), Label("c", "c", "x")])
    a, b, c, d = with_labels(asked, labels)
    assert (a.prediction.label, a.prediction.status, a.prediction.confidence) == ("invoice", "ok", 1.0)
    assert a.prediction.ranking == (("letter", 0.6),)
    assert [(p.prediction.label, p.labelled) for p in a.pages] == [("letter", False), ("plan", True)]
    assert (b.prediction.label, b.prediction.status) == (None, "novel")
    assert reason(b) == "labelled by a person as none of the types"
    assert (c.prediction.label, reason(c)) == ("x", "labelled by a person; encrypted: needs a password")
    assert d == asked[3]
    told = as_json(a)
    assert (told["labelled"], told["reason"], told["candidates"]) == (
        True,
        "labelled by a person",
        [{"type": "invoice", "confidence": 1.0}],
    )


def test_reasons_are_plain() -> None:
    """Each status has words that say why."""
    many = [f"type {n}" for n in range(8)]
    assert reason(verdict("a", "x", "ok")) == "no other type fits"
    assert reason(verdict("a", "x", "ambiguous", *many)).endswith("type 4 and 3 more")
    assert reason(verdict("a", "x", "ambiguous")) == "too unlike the labelled documents of this type to be sure"
    assert reason(verdict("a", "x", "novel", "y")) == "it looks like nothing that was labelled"
    assert reason(verdict("a", None, "blank")) == "nothing is on its pages"
    unmeasured = DocumentVerdict("a", "a", Prediction("x", 0.4, "ambiguous", (("x", 0.4),)), (), source_kind="scan")
    assert reason(unmeasured) == "no answer is sure for a scan in this batch"


def test_the_table_says_where_files_went_and_why(tmp_path: Path) -> None:
    """Columns of before keep their names; a table of before is known as ours."""
    assert COLUMNS[: len(BEFORE)] == BEFORE
    found = answers([verdict("a.pdf", "x", "ok"), verdict("b.pdf", "x", "ambiguous", "y")])
    entry = Entry(f"{FOLDER}/a.pdf", "a.pdf", "copied", "x/a.pdf")
    found.done = Sorted(tmp_path, [entry], Counter())
    found.write(tmp_path / "answers.csv")
    with open(tmp_path / "answers.csv", encoding="utf-8-sig", newline="") as file:
        one, other = csv.DictReader(file)
    assert (one["path"], one["target"]) == (f"{FOLDER}/a.pdf", str(tmp_path / "x/a.pdf"))
    assert (one["status"], one["label"], one["reason"]) == ("ok", "", "no other type fits")
    assert (other["target"], other["candidates"], other["reason"]) == ("", "x y", "may also be y")
    kind = csv_of("embedpipe.commands.answers:COLUMNS", "embedpipe.commands.answers:BEFORE")
    assert kind.objection(tmp_path / "answers.csv") == ""
    (tmp_path / "before.csv").write_text(",".join(BEFORE) + "\n", encoding="utf-8")
    assert kind.objection(tmp_path / "before.csv") == ""
