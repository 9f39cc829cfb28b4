"""Fonts that pages of a PDF name and the file does not hold, and what MuPDF draws in their place."""

from typing import Any

import pymupdf

_mu = pymupdf.mupdf

CJK_FALLBACK = "Droid Sans Fallback"
"""The font within MuPDF that draws Chinese, Japanese and Korean letters which the file holds no font for."""

_MOST_FONTS = 200


def cjk_fallbacks(page: Any) -> list[str]:
    """Names of the fonts with many letters that a page names and the file does not hold.

    Args:
        page: The dictionary of a page, as `pdf_mending.page_object` gives it; what its forms name is not looked into.
    """
    resources = _mu.pdf_dict_get_inheritable(page, _mu.pdf_new_name("Resources"))
    fonts = _mu.pdf_dict_get(resources, _mu.pdf_new_name("Font"))
    found = dict[str, None]()
    for place in range(min(_mu.pdf_dict_len(fonts), _MOST_FONTS)):
        font = _mu.pdf_dict_get_val(fonts, place)
        below = _mu.pdf_array_get(_mu.pdf_dict_get(font, _mu.pdf_new_name("DescendantFonts")), 0)
        if not _mu.pdf_is_dict(below):
            continue
        told = _mu.pdf_dict_get(below, _mu.pdf_new_name("FontDescriptor"))
        files = (_mu.pdf_dict_get(told, _mu.pdf_new_name(key)) for key in ("FontFile", "FontFile2", "FontFile3"))
        if not any(_mu.pdf_is_stream(file) for file in files):
            found[str(_mu.pdf_to_name(_mu.pdf_dict_get(font, _mu.pdf_new_name("BaseFont"))))] = None
    return list(found)
