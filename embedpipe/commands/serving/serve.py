"""`serve`: the page that people work at, and the same as a REST service for programs."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from embedpipe.commands.base import DONE, begin, command
from embedpipe.commands.terminal.console import finish_output
from embedpipe.commands.terminal.options import Common, Network, Reading, Recognition
from embedpipe.commands.terminal.targets import folder_option, named
from embedpipe.core.display import path_to_text
from embedpipe.core.errors import EmbedpipeError, UsageError

_MEGABYTE = 1024**2


@command("serve")
def serve(
    common: Common,
    network: Network,
    reading: Reading,
    recognition: Recognition,
    host: Annotated[
        str, typer.Option(help="Address to listen at; any but this machine's own needs a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen at; 0 for any that is free.", min=0, max=65_535)] = 8765,
    open_: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    classifier: Annotated[
        str | None, typer.Option(help="Name of the classifier that answers; the one fitted last if not given.")
    ] = None,
    space: Annotated[str | None, typer.Option(help="The features of this space, see `info`.")] = None,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Change nothing: no labels, no jobs, no uploads.")
    ] = False,
    inbox: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR",
            parser=named,
            help="Let documents below this folder be embedded by request.",
            show_default=False,
        ),
    ] = None,
    outbox: Annotated[Path | None, folder_option("Let parts of piles be written to this folder.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="Token that every request has to bring, in a file.", dir_okay=False)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="A name by which the server is asked, such as that of a proxy.", show_default=False
        ),
    ] = None,
    max_upload: Annotated[int, typer.Option(help="Megabytes of the largest uploaded file.", min=1)] = 256,
    max_uploads: Annotated[int, typer.Option(help="Megabytes of all uploaded files that are kept.", min=1)] = 8192,
    max_waiting: Annotated[int, typer.Option(help="Most requests that wait for the network.", min=0, max=10_000)] = 64,
    fresh_files: Annotated[
        bool, typer.Option("--fresh-files", help="Read the page's own files at each request, for who changes these.")
    ] = False,
) -> int:
    """Show the artifacts as a page to work at, and answer programs (REST), until Ctrl-C."""
    try:
        import fastapi  # noqa: F401 - an extra
        import uvicorn  # noqa: F401 - likewise
    except ImportError as error:
        raise EmbedpipeError(f"serve needs the extra web ({error.name}): pip install 'embedpipe[web]'") from error
    from embedpipe.web import serving
    from embedpipe.web.settings import Caps, NetworkWish, ServeSettings

    workspace, output = begin(common)
    for folder in inbox or []:
        if not folder.is_dir():
            raise UsageError(f"--inbox {folder}: there is no such folder")
    if not read_only:
        workspace.claim()
    elif not workspace.root.is_dir():
        raise EmbedpipeError(f"there is no folder {workspace.root}: --read-only makes none")
    wish = NetworkWish(network.backbone, network.weights, network.device, network.precision, network.engine)
    caps = Caps(file_bytes=max_upload * _MEGABYTE, total_bytes=max_uploads * _MEGABYTE, waiting=max_waiting)
    settings = ServeSettings(
        root=workspace.root,
        read_only=read_only,
        classifier=classifier,
        space=space,
        inboxes=tuple(Path(os.path.abspath(folder)) for folder in inbox or []),
        outbox=None if outbox is None else Path(os.path.abspath(outbox)),
        hosts=tuple(allow_host or ()),
        token=serving.token_for(host, token_file),
        network=wish,
        reading=recognition.on(reading.settings()),
        caps=caps,
    )

    def say(address: str) -> None:
        if token_file is not None:  # who has the file needs no copy of it in a terminal or a log
            address = address.partition("#")[0]
        output.result({"address": address, "artifacts": path_to_text(str(workspace.root))})
        output.line(f"serving {path_to_text(str(workspace.root))} at {address}")
        output.notice(_advice(host, others=not serving.is_loopback(host), from_file=token_file is not None))
        finish_output()

    try:
        serving.serve(settings, host, port, say=say, open_browser=open_, fresh_files=fresh_files)
    except KeyboardInterrupt:  # asked for: the server has ended well
        output.notice("the server has ended")
    return DONE


def _advice(host: str, *, others: bool, from_file: bool) -> str:
    """What a person should know of how it was started."""
    if not others:
        return "only this machine can open it; Ctrl-C ends it"
    whose = "its token is that of --token-file" if from_file else "whoever has this address with its token can open it"
    return f"{host} can be reached from other machines ({socket.gethostname()}): {whose}; Ctrl-C ends it"
