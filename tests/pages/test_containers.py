"""Members of archives, mails and mailboxes are documents of their own; whatever is wrong with them is an outcome."""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import random
import tarfile
import zipfile
from collections.abc import Iterable
from email.message import EmailMessage
from pathlib import Path

import py7zr
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ole_files import compound, outlook_mail

from embedpipe.core.errors import DocumentError
from embedpipe.core.records import FAILURES, Document, PageFailure
from embedpipe.pages.containers import contract, kinds, mail
from embedpipe.pages.containers.naming import Names, safe
from embedpipe.pages.containers.opening import member_file, on_the_disk
from embedpipe.pages.containers.places import exists, holders, outer, pieces
from embedpipe.pages.documents import Limits, ReadOptions, open_document
from embedpipe.pages.unfolding import EMPTY, identify_at, look_up, unfold
from embedpipe.pages.walking import IgnoredFile, identify

Files = Iterable[tuple[str, bytes]]


def pdf(text: str = "x") -> bytes:
    """A PDF that MuPDF opens, other bytes for each text."""
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 140]/Contents 4 0 R>>"
    draw = b"0.1 g 9 9 50 50 re f % " + text.encode()
    parts = [b"<</Type/Catalog/Pages 2 0 R>>", b"<</Type/Pages/Kids[3 0 R]/Count 1>>", page]
    parts.append(b"<</Length %d>>stream\n%s\nendstream" % (len(draw), draw))
    objects = b"".join(b"%d 0 obj%s endobj\n" % (number, part) for number, part in enumerate(parts, 1))
    return b"%PDF-1.4\n" + objects + b"trailer<</Root 1 0 R/Size 5>>\n%%EOF\n"


def zipped(files: Files, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A ZIP; the same name may come twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive, pytest.MonkeyPatch.context() as patch:
        patch.setattr("warnings.warn", lambda *_, **__: None)
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred(files: Files, links: Iterable[tuple[str, str]] = ()) -> bytes:
    """A TAR, with links by name and target."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            archive.addfile(info)
    return buffer.getvalue()


def mailed(files: Files = (), text: str = "hello") -> bytes:
    """A mail with attachments."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.org", "b@example.org", "papers"
    message.set_content(text)
    for name, content in files:
        message.add_attachment(content, maintype="application", subtype="octet-stream", filename=name)
    return bytes(message)


def mailbox(mails: Iterable[bytes]) -> bytes:
    """A mailbox of mails."""
    return b"".join(b"From a@example.org Thu Jan  1 00:00:00 1970\n" + one + b"\n" for one in mails)


def sevenzipped(files: Files, password: str | None = None, *, names: bool = False) -> bytes:
    """A 7-Zip archive of one block; with a password, which may hide the names as well."""
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", password=password, header_encryption=names) as archive:
        for name, content in files:
            archive.writestr(content, name)
    return buffer.getvalue()


MAKERS = {
    "zip": zipped,
    "tar": tarred,
    "tar.gz": lambda files: gzip.compress(tarred(files), mtime=0),
    "tar.bz2": lambda files: bz2.compress(tarred(files)),
    "tar.xz": lambda files: lzma.compress(tarred(files)),
    "eml": mailed,
    "7z": sevenzipped,
    "msg": lambda files: compound(outlook_mail(list(files))),
}
MAILS = ("eml", "msg")
"""Kinds whose members have no folders."""


def told(file: Path, **limits: int) -> dict[str, str]:
    """What became of each member, by its name behind the file's: the reader, or the kind of failure or neglect."""
    found = {}
    for item in unfold(look_up(os.fspath(file)), Limits(**limits)):
        path = item.page.source if isinstance(item, PageFailure) else item.path
        name = path.removeprefix(os.fspath(file)).removeprefix("!/")
        assert name not in found
        found[name] = item.reader if isinstance(item, Document) else item.kind
    return found


def put(folder: Path, content: bytes, name: str = "x") -> Path:
    """A file; its name says nothing."""
    (folder / name).write_bytes(content)
    return folder / name


class TestEveryContainer:
    """The contract that each kind of container keeps."""

    @pytest.mark.parametrize("kind", MAKERS)
    def test_members_are_documents_known_by_content(self, tmp_path: Path, kind: str) -> None:
        """Each member has the hash and the size of its content, and is opened and found again by its path."""
        contents = (
            {"a.pdf": pdf("one"), "deep/er/b": pdf("two")} if kind not in MAILS else {"a.pdf": pdf("1"), "b": pdf("2")}
        )
        file = put(tmp_path, MAKERS[kind](contents.items()))
        items = list(unfold(look_up(os.fspath(file)), Limits()))
        time = file.stat().st_mtime_ns
        assert items == [
            Document(f"{file}!/{name}", hashlib.sha256(content).hexdigest(), len(content), time, "pdf")
            for name, content in contents.items()
        ]
        for item in reversed(items):
            opened = open_document(item.path, item.reader, ReadOptions())
            assert opened.render(0).ink > 0.1
            opened.close()
            assert identify_at(look_up(item.path), Limits()) == item
            with on_the_disk(item.path) as path:
                assert Path(path).read_bytes() == contents[item.path.partition("!/")[2]]

    @pytest.mark.parametrize("kind", MAKERS)
    def test_containers_lie_in_one_another(self, tmp_path: Path, kind: str) -> None:
        """An archive in a mail in an archive is gone into, to the depth that is allowed and no further."""
        inside = zipped([("a.pdf", pdf())])
        file = put(tmp_path, MAKERS[kind]([("m", mailed([("z.zip", inside)]))]))
        assert told(file) == {"m!/z.zip!/a.pdf": "pdf"}
        assert told(file, depth=3) == {"m!/z.zip!/a.pdf": "pdf"}
        assert told(file, depth=2) == {"m!/z.zip": "too_large"}
        assert member_file(f"{file}!/m!/z.zip!/a.pdf", Limits()).size == len(pdf())
        with pytest.raises(DocumentError, match="--max-depth 2"):
            member_file(f"{file}!/m!/z.zip!/a.pdf", Limits(depth=2))

    @pytest.mark.parametrize("kind", MAKERS)
    def test_what_is_cut_is_read_or_a_failure(self, tmp_path: Path, kind: str) -> None:
        """Cut at every tenth, it gives members that are whole, and says that it is damaged."""
        files = [(f"{number}.pdf", pdf(random.Random(number).randbytes(900).hex())) for number in range(4)]
        whole = MAKERS[kind](files)
        hashes = {hashlib.sha256(content).hexdigest() for _, content in files}
        for tenth in range(1, 10):
            items = list(unfold(look_up(os.fspath(put(tmp_path, whole[: len(whole) * tenth // 10]))), Limits()))
            documents = [item for item in items if isinstance(item, Document)]
            if kind not in MAILS:  # a mail that was cut in an attachment is one that is shorter
                assert {item.sha256 for item in documents} <= hashes
                assert len(documents) == len(files) or any(isinstance(item, PageFailure) for item in items)

    @pytest.mark.parametrize("kind", MAKERS)
    def test_damage_ends_nothing(self, tmp_path: Path, kind: str) -> None:
        """Whatever bytes are changed, there are outcomes and no exception."""
        whole = MAKERS[kind]([("a.pdf", pdf("one")), ("b.pdf", pdf("two"))])
        for seed in range(40):
            chance, content = random.Random(seed), bytearray(whole)
            for _ in range(chance.choice((1, 3, 30))):
                content[chance.randrange(len(content))] = chance.randrange(256)
            for item in unfold(look_up(os.fspath(put(tmp_path, bytes(content)))), Limits(unpacked_bytes=1 << 24)):
                assert not isinstance(item, PageFailure) or item.kind in FAILURES

    @pytest.mark.parametrize("kind", MAKERS)
    def test_too_many_members_end_it(self, tmp_path: Path, kind: str) -> None:
        """Those that are allowed are read, then the file is a failure that says so."""
        file = put(tmp_path, MAKERS[kind]([(f"{number}.pdf", pdf(str(number))) for number in range(5)]))
        assert told(file, members=3) == {"0.pdf": "pdf", "1.pdf": "pdf", "2.pdf": "pdf", "": "too_large"}

    @pytest.mark.parametrize("kind", MAKERS)
    def test_large_members_are_refused(self, tmp_path: Path, kind: str) -> None:
        """A member above the largest file is a failure; its neighbours are read."""
        file = put(tmp_path, MAKERS[kind]([("a.pdf", pdf() + b"%" * 9000), ("b.pdf", pdf())]))
        assert told(file, file_bytes=5000) == {"a.pdf": "too_large", "b.pdf": "pdf"}

    @pytest.mark.parametrize("kind", MAKERS)
    def test_a_bomb_ends_it(self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """What unpacks to far more than it is, also in another container, is given up with a reason."""
        monkeypatch.setattr(contract, "_FLOOR", 1 << 20)
        bomb = zipped([(f"{number}.pdf", pdf() + bytes(1 << 20)) for number in range(9)])
        found = told(put(tmp_path, MAKERS[kind]([("bomb.zip", zipped([("in.zip", bomb)])), ("b.pdf", pdf())])))
        assert found[""] == "too_large"
        assert len(found) < 4
        if not kind.startswith(("tar.", "7z")):
            allowed = told(tmp_path / "x", unpacked_bytes=1 << 16)
            assert allowed[""] == "too_large"

    def test_an_empty_one_is_passed_over(self, tmp_path: Path) -> None:
        """An empty archive, and a mail with nothing but text; one that was named is a failure."""
        for content in (zipped([]), mailed()):
            found = look_up(os.fspath(put(tmp_path, content)))
            assert [item.kind for item in unfold(found, Limits())] == ["no_pages"]
        file = put(tmp_path, zipped([("empty.zip", zipped([])), ("m.eml", mailed())]))
        assert told(file) == {"empty.zip": EMPTY, "m.eml": EMPTY}


class TestNames:
    """No name of a member leads anywhere, and no two are the same."""

    @pytest.mark.parametrize(
        ("raw", "expected"),
        [
            ("../../etc/passwd", "__/__/etc/passwd"),
            ("/abs/a.pdf", "abs/a.pdf"),
            ("C:\\x\\a.pdf", "x/a.pdf"),
            ("a/./b//c.pdf", "a/b/c.pdf"),
            ("a\x00\x1b[31m\n.pdf", "a__[31m_.pdf"),
            ("\u202efdp.exe", "_fdp.exe"),
            ("foo!/a.pdf", "foo!_/a.pdf"),
            ("发票.pdf", "发票.pdf"),
            ("\udcff.pdf", "_.pdf"),
            ("..", "__"),
            ("//", ""),
        ],
    )
    def test_tricks(self, raw: str, expected: str) -> None:
        """Roots, drives, `..`, marks of containers and what cannot be shown."""
        assert safe(raw) == expected

    @given(st.lists(st.text(max_size=12) | st.sampled_from(["a.pdf", "a~2.pdf", "..", "x!/y"]), max_size=12))
    def test_any_names_become_different_places(self, raw: list[str]) -> None:
        """Each stays what it is when a path is made of it, and when that is taken apart."""
        names = Names()
        made = [names(name) for name in raw]
        assert len(set(made)) == len(made)
        for name in made:
            assert os.path.normpath(f"/x!/{name}") == f"/x!/{name}"
            assert "!/" not in name
            assert name.isprintable()

    def test_many_of_one_name_are_quick(self) -> None:
        """A directory of the same name again and again costs no square of its length."""
        names = Names()
        assert [names("a.pdf") for _ in range(50_000)][-1] == "a~50000.pdf"

    def test_the_same_name_twice(self, tmp_path: Path) -> None:
        """Both are documents, and each is found again."""
        for maker in (zipped, tarred, mailed):
            file = put(tmp_path, maker([("a.pdf", pdf("one")), ("a.pdf", pdf("other")), ("a~2.pdf", pdf("third"))]))
            items = list(unfold(look_up(os.fspath(file)), Limits()))
            assert [item.path.partition("!/")[2] for item in items] == ["a.pdf", "a~2.pdf", "a~2~2.pdf"]
            assert [identify_at(look_up(item.path), Limits()) for item in items] == items
            assert len({item.sha256 for item in items}) == 3

    def test_names_of_windows_and_china(self, tmp_path: Path) -> None:
        """Names in GBK without a word about it, as programs in China write them."""
        content = zipped([("XXXX.pdf", pdf()), ("YYYYYYYY.pdf", pdf("2"))])
        content = content.replace(b"XXXX", "发票".encode("gbk")).replace(b"YYYYYYYY", "采购合同".encode("gbk"))
        assert told(put(tmp_path, content)) == {"发票.pdf": "pdf", "采购合同.pdf": "pdf"}

    def test_a_folder_with_a_mark_in_its_name_is_a_folder(self, tmp_path: Path) -> None:
        """What is there under the very path is meant."""
        (tmp_path / "x.zip!").mkdir()
        file = put(tmp_path, pdf(), "x.zip!/a.pdf")
        put(tmp_path, zipped([("a.pdf", pdf())]), "x.zip")
        assert pieces(os.fspath(file)) == [os.fspath(file)]
        assert pieces(f"{tmp_path}/x.zip!/b.pdf!/c") == [f"{tmp_path}/x.zip", "b.pdf", "c"]
        assert outer(f"{tmp_path}/x.zip!/b.pdf") == f"{tmp_path}/x.zip"
        assert exists(f"{tmp_path}/x.zip!/b.pdf")
        assert not exists(f"{tmp_path}/y.zip!/b.pdf")
        assert holders("/a!/b!/c") == ["/a", "/a!/b"]


class TestZip:
    """What is special about ZIP."""

    def test_a_stored_pdf_makes_no_pdf_of_its_archive(self, tmp_path: Path) -> None:
        """The first member may be a PDF as it is; the archive is still one."""
        for maker in (lambda files: zipped(files, zipfile.ZIP_STORED), tarred):
            file = put(tmp_path, maker([("a.pdf", pdf()), ("b.pdf", pdf("2"))]))
            assert told(file) == {"a.pdf": "pdf", "b.pdf": "pdf"}
            assert identify(look_up(os.fspath(file)), Limits()).kind == "not_a_document"

    def test_members_with_a_password_are_encrypted(self, tmp_path: Path) -> None:
        """Of those the reason says what to do; the others are read."""
        content = bytearray(zipped([("a.pdf", pdf()), ("b.pdf", pdf("2"))]))
        for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            content[content.index(mark) + offset] |= 1
        file = put(tmp_path, bytes(content))
        assert told(file) == {"a.pdf": "encrypted", "b.pdf": "pdf"}
        assert "password" in identify_at(look_up(f"{file}!/a.pdf"), Limits()).message

    def test_an_unknown_method_is_a_failure(self, tmp_path: Path) -> None:
        """The reason names it."""
        content = bytearray(zipped([("a.pdf", pdf())]))
        for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
            content[content.index(mark) + offset] = 9
        file = put(tmp_path, bytes(content))
        (item,) = unfold(look_up(os.fspath(file)), Limits())
        assert (item.kind, "Deflate64" in item.message) == ("unreadable", True)

    def test_a_wrong_checksum_is_a_failure(self, tmp_path: Path) -> None:
        """A member whose content was changed is no document."""
        content = bytearray(zipped([("a.pdf", pdf())], zipfile.ZIP_STORED))
        content[content.index(b"0.1 g")] = ord("9")
        assert told(put(tmp_path, bytes(content))) == {"a.pdf": "unreadable"}

    def test_a_size_that_lies_costs_nothing(self, tmp_path: Path) -> None:
        """A directory that promises 4 GB, or little, is not believed."""
        content = bytearray(zipped([("a.pdf", pdf() + b"%" * 5000)]))
        at = content.index(b"PK\x01\x02") + 24
        content[at : at + 4] = b"\xf0\xff\xff\xff"
        assert told(put(tmp_path, bytes(content))) == {"a.pdf": "too_large"}
        content[at : at + 4] = (100).to_bytes(4, "little")
        assert told(put(tmp_path, bytes(content))) == {"a.pdf": "unreadable"}

    @pytest.mark.parametrize(
        ("names", "words"),
        [
            (["[Content_Types].xml", "_rels/.rels", "word/document.xml"], "Word"),
            (["[Content_Types].xml", "xl/workbook.xml"], "Excel"),
            (["[Content_Types].xml", "ppt/presentation.xml"], "PowerPoint"),
            (["mimetype", "content.xml", "META-INF/manifest.xml"], "OpenDocument"),
            (["OFD.xml", "Doc_0/Document.xml"], "OFD"),
            (["AndroidManifest.xml", "classes.dex"], "Android"),
            (["META-INF/MANIFEST.MF", "a/B.class"], "Java"),
        ],
    )
    def test_what_is_one_document_is_no_archive(self, tmp_path: Path, names: list[str], words: str) -> None:
        """Office files are named as what they are, and the pictures in them are no documents."""
        content = zipped(
            [*[(name, b"<x/>") for name in names], ("media/image1.png", b"\x89PNG\r\n\x1a\n"), ("a.pdf", pdf())]
        )
        file = put(tmp_path, content)
        (item,) = unfold(look_up(os.fspath(file)), Limits())
        assert item.kind == "not_a_document"
        assert words in item.message
        assert set(told(put(tmp_path, zipped([("in.docx", content)])))) == {"in.docx"}


class TestTar:
    """What is special about TAR."""

    def test_links_and_devices_lead_nowhere(self, tmp_path: Path) -> None:
        """They are passed over and counted."""
        file = put(tmp_path, tarred([("a.pdf", pdf())], [("passwd", "/etc/passwd"), ("b.pdf", "a.pdf")]))
        assert told(file) == {"a.pdf": "pdf", "passwd": "link", "b.pdf": "link"}
        with pytest.raises(DocumentError):
            member_file(f"{file}!/passwd", Limits())

    def test_a_damaged_header_is_told(self, tmp_path: Path) -> None:
        """What comes before is read; what comes after is not lost without a word."""
        content = bytearray(tarred([("a.pdf", pdf()), ("b.pdf", pdf("2"))]))
        at = content.index(b"b.pdf")
        content[at : at + 300] = os.urandom(300)
        assert told(put(tmp_path, bytes(content))) == {"a.pdf": "pdf", "": "unreadable"}

    def test_a_header_that_asks_for_the_memory_is_refused(self, tmp_path: Path) -> None:
        """A header for gigabytes of names is not read."""
        info = tarfile.TarInfo("././@PaxHeader")
        info.type, info.size = tarfile.XHDTYPE, 8 << 30
        found = told(put(tmp_path, tarred([("a.pdf", pdf())])[:-10240] + info.tobuf(tarfile.GNU_FORMAT) + bytes(9999)))
        assert found[""] in ("too_large", "unreadable")

    @pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
    def test_a_file_that_was_compressed_alone(self, tmp_path: Path, pack: object) -> None:
        """Its one member has its name without the suffix; two streams after each other are one file."""
        suffix = {gzip.compress: "gz", bz2.compress: "bz2", lzma.compress: "xz"}[pack]
        half = len(pdf()) // 2
        file = put(tmp_path, pack(pdf()[:half]) + pack(pdf()[half:]), f"a.pdf.{suffix}")
        (item,) = unfold(look_up(os.fspath(file)), Limits())
        assert (item.path, item.sha256) == (f"{file}!/a.pdf", hashlib.sha256(pdf()).hexdigest())


class TestMail:
    """What is special about mails and mailboxes."""

    def test_the_text_and_what_it_shows_are_no_attachments(self, tmp_path: Path) -> None:
        """A logo in the text and a signature are passed by; a picture that lies beside the text is an attachment."""
        png = b"\x89PNG\r\n\x1a\n" + bytes(40)
        message = EmailMessage()
        message["From"] = message["To"] = "a@example.org"
        message.set_content("hello")
        message.add_alternative("<img src='cid:logo'>", subtype="html")
        message.get_payload()[1].add_related(png, "image", "png", cid="<logo>")
        message.add_attachment(png, "image", "png", disposition="inline")
        message.add_attachment(b"x", "application", "pgp-signature", filename="signature.asc")
        assert told(put(tmp_path, bytes(message))) == {"part-4.png": "png"}

    def test_names_of_attachments_in_any_way(self, tmp_path: Path) -> None:
        """As RFC 2231 and RFC 2047 write them, as raw bytes, and none."""
        gbk = "发票".encode("gbk")
        parts = [
            b"Content-Disposition: attachment; filename*=utf-8''%E5%8F%91%E7%A5%A8.pdf",
            b'Content-Disposition: attachment; filename="=?utf-8?B?5ZCI5ZCM?=.pdf"',
            b'Content-Disposition: attachment; filename="' + gbk + b'3.pdf"',
            b"Content-Type: application/pdf",
        ]
        body = b"".join(b"--q\n" + part + b"\n\n" + pdf(str(n)) + b"\n" for n, part in enumerate(parts))
        head = b"From: a@b\nTo: c@d\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=q\n\n"
        found = told(put(tmp_path, head + body + b"--q--\n"))
        assert found == dict.fromkeys(["发票.pdf", "合同.pdf", "发票3.pdf", "part-4.pdf"], "pdf")

    def test_a_mail_in_a_mail_is_gone_into(self, tmp_path: Path) -> None:
        """A mail that was forwarded as an attachment, and one that is a file."""
        inside = EmailMessage()
        inside["From"] = inside["To"] = "a@example.org"
        inside.set_content("see below")
        inside.add_attachment(pdf(), "application", "pdf", filename="a.pdf")
        message = EmailMessage()
        message["From"] = message["To"] = "a@example.org"
        message.set_content("forwarded")
        message.add_attachment(inside)
        file = put(tmp_path, bytes(message))
        (item,) = unfold(look_up(os.fspath(file)), Limits())
        assert item.path == f"{file}!/part-2.eml!/a.pdf"
        assert identify_at(look_up(item.path), Limits()) == item

    @pytest.mark.parametrize("kind", ["multipart/encrypted", "application/pkcs7-mime"])
    def test_what_is_encrypted_says_so(self, tmp_path: Path, kind: str) -> None:
        """PGP and S/MIME."""
        content = f"From: a@b\nTo: c@d\nMIME-Version: 1.0\nContent-Type: {kind}; boundary=q\n\n--q\n\nx\n--q--\n"
        assert told(put(tmp_path, content.encode())) == {"": "encrypted"}

    def test_a_huge_mail_is_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It would be parsed in memory."""
        monkeypatch.setattr(mail, "MOST_MAIL_BYTES", 5000)
        assert told(put(tmp_path, mailed([("a.pdf", pdf() + b"%" * 9000)]))) == {"": "too_large"}

    def test_messages_are_known_by_where_they_begin(self, tmp_path: Path) -> None:
        """Each is found without those before it; what looks like a begin within a text is none."""
        text = "From here on it is text\nwithout a header\n\nFrom me\n\nto you"
        mails = [mailed([(f"{n}.pdf", pdf(str(n)))], text) if n != 2 else mailed() for n in range(5)]
        file = put(tmp_path, mailbox(mails))
        items = list(unfold(look_up(os.fspath(file)), Limits()))
        assert [type(item) for item in items] == [Document, Document, IgnoredFile, Document, Document]
        starts = [mailbox(mails[:n]) for n in range(5)]
        for number, item in enumerate(items):
            name = f"{number + 1}@{len(starts[number])}.eml"
            assert item.path == f"{file}!/{name}" + ("" if number == 2 else f"!/{number}.pdf")
        assert identify_at(look_up(items[4].path), Limits()) == items[4]
        put(tmp_path, mailbox(mails[1:]))
        assert identify_at(look_up(items[4].path), Limits()).kind == "unreadable"

    @pytest.mark.parametrize("piece", [1025, 4096, 1 << 20])
    def test_messages_are_found_across_pieces(
        self, tmp_path: Path, piece: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Wherever the pieces end in which a mailbox is read, its messages are found."""
        monkeypatch.setattr(mail, "CHUNK", piece)
        mails = [mailed([(f"{n}.pdf", pdf("y" * (n * 97)))]) for n in range(40)]
        found = told(put(tmp_path, mailbox(mails)))
        assert [name.rpartition("/")[2] for name in found] == [f"{n}.pdf" for n in range(40)]

    @pytest.mark.parametrize(
        "text",
        [
            b"Dear all,\n\nFrom: me\n",
            b"Subject: an essay\nBy: me\n\ntext",
            b"name: x\nversion: 1\n",
            b"From: <Saved by Blink>\nMIME-Version: 1.0\nSnapshot-Content-Location: https://x\n\n<html>",
            b"From the beginning\nit was: dark\n",
            b"",
        ],
    )
    def test_other_texts_are_no_mails(self, text: bytes) -> None:
        """Texts with colons, and pages that browsers saved."""
        assert kinds.container_kind(text) == ""


class TestSurroundings:
    """What lies around documents in archives."""

    def test_leftovers_and_what_is_excluded_are_passed_over(self, tmp_path: Path) -> None:
        """What macOS adds, hidden folders, and patterns, as below folders."""
        names = ["__MACOSX/._a.pdf", ".git/b.pdf", "Thumbs.db", "drafts/c.pdf", "x/d.tmp.pdf", "x/e.pdf"]
        file = put(tmp_path, zipped([(name, pdf(name)) for name in names]))
        found = unfold(look_up(os.fspath(file)), Limits(), exclude=("drafts", "*.tmp.pdf", "x/*.txt"))
        expected = ["leftover", "leftover", "leftover", "excluded", "excluded", "pdf"]
        assert [getattr(item, "kind", "") or item.reader for item in found] == expected

    def test_only_what_promises_a_document_is_a_failure(self, tmp_path: Path) -> None:
        """As beside them: texts in an archive are other files, what is not read is named, a PDF that is none fails."""
        files = [
            ("a.exe", b"MZ\0"),
            ("b.txt", b"x"),
            ("c.docx", b"x"),
            ("d.unknown", b"{\\rtf1"),
            ("e.pdf", b""),
            ("f.dat", b"\0"),
        ]
        expected = ["unread", "other", "unread", "unread", "not_a_document", "unread"]
        assert list(told(put(tmp_path, zipped(files))).values()) == expected

    def test_what_is_known_is_not_unpacked(self, tmp_path: Path) -> None:
        """Where times are trusted, a member with the size that is known is not read again."""
        file = put(tmp_path, zipped([("a.pdf", pdf()), ("b.pdf", pdf("2"))]))
        (first, second) = unfold(look_up(os.fspath(file)), Limits())
        asked = []

        def known(found: object) -> Document | None:
            asked.append(found.path)
            return first if found.path == first.path else None

        assert list(unfold(look_up(os.fspath(file)), Limits(), known)) == [first, second]
        assert asked == [os.fspath(file), first.path, second.path]

    @pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="Linux lists open files")
    def test_nothing_stays_open_or_on_the_disk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Copies of members have no names, and are gone with their last reader."""
        monkeypatch.setenv("TMPDIR", os.fspath(tmp_path / "tmp"))
        monkeypatch.setattr("tempfile.tempdir", None)
        (tmp_path / "tmp").mkdir()
        file = put(tmp_path, zipped([("in.zip", zipped([(f"{n}.pdf", pdf(str(n))) for n in range(9)]))]))
        before = len(os.listdir("/proc/self/fd"))
        for item in unfold(look_up(os.fspath(file)), Limits()):
            with contextlib.closing(open_document(item.path, item.reader, ReadOptions())) as opened:
                opened.render(0)
                assert os.listdir(tmp_path / "tmp") == []
        del opened
        assert len(os.listdir("/proc/self/fd")) <= before + 4
