"""`--help` and shell completion: in order, complete and quick."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from rich.markup import render
from typer.testing import CliRunner

from embedpipe.commands import app
from embedpipe.commands.terminal.panels import PANELS, panel_of

SCRIPT = Path(sys.executable).with_name("embedpipe")


def commands() -> list[str]:
    """The names of the commands in the order of `--help`."""
    return list(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


def completions(line: str, shell: str = "bash") -> list[str]:
    """What the Tab key gives at the end of a line: the words of bash, the lines of other shells."""
    words = line.split(" ")
    variables = {
        "_EMBEDPIPE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
        "_TYPER_COMPLETE_ARGS": line,
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    done = CliRunner().invoke(app, [], env=variables, prog_name="embedpipe")
    assert done.exit_code == 0, done.output
    return [line for line in done.output.splitlines() if line]


def test_every_command_is_in_a_group() -> None:
    """Help lists the commands by job: each stands in one group, in the order of the table."""
    assert commands() == [name for names in PANELS.values() for name in names]
    assert all(panel_of(name) for name in commands())


def test_help_shows_every_word_of_its_texts() -> None:
    """No text has brackets that help takes for its own markup and leaves out."""
    for name, entry in typer.main.get_command(app).commands.items():  # type: ignore[attr-defined]
        for text in (entry.help, *(getattr(given, "help", None) for given in entry.params)):
            assert render(text or "").plain == (text or ""), name


def test_help_shows_the_groups_in_their_order() -> None:
    """The groups come most used first."""
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"}).output
    places = [shown.index(panel) for panel in PANELS]
    assert places == sorted(places)
    assert "─ Commands ─" not in shown


def test_commands_are_completed() -> None:
    """The beginning of a command gives its names, in every shell that is supported."""
    assert completions("embedpipe fit") == ["fit-svm", "fit-head", "fit-knn"]
    assert set(completions("embedpipe ")) == set(commands())
    for shell in ("zsh", "fish", "powershell"):
        found = completions("embedpipe fit", shell)
        assert all(any(name in line for line in found) for name in ("fit-svm", "fit-head", "fit-knn")), shell


def test_options_are_completed() -> None:
    """Options of a command are completed, also those that commands share."""
    assert completions("embedpipe classify inbox --err") == ["--error-rate"]
    assert completions("embedpipe dedupe --art") == ["--artifacts"]


@pytest.mark.parametrize("line", ["embedpipe classify ", "embedpipe classify --csv "])
def test_files_are_left_to_the_shell(line: str) -> None:
    """Where a file is meant, bash is told nothing, and completes file names itself."""
    assert completions(line) == []


def test_completion_is_installed(tmp_path: Path) -> None:
    """`--install-completion` writes a script for bash, which completes the installed program."""
    variables = os.environ | {"HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run(
        [SCRIPT, "--install-completion", "bash"], env=variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    [script] = list(tmp_path.rglob("*.sh"))
    assert "_EMBEDPIPE_COMPLETE=complete_bash" in script.read_text()
    assert str(script) in (tmp_path / ".bashrc").read_text()
    lines = f"source {script}; COMP_WORDS=(embedpipe eval) COMP_CWORD=1; _embedpipe_completion {SCRIPT}; "
    asked = ["bash", "--norc", "-c", lines + 'echo "${COMPREPLY[@]}"']
    assert subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split() == ["evaluate"]


def test_help_and_completion_load_nothing_heavy() -> None:
    """Both answer while one types: neither numpy nor anything that takes longer is loaded."""
    heavy = ("numpy", "torch", "sklearn", "pyarrow", "pymupdf", "PIL", "openvino")
    code = (
        "import sys\nfrom embedpipe.commands import app\n"
        "try:\n    app(prog_name='embedpipe')\nexcept SystemExit:\n    pass\n"
        f"print(*(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)"
    )
    variables = {"_EMBEDPIPE_COMPLETE": "complete_bash", "COMP_WORDS": "embedpipe fit", "COMP_CWORD": "1"}
    for arguments, more in ((["--help"], {}), ([], variables)):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], env=os.environ | more, capture_output=True, text=True, check=True
        )
        assert done.stdout
        assert done.stderr.split() == []
