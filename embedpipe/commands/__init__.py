"""The command line: one file for each kind of command, which validates, calls a task, and prints.

Input: the options that people type. Output: text or one JSON object, and an exit code. An option's name, its help and
how an answer is printed are changed here alone. What a command does is changed in `tasks`, which knows no option.
Importing a module registers its commands. Heavy modules are imported inside the functions, so that `--help` is quick.

Other rooms use nothing of it.
"""

# ruff: noqa: E402, F401, I001 - importing registers
import gc

gc.set_threshold(100_000, 20, 20)  # imports make many objects that stay, and to look through them takes long

from embedpipe.commands import (
    embedding,
    labelling,
    fitting,
    teaching,
    reviewing,
    classifying,
    looking,
    grouping,
    comparing,
    reporting,
)
from embedpipe.commands.keeping import machine, merging, transferring, upkeep
from embedpipe.commands.serving import serve
from embedpipe.commands.unattended import running, watching
from embedpipe.commands.base import app, main
from embedpipe.commands.terminal.panels import place_of

app.registered_commands.sort(key=lambda command: place_of(command.name))

__all__ = ["app", "main"]
