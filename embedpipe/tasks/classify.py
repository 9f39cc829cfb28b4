"""New files to types: the pages go through the same steps as in `embed`, then the classifier predicts types."""

import contextlib
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers.calibration.decisions import Calibration, Rule
from embedpipe.classifiers.calibration.shift import Asked, compare
from embedpipe.classifiers.documents.rows import Gathered
from embedpipe.classifiers.saved.on_disk import brief
from embedpipe.classifiers.scores.pooling import effective_pages, page_weights, weighted_means
from embedpipe.core.errors import ArtifactError, LabelsError
from embedpipe.core.records import (
    PARTIAL,
    SAYS_NOTHING,
    SHOWN,
    WHOLE_FILE,
    Document,
    Example,
    FeatureBatch,
    PageFailure,
    Prediction,
    Shift,
)
from embedpipe.embedding.intake import Report
from embedpipe.embedding.kind_table import read_kinds
from embedpipe.embedding.reading import Progress, Reading
from embedpipe.embedding.streaming import Settings
from embedpipe.embedding.warm import Warm
from embedpipe.pages.rendering import Selection
from embedpipe.pages.source_kinds import codes, document_kind
from embedpipe.pages.walking import Input
from embedpipe.store.labels import NONE, Label, Labels
from embedpipe.store.workspace import Workspace

if TYPE_CHECKING:  # only new pages need the network, and only who shows examples the labelled pages
    from embedpipe.backbones.engines import Backbone
    from embedpipe.classifiers.bundles import ClassifierBundle
    from embedpipe.classifiers.reasons.evidence import Examples
    from embedpipe.classifiers.saved.answering import Answerer

BY_LABEL = "labels.csv"
"""In place of a classifier, where it was a person who gave the type."""

_BLANK = Prediction(None, 0.0, "blank")
_FAILED = Prediction(None, 0.0, "failed")
_RANKED = 5


@dataclass(frozen=True, slots=True)
class PageVerdict:
    """A page's predicted type; `neighbours` are the labelled pages that look like it.

    `message` says why a page failed, or that its document has more than the page shows.
    """

    page_number: int
    prediction: Prediction
    message: str = ""
    neighbours: tuple[Example, ...] = ()
    labelled: bool = False


@dataclass(frozen=True, slots=True)
class DocumentVerdict:
    """The predicted type of a document, from all its pages; `message` says why a file failed, or what its pages lack.

    `neighbours` are the labelled pages that look most like one of its pages, `source_kind` is where its pages come from
    (one of `source_kinds.KINDS`, or "" where that is not known). `labelled`: a person gave the type, see `with_labels`.
    """

    path: str
    document_sha256: str
    prediction: Prediction
    pages: tuple[PageVerdict, ...]
    message: str = ""
    neighbours: tuple[Example, ...] = ()
    source_kind: str = ""
    labelled: bool = False


@dataclass(slots=True)
class _Pages:
    """What is known so far of one document's pages, by page index.

    `rows` are features, words and scores by part of pages, until the `answer` for the document is known.
    """

    scores: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    distances: dict[int, float] = field(default_factory=dict)
    neighbours: dict[int, tuple[Example, ...]] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)
    partial: dict[int, str] = field(default_factory=dict)
    kinds: dict[int, str] = field(default_factory=dict)
    failures: dict[int, PageFailure] = field(default_factory=dict)
    rows: dict[int, tuple[NDArray[np.float16], Any, dict[str, NDArray[np.float64]]]] = field(default_factory=dict)
    answer: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class _Whole:
    """A document from all its pages that say something, as `Calibration.decide` takes it, (1, n_classes) and (1,)."""

    voting: list[int]
    scores: NDArray[np.float64]
    distances: NDArray[np.float64]
    pages: NDArray[np.float64]
    kind: str


def classify(
    workspace: Workspace,
    inputs: Iterable[Input],
    bundle: "ClassifierBundle | Answerer",
    backbone: "Callable[[], Backbone]",
    *,
    rule: Rule | None = None,
    neighbours: int = 0,
    settings: Settings | None = None,
    progress: Progress | None = None,
) -> tuple[list[DocumentVerdict], Report]:
    """Predicts the type of each page and document of files and folders.

    Pages that the store holds are not rendered again; the others go through `streaming.PageStream` and are not kept.

    Args:
        workspace: Where stored features are looked up.
        inputs: Files and folders.
        bundle: The classifier.
        backbone: Loads the backbone; called only when there are new pages.
        rule: What is asked of the answers; the default error rate if not given.
        neighbours: How many labelled pages are shown with each answer.
        settings: How documents are read.
        progress: Called now and then.

    Returns:
        A verdict for each file in the order met, failures included, and what was done; its `shift` says how the
        documents compare with those that the classifier was measured on.

    Raises:
        SpaceMismatchError: The backbone is not the one that the classifier was fitted on.
        EmbedpipeError: An input does not exist.
    """
    begin = time.perf_counter()
    reading_settings = settings or Settings()
    reading = Reading(workspace, bundle.identity, reading_settings, cues=bundle.cues, words=bundle.words)
    reading.progress = progress

    def fitting_backbone() -> "Backbone":
        loaded = backbone()
        bundle.require(loaded.identity)
        return loaded

    examples = _shared_examples(workspace, bundle, reading_settings.warm) if neighbours else None
    answers = Answers(bundle, rule, examples, neighbours, settings.selection if settings else None)
    for item in reading.read(inputs, fitting_backbone):
        answers.take(item)
    found = [item for item in reading.found if isinstance(item, Document)]
    answers.tell_kinds(read_kinds(workspace, answers.of_unknown_kind(found), reading.options))
    reading.report.shift = answers.compare(found)
    reading.report.seconds = time.perf_counter() - begin
    return [answers.verdict(item) for item in reading.found], reading.report


def _shared_examples(
    workspace: Workspace, bundle: "ClassifierBundle | Answerer", warm: Warm | None
) -> "Examples | None":
    """As `_examples`; gathered once where the program stays."""
    if warm is None:
        return _examples(workspace, bundle)
    files = [workspace.labels_file, workspace.store_path(bundle.identity.space) / "manifest.json"]
    return warm.kept(("examples", bundle.identity.space), files, lambda: _examples(workspace, bundle))


def _examples(workspace: Workspace, bundle: "ClassifierBundle | Answerer") -> "Examples | None":
    """The labelled pages, or None where a classifier outlived them: it answers without."""
    from embedpipe.classifiers.reasons.evidence import Examples  # noqa: PLC0415 - reads all labelled pages

    with contextlib.suppress(ArtifactError, LabelsError):
        store = workspace.open_store(bundle.identity.space)
        return Examples(workspace, store) if store.identity == bundle.identity else None
    return None


class Answers:
    """Gathers what is known of pages, in whatever order they come, and answers for documents.

    Args:
        bundle: The classifier.
        rule: What is asked of the answers.
        examples: The labelled pages, where some are shown with each answer.
        neighbours: How many of them.
        selection: Which pages of each document come: once all are there, their features are dropped.
        each_page: Answer for each page as well.
    """

    def __init__(
        self,
        bundle: "ClassifierBundle | Answerer",
        rule: Rule | None = None,
        examples: "Examples | None" = None,
        neighbours: int = SHOWN,
        selection: Selection | None = None,
        *,
        each_page: bool = True,
    ) -> None:
        self._bundle, self._selection = bundle, selection or Selection()
        self._each_page = each_page
        self._rule = rule or Rule()
        self._examples, self._neighbours = examples, neighbours
        self._pages: defaultdict[str, _Pages] = defaultdict(_Pages)
        self._shifted: frozenset[str] = frozenset()

    def take(self, item: FeatureBatch | PageFailure) -> None:
        """Takes the features of some pages, or a failure; features are dropped once their scores are computed."""
        if isinstance(item, PageFailure):
            self._pages[item.page.document_sha256].failures[item.page.page_index] = item
            return
        parts, distances = self._bundle.scores_of_parts(item.X, item.words), self._bundle.distances(item.X, item.words)
        scores = self._bundle.parts.fused(parts)
        examples: list[list[Example]] = [[] for _ in item.pages]
        if self._examples is not None:
            documents = [info.ref.document_sha256 for info in item.pages]
            examples = self._examples.nearest(item.X, documents, self._neighbours)
        for place, (info, row, distance, found) in enumerate(zip(item.pages, scores, distances, examples, strict=True)):
            pages, index = self._pages[info.ref.document_sha256], info.ref.page_index
            pages.scores[index], pages.distances[index], pages.neighbours[index] = row, float(distance), tuple(found)
            pages.kinds[index] = info.source_kind
            if info.outcome in SAYS_NOTHING:
                pages.silent.add(index)
            if info.outcome in PARTIAL:
                pages.partial[index] = f"{info.outcome}: {info.message}"
            if self._bundle.judges_documents and pages.answer is None and index not in pages.silent:
                words = None if item.words is None else item.words[[place]]
                each = {name: own[place] for name, own in parts.items()}
                pages.rows[index] = item.X[place].astype(np.float16), words, each
        if self._bundle.judges_documents:
            for sha256, count in {info.ref.document_sha256: info.page_count for info in item.pages}.items():
                self._settle(self._pages[sha256], count)

    def _settle(self, known: _Pages, count: int) -> None:
        """Answers for a document once nothing more is to come of it, so that its features need not be kept."""
        missing = set(self._selection.indices(count)) - known.scores.keys() - known.failures.keys()
        voting = sorted(known.scores.keys() - known.silent)
        if known.answer is None and voting and not missing and any(known.kinds.values()):
            known.answer = self._answered(known, voting)
            known.rows.clear()

    def _answered(self, known: _Pages, voting: list[int]) -> NDArray[np.float64]:
        """Log scores of a document by all its pages, (1, n_classes)."""
        if known.answer is not None:
            return known.answer
        nothing: tuple[NDArray[np.float16], Any, dict[str, NDArray[np.float64]]] = (np.zeros(0, np.float16), None, {})
        X, counts, parts = zip(*(known.rows.get(i, nothing) for i in voting), strict=True)
        words = None
        if counts[0] is not None:
            from scipy.sparse import vstack  # noqa: PLC0415 - classifiers without words do without it

            words = vstack(counts, "csr")
        pages = Gathered(
            np.stack([known.scores[i] for i in voting]),
            {name: np.stack([each[name] for each in parts]) for name in parts[0]},
            np.stack(X),
            words,
            np.array(voting, np.int64),
            [known.kinds.get(i, "") for i in voting],
            np.zeros(len(voting), np.int64),
        )
        return self._bundle.document_scores(pages)

    def of_unknown_kind(self, documents: Iterable[Document]) -> list[Document]:
        """The documents of which the kind of no page is known: an earlier version stored them."""
        known = ((document, self._pages[document.sha256].kinds) for document in documents)
        return [document for document, kinds in known if kinds and not any(kinds.values())]

    def tell_kinds(self, kinds: Mapping[str, str]) -> None:
        """Takes the kinds of documents, by SHA-256, for all their pages."""
        for sha256, kind in kinds.items():
            self._pages[sha256].kinds = dict.fromkeys(self._pages[sha256].kinds, kind)

    def compare(self, documents: Iterable[Document]) -> Shift:
        """Compares documents with those that the classifier was measured on; what is unlike them is not `ok` any more.

        Documents that it learnt from are left out.
        """
        fresh = dict.fromkeys(d.sha256 for d in documents if brief(d.sha256) not in self._bundle.learnt)
        wholes = [whole for sha256 in fresh if (whole := self._whole(self._pages[sha256])) is not None]
        if not wholes:
            return Shift()
        calibration = self._bundle.documents
        scores, pages = (np.concatenate([getattr(w, name) for w in wholes]) for name in ("scores", "pages"))
        probabilities = np.exp(calibration.scale.log_probabilities(scores, pages))
        asked = Asked(
            distances=np.concatenate([whole.distances for whole in wholes]),
            told=probabilities.argmax(axis=1),
            confidence=probabilities.max(axis=1),
            kinds=codes([whole.kind for whole in wholes]),
        )
        found = compare(calibration, asked, self._rule.error_rate)
        self._shifted = found.shifted
        return found

    def _whole(self, known: _Pages) -> _Whole | None:
        """A document from all its pages that say something, in whatever order they came; None without any."""
        voting = sorted(known.scores.keys() - known.silent)
        if not voting or WHOLE_FILE in known.failures:
            return None
        weights, owner = page_weights(np.array(voting)), np.zeros(len(voting), np.int64)
        return _Whole(
            voting,
            self._answered(known, voting),
            weighted_means(np.array([known.distances[i] for i in voting]), weights, owner),
            effective_pages(weights, owner),
            document_kind([known.kinds.get(i, "") for i in voting], weights),
        )

    def verdict(self, item: Document | PageFailure) -> DocumentVerdict:
        """The answer for a file: from all its pages that say something, in whatever order they came."""
        if isinstance(item, PageFailure):
            return DocumentVerdict(item.page.source, "", _FAILED, (), f"{item.kind}: {item.message}")
        known = self._pages[item.sha256]
        whole = known.failures.get(WHOLE_FILE)
        if whole is not None:
            return DocumentVerdict(item.path, item.sha256, _FAILED, (), f"{whole.kind}: {whole.message}")
        told = self._whole(known)
        kind = told.kind if told else ""
        numbers = sorted(known.scores.keys() | known.failures.keys()) if self._each_page else []
        pages = tuple(self._page_verdict(known, index, kind) for index in numbers)
        message = next((known.partial[index] for index in sorted(known.partial)), "")
        if told is None:
            nothing = _FAILED if known.failures or known.partial else _BLANK
            return DocumentVerdict(item.path, item.sha256, nothing, pages, message)
        prediction = self._prediction(told.scores, told.distances, told.pages, self._bundle.documents, kind)
        seen = best_of_each_document([example for i in told.voting for example in known.neighbours[i]])
        shown = tuple(seen[: self._neighbours])
        return DocumentVerdict(item.path, item.sha256, prediction, pages, message, shown, kind)

    def _page_verdict(self, known: _Pages, index: int, kind: str) -> PageVerdict:
        """The verdict for a page; where its own kind is not known it has that of its document."""
        failure = known.failures.get(index)
        if failure is not None:
            return PageVerdict(index + 1, _FAILED, f"{failure.kind}: {failure.message}")
        message = known.partial.get(index, "")
        if index in known.silent:
            return PageVerdict(index + 1, _FAILED if message else _BLANK, message)
        distances = np.array([known.distances[index]])
        kind = known.kinds.get(index) or kind
        prediction = self._prediction(known.scores[index][None], distances, np.ones(1), self._bundle.pages, kind)
        return PageVerdict(index + 1, prediction, message, known.neighbours[index])

    def _prediction(
        self,
        scores: NDArray[np.float64],
        distances: NDArray[np.float64],
        pages: NDArray[np.float64],
        calibration: Calibration,
        kind: str,
    ) -> Prediction:
        """The answer for one page or document: `scores` (1, n_classes), `distances` (1,), of how many `pages` (1,)."""
        shifted = np.array([kind in self._shifted])
        found = calibration.decide(scores, distances, self._rule, pages, kinds=codes([kind]), shifted=shifted)
        probabilities = found.probabilities[0]
        best = np.argsort(-probabilities, kind="stable")
        named = [(self._bundle.classes[i], float(probabilities[i])) for i in best]
        return Prediction(
            label=named[0][0],
            confidence=named[0][1],
            status=found.status[0],
            candidates=tuple(pair for pair, i in zip(named, best, strict=True) if found.candidates[0, i]),
            novelty=float(found.novelty[0]),
            margin=float(named[0][1] - named[1][1]),
            ranking=tuple(named[:_RANKED]),
            measured=bool(found.measured[0]),
        )


def best_of_each_document(examples: Iterable[Example]) -> list[Example]:
    """The best example of each labelled document, best first."""
    best: dict[str, Example] = {}
    for example in sorted(examples, key=lambda example: -example.score):
        best.setdefault(example.page.document_sha256, example)
    return list(best.values())


def with_labels(verdicts: Iterable[DocumentVerdict], labels: Labels) -> list[DocumentVerdict]:
    """Verdicts in which a document, or a page, that a person labelled is of that type, whatever the classifier says.

    A failure stays one in the report of the run: that a file cannot be read does not change what a person knows of it.
    """
    told = []
    for verdict in verdicts:
        sha256 = verdict.document_sha256
        pages = tuple(_as_labelled(page, labels.rows.get((sha256, page.page_number))) for page in verdict.pages)
        told.append(_as_labelled(replace(verdict, pages=pages), labels.rows.get((sha256, 0)) if sha256 else None))
    return told


_Verdict = TypeVar("_Verdict", PageVerdict, DocumentVerdict)


def _as_labelled(verdict: _Verdict, label: Label | None) -> _Verdict:
    """A verdict with the type that a person gave; what the classifier makes of it stays in its ranking."""
    if label is None:
        return verdict
    if label.label == NONE:
        now = replace(verdict.prediction, label=None, confidence=0.0, status="novel", candidates=(), margin=0.0)
    else:
        only = ((label.label, 1.0),)
        now = replace(verdict.prediction, label=label.label, confidence=1.0, status="ok", candidates=only, margin=1.0)
    return replace(verdict, prediction=now, labelled=True)


def reason(verdict: DocumentVerdict) -> str:
    """Why an answer is what it is, in plain words."""
    told, others = verdict.prediction, [kind for kind, _ in verdict.prediction.candidates[1:]]
    if verdict.labelled:
        what = "labelled by a person" if told.label else "labelled by a person as none of the types"
        return f"{what}; {verdict.message}" if verdict.message else what
    if verdict.message:
        return verdict.message
    if told.status in _REASONS:
        return _REASONS[told.status]
    if told.status == "ok":
        return "right as often as was asked for" if others else "no other type fits"
    if not told.measured:
        doubt = f"no answer is sure for a {verdict.source_kind or 'document of unknown origin'} in this batch"
    else:
        doubt = "" if others else "too unlike the labelled documents of this type to be sure"
    more = f" and {len(others) - _RANKED} more" if len(others) > _RANKED else ""
    may_be = f"may also be {', '.join(others[:_RANKED])}{more}" if others else ""
    return "; ".join(filter(None, (may_be, doubt)))


_REASONS = {
    "novel": "it looks like nothing that was labelled",
    "blank": "nothing is on its pages",
    "failed": "none of its pages could be read",
}


def as_json(verdict: DocumentVerdict) -> dict[str, Any]:
    """A verdict as the command line prints it."""
    return {
        "path": verdict.path,
        **_prediction_json(verdict),
        "reason": reason(verdict),
        "labelled": verdict.labelled,
        "source_kind": verdict.source_kind or None,
        "pages": [{"page": page.page_number, **_prediction_json(page)} for page in verdict.pages],
    }


def _prediction_json(verdict: DocumentVerdict | PageVerdict) -> dict[str, Any]:
    prediction = verdict.prediction
    values: dict[str, Any] = {
        "type": prediction.label,
        "confidence": round(prediction.confidence, 4),
        "status": prediction.status,
        "candidates": [{"type": label, "confidence": round(p, 4)} for label, p in prediction.candidates],
        "margin": round(prediction.margin, 4),
        "novelty": round(prediction.novelty, 4),
        "measured": prediction.measured,
        "neighbours": [example.to_json() for example in verdict.neighbours],
    }
    return {**values, "message": verdict.message} if verdict.message else values
