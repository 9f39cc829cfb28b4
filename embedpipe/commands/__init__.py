"""The command line: one function per command, which validates, calls the library, and prints.

Importing a room registers its commands; `--help` lists them in the order of `panels`.
"""

# ruff: noqa: F401, I001 - importing registers
from embedpipe.commands import (
    embedding,
    labelling,
    fitting,
    transferring,
    teaching,
    classifying,
    looking,
    grouping,
    mapping,
    indexing,
    explaining,
    comparing,
    upkeep,
    machine,
)
from embedpipe.commands.base import app, main
from embedpipe.commands.panels import place_of

app.registered_commands.sort(key=lambda command: place_of(command.name))

__all__ = ["app", "main"]
