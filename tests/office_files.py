"""Small Office and OFD documents, and a program that stands in the place of LibreOffice."""

import io
import zipfile
from pathlib import Path

import pymupdf

_TYPES = "http://schemas.openxmlformats.org/package/2006/content-types"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORD = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
_DRAWING = "http://schemas.openxmlformats.org/drawingml/2006"

PICTURE = (
    '<w:p><w:r><w:drawing><wp:inline><wp:extent cx="3000000" cy="3000000"/><wp:docPr id="1" name="x"/><a:graphic>'
    f'<a:graphicData uri="{_DRAWING}/picture"><pic:pic><pic:nvPicPr><pic:cNvPr id="0" name="x"/><pic:cNvPicPr/>'
    '</pic:nvPicPr><pic:blipFill><a:blip r:link="rId5"/><a:stretch><a:fillRect/></a:stretch></pic:blipFill><pic:spPr>'
    '<a:xfrm><a:off x="0" y="0"/><a:ext cx="3000000" cy="3000000"/></a:xfrm><a:prstGeom prst="rect"/></pic:spPr>'
    "</pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
)


def zipped(files: dict[str, str | bytes]) -> bytes:
    """A ZIP of files that are stored as they are, so that a program finds words in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name), content)  # of no time: the same bytes each time
    return buffer.getvalue()


def docx(text: str = "Rechnung", font: str = "SimSun", linked: str = "") -> bytes:
    """A Word document with a paragraph, and a picture that lies elsewhere."""
    spaces = f'xmlns:w="{_WORD}" xmlns:r="{_OFFICE}" xmlns:a="{_DRAWING}/main" xmlns:pic="{_DRAWING}/picture"'
    spaces += f' xmlns:wp="{_DRAWING}/wordprocessingDrawing"'
    run = f'<w:rPr><w:rFonts w:ascii="{font}" w:eastAsia="{font}"/><w:sz w:val="60"/></w:rPr><w:t>{text}</w:t>'
    body = f"<w:p><w:r>{run}</w:r></w:p>{PICTURE if linked else ''}<w:sectPr/>"
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": f'<Types xmlns="{_TYPES}"><Default Extension="xml" ContentType="application/xml"/>'
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{main}"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1" Type="{_OFFICE}/officeDocument"'
        ' Target="word/document.xml"/></Relationships>',
        "word/document.xml": f"<w:document {spaces}><w:body>{body}</w:body></w:document>",
    }
    if linked:
        files["word/_rels/document.xml.rels"] = (
            f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId5" Type="{_OFFICE}/image" Target="{linked}"'
            ' TargetMode="External"/></Relationships>'
        )
    return zipped(files)


def doc(stream: str = "WordDocument", text: str = "") -> bytes:
    """What an old Office document begins with, and its directory with the name of a stream."""
    head = bytearray(512)
    head[:8] = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
    head[30] = 9
    return bytes(head) + f"{stream}\0".encode("utf-16-le").ljust(1024, b"\0") + text.encode()


def ofd(text: str = "电子发票", font: str = "宋体") -> bytes:
    """An OFD document by GB/T 33190 with a line of text, a frame, and nothing else."""
    space = 'xmlns:ofd="http://www.ofdspec.org/2016"'
    step = "4 " * (len(text) - 1)
    return zipped(
        {
            "OFD.xml": f'<ofd:OFD {space} Version="1.0" DocType="OFD"><ofd:DocBody><ofd:DocInfo>'
            "<ofd:DocID>1</ofd:DocID></ofd:DocInfo><ofd:DocRoot>Doc_0/Document.xml</ofd:DocRoot></ofd:DocBody></ofd:OFD>",
            "Doc_0/Document.xml": f"<ofd:Document {space}><ofd:CommonData><ofd:MaxUnitID>9</ofd:MaxUnitID>"
            "<ofd:PageArea><ofd:PhysicalBox>0 0 210 140</ofd:PhysicalBox></ofd:PageArea>"
            "<ofd:PublicRes>PublicRes.xml</ofd:PublicRes></ofd:CommonData><ofd:Pages>"
            '<ofd:Page ID="1" BaseLoc="Pages/Page_0/Content.xml"/></ofd:Pages>'
            "</ofd:Document>",
            "Doc_0/PublicRes.xml": f'<ofd:Res {space} BaseLoc="Res"><ofd:Fonts><ofd:Font ID="3" FontName="{font}"'
            f' FamilyName="{font}"/></ofd:Fonts></ofd:Res>',
            "Doc_0/Pages/Page_0/Content.xml": f"<ofd:Page {space}><ofd:Area><ofd:PhysicalBox>0 0 210 140"
            '</ofd:PhysicalBox></ofd:Area><ofd:Content><ofd:Layer ID="4"><ofd:PathObject ID="5" Boundary="10 40 190 80"'
            ' LineWidth="0.5"><ofd:AbbreviatedData>M 0 0 L 190 0 L 190 80 L 0 80 C</ofd:AbbreviatedData>'
            '</ofd:PathObject><ofd:TextObject ID="6" Boundary="80 10 100 8" Font="3" Size="4"><ofd:TextCode X="0" Y="4"'
            f' DeltaX="{step.strip()}">{text}</ofd:TextCode></ofd:TextObject></ofd:Layer></ofd:Content></ofd:Page>',
        }
    )


FAKE = """#!/bin/sh
[ "$1" = --version ] && { echo "Fake Office 7.$(cat version 2>/dev/null || echo 1)"; exit 0; }
here=$(dirname "$0")
echo "$1" >> "$here/calls"
if grep -q HANGS "$1"; then sleep 60 & echo $! > "$here/child"; wait; fi
if grep -q WAITS "$1"; then while [ ! -e "$here/go" ]; do sleep 0.05; done; fi
if grep -q EATS "$1"; then head -c 400000000 /dev/zero | tail >/dev/null; exit 1; fi
if grep -q CRASHES "$1"; then kill -SEGV $$; fi
if grep -q FAILS "$1"; then echo "Error: source file could not be loaded"; exit 0; fi
if grep -q LIES "$1"; then echo "no PDF" > "$2"; exit 0; fi
if grep -q LINKS "$1"; then ln -s "$here/one.pdf" "$2"; exit 0; fi
cp "$here/one.pdf" "$2"
"""

SEVERAL = """#!/bin/sh
here=$(dirname "$0")
out=$1; shift
echo "$#" >> "$here/calls"
for file in "$@"; do
  if grep -q CRASHES "$file"; then kill -SEGV $$; fi
  if grep -q FAILS "$file"; then continue; fi
  cp "$here/one.pdf" "$out/$(basename "$file" .docx).pdf"
done
"""


def fake_office(folder: Path) -> Path:
    """Makes a program that makes the same PDF of any document, unless that says otherwise; and its `readers.toml`."""
    folder.mkdir(parents=True, exist_ok=True)
    with pymupdf.open() as document:
        document.new_page(width=200, height=280).draw_rect((20, 20, 180, 60), fill=(0, 0, 0))
        document.save(folder / "one.pdf")
    (folder / "fake").write_text(FAKE)
    (folder / "fake").chmod(0o755)
    lines = [
        "[office]",
        f'command = ["{folder}/fake", "{{input}}", "{{output}}"]',
        f'version = ["{folder}/fake", "--version"]',
        'made_by = "Fake Office"',
    ]
    (folder / "readers.toml").write_text("\n".join(lines))
    return folder / "readers.toml"


def calls(folder: Path) -> int:
    """How often the program ran."""
    return len((folder / "calls").read_text().splitlines()) if (folder / "calls").exists() else 0
