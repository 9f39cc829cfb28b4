"""What several commands print: counts, failures, figures of quality."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from embedpipe.commands.terminal.console import Output
from embedpipe.core.other_formats import counted, in_words

if TYPE_CHECKING:
    from embedpipe.classifiers.lessons.missing import Missing
    from embedpipe.embedding.intake import Report

_PARTIAL = {
    "placeholder": "nothing of their documents is on these pages (dynamic forms, portfolios): they get no type",
    "cover": "their documents also have embedded files, which --attachments reads",
}
"""What is said of pages that stand for more than they show."""

_PASSED_OVER = {
    "leftover": "left by systems and programs, or in folders that begin with a dot; name them to read them",
    "ours": "made by embedpipe: artifacts, pictures, copies or parts of files that are there; name them to read them",
    "excluded": "by --exclude",
    "link": "links; --follow-links reads what they lead to, each file once; those in archives are not followed",
    "empty": "mails without attachments, whose own text is not read, and empty archives",
}

FAILURES_SHOWN = 10


def count_labels(types: "Mapping[str, int]", none: int) -> str:
    """How many labels there are of each type, and how many documents are of none, in words."""
    words = f"{len(types)} types: " + ", ".join(f"{kind} {n}" for kind, n in types.items())
    return f"{words}; none of these: {none}" if none else words


def print_missing(missing: "Missing", output: Output, of: str = "") -> None:
    """Which labels have no features, or not all, and why; a line for each reason."""
    for line in missing.lines():
        output.line(f"{of}: {line}" if of else line)


def print_report(report: "Report", output: Output) -> None:
    """Counts and the first failures, for people."""
    print_failures(report, output)
    print_counts(report, output)


def print_failures(report: "Report", output: Output) -> None:
    """The first failures, and what stands for more than it shows, for people."""
    failures = [(str(failure.page), failure.kind, failure.message) for failure in report.failures]
    print_failed(failures, len(failures), output)
    unread = report.recognised.failures
    for failure in unread[:FAILURES_SHOWN]:
        output.notice(f"not recognised: {failure.page}: {failure.kind}: {failure.message}")
    if len(unread) > FAILURES_SHOWN:
        output.notice(f"... and {len(unread) - FAILURES_SHOWN} more stay without words: --json lists them")
    for outcome, what in _PARTIAL.items():
        if count := report.outcomes[outcome]:
            output.notice(f"{count} {outcome}{'s' * (count != 1)}: {what}")


def print_failed(failures: "Sequence[tuple[str, str, str]]", total: int, output: Output) -> None:
    """The first of some failures, for people: page or file, kind and message; `total` is how many there are."""
    for page, kind, message in failures[:FAILURES_SHOWN]:
        output.notice(f"failed: {page}: {kind}: {message}")
    if total > FAILURES_SHOWN:
        output.notice(f"... and {total - FAILURES_SHOWN} more: `embedpipe info --failures` lists them")


def print_stopped(output: Output, *, out_of_time: bool, interrupted: bool) -> None:
    """Why a run ended before its time, for people."""
    if out_of_time:
        output.line("the time of --budget is used up: everything so far is kept, the same command goes on from here")
    if interrupted:
        output.line("interrupted: everything so far is kept, the same command goes on from here")


def print_counts(report: "Report", output: Output) -> None:
    """What was read, for people."""
    rate = f", {report.embedded / report.seconds:.1f} pages/s" if report.embedded and report.seconds else ""
    output.line(
        f"{report.documents} documents, {report.pages} pages: {report.embedded} embedded, {report.skipped} already "
        f"there, {report.failed} failed; {report.duplicates} duplicate files, {report.ignored} other files; "
        f"{report.seconds:.1f} s{rate}"
    )
    if report.recognised.pages:
        output.line(report.recognised.in_words())
    if report.members:
        output.line(f"of these files, {report.members} lie in archives, mails and mailboxes")
    for program, count in sorted(report.converted.items()):
        output.line(f"documents that are read by the PDF that {program} makes of them: {count}")
    print_passed_over(report, output)
    if report.elsewhere:
        output.line(f"files of other shards: {report.elsewhere}")
    print_stopped(output, out_of_time=report.out_of_time, interrupted=report.interrupted)


def print_passed_over(report: "Report", output: Output) -> None:
    """Says of what was passed over why, and how to have it read; a line for each reason."""
    if report.unread:
        told = in_words(counted(what for _, what in report.unread))
        output.line(
            f"not read: {told}: embedpipe does not read these; convert them to PDF (--strict: they are failures)"
        )
    for kind, words in _PASSED_OVER.items():
        if count := report.others[kind]:
            output.line(f"passed over: {count} {words}")
    if report.same_files:
        output.line(f"same files: {report.same_files} more paths lead to files that were read; each file counts once")


def figure(value: float | None) -> str:
    """A share with three digits, or a dash."""
    return "-" if value is None else f"{value:.3f}"


def print_metrics(metrics: dict[str, Any], output: Output) -> None:
    """Held-out quality of documents and pages, and how the folds were made; or that nothing was measured."""
    print_seen_documents(metrics["seen_documents"], metrics["held_out_documents"], output)
    if not metrics["held_out_documents"]:
        return
    if not metrics["measured_documents"]:
        output.line(
            "not measured: no type was learnt while documents of it were held out; label documents of at least two "
            "groups of each type"
        )
        return
    print_quality(metrics, output)
    if sample := metrics.get("sample"):
        output.line(
            f"measured on {metrics['held_out_documents']:,} of {sample['of_documents']:,} documents, in whole groups; "
            f"standard error of their accuracy: {figure(sample['standard_error'])}"
        )
    folds = metrics["folds"]
    output.line(
        f"{folds} fold{'s' if folds != 1 else ''}; documents of one group were never on both sides "
        f"({metrics['groups']} groups)"
    )
    print_groups(metrics, output)
    if metrics["types_not_held_out"]:
        output.line(f"no figure counts {', '.join(metrics['types_not_held_out'])}: no document of these was held out")
    if metrics["types_with_one_group"]:
        output.line(
            f"only one group, so never learnt and tested at once, and in no figure: "
            f"{', '.join(metrics['types_with_one_group'])}"
        )


def print_groups(metrics: "Mapping[str, Any]", output: Output) -> None:
    """Says which groups the folds kept together: those of the labels, or guessed ones."""
    from embedpipe.classifiers.groups import describe

    if said := describe(metrics):
        output.line(f"groups: {said}")


def print_quality(metrics: dict[str, Any], output: Output) -> None:
    """Held-out quality of documents and pages."""
    output.table(
        ("held out", "accuracy", "balanced accuracy", "macro-F1"),
        [
            (what, *(figure(metrics[prefix + key]) for key in ("accuracy", "balanced_accuracy", "macro_f1")))
            for what, prefix in (("documents", "document_"), ("pages", ""))
        ],
    )


def print_seen_documents(seen: int, held_out: int, output: Output) -> None:
    """Says what figures leave out, where the network itself was trained on some of the documents."""
    from embedpipe.classifiers.lessons.held_out import FEWEST_UNSEEN

    if seen and held_out:
        output.line(
            f"the network itself was trained on {seen} of {seen + held_out} documents, or on their groups: "
            f"the figures are of the other {held_out}"
        )
    elif seen:
        output.line(
            "not measured: the network itself was trained on these documents, and fewer than "
            f"{FEWEST_UNSEEN} are left that it has not seen"
        )
