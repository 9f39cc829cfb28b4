"""The report as a workbook: all documents, all doubtful ones, all duplicates and all failures, a sheet each."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from embedpipe.core.display import path_to_text
from embedpipe.core.languages.translation import word
from embedpipe.drawing.workbook import Book, Column, Picture, Sheet, Value
from embedpipe.tasks.report_facts import OUTCOMES, Row
from embedpipe.tasks.report_sections import below, by_type
from embedpipe.tasks.report_words import DUPLICATES, OUTCOME_WORDS, SOURCES, Findings, lead, reason

_PICTURED = 8  # doubtful documents with a picture, as on paper
_PATH, _WORDS, _NUMBER = 80.0, 50.0, 12.0


def write_sheets(found: Findings, file: Path) -> None:
    """Writes the workbook; raises ArtifactError where it cannot be written."""
    book = Book()
    book.add(Sheet(word("summary"), [Column(word("What"), 70), Column(word("How many"), 16)], _summary(found)))
    book.add(Sheet(word("documents"), _columns(), (_row(row) for row in found.facts.rows)))
    pictured = [Column(word("Picture"), 18), Column(word("Why"), _WORDS), *_columns()]
    book.add(Sheet(word("doubtful"), pictured, _doubtful(found)))
    if found.duplicates is not None:
        columns = [Column(word(name), width) for name, width in _COPIES.items()]
        book.add(Sheet(word("duplicates"), columns, _duplicates(found)))
    columns = [Column(word(name), width) for name, width in _FAILURES.items()]
    book.add(Sheet(word("failures"), columns, _failures(found)))
    book.save(file)


_COPIES = {"Group": 8, "What": 20, "Keep": 8, "Path": _PATH, "Page": 8, "Agreement": _NUMBER}
_FAILURES = {"Path": _PATH, "Page": 8, "Kind": 16, "Reason": _PATH}


def _columns() -> list[Column]:
    return [
        Column(word("Path"), _PATH),
        Column(word("Type"), 18),
        Column(word("Given by"), 14),
        Column(word("What became of it"), _WORDS),
        Column(word("Confidence"), _NUMBER, number="0%"),
        Column(word("May also be"), 26),
        Column(word("Pages"), 8),
        Column(word("Pages not read"), _NUMBER),
        Column(word("Where the pages come from"), 16),
        Column(word("Embedded on"), _NUMBER, number="yyyy-mm-dd"),
        Column(word("Message"), _WORDS),
        Column("SHA-256", 20, hidden=True),
    ]


def _row(row: Row) -> list[Value]:
    return [
        path_to_text(row.path),
        row.kind,
        word(row.by) if row.by else "",
        word(OUTCOME_WORDS[row.outcome]),
        None if math.isnan(row.confidence) else row.confidence,
        ", ".join(row.others),
        row.pages,
        row.failed_pages,
        word(row.source_kind) if row.source_kind else "",
        row.day,
        row.message,
        row.sha256,
    ]


def _summary(found: Findings) -> Iterator[Sequence[Value]]:
    facts = found.facts
    yield from ([word(line)] for line in lead(found))
    outcomes = [(word(OUTCOME_WORDS[name]), facts.outcomes[name]) for name in OUTCOMES if facts.outcomes[name]]
    sources = Counter(row.source_kind for row in facts.documents)
    tables: dict[str, list[tuple[str, int]]] = {
        "What became of it": [*outcomes, (word("all files"), facts.files)],
        "Type": [(kind or word("no type"), own.total()) for kind, own in by_type(facts).items()],
        "Folder": [(path_to_text(name), count) for name, count in below(facts)[1]],
        "Kind of file": facts.readers.most_common(),
        "Where the pages come from": [(word(SOURCES.get(kind, kind)), n) for kind, n in sources.most_common()],
    }
    for name, rows in tables.items():
        yield [""]
        yield [word(name), word("How many")]
        yield from rows


def _doubtful(found: Findings) -> Iterator[list[Value]]:
    for number, row in enumerate(found.facts.doubtful()):
        content = found.pictures.get(row.sha256) if number < _PICTURED else None
        yield [Picture(content) if content else "", word(reason(row)), *_row(row)]


def _duplicates(found: Findings) -> Iterator[list[Value]]:
    groups = found.duplicates.groups if found.duplicates is not None else []
    for number, group in enumerate(groups, 1):
        for place, copy in enumerate(group.copies):
            page = copy.page.page_number if group.kind == "page" else None
            keep = word("keep") if place == 0 else ""
            yield [number, word(DUPLICATES[group.kind]), keep, path_to_text(copy.path), page, copy.agreement]


def _failures(found: Findings) -> Iterator[list[Value]]:
    for failure in found.facts.failures:
        page = failure.page
        yield [path_to_text(page.source), page.page_number or None, failure.kind, failure.message]
