"""Chooses the thresholds of `dedupe` on generated pairs of pages, and measures them on other documents.

    python benchmarks/duplicates.py DOCUMENTS --labels LABELS.csv --artifacts DIR

DOCUMENTS are real documents; LABELS.csv has the columns path,label,group. Pages are saved again, scanned twice, and
filled differently: forms and bills that are drawn with other values, and real pages with other numbers written into
free places. Half of the groups of documents are for choosing, the other half for measuring. Prints Markdown tables: how
many pairs pass each of the three steps (cosine, likeness of sketches, agreement of pictures), what other thresholds
would give on the half for choosing, and what `dedupe` as a whole makes of the other half.
"""

import csv
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pymupdf
import typer
from PIL import Image, ImageFilter

from embedpipe import Workspace, embed, load_backbone
from embedpipe.embedding.streaming import render_pages
from embedpipe.index.page_index import fresh_index
from embedpipe.index.same_page.agreement import SAME_PICTURE, SIZE, agreement, contrast
from embedpipe.index.same_page.sketches import overlay, sketch
from embedpipe.index.same_page.verification import LIKELY
from embedpipe.samples import Author
from embedpipe.samples.drawing import LAYOUTS
from embedpipe.samples.scanning import choose_edge, scan
from embedpipe.tasks.dedupe import CANDIDATE, find

SAME, OTHER = "same", "other"
LEVELS = {"cosine": CANDIDATE, "likeness": LIKELY, "agreement": SAME_PICTURE}


class Refilled(Author):
    """Invents the same form as another author of the same random numbers, with other names, dates and figures."""

    def __init__(self, rng: random.Random, language: str, values: random.Random) -> None:
        super().__init__(rng, language)
        self._values = Author(values, language)

    def name(self) -> str:
        """Another name."""
        return self._values.name()

    def date(self) -> str:
        """Another date."""
        return self._values.date()

    def digits(self, count: int) -> str:
        """Other digits."""
        return self._values.digits(count)

    def address(self) -> str:
        """Another address."""
        return self._values.address()

    def goods(self, count: int) -> tuple[list[list[str]], float]:
        """Other goods, as many."""
        return self._values.goods(count)


@dataclass(frozen=True)
class Pair:
    """Two files of one page each, and whether they show the same page."""

    kind: str
    truth: str
    first: str
    second: str


class Measured(NamedTuple):
    """What the three steps say of a pair."""

    cosine: float
    likeness: float
    agreement: float


def skewed(page: pymupdf.Page, rng: random.Random) -> Image.Image:
    """A scan: turned by 0.4 to 1.4 degrees, noisy, unevenly lit."""
    return scan(rng, page, color=rng.random() < 0.5, edge=choose_edge(rng))  # noqa: PLR2004


def poor(page: pymupdf.Page, rng: random.Random) -> Image.Image:
    """A poor scan: also moved and scaled by up to 3 %, blurred, with more noise."""
    image = skewed(page, rng).convert("L").filter(ImageFilter.GaussianBlur(rng.uniform(0.2, 0.7)))
    zoom = rng.uniform(0.97, 1.03)
    right, down = ((side * (1 - zoom) / 2 + side * rng.uniform(-0.03, 0.03)) for side in image.size)
    image = image.transform(
        image.size, Image.Transform.AFFINE, (zoom, 0, right, 0, zoom, down), Image.Resampling.BICUBIC, fillcolor=235
    )
    noise = np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(4, 12), (image.height, image.width))
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def saved(page: pymupdf.Page, rng: random.Random) -> Image.Image:
    """Saved again, at 72 to 150 dpi."""
    pixmap = page.get_pixmap(dpi=rng.randint(72, 150))
    return Image.frombytes("RGB", (pixmap.width, pixmap.height), pixmap.samples)


def turned(page: pymupdf.Page, rng: random.Random) -> Image.Image:
    """Saved again, and turned by 1 degree."""
    return saved(page, rng).rotate(rng.choice((-1, 1)), Image.Resampling.BICUBIC, fillcolor=(255, 255, 255))


def keep(image: Image.Image, file: Path, rng: random.Random) -> str:
    """Writes a JPEG of quality 40 to 90; returns the file's name."""
    image.save(file, quality=rng.randint(40, 90))
    return file.name


def alone(page: pymupdf.Page, file: Path) -> str:
    """Writes a page as a PDF of its own."""
    with pymupdf.open() as document:
        document.insert_pdf(page.parent, from_page=page.number, to_page=page.number)
        document.save(file, no_new_id=True)
    return file.name


def copies(page: pymupdf.Page, folder: Path, stem: str) -> Iterator[Pair]:
    """A page four times over: pairs that `dedupe` should find."""
    rng = random.Random(stem)
    original = alone(page, folder / f"{stem}.pdf")
    again = keep(saved(page, rng), folder / f"{stem}-saved.jpg", rng)
    at_one_degree = keep(turned(page, rng), folder / f"{stem}-turned.jpg", rng)
    one, two = (keep(skewed(page, rng), folder / f"{stem}-scan{n}.jpg", rng) for n in (1, 2))
    bad = keep(poor(page, rng), folder / f"{stem}-poor.jpg", rng)
    yield Pair("saved again", SAME, original, again)
    yield Pair("saved again, turned by 1 degree", SAME, original, at_one_degree)
    yield Pair("two scans", SAME, one, two)
    yield Pair("a scan and a poor scan", SAME, one, bad)
    yield Pair("a PDF and its scan", SAME, original, one)


def differing(kind: str, pages: list[pymupdf.Page], folder: Path, stem: str) -> Iterator[Pair]:
    """Two pages that are not the same, as they are and scanned: pairs that `dedupe` must not find."""
    rng = random.Random(stem)
    yield Pair(kind, OTHER, *(alone(page, folder / f"{stem}-{n}.pdf") for n, page in enumerate(pages)))
    yield Pair(
        f"{kind}, scanned",
        OTHER,
        *(keep(skewed(page, rng), folder / f"{stem}-{n}-scan.jpg", rng) for n, page in enumerate(pages)),
    )


def drawn(folder: Path, half: int, count: int) -> Iterator[Pair]:
    """Forms and bills, each drawn twice with other values."""
    layouts = [layout for kind in ("form", "invoice") for layout in LAYOUTS[kind]]
    for number in range(count):
        layout, language = layouts[number % len(layouts)], ("en", "zh")[number // len(layouts) % 2]
        seed = f"{half}/{number}"
        pens = [layout(Refilled(random.Random(seed), language, random.Random(f"{seed}/{n}"))) for n in range(2)]
        for pen in pens:
            pen.flush()
        pages = [pen.document[0] for pen in pens]
        pictures = [page.get_pixmap(dpi=50).samples for page in pages]
        if pages[0].rect == pages[1].rect and pictures[0] != pictures[1]:  # no value may have been asked for
            yield from differing("drawn, filled differently", pages, folder, f"drawn{number}")


def free_places(page: pymupdf.Page, rng: random.Random, count: int) -> list[pymupdf.Point]:
    """Some places on a page with nothing on them, wide enough for a number."""
    pixmap = page.get_pixmap(dpi=72, colorspace=pymupdf.csGRAY)
    grey = np.frombuffer(pixmap.samples, np.uint8).reshape(pixmap.height, pixmap.width)
    found = []
    for _ in range(400):
        x, y = rng.uniform(0.1, 0.75) * page.rect.width, rng.uniform(0.1, 0.9) * page.rect.height
        here = grey[int(y) - 12 : int(y) + 4, int(x) - 2 : int(x) + 62]
        if here.size and here.min() > 200 and all(abs(y - other.y) > 16 for other in found):  # noqa: PLR2004
            found.append(pymupdf.Point(x, y))
        if len(found) == count:
            break
    return found


def filled(path: Path, folder: Path, stem: str) -> Iterator[Pair]:
    """The first page of a real document, with one to four numbers written into free places; all differ, or one does."""
    rng = random.Random(stem)
    with pymupdf.open(path) as one, pymupdf.open(path) as two, pymupdf.open(path) as three:
        if one[0].rotation:
            return
        places = free_places(one[0], rng, rng.randint(1, 4))
        for number, place in enumerate(places):
            first, second = (f"{rng.randint(10**6, 10**8 - 1) / 100:,.2f}" for _ in range(2))
            size = rng.uniform(9.5, 10.5)
            for page, text in ((one[0], first), (two[0], second), (three[0], first if number else second)):
                page.insert_text(place * page.derotation_matrix, text, fontsize=size)
        if places:
            yield from differing("real, numbers written in", [one[0], two[0]], folder, stem)
        if len(places) > 1:
            yield from differing("real, one of several numbers differs", [one[0], three[0]], folder, f"{stem}-one")


def generate(documents: list[Path], folder: Path, half: int, drawn_pairs: int) -> Iterator[Pair]:
    """All pairs of one half; their files go into a folder."""
    folder.mkdir(parents=True)
    for number, path in enumerate(documents):
        with pymupdf.open(path) as document:
            middle = len(document) // 2
            yield from copies(document[middle], folder, f"real{number}")
            if middle + 1 < len(document):
                pages = [document[middle], document[middle + 1]]
                yield from differing("neighbouring pages", pages, folder, f"next{number}")
        yield from filled(path, folder, f"filled{number}")
    yield from drawn(folder, half, drawn_pairs)


def halves(documents: Path, labels: Path, count: int) -> list[list[Path]]:
    """PDFs for choosing and for measuring, one of each group, so many of each."""
    with open(labels, encoding="utf-8-sig", newline="") as file:
        group_of = {Path(row["path"]).resolve(): row["group"] for row in csv.DictReader(file)}
    first: dict[str, Path] = {}
    for path in sorted(documents.resolve().rglob("*.pdf")):
        first.setdefault(group_of.get(path, str(path)), path)
    order = sorted(first, key=lambda group: zlib.crc32(group.encode()))
    return [[first[group] for group in order[half::2][:count]] for half in (0, 1)]


def measured(workspace: Workspace, folder: Path, pairs: list[Pair]) -> list[Measured]:
    """The three figures of each pair, whether or not a step before would have left it out."""
    store, sources = workspace.store(), workspace.sources()
    pages = store.pages()
    index = fresh_index(store, workspace.index_path(store.identity.space))
    unit = index.unit(store.features(pages["page_id"].to_numpy()))
    row_of = {sha256: row for row, sha256 in enumerate(pages["document_sha256"])}
    hashes = {name: sources.sha256_at(str(folder / name)) or "" for pair in pairs for name in (pair.first, pair.second)}
    found = []
    for start in range(0, len(pairs), 32):
        some = pairs[start : start + 32]
        names = dict.fromkeys(name for pair in some for name in (pair.first, pair.second))
        wanted = [(document, 0) for name in names if (document := sources.document(hashes[name]))]
        pixels = render_pages(wanted, SIZE)
        shown = {name: pixels[hashes[name], 0] for name in names}
        sketches, contrasts = ({name: f(p) for name, p in shown.items()} for f in (sketch, contrast))
        for pair in some:
            cosine = unit[row_of[hashes[pair.first]]] @ unit[row_of[hashes[pair.second]]]
            laid = overlay(sketches[pair.first], sketches[pair.second])
            value = agreement(contrasts[pair.first], contrasts[pair.second], laid.affine) if laid else -1.0
            found.append(Measured(float(cosine), laid.likeness if laid else 0.0, value))
    return found


def show_steps(pairs: list[Pair], values: list[Measured]) -> None:
    """Prints what share of each kind of pair passes each step, those before it included."""
    print("| pairs | count | candidates | likely | the same | median agreement |\n| --- " + "| --- " * 5 + "|")
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        own = np.array([value for pair, value in zip(pairs, values, strict=True) if pair.kind == kind])
        passed = np.logical_and.accumulate(own >= list(LEVELS.values()), axis=1).mean(axis=0)
        shares = " | ".join(f"{share:.2f}" for share in passed)
        print(f"| {kind} | {len(own)} | {shares} | {np.median(own[:, 2]):.2f} |")


def show_choices(pairs: list[Pair], values: list[Measured]) -> None:
    """Prints recall and false alarms at several thresholds of the pictures, whatever the features say."""
    truth = np.array([pair.truth == SAME for pair in pairs])
    array = np.array(values)
    print("\n| threshold | same pages that pass | other pages that pass |\n| --- | --- | --- |")
    for place, (name, levels) in enumerate(
        {"likeness": np.arange(0.2, 0.65, 0.05), "agreement": np.arange(0.7, 0.97, 0.02)}.items(), 1
    ):
        for level in levels:
            passed = array[:, place] >= level
            print(f"| {name} {level:.2f} | {passed[truth].mean():.3f} | {passed[~truth].mean():.3f} |")


def show_whole(workspace: Workspace, folder: Path, pairs: list[Pair]) -> None:
    """Prints what the whole command makes of the pairs."""
    group_of: dict[str, set[int]] = {}
    for number, group in enumerate(find(workspace, workspace.store()).groups):
        for copy in group.copies:
            group_of.setdefault(copy.page.document_sha256, set()).add(number)
    sources = workspace.sources()

    def groups(name: str) -> set[int]:
        return group_of.get(sources.sha256_at(str(folder / name)) or "", set())

    print("\n| the whole command | count | in one group |\n| --- | --- | --- |")
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        own = [pair for pair in pairs if pair.kind == kind]
        together = [bool(groups(pair.first) & groups(pair.second)) for pair in own]
        print(f"| {kind} | {len(own)} | {np.mean(together):.2f} |", flush=True)


def main(
    documents: Path,
    labels: Annotated[Path, typer.Option()],
    artifacts: Annotated[Path, typer.Option(help="A new folder for the pages and their features.")],
    count: int = 60,
    drawn_pairs: int = 36,
) -> None:
    """Prints the tables."""
    backbone = load_backbone()
    for half, some in enumerate(halves(documents, labels, count)):
        folder = artifacts / ("measuring" if half else "choosing")
        pairs = list(generate(some, folder / "documents", half, drawn_pairs))
        workspace = Workspace(folder / "artifacts")
        embed(workspace, [str(folder / "documents")], backbone)
        values = measured(workspace, folder / "documents", pairs)
        np.savez(folder / "values.npz", values=values, kinds=[p.kind for p in pairs], first=[p.first for p in pairs])
        print(f"\n{folder.name}: {len(some)} documents\n")
        show_steps(pairs, values)
        if half:
            show_whole(workspace, folder / "documents", pairs)
        else:
            show_choices(pairs, values)


if __name__ == "__main__":
    typer.run(main)
