"""The report on all documents for somebody who has never seen the program: what came in, of which types, how sure."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.core.errors import ArtifactError
from embedpipe.drawing.papers import write_paper
from embedpipe.embedding.page_pictures import page_jpegs
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import dedupe, families
from embedpipe.tasks.dedupe_plan import without_moved
from embedpipe.tasks.report_facts import OUTCOMES, gather
from embedpipe.tasks.report_sections import PICTURES, by_type, examples, paper
from embedpipe.tasks.report_words import DUPLICATES, Findings, lead

SUFFIXES = (".html", ".pdf", ".xlsx")
"""What can be written, by the end of the file's name."""


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
    if found is not None:
        without_moved(found)
    seconds = time.perf_counter() - start
    layouts = []
    if not any(row.kind for row in facts.rows) and facts.documents:
        layouts = families.find(workspace, store, first_pages=True)[:PICTURES]
    shown = [row for _, rows in examples(facts) for row in rows]
    keys = {row.sha256: (row.sha256, row.first_page) for row in (*shown, *facts.doubtful()[: PICTURES * 2])}
    keys |= {p.document_sha256: (p.document_sha256, p.page_index) for x in layouts for p in x.pages[:PICTURES]}
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
            for kind in DUPLICATES
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
