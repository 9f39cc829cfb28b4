"""Which pairs of pages show the same picture: forms filled differently, scans, and pages that cannot be drawn."""

import random
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from PIL import Image

from embedpipe.core.records import Document
from embedpipe.embedding.page_pictures import page_jpegs
from embedpipe.index.same_page import verification
from embedpipe.index.same_page.verification import Verified, verify
from embedpipe.pages.documents import Limits
from embedpipe.pages.walking import FoundFile, identify
from embedpipe.samples import Author
from embedpipe.samples.forms import table
from embedpipe.samples.scanning import scan
from embedpipe.store.page_extras import THUMBNAILS, page_table
from embedpipe.store.page_table import PageTableWriter
from embedpipe.store.sources import Sources
from embedpipe.store.workspace import Workspace

NAMES = (
    "form.pdf",
    "turned.jpg",
    "scan1.jpg",
    "scan2.jpg",
    "filled.pdf",
    "filled-scan.jpg",
    "copy.png",
    "white.png",
    "white2.png",
)
SAME, OTHER, BARE = (0, 1, 2, 3, 6), (4, 5), (7, 8)


def form(number: str) -> pymupdf.Document:
    """A registration sheet with a number filled in by hand."""
    pen = table(Author(random.Random(5), "en"))
    pen.flush()
    pen.document[0].insert_text((90, 700), number, fontsize=12)
    return pen.document


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    """A form: as it is, turned by 1 degree, scanned twice; filled differently, and that scanned; nearly white pages."""
    folder = tmp_path_factory.mktemp("pages")
    one, other = form("4318 5017 22"), form("7902 6634 81")
    one.save(folder / "form.pdf")
    other.save(folder / "filled.pdf")
    pixmap = one[0].get_pixmap(dpi=110)
    picture = Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)
    picture.rotate(1, Image.Resampling.BICUBIC, fillcolor="white").save(folder / "turned.jpg", quality=60)
    picture.save(folder / "copy.png")
    for name, document, seed in (("scan1", one, 1), ("scan2", one, 2), ("filled-scan", other, 3)):
        scan(random.Random(seed), document[0], color=False).save(folder / f"{name}.jpg", quality=70)
    for name, grey in (("white.png", 0), ("white2.png", 40)):
        white = Image.new("L", (600, 800), 255)
        white.paste(grey, (300, 760, 306, 768))  # a page number
        white.save(folder / name)
    found = []
    for name in NAMES:
        status = (folder / name).stat()
        file = FoundFile(str(folder / name), status.st_size, status.st_mtime_ns, named=True, type_folder=None)
        document = identify(file, Limits())
        assert isinstance(document, Document)
        found.append(document)
    return found


@pytest.fixture
def known(documents: list[Document], tmp_path: Path) -> Workspace:
    """Artifacts that know where the documents are and keep no thumbnails."""
    workspace = Workspace(tmp_path / "artifacts")
    with workspace.writing("test"):
        sources = workspace.sources()
        for document in documents:
            sources.add(document)
        sources.save()
    return workspace


def compared(workspace: Workspace, documents: list[Document], order: list[int]) -> tuple[Verified, set[frozenset[int]]]:
    """What is found of all pairs of documents in some order, and the groups, as numbers in NAMES."""
    rows = np.stack(np.triu_indices(len(order), 1), axis=1)
    found = verify(workspace, [(documents[number].sha256, 0) for number in order], rows)
    roots = found.groups.roots()
    groups = {frozenset(order[row] for row in np.flatnonzero(roots == root)) for root in set(roots)}
    return found, {group for group in groups if len(group) > 1}


def test_scans_of_one_form_join_and_the_form_filled_differently_stays_apart(
    known: Workspace, documents: list[Document]
) -> None:
    """In whatever order they come; the other form and its scan are one of their own. Nearly white pages are counted."""
    for seed in (0, 1):
        order = list(range(len(NAMES)))
        random.Random(seed).shuffle(order)
        found, groups = compared(known, documents, order)
        assert groups == {frozenset(SAME), frozenset(OTHER)}
        assert {order[row] for row in found.nearly_blank} == set(BARE)
        assert not found.unreadable


def test_the_same_pairs_give_the_same_answer_again(known: Workspace, documents: list[Document]) -> None:
    """Figures included, however the workers share the pages out."""
    first, again = (compared(known, documents, list(range(6)))[0] for _ in range(2))
    assert first.agreements == again.agreements
    assert first.compared == again.compared


def test_pages_that_cannot_be_drawn_are_told(known: Workspace, documents: list[Document], tmp_path: Path) -> None:
    """One that was never seen, and one whose file vanished since it was looked for; the others are compared."""
    never, vanished = (Document(str(tmp_path / name), name * 32, 10, 1, "pdf") for name in ("ab", "cd"))
    sources = known.sources()
    sources.add(vanished)
    sources.save()
    found, groups = compared(known, [documents[0], never, documents[6], vanished], [0, 1, 2, 3])
    assert (found.unreadable, found.not_compared) == ({1, 3}, 5)
    assert groups == {frozenset({0, 2})}


def keep_thumbnails(workspace: Workspace, documents: list[Document]) -> None:
    """As `embed` does."""
    writer = PageTableWriter(page_table(workspace.root, THUMBNAILS))
    for key, picture in page_jpegs(workspace, [(document.sha256, 0) for document in documents]).items():
        writer.append(key, {"picture": picture})
    writer.flush()


def test_thumbnails_alone_keep_apart_what_is_clearly_not_the_same(
    known: Workspace, documents: list[Document], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a document nothing is drawn; pairs that would have to be are counted, with their pages."""
    keep_thumbnails(known, documents)
    monkeypatch.setattr(Sources, "document", lambda *_: None)
    found, groups = compared(known, documents, [0, 1, 7])
    assert not groups
    assert (found.compared, found.not_compared, found.unreadable) == (0, 1, {0, 1})
    assert found.nearly_blank == {2}


def test_kept_thumbnails_change_no_answer(known: Workspace, documents: list[Document]) -> None:
    """Made now or kept, they are the same."""
    order = list(range(len(NAMES)))
    before, _ = compared(known, documents, order)
    keep_thumbnails(known, documents)
    assert compared(known, documents, order)[0].agreements == before.agreements


def test_a_page_without_a_picture_is_asked_for_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many runs of pairs it is in: to look for its document takes long."""
    asked: list[list[tuple[str, int]]] = []
    monkeypatch.setattr(verification, "page_jpegs", lambda _, keys, **__: asked.append(list(keys)) or {})
    monkeypatch.setattr(verification, "_SKETCHES", 2)
    keys = [(f"{row:064x}", 0) for row in range(3)]
    found = verify(Workspace(tmp_path), keys, np.array([(0, 1), (0, 2), (1, 2)], np.int64))
    assert asked == [keys[:2], keys[2:]]
    assert (found.not_compared, found.unreadable) == (3, {0, 1, 2})
