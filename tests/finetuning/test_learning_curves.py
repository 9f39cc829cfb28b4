"""What learning curves say."""

from pathlib import Path

import pytest
from PIL import Image

from embedpipe.finetuning.learning_curves import Epoch, best_epoch, describe_fit, draw_curves


def history(train: list[float], validation: list[float], right: tuple[float, float]) -> list[Epoch]:
    """Epochs with these losses, and with these accuracies in each."""
    return [Epoch(a, right[0], b, right[1]) for a, b in zip(train, validation, strict=True)]


RISING = history([1.5, 0.8, 0.3, 0.1], [1.6, 1.1, 1.2, 1.5], (0.97, 0.9))
LEARNT = history([1.5, 0.6, 0.5, 0.5, 0.5], [1.6, 0.7, 0.6, 0.61, 0.6], (0.95, 0.9))


@pytest.mark.parametrize(
    ("epochs", "begins", "says"),
    [
        (RISING, "Overfitting", "epoch 2 the validation loss rose from 1.10 to 1.50"),
        (history([1.0, 0.2, 0.1], [1.5, 1.2, 1.2], (0.99, 0.7)), "Overfitting", "99% of the training pages and 70%"),
        (history([2.0, 1.9, 1.9], [2.1, 2.0, 2.0], (0.4, 0.38)), "Underfitting", "higher rate or more unfrozen"),
        (history([2.0, 1.8, 1.6, 1.4], [2.1, 1.9, 1.7, 1.5], (0.6, 0.5)), "Underfitting", "more epochs may help"),
        (history([1.2, 1.0, 0.8, 0.7], [1.3, 1.1, 0.9, 0.8], (0.9, 0.88)), "Underfitting", "(1.30 to 0.80"),
        (LEARNT, "Neither", "95% of the training pages and 90%"),
        (history([1.0], [1.1], (0.9, 0.85)), "Neither", "epoch 1"),
    ],
)
def test_the_sentence_names_the_case_and_the_reason(epochs: list[Epoch], begins: str, says: str) -> None:
    """Overfitting, underfitting or neither, with the figures that show it."""
    sentence = describe_fit(epochs)
    assert sentence.startswith(begins)
    assert says in sentence


def test_the_best_epoch_has_the_smallest_validation_loss() -> None:
    """The first of equals."""
    assert best_epoch(RISING) == 1
    assert best_epoch(LEARNT) == 2


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    """A PNG with something on it, also for a single epoch and a name that looks like a formula."""
    for epochs in (RISING, RISING[:1]):
        draw_curves(epochs, "finetuned:$a_b$", tmp_path / "curves.png")
        image = Image.open(tmp_path / "curves.png").convert("RGB")
        assert image.width > 800
        assert len(image.getcolors(1_000_000)) > 50
