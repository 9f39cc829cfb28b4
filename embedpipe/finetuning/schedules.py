"""When training goes how fast, and when it stops."""

import math
from dataclasses import dataclass


def warmup_cosine(step: int, steps: int, warmup: int) -> float:
    """Factor on the learning rate: a straight way up, then half a cosine down to 0 (Loshchilov and Hutter, 2017).

    Args:
        step: From 0.
        steps: Of the whole training.
        warmup: Steps on the way up; the first has 1 / warmup.
    """
    if step < warmup:
        return (step + 1) / warmup
    share = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share)))


def depth_rates(rate: float, share: float, decay: float, depths: int) -> list[float]:
    """Learning rates of the trained stages, from the input to the output: the earlier, the smaller.

    Discriminative fine-tuning (Howard and Ruder, 2018, arXiv:1801.06146): what early stages know is general, and is
    kept.

    Args:
        rate: Of the new output layer.
        share: Of the last stage's rate in it.
        decay: Of each stage's rate in that of the next.
        depths: How many stages are trained.
    """
    return [rate * share * decay ** (depths - 1 - depth) for depth in range(depths)]


@dataclass(slots=True)
class EarlyStopping:
    """Stops when a loss has not fallen for some epochs.

    Attributes:
        patience: How many epochs may pass without a new best; 0 never stops.
        best: Smallest loss so far.
        waited: Epochs since then.
    """

    patience: int
    best: float = math.inf
    waited: int = 0

    def improved(self, loss: float) -> bool:
        """Takes the loss of an epoch; whether it is the best so far. What is not a number never is."""
        if loss < self.best:
            self.best, self.waited = loss, 0
            return True
        self.waited += 1
        return False

    @property
    def stop(self) -> bool:
        """Whether it is time."""
        return 0 < self.patience <= self.waited
