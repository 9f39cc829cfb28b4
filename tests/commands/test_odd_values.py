"""The command line under odd values: every option of every command, one at a time, and streams that cannot be written.

Whatever is given, the exit code is one of the promised ones, and an error is one line. Heavy work is left out: what is
tested is what the commands make of their options, over small artifacts.
"""

import dataclasses
import errno
import functools
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymupdf
import pytest
import typer
from commands.in_process import run

from embedpipe.backbones import catalogue
from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers import training
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.commands import app, base
from embedpipe.commands.terminal import console
from embedpipe.commands.terminal.options import Common, Network, Reading
from embedpipe.core.errors import ArtifactError, EmbedpipeError, UsageError
from embedpipe.core.memory import is_lack_of_memory
from embedpipe.embedding import streaming
from embedpipe.finetuning import finetune
from embedpipe.pages.rendering import Renderer
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import (
    bench,
    check_labels,
    compare,
    compare_transfer,
    demo,
    doctor,
    embed,
    evaluate,
    explain_stage,
    watch,
)
from embedpipe.web import serving

GROUP: Any = typer.main.get_command(app)
SCRIPT = Path(sys.executable).with_name("embedpipe")

WORDS = (
    "",
    " ",
    "-1",
    "0",
    "nan",
    "9" * 20,
    "２",
    "²",
    "\udcff",
    "x" * 10_000,
    "a\nb",
    "\x1b[1m\u2028",
    "a\0b",
    "{}%s",
)
PATHS = ("folder", "missing/x/y", "/dev/null", ".", "bytes")
NUMBERS = ("", "-1", "1e999", "inf", "nan", "9" * 20, "9" * 5_000, "0x10", "²", "1.5.", "a\nb")
SPECIAL = {
    "settings": ("C", "=", "C=nan", "C=-1", "n_neighbors=0", "tol=x", "C=" + "9" * 5_000),
    "set_": ("rate", "=1", "rate=nan", "seed=x"),
    "query": ("docs/a/0.pdf#page=0", "docs/a/0.pdf#page=²", "docs/a/0.pdf#page=" + "9" * 30),
    "box": ("0,0,1,nan", "0,0,inf,1", "0,0,1", ",,,"),
    "pages": ("1-", "last-1", "3-1", ",", "1-" + "9" * 5_000),
    "backbone": ("timm:", "finetuned:", "finetuned:../x", "timm:\0"),
    "device": ("cuda:", "cuda:²", "cuda:" + "9" * 30),
    "backbones": (",", "timm:,x"),
    "factory": ("HNSW²", "IVF0", "PQ", "IVF" + "9" * 30),
    "source": ("²", ",", "1,"),
    "rollback": ("svm", "../svm"),
}
USAGE_ONLY = {"workers", "batch_size", "device", "precision", "engine", "method", "file_format"}
"""Options whose values depend on nothing: what is odd is always a wrong command line."""

SHARED = {option.name for group in (Common, Network, Reading) for option in dataclasses.fields(group)}

BASE: dict[str, list[str]] = {
    "embed": ["docs"],
    "label": ["docs"],
    "classify": ["docs/a/0.pdf"],
    "similar": ["docs/a/0.pdf"],
    "explain": ["docs/a/0.pdf"],
    "add-type": ["c", "docs"],
    "forget": ["missing"],
    "export": ["out.bin"],
    "compare": ["docs"],
    "bench": ["docs"],
}


def _pdf(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with pymupdf.open() as document:
        document.new_page(width=100, height=140).insert_text((10, 60), text, fontsize=30)
        document.save(file)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, tiny: Backbone) -> Iterator[Path]:
    """A folder with documents, artifacts with a classifier, and odd things to name; commands run in it."""
    folder = tmp_path_factory.mktemp("odd")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for number in range(4):
            _pdf(folder / f"docs/a/{number}.pdf", f"a{number}" * 3)
            _pdf(folder / f"docs/b/{number}.pdf", str(number))
        _pdf(folder / "more/0.pdf", "more")
        workspace = Workspace(folder / "artifacts")
        embed.embed(workspace, ["docs"], tiny, label_by_folder=True)
        embed.embed(workspace, ["more"], tiny)
        fit(workspace, workspace.store(), TrainingRecipe("svm"))
        shutil.copytree(folder / "artifacts", folder / "kept")  # `forget .` among the odd values leaves none
        (folder / "folder").mkdir()
        (folder / "bytes").write_bytes(bytes(range(256)))
        yield folder


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch, tiny: Backbone) -> None:
    """No rendering, no training and no measuring: the commands come as far as that, and hear that it failed."""

    def stop(*_: Any, **__: Any) -> None:
        raise ArtifactError("the heavy work begins here")

    monkeypatch.setattr(embed, "embed", stop)
    monkeypatch.setattr(demo, "run", stop)
    monkeypatch.setattr(watch, "watch", stop)  # it would never end
    monkeypatch.setattr(serving, "serve", stop)  # likewise
    monkeypatch.setattr(bench, "run", stop)
    monkeypatch.setattr(compare, "compare", stop)
    monkeypatch.setattr(doctor, "examine", stop)
    monkeypatch.setattr(finetune._Run, "run", stop)
    monkeypatch.setattr(check_labels, "check", stop)
    monkeypatch.setattr(evaluate, "assess", stop)
    monkeypatch.setattr(compare_transfer, "compare_ways", stop)
    monkeypatch.setattr(training, "rehearse", stop)  # what `fit` does after it has looked at its arguments
    monkeypatch.setattr(Renderer, "__init__", stop)
    monkeypatch.setattr(streaming.PageStream, "__init__", stop)
    monkeypatch.setattr(explain_stage, "load_network", functools.cache(explain_stage.load_network))
    monkeypatch.setattr(catalogue, "NAMES", catalogue.NAMES[:2])  # the table is planned row by row, each like the other
    load = Network.load

    def sparing(self: Network, *arguments: Any, **options: Any) -> Backbone:
        odd = (self.backbone, self.weights, self.device, self.precision, self.engine) != (None, None, *("auto",) * 3)
        return load(self, *arguments, **options) if odd else tiny

    monkeypatch.setattr(Network, "load", sparing)


def trials(command: Any) -> Iterator[tuple[str, list[str]]]:
    """Every parameter of a command with each odd value: its name, and the command line."""
    given = BASE.get(command.name, [])
    for parameter in command.params:
        if parameter.name in ("help", "debug"):
            continue
        annotation = str(parameter.type_descriptor.annotation)
        argument = parameter.param_type_name == "argument"
        if getattr(parameter, "is_flag", False):
            yield parameter.name, [command.name, *given, parameter.opts[0]]
            continue
        numeric = "int" in annotation or "float" in annotation
        values = NUMBERS if numeric else (*WORDS, *PATHS) if argument or "Path" not in annotation else (*PATHS, "a\0b")
        values = (*values, *SPECIAL.get(parameter.name, ()))
        if parameter.name in SHARED and command.name != "embed":
            values = ("", "9" * 20)  # one code reads them for all commands: `embed` tries the others
        for value in values:
            if not argument:
                yield parameter.name, [command.name, *given, f"{parameter.opts[0]}={value}"]
            elif command.name == "add-type":
                yield (
                    parameter.name,
                    [command.name, "--", *([value, "docs"] if parameter.name == "name" else ["c", value])],
                )
            else:
                yield parameter.name, [command.name, "--", value]


@pytest.mark.parametrize("name", GROUP.commands)
def test_odd_values_end_in_one_line(name: str, place: Path, light: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a traceback, and one line that is no guess of an unexpected error; numbers out of place are exit code 2."""
    for option, arguments in trials(GROUP.commands[name]):
        done = run(arguments)
        code, said = done.returncode, done.stderr
        shown = f"{[a[:60] for a in arguments]}: {code} {said[:600]}"
        errors = [line for line in said.splitlines() if line.startswith("error: ")]
        assert code in (0, 1, 2, 3), shown
        assert len(errors) == (code in (1, 2)), shown
        assert "unexpected" not in said, shown
        assert "Traceback" not in said, shown
        assert "\x1b" not in said, shown
        if "\0" in arguments[-1] or (option in USAGE_ONLY and name != "compare"):
            assert code == 2, shown


@pytest.mark.parametrize(
    "arguments",
    [
        ["embed", "docs", "--page-timeout", "inf"],
        ["embed", "docs", "--page-timeout", "1e300"],
        ["embed", "docs", "--page-timeout", "nan"],
        ["embed", "docs", "--page-memory", "9" * 20],
        ["embed", "docs", "--workers", "²"],
        ["embed", "docs", "--pages", "0"],
        ["embed", "docs", "--backbone", "resnet5"],
        ["classify", "docs", "--classifier", "nobody"],
        ["fit-svm", "--set", "C"],
        ["embed"],
        ["nosuch"],
        ["embed", "docs", "--size", "x"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(
    arguments: list[str], place: Path, light: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with an option, typer's own checks and ours speak the same way: one line, exit code 2."""
    done = run(arguments)
    code, said = done.returncode, done.stderr
    assert (code, said.count("\n"), said.startswith("error: ")) == (2, 1, True), said


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (UsageError("wrong"), 2, "error: wrong"),
        (EmbedpipeError("broken\nfile"), 1, "error: broken file"),
        (MemoryError(), 1, "memory is too little"),
        (RuntimeError("can't start new thread"), 1, "memory is too little"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), 1, "memory is too little"),
        (ImportError("libtorch_cpu.so: failed to map segment from shared object"), 1, "memory is too little"),
        (PermissionError(errno.EACCES, "Permission denied", "x.csv"), 1, "error: x.csv: Permission denied"),
        (KeyError("x"), 1, "error: unexpected KeyError: 'x'; --debug shows the traceback: please report it"),
        (KeyboardInterrupt(), 130, ""),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 141, ""),
    ],
)
def test_every_exception_is_a_line_and_a_code(
    error: BaseException, code: int, words: str, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last resort: no exception that a command may raise reaches the interpreter."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("embedpipe.tasks.info.take", fail)
    with monkeypatch.context() as patch:
        patch.setattr(console, "abandon_output", lambda: None)
        patch.setattr(base, "abandon_output", lambda: None)
        done = run(["info"])
        found, said = done.returncode, done.stderr
    assert (found, said.count("\n")) == (code, bool(words))
    assert words in said
    if words:
        assert "Traceback" in run(["info", "--debug"]).stderr


def test_what_came_of_too_little_memory_is_known() -> None:
    """Also where the exception itself says something else, as that of a module whose library could not be loaded."""
    error = ModuleNotFoundError("No module named 'openvino'")
    error.__context__ = ImportError("libopenvino.so: failed to map segment from shared object")
    assert is_lack_of_memory(error)
    assert not is_lack_of_memory(ValueError("other"))


def test_threads_that_fail_say_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that nobody waits for prints no traceback either."""
    monkeypatch.setattr(threading, "excepthook", base._say_of_thread)
    thread = threading.Thread(target=lambda: int("x"))
    thread.start()
    thread.join()
    said = capsys.readouterr().err
    assert (said.count("\n"), said.startswith("error: unexpected ValueError")) == (1, True)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no full device")
@pytest.mark.parametrize(
    ("redirection", "code", "lines"), [(">/dev/full", 1, 1), (">&-", 1, 1), (">&- 2>&-", 1, 0), ("2>/dev/full", 0, 0)]
)
def test_streams_that_cannot_be_written(redirection: str, code: int, lines: int, place: Path) -> None:
    """A full disk or a closed stream is one line and an error; a stderr that nobody reads does not matter."""
    command = f"{SCRIPT} classifiers {redirection}"
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, cwd=place)
    assert (done.returncode, done.stderr.count("\n")) == (code, lines), done.stderr
    assert not lines or "stdout cannot be written" in done.stderr


def test_a_reader_that_goes_ends_it_quietly(place: Path) -> None:
    """As common tools do: nothing is said, and the code is that of a program which the signal ended."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [SCRIPT, "classifiers"], stdout=write, stderr=subprocess.PIPE, text=True, check=False, cwd=place
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_what_an_encoding_lacks_is_escaped(encoding: str, place: Path) -> None:
    """Types of another script do not end a command whose work is done."""
    workspace = Workspace(place / "kept")
    store = workspace.store()
    name = "发票"
    fit(workspace, store, TrainingRecipe("knn"), name)
    try:
        done = subprocess.run(
            [SCRIPT, "classifiers", "--artifacts", "kept"],
            capture_output=True,
            check=False,
            cwd=place,
            env={**os.environ, "PYTHONIOENCODING": encoding},
        )
    finally:
        shutil.rmtree(workspace.classifier_folder(name))
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\u53d1\u7968" in done.stdout
