"""Labels are read as people write them, contradictions are never guessed away, and errors name the line."""

import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from embedpipe.core.display import on_disk
from embedpipe.core.errors import EmbedpipeError, LabelsError
from embedpipe.core.records import Document
from embedpipe.core.tables import read_csv, write_csv
from embedpipe.store.labels import NONE, Label, Labels
from embedpipe.store.sorted_ledger import LEDGER
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.label import take, undo

A, B, C = "a" * 64, "b" * 64, "c" * 64


@pytest.fixture
def table(tmp_path: Path):
    """Reads labels from the text of a CSV; a.pdf, b.pdf and c.pdf in its folder are documents A, B and C."""
    places = {str(tmp_path / f"{name}.pdf"): sha256 for name, sha256 in (("a", A), ("b", B), ("c", C))}

    def read(text: str) -> Labels:
        (tmp_path / "l.csv").write_text(text, encoding="utf-8")
        return Labels.from_csv(tmp_path / "l.csv", places.get)

    return read


def kinds(labels: Labels) -> dict[tuple[str, int], str]:
    """Types by document and page number."""
    return {key: row.label for key, row in labels.rows.items()}


@pytest.mark.parametrize("document", ["document", "path", "file", "filename", "Path"])
@pytest.mark.parametrize("label", ["label", "type", "class", " Label "])
def test_column_names(table, document: str, label: str) -> None:
    """The columns may be called as people call them."""
    assert kinds(table(f"{document},{label}\na.pdf,invoice\n")) == {(A, 0): "invoice"}


def test_relative_paths_count_from_the_table(table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is looked up from the table's folder, not from where the program runs; absolute ones do too."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert kinds(table(f"path,label\na.pdf,x\n{tmp_path}/b.pdf,y\n")) == {(A, 0): "x", (B, 0): "y"}


def test_documents_by_hash(table) -> None:
    """A document may be given by its SHA-256, also one that is nowhere on this disk."""
    labels = table(f"document,path,label\n{'9' * 64},/gone/away.pdf,x\n")
    assert kinds(labels) == {("9" * 64, 0): "x"}
    assert labels.rows[("9" * 64, 0)].path == "/gone/away.pdf"


def test_pages_is_not_page(table) -> None:
    """The column `pages`, a count in many tables, is not taken for a page number; `page` is."""
    assert kinds(table("path,label,pages\na.pdf,x,12\n")) == {(A, 0): "x"}
    assert kinds(table("path,label,page\na.pdf,x,12\nb.pdf,y,\n")) == {(A, 12): "x", (B, 0): "y"}


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (",invoice,", "needs the columns path and label"),
        ("nowhere.pdf,x,", "no document nowhere.pdf"),
        ("c.pdf,x,two", "page 'two' is not a number"),
        ("c.pdf,x,-1", "page '-1' is not a number"),
        ("c.pdf,x,1.5", "page '1.5' is not a number"),
    ],
)
def test_errors_name_the_line(table, row: str, complaint: str) -> None:
    """What cannot be a label is refused with the number of its line."""
    with pytest.raises(LabelsError, match=r"l\.csv, line 3: ") as caught:
        table(f"path,label,page\na.pdf,x,\n{row}\nb.pdf,x,\n")
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_name_the_line_after_blank_ones(table) -> None:
    """The number of the line is the one that an editor shows, whatever stands above it."""
    with pytest.raises(LabelsError, match="line 5: "):
        table('path,label\n\n"a.pdf","in\nvoice"\nnowhere.pdf,x\n')


def test_superscript_page(table) -> None:
    """A page number that only looks like one is refused like any other."""
    with pytest.raises(LabelsError, match="line 2: page '²' is not a number"):
        table("path,label,page\na.pdf,x,²\n")


def test_empty_rows_of_spreadsheets(table) -> None:
    """Rows of empty cells, which spreadsheets append, are passed over."""
    assert kinds(table("path,label\na.pdf,x\n,\n,\n")) == {(A, 0): "x"}


def test_upper_case_hash(table) -> None:
    """A SHA-256 in upper case, as Windows writes it, is the same hash."""
    assert kinds(table(f"document,label\n{A.upper()},x\n")) == {(A, 0): "x"}


def test_a_table_without_columns(table) -> None:
    """A table of something else is refused at its first row."""
    with pytest.raises(LabelsError, match=r"l\.csv needs the columns path and label"):
        table("name,price\na.pdf,3\n")


def test_no_file_means_no_labels(tmp_path: Path) -> None:
    """Before anything is labelled there are no labels."""
    assert Labels.load(tmp_path / "labels.csv", lambda _: None).rows == {}


def test_two_types_in_one_go_leave_none(table) -> None:
    """A document that is given two types at once has none, and is reported with both."""
    labels = table("path,label\na.pdf,x\nb.pdf,y\na.pdf,z\na.pdf,x\n")
    assert kinds(labels) == {(B, 0): "y"}
    assert [types for _, types in labels.conflicts] == [("x", "z")]


def test_the_same_type_twice_is_no_conflict(table) -> None:
    """Saying the same thing twice is no contradiction; pages of one document may be of different types."""
    labels = table("path,label,page\na.pdf,x,1\na.pdf,x,1\na.pdf,y,2\n")
    assert kinds(labels) == {(A, 1): "x", (A, 2): "y"}
    assert labels.conflicts == []


def test_a_conflict_takes_the_old_label_too() -> None:
    """A document that is now contradicted loses the label that it had."""
    labels = Labels()
    assert labels.add([Label(A, "/a", "x"), Label(B, "/b", "x")]) == 2
    assert labels.add([Label(A, "/a", "y"), Label(A, "/a", "z")]) == 0
    assert kinds(labels) == {(B, 0): "x"}


def test_later_labels_replace_earlier_ones() -> None:
    """A label given later replaces the earlier one, but keeps the group unless it brings its own."""
    labels = Labels()
    labels.add([Label(A, "/a", "x", group="acme"), Label(B, "/b", "x", group="acme")])
    labels.add([Label(A, "/a", "y"), Label(B, "/b", "y", group="bolt")])
    assert kinds(labels) == {(A, 0): "y", (B, 0): "y"}
    assert [row.group for row in labels.rows.values()] == ["acme", "bolt"]


def test_page_before_document() -> None:
    """The label of a page goes before that of its document; a page with neither has none."""
    labels = Labels()
    labels.add([Label(A, "/a", "letter"), Label(A, "/a", "cover", page_number=1), Label(B, "/b", "x", page_number=2)])
    pages = pd.DataFrame({"document_sha256": [B, A, A, B, C], "page_index": [0, 1, 0, 1, 0]}, index=[7, 3, 9, 1, 5])
    found = labels.of_pages(pages)
    assert found["label"].to_dict() == {7: None, 3: "letter", 9: "cover", 1: "x", 5: None}


def test_groups() -> None:
    """Documents of one group share it; without one, a document is a group of its own."""
    labels = Labels()
    labels.add([Label(A, "/a", "x", group="acme"), Label(B, "/b", "x", group="acme"), Label(C, "/c", "x")])
    pages = pd.DataFrame({"document_sha256": [A, B, C, C, "d"], "page_index": [0, 0, 0, 1, 0]})
    assert labels.of_pages(pages)["group"].to_list() == ["acme", "acme", C, C, "d"]


def test_a_document_is_of_one_group() -> None:
    """A label of a page without a group, or with another one, takes nothing to the other side of a split."""
    labels = Labels()
    labels.add([Label(A, "/a", "x", group="acme"), Label(A, "/a", "y", 2), Label(A, "/a", "y", 3, "bolt")])
    labels.add([Label(B, "/b", "x", 1, "bolt"), Label(C, "/c", "x", 1, "cog"), Label(C, "/c", "x", 2)])
    pages = pd.DataFrame({"document_sha256": [A, A, A, A, B, B, C, C], "page_index": [0, 1, 2, 3, 0, 1, 0, 1]})
    found = labels.of_pages(pages)
    assert found["group"].to_list() == ["acme"] * 6 + ["cog"] * 2
    assert found["label"].to_list() == ["x", "y", "y", "x", "x", None, "x", "x"]


def test_group_column(table) -> None:
    """The column `group` is read."""
    assert table("path,label,group\na.pdf,x,acme\n").rows[(A, 0)].group == "acme"


def test_save_and_load(tmp_path: Path) -> None:
    """Saved labels come back as they were, odd names and paths that are not UTF-8 among them."""
    labels = Labels()
    labels.add(
        [
            Label(A, "/data/caf\udce9, 1.pdf", "=invoice", group="-acme"),
            Label(A, "/data/caf\udce9, 1.pdf", "'合同'", page_number=3),
            Label(B, '/data/"b".pdf', "letter; note"),
        ]
    )
    labels.save(tmp_path / "labels.csv")
    again = Labels.load(tmp_path / "labels.csv", lambda _: None)
    assert again.rows == labels.rows
    assert again.types() == {"'合同'": 1, "=invoice": 1, "letter; note": 1}


def test_a_saved_table_can_be_edited(tmp_path: Path) -> None:
    """A person may change the type in the saved table, also after the document has moved."""
    labels = Labels()
    labels.add([Label(A, "/gone/a.pdf", "x", page_number=2, group="g")])
    file = tmp_path / "labels.csv"
    labels.save(file)
    write_csv(file, ("document", "path", "page", "label", "group"), [row | {"label": "y"} for row in read_csv(file)])
    assert Labels.load(file, lambda _: None).rows == {(A, 2): Label(A, "/gone/a.pdf", "y", 2, "g")}


def test_lines_to_be_filled_in_are_passed_over(table) -> None:
    """A line with a document and an empty label is counted and gives no label."""
    labels = table("path,label,page\na.pdf,x,\nc.pdf, ,\nb.pdf,,\n")
    assert (kinds(labels), labels.skipped) == ({(A, 0): "x"}, 2)


@pytest.mark.parametrize(
    ("header", "complaint"),
    [
        (
            "path,type,confidence,status,candidates,margin,novelty,pages,message",
            r"holds answers .*\(column confidence\)",
        ),
        ("path,type,answered_by", r"\(column answered_by\)"),
        ("path,first_page,last_page,type,confidence,status,boundary_confidence,file,message", "holds answers"),
        ("family,path,page,representative,coherence,type", "holds answers"),
        ("group,kind,keep,path,page,agreement,class", "holds answers"),
        ("family,label,unlabelled,labelled,example,document", "lists families: write `label --cluster "),
        ("page_id,document_sha256,path,page,label,group", "written by `export`"),
        ("copy,type,status,state,source,message,document", "the ledger of a sorted folder"),
    ],
)
def test_answers_are_no_labels(table, header: str, complaint: str) -> None:
    """Tables of ours that hold no label of a person are refused, also where a column is called like a type."""
    row = ",".join({"path": "a.pdf", "document": A, "label": "x"}.get(name, "1") for name in header.split(","))
    with pytest.raises(LabelsError, match=complaint):
        table(f"{header}\n{row}\n")


def test_only_what_a_person_filled_in_is_a_label(table) -> None:
    """Beside answers, and beside any column of types, only the column `label` counts."""
    labels = table("path,type,label,confidence,answered_by\na.pdf,x,,0.9,svm version 1\nb.pdf,x,y,0.9,svm version 1\n")
    assert (kinds(labels), labels.skipped) == ({(B, 0): "y"}, 1)
    labels = table("path,type,label\na.pdf,x,\nb.pdf,x,y\n")
    assert (kinds(labels), labels.skipped) == ({(B, 0): "y"}, 1)


def test_a_part_labels_its_pages(table) -> None:
    """A label beside a part of a pile is that of its pages; groups of duplicates are no groups of labels."""
    labels = table("path,first_page,last_page,type,label,confidence\na.pdf,2,3,x,y,0.9\na.pdf,4,5,x,,0.9\n")
    assert kinds(labels) == {(A, 2): "y", (A, 3): "y"}
    labels = table("group,kind,keep,path,page,agreement,label\n1,page,yes,a.pdf,,0.9,y\n")
    assert labels.rows[(A, 0)].group == ""


@pytest.mark.parametrize("header", ["document,type,confidence", "document,type,label", "document,class,answered_by"])
def test_answers_in_place_of_labels_csv(tmp_path: Path, header: str) -> None:
    """A table of answers that somebody copied over labels.csv labels nothing, and each line is named."""
    file = tmp_path / "labels.csv"
    file.write_text(f"{header}\n{A},x,\n{B},y,\n", encoding="utf-8")
    labels = Labels.load(file, lambda _: None)
    assert (labels.rows, len(labels.kept)) == ({}, 2)
    assert "line 3: needs the columns path and label" in labels.problems()[-1]


@pytest.mark.parametrize("name", ["_novel", "_Ambiguous"])
def test_reserved_names_are_no_types(table, name: str) -> None:
    """Folders of `classify --sort-into` are never types."""
    with pytest.raises(LabelsError, match=r"line 2: .* and no type"):
        table(f"path,label\na.pdf,{name}\n")
    with pytest.raises(LabelsError, match="and no type"):
        Labels().add([Label(A, "/a", name)])


MISTAKES = f"""document,path,page,label,group,remark
{A},/a.pdf,,invoice,,seen
{A},/a.pdf,,letter,,
{B},/b.pdf,,letter,g,kept
{B},/b.pdf,,letter,h,
{B},/b.pdf,0,letter,,
{B},/b.pdf,two,letter,,
{C},/c.pdf,,,,
,/nowhere.pdf,,letter,,
{C},/c, too.pdf,3,letter,,
{C},/c.pdf,2,letter,,,beyond
{C},/c.pdf,1,_novel,,
"""


def test_mistakes_in_labels_csv_are_named_and_kept(tmp_path: Path) -> None:
    """Each line that gives no label is named with its number, and is there again when the table is written."""
    file = tmp_path / "labels.csv"
    file.write_text(MISTAKES, encoding="utf-8")
    labels = Labels.load(file, lambda _: None)
    assert kinds(labels) == {(B, 0): "letter"}
    told = "\n".join(labels.problems())
    assert "line 1: not read, but kept: remark" in told
    assert "line 2 says 'invoice', line 3 says 'letter': /a.pdf has no label until one line is left" in told
    for line in range(5, 13):
        assert f"line {line}: " in told
    labels.add([Label(C, "/c.pdf", "memo")])
    for _ in range(2):
        labels.save(file)
        labels = Labels.load(file, lambda _: None)
        assert kinds(labels) == {(B, 0): "letter", (C, 0): "memo"}
        assert len(labels.kept) == 10
        text = file.read_text(encoding="utf-8")
        assert all(word in text for word in ("seen", "kept", "two", "/nowhere.pdf", "too.pdf", "beyond", "_novel"))
    labels.add([Label(A, "/a.pdf", "invoice")])
    assert (kinds(labels)[(A, 0)], len(labels.kept)) == ("invoice", 8)


def test_forgotten_lines_are_gone(tmp_path: Path) -> None:
    """A document that is forgotten is in no line any more, also of those that give no label."""
    file = tmp_path / "labels.csv"
    file.write_text(MISTAKES, encoding="utf-8")
    labels = Labels.load(file, lambda _: None)
    assert labels.forget([A, B], ["/nowhere.pdf"]) == 1
    labels.save(file)
    text = file.read_text(encoding="utf-8")
    assert not any(word in text for word in (A, B, "nowhere"))
    assert C in text


def test_the_encoding_is_told(tmp_path: Path) -> None:
    """A table in another encoding is read where that can be, and the line is named."""
    file = tmp_path / "labels.csv"
    file.write_bytes(f"document,label\n{A},合同\n".encode("gb18030"))
    labels = Labels.load(file, lambda _: None)
    assert kinds(labels) == {(A, 0): "合同"}
    assert "line 2: not UTF-8, so read as GB18030" in labels.problems()[0]
    file.write_text(f"document\tlabel\n{A}\t合同\n", encoding="utf-16")
    assert kinds(Labels.load(file, lambda _: None)) == {(A, 0): "合同"}
    file.write_bytes(f"document,label\n{A},Verträge\n".encode("cp1252"))
    assert kinds(Labels.load(file, lambda _: None)) == {(A, 0): "Verträge"}
    file.write_bytes(f"document,label\n{A},caf".encode() + b"\x81\xe9\n")
    with pytest.raises(EmbedpipeError, match="line 2: not UTF-8, and neither plausible Chinese"):
        Labels.load(file, lambda _: None)


FORMS = [(given, there) for given in ("NFC", "NFD") for there in ("NFC", "NFD")]
TREE = ("Verträge", "Kündigung é.pdf")


@pytest.mark.parametrize(("given", "there"), FORMS)
def test_names_of_two_forms_are_one(tmp_path: Path, given: str, there: str) -> None:
    """A path is found, and a type known, whichever form of its letters the disk and the table have."""
    file = tmp_path.joinpath(*(unicodedata.normalize(there, part) for part in TREE))
    file.parent.mkdir()
    Image.fromarray(np.zeros((40, 30), np.uint8)).save(file, format="PNG")
    workspace = Workspace(tmp_path / "artifacts")
    path, label = unicodedata.normalize(given, "/".join(TREE)), unicodedata.normalize(given, " Verträge ")
    (tmp_path / "l.csv").write_text(f"path,label,group\n{path} ,{label},{label}\n", encoding="utf-8")
    _, labels = take(workspace, str(tmp_path / "l.csv"))
    [row] = labels.rows.values()
    assert (row.label, row.group) == ("Verträge", "Verträge")
    _, again = take(workspace, str(tmp_path))
    assert again.types() == {"Verträge": 1}
    file.unlink()  # the place is still known, in the form that it had
    sources = workspace.sources()
    sources.add(Document(str(file), A, 1, 1, "png"))
    assert sources.sha256_at(str(tmp_path / path)) == A


def test_forms_may_change_within_a_path(tmp_path: Path) -> None:
    """A folder in the one form may hold a file in the other; a path that is nowhere stays as it is."""
    there = tmp_path / unicodedata.normalize("NFD", "Ordner ä") / unicodedata.normalize("NFC", "ö.pdf")
    there.parent.mkdir()
    there.touch()
    asked = str(tmp_path / unicodedata.normalize("NFC", "Ordner ä") / unicodedata.normalize("NFD", "ö.pdf"))
    assert on_disk(asked) == str(there)
    assert on_disk(asked + "x") == asked + "x"


def test_nothing_unseen_makes_a_type(table) -> None:
    """Spaces of any kind, marks and direction signs around a name are no part of it."""
    labels = table("path,label\na.pdf,\u00a0Letter\u200b \nb.pdf,\ufeffLetter\nc.pdf, Letter\n")
    assert labels.types() == {"Letter": 3}
    assert labels.look_alikes() == []
    with pytest.raises(LabelsError, match="has no name that can be seen"):
        Labels().add([Label(A, "/pile/ /a.pdf", " \u200b")])


def test_types_that_look_alike_are_named(table) -> None:
    """Types that differ only in case or spaces stay what they are, and one line names them all."""
    labels = table("path,label\na.pdf,letter\nb.pdf,Letter\nc.pdf,Le tter\n")
    assert labels.types() == {"Le tter": 1, "Letter": 1, "letter": 1}
    [line] = labels.look_alikes()
    assert line.startswith("types that differ only in case or spaces: 'Le tter' and 'Letter' and 'letter': ")
    assert labels.problems() == [line]


@pytest.mark.parametrize(("page", "number"), [("1.0", 1), ("12,0", 12), (" 3 ", 3), ("2.00", 2), ("", 0), (" ", 0)])
def test_pages_as_pandas_writes_them(table, page: str, number: int) -> None:
    """A column of pages with empty cells is written with decimals."""
    assert kinds(table(f'path,label,page\na.pdf,x,"{page}"\n')) == {(A, number): "x"}


def test_a_table_without_the_columns_says_what_it_has(table) -> None:
    """The line says how the table was read, and which columns it has."""
    with pytest.raises(
        LabelsError, match=r"l\.csv needs the columns path and label, and is read as UTF-8, cells between "
    ):
        table("name;kind\na.pdf;x\n")


def test_none_is_no_type(table, tmp_path: Path) -> None:
    """In any case it says that a document is of none of the types; it is written as one word, and comes back so."""
    labels = table("path,label\na.pdf,invoice\nb.pdf,None\nc.pdf, NONE \n")
    assert labels.types() == {"invoice": 1}
    assert labels.none == 2
    labels.save(tmp_path / "labels.csv")
    again = Labels.load(tmp_path / "labels.csv", {}.get)
    assert kinds(again) == {(A, 0): "invoice", (B, 0): NONE, (C, 0): NONE}
    assert again.problems() == []


def test_every_line_of_a_list_gets_the_given_label(table, tmp_path: Path) -> None:
    """A list needs no labels of its own then; a line with another one is refused with its number."""
    file, find = tmp_path / "l.csv", {str(tmp_path / "a.pdf"): A, str(tmp_path / "b.pdf"): B}.get
    for text in ("path\na.pdf\nb.pdf\n", "path,label\na.pdf,\nb.pdf,None\n", "path,type\na.pdf,x\nb.pdf,y\n"):
        file.write_text(text, encoding="utf-8")
        if ",x" in text:
            with pytest.raises(LabelsError, match="line 2: says 'x'"):
                Labels.from_csv(file, find, given=NONE)
        else:
            assert kinds(Labels.from_csv(file, find, given=NONE)) == {(A, 0): NONE, (B, 0): NONE}


def test_none_for_all_below_a_folder(tmp_path: Path) -> None:
    """`label --none` takes documents however deep, one file, or a list; types they had are replaced, and undone."""
    for place in ("x/a.png", "x/deep/b.png", "c.png"):
        (tmp_path / "pile" / place).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(len(place)).integers(0, 255, (64, 48)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pile" / place)
    workspace = Workspace(tmp_path / "artifacts")
    take(workspace, str(tmp_path / "pile"))
    assert workspace.labels().types() == {"x": 2}
    assert take(workspace, str(tmp_path / "pile" / "c.png"), none=True)[0] == 1
    count, labels = take(workspace, str(tmp_path / "pile"), none=True)
    assert (count, labels.types(), labels.none) == (3, {}, 3)
    undo(workspace)
    assert (workspace.labels().types(), workspace.labels().none) == ({"x": 2}, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LabelsError, match="no documents below"):
        take(workspace, str(tmp_path / "empty"), none=True)
    (tmp_path / "pile" / LEDGER).write_text("copy,source,state\n", encoding="utf-8")
    with pytest.raises(LabelsError, match="name the folder in it"):
        take(workspace, str(tmp_path / "pile"), none=True)
