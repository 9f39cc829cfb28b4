"""What a classifier is made from, apart from features and labels."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from embedpipe.classifiers.bundles import CUES, PICTURES, Blocks
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.parts import Plan, plan
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """What a classifier is made from, apart from features and labels.

    Attributes:
        kind: Key in `bundles.CLASSIFIERS`.
        settings: Hyper-parameters as text.
        pages: Which pages of each document are used, as `Selection.parse` reads it.
        cues: Learn from the cues of each page in any case.
        augment: Learn also from so many variants of each page, which `make_variants` makes.
        seed: Of the variants.
        blocks: What it learns from: `pictures`, `layout`, `cues`, `words`, `document`, networks or blocks of the space;
            None for pictures, and words, layout and whole documents where they help, as held-out documents show.
    """

    kind: str
    settings: Mapping[str, str] = field(default_factory=dict)
    pages: str = "all"
    cues: bool = False
    augment: int = 0
    seed: int = 0
    blocks: tuple[str, ...] | None = None

    @classmethod
    def of(cls, fitted_on: Mapping[str, Any]) -> "TrainingRecipe":
        """The recipe of a fitted classifier, from its `fitted_on`: with the blocks that it has."""
        augment, seed = (int(fitted_on.get(key) or 0) for key in ("augment", "seed"))
        cues = bool(fitted_on.get("cues"))
        before = (PICTURES, CUES) if cues else (PICTURES,)  # of earlier versions
        blocks = tuple(fitted_on.get("blocks", before))
        return cls(fitted_on["kind"], fitted_on["settings"], fitted_on["selection"], cues, augment, seed, blocks)

    @classmethod
    def as_asked(cls, fitted_on: Mapping[str, Any]) -> "TrainingRecipe":
        """The same, but choosing anew where the classifier had chosen its blocks itself."""
        recipe = cls.of(fitted_on)
        if "asked" not in fitted_on:
            return recipe
        return replace(recipe, blocks=None, cues=CUES in fitted_on["asked"])

    @property
    def takes_cues(self) -> bool:
        """Whether it learns from cues in any case."""
        return self.cues or CUES in (self.blocks or ())

    def features_of(self, workspace: Workspace, store: FeatureStore) -> FeatureStore:
        """The store with what this recipe adds to its features.

        Cues are not chosen by themselves: they gain on documents of the labelled sources, and lose much on others.
        """
        return CuedStore(workspace, store) if self.takes_cues and not isinstance(store, CuedStore) else store

    def plan(self, blocks: Blocks, pages: LabelledPages) -> Plan:
        """The parts that its classifier may have, on pages of `learnt_pages`, with features in these blocks."""
        forced = (CUES,) if self.cues else ()
        asked = None if self.blocks is None else tuple(dict.fromkeys([*self.blocks, *forced]))
        return plan(self.kind, blocks, self.settings, asked, forced=forced, words=pages.words is not None)
