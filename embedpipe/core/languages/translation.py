"""A finished English sentence in the language of the process.

Nobody marks sentences where they are made: they are f-strings, put together from parts in many rooms, and some come out
of worker processes or of files. So the finished sentence is compared with the known ones. A table of words says which
few can fit at all; the one with most fixed text is taken. What its holes hold is kept, or translated where it is a
sentence itself.
"""

import functools
import re
from collections import defaultdict
from dataclasses import dataclass

from embedpipe.core.languages.choice import ENGLISH, current
from embedpipe.core.languages.table import RAW, WORD, Sentence, load

_WORDS = re.compile(r"[A-Za-z]{2,}")
_SEPARATORS = re.compile(r"; |: |\. |, | (?=\()")
_LISTED = re.compile(r", | and | or ")
_COUNTED = re.compile(r"(?:([\d.,]+%?) )?(.*)", re.DOTALL)
_MARKS = {"; ": "；", ": ": "：", ". ": "。", ", ": "，", " ": ""}
_LONGEST = 4000  # characters of a text that is looked at: what is longer holds data
_DEEPEST = 6  # sentences within sentences
_CHINESE = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
_LOOSE = re.compile(rf"(?<={_CHINESE}) +(?=[\u3000-\u303f\uff00-\uffef])|(?<=[\u3000-\u303f\uff01-\uff1f]) +")


def translated(text: str) -> str:
    """A sentence for people in the language of the process; as it is where it is not known, or in English."""
    language = current()
    if language == ENGLISH or not text.strip():
        return text
    start = text[: len(text) - len(text.lstrip())]
    return start + _translate(language, text.strip())


def word(text: str) -> str:
    """The same for a single word that is known to be ours, such as the heading of a column or a status."""
    language = current()
    return text if language == ENGLISH else _table(language).whole.get(text) or translated(text)


def template(text: str) -> str:
    """The other side of a sentence as the table has it, with `{1}` for its first hole; "" where there is none."""
    language = current()
    found = None if language == ENGLISH else _table(language).by_english.get(text)
    return found.other if found else ""


@dataclass(frozen=True)
class _Table:
    """The sentences of a language.

    Attributes:
        whole: Those without holes.
        by_word: Those with holes, most fixed text first, by one word that each such sentence holds.
        wordless: Those without a word.
        by_english: All of them.
    """

    whole: dict[str, str]
    by_word: dict[str, list[Sentence]]
    wordless: list[Sentence]
    by_english: dict[str, Sentence]

    def candidates(self, text: str) -> list[Sentence]:
        """The sentences that a text may be."""
        found = {id(s): s for w in set(_WORDS.findall(text)) for s in self.by_word.get(w, ())}
        return sorted([*found.values(), *self.wordless], key=lambda sentence: -len(sentence.fixed))


@functools.cache
def _table(language: str) -> _Table:
    sentences = load(language)
    often: defaultdict[str, int] = defaultdict(int)
    for sentence in sentences:
        for one in set(sentence.words()):
            often[one] += 1
    whole: dict[str, str] = {}
    by_word: defaultdict[str, list[Sentence]] = defaultdict(list)
    wordless = []
    for sentence in sentences:
        if not sentence.slots:
            whole[sentence.fixed.strip()] = sentence.other
        elif words := sentence.words():
            by_word[min(words, key=lambda one: often[one])].append(sentence)
        else:
            wordless.append(sentence)
    return _Table(whole, dict(by_word), wordless, {sentence.english: sentence for sentence in sentences})


@functools.lru_cache(4096)
def _translate(language: str, text: str) -> str:
    return _LOOSE.sub("", _known(_table(language), text, 0) or text)


def _known(table: _Table, text: str, depth: int) -> str | None:
    """A sentence, or one of several in a row, that is known; None where none is."""
    if len(text) > _LONGEST or depth > _DEEPEST:
        return None
    return _one(table, text, depth) or _several(table, text, depth)


def _one(table: _Table, text: str, depth: int) -> str | None:
    """A text that is one known sentence as a whole."""
    if found := table.whole.get(text):
        return found
    for sentence in table.candidates(text):
        if match := sentence.pattern.fullmatch(text):
            values = [
                _filling(table, value, "" if slot == () else WORD, sentence.named.get(number, RAW), depth)
                for number, (slot, value) in enumerate(zip(sentence.slots, match.groups(), strict=True), 1)
            ]
            return sentence.filled(values)
    return None


def _filling(table: _Table, value: str, kind: str, said: str, depth: int) -> str:
    """What a hole holds, or one of the texts of a choice."""
    inside = value.strip()
    if RAW in (kind, said) or not inside:
        return value
    if WORD in (kind, said) and (found := _words(table, inside)):
        return found
    if " " not in inside and kind != WORD:
        return value
    return _known(table, inside, depth + 1) or value


def _words(table: _Table, text: str) -> str | None:
    """A word, or a list of words, each with a number before it or without; None where one is not known."""
    if found := table.whole.get(text):
        return found
    items = []
    for item in _LISTED.split(text):
        number, one = _COUNTED.fullmatch(item).groups()  # type: ignore[union-attr]  # it matches everything
        if (other := table.whole.get(one)) is None:
            return None
        items.append(f"{number} {other}" if number else other)
    return "、".join(items)


def _several(table: _Table, text: str, depth: int) -> str | None:
    """Known sentences joined to others by a semicolon, a colon, a stop or a comma; what is not known stays."""
    for mark in _SEPARATORS.finditer(text):
        before, after = text[: mark.start()], text[mark.end() :]
        stop = before + "." if mark[0] == ". " else before
        if head := _one(table, stop, depth):
            return head + ("" if stop != before else _MARKS[mark[0]]) + (_known(table, after, depth + 1) or after)
        if tail := _one(table, after, depth):
            return before + _MARKS[mark[0]] + tail
    return None
