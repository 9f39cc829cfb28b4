"""Artifacts in object storage: what one machine writes another reads; kills, rivals and failing services."""

import json
import os
import platform
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from s3 import Server, error

from embedpipe.backbones.engines import Backbone
from embedpipe.commands.base import run
from embedpipe.core.cache_folder import CACHE_VARIABLE
from embedpipe.core.errors import ArtifactError, BusyError
from embedpipe.embedding.streaming import Settings
from embedpipe.store.remote import lock, mirror
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed

ONE = Settings(workers=1)


@pytest.fixture
def place(s3: Server) -> str:
    """The URL of artifacts that are not there yet."""
    return f"{s3.bucket}/artifacts"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> Callable[[str], Workspace]:
    """The artifacts as a machine of some name sees them, in a fresh process."""

    def seen(name: str) -> Workspace:
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / name))
        mirror._mirrors.clear()
        return Workspace(place)

    return seen


def writes(server: Server) -> list[str]:
    """Names of what was written below the artifacts, in order."""
    return [
        path.split("/artifacts/")[1] for method, path, _ in server.requests if method == "PUT" and ".lock" not in path
    ]


def test_what_one_machine_writes_another_reads(
    s3: Server, machine: Callable[[str], Workspace], tiny: Backbone, make_pdf: Callable[..., Path], place: str
) -> None:
    """Parts go before the manifests that list them and never again; both can write in turn; all hashes hold."""
    one, two = str(make_pdf("one.pdf", ["1", "2"])), str(make_pdf("two.pdf", ["3"]))
    embed(machine("a"), [one], tiny, settings=ONE)
    order = writes(s3)
    for manifest, part in (("features/", "part-"), ("pages/words", "-000000"), ("pages/thumbnails", "-000000")):
        parts = [n for n, name in enumerate(order) if name.startswith(manifest) and part in name]
        assert parts
        assert max(parts) < max(
            n for n, name in enumerate(order) if name.startswith(manifest) and name.endswith(".json")
        )
    assert not any(name.startswith(("index/", ".lock")) for name in s3.names())

    s3.requests.clear()
    other = machine("b")
    assert other.store().pages()["page_index"].tolist() == [0, 1]
    assert other.store().verify() == []
    embed(other, [two], tiny, settings=ONE)
    assert not any("000000" in name for name in writes(s3))

    s3.requests.clear()
    again = machine("a")
    assert len(again.store().pages()) == 3
    assert not any("000000" in path for method, path, _ in s3.requests if method == "GET" and "part" in path)
    assert run(["info", "--verify", "--artifacts", place]) == 0


def test_an_unchanged_copy_costs_lists_only(
    s3: Server, machine: Callable[[str], Workspace], tiny: Backbone, make_pdf: Callable[..., Path]
) -> None:
    """No object is fetched again by the machine that wrote it."""
    embed(machine("a"), [str(make_pdf("one.pdf", ["1"]))], tiny, settings=ONE)
    s3.requests.clear()
    machine("a")
    assert all(path.count("/") == 1 or path.endswith("/") for _, path, _ in s3.requests)


def test_what_is_forgotten_is_gone_there_too(
    s3: Server, machine: Callable[[str], Workspace], tiny: Backbone, make_pdf: Callable[..., Path], place: str
) -> None:
    """Objects that no manifest lists any more are removed, after the manifest."""
    one, two = str(make_pdf("one.pdf", ["1"])), str(make_pdf("two.pdf", ["2"]))
    embed(machine("a"), [one, two], tiny, settings=ONE)
    machine("b")
    assert run(["forget", one, "--artifacts", place]) == 0
    assert [name.rpartition("/")[2] for name in s3.names() if "part-" in name] == ["part-000000.r2.parquet"]
    seen = machine("a")
    assert len(seen.store().pages()) == 1
    assert [file.name for file in seen.root.rglob("part-*.parquet")] == ["part-000000.r2.parquet"]


def test_a_second_writer_is_told_who_writes(s3: Server, machine: Callable[[str], Workspace], place: str) -> None:
    """The lock is an object; one of a process of this machine that has ended, or was silent for long, is taken over."""
    workspace = machine("a")
    with workspace.writing("label"):
        with pytest.raises(BusyError, match="is being written by `label`"), machine("b").writing("embed"):
            pass
        assert "artifacts/.lock" in s3.names()
    assert "artifacts/.lock" not in s3.names()
    for owner in ({"machine": platform.node(), "process": 2**30}, {"machine": "other", "process": 1}):
        s3.put("artifacts/.lock", json.dumps({"what": "embed", **owner}).encode())
        if owner["machine"] == "other":
            with pytest.raises(BusyError, match="process 1 on other"), machine("a").writing("label"):
                pass
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(lock, "FORSAKEN_SECONDS", -60.0)
                with machine("a").writing("label"):
                    pass
        else:
            with machine("a").writing("label"):
                pass
        assert "artifacts/.lock" not in s3.names()


def test_a_writer_that_was_taken_over_sends_nothing(
    s3: Server, machine: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """It learns so when it renews its lock."""
    monkeypatch.setattr(lock, "RENEWED_SECONDS", 0.05)
    workspace = machine("a")

    def write() -> None:
        with workspace.writing("label"):
            s3.put("artifacts/.lock", b"{}")
            end = time.monotonic() + 30
            while any(one.name == "embedpipe-lock" for one in threading.enumerate()) and time.monotonic() < end:
                time.sleep(0.02)  # it ends when it learns so
            (workspace.root / "labels.csv").write_text("document,label\n", encoding="utf-8")

    with pytest.raises(ArtifactError, match="was taken over by another writer"):
        write()
    assert "artifacts/labels.csv" not in s3.names()
    assert s3.get("artifacts/.lock") == b"{}"


def test_what_was_not_sent_goes_with_the_next_writer_or_is_put_aside(
    s3: Server,
    machine: Callable[[str], Workspace],
    tiny: Backbone,
    make_pdf: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A failing service or a kill loses nothing that this machine has; what somebody else wrote since stays."""
    one, two, three, four = (str(make_pdf(f"{n}.pdf", [str(n)])) for n in range(4))
    embed(machine("a"), [one], tiny, settings=ONE)
    s3.fault = lambda method, _path: error("500 Internal Server Error", "InternalError") if method == "PUT" else None
    with pytest.raises(ArtifactError, match="cannot write to s3://"):
        embed(machine("a"), [two], tiny, settings=ONE)
    s3.fault = lambda method, path: (
        error("403 Forbidden", "AccessDenied") if method == "PUT" and ".lock" not in path else None
    )
    with pytest.raises(ArtifactError, match=r"access is refused \(403\).*kept on this machine"):
        embed(machine("a"), [two], tiny, settings=ONE)
    s3.fault = lambda _method, _path: None
    assert len(machine("a").store().pages()) == 2
    assert len(machine("b").store().pages()) == 1

    with machine("a").writing("label"):
        pass
    assert len(machine("b").store().pages()) == 2

    monkeypatch.setattr(mirror.Mirror, "push", lambda *_: None)  # killed before anything was sent
    embed(machine("a"), [three], tiny, settings=ONE)
    monkeypatch.undo()
    embed(machine("b"), [four], tiny, settings=ONE)
    seen = machine("a")
    assert len(seen.store().pages()) == 3
    assert "put aside" in caplog.text
    assert any(seen.root.parent.glob("*.unsent-*/features/*/part-*"))
    assert seen.store().verify() == []


def test_a_long_run_sends_what_is_finished(
    s3: Server, machine: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it goes on; a manifest that changes while it is looked at waits for the next look."""
    monkeypatch.setattr(mirror, "PAUSE", 0.02)
    workspace = machine("a")
    with workspace.writing("label"):
        (workspace.root / "labels.csv").write_text("document,label\n", encoding="utf-8")
        end = time.monotonic() + 10
        while "artifacts/labels.csv" not in s3.names() and time.monotonic() < end:
            time.sleep(0.02)
        assert "artifacts/labels.csv" in s3.names()


def test_other_objects_are_not_touched(s3: Server, machine: Callable[[str], Workspace], place: str) -> None:
    """Artifacts are put beside other objects only where that is asked for; those are neither fetched nor removed."""
    s3.put("artifacts/thesis.pdf", b"content")
    with (
        pytest.raises(ArtifactError, match=r"holds other files \(thesis.pdf\) and no artifacts"),
        machine("a").writing("x"),
    ):
        pass
    machine("a")
    shared = Workspace(place, share=True)
    with shared.writing("label"):
        assert not (shared.root / "thesis.pdf").exists()
    assert set(s3.names()) == {"artifacts/embedpipe.json", "artifacts/thesis.pdf"}


def test_messages_name_the_url(s3: Server, place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Not the copy on this machine."""
    assert run(["similar", "a.pdf", "--artifacts", place]) == 1
    assert f"no features in {place}: run `embed`" in capsys.readouterr().err
    s3.fault = lambda _method, _path: error("403 Forbidden", "AccessDenied")
    mirror._mirrors.clear()
    assert run(["info", "--artifacts", place]) == 1
    assert capsys.readouterr().err.startswith(f"error: cannot read {place}: access is refused (403)")
    assert os.getpid()


def test_what_a_killed_run_sent_and_did_not_note_is_its_own(
    s3: Server,
    machine: Callable[[str], Workspace],
    tiny: Backbone,
    make_pdf: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is not taken for another writer's: nothing is put aside, and what was not sent yet goes with the next one."""
    one, two = (str(make_pdf(f"{n}.pdf", [str(n)])) for n in range(2))
    embed(machine("a"), [one], tiny, settings=ONE)
    workspace = machine("a")
    (workspace.root / "jobs.json").write_text("{}", encoding="utf-8")
    with workspace.writing("label"):
        pass
    (workspace.root / "jobs.json").unlink()
    pushed = mirror.Mirror._remember
    monkeypatch.setattr(mirror.Mirror, "_remember", lambda *_: None)
    embed(workspace, [two], tiny, settings=ONE)
    monkeypatch.setattr(mirror.Mirror, "_remember", pushed)
    (workspace.root / "labels.csv").write_text("document,label\n", encoding="utf-8")  # and this had not gone yet

    again = machine("a")
    assert len(again.store().pages()) == 2
    assert (again.root / "labels.csv").exists()
    assert "put aside" not in caplog.text
    with again.writing("label"):
        pass
    assert "artifacts/labels.csv" in s3.names()
    assert "artifacts/jobs.json" not in s3.names()
    assert len(machine("b").store().pages()) == 2


def test_a_lock_whose_answer_was_lost_is_ones_own(
    s3: Server, machine: Callable[[str], Workspace], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next try finds that the condition does not hold any more, because the try before it went well."""
    workspace, real, tries = machine("a"), lock.called, []

    def lost(url: str, call: Callable[[object], object]) -> object:
        real(url, call)
        tries.append(url)
        return real(url, call)

    monkeypatch.setattr(lock, "called", lost)
    monkeypatch.setattr(lock, "RENEWED_SECONDS", 0.02)
    with workspace.writing("label"):
        before, end = len(tries), time.monotonic() + 10
        while len(tries) < before + 4 and time.monotonic() < end:
            time.sleep(0.02)
        (workspace.root / "labels.csv").write_text("document,label\n", encoding="utf-8")
    assert "artifacts/labels.csv" in s3.names()
