"""Objects as files: ranges, what is fetched once, faults of the service, and what is said of them."""

import errno
import io
import os
import sys
import time
import zipfile
from pathlib import Path

import fsspec
import pytest
from s3 import Server, error

from embedpipe.core.errors import DocumentError, EmbedpipeError
from embedpipe.core.objects import places, reading, service
from embedpipe.core.objects.urls import absolute, as_written, is_url
from embedpipe.pages.containers.opening import close_all, held_file, member_file
from embedpipe.pages.contract import Limits

MEGABYTE = 1 << 20


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of fetched objects."""
    folder = tmp_path / "fetched"
    folder.mkdir()
    monkeypatch.setenv(reading.FOLDER_VARIABLE, str(folder))
    return folder


def ranges(server: Server, end: str) -> list[str]:
    """What was asked of an object."""
    return [request[2].removeprefix("bytes=") for request in server.of("GET", end)]


def test_urls_are_told_from_paths_and_file_urls_are_paths(tmp_path: Path) -> None:
    """A drive of Windows is no scheme, and `Path` makes one slash of two."""
    assert [is_url(text) for text in ("s3://a", "C:/a", "C://a", "a/s3://b", "/a")] == [
        True,
        False,
        False,
        False,
        False,
    ]
    assert absolute(f"file://{tmp_path}/a%20b/") == str(tmp_path / "a b")
    assert absolute("S3://Bucket/a//b/") == "s3://Bucket/a//b"
    assert as_written(Path("s3://bucket/a b")) == "s3://bucket/a b"


def test_only_what_is_read_is_fetched_and_each_range_once(s3: Server, kept: Path) -> None:
    """Ranges grow where a file is read in order; what is complete is shared by path and never fetched again."""
    content = os.urandom(20 * MEGABYTE + 17)
    url = s3.put("big.bin", content)
    with reading.opened(url) as file:
        assert file.read(100) == content[:100]
        file.seek(-10, os.SEEK_END)
        assert file.read() == content[-10:]
    assert len(ranges(s3, "big.bin")) == 2
    assert list(kept.iterdir()) == []
    s3.requests.clear()
    with reading.fetched(url) as copy:
        assert Path(copy.path).read_bytes() == content
    assert len(ranges(s3, "big.bin")) < 8
    s3.requests.clear()
    with reading.fetched(url) as copy, open(copy.path, "rb") as file:
        assert file.read() == content
    assert ranges(s3, "big.bin") == []


@pytest.mark.usefixtures("kept")
def test_failures_cuts_and_pauses_are_waited_out(s3: Server) -> None:
    """Every other answer is a failure of the service, is cut, or comes late: the content is right."""
    content = os.urandom(3 * MEGABYTE)
    url, count = s3.put("a.bin", content), 0

    def fault(_method: str, _path: str) -> "tuple[str, bytes] | int | float | None":
        nonlocal count
        count += 1
        faults = [error("500 Internal Server Error", "InternalError"), 1000, error("503 Slow Down", "SlowDown"), 0.05]
        return faults[count // 2 % 4] if count % 2 else None

    s3.fault = fault
    with reading.fetched(url) as copy:
        assert copy.file.read() == content


def test_a_path_leads_to_the_content_also_without_proc(s3: Server, kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While it is fetched, and once it is complete and has another name."""
    url = s3.put("a", b"content")
    monkeypatch.setattr(sys, "platform", "darwin")
    with reading.Copy(url, places.stat(url)) as copy:
        assert Path(copy.path).parent == kept
        assert Path(copy.complete().path).read_bytes() == b"content"


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error("403 Forbidden", "AccessDenied"), PermissionError, "access is refused (403)"),
        (error("404 Not Found", "NoSuchKey"), FileNotFoundError, "no such object (404)"),
        (error("500 Internal Server Error", "InternalError"), OSError, "the service failed after 6 tries"),
        (error("400 Bad Request", "InvalidRequest"), OSError, "the service failed: "),
    ],
)
def test_what_cannot_be_fetched_is_said_in_a_line(
    s3: Server, kept: Path, answer: tuple[str, bytes], kind: type[OSError], words: str
) -> None:
    """Refusals are final at once; failures of the service after some tries."""
    url = s3.put("a.bin", b"content")
    status = places.stat(url)
    s3.fault = lambda _method, _path: answer
    with pytest.raises(kind) as raised, reading.Copy(url, status) as copy:
        copy.complete()
    assert words in str(raised.value.strerror)
    assert raised.value.filename == url
    assert len(s3.of("GET")) == (6 if "tries" in words else 1)
    assert not any(kept.iterdir())


@pytest.mark.usefixtures("kept")
def test_an_object_that_changes_while_it_is_read_is_refused(s3: Server) -> None:
    """Ranges of two contents are no document."""
    url = s3.put("a.bin", bytes(3 * MEGABYTE))
    with reading.opened(url) as file:
        file.read(10)
        s3.put("a.bin", b"1" * 3 * MEGABYTE)
        with pytest.raises(OSError, match="it changed while it was read"):
            file.read()


def test_the_time_of_an_object_tells_its_content(s3: Server) -> None:
    """Two contents of one size that were written within a second differ in their time, and the same do not."""
    times = [places.fresh_status(s3.put("a", content)).st_mtime_ns % 10**9 for content in (b"one", b"two", b"one")]
    assert times[0] == times[2] != times[1]


def test_what_is_kept_is_capped_and_that_of_killed_runs_goes(
    s3: Server, kept: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The oldest goes first, and whoever has it open reads on."""
    monkeypatch.setenv(reading.SIZE_VARIABLE, "2")
    first = reading.fetched(s3.put("0", bytes(MEGABYTE)))
    for name in ("1", "2"):
        time.sleep(0.01)
        reading.fetched(s3.put(name, bytes(MEGABYTE))).close()
    assert len(list(kept.iterdir())) == 2
    assert Path(first.path).stat().st_size == MEGABYTE
    first.close()

    monkeypatch.setattr(reading.tempfile, "tempdir", str(tmp_path))
    monkeypatch.delenv(reading.FOLDER_VARIABLE)
    (tmp_path / "embedpipe-objects-x.aside").mkdir()  # of a killed run: nobody holds it
    own = reading.folder()
    assert [path.name for path in tmp_path.glob("embedpipe-objects-*")] == [own.name]


@pytest.mark.usefixtures("kept")
def test_a_member_of_an_archive_is_read_without_the_rest_of_it(s3: Server) -> None:
    """The directory of a ZIP is at its end, and leads to its members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("large", os.urandom(9 * MEGABYTE))
        archive.writestr("a/b.txt", "text")
    url = s3.put("z.zip", buffer.getvalue())
    held = member_file(f"{url}!/a/b.txt", Limits())
    assert held is not None
    assert held.head() == b"text"
    held.close()
    close_all()
    assert len(ranges(s3, "z.zip")) == 2
    with pytest.raises(DocumentError, match="no such object"):
        held_file(f"{s3.bucket}/none.zip!/a", Limits())


def test_folders_are_listed_as_on_a_disk(s3: Server, caplog: pytest.LogCaptureFixture) -> None:
    """The marks that consoles make are no files; keys with empty parts are passed over aloud."""
    for name in ("in/b.pdf", "in/a b/ü.pdf", "in/", "in/a b/"):
        s3.put(name, b"" if name.endswith("/") else b"x")
    s3.put("in//c.pdf", b"x")
    assert [(entry.name, entry.is_dir()) for entry in places.scan(f"{s3.bucket}/in")] == [
        ("a b", True),
        ("b.pdf", False),
    ]
    assert [entry.path for entry in places.scan(f"{s3.bucket}/in/a b")] == [f"{s3.bucket}/in/a b/ü.pdf"]
    del caplog
    assert places.is_folder(f"{s3.bucket}/in")
    assert not places.exists(f"{s3.bucket}/none")
    with pytest.raises(FileNotFoundError):
        places.stat("s3://no-such-bucket")


def test_schemes_and_libraries_that_are_not_there_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, or that it is not read at all."""
    with pytest.raises(EmbedpipeError, match=r"https:// is not read: .*s3://"):
        places.stat("https://host/a.pdf")

    def missing(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr(fsspec, "filesystem", missing)
    with pytest.raises(EmbedpipeError, match=r"s3:// needs a library .*embedpipe\[s3\]"):
        service.file_system.__wrapped__("s3")
    with pytest.raises(EmbedpipeError, match=r"gs:// needs a library .*Install s3fs"):
        service.file_system.__wrapped__("gs")


def test_no_credentials_are_one_line(s3: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library finds none: it is not tried again."""

    class NoCredentialsError(Exception):
        """As that of botocore."""

    def refuse(*_: object, **__: object) -> None:
        raise NoCredentialsError("Unable to locate credentials")

    monkeypatch.setattr(service.file_system("s3"), "info", refuse)
    with pytest.raises(PermissionError, match="no credentials: set AWS_PROFILE") as raised:
        places.fresh_status(f"{s3.bucket}/a")
    assert raised.value.errno == errno.EACCES
