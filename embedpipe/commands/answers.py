"""The answers of `classify` for people: counts first, then the documents to look at, failures last."""

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedpipe.commands import sorting
from embedpipe.commands.base import DONE
from embedpipe.commands.printing import print_counts, print_failures
from embedpipe.commands.terminal.widths import cut, relative, shortened
from embedpipe.core.objects.urls import absolute

if TYPE_CHECKING:
    from embedpipe.commands.terminal.console import Output
    from embedpipe.embedding.intake import Report
    from embedpipe.tasks.classify import DocumentVerdict
    from embedpipe.tasks.sort_into import Sorted

COLUMNS = (
    *("path", "type", "label", "confidence", "status", "candidates", "margin", "novelty", "pages", "message"),
    *("document", "answered_by", "target", "reason"),
)
"""Of the CSV: `path` is where a file is, `target` where it was copied."""
BEFORE = COLUMNS[:-2]
"""Of those that earlier versions wrote."""

_SURE, _DOUBTFUL = ("ok",), ("ambiguous", "novel", "blank")
_STATUSES = (*_SURE, *_DOUBTFUL, "failed")
_FEW = 20
"""So many documents are all listed in a terminal; of more only the doubtful ones, and so many of these."""
_MOST = 40


@dataclass(slots=True)
class Answers:
    """What `classify` found.

    Attributes:
        verdicts: Of the documents.
        report: Of the run.
        answered_by: Name and version of the classifier.
        done: What became of the copies; None where none were asked for, or were not made.
    """

    verdicts: "list[DocumentVerdict]"
    report: "Report"
    answered_by: str
    done: "Sorted | None" = None

    @property
    def documents(self) -> list[dict[str, Any]]:
        """The answers as JSON gives them."""
        from embedpipe.tasks import classify

        return [classify.as_json(verdict) for verdict in self.verdicts]

    def write(self, file: Path) -> None:
        """Writes the answers with an empty column `label`: `label` takes what a person writes there, and no more."""
        from embedpipe.core.display import path_to_text
        from embedpipe.core.tables import write_csv
        from embedpipe.tasks.classify import BY_LABEL

        targets = self._targets()
        rows = [
            {
                **document,
                "path": path_to_text(verdict.path),
                "pages": len(verdict.pages),
                "candidates": " ".join(kind for kind, _ in verdict.prediction.candidates),
                "document": verdict.document_sha256,
                "answered_by": BY_LABEL if verdict.labelled else self.answered_by,
                "target": path_to_text(targets.get(absolute(verdict.path), "")),
            }
            for verdict, document in zip(self.verdicts, self.documents, strict=True)
        ]
        write_csv(file, COLUMNS, rows)

    def _targets(self) -> dict[str, str]:
        """Where the copy of each file is, by the file's path; not of those that have none."""
        if self.done is None:
            return {}
        entries = [entry for entry in self.done.entries if entry.copy]
        found = {entry.document: os.path.join(self.done.folder, *entry.copy.split("/")) for entry in entries}
        own = ((absolute(v.path), found.get(v.document_sha256, "")) for v in self.verdicts)
        return {path: target for path, target in own if target}

    def present(self, promise: str, advice: Sequence[str], output: "Output") -> int:
        """Prints the answers; returns the exit code of the copies.

        Args:
            promise: How often the true type may be missing, and of which documents.
            advice: What is wrong with the batch as a whole.
            output: Where to.
        """
        output.line(self._summary())
        self._print_types(output)
        print_counts(self.report, output)
        code = DONE if self.done is None else sorting.present(self.done, output)
        output.line(promise)
        for line in advice:
            output.notice(f"warning: {line}")
        self._print_documents(output)
        print_failures(self.report, output)
        return code

    def _summary(self) -> str:
        """How many documents have which status, and how many files have none."""
        counts = Counter[str](verdict.prediction.status for verdict in self.verdicts)
        labelled = sum(verdict.labelled for verdict in self.verdicts)
        by_hand = f" ({labelled} as a person labelled them)" if labelled else ""
        told = ", ".join(f"{counts[status]} {status}" for status in _STATUSES if counts[status] or status in _SURE)
        skipped = self.report.files - len(self.verdicts)
        return f"{self.report.files} files: {told}{by_hand}, {skipped} skipped"

    def _print_types(self, output: "Output") -> None:
        """How many documents have which type."""
        by_type: dict[str, Counter[str]] = {}
        for verdict in self.verdicts:
            told = verdict.prediction
            if told.label is not None:
                by_type.setdefault(told.label, Counter())[told.status] += 1
        if len(self.verdicts) <= 1 or not by_type:
            return
        order = sorted(by_type, key=lambda kind: (-by_type[kind].total(), kind))
        rows = [(kind, *(by_type[kind][status] or "" for status in ("ok", "ambiguous", "novel"))) for kind in order]
        output.table(("type", "ok", "ambiguous", "novel"), rows, shorten={"type": shortened})

    def _print_documents(self, output: "Output") -> None:
        """The documents themselves: all where they are few or a program reads them, else those to look at."""
        from embedpipe.tasks.classify import reason

        answered = [verdict for verdict in self.verdicts if verdict.prediction.status != "failed"]
        listed = answered
        if output.watched and len(answered) > _FEW:
            doubtful = [verdict for verdict in answered if verdict.prediction.status in _DOUBTFUL]
            doubtful.sort(key=lambda v: (_STATUSES.index(v.prediction.status), v.prediction.confidence))
            listed = doubtful[:_MOST]
            left_out = len(doubtful) - len(listed)
            output.line(f"to look at: {len(doubtful)} of {len(self.verdicts)} documents")
        names = relative([verdict.path for verdict in listed]) if output.watched else [v.path for v in listed]
        output.table(
            ("status", "type", "sure", "file", "why"),
            [
                (
                    verdict.prediction.status,
                    verdict.prediction.label or "-",
                    f"{verdict.prediction.confidence:.0%}",
                    name,
                    reason(verdict),
                )
                for verdict, name in zip(listed, names, strict=True)
            ],
            shorten={"type": shortened, "file": shortened, "why": cut},
        )
        if len(listed) < len(answered):
            more = f"{left_out} more doubtful ones" if left_out else "those that are ok"
            output.line(f"not listed here: {more}; --csv FILE writes them all")
