"""Several networks as one: each page is drawn once, goes through each of them, and has one row of features.

Networks that take the same picture share it. One that takes another is given the page's picture scaled to its own size
and shape, after the page was turned upright where that is wanted.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from embedpipe.backbones.engines import Backbone, Engine, Pending
from embedpipe.backbones.names import JOIN
from embedpipe.core.records import Identity, Member, Recipe
from embedpipe.pages.contract import PHOTO_CROP, SHAPE_STEP, plan

_CROPPED = 1.5
"""How many times longer than wide a page may be before the centre of it, for a network that takes that, is enlarged."""

_RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}


def combine(backbones: Sequence[Backbone]) -> Backbone:
    """One backbone of several: the features of each, side by side, in blocks called `MEMBER/BLOCK`."""
    identities = [backbone.identity for backbone in backbones]
    members = tuple(Member(one.backbone, one.weights_sha256, one.recipe, one.interpolation) for one in identities)
    blocks, start = [], 0
    for backbone in backbones:
        for name, first, last in backbone.blocks:
            blocks.append((f"{backbone.identity.backbone}/{name}", start + first, start + last))
        start = blocks[-1][2]
    recipe = shared_recipe([one.recipe for one in identities])
    identity = Identity(
        backbone=JOIN.join(one.backbone for one in identities),
        weights_sha256=hashlib.sha256(JOIN.join(one.weights_sha256 for one in identities).encode()).hexdigest(),
        recipe=recipe,
        blocks=tuple(name for name, _, _ in blocks),
        interpolation=identities[0].interpolation,
        members=members,
    )
    engines = [_Runner(one.engine, _picture_maker(one.identity, recipe)) for one in backbones]
    return Backbone(identity, blocks, EngineList(engines))


def shared_recipe(recipes: Sequence[Recipe]) -> Recipe:
    """How pages are drawn for several networks: as all of them take them, or whole and as large as any needs them."""
    first = recipes[0]
    if all(_picture(recipe) == _picture(first) for recipe in recipes):
        return first
    sizes = [recipe.size / PHOTO_CROP * _CROPPED if recipe.resize == "crop" else recipe.size for recipe in recipes]
    size = -(-round(max(sizes)) // SHAPE_STEP) * SHAPE_STEP
    return replace(first, size=size, resize="aspect", shortest=max(recipe.shortest for recipe in recipes))


def _picture(recipe: Recipe) -> Recipe:
    """What of a recipe concerns the picture."""
    return replace(recipe, layers="")


def _picture_maker(identity: Identity, shared: Recipe) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    """Makes a network's own pictures of pages (n, H, W, 3) as they were drawn for all."""
    recipe = identity.recipe
    if _picture(recipe) == _picture(shared):
        return lambda pixels: pixels
    resampling = _RESAMPLING[identity.interpolation]

    def own(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        region, size = plan(pixels.shape[2], pixels.shape[1], recipe)
        return np.stack([np.asarray(Image.fromarray(page).resize(size, resampling, box=region)) for page in pixels])

    return own


@dataclass(frozen=True, slots=True)
class _Runner:
    """One network of a list, and what makes its pictures."""

    engine: Engine
    picture: Callable[[NDArray[np.uint8]], NDArray[np.uint8]]

    def start(self, pixels: NDArray[np.uint8], most: int) -> Pending:
        """Begins it on pages, so many at once that suit it where it runs beside a network that takes more."""
        step = len(pixels) if self.engine.batch_size >= most else self.engine.batch_size
        parts = [pixels[start : start + step] for start in range(0, len(pixels), step)]
        first = self.engine.start(self.picture(parts[0]))
        if len(parts) == 1:
            return first
        return lambda: np.concatenate([first(), *(self.engine.start(self.picture(part))() for part in parts[1:])])


class EngineList:
    """Runs several networks on the same pages: those of one device one after the other, those of others meanwhile.

    Args:
        runners: The networks, in the order of their features.
    """

    def __init__(self, runners: Sequence[_Runner]) -> None:
        engines = [runner.engine for runner in runners]
        self.name, self.device, self.precision = (
            JOIN.join(dict.fromkeys(getattr(engine, key) for engine in engines))
            for key in ("name", "device", "precision")
        )
        self.batch_size = max(engine.batch_size for engine in engines)
        self.in_flight = min(engine.in_flight for engine in engines)
        self._runners = list(runners)

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """Begins a call for pages uint8 (n, H, W, 3)."""
        begun: dict[int, Pending] = {}
        devices: set[Any] = set()
        for number, runner in enumerate(self._runners):
            if runner.engine.device not in devices:
                devices.add(runner.engine.device)
                begun[number] = runner.start(pixels, self.batch_size)

        def wait() -> NDArray[np.float32]:
            found = {number: pending() for number, pending in begun.items() if number == 0}
            for number, runner in enumerate(self._runners):
                if number not in found:
                    pending = begun.get(number) or runner.start(pixels, self.batch_size)
                    found[number] = pending()
            return np.hstack([found[number] for number in range(len(self._runners))])

        return wait
