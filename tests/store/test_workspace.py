"""The workspace finds stores by name, and remembers where documents lie without depending on it."""

import json
import os
import random
from pathlib import Path

import pytest

from embedpipe.core.errors import ArtifactError, UnknownNameError
from embedpipe.core.records import Document, Identity, Recipe
from embedpipe.pages.walking import FoundFile
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Sources, Workspace

ONE = Identity("efficientnet_lite0", "1" * 64, Recipe(), ("p",))
TWO = Identity("efficientnet_lite0", "1" * 64, Recipe(size=224), ("p",))
THREE = Identity("resnet50", "3" * 64, Recipe(), ("p",))


def begin(workspace: Workspace, *identities: Identity) -> None:
    """Begins the stores of some identities."""
    for identity in identities:
        FeatureStore.create(workspace.store_path(identity.space), identity, [("p", 0, 4)])


def noted(path: Path, sha256: str) -> Document:
    """The document at a path, as it lies there."""
    status = path.stat()
    return Document(str(path), sha256, status.st_size, status.st_mtime_ns, "pdf")


def seen(path: Path, *, more: int = 0, later: int = 0) -> FoundFile:
    """A file as the walk would find it."""
    status = path.stat()
    return FoundFile(str(path), status.st_size + more, status.st_mtime_ns + later, named=False, type_folder=None)


def test_no_store(workspace: Workspace) -> None:
    """Without features the user is told to embed, and nothing is made."""
    with pytest.raises(ArtifactError, match="run `embed` on your documents first"):
        workspace.store()
    assert not workspace.root.exists()


def test_the_only_store(workspace: Workspace) -> None:
    """The only store needs no name."""
    begin(workspace, ONE)
    assert workspace.store().identity == ONE
    assert workspace.spaces() == {ONE.space: ONE}


def test_choosing_a_store(workspace: Workspace) -> None:
    """Of several stores one is chosen by backbone or by space; where two remain, both are named."""
    begin(workspace, ONE, TWO, THREE)
    assert workspace.store("resnet50").identity == THREE
    assert workspace.store(space=TWO.space).identity == TWO
    with pytest.raises(ArtifactError, match="there are 3 spaces") as caught:
        workspace.store()
    assert all(identity.space in str(caught.value) for identity in (ONE, TWO, THREE))
    with pytest.raises(ArtifactError, match="there are 2 spaces"):
        workspace.store("efficientnet_lite0")


def test_unknown_stores(workspace: Workspace) -> None:
    """A name that no store has is refused with the nearest ones."""
    begin(workspace, ONE, THREE)
    with pytest.raises(UnknownNameError, match="did you mean resnet50"):
        workspace.store("resnet5")
    with pytest.raises(UnknownNameError, match=THREE.space):
        workspace.store(space=THREE.space[:-1])


@pytest.mark.parametrize("damage", ["identity missing", "recipe of another kind", "no object"])
def test_a_damaged_identity_is_called_so(workspace: Workspace, damage: str) -> None:
    """A manifest whose identity cannot be read is an ArtifactError and no traceback."""
    begin(workspace, ONE)
    manifest = workspace.store_path(ONE.space) / "manifest.json"
    values = json.loads(manifest.read_text())
    if damage == "identity missing":
        del values["identity"]
    elif damage == "recipe of another kind":
        values["identity"]["recipe"]["colour"] = "sepia"
    else:
        values["identity"] = "text"
    manifest.write_text(json.dumps(values))
    with pytest.raises(ArtifactError, match="is damaged"):
        workspace.store()


def test_one_writer(workspace: Workspace) -> None:
    """The workspace has one writer at a time."""
    with workspace.writing("embed"), pytest.raises(ArtifactError, match="`embed`"), workspace.writing("label"):
        pytest.fail("two writers at a time")


def test_sources_round_trip(workspace: Workspace, tmp_path: Path) -> None:
    """Places are remembered, those that are not UTF-8 among them."""
    sources = workspace.sources()
    documents = [
        Document(f"/data/{name}", f"{i:064}", i, i, "pdf") for i, name in enumerate(["a", "caf\udce9", "合同"])
    ]
    for document in documents:
        sources.add(document)
    sources.save()
    again = workspace.sources()
    assert len(again) == 3
    for document in documents:
        found = FoundFile(document.path, document.size, document.mtime_ns, named=False, type_folder=None)
        assert again.unchanged(found) == document


def test_unchanged(workspace: Workspace, tmp_path: Path) -> None:
    """A file counts as unchanged only with the same path, size and time of change."""
    (tmp_path / "a.pdf").write_text("one")
    sources = workspace.sources()
    sources.add(noted(tmp_path / "a.pdf", "1" * 64))
    assert sources.unchanged(seen(tmp_path / "a.pdf")) == noted(tmp_path / "a.pdf", "1" * 64)
    assert sources.unchanged(seen(tmp_path / "a.pdf", more=1)) is None
    assert sources.unchanged(seen(tmp_path / "a.pdf", later=1)) is None
    os.link(tmp_path / "a.pdf", tmp_path / "b.pdf")
    assert sources.unchanged(seen(tmp_path / "b.pdf")) is None


def test_a_moved_file(workspace: Workspace, tmp_path: Path) -> None:
    """A document that was met again elsewhere is found at its new place, and while it is nowhere, not at all."""
    old, new = tmp_path / "old.pdf", tmp_path / "new.pdf"
    old.write_text("one")
    sources = workspace.sources()
    sources.add(noted(old, "1" * 64))
    assert sources.document("1" * 64) == noted(old, "1" * 64)
    old.rename(new)
    assert sources.document("1" * 64) is None
    assert sources.path_of("1" * 64, "otherwise") == str(old)
    sources.add(noted(new, "1" * 64))
    sources.save()
    again = workspace.sources()
    assert again.document("1" * 64) == noted(new, "1" * 64)
    assert again.path_of("1" * 64, "otherwise") == str(new)
    assert again.path_of("2" * 64, "otherwise") == "otherwise"


def test_a_file_that_became_another(workspace: Workspace, tmp_path: Path) -> None:
    """When a path holds another document now, the old one is no longer found there."""
    file = tmp_path / "a.pdf"
    file.write_text("one")
    sources = workspace.sources()
    sources.add(noted(file, "1" * 64))
    file.write_text("another")
    assert sources.document("1" * 64) is None  # changed since it was hashed
    sources.add(noted(file, "2" * 64))
    assert sources.document("1" * 64) is None
    assert sources.document("2" * 64) == noted(file, "2" * 64)
    assert len(sources) == 1


def test_sha256_at(workspace: Workspace, make_pdf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hash at a path is read from the file, kept for one that is gone, and None for what is no document."""
    file = make_pdf("a.pdf", ["one"])
    (tmp_path / "note.txt").write_text("no document")
    monkeypatch.chdir(tmp_path)
    sources = workspace.sources()
    sha256 = sources.sha256_at("a.pdf")
    assert sha256 is not None
    assert len(sha256) == 64
    assert sources.document(sha256) == noted(file, sha256)
    file.unlink()
    assert sources.sha256_at(str(file)) == sha256
    assert sources.sha256_at("note.txt") is None
    assert sources.sha256_at("nowhere.pdf") is None


def test_a_file_that_was_copied_without_its_time(workspace: Workspace, make_pdf, tmp_path: Path) -> None:
    """The same content with another time of change is found; other content of the same size is not."""
    file = make_pdf("a.pdf", ["one"])
    sources = workspace.sources()
    sha256 = sources.sha256_at(str(file))
    assert sha256 is not None
    os.utime(file, (1, 1))
    found = sources.document(sha256)
    assert found is not None
    assert (found.path, found.sha256) == (str(file), sha256)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + b"%")
    os.utime(file, (2, 2))
    assert sources.document(sha256) is None


def test_labels_find_documents(workspace: Workspace, make_pdf, tmp_path: Path) -> None:
    """A person's labels.csv in the artifacts is understood, with paths from there."""
    make_pdf("a.pdf", ["one"])
    workspace.root.mkdir()
    workspace.labels_file.write_text("path,label\n../a.pdf,letter\n")
    assert workspace.labels().types() == {"letter": 1}


@pytest.mark.parametrize("content", [b"", b"no parquet", b"PAR1" * 50])
def test_a_damaged_sources_file_is_ignored(workspace: Workspace, content: bytes) -> None:
    """A sources file that cannot be read is as good as none."""
    workspace.root.mkdir()
    (workspace.root / "sources.parquet").write_bytes(content)
    assert len(workspace.sources()) == 0


def test_bit_flips_in_sources_are_never_believed(tmp_path: Path) -> None:
    """A flipped bit anywhere in the sources file leaves what was there or nothing: no error, and nothing wrong."""
    file = tmp_path / "sources.parquet"
    sources = Sources(file)
    for i in range(100):
        sources.add(Document(f"/data/{i}.pdf", f"{i:064x}", i, i * 10, "pdf"))
    sources.save()
    content, right = file.read_bytes(), sources._documents
    dice = random.Random(0)
    for _ in range(200):
        at = dice.randrange(len(content))
        file.write_bytes(content[:at] + bytes([content[at] ^ 1 << dice.randrange(8)]) + content[at + 1 :])
        assert Sources(file)._documents in ({}, right), f"byte {at}"
