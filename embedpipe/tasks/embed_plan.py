"""`embed --plan N`: what each of N shards will cost, from the sizes of all files and a sample of their content."""

import os
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from itertools import islice

from embedpipe.backbones.engines import Backbone
from embedpipe.core.records import Document, FeatureBatch, PageInfo
from embedpipe.embedding.sharding import roots_of, shard_of
from embedpipe.embedding.streaming import PageStream, Settings
from embedpipe.pages.rendering import Job, Selection
from embedpipe.pages.unfolding import unfold
from embedpipe.pages.walking import FoundFile, walk
from embedpipe.store.page_extras import TABLES
from embedpipe.tasks.embed import Progress
from embedpipe.tasks.embed_forecast import page_bytes

_SAMPLED_FILES = 96
_FEWEST_OF_A_KIND = 4
_SAMPLED_MEMBERS = 12
_SAMPLED_PAGES = 4
_FIRST = Selection(((1, _SAMPLED_PAGES),))


@dataclass(slots=True)
class ShardPlan:
    """What a shard will cost on one machine like this.

    Attributes:
        shard: `I/N`.
        files: That belong to it, whatever they are.
        bytes: Of these.
        pages: About so many.
        seconds: About so long.
        disk: Bytes that its store will take, about.
    """

    shard: str
    files: int = 0
    bytes: int = 0
    pages: float = 0.0
    seconds: float = 0.0
    disk: float = 0.0


@dataclass(slots=True)
class Plan:
    """What all shards will cost.

    Attributes:
        shards: Each of them.
        rate: Pages a second on this machine, as the sample took; 0 where it had none.
        page_bytes: Bytes that a page takes on disk.
        sampled_files: How many files were opened.
        sampled_pages: How many pages were embedded.
        largest: The largest file, which cannot be divided.
    """

    shards: list[ShardPlan] = field(default_factory=list)
    rate: float = 0.0
    page_bytes: float = 0.0
    sampled_files: int = 0
    sampled_pages: int = 0
    largest: str = ""

    @property
    def balance(self) -> float:
        """How much longer the longest shard takes than the mean; 1.0 where all are alike."""
        pages = [shard.pages for shard in self.shards]
        return max(pages) * len(pages) / sum(pages) if sum(pages) else 1.0


def plan_shards(
    inputs: Iterable[str],
    backbone: Backbone,
    settings: Settings,
    count: int,
    keep: Collection[str] = tuple(TABLES),
    progress: Callable[[Progress], None] = lambda _: None,
) -> Plan:
    """Says what each shard of some inputs will cost; nothing is written.

    Every file is counted by name and size, and none is hashed. Pages follow from bytes, by the pages of a sample of
    files of each suffix; time and disk from a sample of their pages.

    Args:
        inputs: Files and folders.
        backbone: The network.
        settings: How documents are read.
        count: Of the shards.
        keep: As of `embed`.
        progress: Called now and then.

    Raises:
        EmbedpipeError: An input does not exist.
    """
    inputs = list(inputs)
    roots = roots_of(inputs)
    plan = Plan([ShardPlan(f"{number}/{count}") for number in range(1, count + 1)])
    found: list[tuple[FoundFile, int]] = []
    largest = -1
    for item in walk(inputs, settings.exclude, follow_links=settings.follow_links):
        if not isinstance(item, FoundFile) or item.same_as is not None:
            continue
        found.append((item, shard_of(item.path, roots, count)))
        if item.size > largest:
            largest, plan.largest = item.size, item.path
        if len(found) % 1000 == 0:
            progress(Progress(len(found), 0, 0, "finding files"))
    ratios = _sampled(plan, [item for item, _ in found], backbone, settings, keep, progress)
    for item, number in found:
        shard = plan.shards[number - 1]
        shard.files += 1
        shard.bytes += item.size
        shard.pages += item.size * ratios.get(_kind(item), 0.0)
    for shard in plan.shards:
        shard.seconds = shard.pages / plan.rate if plan.rate else 0.0
        shard.disk = shard.pages * plan.page_bytes
    return plan


def _kind(file: FoundFile) -> str:
    return os.path.splitext(file.path)[1].lower()


def _sampled(
    plan: Plan,
    files: list[FoundFile],
    backbone: Backbone,
    settings: Settings,
    keep: Collection[str],
    progress: Callable[[Progress], None],
) -> dict[str, float]:
    """Embeds a sample, which tells how fast and how large; returns how many pages a byte holds, by suffix."""
    kinds: dict[str, list[FoundFile]] = {}
    for file in files:
        kinds.setdefault(_kind(file), []).append(file)
    documents: dict[str, list[Document]] = {}
    for kind, own in kinds.items():
        share = max(_FEWEST_OF_A_KIND, round(_SAMPLED_FILES * len(own) / len(files)))
        for file in _spread(own, share):
            items = islice(unfold(file, settings.limits, lambda _: None, settings.exclude), _SAMPLED_MEMBERS)
            documents.setdefault(kind, []).extend(item for item in items if isinstance(item, Document))
            plan.sampled_files += 1
    every = {document.sha256: document for own in documents.values() for document in own}
    stream = PageStream(backbone, settings, len(every), extras=frozenset(keep))
    infos: list[PageInfo] = []
    begin = first = time.perf_counter()
    warm = 0
    for batch in stream.run(Job(document, _FIRST) for document in every.values()):
        if isinstance(batch, FeatureBatch):
            infos += batch.pages
            if not warm:  # the time until then is that of starting
                warm, first = len(infos), time.perf_counter()
        progress(Progress(len(infos), len(infos), len(every) * _SAMPLED_PAGES, "embedding a sample"))
    plan.sampled_pages, plan.page_bytes = len(infos), page_bytes(infos, backbone.dim)
    if len(infos) > warm:
        plan.rate = (len(infos) - warm) / (time.perf_counter() - first)
    elif infos:
        plan.rate = len(infos) / (time.perf_counter() - begin)
    counts = {info.ref.document_sha256: len(settings.selection.indices(info.page_count)) for info in infos}
    return {
        kind: sum(counts.get(document.sha256, 0) for document in own) / max(sum(d.size for d in own), 1)
        for kind, own in documents.items()
    }


def _spread(files: list[FoundFile], count: int) -> list[FoundFile]:
    """So many files, evenly over their sizes."""
    ordered = sorted(files, key=lambda file: (file.size, file.path))
    if len(ordered) <= count:
        return ordered
    return [ordered[int((number + 0.5) * len(ordered) / count)] for number in range(count)]
