"""XPS, books, comic books and SVG: pages as MuPDF lays them out, always in the same way."""

import os
import re
from dataclasses import replace
from pathlib import Path

import book_files
import numpy as np
import pymupdf
import pytest
from pages.test_documents import BOOKS, read, refusal, sample
from PIL import Image

from embedpipe.core.records import FAILURES, Document, PageFailure, PageImage, Recipe
from embedpipe.pages.documents import WORDS, Limits, ReadOptions, open_document, recognise
from embedpipe.pages.formats import books
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.unfolding import identify_at, look_up, unfold
from embedpipe.pages.walking import IgnoredFile

LAID_OUT = {"epub": book_files.epub, "fb2": book_files.fb2, "mobi": book_files.mobi}


@pytest.mark.parametrize("key", LAID_OUT)
def test_text_is_laid_out_in_one_way(tmp_path: Path, key: str) -> None:
    """The page is A5 whatever is asked for, longer texts have more pages, and the words are those of the text."""
    assert (books.LAYOUT_WIDTH, books.LAYOUT_HEIGHT, books.LETTERS) == (420, 595, 11)  # features depend on it
    (tmp_path / "a").write_bytes(LAID_OUT[key](200))
    opened = open_document(os.fspath(tmp_path / "a"), key, ReadOptions(recipe=Recipe(size=160)))
    assert opened.page_count >= 3
    first, last = opened.render(0), opened.render(opened.page_count - 1)
    assert (first.width, first.height) == (last.width, last.height) == (420, 595)
    assert first.ink > last.ink > 0
    assert "Words of a book" in opened.pdf[0].get_text()
    opened.close()
    assert refusal(tmp_path / "a", key, limits=Limits(pages=2)).kind == "too_large"
    assert refusal(tmp_path / "a", key, 99).kind == "page_error"


def test_lines_are_as_large_as_ever(tmp_path: Path) -> None:
    """A change of MuPDF's that lays books out otherwise is noticed: what is stored would be of other pages."""
    (tmp_path / "a").write_bytes(book_files.epub(200))
    opened = open_document(os.fspath(tmp_path / "a"), "epub", ReadOptions())
    lines = opened.pdf[0].get_text("dict")["blocks"][1]["lines"]
    assert (opened.page_count, round(lines[0]["spans"][0]["size"], 1)) == (10, 11.0)
    opened.close()


def test_a_comic_book_is_one_document_and_a_heap_of_pictures_is_none(tmp_path: Path) -> None:
    """Its pages are its pictures; pictures in an archive that says nothing are documents each."""
    pictures = [Image.new("L", (60, 80), shade) for shade in (9, 90, 200)]
    (tmp_path / "a.cbz").write_bytes(book_files.cbz(pictures))
    (document,) = unfold(look_up(os.fspath(tmp_path / "a.cbz")), Limits())
    assert document.reader == "cbz"
    assert [read(tmp_path / "a.cbz", "cbz", index).pixels.mean().round() for index in range(3)] == [9, 90, 200]
    pictures[0].save(tmp_path / "1.png")
    (tmp_path / "b.cbz").write_bytes(book_files.zipped([("1.png", (tmp_path / "1.png").read_bytes())]))
    (document,) = unfold(look_up(os.fspath(tmp_path / "b.cbz")), Limits())
    assert (document.reader, document.path) == ("png", f"{tmp_path / 'b.cbz'}!/1.png")


@pytest.mark.parametrize("key", ["xps", "epub", "cbz"])
def test_those_that_are_archives_are_found_in_archives(tmp_path: Path, key: str) -> None:
    """Which kind of ZIP it is, only its names tell; also where it lies in another."""
    (tmp_path / "a.zip").write_bytes(book_files.zipped([("in/x", BOOKS[key]()), ("y", book_files.zipped([]))]))
    document, _ = unfold(look_up(os.fspath(tmp_path / "a.zip")), Limits())
    assert (document.reader, document.path) == (key, f"{tmp_path / 'a.zip'}!/in/x")
    opened = open_document(document.path, key, ReadOptions())
    assert opened.render(0).ink >= 0
    opened.close()


def test_a_locked_book_is_encrypted(tmp_path: Path) -> None:
    """A book with the rights of a seller."""
    (tmp_path / "a").write_bytes(book_files.epub(extra=[("META-INF/rights.xml", "<x/>")]))
    assert refusal(tmp_path / "a", "epub").kind == "encrypted"
    locked = bytearray(book_files.mobi())
    locked[int.from_bytes(locked[78:82], "big") + 13] = 2
    (tmp_path / "a").write_bytes(locked)
    assert refusal(tmp_path / "a", "mobi").kind == "encrypted"


def test_an_svg_reads_no_other_file(tmp_path: Path) -> None:
    """A picture beside it that it names is not drawn; one that it holds is."""
    Image.new("RGB", (9, 9), "red").save(tmp_path / "x.png")
    for name in ("x.png", (tmp_path / "x.png").as_uri(), os.fspath(tmp_path / "x.png")):
        image = f'<image y="140" width="200" height="140" xlink:href="{name}"/>'
        (tmp_path / "a.svg").write_bytes(book_files.svg(more=image))
        assert read(tmp_path / "a.svg", "svg").pixels[-40, 50].tolist() == [255, 255, 255]


@pytest.mark.parametrize(
    ("head", "key"),
    [
        (b"<svg>", "svg"),
        (
            b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x --> <!DOCTYPE svg PUBLIC 'a' 'b' [<!ENTITY a 'b'>]>\n<svg\n",
            "svg",
        ),
        (b"<!-- <svg> --><html>", None),
        (b"<html><svg>", None),
        (b"<?xml?><FictionBook>", "fb2"),
        (b"<!---->" * 150, None),
        (b"<?" * 500, None),
    ],
)
def test_texts_are_known_by_their_first_element(head: bytes, key: str | None) -> None:
    """Declarations and comments may come before it, and cost no time."""
    assert recognise(head) == key


@pytest.mark.parametrize("key", BOOKS)
def test_damage_costs_no_more_than_its_document(tmp_path: Path, key: str) -> None:
    """Cut, and with bytes changed, each has pages or an outcome; MuPDF may crash, and only its worker does."""
    whole, rng = sample(tmp_path, key).read_bytes(), np.random.default_rng(7)
    damaged = [whole[: len(whole) * tenth // 10] for tenth in range(1, 10)]
    for _ in range(6):
        content = np.frombuffer(whole, np.uint8).copy()
        content[rng.integers(8, len(content), 12)] = rng.integers(0, 256, 12)
        damaged.append(content.tobytes())
    jobs = []
    for number, content in enumerate(damaged):
        file = tmp_path / f"{number}"
        file.write_bytes(content)
        jobs.append(
            Job(Document(os.fspath(file), f"{number}", len(content), file.stat().st_mtime_ns, key), Selection())
        )
    with Renderer(ReadOptions(Recipe(size=64), extras=frozenset({WORDS}), limits=Limits(page_seconds=20))) as renderer:
        results = [result for rendered in renderer.render(jobs) for result in rendered.results]
    ids = {(r.page if isinstance(r, PageFailure) else r.info.ref).document_sha256 for r in results}
    assert ids == {str(number) for number in range(len(damaged))}
    assert {r.kind for r in results if isinstance(r, PageFailure)} <= set(FAILURES)
    assert all(max(r.pixels.shape) == 64 for r in results if isinstance(r, PageImage))


def test_mupdf_calls_them_as_we_expect(tmp_path: Path) -> None:
    """The reader of one kind opens no other: what MuPDF says of each is compared."""
    for key, make in BOOKS.items():
        with pymupdf.open(stream=make(), filetype=key) as opened:
            assert opened.metadata["format"] == books._FORMATS[key]
        assert re.fullmatch(r"[a-z0-9]+", key)


TEXTS = {
    "utf-8": "words 发票 números",
    "utf-16": "words 发票",
    "gb18030": "这是一张发票，购买方名称和税号如下",
    "cp1252": "größer als früher",
}


@pytest.mark.parametrize("encoding", TEXTS)
def test_texts_are_read_where_they_are_asked_for(tmp_path: Path, encoding: str) -> None:
    """By their names, in any encoding that can be told, loose and in an archive; else they are other files."""
    file, archive = tmp_path / "a.TXT", tmp_path / "a.zip"
    file.write_bytes(TEXTS[encoding].encode(encoding))
    archive.write_bytes(book_files.zipped([("x/b.md", file.read_bytes())]))
    for path in (file, archive):
        [ignored] = unfold(replace(look_up(os.fspath(path)), named=False), Limits())
        assert isinstance(ignored, IgnoredFile)
        [document] = unfold(look_up(os.fspath(path)), Limits(texts=True))
        assert document.reader == "txt"
        assert identify_at(look_up(document.path), Limits(texts=True)) == document
        opened = open_document(document.path, "txt", ReadOptions())
        assert opened.pdf[0].get_text().strip() == TEXTS[encoding]
        assert opened.render(0).ink > 0
        opened.close()


def test_what_is_no_text_is_none(tmp_path: Path) -> None:
    """Bytes under the name of a text, and an empty one."""
    for content in (b"\0\1\2", b""):
        (tmp_path / "a.txt").write_bytes(content)
        [failure] = unfold(look_up(os.fspath(tmp_path / "a.txt")), Limits(texts=True))
        assert failure.kind == "not_a_document"
    (tmp_path / "a.txt").write_bytes(bytes(range(1, 256)) * 9)
    assert refusal(tmp_path / "a.txt", "txt").kind == "not_a_document"
