"""Finished sentences, put together from parts, in Chinese."""

from collections.abc import Iterator

import pytest

from embedpipe.core.errors import SpaceMismatchError, UnknownNameError
from embedpipe.core.languages import translation
from embedpipe.core.languages.choice import CHINESE, ENGLISH, use
from embedpipe.core.languages.table import Sentence, TableError
from embedpipe.core.languages.translation import template, translated, word


@pytest.fixture(autouse=True)
def chinese() -> Iterator[None]:
    """Chinese for the time of a test."""
    use(CHINESE)
    yield
    use(ENGLISH)


@pytest.mark.parametrize(
    ("english", "other"),
    [
        ("no classifier in /a b: run `fit-svm` first", "/a b 中没有分类器：请先运行 `fit-svm`"),
        (
            "error: cannot write /a/b: No space left on device; nothing was changed",
            "错误：无法写入 /a/b：磁盘空间已满；未作任何改动",
        ),
        ("warning: torch: something odd: pages", "警告：torch: something odd: pages"),
        ("  3 labels (a, b) have lost features: run `embed` again on their files", None),
        (
            "failed: /a/b: c.pdf#page=3: page_error: cannot be rendered: unexpected token",
            "失败：/a/b：c.pdf#page=3：page_error：无法渲染：unexpected token",
        ),
        ("may also be book, memo and 5 more", "也可能是 book, memo，另有 5 个"),
        (
            (
                "classifier svm: 7 types, space a-1, held-out documents: accuracy 0.786, macro-F1 0.780; their pages: "
                "accuracy 0.783, macro-F1 0.761; 2 versions"
            ),
            (
                "分类器 svm：7 个类型，空间 a-1，留出文档：准确率 0.786，macro-F1 0.780；"
                "其页面：准确率 0.783，macro-F1 0.761；2 个版本"
            ),
        ),
        (
            "the network failed on pages of 3 x 4 pixels, 5 at once: no room",
            "网络处理失败（3 x 4 像素的页面，每批 5 页）：no room",
        ),
        ("sorted: 12 copied, 3 unchanged", "sorted：12 个已复制、3 个未变"),
        ("sorted: nothing to do: 4 unchanged", "sorted：无事可做：4 个未变"),
        (
            "report: 13 labelled, F1 0.00; 10 more would bring about +0.02, until about 80 are labelled",
            "report：已标注 13 份，F1 为 0.00；再标注 10 份约可提高 0.02，直到约有 80 份已标注",
        ),
        (
            "documents: 80% ok, 12% ambiguous, 8% novel; the true type is among the candidates in 95.0%",
            "文档：80% 确定、12% 多可能、8% 新类型；真实类型在候选之中的比例为 95.0%",
        ),
    ],
)
def test_a_sentence_is_known_by_its_fixed_words(english: str, other: str | None) -> None:
    """Names, numbers and what other programs say are kept; sentences within are translated as well."""
    said = "  3 个标签（a, b）的特征已丢失：请对其文件重新运行 `embed`" if other is None else other
    assert translated(english) == said


@pytest.mark.parametrize(
    "english",
    ["", "novel", "a sentence that nobody has written", "/docs/of pages: 3", "x" * 5000, "3 pages of\nnothing;"],
)
def test_what_is_not_known_stays(english: str) -> None:
    """Whatever it is; a single word may be the name of a type."""
    assert translated(english) == english


def test_words_are_translated_where_they_are_known_to_be_ours() -> None:
    """Headings and statuses; measure words only stand behind numbers."""
    assert (word("novel"), word("scans"), word("mytype")) == ("新类型", "扫描件", "mytype")
    assert word("ambiguous, novel") == "多可能、新类型"


def test_messages_of_errors_whose_parts_vary() -> None:
    """The name of what is unknown, the nearest names, an artifact and its space."""
    assert translated(str(UnknownNameError("backbone", "efnet", ["effnet", "other"]))) == (
        "未知的骨干网络 'efnet'：您是不是要用 'effnet'？可用的有：effnet, other"
    ).replace("'effnet'", "effnet")
    assert translated(str(SpaceMismatchError("classifier svm", "a", "b"))) == (
        "分类器 svm 属于 a，而不是 b；请为该空间重新训练或建立"
    )


def test_a_table_that_cannot_be_read_loses_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """English it is."""

    def load(_: str) -> list[Sentence]:
        raise TableError("a bracket is not closed")

    monkeypatch.setattr(translation, "load", load)
    translation._table.cache_clear()
    try:
        assert translated("error: cannot read /a: no reason") == "error: cannot read /a: no reason"
        assert word("file") == "file"
    finally:
        translation._table.cache_clear()


def test_what_html_says_has_its_holes_by_number() -> None:
    """Templates and scripts fill them."""
    assert template("page {} of {}") == "第 {1} 页，共 {2} 页"
    assert template("no such sentence {}") == ""
    use(ENGLISH)
    assert template("page {} of {}") == ""
