"""Versions of a folder of files: one is in use, the last ones stay, and a kill changes nothing."""

from pathlib import Path

import pytest

from embedpipe.core import versions
from embedpipe.core.errors import ArtifactError


def add(folder: Path, text: str) -> None:
    """Adds a version that holds a text."""
    with versions.adding(folder) as new:
        (new / "model.txt").write_text(text)
        (new / versions.MANIFEST).write_text("{}")


def text(folder: Path) -> str:
    """The text of the version in use."""
    return (versions.in_use(folder) / "model.txt").read_text()


def test_the_last_version_is_in_use_and_some_before_stay(tmp_path: Path) -> None:
    """The newest version is in use, as many as promised stay beside it, and numbers are never used again."""
    for number in range(1, 9):
        add(tmp_path, f"version {number}")
    assert text(tmp_path) == "version 8"
    assert versions.numbers(tmp_path) == list(range(8 - versions.KEPT, 9))


def test_going_back_can_be_undone(tmp_path: Path) -> None:
    """An earlier version can be used, and then the later one again; what is in use is never pruned."""
    for number in range(1, 4):
        add(tmp_path, f"version {number}")
    versions.use(tmp_path, versions.before(tmp_path))
    assert text(tmp_path) == "version 2"
    versions.use(tmp_path, 3)
    assert text(tmp_path) == "version 3"
    versions.use(tmp_path, 1)
    with pytest.raises(ArtifactError, match="no version before"):
        versions.before(tmp_path)
    assert versions.prune(tmp_path, 0) == 2
    assert text(tmp_path) == "version 1"
    with pytest.raises(ArtifactError, match="has no version 3; it has 1"):
        versions.use(tmp_path, 3)


@pytest.mark.parametrize("step", ["while writing", "before the switch"])
def test_an_interrupt_leaves_the_version_in_use(tmp_path: Path, step: str) -> None:
    """A version that does not come to its end is not used, not listed, and leaves no files."""
    add(tmp_path, "old")

    def interrupted() -> None:
        with versions.adding(tmp_path) as new:
            (new / "model.txt").write_text("new")
            if step == "before the switch":
                (new / versions.MANIFEST).write_text("{}")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert text(tmp_path) == "old"
    assert versions.numbers(tmp_path) == [1]
    assert len(list((tmp_path / "versions").iterdir())) == 1


def test_files_of_an_earlier_embedpipe_become_the_first_version(tmp_path: Path) -> None:
    """Files that lie in the folder itself are in use until there is a version, and are the first one then."""
    (tmp_path / "model.txt").write_text("first")
    (tmp_path / versions.MANIFEST).write_text("{}")
    assert text(tmp_path) == "first"
    assert (versions.current(tmp_path), versions.numbers(tmp_path)) == (0, [0])
    add(tmp_path, "second")
    assert versions.numbers(tmp_path) == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["current.json", "versions"]
    versions.use(tmp_path, 1)
    assert text(tmp_path) == "first"


def test_a_damaged_pointer_is_one_line(tmp_path: Path) -> None:
    """What does not say which version is in use is an error that names the file."""
    add(tmp_path, "only")
    (tmp_path / "current.json").write_text('{"format": 1, "version": "x"}')
    with pytest.raises(ArtifactError, match=r"current\.json is damaged"):
        versions.in_use(tmp_path)


def test_a_first_version_that_was_finished_is_in_use(tmp_path: Path) -> None:
    """A kill just before the first version is put into use leaves it whole, and in use."""
    add(tmp_path, "first")
    (tmp_path / "current.json").unlink()
    assert (versions.current(tmp_path), text(tmp_path)) == (1, "first")
    add(tmp_path, "second")
    assert (versions.current(tmp_path), text(tmp_path), versions.numbers(tmp_path)) == (2, "second", [1, 2])
