"""Backbones side by side, with networks that are known by heart."""

import csv
import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from numpy.typing import NDArray
from PIL import Image
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone, Pending
from embedpipe.classifiers.finetuned import named
from embedpipe.commands import app, base
from embedpipe.commands.terminal.options import Network
from embedpipe.core.errors import LabelsError, UnknownNameError, WeightsError
from embedpipe.core.files import write_json
from embedpipe.core.records import Identity, Recipe
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.rendering import Selection
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.compare import COLUMNS, as_json, compare, draw, rows_of
from embedpipe.tasks.embed import embed

FIRST = Settings(selection=Selection(((1, 1),)), workers=1)
TOPS = {"head": 60, "foot": 640}


@dataclass
class CellEngine:
    """A network whose features are the darkness of so many bands of the page."""

    bands: int
    calls: list[int] = field(default_factory=list)
    name, device, precision, batch_size, in_flight = "cells", "cpu", "fp32", 16, 1

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """Features (n, bands + 1), the last one constant."""
        self.calls.append(len(pixels))
        dark = 1 - pixels.mean(axis=3, dtype=np.float32) / 255
        bands = [band.mean(axis=(1, 2)) for band in np.array_split(dark, self.bands, axis=1)]
        X = np.stack([*bands, np.full(len(pixels), 0.2)], axis=1).astype(np.float32)
        return lambda: X


def load(name: str) -> Backbone:
    """`bandsN`; there is no other."""
    if not name.startswith("bands"):
        raise WeightsError(f"the weights of {name} are not here: fetch them")
    bands = int(name.removeprefix("bands"))
    identity = Identity(name, "ab" * 32, Recipe(64, "aspect", "penultimate"), ("bands",))
    return Backbone(identity, [("bands", 0, bands + 1)], CellEngine(bands))


@pytest.fixture(scope="module")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Eight documents of two pages: a dark block above or below; one band sees no difference, three do."""
    folder = tmp_path_factory.mktemp("compared")
    for kind, top in TOPS.items():
        for number in range(4):
            file = folder / "pile" / kind / f"{number}.pdf"
            file.parent.mkdir(parents=True, exist_ok=True)
            with pymupdf.open() as document:
                for left in (60, 90):
                    page = document.new_page(width=595, height=842)
                    shade = number / 20
                    page.draw_rect(pymupdf.Rect(left, top, 300, top + 120), fill=(shade, shade, shade), color=None)
                document.save(file)
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], load("bands1"), settings=FIRST, label_by_folder=True)
    return workspace


def test_every_backbone_has_its_rows(labelled: Workspace) -> None:
    """Each with each classifier on the same pages; one without weights is a row with the reason."""
    found = compare(labelled, ["bands1", "absent", "bands3"], ["svm", "knn"], load, settings=FIRST)
    rows = rows_of(found)
    assert [(r["backbone"], r.get("classifier")) for r in rows] == [
        ("bands1", "svm"),
        ("bands1", "knn"),
        ("absent", None),
        ("bands3", "svm"),
        ("bands3", "knn"),
    ]
    assert rows[2] == {"backbone": "absent", "problem": "the weights of absent are not here: fetch them"}
    assert rows[3]["document_macro_f1"] == rows[4]["document_macro_f1"] == 1
    assert rows[0]["document_macro_f1"] < 1
    assert [r["dim"] for r in rows if "dim" in r] == [2, 2, 4, 4]
    assert all(r["pages_per_second"] > 0 and r["bytes_per_page"] > 0 for r in rows if "dim" in r)
    assert all(r.keys() <= set(COLUMNS) for r in rows)
    assert (found.pages, found.documents, found.groups) == (8, 8, 8)  # first pages: the selection holds here, too
    assert as_json(found)["speed"] == {"of": "the network alone", "pages": 8, "median_of": 3}


def test_what_is_stored_is_not_embedded_again_but_its_speed_is_measured(labelled: Workspace) -> None:
    """The second time the network only runs for its speed."""
    compare(labelled, ["bands5"], ["svm"], load, settings=FIRST)
    again = load("bands5")
    parts = labelled.store("bands5").parts
    found = compare(labelled, ["bands5"], ["svm"], lambda _: again, settings=FIRST)
    assert labelled.store("bands5").parts == parts
    assert found.candidates[0].pages_per_second > 0
    assert set(again.engine.calls) == {8}  # type: ignore[attr-defined]


def test_candidates_are_measured_on_the_pages_that_all_have(labelled: Workspace) -> None:
    """A backbone with more pages in its store gains nothing by them."""
    everything = Settings(workers=1)
    embed(labelled, [str(labelled.root.parent / "pile")], load("bands7"), settings=everything)
    only_first = str(labelled.root.parent / "pile" / "head")
    found = compare(labelled, ["bands7", "bands1"], ["knn"], load, inputs=[only_first], settings=everything)
    assert found.pages == 12  # both pages of the four of "head", the first ones of the others
    assert [len(candidate.pages.y) for candidate in found.candidates if candidate.pages] == [12, 12]


def test_wrong_questions_are_refused(labelled: Workspace, workspace: Workspace) -> None:
    """An unknown classifier before anything is embedded; no labels with what to do."""
    with pytest.raises(UnknownNameError, match="did you mean svm"):
        compare(labelled, ["bands1"], ["svn"], load)
    with pytest.raises(LabelsError, match="name the folders"):
        compare(workspace, ["bands1"], ["svm"], load)


def test_the_command_prints_draws_and_tells_what_is_missing(
    labelled: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 3 where a backbone could not be had; JSON, CSV and picture hold the same rows."""
    monkeypatch.setattr(Network, "load", lambda self, *_: load(self.backbone))
    sheet, picture = tmp_path / "table.csv", tmp_path / "plot.png"
    options = ["--backbones", "bands3,absent", "--classifiers", "svm", "--pages", "1", "--workers", "1"]
    files = ["--csv", str(sheet), "--plot", str(picture)]
    done = CliRunner().invoke(app, ["compare", "--artifacts", str(labelled.root), *options, *files, "--json"])
    assert done.exit_code == 3, done.output
    values = json.loads(done.stdout)
    assert [row["backbone"] for row in values["rows"]] == ["bands3", "absent"]
    with open(sheet, encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["problem"] for row in rows] == ["", "the weights of absent are not here: fetch them"]
    assert float(rows[0]["document_macro_f1"]) == values["rows"][0]["document_macro_f1"]
    with Image.open(picture) as image:
        assert image.width > 800
    done = CliRunner().invoke(app, ["compare", "--artifacts", str(labelled.root), *options])
    assert "absent: no figures: the weights of absent are not here" in done.stdout
    assert done.exit_code == 3


def test_a_picture_without_points_is_drawn(labelled: Workspace, tmp_path: Path) -> None:
    """Where no backbone could be had the picture says which."""
    found = compare(labelled, ["absent"], ["svm"], load)
    draw(found, tmp_path / "empty.png")
    assert (tmp_path / "empty.png").exists()


def test_the_command_wants_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Empty lists are refused in one line."""
    for options in (["--backbones", ","], ["--classifiers", ","]):
        code = base.run(["compare", "--artifacts", str(tmp_path), *options])
        said = capsys.readouterr().err
        assert (code, said.count("\n")) == (2, 1)
        assert "separated by commas" in said


def test_documents_that_one_network_was_trained_on_count_for_none(
    labelled: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are measured on the documents that none of them has seen; too few of them give no figure, and no point."""
    shutil.copytree(labelled.root, tmp_path / "artifacts")
    workspace = Workspace(tmp_path / "artifacts")
    for number in range(4):
        for kind, top in TOPS.items():
            with pymupdf.open() as document:
                page = document.new_page(width=595, height=842)
                page.draw_rect(pymupdf.Rect(60, top, 200 + 40 * number, top + 120), fill=(0, 0, 0), color=None)
                (tmp_path / "more" / kind).mkdir(parents=True, exist_ok=True)
                document.save(tmp_path / "more" / kind / f"{number}.pdf")
    embed(workspace, [str(tmp_path / "more")], load("bands1"), settings=FIRST, label_by_folder=True)
    documents = sorted({sha256 for sha256, _ in workspace.labels().rows})

    def tuned(name: str) -> Backbone:
        made = load(name.removeprefix("finetuned:"))
        return named(made, name)

    monkeypatch.setattr(Network, "load", lambda self, *_: tuned(self.backbone))
    options = ["--artifacts", str(workspace.root), "--backbones", "bands3,finetuned:bands3", "--classifiers", "knn"]
    for trained, counted, said in (
        (
            4,
            12,
            "the network itself was trained on 4 of 16 documents, or on their groups: the figures are of the other 12",
        ),
        (8, 0, "not measured: the network itself was trained on these documents"),
    ):
        write_json(
            workspace.backbone_path("bands3") / "manifest.json",
            {"weights_sha256": "ab" * 32, "documents": {"trained": documents[:trained]}},
        )
        found = compare(workspace, ["bands3", "finetuned:bands3"], ["knn"], tuned, settings=FIRST)
        assert (found.documents, found.seen_documents) == (16, 16 - counted)
        one, other = rows_of(found)
        assert one["document_accuracy"] == other["document_accuracy"] == (1 if counted else None)
        draw(found, tmp_path / "plot.png")
        done = CliRunner().invoke(app, ["compare", *options, "--pages", "1", "--workers", "1"])
        assert (done.exit_code, said in done.stdout) == (0, True), done.output
