"""How often pages are turned that should not be, and how often those are turned that lie sideways or upside down.

    python benchmarks/upright.py FOLDER...

Every page of the folders is drawn as `embed` draws it. What `--upright auto` turns of them is listed, to be looked at;
beside it, how many pages with a text of their own would be turned if they were asked as well. Then the scans and
photos that were not turned are turned by 90, 180 and 270 degrees, and it is counted how many come back upright.
"""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator

import numpy as np

from embedpipe.backbones.onnx.orientation import Turner, turned
from embedpipe.core.machine import available_cores
from embedpipe.core.records import Document, PageImage
from embedpipe.embedding.intake import Intake, Report
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.documents import ReadOptions
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.pages.source_kinds import DIGITAL
from embedpipe.store.workspace import Workspace

_WAYS = (90, 180, 270)


def drawn(folders: list[str]) -> Iterator[PageImage]:
    """Every page that is not blank."""
    with tempfile.TemporaryDirectory() as name, Renderer(ReadOptions(), available_cores()) as renderer:
        intake = Intake(folders, Settings(), Workspace(name).sources(), Report())
        jobs = (Job(item, Selection()) for item in intake if isinstance(item, Document))
        for rendered in renderer.render(jobs):
            yield from (p for p in rendered.results if isinstance(p, PageImage) and p.info.outcome != "blank")


def main(folders: list[str]) -> None:
    """Prints what was turned, and the counts."""
    turner, pages, turns = Turner(available_cores()), Counter[str](), Counter[str]()
    back: dict[int, Counter[int]] = {way: Counter() for way in _WAYS}
    for page in drawn(folders):
        kind = page.info.source_kind
        pages[kind] += 1
        degrees = int(turner.turns(page.pixels[np.newaxis])[0])
        turns[kind] += degrees != 0
        if kind == DIGITAL:
            continue
        if degrees:
            print(f"turned by {degrees}: {page.info.ref}")
            continue
        for way in _WAYS:
            lying = turned(page.pixels, way)
            back[way][(int(turner.turns(lying[np.newaxis])[0]) + way) % 360] += 1
    for kind, count in pages.items():
        asked = "would be turned if they were asked" if kind == DIGITAL else "turned"
        print(f"{kind or 'unknown'}: {count} pages, {turns[kind]} {asked}")
    for way, found in back.items():
        whole = max(sum(found.values()), 1)
        others = sum(count for degrees, count in found.items() if degrees not in (0, way))
        print(f"turned by {way} before: {found[0] / whole:.1%} come back upright, {others / whole:.1%} another way")


if __name__ == "__main__":
    main(sys.argv[1:])
