"""Who may ask: names, pages of other sites, kinds of bodies, tokens, caps; and what every answer says of itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient
from threadpoolctl import threadpool_info, threadpool_limits
from web.asking import hub_of, run_alone

from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.web import guard
from embedpipe.web import serving as running
from embedpipe.web.settings import Caps, ServeSettings
from embedpipe.web.uploads import safe_name

TOKEN = "a-token-of-many-letters"
JSON = {"Content-Type": "application/json"}


def told(answer: Any, status: int, code: str) -> str:
    """The line of a problem, which has to be one."""
    values = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert (values["status"], values["code"], values["type"]) == (status, code, f"urn:embedpipe:{code}")
    assert "\n" not in values["detail"]
    return str(values["detail"])


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:8765", "[::1]:8765", "LOCALHOST"])
def test_own_names_are_answered(client: TestClient, host: str) -> None:
    """By whichever port."""
    assert client.get("/healthz", headers={"Host": host}).json() == {"status": "ok"}


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.1.5", "localhost@evil", "", "[::1"]
)
def test_other_names_are_refused(client: TestClient, host: str) -> None:
    """A name that was made to lead here (DNS rebinding) is not this server's, whatever is asked."""
    for path in ("/", "/healthz", "/documents"):
        told(client.get(path, headers={"Host": host}), 403, "forbidden")


def test_named_hosts_are_answered(serving: Callable[..., TestClient]) -> None:
    """Such as that of a proxy; addresses too where a token is needed, for no name leads to another machine's."""
    client = serving(hosts=("papers.example",), token=TOKEN)
    for host in ("papers.example", "192.168.1.5:8765"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200
    told(client.get("/healthz", headers={"Host": "other.example"}), 403, "forbidden")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://127.0.0.1"}, 409),
        ({"Origin": "https://127.0.0.1"}, 409),
        ({"Sec-Fetch-Site": "same-origin"}, 409),
        ({}, 409),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://127.0.0.1:81"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415),
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
    ],
)
def test_pages_of_other_sites_change_nothing(client: TestClient, headers: dict[str, str], status: int) -> None:
    """Undoing, where nothing can be undone, is refused as such only where it was let pass."""
    assert client.post("/labels/undo", content=b"{}", headers={**JSON, **headers}).status_code == status


def test_a_link_opens_the_page_and_nothing_else(client: TestClient) -> None:
    """Another site may lead to `/`; it may embed no picture and ask for no documents."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert client.get("/", headers=link).status_code in (200, 404)
    told(client.get("/documents", headers=link), 403, "forbidden")
    told(client.get("/", headers={"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}), 403, "forbidden")


def test_browsers_find_the_icon(client: TestClient) -> None:
    """Also those that look where icons used to be."""
    assert client.get("/favicon.ico").headers["content-type"] == "image/svg+xml"


@pytest.mark.parametrize("path", ["/healthz", "/documents", "/nowhere", "/static/nothing.js", "/openapi.json"])
def test_every_answer_has_the_headers(client: TestClient, path: str) -> None:
    """Scripts come from here alone, nobody frames it, and kinds are not guessed."""
    headers = client.get(path).headers
    assert "script-src 'self'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "access-control-allow-origin" not in headers


def test_head_is_answered_as_get_without_a_body(serving: Callable[..., TestClient]) -> None:
    """As those ask who look whether a server is alive, or how large a file is; also where an answer never ends."""
    client = serving()
    for path in ("/healthz", "/documents", "/labels.csv", "/openapi.json", "/static/main.js"):
        got, told_of = client.get(path), client.head(path)
        assert (told_of.status_code, told_of.content) == (got.status_code, b"")
        assert told_of.headers["content-type"] == got.headers["content-type"]
        assert got.content
    assert client.head("/nowhere").status_code == 404
    assert serving(token=TOKEN).head("/documents").status_code == 401


def test_a_token_is_asked_for(serving: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch) -> None:
    """By header or cookie; the page itself, its health and its files need none."""
    monkeypatch.setattr(guard, "WRONG_TOKEN_SECONDS", 0.0)
    client = serving(token=TOKEN)
    assert client.get("/healthz").status_code == 200
    assert client.get("/translations/zh.json").status_code == 200
    for path in ("/documents", "/version", "/openapi.json", "/pages/" + "0" * 64 + "-1.webp", "/events", "/labels.csv"):
        answer = client.get(path)
        told(answer, 401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"
    told(client.get("/documents", headers={"Authorization": f"Bearer {TOKEN}x"}), 401, "unauthorized")
    assert client.get("/documents", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200
    told(client.post("/session", json={"token": "wrong"}), 401, "unauthorized")
    given = client.post("/session", json={"token": TOKEN})
    cookie = given.headers["set-cookie"]
    assert given.status_code == 204
    assert TOKEN not in cookie
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert client.get("/documents").status_code == 200


def test_read_only(serving: Callable[..., TestClient], artifacts: Path) -> None:
    """Nothing that changes anything passes; what is asked is answered, and no file is written to the artifacts."""

    def files() -> dict[str, int]:
        return {str(file): file.stat().st_mtime_ns for file in artifacts.rglob("*") if file.is_file()}

    before = files()
    client = serving(read_only=True)
    assert client.get("/version").json()["read_only"]
    posts = ("/labels", "/labels/undo", "/refit", "/embed", "/uploads?name=a.pdf", "/changes/rollback", "/suggestions")
    for path in posts:
        told(client.post(path, content=b"{}", headers=JSON), 403, "read_only")
    assert client.get("/documents").json()["count"] == 18
    document = client.get("/documents").json()["columns"]["document"][0]
    assert client.post("/similar", json={"document": document}).status_code == 200
    hub_of(client).runner.close()
    assert files() == before


@pytest.mark.parametrize("length", ["99999999999", "-1", "many"])
def test_bodies_have_a_cap(serving: Callable[..., TestClient], length: str) -> None:
    """By what they say, and by what comes."""
    client = serving(caps=Caps(body_bytes=100, file_bytes=200))
    told(client.post("/labels", content=b"{}", headers={**JSON, "Content-Length": length}), 413, "too_large")
    told(client.post("/labels", content=iter([b"[" * 60] * 9), headers=JSON), 413, "too_large")
    kind = {"Content-Type": "application/octet-stream"}
    told(client.post("/uploads?name=a.pdf", content=iter([b"x" * 150] * 9), headers=kind), 413, "too_large")


def test_a_body_that_does_not_come_is_given_up(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends slowly is waited for some seconds from piece to piece."""
    monkeypatch.setattr(guard, "_PATIENCE", 0.01)

    async def never() -> Any:
        await asyncio.sleep(10)

    own = guard.Guard(lambda *_: never(), ServeSettings(artifacts))
    with pytest.raises(HTTPException) as caught:
        run_alone(asyncio.run, own._bounded({"path": "/labels"}, never)())
    assert caught.value.status_code == 408


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/documents/../../etc/passwd", 404),
        ("/static/../settings.py", 404),
        ("/static/%2e%2e/settings.py", 404),
        ("/static//etc/passwd", 404),
        ("/pages/..%2f..%2fetc%2fpasswd.webp", 404),
        ("/pages/" + "0" * 64 + "-1.webp?size=large", 404),
        ("/pages/" + "0" * 64 + "-1.svg", 404),
        ("/pages/" + "0" * 64 + "-0.webp", 404),
        ("/documents/" + "g" * 64, 404),
        ("/jobs/..%2f..", 404),
        ("/jobs/nothing", 404),
        ("/piles?document=../x", 404),
        ("/translations/..%2fzh.json", 404),
        ("/documents?sort=size", 422),
        ("/documents?limit=many", 422),
        ("/map?method=tsne", 422),
        ("/nowhere", 404),
    ],
)
def test_addresses_lead_nowhere_else(client: TestClient, path: str, status: int) -> None:
    """Ids are ids, and names of files of the page are a list: no path reaches the disk."""
    answer = client.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_methods_that_are_not_answered_are_problems(client: TestClient) -> None:
    """As everything else that is refused."""
    told(client.delete("/documents", headers=JSON), 405, "method_not_allowed")


def test_numbers_are_put_into_their_range(client: TestClient) -> None:
    """Whatever is asked for, the answer is bounded."""
    assert client.get("/documents?limit=-5").json()["count"] == 0
    assert client.get("/documents?limit=99999999999999&offset=-3").json()["count"] == 18
    assert len(client.get("/queue?limit=100000000").json()["items"]) <= 100
    assert client.get("/events?since=5&wait=inf").json()["reset"]
    assert client.get("/families?threshold=nan&least=-4").status_code == 200


def test_problems_come_in_two_languages(client: TestClient) -> None:
    """By ?lang, else by the first language of the header that there is."""
    english = client.get("/jobs/nothing").json()["detail"]
    chinese = client.get("/jobs/nothing?lang=zh-CN").json()["detail"]
    assert english.isascii()
    assert not chinese.isascii()
    by_header = client.get("/jobs/nothing", headers={"Accept-Language": "fr, zh-TW;q=0.8, en"}).json()
    assert (by_header["detail"], by_header["code"]) == (chinese, "not_found")


def test_what_nobody_foresaw_is_a_problem(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line, without a traceback."""
    monkeypatch.setattr(hub_of(client), "ledger", None)
    with TestClient(client.app, base_url="http://127.0.0.1", raise_server_exceptions=False) as quiet:
        monkeypatch.setattr(hub_of(quiet), "in_use", lambda: 1 / 0)
        line = told(quiet.get("/version"), 500, "internal")
    assert "ZeroDivisionError" in line


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("a.pdf", "a.pdf"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("%2e%2e%2fx.pdf", "x.pdf"),
        ("..", "file"),
        (".", "file"),
        ("", "file"),
        (".hidden", "hidden"),
        ("a\0b\n<script>.pdf", "a_b__script_.pdf"),
        ("con.pdf", "_con.pdf"),
        ("发票 2026.pdf", "发票 2026.pdf"),
        ("\u202egpj.exe", "_gpj.exe"),
        ("x" * 300 + ".pdf", "x" * 146 + ".pdf"),
    ],
)
def test_names_of_files_are_names(given: str, kept: str) -> None:
    """Nothing of a path, nothing that cannot be seen, and no longer than file systems take."""
    assert safe_name(given) == kept


def test_tokens(tmp_path: Path) -> None:
    """None on this machine's own addresses, a new one elsewhere, or that of a file, which has to be long enough."""
    assert running.token_for("127.0.0.1", None) == running.token_for("::1", None) == ""
    assert running.token_for("localhost", None) == ""
    assert len(running.token_for("0.0.0.0", None)) > 30
    assert running.token_for("0.0.0.0", None) != running.token_for("0.0.0.0", None)
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert running.token_for("127.0.0.1", file) == TOKEN
    file.write_text("short")
    with pytest.raises(UsageError, match="at least 16"):
        running.token_for("127.0.0.1", file)
    with pytest.raises(EmbedpipeError, match="cannot be read"):
        running.token_for("127.0.0.1", tmp_path / "none")


def test_addresses_that_cannot_be_listened_at() -> None:
    """One line that says what to do."""
    with running.listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        assert running.address_of(taken, "0.0.0.0") == f"http://127.0.0.1:{port}/"
        with pytest.raises(EmbedpipeError, match="choose another --port"):
            running.listening("127.0.0.1", port)
    with pytest.raises(EmbedpipeError, match="cannot listen at"):
        running.listening("no such host", 0)


def test_small_matrices_have_one_thread(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two decisions threads would wait for each other longer than they work; other programs keep theirs."""
    told: list[int] = []

    def threads() -> int:
        return max(one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas")

    async def serve(self: Any, sockets: Any) -> None:
        assert sockets
        told.append(threads())
        self.started = True

    def run(coroutine: Any) -> None:  # without a loop: a browser of another test holds that of this thread
        with pytest.raises(StopIteration):
            coroutine.send(None)

    monkeypatch.setattr(running.uvicorn.Server, "serve", serve)
    monkeypatch.setattr(running.asyncio, "run", run)
    with threadpool_limits(2, "blas"):
        before = threads()
        running.serve(ServeSettings(artifacts), "127.0.0.1", 0, say=lambda _: None)
        assert threads() == before
    assert told == [1]


def test_openapi_has_examples(client: TestClient) -> None:
    """Of each body that is JSON; files are declared as such, and every address says what it does."""
    told = client.get("/openapi.json").json()
    assert set(told["paths"]) >= {"/classify", "/similar", "/documents", "/queue", "/labels", "/refit", "/jobs/{name}"}
    for path, methods in told["paths"].items():
        for method, values in methods.items():
            assert values.get("description"), path
            content = values.get("requestBody", {}).get("content", {})
            if "application/octet-stream" in content or method == "get" or "application/json" not in content:
                continue
            schema = content["application/json"]["schema"]
            name = schema.get("$ref", "").rpartition("/")[2]
            assert "examples" in told["components"]["schemas"][name] or "Body" in name, path
