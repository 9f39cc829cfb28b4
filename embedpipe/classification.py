"""New files to types: the pages take the same way as in `embed`, then the classifier tells each page and document."""

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from embedpipe.classifiers import ClassifierBundle, calibrated
from embedpipe.evaluation import mean_log_scores, page_weights
from embedpipe.files import replacing, sha256_of
from embedpipe.intake import Report
from embedpipe.reading import Reading
from embedpipe.records import WHOLE_FILE, Document, FeatureBatch, PageFailure, Prediction
from embedpipe.streaming import Settings
from embedpipe.workspace import Workspace

if TYPE_CHECKING:  # only whoever has new pages needs the network
    from embedpipe.engines import Backbone

_BLANK = Prediction(None, 0.0, "blank")
_FAILED = Prediction(None, 0.0, "failed")
_CANDIDATES = 3


@dataclass(frozen=True, slots=True)
class PageVerdict:
    """What a page is told to be; `message` says why a page failed."""

    page_number: int
    prediction: Prediction
    message: str = ""


@dataclass(frozen=True, slots=True)
class DocumentVerdict:
    """What a document is told to be, from all its pages; `message` says why a file failed."""

    path: str
    document_sha256: str
    prediction: Prediction
    pages: tuple[PageVerdict, ...]
    message: str = ""


@dataclass(slots=True)
class _Pages:
    """What is known so far of one document's pages, by page index: log scores, which are blank, failures."""

    scores: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    blank: set[int] = field(default_factory=set)
    failures: dict[int, PageFailure] = field(default_factory=dict)


def classify(
    workspace: Workspace,
    inputs: Iterable[str],
    bundle: ClassifierBundle,
    backbone: "Callable[[], Backbone]",
    *,
    settings: Settings | None = None,
) -> tuple[list[DocumentVerdict], Report]:
    """Tells the type of each page and document of files and folders.

    Pages that the store holds are not rendered again; the others go through `streaming.PageStream` and are not kept.

    Args:
        workspace: Where stored features are looked up.
        inputs: Files and folders.
        bundle: The classifier.
        backbone: Loads the backbone; called only when there are new pages.
        settings: How documents are read.

    Returns:
        A verdict for each file in the order met, failures included, and what was done.

    Raises:
        SpaceMismatchError: The backbone is not the one that the classifier was fitted on.
        EmbedpipeError: An input does not exist.
    """
    begin = time.perf_counter()
    reading = Reading(workspace, bundle.identity, settings or Settings())

    def fitting_backbone() -> "Backbone":
        loaded = backbone()
        bundle.require(loaded.identity)
        return loaded

    answers = Answers(bundle)
    for item in reading.read(inputs, fitting_backbone):
        answers.take(item)
    reading.report.seconds = time.perf_counter() - begin
    return [answers.verdict(item) for item in reading.found], reading.report


class Answers:
    """Gathers what is known of pages, in whatever order they come, and answers for documents."""

    def __init__(self, bundle: ClassifierBundle) -> None:
        self._bundle = bundle
        self._pages: defaultdict[str, _Pages] = defaultdict(_Pages)

    def take(self, item: FeatureBatch | PageFailure) -> None:
        """Takes the features of some pages, or a failure."""
        if isinstance(item, PageFailure):
            self._pages[item.page.document_sha256].failures[item.page.page_index] = item
            return
        for info, row in zip(item.pages, self._bundle.log_scores(item.X), strict=True):
            pages = self._pages[info.ref.document_sha256]
            pages.scores[info.ref.page_index] = row
            if info.outcome == "blank":
                pages.blank.add(info.ref.page_index)

    def verdict(self, item: Document | PageFailure) -> DocumentVerdict:
        """The answer for a file: from all its pages that are not blank, in whatever order they came."""
        if isinstance(item, PageFailure):
            return DocumentVerdict(item.page.source, "", _FAILED, (), f"{item.kind}: {item.message}")
        known = self._pages[item.sha256]
        whole = known.failures.get(WHOLE_FILE)
        if whole is not None:
            return DocumentVerdict(item.path, item.sha256, _FAILED, (), f"{whole.kind}: {whole.message}")
        pages = tuple(self._page_verdict(known, index) for index in sorted(known.scores.keys() | known.failures.keys()))
        voting = sorted(known.scores.keys() - known.blank)
        if not voting:
            return DocumentVerdict(item.path, item.sha256, _FAILED if known.failures else _BLANK, pages)
        weights = page_weights(np.array(voting))
        mean = mean_log_scores(np.stack([known.scores[i] for i in voting]), weights, np.zeros(len(voting), np.int64))
        prediction = self._prediction(mean[0], self._bundle.document_temperature)
        return DocumentVerdict(item.path, item.sha256, prediction, pages)

    def _page_verdict(self, known: _Pages, index: int) -> PageVerdict:
        failure = known.failures.get(index)
        if failure is not None:
            return PageVerdict(index + 1, _FAILED, f"{failure.kind}: {failure.message}")
        if index in known.blank:
            return PageVerdict(index + 1, _BLANK)
        return PageVerdict(index + 1, self._prediction(known.scores[index], self._bundle.page_temperature))

    def _prediction(self, scores: NDArray[np.float64], temperature: float) -> Prediction:
        probabilities = calibrated(scores[None], temperature)[0]
        best = np.argsort(-probabilities, kind="stable")[:_CANDIDATES]
        candidates = tuple((self._bundle.classes[i], float(probabilities[i])) for i in best)
        return Prediction(candidates[0][0], candidates[0][1], "ok", candidates)


def sort_into(verdicts: Iterable[DocumentVerdict], folder: Path) -> list[tuple[str, Path]]:
    """Copies classified files into a folder for each type; the originals stay, and nothing is overwritten.

    Args:
        verdicts: Of `classify`; files without a type are left where they are.
        folder: Made if need be.

    Returns:
        (original, copy) of each file; a copy that is there already is not made again.

    Raises:
        ArtifactError: A file cannot be copied.
    """
    copied = []
    for verdict in verdicts:
        if verdict.prediction.label is None:
            continue
        target = _free_name(folder / file_name(verdict.prediction.label) / Path(verdict.path).name, verdict)
        if not target.exists():
            with replacing(target) as temporary:
                shutil.copy2(verdict.path, temporary)
        copied.append((verdict.path, target))
    return copied


def file_name(label: str) -> str:
    """A type as the name of a file or folder, whatever characters it holds."""
    name = re.sub(r'[\x00-\x1f/\\:*?"<>|]', "_", label).strip(" .")
    return name or "_"


def _free_name(wanted: Path, verdict: DocumentVerdict) -> Path:
    """The wanted name, or one with the content's hash where another file has taken it."""
    if not wanted.exists() or sha256_of(wanted) == verdict.document_sha256:
        return wanted
    return wanted.with_name(f"{wanted.stem}-{verdict.document_sha256[:8]}{wanted.suffix}")


def as_json(verdict: DocumentVerdict) -> dict[str, Any]:
    """A verdict as the command line prints it."""
    return {
        "path": verdict.path,
        **_prediction_json(verdict.prediction, verdict.message),
        "pages": [
            {"page": page.page_number, **_prediction_json(page.prediction, page.message)} for page in verdict.pages
        ],
    }


def _prediction_json(prediction: Prediction, message: str) -> dict[str, Any]:
    candidates = [{"type": label, "confidence": round(p, 4)} for label, p in prediction.candidates]
    values = {
        "type": prediction.label,
        "confidence": round(prediction.confidence, 4),
        "status": prediction.status,
        "candidates": candidates,
    }
    return {**values, "message": message} if message else values
