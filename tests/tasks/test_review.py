"""What the classifier is not sure of is written for people, and what they fill in is taken."""

import io
from pathlib import Path

import numpy as np
import pytest
from classifiers.test_training import TYPES, Document, label_all, sha, write_labels, write_store
from drawing.test_scatterplots import Page
from openpyxl import load_workbook
from PIL import Image

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.core.errors import LabelsError
from embedpipe.core.tables import read_csv, write_csv
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE, Label
from embedpipe.store.page_extras import page_table
from embedpipe.store.page_table import PageTableWriter
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import label_template, review
from embedpipe.tasks.label import take
from embedpipe.tasks.review import Doubt, in_turn

LABELLED = 15


def keep_thumbnails(workspace: Workspace, documents: int) -> None:
    """A small picture of the first page of each document."""
    file = io.BytesIO()
    Image.fromarray(np.full((64, 48), 200, np.uint8)).save(file, "JPEG")
    writer = PageTableWriter(page_table(workspace.root, "thumbnails"))
    for number in range(documents):
        writer.append((sha(number), 0), {"picture": file.getvalue()})
    writer.flush()


@pytest.fixture
def pile(workspace: Workspace) -> tuple[Workspace, FeatureStore, ClassifierBundle]:
    """24 documents of three types, of which nobody labelled the third one, a blank one, and a classifier."""
    documents = [*(Document(TYPES[n % 3]) for n in range(24)), Document("letter", ["blank"])]
    store = write_store(workspace, documents)
    write_labels(workspace, [Label(sha(n), f"/{n}.pdf", TYPES[n % 3]) for n in range(LABELLED) if n % 3 < 2])
    keep_thumbnails(workspace, len(documents))
    return workspace, store, fit(workspace, store, TrainingRecipe("svm"))


def test_it_shows_what_classify_would_doubt(pile: tuple[Workspace, FeatureStore, ClassifierBundle]) -> None:
    """Unlabelled documents of the wanted statuses with candidates, a reason, and labelled pages; no others."""
    workspace, store, bundle = pile
    everything = review.find(workspace, store, bundle, review.STATUSES)
    open_ones = {sha(n) for n in range(25) if n >= LABELLED or n % 3 == 2}
    assert {doubt.document_sha256 for doubt in everything.doubts} == open_ones
    assert everything.asked == len(open_ones)
    assert everything.types == TYPES[:2]
    found = review.find(workspace, store, bundle)
    assert {doubt.status for doubt in found.doubts} <= {"ambiguous", "novel"}
    assert {sha(n) for n in range(24) if n % 3 == 2} <= {doubt.document_sha256 for doubt in found.doubts}
    for doubt in found.doubts:
        assert doubt.reason
        assert doubt.candidates
        assert 0 < len(doubt.looks) <= 3
        assert len({look.page.document_sha256 for look in doubt.looks}) == len(doubt.looks)
        assert {look.label for look in doubt.looks} <= set(TYPES[:2])
    (blank,) = review.find(workspace, store, bundle, ("blank",)).doubts
    assert (blank.document_sha256, blank.looks, blank.reason) == (sha(24), (), "nothing is on its pages")


def test_a_limit_takes_some_of_each_kind() -> None:
    """The closest decisions and the most unlike ones come first, mixed by how many there are of each."""
    doubts = [Doubt(f"a{n}", "", "ambiguous", "", (), margin=0.1 * n) for n in range(6)]
    doubts += [Doubt(f"n{n}", "", "novel", "", (), novelty=0.9 - 0.1 * n) for n in range(2)]
    assert [doubt.document_sha256 for doubt in in_turn(doubts[::-1])][:5] == ["a0", "a1", "n0", "a2", "a3"]


def test_the_workbook_goes_round(pile: tuple[Workspace, FeatureStore, ClassifierBundle], tmp_path: Path) -> None:
    """Filled in and saved again, it labels what was filled in, `none` among it; its types are offered."""
    workspace, store, bundle = pile
    found, file = review.find(workspace, store, bundle), tmp_path / "r.xlsx"
    review.write(workspace, store, found, file, {})
    book = load_workbook(file)
    sheet = book["review"]
    header = [cell.value for cell in sheet[1]]
    assert len(sheet._images) == len(found.doubts) * 4
    assert [cell.value for cell in book["labels"]["A"]][1:] == [*TYPES[:2], NONE]
    place = header.index("label") + 1
    sheet.cell(2, place).value, sheet.cell(3, place).value, sheet.cell(4, place).value = "letter", "None", "=1+1"
    sheet.cell(4, place).data_type = "s"
    sheet.cell(2, header.index("group") + 1).value = "acme"
    book.save(tmp_path / "filled.xlsx")
    count, labels = take(workspace, str(tmp_path / "filled.xlsx"))
    assert (count, labels.skipped) == (3, len(found.doubts) - 3)
    rows = [labels.rows[doubt.document_sha256, 0] for doubt in found.doubts[:3]]
    assert [(row.label, row.group) for row in rows] == [("letter", "acme"), (NONE, ""), ("=1+1", "")]
    left = review.find(workspace, store, bundle)
    assert not {doubt.document_sha256 for doubt in found.doubts[:3]} & {doubt.document_sha256 for doubt in left.doubts}


def test_the_page_has_pictures_and_neighbours(
    pile: tuple[Workspace, FeatureStore, ClassifierBundle], tmp_path: Path
) -> None:
    """Kept pictures are shown where the files are gone; every type can be chosen."""
    workspace, store, bundle = pile
    found = review.find(workspace, store, bundle, limit=4)
    review.write(workspace, store, found, tmp_path / "r.html", {"Documents": "4"})
    content = Page(tmp_path / "r.html").content
    assert len(content["cards"]) == 4
    assert content["types"] == list(TYPES[:2])
    for card in content["cards"]:
        assert card["picture"] in content["pictures"]
        assert all(look["picture"] in content["pictures"] for look in card["looks"])


def test_nothing_to_review_says_so(workspace: Workspace) -> None:
    """Where every document is labelled there is one line that says what to do."""
    documents = [Document(TYPES[n % 3]) for n in range(24)]
    store = write_store(workspace, documents)
    label_all(workspace, documents)
    bundle = fit(workspace, store, TrainingRecipe("svm"))
    with pytest.raises(LabelsError, match="every stored document has a label"):
        review.find(workspace, store, bundle)
    with pytest.raises(LabelsError, match="every stored document has a label"):
        label_template.find(workspace, store, bundle)


COLUMNS = ("path", "type", "label", "confidence", "status", "candidates", "margin", "pages", "document")


def test_answers_of_classify_are_reviewed(
    pile: tuple[Workspace, FeatureStore, ClassifierBundle], tmp_path: Path, make_image
) -> None:
    """A CSV of `classify` is taken: doubtful answers without a label, also of documents that are not stored."""
    workspace, store, _ = pile
    from embedpipe.core.files import sha256_of  # noqa: PLC0415

    page = make_image("new.png")
    new = sha256_of(page)
    rows = [
        (str(page), "big form", "", "0.5", "ambiguous", "big form form invoice", "0.1", "1", new),
        ("/20.pdf", "form", "", "0.4", "novel", "form", "0.2", "1", sha(20)),
        ("/21.pdf", "form", "memo", "0.4", "novel", "form", "0.2", "1", sha(21)),
        ("/22.pdf", "form", "", "0.9", "ok", "form", "0.9", "1", sha(22)),
        ("/0.pdf", "form", "", "0.4", "novel", "form", "0.2", "1", sha(0)),
        ("/gone.pdf", "", "", "0", "failed", "", "0", "0", ""),
    ]
    file = tmp_path / "answers.csv"
    write_csv(file, COLUMNS, [dict(zip(COLUMNS, row, strict=True)) for row in rows])
    found = review.from_answers(workspace, file, store)
    assert {doubt.document_sha256 for doubt in found.doubts} == {new, sha(20)}
    first = next(doubt for doubt in found.doubts if doubt.document_sha256 == new)
    assert first.candidates == (("big form", 0.5), ("form", None), ("invoice", None))
    assert [len(doubt.looks) for doubt in found.doubts if doubt is not first] == [3]
    review.write(workspace, store, found, tmp_path / "r.html", {})
    content = Page(tmp_path / "r.html").content
    assert all(card["picture"] in content["pictures"] for card in content["cards"])
    review.write(workspace, store, found, tmp_path / "r.xlsx", {})
    assert len(load_workbook(tmp_path / "r.xlsx")["review"]._images) == 5
    write_csv(file, ("path", "label"), [{"path": "a"}])
    with pytest.raises(LabelsError, match="holds no answers: --from takes what `classify --csv FILE` wrote"):
        review.from_answers(workspace, file, store)


def test_blank_documents_are_listed_too(workspace: Workspace) -> None:
    """Where nothing else is left, a person may still label what shows nothing."""
    store = write_store(workspace, [Document("form"), Document("form", ["blank"])])
    write_labels(workspace, [Label(sha(0), "/0.pdf", "form")])
    rows, _ = label_template.find(workspace, store, None)
    assert [row.document_sha256 for row in rows] == [sha(1)]


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
@pytest.mark.parametrize("judged", [True, False])
def test_a_template_goes_round(
    pile: tuple[Workspace, FeatureStore, ClassifierBundle], tmp_path: Path, suffix: str, *, judged: bool
) -> None:
    """Every document without a label, the most useful first, blank ones last; filled in, it is taken as it is."""
    workspace, store, bundle = pile
    rows, left = label_template.find(workspace, store, bundle if judged else None)
    assert ({row.document_sha256 for row in rows}, left) == (
        {sha(n) for n in range(25) if n >= LABELLED or n % 3 == 2},
        0,
    )
    assert rows[-1].document_sha256 == sha(24)
    assert bool(rows[0].candidates) == judged
    file = tmp_path / f"todo.{suffix}"
    label_template.write(workspace, rows, bundle if judged else None, file)
    with pytest.raises(LabelsError, match="has a label"):
        take(workspace, str(file))
    if suffix == "csv":
        lines = read_csv(file)
        lines[0]["label"] = "memo"
        write_csv(file, label_template.COLUMNS, lines)
    else:
        book = load_workbook(file)
        sheet = book.worksheets[0]
        assert len(sheet._images) == len(rows)
        sheet.cell(2, [cell.value for cell in sheet[1]].index("label") + 1).value = "memo"
        book.save(file)
    count, labels = take(workspace, str(file))
    assert (count, labels.rows[rows[0].document_sha256, 0].label) == (1, "memo")
    assert len(label_template.find(workspace, store, bundle, 3)[0]) == 3
