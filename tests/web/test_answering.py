"""Types and look-alikes of single files and pages, asked of a server."""

from __future__ import annotations

import asyncio
import base64
import io
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient
from web.asking import hub_of, run_alone, when_ready

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.contract import Limits
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import classify as classify_task
from embedpipe.web.desk import Lane
from embedpipe.web.problems import ProblemError
from embedpipe.web.settings import Caps

FILE = {"Content-Type": "application/octet-stream"}


def test_a_file_gets_the_type_that_the_command_line_gives_it(
    client: TestClient, artifacts: Path, tiny: Backbone, make_pdf: Callable[..., Path]
) -> None:
    """The keys and values of `classify --json`; it is named as it was sent, and nothing of it is kept."""
    file = make_pdf("new.pdf", ["Agenda", "One point"])
    workspace = Workspace(artifacts)
    bundle = ClassifierBundle.load(workspace.classifier_path("knn"))
    [verdict], _ = classify_task.classify(workspace, [str(file)], bundle, lambda: tiny, neighbours=3)
    expected = classify_task.as_json(verdict) | {"path": "Brief 1.pdf"}
    for _ in range(2):  # the second one is answered by workers that are there
        answer = client.post("/classify?name=Brief%201.pdf", content=file.read_bytes(), headers=FILE).json()
        document = answer["documents"][0]
        assert document.pop("document") == verdict.document_sha256
        assert document == expected
    assert (answer["classifier"], answer["version"], answer["files"]) == ("knn", 1, 1)
    assert not list((artifacts / "serve").glob("uploads/*/*"))
    assert client.get("/documents").json()["count"] == 18


def test_workers_stay(client: TestClient, make_pdf: Callable[..., Path]) -> None:
    """One file after the other is rendered by the same processes; what goes wrong with one leaves no other without."""
    content = make_pdf("new.pdf", ["Agenda"]).read_bytes()
    client.post("/classify", content=content, headers=FILE)
    idle = hub_of(client).warm._idle
    assert len(idle) == 1
    renderer = idle[0][2]
    broken = client.post("/classify?name=b.pdf", content=content[:200], headers=FILE).json()
    assert broken["documents"][0]["status"] == "failed"
    assert broken["failures"][0]["path"] == "b.pdf"
    client.post("/classify", content=content, headers=FILE)
    assert idle[0][2] is renderer


@pytest.mark.parametrize("content", [b"no document", b"\x89PNG\r\n\x1a\n", b"PK\x03\x04", b"%PDF-1.7"])
def test_what_is_no_document_is_an_answer_of_its_own(client: TestClient, content: bytes) -> None:
    """As `classify` says it: failed or ignored, never an error of the server."""
    answer = client.post("/classify?name=x.bin", content=content, headers=FILE)
    assert answer.status_code == 200
    assert all(document["status"] == "failed" for document in answer.json()["documents"])


def test_empty_bodies_and_large_files_are_refused(serving: Callable[..., TestClient]) -> None:
    """Before anything is read of them."""
    client = serving(caps=Caps(file_bytes=1000))
    assert client.post("/classify", content=b"", headers=FILE).json()["code"] == "bad_request"
    assert client.post("/classify", content=b"x" * 1001, headers=FILE).status_code == 413
    assert client.post("/classify", content=iter([b"x" * 999] * 2), headers=FILE).status_code == 413
    full = serving(caps=Caps(free_bytes=2**60))
    assert full.post("/classify", content=b"x", headers=FILE).status_code == 507


def test_limits_of_the_command_line_hold(serving: Callable[..., TestClient], make_pdf: Callable[..., Path]) -> None:
    """A document with more pages than may be is a failure, as of `classify --max-pages`."""
    client = serving(reading=Settings(limits=Limits(pages=1)))
    answer = client.post("/classify", content=make_pdf("two.pdf", ["1", "2"]).read_bytes(), headers=FILE).json()
    assert answer["failures"][0]["kind"] == "too_large"


def test_pages_that_look_alike(client: TestClient, make_pdf: Callable[..., Path]) -> None:
    """Of a stored page and of a file's, with documents that can be opened; other types and places as asked for."""
    when_ready(client, "/documents")
    table = client.get("/documents").json()["columns"]
    document = table["document"][0]
    found = client.post("/similar", json={"document": document, "k": 4}).json()
    assert found["query"]["document"] == document
    assert len(found["neighbours"]) == 4
    assert document not in [near["document"] for near in found["neighbours"]]
    scores = [near["score"] for near in found["neighbours"]]
    assert scores == sorted(scores, reverse=True)
    letters = client.post("/similar", json={"document": document, "k": 3, "type": "letter"}).json()["neighbours"]
    assert {near["label"] for near in letters} == {"letter"}
    whole = client.post("/similar", json={"document": document, "whole_document": True}).json()
    assert len({near["document"] for near in whole["neighbours"]}) == len(whole["neighbours"])
    words = client.post("/similar", json={"document": document, "by": "words"})
    assert words.status_code in (200, 422)
    file = make_pdf("new.pdf", ["Agenda"]).read_bytes()
    new = client.post("/similar?name=mine.pdf&k=2", content=file, headers=FILE).json()
    assert (new["query"]["path"], len(new["neighbours"])) == ("mine.pdf", 2)
    assert "picture" not in new["query"]
    asked = {"name": "mine.pdf", "k": 2, "picture": True, "box": "0,0,1,0.5"}
    drawn = client.post("/similar", params=asked, content=file, headers=FILE).json()["query"]["picture"]
    with Image.open(io.BytesIO(base64.b64decode(drawn.removeprefix("data:image/webp;base64,")))) as picture:
        assert max(picture.size) == 1000
    boxed = client.post("/similar", json={"document": document, "k": 2, "box": [0, 0, 1, 0.5]}).json()
    assert len(boxed["neighbours"]) == 2


def test_labels_of_look_alikes_are_those_of_now(client: TestClient) -> None:
    """A label that was given a moment ago is told."""
    document, other = client.get("/documents").json()["columns"]["document"][:2]
    client.post("/similar", json={"document": document})
    client.post("/labels", json={"labels": [{"document": other, "type": "memo"}]})
    found = client.post("/similar", json={"document": document, "k": 500}).json()["neighbours"]
    assert {near["label"] for near in found if near["document"] == other} == {"memo"}


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"document": "0" * 64}, 409),
        ({"document": "x"}, 422),
        ({"page": 3}, 422),
        ({"document": None, "k": "many"}, 422),
        ({"document": None, "by": "smell"}, 422),
        ({"document": None, "box": [0, 0, 1]}, 422),
        ({"document": None, "box": [0.5, 0.5, 0.5, 0.5]}, 422),
        ({"document": None, "type": "nothing"}, 422),
        ({"document": None, "path": "/etc/passwd"}, 422),
        ({"document": None, "page": 10**9}, 409),
    ],
)
def test_queries_that_cannot_be_answered(client: TestClient, values: dict[str, Any], status: int) -> None:
    """Each is a problem, with a line."""
    if "document" in values:
        values = {**values, "document": values["document"] or client.get("/documents").json()["columns"]["document"][0]}
    answer = client.post("/similar", json=values)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")


def test_a_page_is_explained(client: TestClient) -> None:
    """As `explain --json` does it."""
    document = client.get("/documents").json()["columns"]["document"][0]
    found = client.get(f"/heatmap/{document}-1").json()
    assert found["status"] in ("ok", "diffuse")
    assert len(found["grid"]["drops"]) == found["grid"]["rows"]
    assert (found["picture"]["turned"], found["picture"]["region"]) == (0, [0, 0, 1, 1])
    assert found["picture"]["width"] < found["picture"]["height"]
    asked = client.get(f"/heatmap/{document}-1", params={"type": "paper"}).json()
    assert asked["asked"]["type"] == "paper"
    assert client.get(f"/heatmap/{document}-1", params={"type": "nothing"}).status_code == 404
    assert client.get(f"/heatmap/{'0' * 64}-1").status_code == 410


def test_who_comes_when_too_many_wait_is_told_to_come_again() -> None:
    """Those before are answered; the place of one who is answered is free again."""
    lane, begun, go = Lane("test", 1, 1), threading.Event(), threading.Event()

    def work() -> str:
        begun.set()
        assert go.wait(10)
        return "done"

    async def ask() -> None:
        first = asyncio.ensure_future(lane.run(work))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(lane.run(work))
        await asyncio.sleep(0)
        with pytest.raises(ProblemError) as caught:
            await lane.run(work)
        assert caught.value.code == "busy"
        go.set()
        assert [await first, await second, await lane.run(work)] == ["done"] * 3

    run_alone(asyncio.run, ask())
    lane.close()


def test_busy_is_a_problem_with_a_time_to_come_again(client: TestClient) -> None:
    """503 and Retry-After."""
    client.app._app.state.desk.network_lane._most = 0  # type: ignore[attr-defined]
    answer = client.post("/classify", content=b"x", headers=FILE)
    assert (answer.status_code, answer.json()["code"], int(answer.headers["retry-after"]) > 0) == (503, "busy", True)
