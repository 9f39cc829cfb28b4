"""The walk finds every document once, opens nothing that could hurt, and survives any name."""

import contextlib
import hashlib
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from embedpipe.core.display import path_to_text, text_to_path
from embedpipe.core.errors import EmbedpipeError
from embedpipe.core.records import FAILURES, WHOLE_FILE, Document, PageFailure
from embedpipe.pages.documents import READERS, SUFFIXES, Limits
from embedpipe.pages.walking import FoundFile, IgnoredFile, identify, walk

PDF = b"%PDF-1.7\n%%EOF\n"
"""Enough of a PDF to be recognised."""

NAMES = {
    "not UTF-8": b"caf\xe9 \xff.pdf",
    "newline": b"two\nlines.pdf",
    "carriage return": b"over\rwritten.pdf",
    "leading dash": b"-rf.pdf",
    "formula": b"=cmd|' !A1.pdf",
    "shell": b"$(touch x);`id`'\".pdf",
    "HTML": b"<img src=x onerror=alert(1)>&amp;.pdf",
    "right to left": "\u202efdp.exe.pdf".encode(),
    "Chinese": "发票.pdf".encode(),
    "emoji": "\N{GRINNING FACE}.pdf".encode(),
    "decomposed": "e\u0301.pdf".encode(),
    "spaces": b"  .pdf ",
    "percent": b"%41%00.pdf",
    "prefix": b"bytes:%41.pdf",
    "escape": b"\x1b[31mred.pdf",
    "long": b"x" * 251 + b".pdf",
}

DEVICES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")


def found(path: Path | str, *, named: bool = False, size: int | None = None) -> FoundFile:
    """What the walk would tell of a file."""
    status = os.stat(path)
    size = status.st_size if size is None else size
    return FoundFile(os.path.abspath(path), size, status.st_mtime_ns, named=named, type_folder=None)


def names(inputs: list[Path] | list[str], below: Path) -> list[str]:
    """The paths of all files that the walk finds, relative to a folder."""
    items = list(walk([os.fspath(item) for item in inputs]))
    assert all(isinstance(item, FoundFile) for item in items)
    return [os.path.relpath(item.path, below) for item in items]


def touch(root: Path, *paths: str, content: bytes = PDF) -> None:
    """Makes files and the folders above them."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def bytes_read() -> int:
    """How many bytes this process has read so far."""
    return int(Path("/proc/self/io").read_text().split()[1])


COUNTED = pytest.mark.skipif(not os.path.exists("/proc/self/io"), reason="what was read is counted by Linux only")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user of the system may enter."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Gives up root's rights for a while: root may read what nobody may."""
    if os.geteuid():
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


class TestWalk:
    """Which files are found."""

    def test_the_order_is_fixed(self, tmp_path: Path) -> None:
        """Files come sorted, those of a folder before those of the folders in it."""
        touch(tmp_path, "b/2.pdf", "b/1.pdf", "a/z/9.pdf", "a/3.pdf", "c.pdf", "A.pdf")
        assert names([tmp_path], tmp_path) == ["A.pdf", "c.pdf", "a/3.pdf", "a/z/9.pdf", "b/1.pdf", "b/2.pdf"]

    def test_each_path_comes_once(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A file that several inputs lead to is found once, by the first of them, however they are written."""
        touch(tmp_path, "a/1.pdf", "a/2.pdf")
        monkeypatch.chdir(tmp_path)
        items = list(walk(["a/2.pdf", "a", "./a/", os.fspath(tmp_path), "a/../a/1.pdf"]))
        assert [(os.path.relpath(i.path), i.named) for i in items] == [("a/2.pdf", True), ("a/1.pdf", False)]

    def test_what_is_told_of_a_file_is_true(self, tmp_path: Path) -> None:
        """Path, size and time are those of the file, and the path is absolute."""
        touch(tmp_path, "a.pdf")
        (item,) = walk([os.path.relpath(tmp_path)])
        status = (tmp_path / "a.pdf").stat()
        assert item == FoundFile(os.fspath(tmp_path / "a.pdf"), len(PDF), status.st_mtime_ns, False, None)

    def test_folders_directly_below_the_input_are_types(self, tmp_path: Path) -> None:
        """The type is the first folder below the input and not the last; files beside the folders have none."""
        touch(tmp_path, "invoice/2024/may/1.pdf", "letter/2.pdf", "3.pdf")
        types = {os.path.basename(i.path): i.type_folder for i in walk([os.fspath(tmp_path)])}
        assert types == {"1.pdf": "invoice", "2.pdf": "letter", "3.pdf": None}
        (named,) = walk([os.fspath(tmp_path / "letter" / "2.pdf")])
        assert named.named
        assert named.type_folder is None

    def test_a_folder_with_the_name_of_a_pdf_is_a_folder(self, tmp_path: Path) -> None:
        """A directory named x.pdf is walked and is no document."""
        touch(tmp_path, "x.pdf/inside.pdf")
        (tmp_path / "empty.pdf").mkdir()
        assert names([tmp_path], tmp_path) == ["x.pdf/inside.pdf"]

    def test_links_are_not_followed(self, tmp_path: Path) -> None:
        """Links to files, folders, nothing, themselves and a folder above lead nowhere."""
        touch(tmp_path, "outside/secret.pdf", "in/a.pdf", "in/b/c.pdf")
        inside = tmp_path / "in"
        (inside / "file.pdf").symlink_to(tmp_path / "outside" / "secret.pdf")
        (inside / "folder").symlink_to(tmp_path / "outside")
        (inside / "dangling.pdf").symlink_to(tmp_path / "none.pdf")
        (inside / "itself.pdf").symlink_to("itself.pdf")
        (inside / "b" / "up").symlink_to(inside)
        items = list(walk([os.fspath(inside)]))
        read = [os.path.relpath(item.path, inside) for item in items if isinstance(item, FoundFile)]
        assert read == ["a.pdf", "b/c.pdf"]
        links = {os.path.relpath(item.path, inside) for item in items if isinstance(item, IgnoredFile)}
        assert links == {"file.pdf", "folder", "dangling.pdf", "itself.pdf", "b/up"}
        assert {item.kind for item in items if isinstance(item, IgnoredFile)} == {"link"}

    def test_links_are_followed_once_where_that_is_asked_for(self, tmp_path: Path) -> None:
        """A file is one file under all its names, a folder is walked once, and a link to nothing is a failure."""
        touch(tmp_path, "outside/b.pdf", "in/a.pdf", "in/c/d.pdf")
        inside = tmp_path / "in"
        (inside / "again.pdf").symlink_to("a.pdf")
        (inside / "folder").symlink_to(tmp_path / "outside")
        (inside / "twice").symlink_to(tmp_path / "outside")
        (inside / "c" / "up").symlink_to(inside)
        (inside / "nothing.pdf").symlink_to("none")
        (inside / "itself.pdf").symlink_to("itself.pdf")
        os.link(inside / "c" / "d.pdf", inside / "c" / "hard.pdf")
        told = {}
        for item in walk([os.fspath(inside)], follow_links=True):
            path = item.page.source if isinstance(item, PageFailure) else item.path
            told[os.path.relpath(path, inside)] = getattr(item, "same_as", getattr(item, "kind", ""))
        same = os.fspath(inside)
        assert told == {
            "a.pdf": None,
            "again.pdf": f"{same}/a.pdf",
            "nothing.pdf": "unreadable",
            "itself.pdf": "unreadable",
            "c/d.pdf": None,
            "c/hard.pdf": f"{same}/c/d.pdf",
            "c/up": "link",
            "folder/b.pdf": None,
            "twice": "link",
        }

    def test_a_folder_under_two_names_holds_the_same_files(self, tmp_path: Path) -> None:
        """Whoever names a folder and a link to it has each file once, and its other name."""
        touch(tmp_path, "real/a.pdf")
        (tmp_path / "link").symlink_to("real")
        first, second = walk([os.fspath(tmp_path / "link"), os.fspath(tmp_path / "real")])
        assert (first.same_as, second.same_as) == (None, first.path)

    def test_a_link_that_is_named_is_followed(self, tmp_path: Path) -> None:
        """A link to a file or a folder that the user names is opened."""
        touch(tmp_path, "real/a.pdf")
        (tmp_path / "folder").symlink_to("real")
        (tmp_path / "file.pdf").symlink_to("real/a.pdf")
        assert names([tmp_path / "folder", tmp_path / "file.pdf"], tmp_path) == ["folder/a.pdf", "file.pdf"]

    @DEVICES
    def test_devices_sockets_and_pipes_are_passed_over(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A FIFO and a socket with the names of documents are never opened and never wait."""
        monkeypatch.chdir(tmp_path)  # the path of a socket must be short
        touch(tmp_path, "a.pdf")
        os.mkfifo("pipe.pdf")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket.pdf")
            assert names([tmp_path], tmp_path) == ["a.pdf"]
            for name in ("pipe.pdf", "socket.pdf", os.devnull):
                with pytest.raises(EmbedpipeError, match="neither a file nor a folder"):
                    list(walk([name]))

    @pytest.mark.parametrize("name", ["none.pdf", "caf\udce9.pdf", "x" * 300])
    def test_an_input_that_is_not_there_is_an_error(self, tmp_path: Path, name: str) -> None:
        """A missing input is told in one line that UTF-8 can hold."""
        with pytest.raises(EmbedpipeError) as caught:
            list(walk([os.path.join(tmp_path, name)]))
        assert str(caught.value).encode()
        assert "cannot read" in str(caught.value)

    def test_files_that_vanish_are_passed_over(self, tmp_path: Path) -> None:
        """A file or folder that goes away during the walk is no error."""
        touch(tmp_path, "1.pdf", "2.pdf", "3.pdf", "a/4.pdf", "b/5.pdf")
        items = walk([os.fspath(tmp_path)])
        first = next(items)
        (tmp_path / "2.pdf").unlink()
        (tmp_path / "a" / "4.pdf").unlink()
        (tmp_path / "a").rmdir()
        assert [os.path.basename(i.path) for i in (first, *items)] == ["1.pdf", "3.pdf", "5.pdf"]

    def test_a_folder_that_cannot_be_read_is_a_failure(self, open_folder: Path) -> None:
        """An unreadable folder is one failure and the folders beside it are walked."""
        touch(open_folder, "a/1.pdf", "b/2.pdf", "c/3.pdf")
        (open_folder / "b").chmod(0)
        with nobody():
            items = list(walk([os.fspath(open_folder)]))
        (open_folder / "b").chmod(0o755)
        first, failure, last = items
        assert [os.path.basename(first.path), os.path.basename(last.path)] == ["1.pdf", "3.pdf"]
        assert isinstance(failure, PageFailure)
        assert (failure.kind, failure.page.page_index) == ("unreadable", WHOLE_FILE)
        assert failure.page.source == os.fspath(open_folder / "b")
        assert failure.kind in FAILURES

    def test_nested_folders_do_not_exhaust_the_stack(self, tmp_path: Path) -> None:
        """Folders in folders, 1500 deep, are walked to the end."""
        folders = [os.path.join(tmp_path, *"d" * depth) for depth in range(1, 1501)]
        for folder in folders:
            os.mkdir(folder)
        touch(Path(folders[-1]), "deep.pdf")
        try:
            assert [item.path for item in walk([folders[0]])] == [os.path.join(folders[-1], "deep.pdf")]
        finally:  # pytest's own clean-up would exhaust it
            os.unlink(os.path.join(folders[-1], "deep.pdf"))
            for folder in reversed(folders):
                os.rmdir(folder)


class TestIdentify:
    """What is known of a file after a look into it."""

    @pytest.mark.parametrize("name", ["a.pdf", "scan", "picture.png", "notes.txt", ".hidden", "x.zip"])
    def test_documents_are_known_by_content(self, tmp_path: Path, name: str) -> None:
        """A PDF is a PDF under any name, also a hidden or a misleading one."""
        touch(tmp_path, name)
        item = identify(found(tmp_path / name), Limits())
        assert isinstance(item, Document)
        assert item.reader == "pdf"

    @pytest.mark.parametrize("key", ["png", "jpeg", "tiff", "gif", "bmp", "webp", "jpeg2000", "avif"])
    def test_pictures_are_known_by_content(self, tmp_path: Path, key: str) -> None:
        """A picture named .pdf goes to the reader of its own kind."""
        Image.new("RGB", (9, 9)).save(tmp_path / "a.pdf", READERS[key].name)
        item = identify(found(tmp_path / "a.pdf"), Limits())
        assert isinstance(item, Document)
        assert item.reader == key

    @pytest.mark.parametrize("size", [0, 1, 1009, 1024 - len(PDF), 1 << 20, (1 << 20) + 1, (1 << 21) + 77])
    def test_the_hash_is_that_of_the_content(self, tmp_path: Path, size: int) -> None:
        """Size and SHA-256 are those of the whole file, whatever its length."""
        content = PDF + os.urandom(size)
        touch(tmp_path, "a", content=content)
        item = identify(found(tmp_path / "a"), Limits())
        status = (tmp_path / "a").stat()
        expected = hashlib.sha256(content).hexdigest()
        assert item == Document(os.fspath(tmp_path / "a"), expected, len(content), status.st_mtime_ns, "pdf")

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("README.md", b"# words"),
            ("notes.txt", b"words"),
            ("table.csv", b"a,b"),
            ("film.mp4", b"\0\0\0\x18ftyp"),
            ("song.mp3", b"ID3"),
            ("archive.zip", b"PK\x03\x04"),
            ("archive.tar.gz", b"\x1f\x8b\x08"),
            ("data.json", b"{}"),
            ("script.py", b"print()"),
            ("LICENSE", b"words"),
            ("nothing", b""),
            (".DS_Store", b"\0\0\0\1Bud1"),
            ("Thumbs.db", b"\xd0\xcf\x11\xe0"),
            ("desktop.ini", b"[x]"),
        ],
    )
    def test_what_promises_no_document_is_ignored(self, tmp_path: Path, name: str, content: bytes) -> None:
        """Texts, tables, archives, films and hidden files beside the documents are no failures, unless named."""
        touch(tmp_path, name, content=content)
        path = os.fspath(tmp_path / name)
        assert identify(found(path), Limits()) == IgnoredFile(path)
        failure = identify(found(path, named=True), Limits())
        assert isinstance(failure, PageFailure)
        assert failure.kind == "not_a_document"

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            *[(f"a{suffix}", b"words") for suffix in sorted(SUFFIXES)],
            ("A.PDF", b"words"),
            (".hidden.pdf", b"words"),
            ("empty.pdf", b""),
            ("binary", b"\0\1\2\3"),
        ],
    )
    def test_what_promises_a_document_and_is_none_is_a_failure(self, tmp_path: Path, name: str, content: bytes) -> None:
        """A document's name on other content, and unknown bytes without a name, are failures."""
        touch(tmp_path, name, content=content)
        failure = identify(found(tmp_path / name), Limits())
        assert isinstance(failure, PageFailure)
        assert failure.kind == "not_a_document"
        assert failure.page.page_index == WHOLE_FILE
        assert failure.page.source == os.fspath(tmp_path / name)
        assert ("empty" in failure.message) == (not content)

    @pytest.mark.parametrize(
        ("name", "content", "what"),
        [
            ("a.eps", b"%!PS-Adobe-3.0 EPSF-3.0", "PostScript file"),
            ("A.DOCX", b"PK\x03\x04", "Word document"),
            ("empty.docx", b"", "Word document"),
            ("a.jxl", b"\xff\n", "JPEG XL picture"),
            ("a.emlx", b"\xd0\xcf\x11\xe0", "e-mail"),
            ("no suffix", b"{\\rtf1\0", "RTF document"),
            ("old", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "old Office document"),
            ("a.xyz", b"\0\1", ".xyz file"),
        ],
    )
    def test_other_formats_are_named_and_no_failures(
        self, tmp_path: Path, name: str, content: bytes, what: str
    ) -> None:
        """A document in a format that is not read is passed over by its name, unless the user names the file."""
        touch(tmp_path, name, content=content)
        path = os.fspath(tmp_path / name)
        assert identify(found(path), Limits()) == IgnoredFile(path, "unread", what)
        failure = identify(found(path, named=True), Limits())
        assert isinstance(failure, PageFailure)
        assert failure.kind == "not_a_document"
        assert ("empty" if not content else what) in failure.message

    @COUNTED
    def test_a_huge_file_is_refused_without_reading_it(self, tmp_path: Path) -> None:
        """A sparse file of 10 GB that begins like a PDF is too large, and next to nothing of it is read."""
        touch(tmp_path, "huge.pdf")
        os.truncate(tmp_path / "huge.pdf", 10 * 1000**3)
        before = bytes_read()
        failure = identify(found(tmp_path / "huge.pdf"), Limits())
        assert bytes_read() - before < 1 << 20
        assert isinstance(failure, PageFailure)
        assert failure.kind == "too_large"
        assert "10000000000 bytes" in failure.message

    def test_the_limit_of_size_is_exact(self, tmp_path: Path) -> None:
        """A file of the allowed size is a document, one byte more is too large."""
        touch(tmp_path, "a", content=PDF + b"x" * 3000)
        size = len(PDF) + 3000
        assert isinstance(identify(found(tmp_path / "a"), Limits(file_bytes=size)), Document)
        assert identify(found(tmp_path / "a"), Limits(file_bytes=size - 1)).kind == "too_large"

    @COUNTED
    def test_a_file_that_grows_is_refused(self, tmp_path: Path) -> None:
        """A file that was small when it was found is too large when it has grown, and is not read to its end."""
        touch(tmp_path, "a")
        os.truncate(tmp_path / "a", 200_000_000)
        before = bytes_read()
        failure = identify(found(tmp_path / "a", size=len(PDF)), Limits(file_bytes=1_000_000))
        assert bytes_read() - before < 5_000_000
        assert failure.kind == "too_large"
        assert "grew" in failure.message

    def test_a_file_that_vanished_is_unreadable(self, tmp_path: Path) -> None:
        """A file that went away after it was found is a failure of the whole file."""
        touch(tmp_path, "a.pdf")
        item = found(tmp_path / "a.pdf")
        (tmp_path / "a.pdf").unlink()
        failure = identify(item, Limits())
        assert (failure.kind, failure.page.page_index) == ("unreadable", WHOLE_FILE)

    @DEVICES
    @pytest.mark.timeout(20)
    def test_a_pipe_in_the_place_of_a_file_does_not_block(self, tmp_path: Path) -> None:
        """A FIFO or a folder that took the place of a file is unreadable, and nobody waits for it."""
        touch(tmp_path, "a.pdf", "b.pdf")
        pipe, folder = found(tmp_path / "a.pdf"), found(tmp_path / "b.pdf")
        for item in (pipe, folder):
            os.unlink(item.path)
        os.mkfifo(pipe.path)
        os.mkdir(folder.path)
        assert identify(pipe, Limits()).kind == "unreadable"
        assert identify(folder, Limits()).kind == "unreadable"

    def test_a_file_without_permission_is_unreadable(self, open_folder: Path) -> None:
        """A file that may not be read is a failure that says so."""
        touch(open_folder, "a.pdf")
        (open_folder / "a.pdf").chmod(0)
        with nobody():
            failure = identify(found(open_folder / "a.pdf"), Limits())
        assert failure.kind == "unreadable"
        assert "ermission" in failure.message

    @pytest.mark.skipif(not os.path.exists("/proc/self/mem"), reason="only Linux has a file that fails to be read")
    def test_an_error_of_the_disk_is_unreadable(self) -> None:
        """A file that opens and cannot be read is a failure and ends nothing."""
        status = os.stat("/proc/self/mem")
        assert stat.S_ISREG(status.st_mode)
        assert identify(FoundFile("/proc/self/mem", 9, 0, False, None), Limits()).kind == "unreadable"


class TestNames:
    """Any name survives."""

    @pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
    def test_odd_names_are_found_and_hashed(self, tmp_path: Path, name: bytes) -> None:
        """The path of a document leads to its bytes, and its text is UTF-8 that leads back to the path."""
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(PDF)
        (item,) = walk([os.fspath(tmp_path)])
        document = identify(item, Limits())
        assert isinstance(document, Document)
        assert os.fsencode(document.path) == path
        text = path_to_text(document.path)
        assert text.encode("utf-8")
        assert text_to_path(text) == document.path
        with open(text_to_path(text), "rb") as file:
            assert file.read() == PDF

    def test_odd_names_are_typed(self, tmp_path: Path) -> None:
        """A type folder whose name is not UTF-8 is kept byte for byte."""
        folder = os.path.join(os.fsencode(tmp_path), b"Rechnung \xfc")
        os.mkdir(folder)
        with open(os.path.join(folder, b"a.pdf"), "wb") as file:
            file.write(PDF)
        (item,) = walk([os.fspath(tmp_path)])
        assert os.fsencode(item.type_folder) == b"Rechnung \xfc"

    @given(st.binary(max_size=60).filter(lambda name: b"\0" not in name))
    def test_every_path_comes_back(self, name: bytes) -> None:
        """An absolute path of any bytes becomes text that UTF-8 can hold, and the text becomes that path again."""
        path = os.fsdecode(b"/" + name)
        text = path_to_text(path)
        text.encode("utf-8")
        assert text_to_path(text) == path

    @given(st.lists(st.binary(max_size=8).filter(lambda name: b"\0" not in name), min_size=2, max_size=2, unique=True))
    def test_two_paths_never_share_a_text(self, pair: list[bytes]) -> None:
        """Different absolute paths have different texts."""
        one, other = (path_to_text(os.fsdecode(b"/" + name)) for name in pair)
        assert one != other


def test_every_document_of_a_folder_is_identified(tmp_path: Path, make_pdf: Callable[..., Path]) -> None:
    """Walk and identify together turn a mixed folder into documents, failures and ignored files, one for each file."""
    make_pdf("letters/a.pdf", ["one"])
    Image.new("L", (9, 9)).save(tmp_path / "scan.tif")
    touch(tmp_path, "README", "broken.pdf", content=b"words")
    kinds = {os.path.basename(i.path): type(identify(i, Limits())) for i in walk([os.fspath(tmp_path)])}
    assert kinds == {"a.pdf": Document, "scan.tif": Document, "README": IgnoredFile, "broken.pdf": PageFailure}
