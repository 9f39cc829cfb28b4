"""What the artifacts hold, and whether it is what their manifests say."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from embedpipe import index, variants, versions
from embedpipe.classifiers import check_model
from embedpipe.errors import ArtifactError
from embedpipe.features import FeatureStore
from embedpipe.files import read_json
from embedpipe.finetuned import check_weights
from embedpipe.workspace import FINETUNED, Workspace


def take(workspace: Workspace) -> dict[str, Any]:
    """Spaces, labels, classifiers, indexes and failures, as plain values."""
    return {
        "artifacts": str(workspace.root),
        "spaces": [_space(workspace, space) for space in workspace.spaces()],
        "labels": {"file": str(workspace.labels_file), "types": workspace.labels().types()},
        "classifiers": [_classifier(workspace, name) for name in workspace.classifiers()],
        "backbones": backbones(workspace),
        "sources": len(workspace.sources()),
    }


def backbones(workspace: Workspace) -> list[dict[str, Any]]:
    """The fine-tuned backbones: name, base, what was trained, and quality on their validation documents."""
    rows = []
    for name in workspace.backbones():
        file = workspace.backbone_path(name) / "manifest.json"
        manifest = read_json(file)
        try:
            rows.append(
                {
                    "name": f"{FINETUNED}{name}",
                    "base": manifest["base"],
                    "unfreeze": manifest["recipe"]["unfreeze"],
                    "size": manifest["picture"]["size"],
                    "classes": manifest["classes"],
                    "metrics": manifest["metrics"],
                    "licence": manifest["base_licence"],
                    "interrupted": manifest["interrupted"],
                }
            )
        except (KeyError, TypeError) as error:
            raise ArtifactError(f"{file} is damaged: {type(error).__name__}") from error
    return rows


def _space(workspace: Workspace, space: str) -> dict[str, Any]:
    store = FeatureStore.open(workspace.store_path(space))
    pages = store.pages()
    return {
        "space": space,
        "identity": store.identity.to_json(),
        "dim": store.dim,
        "pages": len(pages),
        "documents": int(pages["document_sha256"].nunique()),
        "parts": len(store.parts),
        "megabytes": _megabytes(store.path.iterdir()),
        "variants": _variants(store.path),
        "outcomes": dict(Counter(pages["outcome"])),
        "index": index.describe(workspace.index_path(space)),
        "failures": [
            {"path": f.page.source, "page": f.page.page_number or None, "kind": f.kind, "message": f.message}
            for f in store.failures()
        ],
    }


def _megabytes(files: Iterable[Path]) -> float:
    return round(sum(file.stat().st_size for file in files if file.is_file()) / 1e6, 1)


def _variants(path: Path) -> dict[str, Any] | None:
    """How many variants of how many pages are kept beside a store; None without any."""
    kept = variants.folders(path)
    if not kept:
        return None
    pages = [sum(part.rows for part in FeatureStore.open(folder).parts) for folder in kept]
    return {"variants": len(kept), "pages": max(pages), "megabytes": _megabytes(f for k in kept for f in k.iterdir())}


def _classifier(workspace: Workspace, name: str) -> dict[str, Any]:
    manifest = read_json(workspace.classifier_path(name) / "manifest.json")
    facts = {key: manifest[key] for key in ("name", "space", "classes", "metrics", "fitted_on")}
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


def verify(workspace: Workspace) -> list[str]:
    """Compares every part, index and classifier with its manifest; returns what is wrong, a line each."""
    problems: list[str] = []
    for space in workspace.spaces():
        problems += FeatureStore.open(workspace.store_path(space)).verify()
        for kept in variants.folders(workspace.store_path(space)):
            try:
                problems += FeatureStore.open(kept).verify()
            except ArtifactError as error:
                problems.append(str(error))
        folder = workspace.index_path(space)
        if (folder / "manifest.json").exists():
            try:
                problems += index.verify(folder, read_json(folder / "manifest.json"))
            except ArtifactError as error:
                problems.append(str(error))
    for name in workspace.classifiers():
        folder = workspace.classifier_path(name)
        try:
            check_model(folder, read_json(folder / "manifest.json"))
        except ArtifactError as error:
            problems.append(str(error))
    for name in workspace.backbones():
        folder = workspace.backbone_path(name)
        try:
            check_weights(folder, read_json(folder / "manifest.json"))
        except ArtifactError as error:
            problems.append(str(error))
    return problems


def describe(values: Mapping[str, Any], *, failures: bool) -> Iterator[str]:
    """The inventory in lines for people; with every failure where asked for."""
    if not values["spaces"]:
        yield f"{values['artifacts']} holds no features yet: run `embed` on your documents"
    for space in values["spaces"]:
        outcomes = ", ".join(f"{n} {outcome}" for outcome, n in space["outcomes"].items())
        yield (
            f"space {space['space']}: {space['pages']} pages ({outcomes}) of {space['documents']} documents, "
            f"{space['dim']} features a page, {space['parts']} parts, {space['megabytes']} MB"
        )
        if kept := space["variants"]:
            yield f"  variants: {kept['variants']} of up to {kept['pages']} labelled pages, {kept['megabytes']} MB"
        held = space["index"]
        yield f"  index: {index.in_words(held)}" if held else "  index: none yet, made by `index` or `similar`"
        kinds = Counter(failure["kind"] for failure in space["failures"])
        if kinds:
            yield "  failures: " + ", ".join(f"{n} {kind}" for kind, n in kinds.items())
        for failure in space["failures"] if failures else ():
            page = f"#page={failure['page']}" if failure["page"] else ""
            yield f"    {failure['path']}{page}: {failure['kind']}: {failure['message']}"
    types = values["labels"]["types"]
    yield f"labels: {', '.join(f'{kind} {n}' for kind, n in types.items()) or 'none yet, made by `label`'}"
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
            f"{backbone['metrics']['document_accuracy'] or 0:.3f}"
        )
    if not values["classifiers"]:
        yield "classifiers: none yet, made by `fit-svm`, `fit-knn`, `fit-head`"


def _augmented(fitted_on: Mapping[str, Any]) -> str:
    return f"{fitted_on['augment']} variants of each page, " if fitted_on.get("augment") else ""


def _held_out(metrics: Mapping[str, Any]) -> str:
    if metrics["accuracy"] is None:
        return "not measured, for the network itself was trained on its documents"
    return f"held-out pages: accuracy {metrics['accuracy']:.3f}, macro-F1 {metrics['macro_f1']:.3f}"
