"""Labels over the server: in two states, undone by batch, by several at once, and there after a crash."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient
from web.asking import hub_of, when_ready

from embedpipe.store.sorted_ledger import RESERVED
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import label
from embedpipe.tasks.decide import Batch, Decision, LabelBook, batches_file, suggested_file
from embedpipe.web import hub as hub_module
from embedpipe.web.scribe import Scribe
from embedpipe.web.settings import Caps


def give(server: TestClient, *labels: tuple[str, str | None], **more: Any) -> Any:
    """Gives labels; the answer."""
    rows = [{"document": document, "type": kind} for document, kind in labels]
    return server.post("/labels", json={"labels": rows, **more})


def unlabelled(client: TestClient) -> list[str]:
    """Documents without a label."""
    answer = client.get("/documents", params={"label_state": "none", "columns": "document"}).json()
    return list(answer["columns"]["document"])


def kept(artifacts: Path) -> dict[str, str]:
    """The labels of documents in labels.csv."""
    return {sha256: row.label for (sha256, page), row in Workspace(artifacts).labels().rows.items() if not page}


def test_what_a_kill_interrupted_is_settled_before_anybody_looks(workspace: Workspace) -> None:
    """A suggestion that stayed where its document was checked is gone once the server has started."""
    document = "a" * 64
    book = LabelBook(workspace)
    for state in ("suggested", "checked"):
        suggested = suggested_file(workspace).read_bytes() if state == "checked" else b""
        book.apply([Batch([Decision(document, "memo")], state)], {})
    batches = batches_file(workspace)
    batches.write_bytes(b"".join(batches.read_bytes().splitlines(keepends=True)[:-1]))
    suggested_file(workspace).write_bytes(suggested)
    scribe = Scribe(workspace)
    assert not Workspace(workspace.root).read_labels(suggested_file(workspace)).rows
    scribe.close()


def test_a_batch_is_kept_told_and_undone(client: TestClient, artifacts: Path) -> None:
    """Its token takes back exactly what it gave, and `redo` gives it again; the events name the documents."""
    one, other = unlabelled(client)[:2]
    before = kept(artifacts)
    start = client.get("/events").json()["next"]
    answer = give(client, (one, "invoice"), (other, "none"), client="me").json()
    assert (answer["changed"], answer["unchanged"]) == (2, 0)
    assert kept(artifacts) == before | {one: "invoice", other: "none"}
    [told] = [e for e in client.get("/events", params={"since": start}).json()["events"] if e["event"] == "labels"]
    assert {(row["document"], row["label"], row["label_state"]) for row in told["changed"]} == {
        (one, "invoice", "checked"),
        (other, "none", "checked"),
    }
    undone = client.post("/labels/undo", json={"token": answer["token"]}).json()
    assert (undone["changed"], undone["kept"], kept(artifacts)) == (2, [], before)
    assert client.post("/labels/undo", json={"token": answer["token"]}).status_code == 409
    assert client.post("/labels/redo", json={}).json()["changed"] == 2
    assert kept(artifacts)[one] == "invoice"
    changes = client.get("/labels/changes").json()
    assert (changes["can_undo"], changes["can_redo"], changes["batches"][0]["types"]) == (
        True,
        False,
        ["invoice", "none"],
    )


def test_suggested_labels_do_not_teach_and_checking_one_takes_it_over(client: TestClient, artifacts: Path) -> None:
    """They are in a file of their own, never replace a checked label, and go once the document is checked."""
    document, before = unlabelled(client)[0], kept(artifacts)
    labelled = next(iter(before))
    answer = give(client, (document, "letter"), (labelled, "other"), state="suggested").json()
    assert (answer["changed"], answer["suggested"], kept(artifacts)) == (1, 1, before)
    row = client.get(f"/documents/{document}").json()
    assert (row["label"], row["label_state"]) == ("letter", "suggested")
    assert give(client, (document, "paper")).json()["suggested"] == 0
    assert kept(artifacts)[document] == "paper"
    client.post("/labels/undo", json={})
    assert client.get(f"/documents/{document}").json()["label_state"] == "suggested"


def test_a_suggestion_does_not_lie_beside_a_label_of_the_command(client: TestClient, artifacts: Path) -> None:
    """Whoever gives the checked label, of the document or of a page; taken back, the suggestion is there as it was."""
    one, other = unlabelled(client)[:2]
    workspace = Workspace(artifacts)
    give(client, (one, "letter"), (other, "letter"), state="suggested")
    when_ready(client, "/documents")
    before = client.get(f"/documents/{one}").json()

    def suggested() -> set[str]:
        book = LabelBook(workspace)
        return {sha256 for sha256, _ in book.suggested().rows}

    listed = artifacts / "list.csv"
    listed.write_text(f"document,label,page\n{one},paper,\n{other},paper,1\n", encoding="utf-8")
    label.take(workspace, str(listed))
    assert suggested() == set()
    row = client.get(f"/documents/{one}").json()
    assert (row["label"], row["label_state"]) == ("paper", "checked")
    columns = client.get("/documents").json()["columns"]
    assert 1 not in columns["label_state"]
    assert give(client, (other, "letter"), state="suggested").json()["changed"] == 0
    label.undo(workspace)
    assert suggested() == {one, other}
    assert client.get(f"/documents/{one}").json() == before
    assert give(client, (other, "paper")).json()["suggested"] == 1
    assert client.post("/labels/undo", json={}).json()["suggested"] == 2


def test_a_pile_is_checked_by_the_labels_of_its_pages(client: TestClient) -> None:
    """One by one partly, then wholly: in the list, its filters, the document, the event, the families, the queue."""
    when_ready(client, "/documents")
    table = client.get("/documents", params={"label_state": "none"}).json()["columns"]
    pile, pages = next((d, n) for d, n in zip(table["document"], table["pages"], strict=True) if n > 1)
    left = client.get("/queue").json()["left"]
    for last, state in ((1, "partly"), (pages, "checked")):
        rows = [{"document": pile, "page": page, "type": f"t{page > 1}"} for page in range(1, last + 1)]
        start = client.get("/events").json()["next"]
        assert client.post("/labels", json={"labels": rows}).status_code == 200
        [told] = [e for e in client.get("/events", params={"since": start}).json()["events"] if e["event"] == "labels"]
        assert told["changed"] == [{"document": pile, "label": None, "label_state": state}]
        assert client.get(f"/documents/{pile}").json()["label_state"] == state
        found = client.get("/documents", params={"label_state": state}).json()["columns"]["document"]
        assert pile in found
        assert pile not in unlabelled(client)
        assert client.get("/queue").json()["left"] == left - 1
    answered = client.post("/suggestions", json={"status": ["ok", "ambiguous", "novel"], "documents": [pile]})
    assert answered.json()["changed"] == 0
    client.post("/labels/undo", json={})
    assert client.get(f"/documents/{pile}").json()["label_state"] == "partly"


def test_answers_of_the_classifier_become_suggestions(client: TestClient) -> None:
    """Of the documents without a label, those whose status was asked for."""
    when_ready(client, "/documents")
    answer = client.post("/suggestions", json={"status": ["ok", "ambiguous", "novel"]}).json()
    assert answer["changed"] == answer["suggested"] == client.get("/queue").json()["left"] > 0
    states = client.get("/documents").json()["columns"]["label_state"]
    assert states.count(1) == answer["changed"]


def test_two_pages_do_not_lose_each_others_labels(client: TestClient, artifacts: Path) -> None:
    """Many threads, each with documents of its own: every label is there; undoing one batch leaves the others."""
    documents = client.get("/documents").json()["columns"]["document"]
    answers: list[dict[str, Any]] = []

    def work(number: int) -> None:
        own = documents[number::3]
        answers.extend(give(client, (document, f"type {number}"), client=str(number)).json() for document in own)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert kept(artifacts) == {document: f"type {place % 3}" for place, document in enumerate(documents)}
    assert len({answer["token"] for answer in answers}) == len(documents)
    client.post("/labels/undo", json={"client": "1"})
    gone = {
        document for place, document in enumerate(documents) if kept(artifacts).get(document) != f"type {place % 3}"
    }
    assert gone == {documents[1::3][-1]}


def test_what_others_have_changed_since_is_left_alone(client: TestClient, artifacts: Path) -> None:
    """Undoing an earlier batch does not take away what somebody else said of the same document later."""
    one, other = unlabelled(client)[:2]
    first = give(client, (one, "memo"), (other, "memo"), client="a").json()
    give(client, (one, "form"), client="b")
    undone = client.post("/labels/undo", json={"token": first["token"], "client": "a"}).json()
    assert (undone["changed"], undone["kept"]) == (1, [one])
    assert (kept(artifacts).get(one), kept(artifacts).get(other)) == ("form", None)


def test_the_command_line_and_the_page_keep_each_others_labels(client: TestClient, artifacts: Path) -> None:
    """Labels that another process writes are seen at once, and not lost by the next batch."""
    one, other = unlabelled(client)[:2]
    give(client, (one, "memo"))
    LabelBook(Workspace(artifacts)).apply([Batch([Decision(other, "form")])], {})
    assert client.get(f"/documents/{other}").json()["label"] == "form"
    give(client, (one, "letter"))
    assert (kept(artifacts)[one], kept(artifacts)[other]) == ("letter", "form")


def test_all_or_none(client: TestClient, artifacts: Path) -> None:
    """A batch with one document that is not stored, or one wrong type, changes nothing; so do values out of range."""
    document, before = unlabelled(client)[0], kept(artifacts)
    refused = [
        give(client, (document, "memo"), ("0" * 64, "memo")),
        give(client, (document, "memo"), (document, "\u200b ")),
        give(client, (document, min(RESERVED))),
        give(client, ("nonsense", "memo")),
        give(client, (document, "memo"), state="sure"),
        client.post("/labels", json={"labels": [{"document": document, "type": "memo", "page": -1}]}),
        client.post("/labels", json={"labels": "all"}),
    ]
    assert [answer.status_code for answer in refused] == [422] * len(refused)
    assert all(answer.headers["content-type"] == "application/problem+json" for answer in refused)
    assert kept(artifacts) == before


def test_a_restart_keeps_labels_and_what_can_be_undone(serving: Callable[..., TestClient], artifacts: Path) -> None:
    """The history of batches is on the disk; half a line that a kill left of it is passed over."""
    client = serving()
    document = unlabelled(client)[0]
    token = give(client, (document, "memo")).json()["token"]
    with open(batches_file(Workspace(artifacts)), "ab") as file:
        file.write(b'{"batch": 2, "changes": [["ab')
    again = serving()
    assert again.get("/labels/changes").json()["can_undo"]
    assert give(again, (document, "form")).json()["token"] not in (None, token)
    assert again.post("/labels/undo", json={}).json()["changed"] == 1
    assert again.post("/labels/undo", json={}).json()["token"] == token
    assert document not in kept(artifacts)


def test_lists_go_in_and_out(client: TestClient, artifacts: Path) -> None:
    """labels.csv as `label` reads it: an export with one changed line comes back as one changed label."""
    exported = client.get("/labels.csv")
    assert exported.headers["content-type"].startswith("text/csv")
    before = kept(artifacts)
    document, kind = next(iter(before.items()))
    lines = exported.text.splitlines()
    changed = [line.replace(kind, "memo") if document in line else line for line in lines]
    headers = {"Content-Type": "text/csv"}
    answer = client.post("/labels.csv", content="\n".join(changed).encode(), headers=headers).json()
    assert (answer["changed"], answer["bad"]) == (1, [])
    assert kept(artifacts) == before | {document: "memo"}
    wrong = client.post("/labels.csv", content=b"path,label\nnowhere.pdf,memo\n", headers=headers)
    assert (wrong.status_code, wrong.json()["bad"][0]["line"]) == (422, 2)
    headers["Accept-Language"] = "zh"
    wrong = client.post("/labels.csv", content=b"path,label\nnowhere.pdf,memo\n", headers=headers)
    assert wrong.json()["bad"][0]["reason"] == "没有文档 nowhere.pdf"
    part = client.post("/labels.csv?partial=true", content=b"path,label\nnowhere.pdf,memo\n", headers=headers).json()
    assert (part["changed"], len(part["bad"])) == (0, 1)


def test_the_queue_asks_what_teaches_most_and_follows_labels(client: TestClient) -> None:
    """Nothing labelled is asked about; each question has candidates and the labelled documents it looks like."""
    when_ready(client, "/documents")
    asked = client.get("/queue", params={"limit": 1000}).json()
    documents = [item["document"] for item in asked["items"]]
    assert set(documents) == set(unlabelled(client))
    first = asked["items"][0]
    assert len(first["candidates"]) == 3
    assert first["candidates"][0]["confidence"] >= first["candidates"][-1]["confidence"]
    assert len(first["nearest"]) == 3
    assert {near["type"] for near in first["nearest"]} <= {"slides", "letter", "paper"}
    skipped = client.get("/queue", params={"skip": documents[0], "limit": 50}).json()["items"]
    assert documents[0] not in [item["document"] for item in skipped]
    for first, limit, expected in (
        (documents[-1], 2, [documents[-1], documents[0]]),
        (documents[0], 2, documents[:2]),
        (documents[-1], 1, documents[-1:]),
        ("nobody", 1, documents[:1]),
    ):
        again = client.get("/queue", params={"first": first, "limit": limit}).json()["items"]
        assert [item["document"] for item in again] == expected
    give(client, (documents[0], "letter"))
    left = client.get("/queue", params={"limit": 50}).json()
    assert documents[0] not in [item["document"] for item in left["items"]]
    assert left["left"] == asked["left"] - 1


def test_families_count_labels_as_they_are_now(client: TestClient) -> None:
    """Each family has a typical document, coherence, and how many of its documents are labelled."""
    found = when_ready(client, "/families", threshold=0.5, least=2)["families"]
    assert found[0]["unlabelled"] == max(family["unlabelled"] for family in found)
    family = found[0]
    assert family["representative"]["document"] == family["documents"][0]
    give(client, *((document, "memo") for document in family["documents"]))
    again = when_ready(client, "/families", threshold=0.5, least=2)["families"]
    own = next(one for one in again if one["documents"] == family["documents"])
    assert (own["unlabelled"], own["labelled"]) == (0, {"memo": len(family["documents"])})


def test_changes_of_one_sitting_are_one_version(client: TestClient, artifacts: Path) -> None:
    """Labelling one by one does not push earlier versions of labels.csv out of the history."""
    versions = len(Workspace(artifacts).label_history().versions)
    for document in unlabelled(client)[:4]:
        give(client, (document, "memo"))
    history = Workspace(artifacts).label_history()
    assert len(history.versions) == versions + 1
    in_use = history.in_use()
    assert in_use is not None
    assert (in_use.command, in_use.labels) == ("serve", len(kept(artifacts)))
    assert {file.stem for file in (artifacts / "labels").glob("[0-9]*.csv")} == {
        str(v.number) for v in history.versions
    }


def test_forgetting_a_document_takes_it_from_suggestions_and_batches(client: TestClient, artifacts: Path) -> None:
    """Nothing below labels/ names it any more."""
    from embedpipe.tasks.forget import forget_labels  # noqa: PLC0415 - as `forget` calls it

    one, other = unlabelled(client)[:2]
    give(client, (one, "memo"), (other, "memo"), state="suggested")
    workspace = Workspace(artifacts)
    forget_labels(workspace, [one])
    for file in (suggested_file(workspace), batches_file(workspace)):
        assert one not in file.read_text(encoding="utf-8")
        assert other in file.read_text(encoding="utf-8")
    assert hub_of(client).scribe.labels().suggested.count == 1


def test_too_many_at_once_are_refused(serving: Callable[..., TestClient]) -> None:
    """A batch has a cap, which `/version` tells."""
    client = serving(caps=Caps(labels=3))
    assert client.get("/version").json()["limits"]["labels"] == 3
    rows = [{"document": one, "type": "memo"} for one in client.get("/documents").json()["columns"]["document"][:4]]
    answer = client.post("/labels", json={"labels": rows})
    assert (answer.status_code, "send 3 at a time" in answer.json()["detail"]) == (422, True)
    assert client.post("/labels", json={"labels": rows[:3]}).json()["changed"] == 3


def test_what_others_change_is_told_whatever_goes_wrong(
    serving: Callable[..., TestClient], artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread that looks for changes goes on after an error that nobody thought of."""
    looks: list[int] = []

    def failing(*_: object) -> None:
        looks.append(1)
        raise ValueError("odd")

    monkeypatch.setattr(hub_module, "_LOOK_AGAIN", 0.02)
    monkeypatch.setattr(hub_module.Hub, "use_ranking", failing)
    client = serving()
    start = client.get("/events").json()["next"]
    end = time.monotonic() + 10
    while len(looks) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    with open(artifacts / "labels.csv", "ab") as file:
        file.write(b"\r\n")
    told = client.get("/events", params={"since": start, "wait": 10}).json()["events"]
    assert "labels" in [event["event"] for event in told]
