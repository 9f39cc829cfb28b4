"""Classifiers that were saved when all modules lay side by side still load and answer the same."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embedpipe.classifiers.bundles import ClassifierBundle
from embedpipe.core.versions import in_use

SAVED = Path(__file__).with_name("saved_0.1")
"""Written by `fit-svm`, `fit-knn`, `fit-head` and `export` before the modules moved into sub-packages."""

UNPICKLE = """
import json, sys, warnings
warnings.simplefilter("ignore")
import joblib, numpy as np
classifier = joblib.load(sys.argv[1])
print(json.dumps(classifier.predict(np.array(json.loads(sys.argv[2]), np.float32)).tolist()))
"""


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    """What they answered then."""
    values: dict[str, Any] = json.loads((SAVED / "expected.json").read_text(encoding="utf-8"))
    return values


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.InconsistentVersionWarning")
@pytest.mark.parametrize("kind", ["svm", "knn", "head"])
def test_a_classifier_from_before_the_move_answers_the_same(kind: str, expected: dict[str, Any]) -> None:
    """Its model file names modules that are elsewhere now."""
    bundle = ClassifierBundle.load(in_use(SAVED / kind))
    X = np.array(expected["X"], np.float32)
    assert bundle.log_scores(X) == pytest.approx(np.array(expected["log_scores"][kind]), abs=1e-4)
    assert bundle.distances(X) == pytest.approx(np.array(expected["distances"][kind]), abs=1e-4)


def test_a_pickle_from_before_the_move_loads_in_another_program(expected: dict[str, Any]) -> None:
    """A program that only unpickles it never heard of the present names."""
    command = [sys.executable, "-c", UNPICKLE, str(SAVED / "knn.joblib"), json.dumps(expected["X"])]
    told = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    classes = ["form", "invoice", "letter"]
    assert told == [classes[k] for k in np.argmax(expected["log_scores"]["knn"], axis=1)]
