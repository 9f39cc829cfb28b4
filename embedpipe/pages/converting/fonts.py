"""Which fonts a document names, as far as its XML tells: LibreOffice takes others without a word."""

import contextlib
import re
import zipfile
import zlib

_NAMES = re.compile(
    rb"(?:w:(?:ascii|hAnsi|eastAsia)|typeface|FontName|(?:style|svg|fo):font-(?:name|family)"
    rb'|<(?:\w+:)?(?:name|rFont) val)="([^"]{1,100})"'
)
"""Of Word (`w:rFonts`), of PowerPoint and its themes (`typeface`), of Excel (`<name val=`), OpenDocument, and OFD."""

_WHERE = re.compile(
    r"(?:word/(?:document|styles)|ppt/slides/slide\d+|xl/styles|content|styles|(?:.*/)?(?:PublicRes|DocumentRes))\.xml"
)
_MOST_FILES, _MOST_BYTES = 50, 16 * 1024**2


def named_fonts(path: str) -> list[str]:
    """Fonts that an Office or OFD document names, in the order met; those of old binary formats are not known."""
    found = dict[str, None]()
    unreadable = (OSError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, LookupError, ValueError)
    with contextlib.suppress(*unreadable), zipfile.ZipFile(path) as archive:
        for info in [info for info in archive.infolist() if _WHERE.fullmatch(info.filename)][:_MOST_FILES]:
            with archive.open(info) as file:
                for name in _NAMES.findall(file.read(_MOST_BYTES)):
                    text = name.decode("utf-8", "replace").replace("&apos;", "").strip("'")
                    if not text.startswith("+"):  # a place in the theme
                        found[text] = None
    return list(found)
