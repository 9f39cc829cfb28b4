"""What the artifacts hold, and whether it is what their manifests say."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa

from embedpipe.classifiers.lessons import missing
from embedpipe.classifiers.saved.on_disk import check_model, variant_folders
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, EmbedpipeError
from embedpipe.core.files import read_json
from embedpipe.core.other_formats import counted, in_words
from embedpipe.core.records import NO_WORDS, OCR_WORDS, OTHER_FORMAT, TEXT_WORDS
from embedpipe.index import inventory
from embedpipe.pages.converting.table import CONVERTED_BY
from embedpipe.store import page_extras
from embedpipe.store.columns import distinct, rows_with
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels
from embedpipe.store.page_extras import TABLES, page_table
from embedpipe.store.sources import EARLIER, GONE, PASSED_OVER
from embedpipe.store.workspace import FINETUNED, Workspace

_T = TypeVar("_T")


def take(workspace: Workspace) -> dict[str, Any]:
    """Spaces, labels, classifiers, indexes and failures, as plain values; `damaged` lists what cannot be read."""
    damaged: list[str] = []
    labels = functools.cache(workspace.labels)
    folders = sorted(manifest.parent.name for manifest in workspace.root.glob("features/*/manifest.json"))
    spaces = [_attempt(damaged, partial(_space, workspace, space, labels, damaged)) for space in folders]
    classifiers = [_attempt(damaged, partial(_classifier, workspace, name)) for name in workspace.classifiers()]
    tuned = [_attempt(damaged, partial(_backbone, workspace, name)) for name in workspace.backbones()]
    damaged += [
        f"{workspace.store_path(space) / 'manifest.json'} is missing: run `embed` again, which lists the parts anew"
        for space in workspace.without_manifest()
    ]
    return {
        "artifacts": str(workspace.root),
        "spaces": [space for space in spaces if space],
        "words": dict(page_extras.word_counts(workspace.root)),
        "kept": [kept for name in TABLES if (kept := _attempt(damaged, partial(_kept, workspace, name, damaged)))],
        "labels": {
            "file": str(workspace.labels_file),
            **(_attempt(damaged, partial(_types, labels, damaged)) or {"types": {}, "none": 0}),
        },
        "classifiers": [classifier for classifier in classifiers if classifier],
        "backbones": [backbone for backbone in tuned if backbone],
        "sources": len(workspace.sources()),
        "damaged": list(dict.fromkeys(damaged)),
    }


def _types(read: Callable[[], Labels], damaged: list[str]) -> dict[str, Any]:
    """Documents by their type, and how many are of none; notes the lines of labels.csv that count for nothing."""
    labels = read()
    damaged += labels.without_label()
    return {"types": labels.types(), "none": labels.none}


def _attempt(damaged: list[str], tell: Callable[[], _T]) -> _T | None:
    """What can be read, or None with the reason noted: one damaged file hides nothing else."""
    try:
        return tell()
    except EmbedpipeError as error:
        damaged.append(str(error))
        return None


def backbones(workspace: Workspace) -> list[dict[str, Any]]:
    """The fine-tuned backbones: name, base, what was trained, and quality on their validation documents."""
    return [_backbone(workspace, name) for name in workspace.backbones()]


def _backbone(workspace: Workspace, name: str) -> dict[str, Any]:
    file = workspace.backbone_path(name) / "manifest.json"
    manifest = read_json(file)
    try:
        return {
            "name": f"{FINETUNED}{name}",
            "base": manifest["base"],
            "unfreeze": manifest["recipe"]["unfreeze"],
            "size": manifest["picture"]["size"],
            "classes": manifest["classes"],
            "metrics": manifest["metrics"],
            "licence": manifest["base_licence"],
            "interrupted": manifest["interrupted"],
        }
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"{file} is damaged: {type(error).__name__}") from error


def _space(workspace: Workspace, space: str, labels: Callable[[], Labels], damaged: list[str]) -> dict[str, Any]:
    store = workspace.open_store(space)
    pages = store.table()
    lost = store.lost()
    failures = store.failures()
    lacking = _attempt(damaged, lambda: missing.take(workspace, store, labels=labels()))
    return {
        "space": space,
        "identity": store.identity.to_json(),
        "dim": store.dim,
        "pages": len(pages),
        "documents": len(distinct(pages["document_sha256"])),
        "not_current": _not_current(store),
        "parts": len(store.parts),
        "megabytes": _megabytes(store.path.iterdir()),
        "variants": _attempt(damaged, lambda: _variants(store.path)),
        "outcomes": dict(Counter(pages["outcome"].to_pylist())),
        "converted": _converted(pages["message"]),
        "lost": {"pages": len(lost.pages), "documents": len(distinct(lost.pages["document_sha256"]))},
        "missing": lacking.as_json() if lacking else None,
        "index": _attempt(damaged, lambda: inventory.describe(workspace.index_path(space))),
        "failures": [
            {"path": f.page.source, "page": f.page.page_number or None, "kind": f.kind, "message": f.message}
            for f in failures
            if f.kind != OTHER_FORMAT
        ],
        "unread": [{"path": f.page.source, "format": f.message} for f in failures if f.kind == OTHER_FORMAT],
    }


def _converted(messages: pa.ChunkedArray) -> dict[str, int]:
    """Pages of PDFs that a program has made, by its name and version."""
    told = Counter(text for text in messages.to_pylist() if text and text.startswith(CONVERTED_BY))
    counts: Counter[str] = Counter()
    for text, count in told.items():
        counts[text.removeprefix(CONVERTED_BY).partition("; ")[0]] += count
    return dict(counts)


def _kept(workspace: Workspace, name: str, damaged: list[str]) -> dict[str, Any] | None:
    """How many pages have something in a table of what is kept besides features; None where nothing is kept."""
    table = page_table(workspace.root, name)
    pages = table.newest(["page_index"]).num_rows
    files = [table.folder / part.name for part in [*table.parts, *table.damaged]]
    damaged += [f"{table.folder / part.name} cannot be read: run `embed` again on its files" for part in table.damaged]
    damaged += [table.manifest_damage] if table.manifest_damage else []
    size = sum(file.stat().st_size for file in files if file.exists())
    return {"name": name, "pages": pages, "bytes": size} if files else None


def _not_current(store: FeatureStore) -> dict[str, int]:
    """How many documents are stored and count nowhere, by their standing."""
    aside = store.set_aside()
    standings = dict(zip(aside["document_sha256"].to_pylist(), aside["standing"].to_pylist(), strict=True))
    counts = Counter(standings.values())
    return {standing: counts[standing] for standing in (EARLIER, GONE, PASSED_OVER)}


def _megabytes(files: Iterable[Path]) -> float:
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 1)


def _variants(path: Path) -> dict[str, Any] | None:
    """How many variants of how many pages are kept beside a store; None without any."""
    kept = variant_folders(path)
    if not kept:
        return None
    pages = [sum(part.rows for part in FeatureStore.open(folder).parts) for folder in kept]
    return {"variants": len(kept), "pages": max(pages), "megabytes": _megabytes(f for k in kept for f in k.iterdir())}


def _classifier(workspace: Workspace, name: str) -> dict[str, Any]:
    file = workspace.classifier_path(name) / "manifest.json"
    manifest = read_json(file)
    try:
        facts = {key: manifest[key] for key in ("name", "space", "classes", "metrics", "fitted_on")}
    except KeyError as error:
        raise ArtifactError(f"{file} is damaged: it lacks {error}; fit it again") from error
    return facts | {"versions": len(versions.numbers(workspace.classifier_folder(name)))}


def classifier_versions(workspace: Workspace, name: str) -> list[dict[str, Any]]:
    """The versions of a classifier, newest first, as plain values; `problem` says why one cannot be used."""
    folder = workspace.classifier_folder(name)
    used = versions.current(folder)
    return [
        {"classifier": name, "version": number, "in_use": number == used} | _version(versions.path_of(folder, number))
        for number in reversed(versions.numbers(folder))
    ]


def _version(folder: Path) -> dict[str, Any]:
    try:
        manifest = read_json(folder / versions.MANIFEST)
        check_model(folder, manifest)
        return {
            "time": manifest["fitted_on"].get("time"),
            "kind": manifest["fitted_on"]["kind"],
            "augment": int(manifest["fitted_on"].get("augment") or 0),
            "types": len(manifest["classes"]),
            "documents": manifest["fitted_on"]["documents"],
            "macro_f1": manifest["metrics"]["document_macro_f1"],
            "problem": None,
        }
    except (ArtifactError, LookupError, TypeError, ValueError, AttributeError) as error:
        nothing = dict.fromkeys(("time", "kind", "augment", "types", "documents", "macro_f1"))
        return nothing | {"problem": str(error) if isinstance(error, ArtifactError) else f"{folder} is damaged"}


def describe(values: Mapping[str, Any], *, failures: bool) -> Iterator[str]:
    """The inventory in lines for people; with every failure where asked for."""
    nothing = not values["damaged"]  # else it is not known what there is
    if nothing and not values["spaces"]:
        yield f"{values['artifacts']} holds no features yet: run `embed` on your documents"
    for space in values["spaces"]:
        yield from _describe_space(space, failures=failures, whole=nothing)
    yield from _describe_kept(values)
    types = ", ".join(f"{kind} {n}" for kind, n in values["labels"]["types"].items())
    if none := values["labels"]["none"]:
        types = "; ".join(filter(None, (types, f"none of these: {none}")))
    if types or nothing:
        yield f"labels: {types or 'none yet, made by `label`'}"
    for classifier in values["classifiers"]:
        yield (
            f"classifier {classifier['name']}: {len(classifier['classes'])} types, space {classifier['space']}, "
            f"{_augmented(classifier['fitted_on'])}"
            f"{_held_out(classifier['metrics'])}; {classifier['versions']} versions"
        )
    for backbone in values["backbones"]:
        yield (
            f"backbone {backbone['name']}: {backbone['base']}, {backbone['unfreeze']} trained, "
            f"{len(backbone['classes'])} types, its own output layer on its validation documents: accuracy "
            f"{_figure(backbone['metrics']['document_accuracy'])}"
        )
    for problem in values["damaged"]:
        yield f"damaged: {problem}"
    if nothing and not values["classifiers"]:
        yield "classifiers: none yet, made by `fit-svm`, `fit-knn`, `fit-head`"


def _describe_kept(values: Mapping[str, Any]) -> Iterator[str]:
    """What is kept of pages besides their features."""
    for kept in values["kept"]:
        each = kept["bytes"] / max(1, kept["pages"])
        size = f"{each:.0f} bytes a page, {kept['bytes'] / 1e6:.1f} MB"
        yield f"{kept['name']}: of {kept['pages']} pages, {size}"
    if counts := values["words"]:
        named = ((TEXT_WORDS, "from their text"), (OCR_WORDS, "recognised"), (NO_WORDS, "without any"))
        advice = "" if counts.get(OCR_WORDS) else " (`embed --ocr auto` recognises text in pictures)"
        told = ", ".join(f"{counts[key]} {words}" for key, words in named if counts.get(key))
        yield f"words of pages: {told}{advice if counts.get(NO_WORDS) else ''}"


def _describe_space(space: Mapping[str, Any], *, failures: bool, whole: bool) -> Iterator[str]:
    outcomes = ", ".join(f"{n} {outcome}" for outcome, n in space["outcomes"].items())
    yield (
        f"space {space['space']}: {space['pages']} pages ({outcomes}) of {space['documents']} documents, "
        f"{space['dim']} features a page, {space['parts']} parts, {space['megabytes']} MB"
    )
    if any(space["not_current"].values()):
        named = ((EARLIER, "earlier versions"), (GONE, "of files that are gone"), (PASSED_OVER, "passed over by now"))
        counts = ", ".join(f"{n} {words}" for key, words in named if (n := space["not_current"][key]))
        yield (
            f"  kept, but counted, learnt from and found nowhere: {counts}; put files back and run `embed` to have "
            "them again, `forget --gone` removes them"
        )
    if lost := space["lost"]["pages"]:
        yield f"  lost: {lost} pages of {space['lost']['documents']} documents: run `embed` again on their files"
    if lacking := space["missing"]:
        yield from (f"  {line}" for line in missing.in_words(lacking))
    if kept := space["variants"]:
        yield f"  variants: {kept['variants']} of up to {kept['pages']} labelled pages, {kept['megabytes']} MB"
    held = space["index"]
    if held or whole:
        yield f"  index: {inventory.in_words(held)}" if held else "  index: none yet, made by `index` or `similar`"
    yield from (f"  pages of documents that {name} made PDFs of: {count}" for name, count in space["converted"].items())
    kinds = Counter(failure["kind"] for failure in space["failures"])
    if kinds:
        yield "  failures: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    if unread := space["unread"]:
        yield f"  not read: {in_words(counted(file['format'] for file in unread))}: embedpipe does not read these"
    for file in unread if failures else ():
        yield f"    {file['path']}: not read: {file['format']}"
    for failure in space["failures"] if failures else ():
        page = f"#page={failure['page']}" if failure["page"] else ""
        yield f"    {failure['path']}{page}: {failure['kind']}: {failure['message']}"


def _augmented(fitted_on: Mapping[str, Any]) -> str:
    return f"{fitted_on['augment']} variants of each page, " if fitted_on.get("augment") else ""


def _held_out(metrics: Mapping[str, Any]) -> str:
    """Quality of documents, which is what people ask for, and of their pages."""
    if metrics.get("document_accuracy") is None and metrics.get("accuracy") is None:
        if metrics.get("seen_documents"):
            return "not measured, for the network itself was trained on its documents"
        return "not measured, for each type has one group of documents only"
    documents, pages = (
        f"accuracy {_figure(metrics.get(f'{prefix}accuracy'))}, macro-F1 {_figure(metrics.get(f'{prefix}macro_f1'))}"
        for prefix in ("document_", "")
    )
    return f"held-out documents: {documents}; their pages: {pages}"


def _figure(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.3f}"


@dataclass(frozen=True, slots=True)
class Standing:
    """How far the work on the artifacts is.

    Attributes:
        documents: Documents of the space with most of them.
        labelled: How many of these have a label.
        types: How many types have one.
        scans: Scans and photos among those without a label.
        classifiers: Names.
    """

    documents: int
    labelled: int
    types: int
    scans: int
    classifiers: tuple[str, ...]


def standing(workspace: Workspace) -> Standing:
    """How far the work is, in few reads; raises EmbedpipeError where what is there cannot be read."""
    labels = workspace.labels()
    labelled = {sha256 for sha256, _ in labels.rows}
    best: dict[str, str] = {}
    for space in workspace.spaces():
        table = workspace.open_store(space).table()
        kinds = dict.fromkeys(distinct(table["document_sha256"]), "")
        kinds |= dict(rows_with(table, "page_index", {0}, ("document_sha256", "source_kind")))
        best = max(best, kinds, key=len)
    scans = sum(kind in ("scan", "photo") for sha256, kind in best.items() if sha256 not in labelled)
    known = len(best.keys() & labelled)
    return Standing(len(best), known, len(labels.types()), scans, tuple(workspace.classifiers()))
