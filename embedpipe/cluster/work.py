"""What a worker does: one whole `embed` of one shard, the same that the command does on one machine."""

import platform
from collections.abc import Callable
from dataclasses import replace

from embedpipe.backbones.engines import Backbone
from embedpipe.backbones.model_cache import Wanted
from embedpipe.classifiers import finetuned
from embedpipe.cluster.protocol import COMPLETE, INTERRUPTED, OUT_OF_TIME, Done, Lost, Told, Work
from embedpipe.core.errors import BusyError, EmbedpipeError
from embedpipe.core.process import is_lack_of_memory
from embedpipe.embedding.intake import Report
from embedpipe.embedding.warm import Warm
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import Progress, embed

_WARM = Warm()
"""The network and the render workers of this process, for its next shard."""

_FAILURES = 20
_COUNTED = (
    "files",
    "documents",
    "duplicates",
    "same_files",
    "members",
    "ignored",
    "elsewhere",
    "failed_files",
    "embedded",
    "skipped",
    "failed_pages",
    "filled",
    "seconds",
)


def do(work: Work, tell: Callable[[Told], None], *, node: str = "", stopped: Callable[[], bool] = bool) -> Done:
    """Embeds one shard into its own store.

    Args:
        work: Which, and how.
        tell: Called after each batch.
        node: Where this is, for people; the machine's name if not given.
        stopped: Asked after each batch; once it is true, the run ends as by Ctrl-C: all that was computed is kept.

    Raises:
        EmbedpipeError: As `tasks.embed.embed`, and where the network cannot be loaded.
    """
    node = node or platform.node()
    workspace = Workspace(work.artifacts)
    backbone = _network(work.home or work.artifacts, work.wanted)

    def progress(so_far: Progress) -> None:
        tell(Told(work.shard, node, so_far.pages, so_far.bytes_done, so_far.bytes_total, so_far.stage))
        if stopped():
            raise KeyboardInterrupt  # `embed` takes it as Ctrl-C

    report = embed(
        workspace,
        work.inputs,
        backbone,
        settings=replace(work.settings, warm=_WARM),
        label_by_folder=work.label_by_folder,
        retry_failed=work.retry_failed,
        keep=work.keep,
        progress=progress,
    )
    store = FeatureStore.open(workspace.store_path(backbone.identity.space))
    engine = backbone.engine
    return Done(
        work.shard,
        node,
        work.artifacts,
        _state(report),
        {name: getattr(report, name) for name in _COUNTED},
        tuple(part.name for part in store.parts),
        backbone.identity.space,
        {"engine": engine.name, "device": engine.device, "precision": engine.precision},
        tuple((str(f.page), f.kind, f.message) for f in report.failures[:_FAILURES]),
    )


def _network(home: str, wanted: Wanted) -> Backbone:
    return _WARM.kept((home, repr(wanted)), (), lambda: finetuned.load(Workspace(home), wanted.members(), wanted))


def _state(report: Report) -> str:
    if report.out_of_time:
        return OUT_OF_TIME
    return INTERRUPTED if report.interrupted else COMPLETE


def done_or_lost(
    work: Work, tell: Callable[[Told], None], *, node: str = "", stopped: Callable[[], bool] = bool
) -> Done | Lost:
    """Does a work, and makes what goes wrong a `Lost`; for any executor."""
    try:
        return do(work, tell, node=node, stopped=stopped)
    except KeyboardInterrupt:  # before the first page
        return Done(work.shard, node, work.artifacts, INTERRUPTED)
    except EmbedpipeError as error:
        return Lost(work.shard, str(error), again=isinstance(error, BusyError), busy=isinstance(error, BusyError))
    except MemoryError:
        return Lost(work.shard, "its memory was used up")
    except OSError as error:
        return Lost(work.shard, f"{type(error).__name__}: {error}")
    except Exception as error:
        if is_lack_of_memory(error):
            return Lost(work.shard, "its memory was used up")
        raise
