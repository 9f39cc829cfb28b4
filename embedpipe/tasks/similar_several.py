"""Look-alikes among several stores: each searches its own, and the nearest of all are merged exactly.

All compare by the scaling that one store of all their pages would have, so what is found is what that one would find.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from embedpipe.core.errors import EmbedpipeError, SpaceMismatchError, UsageError
from embedpipe.core.records import Identity, Neighbour
from embedpipe.embedding.streaming import Settings
from embedpipe.index.page_index import compared
from embedpipe.store.catalogue import leave_out
from embedpipe.store.page_extras import thumbnails_of
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.similar import (
    PICTURES,
    Finder,
    LookAlikes,
    NoSuchTypeError,
    Wanted,
    identify_query,
    key_of,
    parse_query,
)

if TYPE_CHECKING:
    from embedpipe.backbones.building import Backbone
    from embedpipe.store.page_table import Key


@dataclass(eq=False)
class Several:
    """Answers queries about the stores of several artifacts as one.

    Attributes:
        finders: One for each store that can be read, in the order in which the artifacts were named.
        lost: Artifacts that are left out, and why.
    """

    finders: list[Finder]
    lost: list[tuple[str, str]] = field(default_factory=list)

    @classmethod
    def open(
        cls,
        workspaces: Sequence[Workspace],
        named: tuple[str | None, str | None],
        backbone: "Callable[[Workspace, Identity], Backbone]",
        settings: Settings,
    ) -> "Several":
        """Opens the stores and their indexes; those that cannot be opened are left out with a warning.

        Args:
            workspaces: The artifacts.
            named: Backbone and space that were asked for, as of `Workspace.store`.
            backbone: Loads a backbone; called only for pages that no store holds.
            settings: How the queries' documents are read.

        Raises:
            EmbedpipeError: None can be opened.
        """
        found = cls([])
        problem: EmbedpipeError | None = None
        for workspace in workspaces:
            try:
                store = workspace.store(*named)
                first = found.finders[0].store.identity if found.finders else store.identity
                if store.identity != first:
                    raise SpaceMismatchError(f"the store of {workspace.root}", store.identity, first)
                found.finders.append(Finder(workspace, store, _loading(backbone, workspace, store.identity), settings))
            except EmbedpipeError as error:
                problem = problem or error
                found._leave_out(workspace, error)
        if not found.finders:
            raise problem or AssertionError
        for finder, index in zip(found.finders, compared([f.index for f in found.finders]), strict=True):
            finder.index, finder.peers = index, found.finders
        return found

    def _leave_out(self, workspace: Workspace, error: Exception) -> None:
        self.lost.append((str(workspace.root), str(error)))
        leave_out(*self.lost[-1])

    def find(self, query: str, wanted: Wanted) -> LookAlikes:
        """As `Finder.find`, among all pages of all stores; a page that several hold is found once.

        Raises:
            UsageError: Words are to be compared, which each store weighs by its own; or no store has the type.
        """
        if wanted.by != PICTURES:
            raise UsageError(
                f"--by {wanted.by}: words are compared within one store; `merge` the artifacts, or name one"
            )
        path, index = parse_query(query)
        document = identify_query(path, self.finders[0].settings.limits if self.finders else None)
        answers: list[tuple[Finder, LookAlikes]] = []
        without: list[NoSuchTypeError] = []
        for finder in list(self.finders):
            try:
                answers.append((finder, finder.find_like(document, index, wanted)))
            except NoSuchTypeError as error:
                without.append(error)
            except (OSError, EmbedpipeError) as error:
                if isinstance(error, UsageError) or len(self.finders) == 1 or finder.holds(document):
                    raise
                self.finders.remove(finder)
                self._leave_out(finder.workspace, error)
        if not answers:
            raise NoSuchTypeError(str(wanted.label), {kind for error in without for kind in error.known})
        return self._merged(answers, wanted)

    def _merged(self, answers: Sequence[tuple[Finder, LookAlikes]], wanted: Wanted) -> LookAlikes:
        found: list[tuple[Neighbour, str | None, Finder]] = [
            (neighbour, label, finder)
            for finder, answer in answers
            for neighbour, label in zip(answer.neighbours, answer.labels, strict=True)
        ]
        best: dict[object, tuple[Neighbour, str | None, Finder]] = {}
        for one in sorted(found, key=lambda one: -one[0].score):  # of equal ones those of the first artifacts
            page = one[0].page
            best.setdefault(page.document_sha256 if wanted.whole_document else key_of(page), one)
        kept = list(best.values())[: wanted.k]
        pictures: dict[Key, bytes] = {}
        for finder in self.finders:
            own = [key_of(neighbour.page) for neighbour, _, holder in kept if holder is finder]
            pictures |= thumbnails_of(finder.workspace.root, own) if own and finder is not self.finders[0] else {}
        return replace(
            answers[0][1],
            thumbnail=next((answer.thumbnail for _, answer in answers if answer.thumbnail), b""),
            neighbours=[neighbour for neighbour, _, _ in kept],
            labels=[label for _, label, _ in kept],
            artifacts=[str(finder.workspace.root) for _, _, finder in kept],
            thumbnails=pictures,
        )


def _loading(
    backbone: "Callable[[Workspace, Identity], Backbone]", workspace: Workspace, identity: Identity
) -> "Callable[[], Backbone]":
    return lambda: backbone(workspace, identity)
