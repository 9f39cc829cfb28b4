"""Sentences with holes, and the files that hold them in two languages.

The English side is written as the source has it: `{}` is what varies, `[a|b]` one of a few fixed texts, and a backslash
makes any of ``[ ] { } |`` plain. The other side names holes and choices by their number: `{1}`, or `{2:n}` with a word
on what it holds: `n` a number; `name` something without spaces; `word` a word that has a line of its own; `raw` what
never is a sentence. It names each hole; choices, which mostly tell one from several, may be left out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files

NUMBER, NAME, WORD, RAW = "n", "name", "word", "raw"
KINDS = ("", NUMBER, NAME, WORD, RAW)
_PLAIN = r"[^\[\]{}|\\]|\\."
_HOLE = re.compile(r"\{(\d+)(?::(\w+))?\}")
_MATCHED = {NUMBER: r"[-+]?[\d.,]*\d(?:e[-+]?\d+)?(?:\s?%)?|-|nan|inf", NAME: r"\S+"}
_WHOLE_WORD = re.compile(r"(?<![A-Za-z])[A-Za-z]{2,}(?![A-Za-z])")


class TableError(ValueError):
    """A line of a table cannot be read; only whoever writes one sees it."""


@dataclass(frozen=True)
class Sentence:
    """One sentence in two languages.

    Attributes:
        english: With `{}` and `[a|b]`.
        other: The same with `{1}`.
        place: File and line, for messages.
    """

    english: str
    other: str
    place: str = field(default="", compare=False)

    @cached_property
    def named(self) -> dict[int, str]:
        """What the other side says of each hole it names."""
        return {int(number): kind or "" for number, kind in _HOLE.findall(self.other)}

    @cached_property
    def slots(self) -> list[tuple[str, ...]]:
        """The holes, as empty tuples, and the choices, as their texts, in order."""
        return [part for part in parsed(self.english) if not isinstance(part, str)]

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """What the English sentence looks like once its holes are filled."""
        found, number = "", 0
        for part in parsed(self.english):
            if isinstance(part, str):
                found += _spaced(part)
                continue
            number += 1
            if part:
                found += "(" + "|".join(_inner(text) for text in sorted(part, key=len, reverse=True)) + ")"
            else:
                found += f"({_MATCHED.get(self.named.get(number, RAW), '.*?')})"
        return re.compile(found, re.DOTALL)

    @cached_property
    def fixed(self) -> str:
        """What is the same in each such sentence; holes are written as zero bytes."""
        return "".join(part if isinstance(part, str) else "\0" for part in parsed(self.english))

    def words(self) -> list[list[str]]:
        """The whole words of each such sentence, for each way to take its choices."""
        found = [""]
        for part in parsed(self.english):
            texts = [part] if isinstance(part, str) else [_holed(text) for text in part] or ["\0"]
            found = [before + text for before in found for text in texts]
        return [_WHOLE_WORD.findall(re.sub(r"[A-Za-z]+\0|\0[A-Za-z]+", "\0", text)) for text in found]

    def filled(self, values: list[str]) -> str:
        """The other side with its holes filled."""
        return _HOLE.sub(lambda found: values[int(found[1]) - 1], self.other)


def parsed(skeleton: str) -> list[str | tuple[str, ...]]:
    """Splits a sentence into its fixed text, holes (empty tuples) and choices (tuples of texts as written)."""
    parts: list[str | tuple[str, ...]] = []
    at = 0
    while at < len(skeleton):
        if skeleton.startswith("{}", at):
            parts.append(())
            at += 2
        elif skeleton[at] == "[":
            end = _end(skeleton, at)
            parts.append(tuple(_split(skeleton[at + 1 : end])))
            at = end + 1
        elif found := re.compile(f"(?:{_PLAIN})+").match(skeleton, at):
            parts.append(re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], found[0]))
            at = found.end()
        else:
            raise TableError(f"{skeleton}: character {at + 1} needs a backslash before it")
    return parts


def _end(skeleton: str, start: int) -> int:
    """Where the bracket at a place is closed."""
    depth, at = 0, start
    while at < len(skeleton):
        if skeleton[at] == "\\":
            at += 1
        elif skeleton[at] in "[]":
            depth += 1 if skeleton[at] == "[" else -1
            if not depth:
                return at
        at += 1
    raise TableError(f"{skeleton}: a bracket is not closed")


def _split(inside: str) -> Iterator[str]:
    """The texts of a choice."""
    depth, text = 0, ""
    for piece in re.findall(r"\\.|.", inside, re.DOTALL):
        if piece == "|" and not depth:
            yield text
            text = ""
            continue
        depth += {"[": 1, "]": -1}.get(piece, 0)
        text += piece
    yield text


def _inner(skeleton: str) -> str:
    """The pattern of a text within a choice; its holes are not told apart."""
    found = ""
    for part in parsed(skeleton):
        if isinstance(part, str):
            found += _spaced(part)
        else:
            found += "(?:" + "|".join(_inner(text) for text in part) + ")" if part else ".*?"
    return found


def _holed(skeleton: str) -> str:
    """The fixed text of a text within a choice, with zero bytes for what varies."""
    return "".join(part if isinstance(part, str) else "\0" for part in parsed(skeleton))


def _spaced(text: str) -> str:
    return re.sub(r"(?:\\[ \n]|\s)+", r"\\s+", re.escape(text))


def read(text: str, name: str) -> Iterator[Sentence]:
    """The sentences of a file; raises TableError for a line that has no partner."""
    english = ""
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0] != " ":
            if english:
                raise TableError(f"{name}, line {number}: the sentence before has no translation")
            english = line.removeprefix("\\") if line.startswith("\\#") else line
        elif not english:
            raise TableError(f"{name}, line {number}: a translation without a sentence")
        else:
            yield Sentence(english, line.strip(), f"{name}, line {number}")
            english = ""
    if english:
        raise TableError(f"{name}: its last sentence has no translation")


def load(language: str) -> list[Sentence]:
    """All sentences of a language."""
    folder = files("embedpipe.core.languages") / language
    tables = sorted((file for file in folder.iterdir() if file.name.endswith(".txt")), key=lambda file: file.name)
    return [sentence for file in tables for sentence in read(file.read_text(encoding="utf-8"), file.name)]
