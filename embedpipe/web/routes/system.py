"""Whether the server is there, what it serves, what happens, and the page itself."""

import asyncio
import functools
from importlib import metadata, resources
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query, Request
from starlette.responses import Response

from embedpipe.core.languages.choice import CHINESE, LANGUAGES, current
from embedpipe.core.languages.table import load
from embedpipe.web import guard
from embedpipe.web.hub import Hub, folder_name
from embedpipe.web.problems import ProblemError
from embedpipe.web.routes.common import PROBLEMS, TheHub, clamped

router = APIRouter(responses=PROBLEMS)

_WAIT = 25.0
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".webmanifest": "application/manifest+json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webp": "image/webp",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".md": "text/plain; charset=utf-8",
    ".map": "application/json",
}
"""Kinds of files of the page."""


@functools.cache
def _files() -> dict[str, bytes]:
    """The files of the page, by their path: nothing else can be asked for."""
    found: dict[str, bytes] = {}

    def take(folder: Any, prefix: PurePosixPath) -> None:
        for entry in folder.iterdir():
            if entry.is_dir():
                take(entry, prefix / entry.name)
            elif PurePosixPath(entry.name).suffix in _KINDS or "LICENSE" in entry.name:
                found[str(prefix / entry.name)] = entry.read_bytes()

    static = resources.files("embedpipe.web") / "static"
    if static.is_dir():
        take(static, PurePosixPath())
    return found


@functools.cache
def _said_in(language: str) -> dict[str, str]:
    """What the scripts of the page say, in another language: of the table, the sentences that stand in them."""
    scripts = "".join(content.decode() for name, content in _files().items() if name.endswith(".js"))
    return {line.english: line.other for line in load(language) if f'"{line.english}"' in scripts}


@functools.cache
def _etag(path: str) -> str:
    import hashlib  # noqa: PLC0415 - once for each file

    return f'"{hashlib.sha256(_files()[path]).hexdigest()[:24]}"'


def _file(request: Request, path: str) -> Response:
    if request.app.state.fresh_files:  # whoever works on the page sees each change
        _files.cache_clear()
        _etag.cache_clear()
        _said_in.cache_clear()
    content = _files().get(path)
    if content is None:
        raise ProblemError("not_found", "the page has no such file")
    headers = {"ETag": _etag(path), "Cache-Control": "no-cache"}
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Response(None, 304, headers)
    kind = _KINDS.get(PurePosixPath(path).suffix, "text/plain; charset=utf-8")
    return Response(content, 200, headers, kind)


@router.get("/", include_in_schema=False)
def page(request: Request) -> Response:
    """The page."""
    return _file(request, "index.html")


@router.get("/favicon.ico", include_in_schema=False)
def icon(request: Request) -> Response:
    """The page's icon, where browsers look for it."""
    return _file(request, "icon.svg")


@router.get("/static/{path:path}", include_in_schema=False)
def static(request: Request, path: str) -> Response:
    """A file of the page."""
    return _file(request, path)


@router.get("/translations/{language}.json", tags=["page"])
def translations(language: str) -> dict[str, str]:
    """The sentences of the page in a language; none for English."""
    if language not in LANGUAGES:
        raise ProblemError("not_found", f"there are {' and '.join(LANGUAGES)}")
    if language != CHINESE:
        return {}
    return _said_in(language)


@router.get("/healthz", tags=["server"], openapi_extra={"x-no-token": True})
def healthz() -> dict[str, str]:
    """Whether the server is there."""
    return {"status": "ok"}


@router.get("/version", tags=["server"])
def version(hub: TheHub) -> dict[str, Any]:
    """What is served: space, classifier, counts, and what is allowed."""
    return version_of(hub)


def version_of(hub: Hub) -> dict[str, Any]:
    """What `/version` answers."""
    store, held, labels, used = hub.store(), hub.stock(), hub.scribe.labels(), hub.in_use()
    own = hub.settings
    try:
        number = metadata.version("embedpipe")
    except metadata.PackageNotFoundError:
        number = "unknown"
    return {
        "version": number,
        "artifacts": folder_name(own.root.absolute()),
        "space": hub.space(),
        "backbone": store.identity.backbone if store is not None else None,
        "classifier": None
        if used is None
        else {"name": used.name, "version": used.version, "types": list(used.types), "documents": used.documents},
        "classifiers": hub.workspace.classifiers(),
        "language": current(),
        "languages": list(LANGUAGES),
        "read_only": own.read_only,
        "inboxes": [folder_name(folder) for folder in own.inboxes],
        "outbox": own.outbox is not None,
        "can_upload": not own.read_only,
        "limits": own.allowed(),
        "documents": 0 if held is None else len(held.documents),
        "pages": 0 if store is None else store.table().num_rows,
        "labels": labels.checked.count,
        "suggested": labels.suggested.count,
    }


@router.get("/events", tags=["server"])
async def events(
    hub: TheHub,
    since: Annotated[int | None, Query(description="The `next` of the last answer; left out at first.")] = None,
    wait: Annotated[float, Query(description="Seconds to wait for something to happen, at most 25.")] = 0.0,
) -> dict[str, Any]:
    """What happened since: answers as soon as something has, or the time is over."""
    return await hub.events.wait(since, clamped(wait, 0.0, _WAIT))


@router.post("/session", status_code=204, tags=["server"], openapi_extra={"x-no-token": True})
async def session(
    request: Request, hub: TheHub, token: Annotated[str, Body(embed=True, max_length=1000, examples=["k3v..."])]
) -> Response:
    """Gives a browser a cookie for the token."""
    own = hub.settings.token
    if own and not guard.is_token(token, own):
        await asyncio.sleep(guard.WRONG_TOKEN_SECONDS)
        raise ProblemError("unauthorized", "this is not the token that `serve` printed")
    answer = Response(None, 204)
    if own:
        secure = request.headers.get("x-forwarded-proto") == "https"
        answer.set_cookie(guard.COOKIE, guard.session_of(own), httponly=True, samesite="strict", secure=secure)
    return answer
