"""Fixtures that many tests share: documents made at run time, a tiny seeded network, the shared corpus where it is."""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from s3 import Server

    from embedpipe.backbones.engines import Backbone
    from embedpipe.store.workspace import Workspace

TINY = "timm:test_resnet"
"""A real network of timm with few weights; random, but the same ones every time."""

_SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps converted networks where the tests, and the programs that they start, find no others."""
    from embedpipe.core.cache_folder import CACHE_VARIABLE

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, without a window; one for all tests, for a process can drive it from one place only."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if not program:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        started = driver.chromium.launch(executable_path=program, args=options)
        yield started
        started.close()


@pytest.fixture(scope="session", autouse=True)
def no_converters() -> Iterator[None]:
    """No program of the machine makes PDFs of documents: what a test counts does not depend on what is installed."""
    from embedpipe.pages.converting.table import NONE, VARIABLE

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, NONE)
        yield


@pytest.fixture(autouse=True)
def no_converters_left(no_converters: None) -> None:
    """What a command of another test said of converters holds no more."""
    from embedpipe.pages.converting.table import NONE, VARIABLE

    os.environ[VARIABLE] = NONE


@pytest.fixture
def alone() -> None:
    """The process that is kept for calls to libraries is gone: for tests that count processes."""
    from embedpipe.pages import guarding

    guarding.stop()


@pytest.fixture(scope="session", autouse=True)
def english() -> Iterator[None]:
    """Messages are English whatever the locale of the machine."""
    from embedpipe.core.languages.choice import VARIABLE

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, "en")
        yield


@pytest.fixture(scope="session", autouse=True)
def built_once() -> Iterator[None]:
    """Builds the command line of a program once, and not again for every command that the tests give."""
    import typer.main
    import typer.testing

    with pytest.MonkeyPatch.context() as patch:
        build = functools.cache(typer.main.get_command)
        patch.setattr(typer.main, "get_command", build)
        patch.setattr(typer.testing, "_get_command", build)
        yield


@pytest.fixture
def spared_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps the devices of the machine from a test that fails as root: nothing is renamed over one of them."""
    replace = os.replace

    def spared(source: str | Path, target: str | Path) -> None:
        assert not str(target).startswith(("/dev/", "/proc/")), f"{target} would be lost"
        replace(source, target)

    monkeypatch.setattr(os, "replace", spared)


@pytest.fixture(scope="session")
def tiny() -> Backbone:
    """A tiny seeded backbone on torch, pages of 64 pixels."""
    from embedpipe.backbones.building import load_backbone
    from embedpipe.backbones.engines import EngineChoice
    from embedpipe.core.records import Recipe

    recipe = Recipe(size=64, resize="aspect", layers="penultimate")
    return load_backbone(TINY, weights="none", recipe=recipe, choice=EngineChoice("cpu", "fp32", "torch"))


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU with units for bfloat16, simulated."""
    from bfloat16 import SimulatedEngine

    from embedpipe.backbones import runtime

    monkeypatch.setattr(runtime, "OpenVinoEngine", SimulatedEngine)
    monkeypatch.setattr(runtime, "offered_precisions", lambda _choice: ("fp32", "bf16"))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty artifacts folder."""
    from embedpipe.store.workspace import Workspace

    return Workspace(tmp_path / "artifacts")


@pytest.fixture
def make_pdf(tmp_path: Path) -> Callable[..., Path]:
    """Writes a PDF whose pages each hold one text, larger or smaller: `make_pdf("a.pdf", ["one", "two"])`."""
    import pymupdf

    def make(name: str, texts: list[str], *, size: float = 40, paper: tuple[float, float] = (595, 842)) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        with pymupdf.open() as document:
            for text in texts:
                page = document.new_page(width=paper[0], height=paper[1])
                if text:
                    page.insert_textbox((40, 40, paper[0] - 40, paper[1] - 40), text, fontsize=size)
            document.save(file)
        return file

    return make


@pytest.fixture
def make_image(tmp_path: Path) -> Callable[..., Path]:
    """Writes a picture with a dark bar at its top: `make_image("a.png", mode="L")`."""
    import numpy as np
    from PIL import Image

    def make(name: str, *, mode: str = "RGB", size: tuple[int, int] = (200, 280)) -> Path:
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.full((size[1], size[0]), 255, np.uint8)
        pixels[: size[1] // 5] = 20
        Image.fromarray(pixels).convert(mode).save(file)
        return file

    return make


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The shared labelled documents."""
    folder = _SHARED / "corpus"
    if not folder.is_dir():
        pytest.skip("the shared corpus is not beside the checkout")
    return folder


@pytest.fixture(scope="session")
def nasty() -> Path:
    """The shared hostile inputs."""
    folder = _SHARED / "nasty"
    if not folder.is_dir():
        pytest.skip("the shared hostile inputs are not beside the checkout")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Small networks are fastest so; and sums of other threads are rounded otherwise, so runs could not be compared."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Server]:
    """A real S3 server on this machine, and the environment that has every client find it."""
    for name in ("moto", "flask_cors", "s3fs"):
        pytest.importorskip(name, reason=f"the extra s3, or the test server, is not installed: {name}")
    from s3 import serving

    from embedpipe.core.objects import service

    with serving() as server, pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_ENDPOINT_URL", server.url)
        patch.setattr(service, "FIRST_PAUSE", 0.002)
        service.file_system.cache_clear()
        yield server
        service.file_system.cache_clear()


@pytest.fixture
def s3(s3_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    """The server with an empty bucket, and a cache of its own as another machine has."""
    from s3 import BUCKETS

    from embedpipe.core.cache_folder import CACHE_VARIABLE
    from embedpipe.core.objects import places, service
    from embedpipe.store.remote import mirror

    s3_server.fault = lambda _method, _path: None
    name = f"papers-{next(BUCKETS)}"
    service.file_system("s3").mkdir(name)
    monkeypatch.setattr(mirror, "_mirrors", {})
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    places.forget_statuses()
    s3_server.bucket = f"s3://{name}"
    s3_server.requests.clear()
    return s3_server
