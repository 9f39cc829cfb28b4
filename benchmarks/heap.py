"""Draws a heap of documents of many formats, loose and in containers of all kinds, and checks that no file is lost.

    python benchmarks/heap.py FOLDER --count 1000

FOLDER is made. The documents differ from one another; each is drawn, stored in one of the formats, and put beside the
others, or into an archive, a mail, a mailbox or a PDF. Among them are copies, damaged and encrypted files, empty ones,
and files that are no documents. Then `embed` is run twice on the folder. Prints a Markdown table of what there is
and of what became of it, and fails where the counts do not add up.
"""

import bz2
import io
import json
import random
import struct
import subprocess
import sys
import tarfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable
from email.message import EmailMessage
from pathlib import Path
from typing import Annotated, Any

import py7zr
import pymupdf
import pyzipper
import typer
from PIL import Image, ImageDraw
from psd_tools import PSDImage

PASSWORD = "s3cret"  # noqa: S105 - of the heap
WORDS = [
    "invoice",
    "letter",
    "report",
    "total",
    "page",
    "name",
    "of",
    "the",
    "and",
    "for",
    "with",
    "date",
    "number",
    "order",
    "price",
    "thanks",
    "regards",
]


def text(number: int) -> str:
    """A text that no other document has."""
    chance = random.Random(number)
    return f"Document {number}. " + " ".join(chance.choice(WORDS) for _ in range(90))


def drawn(number: int) -> Image.Image:
    """A page with a text on it."""
    image = Image.new("RGB", (595, 842), "white")
    pen, words = ImageDraw.Draw(image), text(number).split()
    for line in range(0, len(words), 7):
        pen.text((60, 60 + 3 * line), " ".join(words[line : line + 7]), fill=(20, 20, 60))
    pen.rectangle((60, 500, 60 + number % 400, 560), fill=(30, 30, 30 + number % 200))
    return image


def pdf(number: int, attached: dict[str, bytes] | None = None, password: str = "") -> bytes:
    """Three pages of text, with files that are attached."""
    with pymupdf.open() as document:
        for page in range(3):
            document.new_page().insert_textbox((60, 60, 500, 800), f"{text(number)} {page}")
        for name, content in (attached or {}).items():
            document.embfile_add(name, content, filename=name, ufilename=name)
        sealed: dict[str, Any] = {"encryption": pymupdf.PDF_ENCRYPT_AES_256, "user_pw": password, "owner_pw": password}
        return bytes(document.tobytes(**(sealed if password else {})))


def picture(kind: str, **options: Any) -> Callable[[int], bytes]:
    """A writer of pictures in a format of Pillow."""

    def made(number: int) -> bytes:
        buffer = io.BytesIO()
        drawn(number).save(buffer, kind, **options)
        return buffer.getvalue()

    return made


def tiff(number: int) -> bytes:
    """Two pages of one bit."""
    buffer = io.BytesIO()
    pages = [drawn(number).convert("1"), drawn(number + 1).convert("1")]
    pages[0].save(buffer, "TIFF", save_all=True, append_images=pages[1:], compression="group4")
    return buffer.getvalue()


def psd(number: int) -> bytes:
    """A picture of Photoshop."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        PSDImage.frompil(drawn(number)).save(buffer)
    return buffer.getvalue()


def djvu(number: int) -> bytes:
    """A page whose picture is stored as a JPEG."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return name + struct.pack(">I", len(content)) + content + b"\0" * (len(content) % 2)

    info = struct.pack(">HHBB", 595, 842, 24, 0) + struct.pack("<H", 72) + bytes([22, 1])
    return b"AT&T" + chunk(b"FORM", b"DJVU" + chunk(b"INFO", info) + chunk(b"BGjp", picture("JPEG")(number)))


def zipped(files: dict[str, bytes]) -> bytes:
    """A ZIP."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def epub(number: int) -> bytes:
    """A book."""
    names = 'version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"'
    root = '<rootfile full-path="c.opf" media-type="application/oebps-package+xml"/>'
    items = '<manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
    package = f'<package xmlns="http://www.idpf.org/2007/opf" version="2.0"><metadata/>{items}'
    chapter = f'<html xmlns="http://www.w3.org/1999/xhtml"><body><p>{text(number)}</p></body></html>'
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": f"<container {names}><rootfiles>{root}</rootfiles></container>",
        "c.opf": f'{package}<spine><itemref idref="a"/></spine></package>',
        "a.xhtml": chapter,
    }
    return zipped({name: content.encode() for name, content in files.items()})


def fb2(number: int) -> bytes:
    """A book."""
    names = 'xmlns="http://www.gribuser.ru/xml/fictionbook/2.0"'
    return f"<FictionBook {names}><body><section><p>{text(number)}</p></section></body></FictionBook>".encode()


def svg(number: int) -> bytes:
    """A drawing."""
    shapes = "".join(f'<rect x="{20 + n * 30}" y="{(number * n) % 300}" width="20" height="60"/>' for n in range(9))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="300" height="400">{shapes}<text>{number}</text></svg>'.encode()
    )


FORMATS: dict[str, Callable[[int], bytes]] = {
    "pdf": pdf,
    "png": picture("PNG"),
    "jpg": picture("JPEG", quality=80),
    "tif": tiff,
    "gif": picture("GIF"),
    "webp": picture("WEBP"),
    "bmp": picture("BMP"),
    "jp2": picture("JPEG2000"),
    "avif": picture("AVIF"),
    "psd": psd,
    "djvu": djvu,
    "cbz": lambda number: zipped({"1.jpg": picture("JPEG")(number), "ComicInfo.xml": b"<ComicInfo/>"}),
    "epub": epub,
    "fb2": fb2,
    "svg": svg,
    "txt": lambda number: text(number).encode(),
}


def tarred(files: dict[str, bytes], mode: str) -> bytes:
    """A TAR."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def seven(files: dict[str, bytes], password: str | None = None) -> bytes:
    """A 7-Zip archive."""
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", password=password, filters=None) as archive:
        for name, content in files.items():
            archive.writestr(content, name)
    return buffer.getvalue()


def sealed(files: dict[str, bytes]) -> bytes:
    """A ZIP with a password."""
    buffer = io.BytesIO()
    with pyzipper.AESZipFile(buffer, "w", encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(PASSWORD.encode())
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def mail(files: dict[str, bytes]) -> bytes:
    """A mail with attachments."""
    message = EmailMessage()
    message["From"] = message["To"] = "a@example.org"
    message.set_content("as attached")
    for name, content in files.items():
        message.add_attachment(content, "application", "octet-stream", filename=name)
    return bytes(message)


def mailbox(files: dict[str, bytes]) -> bytes:
    """A mailbox with a mail for each file."""
    mails = [mail({name: content}) for name, content in files.items()]
    return b"".join(b"From a@example.org Thu Jan  1 00:00:00 1970\n" + one + b"\n" for one in mails)


CONTAINERS: dict[str, Callable[[dict[str, bytes]], bytes]] = {
    "zip": zipped,
    "tar": lambda files: tarred(files, "w"),
    "tar.gz": lambda files: tarred(files, "w:gz"),
    "tar.bz2": lambda files: bz2.compress(tarred(files, "w")),
    "7z": seven,
    "locked.7z": lambda files: seven(files, PASSWORD),
    "locked.zip": sealed,
    "eml": mail,
    "mbox": mailbox,
    "mail.zip": lambda files: zipped({"mail.eml": mail(files)}),
    "carrier.pdf": lambda files: pdf(10**6, files),
}


def fill(folder: Path, count: int) -> Counter[str]:
    """Writes the heap; how many files there are of each kind, each member being one."""
    chance, planned = random.Random(1), Counter[str]()
    documents: list[tuple[str, bytes]] = []
    for number in range(count):
        suffix = list(FORMATS)[number % len(FORMATS)]
        documents.append((f"{number}.{suffix}", FORMATS[suffix](number)))
        planned["documents"] += 1
    for n in range(count // 20):
        name, content = documents[chance.randrange(count)]
        documents.append((f"copy-{n}-{name}", content))
        planned["copies"] += 1
    for n in range(count // 50):
        documents.append((f"damaged-{n}.pdf", b"%PDF-1.7 nothing " + bytes([n % 256])))
        documents.append((f"damaged-{n}.png", FORMATS["png"](n)[: 200 + n]))
        documents.append((f"unknown-password-{n}.pdf", pdf(-n, password="other")))  # noqa: S106
        documents.append((f"empty-{n}.jpg", b""))
        planned["damaged, encrypted or empty"] += 4
        documents += [(f"table-{n}.csv", b"a,b\n%d,2\n" % n), (f"letter-{n}.docx", b"PK\3\4 no")]
        planned["no documents"] += 2
    chance.shuffle(documents)
    folder.mkdir(parents=True)
    loose, rest = documents[: len(documents) // 3], documents[len(documents) // 3 :]
    for name, content in loose:
        (folder / name).write_bytes(content)
    share = -(-len(rest) // len(CONTAINERS))
    for n, (suffix, pack) in enumerate(CONTAINERS.items()):
        part = dict(rest[n * share : (n + 1) * share])
        (folder / f"box-{n}.{suffix}").write_bytes(pack(part))
    planned["documents"] += 1  # the PDF that carries the others
    (folder.parent / "passwords.txt").write_text(PASSWORD, encoding="utf-8")
    return planned


def embed(folder: Path) -> dict[str, Any]:
    """Runs `embed` on the heap."""
    options = ["--artifacts", folder.parent / "artifacts", "--attachments", "--text-files", "--json"]
    options += ["--password-file", folder.parent / "passwords.txt"]
    program = Path(__file__).resolve().parents[1] / "cli.py"
    command = [sys.executable, str(program), "embed", str(folder), *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout:
        raise SystemExit(done.stderr)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def main(folder: Path, count: Annotated[int, typer.Option(help="Documents.")] = 1000) -> None:
    """Draws the heap, embeds it twice, and prints what became of it."""
    planned = fill(folder / "heap", count)
    told: list[dict[str, Any]] = []
    for _ in range(2):
        begin = time.perf_counter()
        told.append(embed(folder / "heap") | {"clock": time.perf_counter() - begin})
    names = ("files", "documents", "duplicates", "ignored", "failed_files", "members", "pages", "embedded", "skipped")
    print("| | planned | first run | second run |\n| --- | --- | --- | --- |")
    for name in names:
        print(f"| {name} | | {told[0][name]} | {told[1][name]} |")
    print(f"| seconds | | {told[0]['clock']:.0f} | {told[1]['clock']:.0f} |")
    for name, number in planned.items():
        print(f"| {name} | {number} | | |")
    print("\n", told[0]["outcomes"], told[0]["unread"], told[0]["others"])
    for one in told:
        parts = ("documents", "duplicates", "same_files", "ignored", "failed_files")
        assert one["files"] == sum(one[part] for part in parts)
        assert one["files"] == planned.total()
        assert one["documents"] - one["failed_pages"] == planned["documents"]
        assert one["failed"] == planned["damaged, encrypted or empty"]
        assert one["ignored"] == planned["no documents"]
        assert one["duplicates"] == planned["copies"]
    assert told[1]["embedded"] == 0


if __name__ == "__main__":
    typer.run(main)
