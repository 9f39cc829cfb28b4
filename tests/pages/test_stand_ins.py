"""PDFs with more in them than their pages show."""

from collections.abc import Callable
from pathlib import Path

import pymupdf
import pytest
from pages.test_documents import read, write_pdf

from embedpipe.core.errors import DocumentError

PAGE = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>"
CONTENT = "BT /F 20 Tf 30 300 Td (Please wait) Tj ET"
XDP = "<xdp:xdp>{}<xfa:datasets><who>{}</who></xfa:datasets></xdp:xdp>"
REQUIRED = "<config><acrobat7><dynamicRender>required</dynamicRender></acrobat7></config>"


def stream(text: str) -> str:
    """A stream object of a PDF."""
    return f"<</Length {len(text)}>>\nstream\n{text}\nendstream"


def xfa_form(file: Path, form: str, *, catalog: str = "", config: str = "", who: str = "Ada") -> Path:
    """A PDF with an XFA form; object 6 is the whole form or one packet of it."""
    return write_pdf(
        file,
        f"<</Type/Catalog/Pages 2 0 R/AcroForm<<{form}>>{catalog}>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        PAGE,
        stream(CONTENT),
        "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        stream(XDP.format(config, who)),
        "<</T(f)/FT/Tx/Rect[0 0 9 9]/Subtype/Widget>>",
    )


@pytest.mark.parametrize(
    ("form", "more"),
    [
        ("/Fields[]/XFA 6 0 R", {"catalog": "/NeedsRendering true"}),
        ("/Fields[7 0 R]/XFA 6 0 R", {"catalog": "/NeedsRendering true"}),
        ("/Fields[7 0 R]/XFA[(config) 6 0 R]", {"config": REQUIRED}),
        ("/Fields[]/XFA[(template) 6 0 R]", {}),
        ("/XFA 6 0 R", {}),
    ],
)
def test_a_dynamic_form_is_not_drawn(tmp_path: Path, form: str, more: dict[str, str]) -> None:
    """However the form is stored, and however it says that its pages are laid out later: nothing is embedded of it."""
    with pytest.raises(DocumentError, match="dynamic XFA form") as refused:
        read(xfa_form(tmp_path / "a.pdf", form, **more), "pdf")
    assert refused.value.kind == "needs_converter"


@pytest.mark.parametrize("form", ["/Fields[7 0 R]/XFA 6 0 R", "/Fields[7 0 R]", "/Fields[]"])
def test_a_static_form_is_a_page(tmp_path: Path, form: str) -> None:
    """Its fields are of the ordinary kind too, and are drawn."""
    assert read(xfa_form(tmp_path / "a.pdf", form), "pdf").stands_for == ""


def with_files(file: Path, *names: str, pages: int = 1, text: str = "See the files", portfolio: bool = False) -> Path:
    """A PDF with embedded files."""
    with pymupdf.open() as document:
        for _ in range(pages):
            document.new_page().insert_text((72, 72), text, fontsize=30)
        for name in names:
            document.embfile_add(name, name.encode())
        if portfolio:
            document.xref_set_key(document.pdf_catalog(), "Collection", "<</Type/Collection/View/T>>")
        document.save(file)
    return file


def test_a_portfolio_is_a_placeholder(tmp_path: Path) -> None:
    """The message names its files, the first of them."""
    drawn = read(with_files(tmp_path / "a.pdf", "a.pdf", "b.xls", "c", "d", portfolio=True), "pdf")
    assert drawn.stands_for == "placeholder"
    assert "4 embedded files (a.pdf, b.xls, c and 1 more)" in drawn.message


def test_a_page_with_embedded_files_is_a_cover(tmp_path: Path) -> None:
    """Of longer documents the first page is."""
    file = with_files(tmp_path / "a.pdf", "a.pdf", pages=2)
    assert [read(file, "pdf", index).stands_for for index in (0, 1)] == ["cover", ""]


def test_a_file_attached_to_the_page_counts(tmp_path: Path) -> None:
    """As the pin of an attachment."""
    with pymupdf.open() as document:
        document.new_page().add_file_annot((72, 72), b"x", "b.txt")
        document.save(tmp_path / "a.pdf")
    drawn = read(tmp_path / "a.pdf", "pdf")
    assert drawn.stands_for == "cover"
    assert "b.txt" in drawn.message


@pytest.mark.parametrize("relation", ["Data", "Source", "Alternative"])
def test_an_electronic_invoice_is_what_its_page_shows(tmp_path: Path, relation: str) -> None:
    """Its embedded file says the same as the page."""
    file = with_files(tmp_path / "a.pdf", "factur-x.xml")
    content = file.read_bytes()
    assert content.count(b"/Type/Filespec") == 1
    file.write_bytes(content.replace(b"/Type/Filespec", b"/Type/Filespec/AFRelationship/" + relation.encode()))
    assert read(file, "pdf").stands_for == ""


def test_a_name_tree_that_goes_round_ends(tmp_path: Path) -> None:
    """Damaged lists of files lose no page."""
    file = write_pdf(
        tmp_path / "a.pdf",
        "<</Type/Catalog/Pages 2 0 R/Names<</EmbeddedFiles 4 0 R>>>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]>>",
        "<</Kids[4 0 R 4 0 R]/Names[(a)]>>",
    )
    assert read(file, "pdf").pixels.min() == 255


def test_ordinary_documents_are_none(make_pdf: Callable[..., Path]) -> None:
    """Nothing is said of them."""
    drawn = read(make_pdf("a.pdf", ["one"]), "pdf")
    assert (drawn.stands_for, drawn.message) == ("", "")
