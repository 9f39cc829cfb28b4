"""FAISS is told which processor this is."""

import os
import subprocess
import sys

import pytest

from embedpipe.core import faiss_library


class Found:
    """What threadpoolctl finds of libraries that are loaded."""

    def __init__(self, *names: str) -> None:
        self._found = [{"internal_api": "openblas", "architecture": name} for name in names]

    def info(self) -> list[dict[str, str]]:
        """As threadpoolctl's, with a library that has no name of a processor."""
        return [{"internal_api": "openmp"}, *self._found]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["SapphireRapids"], "SkylakeX"),
        (["SkylakeX", "Prescott"], "SkylakeX"),
        (["Haswell"], "Haswell"),
        (["Prescott"], None),
        (["ARMV8"], None),
        ([], None),
    ],
)
def test_the_nearest_processor_that_the_old_library_knows(
    monkeypatch: pytest.MonkeyPatch, names: list[str], expected: str | None
) -> None:
    """One of later years is named as the nearest earlier one; of others nothing is said."""
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    monkeypatch.setattr(faiss_library, "ThreadpoolController", lambda: Found(*names))
    assert faiss_library.processor() == expected


def test_what_the_user_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's own setting is not touched."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setattr(faiss_library, "ThreadpoolController", lambda: Found("SkylakeX"))
    assert faiss_library.processor() is None


def test_both_libraries_take_this_processor_for_the_same() -> None:
    """What FAISS brings is no slower than what numpy brings, and later processes are told nothing."""
    code = (
        "import os, threadpoolctl; from embedpipe.core import faiss_library;"
        "print(os.environ.get('OPENBLAS_CORETYPE'), [i['architecture'] for i in threadpoolctl.threadpool_info()"
        " if i['internal_api'] == 'openblas'])"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_CORETYPE"}
    told, _, found = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout.partition(" ")
    assert told == "None"
    names = found.strip().strip("[]").replace("'", "").split(", ")
    known = {faiss_library._NAMES.get(name) for name in names}
    assert len(known) == 1
