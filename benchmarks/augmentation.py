"""Measures what variants of the labelled pages bring: on clean documents, and on scans of them.

    python benchmarks/augmentation.py DOCUMENTS --labels LABELS.csv --artifacts DIR

DOCUMENTS holds a folder for each type; LABELS.csv has the columns path,label,group. Classifiers are fitted on clean
pages, without and with variants, and tell the documents of the held-out folds, by group: as they are, and as a scanner
and a copier would show them. Prints a Markdown table, means over the seeds of the folds; gains are over the same folds
without variants, ± their standard error. Novel is the share of pages that are called so, where one in twenty of the
clean ones is.
"""

import hashlib
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pymupdf
import typer
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from embedpipe import Settings, TrainingRecipe, Workspace, embed, load_backbone
from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import build_classifier, fit_classifier, fit_novelty, log_scores
from embedpipe.classifiers.evaluation import HeldOut
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.group_guesses import isolated, near_copies
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import learnt_pages, make_variants
from embedpipe.classifiers.lessons.variants import Watch
from embedpipe.classifiers.metrics import metrics_of
from embedpipe.pages.rendering import Selection
from embedpipe.samples.scanning import choose_edge, scan
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels

_FAMILIAR = 0.95
_KEYS = ("document_accuracy", "document_macro_f1")


def scanned(page: pymupdf.Page, rng: random.Random) -> Image.Image:
    """What a scanner makes of a page: turned, greyish, noisy, unevenly lit."""
    return scan(rng, page, color=rng.random() < 0.5, edge=choose_edge(rng))  # noqa: PLR2004


def copied(page: pymupdf.Page, rng: random.Random) -> Image.Image:
    """What a copier makes of a page: blurred, moved, black and white."""
    grey = scan(rng, page, color=False).filter(ImageFilter.GaussianBlur(rng.uniform(0.3, 0.9)))
    right, down = rng.uniform(-0.03, 0.03) * grey.width, rng.uniform(-0.03, 0.03) * grey.height
    moved = grey.transform(grey.size, Image.Transform.AFFINE, (1, 0, right, 0, 1, down), fillcolor=230)
    level = rng.randint(120, 190)
    return moved.point([255 * (shade > level) for shade in range(256)])


KINDS = {"scans": scanned, "copies": copied}


def spoil(kind: str, workspace: Workspace, pages: LabelledPages, folder: Path) -> Iterator[tuple[str, str, int]]:
    """Writes each page as a JPEG, as scanner or copier would send it; yields its SHA-256 and the page that it shows."""
    sources = workspace.sources()
    for sha256 in dict.fromkeys(pages.documents):
        document = sources.document(sha256)
        if document is None:
            raise typer.BadParameter(f"the document {sha256} is gone")
        with pymupdf.open(document.path) as opened:
            for index in pages.page_indices[pages.documents == sha256].tolist():
                rng = random.Random(f"{kind} {sha256} {index}")
                file = folder / f"{sha256}-{index}.jpg"
                KINDS[kind](opened[index], rng).convert("RGB").save(file, quality=rng.randint(40, 85))
                yield hashlib.sha256(file.read_bytes()).hexdigest(), sha256, index


def spoilt_features(kind: str, workspace: Workspace, pages: LabelledPages, backbone: Backbone) -> NDArray[np.float32]:
    """Features of the pages as scanner or copier show them, in the order of the pages."""
    with tempfile.TemporaryDirectory() as folder:
        (pictures := Path(folder) / "pictures").mkdir()
        shown = {picture: (sha256, index) for picture, sha256, index in spoil(kind, workspace, pages, pictures)}
        aside = Workspace(Path(folder) / "artifacts")
        embed(aside, [str(pictures)], backbone)
        store = aside.store()
        table = store.pages()
        keys = [shown[sha256] for sha256 in table["document_sha256"]]
        ids = dict(zip(keys, table["page_id"], strict=True))
        wanted = zip(pages.documents, pages.page_indices.tolist(), strict=True)
        return store.features(np.array([ids[key] for key in wanted], np.int64))


@dataclass
class Table:
    """Figures by classifier and variants, a row for each seed: accuracy and macro-F1 of each kind, novel of each."""

    figures: dict[tuple[str, int], list[dict[str, tuple[float, float, float]]]] = field(default_factory=dict)
    seconds: dict[tuple[str, int], list[float]] = field(default_factory=dict)

    def show(self) -> None:
        """Prints the Markdown table."""
        kinds = list(next(iter(self.figures.values()))[0])
        columns = [
            "classifier",
            "variants",
            *(f"{kind}: {w}" for kind in kinds for w in ("accuracy", "macro-F1", "gain", "novel")),
        ]
        print(f"| {' | '.join(columns)} | seconds |\n{'| --- ' * (len(columns) + 1)}|")
        for (classifier, count), rows in self.figures.items():
            cells = [classifier, str(count)]
            for kind in kinds:
                values = np.array([row[kind] for row in rows])
                plain = np.array([row[kind] for row in self.figures[classifier, 0]])
                gain = values[:, 1] - plain[:, 1]
                error = gain.std(ddof=1) / np.sqrt(len(gain)) if len(gain) > 1 else float("nan")
                gained = f"{gain.mean():+.3f} ± {error:.3f}" if count else "-"
                cells += [
                    f"{values[:, 0].mean():.3f}",
                    f"{values[:, 1].mean():.3f}",
                    gained,
                    f"{values[:, 2].mean():.2f}",
                ]
            print(f"| {' | '.join(cells)} | {np.mean(self.seconds[classifier, count]):.1f} |", flush=True)


def measure(
    kind: str,
    store: FeatureStore,
    pages: LabelledPages,
    folds: NDArray[np.int64],
    tests: dict[str, NDArray[np.float32]],
) -> tuple[dict[str, tuple[float, float, float]], float]:
    """Figures of every kind of held-out page by classifiers that learnt from the other folds; seconds to fit."""
    classes = sorted(set(pages.y))
    scores = {name: np.full((len(pages.y), len(classes)), -30.0) for name in tests}
    distances = {name: np.empty(len(pages.y)) for name in tests}
    seconds = 0.0
    for fold in np.unique(folds):
        test, lessons = folds == fold, pages.lessons(folds != fold)
        begin = time.perf_counter()
        fitted = fit_classifier(build_classifier(kind, store.blocks), *lessons)
        seconds += time.perf_counter() - begin
        novelty = fit_novelty(fitted, *lessons)
        columns = np.searchsorted(classes, np.unique(lessons.y))
        for name, X in tests.items():
            scores[name][np.ix_(test, columns)] = log_scores(fitted, X[test])
            distances[name][test] = novelty.distances(fitted[:-1].transform(X[test]))
    limit = np.quantile(next(iter(distances.values())), _FAMILIAR)
    found = {}
    for name in tests:
        metrics = metrics_of(pages, HeldOut(classes, scores[name], folds))
        accuracy, macro_f1 = (float(metrics[key]) for key in _KEYS)
        found[name] = (accuracy, macro_f1, float((distances[name] > limit).mean()))
    return found, seconds


def main(
    documents: str,
    labels: Annotated[Path, typer.Option()],
    artifacts: Annotated[Path, typer.Option(help="Where features are kept between runs.")],
    pages: str = "1-3",
    counts: str = "1,2,4",
    seeds: str = "0,1,2",
    classifiers: str = "head,svm,knn",
) -> None:
    """Prints the table."""
    workspace, backbone = Workspace(artifacts), load_backbone()
    embed(workspace, [documents], backbone, settings=Settings(Selection.parse(pages)))
    Labels.from_csv(labels, workspace.sources().sha256_at).save(workspace.labels_file)
    store = workspace.store(space=backbone.identity.space)
    numbers = [int(count) for count in counts.split(",")]
    recipe = TrainingRecipe("head", pages=pages, augment=max(numbers))
    begin = time.perf_counter()
    make_variants(workspace, store, recipe, lambda: backbone, watch=Watch(notice=print))
    print(f"variants: {time.perf_counter() - begin:.0f} s", flush=True)
    known = learnt_pages(workspace, store, recipe)
    known = isolated(known, near_copies(known, store.blocks))
    tests = {"clean": known.X} | {kind: spoilt_features(kind, workspace, known, backbone) for kind in KINDS}
    table = Table()
    for kind in classifiers.split(","):
        for count in [0, *numbers]:
            some = replace(known, variants=known.variants[:, :count] if count and known.variants is not None else None)
            for seed in map(int, seeds.split(",")):
                found, seconds = measure(kind, store, some, grouped_folds(known, seed=seed), tests)
                table.figures.setdefault((kind, count), []).append(found)
                table.seconds.setdefault((kind, count), []).append(seconds)
                print(f"<!-- {kind} {count} {seed}: {found}, {seconds:.1f} s -->", flush=True)
    table.show()


if __name__ == "__main__":
    typer.run(main)
