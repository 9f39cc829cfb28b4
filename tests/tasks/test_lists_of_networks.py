"""The main job with a list of networks: one space, and the same list again wherever new files are answered about."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from onnx_files import classifier, detector
from typer.testing import CliRunner

from embedpipe.backbones.onnx import networks
from embedpipe.backbones.onnx.layouts import Layout
from embedpipe.backbones.weight_files import WeightsFile
from embedpipe.commands import app
from embedpipe.core.cache_folder import CACHE_VARIABLE
from embedpipe.core.errors import UsageError
from embedpipe.core.files import sha256_of

LIST = "ppocr_det+picodet_cdla"


@pytest.fixture(autouse=True)
def tiny_networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tiny ONNX networks in the place of real ones, one of which finds regions."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    made = {"ppocr_det": (classifier, None), "picodet_cdla": (detector, Layout(("dark", "bright"), strides=(8, 16)))}
    for name, (make, layout) in made.items():
        file = WeightsFile("pip install tiny", f"{name}.onnx", package="embedpipe_no_such", distribution="tiny==1")
        file.cached.parent.mkdir(parents=True, exist_ok=True)
        file = replace(file, sha256=sha256_of(make(file.cached)))
        known = replace(networks.NETWORKS[name], file=file, layout=layout, page_size=320)
        monkeypatch.setitem(networks.NETWORKS, name, known)


def run(*words: str) -> dict[str, Any]:
    """What a command prints as JSON."""
    done = CliRunner().invoke(app, [*words, "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_list_goes_through_the_main_job(tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
    """Embed, fit and classify; a second embed has nothing to do, and the classifier asks for the same networks."""
    for number in range(4):
        make_pdf(f"in/large/{number}.pdf", [f"{number} large"], size=90)
        make_pdf(f"in/small/{number}.pdf", [f"{number} small words " * 60], size=9)
    artifacts = ["--artifacts", str(tmp_path / "artifacts")]
    options = ["embed", str(tmp_path / "in"), "--backbone", LIST, "--size", "64", "--label-by", "folder", *artifacts]
    first = run(*options)
    assert (first["backbone"], first["embedded"], first["engine"]) == (LIST, 8, "openvino")
    assert run(*options)["skipped"] == 8
    (space,) = run("info", *artifacts)["spaces"]
    assert space["space"] == first["space"]
    run("fit-svm", *artifacts)
    answer = run("classify", str(make_pdf("new.pdf", ["9 large"], size=90)), *artifacts)
    assert answer["documents"][0]["type"] == "large"


def test_lists_are_described_and_fetched(tmp_path: Path) -> None:
    """Sums of what adds up, each network below; presets are listed with all others."""
    row = run("backbones", LIST)["backbones"][0]
    assert row["dim"] == sum(one["dim"] for one in row["networks"])
    assert row["blocks"][-1] == "picodet_cdla/layout"
    assert row["here"]
    fetched = run("backbones", "--download", LIST)["downloaded"]
    assert [one["name"] for one in fetched] == LIST.split("+")
    listing = CliRunner().invoke(app, ["backbones"])
    assert "efficientnet_lite0+pplcnet_doc" in " ".join(listing.output.split())


@pytest.mark.parametrize("words", [["explain", "a.pdf#page=1", "--stage", "stride8"], ["finetune"]])
def test_where_one_network_is_needed_a_list_is_refused(words: list[str], tmp_path: Path) -> None:
    """In one line that names one of them."""
    done = CliRunner().invoke(app, [*words, "--backbone", LIST, "--artifacts", str(tmp_path / "artifacts")])
    assert isinstance(done.exception, UsageError)
    assert "takes one of them, such as ppocr_det" in str(done.exception)
