"""What an index on disk is, by its manifest: for `info`, which opens none. Loads no FAISS."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from embedpipe.core.files import read_json, sha256_of

MANIFEST = "manifest.json"
ROWS = "follow the store"
"""What the manifest says of the rows: those of earlier versions kept the scaling of the first pages."""


def verify(folder: Path, manifest: dict[str, Any]) -> list[str]:
    """Compares all files of an index with its manifest; returns what is wrong, a line each."""
    problems = []
    for name, noted in files_of(manifest).items():
        file = folder / name
        if not file.exists():
            problems.append(f"{file}: missing; it is built again when needed")
        elif sha256_of(file) != noted["sha256"]:
            problems.append(f"{file}: damaged; it is built again when needed")
    return problems


def files_of(manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Size, time and SHA-256 of each file that a manifest lists; none where it is damaged."""
    files = manifest.get("files")
    if not isinstance(files, dict) or not all(
        isinstance(noted, dict) and "sha256" in noted for noted in files.values()
    ):
        return {}
    return files


def describe(folder: Path) -> dict[str, Any] | None:
    """What an index is, for `info`: pages, factory, recall, effort and size; None where there is none."""
    if not (folder / MANIFEST).exists():
        return None
    manifest = read_json(folder / MANIFEST)
    keys = (
        "pages",
        "factory",
        "recall",
        "wanted",
        "queries",
        "effort",
        "over_fetch",
        "trained_pages",
        "space",
        "metric",
    )
    found = {key: manifest.get(key) for key in keys}
    sizes = [noted.get("bytes", 0) for noted in files_of(manifest).values()]
    segments = manifest.get("segments")
    return {
        **found,
        "outdated": manifest.get("rows") != ROWS,
        "segments": len(segments) if isinstance(segments, list) else 0,
        "megabytes": round(sum(sizes) / 1e6, 1),
    }


def in_words(described: Mapping[str, Any]) -> str:
    """The result of `describe`, in a line."""
    parts = [f"{described['pages']} pages", f"{described['factory']}"]
    if described.get("outdated"):
        parts.append("made by an earlier version, built again when needed")
    elif described.get("queries"):
        effort = [f"{name} {value}" for name, value in (described["effort"] or {}).items()]
        again = f"{described['over_fetch']} times as many ranked again"
        then = described.get("trained_pages")
        measured = f", measured at {then} pages" if then and then != described["pages"] else ""
        parts += [f"recall@10 {described['recall']:.3f} ({described['wanted']:g} wanted{measured})", *effort, again]
    else:
        parts.append("exact")
    segments = f" in {described['segments']} segments" if described["segments"] > 1 else ""
    return ", ".join([*parts, f"{described['megabytes']} MB{segments}"])
