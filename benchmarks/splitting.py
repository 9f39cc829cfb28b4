"""Measures how well piles are cut into documents, on documents of groups that the cutting was not learnt from.

    python benchmarks/splitting.py --artifacts DIR

DIR holds embedded documents with labels. In each of five grouped folds, the held-out documents are put one after the
other into one stream of pages, without blank pages; the others teach. Three kinds of piles: in random order; sorted by
type, so that most neighbours are alike; and documents of up to four pages only. Each with the papers' own sizes, and
as a scanner makes them, all of one size. Prints a Markdown table.
"""

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from embedpipe import Workspace
from embedpipe.classifiers.boundaries import BoundaryModel
from embedpipe.classifiers.bundles import build_classifier
from embedpipe.classifiers.calibration.confidence import expected_calibration_error
from embedpipe.classifiers.evaluation import cross_validate
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.pages.rendering import Selection

SHORT = 4
Cuts = NDArray[np.bool_]


def spans(cuts: Cuts) -> list[tuple[int, int]]:
    """First and last page of each part of a stream that is cut after some pages."""
    ends = [*np.flatnonzero(cuts).tolist(), len(cuts)]
    return list(zip([0, *(end + 1 for end in ends[:-1])], ends, strict=True))


def panoptic_quality(found: list[tuple[int, int]], true: list[tuple[int, int]]) -> float:
    """Kirillov et al., 2019, for streams of pages as in van Heusden et al., 2022: parts that overlap by half match."""
    overlaps = []
    for a, b in true:
        for c, d in found:
            overlap = (min(b, d) - max(a, c) + 1) / (max(b, d) - min(a, c) + 1)
            if overlap > 0.5:  # noqa: PLR2004
                overlaps.append(overlap)
    return sum(overlaps) / (len(found) + len(true)) * 2 if overlaps else 0.0


def order(kind: str, documents: list[NDArray[np.int64]], y: NDArray[Any], seed: int) -> list[NDArray[np.int64]]:
    """The documents of a pile, each as its pages' rows."""
    rng = np.random.default_rng(seed)
    pile = [documents[i] for i in rng.permutation(len(documents)) if kind != "short" or len(documents[i]) <= SHORT]
    return sorted(pile, key=lambda rows: str(y[rows[0]])) if kind == "by type" else pile


def figures(cuts: list[Cuts], truth: list[Cuts]) -> str:
    """Precision, recall and F1 of boundaries, share of documents found exactly, panoptic quality."""
    tp, fp, fn = (sum(int(np.sum(f(c, t))) for c, t in zip(cuts, truth, strict=True)) for f in COUNTS)
    pairs = [(spans(c), spans(t)) for c, t in zip(cuts, truth, strict=True)]
    exact = sum(len(set(found) & set(true)) for found, true in pairs) / sum(len(true) for _, true in pairs)
    quality = np.mean([panoptic_quality(found, true) for found, true in pairs])
    values = (tp / max(tp + fp, 1), tp / (tp + fn), 2 * tp / (2 * tp + fp + fn), exact, quality)
    return " | ".join(f"{value:.3f}" for value in values)


COUNTS = (lambda c, t: c & t, lambda c, t: c & ~t, lambda c, t: ~c & t)


def calibration(probabilities: list[NDArray[np.float64]], truth: list[Cuts]) -> str:
    """Expected calibration error of boundaries, and of whole documents as `classify --split` tells them."""
    p, t = np.concatenate(probabilities), np.concatenate(truth)
    whole, right = [], []
    for stream, true in zip(probabilities, truth, strict=True):
        borders = np.r_[1.0, stream, 1.0]
        for first, last in spans(stream > 0.5):  # noqa: PLR2004
            whole.append(borders[first] * borders[last + 1] * np.prod(1.0 - borders[first + 1 : last + 1]))
            right.append((first, last) in spans(true))
    boundary = expected_calibration_error(np.maximum(p, 1 - p), (p > 0.5) == t)  # noqa: PLR2004
    return f"{boundary:.3f} | {expected_calibration_error(np.array(whole), np.array(right)):.3f}"


def main(
    artifacts: Annotated[Path, typer.Option(help="Embedded and labelled documents.")] = Path("artifacts"),
    seeds: Annotated[int, typer.Option(help="Splits to average over.")] = 3,
) -> None:
    """Prints the table."""
    workspace = Workspace(artifacts)
    store = workspace.store()
    pages = labelled_pages(workspace, store, Selection())
    sizes = store.pages().set_index("page_id").loc[pages.page_ids, ["width", "height"]].to_numpy(np.float64)
    blocks = [(start, stop) for _, start, stop in store.blocks]
    found: dict[tuple[str, str, str], list[Any]] = {}
    for seed in range(seeds):
        folds = grouped_folds(pages, seed=seed)
        types = cross_validate(lambda: build_classifier("svm", store.blocks), pages, folds).log_scores.argmax(axis=1)
        for fold in np.unique(folds):
            train, held_out = np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)
            learnt = LabelledPages(*(getattr(pages, name)[train] for name in LabelledPages.__dataclass_fields__))
            model = BoundaryModel(blocks).fit(learnt, sizes[train])
            by_document = [
                rows[np.argsort(pages.page_indices[rows])]
                for name in np.unique(pages.documents[held_out])
                for rows in [held_out[pages.documents[held_out] == name]]
            ]
            for kind in ("random", "by type", "short"):
                pile = order(kind, by_document, pages.y, seed)
                stream = np.concatenate(pile)
                truth = np.zeros(len(stream) - 1, bool)
                truth[np.cumsum([len(rows) for rows in pile])[:-1] - 1] = True
                change = (types[stream][1:] != types[stream][:-1]).astype(float)
                for paper in ("own sizes", "one size"):
                    measured = sizes[stream] if paper == "own sizes" else np.ones((len(stream), 2))
                    learnt_cuts = model.probabilities(pages.X[stream], measured)
                    for way, p in (
                        ("every page", np.ones_like(change)),
                        ("type change", change),
                        ("learnt", learnt_cuts),
                    ):
                        found.setdefault((kind, paper if way == "learnt" else "-", way), []).append((p, truth))
    print("| pile | paper | cut at | precision | recall | F1 | exact documents | panoptic quality | ECE | ECE whole |")
    print("|" + " --- |" * 10)
    for (kind, paper, way), streams in found.items():
        p, truth = [s[0] for s in streams], [s[1] for s in streams]
        error = calibration(p, truth) if way == "learnt" else "- | -"
        print(f"| {kind} | {paper} | {way} | {figures([s > 0.5 for s in p], truth)} | {error} |", flush=True)  # noqa: PLR2004


if __name__ == "__main__":
    typer.run(main)
