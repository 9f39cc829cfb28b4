"""Types and look-alikes of single files and pages."""

import contextlib
import functools
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from embedpipe.classifiers.calibration.decisions import Rule
from embedpipe.core.cache_folder import Aside
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.embedding.regions import parse_box
from embedpipe.tasks.similar import BY, PICTURES, Wanted
from embedpipe.web.problems import ProblemError, code_of
from embedpipe.web.routes.common import PROBLEMS, TheDesk, TheHub, clamped, page_of, whole
from embedpipe.web.uploads import receive, safe_name

router = APIRouter(responses=PROBLEMS)

_MOST = 500
_PIXELS = 1000
"""On the long side of a page of a file that is asked about."""

_FILE = {"requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"format": "binary"}}}}}


class Query_(BaseModel):  # noqa: N801 - `Query` is the framework's
    """A stored page, and what is looked for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"document": "3f" * 32, "page": 1, "k": 10}]}
    )
    document: str = Field(pattern="^[0-9a-f]{64}$")
    page: int = 1
    k: int = 10
    type: str | None = Field(None, max_length=200)
    by: str = PICTURES
    other_documents: bool = True
    whole_document: bool = False
    box: list[float] | None = Field(None, min_length=4, max_length=4)


@contextlib.asynccontextmanager
async def body_as_file(request: Request, hub: TheHub, name: str) -> AsyncIterator[Path]:
    """The body of a request as a file, as long as it is needed; it has the suffix of its name and no more of it."""
    kept = safe_name(name)
    suffix = Path(kept).suffix if Path(kept).suffix.isascii() else ""
    with Aside("request") as folder:
        file = Path(folder) / f"file{suffix}"
        await receive(request, file, hub.settings.caps)
        try:
            yield file
        except EmbedpipeError as error:  # it is told by the name that it was sent with
            raise ProblemError(code_of(error), str(error).replace(str(file), name)) from error


@router.post("/classify", tags=["answers"], openapi_extra=_FILE)
async def classify(
    request: Request,
    hub: TheHub,
    desk: TheDesk,
    name: Annotated[str, Query(max_length=1000, description="What the file is called.")] = "file",
    neighbours: Annotated[int, Query(description="Labelled pages that are shown with the answer, at most 100.")] = 3,
    error_rate: Annotated[float, Query(description="How often the true type may be missing.")] = 0.05,
    precision_wanted: Annotated[float | None, Query(description="As --precision-wanted.")] = None,
) -> dict[str, Any]:
    """The type of a file, the body of the request: what `classify --json` says. The file is not kept."""
    precision = None if precision_wanted is None else clamped(precision_wanted, 0.01, 1.0)
    rule = Rule(clamped(error_rate, 0.001, 0.5), precision)
    hub.answering()
    async with body_as_file(request, hub, name) as file:
        call = functools.partial(desk.classify, file, name, rule, whole(neighbours, 0, 100))
        return await desk.network_lane.run(call)


@router.post(
    "/similar",
    tags=["answers"],
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": Query_.model_json_schema()},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        }
    },
)
async def similar(
    request: Request,
    hub: TheHub,
    desk: TheDesk,
    name: Annotated[str, Query(max_length=1000, description="What the file is called.")] = "file",
    page: Annotated[int, Query(description="Of the file, from 1.")] = 1,
    k: Annotated[int, Query(description="How many, at most 500.")] = 10,
    type: Annotated[str | None, Query(max_length=200, description="Only pages of this type.")] = None,  # noqa: A002
    by: Annotated[str, Query(description="pictures, words or both.")] = PICTURES,
    whole_document: Annotated[bool, Query(description="Compare whole documents.")] = False,
    other_documents: Annotated[bool, Query(description="No pages of the file itself.")] = False,
    box: Annotated[str | None, Query(max_length=100, description="x0,y0,x1,y1 in shares of the page.")] = None,
    picture: Annotated[bool, Query(description="Tell the page of the file as well, as a data URL.")] = False,
) -> dict[str, Any]:
    """What looks most like a stored page (JSON), or a page of a file (its body): what `similar --json` says."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() == "application/json":
        asked = await _asked(request)
        wanted = _wanted(asked.k, asked.type, asked.by, asked.box, whole_document=asked.whole_document)
        wanted = replace(wanted, other_documents=asked.other_documents)
        call = functools.partial(desk.similar, asked.document, whole(asked.page, 1, 1_000_000), wanted)
        lane = desk.network_lane if wanted.box is not None else desk.search_lane
        return await lane.run(call)
    numbers = None if box is None else [_number(part) for part in box.split(",")]
    wanted = replace(_wanted(k, type, by, numbers, whole_document=whole_document), other_documents=other_documents)
    async with body_as_file(request, hub, name) as file:
        drawn = _PIXELS if picture else None
        call = functools.partial(desk.similar_file, file, name, whole(page, 1, 1_000_000), wanted, drawn=drawn)
        return await desk.network_lane.run(call)


async def _asked(request: Request) -> Query_:
    try:
        return Query_.model_validate(json.loads(await request.body()))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise ProblemError("unprocessable", f"{where}: {first['msg']}") from error
    except (ValueError, RecursionError) as error:
        raise ProblemError("bad_request", "the body is no JSON") from error


def _wanted(k: int, kind: str | None, by: str, box: list[float] | None, *, whole_document: bool) -> Wanted:
    if by not in BY:
        raise ProblemError("unprocessable", f"by: write {', '.join(BY[:-1])} or {BY[-1]}")
    region = None
    if box is not None:
        if len(box) != 4:  # noqa: PLR2004 - two corners
            raise ProblemError("unprocessable", "box: write four numbers, x0,y0,x1,y1, in shares of the page")
        try:
            region = parse_box(",".join(str(clamped(value, 0.0, 1.0)) for value in box))
        except UsageError as error:
            raise ProblemError("unprocessable", str(error).removeprefix("--")) from error
    return Wanted(whole(k, 1, _MOST), kind, whole_document=whole_document, box=region, by=by)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ProblemError("unprocessable", "box: write four numbers, x0,y0,x1,y1, in shares of the page") from None


@router.get("/heatmap/{name}", tags=["answers"])
async def heatmap(
    desk: TheDesk,
    name: str,
    type: Annotated[str | None, Query(max_length=200, description="The type that is asked about.")] = None,  # noqa: A002
) -> dict[str, Any]:
    """What the type of a page rests on, `<sha256>-<page>`: what `explain --json` says. Takes seconds."""
    sha256, page = page_of(name)
    return await desk.slow_lane.run(functools.partial(desk.explain, sha256, page, type))
