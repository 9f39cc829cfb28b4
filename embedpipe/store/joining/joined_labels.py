"""Labels of several artifacts joined; where they contradict each other, nothing is decided in silence."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from embedpipe.store.labels import Key, Label, Labels


@dataclass(frozen=True, slots=True)
class Conflict:
    """A document, or one of its pages, that has several types.

    Attributes:
        document: SHA-256.
        page: From 1; 0 for the whole document.
        path: Where it was when it was labelled.
        types: The types, with those who say so.
        kept: The type that it has now; "" for none.
    """

    document: str
    page: int
    path: str
    types: dict[str, list[str]]
    kept: str


@dataclass(slots=True)
class JoinedLabels:
    """What became of the labels.

    Attributes:
        count: Labels there are now.
        added: Labels that are new.
        same: Labels that were there already, or that several sources agree on.
        conflicts: Where they contradict each other.
        lines: Lines that give no label and came along as they are.
        left: Documents and pages whose labels do not count, and are left out.
    """

    count: int = 0
    added: int = 0
    same: int = 0
    conflicts: list[Conflict] = field(default_factory=list)
    lines: int = 0
    left: int = 0


def join(
    own: Labels, others: Sequence[tuple[str, Labels]], name: str, counts: Callable[[Label], bool] = lambda _: True
) -> JoinedLabels:
    """Adds the labels of others to one's own.

    What is labelled here keeps its type; what is not, and has one type in all sources that label it, gets that. What
    sources contradict each other about gets none until somebody says which.

    Args:
        own: Changed.
        others: With the names that people know them by.
        name: Of one's own.
        counts: Whether a label counts at all, one's own or another's; what does not goes, and is no conflict.
    """
    joined, given = JoinedLabels(), dict[Key, list[tuple[str, Label]]]()
    joined.left = len(set().union(*(_drop(labels, counts) for labels in (own, *(table for _, table in others)))))
    for source, labels in others:
        for key, label in labels.rows.items():
            given.setdefault(key, []).append((source, label))
            if labels.more.get(key):
                own.more[key] = {**labels.more[key], **own.more.get(key, {})}
    new: list[Label] = []
    for key, said in given.items():
        here = own.rows.get(key)
        types: dict[str, list[str]] = {here.label: [name]} if here else {}
        for source, label in said:
            types.setdefault(label.label, []).append(source)
        group = next((label.group for _, label in said if label.group), "")
        first = here or said[0][1]
        if here is None and len(types) == 1:
            new.append(replace(first, group=first.group or group))
        elif here is not None and not here.group and group and len(types) == 1:
            own.rows[key] = replace(here, group=group)
        joined.same += len(said) - (here is None and len(types) == 1) if len(types) == 1 else 0
        if len(types) > 1:
            kept = here.label if here else ""
            joined.conflicts.append(Conflict(key[0], key[1], first.path, types, kept))
    joined.added = own.add(new)
    known = {tuple(sorted(line.cells.items())) for line in own.kept}
    for _, labels in others:
        lines = [k for k in labels.kept if k.key not in own.rows and tuple(sorted(k.cells.items())) not in known]
        known |= {tuple(sorted(line.cells.items())) for line in lines}
        own.kept += lines
        joined.lines += len(lines)
    joined.count = own.count
    return joined


def _drop(labels: Labels, counts: Callable[[Label], bool]) -> set[Key]:
    """Removes labels that do not count; returns what they labelled."""
    gone = {key for key, label in labels.rows.items() if not counts(label)}
    for key in gone:
        del labels.rows[key]
        labels.more.pop(key, None)
    return gone
