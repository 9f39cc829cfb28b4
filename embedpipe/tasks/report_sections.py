"""The report as sentences, figures, tables and pictures, whatever it is written as."""

import itertools
import os
from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from embedpipe.classifiers.calibration.expected import out_of_hundred
from embedpipe.core.display import display
from embedpipe.drawing.papers import Bar, Bars, Card, Column, Figure, Gallery, Paper, Section, Table
from embedpipe.tasks import dedupe
from embedpipe.tasks.report_facts import CLASSIFIER, COPY, FAILED, OUTCOMES, PERSON, Facts, Row, is_none
from embedpipe.tasks.report_words import (
    DUPLICATES,
    OUTCOME_WORDS,
    REASONS,
    SOURCES,
    Findings,
    expected,
    lead,
    percent,
    reason,
    when,
)

_LISTED = 20  # doubtful documents, groups of duplicates and reasons on paper; a workbook has all
_FOLDERS = 15
_TYPES = 40
PICTURES = 4  # of each type
_NAMES = 3  # of each reason
_DAYS = 12  # more are summed up by months


_BY = {PERSON: "given by a person", CLASSIFIER: "told by the classifier"}


def paper(found: Findings) -> Paper:
    """The report as sentences, tables and pictures."""
    facts = found.facts
    sections = [
        _came_in(facts),
        _types(facts),
        _how_sure(facts),
        _doubtful(found),
        _copies(found),
        _failed(facts),
        _where_all_went(facts),
        _pictures(found),
    ]
    about = {"Made on": f"{datetime.now().astimezone():%Y-%m-%d %H:%M}"}
    if facts.classifier:
        about["Classifier"] = f"{facts.classifier['name']} ({str(facts.classifier['time'] or '')[:10]})"
    return Paper("Report on the documents", about, lead(found), [s for s in sections if s is not None])


def _came_in(facts: Facts) -> Section:
    documents = facts.documents
    pages, blank = sum(row.pages for row in documents), facts.page_outcomes["blank"]
    figures = [
        Figure("Files", f"{facts.files:,}", f"in {len(facts.folders):,} folders"),
        Figure("Documents", f"{len(documents):,}", f"{facts.outcomes[COPY]:,} further files are copies of one"),
        Figure("Pages", f"{pages:,}", f"{blank:,} of them are blank"),
        Figure("Not read", f"{facts.outcomes[FAILED]:,}", "files; see below"),
    ]
    common, folders = below(facts)
    shown = len(folders) if len(folders) <= _FOLDERS + 1 else _FOLDERS  # a line on one more is as long as that one
    left = folders[shown:]
    sources = Counter(row.source_kind for row in documents)
    tables = [
        Table(
            [Column("Folder"), Column("Files", number=True)],
            [(display(name), count) for name, count in folders[:shown]],
            when(
                len(left),
                f"and {len(left):,} more folders with {sum(n for _, n in left):,} files; the workbook (.xlsx) has all",
            ),
        ),
        Table([Column("Kind of file"), Column("Files", number=True)], facts.readers.most_common()),
        Table(
            [Column("Where the pages come from", said=True), Column("Documents", number=True)],
            [(SOURCES.get(kind, kind), count) for kind, count in sources.most_common()],
        ),
        Table([Column("Embedded on"), Column("Documents", number=True)], _days(documents)),
    ]
    lines = [f"The folders lie in {display(common)}."] if common else []
    notes = ["Days are those of the files in the store: copying the artifacts may change them."]
    if facts.earlier:
        notes.append(f"Earlier versions of changed files, which are kept and counted nowhere: {facts.earlier:,}.")
    return Section("What came in", lines, figures, tables=tables, notes=notes)


def below(facts: Facts) -> tuple[str, list[tuple[str, int]]]:
    """The folder that all others lie in, and how many files are in each of these."""
    common = os.path.commonpath(list(facts.folders)) if facts.folders else ""
    return common, [(os.path.relpath(name, common), count) for name, count in sorted(facts.folders.items())]


def _days(documents: Sequence[Row]) -> list[tuple[str, int]]:
    """Documents by the day on which they were embedded, or by the month where there are many days."""
    counts = Counter(row.day for row in documents if row.day)
    if len(counts) <= _DAYS:
        return [(f"{day:%Y-%m-%d}", count) for day, count in sorted(counts.items())]
    months: Counter[str] = Counter()
    for day, count in counts.items():
        months[f"{day:%Y-%m}"] += count
    return sorted(months.items())[-2 * _DAYS :]


def by_type(facts: Facts) -> dict[str, Counter[str]]:
    """How many documents have each outcome, by type, the most frequent type first; "" for those without a type."""
    counts: dict[str, Counter[str]] = {}
    for row in facts.documents:
        counts.setdefault(row.kind, Counter())[row.outcome] += 1
    return dict(sorted(counts.items(), key=lambda item: (not item[0], -item[1].total(), item[0])))


def _types(facts: Facts) -> Section:
    counts, pages = by_type(facts), Counter[str]()
    for row in facts.documents:
        pages[row.kind] += row.pages
    nothing, none = "no type", "none of the types"

    def bar(kind: str, own: Counter[str]) -> Bar:
        rest = own.total() - sum(own[name] for name in ("labelled", "ok", "ambiguous", "novel"))
        parts = [("person", own["labelled"]), *((name, own[name]) for name in ("ok", "ambiguous", "novel"))]
        is_said = kind in ("", "none")
        return Bar(none if kind == "none" else kind or nothing, [*parts, ("rest", rest)], is_said)

    bars = [bar(kind, own) for kind, own in itertools.islice(counts.items(), _TYPES)]
    legend = [
        ("person", "given by a person"),
        ("ok", "told by the classifier, sure"),
        ("ambiguous", "told, but another type is possible"),
        ("novel", "told, but it looks like nothing that was labelled"),
        ("rest", "without a type"),
    ]
    used = {tone for one in bars for tone, count in one.parts if count}
    table = Table(
        [
            Column("Type"),
            *(Column(name, number=True) for name in ("Documents", "Pages", "By a person", "Sure", "Doubtful")),
        ],
        [
            (
                display(kind) or "\N{EN DASH}",
                own.total(),
                pages[kind],
                own["labelled"],
                own["ok"],
                own["ambiguous"] + own["novel"],
            )
            for kind, own in itertools.islice(counts.items(), _TYPES)
        ],
    )
    left = len(counts) - _TYPES
    more = when(left, f"and {left:,} more types; the workbook (.xlsx) has all")
    shown = Bars([pair for pair in legend if pair[0] in used], bars, more)
    return Section("Types of documents", bars=shown, tables=[table])


def _how_sure(facts: Facts) -> Section | None:
    if not facts.told_by(CLASSIFIER):
        return None
    rows: list[tuple[str | int, ...]] = []
    for status, words in (
        ("ok", "sure (ok)"),
        ("ambiguous", "another type is possible (ambiguous)"),
        ("novel", "looks like nothing that was labelled (novel)"),
    ):
        own = facts.sure[status]
        about, between = "not known", ""
        if own.right is not None:
            value, low, high = out_of_hundred(own.right)
            about, between = f"about {value} of 100", f"{low} to {high}"
        rows.append((words, facts.outcomes[status], about, between))
    columns = [
        Column("Answer", said=True),
        Column("Documents", number=True),
        Column("Expected to be right", said=True),
        Column("Between", said=True),
    ]
    notes = [
        (
            "How this is known: when the classifier was fitted, it was tested on labelled documents that it had not "
            "seen. In 95 of 100 cases the true figure lies between the two figures, for documents like the labelled "
            "ones and of their types."
        )
    ]
    every = facts.sure[""]
    if every.unmeasured:
        notes.append(
            f"For {every.unmeasured:,} documents nothing is known: too few labelled documents are of their kind "
            "(scans, photos), or they are unlike the labelled ones. None of them counts as sure."
        )
    if facts.promise:
        notes.append(f"What it promises: {facts.promise}.")
    return Section("How sure the classifier is", expected(facts), tables=[Table(columns, rows)], notes=notes)


def _doubtful(found: Findings) -> Section | None:
    rows = found.facts.doubtful()
    if not rows:
        return None
    left = len(rows) - _LISTED
    columns = [Column("Document"), Column("Best guess"), Column("Confidence", number=True), Column("Why", said=True)]
    table = Table(
        columns,
        [
            (display(os.path.basename(r.path)), display(r.kind), percent(r.confidence), reason(r))
            for r in rows[:_LISTED]
        ],
        when(left, f"and {left:,} more, all in the workbook (.xlsx)"),
    )
    cards = [
        Card(found.pictures.get(row.sha256, b""), os.path.basename(row.path), f"best guess: {row.kind}")
        for row in rows[: 2 * PICTURES]
    ]
    return Section(
        "Doubtful ones",
        [f"{len(rows):,} documents should be looked at by a person, the least sure first."],
        tables=[table],
        galleries=[Gallery("", cards)],
    )


def _copies(found: Findings) -> Section:
    if found.duplicates is None:
        return Section("Duplicates", ["Duplicates were not looked for."])
    groups, common = found.duplicates.groups, below(found.facts)[0]
    counts = Counter(group.kind for group in groups)
    copies = Counter[str]()
    for group in groups:
        copies[group.kind] += len(group.copies)
    rows = [(DUPLICATES[kind], counts[kind], copies[kind]) for kind in DUPLICATES]
    summary = Table(
        [
            Column("What is there more than once", said=True),
            *(Column(c, number=True) for c in ("How many groups", "Copies")),
        ],
        rows,
    )
    columns = [Column("What", said=True), Column("Times", number=True), Column("Keep"), Column("Others")]
    left = len(groups) - _LISTED
    listed = Table(
        columns,
        [
            (DUPLICATES[g.kind], len(g.copies), _name(g, 0, common), ", ".join(_name(g, n, common) for n in _others(g)))
            for g in groups[:_LISTED]
        ],
        when(left, f"and {left:,} more groups, all in the workbook (.xlsx)"),
    )
    notes = [
        f"Looking for duplicates took {found.seconds:.0f} seconds. Nothing was deleted.",
        *dedupe.left_out(found.duplicates),
    ]
    return Section("Duplicates", tables=[summary, listed], notes=notes)


def _others(group: dedupe.Duplicates) -> range:
    return range(1, min(len(group.copies), 1 + _NAMES))


def _name(group: dedupe.Duplicates, number: int, common: str) -> str:
    """Where a copy lies, below the folder that the report names."""
    page, path = group.copies[number].page, group.copies[number].path
    name = display(os.path.relpath(path, common) if common and os.path.isabs(path) else path)
    return f"{name}#page={page.page_number}" if group.kind == "page" else name


def _failed(facts: Facts) -> Section:
    unread = {row.sha256 or row.path for row in facts.rows if row.outcome == FAILED}
    seen: set[str] = set()
    files, pages, names = Counter[str](), Counter[str](), dict[str, dict[str, None]]()
    for failure in facts.failures:
        key = failure.page.document_sha256 or failure.page.source
        if key in unread:  # its first failure counts, so that each file is counted once
            unread.remove(key)
            seen.add(key)
            files[failure.kind] += 1
        elif key not in seen:
            pages[failure.kind] += 1
        names.setdefault(failure.kind, {})[display(os.path.basename(failure.page.source))] = None
    rows = []
    for kind, own in sorted(names.items(), key=lambda item: (-files[item[0]], -pages[item[0]], item[0])):
        more = f" (+{len(own) - _NAMES:,})" if len(own) > _NAMES else ""
        rows.append((REASONS.get(kind, kind), files[kind], pages[kind], ", ".join(list(own)[:_NAMES]) + more))
    columns = [
        Column("Reason", said=True),
        Column("Files", number=True),
        Column("Pages of other files", number=True),
        Column("Such as"),
    ]
    lines = [] if rows else ["Every file and every page could be read."]
    notes = []
    lacking = sum(row.failed_pages > 0 for row in facts.documents)
    if lacking:
        notes.append(f"Documents that were read although single pages of them could not be: {lacking:,}.")
    partial = facts.page_outcomes["placeholder"] + facts.page_outcomes["cover"]
    if partial:
        notes.append(
            f"Pages that stand for more than they show (dynamic forms, files with others inside): {partial:,}."
        )
    if repaired := facts.page_outcomes["repaired"]:
        notes.append(f"Damaged pages that could be repaired: {repaired:,}.")
    return Section("What could not be read, and why", lines, tables=[Table(columns, rows)], notes=notes)


def _where_all_went(facts: Facts) -> Section:
    rows: list[tuple[str | int, ...]] = [
        (OUTCOME_WORDS[name], facts.outcomes[name]) for name in OUTCOMES if facts.outcomes[name]
    ]
    rows.append(("all files", facts.files))
    columns = [Column("What became of it", said=True), Column("Files", number=True)]
    return Section(
        "Where every file went",
        ["Each file is counted once; the counts add up to all files that came in."],
        tables=[Table(columns, rows)],
        notes=["Files that are no documents by their names, such as programs, are counted by embed and not here."],
    )


def examples(facts: Facts) -> list[tuple[str, list[Row]]]:
    """Documents that show each type: labelled ones, spread over all, then the surest answers."""
    by_kind: dict[str, list[Row]] = {}
    for row in facts.documents:
        if row.kind and row.outcome in {"labelled", "ok"} and not is_none(row):
            by_kind.setdefault(row.kind, []).append(row)
    found = []
    for kind in itertools.islice((k for k in by_type(facts) if k in by_kind), _TYPES):
        labelled = [row for row in by_kind[kind] if row.by == PERSON]
        step = max(1, len(labelled) // PICTURES)
        told = sorted((row for row in by_kind[kind] if row.by != PERSON), key=lambda row: -row.confidence)
        found.append((kind, [*labelled[::step][:PICTURES], *told][:PICTURES]))
    return found


def _pictures(found: Findings) -> Section | None:
    galleries = [
        Gallery(
            kind,
            [
                Card(
                    found.pictures.get(row.sha256, b""),
                    os.path.basename(row.path),
                    _BY[row.by],
                )
                for row in rows
            ],
        )
        for kind, rows in examples(found.facts)
    ]
    if galleries:
        return Section("Examples of each type", galleries=galleries)
    families_shown = [
        Gallery(
            str(number),
            [
                Card(found.pictures.get(page.document_sha256, b""), os.path.basename(page.source))
                for page in layout.pages[:PICTURES]
            ],
            f"{layout.documents:,} documents whose first pages look alike",
        )
        for number, layout in enumerate(found.layouts, 1)
    ]
    if not families_shown:
        return None
    return Section("Documents that look alike", ["There are no types yet; these look alike."], galleries=families_shown)
