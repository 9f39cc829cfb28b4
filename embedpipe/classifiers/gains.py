"""What the other parts of a classifier add to its first one: figures of held-out documents, in the same folds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score

from embedpipe.classifiers.evaluation import HeldOut, document_scores
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.metrics import per_class

_SHOWN = 3
_SMALLEST = 0.005
"""Of F1: what would be shown as 0.00 is not named."""


@dataclass(frozen=True, slots=True)
class Gain:
    """Differences between the figures of a whole classifier and of its first part alone, of documents.

    Attributes:
        accuracy: Of the right type.
        macro_f1: Mean of `types`.
        types: F1 by type; of types of which nothing was measured there is none.
    """

    accuracy: float
    macro_f1: float
    types: dict[str, float]

    def as_json(self) -> dict[str, Any]:
        """As the manifest holds it."""
        types = {kind: round(gain, 4) for kind, gain in self.types.items()}
        return {"document_accuracy": round(self.accuracy, 4), "document_macro_f1": round(self.macro_f1, 4), "f1": types}


def gain_of(pages: LabelledPages, held_out: HeldOut) -> Gain | None:
    """What a classifier gains by its other parts; None where nothing was measured.

    Args:
        pages: Those that were held out and whose type was learnt meanwhile.
        held_out: Their scores, with those of the first part alone.
    """
    if held_out.alone is None or not len(pages.y):
        return None
    rights, tables = [], []
    for scores in (held_out.alone, held_out):
        documents = document_scores(pages, scores)
        if not len(documents.y):
            return None
        told = np.asarray(held_out.classes, object)[documents.log_scores.argmax(axis=1)]
        rights.append(float(accuracy_score(documents.y, told)))
        tables.append({row["type"]: row["f1"] for row in per_class(documents.y, told, held_out.classes)})
    before, after = tables
    types = {kind: after[kind] - before[kind] for kind in before if before[kind] is not None}
    return Gain(rights[1] - rights[0], float(np.mean(list(types.values()))), types)


def chosen_blocks(fitted_on: Mapping[str, Any]) -> str:
    """What a classifier learnt from, and what that gains over pictures alone, as a line; "" where there was no choice.

    Args:
        fitted_on: Of its manifest.
    """
    blocks = fitted_on["blocks"]
    left = [name for name in fitted_on.get("measured", ()) if name not in blocks]
    gain = fitted_on.get("gain")
    if not gain:
        return f"blocks: {', '.join(blocks)}; measured, of no use here: {', '.join(left)}" if left else ""
    more = f"; measured, of no use here: {', '.join(left)}" if left else ""
    return f"blocks: {', '.join(blocks)}: {_in_words(gain)} over {blocks[0]} alone{more}"


def _in_words(gain: Mapping[str, Any]) -> str:
    """What is gained, and the types that gain and lose most."""
    order = sorted(gain["f1"].items(), key=lambda item: -item[1])
    more = [f"{kind} {value:+.2f}" for kind, value in order[:_SHOWN] if value >= _SMALLEST]
    less = [f"{kind} {value:+.2f}" for kind, value in order[::-1][:_SHOWN] if value <= -_SMALLEST]
    types = "; ".join(", ".join(part) for part in (more, less) if part)
    said = f"macro-F1 {gain['document_macro_f1']:+.3f}, accuracy {gain['document_accuracy']:+.3f}"
    return f"{said} ({types})" if types else said
