"""`embed --explain` says how each file is read, and keeps nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import book_files
import numpy as np
import pymupdf
import pytest
from PIL import Image
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.commands import app
from embedpipe.embedding.streaming import Settings, render_page
from embedpipe.tasks.embed_explain import explain, in_words

NETWORK = ["--backbone", "timm:test_resnet", "--weights", "none", "--size", "64", "--engine", "torch"]

SIMSUN = (
    b"<</Type/Font/Subtype/Type0/BaseFont/SimSun/Encoding/GBK-EUC-H/DescendantFonts[<</Type/Font/Subtype/CIDFontType2"
    b"/BaseFont/SimSun/CIDSystemInfo<</Registry(Adobe)/Ordering(GB1)/Supplement 2>>>>]>>"
)


def chinese() -> bytes:
    """A PDF with Chinese in a font that it does not hold, and a layer that is not shown."""
    objects = [
        b"<</Type/Catalog/Pages 2 0 R/OCProperties<</OCGs[6 0 R]/D<</OFF[6 0 R]>>>>>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 300]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length 41>>stream\nBT /F1 60 Tf 20 200 Td <C4E3BAC3> Tj ET     \nendstream",
        SIMSUN,
        b"<</Type/OCG/Name(Draft)>>",
    ]
    body = b"".join(b"%d 0 obj%s endobj\n" % (number, content) for number, content in enumerate(objects, 1))
    return b"%PDF-1.4\n" + body + b"trailer<</Root 1 0 R/Size 7>>\n%%EOF\n"


@pytest.fixture
def pile(tmp_path: Path, make_image: Callable[..., Path]) -> Path:
    """A PDF in an archive, a book, a picture, and files that are none."""
    folder = tmp_path / "pile"
    folder.mkdir()
    (folder / "a.zip").write_bytes(book_files.zipped([("x/发票.pdf", chinese()), ("notes.txt", "x")]))
    (folder / "b").write_bytes(book_files.epub())
    make_image("pile/c.png")
    (folder / "d.docx").write_bytes(b"x")
    return folder


def test_each_file_is_told(pile: Path, tiny: Backbone, tmp_path: Path) -> None:
    """Recognition, containers, library, fonts and layers; and the pictures are those that the network sees."""
    told = {Path(one.path).name: one for one in explain([str(pile)], tiny, Settings(workers=1), tmp_path / "saved")}
    assert set(told) == {"发票.pdf", "notes.txt", "b", "c.png", "d.docx"}
    invoice = told["发票.pdf"]
    assert invoice.containers == [str(pile / "a.zip")]
    assert invoice.facts["fonts_not_embedded"] == ["SimSun: MuPDF draws its CJK fallback, Droid Sans Fallback"]
    assert invoice.facts["hidden_layers"] == ["Draft"]
    assert invoice.facts["repaired"]
    assert "PyMuPDF" in invoice.facts["library"]
    assert "420 x 595" in told["b"].facts["laid_out"]
    assert told["c.png"].facts["mode"] == "RGB"
    assert told["notes.txt"].passed_over == "other"
    assert told["d.docx"].passed_over == "unread"
    [row] = invoice.pages
    identity = tiny.identity
    seen = render_page(invoice.document, 0, identity.recipe, identity.interpolation, Settings()).pixels
    assert np.array_equal(np.asarray(Image.open(row["picture"])), seen)
    assert row["pixels"] == [seen.shape[1], seen.shape[0]]
    lines = "\n".join(line for one in told.values() for line in in_words(one))
    assert f"lies in {pile / 'a.zip'}" in lines
    assert "page 1: ok (digital), 420 x 595" in lines


def test_the_command_keeps_nothing(pile: Path, tmp_path: Path) -> None:
    """Its exit code is that of a run, its JSON holds what its lines say, and there are no artifacts."""
    options = [*NETWORK, "--artifacts", str(tmp_path / "artifacts")]
    done = CliRunner().invoke(app, ["embed", "--explain", str(pile / "a.zip"), *options, "--json"])
    assert done.exit_code == 0, done.output
    files = json.loads(done.stdout)["files"]
    assert [file["passed_over"] for file in files] == [None, "other"]
    assert files[0]["pages"][0]["outcome"] == "repaired"
    assert not (tmp_path / "artifacts").exists()
    done = CliRunner().invoke(app, ["embed", "--explain", str(pile / "d.docx"), *options])
    assert done.exit_code == 3
    assert os.listdir(tmp_path) == ["pile"]


def test_pages_are_saved_with_an_explanation_only(pile: Path, tmp_path: Path) -> None:
    """A run over a million pages saves none by a slip."""
    done = CliRunner().invoke(app, ["embed", str(pile), *NETWORK, "--save-pages", str(tmp_path / "saved")])
    assert done.exit_code != 0
    assert "--explain" in str(done.exception)


def test_hidden_annotations_are_a_space_of_their_own(pile: Path, tmp_path: Path) -> None:
    """The option changes the space, in which other commands read as it says."""
    options = [*NETWORK, "--artifacts", str(tmp_path / "artifacts"), "--json", "--explain", str(pile / "c.png")]
    shown, hidden, usual = (
        json.loads(CliRunner().invoke(app, ["embed", *options, *more]).stdout)["space"]
        for more in (["--annotations", "show"], ["--annotations", "hide"], [])
    )
    assert shown == usual != hidden
    done = CliRunner().invoke(app, ["embed", *options, "--annotations", "none"])
    assert "write show or hide" in str(done.exception)


def test_labels_of_pages_are_told(tmp_path: Path, tiny: Backbone) -> None:
    """What pages call themselves, where these are not their numbers; poppler and viewers show the same."""
    with pymupdf.open() as document:
        for _ in range(4):
            document.new_page()
        document.set_page_labels([{"startpage": 0, "style": "r"}, {"startpage": 2, "prefix": "A-", "style": "D"}])
        document.save(tmp_path / "a.pdf")
        document.set_page_labels([{"startpage": 0, "style": "D"}])
        document.save(tmp_path / "b.pdf")
    first, second = explain([str(tmp_path / "a.pdf"), str(tmp_path / "b.pdf")], tiny, Settings(workers=1))
    assert first.facts["page_labels"] == ["i", "ii", "A-1", "A-2"]
    assert second.facts["page_labels"] == []
    assert [row["page"] for row in first.pages] == [1, 2, 3, 4]
