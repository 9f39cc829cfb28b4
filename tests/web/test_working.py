"""Jobs and what they make: fitting, what changed, twins, map, confusion, piles, intake; and what a kill leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from starlette.testclient import TestClient
from web.asking import when_over, when_ready

from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import split
from embedpipe.web.hub import Hub
from embedpipe.web.settings import Caps
from embedpipe.web.working import kinds
from embedpipe.web.working import ledger as ledgers
from embedpipe.web.working import runner as running
from embedpipe.web.working.ledger import Job, Ledger
from embedpipe.web.working.runner import Runner

JSON, FILE = {"Content-Type": "application/json"}, {"Content-Type": "application/octet-stream"}


def test_fitting_again_and_what_changed(client: TestClient, artifacts: Path) -> None:
    """More labels, a new version in use, which documents flip, types before and after, and back again."""
    table = when_ready(client, "/documents")["columns"]
    new = [
        {"document": document, "type": name.partition("-")[0]}
        for document, name, state in zip(table["document"], table["name"], table["label_state"], strict=True)
        if not state
    ]
    client.post("/labels", json={"labels": new})
    start = client.get("/events").json()["next"]
    answer = client.post("/refit", json={"kind": "knn"})
    assert answer.status_code == 202
    job = when_over(client, answer.json()["job"])
    assert (job["state"], job["result"]["version"], job["result"]["documents"]) == ("done", 2, 18)
    assert ["it takes 19 held-out documents" in line for line in job["result"]["advice"]] == [True]
    told = {event["event"] for event in client.get("/events", params={"since": start}).json()["events"]}
    assert {"job", "classifier"} <= told
    assert client.get("/version").json()["classifier"]["version"] == 2
    changes = when_ready(client, "/changes")
    assert (changes["name"], changes["from"], changes["to"], changes["can_roll_back"]) == ("knn", 1, 2, True)
    assert {row["type"] for row in changes["types"]} == {"slides", "letter", "paper"}
    assert set(changes["accuracy"]) == {"before", "after"}
    assert changes["measured"] == 15
    assert 0 <= changes["chance"] < 1
    assert all(flip["before"] != flip["after"] for flip in changes["flips"])
    assert when_ready(client, "/documents")["answers"] == "ready"
    assert client.post("/changes/keep", json={}).json() == {"name": "knn", "version": 2}
    assert client.post("/changes/rollback", json={"name": "knn"}).json() == {"name": "knn", "version": 1}
    assert versions.current(Workspace(artifacts).classifier_folder("knn")) == 1
    assert client.post("/changes/rollback", json={"name": "svm"}).status_code == 404
    assert client.post("/changes/rollback", json={"version": 7}).status_code == 409


@pytest.mark.parametrize(
    ("values", "status"),
    [({"kind": "tree"}, 404), ({"kind": "svm", "name": "../x"}, 422), ({"kind": "svm", "name": ".x"}, 422), ({}, 422)],
)
def test_what_cannot_be_fitted(client: TestClient, values: dict[str, Any], status: int) -> None:
    """A problem at once, and no job."""
    assert client.post("/refit", json=values).status_code == status
    assert client.get("/jobs", params={"kind": "refit"}).json()["jobs"] == []


def test_a_job_that_fails_says_why(client: TestClient, artifacts: Path) -> None:
    """With the line of the command line, in the language that is asked for; it can be tried again."""
    (artifacts / "labels.csv").unlink()
    job = when_over(client, client.post("/refit", json={"kind": "svm"}).json()["job"])
    assert (job["state"], job["can_resume"], "label" in job["message"]) == ("failed", True, True)
    again = client.post(f"/jobs/{job['job']}/resume", headers=JSON)
    assert again.status_code == 202
    assert when_over(client, again.json()["job"])["state"] == "failed"


def test_twins_map_confusion_and_piles(client: TestClient) -> None:
    """Each result names documents that can be opened; a keep-list as a CSV."""
    documents = set(client.get("/documents").json()["columns"]["document"])
    twins = when_ready(client, "/twins")
    assert all(member["document"] in documents for group in twins["groups"] for member in group["members"])
    table = client.get("/twins?format=csv")
    assert table.text.lstrip("\ufeff").startswith("group,kind,keep,path,page,agreement")
    plane = when_ready(client, "/map", method="pca")["columns"]
    assert set(plane["document"]) == documents
    assert (min(plane["x"]), max(plane["x"])) == (0.0, 1.0)
    confusion = when_ready(client, "/confusion")
    cells = [document for cell in confusion["cells"] for document in cell["documents"]]
    assert sum(map(sum, confusion["matrix"])) == len(cells) == len(set(cells))
    assert set(cells) <= documents
    assert 0 <= confusion["accuracy"] <= 1
    longest = client.get("/piles").json()["documents"][0]
    pile = when_ready(client, "/piles", document=longest["document"])
    assert pile["parts"][0]["pages"][0] == 1
    assert pile["parts"][-1]["pages"][1] == longest["pages"]
    refused = client.post(f"/piles/{longest['document']}/write", json={"parts": [{"first": 1, "last": 1}]})
    assert refused.status_code == 403


def test_a_label_that_was_confirmed_is_not_likely_wrong_any_more(client: TestClient) -> None:
    """Nor after another fit, which judges all labels anew; with another type it is judged as all others."""
    table = when_ready(client, "/documents")["columns"]
    rows = zip(table["document"], table["name"], table["label_state"], strict=True)
    document = next(document for document, name, state in rows if state and name.startswith("letter"))

    def give(kind: str, state: str) -> list[str]:
        labels = [{"document": document, "type": kind}]
        assert client.post("/labels", json={"labels": labels, "state": state}).status_code == 200
        return [one["document"] for one in when_ready(client, "/confusion")["likely_wrong"]]

    assert document in give("slides", "checked")
    assert document not in give("slides", "confirmed")
    when_over(client, client.post("/refit", json={"kind": "knn"}).json()["job"])
    assert document not in [one["document"] for one in when_ready(client, "/confusion")["likely_wrong"]]
    give("letter", "checked")
    assert document in give("slides", "checked")


def test_parts_of_a_pile_are_written_as_said(serving: Callable[..., TestClient], tmp_path: Path) -> None:
    """Only where a folder was named, and only pages that there are; the pile stays."""
    client = serving(outbox=tmp_path / "parts")
    longest = client.get("/piles").json()["documents"][0]
    place = f"/piles/{longest['document']}/write"
    wrong = [{"first": 2, "last": 1}, {"first": 1, "last": longest["pages"] + 1}]
    assert [client.post(place, json={"parts": [part]}).status_code for part in wrong] == [422, 422]
    parts = [{"first": 1, "last": 1, "type": "../x"}, {"first": 2, "last": longest["pages"]}]
    job = when_over(client, client.post(place, json={"parts": parts}).json()["job"])
    assert job["state"] == "done"
    files = [Path(file["file"]) for file in job["result"]["files"]]
    assert all(file.parent == tmp_path / "parts" for file in files)
    assert len({file for file in files if file.is_file()}) == 2


def test_a_part_that_could_not_be_written_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk, for instance: why is no file."""
    monkeypatch.setattr(split, "write_as_said", lambda *_: {1: Path("out/a.pdf"), 3: "no space left on the disk"})
    task = SimpleNamespace(
        tell=lambda **_: None,
        workspace=SimpleNamespace(sources=lambda: SimpleNamespace(document=lambda _: object())),
        wish={"document": "0" * 64, "parts": [{"first": 1, "last": 2}, {"first": 3, "last": 3}], "folder": "out"},
        settings=None,
    )
    assert kinds.write_parts(task) == {
        "files": [{"first": 1, "file": str(Path("out/a.pdf"))}],
        "not_written": [{"first": 3, "reason": "no space left on the disk"}],
    }


def test_a_store_of_which_no_page_is_there_yet_is_not_asked_about() -> None:
    """As while the first documents are embedded: a job about them would fail."""
    empty = SimpleNamespace(space=lambda: "s", in_use=lambda: None, stock=lambda: SimpleNamespace(documents=[]))
    assert Hub.survey(cast("Hub", empty)) == ("none", None)


def test_uploaded_files_are_embedded(client: TestClient, make_pdf: Callable[..., Path], artifacts: Path) -> None:
    """A batch of files with names of their own, whose documents are there afterwards; one file cannot be read."""
    names = ["a.pdf", "a.pdf", "../../b.pdf", "broken.pdf"]
    bodies = [make_pdf(f"{n}.pdf", [f"text {n}"]).read_bytes() for n in range(3)] + [b"%PDF-1.4 nothing"]
    batch = None
    kept = []
    for name, body in zip(names, bodies, strict=True):
        query = {"name": name} | ({"batch": batch} if batch else {})
        answer = client.post("/uploads", params=query, content=body, headers=FILE).json()
        batch = answer["batch"]
        kept.append(answer["name"])
    assert kept == ["a.pdf", "a-2.pdf", "b.pdf", "broken.pdf"]
    assert {file.name for file in (artifacts / "serve/uploads" / str(batch)).iterdir()} == set(kept)
    job = when_over(client, client.post("/embed", json={"batch": batch}).json()["job"])
    assert (job["state"], job["result"]["documents"], job["result"]["failed"]) == ("done", 3, 1)
    assert job["result"]["failures"][0]["path"].endswith("broken.pdf")
    assert client.get("/documents").json()["count"] == 21


def test_uploads_have_caps(serving: Callable[..., TestClient]) -> None:
    """By number and by all their bytes; a batch that there is none of is not found."""
    client = serving(caps=Caps(files=1, total_bytes=10_000))
    first = client.post("/uploads?name=a.pdf", content=b"123456", headers=FILE).json()
    more = client.post("/uploads", params={"name": "b.pdf", "batch": first["batch"]}, content=b"1", headers=FILE)
    assert more.status_code == 413
    assert client.post("/uploads?name=c.pdf", content=b"123456", headers=FILE).status_code == 200
    assert client.post("/uploads?name=d.pdf", content=b"1", headers=FILE).status_code == 507
    for batch in ("20260101-000000000000", "../..", "x"):
        answer = client.post("/uploads", params={"name": "b.pdf", "batch": batch}, content=b"1", headers=FILE)
        assert answer.status_code == 404
        assert client.post("/embed", json={"batch": batch}).status_code == 404


def test_only_folders_below_an_inbox_are_embedded(
    serving: Callable[..., TestClient], make_pdf: Callable[..., Path], tmp_path: Path
) -> None:
    """Neither a path, nor one that leads out of it, nor a link does."""
    make_pdf("inbox/2026/new.pdf", ["new"])
    make_pdf("elsewhere/secret.pdf", ["secret"])
    (tmp_path / "inbox/link").symlink_to(tmp_path / "elsewhere")
    client = serving(inboxes=(tmp_path / "inbox",))
    told = client.get("/inboxes").json()["inboxes"][0]
    assert (told["name"], "2026" in told["folders"]) == ("inbox", True)
    wrong = ["/etc", "../elsewhere", "link", "2026/../../elsewhere", "a\0b"]
    answers = [client.post("/embed", json={"inbox": 0, "folder": folder}).status_code for folder in wrong]
    assert answers == [403] * len(wrong)
    assert client.post("/embed", json={"inbox": 1}).status_code == 403
    assert client.post("/embed", json={"inbox": -1}).status_code == 403
    assert client.post("/embed", json={"inbox": 0, "folder": "none"}).status_code == 404
    assert client.post("/embed", json={}).status_code == 422
    job = when_over(client, client.post("/embed", json={"inbox": 0, "folder": "2026"}).json()["job"])
    assert (job["state"], job["result"]["documents"]) == ("done", 1)


def test_a_folder_whose_name_is_not_utf_8_is_embedded(
    serving: Callable[..., TestClient], make_pdf: Callable[..., Path], tmp_path: Path
) -> None:
    """It is told, and taken, as paths in tables are; so written, no way leads out of the inbox."""
    named = tmp_path / "inbox" / os.fsdecode(b"2026-\xe4")
    named.mkdir(parents=True)
    make_pdf("new.pdf", ["new"]).rename(named / "new.pdf")
    client = serving(inboxes=(tmp_path / "inbox",))
    [folder] = client.get("/inboxes").json()["inboxes"][0]["folders"]
    assert folder == "bytes:2026-%E4"
    job = when_over(client, client.post("/embed", json={"inbox": 0, "folder": folder}).json()["job"])
    assert (job["state"], job["result"]["documents"]) == ("done", 1)
    for wrong in ("bytes:%2E%2E", "bytes:%2Fetc", "bytes:a%00b"):
        assert client.post("/embed", json={"inbox": 0, "folder": wrong}).status_code == 403


def test_too_many_jobs_are_refused(serving: Callable[..., TestClient]) -> None:
    """With a time to come again."""
    client = serving(caps=Caps(jobs=0))
    answer = client.post("/refit", json={"kind": "knn"})
    assert (answer.status_code, "retry-after" in answer.headers) == (503, True)


def test_labels_can_be_given_while_documents_are_embedded(client: TestClient, artifacts: Path) -> None:
    """The lock that embedding holds for hours is not that of the labels; what needs it says who has it."""
    document = client.get("/documents").json()["columns"]["document"][0]
    with Workspace(artifacts).writing("embed"):
        answer = client.post("/labels", json={"labels": [{"document": document, "type": "memo"}]})
        assert (answer.status_code, answer.json()["changed"]) == (200, 1)
        busy = client.post("/changes/rollback", json={})
        assert (busy.status_code, "embed" in busy.json()["detail"]) == (503, True)


def test_what_a_server_had_not_finished_is_interrupted(serving: Callable[..., TestClient], artifacts: Path) -> None:
    """After a crash it is told as such, and can be resumed."""
    ledger = Ledger(artifacts / "serve" / "jobs")
    wish = {"kind": "knn", "name": "knn", "space": None, "blocks": ["pictures"]}
    begun = ledger.change(ledger.add("refit", "fit knn", wish).name, state="running", process=1)
    client = serving()
    job = client.get(f"/jobs/{begun.name}").json()
    assert (job["state"], job["can_resume"]) == ("interrupted", True)
    again = client.post(f"/jobs/{begun.name}/resume", headers=JSON).json()["job"]
    assert when_over(client, again)["state"] == "done"
    assert client.post(f"/jobs/{again['job']}/resume", headers=JSON).status_code == 409


_WAITS = "import sys, time; sys.stdin.readline(); time.sleep({}); sys.exit(3)"


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Runner, Ledger]]:
    """A runner whose jobs wait, and end with an exit code of their own."""

    def started(*options: str) -> subprocess.Popen[bytes]:
        code = _WAITS.format(60 if options else 0.1)
        return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True)

    monkeypatch.setattr(running, "_started", started)
    ledger = Ledger(tmp_path / "jobs")
    made = Runner(ledger, tmp_path, {}, 3, lambda _: None)
    yield made, ledger
    made.close()


def until(ledger: Ledger, name: str, *states: str) -> Job:
    """A job once it is in one of some states."""
    for _ in range(400):
        job = ledger.find(name)
        assert job is not None
        if job.state in states:
            return job
        time.sleep(0.02)
    raise AssertionError(job)


def test_a_process_that_ends_unexpectedly_is_a_failure(runner: tuple[Runner, Ledger]) -> None:
    """Its exit code is told."""
    job = runner[0].submit("twins", "twins", {})
    assert job is not None
    assert "(code 3)" in until(runner[1], job.name, "failed").message


def test_a_full_disk_stops_no_later_job(runner: tuple[Runner, Ledger], monkeypatch: pytest.MonkeyPatch) -> None:
    """What becomes of a job is known as long as the server runs, also where it cannot be written down."""

    def full(*_: object) -> None:
        raise ArtifactError("the disk is full")

    job = runner[0].submit("twins", "twins", {})
    assert job is not None
    with monkeypatch.context() as patch:
        patch.setattr(ledgers, "write_json", full)
        assert "(code 3)" in until(runner[1], job.name, "failed").message
    other = runner[0].submit("twins", "twins", {})
    assert other is not None
    runner[0].cancel(other.name)
    until(runner[1], other.name, "cancelled")


def test_jobs_are_cancelled_wherever_they_are(runner: tuple[Runner, Ledger]) -> None:
    """One that runs is ended with all that it started, one that waits never begins; a spare process is used once."""
    first = runner[0].submit("twins", "twins", {})
    assert first is not None
    until(runner[1], first.name, "failed")  # after the first job a spare process waits: the next one sleeps long
    for _ in range(100):
        if runner[0]._spare is not None:
            break
        time.sleep(0.02)
    spare = runner[0]._spare
    assert spare is not None
    jobs = [runner[0].submit("twins", "twins", {}) for _ in range(4)]
    assert jobs[3] is None
    one, other = jobs[0], jobs[1]
    assert one is not None
    assert other is not None
    assert until(runner[1], one.name, "running").process == spare.pid
    runner[0].cancel(other.name)
    runner[0].cancel(one.name)
    assert until(runner[1], one.name, "cancelled").message == until(runner[1], other.name, "cancelled").message == ""
    assert ended(spare.pid)


def test_whoever_ends_the_server_interrupts_jobs(runner: tuple[Runner, Ledger]) -> None:
    """A job that runs, and one that waits."""
    names = [job.name for _ in range(2) if (job := runner[0].submit("twins", "twins", {})) is not None]
    runner[0].close()
    assert {until(runner[1], name, "interrupted", "failed").state for name in names} <= {"interrupted", "failed"}
    assert until(runner[1], names[1], "interrupted").over


class Program:
    """`serve` as a program of its own."""

    def __init__(self, artifacts: Path, *options: str) -> None:
        own = ("serve", "--artifacts", str(artifacts), "--port", "0", "--json", "--quiet")
        command = [sys.executable, "-c", "from embedpipe.commands import main; main()", *own, *options]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.address = json.loads(line)["address"] if line else ""

    def ask(self, path: str, values: Any = None) -> Any:
        """What an address answers."""
        body = None if values is None else json.dumps(values).encode()
        request = urllib.request.Request(f"{self.address}{path}", body, JSON)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())


def ended(process: int) -> bool:
    """Whether a process has ended within some seconds."""
    for _ in range(200):
        try:
            os.kill(process, 0)
            state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
        except (ProcessLookupError, FileNotFoundError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_a_killed_server_loses_nothing(artifacts: Path, tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
    """Labels that it told to be kept are; its job ends with it, and is told as interrupted; Ctrl-C ends well."""
    for number in range(9):
        make_pdf(f"inbox/{number}.pdf", [f"text {number}"] * 90)
    network = ("--weights", "none", "--device", "cpu", "--engine", "torch", "--precision", "fp32")
    options = ("--inbox", str(tmp_path / "inbox"), *network)
    first = Program(artifacts, *options)
    try:
        job = first.ask("embed", {"inbox": 0})["job"]
        document = first.ask("documents?label_state=none")["columns"]["document"][0]
        kept = first.ask("labels", {"labels": [{"document": document, "type": "memo"}]})
        for _ in range(600):
            job = first.ask(f"jobs/{job['job']}")
            if job["progress"]["done"] or job["state"] not in ("queued", "running"):
                break
            time.sleep(0.05)
        assert (job["state"], kept["changed"]) == ("running", 1)
        child = json.loads((artifacts / "serve/jobs" / job["job"] / "job.json").read_text())["process"]
    finally:
        first.process.kill()
        first.process.communicate()
    assert ended(child)
    second = Program(artifacts, *options)
    try:
        assert second.ask(f"documents/{document}")["label"] == "memo"
        told = second.ask(f"jobs/{job['job']}")
        assert (told["state"], told["can_resume"]) == ("interrupted", True)
        number = second.ask("events")["next"]
        with ThreadPoolExecutor() as pages:  # an open page waits for news
            waiting = pages.submit(second.ask, f"events?since={number}&wait=30")
            time.sleep(0.5)
            second.process.send_signal(signal.SIGINT)
            assert waiting.result() == {"next": number, "events": []}
        assert second.process.wait(20) == 0
    finally:
        second.process.kill()
        out, err = second.process.communicate()
    assert (out, err) == (b"", b"")


def test_no_file_of_the_folder_of_the_server_is_taken_for_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Documents lie there, and whatever else somebody put among them."""
    (tmp_path / "numpy.py").write_text("open('taken', 'w').close()")
    monkeypatch.chdir(tmp_path)
    process = running._started()
    process.communicate(b"", timeout=60)
    assert process.returncode == 0
    assert not (tmp_path / "taken").exists()
