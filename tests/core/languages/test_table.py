"""The table of sentences: whole, of our own sentences only, and each of them found again when its holes are filled."""

import re

import pytest
from messages import bare, said

from embedpipe.core.languages.choice import CHINESE, ENGLISH, use
from embedpipe.core.languages.table import KINDS, NUMBER, Sentence, TableError, load, parsed, read
from embedpipe.core.languages.translation import word

OTHERS = "others.txt"
"""What other programs say, which is not in our source."""


@pytest.fixture(scope="module")
def sentences() -> list[Sentence]:
    """All sentences in Chinese."""
    return load(CHINESE)


@pytest.fixture(scope="module")
def spoken() -> tuple[dict[str, str], set[str]]:
    """What needs a translation, and all that may have one."""
    return said()


def test_every_sentence_that_people_read_has_a_translation(
    sentences: list[Sentence], spoken: tuple[dict[str, str], set[str]]
) -> None:
    """Messages, tables, charts and HTML; `PYTHONPATH=$PWD python tests/messages.py` prints what is missing."""
    known = {sentence.english for sentence in sentences}
    missing = [f"{place}: {text}" for text, place in spoken[0].items() if text not in known]
    assert not missing, "add to embedpipe/core/languages/zh, or to unsaid.txt where nobody reads it:\n" + "\n".join(
        missing
    )


def test_templates_say_all_in_a_way_that_is_translated() -> None:
    """Fixed text stands in `{% trans %}`."""
    assert not list(bare())


def test_nothing_is_translated_that_nobody_says(
    sentences: list[Sentence], spoken: tuple[dict[str, str], set[str]]
) -> None:
    """A sentence that was changed or removed takes its translation along; no sentence is there twice."""
    unsaid = [
        f"{sentence.place}: {sentence.english}"
        for sentence in sentences
        if not sentence.place.startswith(OTHERS) and sentence.english not in spoken[1]
    ]
    assert not unsaid
    keys = [sentence.english for sentence in sentences]
    assert not {key for key in keys if keys.count(key) > 1}


def test_both_sides_have_the_same_holes(sentences: list[Sentence]) -> None:
    """Every hole is on the other side; a choice that is there as well has a translation of each of its texts."""
    known = {sentence.english for sentence in sentences}
    for sentence in sentences:
        holes = {number for number, slot in enumerate(sentence.slots, 1) if not slot}
        choices = {number for number, slot in enumerate(sentence.slots, 1) if slot}
        named = set(sentence.named)
        assert holes <= named <= holes | choices, f"{sentence.place}: {sentence.english}"
        assert set(sentence.named.values()) <= set(KINDS), f"{sentence.place}: {sentence.other}"
        texts = {text.strip() for number in named & choices for text in sentence.slots[number - 1]}
        untold = {text for text in texts if re.search(r"(?<!-)[A-Za-z]", text) and text[0] != "-" and text not in known}
        assert not untold, f"{sentence.place}: {untold}"


def test_each_sentence_is_found_again(sentences: list[Sentence]) -> None:
    """Filled with names and numbers, it is taken for no other sentence, and all values are in the other one."""
    use(CHINESE)
    try:
        filled = [(sentence, *_filled(sentence)) for sentence in sentences]
        found = [(sentence, word(english), expected) for sentence, english, expected in filled]
    finally:
        use(ENGLISH)
    wrong = [
        f"{sentence.place}: {sentence.english}: {text}, not {expected}"
        for sentence, text, expected in found
        if re.sub(r"\s", "", text) != re.sub(r"\s", "", expected)
    ]
    assert not wrong, "\n".join(wrong)


def _filled(sentence: Sentence) -> tuple[str, str]:
    """A sentence with `Q1`, `Q2` or 11, 12 in its holes and the longest text of each choice."""
    english, values, number = "", [], 0
    for part in parsed(sentence.english):
        if isinstance(part, str):
            english += part
            continue
        number += 1
        value = f"1{number}" if sentence.named.get(number) == NUMBER else f"Q{number}"
        english += _plain(part) if part else value
        values.append(_chosen(part) if part else value)
    return " ".join(english.split()), re.sub(r"^\[\w+ ?\]", "", sentence.filled(values))


def _plain(texts: tuple[str, ...]) -> str:
    text = max(texts, key=len)
    return "".join(part if isinstance(part, str) else "Q" for part in parsed(text))


def _chosen(texts: tuple[str, ...]) -> str:
    return word(_plain(texts).strip())


def test_a_table_says_where_it_is_wrong() -> None:
    """A line without its partner, a bracket that is not closed."""
    with pytest.raises(TableError, match=r"a\.txt, line 2: the sentence before has no translation"):
        list(read("one\ntwo\n  二\n", "a.txt"))
    with pytest.raises(TableError, match=r"a\.txt, line 1: a translation without"):
        list(read("  二\n", "a.txt"))
    with pytest.raises(TableError, match="a bracket is not closed"):
        parsed("some [a|b")
    with pytest.raises(TableError, match="needs a backslash"):
        parsed("some {a}")
