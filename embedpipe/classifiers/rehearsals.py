"""What a classifier would say of each labelled page, had it not seen it: what figures and decisions are learnt from."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.calibration.confidence import HeldOutScores
from embedpipe.classifiers.evaluation import HeldOut, cross_validate, document_answers, document_scores, page_answers
from embedpipe.classifiers.folds import LEARNT
from embedpipe.classifiers.gains import Gain, gain_of
from embedpipe.classifiers.group_guesses import separated
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.drawn import by_few_threads, drawn_folds
from embedpipe.classifiers.lessons.held_out import held_out_of
from embedpipe.classifiers.lessons.reading import learnt_pages, none_pages
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.parts import Plan
from embedpipe.classifiers.unknowns import Strangers, distances_and_strangers, folds_of_all, limited, together
from embedpipe.embedding.kind_table import known_kinds
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import NONE
from embedpipe.store.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A classifier's answers for the labelled pages, each by one that had seen nothing of the page's group.

    Attributes:
        known: All labelled pages, in groups that share no source, as given or guessed, nor nearly the same picture.
        folds: Of `lessons.drawn.drawn_folds`, for each of these.
        pages: Those that were held out: all, unless there are many or the network itself was trained on some.
        held_out: Their scores.
        of_pages: What decisions on pages are learnt from.
        of_documents: What decisions on documents are learnt from, in the order of `evaluation.document_scores`.
        everything: The known pages, then those that are labelled as none of the types.
        none_distances: How far the pages of these are from the labelled pages of other folds, (m,).
        strangers: Answers about documents of types left out in turn; None where there are too few types.
        plan: The parts of the classifier that is fitted on all pages.
        offered: Names of the parts that it could have had.
    """

    known: LabelledPages
    folds: NDArray[np.int64]
    pages: LabelledPages
    held_out: HeldOut
    of_pages: HeldOutScores
    of_documents: HeldOutScores
    everything: LabelledPages
    none_distances: NDArray[np.float64]
    strangers: Strangers | None
    plan: Plan
    offered: list[str]

    @property
    def gain(self) -> Gain | None:
        """What the other parts add to the first one, on documents that were held out; None where there is no other."""
        if self.held_out.alone is None or len(self.held_out.names) == 1:
            return None
        pages, held_out = self.held_out.measured(self.pages)
        return gain_of(pages, held_out)

    def measured_documents(self) -> NDArray[np.bool_]:
        """Which rows of `of_documents` figures are of: those whose type was learnt while they were held out, (n,)."""
        rows = document_scores(self.pages, self.held_out).rows
        return np.ones(len(rows), bool) if self.held_out.measurable is None else self.held_out.measurable[rows]


@by_few_threads
def rehearse(
    workspace: Workspace, store: FeatureStore, recipe: TrainingRecipe, *, allow_missing: bool = False, seed: int = 0
) -> Rehearsal:
    """Cross-validates a recipe on the labelled pages, with groups, given or guessed, and near copies kept together.

    Args:
        workspace: The artifacts.
        store: The features.
        recipe: What is measured.
        allow_missing: Measure without what labelled documents have lost.
        seed: Of the division into folds.

    Raises:
        LabelsError: There are too few labels.
        ArtifactError: Labelled documents have lost features, and that is not allowed.
        UnknownNameError: There is no such classifier or hyper-parameter.
    """
    store = recipe.features_of(workspace, store)
    found = learnt_pages(workspace, store, recipe, allow_missing=allow_missing)
    everything = apart(workspace, store, together(found, none_pages(workspace, store, recipe, found)))
    everything = replace(everything, kinds=known_kinds(workspace, everything.documents, everything.kinds))
    known = everything.take(everything.y != NONE) if len(everything.y) > len(found.y) else everything
    folds = drawn_folds(known, seed)
    offered = recipe.plan(store.blocks, known)
    held_out = cross_validate(offered, known, folds)
    chosen = offered.only(held_out.names)
    all_folds = folds_of_all(everything, folds)
    far, strangers = distances_and_strangers(chosen, held_out, everything, all_folds)
    rest = replace(known, X=known.X[:, :0], words=None, variants=None) if (folds == LEARNT).any() else known
    pages, distances = held_out_of(rest, folds), far[: len(folds)][folds != LEARNT]  # figures need no features
    of_pages, of_documents = page_answers(pages, held_out, distances), document_answers(pages, held_out, distances)
    if strangers is not None:
        of_pages, of_documents = limited(of_pages, strangers.pages), limited(of_documents, strangers.documents)
    answers = of_pages, of_documents, everything, far[len(folds) :], strangers
    return Rehearsal(known, folds, pages, held_out, *answers, chosen, offered.names)


def apart(workspace: Workspace, store: FeatureStore, pages: LabelledPages) -> LabelledPages:
    """The pages in groups that share no source, as given or guessed, nor nearly the same picture."""
    plain = store.origin
    own = separated(workspace, replace(pages, X=pages.X[:, : plain.dim]), plain.blocks)
    return replace(own, X=pages.X)
