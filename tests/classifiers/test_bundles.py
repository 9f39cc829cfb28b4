"""The contract of every classifier: it fits, scores, is saved and read alike, and keeps to its space."""

import dataclasses
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from embedpipe.classifiers.bundles import (
    CLASSIFIERS,
    ClassifierBundle,
    build_classifier,
    fit_classifier,
    fit_novelty,
    log_scores,
)
from embedpipe.classifiers.calibration.decisions import Calibration, Rule
from embedpipe.core.errors import ArtifactError, EmbedpipeError, SpaceMismatchError, UnknownNameError
from embedpipe.core.files import sha256_of
from embedpipe.core.records import Identity, Recipe

BLOCKS = [("first", 0, 5), ("second", 5, 8)]
IDENTITY = Identity("made_up", "ab" * 32, Recipe(), ("first", "second"))


def rows(types: int, n: int = 60, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[Any]]:
    """Features of types that can be told apart, and the types."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 3, (types, 8))
    y = np.arange(n) % types
    X = centres[y] + rng.normal(0, 1, (n, 8))
    return X.astype(np.float32), np.array([f"type {i}" for i in range(types)], object)[y]


def fitted(kind: str, types: int = 3) -> Pipeline:
    """A fitted classifier."""
    X, y = rows(types)
    return fit_classifier(build_classifier(kind, BLOCKS), X, y, np.ones(len(y)))


def bundle(kind: str) -> ClassifierBundle:
    """A fitted classifier with made-up figures."""
    X, y = rows(3)
    pipeline = fitted(kind)
    return ClassifierBundle(
        name="my letters",
        pipeline=pipeline,
        identity=IDENTITY,
        classes=["type 0", "type 1", "type 2"],
        novelty=fit_novelty(pipeline, X, y, np.ones(len(y))),
        pages=Calibration.fit(
            np.log([[0.6, 0.3, 0.1]] * 5), np.array([0, 0, 1, 0, 2]), np.arange(5.0), kinds=np.zeros(5, int)
        ),
        documents=Calibration.fit(
            np.log([[0.6, 0.3, 0.1]] * 2), np.array([0, 1]), np.arange(2.0), kinds=np.zeros(2, int)
        ),
        metrics={"accuracy": 0.9, "types_with_one_group": ["type 1"]},
        fitted_on={"kind": kind, "pages": 60},
    )


@pytest.mark.parametrize("types", [2, 3])
@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_every_classifier_fits_and_scores(kind: str, types: int) -> None:
    """It learns types that can be told apart; scores are logarithms of probabilities, columns in order of the types."""
    classifier = fitted(kind, types)
    X, y = rows(types, seed=1)
    scores = log_scores(classifier, X)
    assert scores.shape == (len(X), types)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(np.exp(scores).sum(axis=1), 1)
    assert (np.unique(y)[scores.argmax(axis=1)] == y).mean() > 0.95
    np.testing.assert_array_equal(np.unique(y)[scores.argmax(axis=1)], classifier.predict(X))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_fitting_again_gives_the_same(kind: str) -> None:
    """Two fits on the same rows give the same scores."""
    X, _ = rows(3, seed=1)
    np.testing.assert_array_equal(log_scores(fitted(kind), X), log_scores(fitted(kind), X))


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_wide_block_does_not_drown_a_narrow_one(kind: str) -> None:
    """The blocks weigh the same: types that only a narrow block of small numbers tells apart are learnt."""
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    X = np.hstack([rng.normal(0, 1e3, (80, 200)), (y[:, None] + [1.0, 2.0]) * [1, -1] + rng.normal(0, 0.05, (80, 2))])
    blocks = [("wide", 0, 200), ("narrow", 200, 202)]
    classifier = build_classifier(kind, blocks)
    fit_classifier(classifier, X[:40].astype(np.float32), y[:40], np.ones(40))
    assert (classifier.predict(X[40:].astype(np.float32)) == y[40:]).mean() > 0.9


@pytest.mark.parametrize("kind", [kind for kind in CLASSIFIERS if kind != "knn"])
def test_weights_of_rows_count(kind: str) -> None:
    """Rows of great weight decide against many of little weight."""
    X, y = rows(2)
    wrong = np.concatenate([y, np.where(y == "type 0", "type 1", "type 0")])
    twice = np.concatenate([X, X])
    heavy = np.r_[np.full(60, 1.0), np.full(60, 1e-3)]
    right = fit_classifier(build_classifier(kind, BLOCKS), twice, wrong, heavy).predict(X)
    turned = fit_classifier(build_classifier(kind, BLOCKS), twice, wrong, heavy[::-1]).predict(X)
    assert (right == y).mean() > 0.9
    assert (turned == y).mean() < 0.1


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_a_saved_classifier_gives_the_same_scores(kind: str, tmp_path: Path) -> None:
    """What is saved and loaded has the same scores and the same facts."""
    saved = bundle(kind)
    saved.save(tmp_path / "c")
    assert sorted(file.name for file in (tmp_path / "c").iterdir()) == ["manifest.json", "model.skops"]
    loaded = ClassifierBundle.load(tmp_path / "c")
    X, _ = rows(3, seed=1)
    np.testing.assert_array_equal(loaded.log_scores(X), saved.log_scores(X))
    np.testing.assert_array_equal(loaded.distances(X), saved.distances(X))
    for field in ("name", "identity", "classes", "metrics", "fitted_on"):
        assert getattr(loaded, field) == getattr(saved, field)
    for level in ("pages", "documents"):
        one, other = getattr(loaded, level).to_arrays(), getattr(saved, level).to_arrays()
        assert one.keys() == other.keys()
        for name, array in one.items():
            np.testing.assert_array_equal(array, other[name])


@pytest.mark.parametrize("kind", CLASSIFIERS)
def test_the_manifest_says_what_is_inside(kind: str, tmp_path: Path) -> None:
    """The manifest names space, types, versions and the model's hash."""
    bundle(kind).save(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["space"] == IDENTITY.space
    assert manifest["classes"] == ["type 0", "type 1", "type 2"]
    assert manifest["model_sha256"] == sha256_of(tmp_path / "model.skops")
    assert {"python", "embedpipe", "scikit-learn", "skops"} <= set(manifest["versions"])


def test_a_model_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    """A model file in which one byte has changed is refused."""
    bundle("svm").save(tmp_path)
    content = bytearray((tmp_path / "model.skops").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.skops is damaged .*fit it again"):
        ClassifierBundle.load(tmp_path)


def declare_genuine(folder: Path) -> None:
    """Writes the hash of the model as it is now into the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["model_sha256"] = sha256_of(folder / "model.skops")
    del manifest["checksum"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("foreign", [FunctionTransformer(subprocess.check_call), Path("x")], ids=["function", "type"])
def test_a_foreign_type_in_the_model_is_refused(tmp_path: Path, foreign: Any) -> None:
    """A model that holds a type or a function of another origin is refused by name, even with the right hash."""
    bundle("svm").save(tmp_path)
    evil = Pipeline([("evil", foreign), ("svm", fitted("svm"))])
    skops.io.dump({"pipeline": evil}, tmp_path / "model.skops")
    declare_genuine(tmp_path)
    with pytest.raises(ArtifactError, match=r"cannot be loaded \(.*(check_call|Path).*fit it again") as caught:
        ClassifierBundle.load(tmp_path)
    assert "\n" not in str(caught.value)


def lose_model(folder: Path) -> None:
    """Removes the model."""
    (folder / "model.skops").unlink()


def lose_manifest(folder: Path) -> None:
    """Removes the manifest."""
    (folder / "manifest.json").unlink()


def cut_manifest(folder: Path) -> None:
    """Leaves half of the manifest."""
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text[: len(text) // 2])


def empty_model(folder: Path) -> None:
    """Replaces the model by an empty archive with the right hash."""
    with zipfile.ZipFile(folder / "model.skops", "w"):
        pass
    declare_genuine(folder)


def lose_identity(folder: Path) -> None:
    """Removes the identity from the manifest."""
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["identity"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def come_from_the_future(folder: Path) -> None:
    """Gives the manifest a higher version."""
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))


@pytest.mark.parametrize(
    "damage", [lose_model, lose_manifest, cut_manifest, empty_model, lose_identity, come_from_the_future]
)
def test_what_is_missing_or_damaged_is_said_in_one_line(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """A classifier that lacks a file, is cut short, or is of a newer version is refused in one line naming it."""
    bundle("head").save(tmp_path)
    damage(tmp_path)
    with pytest.raises(ArtifactError) as caught:
        ClassifierBundle.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unfitted_classifier_in_a_file_is_refused(tmp_path: Path) -> None:
    """A model that was saved before it was fitted says so when it is used."""
    unfitted = dataclasses.replace(bundle("svm"), pipeline=build_classifier("svm", BLOCKS))
    unfitted.save(tmp_path)
    with pytest.raises(ArtifactError, match="fit it again"):
        ClassifierBundle.load(tmp_path).log_scores(rows(3)[0])


@pytest.mark.parametrize(
    "change",
    [{"recipe": Recipe(size=352)}, {"weights_sha256": "cd" * 32}, {"backbone": "other"}, {"interpolation": "bilinear"}],
    ids=lambda change: next(iter(change)),
)
def test_another_space_is_refused_with_both_names(change: dict[str, Any]) -> None:
    """Features of another space are refused, and both spaces are named; the same space is accepted."""
    other = dataclasses.replace(IDENTITY, **change)
    mine = bundle("svm")
    mine.require(dataclasses.replace(IDENTITY))
    with pytest.raises(SpaceMismatchError) as caught:
        mine.require(other)
    for name in ("my letters", IDENTITY.space, other.space):
        assert name in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "text", "name", "value"),
    [
        ("svm", "0.1", "C", 0.1),
        ("svm", "3", "C", 3),
        ("svm", "False", "dual", False),
        ("svm", "none", "class_weight", None),
        ("svm", "balanced", "class_weight", "balanced"),
        ("knn", "3", "n_neighbors", 3),
        ("knn", "uniform", "temperature", "uniform"),
        ("head", "1e-3", "tol", 1e-3),
    ],
)
def test_settings_are_read_as_what_they_are(kind: str, text: str, name: str, value: object) -> None:
    """Numbers, truth values, none and words reach the estimator as such."""
    estimator = build_classifier(kind, BLOCKS, {name: text}).named_steps[kind]
    assert estimator.get_params()[name] == value
    assert type(estimator.get_params()[name]) is type(value)


def test_settings_do_not_last() -> None:
    """A setting changes one classifier and not the table's defaults."""
    default = build_classifier("svm", BLOCKS).named_steps["svm"].C
    assert build_classifier("svm", BLOCKS, {"C": "77"}).named_steps["svm"].C == 77
    assert build_classifier("svm", BLOCKS).named_steps["svm"].C == default != 77


def test_unknown_names_list_the_nearest() -> None:
    """An unknown classifier, and an unknown hyper-parameter, are refused with the nearest name."""
    with pytest.raises(UnknownNameError, match=r"unknown classifier 'smv': did you mean svm\? known: head, knn, svm"):
        build_classifier("smv", BLOCKS)
    message = r"unknown hyper-parameter of knn 'n_neighbours': did you mean n_neighbors\?"
    with pytest.raises(UnknownNameError, match=message):
        build_classifier("knn", BLOCKS, {"n_neighbours": "3"})


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [("svm", "C", "much"), ("svm", "C", "-1"), ("knn", "n_neighbors", "0"), ("head", "C", "x")],
)
def test_impossible_values_are_refused_in_one_line(kind: str, name: str, text: str) -> None:
    """A value that the estimator refuses becomes one line that names classifier and hyper-parameter."""
    X, y = rows(3)
    with pytest.raises(EmbedpipeError, match=f"{kind} cannot be fitted: .*'{name}'") as caught:
        fit_classifier(build_classifier(kind, BLOCKS, {name: text}), X, y, np.ones(len(y)))
    assert "\n" not in str(caught.value)


def test_loading_a_model_does_not_import_torch(tmp_path: Path) -> None:
    """Saving and loading a classifier leaves torch out, and torch can still be imported afterwards."""
    bundle("svm").save(tmp_path)
    program = (
        "import sys; from pathlib import Path; from embedpipe.classifiers.bundles import ClassifierBundle as C; "
        "folder = Path(sys.argv[1]); c = C.load(folder); c.save(folder / 'again'); C.load(folder / 'again'); "
        "assert 'torch' not in sys.modules; import torch; print(torch.tensor([2.0]).sum().item())"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "2.0\n"), done.stderr


def test_a_classifier_of_an_earlier_version_loads(tmp_path: Path) -> None:
    """One that was saved before kinds of source were told apart loads; nothing was measured then, so nothing is ok."""
    saved = bundle("svm")
    scores = np.log([[0.9, 0.05, 0.05]] * 40)
    truth = np.zeros(40, np.int64)
    saved.documents = Calibration.fit(scores, truth, np.zeros(40))
    assert "kinds" not in saved.documents.to_arrays()
    saved.save(tmp_path / "c")
    loaded = ClassifierBundle.load(tmp_path / "c").documents
    found = loaded.decide(scores[:1], np.zeros(1), Rule(), kinds=np.zeros(1, int))
    assert (found.status.tolist(), found.measured.tolist()) == (["ambiguous"], [False])
    known = dataclasses.replace(saved.documents, kinds=np.zeros(40, int))
    assert known.decide(scores[:1], np.zeros(1), Rule(), kinds=np.zeros(1, int)).status.tolist() == ["ok"]


def test_fits_beside_each_other_draw_as_alone() -> None:
    """The solver has one generator for the whole process: figures were different each time that folds were fitted."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 60)).astype(np.float32), rng.integers(0, 6, 400).astype(str)

    def coefficients(_: int) -> NDArray[np.float64]:
        fitted = fit_classifier(build_classifier("svm", [("all", 0, 60)]), X, y, np.ones(400))
        found: NDArray[np.float64] = fitted[-1].coef_
        return found

    alone = coefficients(0)
    with ThreadPoolExecutor(4) as pool:
        assert all(np.array_equal(alone, found) for found in pool.map(coefficients, range(8)))
