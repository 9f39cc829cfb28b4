"""What on a page speaks for its type: explained for a network and a classifier that are known by heart."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from numpy.typing import NDArray
from PIL import Image

from embedpipe.backbones.engines import Backbone, Pending
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.probabilities import ProbabilityScale
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.core.errors import DocumentError, EmbedpipeError, SpaceMismatchError, UnknownNameError
from embedpipe.core.records import Identity, PageRef, Recipe
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.classify import classify
from embedpipe.tasks.embed import embed
from embedpipe.tasks.explain import BLANK, DIFFUSE, OK, as_json, default_picture, draw, explain
from embedpipe.tasks.explain_stage import draw as draw_stage
from embedpipe.tasks.explain_stage import stage_maps

ONE_WORKER = Settings(workers=1)
PLACES = {"head": (60, 60, 240, 200), "foot": (355, 640, 535, 780)}


class CellEngine:
    """A network whose features are the darkness of nine cells of the page."""

    name, device, precision, batch_size, in_flight = "cells", "cpu", "fp32", 16, 1

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """Features (n, 9), with a constant beside them so that none is zero."""
        dark = 1 - pixels.mean(axis=3, dtype=np.float32) / 255
        cells = [np.array_split(band, 3, axis=2) for band in np.array_split(dark, 3, axis=1)]
        X = np.stack([cell.mean(axis=(1, 2)) for band in cells for cell in band] + [np.full(len(pixels), 0.2)], axis=1)
        return lambda: X.astype(np.float32)


def cells(resize: str = "aspect") -> Backbone:
    """The network of nine cells."""
    recipe = Recipe(96, resize, "penultimate")  # type: ignore[arg-type]
    return Backbone(Identity("cells", "ab" * 32, recipe, ("cells",)), [("cells", 0, 10)], CellEngine())


def draw_page(file: Path, kind: str | None, shade: float = 0.0, paper: tuple[int, int] = (595, 842)) -> Path:
    """A page with a dark block at the place of its type; None for a blank one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with pymupdf.open() as document:
        page = document.new_page(width=paper[0], height=paper[1])
        if kind:
            page.draw_rect(pymupdf.Rect(*PLACES[kind]), fill=(shade, shade, shade), color=None)
        document.save(file)
    return file


@dataclass(frozen=True)
class Made:
    """Artifacts with a classifier, and a folder for new pages."""

    workspace: Workspace
    bundle: ClassifierBundle
    folder: Path


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Six documents of each type, embedded and learnt."""
    folder = tmp_path_factory.mktemp("explained")
    for kind in PLACES:
        for number in range(6):
            draw_page(folder / "pile" / kind / f"{number}.pdf", kind, shade=number / 20)
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], cells(), settings=ONE_WORKER, label_by_folder=True)
    return Made(workspace, fit(workspace, workspace.store(), TrainingRecipe("svm")), folder)


@pytest.mark.parametrize("kind", list(PLACES))
def test_the_box_lies_where_the_type_is_told_from(made: Made, kind: str) -> None:
    """The deciding part is the block; without it the page is much less of the type; others like it are named."""
    found = explain(
        made.workspace, str(draw_page(made.folder / "new" / f"{kind}.pdf", kind, 0.33)), made.bundle, cells()
    )
    assert found.status == OK
    assert found.candidates[0][0] == found.kind == kind
    x, y = (PLACES[kind][0] + PLACES[kind][2]) / 2 / 595, (PLACES[kind][1] + PLACES[kind][3]) / 2 / 842
    best = found.boxes[0]
    assert best.x0 <= x <= best.x1
    assert best.y0 <= y <= best.y1
    assert (best.x1 - best.x0) * (best.y1 - best.y0) < 0.3
    assert dict(found.without)[kind] < found.probability - 0.01
    assert f"takes {kind} from" in found.finding
    assert found.margin == pytest.approx(found.candidates[0][1] - found.candidates[1][1])
    assert found.examples[0].label == kind


def test_a_classifier_with_cues_is_asked_with_them(made: Made) -> None:
    """Parts are covered for the network alone; the cues that the page was told with stay."""
    bundle = fit(made.workspace, made.workspace.store(), TrainingRecipe("svm", cues=True), "with-cues")
    page = str(draw_page(made.folder / "new" / "cued.pdf", "head", 0.33))
    found = explain(made.workspace, page, bundle, cells())
    assert (found.status, found.kind) == (OK, "head")
    assert found.page.info.cues
    verdicts, _ = classify(made.workspace, [page], bundle, cells, settings=ONE_WORKER)
    assert found.probability == pytest.approx(verdicts[0].pages[0].prediction.confidence, abs=1e-3)
    assert found.examples[0].label == "head"


def test_another_type_can_be_asked_for(made: Made) -> None:
    """What speaks against the answer speaks for the other type; an unknown type is refused with the known ones."""
    page = str(draw_page(made.folder / "new" / "asked.pdf", "head", 0.33))
    found = explain(made.workspace, page, made.bundle, cells(), kind="foot")
    assert found.candidates[0][0] == "head"
    assert found.kind == "foot"
    assert found.drops is not None
    assert found.drops.min() < -0.2
    with pytest.raises(UnknownNameError, match="known: foot, head"):
        explain(made.workspace, page, made.bundle, cells(), kind="hand")


def test_nothing_is_made_up_where_nothing_decides(made: Made) -> None:
    """Where no part moves the odds, the finding says so; a blank page is not asked at all."""
    page = draw_page(made.folder / "new" / "even.pdf", "head")
    undecided = replace(made.bundle, pages=replace(made.bundle.pages, scale=ProbabilityScale(1e6)))
    found = explain(made.workspace, str(page), undecided, cells())
    assert found.status == DIFFUSE
    assert found.boxes == ()
    assert found.finding.startswith("No part decides")
    found = explain(made.workspace, str(draw_page(made.folder / "new" / "blank.pdf", None)), made.bundle, cells())
    assert found.status == BLANK
    assert found.candidates == ()
    assert "blank" in found.finding
    for_json = as_json(found)
    assert for_json["status"] == BLANK
    assert "grid" not in for_json
    draw(made.workspace, found, cells(), made.folder / "blank.png")
    assert (made.folder / "blank.png").exists()


def test_pages_that_cannot_be_had_are_errors(made: Made) -> None:
    """A page that is not there, a file that is none, a backbone of another space: each is said in one line."""
    page = draw_page(made.folder / "new" / "one.pdf", "head")
    with pytest.raises(DocumentError, match="has no page 7"):
        explain(made.workspace, f"{page}#page=7", made.bundle, cells())
    (made.folder / "new" / "broken.pdf").write_bytes(b"%PDF-1.7 and no more")
    with pytest.raises(DocumentError):
        explain(made.workspace, str(made.folder / "new" / "broken.pdf"), made.bundle, cells())
    with pytest.raises(SpaceMismatchError):
        explain(made.workspace, str(page), made.bundle, cells("squash"))


@pytest.mark.parametrize(("resize", "paper"), [("aspect", (842, 595)), ("crop", (595, 842)), ("squash", (300, 842))])
def test_pictures_show_pages_of_all_shapes(made: Made, resize: str, paper: tuple[int, int], tmp_path: Path) -> None:
    """Wide pages, tall ones, and those of which the network sees a part are drawn, names in any script beside them."""
    bundle = replace(made.bundle, identity=cells(resize).identity)
    file = draw_page(tmp_path / "发票 $5 invoice.pdf", "head", 0.2, paper)
    found = explain(made.workspace, str(file), bundle, cells(resize))
    assert bool(found.examples) == (resize == "aspect")  # nothing is stored of the other spaces
    picture = default_picture(made.workspace, found.page.info.ref)
    assert picture.name == "发票 $5 invoice-p1.png"
    draw(made.workspace, found, cells(resize), picture)
    with Image.open(picture) as image:
        assert image.width > 800
    values = as_json(found)
    assert len(values["grid"]["drops"]) == values["grid"]["rows"]
    assert {"x0", "y0", "x1", "y1", "drop"} == values["boxes"][0].keys()


TINY = "timm:test_resnet"


def test_the_maps_of_a_stage_are_drawn(make_pdf: Callable[..., Path], tmp_path: Path) -> None:
    """The last stage of a stride is taken where several have it; its maps are ordered by how much they vary."""
    page = f"{make_pdf('a.pdf', ['one', 'two'])}#page=2"
    found = stage_maps(page, "stride8", TINY, "none")
    assert found.stage in found.stages
    assert found.stage.stride == 8
    assert found.maps.shape[0] == found.stage.channels
    assert found.maps.shape[1:] == tuple(side // 8 for side in found.page.pixels.shape[:2])
    assert found.page.info.ref == PageRef(found.page.info.ref.document_sha256, 1, str(tmp_path / "a.pdf"))
    varied = found.maps.std(axis=(1, 2))[found.order]
    assert (np.diff(varied) <= 0).all()
    draw_stage(found, 5, TINY, tmp_path / "maps.png")
    with Image.open(tmp_path / "maps.png") as image:
        assert image.width > 800


def test_stages_that_are_not_there_are_told(make_pdf: Callable[..., Path]) -> None:
    """An unknown stage lists those of the network; a network without maps says so."""
    page = str(make_pdf("a.pdf", ["one"]))
    with pytest.raises(UnknownNameError, match="stride8x"):
        stage_maps(page, "layer3", TINY, "none")
    with pytest.raises(EmbedpipeError, match="no feature maps"):
        stage_maps(page, "stride8", "timm:test_vit", "none")


def test_a_long_name_is_cut_between_characters(tmp_path: Path) -> None:
    """The picture of a page is named after its file, however long its name is in bytes."""
    workspace = Workspace(tmp_path / "artifacts")
    for lead in ("", "a", "ab"):
        picture = default_picture(workspace, PageRef("a" * 64, 0, f"/pile/{lead}{'发' * 80}.pdf"))
        assert picture.name.encode("utf-8").decode("utf-8").startswith(f"{lead}发发")
        picture.parent.mkdir(exist_ok=True)
        picture.touch()
