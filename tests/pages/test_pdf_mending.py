"""Boxes that show nothing, and layers hidden by an expression: compared with the page that needs no mending."""

from pathlib import Path

import numpy as np
import pymupdf
import pytest
from pages.test_documents import read, write_pdf

BODY = "0 0 0 rg 120 150 300 40 re f 120 300 150 200 re f"


def boxed(file: Path, entries: str, *, inherited: str = "", body: str = BODY) -> Path:
    """A page with some entries of its own, and some of its parent's."""
    return write_pdf(
        file,
        "<</Type/Catalog/Pages 2 0 R>>",
        f"<</Type/Pages/Kids[3 0 R]/Count 1{inherited}>>",
        f"<</Type/Page/Parent 2 0 R/Contents 4 0 R{entries}>>",
        f"<</Length {len(body)}>>\nstream\n{body}\nendstream",
        "100",
    )


MEDIA = "/MediaBox[50 60 645 902]"


@pytest.mark.parametrize("turn", ["", "/Rotate 90", "/Rotate 180/UserUnit 2.5", "/UserUnit 0.5"])
@pytest.mark.parametrize(
    "crop",
    [
        "0 0 0 0",
        "100 100 100 500",
        "700 950 900 1000",
        "-500 -500 -10 -10",
        "9 9",
        "a b c d",
        "5 0 R 5 0 R 5 0 R 5 0 R",
    ],
)
@pytest.mark.parametrize("parent", [False, True])
def test_a_cropbox_that_shows_nothing_gives_way_to_the_mediabox(
    tmp_path: Path, crop: str, turn: str, *, parent: bool
) -> None:
    """Whether shifted, turned or in other units, its own or its parent's: the pixels are those without a CropBox."""
    entries, box = MEDIA + turn, f"/CropBox[{crop}]"
    file = boxed(tmp_path / "a.pdf", entries + box * (not parent), inherited=box * parent)
    drawn, expected = read(file, "pdf"), read(boxed(tmp_path / "b.pdf", entries), "pdf")
    assert np.array_equal(drawn.pixels, expected.pixels)
    assert (drawn.width, drawn.height) == (expected.width, expected.height)
    assert drawn.repaired
    assert "CropBox" in drawn.message
    assert not expected.repaired


@pytest.mark.parametrize("crop", ["100 100 400 600", "400 600 100 100", "-100 -100 300 5000"])
def test_a_cropbox_that_shows_something_is_obeyed(tmp_path: Path, crop: str) -> None:
    """Also with its corners the other way round, and where only part of it lies on the page."""
    file = boxed(tmp_path / "a.pdf", f"{MEDIA}/CropBox[{crop}]")
    with pymupdf.open(file) as document:
        size = document[0].rect
    drawn = read(file, "pdf")
    assert (drawn.width, drawn.height) == (size.width, size.height) != (595, 842)
    assert not drawn.repaired


@pytest.mark.parametrize("media", ["", "/MediaBox[0 0 0 0]", "/MediaBox[9 9]", "/MediaBox[a b c d]"])
def test_a_page_without_a_mediabox_is_drawn_on_us_letter(tmp_path: Path, media: str) -> None:
    """As PDF viewers do, and it is said."""
    drawn = read(boxed(tmp_path / "a.pdf", media), "pdf")
    expected = read(boxed(tmp_path / "b.pdf", "/MediaBox[0 0 612 792]"), "pdf")
    assert np.array_equal(drawn.pixels, expected.pixels)
    assert drawn.repaired


def layered(file: Path, membership: str, *, off: str = "", form: bool = False) -> Path:
    """A page with a bar on a layer that belongs to an optional content membership; groups are objects 6 and 7."""
    marked = "/OC /L BDC 0 0 0 rg 50 50 200 100 re f EMC"
    body, resources = (marked, "/Properties<</L 5 0 R>>") if not form else ("/X Do", "/XObject<</X 8 0 R>>")
    inner = f"/Type/XObject/Subtype/Form/BBox[0 0 300 400]/Resources<</Properties<</L 5 0 R>>>>/Length {len(marked)}"
    return write_pdf(
        file,
        f"<</Type/Catalog/Pages 2 0 R/OCProperties<</OCGs[6 0 R 7 0 R]/D<</OFF[{off}]>>>>>>",
        "<</Type/Pages/Kids[3 0 R]/Count 1>>",
        f"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 400]/Contents 4 0 R/Resources<<{resources}>>>>",
        f"<</Length {len(body)}>>\nstream\n{body}\nendstream",
        f"<</Type/OCMD{membership}>>",
        "<</Type/OCG/Name(a)>>",
        "<</Type/OCG/Name(b)>>",
        f"<<{inner}>>\nstream\n{marked}\nendstream",
    )


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize(
    ("expression", "off", "shown"),
    [
        ("[/Not 6 0 R]", "", False),
        ("[/Not 6 0 R]", "6 0 R", True),
        ("[/And 6 0 R 7 0 R]", "7 0 R", False),
        ("[/Or 6 0 R 7 0 R]", "7 0 R", True),
        ("[/Or 6 0 R 7 0 R]", "6 0 R 7 0 R", False),
        ("[/And 6 0 R[/Not[/Or 7 0 R[/Not 6 0 R]]]]", "7 0 R", True),
        ("[/And 6 0 R[/Not[/Or 7 0 R[/Not 6 0 R]]]]", "", False),
    ],
)
def test_a_visibility_expression_hides_and_shows(
    tmp_path: Path, expression: str, off: str, *, shown: bool, form: bool
) -> None:
    """And, Or, Not and nested ones, whatever the rule beside it says; on the page and in a form that it draws."""
    file = layered(tmp_path / "a.pdf", f"/VE{expression}/OCGs[6 0 R]/P/AllOn", off=off, form=form)
    assert (read(file, "pdf").ink > 0) == shown


@pytest.mark.parametrize("groups", ["[6 0 R 7 0 R]", "6 0 R", "[]", ""])
@pytest.mark.parametrize("policy", ["", "/P/AllOn", "/P/AnyOn", "/P/AnyOff", "/P/AllOff"])
@pytest.mark.parametrize("off", ["", "6 0 R", "7 0 R", "6 0 R 7 0 R"])
def test_policies_hide_and_show(tmp_path: Path, groups: str, policy: str, off: str) -> None:
    """As the standard says of each; a membership without groups hides nothing."""
    rule = policy.rpartition("/")[2] or "AnyOn"
    on = [group not in off for group in ("6 0 R", "7 0 R") if group in groups]
    expected = {"AllOn": all(on), "AnyOn": any(on), "AnyOff": not all(on), "AllOff": not any(on)}[rule] if on else True
    file = layered(tmp_path / "a.pdf", f"{f'/OCGs {groups}' if groups else ''}{policy}", off=off)
    assert (read(file, "pdf").ink > 0) == expected
