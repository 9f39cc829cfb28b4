"""Why a page gets its type: the parts that the type rests on, and the labelled pages that the page looks like."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.special import log_softmax, logsumexp

from embedpipe.backbones.engines import Backbone
from embedpipe.backbones.onnx.orientation import turned
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.reasons.evidence import Examples
from embedpipe.classifiers.reasons.occlusion import Box, covered, deciding_boxes, occlusion_map
from embedpipe.core.display import name_of
from embedpipe.core.errors import ArtifactError, LabelsError, UnknownNameError
from embedpipe.core.records import Document, Example, PageImage, PageInfo, PageRef, Recipe
from embedpipe.drawing.heatmaps import HeatPicture, Looks, draw_heat
from embedpipe.embedding.page_pictures import page_pictures
from embedpipe.embedding.streaming import Settings, render_page, render_pages
from embedpipe.pages.cues import as_block
from embedpipe.pages.documents import plan
from embedpipe.pages.extras.words import as_rows
from embedpipe.store.page_extras import words_of
from embedpipe.store.sorted_ledger import shortened
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.similar import identify_query, parse_query

SMALLEST_DROP = 0.2
"""Of the log odds: a part that changes the odds by less than a fifth decides nothing."""

OK, DIFFUSE, BLANK = "ok", "diffuse", "blank"
_PICTURE_SIZE = 1000
_LEVEL = (0, 180)
"""Turns that leave a page as wide as it was."""

_LONGEST_STEM = 200  # bytes; a name has 255, and a page and a stage follow


@dataclass(frozen=True, slots=True)
class Explanation:
    """What a type rests on, on a page.

    Attributes:
        document: The page's document.
        page: The page as the network sees it.
        status: `ok`; `diffuse` where no part decides; `blank` for a page that is not asked for its type.
        classifier: Its name.
        candidates: All types with their probabilities, best first.
        kind: The type that was asked about: the answer, or any other.
        drops: How far the log odds of that type fall when each part is covered, (rows, columns).
        boxes: Where they fall most, strongest first, in shares of what the network sees.
        without: All types with their probabilities when all these boxes are covered at once, best first.
        examples: Labelled pages of other documents that look most like it.
    """

    document: Document
    page: PageImage
    status: str
    classifier: str
    candidates: tuple[tuple[str, float], ...] = ()
    kind: str = ""
    drops: NDArray[np.float64] | None = None
    boxes: tuple[Box, ...] = ()
    without: tuple[tuple[str, float], ...] = ()
    examples: tuple[Example, ...] = ()

    @property
    def probability(self) -> float:
        """Of the type that was asked about."""
        return dict(self.candidates).get(self.kind, 0.0)

    @property
    def margin(self) -> float:
        """How far the most probable type is ahead of the second."""
        first, second = (*self.candidates, ("", 0.0), ("", 0.0))[:2]
        return first[1] - second[1]

    @property
    def finding(self) -> str:
        """What was found, as a sentence."""
        if self.status == BLANK:
            return "The page is blank: it is not asked for its type."
        if self.status == DIFFUSE:
            return (
                f"No part decides: covering any one of them lowers the odds of {self.kind} by less than a fifth. "
                "What supports the type, if anything does, is spread over the page."
            )
        parts = "the marked part" if len(self.boxes) == 1 else f"the {len(self.boxes)} marked parts together"
        left, answer = dict(self.without)[self.kind], self.without[0][0]
        turned = f"; the answer is then {answer}" if answer != self.candidates[0][0] else ""
        return f"Covering {parts} takes {self.kind} from {self.probability:.0%} to {left:.0%}{turned}."


def explain(
    workspace: Workspace,
    query: str,
    bundle: ClassifierBundle,
    backbone: Backbone,
    *,
    kind: str | None = None,
    settings: Settings | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explanation:
    """Covers a page part by part and asks the classifier again; cues and words of the page stay as they are.

    Args:
        workspace: Where labels and features are, for the pages that it looks like.
        query: `FILE#page=N`.
        bundle: The classifier.
        backbone: That of the classifier.
        kind: The type to ask about; None for the classifier's answer.
        settings: How the document is read, and pages per call of the network.
        progress: Called with how many parts of how many are done.

    Raises:
        UnknownNameError: The classifier knows no such type.
        SpaceMismatchError: The backbone is not the classifier's.
        DocumentError: The page cannot be read.
    """
    bundle.require(backbone.identity)
    if kind is not None:
        kind = next((known for known in bundle.classes if name_of(known) == name_of(kind)), kind)
    if kind is not None and kind not in bundle.classes:
        raise UnknownNameError(f"type of the classifier {bundle.name}", kind, bundle.classes)
    settings = settings or Settings()
    path, index = parse_query(query)
    document = identify_query(path, settings.limits)
    identity = backbone.identity
    page = render_page(
        document,
        index,
        identity.recipe,
        identity.interpolation,
        settings,
        cues=bundle.cues,
        words=bundle.words,
        turner=backbone.turner,
    )
    if page.info.outcome == "blank":
        return Explanation(document, page, BLANK, bundle.name)
    cues = as_block([page.info.cues] if bundle.cues else [])
    asked = _Asked(bundle, backbone, cues, _words(workspace, page.info) if bundle.words else None)
    candidates = asked.ranked(page.pixels)
    kind = kind or candidates[0][0]
    size = settings.batch_size or backbone.engine.batch_size
    drops = occlusion_map(page.pixels, asked.score_of(kind), batch_size=size, progress=progress)
    boxes = deciding_boxes(drops, SMALLEST_DROP)
    return Explanation(
        document=document,
        page=page,
        status=OK if boxes else DIFFUSE,
        classifier=bundle.name,
        candidates=candidates,
        kind=kind,
        drops=drops,
        boxes=tuple(boxes),
        without=asked.ranked(covered(page.pixels, boxes)) if boxes else (),
        examples=_examples(workspace, bundle, asked.features(page.pixels[None]), document),
    )


def _words(workspace: Workspace, info: PageInfo) -> csr_array:
    """The words of a page: those that are kept, which may have been recognised, or those of its text."""
    kept = words_of(workspace.root, [(info.ref.document_sha256, info.ref.page_index)])
    return kept if kept.nnz else as_rows([info.words])


class _Asked:
    """Pictures of one page to the probabilities of their types."""

    def __init__(
        self, bundle: ClassifierBundle, backbone: Backbone, cues: NDArray[np.float32], words: csr_array | None
    ) -> None:
        self._bundle = bundle
        self._backbone = backbone
        self._cues, self._words = cues, words

    def features(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Of pictures (n, H, W, 3), in float16 as in the store, and the page's cues where it has some, (n, dim)."""
        X = self._backbone(pixels).astype(np.float16).astype(np.float32)
        return np.hstack([X, np.repeat(self._cues, len(X), axis=0)]) if len(self._cues) else X

    def scores(self, pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Log scores of pictures (n, H, W, 3), (n, n_classes)."""
        words = None if self._words is None else self._words[np.zeros(len(pixels), np.int64)]
        return self._bundle.log_scores(self.features(pixels), words)

    def ranked(self, pixels: NDArray[np.uint8]) -> tuple[tuple[str, float], ...]:
        """All types of one picture (H, W, 3) with their probabilities, best first."""
        probabilities = np.exp(self._bundle.pages.scale.log_probabilities(self.scores(pixels[None]))[0])
        order = np.argsort(-probabilities, kind="stable")
        return tuple((self._bundle.classes[i], float(probabilities[i])) for i in order)

    def score_of(self, kind: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float64]]:
        """Gives the log odds of a type: unlike its probability they also move where that is nearly 0 or 1."""
        column = self._bundle.classes.index(kind)

        def log_odds(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
            logarithms = log_softmax(self.scores(pixels) / self._bundle.pages.scale.temperature, axis=1)
            odds: NDArray[np.float64] = logarithms[:, column] - logsumexp(np.delete(logarithms, column, 1), axis=1)
            return odds

        return log_odds


def _examples(
    workspace: Workspace, bundle: ClassifierBundle, X: NDArray[np.float32], document: Document
) -> tuple[Example, ...]:
    """None where features or labels are gone since the classifier was fitted."""
    try:
        store = workspace.store(space=bundle.identity.space)
        return tuple(Examples(workspace, store).nearest(X, [document.sha256])[0])
    except (ArtifactError, LabelsError, UnknownNameError):
        return ()


def draw(workspace: Workspace, found: Explanation, backbone: Backbone, file: Path) -> None:
    """Draws the page, the parts that its type rests on, and what it looks like, as a PNG.

    Raises:
        ArtifactError: The file cannot be written.
    """
    info = found.page.info
    shown = render_pages([(found.document, info.ref.page_index)], size=_PICTURE_SIZE)
    region = seen_region(info, backbone.identity.recipe)
    own = (found.document.sha256, info.ref.page_index)
    picture = turned(shown[own], info.turned) if own in shown else found.page.pixels
    pictures = page_pictures(workspace, [(e.page.document_sha256, e.page.page_index) for e in found.examples])
    looks = [
        Looks(pictures.get((e.page.document_sha256, e.page.page_index)), e.label, _name(e.page), e.score)
        for e in found.examples
    ]
    draw_heat(
        HeatPicture(
            pixels=picture,
            region=region,
            drops=found.drops,
            smallest=SMALLEST_DROP,
            boxes=found.boxes,
            title=_name(info.ref),
            kind=found.kind,
            candidates=found.candidates[:3],
            finding=found.finding,
            looks=looks,
        ),
        file,
    )


def seen_region(info: PageInfo, recipe: Recipe) -> tuple[float, float, float, float]:
    """What the network sees of a page, after it was turned: left, top, right, bottom in shares of width and height."""
    width, height = (info.width, info.height) if info.turned in _LEVEL else (info.height, info.width)
    (left, top, right, bottom), _ = plan(width, height, recipe)
    return left / width, top / height, right / width, bottom / height


def default_picture(workspace: Workspace, page: PageRef, what: str = "") -> Path:
    """Where a page's picture goes by default: named after the page, in the artifacts, which are claimed for it."""
    workspace.claim()
    stem = shortened(Path(page.source).stem, _LONGEST_STEM)
    name = "-".join(filter(None, [stem, f"p{page.page_number}", what]))
    return workspace.root / "explanations" / f"{name}.png"


def _name(page: PageRef) -> str:
    return f"{os.path.basename(page.source)} p. {page.page_number}"


def as_json(found: Explanation) -> dict[str, Any]:
    """As the command line prints it."""
    values: dict[str, Any] = {
        "page": {"path": found.document.path, "page": found.page.info.ref.page_number},
        "classifier": found.classifier,
        "status": found.status,
        "finding": found.finding,
    }
    if found.drops is None:
        return values
    asked = {"type": found.kind, "probability": round(found.probability, 4)}
    return values | {
        "type": found.candidates[0][0],
        "confidence": round(found.candidates[0][1], 4),
        "second": _shares(found.candidates)[1:2],
        "margin": round(found.margin, 4),
        "asked": asked,
        "grid": {"rows": len(found.drops), "columns": len(found.drops[0]), "drops": found.drops.round(3).tolist()},
        "boxes": [{k: round(getattr(box, k), 4) for k in ("x0", "y0", "x1", "y1", "drop")} for box in found.boxes],
        "without_boxes": _shares(found.without)[:2],
        "looks_like": [example.to_json() for example in found.examples],
    }


def _shares(candidates: tuple[tuple[str, float], ...]) -> list[dict[str, Any]]:
    return [{"type": kind, "confidence": round(probability, 4)} for kind, probability in candidates]
