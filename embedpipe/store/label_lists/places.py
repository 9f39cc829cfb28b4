"""Which document a line of a list means: by its path here, its path on another machine, or its name."""

import ntpath
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from embedpipe.core.display import alike, path_to_text, text_to_path
from embedpipe.core.objects.urls import absolute, is_url
from embedpipe.core.tables import unguard

_SHOWN = 3
_AGREEING = 3
"""Files of one folder whose names alone say where that folder lies here."""
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")

_Begins = tuple[tuple[str, ...], tuple[str, ...]]
"""Folders that a path of another machine begins with, and those that it begins with here."""


class MistakeError(Exception):
    """A line that gives no label, and why; `column` is the one that is wrong, as `columns.NAMES` calls it."""

    def __init__(self, reason: str, column: str = "") -> None:
        super().__init__(reason)
        self.column = column


@dataclass(frozen=True, slots=True)
class _Place:
    parts: tuple[str, ...]
    path: str
    sha256: str


class Places:
    """Finds the documents that the lines of a list mean.

    A path counts as it is, from --root, or from the list's folder; then as the end of the path of a stored document.
    Paths of another machine begin otherwise, so what they begin with is learnt from all lines of the list together:
    where `D:/piles` turns out to be `/mnt/piles`, a file below it is looked up there and nowhere else. A name alone,
    with its suffix or without, counts where one stored document has it.

    Args:
        find: Returns the SHA-256 of the document at a path, or None.
        stored: SHA-256 of the stored documents, by path.
        folder: Of the list.
        root: Folder that paths are relative to.
    """

    def __init__(
        self, find: Callable[[str], str | None], stored: Mapping[str, str], folder: str, root: str | None = None
    ) -> None:
        self._find, self._root = find, root
        self._folders = [*([root] if root is not None else []), folder]
        self._exact: defaultdict[str, list[_Place]] = defaultdict(list)
        self._alike: defaultdict[str, list[_Place]] = defaultdict(list)
        self._stems: defaultdict[str, list[_Place]] = defaultdict(list)
        self._stored: defaultdict[tuple[str, ...], list[_Place]] = defaultdict(list)
        for path, sha256 in stored.items():
            parts = _parts(path)
            place = _Place(tuple(map(alike, parts)), path, sha256)
            self._stored[place.parts].append(place)
            self._exact[parts[-1]].append(place)
            self._alike[place.parts[-1]].append(place)
            self._stems[alike(os.path.splitext(parts[-1])[0])].append(place)
        self._begins: Counter[_Begins] = Counter()
        self._shown: dict[_Begins, _Begins] = {}
        self._used: Counter[_Begins] = Counter()

    def learn(self, texts: Iterable[str]) -> None:
        """Takes all paths of the list, and learns where those of another machine lie here.

        A folder and a name in common are a sign; where only names are, several files have to agree.
        """
        by_name: Counter[_Begins] = Counter()
        for text in texts:
            form = next(iter(_forms(text)), "")
            names = _parts(form) if _is_absolute(form) else ()
            parts = tuple(map(alike, names))
            best = _one(_longest(parts, self._alike.get(parts[-1], []))) if parts else None
            if best is not None:
                shared = _shared(parts, best.parts)
                pair = parts[:-shared], best.parts[:-shared]
                self._shown[pair] = names[:-shared], _parts(best.path)[:-shared]
                (self._begins if shared > 1 else by_name)[pair] += 1
        self._begins.update({pair: count for pair, count in by_name.items() if count >= _AGREEING})

    def locate(self, texts: Sequence[str]) -> tuple[str, str]:
        """The SHA-256 and path of the document that a line means.

        Args:
            texts: How it calls the document; the first that is one counts.

        Raises:
            MistakeError: It is none that is known, or one of several.
        """
        unsure: list[_Place] = []
        for look in (self._at, self._end_of):
            for text in texts:
                for form in _forms(text):
                    found = look(form)
                    if (best := _one(found)) is not None:
                        return best.sha256, best.path
                    unsure = unsure or found
        shown = path_to_text(texts[0])
        if unsure:
            raise MistakeError(f"{shown} may be {_named(unsure)}: write more of its path")
        raise MistakeError(f"no document {shown}{self._hint(texts)}")

    def notes(self) -> list[str]:
        """Where paths of another machine were looked up."""
        return [
            f"{count} paths of the list that begin with {'/'.join(there) or '/'} are looked up in /{'/'.join(here)}"
            for (there, here), count in self._used.most_common(_SHOWN)
        ]

    def _at(self, text: str) -> list[_Place]:
        """What lies at a path."""
        tails = [text]
        if self._root is not None and _is_absolute(text):
            parts = _parts(text)
            tails += [os.path.join(*parts[start:]) for start in range(len(parts))]
        for folder in self._folders:
            for tail in tails if folder == self._root else tails[:1]:
                path = tail if is_url(tail) else os.path.join(folder, tail)
                if sha256 := self._find(path):
                    return [_Place((), absolute(path), sha256)]
        return []

    def _end_of(self, text: str) -> list[_Place]:
        """The stored documents whose paths end as a text does."""
        names = _parts(text)
        if not names:
            return []
        parts = tuple(map(alike, names))
        if _is_absolute(text):
            return self._elsewhere(parts)
        if len(parts) == 1:
            return self._exact.get(names[0]) or self._alike.get(parts[0]) or self._stems.get(parts[0], [])
        same = [place for place in self._alike.get(parts[-1], []) if place.parts[-len(parts) :] == parts]
        return [place for place in same if _parts(place.path)[-len(parts) :] == names] or same

    def _elsewhere(self, parts: tuple[str, ...]) -> list[_Place]:
        """Where a path of another machine lies here, by what most lines say that it begins with."""
        known = [(n, -len(there), there, here) for (there, here), n in self._begins.items() if _begins(parts, there)]
        if not known:
            return []
        _, _, there, here = max(known)
        found = self._stored.get((*here, *parts[len(there) :]), [])
        self._used[self._shown[there, here]] += bool(found)
        return found

    def _hint(self, texts: Sequence[str]) -> str:
        names = [parts[-1] for text in texts for form in _forms(text) if (parts := _parts(form))]
        same = [place for name in names for place in self._alike.get(alike(name), [])]
        if not self._stored:
            return "; no path of an embedded document is known, so give paths of files that are there"
        if not same:
            return ""
        return f"; {_named(same)} has that name: give --root FOLDER, or the name alone"


def _forms(text: str) -> list[str]:
    """How a path may be meant: as it stands, and as Windows, browsers and spreadsheets write it."""
    text = text_to_path(text)
    bare = unguard(text).strip().strip("\"'“”").strip()
    if bare.lower().startswith("file:"):
        bare = re.sub(r"^/(?=[A-Za-z]:)", "", unquote(re.sub(r"(?i)^file:(//(localhost)?(?=/))?", "", bare)))
    slashed = bare.replace("\\", "/")
    wide = unicodedata.normalize("NFKC", slashed)
    return list(dict.fromkeys(form for form in (bare if _DRIVE.match(bare) else text, bare, slashed, wide) if form))


def _is_absolute(path: str) -> bool:
    return os.path.isabs(path) or bool(_DRIVE.match(path))


def _parts(path: str) -> tuple[str, ...]:
    """Folders and name of a path of either system, without its drive."""
    if _DRIVE.match(path):
        drive, rest = ntpath.splitdrive(path)
        return tuple(part for part in re.split(r"[\\/]+", f"{drive}/{rest}") if part not in ("", "."))
    return tuple(part for part in path.split("/") if part not in ("", "."))


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many parts two paths have in common at their ends."""
    count = 0
    for a, b in zip(reversed(one), reversed(other), strict=False):
        if a != b:
            break
        count += 1
    return count


def _longest(parts: tuple[str, ...], places: Sequence[_Place]) -> list[_Place]:
    """Those of some places that have most of a path's end."""
    most = max((_shared(parts, place.parts) for place in places), default=0)
    return [place for place in places if _shared(parts, place.parts) == most]


def _begins(parts: tuple[str, ...], with_: tuple[str, ...]) -> bool:
    return parts[: len(with_)] == with_


def _one(places: Sequence[_Place]) -> _Place | None:
    """The place, where all that there are hold one document."""
    return places[0] if len({place.sha256 for place in places}) == 1 else None


def _named(places: Sequence[_Place]) -> str:
    names = list(dict.fromkeys(path_to_text(place.path) for place in places))
    more = f" or {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return " or ".join(names[:_SHOWN]) + more
