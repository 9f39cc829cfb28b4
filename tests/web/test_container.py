"""The container is what docs/serve.md says; building it is left to whoever has Docker."""

from __future__ import annotations

import json
import re
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer.main

from embedpipe.commands import app

ROOT = Path(__file__).resolve().parents[2]
yaml: Any = pytest.importorskip("yaml")


def steps() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with what follows it on its line and on those that go on from there."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = [line for line in text.replace("\\\n", "").splitlines() if line.strip()]
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines)]


def last(name: str) -> str:
    """The last instruction of a name."""
    return [rest for own, rest in steps() if own == name][-1]


def service() -> dict[str, Any]:
    """What compose.yaml says of the server."""
    return dict(yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))["services"]["serve"])


def test_all_that_is_copied_is_there_and_is_sent() -> None:
    """A path that .dockerignore keeps out cannot be copied."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert lines[0] == "*"
    sent = [line[1:] for line in lines if line.startswith("!")]
    copied = [rest.split()[:-1] for name, rest in steps() if name == "COPY" and "--from=" not in rest]
    for path in (path for paths in copied for path in paths):
        assert (ROOT / path).exists()
        assert any(fnmatch(path, one) for one in sent)


def test_it_has_no_rights() -> None:
    """It is not root, and changes nothing but its volumes and the folder for temporary files."""
    assert last("USER").split() == ["embedpipe"]
    names = [name for name, _ in steps()]
    last_user = len(names) - 1 - names[::-1].index("USER")
    assert "RUN" not in names[last_user:]
    own = service()
    assert own["read_only"]
    assert own["cap_drop"] == ["ALL"]
    assert own["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in own["tmpfs"]] == ["/tmp"]


def test_volumes_ports_and_options_are_the_same_everywhere() -> None:
    """In the Dockerfile, in compose.yaml, and in what `serve` takes."""
    command = json.loads(last("CMD"))
    serve = typer.main.get_command(app).commands["serve"]  # type: ignore[attr-defined]
    values = serve.make_context("serve", command[1:]).params
    mounted = dict(reversed(mount.split(":")[:2]) for mount in service()["volumes"])
    assert set(json.loads(last("VOLUME"))) == {"/artifacts", "/cache"}
    assert set(mounted) == {"/artifacts", "/cache", *map(str, values["inbox"])}
    assert "EMBEDPIPE_CACHE=/cache" in last("ENV")
    assert values["host"] == "0.0.0.0"
    port = str(values["port"])
    assert service()["ports"] == [f"127.0.0.1:{port}:{port}"]
    assert last("EXPOSE") == port
    assert f"'127.0.0.1', {port}," in last("HEALTHCHECK")


def test_the_health_check_tells_and_asks_no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Docker names its own proxy to all containers."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    code = json.loads(last("HEALTHCHECK").partition("CMD ")[2])[-1]
    status = [200]

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status[0] if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        code = code.replace("8765", str(server.server_port))
        for status[0], ended in ((200, False), (503, True)):
            with pytest.raises(SystemExit) as told:
                exec(code, {})
            assert bool(told.value.code) is ended
        server.shutdown()
        thread.join()


def test_all_that_can_be_chosen_is_documented() -> None:
    """Also what there is only because some networks do not reach the usual places."""
    documented = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
    assert [rest for name, rest in steps() if name == "ARG" if f"`{rest.partition('=')[0]}`" not in documented] == []
