"""`run`: a job file is checked as a whole, and its steps are the commands."""

import json
import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from embedpipe.commands import app, base
from embedpipe.commands.base import DONE, SOME_FAILED
from embedpipe.commands.terminal.console import Output
from embedpipe.commands.unattended import steps
from embedpipe.core.errors import EmbedpipeError, UsageError
from embedpipe.core.languages.choice import ENGLISH, use
from embedpipe.samples import draw_samples
from embedpipe.store.sorted_ledger import LEDGER
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import demo

JOB = """
backbone = "timm:test_resnet"
weights = "none"

[classify]
inputs = ["new"]
sort-into = "sorted"
csv = "answers.csv"
classifier = "types"

[embed]
inputs = ["documents"]
label-by = "folder"
size = 64
layers = "penultimate"

[fit-knn]
name = "types"
blocks = "pictures"
"""


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Writes a job file into a folder with an input and an empty inbox; commands are given from elsewhere."""
    (tmp_path / "job" / "documents").mkdir(parents=True)
    (tmp_path / "job" / "documents" / "a.pdf").write_bytes(b"%PDF-")
    (tmp_path / "job" / "new").mkdir()
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        file = tmp_path / "job" / "embedpipe.toml"
        file.write_text(text, encoding="utf-8")
        return file

    return write


def run(*arguments: str) -> tuple[int, str]:
    """Exit code and output."""
    done = CliRunner().invoke(app, ["run", *arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output if "--json" not in arguments else done.stdout


def test_a_job_is_what_its_commands_would_do(job: Callable[[str], Path], tmp_path: Path) -> None:
    """The order is that of the work; a second run has nothing to do, and says so; another label is fitted anew."""
    folder = tmp_path / "job"
    (folder / "documents" / "a.pdf").unlink()
    draw_samples(folder / "documents", per_type=4, types=("slides", "letter"))
    file = job(JOB)
    code, output = run(str(file))
    assert code == DONE, output
    assert [line for line in output.splitlines() if line.endswith(":")] == ["embed:", "fit-knn:"]
    assert "classify: nothing to do: no file in new" in output
    assert Workspace(folder / "artifacts").classifiers() == ["types"]
    draw_samples(folder / "new", per_type=1, types=("slides",), seed=1)
    code, output = run(str(file), "--json")
    values = json.loads(output.splitlines()[0])  # the notices are on stderr
    assert (code, values["exit_code"]) == (DONE, DONE)
    embed, fit, classify = values["steps"]
    assert embed["result"]["embedded"] == 0
    assert "of the last time" in fit["idle"]
    assert len(classify["result"]["documents"]) == 1
    assert (folder / "sorted" / LEDGER).exists()
    assert (folder / "answers.csv").exists()
    (folder / "documents" / "letter").rename(folder / "documents" / "post")
    again = json.loads(run(str(file), "--json")[1].splitlines()[0])["steps"][1]
    assert again["result"]["classes"] == ["post", "slides"]


def test_steps_speak_the_language_of_the_job_and_leave_what_comes_next_to_it(
    job: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A step does not fall back to the language of the locale, and does not say what stands in the file anyhow."""
    monkeypatch.setattr(Output, "watched", True)
    file = job('[embed]\ninputs = ["documents"]\nbackbone = "timm:test_resnet"\nweights = "none"\nsize = 64\n')
    try:
        assert base.run(["run", str(file), "--lang", "zh"]) == SOME_FAILED
    finally:
        use(ENGLISH)
    said = capsys.readouterr().out
    assert "0 份文档" in said
    assert "`embed" not in said


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("label-by", "lable-by", "line 13, [embed]: unknown key 'lable-by': did you mean label-by"),
        ("[embed]", "[embd]", "line 11, [embd]: unknown table 'embd': did you mean embed?"),
        ('weights = "none"', 'weigths = "none"', "line 3: unknown key 'weigths': did you mean weights?"),
        ("size = 64", 'size = "large"', "line 11, [embed]: Invalid value for '--size'"),
        ("size = 64", "size = 8", "line 11, [embed]: Invalid value for '--size'"),
        ("size = 64", "size = [64]", "line 14, [embed]: size takes one value"),
        ("size = 64", "size = true", "line 14, [embed]: size takes a text or a number"),
        ("size = 64", 'retry-failed = "yes"', "line 14, [embed]: retry-failed is true or false"),
        ("size = 64", 'workers = "many"', "line 11, [embed]: --workers many: write auto or a number"),
        ("size = 64", 'artifacts = "x"', "line 14, [embed]: artifacts is of all steps"),
        ("size = 64", "json = true", "line 14, [embed]: unknown key 'json'"),
        ("size = 64", "size = ", "embedpipe.toml is no TOML: Invalid value (at line 14"),
        ('inputs = ["documents"]', "", "line 11, [embed]: Missing argument"),
        ("[embed]", "embed = 1\n[label]", "embed is a table: write [embed]"),
        ('backbone = "timm:test_resnet"', 'backbone = "x"\nartifacts = 3', "line 3: artifacts is a folder"),
    ],
)
def test_a_mistake_is_named_with_its_place(job: Callable[[str], Path], before: str, after: str, said: str) -> None:
    """Before anything begins, and so that it is found: file, line, table, and the nearest that is known."""
    assert before in JOB
    text = JOB.replace(before, after)
    if after.startswith("embed = 1"):
        text = "embed = 1\n" + JOB.replace("[embed]", "[label]")
    with pytest.raises(UsageError) as error:
        run(str(job(text)))
    assert said in str(error.value)
    assert not Path("job/artifacts").exists()


def test_a_file_that_is_missing_is_named(job: Callable[[str], Path]) -> None:
    """An input, the labels, and the job file itself; what an earlier step writes need not be there yet."""
    file = job(JOB.replace('["documents"]', '["nowhere"]'))
    with pytest.raises(EmbedpipeError, match=r"\[embed\]: inputs: nowhere is not there"):
        run(str(file))
    with pytest.raises(EmbedpipeError, match="cannot be read: No such file"):
        run("job/other.toml")
    later = '[embed]\ninputs = ["documents"]\n[classify]\ninputs = ["documents"]\nsort-into = "out"\n'
    two = later + '[[label]]\nsource = "out"\n'
    with pytest.raises(EmbedpipeError, match="source: out is not there"):
        run(str(job(two)), "--dry-run")  # label comes before classify
    assert steps._covers("out", "out/form/a.pdf")
    with pytest.raises(EmbedpipeError, match="holds no step"):
        run(str(job('artifacts = "x"')))


def test_outputs_are_checked_before_anything_begins(job: Callable[[str], Path]) -> None:
    """As the command itself would refuse them, hours later."""
    Path("job/answers.csv").write_text("somebody's", encoding="utf-8")
    with pytest.raises(EmbedpipeError, match=r"line 5, \[classify\]: --csv answers.csv is not a file that embedpipe"):
        run(str(job(JOB)))
    assert not Path("job/artifacts").exists()


def test_a_dry_run_says_what_would_be_done(job: Callable[[str], Path]) -> None:
    """As command lines, in their order, several of one command too, and nothing is written."""
    text = JOB.replace("[classify]", "[[classify]]") + '\n[[classify]]\ninputs = ["documents"]\nlink = false\n'
    code, output = run(str(job(text)), "--dry-run")
    assert code == DONE
    lines = [line for line in output.splitlines() if line.startswith("embedpipe ")]
    assert [line.split()[1] for line in lines] == ["embed", "fit-knn", "classify", "classify"]
    assert lines[0].endswith("--label-by=folder --size=64 --layers=penultimate -- documents")
    assert lines[2].endswith("# nothing to do: no file in new")
    assert "--weights=none" in lines[3]
    assert sorted(os.listdir("job")) == ["documents", "embedpipe.toml", "new"]


def test_an_error_ends_the_job_and_failed_files_do_not(
    job: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exit code is that of the step; what was not done is named."""
    codes = {"embed": SOME_FAILED, "fit-knn": DONE, "classify": DONE}
    done = []

    def stand_in(line: list[str]) -> int:
        done.append(line[0])
        return codes[line[0]]

    monkeypatch.setattr(base, "run", stand_in)
    Path("job/new/a.pdf").write_bytes(b"%PDF-")
    codes["fit-knn"] = 1
    done.clear()
    code, output = run(str(job(JOB)))
    assert (code, done) == (1, ["embed", "fit-knn"])
    assert "not done, for fit-knn ended with 1: classify" in output
    codes["fit-knn"] = DONE
    done.clear()
    assert run(str(job(JOB)))[0] == SOME_FAILED
    assert done == ["embed", "fit-knn", "classify"]


def test_the_command_line_names_other_artifacts(job: Callable[[str], Path], tmp_path: Path) -> None:
    """Relative to where it is given, and not to the job file; it wins over the file."""
    file = job('artifacts = "own"\n' + JOB)
    assert f"artifacts: {Path('own')}\n" in run(str(file), "--dry-run")[1]
    assert f"artifacts: {tmp_path / 'mine'}\n" in run(str(file), "--dry-run", "--artifacts", "mine")[1]


def test_every_step_is_a_command_with_the_keys_it_names() -> None:
    """So that a command that is renamed cannot leave a step behind."""
    for step in steps.STEPS:
        assert set(step.reads) <= set(steps._options(step.command))


def test_the_example_of_the_demo_is_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes the check, with the artifacts of the demo; a changed one is kept."""
    for name in ("documents", "new"):
        (tmp_path / "artifacts" / "demo" / name).mkdir(parents=True)
    file = tmp_path / "artifacts" / "demo" / "embedpipe.toml"
    demo._write_job(Workspace(tmp_path / "artifacts"), file)
    assert tomllib.loads(file.read_text(encoding="utf-8"))["artifacts"] == ".."
    code, output = run(str(file), "--dry-run")
    assert code == DONE, output
    file.write_text("# mine", encoding="utf-8")
    demo._write_job(Workspace(tmp_path / "artifacts"), file)
    assert file.read_text(encoding="utf-8") == "# mine"
