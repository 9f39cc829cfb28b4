"""Messages, tables and HTML in the language that people ask for; what programs read stays as it is."""

import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedpipe.commands.base import run
from embedpipe.commands.terminal.console import Output, say
from embedpipe.core.languages.choice import CHINESE, ENGLISH, use
from embedpipe.drawing.charts import reliability_chart
from embedpipe.drawing.galleries import write_gallery
from embedpipe.drawing.reviews import Card, write_review


@pytest.fixture(autouse=True)
def english_again() -> Iterator[None]:
    """Other tests find English."""
    yield
    use(ENGLISH)


@pytest.mark.parametrize("place", ["before", "after", "variable", "locale"])
def test_errors_are_told_in_the_language_asked_for(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option stands before or after the command; else a variable or the locale says it."""
    line = ["classify", "x.pdf", "--artifacts", str(tmp_path / "a")]
    monkeypatch.setenv("EMBEDPIPE_LANG", "zh" if place == "variable" else "")
    monkeypatch.setenv("LC_ALL", "zh_CN.no-such-charset" if place == "locale" else "C")
    code = run({"before": ["--lang", "zh", *line], "after": [*line, "--lang=zh"]}.get(place, line))
    assert code == 1
    assert capsys.readouterr().err == f"错误：{tmp_path / 'a'} 中没有分类器：请先运行 `fit-svm`\n"


def test_wrong_command_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    """What typer says is translated as well; the context is named."""
    assert run(["info", "--lang", "zh", "--no-such"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("错误：没有此选项：--no-such（见 `")
    assert said.endswith(" info --help`）\n")


@pytest.mark.parametrize("line", [["--lang", "fr", "info"], ["info", "--lang", "fr"]])
def test_a_language_that_is_not_there_is_refused(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """With the ones that are."""
    assert run(line) == 2
    assert "Invalid value for '--lang'" in (said := capsys.readouterr().err)
    assert "fr: write en or zh" in said


def test_json_is_the_same_in_every_language(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs read it."""
    told = []
    for language in ("en", "zh"):
        assert run(["info", "--json", "--lang", language, "--artifacts", str(tmp_path)]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert told[0] == told[1]
    assert run(["info", "--lang", "zh", "--artifacts", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{tmp_path} 中还没有特征：请对您的文档运行 `embed`"


def test_tables_translate_headings_and_statuses_and_no_names(capsys: pytest.CaptureFixture[str]) -> None:
    """A type may be called "novel", and a file "documents"."""
    use(CHINESE)
    Output().table(("type", "status", "file"), [("novel", "novel", "documents"), ("letter", "ambiguous: or memo", "x")])
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == ["类型", "状态", "文件"]
    assert lines[2:] == [["novel", "新类型", "documents"], ["letter", "多可能：或为", "memo", "x"]]


def test_a_stream_without_chinese_letters_gets_english(monkeypatch: pytest.MonkeyPatch) -> None:
    """Escapes could be read by nobody."""
    use(CHINESE)
    for encoding, told in (("ascii", "written: a"), ("gbk", "已写出：a"), ("utf-8", "已写出：a")):
        buffer = io.BytesIO()
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(buffer, encoding=encoding, errors="backslashreplace"))
        say("written: a")
        sys.stderr.flush()
        assert buffer.getvalue().decode(encoding).strip() == told


def test_html_says_its_language(tmp_path: Path) -> None:
    """Title, facts and sentences are translated; names of files are not."""
    pages = {}
    for language in (CHINESE, ENGLISH):
        use(language)
        write_gallery(tmp_path / "a.html", "Look-alikes", {"Queries": "1", "Type": "documents"}, [])
        pages[language] = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert '<html lang="zh-Hans">' in pages["zh"]
    assert "<h1><bdi>相似页面</bdi></h1>" in pages["zh"]
    assert "没有找到。" in pages["zh"]
    assert "Noto Sans CJK SC" in pages["zh"]
    assert '<html lang="en">' in pages["en"]
    assert "Nothing was found." in pages["en"]


def test_the_page_to_review_says_all_in_its_language(tmp_path: Path) -> None:
    """What the page, its script and its answers say; types keep their names."""
    use(CHINESE)
    card = Card("1" * 64, "/pile/a.pdf", 1, "ambiguous", "may also be memo", [("letter", 0.5)], [], "")
    write_review(tmp_path / "r.html", {"Documents": "1"}, [card], types=("letter",), none="none", pictures={})
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    body, script = page.split('<script id="content" type="application/json">')
    content = json.loads(script.split("</script>")[0])
    assert content["words"]["{} of {} decided"] == "已决定 {1}，共 {2}"
    assert (content["cards"][0]["status"], content["cards"][0]["reason"]) == ("多可能", "也可能是 memo")
    shown = re.sub(r"<style.*?</style>|<[^>]*>", " ", body, flags=re.DOTALL)
    assert set(re.findall(r"[A-Za-z]{3,}", shown)) == {"CSV", "embedpipe", "label", "FILE", "xlsx"}


def test_counts_and_formats_are_words_of_one_language(capsys: pytest.CaptureFixture[str]) -> None:
    """What stands in lists within a sentence is translated as well."""
    use(CHINESE)
    Output().line("sorted into a: 3 copied, 1 without a type; see embedpipe-sorted.csv there")
    Output().line("would be moved: 7 files, 0.8 MB; nothing was done: say --apply to do it")
    Output().line(
        "not read: 1 e-mail: embedpipe does not read these; convert them to PDF (--strict: they are failures)"
    )
    assert capsys.readouterr().out.splitlines() == [
        "已分类到 a：3 个已复制、1 个无类型；详见其中的 embedpipe-sorted.csv",
        "将移动：7 个文件，0.8 MB；尚未做任何改动：加 --apply 才会执行",
        "未读取：1 封电子邮件：embedpipe 不读取这些格式；请转换为 PDF（加 --strict 则算作失败）",
    ]


def test_charts_have_fonts_for_every_language() -> None:
    """A missing letter would be a warning, and so a failure here; the labels differ."""
    bins = [{"confidence": 0.2, "accuracy": 0.3}, {"confidence": 0.8, "accuracy": 0.7}]
    use(CHINESE)
    chinese = reliability_chart(bins)
    use(ENGLISH)
    assert chinese != reliability_chart(bins)
