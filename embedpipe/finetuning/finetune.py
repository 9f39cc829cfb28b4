"""Labelled documents to a backbone of its own: the third way of transfer, in which the network itself is trained."""

import hashlib
import json
import re
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from embedpipe.backbones.building import check_size, default_recipe, find_backbone, load_backbone, load_network
from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.backbones.layers import PENULTIMATE, FeatureNetwork
from embedpipe.backbones.model_cache import Wanted
from embedpipe.backbones.names import one_name
from embedpipe.backbones.runtime import choose
from embedpipe.backbones.state_dicts import tensors_sha256
from embedpipe.classifiers.evaluation import HeldOut
from embedpipe.classifiers.finetuned import CARD, CURVES, MANIFEST, WEIGHTS, named, resolve
from embedpipe.classifiers.folds import grouped_folds
from embedpipe.classifiers.group_guesses import grouped
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.metrics import metrics_of
from embedpipe.core.errors import EmbedpipeError, LabelsError, UsageError
from embedpipe.core.files import read_json, replacing, sha256_of, write_json
from embedpipe.core.records import SAYS_NOTHING, Document
from embedpipe.embedding.streaming import Settings
from embedpipe.finetuning.learning_curves import best_epoch, describe_fit, draw_curves
from embedpipe.finetuning.model_cards import model_card
from embedpipe.finetuning.page_cache import PageCache
from embedpipe.finetuning.training_loop import FinetuningRecipe, Trainer, TuningData, TuningState, Watch, page_scores
from embedpipe.finetuning.unfreezing import find_depths, set_drop_path, trained_depths
from embedpipe.pages.documents import Limits
from embedpipe.pages.rendering import Selection
from embedpipe.pages.unfolding import identify_at, look_up
from embedpipe.store.labels import NONE
from embedpipe.store.workspace import FINETUNED, Workspace

VALIDATION_FOLDS = 4
"""One fold of so many, by group, is held out to say when to stop."""

_IMPOSSIBLE = -30.0  # log probability
_CHECKPOINT = "checkpoint.pt"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_OUTPUT = "output"
_TRUNK = "features.network."


@dataclass(frozen=True, slots=True)
class PageScores:
    """The fine-tuned network's own predictions for some pages.

    Attributes:
        pages: The pages, with their types; `X` is empty.
        classes: Types, sorted.
        log_scores: Logarithms of the probabilities, (n, n_classes).
    """

    pages: LabelledPages
    classes: list[str]
    log_scores: NDArray[np.float64]

    def metrics(self) -> dict[str, Any]:
        """As `evaluate` reports them: of pages, and of documents with first pages counting most.

        There is no `types_with_one_group`: nothing is learnt from these pages.
        """
        unknown = sorted(set(self.pages.y) - set(self.classes))  # never learnt, so never predicted
        scores = np.hstack([self.log_scores, np.full((len(self.pages.y), len(unknown)), _IMPOSSIBLE)])
        order = np.argsort(np.array([*self.classes, *unknown], object))
        classes = sorted([*self.classes, *unknown])
        metrics = metrics_of(self.pages, HeldOut(classes, scores[:, order], np.zeros(len(self.pages.y), np.int64)))
        del metrics["types_with_one_group"]
        return metrics


@dataclass(frozen=True, slots=True)
class Finetuned:
    """A fine-tuned backbone.

    Attributes:
        name: Without `finetuned:`.
        folder: Weights, manifest, model card and learning curves.
        manifest: What the manifest says; among others `metrics` (of the validation documents), `fit` (a sentence on
            over- and underfitting), `classes`, and `interrupted`.
        validation: What the network's own output layer predicts for the documents that chose the best epoch.
        test: Likewise of the documents that nothing was chosen on, if any were given.
    """

    name: str
    folder: Path
    manifest: dict[str, Any]
    validation: PageScores
    test: PageScores | None = None


def finetune(
    workspace: Workspace,
    recipe: FinetuningRecipe | None = None,
    name: str | None = None,
    *,
    test: Collection[str] = (),
    settings: Settings | None = None,
    choice: EngineChoice | None = None,
    watch: Watch | None = None,
) -> Finetuned:
    """Trains a network on the pages of the labelled documents, and keeps the best epoch as a backbone of its own.

    A quarter of the documents, by group, is held out and says when to stop. After a kill the same call goes on from
    the last whole epoch; Ctrl-C keeps the best so far.

    Args:
        workspace: Gives labels and documents, and takes the backbone.
        recipe: How; None for the defaults.
        name: Of the new backbone, which is then `finetuned:NAME`; None for base and part, "resnet50-last-stage".
        test: SHA-256 of documents that are neither trained nor validated on, and are predicted at the end.
        settings: How documents are read; the recipe says which pages.
        choice: Device; the precision is the recipe's.
        watch: Receives the progress.

    Raises:
        EmbedpipeError: A backbone of that name exists already, a field of the recipe has no meaning, or the network
            does not take pages of that size.
        LabelsError: There are too few labelled documents.
        KeyboardInterrupt: Ctrl-C came before the first epoch was done.
    """
    recipe = recipe or FinetuningRecipe()
    if recipe.backbone.startswith(FINETUNED):
        raise UsageError(f"{recipe.backbone} has seen its documents: fine-tune its base with another recipe")
    one_name(recipe.backbone, "training")
    name = name or f"{recipe.backbone.replace(':', '-')}-{recipe.unfreeze}"
    if not _NAME.fullmatch(name):
        raise UsageError(f"--name {name}: write letters, digits, dots, dashes and underscores")
    with workspace.writing("finetune"):
        run = _Run(workspace, name, recipe, choice or EngineChoice(), watch or Watch())
        return run.run(frozenset(test), settings or Settings())


class _Run:
    """One call of `finetune`."""

    def __init__(
        self, workspace: Workspace, name: str, recipe: FinetuningRecipe, choice: EngineChoice, watch: Watch
    ) -> None:
        self._workspace, self._name, self._recipe, self._watch = workspace, name, recipe, watch
        self._folder = workspace.backbone_path(name)
        if (self._folder / MANIFEST).exists() and not (self._folder / _CHECKPOINT).exists():
            raise EmbedpipeError(f"there is a backbone {FINETUNED}{name} already: give another --name, or remove it")
        self._source = find_backbone(recipe.backbone)
        if self._source.onnx:
            self._source.build()  # says that it cannot be trained
        self._preprocessing = self._source.preprocessing()
        changes = {key: value for key in ("size", "resize") if (value := getattr(recipe, key)) is not None}
        self._picture = replace(default_recipe(self._preprocessing), **changes)
        check_size(recipe.backbone, self._preprocessing, self._picture)
        self._device = choose(replace(choice, engine="torch"))[0].device
        self._begin = time.perf_counter()

    def run(self, test: frozenset[str], settings: Settings) -> Finetuned:
        """Renders, trains, measures and saves."""
        self._folder.mkdir(parents=True, exist_ok=True)
        settings = replace(settings, selection=_selection(self._recipe.pages))
        labels = self._workspace.labels()
        rows = [row for row in labels.rows.values() if row.label != NONE]
        if not rows:
            raise LabelsError("no document is labelled: use `embed DIR --label-by folder`, or `label FILE.csv`")
        documents = self._documents({row.document_sha256: row.path for row in rows})
        self._watch.notice(f"rendering the labelled pages of {len(documents)} documents")
        interpolation = self._preprocessing.interpolation
        with PageCache(documents, self._picture, interpolation, settings, self._folder) as cache:
            if cache.failures:
                self._watch.notice(f"{len(cache.failures)} pages or files cannot be rendered, and are left out")
            pages, places = self._labelled(cache)
            return self._train(cache, pages, places, np.isin(pages.documents, sorted(test)))

    def _documents(self, paths: dict[str, str]) -> list[Document]:
        sources = self._workspace.sources()
        found = [
            document for sha256, path in paths.items() if (document := sources.document(sha256) or _at(path, sha256))
        ]
        if len(found) < len(paths):
            self._watch.notice(
                f"{len(paths) - len(found)} labelled documents are not where they were, and are left out"
            )
        if not found:
            raise LabelsError("none of the labelled documents is where it was: run `embed` on them again")
        return found

    def _labelled(self, cache: PageCache) -> tuple[LabelledPages, NDArray[np.int64]]:
        """The labelled pages that are not blank, and their places in the cache."""
        keys = [(info.ref.document_sha256, info.ref.page_index) for info in cache.infos]
        frame = pd.DataFrame(keys, columns=["document_sha256", "page_index"])
        labels = self._workspace.labels().of_pages(frame)
        blank = np.array([info.outcome in SAYS_NOTHING for info in cache.infos], bool)
        typed = (labels["label"].notna() & (labels["label"] != NONE)).to_numpy(bool)
        places = np.flatnonzero(typed & ~blank)
        if not len(places):
            raise LabelsError("none of the pages is labelled: use `embed DIR --label-by folder`, or `label FILE.csv`")
        pages = LabelledPages(
            page_ids=places,
            X=np.empty((len(places), 0), np.float32),
            y=labels["label"].to_numpy(object)[places],
            documents=frame["document_sha256"].to_numpy(object)[places],
            groups=labels["group"].to_numpy(object)[places],
            page_indices=frame["page_index"].to_numpy(np.int64)[places],
        )
        return grouped(self._workspace, pages, ()), places

    def _train(
        self, cache: PageCache, pages: LabelledPages, places: NDArray[np.int64], tested: NDArray[np.bool_]
    ) -> Finetuned:
        known = pages.take(~tested)
        validated = np.zeros(len(pages.y), bool)
        validated[np.flatnonzero(~tested)[validation_rows(known, self._recipe.seed)]] = True
        trained = ~tested & ~validated
        classes = sorted(set(pages.y[~tested]))
        network, depths, total = self._network(len(classes))
        targets, weights = np.zeros(len(cache), np.int64), np.ones(len(cache))
        rows = np.flatnonzero(~tested)
        targets[places[rows]] = np.searchsorted(classes, pages.y[rows])
        weights[places] = training_weights(pages, trained, self._recipe.balance)
        data = TuningData(cache, targets, weights, places[trained], places[validated])
        trainer = Trainer(network, depths, self._recipe, data, self._device)
        fingerprint = self._fingerprint(pages, tested)
        self._describe(data, depths, total)
        state = trainer.run(self._folder / _CHECKPOINT, fingerprint, self._watch)
        if not state.best:
            if state.interrupted:
                raise KeyboardInterrupt
            raise EmbedpipeError("the loss is no number any more: give a smaller rate, such as --set rate=1e-4")
        network.load_state_dict(state.best)
        network.eval().requires_grad_(False)

        def told(chosen: NDArray[np.bool_]) -> PageScores:
            scores = page_scores(network, cache, places[chosen], self._recipe.batch_size, torch.device(self._device))
            return PageScores(pages.take(chosen), classes, scores)

        validation, test = told(validated), told(tested) if tested.any() else None
        sides = {"trained": pages.take(trained), "validated": pages.take(validated)}
        manifest = self._save(network, state, classes, _who(sides), validation)
        return Finetuned(self._name, self._folder, manifest, validation, test)

    def _network(self, n_classes: int) -> tuple[nn.Module, list[list[str]], int]:
        """The network with a new output layer, the names of its trained parameters by stage, and its stages."""
        trunk = load_network(self._recipe.backbone, self._recipe.weights)
        self._base_sha256 = tensors_sha256(trunk)
        if hasattr(trunk, "aux_logits"):
            setattr(trunk, "aux_logits", False)  # noqa: B010 - their outputs would come beside the features
        features = FeatureNetwork(trunk, self._preprocessing.mean, self._preprocessing.std, PENULTIMATE)
        depths = find_depths(trunk, features.example().shape[1])
        chosen = trained_depths(depths, self._recipe.unfreeze)
        set_drop_path(trunk, self._recipe.drop_path)
        with torch.random.fork_rng():
            torch.manual_seed(self._recipe.seed)
            output = nn.Linear(features.dim, n_classes)
        network = nn.Sequential()
        network.add_module("features", features)
        network.add_module("dropout", nn.Dropout(self._recipe.dropout))
        network.add_module(_OUTPUT, output)
        network.to(self._device).to(memory_format=torch.channels_last)
        named = [[_TRUNK + name for name in names] for names in chosen]
        return network, [*named, [f"{_OUTPUT}.weight", f"{_OUTPUT}.bias"]], len(depths)

    def _describe(self, data: TuningData, depths: list[list[str]], total: int) -> None:
        self._watch.notice(
            f"training {len(depths) - 1} of {total} stages and the output layer on {len(data.training)} pages, "
            f"validating on {len(data.validation)}; up to {self._recipe.epochs} epochs on {self._device}"
        )

    def _fingerprint(self, pages: LabelledPages, tested: NDArray[np.bool_]) -> str:
        rows = [pages.documents, pages.page_indices, pages.y, pages.groups, tested]
        facts = [
            asdict(self._recipe),
            self._base_sha256,
            _as_before(asdict(self._picture)),
            [list(map(str, row)) for row in rows],
        ]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _save(
        self,
        network: nn.Module,
        state: TuningState,
        classes: list[str],
        who: dict[str, dict[str, list[str]]],
        validation: PageScores,
    ) -> dict[str, Any]:
        """Writes weights, curves, card, and last the manifest, which makes it a backbone."""
        folder = self._folder
        with replacing(folder / WEIGHTS) as temporary:
            save_file(_tensors(network), temporary)
        trunk = network.get_submodule(_TRUNK.rstrip("."))
        manifest: dict[str, Any] = {
            "name": self._name,
            "base": self._recipe.backbone,
            "base_weights_sha256": self._base_sha256,
            "base_licence": self._source.licence,
            "weights_sha256": tensors_sha256(trunk.cpu()),
            "file_sha256": sha256_of(folder / WEIGHTS),
            "picture": asdict(self._picture),
            "preprocessing": asdict(self._preprocessing),
            "recipe": asdict(self._recipe),
            "classes": classes,
            **who,
            "epochs": [asdict(epoch) for epoch in state.history],
            "best_epoch": best_epoch(state.history) + 1,
            "fit": describe_fit(state.history),
            "metrics": validation.metrics(),
            "interrupted": state.interrupted,
            "device": self._device,
            "seconds": time.perf_counter() - self._begin,
            "versions": {name: version(name) for name in ("embedpipe", "torch", "timm", "torchvision")},
        }
        draw_curves(state.history, f"{FINETUNED}{self._name}", folder / CURVES)
        with replacing(folder / CARD) as temporary:
            temporary.write_text(model_card(manifest), encoding="utf-8")
        write_json(folder / MANIFEST, manifest)
        if not state.interrupted:
            (folder / _CHECKPOINT).unlink(missing_ok=True)
        return read_json(folder / MANIFEST)


def open_backbone(workspace: Workspace, wanted: Wanted) -> Backbone:
    """Loads any backbone with torch: of the table, of timm, or fine-tuned.

    Raises:
        UnknownNameError: There is no such backbone.
        ArtifactError: A fine-tuned backbone is damaged.
        WeightsError: The weights are missing or do not fit.
    """
    base = resolve(workspace, wanted)
    backbone = load_backbone(
        base.name, weights=base.weights, recipe=base.recipe, changes=base.changes, choice=base.choice
    )
    return named(backbone, wanted.name)


def validation_rows(pages: LabelledPages, seed: int) -> NDArray[np.bool_]:
    """Which pages are held out, (n,): about a quarter, no group on both sides, no type on the held-out side alone.

    Raises:
        LabelsError: There are too few types or groups to hold any out.
    """
    held_out: NDArray[np.bool_] = grouped_folds(pages, VALIDATION_FOLDS, seed) == 0
    unlearnt = sorted(set(pages.y[held_out]) - set(pages.y[~held_out]))
    held_out &= ~np.isin(pages.groups, pages.groups[np.isin(pages.y, unlearnt)])
    if not held_out.any():
        raise LabelsError("no documents are left to validate on: label more documents of each type")
    return held_out


def training_weights(pages: LabelledPages, trained: NDArray[np.bool_], balance: float) -> NDArray[np.float64]:
    """What each page counts, (n,): its share of its document, over a power of how many documents its type has.

    Args:
        pages: All pages.
        trained: Those whose weights have mean 1, and whose documents are counted.
        balance: The power: 0 for all documents alike, 1 for all types alike.
    """
    weights = pages.weights
    documents = {kind: float(weights[trained & (pages.y == kind)].sum()) for kind in set(pages.y)}
    weights = weights / np.array([max(documents[kind], 1.0) ** balance for kind in pages.y])
    scaled: NDArray[np.float64] = weights / weights[trained].mean()
    return scaled


def _who(sides: dict[str, LabelledPages]) -> dict[str, dict[str, list[str]]]:
    """Documents of each side, and the groups that people named: a document without one is a group of its own."""
    documents = {side: sorted(set(pages.documents)) for side, pages in sides.items()}
    groups = {side: sorted(set(pages.groups) - set(pages.documents)) for side, pages in sides.items()}
    return {"documents": documents, "groups": groups}


def _tensors(network: nn.Module) -> dict[str, Tensor]:
    """Tensors as the base names them, and the output layer's beside them; without those of the preprocessing."""
    names = {name: name.removeprefix(_TRUNK) for name in network.state_dict() if name.startswith((_TRUNK, _OUTPUT))}
    return {names[name]: tensor.cpu().contiguous() for name, tensor in network.state_dict().items() if name in names}


def _selection(text: str) -> Selection:
    try:
        return Selection.parse(text)
    except ValueError:
        raise UsageError(f"--pages {text}: write all, 1-3, or 1,last") from None


def _at(path: str, sha256: str) -> Document | None:
    """The document at a path, if it still is the one that was labelled."""
    try:
        there = look_up(path)
    except OSError:
        return None
    found = identify_at(there, Limits())
    return found if isinstance(found, Document) and found.sha256 == sha256 else None


def _as_before(picture: dict[str, Any]) -> dict[str, Any]:
    """A recipe without what came later and is as it was: runs that were interrupted go on."""
    return {name: value for name, value in picture.items() if (name, value) != ("annotations", "show")}
