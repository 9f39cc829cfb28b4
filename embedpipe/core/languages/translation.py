"""A finished English sentence in the language of the process.

Nobody marks sentences where they are made: they are f-strings, put together from parts in many rooms, and some come out
of worker processes or of files. So the finished sentence is compared with the known ones. A table of words says which
few can fit at all; the one with most fixed text is taken. What its holes hold is kept, or translated where it is a
sentence itself.
"""

import functools
import itertools
import re
from collections import defaultdict
from dataclasses import dataclass

from embedpipe.core.languages.choice import ENGLISH, current
from embedpipe.core.languages.table import RAW, WORD, Sentence, TableError, load

_WORDS = re.compile(r"[A-Za-z]{2,}")
_SEPARATORS = re.compile(r"; |: |\. |, | (?=\(|and [\d,]+ more)")
_LISTED = re.compile(r", | and | or ")
_NUMBER = re.compile(r"[\d.,]+%?")
_MEASURE = re.compile(r"^\[(\w+ ?)\]")
"""What a word of the table begins with where a number before it needs a measure word: `[份]文档`."""
_KIND = re.compile(r":\w+(?=\})")
_MARKS = {"; ": "；", ": ": "：", ". ": "。", ", ": "，", " ": ""}
_PREFIXES = ("error: ", "warning: ")
_OPEN = (":", ";", ",")  # what holds a name does not end so: the sentence begins later
_LONGEST = 4000  # characters of a text that is looked at: what is longer holds data
_MOST_PARTS = 12  # of a text that are looked at: lists of names have more
_CHINESE = r"[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]"
_LOOSE = re.compile(rf"(?<={_CHINESE}) +(?=[\u3000-\u303f\uff00-\uffef])|(?<=[\u3000-\u303f\uff01-\uff1f]) +")


def translated(text: str, language: str | None = None) -> str:
    """A sentence for people; as it is where it is not known, or in English.

    Args:
        text: The English sentence.
        language: One of `choice.LANGUAGES`; that of the process if not given.
    """
    language = language or current()
    if language == ENGLISH or not text.strip():
        return text
    start = text[: len(text) - len(text.lstrip())]
    return start + _translate(language, text.strip())


def word(text: str) -> str:
    """The same for words that are known to be ours, such as the heading of a column or a list of statuses."""
    language = current()
    if language == ENGLISH:
        return text
    if found := _table(language).whole.get(text):
        return _MEASURE.sub("", found)
    other = translated(text)
    return other if other != text else _words(_table(language), text) or text


def template(text: str) -> str:
    """The other side of a sentence of the table, with `{1}` for its first hole; "" where there is none."""
    language = current()
    found = None if language == ENGLISH else _table(language).by_english.get(text)
    return _MEASURE.sub("", _KIND.sub("", found.other)) if found else ""


@dataclass(frozen=True, eq=False)
class _Table:
    """The sentences of a language.

    Attributes:
        whole: Those without holes.
        by_word: Those with holes, by a word that each such sentence holds, or each with one text of a choice.
        wordless: Those without a word that are told by other marks.
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
    try:
        return _indexed(load(language))
    except (OSError, TableError):  # tests refuse such a table; a message must be told all the same
        return _indexed([])


def _indexed(sentences: list[Sentence]) -> _Table:
    often: defaultdict[str, int] = defaultdict(int)
    for sentence in sentences:
        for one in {one for words in sentence.words() for one in words}:
            often[one] += 1
    whole: dict[str, str] = {}
    by_word: defaultdict[str, list[Sentence]] = defaultdict(list)
    wordless = []
    for sentence in sentences:
        if not sentence.slots:
            whole[sentence.fixed.strip()] = sentence.other
            continue
        for words in sentence.words():
            if words:
                by_word[min(words, key=lambda one: often[one])].append(sentence)
            elif len(sentence.words()) == 1:
                wordless.append(sentence)
    return _Table(whole, dict(by_word), wordless, {sentence.english: sentence for sentence in sentences})


def _translate(language: str, text: str) -> str:
    return _LOOSE.sub("", _known(_table(language), text) or text)


@functools.lru_cache(8192)
def _known(table: _Table, text: str) -> str | None:
    """A sentence, or one of several in a row, that is known; None where none is."""
    if len(text) > _LONGEST:
        return None
    for prefix in _PREFIXES:
        if text.startswith(prefix):
            rest = text.removeprefix(prefix)
            return table.whole.get(prefix.strip(), prefix) + (_known(table, rest) or rest)
    ways = (_piece(table, text), _several(table, text))
    return min(filter(None, ways), key=_english, default=None)


def _english(text: str) -> int:
    """How much of a text was left as it was."""
    return len(_WORDS.findall(text))


def _one(table: _Table, text: str) -> str | None:
    """A text that is one known sentence as a whole; of several that it may be, the one that leaves least English."""
    if " " in text and (found := table.whole.get(text)):
        return found
    ways = []
    for sentence in table.candidates(text):
        match = sentence.pattern.fullmatch(text)
        if match and not any(value.endswith(_OPEN) or value == text for value in match.groups()):
            values = [
                _filling(table, value, "" if slot == () else WORD, sentence.named.get(number, RAW))
                for number, (slot, value) in enumerate(zip(sentence.slots, match.groups(), strict=True), 1)
            ]
            ways.append(sentence.filled(values))
    return min(ways, key=_english, default=None)


def _piece(table: _Table, text: str) -> str | None:
    """A text that is one sentence, or a list of words with numbers."""
    if found := _one(table, text):
        return _MEASURE.sub("", found)
    return _words(table, text, counted=True)


def _filling(table: _Table, value: str, kind: str, said: str) -> str:
    """What a hole holds, or one of the texts of a choice."""
    inside = value.strip()
    if RAW in (kind, said) or not inside:
        return value
    if WORD in (kind, said) and (found := _words(table, inside)):
        return found
    if " " not in inside and kind != WORD:
        return value
    return _known(table, inside) or value


def _words(table: _Table, text: str, *, counted: bool = False) -> str | None:
    """A word, or a list of words, each with a number before it or without; None where one is not known."""
    if not counted and (found := table.whole.get(text)):
        return _MEASURE.sub("", found)
    items = []
    for item in _LISTED.split(text):
        number, _, one = item.partition(" ")
        if not _NUMBER.fullmatch(number):
            number, one = "", item
        other = (
            table.whole.get(one) or table.whole.get(one.removesuffix("s")) or (_one(table, one) if counted else None)
        )
        if other is None or (counted and not number):
            return None
        items.append(f"{number} " + _MEASURE.sub(r"\1", other) if number else _MEASURE.sub("", other))
    return "、".join(items)


def _several(table: _Table, text: str) -> str | None:
    """Known sentences joined to others by a semicolon, a colon, a stop or a comma; what is not known stays."""
    ways = []
    for mark in itertools.islice(_SEPARATORS.finditer(text), _MOST_PARTS):
        before, after = text[: mark.start()], text[mark.end() :]
        if not before:
            continue
        stop = before + "." if mark[0] == ". " else before
        if head := _piece(table, stop):
            rest = _known(table, (mark[0] + after).strip())  # some sentences go on with a mark
            ways.append(head + (rest or ("" if stop != before else _MARKS[mark[0]]) + (_known(table, after) or after)))
        if tail := _piece(table, after):
            ways.append(before + _MARKS[mark[0]] + tail)
    return min(ways, key=_english, default=None)
