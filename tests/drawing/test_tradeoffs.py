"""Quality against speed as a picture."""

import itertools
from pathlib import Path

import pytest
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from PIL import Image

from embedpipe.drawing import tradeoffs
from embedpipe.drawing.tradeoffs import Point, draw_tradeoff


def test_names_do_not_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many backbones at nearly one place are all named, apart from each other and within the picture."""
    points = [
        Point(f"backbone_{n}-发票", kind, 40 + n / 10, 0.6 + n / 1000 + place / 50)
        for n in range(9)
        for place, kind in enumerate(("svm", "knn"))
    ]
    boxes: list[Bbox] = []
    frames: list[Bbox] = []
    place_names = tradeoffs.place_names

    def keep(axes: Axes, those: list[Point]) -> list[Bbox]:
        boxes.extend(place_names(axes, those))
        frames.append(axes.get_window_extent())
        return boxes

    monkeypatch.setattr(tradeoffs, "place_names", keep)
    draw_tradeoff(points, tmp_path / "plot.png", "how it was measured")
    assert len(boxes) == 9
    assert not any(one.overlaps(other) for one, other in itertools.combinations(boxes, 2))
    [frame] = frames
    assert all(frame.x0 <= box.x0 and box.x1 <= frame.x1 for box in boxes)
    with Image.open(tmp_path / "plot.png") as image:
        assert image.size == (1080, 744)


@pytest.mark.parametrize("speeds", [[119.0], [62.0, 80.0, 119.0], [3.0, 40.0, 900.0]])
def test_speeds_can_be_read_from_the_scale(
    speeds: list[float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scale is filled by the points, and at least three of its ticks have a number."""
    seen: list[Axes] = []
    place_names = tradeoffs.place_names

    def keep(axes: Axes, those: list[Point]) -> list[Bbox]:
        seen.append(axes)
        return place_names(axes, those)

    monkeypatch.setattr(tradeoffs, "place_names", keep)
    draw_tradeoff([Point(str(speed), "svm", speed, 0.5) for speed in speeds], tmp_path / "plot.png", "")
    [axes] = seen
    low, high = axes.get_xlim()
    assert min(speeds) / 2 < low < min(speeds) <= max(speeds) < high < max(speeds) * 2
    assert sum(low <= tick <= high for tick in axes.xaxis.get_majorticklocs()) >= 3


def test_one_point_is_a_picture(tmp_path: Path) -> None:
    """A single backbone needs no range to be drawn."""
    draw_tradeoff([Point("only", "svm", 12.0, 0.5)], tmp_path / "one.png", "")
    assert (tmp_path / "one.png").exists()
