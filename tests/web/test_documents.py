"""Documents and pages over the server: all of them at once, filtered, one of them, and their pictures."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient
from web.asking import hub_of, when_over, when_ready

from embedpipe.store.workspace import Workspace
from embedpipe.tasks.forget import forget


def test_all_documents_come_at_once(client: TestClient) -> None:
    """A list for each column; with answers as soon as these are there; the same again costs nothing."""
    first = client.get("/documents")
    assert first.json()["answers"] == "pending"
    table = when_ready(client, "/documents")
    columns, known = table["columns"], table["dictionaries"]
    assert table["count"] == table["total"] == 18
    assert {len(values) for values in columns.values()} == {18}
    assert {known["type"][k] for k in columns["type"]} <= {"letter", "paper", "slides"}
    labelled = [k for k in range(18) if columns["label_state"][k] == 2]
    assert all(known["type"][columns["label"][k]] in columns["name"][k] for k in labelled)
    assert all((columns["doubt"][k] is None) == (k in labelled) for k in range(18))
    assert all(0 <= value <= 1 for value in columns["confidence"] + columns["margin"])
    again = client.get("/documents")
    assert client.get("/documents", headers={"If-None-Match": again.headers["etag"]}).status_code == 304


def test_filters_and_orders(client: TestClient) -> None:
    """By label or answer, state, folder and words of the path; numbers that are not known come last."""
    when_ready(client, "/documents")

    def names(**query: object) -> list[str]:
        return list(client.get("/documents", params=query).json()["columns"]["name"])

    assert {f"letter-0{number}" for number in range(5)} <= {Path(name).stem for name in names(type="letter")}
    assert len(names(type=["letter", "slides", "paper"])) == 18
    assert names(type="nothing") == []
    assert len(names(label_state="none")) + len(names(label_state="checked")) == 18
    assert [Path(name).stem for name in names(text="LETTER -01")] == ["letter-01"]
    folder = client.get("/documents").json()["dictionaries"]["folder"]
    assert len(names(folder=str(Path(folder[0]).parent))) == 18
    assert names(folder="/nowhere") == []
    doubts = client.get("/documents?sort=doubt&order=desc").json()["columns"]["doubt"]
    known = [value for value in doubts if value is not None]
    assert known == sorted(known, reverse=True)
    assert doubts[: len(known)] == known
    page = client.get("/documents?sort=confidence&limit=4&offset=2&columns=name,confidence").json()
    assert (page["count"], page["total"], set(page["columns"])) == (4, 18, {"name", "confidence"})


def test_the_selection_as_a_csv_can_be_given_to_label(client: TestClient, artifacts: Path, tmp_path: Path) -> None:
    """With paths and labels; cells that a spreadsheet would run are guarded."""
    answer = client.get("/documents?format=csv&label_state=checked")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    assert {row["label_state"] for row in rows} == {"checked"}
    before = Workspace(artifacts).labels().rows
    taken = client.post("/labels.csv", content=answer.content, headers={"Content-Type": "text/csv"}).json()
    assert (taken["changed"], len(rows)) == (0, len(before))


def test_one_document(client: TestClient) -> None:
    """Its places, pages, label, and answer with the keys of `classify --json`."""
    when_ready(client, "/documents")
    table = client.get("/documents").json()["columns"]
    place = table["pages"].index(max(table["pages"]))
    found = client.get(f"/documents/{table['document'][place]}").json()
    assert found["pages"] == len(found["page_list"]) == table["pages"][place]
    assert found["answer"]["type"] == found["answer"]["ranking"][0]["type"]
    assert found["answer"]["confidence"] == pytest.approx(table["confidence"][place], abs=1e-3)
    assert found["answer"]["status"] in ("ok", "ambiguous", "novel")
    assert client.get(f"/documents/{'0' * 64}").status_code == 404


def test_pictures_of_pages(client: TestClient, artifacts: Path) -> None:
    """As they are kept, converted, or drawn anew in the size that is asked for; what is not there is not found."""
    document = client.get("/documents").json()["columns"]["document"][0]
    kept = client.get(f"/pages/{document}-1.jpg")
    assert kept.headers["content-type"] == "image/jpeg"
    assert "immutable" in kept.headers["cache-control"]
    assert max(Image.open(io.BytesIO(kept.content)).size) == 192
    webp = client.get(f"/pages/{document}-1.webp")
    assert Image.open(io.BytesIO(webp.content)).format == "WEBP"
    assert client.get(f"/pages/{document}-1.jpg", headers={"If-None-Match": kept.headers["etag"]}).status_code == 304
    large = client.get(f"/pages/{document}-1.webp?size=700")
    assert (max(Image.open(io.BytesIO(large.content)).size), large.headers["x-embedpipe-picture"]) == (700, "drawn")
    pixels = np.asarray(Image.open(io.BytesIO(large.content)).convert("L"))
    assert pixels.std() > 1
    assert client.get(f"/pages/{document}-99.jpg").status_code == 404
    forget(Workspace(artifacts), [document])
    assert client.get(f"/pages/{document}-1.jpg").status_code == 404


def test_a_store_without_kept_pictures_is_shown(client: TestClient, artifacts: Path) -> None:
    """Its pages are drawn from their documents, small."""
    document = client.get("/documents").json()["columns"]["document"][0]
    for file in (artifacts / "pages").glob("thumbnails*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    answer = client.get(f"/pages/{document}-1.webp")
    assert (answer.status_code, answer.headers["x-embedpipe-picture"]) == (200, "drawn")
    assert max(Image.open(io.BytesIO(answer.content)).size) == 200
    assert client.get(f"/pages/{document}-99.webp").status_code == 404


def test_a_page_whose_file_is_gone_is_shown_as_it_is_kept(client: TestClient, pile: Path) -> None:
    """In place of a large picture comes the small one, which says so."""
    row = client.get("/documents").json()
    document, name = row["columns"]["document"][0], row["columns"]["name"][0]
    file = next((pile / "pile").rglob(name))
    away = file.with_suffix(".away")
    file.rename(away)
    try:
        answer = client.get(f"/pages/{document}-1.webp?size=large")
    finally:
        away.rename(file)
    assert (answer.status_code, answer.headers["x-embedpipe-picture"]) == (200, "kept")


def test_hostile_names_are_data(client: TestClient, tmp_path: Path, make_pdf: object) -> None:
    """They come as they are, in JSON, and as text that cannot be run in a CSV; bytes that are no UTF-8 do no harm."""
    folder = tmp_path / "=cmd|' <img src=x onerror=alert(1)>"
    folder.mkdir()
    odd = [folder / "\u202e<script>alert(1)<script>.pdf", folder / '"a", b.pdf', Path(f"{folder}/\udcff.pdf")]
    for number, file in enumerate(odd):
        make_pdf("one.pdf", [f"text {number}"]).rename(file)  # type: ignore[operator]
    hub = hub_of(client)
    job = hub.runner.submit("embed", "embed", {"inputs": [str(folder)], "space": hub.space()})
    assert when_over(client, hub.job_json(job))["state"] == "done"
    answer = client.get("/documents", params={"text": "onerror"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["count"] == 3
    assert "<script>alert(1)<script>.pdf" in "".join(answer.json()["columns"]["name"])
    table = client.get("/documents", params={"text": "onerror", "format": "csv"}).content.decode("utf-8-sig")
    assert len(list(csv.DictReader(io.StringIO(table)))) == 3
    for document in answer.json()["columns"]["document"]:
        assert client.get(f"/documents/{document}").status_code == 200


def test_without_documents_everything_is_empty(serving: object, artifacts: Path) -> None:
    """A server over new artifacts answers, and says what to do where something is needed."""
    import shutil  # noqa: PLC0415 - only here

    shutil.rmtree(artifacts)
    client = serving()  # type: ignore[operator]
    assert client.get("/documents").json()["columns"]["document"] == []
    assert client.get("/queue").json() == {"answers": "none", "left": 0, "items": []}
    assert client.get("/version").json()["space"] is None
    for path in ("/families", "/twins", "/map", "/confusion"):
        assert client.get(path).json()["state"] == "missing"
    kind = {"Content-Type": "application/octet-stream"}
    for path in ("/classify", "/similar"):
        answer = client.post(path, content=b"x", headers=kind)
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert client.get("/changes").status_code == 409
    assert client.post("/refit", json={"kind": "knn"}).status_code == 409
