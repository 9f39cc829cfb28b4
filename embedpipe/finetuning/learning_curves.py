"""Learning curves: a picture, and what it says in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from embedpipe.core.files import replacing

GAP = 0.15
"""Accuracy on training pages above that on validation pages from which a network knows its own pages by heart."""

RISE = 0.10
"""Share by which the validation loss rises from its best from which training has gone too far."""

LOW = 0.8
"""Accuracy on training pages below which a network has not learnt them."""

FALL = 0.01
"""Share per epoch by which a loss must fall to be still falling."""

_LAST = 3


@dataclass(frozen=True, slots=True)
class Epoch:
    """What was measured after an epoch, on training and validation pages alike without augmentation.

    Attributes:
        train_loss: Weighted cross-entropy on a sample of the training pages.
        train_accuracy: Share of these pages that are classified correctly.
        validation_loss: Likewise, on pages of documents that were not trained on.
        validation_accuracy: Likewise.
        rate: Learning rate of the output layer at the end of the epoch.
        seconds: Duration.
    """

    train_loss: float
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    rate: float = 0.0
    seconds: float = 0.0


def best_epoch(history: Sequence[Epoch]) -> int:
    """Index of the epoch with the smallest validation loss."""
    return min(range(len(history)), key=lambda epoch: history[epoch].validation_loss)


def describe_fit(history: Sequence[Epoch]) -> str:
    """One sentence: overfitting, underfitting or neither, and why.

    The network is overfitting if the validation loss has risen from its best while the training loss fell, or if it
    classifies its training pages well and validation pages much worse. It is underfitting if it does not fit even its
    training pages well, or if the validation loss was still falling when the epochs ended.
    """
    best, last = history[best_epoch(history)], history[-1]
    number = best_epoch(history) + 1
    gap = best.train_accuracy - best.validation_accuracy
    rise = last.validation_loss / max(best.validation_loss, 1e-9) - 1
    both = f"{best.train_accuracy:.0%} of the training pages and {best.validation_accuracy:.0%} of the validation pages"
    if rise > RISE and last.train_loss < best.train_loss:
        return (
            f"Overfitting: after epoch {number} the validation loss rose from {best.validation_loss:.2f} to "
            f"{last.validation_loss:.2f} while the training loss fell to {last.train_loss:.2f}; epoch {number} is kept."
        )
    if best.train_accuracy < LOW:
        more = "more epochs" if _still_falling(history) else "a higher rate or more unfrozen stages"
        return f"Underfitting: even at its best, epoch {number}, it gets only {both} right; {more} may help."
    if gap > GAP:
        more = " More epochs may still help: the validation loss was falling at the end." * _still_falling(history)
        return (
            f"Overfitting: at epoch {number}, its best, it gets {both} right; more documents from other sources, "
            f"or fewer unfrozen stages, may narrow this.{more}"
        )
    if _still_falling(history):
        return (
            f"Underfitting: the validation loss was still falling when the {len(history)} epochs ended "
            f"({history[max(0, len(history) - 1 - _LAST)].validation_loss:.2f} to {last.validation_loss:.2f} in the "
            "last ones); more epochs may help."
        )
    return f"Neither overfitting nor underfitting: at epoch {number}, its best, it gets {both} right."


def _still_falling(history: Sequence[Epoch]) -> bool:
    if len(history) <= _LAST or best_epoch(history) != len(history) - 1:
        return False
    before, last = history[-1 - _LAST].validation_loss, history[-1].validation_loss
    return last < before * (1 - FALL) ** _LAST


def draw_curves(history: Sequence[Epoch], title: str, file: Path) -> None:
    """Draws loss and accuracy over the epochs, training and validation, with the sentence below, as a PNG.

    Raises:
        ArtifactError: The file cannot be written.
    """
    figure = Figure(figsize=(11, 4.8), dpi=130, facecolor="white", layout="constrained")
    canvas = FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    _draw(left, [e.train_loss for e in history], [e.validation_loss for e in history], "loss (cross-entropy)")
    _draw(right, [e.train_accuracy for e in history], [e.validation_accuracy for e in history], "accuracy of pages")
    right.set_ylim(0, 1.02)
    for axes in (left, right):
        axes.axvline(best_epoch(history) + 1, color="#6b6b73", linewidth=1, linestyle=":", label="best epoch, kept")
    lines, names = left.get_legend_handles_labels()
    for axes, those in ((left, slice(2)), (right, slice(2, None))):  # once for both, above, where no line can be
        place = {"loc": "lower left", "bbox_to_anchor": (0, 1), "ncols": 2}
        axes.legend(lines[those], names[those], **place, frameon=False, fontsize=9)
    figure.get_layout_engine().set(w_pad=0.12)  # type: ignore[union-attr, call-arg]
    figure.suptitle(title, fontsize=12, parse_math=False)
    figure.supxlabel(describe_fit(history), fontsize=9, wrap=True)
    with replacing(file) as temporary:
        canvas.figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw(axes: Axes, train: list[float], validation: list[float], what: str) -> None:
    epochs = range(1, len(train) + 1)
    axes.plot(epochs, train, color="#1f5fbf", marker="o", markersize=3, label="training pages, not augmented")
    axes.plot(epochs, validation, color="#c2410c", marker="s", markersize=3, label="validation pages")
    axes.set_xlabel("epoch")
    axes.set_ylabel(what)
    axes.grid(color="#e4e4e8", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(0.5, len(train) + 0.5)
    axes.spines[["top", "right"]].set_visible(False)
