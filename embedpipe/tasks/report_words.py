"""What the report says in words: the sentences that come first, and why files failed or answers are doubtful."""

import math
from dataclasses import dataclass

from embedpipe.classifiers.calibration.expected import out_of_hundred
from embedpipe.tasks import dedupe, families
from embedpipe.tasks.report_facts import (
    ASIDE,
    AWAY,
    BLANK,
    CLASSIFIER,
    COPY,
    FAILED,
    NO_FEATURES,
    PERSON,
    UNTOLD,
    Facts,
    Row,
)

OUTCOME_WORDS = {
    "labelled": "type given by a person",
    "ok": "type told by the classifier, sure",
    "ambiguous": "type told by the classifier, but another one is possible",
    "novel": "type told by the classifier, but the document looks like nothing that was labelled",
    UNTOLD: "no type yet",
    BLANK: "nothing but blank pages",
    FAILED: "could not be read",
    NO_FEATURES: "known, but not embedded: run embed on it",
    COPY: "further copy of a file above",
    ASIDE: "further copy of a file above, put aside",
    AWAY: "not there any more, or passed over by now",
}
REASONS = {
    "encrypted": "protected by a password",
    "no_pages": "a document without pages",
    "not_a_document": "its content is no document or picture, whatever its name says",
    "page_error": "a page is damaged",
    "too_large": "larger than the limits allow",
    "timeout": "took too long",
    "memory": "needs too much memory",
    "crash": "brings the program that draws it down",
    "other_format": "of a format that is not read, such as Word, Excel or e-mail: convert it to PDF",
    "unreadable": "the file cannot be opened: it is damaged, or reading it is not allowed",
}
SOURCES = {"digital": "born digital", "scan": "scans", "photo": "photos", "": "not known"}
DUPLICATES = {"exact": "the same file", "document": "the same document", "page": "the same page"}


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
        lines += expected(facts)[:1]
    elif person and not facts.outcomes[UNTOLD]:
        lines.append(f"A person gave {len(person):,} documents their type, and no other one waits for it.")
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
        lines.append(
            when(groups, f"Groups of files, documents or pages that are there more than once: {groups:,}.") or nothing
        )
        if put_aside := facts.outcomes[ASIDE]:
            lines.append(f"Further copies that were put aside: {put_aside:,}.")
    every = "Every file could be read."
    lines.append(when(failed, f"Files that could not be read: {failed:,}; the reasons are listed below.") or every)
    return lines


def when(wanted: int, sentence: str) -> str:
    """A sentence where there is something to say."""
    return sentence if wanted > 0 else ""


def expected(facts: Facts) -> list[str]:
    """How many answers are expected to be right, in sentences: the sure ones first."""
    lines = []
    if (ok := facts.sure.get("ok")) and ok.right is not None:
        about, low, high = out_of_hundred(ok.right)
        lines.append(f"Of 100 sure answers about {about} are right (between {low} and {high}).")
    if (every := facts.sure.get("")) and every.right is not None:
        about, low, high = out_of_hundred(every.right)
        lines.append(f"Of 100 answers, doubtful ones included, about {about} are right (between {low} and {high}).")
    return lines


def reason(row: Row) -> str:
    """Why an answer is doubtful, in words."""
    if row.outcome == "novel":
        return "looks like nothing that was labelled"
    if row.others:
        return f"may also be: {', '.join(row.others)}"
    if row.unlike:
        return "no labelled documents like this one were measured"
    return "not sure enough"


def percent(share: float) -> str:
    """A confidence for people."""
    return "" if math.isnan(share) else f"{min(max(round(100 * share), 1), 99)} %"
