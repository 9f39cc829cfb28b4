"""Files that hold documents or pictures in formats that are not read: what people call them.

Decided by the suffix, else by what the content says: only their names are wanted, and nothing is opened.
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
    "iWork document": "pages numbers key",
    "WordPerfect document": "wpd",
    "e-mail": "emlx",
    "mail archive": "pst ost",
    "saved web page": "mht mhtml webarchive",
    "JPEG XL picture": "jxl",
    "raw photo": "cr2 cr3 nef arw dng orf rw2 raf",
    "PostScript file": "ps eps epsf",
    "Illustrator drawing": "ai",
    "InDesign document": "indd",
    "CAD drawing": "dwg dxf dgn",
    "signed file": "p7m p7s",
    "icon": "ico icns",
    "RAR archive": "rar",
    "Zstandard archive": "zst",
    "HWP document": "hwp hwpx",
    "Kindle book": "azw azw3",
}
_NAMES = {f".{suffix}": name for name, suffixes in _SUFFIXES.items() for suffix in suffixes.split()}


def format_of(name: str, words: str = "") -> str:
    """What people call a file, or its suffix where that is not known; "" for one that has none.

    Args:
        name: Of the file.
        words: What its content is, with an article, where that is known.
    """
    suffix = os.path.splitext(name)[1].lower()
    return named_format(name) or bare(words) or (f"{suffix} file" if suffix else "")


def named_format(name: str) -> str:
    """What people call a file by its suffix alone; "" where that is not known."""
    return _NAMES.get(os.path.splitext(name)[1].lower(), "")


def bare(words: str) -> str:
    """Words without their article."""
    return words.partition(" ")[2]


def counted(formats: Iterable[str]) -> dict[str, int]:
    """How many there are of each format, most first."""
    return dict(sorted(Counter(formats).items(), key=lambda pair: (-pair[1], pair[0])))


def in_words(counts: Mapping[str, int]) -> str:
    """Counts in words: "12 Word documents, 1 e-mail"."""
    return ", ".join(f"{count} {name}{'s' * (count != 1)}" for name, count in counts.items())
