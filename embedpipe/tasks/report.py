"""The report on all documents for somebody who has never seen the program: what came in, of which types, how sure."""

import itertools
import math
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.calibration.expected import out_of_hundred
from embedpipe.core.display import display
from embedpipe.core.errors import ArtifactError
from embedpipe.drawing.papers import Bar, Bars, Card, Column, Figure, Gallery, Paper, Section, Table, write_paper
from embedpipe.embedding.page_pictures import page_jpegs
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import dedupe, families
from embedpipe.tasks.report_facts import (
    AWAY,
    BLANK,
    CLASSIFIER,
    COPY,
    FAILED,
    NO_FEATURES,
    OUTCOMES,
    PERSON,
    UNTOLD,
    Facts,
    Row,
    gather,
    is_none,
)

SUFFIXES = (".html", ".pdf", ".xlsx")
"""What can be written, by the end of the file's name."""

_LISTED = 20  # doubtful documents, groups of duplicates and reasons on paper; a workbook has all
_FOLDERS = 15
_TYPES = 40
_PICTURES = 4  # of each type
_NAMES = 3  # of each reason
_DAYS = 12  # more are summed up by months

OUTCOME_WORDS = {
    "labelled": "type given by a person",
    "ok": "type told by the classifier, sure",
    "ambiguous": "type told by the classifier, but another one is possible",
    "novel": "looks like nothing that was labelled",
    UNTOLD: "no type yet",
    BLANK: "nothing but blank pages",
    FAILED: "could not be read",
    NO_FEATURES: "known, but not embedded: run embed on it",
    COPY: "further copy of a file above",
    AWAY: "not there any more, or passed over by now",
}
_REASONS = {
    "encrypted": "protected by a password",
    "no_pages": "a document without pages",
    "not_a_document": "its content is no document or picture, whatever its name says",
    "page_error": "a page is damaged",
    "too_large": "larger than the limits allow",
    "timeout": "took too long",
    "memory": "needs too much memory",
    "crash": "brings the program that draws it down",
    "unreadable": "the file cannot be opened: it is damaged, or reading it is not allowed",
}
_SOURCES = {"digital": "born digital", "scan": "scans", "photo": "photos", "": "not known"}
_DUPLICATES = {"exact": "the same file", "document": "the same document", "page": "the same page"}


@dataclass(slots=True)
class Findings:
    """What the report is made of.

    Attributes:
        facts: Of files and documents.
        pictures: A JPEG of the first page of the documents that are shown, by SHA-256.
        duplicates: What is there more than once; None where nobody looked.
        seconds: How long looking took.
        layouts: Families of first pages, where there are no types to show.
    """

    facts: Facts
    pictures: dict[str, bytes]
    duplicates: dedupe.Found | None
    seconds: float
    layouts: list[families.Layout]


def take(
    workspace: Workspace, store: FeatureStore, bundle: ClassifierBundle | None, *, duplicates: bool = True
) -> Findings:
    """Gathers what the report says.

    Args:
        workspace: The artifacts.
        store: The features.
        bundle: The classifier whose answers are reported; None where there is none.
        duplicates: Look for what is there more than once, which takes longest.

    Raises:
        ArtifactError: No file came in yet.
    """
    facts = gather(workspace, store, bundle)
    if not facts.files:
        raise ArtifactError(f"no file came in yet: run `embed` on your documents first ({workspace.root} is empty)")
    start = time.perf_counter()
    found = dedupe.find(workspace, store) if duplicates else None
    seconds = time.perf_counter() - start
    layouts = []
    if not any(row.kind for row in facts.rows) and facts.documents:
        layouts = families.find(workspace, store, first_pages=True)[:_PICTURES]
    shown = [row for _, rows in _examples(facts) for row in rows]
    keys = {row.sha256: (row.sha256, row.first_page) for row in (*shown, *facts.doubtful()[: _PICTURES * 2])}
    keys |= {p.document_sha256: (p.document_sha256, p.page_index) for x in layouts for p in x.pages[:_PICTURES]}
    jpegs = page_jpegs(workspace, keys.values())
    pictures = {sha256: jpegs[key] for sha256, key in keys.items() if jpegs.get(key)}
    return Findings(facts, pictures, found, seconds, layouts)


def write(found: Findings, file: Path) -> None:
    """Writes the report in the format that the file's name ends with, one of `SUFFIXES`."""
    suffix = file.suffix.lower()
    if suffix == ".xlsx":
        from embedpipe.tasks.report_sheets import write_sheets  # noqa: PLC0415 - openpyxl takes long to load

        write_sheets(found, file)
    elif suffix == ".pdf":
        from embedpipe.drawing.printed import write_pdf  # noqa: PLC0415 - as does PyMuPDF

        write_pdf(paper(found), file)
    else:
        write_paper(paper(found), file)


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


def lead(found: Findings) -> list[str]:
    """What somebody has to know who reads nothing else, in sentences."""
    facts = found.facts
    documents, failed = facts.documents, facts.outcomes[FAILED]
    person, told = facts.told_by(PERSON), facts.told_by(CLASSIFIER)
    pages = sum(row.pages for row in documents)
    lines = [f"{facts.files:,} files came in; they hold {len(documents):,} different documents with {pages:,} pages."]
    if told:
        lines.append(
            f"A person gave {len(person):,} documents their type, and the classifier told the type of {len(told):,}."
        )
        ok, doubtful = facts.outcomes["ok"], len(facts.doubtful())
        lines.append(f"Of the classifier's answers {ok:,} are sure, and {doubtful:,} are doubtful: look at these.")
        lines += _expected(facts)[:1]
    elif person:
        lines.append(
            f"A person gave {len(person):,} documents their type; {facts.outcomes[UNTOLD]:,} have none yet, for no "
            "classifier was fitted."
        )
    else:
        lines.append("No document has a type yet: label some, and fit a classifier.")
    if found.duplicates is not None:
        groups = len(found.duplicates.groups)
        nothing = "Nothing is there more than once."
        lines.append(_when(groups, f"{groups:,} groups of files, documents or pages are there more than once.") or nothing)
    every = "Every file could be read."
    lines.append(_when(failed, f"{failed:,} files could not be read; the reasons are listed below.") or every)
    return lines


def _when(wanted: int, sentence: str) -> str:
    """A sentence where there is something to say."""
    return sentence if wanted > 0 else ""


def _expected(facts: Facts) -> list[str]:
    """How many answers are expected to be right, in sentences: the sure ones first."""
    lines = []
    if (ok := facts.sure.get("ok")) and ok.right is not None:
        about, low, high = out_of_hundred(ok.right)
        lines.append(f"Of 100 sure answers about {about} are right (between {low} and {high}).")
    if (every := facts.sure.get("")) and every.right is not None:
        about, low, high = out_of_hundred(every.right)
        lines.append(f"Of 100 answers, doubtful ones included, about {about} are right (between {low} and {high}).")
    return lines


def _came_in(facts: Facts) -> Section:
    documents = facts.documents
    pages, blank = sum(row.pages for row in documents), facts.page_outcomes["blank"]
    figures = [
        Figure("Files", f"{facts.files:,}", f"in {len(facts.folders):,} folders"),
        Figure("Documents", f"{len(documents):,}", f"{facts.outcomes[COPY]:,} further files are copies of one"),
        Figure("Pages", f"{pages:,}", f"{blank:,} of them are blank"),
        Figure("Not read", f"{facts.outcomes[FAILED]:,}", "files; see below"),
    ]
    common = os.path.commonpath(list(facts.folders)) if facts.folders else ""
    folders = [(os.path.relpath(name, common), count) for name, count in sorted(facts.folders.items())]
    left = folders[_FOLDERS:]
    sources = Counter(row.source_kind for row in documents)
    tables = [
        Table(
            [Column("Folder"), Column("Files", number=True)],
            [(display(name), count) for name, count in folders[:_FOLDERS]],
            _when(
                len(left),
                f"and {len(left):,} more folders with {sum(n for _, n in left):,} files; the workbook (.xlsx) has all",
            ),
        ),
        Table([Column("Kind of file"), Column("Files", number=True)], facts.readers.most_common()),
        Table(
            [Column("Where the pages come from", said=True), Column("Documents", number=True)],
            [(_SOURCES.get(kind, kind), count) for kind, count in sources.most_common()],
        ),
        Table([Column("Embedded on"), Column("Documents", number=True)], _days(documents)),
    ]
    lines = [f"The folders lie in {display(common)}."] if common else []
    notes = ["Days are those of the files in the store: copying the artifacts may change them."]
    if facts.earlier:
        notes.append(f"{facts.earlier:,} earlier versions of changed files are kept and counted nowhere.")
    return Section("What came in", lines, figures, tables=tables, notes=notes)


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
    more = _when(left, f"and {left:,} more types; the workbook (.xlsx) has all")
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
        Column("Between"),
    ]
    notes = [
        "How this is known: when the classifier was fitted, it was tested on labelled documents that it had not seen. "
        "In 95 of 100 cases the true figure lies between the two figures, for documents like the labelled ones and of "
        "their types."
    ]
    every = facts.sure[""]
    if every.unmeasured:
        notes.append(
            f"For {every.unmeasured:,} documents nothing is known: too few labelled documents are of their kind "
            "(scans, photos), or they are unlike the labelled ones. None of them counts as sure."
        )
    if facts.promise:
        notes.append(f"What it promises: {facts.promise}.")
    return Section("How sure the classifier is", _expected(facts), tables=[Table(columns, rows)], notes=notes)


def reason(row: Row) -> str:
    """Why an answer is doubtful, in words."""
    if row.outcome == "novel":
        return "looks like nothing that was labelled"
    if row.others:
        return f"may also be: {', '.join(row.others)}"
    return "no labelled documents like this one were measured" if row.unlike else "not sure enough"


def percent(share: float) -> str:
    """A confidence for people."""
    return "" if math.isnan(share) else f"{min(max(round(100 * share), 1), 99)} %"


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
        _when(left, f"and {left:,} more, all in the workbook (.xlsx)"),
    )
    cards = [
        Card(found.pictures.get(row.sha256, b""), os.path.basename(row.path), f"best guess: {row.kind}")
        for row in rows[: 2 * _PICTURES]
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
    groups = found.duplicates.groups
    counts = Counter(group.kind for group in groups)
    copies = Counter[str]()
    for group in groups:
        copies[group.kind] += len(group.copies)
    rows = [(_DUPLICATES[kind], counts[kind], copies[kind]) for kind in _DUPLICATES]
    summary = Table(
        [Column("What is there more than once", said=True), *(Column(c, number=True) for c in ("Groups", "Copies"))],
        rows,
    )
    columns = [Column("What", said=True), Column("Times", number=True), Column("Keep"), Column("Others")]
    left = len(groups) - _LISTED
    listed = Table(
        columns,
        [
            (_DUPLICATES[g.kind], len(g.copies), _name(g, 0), ", ".join(_name(g, n) for n in _first_others(g)))
            for g in groups[:_LISTED]
        ],
        _when(left, f"and {left:,} more groups, all in the workbook (.xlsx)"),
    )
    notes = [
        f"Looking for duplicates took {found.seconds:.0f} seconds. Nothing was deleted.",
        *dedupe.left_out(found.duplicates),
    ]
    return Section("Duplicates", tables=[summary, listed], notes=notes)


def _first_others(group: dedupe.Duplicates) -> range:
    return range(1, min(len(group.copies), 1 + _NAMES))


def _name(group: dedupe.Duplicates, number: int) -> str:
    page = group.copies[number].page
    name = display(os.path.basename(group.copies[number].path))
    return f"{name}#page={page.page_number}" if group.kind == "page" else name


def _failed(facts: Facts) -> Section:
    by_kind: dict[str, list[Any]] = {}
    for failure in facts.failures:
        by_kind.setdefault(failure.kind, []).append(failure.page)
    rows = []
    for kind, pages in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        names = list(dict.fromkeys(display(os.path.basename(page.source)) for page in pages))
        more = f" (+{len(names) - _NAMES:,})" if len(names) > _NAMES else ""
        whole = sum(page.page_number == 0 for page in pages)
        rows.append((_REASONS.get(kind, kind), whole, len(pages) - whole, ", ".join(names[:_NAMES]) + more))
    columns = [
        Column("Reason", said=True),
        Column("Whole files", number=True),
        Column("Single pages", number=True),
        Column("Such as"),
    ]
    lines = [] if rows else ["Every file and every page could be read."]
    notes = []
    lacking = sum(row.failed_pages > 0 for row in facts.documents)
    if lacking:
        notes.append(f"{lacking:,} documents have a type although single pages of them could not be read.")
    partial = facts.page_outcomes["placeholder"] + facts.page_outcomes["cover"]
    if partial:
        notes.append(f"{partial:,} pages stand for more than they show: dynamic forms, or files with others inside.")
    if repaired := facts.page_outcomes["repaired"]:
        notes.append(f"{repaired:,} pages were damaged and could be repaired.")
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


def _examples(facts: Facts) -> list[tuple[str, list[Row]]]:
    """Documents that show each type: labelled ones, spread over all, then the surest answers."""
    by_kind: dict[str, list[Row]] = {}
    for row in facts.documents:
        if row.kind and row.outcome in {"labelled", "ok"} and not is_none(row):
            by_kind.setdefault(row.kind, []).append(row)
    found = []
    for kind in itertools.islice((k for k in by_type(facts) if k in by_kind), _TYPES):
        labelled = [row for row in by_kind[kind] if row.by == PERSON]
        step = max(1, len(labelled) // _PICTURES)
        told = sorted((row for row in by_kind[kind] if row.by != PERSON), key=lambda row: -row.confidence)
        found.append((kind, [*labelled[::step][:_PICTURES], *told][:_PICTURES]))
    return found


def _pictures(found: Findings) -> Section | None:
    galleries = [
        Gallery(
            kind,
            [
                Card(
                    found.pictures.get(row.sha256, b""),
                    os.path.basename(row.path),
                    "given by a person" if row.by == PERSON else "told by the classifier",
                )
                for row in rows
            ],
        )
        for kind, rows in _examples(found.facts)
    ]
    if galleries:
        return Section("Examples of each type", galleries=galleries)
    families_shown = [
        Gallery(
            str(number),
            [
                Card(found.pictures.get(page.document_sha256, b""), os.path.basename(page.source))
                for page in layout.pages[:_PICTURES]
            ],
            f"{layout.documents:,} documents whose first pages look alike",
        )
        for number, layout in enumerate(found.layouts, 1)
    ]
    if not families_shown:
        return None
    return Section("Documents that look alike", ["There are no types yet; these look alike."], galleries=families_shown)


def as_json(found: Findings) -> dict[str, Any]:
    """As the command line prints it."""
    facts = found.facts
    duplicates = None
    if found.duplicates is not None:
        groups = found.duplicates.groups
        duplicates = {
            kind: {
                "groups": sum(group.kind == kind for group in groups),
                "copies": sum(len(group.copies) for group in groups if group.kind == kind),
            }
            for kind in _DUPLICATES
        } | {"seconds": round(found.seconds, 3)}
    return {
        "summary": lead(found),
        "files": facts.files,
        "outcomes": {name: facts.outcomes[name] for name in OUTCOMES},
        "documents": len(facts.documents),
        "pages": sum(row.pages for row in facts.documents),
        "failed_pages": sum(row.failed_pages for row in facts.rows),
        "types": {kind: dict(own) for kind, own in by_type(facts).items() if kind},
        "expected_right": {
            status or "all": {
                "documents": sure.documents,
                "share": None if sure.right is None else [sure.right.value, *sure.right.to_json()],
                "not_measured": sure.unmeasured,
            }
            for status, sure in facts.sure.items()
        },
        "failures": dict(Counter(failure.kind for failure in facts.failures)),
        "duplicates": duplicates,
        "classifier": facts.classifier or None,
    }
