"""No command writes over what it reads, over a document of the store, or over what was not made here unless told to."""

import inspect
import json
import os
import re
import shutil
import types
import typing
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

import embedpipe
from embedpipe.backbones.engines import Backbone
from embedpipe.commands import app
from embedpipe.commands.terminal import targets
from embedpipe.commands.terminal.targets import OutputFile, OutputFolder
from embedpipe.core import outputs
from embedpipe.core.tables import read_csv, write_csv
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed

pytestmark = pytest.mark.usefixtures("spared_devices")

READ = {"labels", "test", "queries", "password_file", "answers", "file", "token_file"}
"""Parameters that name files to read; a new one that names a file is one of these, or declared as an output."""

COMMANDS = {str(command.name): command.callback for command in app.registered_commands}
EARLIER = {
    ("label", "--contact-sheet"),
    ("check-labels", "--contact-sheet"),
    ("similar", "--contact-sheet"),
    ("explain", "--picture"),
    ("evaluate", "--report"),
    ("compare", "--plot"),
    ("map", "--output"),
}


def declared(function: Callable[..., object] | None) -> dict[str, OutputFile | OutputFolder]:
    """The outputs of a command by name of the parameter."""
    assert function is not None
    found = {name: targets._declared(name, p) for name, p in inspect.signature(function).parameters.items()}
    return {name: pair[1] for name, pair in found.items() if pair}


OUTPUTS = [(command, name) for command, function in COMMANDS.items() for name in declared(function)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_path_is_an_output_or_is_read(command: str) -> None:
    """No parameter for a path goes past the guard, and every command that has outputs has --force."""
    function = COMMANDS[command]
    assert function is not None
    own = declared(function)
    for name, parameter in inspect.signature(function).parameters.items():
        kind = typing.get_args(parameter.annotation)[0]
        kinds = typing.get_args(kind) if isinstance(kind, types.UnionType) else (kind,)
        assert Path not in kinds or name in own or name in {*READ, "artifacts"}, name
    assert ("force" in inspect.signature(function).parameters) == bool(own)


def test_names_of_outputs_are_the_same_everywhere() -> None:
    """A file is named after its kind; the names of earlier versions still work."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    opts = {name: [p.opts for p in command.params] for name, command in commands.items()}
    for command, name in OUTPUTS:
        what = declared(COMMANDS[command])[name]
        if (command, name) in {("review", "out"), ("label", "template")}:
            continue  # the end of the name says what is written
        if isinstance(what, OutputFile) and isinstance(what.kind, outputs.Kind):
            wanted = {outputs.PNG: "--png", outputs.HTML: "--html"}.get(what.kind, "--csv")
            assert [wanted] in [names[:1] for names in opts[command]], (command, name)
    for command, earlier in EARLIER:
        assert any(earlier in names for names in opts[command]), (command, earlier)


def arguments(command: str, name: str, value: Path) -> list[str]:
    """The least that a command needs, with one output."""
    parameters = typer.main.get_command(app).commands[command].params  # type: ignore[attr-defined]
    given = []
    for parameter in parameters:
        if parameter.name == name:
            given += [str(value)] if parameter.param_type_name == "argument" else [parameter.opts[0], str(value)]
        elif parameter.required:
            given.append("x")
    return [command, *given]


@pytest.mark.parametrize(("command", "name"), OUTPUTS)
def test_every_output_is_guarded_before_the_work_begins(command: str, name: str, tmp_path: Path) -> None:
    """A file of somebody stays, whatever its name; a folder is no file, a file no folder, and nothing else happens."""
    mine, folder = tmp_path / "mine", tmp_path / "folder"
    mine.write_text("mine")
    folder.mkdir()
    wrong = {mine: "--force"} if isinstance(declared(COMMANDS[command])[name], OutputFile) else {mine: "name a folder"}
    if isinstance(declared(COMMANDS[command])[name], OutputFile):
        wrong[folder] = "is a folder"
    wrong[mine / "below"] = "is no folder"
    wrong[tmp_path / ("x" * 256)] = "File name too long"
    for path, message in wrong.items():
        done = CliRunner().invoke(app, [*arguments(command, name, path), "--artifacts", str(tmp_path / "artifacts")])
        assert message in str(done.exception), done.output
    done = CliRunner().invoke(app, [*arguments(command, name, Path()), "--artifacts", ""])
    assert done.exit_code == 2
    assert mine.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["folder", "mine"]


REPLACERS = {
    "backbones/kept_plans.py",
    "backbones/weight_files.py",
    "classifiers/bundles.py",
    "core/files.py",
    "core/outputs.py",
    "drawing/projector.py",
    "embedding/arrivals.py",
    "embedding/cue_table.py",
    "embedding/kind_table.py",
    "finetuning/finetune.py",
    "finetuning/learning_curves.py",
    "finetuning/training_loop.py",
    "index/segments.py",
    "index/storage.py",
    "store/feature_writer.py",
    "store/joining/linking.py",
    "store/joining/small_tables.py",
    "store/joining/stores.py",
    "store/label_lists/history.py",
    "store/page_table.py",
    "store/part_contents.py",
    "store/sources.py",
    "tasks/heap.py",
    "tasks/label_batches.py",
}
"""Modules that write artifacts, or files where there is none yet."""


def test_only_these_modules_replace_files_themselves() -> None:
    """What writes an output uses `outputs.written`; the others write artifacts, or only where there is no file."""
    source = Path(embedpipe.__file__).parent
    modules = {
        path.relative_to(source).as_posix()
        for path in source.rglob("*.py")
        if re.search(r"\breplacing\(", path.read_text(encoding="utf-8"))
    }
    assert modules == REPLACERS


@pytest.fixture(scope="module")
def filled(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Artifacts of a few documents without labels, and the documents beside them."""
    from PIL import Image, ImageDraw  # noqa: PLC0415

    folder = tmp_path_factory.mktemp("filled")
    (folder / "docs").mkdir()
    for number in range(4):
        page = Image.new("RGB", (100, 140), "white")
        ImageDraw.Draw(page).rectangle((10, 10, 30 + 15 * number, 60 + number), fill="black")
        page.save(folder / "docs" / f"{number}.png")
    embed(Workspace(folder / "artifacts"), [str(folder / "docs")], tiny, settings=Settings(workers=1))
    return folder


@pytest.fixture
def pile(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The artifacts again for each test; the documents are those of all tests."""
    shutil.copytree(filled / "artifacts", tmp_path / "artifacts")
    monkeypatch.chdir(tmp_path)
    return filled / "docs"


def run(*given: str | Path, code: int = 0) -> str:
    """What a command prints for programs or people; or its one error."""
    done = CliRunner().invoke(app, [str(text) for text in given])
    if code == 1:
        assert done.exception is not None, done.output
        return str(done.exception)
    assert done.exit_code == code, f"{done.output} {done.exception!r}"
    return done.output if code else done.stdout


def test_an_input_is_never_written_over(pile: Path, tmp_path: Path) -> None:
    """By any name: as it was given, by a hard or symbolic link, as a document of the store, and with --force."""
    page, before = pile / "0.png", (pile / "0.png").read_bytes()
    os.link(page, tmp_path / "hard.png")
    (tmp_path / "soft.png").symlink_to(page)
    shutil.copy(page, tmp_path / "copy.png")
    for force in ((), ("--force",)):
        for name in (page, pile / ".." / "docs" / "0.png", "hard.png", "soft.png"):
            assert "is what the command reads" in run("similar", f"{page}#page=1", "--png", name, *force, code=1)
        for name in (page, "hard.png", "soft.png", "copy.png"):
            assert "is a document of the store" in run("suggest", "--csv", name, *force, code=1)
    (tmp_path / "queries.txt").write_text(f"{page}\n")
    shutil.rmtree(tmp_path / "artifacts")  # now nothing knows the document but the list
    for name in ("queries.txt", page):
        assert "reads" in run("similar", "--queries", "queries.txt", "--html", name, "--force", code=1)
    assert page.read_bytes() == before


def test_a_document_in_a_folder_to_read_is_never_written_over(pile: Path, tmp_path: Path) -> None:
    """Although the store does not know it yet; a table that lies there may be written again."""
    new = tmp_path / "inbox" / "new.png"
    new.parent.mkdir()
    shutil.copy(pile / "0.png", new)
    with open(new, "ab") as file:
        file.write(b"other")
    assert "is a document that" in run("classify", "inbox", "--csv", new, "--force", code=1)
    (tmp_path / "inbox" / "notes.txt").write_text("mine")
    assert "run `fit-svm` first" in run("classify", "inbox", "--csv", "inbox/notes.txt", "--force", code=1)
    assert (tmp_path / "inbox" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "name", ["labels.csv", "sources.parquet", "features/x.csv", "embedpipe.json", "index/x", "hard"]
)
def test_the_artifacts_are_never_written_over(name: str, pile: Path, tmp_path: Path) -> None:
    """No output goes among what the artifacts keep, under whatever name; beside it one may."""
    os.link(tmp_path / "artifacts" / "sources.parquet", tmp_path / "hard")
    path = tmp_path / name if name == "hard" else Path("artifacts") / name
    assert "among what the artifacts keep" in run("suggest", "--csv", path, "--force", code=1)
    if name == "labels.csv":
        run("suggest", "--csv", "artifacts/suggested.csv")


def test_what_was_made_here_is_replaced_and_what_was_filled_in_is_not(pile: Path, tmp_path: Path) -> None:
    """The same command writes again; labels of a person, and files of others, need --force."""
    for _ in range(2):
        run("suggest", "--csv", "a.csv")
    rows = read_csv(tmp_path / "a.csv")
    assert len(rows) == 4
    write_csv(tmp_path / "a.csv", list(rows[0]), [rows[0] | {"label": "form"}, *rows[1:]])
    assert "a.csv holds labels that were filled in: name another file" in run("suggest", "--csv", "a.csv", code=1)
    assert "is not a file that embedpipe made" in run("families", "--csv", "a.csv", code=1)
    assert read_csv(tmp_path / "a.csv")[0]["label"] == "form"
    run("suggest", "--csv", "a.csv", "--force")
    assert read_csv(tmp_path / "a.csv")[0]["label"] == ""
    (tmp_path / "empty.csv").touch()  # as mktemp makes it
    run("suggest", "--csv", "empty.csv")


def test_every_format_of_export_is_written_again(pile: Path, tmp_path: Path) -> None:
    """As its own kind only; the CSV beside an npy file is guarded like it."""
    for kind in ("parquet", "csv", "npy"):
        for _ in range(2):
            assert "4 pages" in run("export", f"f.{kind}", "--format", kind)
    assert "--force" in run("export", "f.npy", "--format", "parquet", code=1)
    (tmp_path / "f.pages.csv").write_text("mine")
    assert "f.npy" in run("export", "f.npy", "--format", "npy", code=1)
    (tmp_path / "g.pages.csv").write_text("mine")
    assert "g.pages.csv" in run("export", "g.npy", "--format", "npy", code=1)
    assert "two files are written" in run("export", "-", "--format", "npy", code=1)


def test_stdout_takes_one_output_and_nothing_else(pile: Path, tmp_path: Path) -> None:
    """`-` and /dev/stdout stream; people's lines go to stderr; with --json, or for two outputs, it is one too many."""
    run("suggest", "--csv", "a.csv")
    for name in ("-", "/dev/stdout"):
        assert run("suggest", "--csv", name) == (tmp_path / "a.csv").read_text(encoding="utf-8")
        assert "--json and --csv cannot both go to stdout" in flat(run("suggest", "--csv", name, "--json", code=2))
    for second in ("-", "/dev/fd/1"):
        assert "--csv and --html cannot both go to" in flat(run("families", "--csv", "-", "--html", second, code=2))
    assert "cannot both go to" in flat(run("families", "--csv", "b", "--html", "./b", code=2))
    assert not (tmp_path / "b").exists()


def flat(text: str) -> str:
    """A message of the command line without its frame."""
    return " ".join(re.sub("[│╭╮╰╯─]", " ", text).split())


@pytest.mark.parametrize("option", ["--csv", "--artifacts"])
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_name_is_a_wrong_command_line(option: str, empty: str, tmp_path: Path) -> None:
    """It is what an unset variable gives."""
    assert "the name is empty" in flat(run("suggest", option, empty, code=2))


def test_a_folder_of_sheets_keeps_what_is_not_ours(pile: Path, tmp_path: Path) -> None:
    """Sheets are replaced by sheets; a picture of somebody with such a name is not."""
    one = ("--threshold", "0", "--least", "2")  # family of all pages
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / "mine.txt").write_text("mine")
    for _ in range(2):
        run("families", *one, "--contact-sheets", "sheets")
    assert sorted(os.listdir("sheets")) == ["family-001.png", "mine.txt"]
    shutil.copy(pile / "0.png", tmp_path / "sheets" / "family-009.png")
    with open(tmp_path / "sheets" / "family-009.png", "ab") as file:
        file.write(b"not of the store")
    assert "family-009.png is not a file" in run("families", *one, "--contact-sheets", "sheets", code=1)


def test_a_map_to_stdout_tells_no_size(pile: Path) -> None:
    """An output that is no file has none."""
    assert run("map", "--method", "pca", "--thumbnails", "0", "--html", "-").startswith("<!DOCTYPE html>")
    drawn = json.loads(run("map", "--method", "pca", "--thumbnails", "0", "--json"))
    assert drawn["size"] == Path("map.html").stat().st_size


def test_embedding_beside_other_files_touches_none(
    pile: Path, tiny: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder of the user's notes is no artifacts folder until he says so, and then they stay as they are."""
    notes = tmp_path / "notes"
    notes.mkdir()
    for name in (".tmp-notes.txt", ".tmp-important"):
        (notes / name).write_text("mine")
    monkeypatch.setattr("embedpipe.commands.terminal.options.Network.load", lambda *_, **__: tiny)
    given = ("embed", pile, "--artifacts", notes, "--workers", "1")
    assert "--share-folder" in run(*given, code=1)
    assert sorted(os.listdir(notes)) == [".tmp-important", ".tmp-notes.txt"]
    run(*given, "--share-folder")
    run(*given)
    assert [(notes / name).read_text() for name in (".tmp-notes.txt", ".tmp-important")] == ["mine", "mine"]
