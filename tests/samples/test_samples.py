"""The sample documents are repeatable, varied and in two languages, and every page has something on it."""

import itertools
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pymupdf
import pytest

from embedpipe.core.errors import UnknownNameError
from embedpipe.samples import LAYOUTS, SAMPLE_TYPES, Author, Pen, draw_samples, forms, resumes
from embedpipe.samples.pen import BLUE
from embedpipe.samples.scanning import scan

PAGES = {
    "paper": (2, 4),
    "book": (3, 4),
    "resume": (1, 2),
    "invoice": (1, 1),
    "slides": (3, 6),
    "letter": (1, 2),
    "form": (1, 2),
}
SCANS = {".tif", ".jpg", ".png"}
EVERY_LAYOUT = [(kind, layout) for kind, layouts in LAYOUTS.items() for layout in layouts]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Draw some documents of each type, one of them as a scan."""
    return draw_samples(tmp_path_factory.mktemp("samples"), per_type=5)


def _pixels(page: pymupdf.Page, dpi: int = 40) -> np.ndarray:
    pixmap = page.get_pixmap(dpi=dpi, colorspace=pymupdf.csGRAY)
    return np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width)


def test_the_documents_lie_in_a_folder_for_each_type(drawn: list[Path]) -> None:
    """The paths are sorted, named after their type, exist, and are as many as was asked for."""
    assert drawn == sorted(drawn)
    assert all(path.is_file() and path.stem.startswith(f"{path.parent.name}-") for path in drawn)
    assert Counter(path.parent.name for path in drawn) == dict.fromkeys(SAMPLE_TYPES, 5)


def test_the_same_seed_draws_the_same_bytes(tmp_path: Path) -> None:
    """Two runs with one seed give identical files, scans included; another seed gives others."""
    first, second = (draw_samples(tmp_path / name, per_type=2, types=("invoice", "letter")) for name in "ab")
    assert [path.name for path in first] == [path.name for path in second]
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    other = draw_samples(tmp_path / "c", per_type=1, seed=1, types=("letter",))
    assert other[0].read_bytes() != (tmp_path / "a/letter/letter-00.pdf").read_bytes()


def test_a_document_does_not_depend_on_the_others(tmp_path: Path) -> None:
    """Fewer types or fewer documents, or a used global generator, change nothing in the documents that are drawn."""
    many = draw_samples(tmp_path / "many", per_type=2, types=("form", "letter"))
    random.seed(5)
    state = random.getstate()
    (alone,) = draw_samples(tmp_path / "alone", per_type=1, types=("letter",))
    assert alone.read_bytes() == next(path for path in many if path.name == alone.name).read_bytes()
    assert random.getstate() == state


def test_every_type_has_three_layouts() -> None:
    """Each type of document is laid out in at least three different ways."""
    assert {"paper", "book", "resume", "invoice", "slides", "letter", "form"} <= set(SAMPLE_TYPES)
    assert all(len(set(layouts)) >= 3 for layouts in LAYOUTS.values())


@pytest.mark.parametrize(("kind", "layout"), EVERY_LAYOUT, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_layout_fits_its_type(kind: str, layout: Callable[[Author], Pen], language: str) -> None:
    """Each layout, in both languages, keeps to its page counts, leaves no page blank and writes inside the page."""
    pen = layout(Author(random.Random(0), language))
    pen.flush()
    least, most = PAGES[kind]
    assert least <= pen.number <= most
    for page in pen.document.pages():
        assert _pixels(page).std() > 2
        words = page.get_text("words")
        assert words
        assert all(word[0] > -1 and word[2] < page.rect.width + 1 for word in words)
        assert all(word[1] > -12 and word[3] < page.rect.height + 12 for word in words)


def test_no_page_is_blank(drawn: list[Path]) -> None:
    """Every page of every document, scans included, shows something, and page counts are those of its type."""
    for path in drawn:
        with pymupdf.open(path) as document:
            assert PAGES[path.parent.name][0] <= document.page_count <= PAGES[path.parent.name][1], path.name
            for page in document:
                pixels = _pixels(page).astype(float)
                assert (pixels < np.median(pixels) - 40).mean() + (pixels > np.median(pixels) + 40).mean() > 0.001, path


def test_one_in_five_is_a_scan(drawn: list[Path]) -> None:
    """Scans come with every type: single pages as JPEG or PNG, several as TIFF; the rest are PDFs."""
    suffixes = Counter(path.suffix for path in drawn)
    assert set(suffixes) <= {".pdf", *SCANS}
    assert 0.15 <= 1 - suffixes[".pdf"] / len(drawn) <= 0.25
    assert {path.parent.name for path in drawn if path.suffix in SCANS} == set(SAMPLE_TYPES)
    for path in drawn:
        if path.suffix in SCANS:
            with pymupdf.open(path) as document:
                assert (document.page_count > 1) == (path.suffix == ".tif")


def test_half_of_the_documents_are_chinese(drawn: list[Path]) -> None:
    """Between a third and two thirds of the PDFs contain Chinese text."""
    texts = []
    for path in drawn:
        if path.suffix == ".pdf":
            with pymupdf.open(path) as document:
                texts.append(document[0].get_text())
    chinese = sum(any("\u4e00" <= letter <= "\u9fff" for letter in text) for text in texts)
    assert len(texts) / 3 <= chinese <= len(texts) * 2 / 3


@pytest.mark.parametrize("style", [0, 1])
def test_chinese_glyphs_are_drawn(style: int) -> None:
    """Different Chinese characters leave different ink on the page: no empty squares, no missing glyphs."""
    pen = Pen(Author(random.Random(0), "zh"), (400, 100))
    for place, letter in enumerate("发票增值税港"):
        pen.write(10 + 60 * place, 70, letter, 50, style)
    pen.flush()
    pixels = _pixels(pen.page, 72)
    glyphs = [pixels[20:90, 10 + 60 * place : 65 + 60 * place] for place in range(6)]
    assert all((glyph < 128).sum() > 200 for glyph in glyphs)
    assert len({glyph.tobytes() for glyph in glyphs}) == 6


def test_white_bold_chinese_is_white() -> None:
    """The thickened Chinese letters are filled in the colour of their outline."""
    pen = Pen(Author(random.Random(0), "zh"), (100, 100))
    pen.box(0, 0, 100, 100, (0.0, 0.0, 0.0))
    pen.write(20, 70, "票", 60, 1, (1.0, 1.0, 1.0))
    pen.flush()
    assert (_pixels(pen.page, 72) > 250).sum() > 400


def test_a_line_is_justified_and_shrunk_to_measure() -> None:
    """`justify` stretches a line, `most` sets it smaller, and both work on mixed Chinese and Latin text."""
    pen = Pen(Author(random.Random(0), "zh"), fonts=("helv", "hebo", "heit"))
    assert pen.justify(100, 50, "发票 No. 12", 12, 0, None, 200) == pytest.approx(300)
    assert pen.write(100, 90, "发票 No. 12", 40, most=50) == pytest.approx(150)


def test_text_without_room_is_left_out() -> None:
    """A pen on its last page writes nothing below the bottom margin, however long the text is."""
    pen = Pen(Author(random.Random(0), "en"), pages=2)
    pen.flow(pen.author.prose("story", 300, 300))
    pen.flush()
    assert pen.full
    assert pen.number == 2
    assert max(word[3] for word in pen.page.get_text("words")) < pen.bottom + pen.body


def test_an_unknown_type_is_refused(tmp_path: Path) -> None:
    """A type that there is not is named in the error, and nothing is drawn, not even of the types before it."""
    with pytest.raises(UnknownNameError, match="unknown sample type 'novel'"):
        draw_samples(tmp_path, types=("form", "novel"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("layout", LAYOUTS["resume"])
def test_a_resume_names_schools_and_the_latest_years_first(layout: Callable[[Author], Pen]) -> None:
    """There are degrees, and the years of jobs, then schools, go back without a gap or an overlap."""
    pen = layout(Author(random.Random(3), "en"))
    pen.flush()
    text = "".join(page.get_text() for page in pen.document.pages())
    assert re.search(r"(in|of) \w+, [\w ]*(University|Institute|College|School)", text)
    jobs, schools = resumes._career(pen.author, 3, 2)
    years = [tuple(map(int, years.split(" - "))) for years, _ in [*jobs, *schools]]
    assert all(begin < end for begin, end in years)
    assert all(later[0] == earlier[1] for later, earlier in itertools.pairwise(years))


def test_a_questionnaire_has_one_answer_in_a_row() -> None:
    """Of the circles in a row at most one is filled, and so it is over many rows, not always none."""
    filled = Counter()
    for seed in range(20):
        pen = Pen(Author(random.Random(seed), "en"))
        forms._write_scale(pen, 60)
        pen.flush()
        filled[sum(drawing["fill"] == pytest.approx(BLUE) for drawing in pen.page.get_drawings())] += 1
    assert set(filled) == {0, 1}


def test_a_scan_may_show_the_edge_of_the_scanner() -> None:
    """The corners that the turned page leaves free are as dark as is asked for, on white paper."""
    pen = Pen(Author(random.Random(0), "en"), (300, 300))
    light, dark = (np.asarray(scan(random.Random(1), pen.page, color=False, edge=edge)) for edge in (255, 70))
    assert light.min() > 150
    assert dark.min() < 130
    assert (dark < 130).mean() < 0.05
