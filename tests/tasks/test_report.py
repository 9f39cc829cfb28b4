"""The report: every file is counted once, sentences are honest, and all formats say the same in both languages."""

import json
import shutil
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import openpyxl
import pymupdf
import pytest
from typer.testing import CliRunner, Result

from embedpipe.backbones.building import Backbone
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.commands import app, base
from embedpipe.core.languages import choice
from embedpipe.core.outputs import made_here
from embedpipe.store.labels import Label
from embedpipe.store.sources import GONE
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import report
from embedpipe.tasks.classify import classify
from embedpipe.tasks.embed import embed
from embedpipe.tasks.report_facts import CLASSIFIER, OUTCOMES, PERSON, Facts, Row, gather
from embedpipe.tasks.report_words import Findings, lead

TYPES = ("letter", "table", "发票")


@pytest.fixture(scope="module")
def pile(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve documents of three looks, a copy, an encrypted and a broken file, and a blank page; half are labelled."""
    folder = tmp_path_factory.mktemp("report")
    inbox = folder / "inbox"
    (inbox / "deep").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(18):
        with pymupdf.open() as document:
            page = document.new_page()
            for line in range(4 + 12 * (number % 3)):
                place = (60, 80 + 16 * line) if number % 3 else (60 + 90 * (line % 4), 100 + 120 * (line // 4))
                page.insert_text(
                    place, f"{rng.integers(10**9)} {TYPES[number % 3]}", fontsize=9 + 9 * (number % 3 == 0)
                )
            document.save(inbox / f"{number:02}.pdf")
    shutil.copy(inbox / "00.pdf", inbox / "deep" / "copy.pdf")
    with pymupdf.open() as document:
        document.new_page()
        document.save(inbox / "deep" / "blank.pdf")
    with pymupdf.open(inbox / "01.pdf") as document:
        document.save(inbox / "secret.pdf", encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="x", owner_pw="y")
    (inbox / "broken.pdf").write_bytes(b"%PDF-1.7\nnothing")
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(inbox)], tiny)
    return folder


@pytest.fixture(scope="module")
def learnt(pile: Path) -> tuple[Workspace, ClassifierBundle]:
    """The same with labels for twelve documents, and a classifier."""
    shutil.copytree(pile / "artifacts", pile / "learnt")
    workspace = Workspace(pile / "learnt")
    label_some(workspace, 12)
    return workspace, fit(workspace, workspace.store(), TrainingRecipe("head"))


@pytest.fixture
def english() -> Iterator[None]:
    """Puts the language of the process back."""
    yield
    choice.use(choice.ENGLISH)


def label_some(workspace: Workspace, most: int) -> None:
    """Labels the first documents by their looks."""
    labels = workspace.labels()
    for row in gather(workspace, workspace.store(), None).rows:
        name = Path(row.path).stem
        if name.isdecimal() and int(name) < most:
            labels.add([Label(row.sha256, row.path, TYPES[int(name) % 3])])
    labels.save(workspace.labels_file)


def run(*arguments: object) -> Result:
    """Runs the command line."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_every_file_is_counted_once(pile: Path, learnt: tuple[Workspace, ClassifierBundle]) -> None:
    """Outcomes add up to the files that were met, with and without a classifier."""
    bare = Workspace(pile / "artifacts")
    facts = gather(bare, bare.store(), None)
    assert (facts.files, facts.outcomes) == (22, {"untold": 18, "copy": 1, "blank": 1, "failed": 2})
    workspace, bundle = learnt
    facts = gather(workspace, workspace.store(), bundle)
    assert facts.files == 22 == sum(facts.outcomes[name] for name in OUTCOMES)
    assert facts.outcomes["labelled"] == 12
    assert sum(facts.outcomes[name] for name in ("ok", "ambiguous", "novel")) == 6
    assert len(facts.documents) == 19 == len({row.sha256 for row in facts.documents})
    assert facts.sure[""].documents + facts.sure[""].unmeasured == 6


def test_files_that_are_gone_are_counted_apart(pile: Path, tmp_path: Path) -> None:
    """What is not there any more is one outcome, and no document."""
    shutil.copytree(pile / "artifacts", tmp_path / "artifacts")
    workspace = Workspace(tmp_path / "artifacts")
    sources = workspace.sources()
    sources.leave([path for path in sources.below(str(pile)) if path.endswith("17.pdf")], GONE)
    sources.save()
    facts = gather(workspace, workspace.store(), None)
    assert (facts.files, facts.outcomes["gone"], facts.outcomes["untold"]) == (22, 1, 17)


def test_the_answers_are_those_of_classify(
    pile: Path, learnt: tuple[Workspace, ClassifierBundle], tiny: Backbone
) -> None:
    """A document has the type, confidence and status in the report that `classify` gives it."""
    workspace, bundle = learnt
    verdicts, _ = classify(workspace, [str(pile / "inbox")], bundle, lambda: tiny)
    told = {verdict.document_sha256: verdict.prediction for verdict in verdicts}
    rows = gather(workspace, workspace.store(), bundle).told_by(CLASSIFIER)
    assert len(rows) == 6
    for row in rows:
        prediction = told[row.sha256]
        assert (row.kind, row.outcome) == (prediction.label, prediction.status)
        assert row.confidence == pytest.approx(prediction.confidence, abs=1e-6)


def test_all_formats_are_written(learnt: tuple[Workspace, ClassifierBundle], tmp_path: Path) -> None:
    """One run writes all three; they name the same failures, are replaced unasked, and hold no jargon."""
    workspace, _ = learnt
    files = [tmp_path / f"out{suffix}" for suffix in report.SUFFIXES]
    for more in (["--no-duplicates"], []):
        done = run("report", *files, *more, "--artifacts", workspace.root, "--json", "--quiet")
        assert done.exit_code == 0, done.output
    values = json.loads(done.stdout)
    assert values["files"] == 22 == sum(values["outcomes"].values())
    assert values["duplicates"]["exact"] == {"groups": 1, "copies": 2}
    html = files[0].read_text(encoding="utf-8")
    with pymupdf.open(files[1]) as document:
        pdf = unicodedata.normalize("NFKC", "".join(page.get_text() for page in document))
        assert f"page {len(document)} of {len(document)}" in pdf
        assert any(page.get_images() for page in document)
    for text in (html, pdf):
        assert all(said in text for said in ("secret.pdf", "protected by a password", "发票", "22 files came in"))
        assert "F1" not in text
        assert "AUROC" not in text
    assert html.count("data:image/jpeg") >= 3
    assert 'src="http' not in html
    book = openpyxl.load_workbook(files[2])
    assert book.sheetnames == ["summary", "documents", "doubtful", "duplicates", "failures"]
    assert book["documents"].max_row == 1 + 21  # all but the copy
    assert book["failures"].max_row == 3


@pytest.mark.usefixtures("english")
def test_the_report_is_chinese_where_that_is_asked_for(
    learnt: tuple[Workspace, ClassifierBundle], tmp_path: Path
) -> None:
    """`--lang zh`: sentences, headings, sheets and page numbers; types stay as they are."""
    workspace, bundle = learnt
    files = [tmp_path / f"out{suffix}" for suffix in report.SUFFIXES]
    choice.use(choice.CHINESE)
    found = report.take(workspace, workspace.store(), bundle, duplicates=False)
    for file in files:
        report.write(found, file)
    html = files[0].read_text(encoding="utf-8")
    assert '<html lang="zh-Hans">' in html
    assert "共收到 22 个文件" in html
    assert "有密码保护" in html
    with pymupdf.open(files[1]) as document:
        text = document[0].get_text()
    assert "第 1 页，共" in text
    assert "\ufffd" not in text
    assert openpyxl.load_workbook(files[2]).sheetnames == ["摘要", "文档", "存疑", "失败"]


def test_without_types_families_are_shown(pile: Path, tmp_path: Path) -> None:
    """Without labels and a classifier the report says so, and shows what looks alike."""
    workspace = Workspace(pile / "artifacts")
    found = report.take(workspace, workspace.store(), None, duplicates=False)
    report.write(found, tmp_path / "a.html")
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert "No document has a type yet" in html
    assert "Duplicates were not looked for" in html
    assert bool(found.layouts) == ("Documents that look alike" in html)


def test_documents_that_are_elsewhere_by_now_have_pictures(
    learnt: tuple[Workspace, ClassifierBundle], tmp_path: Path
) -> None:
    """What was kept of pages is shown; where documents lie need not be known."""
    workspace, bundle = learnt
    shutil.copytree(workspace.root, tmp_path / "artifacts")
    (tmp_path / "artifacts" / "sources.parquet").unlink()
    moved = Workspace(tmp_path / "artifacts")
    found = report.take(moved, moved.store(), bundle, duplicates=False)
    assert {row.sha256 for row in found.facts.told_by(PERSON)} & found.pictures.keys()
    assert found.facts.files == 21  # a copy is known by its place only
    report.write(found, tmp_path / "a.html")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [(["a.doc"], 2, "ends with .html, .pdf or .xlsx"), (["a.html"], 1, "run `embed` on your documents first")],
)
def test_what_cannot_be_reported_is_said(
    arguments: list[str], code: int, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clear line for another suffix, and for artifacts that hold nothing."""
    monkeypatch.chdir(tmp_path)
    said: list[str] = []
    monkeypatch.setattr(base, "say", said.append)
    assert base.run(["report", *arguments, "--artifacts", str(tmp_path / "none")]) == code
    assert message in said[0]
    assert not list(tmp_path.glob("a.*"))


def test_a_file_of_somebody_is_not_replaced(pile: Path, tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
    """A PDF that was not made here stays; one that was is passed over among documents."""
    workspace = Workspace(pile / "artifacts")
    mine = make_pdf("mine.pdf", ["mine"])
    before = mine.read_bytes()
    done = run("report", mine, "--artifacts", workspace.root)
    assert "--force" in str(done.exception)
    assert mine.read_bytes() == before
    report.write(report.take(workspace, workspace.store(), None, duplicates=False), tmp_path / "ours.pdf")
    head = (tmp_path / "ours.pdf").read_bytes()[:1024]
    assert made_here(tmp_path / "ours.pdf", head)
    assert not made_here(mine, mine.read_bytes()[:1024])


def test_documents_that_are_all_labelled_wait_for_no_classifier() -> None:
    """Where nothing is left to be told, the report does not say that a classifier is missing."""
    row = Row("1" * 64, "/pile/a.pdf", "labelled", 1, kind="letter", by=PERSON)
    for outcomes, said in (({"labelled": 1}, "no other one waits"), ({"labelled": 1, "untold": 2}, "2 have none yet")):
        lines = lead(Findings(Facts([row], Counter(outcomes)), {}, None, 0.0, []))
        assert sum(said in line for line in lines) == 1
