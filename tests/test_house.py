"""What lies where, what may import what, and what a command loads."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_imports_only_point_down() -> None:
    """The layers of the design hold for every module of the package."""
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        (["embedpipe", "embedpipe.commands"], "numpy"),
        (
            [
                "embedpipe.pages.rendering",
                "embedpipe.classifiers.training",
                "embedpipe.tasks.classify",
                "embedpipe.tasks.similar",
                "embedpipe.tasks.info",
                "embedpipe.tasks.evaluate",
            ],
            "torch",
        ),
        (["embedpipe.backbones.building"], "sklearn"),
        (["embedpipe.tasks.info"], "pandas sklearn scipy faiss pymupdf PIL pebble asyncio pyarrow.compute"),
        (
            [
                "embedpipe.embedding.reading",
                "embedpipe.classifiers.saved.answering",
                "embedpipe.backbones.loading",
                "embedpipe.tasks.classify",
            ],
            "pandas sklearn scipy pymupdf tifffile matplotlib jinja2 skops joblib",
        ),
        (["embedpipe.index.page_index"], "pandas sklearn scipy"),
        (["embedpipe.tasks.similar"], "sklearn scipy pymupdf matplotlib jinja2"),
        (["embedpipe.pages.rendering"], "pandas sklearn scipy pyarrow faiss matplotlib openvino"),
    ],
)
def test_modules_do_not_load_what_they_do_not_use(modules: list[str], unwanted: str) -> None:
    """`--help` loads no numpy; whatever works on stored features loads no torch, and what answers a question only that.

    These libraries take longer to load than `info`, or `classify` of one file, has to do.
    """
    code = (
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        f"    loaded = [name for name in {unwanted.split()} if name in sys.modules]\n"
        "    loaded and sys.exit(f'{module} loads {loaded}')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


ROOMS = sorted(file.parent.name for file in (ROOT / "embedpipe").glob("*/__init__.py"))
INNER = sorted("/".join(file.parent.parts[-2:]) for file in (ROOT / "embedpipe").glob("*/*/__init__.py"))
"""Rooms within a room: closed mechanisms."""

MOST_FILES, MOST_LINES = 18, 3600


def docstring(file: Path) -> str:
    """Docstring of a module."""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""


def imports(file: Path) -> set[str]:
    """Full names of the modules of the package that a file imports from, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("embedpipe"):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inner if (ROOT / f"{name.replace('.', '/')}.py").exists()} or {node.module}
    return found


def test_every_module_lies_in_a_room() -> None:
    """The package's root holds public names only, and there are few enough rooms to know them all."""
    assert [file.name for file in (ROOT / "embedpipe").glob("*.py")] == ["__init__.py"]
    assert len(ROOMS) <= 14


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for_and_what_others_use_of_it(room: str) -> None:
    """Its docstring has three to ten lines, and the modules it names are those that other rooms import."""
    text = docstring(ROOT / "embedpipe" / room / "__init__.py")
    assert 3 <= len([line for line in text.splitlines() if line.strip()]) <= 10
    used = set()
    for file in (ROOT / "embedpipe").rglob("*.py"):
        if file.parent != ROOT / "embedpipe" and not file.is_relative_to(ROOT / "embedpipe" / room):
            used |= {name for name in imports(file) if name.startswith(f"embedpipe.{room}.")}
    assert all(docstring(file) for file in (ROOT / "embedpipe" / room).glob("*/__init__.py"))
    named = re.findall(r"`([\w.]+)`", text[text.index("Other rooms use") :])
    assert {f"embedpipe.{room}.{name}" for name in named} == used


@pytest.mark.parametrize("room", [room for room in (*ROOMS, *INNER) if room != "tasks"])
def test_a_room_stays_small_enough_to_read(room: str) -> None:
    """About fifteen files and 3,500 lines; what grows beyond becomes two rooms or goes into the right one."""
    files = list((ROOT / "embedpipe" / room).glob("*.py"))
    assert len([file for file in files if file.name != "__init__.py"]) <= MOST_FILES
    assert sum(len(file.read_text(encoding="utf-8").splitlines()) for file in files) <= MOST_LINES


def test_tests_mirror_the_rooms() -> None:
    """The tests of a module are where its room's tests are."""
    folders = {folder.name for folder in (ROOT / "tests").iterdir() if any(folder.glob("test_*.py"))}
    assert folders <= set(ROOMS)
    assert {file.name for file in (ROOT / "tests").glob("test_*.py")} == {"test_docs.py", "test_house.py"}
