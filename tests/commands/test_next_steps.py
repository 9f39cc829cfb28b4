"""What is said to do next, and to whom."""

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main

from embedpipe.backbones.engines import Backbone
from embedpipe.commands import app, base
from embedpipe.commands.terminal.console import Output
from embedpipe.commands.terminal.next_steps import STEPS, Known, next_step
from embedpipe.commands.terminal.options import Common
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import info, label
from embedpipe.tasks.embed import embed

STORED = {"documents": 25, "inputs": "in"}
LABELLED = STORED | {"labelled": 20, "types": 3}


@pytest.mark.parametrize(
    ("command", "known", "said"),
    [
        ("embed", {}, "`embed FOLDER`"),
        ("embed", STORED, "label some of the 25 documents"),
        ("embed", STORED | {"labelled": 2, "types": 1}, "a second type"),
        ("embed", LABELLED, "`fit-svm` learns the 3 types from 20 labelled documents; 5 have no label"),
        ("embed", LABELLED | {"classifiers": ("svm",)}, "5 of 25 documents have no label: `classify in`"),
        ("label", LABELLED | {"where": " --artifacts a"}, "`fit-svm --artifacts a` learns"),
        ("fit-knn", LABELLED | {"scans": 5, "knows_scans": False, "fit": "fit-knn"}, "`fit-knn --augment 4`"),
        ("fit-svm", LABELLED | {"scans": 5}, "`classify INBOX --sort-into sorted`"),
        ("fit-svm", LABELLED | {"knows_scans": False}, "`classify INBOX --sort-into sorted`"),
        (
            "classify",
            {"answered": 9, "doubtful": 4, "commands": frozenset({"review"}), "file": "a.csv"},
            "`review review.html --from a.csv`",
        ),
        ("classify", {"answered": 9, "doubtful": 4, "folder": "sorted"}, "4 of 9 answers are not sure: move"),
        ("classify", {"answered": 9, "doubtful": 4, "file": "a.csv"}, "`label a.csv`"),
        ("classify", {"answered": 9, "inputs": "in"}, "`classify in --sort-into sorted`"),
        ("classify", {"answered": 9, "folder": "sorted"}, ""),
        ("classify", {}, ""),
        ("classify", {"found": 5, "doubtful": 2, "inputs": "a.pdf"}, "2 of 5 parts are less than half sure"),
        ("classify", {"found": 5, "inputs": "a.pdf"}, "`classify a.pdf --split --write parts`"),
        ("classify", {"found": 5, "folder": "parts"}, ""),
        ("dedupe", {"found": 3}, "`dedupe --move-to DIR`"),
        ("dedupe", {"found": 3, "planned": 1}, ""),
        (
            "dedupe",
            {"found": 3, "planned": 1, "folder": "aside"},
            "`dedupe --move-to aside --undo --apply` puts them back",
        ),
        ("suggest", {"found": 3, "file": "s.csv"}, "`label s.csv`"),
        ("export", {}, ""),
        ("info", LABELLED | {"classifiers": ("svm",)}, "`classify INBOX --sort-into sorted`"),
        ("fit-svm", LABELLED, "`review review.html` shows those of the 5 stored documents"),
        ("review", {"found": 3, "file": "r.html"}, "`label review-labels.csv`, then `fit-svm`"),
        ("review", {"found": 3, "file": "r.xlsx"}, "fill in the column label of r.xlsx, then `label r.xlsx`"),
        ("review", {"file": "r.html"}, ""),
    ],
)
def test_the_line_follows_from_what_is_known(command: str, known: dict[str, Any], said: str) -> None:
    """Each command has the next step of its result, with counts and options."""
    line = next_step(command, Known(**known))
    assert said in line
    assert bool(said) == bool(line)


def test_every_command_that_is_named_exists() -> None:
    """No line names a command or an option that there is not."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    fits = {"fit-svm", "fit-knn", "fit-head"}
    assert set(STEPS) - {"fit"} <= commands.keys()
    for line in (line.says for lines in STEPS.values() for line in lines):
        for text in re.findall(r"`([^`]*)`", line):
            for name in fits if text.startswith("{fit}") else {text.replace("{where}", "").split()[0]}:
                options = {option for p in commands[name].params for option in p.opts}
                assert set(re.findall(r"--[a-z-]+", text)) <= options, line


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_only_a_person_who_watches_is_told(
    workspace: Workspace,
    make_pdf: Callable[..., Path],
    tiny: Backbone,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Counts come from the artifacts; pipes, --json and --quiet have no such line, and look nothing up."""
    for name in ("a/1.pdf", "a/2.pdf", "b/3.pdf", "4.pdf"):
        make_pdf(f"pile/{name}", [name])
    folder = make_pdf("pile/5.pdf", ["5"]).parent
    embed(workspace, [str(folder)], tiny, settings=Settings(workers=1))
    label.take(workspace, str(folder), "label")
    common = Common(artifacts=workspace.root)
    monkeypatch.setattr(base, "running", base.ContextVar("running", default="embed"))
    monkeypatch.delenv("EMBEDPIPE_ARTIFACTS", raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(info, "standing", lambda _: pytest.fail("looked up for nobody"))
        base.say_next(common, Output())
        patch.setattr("sys.stdout", _Terminal())
        base.say_next(common, Output(quiet=True))
        base.say_next(common, Output(as_json=True))
    assert capsys.readouterr().out == ""
    with monkeypatch.context() as patch:
        seen = _Terminal()
        patch.setattr("sys.stdout", seen)
        base.say_next(common, Output())
    assert seen.getvalue() == (
        f"next: `fit-svm --artifacts {workspace.root}` learns the 2 types from 3 labelled documents; 2 have no label\n"
    )


def test_scans_without_a_label_are_counted(
    workspace: Workspace, make_pdf: Callable[..., Path], make_image: Callable[..., Path], tiny: Backbone
) -> None:
    """Pictures are scans; those with a label do not count."""
    make_pdf("pile/a/1.pdf", ["a text that can be read"])
    make_image("pile/b/2.png")
    folder = make_image("pile/3.png", size=(300, 400)).parent
    embed(workspace, [str(folder)], tiny, settings=Settings(workers=1))
    label.take(workspace, str(folder), "label")
    found = info.standing(workspace)
    assert (found.documents, found.labelled, found.types, found.scans) == (3, 2, 2, 1)
