"""Which way up a page is: PP-LCNet trained on documents (Cui et al., 2021), asked before any features are taken.

It is asked with the page as it was drawn, whatever its size: that tells as well as pictures of the size it was trained
on. docs/quality.md says how often it is right. Nothing here loads torch.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from embedpipe.backbones.engines import OpenVinoEngine, cpu_batch_size
from embedpipe.backbones.names import ORIENTATION
from embedpipe.backbones.onnx.networks import NETWORKS, of_pages, read_onnx
from embedpipe.core.errors import ArtifactError, WeightsError

SURE = 0.8
"""Probability from which a page is turned."""

_QUARTER = 90
_SIDES = 4


@dataclass(frozen=True, slots=True)
class Turner:
    """Tells by how much pages have to be turned.

    Attributes:
        threads: CPU threads.
    """

    threads: int
    _engines: list[OpenVinoEngine] = field(default_factory=list, compare=False, repr=False)

    @property
    def rule(self) -> str:
        """What decides, for the identity of a space: network, its file, and the probability that is enough."""
        return f"{ORIENTATION}-{NETWORKS[ORIENTATION].file.sha256[:8]}-{SURE:g}"

    def turns(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Degrees clockwise by which pages have to be turned to be upright: 0, 90, 180 or 270.

        Args:
            pixels: Pages of one shape, uint8 (n, H, W, 3).

        Returns:
            int64 (n,).
        """
        size = cpu_batch_size(self.threads)
        batches = [pixels[start : start + size] for start in range(0, len(pixels), size)]
        probabilities = np.concatenate([self._engine().start(batch)() for batch in batches])
        lying = probabilities.argmax(axis=1)  # so many quarters clockwise
        sure = probabilities.max(axis=1) >= SURE
        turns: NDArray[np.int64] = np.where(sure, (_SIDES - lying) % _SIDES * _QUARTER, 0)
        return turns

    def _engine(self) -> OpenVinoEngine:
        """Started with the first page that may lie on its side."""
        if not self._engines:
            self._engines.append(OpenVinoEngine(_model, "fp32", self.threads))
        return self._engines[0]


def _model() -> object:
    known = NETWORKS[ORIENTATION]
    network = read_onnx(known.file.fetch())
    return of_pages(network, known, network.outputs[0].get_node().input_value(0))


def turned(pixels: NDArray[np.uint8], degrees: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) turned clockwise by 0, 90, 180 or 270 degrees."""
    return np.ascontiguousarray(np.rot90(pixels, -degrees // _QUARTER)) if degrees else pixels


def start_turner(threads: int, rule: str = "") -> Turner:
    """What turns pages upright.

    Args:
        threads: CPU threads.
        rule: By which pages of the space were turned; "" for a new space.

    Raises:
        WeightsError: The network is not here.
        ArtifactError: The pages were turned by another rule.
    """
    turner = Turner(threads)
    if rule and rule != turner.rule:
        raise ArtifactError(
            f"the pages of this space were turned upright by {rule}, this version does it by {turner.rule}: "
            "embed them again, which makes a new space"
        )
    try:
        NETWORKS[ORIENTATION].file.fetch()
    except WeightsError as error:
        raise WeightsError(
            f"{ORIENTATION}, which tells which way up pages are: {error}; or take pages as they are: --upright never"
        ) from error
    return turner
