"""Variants of labelled pages: made once, by the same network, kept, healed and forgotten."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pymupdf
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone, Pending
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.classifiers.lessons.reading import labelled_pages, learnt_pages, make_variants
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.lessons.variants import Wanted, Watch, make, read
from embedpipe.classifiers.saved.on_disk import variant_folders as folders
from embedpipe.classifiers.training import fit
from embedpipe.commands import app
from embedpipe.core.errors import ArtifactError, LabelsError, SpaceMismatchError, UnknownNameError
from embedpipe.embedding.cue_table import CuedStore
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.augmentation import Variants, larger
from embedpipe.pages.cues import CUES
from embedpipe.pages.documents import ReadOptions, open_document, plan
from embedpipe.pages.rendering import Selection
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import info as info_task
from embedpipe.tasks.embed import embed
from embedpipe.tasks.forget import forget
from embedpipe.tasks.info_verify import examine

SETTINGS = Settings(workers=1)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, tiny: Backbone) -> Path:
    """Four letters of two pages and four posters of one, embedded and labelled, and a blank page."""
    folder = tmp_path_factory.mktemp("drawn")
    for number in range(4):
        for kind, count in (("letter", 2), ("poster", 1)):
            file = folder / "pile" / kind / f"{number}.pdf"
            file.parent.mkdir(parents=True, exist_ok=True)
            with pymupdf.open() as document:
                for page in range(count):
                    sheet = document.new_page()
                    if kind == "letter":
                        sheet.insert_textbox((40, 40, 555, 800), f"Dear reader {number} {page}, " * 60, fontsize=14)
                    else:
                        sheet.insert_text((60, 500), f"P{number}", fontsize=300)
                if number == 0:
                    document.new_page()
                document.save(file)
    embed(Workspace(folder / "artifacts"), [str(folder / "pile")], tiny, settings=SETTINGS, label_by_folder=True)
    return folder


@pytest.fixture
def workspace(drawn: Path, tmp_path: Path) -> Workspace:
    """A copy of the artifacts to change; the documents stay where they are."""
    shutil.copytree(drawn / "artifacts", tmp_path / "artifacts")
    return Workspace(tmp_path / "artifacts")


def none_needed() -> Backbone:
    """Stands for a network that must not be loaded."""
    raise AssertionError("nothing is missing")


def known(workspace: Workspace) -> LabelledPages:
    """The labelled pages."""
    return labelled_pages(workspace, workspace.store(), Selection())


def made(workspace: Workspace, backbone: Callable[[], Backbone], count: int, seed: int = 0) -> NDArray[np.float16]:
    """Variants, made where they are missing."""
    pages = known(workspace)
    make(workspace, workspace.store(), pages, Wanted(count, seed), backbone, settings=SETTINGS)
    return read(workspace.store(), pages, count, seed)


class Counting:
    """A network that counts the pictures it is sent."""

    def __init__(self, backbone: Backbone) -> None:
        self._engine, self.pictures = backbone.engine, 0
        self.name, self.device, self.precision = "counting", "cpu", "fp32"
        self.batch_size, self.in_flight = 4, 1

    def start(self, pixels: NDArray[np.uint8]) -> Pending:
        """Counts, and hands on."""
        self.pictures += len(pixels)
        return self._engine.start(pixels)


def counting(backbone: Backbone) -> tuple[Backbone, Counting]:
    """The same network, with its counter."""
    counter = Counting(backbone)
    return Backbone(backbone.identity, backbone.blocks, counter), counter


def test_a_variant_is_what_the_network_makes_of_the_changed_page(workspace: Workspace, tiny: Backbone) -> None:
    """Each labelled page that is not blank has as many as asked for, each of another picture of this very page."""
    pages, found = known(workspace), made(workspace, lambda: tiny, 2)
    assert found.shape == (12, 2, pages.X.shape[1])
    assert found.dtype == np.float16
    recipe, sources = tiny.identity.recipe, workspace.sources()
    for row, (sha256, index) in enumerate(zip(pages.documents, pages.page_indices.tolist(), strict=True)):
        document = sources.document(sha256)
        assert document is not None
        drawn = open_document(document.path, "pdf", ReadOptions(larger(recipe), tiny.identity.interpolation)).render(
            index
        )
        _, (columns, rows) = plan(drawn.width, drawn.height, recipe)
        for number, pixels in Variants((1, 2), recipe).of_page(drawn.pixels, (rows, columns), (sha256, index)):
            np.testing.assert_allclose(found[row, number - 1], tiny(pixels[None])[0], atol=2e-2, rtol=2e-2)
    assert len({row.tobytes() for row in [*found.reshape(24, -1), *pages.X.astype(np.float16)]}) == 36


def test_variants_are_made_once_and_more_of_them_are_added(workspace: Workspace, tiny: Backbone) -> None:
    """What is there is not made again; two and then three are the same as three at once, and so is another time."""
    backbone, counter = counting(tiny)
    two = made(workspace, lambda: backbone, 2)
    assert counter.pictures == 24
    np.testing.assert_array_equal(made(workspace, none_needed, 2), two)
    three = made(workspace, lambda: backbone, 3)
    assert counter.pictures == 36
    np.testing.assert_array_equal(three[:, :2], two)
    for folder in folders(workspace.store().path):
        shutil.rmtree(folder)
    np.testing.assert_allclose(made(workspace, lambda: tiny, 3), three, atol=2e-2, rtol=2e-2)


def test_another_seed_makes_others_beside_them(workspace: Workspace, tiny: Backbone) -> None:
    """Variants of two seeds are kept apart."""
    first, second = made(workspace, lambda: tiny, 1), made(workspace, lambda: tiny, 1, seed=1)
    assert (first != second).any(axis=2).all()
    np.testing.assert_array_equal(made(workspace, none_needed, 1), first)
    assert len(folders(workspace.store().path)) == 2


def test_ctrl_c_keeps_what_was_made(workspace: Workspace, tiny: Backbone) -> None:
    """The same call goes on with the rest; a line says so."""
    backbone, counter = counting(tiny)
    lines: list[str] = []

    def stop(done: int, _total: int) -> None:
        if done >= 8:
            raise KeyboardInterrupt

    pages = known(workspace)
    with pytest.raises(KeyboardInterrupt):
        make(
            workspace, workspace.store(), pages, Wanted(2), lambda: backbone,
            settings=SETTINGS, watch=Watch(stop, lines.append),
        )  # fmt: skip
    assert lines[0] == "embedding 24 variants of 12 labelled pages, once: later fits find them"
    assert lines[-1].startswith("interrupted: the variants made so far are kept")
    there = np.isfinite(read(workspace.store(), pages, 2)[:, :, 0]).sum()
    assert 8 <= there < 24
    before = counter.pictures
    assert np.isfinite(made(workspace, lambda: backbone, 2)).all()
    assert counter.pictures - before == 24 - there


def test_it_is_said_how_many_and_how_long(workspace: Workspace, tiny: Backbone) -> None:
    """A line at the beginning, one with the time that is left, and steps up to the end."""
    backbone, _ = counting(tiny)
    lines: list[str] = []
    steps: list[tuple[int, int]] = []
    watch = Watch(lambda done, total: steps.append((done, total)), lines.append)
    make(workspace, workspace.store(), known(workspace), Wanted(2), lambda: backbone, settings=SETTINGS, watch=watch)
    assert lines[1].startswith("about ")
    assert lines[1].endswith(" s more")
    assert steps[-1] == (24, 24)


@pytest.mark.parametrize("name", ["part-000000.parquet", "manifest.json"])
def test_what_was_damaged_is_made_again(workspace: Workspace, tiny: Backbone, name: str) -> None:
    """A damaged part is put aside and its pages are embedded again; a damaged manifest is written again."""
    first = made(workspace, lambda: tiny, 2)
    file = folders(workspace.store().path)[1] / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = b"x" * (len(content) - len(content) // 2)
    file.write_bytes(content)
    assert any(str(file) in problem for problem in examine(workspace).problems)
    np.testing.assert_allclose(made(workspace, lambda: tiny, 2), first, atol=2e-2, rtol=2e-2)
    assert examine(workspace).problems == []


def test_what_a_killed_run_had_finished_is_not_made_again(workspace: Workspace, tiny: Backbone) -> None:
    """Parts that were written but not listed count as made: no variant is kept twice, and the network stays away."""
    first = made(workspace, lambda: tiny, 2)
    for folder in folders(workspace.store().path):
        FeatureStore.open(folder).replace_parts([])
    np.testing.assert_array_equal(made(workspace, none_needed, 2), first)
    assert [len(FeatureStore.open(folder).pages()) for folder in folders(workspace.store().path)] == [12, 12]


def test_pages_whose_file_is_gone_have_none(
    workspace: Workspace, drawn: Path, tiny: Backbone, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are counted in a line, and are learnt from as they are."""
    pile = shutil.copytree(drawn / "pile", tmp_path / "pile")
    other = Workspace(tmp_path / "other")
    embed(other, [str(pile)], tiny, settings=SETTINGS, label_by_folder=True)
    (pile / "letter" / "3.pdf").unlink()
    lines: list[str] = []
    recipe = TrainingRecipe("svm", augment=2)
    make_variants(other, other.store(), recipe, lambda: tiny, settings=SETTINGS, watch=Watch(notice=lines.append))
    assert "warning: 4 of 24 variants cannot be made" in lines[-1]
    pages = learnt_pages(other, other.store(), recipe)
    assert "4 of 24 variants are not there" in caplog.text
    lessons = pages.lessons()
    assert len(lessons.y) == 12 + 20
    assert lessons.weights.sum() == pytest.approx(8)
    assert fit(other, other.store(), recipe).fitted_on["variants"] == 20


def test_without_any_variant_it_says_how_to_make_them(workspace: Workspace) -> None:
    """In one line; a classifier is never fitted without what was asked for."""
    with pytest.raises(ArtifactError, match="fit with --augment 2, which makes them"):
        fit(workspace, workspace.store(), TrainingRecipe("svm", augment=2))
    assert workspace.classifiers() == []


def test_what_cannot_be_fitted_costs_no_variants(workspace: Workspace) -> None:
    """A wrong hyper-parameter, and too few labels, are said before the network is loaded."""
    with pytest.raises(UnknownNameError, match="hyper-parameter of svm"):
        make_variants(workspace, workspace.store(), TrainingRecipe("svm", {"c": "1"}, augment=1), none_needed)
    labels = workspace.labels()
    labels.add([replace(row, label="letter") for row in labels.rows.values()])
    labels.save(workspace.labels_file)
    with pytest.raises(LabelsError, match="all labelled pages are of the type"):
        make_variants(workspace, workspace.store(), TrainingRecipe("svm", augment=1), none_needed)


def test_another_network_makes_no_variants(workspace: Workspace, tiny: Backbone) -> None:
    """Variants come from the very network that the pages came from."""
    other = Backbone(replace(tiny.identity, weights_sha256="cd" * 32), tiny.blocks, tiny.engine)
    with pytest.raises(SpaceMismatchError):
        made(workspace, lambda: other, 1)


def test_cues_are_those_of_the_page(workspace: Workspace, tiny: Backbone) -> None:
    """A variant of a page has the page's cues; only what the network tells of it differs."""
    recipe = TrainingRecipe("svm", cues=True, augment=1)
    make_variants(workspace, workspace.store(), recipe, lambda: tiny, settings=SETTINGS)
    pages = learnt_pages(workspace, CuedStore(workspace, workspace.store()), recipe)
    assert pages.variants is not None
    np.testing.assert_allclose(pages.variants[:, 0, -len(CUES) :], pages.X[:, -len(CUES) :], rtol=1e-3)
    assert fit(workspace, workspace.store(), recipe).cues


def test_forgotten_documents_leave_no_variant(workspace: Workspace, tiny: Backbone, drawn: Path) -> None:
    """`forget` removes them of every variant and seed; `info` counts what is left."""
    made(workspace, lambda: tiny, 2)
    made(workspace, lambda: tiny, 1, seed=1)
    assert info_task.take(workspace)["spaces"][0]["variants"]["pages"] == 12
    gone = forget(workspace, [str(drawn / "pile" / "letter" / "1.pdf")])
    values = info_task.take(workspace)["spaces"][0]["variants"]
    assert (values["variants"], values["pages"]) == (3, 10)
    for folder in folders(workspace.store().path):
        assert all(gone.documents[0].encode() not in file.read_bytes() for file in folder.iterdir())
    assert examine(workspace).problems == []


DYING = """
import os, signal, sys
from embedpipe.store import feature_writer
from embedpipe.commands import main

left, name, replace = 0, "", os.replace

def replace_or_die(source, target):
    global left
    left -= os.path.basename(target) == name
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(source, target)

if __name__ == "__main__":
    left, name = int(sys.argv.pop(1)), sys.argv.pop(1)
    os.replace, feature_writer.ROWS_PER_PART = replace_or_die, 4  # several parts of each variant
    main()
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_kills_while_fitting_with_variants_leave_nothing_wrong(
    workspace: Workspace, drawn: Path, tmp_path: Path
) -> None:
    """`kill -9` between files of `fit-svm --augment`: what is kept is whole, and the end is that of a quiet run."""
    shutil.copytree(drawn / "artifacts", tmp_path / "quiet")
    (tmp_path / "dying.py").write_text(DYING)
    quiet = Workspace(tmp_path / "quiet")

    def run(artifacts: Path, before: str, number: int) -> int:
        options = ["--augment", "2", "--weights", "none", "--engine", "torch", "--precision", "fp32", "--quiet"]
        script = [sys.executable, str(tmp_path / "dying.py"), str(number), before, "fit-svm"]
        done = subprocess.run([*script, "--artifacts", str(artifacts), *options], check=False, timeout=120)
        return done.returncode

    assert run(quiet.root, "", 1) == 0
    expected = ClassifierBundle.load(quiet.classifier_path("svm"))
    # before a first part is listed, before a third part is written, before a finished classifier is put into use
    for name, number in (("manifest.json", 2), ("part-000002.parquet", 0), ("current.json", 0)):
        assert run(workspace.root, name, number) == -signal.SIGKILL
        assert examine(workspace).problems == []
        info_task.take(workspace)
        for classifier in workspace.classifiers():
            assert ClassifierBundle.load(workspace.classifier_path(classifier)).classes == expected.classes
    assert run(workspace.root, "", 1) == 0
    assert examine(workspace).problems == []
    assert list(workspace.root.rglob(".embedpipe-*")) == []
    pages = known(workspace)
    there, wanted = (read(w.store(), pages, 2) for w in (workspace, quiet))
    np.testing.assert_allclose(there, wanted, atol=2e-3, rtol=2e-3)
    found = ClassifierBundle.load(workspace.classifier_path("svm"))
    np.testing.assert_allclose(found.log_scores(pages.X), expected.log_scores(pages.X), atol=1e-2)
    assert found.fitted_on["variants"] == expected.fitted_on["variants"] == 24


def test_the_commands_make_fit_and_tell(workspace: Workspace) -> None:
    """`fit-head --augment` says what it makes, once; manifest, `info` and `classifiers` tell of the variants."""
    artifacts = ["--artifacts", str(workspace.root)]
    options = [*artifacts, "--augment", "2", "--weights", "none", "--engine", "torch", "--precision", "fp32", "--json"]
    first = CliRunner().invoke(app, ["fit-head", *options])
    assert first.exit_code == 0, first.output
    assert "embedding 24 variants of 12 labelled pages, once" in first.stderr
    assert json.loads(first.stdout)["variants"] == 24
    again = CliRunner().invoke(app, ["fit-svm", *options])
    assert (again.exit_code, again.stderr) == (0, "")
    bundle = ClassifierBundle.load(workspace.classifier_path("head"))
    assert {"augment": 2, "seed": 0, "variants": 24}.items() <= bundle.fitted_on.items()
    assert bundle.pipeline.n_features_in_ == workspace.store().dim
    assert TrainingRecipe.as_asked(bundle.fitted_on) == TrainingRecipe("head", augment=2)
    info = CliRunner().invoke(app, ["info", *artifacts]).stdout
    assert "variants: 2 of up to 12 labelled pages" in info
    assert info.count("2 variants of each page") == 2
    listed = json.loads(CliRunner().invoke(app, ["classifiers", *artifacts, "--json"]).stdout)
    assert [row["augment"] for row in listed["classifiers"]] == [2, 2]
    found = CliRunner().invoke(app, ["evaluate", *artifacts, "--classifier", "head", "--json"])
    assert json.loads(found.stdout)["metrics"] == bundle.metrics
    judged = CliRunner().invoke(app, ["check-labels", *artifacts, "--classifier", "svm", "--json"])
    assert judged.exit_code == 0, judged.output
