"""The documents say what the program does."""

import re
from pathlib import Path

import pytest
import typer.main

from embedpipe import __all__ as public_names
from embedpipe.commands import app
from embedpipe.documents import READERS
from embedpipe.records import FAILURES, STORED

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh-CN.md")


def text(name: str) -> str:
    """Content of a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The fenced code of one language in a document."""
    return re.findall(rf"```{language}\n(.*?)```", text(name), re.DOTALL)


@pytest.mark.parametrize("readme", READMES)
def test_every_command_is_documented(readme: str) -> None:
    """Each command of the program stands in the table of the README."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    missing = [name for name in commands if f"`{name}" not in text(readme)]
    assert commands
    assert missing == []


@pytest.mark.parametrize("readme", READMES)
def test_every_option_that_is_documented_exists(readme: str) -> None:
    """No README names an option that no command has."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    known = {option for command in commands.values() for p in command.params for option in p.opts} | {"--help"}
    for_others = {"--no-index", "--find-links", "--logdir"}  # of pip and TensorBoard
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(readme)))
    assert named - known - for_others == set()


@pytest.mark.parametrize("readme", READMES)
def test_every_outcome_and_format_is_documented(readme: str) -> None:
    """Each outcome of a page and each kind of file is named."""
    missing = [outcome for outcome in STORED + FAILURES if f"`{outcome}`" not in text(readme)]
    assert missing == []
    assert [reader.name for reader in READERS.values() if reader.name.lower() not in text(readme).lower()] == []


def test_ci_runs_the_commands_of_the_readme() -> None:
    """The set-up and test commands that people paste are those that are tested."""
    setup, test = (block.strip() for block in blocks("README.md", "bash")[:2])
    script = text(".ci/run")
    assert setup in script
    install, run = test.split(" && ")
    assert install in script
    assert run in script


@pytest.mark.parametrize("readme", READMES)
def test_both_readmes_show_the_same_commands(readme: str) -> None:
    """The two languages have the same lines to paste, comments aside."""
    strip = [re.sub(r"\s*#.*", "", line) for block in blocks(readme, "bash") for line in block.splitlines()]
    other = [re.sub(r"\s*#.*", "", line) for block in blocks("README.md", "bash") for line in block.splitlines()]
    assert [re.sub(r"page=1.*", "", line) for line in strip] == [re.sub(r"page=1.*", "", line) for line in other]


@pytest.mark.parametrize("readme", READMES)
def test_the_python_example_uses_public_names(readme: str) -> None:
    """The example compiles, and every name it takes from the package is public."""
    [example] = blocks(readme, "python")
    compile(example, readme, "exec")
    used = set(re.findall(r"\bep\.(\w+)", example))
    assert used
    assert used <= set(public_names)


@pytest.mark.parametrize("readme", READMES)
def test_links_lead_somewhere(readme: str) -> None:
    """Every relative link of the READMEs is a file of the checkout."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text(readme)) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
