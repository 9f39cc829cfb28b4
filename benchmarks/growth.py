"""Whether cost per page and memory stay the same however many pages there are.

    python benchmarks/growth.py DOCUMENTS

Embeds piles of about 1,000 and 10,000 pages, in the same mix, with the default recipe, each with a fresh process of
its own; then the larger pile once more, when nothing is new, with and without `--trust-mtime`. The piles are made of
the documents and of copies that differ in a comment behind their end. Prints a table.
"""

import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import pymupdf
import typer

from embedpipe.core.process import PeakMemory

SCRIPT = str(Path(sys.executable).with_name("embedpipe"))
SMALL, LARGE = 1000, 10_000
_LONGEST = 60
"""Documents of more pages are left out, so that a small pile can have the mix of a large one."""


def page_counts(documents: Path) -> dict[Path, int]:
    """The PDFs below a folder that can be opened and are not too long, with their pages."""
    counts = {}
    for file in sorted(documents.rglob("*.pdf")):
        with pymupdf.open(file) as document:
            if 0 < document.page_count <= _LONGEST and not document.needs_pass:
                counts[file] = document.page_count
    return counts


def make_pile(folder: Path, counts: dict[Path, int], pages: int) -> None:
    """Copies documents in random order until there are enough pages; later copies differ in a comment."""
    folder.mkdir()
    order, made, round_ = random.Random(0), 0, 0
    while made < pages:
        files = list(counts)
        order.shuffle(files)
        for number, file in enumerate(files):
            if made >= pages:
                break
            copy = folder / f"{round_}-{number}{file.suffix}"
            shutil.copyfile(file, copy)
            with open(copy, "ab") as end:
                end.write(b"\n%% copy %d\n" % round_)
            made += counts[file]
        round_ += 1


def measure(pile: Path, artifacts: Path, *options: str) -> dict[str, Any]:
    """One `embed` as a process of its own: its figures, wall time and peak memory."""
    command = [SCRIPT, "embed", str(pile), "--artifacts", str(artifacts), "--json", *options]
    begin = time.perf_counter()
    with PeakMemory() as memory:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    values: dict[str, Any] = json.loads(done.stdout)
    return values | {"wall": time.perf_counter() - begin, "peak_mb": memory.peak_mb}


def main(documents: Annotated[Path, typer.Argument(help="A folder of PDFs.")], repeats: int = 3) -> None:
    """Measures both piles in turns and prints medians."""
    counts = page_counts(documents)
    with tempfile.TemporaryDirectory(prefix="embedpipe-growth-") as name:
        scratch = Path(name)
        piles = {"small": scratch / "small", "large": scratch / "large"}
        make_pile(piles["small"], counts, SMALL)
        make_pile(piles["large"], counts, LARGE)
        measure(piles["small"], scratch / "warm-up")
        runs: dict[str, list[dict[str, Any]]] = {key: [] for key in ("small", "large", "again", "trusting")}
        for repeat in range(repeats):
            for key, pile in piles.items():
                artifacts = scratch / f"{key}-{repeat}"
                runs[key].append(measure(pile, artifacts))
            runs["again"].append(measure(piles["large"], artifacts))
            runs["trusting"].append(measure(piles["large"], artifacts, "--trust-mtime"))
            for key in piles:
                shutil.rmtree(scratch / f"{key}-{repeat}")
        figures = ("seconds", "wall", "peak_mb", "pages")
        report({key: {f: statistics.median(run[f] for run in own) for f in figures} for key, own in runs.items()})


def report(middle: dict[str, dict[str, float]]) -> None:
    """Prints the medians and what follows from them."""
    print("| run | pages | seconds | whole process, seconds | ms a page | peak memory, MB |")
    print("| --- | --- | --- | --- | --- | --- |")
    for key, m in middle.items():
        each = 1000 * m["seconds"] / m["pages"]
        print(f"| {key} | {m['pages']:.0f} | {m['seconds']:.2f} | {m['wall']:.2f} | {each:.2f} | {m['peak_mb']:.0f} |")
    small, large = middle["small"], middle["large"]
    ratio = large["seconds"] / large["pages"] / (small["seconds"] / small["pages"])
    print(f"cost per page, large to small: {ratio:.3f}")
    print(f"peak memory, large less small: {large['peak_mb'] - small['peak_mb']:.0f} MB")
    for key in ("again", "trusting"):
        faster, whole = (large[what] / middle[key][what] for what in ("seconds", "wall"))
        print(f"{key}: {faster:.0f} times as fast; {whole:.0f} times as a whole process")


if __name__ == "__main__":
    typer.run(main)
