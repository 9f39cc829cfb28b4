"""Pages and documents that look like one."""

from collections.abc import Callable
from pathlib import Path

import pymupdf
import pytest

from embedpipe.backbones.building import Backbone
from embedpipe.core.errors import DocumentError, EmbedpipeError
from embedpipe.core.records import Neighbour
from embedpipe.embedding.regions import parse_box
from embedpipe.index import word_search
from embedpipe.samples import draw_samples
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.similar import Finder, LookAlikes, Wanted, parse_query, write_html

TYPES = ("slides", "letter", "paper")


@pytest.fixture(scope="module")
def finder(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Finder:
    """A finder over a small labelled pile."""
    folder = tmp_path_factory.mktemp("pile")
    draw_samples(folder / "pile", per_type=4, types=TYPES)
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    return Finder(workspace, workspace.store(), lambda: tiny)


def slides(finder: Finder) -> str:
    """A document of several pages that the store holds."""
    pages = finder.pages
    return str(pages[(pages["page_index"] == 2) & pages["source"].str.contains("slides")]["source"].iloc[0])


def keys(found: LookAlikes) -> list[tuple[str, int]]:
    """Which pages were found."""
    return [(n.page.document_sha256, n.page.page_index) for n in found.neighbours]


def test_a_stored_page_is_never_its_own_neighbour(finder: Finder) -> None:
    """As many pages as asked for, best first, without the query."""
    found = finder.find(f"{slides(finder)}#page=2", Wanted(5))
    assert len(found.neighbours) == 5
    assert (found.query.document_sha256, 1) not in keys(found)
    assert sorted((n.score for n in found.neighbours), reverse=True) == [n.score for n in found.neighbours]


def test_filters_leave_as_many_as_were_asked_for(finder: Finder) -> None:
    """Other documents and one type are filters of what is looked among, not of what was found."""
    found = finder.find(slides(finder), Wanted(4, other_documents=True))
    assert len(found.neighbours) == 4
    assert found.query.document_sha256 not in {sha256 for sha256, _ in keys(found)}
    letters = finder.find(slides(finder), Wanted(3, label="letter"))
    assert letters.labels == ["letter"] * 3
    everything = finder.find(slides(finder), Wanted(1000))
    best = [n.score for n, label in zip(everything.neighbours, everything.labels, strict=True) if label == "letter"][:3]
    assert [n.score for n in letters.neighbours] == pytest.approx(best)


def test_a_type_that_nobody_has_is_named(finder: Finder) -> None:
    """The message lists the types that there are."""
    with pytest.raises(EmbedpipeError, match="letter, paper, slides"):
        finder.find(slides(finder), Wanted(label="recipe"))


def test_documents_are_compared_with_all_their_pages(finder: Finder) -> None:
    """Each other document is found once; a copy of the query saved anew comes first with a score of nearly 1."""
    query = slides(finder)
    found = finder.find(query, Wanted(20, whole_document=True))
    documents = [sha256 for sha256, _ in keys(found)]
    assert len(documents) == len(set(documents)) == 11
    assert found.query.document_sha256 not in documents


def test_a_new_document_is_like_the_one_it_is_a_copy_of(finder: Finder, tmp_path: Path) -> None:
    """All pages of a file that the store does not hold go through the network."""
    original = Path(slides(finder))
    copy = tmp_path / "copy.pdf"
    copy.write_bytes(original.read_bytes() + b"\n% other bytes\n")
    best = finder.find(str(copy), Wanted(2, whole_document=True)).neighbours[0]
    assert Path(best.page.source) == original
    assert best.score == pytest.approx(1.0, abs=1e-3)


def test_a_box_is_compared_with_the_same_box(finder: Finder, tmp_path: Path) -> None:
    """The page whose box holds the same pixels comes first."""
    original = Path(slides(finder))
    copy = tmp_path / "copy.pdf"
    copy.write_bytes(original.read_bytes() + b"\n% other bytes\n")
    found = finder.find(f"{copy}#page=2", Wanted(3, box=(0.1, 0.1, 0.9, 0.6)))
    assert (Path(found.neighbours[0].page.source), found.neighbours[0].page.page_index) == (original, 1)
    assert found.neighbours[0].score == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("text", ["0,0,1", "0,0,0,1", "0.5,0,0.4,1", "0,0,1,1.2", "a,b,c,d", "nan,0,1,1"])
def test_a_box_outside_the_page_is_refused(text: str) -> None:
    """Four numbers from 0 to 1, left before right and top before bottom."""
    with pytest.raises(EmbedpipeError, match="--box"):
        parse_box(text)


def test_queries(finder: Finder) -> None:
    """Pages are counted from 1; a page that is not there is named."""
    assert parse_query("a.pdf#page=3") == ("a.pdf", 2)
    assert parse_query("a.pdf") == ("a.pdf", 0)
    with pytest.raises(EmbedpipeError, match="counted from 1"):
        parse_query("a.pdf#page=0")
    with pytest.raises(DocumentError, match="no page 99"):
        finder.find(f"{slides(finder)}#page=99", Wanted())


def test_the_html_stands_alone(finder: Finder, tmp_path: Path) -> None:
    """Pictures are inside the file, and nothing is loaded."""
    answers = [finder.find(slides(finder), Wanted(3))]
    write_html(finder.workspace, answers, {"Queries": "1"}, tmp_path / "a.html")
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert html.count("data:image/jpeg;base64,") == 4
    assert "http" not in html.replace("http-equiv", "")


def test_pages_are_found_by_what_they_say(finder: Finder) -> None:
    """The best pages share n-grams with the query and are not the query; both kinds of likeness are averaged."""
    letter = str(finder.pages[finder.pages["source"].str.contains("letter")]["source"].iloc[0])
    words = finder.find(letter, Wanted(3, by="words", other_documents=True))
    scores = [n.score for n in words.neighbours]
    assert words.labels[0] == "letter"
    assert scores == sorted(scores, reverse=True)
    assert 0 < scores[0] <= 1
    everything = Wanted(1000, by="words", other_documents=True)
    said = dict(zip(keys(finder.find(letter, everything)), scores, strict=False))
    assert words.query.document_sha256 not in {sha256 for sha256, _ in said}
    both = finder.find(letter, Wanted(5, by="both", other_documents=True))
    looks = {key: n.score for key, n in zip(*_pages(finder.find(letter, Wanted(1000))), strict=True)}
    by_words = {key: n.score for key, n in zip(*_pages(finder.find(letter, everything)), strict=True)}
    for key, found in zip(*_pages(both), strict=True):
        assert found.score == pytest.approx((looks[key] + by_words.get(key, 0.0)) / 2, abs=1e-3)
    only = finder.find(letter, Wanted(2, by="words", label="paper"))
    assert set(only.labels) <= {"paper"}


def _pages(found: LookAlikes) -> tuple[list[tuple[str, int]], list[Neighbour]]:
    return keys(found), found.neighbours


def test_a_small_memory_gives_the_same_answer(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that are not kept are read again, a batch at a time."""
    letter = str(finder.pages[finder.pages["source"].str.contains("letter")]["source"].iloc[0])
    before = finder.find(letter, Wanted(5, by="words"))
    monkeypatch.setattr(word_search, "_MOST_KEPT", 10)
    monkeypatch.setattr(word_search, "_BATCH", 3)
    again = Finder(finder.workspace, finder.store, finder.backbone).find(letter, Wanted(5, by="words"))
    assert keys(again) == keys(before)
    assert [n.score for n in again.neighbours] == pytest.approx([n.score for n in before.neighbours])


def test_new_pages_are_asked_by_their_own_words(finder: Finder, make_pdf: Callable[..., Path]) -> None:
    """A page that the store does not hold is read; one without words cannot be asked by them."""
    letters = finder.pages["source"][finder.pages["source"].str.contains("letter")]
    with pymupdf.open(letters.min()) as document:  # rows come as they are rendered: the first one is any letter
        text = document[0].get_text().strip()[:60].replace("\n", " ")
    found = finder.find(str(make_pdf("new.pdf", [text, ""], size=12)), Wanted(1, by="words"))
    assert found.labels == ["letter"]
    with pytest.raises(DocumentError, match="no words"):
        finder.find(f"{make_pdf('new.pdf', [text, ''], size=12)}#page=2", Wanted(1, by="words"))
