"""Processes that were forked from one that had run a network."""

import os
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest

from embedpipe.backbones import engines
from embedpipe.backbones.engines import Backbone, EngineChoice
from embedpipe.backbones.loading import load_backbone
from embedpipe.core.errors import EmbedpipeError

PAGE = np.zeros((1, 64, 64, 3), np.uint8)
CHOICE = EngineChoice("cpu", "fp32", "torch")


def number(monkeypatch: pytest.MonkeyPatch, process: int) -> None:
    """Gives this process another number, for the engines alone: other threads look after processes of theirs."""
    monkeypatch.setattr(engines, "os", SimpleNamespace(**vars(os) | {"getpid": lambda: process}))


@pytest.mark.parametrize("work", [lambda tiny: tiny(PAGE), lambda _: load_backbone("timm:x", choice=CHOICE)])
def test_a_forked_process_is_told_what_to_do(
    work: Callable[[Backbone], object], tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the network would wait for ever for threads that are not there, it is said at once; not in this process."""
    tiny(PAGE)
    number(monkeypatch, -1)  # as in a process that was forked now
    with pytest.raises(EmbedpipeError, match="load it only after the fork"):
        work(tiny)
    monkeypatch.undo()
    tiny(PAGE)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_was_forked_before_may_run_networks(tiny: Backbone, monkeypatch: pytest.MonkeyPatch) -> None:
    """A number that nobody has noted yet is no reason to refuse."""
    monkeypatch.setattr(engines, "_process", None)
    number(monkeypatch, 7)
    tiny(PAGE)
    assert engines._process == 7
