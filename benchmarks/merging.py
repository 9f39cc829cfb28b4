"""How long `merge` takes, and how much memory, for very many pages in several stores.

    python benchmarks/merging.py --rows 10000000 --stores 16 --folder /tmp/merging

Pages are invented (a few features each, for parts are never decoded; documents of five pages, some in two stores), and
parts, manifests, tables of words and of sources are real. `--books` opens the result as `embed` does, and says what its
books take in memory. It needs about 260 bytes of disk for each row.
"""

import hashlib
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import typer

from embedpipe.core.records import Document, Identity, Recipe
from embedpipe.store.feature_writer import ROWS_PER_PART, FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.page_extras import TABLES, page_table
from embedpipe.store.page_table import PageTableWriter
from embedpipe.store.parts import COLUMNS, ROW_BITS
from embedpipe.store.workspace import Workspace

PAGES, DIM, SHARED = 5, 8, 0.02
TEXTS = {"outcome": "ok", "message": "", "source_kind": "digital"}
IDENTITY = Identity("invented", "0" * 64, Recipe(), ("stage",))


def documents(store: int, first: int, count: int) -> list[str]:
    """SHA-256 of invented documents; the first of each store are also those of the store before."""
    return [hashlib.sha256(b"%d/%d" % (store, first + n)).hexdigest() for n in range(count)]


def hashes(number: int, rows: int, stores: int) -> Iterator[str]:
    """The documents of a store."""
    count = rows // PAGES
    shared = int(SHARED * count)
    yield from documents((number - 1) % stores, count - shared, shared)
    yield from documents(number, shared, count - shared)


def fill(root: Path, number: int, rows: int, stores: int) -> None:
    """Writes one store with its tables."""
    workspace = Workspace(root)
    workspace.claim()
    store = FeatureStore.create(workspace.store_path(IDENTITY.space), IDENTITY, [("stage", 0, DIM)])
    writer, random = FeatureWriter(store, {}), np.random.default_rng(number)
    sources = workspace.sources()
    words = PageTableWriter(page_table(root, "words"))
    own = list(hashes(number, rows, stores))
    parts, listed = [], []
    for first in range(0, rows, ROWS_PER_PART):
        count = min(ROWS_PER_PART, rows - first)
        numbers = np.arange(first, first + count)
        sha = [own[min(n // PAGES, len(own) - 1)] for n in numbers]
        index = (numbers % PAGES).astype(np.int32)
        columns = {
            "page_id": pa.array((len(parts) << ROW_BITS) + np.arange(count)),
            "document_sha256": pa.array(sha),
            "page_index": pa.array(index),
            "page_count": pa.array(np.full(count, PAGES, np.int32)),
            "source": pa.array([f"/heap/{text[:2]}/{text}.pdf" for text in sha]),
            **{name: pa.array(np.full(count, 1, np.float32)) for name in ("width", "height", "ink")},
            **{name: pa.array([text] * count) for name, text in TEXTS.items()},
            "turned": pa.array(np.zeros(count, np.int16)),
        }
        table = pa.table({name: columns[name] for name in COLUMNS})
        flat = pa.array(random.standard_normal(count * DIM).astype(np.float16))
        table = table.append_column("embedding", pa.FixedSizeListArray.from_arrays(flat, DIM))
        table = table.replace_schema_metadata({"space": IDENTITY.space})
        parts.append(writer._write_table(f"part-{len(parts):06d}.parquet", table))  # noqa: SLF001 - `append` takes a row
        kept = {"origin": ["text"] * count, "characters": np.full(count, 99, np.int32), "columns": [[1, 2, 3]] * count}
        kept |= {"counts": [[1, 1, 1]] * count, "message": [""] * count}
        row = {"document_sha256": sha, "page_index": index, **kept}
        kinds = words.table.schema
        listed.append(words._write(pa.table([pa.array(row[f.name], f.type) for f in kinds], schema=kinds)))  # noqa: SLF001
        words.table.next_number += 1
    store.replace_parts(parts)
    words.list_parts(listed, len(listed))
    for sha256 in own:
        sources.add(Document(f"/heap/{sha256[:2]}/{sha256}.pdf", sha256, 1000, 10**18, "pdf"), "/")
    sources.save()


def main(
    folder: Annotated[Path, typer.Option(help="Where stores are made, and stay for the next time.")],
    rows: int = 10_000_000,
    stores: int = 16,
    books: Annotated[bool, typer.Option("--books")] = False,
) -> None:
    """Makes the stores, merges them in a process of its own, and prints what that took."""
    roots = [folder / f"store-{number:02d}" for number in range(stores)]
    for number, root in enumerate(roots):
        if not (root / "sources.parquet").exists():
            begin = time.perf_counter()
            shutil.rmtree(root, ignore_errors=True)
            fill(root, number, rows // stores, stores)
            print(f"{root}: {time.perf_counter() - begin:.0f} s", flush=True)
    into = folder / "merged"
    shutil.rmtree(into, ignore_errors=True)
    program = "from embedpipe.commands import main; main()"
    command = [sys.executable, "-c", program, "merge", *map(str, roots), "--into", str(into), "--json"]
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([*command, "--quiet"], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    (space,) = json.loads(done.stdout)["spaces"]
    print(
        f"{rows} rows of {stores} stores: {time.perf_counter() - begin:.1f} s, "
        f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:.1f} s of processor time, "
        f"{after.ru_maxrss / 1024:.0f} MB at most; {space['after']} pages, "
        f"{sum(s['twice'] for s in space['sources'])} twice"
    )
    if books:
        low = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        workspace = Workspace(into)
        kept = FeatureWriter(FeatureStore.open(workspace.store_path(IDENTITY.space)), {}), workspace.sources()
        extras = [PageTableWriter(page_table(into, name)).kept for name in TABLES]
        high = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        tables = len(kept) + len(extras)
        print(f"books of `embed`: {(high - low) * 1024 / rows:.0f} bytes a page ({tables} tables)")


if __name__ == "__main__":
    typer.run(main)
