"""What MuPDF shows otherwise than other viewers, mended in memory before a page is drawn: boxes, layers, signatures.

The file is never changed.
"""

from collections.abc import Iterator
from typing import Any

import pymupdf

_mu = pymupdf.mupdf

_LETTER = (0.0, 0.0, 612.0, 792.0)
"""What PDF readers take for a page without a MediaBox: US Letter, in points."""

_CORNERS = 4
_LEAST_SIDE = 1.0
"""Points, below which MuPDF draws a page of one point."""

_HIDDEN = 2
"""Flag of an annotation that is neither shown nor printed."""

_DEEPEST = 32
_MOST_OBJECTS = 20_000

_NAMED = ("Properties", "XObject", "Pattern")
"""Resources in which layers may be named, by names of the page's own."""

_LEADING = ("Resources", "OC", "Annots", "AP", "N", *_NAMED)
"""Keys below which a page holds layers."""

Box = tuple[float, float, float, float]


def page_object(pdf: pymupdf.Document, index: int) -> Any:
    """The dictionary of a page; raises what MuPDF raises."""
    return _mu.pdf_lookup_page_obj(_mu.pdf_specifics(pdf.this), index)


def mend_boxes(page: Any) -> str:
    """Gives a page whose CropBox shows nothing its MediaBox, as other viewers do, and one without a MediaBox US Letter.

    The key is written, so that the page has to be loaded after that.

    Args:
        page: As `page_object` gives it.

    Returns:
        What was mended, or "".
    """
    told = []
    media = _box(page, "MediaBox")
    if media is None:
        media = _LETTER
        _put_box(page, "MediaBox", media)
        told.append("no usable MediaBox: drawn on US Letter")
    if _has(page, "CropBox"):
        crop = _box(page, "CropBox")
        if crop is None or not _has_area(_common(media, crop), media):
            _put_box(page, "CropBox", media)
            told.append("its CropBox shows nothing of the page: drawn by its MediaBox")
    return "; ".join(told)


def _has(page: Any, name: str) -> bool:
    return bool(_mu.pdf_is_array(_mu.pdf_dict_get_inheritable(page, _mu.pdf_new_name(name))))


def _box(page: Any, name: str) -> Box | None:
    """A box of a page, its own or inherited; None where it is missing, is not of four numbers, or has no area."""
    array = _mu.pdf_dict_get_inheritable(page, _mu.pdf_new_name(name))
    if not _mu.pdf_is_array(array) or _mu.pdf_array_len(array) != _CORNERS:
        return None
    items = [_mu.pdf_array_get(array, place) for place in range(_CORNERS)]
    if not all(_mu.pdf_is_number(item) for item in items):
        return None
    x0, y0, x1, y1 = (float(_mu.pdf_to_real(item)) for item in items)
    box = (min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))
    return box if box[2] > box[0] and box[3] > box[1] else None


def _common(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def _has_area(box: Box, within: Box) -> bool:
    """Whether a box can be drawn; that of a page that is smaller than a point itself need not be larger than it."""
    least = min(_LEAST_SIDE, within[2] - within[0], within[3] - within[1])
    return box[2] - box[0] >= least and box[3] - box[1] >= least


def _put_box(page: Any, name: str, box: Box) -> None:
    _mu.pdf_dict_put_rect(page, _mu.pdf_new_name(name), _mu.FzRect(*box))


def settle_layers(pdf: pymupdf.Document, page: Any) -> None:
    """Hides what an optional content membership hides, by its expression (/VE) or by its policy (/P).

    MuPDF reads no expressions, and takes AllOn for other than it is. So each membership below a page gets the simplest
    rule that comes to the same with the layers as they are.

    Args:
        pdf: The document.
        page: As `page_object` gives it.
    """
    states = _states(pdf)
    if not states:
        return
    for membership in _memberships(page):
        shown = _shown(membership, states)
        for name in ("VE", "OCGs", "P"):
            _mu.pdf_dict_del(membership, _mu.pdf_new_name(name))
        if not shown:  # a group that is on, where all have to be off, or one that is off, where any has to be on
            xref, on = next(iter(states.items()))
            group = _mu.pdf_new_indirect(_mu.pdf_specifics(pdf.this), xref, 0)
            _mu.pdf_dict_put(membership, _mu.pdf_new_name("OCGs"), group)
            _mu.pdf_dict_put(membership, _mu.pdf_new_name("P"), _mu.pdf_new_name("AllOff" if on else "AnyOn"))


def _shown(membership: Any, states: dict[int, bool]) -> bool:
    """Whether what belongs to a membership is seen: its expression counts before its policy (PDF 32000-1, 8.11.2.2)."""
    expression = _mu.pdf_dict_get(membership, _mu.pdf_new_name("VE"))
    if _mu.pdf_is_array(expression):
        return _value(expression, states, 0)
    groups = _mu.pdf_dict_get(membership, _mu.pdf_new_name("OCGs"))
    several = _mu.pdf_is_array(groups)
    members = [_mu.pdf_array_get(groups, place) for place in range(_mu.pdf_array_len(groups))] if several else [groups]
    on = [states[number] for member in members if (number := int(_mu.pdf_to_num(member))) in states]
    policy = _mu.pdf_to_name(_mu.pdf_dict_get(membership, _mu.pdf_new_name("P")))
    if not on:
        return True
    return {"AllOn": all(on), "AnyOff": not all(on), "AllOff": not any(on)}.get(policy, any(on))


def _states(pdf: pymupdf.Document) -> dict[int, bool]:
    """Whether each layer is on, by its number, as MuPDF draws it on a screen; `get_ocgs` tells every one as on."""
    document = _mu.pdf_specifics(pdf.this)
    root = _mu.pdf_dict_get(_mu.pdf_trailer(document), _mu.pdf_new_name("Root"))
    groups = _mu.pdf_dict_get(_mu.pdf_dict_get(root, _mu.pdf_new_name("OCProperties")), _mu.pdf_new_name("OCGs"))
    found = {}
    for place in range(_mu.pdf_array_len(groups)):
        group = _mu.pdf_array_get(groups, place)
        hidden = _mu.pdf_is_ocg_hidden(document, _mu.PdfResourceStack(), "View", group)
        found[int(_mu.pdf_to_num(group))] = not hidden
    return found


def hide_annotations(page: Any) -> None:
    """Marks what people put on a page as hidden, but for form fields; the page has to be loaded after that.

    Args:
        page: As `page_object` gives it.
    """
    for mark, kind in _marks(page):
        if kind != "Widget":
            _hide(mark)


def settle_signatures(page: Any) -> None:
    """Has fields for signatures that nobody has signed shown as they are stored; the page has to be loaded after that.

    MuPDF draws an arrow that says SIGN instead, which is in no file and which other viewers do not show.

    Args:
        page: As `page_object` gives it.
    """
    for mark, kind in _marks(page):
        field = _mu.pdf_to_name(_mu.pdf_dict_get_inheritable(mark, _mu.pdf_new_name("FT")))
        signed = _mu.pdf_is_dict(_mu.pdf_dict_get_inheritable(mark, _mu.pdf_new_name("V")))
        if kind != "Widget" or field != "Sig" or signed:
            continue
        if _mu.pdf_is_dict(_mu.pdf_dict_get(mark, _mu.pdf_new_name("AP"))):
            _mu.pdf_dict_put(mark, _mu.pdf_new_name("Subtype"), _mu.pdf_new_name("Stamp"))
        else:
            _hide(mark)


def _marks(page: Any) -> Iterator[tuple[Any, str]]:
    """Annotations and form fields of a page, each with its kind."""
    marks = _mu.pdf_dict_get(page, _mu.pdf_new_name("Annots"))
    for place in range(min(_mu.pdf_array_len(marks), _MOST_OBJECTS)):
        mark = _mu.pdf_array_get(marks, place)
        if _mu.pdf_is_dict(mark):
            yield mark, str(_mu.pdf_to_name(_mu.pdf_dict_get(mark, _mu.pdf_new_name("Subtype"))))


def _hide(mark: Any) -> None:
    flags = _mu.pdf_to_int(_mu.pdf_dict_get(mark, _mu.pdf_new_name("F")))
    _mu.pdf_dict_put_int(mark, _mu.pdf_new_name("F"), flags | _HIDDEN)


def hidden_layers(pdf: pymupdf.Document) -> list[str]:
    """Names of the layers that are not shown, as viewers open the document; raises what MuPDF raises."""
    names = {xref: str(group.get("name", "")) for xref, group in pdf.get_ocgs().items()}
    return [names.get(xref, "") or "unnamed" for xref, shown in _states(pdf).items() if not shown]


def _value(expression: Any, states: dict[int, bool], depth: int) -> bool:
    """Whether an expression is true: an array that begins with And, Or or Not, or a group."""
    if depth > _DEEPEST or not _mu.pdf_is_array(expression):
        return states.get(int(_mu.pdf_to_num(expression)), True)
    operator = _mu.pdf_to_name(_mu.pdf_array_get(expression, 0))
    places = range(1, _mu.pdf_array_len(expression))
    values = [_value(_mu.pdf_array_get(expression, place), states, depth + 1) for place in places]
    if operator == "Not":
        return not values[0] if values else True
    return any(values) if operator == "Or" else all(values)


def _memberships(page: Any) -> Iterator[Any]:
    """Optional content memberships in the resources and annotations of a page, nested ones too, each once."""
    pending, seen = [(page, False)], set[int]()
    while pending and len(seen) < _MOST_OBJECTS:
        value, named = pending.pop()
        number = int(_mu.pdf_to_num(value))
        if number in seen:
            continue
        seen |= {number} - {0}
        if _mu.pdf_is_array(value):
            pending += [(_mu.pdf_array_get(value, place), False) for place in range(_mu.pdf_array_len(value))]
        if not _mu.pdf_is_dict(value):
            continue
        if _mu.pdf_to_name(_mu.pdf_dict_get(value, _mu.pdf_new_name("Type"))) == "OCMD":
            yield value
            continue
        for place in range(_mu.pdf_dict_len(value)):
            key = _mu.pdf_to_name(_mu.pdf_dict_get_key(value, place))
            if named or key in _LEADING:
                pending.append((_mu.pdf_dict_get_val(value, place), key in (*_NAMED, "N")))
