"""A report for people, as plain values: sections of sentences, figures, bars, tables and pictures. And as HTML.

Sentences and headings are English, and shown in the language of the process; names of files and types stay as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from embedpipe.core.languages.translation import word
from embedpipe.drawing.templating import data_uri, write_html

TONES = {
    "person": ("#1f3b57", "#9db9d6"),
    "ok": ("#2f6fb5", "#6ea8e6"),
    "ambiguous": ("#d99a2b", "#dba94a"),
    "novel": ("#c2410c", "#f0824f"),
    "rest": ("#a3a3ab", "#74747c"),
}
"""Colours by what they stand for, on light and on dark paper."""

Cell = str | int


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table; `number` puts it to the right, `said` makes sentences of its cells."""

    name: str
    number: bool = False
    said: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table; `more` says what was left out of it."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    more: str = ""


@dataclass(frozen=True, slots=True)
class Bar:
    """Counts that add up to a bar.

    Attributes:
        name: What it is of.
        parts: Tone and count of each.
        said: The name is a sentence of ours.
    """

    name: str
    parts: Sequence[tuple[str, int]]
    said: bool = False

    @property
    def total(self) -> int:
        """Of all parts."""
        return sum(count for _, count in self.parts)


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars on one scale.

    Attributes:
        legend: Tone and meaning.
        rows: From top to bottom.
        more: What was left out.
    """

    legend: Sequence[tuple[str, str]]
    rows: Sequence[Bar]
    more: str = ""

    @property
    def largest(self) -> int:
        """Total of the longest bar."""
        return max((bar.total for bar in self.rows), default=0)

    def pieces(self, bar: Bar) -> Iterator[tuple[str, float, float]]:
        """Tone, start and width of each part, as shares of the longest bar."""
        at = 0.0
        for tone, count in bar.parts:
            width = count / max(self.largest, 1)
            if count:
                yield tone, at, width
            at += width


@dataclass(frozen=True, slots=True)
class Card:
    """A page: a JPEG, b"" where there is none; a name; and a line about it."""

    picture: bytes
    caption: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pages that belong together; the title is a name, the detail a sentence."""

    title: str
    cards: Sequence[Card]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure that stands out: its name, the figure, and what it means."""

    name: str
    value: str
    meaning: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report; what it does not have is left out."""

    title: str
    lines: Sequence[str] = ()
    figures: Sequence[Figure] = ()
    bars: Bars | None = None
    tables: Sequence[Table] = ()
    galleries: Sequence[Gallery] = ()
    notes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Paper:
    """The whole report; `lead` is what somebody reads who reads nothing else."""

    title: str
    facts: Mapping[str, str] = field(default_factory=dict)
    lead: Sequence[str] = ()
    sections: Sequence[Section] = ()


def write_paper(paper: Paper, file: Path) -> None:
    """Writes a report as one HTML file that stands alone; raises ArtifactError where it cannot be written."""
    write_html(
        file,
        "paper.html",
        title=paper.title,
        facts=paper.facts,
        paper=paper,
        tones=TONES,
        uri=_uri,
        zip=zip,
        words_of_cell=words_of,
    )


def _uri(card: Card) -> str:
    return data_uri(card.picture, "jpeg") if card.picture else ""


def words_of(cell: Cell, column: Column) -> str:
    """A cell as it is shown."""
    if isinstance(cell, int):
        return f"{cell:,}"
    return word(cell) if column.said else cell
