"""One pile, from Excel list to report: sorted, reviewed, a type added, copies out, reported."""

import contextlib
import io
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from conftest import TINY
from openpyxl import Workbook, load_workbook

from embedpipe.commands.base import run
from embedpipe.core.languages.choice import CHINESE, ENGLISH, use
from embedpipe.core.tables import read_csv
from embedpipe.samples import draw_samples
from embedpipe.store.sorted_ledger import LEDGER
from embedpipe.store.workspace import Workspace

SCRIPT = Path(sys.executable).with_name("embedpipe")
NETWORK = ("--backbone", TINY, "--weights", "none", "--size", "64", "--layers", "penultimate")
TYPES = {"invoice": "发票", "letter": "信函", "slides": "幻灯片", "form": "表格"}
PER_TYPE, LABELLED, EXAMPLES, COPIES = 6, 4, 5, 2
LEFT_OUT = ("all files", "全部文件")
NOT_CHINESE = re.compile(r"[a-z]{3,} [a-z]{3,}")
"""Two English words; options, names and what stands in backticks have no such pair."""


class Story:
    """A pile in nested folders and what was done with it, command by command."""

    def __init__(self, folder: Path, language: str) -> None:
        self.folder, self.language, self.commands = folder, language, 0
        self.pile, self.types = folder / "资料", dict[str, str]()

    def draw(self) -> None:
        """Documents of four types in two folders, copies of two, and files that cannot be read."""
        for kind, name in TYPES.items():
            for number, file in enumerate(draw_samples(self.folder / "drawn", per_type=PER_TYPE, types=(kind,))):
                place = self.pile / str(2023 + number % 2) / "收件" / file.name
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(file, place)
                self.types[str(place)] = name
        (self.pile / "备份").mkdir()
        for file in list(self.types)[:COPIES]:
            shutil.copy(file, self.pile / "备份")
        (self.pile / "损坏.pdf").write_bytes(b"%PDF-1.7\n" + bytes(99))
        with zipfile.ZipFile(self.pile / "报价.docx", "w") as archive:
            archive.writestr("word/document.xml", "<w/>")

    def write_list(self) -> Path:
        """An Excel list of some documents of all types but the last, with paths as Windows writes them."""
        book = Workbook()
        book.worksheets[0].append(["文件", "类型", "来源"])
        for file, name in self.types.items():
            number = int(Path(file).stem.rpartition("-")[2])
            if name != TYPES["form"] and number < LABELLED:
                path = str(Path(file).relative_to(self.folder)).replace("/", "\\")
                book.worksheets[0].append([path, name, f"{name}{number // 2}"])
        book.save(self.folder / "标注.xlsx")
        return self.folder / "标注.xlsx"

    def answer(self, review: Path) -> int:
        """Fills the review in as somebody would who knows the documents; returns how many there are."""
        book = load_workbook(review)
        rows = book.worksheets[0].iter_rows()
        header = [cell.value for cell in next(rows)]
        answered = 0
        for row in rows:
            if path := row[header.index("path")].value:
                row[header.index("label")].value = self.types[str(path)]
                answered += 1
        book.save(review)
        return answered

    def run(self, *arguments: object, code: int = 0) -> str:
        """What a command prints on both streams: of the installed program in English, of its `run` in Chinese."""
        line = [*map(str, arguments), "--lang", self.language]
        if self.language == ENGLISH:
            done = subprocess.run(
                [SCRIPT, *line], cwd=self.folder, capture_output=True, text=True, check=False, timeout=300
            )
            returned, said = done.returncode, done.stdout + done.stderr
        else:  # starting eight programs again would only take time
            printed = io.StringIO()
            with contextlib.chdir(self.folder), redirect_stdout(printed), redirect_stderr(printed):
                returned = run(line)
            said = printed.getvalue()
        assert returned == code, said
        assert "Traceback" not in said
        self.commands += 1
        if self.language == CHINESE:
            shown = re.sub(r"`[^`]*`|/\S+", "", said)
            assert not NOT_CHINESE.findall(shown), shown
        return said

    def labels(self) -> dict[str, str]:
        """The types that people gave, by path."""
        return {row.path: row.label for row in Workspace(self.folder / "artifacts").labels().rows.values()}


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    """Other tests find English."""
    yield
    use(ENGLISH)


def counts_in(report: Path) -> dict[str, int]:
    """Names and numbers of the first table of the workbook: what became of the files."""
    rows = [row[:2] for row in load_workbook(report).worksheets[0].iter_rows(values_only=True)]
    named = {str(name): number for name, number in rows if isinstance(number, int)}
    last = next(n for n, name in enumerate(named) if name in LEFT_OUT)
    return dict(list(named.items())[: last + 1])


@pytest.mark.parametrize("language", [ENGLISH, CHINESE])
def test_a_pile_is_sorted_reviewed_taught_cleaned_and_reported(tmp_path: Path, language: str) -> None:
    """Eight commands from an Excel list to the report: everything adds up, and what was put aside can be put back."""
    story = Story(tmp_path, language)
    story.draw()
    files = len(story.types) + COPIES + 2
    story.run("embed", "资料", "--labels", story.write_list(), *NETWORK, code=3)
    assert story.labels() == {p: story.types[p] for p in story.labels()}
    assert len(story.labels()) == LABELLED * 3

    story.run("fit-svm", "--blocks", "pictures")
    story.run("review", "review.xlsx")
    doubtful = story.answer(tmp_path / "review.xlsx")
    assert doubtful > 0
    story.run("label", "review.xlsx")
    assert len(story.labels()) == LABELLED * 3 + doubtful
    examples = [path for path, name in story.types.items() if name == TYPES["form"]][:EXAMPLES]
    story.run("add-type", TYPES["form"], *examples)
    given = story.labels()
    assert given == {path: story.types[path] for path in given}

    story.run("classify", "资料", "--sort-into", "sorted", "--csv", "answers.csv", "--weights", "none", code=3)
    copies = {
        row["source"]: tmp_path / "sorted" / row["copy"]
        for row in read_csv(tmp_path / "sorted" / LEDGER)
        if row["copy"]
    }
    assert len(set(copies.values())) == len(story.types)
    for path, name in given.items():
        assert copies[path].read_bytes() == Path(path).read_bytes()
        assert copies[path].parent == tmp_path / "sorted" / name

    story.run("dedupe", "--move-to", "重复", "--apply")
    aside = sorted(file.name for file in (tmp_path / "重复" / "备份").iterdir())
    assert len(aside) == COPIES
    story.run("report", "report.html", "report.pdf", "report.xlsx")
    assert story.commands == 8
    counts = counts_in(tmp_path / "report.xlsx")
    total = counts.pop(next(name for name in LEFT_OUT if name in counts))
    assert sum(counts.values()) == total == files
    assert {len(given), COPIES, 2} <= set(counts.values())
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(f">{count}<" in page for count in (*counts.values(), total))
    assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF-")

    story.run("dedupe", "--move-to", "重复", "--undo", "--apply")
    assert sorted(file.name for file in (story.pile / "备份").iterdir()) == aside
