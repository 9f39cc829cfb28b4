"""What is on a PDF page, drawn as a second renderer draws it: pdfium, which is that of Chrome."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pymupdf
import pypdfium2 as pdfium
import pytest
from numpy.typing import NDArray
from pages.test_documents import read
from PIL import Image

from embedpipe.core.records import Identity, Recipe
from embedpipe.pages.contract import ReadOptions
from embedpipe.pages.formats.pdf import PdfDocument

PAGE = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 200 200]/Contents 4 0 R"
BLACK = b"<</Type/XObject/Subtype/Form/BBox[0 0 100 100]/Length 20>>stream\n0 g 0 0 100 100 re f\nendstream"
RECT = b"/Rect[20 20 120 120]"
NOTHING = b"<</Length 0>>stream\n\nendstream"


def pdf(objects: Sequence[bytes], root: bytes = b"") -> bytes:
    """A PDF of a catalogue with more in it, the tree of its one page, the page, and other objects from 4 on."""
    content = b"%PDF-1.7\n"
    everything = [b"<</Type/Catalog/Pages 2 0 R" + root + b">>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", *objects]
    places = []
    for number, text in enumerate(everything, 1):
        places.append(b"%010d 00000 n \n" % len(content))
        content += b"%d 0 obj%s endobj\n" % (number, text)
    table = b"xref\n0 %d\n0000000000 65535 f \n" % (len(places) + 1) + b"".join(places)
    end = b"trailer<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF\n" % (len(places) + 1, len(content))
    return content + table + end


def annotated(annotation: bytes, root: bytes = b"", *more: bytes) -> bytes:
    """An empty page with an annotation, object 5."""
    return pdf([PAGE + b"/Annots[5 0 R]>>", NOTHING, b"<</Type/Annot" + annotation + b">>", *more], root)


def layered(states: bytes, shown_by: bytes, usage: bytes = b"") -> bytes:
    """A square that belongs to a layer, object 5, or to a membership of this and another, object 6."""
    root = b"/OCProperties<</OCGs[5 0 R 6 0 R]/D<<" + states + b">>>>"
    page = PAGE + b"/Resources<</Properties<</L " + shown_by + b">>>>>>"
    draw = b"/OC /L BDC 0 g 20 20 100 100 re f EMC"
    contents = b"<</Length %d>>stream\n%s\nendstream" % (len(draw), draw)
    return pdf([page, contents, b"<</Type/OCG/Name(A)" + usage + b">>", b"<</Type/OCG/Name(B)>>"], root)


def ours(content: bytes, folder: Path, **recipe: str) -> NDArray[np.float64]:
    """Shades of the page as we draw it, (200, 200)."""
    (folder / "a.pdf").write_bytes(content)
    return read(folder / "a.pdf", "pdf", recipe=Recipe(size=208, **recipe)).pixels.mean(axis=2)


def theirs(content: bytes) -> NDArray[np.float64]:
    """The same by pdfium."""
    document = pdfium.PdfDocument(content)
    document.init_forms()
    shades: NDArray[np.float64] = document[0].render(scale=1.04).to_numpy()[..., :3].mean(axis=2)
    document.close()
    return shades


STATES = {
    "default": b"",
    "off": b"/OFF[5 0 R]",
    "all off": b"/BaseState/OFF",
    "all off but one": b"/BaseState/OFF/ON[5 0 R]",
    "other off": b"/OFF[6 0 R]",
}


@pytest.mark.parametrize("states", STATES.values(), ids=STATES)
def test_layers_are_shown_as_a_viewer_opens_them(tmp_path: Path, states: bytes) -> None:
    """By the default configuration of the document."""
    content = layered(states, b"5 0 R")
    assert np.mean(np.abs(ours(content, tmp_path) - theirs(content)) > 100) < 0.01


@pytest.mark.parametrize("policy", ["AnyOn", "AllOn", "AnyOff", "AllOff"])
@pytest.mark.parametrize("states", STATES.values(), ids=STATES)
def test_memberships_follow_their_policy(tmp_path: Path, states: bytes, policy: str) -> None:
    """MuPDF alone shows AllOn and AnyOff otherwise than pdfium; mended it does not."""
    content = layered(states, b"<</Type/OCMD/OCGs[5 0 R 6 0 R]/P/" + policy.encode() + b">>")
    assert np.mean(np.abs(ours(content, tmp_path) - theirs(content)) > 100) < 0.01


@pytest.mark.parametrize("expression", [b"[/Not 5 0 R]", b"[/And 5 0 R 6 0 R]", b"[/Or [/Not 5 0 R] 6 0 R]"])
def test_memberships_follow_their_expression(tmp_path: Path, expression: bytes) -> None:
    """Expressions count before policies."""
    for states in STATES.values():
        content = layered(states, b"<</Type/OCMD/VE" + expression + b"/OCGs[5 0 R]>>")
        assert np.mean(np.abs(ours(content, tmp_path) - theirs(content)) > 100) < 0.01


def test_a_layer_for_the_screen_and_one_for_the_printer(tmp_path: Path) -> None:
    """What is hidden on a screen is hidden."""
    usage = b"/Usage<</View<</ViewState/OFF>>/Print<</PrintState/ON>>>>"
    content = layered(b"/AS[<</Event/View/OCGs[5 0 R]/Category[/View]>>]", b"5 0 R", usage)
    assert np.mean(np.abs(ours(content, tmp_path) - theirs(content)) > 100) < 0.01


ANNOTATIONS = {
    "stamp": b"/Subtype/Stamp/F 4/AP<</N 6 0 R>>" + RECT,
    "stamp of no flags": b"/Subtype/Stamp/AP<</N 6 0 R>>" + RECT,
    "hidden stamp": b"/Subtype/Stamp/F 2/AP<</N 6 0 R>>" + RECT,
    "stamp for the printer": b"/Subtype/Stamp/F 36/AP<</N 6 0 R>>" + RECT,
    "square": b"/Subtype/Square/F 4/C[0 0 0]/IC[0 0 0]" + RECT,
    "ink": b"/Subtype/Ink/F 4/C[0 0 0]/BS<</W 5>>/InkList[[20 20 120 120]]" + RECT,
    "text": b"/Subtype/FreeText/F 4/DA(/Helv 24 Tf 0 g)/Contents(HELLO)/Rect[20 20 180 60]",
    "link": b"/Subtype/Link/Border[0 0 5]/C[0 0 0]" + RECT,
}


@pytest.mark.parametrize("annotation", ANNOTATIONS.values(), ids=ANNOTATIONS)
def test_annotations_are_shown_or_hidden(tmp_path: Path, annotation: bytes) -> None:
    """As a viewer shows them, also those without an appearance of their own; or not at all."""
    content = annotated(annotation, b"", BLACK)
    shown = ours(content, tmp_path)
    assert abs(np.mean(shown < 128) - np.mean(theirs(content) < 128)) < 0.005
    assert ours(content, tmp_path, annotations="hide").min() == 255


FORM = b"/AcroForm<</Fields[5 0 R]/NeedAppearances %s/DA(/Helv 24 Tf 0 g)/DR<</Font<</Helv 6 0 R>>>>>>"
HELVETICA = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"


@pytest.mark.parametrize("needed", [b"true", b"false"])
def test_fields_without_an_appearance_are_drawn(tmp_path: Path, needed: bytes) -> None:
    """What was filled in is seen, whether annotations are hidden or not."""
    field = b"/Subtype/Widget/FT/Tx/T(a)/F 4/V(HELLO)/DA(/Helv 24 Tf 0 g)/Rect[20 20 180 60]"
    content = annotated(field, FORM % needed, HELVETICA)
    shown = ours(content, tmp_path)
    assert 0.002 < np.mean(shown < 128) < 0.1
    assert abs(np.mean(shown < 128) - np.mean(theirs(content) < 128)) < 0.005
    assert np.array_equal(shown, ours(content, tmp_path, annotations="hide"))


SIGNED = b"/V<</Type/Sig/Filter/Adobe.PPKLite/SubFilter/adbe.pkcs7.detached/ByteRange[0 1 2 3]/Contents<00>>>"


@pytest.mark.parametrize("value", [SIGNED, b""], ids=["signed", "not yet"])
def test_a_signature_is_a_field(tmp_path: Path, value: bytes) -> None:
    """Its picture stays where annotations are hidden; one that nobody has signed is shown as it is stored."""
    field = b"/Subtype/Widget/FT/Sig/T(s)/F 132" + RECT + value
    bare = annotated(field, FORM % b"false", BLACK)
    assert np.abs(ours(bare, tmp_path) - theirs(bare)).max() == 0
    content = annotated(field + b"/AP<</N 6 0 R>>", FORM % b"false", BLACK)
    shown = ours(content, tmp_path)
    assert np.mean(np.abs(shown - theirs(content)) > 100) < 0.01
    assert np.mean(shown < 128) > 0.2
    assert np.array_equal(shown, ours(content, tmp_path, annotations="hide"))


def test_hidden_annotations_are_another_space() -> None:
    """Spaces from before keep their names; what changes the numbers changes it."""
    before = Identity("x", "0" * 64, Recipe(), ("a",))
    hidden = Identity("x", "0" * 64, Recipe(annotations="hide"), ("a",))
    assert before.to_json()["recipe"] == {"size": 320, "resize": "aspect", "layers": "stages"}
    assert before.space != hidden.space
    assert Identity.from_json(hidden.to_json()) == hidden
    assert Identity.from_json(before.to_json()) == before


BOXES = {
    "turned": b"/MediaBox[0 0 200 100]/Rotate 90",
    "upside down": b"/MediaBox[0 0 200 100]/Rotate 180",
    "turned back": b"/MediaBox[0 0 200 100]/Rotate -90",
    "cropped": b"/MediaBox[0 0 200 200]/CropBox[0 0 150 100]",
    "turned and cropped": b"/MediaBox[0 0 200 200]/CropBox[0 0 150 100]/Rotate 270",
    "elsewhere": b"/MediaBox[-50 -50 150 50]",
    "the wrong way round": b"/MediaBox[200 100 0 0]",
    "tiny": b"/MediaBox[0 0 9 6]",
    "huge": b"/MediaBox[0 0 14400 7200]",
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_boxes_are_those_of_other_viewers(tmp_path: Path, box: bytes) -> None:
    """The page has the shape that pdfium gives it, and the same corner is dark."""
    draw = b"0 g -50 -50 90 90 re f 0 0 3 3 re f 0 0 4000 3000 re f" if b"14400" in box else b"0 g -50 -50 90 90 re f"
    draw = b"0 g 0 0 4 3 re f" if b"0 0 9 6" in box else draw
    page = b"<</Type/Page/Parent 2 0 R/Contents 4 0 R" + box + b">>"
    content = pdf([page, b"<</Length %d>>stream\n%s\nendstream" % (len(draw), draw)])
    (tmp_path / "a.pdf").write_bytes(content)
    drawn = read(tmp_path / "a.pdf", "pdf", recipe=Recipe(size=96))
    document = pdfium.PdfDocument(content)
    width, height = document[0].get_size()
    picture = document[0].render(scale=96 / max(width, height)).to_numpy()[..., :3].mean(axis=2)
    document.close()
    assert (drawn.width, drawn.height) == pytest.approx((width, height), abs=0.01)
    rows, columns = drawn.pixels.shape[:2]
    corners = [(r, c) for r in (3, rows - 4) for c in (3, columns - 4)]
    theirs = [(round(r * picture.shape[0] / rows), round(c * picture.shape[1] / columns)) for r, c in corners]
    assert [bool(drawn.pixels[at].mean() > 128) for at in corners] == [bool(picture[at] > 128) for at in theirs]


def test_the_password_that_opens_it_is_found(tmp_path: Path) -> None:
    """Of a list, as pdfium finds with that one; none of the others opens it."""
    words = ["wrong", "schlüssel", "密码", "secret"]
    with pymupdf.open() as document:
        document.new_page(width=200, height=200).draw_rect((20, 80, 120, 180), fill=(0, 0, 0))
        content = document.tobytes(encryption=pymupdf.PDF_ENCRYPT_AES_256, user_pw="密码", owner_pw="owner")
    (tmp_path / "a.pdf").write_bytes(content)
    opened = PdfDocument(str(tmp_path / "a.pdf"), ReadOptions(Recipe(size=208), passwords=tuple(words)))
    seen = opened.render(0).pixels.mean(axis=2)
    opened.close()
    assert opened.password == "密码"
    for word in words:
        if word != opened.password:
            with pytest.raises(pdfium.PdfiumError):
                pdfium.PdfDocument(content, password=word)
    with_it = pdfium.PdfDocument(content, password=opened.password)
    shades = with_it[0].render(scale=1.04).to_numpy()[..., :3].mean(axis=2)
    with_it.close()
    assert np.mean(np.abs(seen - shades) > 100) < 0.01


CHINESE = (
    b"<</Type/Font/Subtype/Type0/BaseFont/SimSun/Encoding/UniGB-UCS2-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType0"
    b"/BaseFont/SimSun/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>>>]>>"
)


@pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="poppler-utils is not installed")
def test_fonts_that_are_not_in_the_file_are_told(tmp_path: Path) -> None:
    """Letters are drawn where poppler draws some, and the page says in which font."""
    page = PAGE + b"/Resources<</Font<</F 5 0 R>>>>>>"
    draw = b"BT /F 60 Tf 30 80 Td <4F60597D> Tj ET"
    content = pdf([page, b"<</Length %d>>stream\n%s\nendstream" % (len(draw), draw), CHINESE])
    (tmp_path / "a.pdf").write_bytes(content)
    drawn = read(tmp_path / "a.pdf", "pdf", recipe=Recipe(size=208))
    assert drawn.message.startswith("drawn in Droid Sans Fallback, for the file does not hold SimSun")
    command = ["pdftoppm", "-png", "-scale-to", "208", str(tmp_path / "a.pdf"), str(tmp_path / "p")]
    subprocess.run(command, check=True, capture_output=True)
    (picture,) = tmp_path.glob("p*.png")
    theirs = np.asarray(Image.open(picture).convert("L"), float)
    for part in (np.s_[60:130, 30:90], np.s_[60:130, 95:150]):
        assert (drawn.pixels.mean(axis=2)[part] < 128).mean() > 0.05
        if (theirs < 128).any():  # poppler draws none without CJK fonts of the system
            assert (theirs[part] < 128).mean() > 0.05
