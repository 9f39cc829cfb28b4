"""An example that is shown with an answer: a labelled page that looks like the one asked about. See `evidence`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from embedpipe.core.records import PageRef

SHOWN = 3
"""Examples that an answer shows."""


@dataclass(frozen=True, slots=True)
class Example:
    """A labelled page that looks like the one asked about; `score` is their cosine, 1 for the same picture."""

    page: PageRef
    label: str
    score: float


def as_json(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Examples as the command line prints them."""
    return [
        {"path": e.page.source, "page": e.page.page_number, "type": e.label, "score": round(e.score, 4)}
        for e in examples
    ]
