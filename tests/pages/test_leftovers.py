"""What lies below a folder and is not its user's is passed over and counted; what is named is read."""

import os
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from embedpipe.core import claims
from embedpipe.core.records import Document
from embedpipe.core.tables import write_csv
from embedpipe.pages.documents import Limits
from embedpipe.pages.walking import FoundFile, IgnoredFile, identify, walk

PDF = b"%PDF-1.7\n%%EOF\n"

LEFTOVERS = (
    "@eaDir/a.pdf/SYNOFILE_THUMB_M.jpg",
    "#recycle/old.pdf",
    "#snapshot/day/a.pdf",
    "@Recycle/old.pdf",
    ".stversions/a~20240101.pdf",
    ".Trash-1000/files/a.pdf",
    ".git/objects/a.pdf",
    "__MACOSX/x/._a.pdf",
    "$RECYCLE.BIN/S-1-5/$R1.pdf",
    "System Volume Information/a.pdf",
    "lost+found/1.pdf",
    "deep/in/@eaDir/a.pdf",
    "deep/LOST+FOUND/1.pdf",
    "._a.pdf",
    "~$a.pdf",
    ".~lock.a.pdf#",
    ".syncthing.a.pdf.tmp",
    ".nfs0001.pdf",
    "a.pdf.crdownload",
    "a.pdf.part",
    "Thumbs.db",
)
OF_THE_USER = ("a.pdf", ".hidden.pdf", "eaDir/a.pdf", "recycle/a.pdf", "found/a.pdf", "parts/a.pdf", "features/a.pdf")


def touch(root: Path, *paths: str, content: bytes = PDF) -> None:
    """Makes files and the folders above them."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def kinds(root: Path, *exclude: str) -> dict[str, str]:
    """What the walk and a look into the files tell of each, "" for what is read."""
    told = {}
    for item in walk([os.fspath(root)], exclude):
        looked = identify(item, Limits()) if isinstance(item, FoundFile) else item
        path = item.path if isinstance(item, FoundFile | IgnoredFile) else item.page.source
        told[os.path.relpath(path, root)] = "" if isinstance(looked, Document) else getattr(looked, "kind", "?")
    return told


def test_leftovers_are_passed_over_and_counted(tmp_path: Path) -> None:
    """Each is told by its own name, wherever it lies; what is only named alike is the user's."""
    touch(tmp_path, *LEFTOVERS, *OF_THE_USER)
    assert kinds(tmp_path) == {**dict.fromkeys(LEFTOVERS, "leftover"), **dict.fromkeys(OF_THE_USER, "")}


def test_what_is_named_is_read(tmp_path: Path) -> None:
    """A folder or a file of such a name is read where the user names it, also below a folder of dots."""
    touch(tmp_path, ".stversions/a.pdf", "._b.pdf", ".x/docs/c.pdf")
    assert kinds(tmp_path / ".stversions") == {"a.pdf": ""}
    assert kinds(tmp_path / ".x" / "docs") == {"c.pdf": ""}
    assert kinds(tmp_path / "._b.pdf") == {".": ""}


def test_artifacts_are_never_walked(tmp_path: Path) -> None:
    """Those of this version and of earlier ones count as one; a shared folder is walked but for what is ours in it."""
    touch(tmp_path, "a.pdf", "artifacts/similar.pdf", "old/features/space-00000000/manifest.json", "old/x.pdf")
    claims.claim(tmp_path / "new")
    touch(tmp_path, "new/demo/x.pdf", "shared/mine.pdf")
    claims.claim(tmp_path / "shared", share=True)
    touch(tmp_path, "shared/features/x.pdf")
    shared = {"shared/mine.pdf": "", "shared/embedpipe.json": "ours", "shared/features": "ours"}
    assert kinds(tmp_path) == {"a.pdf": "", "artifacts/similar.pdf": "", "old": "ours", "new": "ours"} | shared
    assert kinds(tmp_path / "shared") == {"mine.pdf": "", "embedpipe.json": "ours", "features": "ours"}


def test_pictures_of_ours_are_known_by_their_content(tmp_path: Path) -> None:
    """A PNG that says that embedpipe made it is no document, under any name, unless it is named."""
    info = PngInfo()
    info.add_text("Software", "embedpipe")
    Image.new("RGB", (9, 9)).save(tmp_path / "sheet.png", pnginfo=info)
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.png")
    assert kinds(tmp_path) == {"sheet.png": "ours", "photo.png": ""}
    assert kinds(tmp_path / "sheet.png") == {".": ""}


@pytest.mark.parametrize(("name", "state"), [("embedpipe-sorted.csv", "copied"), ("embedpipe-parts.csv", "part")])
def test_copies_of_ours_are_passed_over_while_their_source_is_there(tmp_path: Path, name: str, state: str) -> None:
    """What a person put, moved or edited there is read, and so is what is left where the source is gone."""
    touch(tmp_path, "in/a.pdf", "in/b.pdf", "out/x/a.pdf", "out/x/mine.pdf", "out/x/b.pdf", "out/y/c.pdf")
    (tmp_path / "out/x/b.pdf").write_bytes(PDF + b"edited")
    rows = [
        {"copy": f"{folder}/{file}.pdf", "source": str(tmp_path / "in" / f"{file}.pdf"), "state": state}
        for folder, file in (("x", "a"), ("x", "b"), ("y", "c"))
    ]
    write_csv(tmp_path / "out" / name, ("copy", "source", "state"), rows)
    told = kinds(tmp_path)
    assert told == {
        **dict.fromkeys(("in/a.pdf", "in/b.pdf", "out/x/mine.pdf", "out/x/b.pdf", "out/y/c.pdf"), ""),
        **dict.fromkeys(("out/x/a.pdf", f"out/{name}"), "ours"),
    }
    assert kinds(tmp_path / "out")["x/a.pdf"] == ""


@pytest.mark.parametrize(
    ("pattern", "left"),
    [
        ("*.tif", {"a.tif", "d/a.tif"}),
        ("d", {"d/a.tif", "d/e/b.pdf"}),
        ("d/e/", {"d/e/b.pdf"}),
        ("d/*.tif", {"d/a.tif"}),
    ],
)
def test_exclude(tmp_path: Path, pattern: str, left: set[str]) -> None:
    """A pattern is of names, or with a slash of paths below the input; a folder goes with all that is in it."""
    touch(tmp_path, "a.tif", "b.pdf", "d/a.tif", "d/e/b.pdf")
    assert {path for path, kind in kinds(tmp_path, pattern).items() if kind == "excluded"} == left
