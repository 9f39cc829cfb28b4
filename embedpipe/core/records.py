"""The frozen records that cross module borders.

Ids travel with the pixels; a position in an array is never an identity.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

DEFAULT_BACKBONE = "efficientnet_lite0"

_LONGEST_NAME = 160
"""Of the part of a space's name that says its backbone: with the rest it has to be a file's."""

SHORTEST_SIDE = 32
"""Pixels that nearly every network takes a page of; `Recipe.shortest` is more where one does not."""

PARTIAL = PLACEHOLDER, COVER = ("placeholder", "cover")
"""Outcomes of pages of documents that have more than their pages show. `placeholder`: nothing of the document is on the
page, as of a dynamic XFA form or a portfolio. `cover`: the page is the document's, which also has files embedded."""

STORED = ("ok", "blank", "repaired", *PARTIAL)
"""Outcomes of pages that have features."""

SAYS_NOTHING = ("blank", PLACEHOLDER)
"""Outcomes of pages that tell nothing of the type of their document."""

FAILURES = (
    "encrypted",
    "no_pages",
    "not_a_document",
    "page_error",
    "too_large",
    "timeout",
    "memory",
    "crash",
    "unreadable",
    "needs_converter",
)
"""Outcomes of pages, or of whole files, that have none."""

OTHER_FORMAT = "other_format"
"""In the place of such an outcome: the file is of a format that is not read, which is no failure; its message names it,
see `other_formats`."""

RETRIED = ("unreadable", "needs_converter")
"""Those that say nothing about the content: what could not be read, or lacked a library, is tried again each time."""

WHOLE_FILE = -1
"""The `page_index` of a failure that concerns the file and not one of its pages."""


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was found and hashed.

    Attributes:
        path: Absolute path; bytes that are not UTF-8 are surrogate escapes.
        sha256: Hash of the content: what the document is known by.
        size: Bytes.
        mtime_ns: Time of the last change, nanoseconds.
        reader: Key in `documents.READERS`.
    """

    path: str
    sha256: str
    size: int
    mtime_ns: int
    reader: str


@dataclass(frozen=True, slots=True)
class PageRef:
    """One page of one document. `page_index` counts from 0; people see `page_number`, which counts from 1."""

    document_sha256: str
    page_index: int
    source: str

    @property
    def page_number(self) -> int:
        """The number that people see."""
        return self.page_index + 1

    def __str__(self) -> str:
        """`FILE#page=N`, or just the file for a failure of the whole file."""
        return self.source if self.page_index == WHOLE_FILE else f"{self.source}#page={self.page_number}"


WORD_ORIGINS = TEXT_WORDS, OCR_WORDS, NO_WORDS = ("text", "ocr", "none")
"""Where words come from: the document's own text, recognition of its picture, or nowhere."""


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """Counts of the hashed n-grams of a page.

    Attributes:
        columns: Their buckets, uint32 (k,), ascending; those of the page's head come last, see `extras.word_rows`.
        counts: How often each comes, uint16 (k,).
        characters: Of the text, without spaces.
        origin: One of `WORD_ORIGINS`.
        message: Why there are none, where reading them failed; else "".
    """

    columns: NDArray[np.uint32] = field(default_factory=lambda: np.empty(0, np.uint32))
    counts: NDArray[np.uint16] = field(default_factory=lambda: np.empty(0, np.uint16))
    characters: int = 0
    origin: str = NO_WORDS
    message: str = ""

    def __bool__(self) -> bool:
        """Whether there are any."""
        return len(self.columns) > 0


@dataclass(frozen=True, slots=True)
class PageInfo:
    """What is known of a rendered page besides its pixels.

    Attributes:
        ref: Which page it is.
        page_count: Pages of the whole document.
        width: Width of the page as stored: points for PDF, pixels for images.
        height: Its height.
        ink: Share of pixels that stand out from the background, 0..1.
        outcome: One of `STORED`.
        message: What the reader warned about, or "".
        cues: Numbers in the order of `cues.CUES`; empty where they were not asked for.
        variant: Number of the changed copy that this is; 0 for the page itself.
        source_kind: One of `source_kinds.KINDS`: where its picture comes from; "" where that is not known.
        words: Its hashed n-grams; None where they were not asked for.
        thumbnail: A small JPEG of it; None where it was not asked for, b"" where there is none.
        turned: Degrees clockwise by which the page was turned before its features were taken: 0, 90, 180 or 270.
    """

    ref: PageRef
    page_count: int
    width: float
    height: float
    ink: float
    outcome: str = "ok"
    message: str = ""
    cues: tuple[float, ...] = ()
    variant: int = 0
    source_kind: str = ""
    words: Words | None = field(default=None, compare=False)
    thumbnail: bytes | None = None
    turned: int = 0


@dataclass(frozen=True, slots=True)
class PageImage:
    """A rendered page: `pixels` is uint8 (H, W, 3), RGB."""

    info: PageInfo
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PageFailure:
    """A page, or a file, without features: the row that stands in its place.

    Attributes:
        page: Which page; `page_index == WHOLE_FILE` for the file itself.
        kind: One of `FAILURES`.
        message: Why, in one line.
    """

    page: PageRef
    kind: str
    message: str


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """Features of some pages.

    Attributes:
        pages: The pages.
        X: float32 (n, dim), row i belongs to `pages[i]`.
        words: Counts of their hashed n-grams, sparse (n, `words.WIDTH`); None where they were not asked for.
    """

    pages: tuple[PageInfo, ...]
    X: NDArray[np.float32]
    words: Any = None

    def __post_init__(self) -> None:
        """Refuses rows that no page owns."""
        if len(self.pages) != len(self.X):
            raise ValueError(f"{len(self.pages)} pages but {len(self.X)} rows")


SHOWN = 3
"""Examples that an answer shows."""


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled page that looks like the one asked about; `score` is their cosine, 1 for the same picture."""

    page: PageRef
    label: str
    score: float

    def to_json(self) -> dict[str, Any]:
        """As the command line prints it."""
        page = self.page
        return {"path": page.source, "page": page.page_number, "type": self.label, "score": round(self.score, 4)}


@dataclass(frozen=True, slots=True)
class Prediction:
    """A decision.

    Attributes:
        label: The most probable type, or None when the page or document is blank or failed.
        confidence: Probability of that type, 0..1.
        status: Whether the label can be used as it stands: "ok"; "ambiguous" when it may as well be another of the
            candidates; "novel" when it looks like nothing in the labelled set.
        candidates: The types that cannot be excluded, with their probabilities, best first.
        novelty: Share of known, held-out pages or documents that look more familiar, 0..1.
        margin: How much more probable the type is than the second one, 0..1.
        ranking: The most probable types with their probabilities, best first, whether candidates or not.
        measured: Whether the error rate was measured on pages or documents like this one; never "ok" where not.
    """

    label: str | None
    confidence: float
    status: Literal["ok", "ambiguous", "novel", "blank", "failed"]
    candidates: tuple[tuple[str, float], ...] = ()
    novelty: float = 0.0
    margin: float = 0.0
    ranking: tuple[tuple[str, float], ...] = ()
    measured: bool = False


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A page that looks like the query; `score` is the cosine of the two, 1 for the same picture."""

    page: PageRef
    score: float


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a page becomes the network's input, and which of the network's outputs are kept.

    Attributes:
        size: Pixels of the long side, or of both sides where `resize` is "squash" or "crop".
        resize: "aspect" keeps the shape; "squash" stretches to a square; "crop" scales the short side to
            size / 0.875 and takes the centre square (the usual photo recipe); "area" keeps the shape, with as many
            pixels as a sheet of paper has (for recognition of text, no network takes it).
        layers: Name of a set of layers in `backbones.layers.LAYERS`; "penultimate" is the classical choice.
        shortest: Least pixels of the short side: the page of a till roll is stretched to it.
        annotations: "show" draws what people put on a PDF page (comments, marks, stamps) as a viewer does; "hide" does
            not. Form fields, signatures among them, are drawn in any case.
    """

    size: int = 320
    resize: Literal["aspect", "squash", "crop", "area"] = "aspect"
    layers: str = "stages"
    shortest: int = SHORTEST_SIDE
    annotations: Literal["show", "hide"] = "show"

    def to_json(self) -> dict[str, Any]:
        """As plain values, without those that are as they were before there was a choice: so names of spaces stay."""
        values = asdict(self)
        for name, usual in (("shortest", SHORTEST_SIDE), ("annotations", "show")):
            if values[name] == usual:
                del values[name]
        return values


@dataclass(frozen=True, slots=True)
class Member:
    """One network of a list of networks: what changes its numbers.

    Attributes:
        backbone: Its name.
        weights_sha256: Hash of its tensors, or of its file.
        recipe: The picture that it takes, made of the page as it was drawn for all of them; and its layers.
        interpolation: How pictures are scaled for it.
    """

    backbone: str
    weights_sha256: str
    recipe: Recipe
    interpolation: str = "bicubic"


@dataclass(frozen=True, slots=True)
class Identity:
    """Everything that changes the numbers. Two spaces are never mixed, even when their dimensions agree.

    Attributes:
        backbone: Name in `backbones.registry.BACKBONES`, or `timm:NAME`; of a list, its names joined by `+`.
        weights_sha256: Hash of the network's tensors; of a list, of the hashes of its members.
        recipe: Rendering and layers; of a list, how pages are drawn.
        blocks: What the features consist of, in order, such as `stride16_avg`; of a list, `MEMBER/stride16_avg`.
        interpolation: How images are scaled, as the weights want it.
        members: The networks of a list; none for a single one.
        upright: By which network and rule pages were turned upright before, see `onnx.orientation`; "" if not.
    """

    backbone: str
    weights_sha256: str
    recipe: Recipe
    blocks: tuple[str, ...]
    interpolation: str = "bicubic"
    members: tuple[Member, ...] = ()
    upright: str = ""

    @property
    def space(self) -> str:
        """The name of the space: the backbone and eight digits of the identity's hash, safe as a file name."""
        canonical = json.dumps(self.to_json(), sort_keys=True)
        safe = "".join(c if c.isalnum() or c in "._-" else "_" for c in self.backbone)
        return f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"

    def __str__(self) -> str:
        """The space and what it is made of, in one line."""
        r = self.recipe
        turned = ", pages turned upright" if self.upright else ""
        return (
            f"{self.space} ({self.backbone}, weights {self.weights_sha256[:8]}, {r.resize} {r.size}, layers {r.layers}"
            f"{turned})"
        )

    def to_json(self) -> dict[str, Any]:
        """As plain values; what is as it was before there was a choice is left out, so that spaces keep their names."""
        values = asdict(self)
        values["recipe"] = self.recipe.to_json()
        for one, member in zip(values["members"], self.members, strict=True):
            one["recipe"] = member.recipe.to_json()
        for name in ("members", "upright"):
            if not values[name]:
                del values[name]
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Identity":
        """Reverses `to_json`."""
        if not isinstance(values, Mapping):
            raise TypeError("an identity is a table")
        members = tuple(Member(**{**one, "recipe": Recipe(**one["recipe"])}) for one in values.get("members", ()))
        recipe, blocks = Recipe(**values["recipe"]), tuple(values["blocks"])
        return cls(**{**values, "recipe": recipe, "blocks": blocks, "members": members})


FALSE_ALARMS = 0.05
"""How often a batch of documents like the labelled ones may be called unlike them."""

LEAST_SHARE = 0.1
"""Share of a batch that has to look unlike the held-out documents: of a large batch any trifle is significant."""


@dataclass(frozen=True, slots=True)
class KindTest:
    """How the documents of one kind compare with the held-out ones of that kind.

    Attributes:
        kind: One of `source_kinds.KINDS`, or "" where it is not known.
        documents: How many were asked about, those that the classifier learnt from left out.
        held_out: How many were held out when it was fitted.
        measured: Whether these are enough for the error rate that is asked for.
        p_value: How often held-out batches look at least as unlike; None where it was not tested.
        share: At least so much of the batch looks unlike the held-out documents, 0..1; None where it was not tested.
        by: Which value showed it: "distance" or "confidence"; "" where it was not tested.
    """

    kind: str
    documents: int
    held_out: int
    measured: bool
    p_value: float | None = None
    share: float | None = None
    by: str = ""

    @property
    def alarm(self) -> bool:
        """Whether the batch is unlike the held-out documents."""
        return self.p_value is not None and self.p_value <= FALSE_ALARMS and (self.share or 0.0) >= LEAST_SHARE


@dataclass(frozen=True, slots=True)
class Shift:
    """How a batch compares with the held-out documents, by kind."""

    kinds: tuple[KindTest, ...] = ()

    @property
    def shifted(self) -> frozenset[str]:
        """The kinds whose documents are unlike the held-out ones."""
        return frozenset(test.kind for test in self.kinds if test.alarm)
