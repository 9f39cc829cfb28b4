"""Small files of what MuPDF opens besides PDF, made by hand: nothing in the test tools writes them."""

import io
import struct
import zipfile
from collections.abc import Iterable

from PIL import Image

_OPC = "http://schemas.openxmlformats.org/package/2006"
_XPS = 'xmlns="http://schemas.microsoft.com/xps/2005/06"'
_TYPES = "application/vnd.ms-package.xps-fixed"
TEXT = "<p>Words of a book, again and again.</p>"


def zipped(files: Iterable[tuple[str, str | bytes]]) -> bytes:
    """A ZIP."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files:
            archive.writestr(name, content)
    return buffer.getvalue()


def xps(width: int = 200, height: int = 280) -> bytes:
    """One page with a dark bar over the upper two fifths."""
    kinds = {"fdseq": "documentsequence", "fdoc": "document", "fpage": "page"}
    types = "".join(f'<Default Extension="{key}" ContentType="{_TYPES}{name}+xml"/>' for key, name in kinds.items())
    relations = f'<Default Extension="rels" ContentType="{_OPC.replace("http://schemas.", "")}"/>'
    first = 'Id="R" Type="http://schemas.microsoft.com/xps/2005/06/fixedrepresentation" Target="/a.fdseq"'
    bar = f"M 0,0 L {width},0 L {width},{height * 2 // 5} L 0,{height * 2 // 5} Z"
    path = f'<Path Fill="#FF191919" Data="{bar}"/>'
    files = {
        "[Content_Types].xml": f'<Types xmlns="{_OPC}/content-types">{relations}{types}</Types>',
        "_rels/.rels": f'<Relationships xmlns="{_OPC}/relationships"><Relationship {first}/></Relationships>',
        "a.fdseq": f'<FixedDocumentSequence {_XPS}><DocumentReference Source="/a.fdoc"/></FixedDocumentSequence>',
        "a.fdoc": f'<FixedDocument {_XPS}><PageContent Source="/a.fpage"/></FixedDocument>',
        "a.fpage": f'<FixedPage {_XPS} Width="{width}" Height="{height}" xml:lang="en">{path}</FixedPage>',
    }
    return zipped(files.items())


def epub(paragraphs: int = 4, extra: Iterable[tuple[str, str]] = ()) -> bytes:
    """A book of one chapter."""
    names = 'version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container"'
    root = '<rootfile full-path="c.opf" media-type="application/oebps-package+xml"/>'
    manifest = '<manifest><item id="a" href="a.xhtml" media-type="application/xhtml+xml"/></manifest>'
    package = '<package xmlns="http://www.idpf.org/2007/opf" version="2.0"><metadata/>'
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": f"<container {names}><rootfiles>{root}</rootfiles></container>",
        "c.opf": f'{package}{manifest}<spine><itemref idref="a"/></spine></package>',
        "a.xhtml": f'<html xmlns="http://www.w3.org/1999/xhtml"><body>{TEXT * paragraphs}</body></html>',
    }
    return zipped([*files.items(), *extra])


def fb2(paragraphs: int = 4) -> bytes:
    """A book of one chapter."""
    body = f"<body><section>{TEXT * paragraphs}</section></body>"
    begin = '<?xml version="1.0" encoding="UTF-8"?>\n<!-- a book -->\n<FictionBook '
    return f'{begin}xmlns="http://www.gribuser.ru/xml/fictionbook/2.0">{body}</FictionBook>'.encode()


def mobi(paragraphs: int = 4) -> bytes:
    """A book of PalmDOC that is not compressed, as two records of a Palm database."""
    text = f"<html><body>{TEXT * paragraphs}</body></html>".encode()
    records = [struct.pack(">HHIHHHH", 1, 0, len(text), 1, 4096, 0, 0), text]
    head = b"book".ljust(32, b"\0") + bytes(28) + b"TEXtREAd" + struct.pack(">IIH", 0, 0, len(records))
    at, table = len(head) + 8 * len(records) + 2, b""
    for record in records:
        table += struct.pack(">II", at, 0)
        at += len(record)
    return head + table + bytes(2) + b"".join(records)


def svg(width: int = 200, height: int = 280, more: str = "") -> bytes:
    """One picture with a dark bar over the upper two fifths."""
    bar = f'<rect width="{width}" height="{height * 2 // 5}" fill="#191919"/>'
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f'<?xml version="1.0"?><svg {names} width="{width}" height="{height}">{bar}{more}</svg>'.encode()


def cbz(pictures: Iterable[Image.Image]) -> bytes:
    """A comic book of some pictures."""
    files: list[tuple[str, str | bytes]] = [("ComicInfo.xml", "<ComicInfo/>")]
    for number, picture in enumerate(pictures, 1):
        buffer = io.BytesIO()
        picture.save(buffer, "PNG")
        files.append((f"{number}.png", buffer.getvalue()))
    return zipped(files)
