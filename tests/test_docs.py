"""The documents say what the program does."""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import typer.main

from embedpipe import __all__ as public_names
from embedpipe.commands import app
from embedpipe.core.records import FAILURES, STORED
from embedpipe.pages.documents import READERS

ROOT = Path(__file__).resolve().parents[1]
READMES = ("README.md", "README.zh-CN.md")
GUIDES = ("docs/sort.md", "docs/guide.zh-CN.md")
REFERENCE = "docs/commands.md"
HISTORY = "CHANGELOG.md"
DOCS = sorted(str(file.relative_to(ROOT)) for file in (*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")))
PAGES = [name for name in DOCS if name not in (REFERENCE, HISTORY)]
SHORT = 110


def text(name: str) -> str:
    """Content of a file of the checkout."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(name: str, language: str) -> list[str]:
    """The fenced code of one language in a document."""
    return re.findall(rf"```{language}\n(.*?)```", text(name), re.DOTALL)


def lines_to_paste(name: str) -> list[str]:
    """The shell commands of a document, comments aside."""
    lines = [line for block in blocks(name, "bash") for line in block.splitlines()]
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def commands() -> dict[str, Any]:
    """The commands of the program by name."""
    found: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert found
    return found


def anchors(name: str) -> set[str]:
    """What links into a document may lead to: its headings, as GitHub makes them anchors."""
    outside_code = re.sub(r"```.*?```", "", text(name), flags=re.DOTALL)
    headings = re.findall(r"^#+ (.*)$", outside_code, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_reference_is_what_the_commands_declare() -> None:
    """docs/commands.md is written by docs/commands.py, and says what it says now."""
    written = runpy.run_path(str(ROOT / "docs" / "commands.py"))["reference"]()
    assert text(REFERENCE) == written, "run `python docs/commands.py`"


@pytest.mark.parametrize("name", sorted(commands()))
def test_the_reference_has_every_option(name: str) -> None:
    """Each option that the program takes stands in its section of the reference, and no other."""
    [section] = re.findall(rf"^### {name}\n(.*?)(?=^##|\Z)", text(REFERENCE), re.DOTALL | re.MULTILINE)
    [common] = re.findall(r"^### Options of every command\n(.*?)(?=^##)", text(REFERENCE), re.DOTALL | re.MULTILINE)
    rows = re.findall(r"^\| `([^`]*)`", section + common, re.MULTILINE) + re.findall(
        r"^- and .*:", section, re.MULTILINE
    )
    named = {option for row in rows for option in re.findall(r"(?<![\w-])--?[a-z][a-z-]*", row)}
    options = {o for p in commands()[name].params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")}
    assert named == options


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_has_a_page_of_its_task(name: str) -> None:
    """Each command is named in a page that people wrote, and in the Chinese guide."""
    assert any(f"`{name}" in text(page) or f"cli.py {name}" in text(page) for page in PAGES if "zh-CN" not in page)
    assert f"`{name}" in text("docs/guide.zh-CN.md")


@pytest.mark.parametrize("page", DOCS)
def test_every_option_that_is_documented_exists(page: str) -> None:
    """No document names an option that no command has."""
    known = {o for c in commands().values() for p in c.params for o in (*p.opts, *p.secondary_opts)}
    known |= {"--help", "--version", "--install-completion", "--show-completion"}
    for_others = {"--no-index", "--index-url", "--find-links", "--logdir", "--check"}  # of pip, TensorBoard and ruff
    for_others |= {"--build-arg"}  # of Docker
    for_others |= {"--array", "--cpus-per-task", "--mem", "--time", "--requeue", "--dependency"}  # of SLURM
    measuring = [text(name) for name in re.findall(r"(?<=python )benchmarks/\w+\.py", text(page))]
    declared = [re.findall(r"(\w+): (?:Annotated|int|str)\b", program) for program in measuring]
    own = {f"--{name.replace('_', '-')}" for names in declared for name in names}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text(page)))
    assert named - known - for_others - own == set()


@pytest.mark.parametrize("page", GUIDES)
def test_every_outcome_and_format_is_documented(page: str) -> None:
    """Each outcome of a page and each kind of file is named."""
    missing = [outcome for outcome in STORED + FAILURES if f"`{outcome}`" not in text(page)]
    assert missing == []
    assert [reader.name for reader in READERS.values() if reader.name.lower() not in text(page).lower()] == []


def test_ci_runs_the_commands_of_the_readme() -> None:
    """The set-up and test commands that people paste are those that are tested."""
    setup, test = (block.strip() for block in blocks("README.md", "bash")[:2])
    script = text(".ci/run")
    assert setup in script
    install, run = test.split(" && ")
    assert install in script
    assert run in script


@pytest.mark.parametrize("readme", READMES)
def test_readmes_are_short(readme: str) -> None:
    """A screenful and a half; the rest is in docs/."""
    assert len(text(readme).splitlines()) <= SHORT


def test_both_readmes_show_the_same_commands() -> None:
    """The two languages have the same lines to paste."""
    assert lines_to_paste("README.zh-CN.md") == lines_to_paste("README.md")


def test_the_guide_shows_no_other_commands() -> None:
    """What the Chinese guide has to paste stands in an English page as well."""
    english = {line for page in PAGES if "zh-CN" not in page for line in lines_to_paste(page)}
    assert set(lines_to_paste("docs/guide.zh-CN.md")) <= english


@pytest.mark.parametrize("page", PAGES)
def test_lines_to_paste_are_commands(page: str) -> None:
    """Every command line of a document starts a command that there is."""
    called = [line.split()[2] for line in lines_to_paste(page) if line.startswith("python cli.py ")]
    assert [name for name in called if name not in commands()] == []


@pytest.mark.parametrize("page", ["docs/python.md", "docs/guide.zh-CN.md"])
def test_the_python_example_uses_public_names(page: str) -> None:
    """The example compiles, and every name it takes from the package is public."""
    [example] = blocks(page, "python")
    compile(example, page, "exec")
    used = set(re.findall(r"\bep\.(\w+)", example))
    assert used
    assert used <= set(public_names)


@pytest.mark.parametrize("page", DOCS)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link is a file of the checkout, and what follows # is a heading of it."""
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text(page)) if "://" not in link]
    dead = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(str(target))):
            dead.append(link)
    assert dead == []


def test_readmes_lead_to_every_page() -> None:
    """No page of docs/ is lost: each is linked from both READMEs or from a page that they link."""
    for readme in READMES:
        near = set(re.findall(r"\]\((docs/[^)#]+\.md)", text(readme)))
        far = {f"docs/{link}" for page in near for link in re.findall(r"\]\(([\w-]+\.md)", text(page))}
        wanted = {page for page in DOCS if page.startswith("docs/") and (readme != "README.md" or "zh-CN" not in page)}
        assert wanted - near - far == set()


def test_pictures_are_small() -> None:
    """Pictures of the documentation do not make the checkout large."""
    pictures = list((ROOT / "docs" / "images").iterdir())
    assert pictures
    assert [picture.name for picture in pictures if picture.stat().st_size > 150_000] == []


ROOMS = "|".join(sorted(folder.name for folder in (ROOT / "embedpipe").iterdir() if (folder / "__init__.py").exists()))
BUILDING = ["docs/design.md", "CONTRIBUTING.md"]


def is_there(dotted: str) -> bool:
    """Whether `room.module`, or a name in that module, exists."""
    place, parts = ROOT / "embedpipe", dotted.split(".")
    while parts and (place / parts[0]).is_dir():
        place /= parts.pop(0)
    if not parts:
        return True
    file = place / f"{parts[0]}.py"
    return file.exists() and all(defines(file, name) for name in parts[1:2])


def defines(file: Path, name: str) -> bool:
    """Whether a module has a function, class or constant of that name."""
    return bool(re.search(rf"^(?:def |class )?{name}\b", file.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("page", BUILDING)
def test_modules_that_are_named_exist(page: str) -> None:
    """Each `room/module.py` and `room.module` of the pages for those who change the program is there."""
    files = re.findall(rf"(?<![\w./-])((?:{ROOMS})/[\w/]+\.py)\b", text(page))
    assert files
    assert [file for file in files if not (ROOT / "embedpipe" / file).exists()] == []
    dotted = re.findall(rf"(?<![\w./-])((?:{ROOMS})(?:\.(?!md\b)\w+)+)", text(page))
    assert [name for name in dotted if not is_there(name)] == []


@pytest.mark.parametrize("page", PAGES)
def test_files_of_the_checkout_that_are_named_exist(page: str) -> None:
    """Programs, tests and pages that a page names are there."""
    named = re.findall(r"(?<![\w./-])((?:tests|benchmarks|docs)/[\w/.-]+\.(?:py|md|webp))\b", text(page))
    assert [file for file in named if not (ROOT / file).exists()] == []


def test_tables_are_where_the_design_says() -> None:
    """Each capitalised name in "Where things are added" is defined in the file that its row names."""
    [section] = re.findall(r"^## Where things are added\n(.*?)^## ", text("docs/design.md"), re.DOTALL | re.MULTILINE)
    named = set()
    for row in section.splitlines():
        for name in re.findall(r"`([A-Z][A-Za-z]+)`", row):
            [file, *_] = re.findall(rf"`((?:{ROOMS})/[\w/]+\.py)`", row)
            assert defines(ROOT / "embedpipe" / file, name), f"{name} is not in {file}"
            named.add(name)
    assert named >= {"BACKBONES", "PREFIXES", "LAYERS", "CLASSIFIERS", "READERS", "Limits"}


def test_tables_are_in_the_rooms_that_contributors_look_in() -> None:
    """Each table that CONTRIBUTING.md names is in its room."""
    tables = re.findall(rf"`([A-Z]+)` of the room `({ROOMS})`", text("CONTRIBUTING.md"))
    assert tables
    rooms = {room: list((ROOT / "embedpipe" / room).glob("*.py")) for _, room in tables}
    assert [name for name, room in tables if not any(defines(file, name) for file in rooms[room])] == []
