"""Writing leaves the old file or the new one, one writer at a time, and manifests are checked before they are used."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from embedpipe.core import files
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import FORMAT, NEWEST, read_json, replacing, sha256_of, sweep, write_json, writing

HOLD = """
import sys
from pathlib import Path
from embedpipe.core.files import replacing, writing
with writing(Path(sys.argv[1]), "embed"), replacing(Path(sys.argv[1]) / "part") as stray:
    stray.write_text("half a file")
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that is there before."""
    file = tmp_path / "artifact"
    file.write_text("old")
    return file


def is_untouched(file: Path) -> bool:
    """Whether the old file, and nothing else, is there."""
    return file.read_text() == "old" and os.listdir(file.parent) == [file.name]


def test_replacing_replaces(old: Path) -> None:
    """After the block the new content stands in the old one's place, with no file beside it."""
    with replacing(old) as temporary:
        temporary.write_text("new")
        assert old.read_text() == "old"
    assert old.read_text() == "new"
    assert os.listdir(old.parent) == [old.name]


def test_replacing_makes_folders(tmp_path: Path) -> None:
    """Folders that lack are made."""
    with replacing(tmp_path / "a" / "b" / "c") as temporary:
        temporary.write_text("new")
    assert (tmp_path / "a" / "b" / "c").read_text() == "new"


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file(old: Path, error: type[BaseException]) -> None:
    """An exception in the block passes through, leaves the old file and no temporary one."""

    def fail() -> None:
        with replacing(old) as temporary:
            temporary.write_text("new")
            raise error

    with pytest.raises(error):
        fail()
    assert is_untouched(old)


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file(old: Path, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when the file is synced or renamed leaves the old file, and says so in one line."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, step, full)
    with pytest.raises(ArtifactError, match="No space left on device") as caught, replacing(old) as temporary:
        temporary.write_text("new")
    assert str(old) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert is_untouched(old)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_device_leaves_the_old_file(old: Path) -> None:
    """A write that the device refuses becomes an ArtifactError that names the cause."""
    with pytest.raises(ArtifactError, match="No space left on device"), replacing(old), open("/dev/full", "w") as full:
        full.write("new")
    assert is_untouched(old)


def test_replacing_below_a_file_is_refused(old: Path) -> None:
    """A folder that cannot be made is an ArtifactError."""
    with pytest.raises(ArtifactError, match="cannot write"), replacing(old / "below"):
        pass
    assert is_untouched(old)


def test_content_is_synced_before_the_rename(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is synced first, then renamed, then its folder is synced."""
    steps = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(handle: int) -> None:
        steps.append("folder" if os.path.isdir(f"/dev/fd/{handle}") else "file")
        fsync(handle)

    def noted_replace(source: Path, target: Path) -> None:
        steps.append("rename")
        replace(source, target)

    monkeypatch.setattr(files.os, "fsync", noted_fsync)
    monkeypatch.setattr(files.os, "replace", noted_replace)
    with replacing(old) as temporary:
        temporary.write_text("new")
    assert steps == ["file", "rename", "folder"]


def test_sweep_removes_strays(tmp_path: Path) -> None:
    """Sweeping removes temporary files at any depth, and nothing else."""
    host = files._host()
    strays = (f".embedpipe-{host}-4194999-1", f"deep/er/.tmp-{host}-4194999-2-manifest.json")
    for name in (*strays, "part-000000.parquet", "deep/x.tmp-3", ".tmp-1-part"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    sweep(tmp_path)
    left = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert left == [".tmp-1-part", "part-000000.parquet", "x.tmp-3"]


WRITE = """
import sys
from pathlib import Path
from embedpipe.core.files import replacing
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half a file")
    print("writing", flush=True)
    sys.stdin.readline()
"""


def test_sweep_leaves_what_others_write(tmp_path: Path) -> None:
    """A temporary file that another process, or this one, still writes to stays; when its writer is dead it goes."""
    command = [sys.executable, "-c", WRITE, str(tmp_path / "index" / "segment")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        with writing(tmp_path, "embed"):
            assert len(list(tmp_path.rglob(".embedpipe-*"))) == 1
        other.communicate("\n")
    assert (tmp_path / "index" / "segment").read_text() == "half a file"
    with replacing(tmp_path / "report") as temporary:
        temporary.write_text("mine")
        sweep(tmp_path)
    assert (tmp_path / "report").read_text() == "mine"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "writing\n"
        other.kill()
    left = list(tmp_path.rglob(".embedpipe-*"))
    assert len(left) == 1
    same_number = left[0].with_name(left[0].name.replace(f"-{other.pid}-", f"-{os.getpid()}-"))
    same_number.write_text("of a dead process that had this one's number")
    sweep(tmp_path)
    assert list(tmp_path.rglob(".embedpipe-*")) == []


def test_sweep_goes_by_age_where_it_cannot_ask(tmp_path: Path) -> None:
    """Of another machine's temporary files those go that nobody has touched for a day."""
    fresh, old = tmp_path / ".tmp-00000000-1-1-part", tmp_path / ".tmp-00000000-2-1-part"
    fresh.write_text("x")
    old.write_text("x")
    os.utime(old, (0, 0))
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [fresh]


def test_sha256_of_a_file(tmp_path: Path) -> None:
    """The hash is that of the content."""
    (tmp_path / "a").write_bytes(b"abc")
    assert sha256_of(tmp_path / "a") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_json_round_trips(tmp_path: Path) -> None:
    """A manifest comes back with its values and the version of its format."""
    write_json(tmp_path / "m.json", {"name": "合同", "rows": [1, 2]})
    assert read_json(tmp_path / "m.json") == {"format": FORMAT, "name": "合同", "rows": [1, 2]}


def test_missing_manifest(tmp_path: Path) -> None:
    """A manifest that is not there is named."""
    with pytest.raises(ArtifactError, match=r"m\.json is missing"):
        read_json(tmp_path / "m.json")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b"null", b"{}", b'{"format": "x"}', b'{"format": null}', b"\xff\xfe\0"]
)
def test_damaged_manifest(tmp_path: Path, content: bytes) -> None:
    """A manifest that is no JSON object with a format number is called damaged."""
    (tmp_path / "m.json").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"m\.json is damaged"):
        read_json(tmp_path / "m.json")


def test_newer_manifest(tmp_path: Path) -> None:
    """A manifest of a later format is refused, with the advice to upgrade."""
    (tmp_path / "m.json").write_text(f'{{"format": {NEWEST + 1}}}')
    with pytest.raises(ArtifactError, match=rf"newer embedpipe \(format {NEWEST + 1}\): upgrade"):
        read_json(tmp_path / "m.json")


def test_a_second_writer_is_refused_and_a_killed_one_does_not_block(tmp_path: Path) -> None:
    """While another process writes, a writer is told who; when that one is killed, its lock and strays are gone."""
    folder = tmp_path / "artifacts"
    command = [sys.executable, "-c", HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ArtifactError, match=rf"`embed` \(process {holder.pid}, since "), writing(folder, "label"):
            pytest.fail("two writers at a time")
        [stray] = folder.glob(".embedpipe-*")  # not ours to sweep
        holder.kill()
    with writing(folder, "label"):
        assert not stray.exists()
        assert "`label`" in (folder / ".lock-holder").read_text()
    assert not (folder / ".lock-holder").exists()


def test_the_lock_is_free_after_an_error(tmp_path: Path) -> None:
    """A writer that fails lets go of the lock."""
    with pytest.raises(ValueError, match="no"), writing(tmp_path, "one"):
        raise ValueError("no")
    with writing(tmp_path, "two"):
        pass


def test_a_second_writer_in_the_process_is_refused(tmp_path: Path) -> None:
    """Two writers of one process are refused like those of two."""
    with writing(tmp_path, "embed"), pytest.raises(ArtifactError, match="`embed`"), writing(tmp_path, "label"):
        pytest.fail("two writers at a time")


@pytest.mark.parametrize("content", [pytest.param(None, id="gone"), pytest.param(b"\xff\xfe", id="damaged")])
def test_a_holder_that_cannot_be_read(tmp_path: Path, content: bytes | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second writer is refused in the usual way also when the holder's name vanishes just then, or is damaged."""
    with writing(tmp_path, "embed"):
        holder = tmp_path / ".lock-holder"
        if content is None:
            monkeypatch.setattr(Path, "exists", lambda _: True)
            holder.unlink()
        else:
            holder.write_bytes(content)
        with pytest.raises(ArtifactError, match="is being written by another process"), writing(tmp_path, "label"):
            pytest.fail("two writers at a time")


def test_artifacts_that_are_a_file(old: Path) -> None:
    """Artifacts that cannot be a folder are refused in one line."""
    with pytest.raises(ArtifactError, match="cannot write to"), writing(old, "embed"):
        pytest.fail("a file was taken for the artifacts")
