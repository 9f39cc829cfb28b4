"""The three ways to use a pretrained network on other pictures, side by side on the same documents.

Frozen features with a classifier (Donahue et al., 2014, arXiv:1310.1531), a new output layer on the frozen network, and
later layers that are trained further (Yosinski et al., 2014, arXiv:1411.1792).
"""

import contextlib
import shutil
import time
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.backbones.engines import EngineChoice
from embedpipe.classifiers.bundles import build_classifier, fit_classifier, log_scores
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.group_guesses import grouped
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons import missing
from embedpipe.classifiers.lessons.missing import Missing
from embedpipe.classifiers.lessons.reading import labelled_pages
from embedpipe.classifiers.metrics import group_origins
from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import LabelsError
from embedpipe.embedding.streaming import Settings
from embedpipe.finetuning.finetune import PageScores, finetune
from embedpipe.finetuning.training_loop import FinetuningRecipe, Watch
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Labels
from embedpipe.store.workspace import Workspace

FROZEN = {
    "frozen features + svm": "svm",
    "frozen features + knn": "knn",
    "replaced output layer": "head",
}
"""The ways that leave the network as it is, and their classifiers."""

TUNED = "fine-tuned later layers"


@dataclass(frozen=True, slots=True)
class Way:
    """One way on the held-out documents.

    Attributes:
        name: A key of `FROZEN`, or `TUNED`.
        metrics: Of `finetune.PageScores.metrics`, of the held-out pages and documents.
        seconds: To fit or train, features of frozen networks not counted.
        detail: What was trained.
    """

    name: str
    metrics: dict[str, Any]
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Transfers:
    """The ways on one division of the documents.

    Attributes:
        ways: In the order of `FROZEN`, then `TUNED`.
        documents: Held out, and never seen by any of them.
        learnt: Documents that the ways learn from.
        groups: Of the held-out documents.
        unlearnt: Types that are only among the held-out documents.
        missing: What labels lack, and so was neither learnt from nor held out.
        origins: Of `metrics.group_origins`, of all documents: whether groups were given or guessed.
    """

    ways: list[Way]
    documents: int
    learnt: int
    groups: int
    unlearnt: list[str] = field(default_factory=list)
    missing: Missing | None = None
    origins: dict[str, int] = field(default_factory=dict)


def compare_ways(
    workspace: Workspace,
    store: FeatureStore,
    recipe: FinetuningRecipe,
    *,
    settings: Settings | None = None,
    choice: EngineChoice | None = None,
    watch: Watch | None = None,
    allow_missing: bool = False,
) -> Transfers:
    """Holds out a fifth of the labelled documents, by group, and measures every way on them.

    Args:
        workspace: Gives labels and documents; nothing is left in it.
        store: Features of the frozen network.
        recipe: How the network is fine-tuned, and which pages all ways use.
        settings: How documents are read.
        choice: Device of the training.
        watch: Called as the training goes on.
        allow_missing: Compare without what labelled documents have lost.

    Raises:
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
    """
    selection = Selection.parse(recipe.pages)
    known = labelled_pages(workspace, store, selection, allow_missing=allow_missing)
    pages = grouped(workspace, known, store.blocks)
    tested = grouped_folds(pages) == 0
    if tested.all() or len(set(pages.y[~tested])) == 1:
        raise LabelsError("too few groups to hold some out: label more documents of each type")
    tuned, tuned_way = _tune(workspace, recipe, set(pages.documents[tested]), (settings, choice, watch))
    held_out = {key: row for row, key in enumerate(_keys(pages)) if tested[row]}
    both = [(held_out[key], row) for row, key in enumerate(_keys(tuned.pages)) if key in held_out]
    test, scored = (np.array(rows, np.int64) for rows in zip(*both, strict=True))
    train = np.flatnonzero(~tested)
    ways = [_frozen(name, build_classifier(kind, store.blocks), pages, train, test) for name, kind in FROZEN.items()]
    tested_pages = replace(tuned.pages.take(scored), groups=pages.groups[test], origins=_of(pages.origins, test))
    same = PageScores(tested_pages, tuned.classes, tuned.log_scores[scored])
    return Transfers(
        [*ways, replace(tuned_way, metrics=same.metrics())],
        documents=len(set(pages.documents[test])),
        learnt=len(set(pages.documents[train])),
        groups=len(set(pages.groups[test])),
        unlearnt=sorted(set(pages.y[test]) - set(pages.y[train])),
        missing=missing.take(workspace, store, selection),
        origins=group_origins(pages),
    )


def _keys(pages: LabelledPages) -> list[tuple[str, int]]:
    return list(zip(pages.documents.tolist(), pages.page_indices.tolist(), strict=True))


def _of(column: NDArray[Any] | None, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    return None if column is None else column[rows]


def _frozen(name: str, classifier: Any, pages: LabelledPages, train: NDArray[np.int64], test: NDArray[np.int64]) -> Way:
    begin = time.perf_counter()
    fitted = fit_classifier(classifier, pages.X[train], pages.y[train], pages.weights[train])
    seconds = time.perf_counter() - begin
    learnt = sorted(set(pages.y[train]))
    scores = PageScores(pages.take(test), learnt, log_scores(fitted, pages.X[test]))
    return Way(name, scores.metrics(), seconds)


def _tune(
    workspace: Workspace,
    recipe: FinetuningRecipe,
    test: set[str],
    how: tuple[Settings | None, EngineChoice | None, Watch | None],
) -> tuple[PageScores, Way]:
    """Trains in a workspace of its own, so that the result is not taken for one that saw all documents."""
    settings, choice, watch = how
    begin = time.perf_counter()
    with Aside("compare") as folder:
        aside = Workspace(folder)
        aside.claim()
        Labels(workspace.labels().rows).save(aside.labels_file)
        with contextlib.suppress(OSError):  # without it, documents are looked for where they were labelled
            shutil.copy(workspace.root / "sources.parquet", folder)
        tuned = finetune(aside, recipe, "compared", test=test, settings=settings, choice=choice, watch=watch)
    if tuned.test is None:
        raise LabelsError("none of the held-out documents is where it was: run `embed` on them again")
    detail = f"{recipe.unfreeze} of {recipe.backbone}; {tuned.manifest['fit']}"
    return tuned.test, Way(TUNED, {}, time.perf_counter() - begin, detail)


def as_json(found: Transfers) -> dict[str, Any]:
    """As the command line prints it."""
    return {
        "ways": [
            {"way": w.name, "metrics": w.metrics, "seconds": round(w.seconds, 2), "detail": w.detail}
            for w in found.ways
        ],
        "held_out_documents": found.documents,
        "held_out_groups": found.groups,
        "learnt_documents": found.learnt,
        "split": "one hold-out by group, the same for all ways",
        "types_not_learnt": found.unlearnt,
        "missing": found.missing.as_json() if found.missing else None,
        **found.origins,
    }
