"""Files that hold documents or pictures in formats that are not read: what people call them.

Decided by the suffix, else by the first bytes: only their names are wanted, and nothing is opened.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping

_SUFFIXES = {
    "Word document": "doc docx docm dot dotx dotm",
    "Excel workbook": "xls xlsx xlsm xlsb xlt xltx",
    "PowerPoint presentation": "ppt pptx pptm pps ppsx pot potx",
    "Publisher document": "pub",
    "Visio drawing": "vsd vsdx",
    "OneNote section": "one",
    "OpenDocument file": "odt ods odp odg ott fodt fods",
    "RTF document": "rtf",
    "WPS document": "wps wpt et ett dps dpt",
    "OFD document": "ofd",
    "CAJ document": "caj kdh nh",
    "iWork document": "pages numbers key",
    "WordPerfect document": "wpd",
    "e-mail": "eml emlx msg oft",
    "mail archive": "mbox pst ost",
    "saved web page": "mht mhtml webarchive",
    "e-book": "epub mobi azw azw3 fb2",
    "DjVu document": "djvu djv",
    "XPS document": "xps oxps",
    "HEIC picture": "heic heif hif",
    "AVIF picture": "avif",
    "JPEG 2000 picture": "jp2 jpx j2k jpf",
    "JPEG XL picture": "jxl",
    "raw photo": "cr2 cr3 nef arw dng orf rw2 raf",
    "Photoshop picture": "psd psb",
    "SVG drawing": "svg svgz",
    "PostScript file": "ps eps epsf",
    "Illustrator drawing": "ai",
    "InDesign document": "indd",
    "CAD drawing": "dwg dxf dgn",
    "signed file": "p7m p7s",
    "icon": "ico icns",
}
_NAMES = {f".{suffix}": name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}
_BEGINS = (
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "Office document"),
    (b"{\\rtf", "RTF document"),
    (b"AT&TFORM", "DjVu document"),
    (b"%!PS", "PostScript file"),
    (b"8BPS", "Photoshop picture"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000 picture"),
)
_HEIF = {b"heic": "HEIC picture", b"heix": "HEIC picture", b"mif1": "HEIC picture", b"avif": "AVIF picture"}


def format_of(name: str, head: bytes) -> str:
    """What people call a file, or its suffix where that is not known; "" for one that has none.

    Args:
        name: Of the file.
        head: Its first bytes.
    """
    suffix = os.path.splitext(name)[1].lower()
    if suffix in _NAMES:
        return _NAMES[suffix]
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF:
        return _HEIF[head[8:12]]
    known = next((what for begin, what in _BEGINS if head.startswith(begin)), "")
    return known or (f"{suffix} file" if suffix else "")


def counted(formats: Iterable[str]) -> dict[str, int]:
    """How many there are of each format, most first."""
    return dict(sorted(Counter(formats).items(), key=lambda pair: (-pair[1], pair[0])))


def in_words(counts: Mapping[str, int]) -> str:
    """Counts in words: "12 Word documents, 1 e-mail"."""
    return ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
