"""What may import what, and what a command loads."""

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
    ("module", "unwanted"),
    [
        ("embedpipe", "numpy"),
        ("embedpipe.commands", "numpy"),
        ("embedpipe.rendering", "torch"),
        ("embedpipe.training", "torch"),
        ("embedpipe.classification", "torch"),
        ("embedpipe.lookalikes", "torch"),
        ("embedpipe.inventory", "torch"),
        ("embedpipe.assessment", "torch"),
        ("embedpipe.backbones", "sklearn"),
    ],
)
def test_modules_do_not_load_what_they_do_not_use(module: str, unwanted: str) -> None:
    """`--help` loads no numpy; whatever works on stored features, and the render workers, load no torch."""
    code = f"import sys, {module}; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
