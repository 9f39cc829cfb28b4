"""What the pages of a PDF call themselves (`iv`, `A-3`), by ISO 32000-2, 12.4.2.

PyMuPDF reads these rules as text and takes parts of them for others (findings/pymupdf-page-label-type.sh).
"""

from collections.abc import Iterator
from typing import Any

import pymupdf

_mu = pymupdf.mupdf

_MOST_NODES = 10_000
_DEEPEST = 32
_LARGEST = 9_999
"""A number above it is written in digits: as letters or in Roman numerals it would be as long as a line."""

_ROMAN = tuple(
    zip(
        ("m", "cm", "d", "cd", "c", "xc", "l", "xl", "x", "ix", "v", "iv", "i"),
        (1000, 900, 500, 400, 100, 90, 50, 40, 10, 9, 5, 4, 1),
        strict=True,
    )
)

Rule = tuple[str, str, int]
"""Prefix, style ("D", "r", "R", "a", "A", or "" for no number) and number of the first page of a range."""


def page_labels(pdf: pymupdf.Document, count: int) -> list[str]:
    """What the first pages call themselves.

    Args:
        pdf: The document.
        count: Of pages that are asked about.

    Returns:
        One label a page, their numbers where a range does not say anything; empty where the document has no labels.
    """
    root = _mu.pdf_dict_get(_mu.pdf_trailer(_mu.pdf_specifics(pdf.this)), _mu.pdf_new_name("Root"))
    rules = dict(_rules(_mu.pdf_dict_get(root, _mu.pdf_new_name("PageLabels"))))
    if not rules:
        return []
    labels, begin = [], 0
    for page in range(count):
        begin = page if page in rules else begin
        prefix, style, first = rules.get(begin, ("", "D", 1))
        labels.append(prefix + _number(first + page - begin, style))
    return labels


def _rules(tree: Any) -> Iterator[tuple[int, Rule]]:
    """The rules of a number tree, by the index of their first page."""
    waiting, seen = [(tree, 0)], 0
    while waiting and seen < _MOST_NODES:
        node, depth = waiting.pop()
        seen += 1
        kids = _mu.pdf_dict_get(node, _mu.pdf_new_name("Kids"))
        if depth < _DEEPEST:
            waiting += [(_mu.pdf_array_get(kids, place), depth + 1) for place in range(_mu.pdf_array_len(kids))]
        numbers = _mu.pdf_dict_get(node, _mu.pdf_new_name("Nums"))
        for place in range(0, min(_mu.pdf_array_len(numbers), 2 * _MOST_NODES) - 1, 2):
            rule = _mu.pdf_array_get(numbers, place + 1)
            if _mu.pdf_is_dict(rule):
                yield int(_mu.pdf_array_get_int(numbers, place)), _rule(rule)


def _rule(rule: Any) -> Rule:
    prefix = str(_mu.pdf_to_text_string(_mu.pdf_dict_get(rule, _mu.pdf_new_name("P"))))
    style = str(_mu.pdf_to_name(_mu.pdf_dict_get(rule, _mu.pdf_new_name("S"))))
    return prefix, style, max(1, int(_mu.pdf_dict_get_int_default(rule, _mu.pdf_new_name("St"), 1)))


def _number(number: int, style: str) -> str:
    if not style:
        return ""
    if number > _LARGEST or style not in ("r", "R", "a", "A"):
        return str(number)
    if style in ("a", "A"):  # Z, AA, BB, ..., ZZ, AAA
        text = chr(ord("a") + (number - 1) % 26) * ((number - 1) // 26 + 1)
    else:
        text = ""
        for digits, value in _ROMAN:
            text += digits * (number // value)
            number %= value
    return text.upper() if style in ("R", "A") else text
