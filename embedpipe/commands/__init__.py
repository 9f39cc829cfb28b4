"""The command line: one function per command, which validates, calls the library, and prints.

Importing a room registers its commands; `--help` lists them in this order.
"""

# ruff: noqa: F401, I001 - importing registers, in this order
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

__all__ = ["app", "main"]
