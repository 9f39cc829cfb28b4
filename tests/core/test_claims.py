"""Artifacts go to folders that were made for them; nothing else in any folder is touched."""

import json
import os
from pathlib import Path

import pytest

from embedpipe.core import files
from embedpipe.core.claims import MANIFEST, claim, claimed
from embedpipe.core.errors import ArtifactError
from embedpipe.core.files import FORMAT, NEWEST, replacing, sweep
from embedpipe.store.workspace import Workspace


def fill(folder: Path, *names: str, content: str = "mine") -> dict[str, str]:
    """Puts files into a folder; returns `everything` in it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return everything(folder)


def everything(folder: Path) -> dict[str, str]:
    """Content of every file below a folder, by name."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text(errors="replace") for path in found}


@pytest.mark.parametrize("keeper", [None, ".gitkeep", ".gitignore", ".DS_Store", "Thumbs.db"])
def test_a_new_or_an_empty_folder_is_taken(keeper: str | None, tmp_path: Path) -> None:
    """What version control or a file manager leaves in a folder makes it nobody's; the manifest says whose it is."""
    folder = tmp_path / "new" / "artifacts"
    if keeper is not None:
        fill(folder, keeper)
    with Workspace(folder).writing("embed"):
        assert json.loads((folder / MANIFEST).read_text())["holds"] == "artifacts"
    assert claimed(folder)
    fill(folder, "anything.txt")
    claim(folder)  # whatever comes later


@pytest.mark.parametrize("names", [("notes.txt",), (".tmp-notes.txt", ".tmp-important"), (".hidden",), ("a/b.pdf",)])
def test_a_folder_of_others_is_refused_and_left_alone(names: tuple[str, ...], tmp_path: Path) -> None:
    """One line names a file and what to do; with the clear yes artifacts go beside the files, which stay."""
    before = fill(tmp_path, *names)
    with (
        pytest.raises(ArtifactError, match=r"holds other files .*--share-folder"),
        Workspace(tmp_path).writing("embed"),
    ):
        pytest.fail("it was taken")
    assert everything(tmp_path) == before
    with Workspace(tmp_path, share=True).writing("embed"):
        pass
    assert before.items() <= everything(tmp_path).items()
    with Workspace(tmp_path).writing("embed"):
        pass  # it was said once


@pytest.mark.parametrize("name", ["labels.csv", "features/mine.txt", "demo/mine.txt", "sources.parquet"])
def test_a_name_that_artifacts_need_is_not_shared(name: str, tmp_path: Path) -> None:
    """The clear yes is no leave to write over somebody's labels.csv, or to mix with his features."""
    before = fill(tmp_path, name, "other.txt")
    with pytest.raises(ArtifactError, match=f"holds {name.partition('/')[0]}, which is not of embedpipe"):
        claim(tmp_path, share=True)
    assert everything(tmp_path) == before


@pytest.mark.parametrize(
    "mark",
    [
        "features/net-0123abcd/manifest.json",
        "classifiers/svm/current.json",
        "classifiers/svm/model.skops",
        "classifiers/svm/versions/1/manifest.json",
        "backbones/mine/weights.safetensors",
        "backbones/mine/checkpoint.pt",
    ],
)
def test_artifacts_of_an_earlier_version_are_known(mark: str, tmp_path: Path) -> None:
    """They have no manifest; they get one with the next writing, whatever else was put there."""
    fill(tmp_path, mark, "labels.csv", "somebody's.txt")
    claim(tmp_path)
    assert (tmp_path / MANIFEST).exists()


def test_labels_alone_make_no_folder_foreign(tmp_path: Path) -> None:
    """Labels with our columns may be there before anything else; those of another program may not."""
    fill(tmp_path, "labels.csv", content="\ufeffdocument,path,page,label,group\n")
    claim(tmp_path)
    fill(tmp_path / "other", "labels.csv", content="id,target\n")
    with pytest.raises(ArtifactError, match=r"holds other files \(labels\.csv\)"):
        claim(tmp_path / "other")


def test_features_of_another_program_are_no_artifacts(tmp_path: Path) -> None:
    """A manifest below `features` counts only in a folder that is named like a space."""
    fill(tmp_path, "features/users/manifest.json")
    with pytest.raises(ArtifactError, match="holds other files"):
        claim(tmp_path)


def test_what_cannot_be_a_folder_is_told(tmp_path: Path) -> None:
    """A file, a link that leads nowhere, a manifest of something else or of a later version."""
    fill(tmp_path, "file", "other/x")
    os.symlink("gone", tmp_path / "link")
    with pytest.raises(ArtifactError, match="it is a file"):
        claim(tmp_path / "file")
    with pytest.raises(ArtifactError, match="is a link to gone, which is not there"):
        claim(tmp_path / "link")
    (tmp_path / "other" / MANIFEST).write_text(json.dumps({"format": FORMAT, "holds": "recipes"}))
    with pytest.raises(ArtifactError, match="is not of artifacts"):
        claim(tmp_path / "other")
    (tmp_path / "other" / MANIFEST).write_text(json.dumps({"format": NEWEST + 1, "holds": "artifacts"}))
    with pytest.raises(ArtifactError, match="newer embedpipe"):
        claim(tmp_path / "other")
    os.symlink(tmp_path / "there", tmp_path / "good")
    (tmp_path / "there").mkdir()
    claim(tmp_path / "good")
    assert (tmp_path / "there" / MANIFEST).exists()


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_no_folder(name: str) -> None:
    """It is what an unset variable gives, and not the folder at hand."""
    with pytest.raises(ArtifactError, match="has no name"):
        Workspace(name)


def test_reading_makes_nothing(tmp_path: Path) -> None:
    """Who only looks leaves a folder of others, and a missing one, as they are."""
    before = fill(tmp_path / "other", "a.txt")
    for folder in (tmp_path / "other", tmp_path / "missing"):
        workspace = Workspace(folder)
        assert (workspace.spaces(), workspace.classifiers(), workspace.backbones()) == ({}, [], [])
        assert workspace.labels().rows == {}
    assert everything(tmp_path / "other") == before
    assert not (tmp_path / "missing").exists()


OTHERS = (".tmp-notes.txt", ".tmp-important", ".tmp-1-part", ".tmp-zzzzzzzz-1-1-a", ".embedpipe-notes", "a.tmp-3")


def test_sweeping_takes_only_names_that_we_make(tmp_path: Path) -> None:
    """Names that only begin like ours are somebody's, and so is whatever lies in folders that we did not make."""
    host = files._host()
    mine, earlier = f".embedpipe-{host}-4194999-1", f".tmp-{host}-4194999-1-labels.csv"  # no process has that number
    before = fill(tmp_path, *OTHERS, *(f"features/x/{name}" for name in OTHERS), f"docs/{mine}", f"docs/{earlier}")
    fill(tmp_path, mine, earlier, f"features/x/{mine}", f"features/x/{earlier}")
    (tmp_path / "docs" / "folder" / mine).mkdir(parents=True)
    sweep(tmp_path, ("features", "index"))
    assert everything(tmp_path) == before


def test_a_name_of_any_length_can_be_written(tmp_path: Path) -> None:
    """The temporary name does not grow with the wanted one, which may have 255 bytes."""
    for name in ("a", "合" * 83 + ".csv", "x" * 255):
        with replacing(tmp_path / name) as temporary:
            temporary.write_text("x")
            assert len(os.fsencode(temporary.name)) < 64
        assert (tmp_path / name).read_text() == "x"
