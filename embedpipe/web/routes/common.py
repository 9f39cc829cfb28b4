"""What the addresses share: the hub and the desk of the application, numbers in their range, and ids."""

import os
import re
from typing import Annotated, Any

from fastapi import Depends, Query, Request
from starlette.responses import Response

from embedpipe.tasks.heap import Stock
from embedpipe.web.desk import Desk
from embedpipe.web.hub import Hub
from embedpipe.web.problems import ProblemError
from embedpipe.web.working.ledger import Job

_SHA256 = re.compile(r"[0-9a-f]{64}")
_PAGE = re.compile(r"([0-9a-f]{64})-([0-9]{1,6})")

PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused: a problem (RFC 9457)", "content": {"application/problem+json": {}}},
    503: {"description": "Busy: come again after Retry-After seconds", "content": {"application/problem+json": {}}},
}
"""Of every address, for OpenAPI."""


def hub_of(request: Request) -> Hub:
    """The hub of the application."""
    hub: Hub = request.app.state.hub
    return hub


def desk_of(request: Request) -> Desk:
    """The desk of the application."""
    desk: Desk = request.app.state.desk
    return desk


TheHub = Annotated[Hub, Depends(hub_of)]
TheDesk = Annotated[Desk, Depends(desk_of)]
Document = Annotated[str, Query(pattern="^[0-9a-f]{64}$", description="SHA-256 of a document.")]


def clamped(value: float, least: float, most: float) -> float:
    """A number put into its range; what is no number is the least."""
    return least if value != value else min(max(value, least), most)  # noqa: PLR0124 - NaN


def whole(value: float, least: int, most: int) -> int:
    """A whole number put into its range."""
    return int(clamped(value, least, most))


def page_of(text: str) -> tuple[str, int]:
    """Reads `<sha256>-<page>`; raises ProblemError for anything else."""
    match = _PAGE.fullmatch(text)
    if match is None or int(match[2]) < 1:
        raise ProblemError("not_found", "a page is written as the SHA-256 of its document, a dash, and its number")
    return match[1], int(match[2])


def document_of(text: str) -> str:
    """Reads a SHA-256; raises ProblemError for anything else."""
    if _SHA256.fullmatch(text) is None:
        raise ProblemError("not_found", "a document is written as its SHA-256: 64 digits from 0 to 9 and a to f")
    return text


def stored(hub: Hub, sha256: str) -> tuple[Stock, int]:
    """The stored documents, and the place of one among them; raises ProblemError where it is not stored."""
    held = hub.stock()
    place = held.rows.get(sha256) if held is not None else None
    if held is None or place is None:
        raise ProblemError("not_found", f"document {sha256[:12]} is not stored")
    return held, place


def is_below(path: str, folder: str | os.PathLike[str]) -> bool:
    """Whether a path is a folder, or lies below it, after links are followed."""
    wanted, root = os.path.realpath(path), os.path.realpath(folder)
    return wanted == root or wanted.startswith(root.rstrip(os.sep) + os.sep)


def csv_answer(content: bytes, name: str) -> Response:
    """A table as a file."""
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, 200, headers, "text/csv; charset=utf-8")


def submitted(hub: Hub, job: Job | None) -> dict[str, Any]:
    """The answer to a request that began a job; raises ProblemError where too many wait."""
    if job is None:
        raise ProblemError("busy", f"{hub.settings.caps.jobs} jobs wait already: cancel one, or try again later")
    return {"job": hub.job_json(job)}
