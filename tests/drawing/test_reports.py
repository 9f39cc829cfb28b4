"""The report stands alone, says what it should, and no name can break it."""

import base64
import dataclasses
import io
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from embedpipe.core.errors import ArtifactError
from embedpipe.drawing.reports import GALLERY, Likeness, Mistake, ReportData, write_report

METRICS = {
    "accuracy": 0.8123,
    "balanced_accuracy": 0.7712,
    "macro_f1": 0.7534,
    "document_accuracy": 0.9312,
    "document_balanced_accuracy": 0.9045,
    "document_macro_f1": 0.9189,
    "document_calibration_error": 0.0213,
    "folds": 5,
    "groups": 1234,
    "types_with_one_group": [],
}
VOID = {"meta", "img", "br", "link"}


class Parsed(HTMLParser):
    """What a browser would see: elements with their attributes, and the text of each section."""

    def __init__(self, html: str) -> None:
        """Parses a page and checks that its elements are closed in order."""
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[tuple[str, str | None]] = []
        self.texts: dict[str | None, str] = {}
        self.names: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Notes an element."""
        self.elements.append((tag, dict(attrs)))
        if tag in {"td", "th"}:
            self.handle_data(" ")
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("id")))

    def handle_endtag(self, tag: str) -> None:
        """Closes an element."""
        assert self.open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        """Adds to the text of the innermost element with an id."""
        if self.open and self.open[-1][0] == "style":
            return
        section = next((name for _, name in reversed(self.open) if name), None)
        self.texts[section] = self.texts.get(section, "") + data.replace("\N{NARROW NO-BREAK SPACE}", " ")
        if self.open and self.open[-1][0] == "bdi":
            self.names.append(data)

    def text(self, section: str | None) -> str:
        """The text of a section, with its white space collapsed."""
        return " ".join(self.texts.get(section, "").split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


def report(tmp_path: Path, **changes: Any) -> Parsed:
    """Writes a report and reads it back."""
    matrix = np.array([[8, 2, 0], [1, 9, 0], [0, 0, 5]], np.int64)
    data = ReportData(
        title="svm on space-1a2b3c4d",
        facts={"Classifier": "svm", "Pages": "4,148"},
        metrics=METRICS,
        per_class=[
            {"type": "invoice", "precision": 0.889, "recall": 0.8, "f1": 0.842, "documents": 10},
            {"type": "发票", "precision": 0.818, "recall": 0.9, "f1": 0.857, "documents": 10},
            {"type": "paper", "precision": 1.0, "recall": 1.0, "f1": 1.0, "documents": 1500},
        ],
        classes=["invoice", "发票", "paper"],
        matrix=matrix,
        mistakes=[Mistake("/in/a.pdf", "invoice", "发票", 0.931, "paper", 0.05, np.full((40, 30, 3), 200, np.uint8))],
    )
    file = tmp_path / "out" / "report.html"
    write_report(file, dataclasses.replace(data, **changes))
    assert [path.name for path in file.parent.iterdir()] == ["report.html"]
    return Parsed(file.read_text(encoding="utf-8"))


def mistake(
    path: str = "/in/a.pdf", truth: str = "invoice", predicted: str = "paper", confidence: float = 0.5
) -> Mistake:
    """A mistake without a picture."""
    return Mistake(path, truth, predicted, confidence, "发票", confidence / 2, None)


def test_a_mistake_says_why(tmp_path: Path) -> None:
    """A card shows the type that came second, and which labelled pages the document looks like, with their pictures."""
    likenesses = [
        Likeness("b.pdf, page 3", "paper", 0.912, np.full((30, 20, 3), 9, np.uint8)),
        Likeness("<b>.pdf, page 1", "发票", 0.85, None),
    ]
    parsed = report(tmp_path, mistakes=[dataclasses.replace(mistake(confidence=0.8), likenesses=likenesses)])
    text = parsed.text("mistakes")
    assert "said paper (80 %), is invoice second: 发票 (40 %)" in text
    assert "looks like these labelled pages: paper 0.91 发票 0.85" in text
    assert [image["alt"] for image in parsed.all("img")][1:] == ["b.pdf, page 3"]
    assert [item.get("title") for item in parsed.all("li") if item.get("title")] == ["b.pdf, page 3", "<b>.pdf, page 1"]
    assert "looks like" not in report(tmp_path, mistakes=[mistake()]).text("mistakes")


def test_report_stands_alone(tmp_path: Path) -> None:
    """The file needs nothing from outside, runs no script, and forbids both to a browser."""
    parsed = report(tmp_path)
    assert {tag for tag, _ in parsed.elements}.isdisjoint({"script", "link", "iframe", "object", "form", "base"})
    for _, attributes in parsed.elements:
        assert not any(name.startswith("on") or name in {"href", "srcset"} for name in attributes)
        assert (attributes.get("src") or "data:").startswith("data:")
    raw = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "url(" not in raw
    assert "@import" not in raw
    policies = [a["content"] for a in parsed.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    assert {"charset": "utf-8"} in parsed.all("meta")


def test_pictures_are_pngs(tmp_path: Path) -> None:
    """The matrix and the thumbnail are PNGs inside the file, the thumbnail with the page's pixels."""
    images = []
    for attributes in report(tmp_path).all("img"):
        head, _, body = (attributes["src"] or "").partition(",")
        assert head == "data:image/png;base64"
        assert attributes["alt"]
        with Image.open(io.BytesIO(base64.b64decode(body, validate=True))) as image:
            assert image.format == "PNG"
            images.append(image.convert("RGB"))
    matrix, thumbnail = images
    assert min(matrix.size) > 150
    assert thumbnail.width / thumbnail.height == pytest.approx(30 / 40)
    assert thumbnail.getcolors() == [(thumbnail.width * thumbnail.height, (200, 200, 200))]


def test_figures_of_documents_and_pages_are_kept_apart(tmp_path: Path) -> None:
    """Each figure is in its own section, with a sentence on what it means."""
    parsed = report(tmp_path)
    documents, pages = parsed.text("documents"), parsed.text("pages")
    for figure in ("93.1 %", "90.5 %", "91.9 %", "2.1 %", "about 93 get the right type", "5 folds, 1,234 groups"):
        assert figure in documents
        assert figure not in pages
    for figure in ("81.2 %", "77.1 %", "75.3 %", "about 81 get the right type"):
        assert figure in pages
        assert figure not in documents


def test_title_and_facts_are_shown(tmp_path: Path) -> None:
    """Title and facts stand at the top, in this order."""
    names = report(tmp_path).names
    assert names[:5] == ["svm on space-1a2b3c4d", "Classifier", "svm", "Pages", "4,148"]


def test_unknown_figures_are_dashes(tmp_path: Path) -> None:
    """Figures that are missing, NaN or None are dashes and not zeros."""
    nan = {"document_accuracy": float("nan"), "document_macro_f1": None}
    rows = [{"type": "a", "precision": float("nan"), "recall": 0.0, "f1": 1.0, "documents": 0}]
    parsed = report(tmp_path, metrics=nan, per_class=rows)
    assert parsed.text("documents").count("\N{EN DASH}") == 4
    assert "nan" not in parsed.text("documents").lower()
    assert parsed.text("types").endswith("a 0 \N{EN DASH} 0 % 100 %")


@pytest.mark.parametrize(("share", "shown"), [(0.9999, "99.9 %"), (1.0, "100.0 %"), (0.0001, "0.1 %"), (0.0, "0.0 %")])
def test_almost_all_is_not_all(tmp_path: Path, share: float, shown: str) -> None:
    """100 % is said of all only, and 0 % of none only."""
    assert shown in report(tmp_path, metrics={**METRICS, "document_accuracy": share}).text("documents")


def test_lonely_types_are_warned_about(tmp_path: Path) -> None:
    """Types with one group are named in a warning; without any there is none."""
    lonely = {**METRICS, "types_with_one_group": ["<i>memo", "发票"]}
    parsed = report(tmp_path, metrics=lonely)
    warning = parsed.text("warning")
    assert "2 types have documents of one group only" in warning
    assert "cannot be learnt and tested at once" in warning
    assert "<i>memo" in warning
    assert "发票" in warning
    assert not report(tmp_path).text("warning")
    one = {**METRICS, "types_with_one_group": ["memo"]}
    assert "One type has documents of one group only" in report(tmp_path, metrics=one).text("warning")


def test_every_type_has_its_row(tmp_path: Path) -> None:
    """The table gives documents, precision, recall and F1 of each type, with bars as long as the figures."""
    parsed = report(tmp_path)
    types = parsed.text("types")
    assert types.index("invoice") < types.index("发票") < types.index("paper")
    for shown in ("89 %", "80 %", "84 %", "82 %", "90 %", "86 %", "100 %", "1,500"):
        assert shown in types
    bars = [a["style"] for a in parsed.all("span") if a.get("style")]
    widths = [88.9, 80.0, 84.2, 81.8, 90.0, 85.7, 100.0, 100.0, 100.0]
    assert bars == [f"width: {width}%" for width in widths]


def test_matrix_is_told_in_words(tmp_path: Path) -> None:
    """Who cannot see the picture reads the total, and the most frequent confusions, most frequent first."""
    parsed = report(tmp_path)
    assert parsed.all("img")[0]["alt"] == "Confusion matrix of 3 types: 22 of 25 documents are on the diagonal."
    confusion = parsed.text("confusion")
    assert "invoice taken for 发票: 2 documents 发票 taken for invoice: 1 document" in confusion
    assert "1 documents" not in confusion
    assert "paper taken" not in confusion
    perfect = report(tmp_path, matrix=np.diag([1, 2, 3]))
    assert "Most often" not in perfect.text("confusion")


def test_mistakes_say_what_was_told(tmp_path: Path) -> None:
    """A mistake shows the file, what was said and how surely, and what it is; without pixels it says so."""
    parsed = report(tmp_path, mistakes=[mistake("/deep/folder/scan 7.tif", "paper", "发票", 0.934)])
    gallery = parsed.text("mistakes")
    assert "said 发票 (93 %), is paper" in gallery
    assert "page not available" in gallery
    assert {"scan 7.tif", "/deep/folder"} <= set(parsed.names)
    assert "None: every document got its type." in report(tmp_path, mistakes=[]).text("mistakes")


def test_gallery_is_bounded(tmp_path: Path) -> None:
    """Only the first mistakes are shown, and the others are counted."""
    names = [f"{i:04}.pdf" for i in range(GALLERY + 1234)]
    parsed = report(tmp_path, mistakes=[mistake(name) for name in names])
    assert [name for name in parsed.names if name.endswith(".pdf")] == names[:GALLERY]
    assert "And 1,234 more" in parsed.text("mistakes")


HOSTILE = "<img src=x onerror=alert(1)>\"' onload='x\n\r\x00\u202egpj\u2066\udcff&lt;$x^$]]>-->"
SHOWN = "<img src=x onerror=alert(1)>\"' onload='x\ufffd\ufffd\ufffd\ufffdgpj\ufffd\ufffd&lt;$x^$]]>-->"


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    """HTML, line ends, direction marks and lone surrogates in any name are shown as text and make no element."""
    kinds = [HOSTILE, "</style></title><script>alert(2)</script>", "{{ 7 * 7 }}"]
    row = {"type": HOSTILE, "precision": 1.0, "recall": 1.0, "f1": 1.0, "documents": 1}
    parsed = report(
        tmp_path,
        title=HOSTILE,
        facts={HOSTILE: HOSTILE},
        classes=kinds,
        per_class=[row],
        metrics={**METRICS, "types_with_one_group": [HOSTILE]},
        mistakes=[mistake(HOSTILE, HOSTILE, kinds[1]), mistake("/in/" + HOSTILE, kinds[2], HOSTILE)],
    )
    assert not parsed.all("script")
    assert len(parsed.all("img")) == 1
    assert not any(name.startswith("on") for _, attributes in parsed.elements for name in attributes)
    # title, fact's name and value, warning, table, two confusions, two files, a truth and a prediction
    assert parsed.names.count(SHOWN) == 11
    assert {kinds[1], kinds[2]} <= set(parsed.names)
    assert [a["title"] for a in parsed.all("bdi") if a.get("title")] == [SHOWN, SHOWN, "/in"]
    raw = (tmp_path / "out" / "report.html").read_bytes().decode("utf-8")
    assert not set(raw) & set("\x00\r\u202e\u2066")


def test_same_data_gives_the_same_file(tmp_path: Path) -> None:
    """A report does not depend on when it is written."""
    report(tmp_path)
    first = (tmp_path / "out" / "report.html").read_bytes()
    report(tmp_path)
    assert (tmp_path / "out" / "report.html").read_bytes() == first


def test_failed_write_keeps_the_old_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the disk is full, the old report stays whole, and nothing else is left."""
    report(tmp_path)
    file = tmp_path / "out" / "report.html"
    before = file.read_bytes()

    def full(*_: object, **__: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ArtifactError, match="No space left"):
        report(tmp_path, title="new")
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]
