"""Training a network on page images: the loop, what it remembers of each epoch, and how it goes on after a kill."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from timm.utils import ModelEmaV3
from torch import Tensor, nn
from torch.nn import functional

from embedpipe.core.errors import EmbedpipeError, UnknownNameError, UsageError
from embedpipe.core.files import replacing
from embedpipe.finetuning.learning_curves import Epoch
from embedpipe.finetuning.page_cache import PageCache
from embedpipe.finetuning.schedules import EarlyStopping, depth_rates, warmup_cosine
from embedpipe.finetuning.unfreezing import train_only
from embedpipe.pages.augmentation import augment, fit_page

_AHEAD = 3
_THREADS = 2
_LONGEST_GRADIENT = 5.0
_SEED_STEP = 100_003
_NEAR = math.log(1.3)  # pages are stretched at most so much to share a batch with others


@dataclass(frozen=True, slots=True)
class FinetuningRecipe:
    """How a network is fine-tuned. Rates are per step of the optimizer.

    Attributes:
        backbone: Name in `backbones.registry.BACKBONES`, or `timm:NAME`.
        weights: As `load_backbone` takes them; "none" trains from scratch.
        unfreeze: "head", "last-stage", a number of stages counted from the output, or "all".
        pages: Which pages of each document are used, as `Selection.parse` reads it.
        size: Pixels of the long side; None for the backbone's default.
        resize: Likewise "aspect", "squash" or "crop".
        epochs: Most passes over the training pages.
        batch_size: Pages of a step.
        optimizer: "adamw" (Loshchilov and Hutter, 2019, arXiv:1711.05101) or "sgd", with Nesterov's momentum.
        rate: Highest learning rate, of the new output layer; from scratch, of everything.
        stage_share: Rate of the last stage over that of the output layer.
        stage_decay: Rate of each stage over that of the next.
        weight_decay: Of weights; not of biases and normalisations.
        warmup: Epochs in which the rate rises.
        label_smoothing: Probability that is spread over all types (Szegedy et al., 2016, arXiv:1512.00567).
        dropout: Of the features, before the output layer.
        drop_path: Largest probability that a block is skipped; for networks that are built for it.
        ema: Largest decay of the moving average of the weights, which is what is kept.
        patience: Epochs without a better validation loss after which training ends; 0 for never.
        augment: Whether training pages are changed at random.
        balance: 0 counts every document alike, 1 every type; between them is a power of the number of documents.
        statistics: Whether batch normalisation in unfrozen stages learns the statistics of the pages: "learn", "keep",
            or "auto" to learn them where no more than the last stage is trained, see docs/quality.md. From scratch
            they are always learnt.
        precision: "auto", "fp32", "bf16" or "fp16".
        seed: Of everything random.
    """

    backbone: str = "efficientnet_lite0"
    weights: str | None = None
    unfreeze: str = "last-stage"
    pages: str = "1-3"
    size: int | None = None
    resize: str | None = None
    epochs: int = 20
    batch_size: int = 32
    optimizer: str = "adamw"
    rate: float = 1e-3
    stage_share: float = 0.3
    stage_decay: float = 0.6
    weight_decay: float = 0.05
    warmup: float = 1.0
    label_smoothing: float = 0.1
    dropout: float = 0.2
    drop_path: float = 0.1
    ema: float = 0.99
    patience: int = 6
    augment: bool = True
    balance: float = 0.5
    statistics: str = "auto"
    precision: str = "auto"
    seed: int = 0


@dataclass(frozen=True, slots=True)
class TuningData:
    """Pages with their types, and who is trained on.

    Attributes:
        cache: The pages.
        targets: Column of each page's type, (n,).
        weights: What each page counts, with mean 1, (n,).
        training: Indices of the pages that are trained on.
        validation: Indices of those that say when to stop.
    """

    cache: PageCache
    targets: NDArray[np.int64]
    weights: NDArray[np.float64]
    training: NDArray[np.int64]
    validation: NDArray[np.int64]

    @property
    def sample(self) -> NDArray[np.int64]:
        """As many training pages, spread evenly, as there are for validation: the curves compare the two."""
        step = max(1, math.ceil(len(self.training) / max(1, len(self.validation))))
        return self.training[::step]


@dataclass(frozen=True, slots=True)
class Watch:
    """Receives the progress of training.

    Attributes:
        pages: Pages done and to do, over all epochs.
        epoch: The number of an epoch, from 1, and what was measured after it.
        notice: A line for people.
    """

    pages: Callable[[int, int], None] = lambda _done, _total: None
    epoch: Callable[[int, Epoch], None] = lambda _number, _epoch: None
    notice: Callable[[str], None] = lambda _line: None


@dataclass(slots=True)
class TuningState:
    """How far training has come.

    Attributes:
        history: One entry for each epoch that is done.
        best: Weights after the best of them, by name.
        stopping: Counts epochs without a better one.
        interrupted: Whether Ctrl-C ended it.
    """

    stopping: EarlyStopping
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    interrupted: bool = False


Batch = tuple[NDArray[np.int64], tuple[int, int]]


def plan_batches(
    shapes: Sequence[tuple[int, int]], indices: NDArray[np.int64], batch_size: int, random: np.random.Generator
) -> list[Batch]:
    """Shuffled batches of pages that share a shape; a rare shape takes the place of a common one that is near it.

    Args:
        shapes: Rows and columns of every page.
        indices: The pages to spread over batches.
        batch_size: Most pages of a batch.
        random: Decides the order.

    Returns:
        Indices and shape of each batch; every page is in exactly one.
    """
    counts: dict[tuple[int, int], int] = {}
    for index in indices:
        counts[shapes[index]] = counts.get(shapes[index], 0) + 1
    common = [shape for shape, count in counts.items() if count >= batch_size]
    members: dict[tuple[int, int], list[int]] = {}
    for index in random.permutation(indices):
        members.setdefault(_common_shape(shapes[index], common), []).append(int(index))
    batches = [
        (np.array(pages[start : start + batch_size]), shape)
        for shape, pages in sorted(members.items())
        for start in range(0, len(pages), batch_size)
    ]
    return [batches[place] for place in random.permutation(len(batches))]


def _common_shape(shape: tuple[int, int], common: list[tuple[int, int]]) -> tuple[int, int]:
    def distance(other: tuple[int, int]) -> float:
        return abs(math.log(other[0] / other[1]) - math.log(shape[0] / shape[1]))

    nearest = min(common, key=distance, default=shape)
    return nearest if distance(nearest) <= _NEAR else shape


class Trainer:
    """Trains a network that takes pages, uint8 (n, H, W, 3), and gives logits, (n, n_classes).

    Args:
        network: On its device.
        depths: Names of the trained parameters: the stages from the input to the output, then the output layer.
        recipe: How.
        data: On what.
        device: Where.
    """

    def __init__(
        self, network: nn.Module, depths: list[list[str]], recipe: FinetuningRecipe, data: TuningData, device: str
    ) -> None:
        self._network = network
        self._recipe = recipe
        self._data = data
        self._device = torch.device(device)
        self._shapes = [data.cache.shape(index) for index in range(len(data.cache))]
        self._depths = depths
        scratch = recipe.weights == "none"
        learnt = scratch or _learns_statistics(recipe.statistics, len(depths) - 1)
        train_only(network, {name for names in depths for name in names}, statistics=learnt)
        precision = _precision(recipe.precision, device)
        self._autocast = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        self._scaler = torch.amp.GradScaler(device, enabled=precision == "fp16")
        share, decay = (1.0, 1.0) if scratch else (recipe.stage_share, recipe.stage_decay)
        rates = [*depth_rates(recipe.rate, share, decay, len(depths) - 1), recipe.rate]
        self._optimizer = _optimizer(network, depths, rates, recipe)
        batches = len(self._epoch_batches(0))
        steps, warmup = recipe.epochs * batches, round(recipe.warmup * batches)
        self._scheduler = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: warmup_cosine(step, steps, warmup)
        )
        self._ema = ModelEmaV3(network, decay=recipe.ema, use_warmup=True)
        self.state = TuningState(EarlyStopping(recipe.patience))
        self._steps_done = 0

    def run(self, checkpoint: Path, fingerprint: str, watch: Watch) -> TuningState:
        """Trains until the epochs are over, the validation loss falls no more, or Ctrl-C.

        Args:
            checkpoint: Written after each epoch; where it is of the same training, it is gone on from.
            fingerprint: Of recipe, classes and pages: what makes it the same training.
            watch: Receives the progress.
        """
        if checkpoint.exists() and self._resume(checkpoint, fingerprint):
            watch.notice(f"going on after epoch {len(self.state.history)}, from {checkpoint}")
        try:
            with torch.random.fork_rng():
                while len(self.state.history) < self._recipe.epochs and not self.state.stopping.stop:
                    epoch = self._epoch(len(self.state.history), watch)
                    self.state.history.append(epoch)
                    if self.state.stopping.improved(epoch.validation_loss):
                        self.state.best = {
                            k: v.detach().cpu().clone() for k, v in self._ema.module.state_dict().items()
                        }
                    self._save(checkpoint, fingerprint)
                    watch.epoch(len(self.state.history), epoch)
        except KeyboardInterrupt:
            self.state.interrupted = True
        return self.state

    def _epoch(self, number: int, watch: Watch) -> Epoch:
        begin = time.perf_counter()
        torch.manual_seed(self._recipe.seed * _SEED_STEP + number)  # whatever came before, and after a kill too
        done, pages = 0, len(self._data.training)
        for indices, pixels in self._variants(self._epoch_batches(number), number):
            self._step(indices, pixels)
            done += len(indices)
            watch.pages(number * pages + done, self._recipe.epochs * pages)
        train_loss, train_accuracy = self._measure(self._data.sample)
        validation_loss, validation_accuracy = self._measure(self._data.validation)
        if not math.isfinite(train_loss):
            raise EmbedpipeError("the loss is no number any more: give a smaller rate, such as --set rate=1e-4")
        rate = float(self._scheduler.get_last_lr()[-1])
        seconds = time.perf_counter() - begin
        return Epoch(train_loss, train_accuracy, validation_loss, validation_accuracy, rate, seconds)

    def _epoch_batches(self, number: int) -> list[Batch]:
        random = np.random.default_rng([self._recipe.seed, number])
        return plan_batches(self._shapes, self._data.training, self._recipe.batch_size, random)

    def _variants(self, batches: list[Batch], epoch: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Batches of augmented pages; threads make them while the network is busy, for Pillow lets go of the lock."""

        def variant(index: int, shape: tuple[int, int]) -> NDArray[np.uint8]:
            pixels = self._data.cache[index]
            if not self._recipe.augment:
                return fit_page(pixels, shape)
            return augment(pixels, shape, np.random.default_rng([self._recipe.seed, epoch, index]))

        with ThreadPoolExecutor(_THREADS, "embedpipe-augment") as pool:
            pending: deque[tuple[NDArray[np.int64], list[Future[NDArray[np.uint8]]]]] = deque()
            for indices, shape in batches:
                pending.append((indices, [pool.submit(variant, int(index), shape) for index in indices]))
                if len(pending) > _AHEAD:
                    ready, futures = pending.popleft()
                    yield ready, np.stack([future.result() for future in futures])
            for ready, futures in pending:
                yield ready, np.stack([future.result() for future in futures])

    def _step(self, indices: NDArray[np.int64], pixels: NDArray[np.uint8]) -> None:
        targets = torch.from_numpy(self._data.targets[indices]).to(self._device)
        weights = torch.from_numpy(self._data.weights[indices]).float().to(self._device)
        with torch.autocast(self._device.type, self._autocast, enabled=self._autocast is not None):
            logits = self._network(torch.from_numpy(pixels).to(self._device))
        losses = functional.cross_entropy(
            logits.float(), targets, reduction="none", label_smoothing=self._recipe.label_smoothing
        )
        # by the full size also where a batch has fewer pages: they must not count more than others
        self._scaler.scale((losses * weights).sum() / self._recipe.batch_size).backward()  # type: ignore[no-untyped-call]
        self._scaler.unscale_(self._optimizer)
        nn.utils.clip_grad_norm_(self._network.parameters(), _LONGEST_GRADIENT)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self._optimizer.zero_grad(set_to_none=True)
        self._scheduler.step()
        self._steps_done += 1
        self._ema.update(self._network, self._steps_done)

    def _measure(self, indices: NDArray[np.int64]) -> tuple[float, float]:
        scores = page_scores(self._ema.module, self._data.cache, indices, self._recipe.batch_size, self._device)
        targets = self._data.targets[indices]
        losses = -scores[np.arange(len(indices)), targets]
        loss = float(np.average(losses, weights=self._data.weights[indices]))
        return loss, float(np.mean(scores.argmax(axis=1) == targets))

    def _save(self, checkpoint: Path, fingerprint: str) -> None:
        values = {
            "fingerprint": fingerprint,
            "steps": self._steps_done,
            "network": self._network.state_dict(),
            "average": self._ema.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scheduler": self._scheduler.state_dict(),
            "scaler": self._scaler.state_dict(),
            "stopping": asdict(self.state.stopping),
            "history": [list(astuple(epoch)) for epoch in self.state.history],
            "best": self.state.best,
        }
        with replacing(checkpoint) as temporary, open(temporary, "wb") as file:  # errors of the disk are Python's own
            torch.save(values, file)

    def _resume(self, checkpoint: Path, fingerprint: str) -> bool:
        """Takes up a checkpoint; not one of another training, and not a damaged one."""
        try:
            values: dict[str, Any] = torch.load(checkpoint, map_location="cpu", weights_only=True)
            if values["fingerprint"] != fingerprint:
                return False
            self._network.load_state_dict(values["network"])
            self._ema.module.load_state_dict(values["average"])
            self._optimizer.load_state_dict(values["optimizer"])
            self._scheduler.load_state_dict(values["scheduler"])
            self._scaler.load_state_dict(values["scaler"])
            self.state = TuningState(
                EarlyStopping(**values["stopping"]), [Epoch(*epoch) for epoch in values["history"]], values["best"]
            )
            self._steps_done = int(values["steps"])
        except Exception as error:  # torch, zip and pickle raise many kinds for a damaged file
            reason = str(error).partition("\n")[0]
            raise EmbedpipeError(f"{checkpoint} cannot be read ({reason}): remove it to begin anew") from error
        return True


def page_scores(
    network: nn.Module, cache: PageCache, indices: NDArray[np.int64], batch_size: int, device: torch.device
) -> NDArray[np.float64]:
    """Log probabilities that a network in eval mode gives to pages as they are, (len(indices), n_classes)."""
    by_shape: dict[tuple[int, int], list[int]] = {}
    for place, index in enumerate(indices):
        by_shape.setdefault(cache.shape(int(index)), []).append(place)
    rows: dict[int, NDArray[np.float64]] = {}
    with torch.inference_mode():
        for shape, places in by_shape.items():
            for start in range(0, len(places), batch_size):
                some = places[start : start + batch_size]
                pixels = np.stack([fit_page(cache[int(indices[place])], shape) for place in some])
                logits = network(torch.from_numpy(pixels).to(device)).double()
                rows.update(zip(some, functional.log_softmax(logits, dim=1).cpu().numpy(), strict=True))
    return np.stack([rows[place] for place in range(len(indices))])


def _learns_statistics(statistics: str, stages: int) -> bool:
    known = ("auto", "learn", "keep")
    if statistics not in known:
        raise UnknownNameError("statistics", statistics, known)
    return statistics == "learn" or (statistics == "auto" and stages <= 1)


def _precision(precision: str, device: str) -> str:
    """The precision that was asked for, or the one that trains well on a device: bf16 on GPUs that have it."""
    known = ("auto", "fp32", "bf16", "fp16")
    if precision not in known:
        raise UnknownNameError("precision", precision, known)
    if precision in ("bf16", "fp16") and not device.startswith("cuda"):  # measured: no faster, and not always right
        raise UsageError(f"--precision {precision} does not train on {device}: use fp32")
    if precision != "auto":
        return precision
    if device.startswith("cuda"):
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "fp32"


def _optimizer(
    network: nn.Module, depths: list[list[str]], rates: list[float], recipe: FinetuningRecipe
) -> torch.optim.Optimizer:
    parameters = dict(network.named_parameters())
    groups = []
    for names, rate in zip(depths, rates, strict=True):
        for decays in (True, False):
            members = [parameters[name] for name in names if (parameters[name].ndim > 1) == decays]
            if members:
                groups.append({"params": members, "lr": rate, "weight_decay": recipe.weight_decay * decays})
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups)
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.rate, momentum=0.9, nesterov=True)
    raise UnknownNameError("optimizer", recipe.optimizer, ("adamw", "sgd"))
