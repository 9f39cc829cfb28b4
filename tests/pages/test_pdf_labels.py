"""What pages call themselves, as pdfium tells it, which is what Chrome shows."""

import pymupdf
import pypdfium2 as pdfium
import pytest

from embedpipe.pages.formats.pdf_labels import page_labels

PAGES = 60


def labelled(tree: str) -> bytes:
    """A PDF of 60 pages with a tree of labels."""
    with pymupdf.open() as document:
        for _ in range(PAGES):
            document.new_page(width=50, height=50)
        document.xref_set_key(document.pdf_catalog(), "PageLabels", tree)
        content: bytes = document.tobytes()
    return content


TREES = {
    "type": "<</Nums[0<</Type/PageLabel/S/r>>3<</Type/PageLabel/S/D/St 7>>]>>",
    "slash": "<</Nums[0<</S/D/P(2024/Q1-)>>]>>",
    "brackets": r"<</Nums[0<</S/D/P(a\(b\))>>]>>",
    "Chinese": "<</Nums[0<</S/D/P<FEFF7B2C>>>]>>",
    "letters": "<</Nums[0<</S/A>>55<</S/a/St 26>>]>>",
    "Roman": "<</Nums[0<</S/R/St 3980>>30<</S/r/St 380>>]>>",
    "no number": "<</Nums[0<</P(Cover)>>1<</S/D>>]>>",
    "kids": "<</Kids[<</Limits[0 0]/Nums[0<</S/r>>]>>"
    "<</Limits[2 9]/Kids[<</Limits[2 2]/Nums[2<</S/D>>]>><</Limits[9 9]/Nums[9<</S/A>>]>>]>>]>>",
}


@pytest.mark.parametrize("tree", TREES.values(), ids=TREES)
def test_labels_are_those_of_pdfium(tree: str) -> None:
    """Whatever the form of the rules; PyMuPDF alone gives `ageLabel7`, `2024` and hexadecimal digits."""
    content = labelled(tree)
    with pymupdf.open("pdf", content) as document:
        ours = page_labels(document, PAGES)
    theirs = pdfium.PdfDocument(content)
    assert ours == [theirs.get_page_label(index) for index in range(PAGES)]
    theirs.close()


@pytest.mark.parametrize(
    ("tree", "first"),
    [
        ("<</Nums[1<</S/r>>]>>", ["1", "i"]),
        ("<</Nums[0<</S/a/St 2000000000>>]>>", ["2000000000", "2000000001"]),
        ("<</Nums[0<</S/r/St -5>>]>>", ["i", "ii"]),
        ("<</Nums[0 17 1]>>", []),
        ("[1 2]", []),
    ],
    ids=["none for the first page", "long", "negative", "no rule", "no tree"],
)
def test_odd_rules_give_short_labels(tree: str, first: list[str]) -> None:
    """Pages that no rule speaks of have their numbers; nothing is raised."""
    with pymupdf.open("pdf", labelled(tree)) as document:
        assert page_labels(document, 2) == first


def test_a_tree_that_holds_itself_ends() -> None:
    """Its labels count all the same."""
    with pymupdf.open("pdf", labelled("<</Nums[0<</S/r>>]>>")) as document:
        catalog = document.pdf_catalog()
        tree = document.get_new_xref()
        document.update_object(tree, f"<</Nums[0<</S/r>>]/Kids[{tree} 0 R {tree} 0 R]>>")
        document.xref_set_key(catalog, "PageLabels", f"{tree} 0 R")
        assert page_labels(document, 2) == ["i", "ii"]
