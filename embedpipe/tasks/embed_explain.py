"""`embed --explain`: how files are recognised, opened and drawn, without keeping anything."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embedpipe.backbones.engines import Backbone
from embedpipe.core.errors import DocumentError
from embedpipe.core.records import Document, PageFailure, PageImage
from embedpipe.embedding.streaming import Settings, page_renderer, upright
from embedpipe.pages.containers.places import pieces
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.facts import facts_of
from embedpipe.pages.rendering import Job
from embedpipe.pages.unfolding import Item, unfold
from embedpipe.pages.walking import FoundFile, IgnoredFile, walk
from embedpipe.store.sorted_ledger import file_name, shortened

_LONGEST_STEM = 150


@dataclass(slots=True)
class Explained:
    """How one file, or one member of a container, is read.

    Attributes:
        path: Where it is.
        containers: What it lies in, from the file on the disk on.
        document: What it is; None where it is none.
        passed_over: Why it is passed over, see `walking.IgnoredFile`; "" where it is not.
        failure: The outcome of the whole file and why, or "".
        facts: As `pages.facts` tells them.
        pages: A row for each page that was asked for: number, outcome, message, size, and what the network sees of it.
    """

    path: str
    containers: list[str] = field(default_factory=list)
    document: Document | None = None
    passed_over: str = ""
    failure: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    pages: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        values: dict[str, Any] = {
            "path": self.path,
            "containers": self.containers,
            "passed_over": self.passed_over or None,
        }
        if self.document is not None:
            values |= {"document": self.document.sha256, "bytes": self.document.size, "reader": self.document.reader}
        return {**values, "failure": self.failure or None, "facts": self.facts, "pages": self.pages}


def explain(
    inputs: Iterable[str], backbone: Backbone, settings: Settings, save_to: Path | None = None
) -> list[Explained]:
    """Tells how each file of the inputs is read; nothing is kept but the pictures that are asked for.

    Args:
        inputs: Files and folders.
        backbone: Says how pages are drawn, and whether they are turned.
        settings: How documents are read, and which pages are looked at.
        save_to: A folder for the pictures as the network sees them, as PNGs.

    Raises:
        EmbedpipeError: An input does not exist.
    """
    found = [_found(item) for item in _items(inputs, settings)]
    identity = backbone.identity
    options = ReadOptions(identity.recipe, identity.interpolation, settings.limits, settings.passwords)
    known = [(one, one.document) for one in found if one.document is not None]
    for (told, _), facts in zip(known, facts_of((document for _, document in known), options), strict=True):
        if isinstance(facts, DocumentError):
            told.failure = f"{facts.kind}: {facts}"
        else:
            told.facts = facts
    by_path = {told.path: told for told, _ in known}
    with page_renderer(options, len(known)) as renderer:
        jobs = (Job(document, settings.selection) for told, document in known if not told.failure)
        for rendered in renderer.render(jobs):
            results = rendered.results
            for page in upright(results, backbone.turner) if backbone.turner is not None else results:
                by_path[rendered.document.path].pages.append(_row(page, save_to))
    for told in found:
        told.pages.sort(key=lambda row: int(row["page"] or 0))
    return found


def _items(inputs: Iterable[str], settings: Settings) -> Iterator[Item]:
    for found in walk(inputs, settings.exclude, follow_links=settings.follow_links):
        if isinstance(found, FoundFile):
            yield from unfold(found, settings.limits, exclude=settings.exclude)
        else:
            yield found


def _found(item: Item) -> Explained:
    """What is known of a file before it is opened."""
    path = item.page.source if isinstance(item, PageFailure) else item.path
    told = Explained(path, pieces(path)[:-1])
    if isinstance(item, PageFailure):
        told.failure = f"{item.kind}: {item.message}"
    elif isinstance(item, IgnoredFile):
        told.passed_over = item.kind
    else:
        told.document = item
    return told


def _row(page: PageImage | PageFailure, save_to: Path | None) -> dict[str, Any]:
    if isinstance(page, PageFailure):
        return {"page": page.page.page_number or None, "outcome": page.kind, "message": page.message}
    info, (rows, columns, _) = page.info, page.pixels.shape
    values = {
        "page": info.ref.page_number,
        "outcome": info.outcome,
        "message": info.message,
        "width": round(info.width, 2),
        "height": round(info.height, 2),
        "kind": info.source_kind,
        "turned": info.turned,
        "pixels": [columns, rows],
    }
    if save_to is not None:
        from embedpipe.drawing.pictures import save_pixels  # noqa: PLC0415 - only where pictures are asked for

        stem = shortened(file_name(Path(os.path.basename(info.ref.source)).stem), _LONGEST_STEM)
        name = f"{stem}-{info.ref.document_sha256[:8]}-page-{info.ref.page_number}.png"
        save_pixels(page.pixels, save_to / name)
        values["picture"] = str(save_to / name)
    return values


def in_words(told: Explained) -> Iterator[str]:
    """What is known of a file, in lines for people."""
    yield told.path
    if told.containers:
        yield f"  lies in {' in '.join(reversed(told.containers))}"
    if told.passed_over:
        yield f"  passed over: {told.passed_over}"
    if told.document is not None:
        yield f"  {told.document.size} bytes, SHA-256 {told.document.sha256}"
    if told.failure:
        yield f"  {told.failure}"
    for name, value in told.facts.items():
        if value not in ("", [], False, None):
            shown = "; ".join(value) if isinstance(value, list) else "yes" if value is True else value
            yield f"  {name.replace('_', ' ')}: {shown}"
    for row in told.pages:
        size = f", {row['width']:g} x {row['height']:g}" if "width" in row else ""
        seen = f", seen as {row['pixels'][0]} x {row['pixels'][1]} pixels" if "pixels" in row else ""
        turned = f", turned by {row['turned']} degrees" if row.get("turned") else ""
        kind = f" ({row['kind']})" if row.get("kind") else ""
        message = f": {row['message']}" if row["message"] else ""
        yield f"  page {row['page'] or '?'}: {row['outcome']}{kind}{size}{seen}{turned}{message}"
