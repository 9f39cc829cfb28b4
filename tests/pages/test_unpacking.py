"""7-Zip archives, Outlook mails, files attached to PDFs, members with passwords, beyond what all containers share."""

import io
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import py7zr
import pymupdf
import pytest
import pyzipper
from ole_files import compound, outlook_mail
from pages.test_containers import MAKERS, mailed, pdf, put, sevenzipped, zipped

from embedpipe.commands.terminal.options import Reading
from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Document, PageFailure
from embedpipe.pages import guarding
from embedpipe.pages.containers import archives, kinds, sharing, unpacking
from embedpipe.pages.containers.contract import Allowance
from embedpipe.pages.documents import Limits, ReadOptions, open_document
from embedpipe.pages.unfolding import Item, identify_at, look_up, unfold

MEMORY = 1 << 28


def found(file: Path, **limits: object) -> dict[str, str]:
    """What became of each member by its name, as `test_containers.told` with limits of any kind."""
    told = {}
    for item in unfold(look_up(os.fspath(file)), Limits(**limits)):
        path = item.page.source if isinstance(item, PageFailure) else item.path
        told[path.removeprefix(os.fspath(file)).removeprefix("!/")] = (
            item.reader if isinstance(item, Document) else item.kind
        )
    return told


def items(file: Path, **limits: object) -> list[Item]:
    """The same as they are."""
    return list(unfold(look_up(os.fspath(file)), Limits(**limits)))


class TestGuard:
    """What takes too long or too much ends its process, and not this one."""

    @pytest.mark.parametrize(
        ("function", "arguments", "kind"),
        [
            (time.sleep, (9,), "timeout"),
            (bytearray, (600 << 20,), "memory"),
            (os._exit, (3,), "crash"),
        ],
    )
    def test_what_is_too_much_is_an_outcome(self, function, arguments: tuple[int, ...], kind: str) -> None:
        """The next call finds a process again."""
        with pytest.raises(DocumentError) as caught:
            guarding.guarded(function, arguments, 0.5, MEMORY)
        assert caught.value.kind == kind
        assert guarding.guarded(abs, (-3,), 20, MEMORY) == 3
        guarding.stop()

    def test_a_worker_calls_by_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One that may be killed anyway needs no other process."""
        monkeypatch.setattr(guarding, "_capped", True)
        assert guarding.guarded(os.getpid, (), 9, MEMORY) == os.getpid()


class TestSevenZip:
    """What is special about 7-Zip."""

    @pytest.mark.parametrize("names", [False, True])
    def test_passwords_are_tried(self, tmp_path: Path, names: bool) -> None:
        """Also where they hide the names; without the right one the archive is encrypted."""
        file = put(tmp_path, sevenzipped([("a.pdf", pdf()), ("b.pdf", pdf("2"))], "s3cret", names=names))
        assert found(file) == {"": "encrypted"}
        assert found(file, passwords=("no",)) == {"": "encrypted"}
        assert found(file, passwords=("no", "s3cret")) == {"a.pdf": "pdf", "b.pdf": "pdf"}
        options = ReadOptions(passwords=("s3cret",))
        assert open_document(f"{file}!/b.pdf", "pdf", options).page_count == 1

    def test_folders_and_empty_files(self, tmp_path: Path) -> None:
        """Folders are none, and a file without content is one that is none."""
        file = put(tmp_path, sevenzipped([("in/a.pdf", pdf()), ("in/empty.pdf", b""), ("in/deep/b.pdf", pdf("2"))]))
        assert found(file) == {"in/a.pdf": "pdf", "in/empty.pdf": "not_a_document", "in/deep/b.pdf": "pdf"}

    def test_names_that_lead_out_refuse_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The library does not unpack such an archive, and nothing is written."""
        monkeypatch.setattr("py7zr.py7zr.check_archive_path", lambda _: True)
        file = put(tmp_path, sevenzipped([("../../out.pdf", pdf())]))
        assert found(file) == {"": "unreadable"}
        assert not (tmp_path.parent / "out.pdf").exists()

    def test_members_before_the_damage_are_read(self, tmp_path: Path) -> None:
        """Of a block with damage in its middle; the damaged member and the archive are failures."""
        buffer = io.BytesIO()
        contents = [os.urandom(3000).hex() for _ in range(5)]
        with py7zr.SevenZipFile(buffer, "w", filters=[{"id": py7zr.FILTER_COPY}]) as archive:
            for number, text in enumerate(contents):
                archive.writestr(pdf(text), f"{number}.pdf")
        content = buffer.getvalue().replace(contents[2][:50].encode(), b"-" * 50)
        told = found(put(tmp_path, content))
        assert (told["0.pdf"], told["1.pdf"], told["2.pdf"], told[""]) == ("pdf", "pdf", "unreadable", "unreadable")

    def test_without_the_library_it_says_what_is_missing(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The archive is not damaged."""
        monkeypatch.setattr(unpacking, "is_capped", lambda: True)
        monkeypatch.setitem(sys.modules, "embedpipe.pages.containers.sevenzip", None)
        (item,) = items(put(tmp_path, sevenzipped([("a.pdf", pdf())])))
        assert (item.kind, "extra archives" in item.message) == ("needs_converter", True)


class TestOutlook:
    """What is special about mails of Outlook."""

    def test_mails_in_mails(self, tmp_path: Path) -> None:
        """They are members by their subjects, with what is attached to them, however deep."""
        inner = outlook_mail([("发票.pdf", pdf("2"))], p0037="Re: a/b")
        middle = outlook_mail([("in", inner), ("b.pdf", pdf("3"))], p0037="Fwd")
        file = put(
            tmp_path, compound(outlook_mail([("a.pdf", pdf()), ("m", middle), ("e.eml", mailed([("c", pdf("4"))]))]))
        )
        expected = {"a.pdf", "Fwd.eml!/Re: a_b.eml!/发票.pdf", "Fwd.eml!/b.pdf", "e.eml!/c"}
        assert found(file) == dict.fromkeys(expected, "pdf")
        for item in items(file):
            assert identify_at(look_up(item.path), Limits()) == item

    def test_what_is_not_attached_for_its_own_sake(self, tmp_path: Path) -> None:
        """Pictures of the text, links to files and objects of the text are no documents; what is lost is a failure."""
        tree = dict(
            outlook_mail([("logo.png", pdf()), ("link.pdf", pdf("2")), ("object", pdf("3")), ("lost.pdf", b"")])
        )
        numbers = {0: (0x3714, 4), 1: (0x3705, 2), 2: (0x3705, 6)}
        for n, (key, value) in numbers.items():
            part = tree[f"__attach_version1.0_#{n:08X}"]
            entry = b"\3\0" + key.to_bytes(2, "little") + bytes(4) + value.to_bytes(4, "little") + bytes(4)
            part["__properties_version1.0"] = bytes(8) + entry
        tree["__attach_version1.0_#00000000"] |= {
            "__substg1.0_370E001F": "image/png".encode("utf-16-le"),
            "__substg1.0_3712001F": "x@y".encode("utf-16-le"),
        }
        del tree["__attach_version1.0_#00000003"]["__substg1.0_37010102"]
        assert found(put(tmp_path, compound(tree))) == {"link.pdf": "link", "lost.pdf": "unreadable"}

    @pytest.mark.parametrize(
        ("kind", "told"), [("IPM.Note.SMIME", {"": "encrypted"}), ("IPM.Note", {"smime.p7m!/a.pdf": "pdf"})]
    )
    def test_sealed_and_signed_ones(self, tmp_path: Path, kind: str, told: dict[str, str]) -> None:
        """What is encrypted as a whole is an outcome; what is signed is gone into."""
        signed = mailed([("a.pdf", pdf())])
        assert found(put(tmp_path, compound(outlook_mail([("smime.p7m", signed)], p001A=kind)))) == told

    def test_other_files_of_the_kind_are_no_mails(self, tmp_path: Path) -> None:
        """An old Word document begins as these mails do, alone and in an archive."""
        word = compound({"WordDocument": b"x" * 5000})
        assert found(put(tmp_path, word)) == {"": "not_a_document"}
        assert found(put(tmp_path, zipped([("a.doc", word)]))) == {"a.doc": "unread"}

    def test_an_empty_one_is_a_mail_without_attachments(self, tmp_path: Path) -> None:
        """As others are."""
        (item,) = items(put(tmp_path, compound(outlook_mail([]))))
        assert (item.kind, "mail without attachments" in item.message) == ("no_pages", True)


def carrier(password: str = "") -> bytes:
    """A PDF with files: by the document with a name that leads out, by a page, the same again, and one beside it."""
    with pymupdf.open() as document:
        page = document.new_page()
        page.add_file_annot((9, 9), pdf("2"), "b.pdf")
        once = document.xref_get_key(page.xref, "Annots")[1].strip("[]")
        document.xref_set_key(page.xref, "Annots", f"[{once} {once}]")
        document.embfile_add("x", pdf("3"), filename="../发票.pdf", ufilename="../发票.pdf")
        document.embfile_add("z", zipped([("c.pdf", pdf("4"))]), filename="c.zip", ufilename="c.zip")
        sealed = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "user_pw": password, "owner_pw": password}
        return bytes(document.tobytes(**(sealed if password else {})))


class TestAttachedToPdfs:
    """Files in PDFs are looked into where that is asked for."""

    MEMBERS = dict.fromkeys(("", "__/发票.pdf", "b.pdf", "c.zip!/c.pdf"), "pdf")

    def test_they_are_members_on_request(self, tmp_path: Path) -> None:
        """The PDF is a document with or without; a path that names one needs no option."""
        file = put(tmp_path, carrier())
        assert found(file) == {"": "pdf"}
        assert found(file, attachments=True) == self.MEMBERS
        for item in items(file, attachments=True):
            assert identify_at(look_up(item.path), Limits()) == item

    def test_in_other_containers(self, tmp_path: Path) -> None:
        """As deep as is allowed."""
        file = put(tmp_path, zipped([("d/a.pdf", carrier()), ("plain.pdf", pdf())]))
        inside = {f"d/a.pdf!/{name}".removesuffix("!/"): kind for name, kind in self.MEMBERS.items()}
        assert found(file, attachments=True) == inside | {"plain.pdf": "pdf"}
        told = list(items(file, attachments=True, depth=1))
        assert [getattr(item, "kind", "pdf") for item in told] == ["pdf", "too_large", "pdf"]

    def test_the_option_asks_for_them(self, tmp_path: Path) -> None:
        """With the passwords, which are never shown."""
        (tmp_path / "p").write_text("s3cret", encoding="utf-8")
        limits = Reading(attachments=True, password_file=tmp_path / "p").settings().limits
        assert (limits.attachments, limits.passwords) == (True, ("s3cret",))
        assert "s3cret" not in repr(limits)
        assert not Reading().settings().limits.attachments

    def test_with_a_password(self, tmp_path: Path) -> None:
        """Without it the pages tell that it is encrypted, and nothing is told twice."""
        file = put(tmp_path, carrier("s3cret"))
        assert found(file, attachments=True) == {"": "pdf"}
        assert found(file, attachments=True, passwords=("s3cret",)) == self.MEMBERS

    def test_an_unchanged_pdf_is_gone_into_as_well(self, tmp_path: Path) -> None:
        """Where times are trusted, its members are looked up too."""
        file = put(tmp_path, carrier())
        by_path = {item.path: item for item in items(file, attachments=True)}
        again = list(unfold(look_up(os.fspath(file)), Limits(attachments=True), lambda one: by_path.get(one.path)))
        assert [item.path for item in again] == list(by_path)

    def test_a_damaged_pdf_is_told_once(self, tmp_path: Path) -> None:
        """By its pages."""
        assert found(put(tmp_path, b"%PDF-1.7 nothing"), attachments=True) == {"": "pdf"}


def sealed_zip(password: bytes, content: bytes) -> bytes:
    """A ZIP with one member in the old encryption, which Python reads and nothing in the test tools writes."""
    plain = zipped([("a.pdf", content)], zipfile.ZIP_STORED)
    info = zipfile.ZipFile(io.BytesIO(plain)).infolist()[0]
    out, keys = bytearray(), _Keys(password)
    for value in bytes(11) + bytes([info.CRC >> 24]) + content:
        out.append(keys.sealed(value))
    head, tail = plain.index(content), plain.index(b"PK\x01\x02")
    made = bytearray(plain[:head] + bytes(out) + plain[tail:])
    for mark, flag, size in ((b"PK\x03\x04", 6, 18), (b"PK\x01\x02", 8, 20)):
        at = made.index(mark)
        made[at + flag] |= 1
        made[at + size : at + size + 4] = len(out).to_bytes(4, "little")
    end = made.index(b"PK\x05\x06")
    made[end + 16 : end + 20] = (tail + 12).to_bytes(4, "little")
    return bytes(made)


class _Keys:
    """The cipher of PKZIP (APPNOTE 6.1)."""

    def __init__(self, password: bytes) -> None:
        self.keys = [0x12345678, 0x23456789, 0x34567890]
        for value in password:
            self._turn(value)

    @staticmethod
    def _crc(value: int, byte: int) -> int:
        return zipfile.crc32(bytes([byte]), value ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    def _turn(self, value: int) -> None:
        a, b, c = self.keys
        a = self._crc(a, value)
        b = ((b + (a & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        self.keys = [a, b, self._crc(c, b >> 24)]

    def sealed(self, value: int) -> int:
        """A byte as it is stored."""
        mask = self.keys[2] | 2
        stored = value ^ (((mask * (mask ^ 1)) >> 8) & 0xFF)
        self._turn(value)
        return stored


class TestZipPasswords:
    """Members of ZIP files that are packed with a password."""

    def test_the_old_encryption(self, tmp_path: Path) -> None:
        """The right one of many is found, also where another seems right by the one byte that tells."""
        file = put(tmp_path, sealed_zip(b"s3cret", pdf()))
        assert found(file) == {"a.pdf": "encrypted"}
        many = [f"w{number}" for number in range(900)]
        assert found(file, passwords=("s3cret",)) == {"a.pdf": "pdf"}
        with zipfile.ZipFile(file) as archive:
            seeming = [word for word in many if _seems_right(archive, word)]
        assert seeming
        assert found(file, passwords=(*many, "s3cret")) == {"a.pdf": "pdf"}
        assert identify_at(look_up(f"{file}!/a.pdf"), Limits(passwords=("s3cret",))).reader == "pdf"

    @pytest.mark.parametrize("password", ["s3cret", "密码"])
    def test_aes(self, tmp_path: Path, password: str) -> None:
        """As WinZip and 7-Zip write it, with each member's own password."""
        buffer = io.BytesIO()
        with pyzipper.AESZipFile(buffer, "w", pyzipper.ZIP_DEFLATED, encryption=pyzipper.WZ_AES) as archive:
            for number, word in enumerate((password, "other")):
                archive.setpassword(word.encode())
                archive.writestr(f"{number}.pdf", pdf(word))
        file = put(tmp_path, buffer.getvalue())
        assert found(file) == {"0.pdf": "encrypted", "1.pdf": "encrypted"}
        assert found(file, passwords=("x", password)) == {"0.pdf": "pdf", "1.pdf": "encrypted"}
        assert found(file, passwords=("x", password, "other")) == {"0.pdf": "pdf", "1.pdf": "pdf"}

    def test_aes_without_the_library(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """It says what to install."""
        buffer = io.BytesIO()
        with pyzipper.AESZipFile(buffer, "w", encryption=pyzipper.WZ_AES) as archive:
            archive.setpassword(b"x")
            archive.writestr("a.pdf", pdf())
        monkeypatch.setitem(sys.modules, "pyzipper", None)
        (item,) = items(put(tmp_path, buffer.getvalue()), passwords=("x",))
        assert (item.kind, "extra archives" in item.message) == ("needs_converter", True)


def _seems_right(archive: zipfile.ZipFile, word: str) -> bool:
    try:
        archive.open("a.pdf", pwd=word.encode()).close()
    except RuntimeError:
        return False
    return True


def test_a_member_that_is_copied_to_be_looked_into_counts_once(tmp_path: Path) -> None:
    """What is hashed afterwards was unpacked before."""
    large = pdf() + os.urandom(200_000)
    told = found(put(tmp_path, zipped([("a.pdf", large)])), unpacked_bytes=300_000, attachments=True)
    assert told == {"a.pdf": "pdf"}


def test_a_file_without_a_number_is_unpacked_as_well() -> None:
    """As those of object storage are."""
    for kind, content in ((kinds.SEVENZIP, sevenzipped([("a.pdf", pdf())])), (kinds.PDF, carrier())):
        container = unpacking.unpacked(cast("BinaryIO", io.BytesIO(content)), kind, Allowance(len(content), Limits()))
        assert "a.pdf" in {member.name for member in container} or kind == kinds.PDF
        container.close()


class TestSharing:
    """What this process unpacks as a whole, its workers find."""

    @pytest.fixture
    def shared(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
        """Copies of any size are shared; the place of the list."""
        monkeypatch.setattr(sharing, "_LEAST_BYTES", 1)
        place = sharing.place()
        if not place:
            pytest.skip("the system shows no open files of other processes")
        yield place
        sharing.follow("")
        sharing.clear()

    @pytest.mark.parametrize("kind", ["7z", "tar.gz"])
    def test_a_worker_finds_it(self, tmp_path: Path, shared: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the same members, and without unpacking it; where the archive is another one by now, it unpacks."""
        file = put(tmp_path, MAKERS[kind]([("a.pdf", pdf()), ("b.pdf", pdf("2"))]))
        here = items(file)
        sharing.follow(shared)
        monkeypatch.setattr(unpacking, "guarded", None)
        monkeypatch.setattr(archives, "copied", None)
        assert items(file) == here
        with open(file, "rb") as source:
            copy, _ = sharing.find(source) or pytest.fail("it is not shared")
            copy.close()
        file.write_bytes(MAKERS[kind]([("c.pdf", pdf("3"))]))
        with open(file, "rb") as source:
            assert sharing.find(source) is None

    def test_a_number_that_means_another_file_is_noticed(self, tmp_path: Path, shared: str) -> None:
        """And copies that are let go are not looked for."""
        file = put(tmp_path, MAKERS["tar.gz"]([("a.pdf", pdf())]))
        items(file)
        (number, _) = next(iter(sharing._shared.copies.values()))
        os.pwrite(number, b"x" * 16, os.fstat(number).st_size - 16)
        sharing.follow(shared)
        assert found(file) == {"a.pdf": "pdf"}
        with open(file, "rb") as source:
            assert sharing.find(source) is None
        sharing.clear()
        with open(file, "rb") as source:
            assert sharing.find(source) is None

    def test_no_more_is_kept_than_is_allowed(self, tmp_path: Path, shared: str) -> None:
        """The first ones go; what lies in another file is not shared."""
        for number in range(12):
            items(put(tmp_path, MAKERS["tar.gz"]([(f"{number}.pdf", pdf(str(number)))]), f"{number}"))
        assert len(sharing._shared.copies) == 8
        with open(tmp_path / "0", "rb") as first, open(tmp_path / "11", "rb") as last:
            sharing.follow(shared)
            assert sharing.find(first) is None
            copy, _ = sharing.find(last) or pytest.fail("it is not shared")
            copy.close()
        sharing.follow("")
        sharing.clear()
        items(put(tmp_path, zipped([("in.tar.gz", MAKERS["tar.gz"]([("a.pdf", pdf())]))])))
        assert not sharing._shared.copies
