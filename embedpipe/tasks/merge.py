"""`merge`: artifacts that were made apart become one; parts are linked, and each page counts once.

First comes what pages have besides features, then the features: whoever reads meanwhile, or after a kill, finds nothing
whose rest is missing. Each table is replaced in one step, and what was taken in is known by its SHA-256, so that the
same call can be made again at any time.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedpipe.classifiers.saved.on_disk import variant_folders
from embedpipe.core import claims, files
from embedpipe.core.errors import ArtifactError, BusyError, UnknownNameError, UsageError
from embedpipe.store.features import FeatureStore
from embedpipe.store.joining import page_tables, small_tables
from embedpipe.store.joining.joined_labels import JoinedLabels
from embedpipe.store.joining.joined_labels import join as join_labels
from embedpipe.store.joining.linking import linked
from embedpipe.store.joining.stores import Joined, Tell
from embedpipe.store.joining.stores import join as join_stores
from embedpipe.store.labels import Label
from embedpipe.store.page_extras import TABLES, page_table
from embedpipe.store.workspace import FINETUNED, Workspace
from embedpipe.tasks.decide import confirmed_file, read_beside, suggested_file
from embedpipe.tasks.embed import Progress

_KEYED = {"cues.parquet": 2, "kinds.parquet": 1}
"""Tables of one file, and how many columns their rows are known by."""


@dataclass(slots=True)
class Merged:
    """What `merge` did.

    Attributes:
        stores: The store of each space.
        variants: Those of variants of pages.
        tables: Thumbnails and words.
        places: Where documents are.
        labels: What became of the checked ones.
        suggested: Of those that nobody has checked.
        confirmed: Of those that a person kept when they were told to be likely wrong.
        rows: New rows of the tables of cues and kinds, by file.
        backbones: Fine-tuned networks that came along.
        left: Classifiers of the sources, which stay there: they learnt from their own pages alone.
        seconds: How long it took.
    """

    stores: list[Joined] = field(default_factory=list)
    variants: list[Joined] = field(default_factory=list)
    tables: list[page_tables.JoinedTable] = field(default_factory=list)
    places: small_tables.JoinedPlaces = field(default_factory=small_tables.JoinedPlaces)
    labels: JoinedLabels = field(default_factory=JoinedLabels)
    suggested: JoinedLabels = field(default_factory=JoinedLabels)
    confirmed: JoinedLabels = field(default_factory=JoinedLabels)
    rows: dict[str, int] = field(default_factory=dict)
    backbones: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def damaged(self) -> int:
        """Parts of sources that were left out."""
        return sum(len(taken.damaged) for joined in (*self.stores, *self.variants) for taken in joined.sources)

    @property
    def unlisted(self) -> list[Path]:
        """Stores of sources that have finished parts they do not list."""
        return [taken.source for joined in self.stores for taken in joined.sources if taken.unlisted]


def merge(
    workspace: Workspace,
    sources: Iterable[Workspace],
    *,
    space: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Merged:
    """Takes other artifacts into one: features, failures, words, thumbnails, cues, variants, sources and labels.

    Parts become hard links, or copies where they lie on another disk; none is decoded to be written again. The sources
    stay as they are.

    Args:
        workspace: Takes them in; it may be new, or hold artifacts already.
        sources: The others.
        space: Take features of this space alone.
        progress: Called now and then.

    Raises:
        EmbedpipeError: There is nothing to merge, the spaces are not the same, or somebody writes to one of them.
    """
    begin, given = time.perf_counter(), _distinct(workspace, sources)
    _spaces(workspace, given, space)  # what is refused leaves no folder behind
    with workspace.writing("merge"), contextlib.ExitStack() as stack:
        for source in given:
            stack.enter_context(_held(source))
        spaces = _spaces(workspace, given, space)
        merged = Merged()
        for name in TABLES:
            progress(Progress(0, 0, 0, f"joining {name}"))
            tables = [page_table(source.root, name) for source in given]
            merged.tables.append(page_tables.join(page_table(workspace.root, name), tables))
        _join_small(workspace, given, merged)
        _join_labels(workspace, given, merged)
        merged.backbones = _bring_backbones(workspace, given)
        for own in spaces:
            merged.variants += _join_variants(workspace, given, own)
        for own in spaces:
            merged.stores.append(_join_space(workspace, given, own, progress))
    merged.left = sorted({f"{source.root}: {name}" for source in given for name in source.classifiers()})
    merged.seconds = time.perf_counter() - begin
    return merged


def _distinct(workspace: Workspace, sources: Iterable[Workspace]) -> list[Workspace]:
    """The sources, each once; raises EmbedpipeError for one that is none."""
    found: dict[str, Workspace] = {}
    for source in sources:
        if not claims.claimed(source.root):
            raise ArtifactError(f"{source.root} holds no artifacts: `merge` takes folders that `embed` wrote to")
        if os.path.realpath(source.root) == os.path.realpath(workspace.root):
            raise UsageError(f"{source.root} is also what is merged into: name only the others")
        found.setdefault(os.path.realpath(source.root), source)
    if not found:
        raise UsageError("name the artifacts that are to be merged")
    return list(found.values())


@contextlib.contextmanager
def _held(source: Workspace) -> Iterator[None]:
    """Keeps others from writing to a source; one that nobody can write to needs no lock."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(files.writing(source.root, "merge", claims.FOLDERS))
        except BusyError:
            raise
        except ArtifactError:
            pass
        yield


def _spaces(workspace: Workspace, sources: Sequence[Workspace], space: str | None) -> list[str]:
    """The spaces to be merged: all must have the same, unless one is asked for."""
    unlisted = [source.without_manifest() for source in (workspace, *sources)]
    for source, names in zip((workspace, *sources), unlisted, strict=True):
        if names:
            manifest = source.store_path(names[0]) / "manifest.json"
            raise ArtifactError(f"{manifest} is missing: run `embed` again, which lists the parts anew")
    of = {source: set(source.spaces()) for source in sources}
    every = set().union(*of.values())
    if not every:
        raise ArtifactError(f"no features in {', '.join(str(s.root) for s in sources)}: run `embed` first")
    if space is not None:
        if space not in every:
            raise UnknownNameError("space", space, every)
        return [space]
    first, *others = sources
    for other in others:
        _refuse_others(first, of[first], other, of[other])
    if own := set(workspace.spaces()):
        _refuse_others(first, of[first] & own or of[first], workspace, own & of[first] or own)
    return sorted(every)


def _refuse_others(one: Workspace, spaces: set[str], other: Workspace, others: set[str]) -> None:
    if spaces != others:
        raise ArtifactError(
            f"{one.root} holds {' and '.join(sorted(spaces)) or 'no space'}, and {other.root} "
            f"{' and '.join(sorted(others)) or 'no space'}: only pages of one space go together, see --space"
        )


def _join_small(workspace: Workspace, sources: Sequence[Workspace], merged: Merged) -> None:
    """Where documents are, and facts of pages that can be read again."""
    for name, keys in _KEYED.items():
        own, others = workspace.root / name, [source.root / name for source in sources]
        merged.rows[name] = small_tables.join_rows(own, others, keys)
    own, others = workspace.root / "sources.parquet", [source.root / "sources.parquet" for source in sources]
    merged.places = small_tables.join_sources(own, others)


def _join_labels(workspace: Workspace, sources: Sequence[Workspace], merged: Merged) -> None:
    """Checked labels first: what has one needs no suggestion, and whoever kept a label kept that of this type."""
    with workspace.changing_labels():
        if any(source.labels_file.exists() for source in sources):
            labels = workspace.labels()
            others = [(str(source.root), source.read_labels(source.labels_file)) for source in sources]
            merged.labels = join_labels(labels, others, str(workspace.root))
            workspace.keep_labels(labels, "merge")
        checked = workspace.read_labels(workspace.labels_file).rows

        def is_open(label: Label) -> bool:
            return label.key not in checked

        def is_kept(label: Label) -> bool:
            return label.key in checked and checked[label.key].label == label.label

        merged.suggested = _join_beside(workspace, sources, suggested_file, is_open)
        merged.confirmed = _join_beside(workspace, sources, confirmed_file, is_kept)


def _join_beside(
    workspace: Workspace,
    sources: Sequence[Workspace],
    file_of: Callable[[Workspace], Path],
    counts: Callable[[Label], bool],
) -> JoinedLabels:
    """Labels beside labels.csv, by the rules of those in it."""
    labels = read_beside(workspace, file_of(workspace))
    before = dict(labels.rows), list(labels.kept)
    others = [(str(source.root), read_beside(source, file_of(source))) for source in sources]
    joined = join_labels(labels, others, str(workspace.root), counts)
    if (labels.rows, labels.kept) != before:
        labels.save(file_of(workspace))
    return joined


def _bring_backbones(workspace: Workspace, sources: Sequence[Workspace]) -> list[str]:
    """Fine-tuned networks that are not there yet; their manifest, by which they are known, comes last."""
    brought = []
    for source in sources:
        for name in source.backbones():
            target, folder = workspace.backbone_path(name), source.backbone_path(name)
            if (target / "manifest.json").exists():
                continue
            own = sorted(
                (file for file in folder.rglob("*") if file.is_file()), key=lambda f: f.name == "manifest.json"
            )
            for file in own:
                linked(file, target / file.relative_to(folder))
            brought.append(f"{FINETUNED}{name}")
    return brought


def _join_variants(workspace: Workspace, sources: Sequence[Workspace], space: str) -> list[Joined]:
    """Variants of labelled pages, which are stores of their own."""
    found: dict[Path, list[Path]] = {}
    for source in sources:
        for folder in variant_folders(source.store_path(space)):
            found.setdefault(folder.relative_to(source.store_path(space)), []).append(folder)
    return [_join_folders(workspace.store_path(space) / place, others) for place, others in found.items()]


def _join_space(
    workspace: Workspace, sources: Sequence[Workspace], space: str, progress: Callable[[Progress], None]
) -> Joined:
    others = [source.store_path(space) for source in sources]
    there = [path for path in others if (path / "manifest.json").exists()]

    def tell(done: int, total: int) -> None:
        progress(Progress(done, done, total, "joining features"))

    return _join_folders(workspace.store_path(space), there, tell)


def _join_folders(own: Path, others: Sequence[Path], tell: Tell = lambda *_: None) -> Joined:
    opened = [FeatureStore.open(path) for path in others]
    store = FeatureStore.create(own, opened[0].identity, opened[0].blocks)
    return join_stores(store, opened, tell)
