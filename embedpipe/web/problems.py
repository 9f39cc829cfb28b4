"""Errors as problem details (RFC 9457), each with the one line that the command line would print, in two languages."""

import errno
import json
import logging
import unicodedata
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from embedpipe.core.errors import (
    ArtifactError,
    BusyError,
    DocumentError,
    EmbedpipeError,
    LabelsError,
    SpaceMismatchError,
    UnknownNameError,
    UsageError,
)
from embedpipe.core.languages.choice import ENGLISH, current, named
from embedpipe.core.languages.translation import translated
from embedpipe.core.process import is_lack_of_memory

log = logging.getLogger(__name__)

_LONGEST = 1000
"""Characters of a line."""

MEDIA_TYPE = "application/problem+json"

TITLES = {
    "bad_request": (400, "The request cannot be understood"),
    "unauthorized": (401, "A token is needed"),
    "forbidden": (403, "This is not allowed"),
    "read_only": (403, "This server only reads"),
    "not_found": (404, "There is no such thing"),
    "method_not_allowed": (405, "This cannot be done here"),
    "conflict": (409, "This cannot be done now"),
    "gone": (410, "This is not there any more"),
    "too_large": (413, "This is too large"),
    "unsupported_media_type": (415, "The body is of another kind than is taken here"),
    "unprocessable": (422, "A value is wrong"),
    "internal": (500, "The server failed"),
    "busy": (503, "The server is busy"),
    "no_space": (507, "The disk is full"),
}
"""Status and title of each code."""

_OF_STATUS = {status: code for code, (status, _) in reversed(TITLES.items())}

_RETRY_AFTER = "2"
"""Seconds."""


_SAID = frozenset({"title", "message", "stage", "note", "notes", "reason", "finding", "promise", "advice"})
"""Keys of answers whose values are sentences."""

asked_in: ContextVar[str] = ContextVar("asked_in", default=ENGLISH)
"""The language of the request that is answered."""


class Answer(Response):
    """JSON for whoever asked: sentences in his language; names that are not UTF-8 as they are, escaped."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """The body."""
        return as_json(said(content, asked_in.get()))


def as_json(content: Any) -> bytes:
    """JSON in UTF-8; halves of characters, which stand for bytes of names that are not UTF-8, are escaped."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def said(content: Any, language: str, *, sentence: bool = False) -> Any:
    """An answer with its sentences in a language."""
    if language == ENGLISH:
        return content
    if isinstance(content, Mapping):
        return {key: said(value, language, sentence=key in _SAID) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [said(value, language, sentence=sentence) for value in content]
    return translated(content, language) if sentence and isinstance(content, str) else content


class ProblemError(Exception):
    """A request that is refused.

    Args:
        code: A key of `TITLES`.
        detail: One line that says what to do.
        more: Further members of the problem.
    """

    def __init__(self, code: str, detail: str, **more: Any) -> None:
        super().__init__(detail)
        self.code, self.detail, self.more = code, detail, more


def language_of(headers: Mapping[str, str], query: Mapping[str, str]) -> str:
    """The language of an answer: `?lang=`, else the first of Accept-Language that there is, else the process's."""
    if language := named(query.get("lang", "")):
        return language
    for part in headers.get("accept-language", "").split(","):
        if language := named(part.partition(";")[0]):
            return language
    return current()


def problem(code: str, detail: str, language: str = ENGLISH, **more: Any) -> Response:
    """The answer to a request that is refused."""
    status, title = TITLES[code]
    detail = _one_line(detail)
    values = {
        "type": f"urn:embedpipe:{code}",
        "title": translated(title, language),
        "status": status,
        "detail": translated(detail, language),
        "code": code,
        **said(more, language),
    }
    headers = {"Retry-After": _RETRY_AFTER} if code == "busy" else {}
    if code == "unauthorized":
        headers["WWW-Authenticate"] = "Bearer"
    return Response(as_json(values), status, headers, MEDIA_TYPE)


def _one_line(text: str) -> str:
    """A line that can be shown, of a sentence that holds what a request has sent: names of its keys, for example."""
    line = "".join(c if c.isprintable() or unicodedata.category(c) == "Cs" else " " for c in text[: _LONGEST + 1])
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."


def code_of(error: Exception) -> str:
    """What is said of an error."""
    if isinstance(error.__cause__, OSError) and error.__cause__.errno in (errno.ENOSPC, errno.EDQUOT):
        return "no_space"
    kinds: Sequence[tuple[type[Exception], str]] = (
        (UnknownNameError, "not_found"),
        (UsageError, "unprocessable"),
        (BusyError, "busy"),
        (SpaceMismatchError, "conflict"),
        (DocumentError, "unprocessable"),
        (LabelsError, "conflict"),
        (ArtifactError, "conflict"),
        (EmbedpipeError, "unprocessable"),
    )
    return next((code for kind, code in kinds if isinstance(error, kind)), "internal")


async def answer_problem(_: Request, error: Exception) -> Response:
    """Answers a `ProblemError`."""
    assert isinstance(error, ProblemError)
    return problem(error.code, error.detail, asked_in.get(), **error.more)


async def answer_error(_: Request, error: Exception) -> Response:
    """Answers an EmbedpipeError with its line."""
    return problem(code_of(error), str(error), asked_in.get())


async def answer_http(request: Request, error: Exception) -> Response:
    """Answers what the framework refuses: unknown addresses and methods."""
    assert isinstance(error, HTTPException)
    code = _OF_STATUS.get(error.status_code, "bad_request")
    details = {
        "not_found": f"there is nothing at {request.url.path}: GET /openapi.json lists what there is",
        "method_not_allowed": f"{request.method} is not answered at {request.url.path}",
    }
    answer = problem(code, details.get(code, str(error.detail)), asked_in.get())
    answer.headers.update({name: value for name, value in (error.headers or {}).items() if name.lower() == "allow"})
    return answer


async def answer_gone(_: Request, error: Exception) -> Response:
    """Answers who is not there any more: he went in the middle of a body, and nobody has to be told."""
    assert isinstance(error, ClientDisconnect)
    return problem("bad_request", "the body did not come", asked_in.get())


async def answer_invalid(_: Request, error: Exception) -> Response:
    """Answers a request whose values are not as they are declared."""
    assert isinstance(error, RequestValidationError)
    errors = [
        {"where": ".".join(str(part) for part in one["loc"]), "message": str(one["msg"])} for one in error.errors()
    ]
    errors = [{name: _one_line(text) for name, text in one.items()} for one in errors[:20]]
    first = errors[0] if errors else {"where": "body", "message": "it cannot be read"}
    return problem("unprocessable", f"{first['where']}: {first['message']}", asked_in.get(), errors=errors)


async def answer_unexpected(request: Request, error: Exception) -> Response:
    """Answers what nobody foresaw, without telling more than the kind of error."""
    log.error("unexpected error at %s", request.url.path, exc_info=error)
    language = asked_in.get()
    if is_lack_of_memory(error):
        return problem("busy", "memory is too little for this now: try again later, or with less", language)
    return problem("internal", f"unexpected {type(error).__name__}: please report it", language)
