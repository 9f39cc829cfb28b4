"""A type taught by examples: what is kept, what is only shown, and what an interrupt leaves."""

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pymupdf
import pytest

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.classifiers.finetuned import named
from embedpipe.classifiers.lessons.reading import make_variants
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.saved.on_disk import variant_folders as folders
from embedpipe.classifiers.stored_answers import STATUSES, Answer, statuses, total
from embedpipe.classifiers.training import fit
from embedpipe.commands.teaching import _print_lesson
from embedpipe.commands.terminal.console import Output
from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError, LabelsError
from embedpipe.core.files import write_json
from embedpipe.store.features import FeatureStore
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import add_type as add_type_task
from embedpipe.tasks.add_type import Change, Lesson, Outcome, add_type, as_json
from embedpipe.tasks.classify import classify
from embedpipe.tasks.embed import embed


def write(file: Path, kind: str, number: int) -> Path:
    """Writes a PDF: letters are lines of text, posters are huge letters, plans are grey boxes."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with pymupdf.open() as document:
        page = document.new_page()
        if kind == "plan":
            page.draw_rect((60, 60 + 4 * number, 500, 700), fill=(0.2, 0.2, 0.2))
        elif kind == "poster":
            page.insert_text((60, 500), f"P{number}", fontsize=300)
        else:
            page.insert_textbox((40, 40, 555, 800), f"Dear reader {number}, " * 60, fontsize=14)
        document.save(file)
    return file


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, tiny: Backbone) -> Path:
    """Letters and posters that are embedded, labelled and fitted, beside plans that nobody has seen yet."""
    folder = tmp_path_factory.mktemp("taught")
    for number in range(4):
        for kind in ("letter", "poster"):
            write(folder / "pile" / kind / f"{number}.pdf", kind, number)
        write(folder / "plans" / f"{number}.pdf", "plan", number)
    workspace = Workspace(folder / "artifacts")
    embed(workspace, [str(folder / "pile")], tiny, label_by_folder=True)
    fit(workspace, workspace.store(), TrainingRecipe("head"))
    return folder


@pytest.fixture
def pile(taught: Path, tmp_path: Path) -> Path:
    """A copy of the artifacts to change; the documents stay where they are."""
    shutil.copytree(taught / "artifacts", tmp_path / "artifacts")
    return taught


def teach(workspace: Workspace, backbone: Callable[[], Backbone], name: str, *inputs: Path, **options: bool) -> Outcome:
    """Teaches the only classifier."""
    bundle = ClassifierBundle.load(workspace.classifier_path("head"))
    return add_type(workspace, bundle, Lesson(name, tuple(map(str, inputs)), **options), backbone)  # type: ignore[arg-type]


def state(folder: Path) -> dict[str, str]:
    """The content of every file below a folder but the lock's."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".lock")]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_new_type_is_learnt(pile: Path, workspace: Workspace, tiny: Backbone) -> None:
    """Examples are embedded and labelled, the new classifier is in use, and the figures say what it brings."""
    outcome = teach(workspace, lambda: tiny, "plan", pile / "plans")
    assert (outcome.documents, outcome.pages, outcome.examples, outcome.version) == (4, 4, 4, 2)
    assert outcome.before.keys() == {"letter", "poster"}
    assert outcome.after["plan"] == 1.0
    assert workspace.labels().types() == {"letter": 4, "plan": 4, "poster": 4}
    assert ClassifierBundle.load(workspace.classifier_path("head")).classes == ["letter", "plan", "poster"]
    assert not {change.path for change in outcome.changed} & {str(path) for path in (pile / "plans").iterdir()}
    values = as_json(Lesson("plan", ()), outcome)
    assert {"type", "pages", "documents", "seconds", "before", "after", "changed"} <= values.keys()
    assert values["enough"] is False
    [why] = values["advice"]
    assert "it takes 19 held-out documents of one kind of source" in why


def test_earlier_answers_that_change_are_named(pile: Path, workspace: Workspace, tiny: Backbone) -> None:
    """A stored document without a label that was told another type before is named, with both answers."""
    plans = sorted((pile / "plans").iterdir())
    embed(workspace, [str(plans[3])], tiny)
    outcome = teach(workspace, lambda: tiny, "plan", *plans[:3])
    [change] = outcome.changed
    assert (change.path, change.after, change.label) == (str(plans[3]), "plan", None)
    assert change.before in {"letter", "poster"}


def test_a_dry_run_shows_the_same_and_keeps_nothing(pile: Path, workspace: Workspace, tiny: Backbone) -> None:
    """Neither features, labels nor classifier change, and the figures are those of the real run."""
    before = state(workspace.root)
    shown = teach(workspace, lambda: tiny, "plan", pile / "plans", keep=False)
    assert state(workspace.root) == before
    assert shown.version is None
    done = teach(workspace, lambda: tiny, "plan", pile / "plans")
    assert (shown.before, shown.after, shown.pages) == (done.before, done.after, done.pages)


def test_stored_examples_need_no_network(pile: Path, workspace: Workspace) -> None:
    """More examples of a known type that are stored and labelled otherwise: an error, or taken over when asked for."""

    def no_network() -> Backbone:
        raise AssertionError

    before = state(workspace.root)
    poster = pile / "pile" / "poster" / "0.pdf"
    with pytest.raises(LabelsError, match=r"0\.pdf is labelled 'poster': .*--relabel"):
        teach(workspace, no_network, "letter", poster)
    assert state(workspace.root) == before
    outcome = teach(workspace, no_network, "letter", poster, relabel=True)
    assert outcome.examples == 5
    assert workspace.labels().types() == {"letter": 5, "poster": 3}


@pytest.mark.parametrize("step", ["fit", "use"])
def test_an_interrupt_leaves_labels_and_classifier(
    step: str, pile: Path, workspace: Workspace, tiny: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted while fitting, or before the switch, the old classifier answers; the same command goes on later."""

    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(add_type_task if step == "fit" else versions, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            teach(workspace, lambda: tiny, "plan", pile / "plans")
    assert ClassifierBundle.load(workspace.classifier_path("head")).classes == ["letter", "poster"]
    if step == "fit":
        assert workspace.labels().types() == {"letter": 4, "poster": 4}
    assert teach(workspace, lambda: tiny, "plan", pile / "plans").after["plan"] == 1.0


def test_examples_without_a_usable_page_are_an_error(
    pile: Path, workspace: Workspace, tiny: Backbone, tmp_path: Path
) -> None:
    """Blank pages teach nothing, and nothing is labelled."""
    with pymupdf.open() as document:
        document.new_page()
        document.save(tmp_path / "blank.pdf")
    with pytest.raises(LabelsError, match="not blank"):
        teach(workspace, lambda: tiny, "plan", tmp_path / "blank.pdf")
    assert "plan" not in workspace.labels().types()


@pytest.mark.parametrize("trained", [True, False])
def test_what_the_network_has_seen_is_known_aside(
    pile: Path, workspace: Workspace, tiny: Backbone, *, trained: bool
) -> None:
    """No share is told where the network itself was trained on the documents; the type is learnt all the same."""
    tuned = named(tiny, "finetuned:mine")
    embed(workspace, [str(pile / "pile")], tuned)
    seen = sorted({sha256 for sha256, _ in workspace.labels().rows}) if trained else []
    write_json(
        workspace.backbone_path("mine") / "manifest.json",
        {"weights_sha256": tuned.identity.weights_sha256, "documents": {"trained": seen}},
    )
    bundle = fit(workspace, workspace.store("finetuned:mine"), TrainingRecipe("svm"))
    outcome = add_type(workspace, bundle, Lesson("plan", (str(pile / "plans"),)), lambda: tuned)
    assert all((share is None) == trained for share in [*outcome.before.values(), *outcome.after.values()])
    assert outcome.version == 2
    assert ClassifierBundle.load(workspace.classifier_path("svm")).classes == ["letter", "plan", "poster"]


@pytest.mark.parametrize("keep", [False, True])
def test_a_classifier_that_learns_from_variants_gets_those_of_the_examples(
    pile: Path, workspace: Workspace, tiny: Backbone, *, keep: bool
) -> None:
    """They are embedded with the examples; a dry run keeps none of it."""
    store, recipe = workspace.store(), TrainingRecipe("head", augment=1)
    make_variants(workspace, store, recipe, lambda: tiny)
    fit(workspace, store, recipe)
    before = state(workspace.root)
    teach(workspace, lambda: tiny, "plan", pile / "plans", keep=keep)
    assert (state(workspace.root) == before) is not keep
    [folder] = folders(store.path)
    assert len(FeatureStore.open(folder).pages()) == (12 if keep else 8)
    bundle = ClassifierBundle.load(workspace.classifier_path("head"))
    assert (bundle.fitted_on["augment"], bundle.fitted_on["variants"]) == (1, 12 if keep else 8)


@pytest.mark.parametrize("keep", [True, False])
def test_how_sure_earlier_answers_are_is_told_as_classify_tells_it(
    pile: Path, workspace: Workspace, tiny: Backbone, *, keep: bool
) -> None:
    """Statuses of the stored documents without the examples, by type, before and after; a dry run tells the same."""

    def answered() -> dict[str, tuple[str | None, str]]:
        bundle = ClassifierBundle.load(workspace.classifier_path("head"))
        verdicts, _ = classify(workspace, [str(pile / "pile")], bundle, lambda: tiny)
        return {verdict.path: (verdict.prediction.label, verdict.prediction.status) for verdict in verdicts}

    before = answered()
    outcome = teach(workspace, lambda: tiny, "plan", pile / "plans", keep=keep)
    assert total(outcome.statuses_before) == {
        status: sum(found == status for _, found in before.values()) for status in STATUSES
    }
    assert sum(total(outcome.statuses_after).values()) == len(before) == 8
    values = as_json(Lesson("plan", ()), outcome)
    assert values["statuses"]["documents"] == 8
    if keep:
        after = answered()
        assert outcome.statuses_after == statuses(Answer(str(kind), status) for kind, status in after.values())
        changed = {path for path, (_, status) in after.items() if status != before[path][1]}
        assert {change["path"] for change in values["status_changed"]} == changed
        assert {change["path"] for change in values["changed"]} == {p for p in after if after[p][0] != before[p][0]}


def test_fewer_sure_answers_are_warned_of(capsys: pytest.CaptureFixture[str]) -> None:
    """One line says how many were sure and are; none where they did not get fewer."""
    change = Change("/a.pdf", "letter", "letter", None, "ok", "ambiguous")
    counts = {"letter": {"ok": 120, "ambiguous": 68, "novel": 0}}
    fewer = {"letter": {"ok": 60, "ambiguous": 126, "novel": 2}}
    outcome = Outcome(1, 1, 9, {}, {}, [], [change], counts, fewer)
    outcome.advice = ["no answer can be ok: why"]
    _print_lesson(Lesson("plan", ()), outcome, Output())
    shown = capsys.readouterr().out
    assert "of 188 earlier answers 0 change their type, and 1 how sure they are" in shown
    assert "warning: 60 of 188 earlier answers are sure now, 120 were before" in shown
    assert "no answer can be ok: why" in shown
    assert as_json(Lesson("plan", ()), outcome)["fewer_sure"] is True
    _print_lesson(Lesson("plan", ()), replace(outcome, statuses_after=counts), Output())
    assert "warning" not in capsys.readouterr().out


def test_damage_is_not_learnt(pile: Path, workspace: Workspace, tiny: Backbone) -> None:
    """64 zeroed bytes in a part, and examples of a new type: refused, and the classifier stays; embedding heals it."""
    store = workspace.store()
    [part] = store.path.glob("part-*.parquet")
    other = write(workspace.root.parent / "more" / "memo.pdf", "plan", 40)
    embed(workspace, [str(other)], tiny)  # a second part, which stays whole
    content = bytearray(part.read_bytes())
    content[2000:2064] = bytes(64)
    part.write_bytes(content)
    for keep in (False, True, True):  # the second time, the part has been put aside
        with pytest.raises(
            ArtifactError, match=r"8 labelled documents have lost features.*: letter 4, poster 4: part-"
        ):
            teach(workspace, lambda: tiny, "plan", pile / "plans", keep=keep)
    bundle = ClassifierBundle.load(workspace.classifier_path("head"))
    assert (bundle.classes, workspace.labels().types()) == (["letter", "poster"], {"letter": 4, "poster": 4})
    embed(workspace, [str(pile / "pile")], tiny)
    outcome = teach(workspace, lambda: tiny, "plan", pile / "plans")
    assert (outcome.version, outcome.missing and outcome.missing.gaps) == (2, [])
    assert ClassifierBundle.load(workspace.classifier_path("head")).classes == ["letter", "plan", "poster"]
