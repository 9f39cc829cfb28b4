"""The table of all layouts, and `draw_samples`, which draws and saves documents of them."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from embedpipe.core.errors import UnknownNameError
from embedpipe.samples import books, forms, invoices, letters, papers, resumes, slides
from embedpipe.samples.pen import Pen
from embedpipe.samples.scanning import SCAN_DPI, choose_edge, scan
from embedpipe.samples.words import Author

LAYOUTS: dict[str, tuple[Callable[[Author], Pen], ...]] = {
    "paper": (papers.conference, papers.preprint, papers.journal),
    "book": (books.novel, books.textbook, books.verse),
    "resume": (resumes.sidebar, resumes.classic, resumes.timeline, resumes.table),
    "invoice": (invoices.fapiao, invoices.table, invoices.receipt),
    "slides": (slides.plain, slides.dark, slides.sidebar),
    "letter": (letters.business, letters.centred, letters.notice),
    "form": (forms.boxes, forms.table, forms.survey),
}
"""Each layout lays one document out, in the words of its author."""

SAMPLE_TYPES: tuple[str, ...] = tuple(LAYOUTS)

SCAN_EVERY = 5
"""One document in so many is a scan."""


def _save(pen: Pen, stem: Path, *, scanned: bool) -> Path:
    """Write a document as PDF, or as the images of its scan."""
    if not scanned:
        path = stem.with_suffix(".pdf")
        pen.document.save(path, deflate=True, no_new_id=True)  # a new id would make the bytes differ from run to run
        return path
    path = stem.with_suffix(".tif" if pen.number > 1 else pen.rng.choice((".jpg", ".png")))
    color = path.suffix != ".png" and pen.rng.random() < 0.7  # noise in colour makes a PNG slow and large
    edge = choose_edge(pen.rng)
    first, *others = [scan(pen.rng, page, color=color, edge=edge) for page in pen.document.pages()]
    if others:
        first.save(path, save_all=True, append_images=others, compression="jpeg", quality=75, dpi=(SCAN_DPI, SCAN_DPI))
    else:
        first.save(path, quality=80, compress_level=3, dpi=(SCAN_DPI, SCAN_DPI))
    return path


def draw_samples(folder: Path, *, per_type: int = 8, seed: int = 0, types: Sequence[str] = SAMPLE_TYPES) -> list[Path]:
    """Draw documents of several types, in English and Chinese, about one in five of them as a scan.

    Args:
        folder: Where they go, as `<type>/<type>-<nn>.<suffix>`.
        per_type: How many documents of each type.
        seed: Another seed gives other documents; the same one gives the same.
        types: Which of `SAMPLE_TYPES` to draw.

    Returns:
        The paths of the documents, sorted.

    Raises:
        UnknownNameError: One of `types` is none; nothing was drawn.
    """
    for kind in types:
        if kind not in LAYOUTS:
            raise UnknownNameError("sample type", kind, SAMPLE_TYPES)
    paths = []
    for kind in types:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        layouts = LAYOUTS[kind]
        for number in range(per_type):
            rng = random.Random(f"{seed}/{kind}/{number}")
            turn, place = divmod(number, len(layouts))
            pen = layouts[place](Author(rng, ("en", "zh")[(turn + place) % 2]))  # each layout comes in both languages
            pen.flush()
            scanned = (number + SAMPLE_TYPES.index(kind)) % SCAN_EVERY == SCAN_EVERY - 1
            paths.append(_save(pen, folder / kind / f"{kind}-{number:02}", scanned=scanned))
            pen.document.close()
    return sorted(paths)
