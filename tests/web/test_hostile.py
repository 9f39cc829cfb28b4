"""What whoever wishes no good may send: none takes all places or the disk, and each is told one line."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from starlette.requests import ClientDisconnect
from starlette.testclient import TestClient
from typer.testing import CliRunner
from web.asking import run_alone, when_over

from embedpipe.core import files
from embedpipe.core.errors import ArtifactError, BusyError
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.decide import LabelBook, suggested_file
from embedpipe.web import guard, problems
from embedpipe.web import serving as running
from embedpipe.web.events import Events
from embedpipe.web.problems import ProblemError
from embedpipe.web.settings import Caps, ServeSettings
from embedpipe.web.uploads import Uploads
from embedpipe.web.working.derived import Derived
from embedpipe.web.working.ledger import Ledger

FILE = {"Content-Type": "application/octet-stream"}
CSV = {"Content-Type": "text/csv"}
TOKEN = "a-token-of-many-letters"


async def _app(scope: Any, receive: Any, send: Any) -> None:
    """Answers once the body is there."""
    while scope["type"] == "http" and (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A server of two connections, which waits a moment only."""
    monkeypatch.setattr(running, "_CONNECTIONS", 2)
    monkeypatch.setattr(running, "_IDLE_SECONDS", 0.3)
    listener = running.listening("127.0.0.1", 0)
    config = uvicorn.Config(
        _app, http=running.Connection, ws="none", lifespan="off", log_config=None, h11_max_incomplete_event_size=1000
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
    with listener:
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield listener.getsockname()[1]
        server.should_exit = True
        thread.join(timeout=20)


def said(port: int, sent: bytes) -> bytes:
    """All that a connection answers, until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        one.sendall(sent)
        found = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := one.recv(65536):
                found += piece
    return found


def drip(connection: socket.socket) -> None:
    """Sends a byte now and then."""
    for _ in range(600):
        connection.sendall(b"T")
        time.sleep(0.05)


def test_half_requests_do_not_take_all_places_for_ever(port: int) -> None:
    """Who comes meanwhile is told; they are let go, also where a drop comes now and then."""
    slow = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(2)]
    slow[0].sendall(b"GET / HT")
    answer = said(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"retry-after: 2" in answer.lower()
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "busy"
    with pytest.raises(ConnectionError):
        drip(slow[0])
    assert slow[1].recv(1) == b""
    for one in slow:
        one.close()
    assert said(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 204")


def test_no_answer_waits_for_a_confirmation(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What follows the head of an answer is sent at once."""
    begun, told = running.Connection.connection_made, []

    def begin(self: Any, transport: Any) -> None:
        begun(self, transport)
        told.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    monkeypatch.setattr(running.Connection, "connection_made", begin)
    said(port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert len(told) == 1
    assert told[0]


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01nothing\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 5000,
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_what_is_no_request_is_a_problem(port: int, caplog: pytest.LogCaptureFixture, sent: bytes) -> None:
    """With the headers of every answer, and no error of the program."""
    head, _, body = said(port, sent).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert b"application/problem+json" in head
    assert b"nosniff" in head
    assert json.loads(body)["code"] == "bad_request"
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_bodies_in_drops_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although each piece comes in time."""
    monkeypatch.setattr(guard, "_PATIENCE", 0.1)

    async def drop() -> dict[str, Any]:
        await asyncio.sleep(0.03)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def all_of_it() -> int:
        bounded = guard.Guard(_app, ServeSettings(tmp_path))._bounded({"path": "/labels"}, drop)
        for number in range(50):
            try:
                await bounded()
            except Exception:  # noqa: BLE001 - whatever it is, it has ended
                return number
        return 50

    assert 1 <= run_alone(asyncio.run, all_of_it()) < 10


def test_who_goes_in_the_middle_is_no_error(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the server: nothing is told on its terminal."""

    async def gone(*_: Any) -> None:
        raise ClientDisconnect

    monkeypatch.setattr(Uploads, "take", gone)
    answer = client.post("/uploads?name=a.pdf", content=b"x", headers=FILE)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


def test_uploads_at_once_stay_below_their_cap(tmp_path: Path) -> None:
    """Bytes count as they come; nothing is left of what was refused, and nothing of what a kill left."""
    left = tmp_path / "uploads" / "20260101-000000000000" / ".upload-x"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"x" * 90_000)
    uploads = Uploads(tmp_path / "uploads", Caps(total_bytes=100_000, free_bytes=0))

    class Asked:
        async def stream(self) -> Any:
            for _ in range(6):
                await asyncio.sleep(0.01)
                yield b"x" * 10_000

    async def both() -> list[Any]:
        takes = [uploads.take(Asked(), "a.pdf", None) for _ in range(2)]  # type: ignore[arg-type]
        return await asyncio.gather(*takes, return_exceptions=True)

    found = run_alone(asyncio.run, both())
    refused = [one for one in found if isinstance(one, ProblemError)]
    assert [one.code for one in refused] == ["no_space"]
    assert [file.stat().st_size for file in (tmp_path / "uploads").glob("*/*")] == [60_000]
    assert uploads._coming == 0
    assert sum(1 for folder in (tmp_path / "uploads").iterdir() if not any(folder.iterdir())) <= 1


def test_lines_are_lines(client: TestClient) -> None:
    """Whatever a request calls its keys, and however long they are."""
    for key in ("a\nb\x1b[31m\0", "k" * 100_000):
        answer = client.post("/labels", json={"labels": [], key: 1}).json()
        assert answer["detail"].isprintable()
        assert len(answer["detail"]) <= 1000
        assert len(json.dumps(answer)) < 5000
    assert problems._one_line("\udcff\u4e2d") == "\udcff\u4e2d"
    assert client.put("/documents", json={}).headers["allow"] == "GET"
    assert client.post("/similar", json=[]).json()["detail"].startswith("body: ")


def test_text_that_is_no_unicode_is_no_error_of_the_server(
    serving: Callable[..., TestClient], tmp_path: Path, make_pdf: Callable[..., Path]
) -> None:
    """Halves of characters, and digits of other scripts; an inbox whose name is not UTF-8 is as others are."""
    folder = tmp_path / os.fsdecode(b"in\xff")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has no such names")
    make_pdf("a.pdf", ["text"]).rename(folder / "a.pdf")
    client = serving(inboxes=(folder,))

    def post(address: str, values: dict[str, Any]) -> Any:
        return client.post(address, content=json.dumps(values), headers={"Content-Type": "application/json"})

    begun = post("/refit", {"kind": "knn", "blocks": ["\ud800"]})
    assert begun.status_code == 202
    assert when_over(client, begun.json()["job"])["state"] == "failed"
    begun = post("/embed", {"inbox": 0})
    assert when_over(client, begun.json()["job"])["result"]["embedded"] == 1
    document = client.get("/documents").json()["columns"]["document"][0]
    assert client.get(f"/pages/{document}-1.webp", params={"size": "\u0663"}).status_code == 200


def test_a_full_disk_is_told_as_one(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is not a file that is sent, but a label or the record of a job that cannot be written."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    document = client.get("/documents").json()["columns"]["document"][0]
    monkeypatch.setattr(files, "synced", full)
    for address, values in (
        ("/labels", {"labels": [{"document": document, "type": "memo"}]}),
        ("/refit", {"kind": "knn"}),
    ):
        answer = client.post(address, json=values)
        assert (answer.status_code, answer.json()["code"]) == (507, "no_space")
        assert "No space left" in answer.json()["detail"]


def test_names_that_cannot_be_seen_are_no_labels(client: TestClient) -> None:
    """Neither of types nor of groups, given one by one or in a list; nor do pages that are not there have any."""
    document = client.get("/documents").json()["columns"]["document"][0]
    before = client.get("/labels.csv").text
    one = {"document": document, "type": "memo"}
    for more in ({"group": "a\0b"}, {"group": "a\nb"}, {"type": "a\x1bb"}, {"page": 99}):
        assert client.post("/labels", json={"labels": [one | more]}).status_code == 422
    for cell in ("a\x1bb", '"a\nb"', "x" * 200_000):
        told = client.post("/labels.csv", content=f"document,label\n{document},{cell}\n".encode(), headers=CSV)
        assert told.status_code == 422
        assert "/tmp" not in told.json()["detail"]
    assert client.get("/labels.csv").text == before
    taken = client.post("/labels", json={"labels": [{"document": document, "type": None, "page": 99}]})
    assert taken.status_code == 200  # what is there of another page can be taken away


def test_places_of_uploaded_files_are_not_told(client: TestClient, make_pdf: Callable[..., Path]) -> None:
    """An error names the file as it was sent."""
    body = make_pdf("a.pdf", ["text"]).read_bytes()
    answer = client.post("/similar?name=mine.pdf&page=99", content=body, headers=FILE)
    assert (answer.status_code, answer.json()["detail"]) == (422, "mine.pdf has no page 99")


def test_a_token_is_not_guessed_quickly(serving: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    """By POST /session no more than by the header."""
    monkeypatch.setattr(guard, "WRONG_TOKEN_SECONDS", 0.2)
    client, begin = serving(token=TOKEN), time.monotonic()
    assert client.post("/session", json={"token": "x" * 20}).status_code == 401
    assert time.monotonic() - begin >= 0.2
    assert client.post("/session", json={"token": TOKEN}).status_code == 204


def test_user_names_before_a_host_are_refused(client: TestClient) -> None:
    """No browser sends them."""
    assert client.get("/healthz", headers={"Host": "evil.example@127.0.0.1"}).status_code == 403


@pytest.mark.parametrize(
    ("kind", "wish"), [("embed", {"inputs": ["/etc"], "space": None}), ("write_parts", {"folder": "/etc", "parts": []})]
)
def test_resumed_jobs_have_only_what_this_server_has(
    serving: Callable[..., TestClient], artifacts: Path, kind: str, wish: dict[str, Any]
) -> None:
    """Folders of an earlier server that this one was not given are not read, and not written to."""
    ledger = Ledger(artifacts / "serve" / "jobs")
    begun = ledger.change(ledger.add(kind, kind, wish).name, state="failed")
    client = serving()
    assert client.post(f"/jobs/{begun.name}/resume", json={}).status_code == 403


def test_two_servers_do_not_take_each_others_jobs(artifacts: Path) -> None:
    """The second one is refused, before it marks what runs as interrupted; one that only reads is not."""
    with running._alone(artifacts), pytest.raises(BusyError, match=r"--read-only$"):
        running.serve(ServeSettings(artifacts), "127.0.0.1", 0, say=lambda _: None)


def test_large_batches_leave_fewer_events() -> None:
    """Memory is bounded by documents, and who asks for what is gone loads all anew."""
    events = Events()
    begin = events.since(None)["next"]
    for _ in range(30):
        events.publish("labels", changed=[{}] * 5000)
    assert len(events._kept) == 10
    assert events.since(begin)["reset"]
    assert len(events.since(begin + 25)["events"]) == 5


def test_damaged_results_and_suggestions(artifacts: Path) -> None:
    """A result that is none is made again; of suggestions it is told that they may be removed."""
    derived = Derived(artifacts / "derived", Ledger(artifacts / "jobs"), None)  # type: ignore[arg-type]
    (artifacts / "derived").mkdir()
    (artifacts / "derived" / "twins.json").write_text('{"key": "k", "data": 5}')
    assert derived.get("twins", "", {}, {}, "k", refresh=False)[:2] == ("missing", None)
    workspace = Workspace(artifacts)
    suggested_file(workspace).parent.mkdir(exist_ok=True)
    suggested_file(workspace).write_text('document,path,page,label,group\nx,"open')
    with pytest.raises(ArtifactError, match="remove it"):
        LabelBook(workspace).suggested()


def test_the_token_of_a_file_is_not_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays in the file; and an address of this machine is not said to be reached from others for having one."""
    from embedpipe.commands import app  # noqa: PLC0415 - only here

    def serve(settings: ServeSettings, host: str, port: int, *, say: Callable[[str], None], **_: Any) -> None:
        say(f"http://{host}:{port}/#token={settings.token}")

    monkeypatch.setattr(running, "serve", serve)
    (tmp_path / "token").write_text(TOKEN)
    own = ["serve", "--artifacts", str(tmp_path / "artifacts"), "--port", "1"]
    told = CliRunner().invoke(app, [*own, "--token-file", str(tmp_path / "token")]).output
    assert "http://127.0.0.1:1/" in told
    assert TOKEN not in told
    assert "only this machine" in told
    assert "/#token=" in CliRunner().invoke(app, [*own, "--host", "0.0.0.0"]).output
