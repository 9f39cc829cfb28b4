"""Charts of held-out quality are pictures that show what they are given."""

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from embedpipe.drawing.charts import learning_chart, reliability_chart, risk_coverage_chart

BINS = [{"rows": 10, "confidence": c, "accuracy": a} for c, a in ((0.3, 0.35), (0.6, 0.5), (0.9, 0.95))]
CURVE = [{"answered": a, "wrong": w, "confidence": 0.5} for a, w in ((0.1, 0.0), (0.5, 0.1), (1.0, 0.3))]
SIZES = [{"documents_per_type": n, "accuracy": q, "macro_f1": q - 0.1} for n, q in ((1, 0.3), (5, 0.5), (40, 0.7))]


def pixels(png: bytes) -> NDArray[np.uint8]:
    """A PNG as RGB."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize(
    "png",
    [reliability_chart(BINS), risk_coverage_chart(CURVE), learning_chart(SIZES), reliability_chart(BINS[:1])],
    ids=["reliability", "risk", "learning", "one bin"],
)
def test_a_chart_has_room_and_colour(png: bytes) -> None:
    """A chart is wide enough to read, mostly white, and its lines are blue."""
    picture = pixels(png).astype(int)
    assert picture.shape[1] > 600
    assert (picture.min(axis=2) > 240).mean() > 0.7
    assert ((picture[..., 2] > picture[..., 0] + 60) & (picture[..., 2] > 120)).sum() > 100


def test_charts_of_other_figures_differ() -> None:
    """Other points give another picture; the same ones the same bytes."""
    assert reliability_chart(BINS) == reliability_chart(BINS)
    assert reliability_chart(BINS) != reliability_chart(BINS[:2])
