"""No command opens a connection: each one runs with a hook, in all its processes, that records and refuses any.

The commands run one after another in one process, on a few pages and a tiny network.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer
from PIL import Image, ImageDraw

from embedpipe.commands import app

GROUP: Any = typer.main.get_command(app)
TINY = ("--backbone", "timm:test_resnet", "--weights", "none")
WEIGHTS = TINY[2:]

COMMANDS: dict[str, list[tuple[str, ...]]] = {
    "embed": [
        ("unlabelled", "--size", "64", "--layers", "penultimate", *TINY),
        ("docs", "--label-by", "folder", "--size", "64", "--layers", "penultimate", *TINY),
    ],
    "label": [("docs",)],
    "index": [()],
    "fit-svm": [()],
    "fit-knn": [()],
    "fit-head": [()],
    "review": [("review.html", "--classifier", "svm")],
    "report": [("boss.html", "boss.pdf", "boss.xlsx", "--classifier", "svm")],
    "evaluate": [("--classifier", "svm", "--report", "report.html")],
    "classify": [("new", "--classifier", "svm", "--csv", "out.csv", "--sort-into", "sorted", *WEIGHTS)],
    "watch": [("new", "--classifier", "svm", "--settle", "0.1", *WEIGHTS)],
    "run": [("job.toml",)],
    "serve": [("--port", "0", *WEIGHTS)],
    "similar": [("docs/a/0.png", "--contact-sheet", "similar.png")],
    "explain": [("docs/a/0.png", "--classifier", "svm", "--png", "explained.png", *WEIGHTS)],
    "dedupe": [("--html", "dedupe.html")],
    "families": [("--html", "families.html")],
    "map": [("--html", "map.html")],
    "suggest": [("--csv", "suggested.csv", "--classifier", "svm")],
    "check-labels": [("--classifier", "svm", "--png", "checked.png")],
    "export": [("out.joblib", "--classifier", "svm"), ("out.parquet", "--format", "parquet")],
    "add-type": [("c", "more", "--classifier", "knn", *WEIGHTS)],
    "classifiers": [("--list",)],
    "spaces": [()],
    "finetune": [("--epochs", "1", "--size", "64", "--unfreeze", "last-stage", *TINY)],
    "compare": [("docs", "--backbones", "timm:test_resnet", "--classifiers", "knn", "--png", "compared.png", *WEIGHTS)],
    "merge": [("artifacts", "--into", "merged")],
    "info": [(), ("--verify",)],
    "forget": [("docs/b/1.png",)],
    "backbones": [("efficientnet_lite0",), ("--export-weights", "packed", "efficientnet_lite0")],
    "doctor": [()],
    "demo": [("--artifacts", "demo", *TINY)],
    "bench": [("docs", "--max-pages-used", "2", "--repeats", "1", "--what", ",", *TINY)],
}
"""How each command is run; in this order."""

DOWNLOADS = ("resnet18", "timm:resnet10t.c3_in1k")

SITE = """
import os, sys

def refuse(event, arguments):
    address = arguments[1] if event in ("socket.connect", "socket.sendto") else arguments[0]
    if event.startswith("socket.") and not isinstance(address, (str, bytes)) or event in NAMES:
        with open(os.environ["ATTEMPTS"], "a", encoding="utf-8") as file:
            print(os.getpid(), event, address, file=file)
        raise OSError(101, "Network is unreachable")

NAMES = ("socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr")
WATCHED = (*NAMES, "socket.connect", "socket.sendto")
sys.addaudithook(lambda event, arguments: refuse(event, arguments) if event in WATCHED else None)
"""

SCRIPT = """
import json, sys
from embedpipe.commands.base import run
from embedpipe.tasks import demo

import uvicorn

from embedpipe.embedding.notices import Notices

demo._PER_TYPE = 3
wait = Notices.wait

def once(notices, seconds):  # `watch` ends when it has taken what is there
    if seconds > 60:
        notices._stop.set()
    return wait(notices, seconds)

Notices.wait = once

async def soon(server, counter):  # `serve` ends once it has begun, and has loaded what it answers with
    return counter > 20

uvicorn.Server.on_tick = soon

for name, arguments in json.load(sys.stdin):
    code = run([name, *arguments, "--quiet"])
    print("ran", name, code, flush=True)
"""


def _page(file: Path, shade: int, number: int) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with Image.new("L", (120, 160), 255) as image:
        draw = ImageDraw.Draw(image)
        draw.rectangle((10, 10 + 4 * number, 110, 40 + shade // 4), fill=shade)
        draw.text((20, 120), f"{shade} {number}", fill=0)
        image.save(file)


def _run(
    folder: Path, lines: list[tuple[str, tuple[str, ...]]]
) -> "tuple[subprocess.CompletedProcess[str], list[str]]":
    """Runs command lines in a process without network; returns what it printed, and its attempts to connect."""
    (folder / "site").mkdir(exist_ok=True)
    (folder / "site/sitecustomize.py").write_text(SITE)
    places = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH"), *sys.path])]
    homes = {name: str(folder / name) for name in ("HOME", "TORCH_HOME", "HF_HOME", "EMBEDPIPE_CACHE")}
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_"))},
        **homes,
        "PYTHONPATH": os.pathsep.join(places),
        "ATTEMPTS": str(folder / "attempts"),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        input=json.dumps(lines),
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    file = folder / "attempts"
    return done, file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def test_every_command_is_run_without_network() -> None:
    """A new command has to be added above."""
    assert set(COMMANDS) == set(GROUP.commands)


def test_no_command_opens_a_connection(tmp_path: Path) -> None:
    """All commands do their work, and none tries to reach anything."""
    for number in range(6):
        _page(tmp_path / f"docs/a/{number}.png", 40, number)
        _page(tmp_path / f"docs/b/{number}.png", 160, number)
        _page(tmp_path / f"more/{number}.png", 90, 2 * number)
    _page(tmp_path / "new/0.png", 45, 3)
    _page(tmp_path / "unlabelled/0.png", 150, 2)
    (tmp_path / "job.toml").write_text('[map]\nhtml = "job.html"\nclassifier = "svm"\nmethod = "pca"\n')
    lines = [(name, arguments) for name, runs in COMMANDS.items() for arguments in runs]
    done, attempts = _run(tmp_path, lines)
    codes = [tuple(line.split()[1:3]) for line in done.stdout.splitlines() if line.startswith("ran ")]
    assert codes == [(name, "0") for name, _ in lines], done.stderr
    assert attempts == []
    assert done.stderr == ""


def test_a_download_says_what_could_not_be_reached(tmp_path: Path) -> None:
    """Without network each download is one line with the address, and the hook has seen the attempt."""
    done, attempts = _run(tmp_path, [("backbones", ("--download", name)) for name in DOWNLOADS])
    lines = done.stderr.strip().splitlines()
    assert len(lines) == len(DOWNLOADS), done.stderr
    for line, name in zip(lines, DOWNLOADS, strict=True):
        assert line.startswith(f"error: {name}: ")
        assert "https://" in line
    assert attempts
