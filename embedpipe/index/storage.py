"""The index on disk: files that never change, and a manifest that comes last and says which of them count.

What an index consists of is written under new names; then the manifest is replaced, and what it no longer lists is
removed. So a reader has the old index or the new one, and a killed writer leaves the old one.
"""

import contextlib
import dataclasses
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from embedpipe.core.errors import ArtifactError, SpaceMismatchError
from embedpipe.core.faiss_library import faiss
from embedpipe.core.files import read_json, replacing, sha256_of, write_json
from embedpipe.core.records import Identity
from embedpipe.index.inventory import MANIFEST, ROWS, files_of
from embedpipe.index.row_reader import Spans
from embedpipe.index.search import PageIndex, Setting
from embedpipe.index.segments import Segment, write_faiss
from embedpipe.store.features import FeatureStore
from embedpipe.store.moments import Moments, Scaling
from embedpipe.store.parts import part_number

_SMALL = 32 * 1024**2
"""Files up to this are hashed whenever they are opened; larger ones when their size or time is not as noted."""
_FILE = re.compile(r"(segment|trained|state)-(\d{6})\.(faiss|arrow|npz)")


class OutdatedIndexError(ArtifactError):
    """The index was made by an earlier version, and its scaling does not follow the store."""


def keep(segment: Segment, folder: Path) -> Segment:
    """Writes a segment and gives it back mapped; the manifest does not list it yet."""
    number = _next_number(folder)
    return segment.save(folder / f"segment-{number:06d}.faiss", folder / f"segment-{number:06d}.arrow")


def save(index: PageIndex, folder: Path) -> None:
    """Writes what is not on disk yet, then the manifest, and removes what it does not list.

    Raises:
        ArtifactError: The folder cannot be written.
    """
    index.segments = [segment if segment.files else keep(segment, folder) for segment in index.segments]
    number = _next_number(folder)
    state = folder / f"state-{number:06d}.npz"
    with replacing(state) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **_state(index))
    names = [state.name]
    if index.empty is not None:
        names.append(f"trained-{number:06d}.faiss")
        write_faiss(index.empty, folder / names[-1])
    segments = [[file.name for file in segment.files] for segment in index.segments]
    old = _listed(folder)
    files = {name: old.get(name) or _note(folder / name) for name in [*names, *(n for pair in segments for n in pair)]}
    write_json(
        folder / MANIFEST,
        {
            "identity": index.identity.to_json(),
            "space": index.identity.space,
            "pages": len(index),
            "metric": "cosine",
            **dataclasses.asdict(index.setting),
            "rows": ROWS,
            "blocks": index.scaler.blocks,
            "parts": [list(part) for part in index.parts.values()],
            "state": state.name,
            "trained": names[1] if len(names) > 1 else None,
            "segments": [
                {"files": pair, "pages": len(segment), "exact": segment.exact}
                for pair, segment in zip(segments, index.segments, strict=True)
            ],
            "files": files,
        },
    )
    for file in folder.iterdir():
        if file.name not in files and (_FILE.fullmatch(file.name) or file.name in ("faiss.index", "pages.npz")):
            with contextlib.suppress(OSError):  # Windows keeps what a reader has open
                file.unlink()


def load(folder: Path, store: FeatureStore) -> PageIndex:
    """Opens an index, of this snapshot of the store or an earlier one; compare its parts.

    Raises:
        ArtifactError: It is missing or damaged.
        OutdatedIndexError: It was made by an earlier version.
        SpaceMismatchError: It belongs to another space.
    """
    manifest = read_json(folder / MANIFEST)
    try:
        found = Identity.from_json(manifest["identity"])
        if found != store.identity:
            raise SpaceMismatchError(f"the index {folder}", found, store.identity)
        if manifest.get("rows") != ROWS:
            raise OutdatedIndexError(f"{folder} was made by an earlier version; it is built again when needed")
        problems = _quick_check(folder, manifest["files"])
        if problems:
            raise ArtifactError(problems[0])
        return _read(folder, manifest, store)
    except (LookupError, OSError, RuntimeError, TypeError, ValueError, AttributeError) as error:
        if _changed(folder, manifest):  # replaced between reading the manifest and opening what it lists
            return load(folder, store)
        raise ArtifactError(f"{folder} is damaged ({type(error).__name__}); it is built again when needed") from error


def requested(folder: Path) -> Setting | None:
    """What the index of a folder was meant to be, also where it cannot be used; None where nothing is known of it."""
    with contextlib.suppress(ArtifactError, LookupError, TypeError, ValueError, AttributeError):
        manifest = read_json(folder / MANIFEST)
        memory = manifest["memory"]
        return Setting(
            wanted=float(manifest["wanted"]),
            requested=str(manifest["requested"]),
            memory=None if memory is None else int(memory),
        )
    return None


def _changed(folder: Path, manifest: dict[str, Any]) -> bool:
    with contextlib.suppress(ArtifactError):
        return read_json(folder / MANIFEST) != manifest
    return False


def _quick_check(folder: Path, files: dict[str, dict[str, Any]]) -> list[str]:
    """Small files are hashed; of large ones size and time are compared, and they are hashed where the time differs."""
    problems = []
    for name, noted in files.items():
        file = folder / name
        if not file.exists():
            problems.append(f"{file}: missing; it is built again when needed")
            continue
        status = file.stat()
        same = status.st_size == noted["bytes"]
        if same and (status.st_size <= _SMALL or status.st_mtime_ns != noted["mtime_ns"]):
            same = sha256_of(file) == noted["sha256"]
        if not same:
            problems.append(f"{file}: damaged; it is built again when needed")
    return problems


def _note(file: Path) -> dict[str, Any]:
    status = file.stat()
    return {"sha256": sha256_of(file), "bytes": status.st_size, "mtime_ns": status.st_mtime_ns}


def _listed(folder: Path) -> dict[str, dict[str, Any]]:
    with contextlib.suppress(ArtifactError):
        return files_of(read_json(folder / MANIFEST))
    return {}


def _next_number(folder: Path) -> int:
    numbers = [int(match[2]) for file in _existing(folder) if (match := _FILE.fullmatch(file.name))]
    return 1 + max(numbers, default=0)


def _existing(folder: Path) -> Iterable[Path]:
    return folder.iterdir() if folder.is_dir() else ()


def _state(index: PageIndex) -> dict[str, Any]:
    numbers = [number for number, spans in index.spans.items() for _ in spans.starts]
    empty = [np.empty(0, np.int64)]
    exact = [segment for segment in index.segments if segment.exact]
    trained = index.trained_scaler
    return {
        "mean": index.scaler.mean_,
        "scale": index.scaler.scale_,
        **({} if trained is None else {"trained_mean": trained.mean_, "trained_scale": trained.scale_}),
        "lengths": np.concatenate([np.empty(0, np.float32), *(segment.lengths for segment in exact)]),
        "centres": np.array([segment.centre for segment in exact], np.float32).reshape(len(exact), index.store.dim),
        "moment_parts": np.array(list(index.moments), np.int64),
        "moment_pages": np.array([moments.pages for moments in index.moments.values()], np.int64),
        "moment_sums": np.array([moments.sums for moments in index.moments.values()], np.float64),
        "moment_filled": np.array([moments.filled for moments in index.moments.values()], np.int64),
        "forgotten": index.forgotten,
        "span_parts": np.array(numbers, np.int64),
        "span_starts": np.concatenate(empty + [spans.starts for spans in index.spans.values()]),
        "span_offsets": np.concatenate(empty + [spans.offsets for spans in index.spans.values()]),
    }


def _read(folder: Path, manifest: dict[str, Any], store: FeatureStore) -> PageIndex:
    with np.load(folder / manifest["state"], allow_pickle=False) as arrays:
        state = {name: arrays[name] for name in arrays.files}
    blocks = [(int(start), int(stop)) for start, stop in manifest["blocks"]]
    scaler = Scaling(blocks, state["mean"], state["scale"])
    parts = {part_number(name): (str(name), str(digest)) for name, digest in manifest["parts"]}
    cuts = np.searchsorted(state["span_parts"], list(parts)), np.searchsorted(state["span_parts"], list(parts), "right")
    spans = {
        number: Spans(state["span_starts"][first:last], state["span_offsets"][first:last])
        for number, first, last in zip(parts, *cuts, strict=True)
    }
    columns = (state[f"moment_{name}"] for name in ("parts", "pages", "sums", "filled"))
    moments = {int(n): Moments(blocks, int(pages), *sums) for n, pages, *sums in zip(*columns, strict=True)}
    if moments.keys() != parts.keys():
        raise ValueError("its sums are not those of its parts")
    setting = Setting(**{field.name: manifest[field.name] for field in dataclasses.fields(Setting)})
    empty = faiss.read_index(str(folder / manifest["trained"])) if manifest["trained"] else None  # mapped: no clones
    trained = None if empty is None else Scaling(blocks, state["trained_mean"], state["trained_scale"])
    segments = _segments(folder, manifest, state)
    return PageIndex(store, parts, scaler, setting, segments, state["forgotten"], spans, empty, trained, moments)


def _segments(folder: Path, manifest: dict[str, Any], state: Mapping[str, Any]) -> list[Segment]:
    segments, lengths, centres = [], state["lengths"], list(state["centres"])
    for entry in manifest["segments"]:
        segment = Segment.open(folder / entry["files"][0], folder / entry["files"][1], exact=bool(entry["exact"]))
        if segment.exact:
            own, lengths = np.split(lengths, [len(segment)])
            segment = dataclasses.replace(segment, centre=centres.pop(0), lengths=own)
            if len(own) != len(segment):
                raise ValueError("the lengths of its rows are missing")
        segments.append(segment)
    return segments
