"""Text of people's programs is read as it was meant, or refused, and never becomes other words without a line."""

import pytest

from embedpipe.core.encodings import decode
from embedpipe.core.errors import EmbedpipeError

GERMAN = ("Verträge", "Kündigung", "Größe", "Müßiggang", "Rücksendungen", "Übersicht", "Prüfbericht", "ÜBERGABE")
FRENCH = ("reçu", "été", "Élève", "lettre à envoyer", "pièce jointe", "créée", "où", "«devis»", "L’été")
SPANISH = ("año", "Información", "¿qué?", "señal")
NORDIC = ("blåbær", "Årsmøte", "räkning", "Hyväksyntä")
CHINESE = ("合同", "发票", "信函", "简历", "幻灯片", "扫描件", "鑫源公司发票", "报告（第一版）", "函")


def table(names: tuple[str, ...], separator: str = ";") -> str:
    """A small table as Excel writes it."""
    return "".join(
        f"{a}{separator}{b}\r\n" for a, b in [("path", "label"), *((f"{n}.pdf", k) for n, k in enumerate(names))]
    )


@pytest.mark.parametrize("names", [GERMAN, FRENCH, SPANISH, NORDIC, *((name,) for name in GERMAN + FRENCH + NORDIC)])
def test_western_text(names: tuple[str, ...]) -> None:
    """Windows-1252 is read as such, also where a single short name tells it."""
    text = table(names)
    if text.isascii():
        return
    read = decode(text.encode("cp1252"), "a.csv")
    assert (read.text, read.encoding, read.assumed) == (text, "Windows-1252", True)


@pytest.mark.parametrize("codec", ["gbk", "gb18030"])
@pytest.mark.parametrize("names", [CHINESE, *((name,) for name in CHINESE)])
def test_chinese_text(names: tuple[str, ...], codec: str) -> None:
    """What Excel saves in China is Chinese."""
    read = decode(table(names, ",").encode(codec), "a.csv")
    assert (read.text, read.encoding, read.assumed) == (table(names, ","), "GB18030", True)


@pytest.mark.parametrize("names", [GERMAN, FRENCH[:5]])
def test_text_of_a_mac(names: tuple[str, ...]) -> None:
    """What Excel saves on a Mac has letters where Windows-1252 has signs."""
    read = decode(table(names).encode("mac_roman"), "a.csv")
    assert (read.text, read.encoding) == (table(names), "Mac Roman")


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32", "utf-8"])
@pytest.mark.parametrize("names", [GERMAN, CHINESE, ("Договор", "Счёт"), ("x",)])
def test_marks_are_obeyed(names: tuple[str, ...], codec: str) -> None:
    """A mark at the begin says what follows, and nothing has to be assumed; nor where all is UTF-8."""
    read = decode(table(names).encode(codec), "a.csv")
    assert (read.text, read.assumed) == (table(names), False)
    assert codec.upper().removesuffix("-SIG") == read.encoding


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
def test_sixteen_bits_without_a_mark(codec: str) -> None:
    """The zero bytes of ASCII letters tell which half comes first."""
    read = decode(table(GERMAN).encode(codec), "a.csv")
    assert (read.text, read.encoding, read.assumed) == (table(GERMAN), "UTF-16", True)


@pytest.mark.parametrize("codec", ["cp1251", "koi8-r", "cp1253", "big5", "shift-jis", "euc-kr"])
def test_other_alphabets_are_refused(codec: str) -> None:
    """Encodings that are neither are refused with the number of the first line that is not UTF-8."""
    names = {
        **dict.fromkeys(("cp1251", "koi8-r"), ("Договор", "Счет", "Письмо")),
        "cp1253": ("Σύμβαση", "Τιμολόγιο"),
        "big5": ("發票", "合約書", "履歷表"),
        "shift-jis": ("請求書", "けいやく", "レポート"),
        "euc-kr": ("계약서", "이력서", "청구서", "보고서", "편지"),
    }[codec]
    with pytest.raises(EmbedpipeError, match=r"^a\.csv, line 2: not UTF-8.*save it as UTF-8"):
        decode(table(names).encode(codec), "a.csv")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("path;label\na;Verträge\nb;Kündigung\n".encode() + b"c;Gr\xf6\xdfe\n", "line 4: not UTF-8, which the rest is"),
        ("\ufeffpath\nä".encode("utf-16-le")[:-1], "line 2: damaged: it is not UTF-16"),
        (b"\xef\xbb\xbfpath\n\xe4\n", "line 2: damaged: it is not UTF-8"),
        (b"path\n\0\0\0\0\0", "line 2: holds zero bytes"),
    ],
)
def test_damage_is_named(content: bytes, complaint: str) -> None:
    """A file of two encodings, or one that ends within a letter, is refused, and the line named."""
    with pytest.raises(EmbedpipeError, match=complaint):
        decode(content, "a.csv")
