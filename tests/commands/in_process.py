"""Command lines that run in the process of the tests: starting the program takes longer than most commands do."""

import io
import logging
import sys
from collections.abc import Sequence
from subprocess import CompletedProcess

import pytest

from embedpipe.commands import base
from embedpipe.core.languages import choice


def run(arguments: Sequence[str]) -> "CompletedProcess[str]":
    """Runs a command line as the installed program does once it has begun; only --debug would let an exception show."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", "backslashreplace", write_through=True) for _ in range(2))
    log = logging.getLogger("embedpipe")
    handlers, level, language = log.handlers[:], log.level, choice.current()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        patch.setattr(sys, "stderr", err)
        code = base.run(arguments)
    log.handlers[:] = handlers
    log.setLevel(level)
    choice.use(language)
    written = [stream.buffer.getvalue().decode() for stream in (out, err)]  # type: ignore[attr-defined]
    return CompletedProcess(list(arguments), code, *written)
