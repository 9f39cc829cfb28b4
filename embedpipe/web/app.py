"""The application: its addresses, what guards them, and what begins and ends with it."""

import contextlib
import threading
from collections.abc import AsyncIterator, Iterable
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from embedpipe.core.claims import SERVE
from embedpipe.core.errors import EmbedpipeError
from embedpipe.web import problems
from embedpipe.web.desk import Desk
from embedpipe.web.guard import Guard
from embedpipe.web.hub import Hub
from embedpipe.web.problems import ProblemError
from embedpipe.web.routes import answering, documents, labelling, system, working
from embedpipe.web.settings import ServeSettings
from embedpipe.web.uploads import Uploads

_ABOUT = (
    "Documents sorted by what their pages look like: the page of `embedpipe serve` and programs ask the same. Errors "
    "are problem details (RFC 9457). Files are sent as the body of a request."
)


def make_app(
    settings: ServeSettings, names: Iterable[str] = (), *, fresh_files: bool = False, warm: bool = True
) -> Guard:
    """The application over some artifacts, guarded.

    Args:
        settings: What is served, and how.
        names: Further names by which the server may be asked.
        fresh_files: Read the files of the page again at every request.
        warm: Load classifier and network at once, and not with the first request.
    """

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, Any]]:
        hub = Hub(settings)
        desk = Desk(hub)
        app.state.hub, app.state.desk, app.state.fresh_files = hub, desk, fresh_files
        app.state.uploads = Uploads(settings.root / SERVE / "uploads", settings.caps)
        hub.start()
        if warm:
            threading.Thread(target=_warm_up, args=(hub, desk), name="embedpipe-warm-up", daemon=True).start()
        try:
            yield {"events": hub.events}  # the server ends what waits for them
        finally:
            desk.close()
            hub.close()

    app = FastAPI(
        title="embedpipe",
        version="1",
        description=_ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        default_response_class=problems.Answer,
        openapi_tags=[
            {"name": name} for name in ("documents", "labels", "answers", "views", "jobs", "intake", "server")
        ],
    )
    for routes in (system, documents, labelling, answering, working):
        app.include_router(routes.router)
    handlers: dict[Any, Any] = {
        ProblemError: problems.answer_problem,
        EmbedpipeError: problems.answer_error,
        RequestValidationError: problems.answer_invalid,
        HTTPException: problems.answer_http,
        ClientDisconnect: problems.answer_gone,
        Exception: problems.answer_unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    return Guard(app, settings, names)


def _warm_up(hub: Hub, desk: Desk) -> None:
    """Loads what the first requests would wait for; what fails is told to whoever asks for it."""
    with contextlib.suppress(EmbedpipeError):
        hub.stock()
        hub.survey()
    with contextlib.suppress(EmbedpipeError):
        desk.warm_up()
