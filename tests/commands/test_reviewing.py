"""Lists that people fill in and give back, by the command line."""

import json
from pathlib import Path

import pytest
from classifiers.test_training import TYPES, Document, sha, write_labels, write_store
from openpyxl import Workbook as Book
from openpyxl import load_workbook
from typer.testing import CliRunner

from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.commands import app
from embedpipe.core.tables import read_csv
from embedpipe.store.labels import Label
from embedpipe.store.workspace import Workspace


@pytest.fixture(autouse=True)
def pile(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """24 documents, half of them labelled, and a classifier."""
    store = write_store(workspace, [Document(TYPES[n % 3]) for n in range(24)])
    write_labels(workspace, [Label(sha(n), f"/{n}.pdf", TYPES[n % 3]) for n in range(12)])
    fit(workspace, store, TrainingRecipe("svm"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*given: str, code: int = 0) -> str:
    """What a command prints; or its one error."""
    done = CliRunner().invoke(app, list(given))
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        assert code == 1 or type(done.exception).__name__ == "UsageError", done.exception
        return str(done.exception)
    assert done.exit_code == code, done.output
    return done.output if code == 2 else done.stdout


def workbook(rows: list[list[object]]) -> str:
    """A list in Excel."""
    book = Book()
    for row in rows:
        book.worksheets[0].append(row)
    book.save("l.xlsx")
    return "l.xlsx"


def test_bad_lines_stop_everything_or_are_left_out(pile: Path) -> None:
    """Nothing is labelled and all lines are in the CSV; with --partial the others are, and the exit code says so."""
    rows: list[list[object]] = [["文件名", "类型"], [sha(20), "发票"], *([f"no{n}.pdf", "x"] for n in range(12))]
    name, before = workbook(rows), (pile / "artifacts" / "labels.csv").read_bytes()
    said = run("label", name, "--bad-lines", "bad.csv", code=1)
    assert "l.xlsx, line 3: no document no0.pdf" in said
    assert "11 more lines are wrong, so nothing was taken" in said
    assert (pile / "artifacts" / "labels.csv").read_bytes() == before
    bad = read_csv(pile / "bad.csv")
    assert [(row["line"], row["cell"], row["value"]) for row in bad][::11] == [
        ("3", "A3", "no0.pdf"),
        ("14", "A14", "no11.pdf"),
    ]
    told = json.loads(run("label", name, "--partial", "--json", code=3))
    assert (told["labelled"], len(told["bad_lines"]), told["types"]["发票"]) == (1, 12, 1)


def test_ten_bad_lines_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """The first ten with their cells and reasons, then how to have all."""
    name = workbook([["path", "label"], *([f"no{n}.pdf", "x"] for n in range(12))])
    done = CliRunner().invoke(app, ["label", name])
    assert done.stderr.count("no document no") == 10
    assert "line 2 (A2): no document no0.pdf" in done.stderr
    assert "... and 2 more: `label` with --bad-lines FILE.csv writes them all" in done.stderr


def test_named_columns_sheet_and_root(pile: Path) -> None:
    """The options of a list; wrong ones are wrong command lines."""
    (pile / "scans").mkdir()
    name = workbook([["Datei", "Art", "Absender"], [sha(20), "Brief", "acme"]])
    assert "l.xlsx needs the columns path and label" in run("label", name, code=1)
    run("label", name, "--columns", "path=Datei, label=Art,group=Absender", "--sheet", "Sheet", "--root", "scans")
    assert Workspace(pile / "artifacts").labels().rows[sha(20), 0].group == "acme"
    assert "write path=NAME,label=NAME" in run("label", name, "--columns", "kind=Art")
    assert "--root nowhere is no folder" in run("label", name, "--root", "nowhere")


@pytest.mark.parametrize("name", ["r.html", "r.xlsx"])
def test_review_is_written_again_until_it_is_filled_in(pile: Path, name: str) -> None:
    """The same command replaces what it wrote; a person's answers need --force."""
    for _ in range(2):
        told = json.loads(
            run("review", name, "--status", "ok,ambiguous", "--status", "novel", "--limit", "5", "--json")
        )
    assert (len(told["documents"]), told["left_out"], told["asked"]) == (5, 7, 12)
    assert {len(document["looks_like"]) for document in told["documents"]} == {3}
    if name == "r.xlsx":
        book = load_workbook(name)
        book["review"]["B2"] = "memo"
        book.save(name)
        assert "holds labels that were filled in" in run("review", name, code=1)
        run("label", name)
        assert Workspace(pile / "artifacts").labels().types()["memo"] == 1


@pytest.mark.parametrize("name", ["t.csv", "t.xlsx"])
def test_a_template_is_written_and_given_back(pile: Path, name: str) -> None:
    """All that has no label, or the first few; `-` is a CSV."""
    assert "12 documents without a label are listed" in run("label", "--template", name)
    assert "10 more are left out by --limit" in run("label", "--template", name, "--limit", "2")
    assert run("label", "--template", "-", "--limit", "2").startswith("\ufeffpath,label,group,")
    assert "no line of" in run("label", name, code=1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (("review", "r.pdf"), "it ends in .html or .xlsx"),
        (("review", "r.html", "--status", "sure"), "--status sure: write ok, ambiguous, novel or blank"),
        (("label", "--template", "t.pdf"), "it ends in .xlsx or .csv"),
        (("label", "l.xlsx", "--template", "t.csv"), "give no SOURCE with it"),
        (("label", "--limit", "2"), "--limit goes with --template"),
        (("label", "--undo", "--template", "t.csv"), "go with no other option"),
    ],
)
def test_wrong_command_lines(given: tuple[str, ...], says: str, pile: Path) -> None:
    """Each says what to write instead, and nothing is written."""
    assert says in run(*given)
    assert not {"r.pdf", "r.html", "t.pdf", "t.csv"} & {path.name for path in pile.iterdir()}


def test_review_takes_what_classify_wrote(pile: Path) -> None:
    """`--from` needs no classifier, only the CSV."""
    (pile / "answers.csv").write_text(
        f"path,type,label,confidence,status,candidates,document\n/n.pdf,form,,0.5,novel,form,{sha(20)}\n"
        f"/o.pdf,form,,0.9,ok,form,{sha(21)}\n",
        encoding="utf-8",
    )
    told = json.loads(run("review", "r.html", "--from", "answers.csv", "--json"))
    assert [document["document"] for document in told["documents"]] == [sha(20)]
    workspace = Workspace(pile / "artifacts")
    fit(workspace, workspace.store(), TrainingRecipe("knn"))
    assert "choose one with --classifier" in run("review", "r.html", code=1)
    assert len(json.loads(run("review", "r.html", "--from", "answers.csv", "--json"))["documents"]) == 1
    assert "is what the command reads" in run("review", "answers.csv", "--from", "answers.csv", code=1)
