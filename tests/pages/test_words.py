"""Words as hashed n-grams: any script, no text in them, and the same whatever the case and the digits."""

from pathlib import Path

import numpy as np
import pymupdf
import pytest
from pages.test_second_opinion import pdf

from embedpipe.core.records import NO_WORDS, TEXT_WORDS, Recipe
from embedpipe.pages.contract import ReadOptions
from embedpipe.pages.extras.word_rows import HEADS, folded
from embedpipe.pages.extras.words import BUCKETS, HEAD_CHARACTERS, WIDTH, as_rows, hashed, words_of_page
from embedpipe.pages.formats.pdf import PdfDocument

ENGLISH = "Invoice No. 4711, payable within 30 days of the date below"
EVER, TOTAL = [213, 2056, 9853, 12356], 8841789
CHINESE = "增值税电子普通发票 发票代码 购买方名称 纳税人识别号 价税合计"


@pytest.mark.parametrize("text", [ENGLISH, CHINESE, "فاتورة ضريبية رقم التسجيل الضريبي للعميل"])
def test_words_of_any_script_are_counted_in_ascending_buckets(text: str) -> None:
    """The counts add up to the n-grams of two, three and four characters of the text with a space at both ends."""
    words = hashed(text)
    assert words.origin == TEXT_WORDS
    assert (np.diff(words.columns.astype(np.int64)) > 0).all()
    assert BUCKETS < words.columns.max() < WIDTH
    length = len(text) + 2
    of_heads = words.columns >= BUCKETS
    assert words.counts[~of_heads].sum() == sum(length - n + 1 for n in (2, 3, 4))
    assert words.counts[of_heads].sum() == words.counts[~of_heads].sum()  # a short text is a head as a whole
    assert words.characters == len(text.replace(" ", ""))


def test_case_width_digits_and_spaces_make_no_difference() -> None:
    """What differs between two invoices of one kind is left out."""
    first, second = hashed("Total 1234 ＥＵＲ  to be paid now"), hashed("total 9876 eur\nto be paid now")
    assert np.array_equal(first.columns, second.columns)
    assert np.array_equal(first.counts, second.counts)


def test_similar_texts_share_n_grams_and_different_ones_do_not() -> None:
    """The cosine of two texts is high where they share words."""
    rows = as_rows([hashed(ENGLISH), hashed(ENGLISH + " again"), hashed(CHINESE), None])
    assert rows.shape == (4, WIDTH)
    rows = folded(rows, BUCKETS)
    cosines = (rows @ rows.T).toarray() / np.sqrt(np.outer(*[(rows**2).sum(axis=1) + 1e-9] * 2))
    assert cosines[0, 1] > 0.9
    assert cosines[0, 2] < 0.1
    assert rows.shape == (4, BUCKETS)
    assert rows[[3]].nnz == 0


def test_a_page_with_a_number_only_has_no_words() -> None:
    """Nor has one with lone surrogates alone; a text of megabytes is cut."""
    assert not hashed("- 17 -")
    assert hashed("- 17 -").origin == NO_WORDS
    assert hashed("abcdefgh \ud800 ijklmnopqrst").characters > 0
    assert hashed("word " * 10**6).characters < 20_000


def test_the_buckets_of_a_text_stay_as_they_are() -> None:
    """Stored words of an earlier version can be compared with new ones."""
    words = hashed("the same as ever before")
    assert words.columns[:4].tolist() == EVER
    assert int(words.columns[words.columns < BUCKETS].astype(np.int64).sum()) == TOTAL


def test_the_head_of_a_page_has_columns_of_its_own() -> None:
    """What comes after the first characters changes all others; case and digits make no difference in it either."""
    head = "Invoice No. 4711 of the firm ".ljust(HEAD_CHARACTERS, "x")
    one, other, third = (hashed(text) for text in (head + " and one", head.upper() + " or other", "and one " + head))
    told = [words.columns[words.columns >= BUCKETS].tolist() for words in (one, other, third)]
    assert told[0] == told[1] != told[2]
    assert one.columns[one.columns < BUCKETS].tolist() != other.columns[other.columns < BUCKETS].tolist()
    rows = as_rows([one])
    kept = folded(rows, 64, heads=True)
    assert kept.shape == (1, 64 + HEADS)
    assert (kept[:, 64:] != rows[:, BUCKETS:]).nnz == 0
    alone = folded(rows, 64)
    assert alone.shape == (1, 64)
    assert (kept[:, :64] != alone).nnz == 0


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_words_of_what_was_drawn_are_those_of_the_page(tmp_path: Path, turned: int) -> None:
    """Also hidden text, what stands beyond the edge, notes, and two columns of a page that is turned."""
    with pymupdf.open() as pdf:
        page = pdf.new_page()
        page.insert_textbox((40, 40, 250, 400), "The left column of this page. " * 9)
        page.insert_textbox((300, 40, 550, 400), "And the other one, on the right. " * 9)
        page.insert_text((40, 700), "recognised by a scanner", render_mode=3)
        page.insert_text((500, 780), "a line that runs over the edge of the page")
        page.add_freetext_annot((60, 500, 260, 560), "a note that somebody made")
        page.set_rotation(turned)
        pdf.save(tmp_path / "a.pdf")
    drawn = (document := PdfDocument(str(tmp_path / "a.pdf"), ReadOptions(Recipe()))).render(0)
    found, expected = words_of_page(drawn.page, drawn.drawing), words_of_page(document.pdf[0])
    assert expected.characters > 400
    assert found.columns.tolist() == expected.columns.tolist()
    assert found.counts.tolist() == expected.counts.tolist()
    document.close()


def downwards(text: str, encoding: str) -> pymupdf.Document:
    """A page of one line, or of one column, in a font that is not embedded."""
    font = (
        "<</Type/Font/Subtype/Type0/BaseFont/STSong-Light/Encoding/" + encoding + "/DescendantFonts[<</Type/Font"
        "/Subtype/CIDFontType0/BaseFont/STSong-Light/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 4>>"
        "/FontDescriptor<</Type/FontDescriptor/FontName/STSong-Light/Flags 4/FontBBox[0 -254 1000 880]>>>>]>>"
    )
    page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F " + font + ">>>>>>"
    content = f"BT /F 9 Tf 20 280 Td <{text.encode('gbk').hex()}> Tj ET"
    stream = f"<</Length {len(content)}>>stream\n{content}\nendstream"
    return pymupdf.open("pdf", pdf([page.encode(), stream.encode()]))


@pytest.mark.parametrize(
    "text", ["发票号码和合计金额，「开票日期」是二〇二六年。", "第12页共34页，销售方名称及纳税人识别号"]
)
def test_text_written_downwards_has_the_words_of_a_line(text: str) -> None:
    """Though MuPDF gives each character of a column as a line."""
    with downwards(text, "GBK-EUC-H") as line, downwards(text, "GBK-EUC-V") as column:
        expected, found = words_of_page(line[0]), words_of_page(column[0])
    assert expected.characters == found.characters == len(text)
    assert found.columns.tolist() == expected.columns.tolist()


def test_single_digits_below_each_other_stay_apart() -> None:
    """As in a table: a column of them is not a number."""
    found = []
    for digits in ("7788", "7\n7\n8\n8"):
        with pymupdf.open() as table:
            table.new_page().insert_text((40, 40), f"{digits}\npieces of everything")
            found.append(words_of_page(table[0]))
    assert found[0].characters == found[1].characters
    assert found[0].columns.tolist() != found[1].columns.tolist()
