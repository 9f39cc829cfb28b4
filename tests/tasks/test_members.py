"""Documents in archives and mails go through every task as files do."""

import json
import os
import shutil
import tarfile
import zipfile
from email.message import EmailMessage
from pathlib import Path

import pymupdf
import pytest
import pyzipper
from ole_files import compound, outlook_mail
from pages.test_containers import sevenzipped
from pages.test_documents import sample
from typer.testing import CliRunner

from embedpipe.backbones.engines import Backbone
from embedpipe.classifiers.lessons.recipes import TrainingRecipe
from embedpipe.classifiers.training import fit
from embedpipe.commands import app
from embedpipe.core.files import sha256_of
from embedpipe.core.records import Document
from embedpipe.embedding.page_pictures import page_pictures
from embedpipe.embedding.streaming import Settings
from embedpipe.pages.documents import CONVERTED, READERS, Limits, ReadOptions
from embedpipe.pages.rendering import Job, Renderer, Selection
from embedpipe.samples import draw_samples
from embedpipe.store.page_extras import TABLES
from embedpipe.store.sorted_ledger import Ledger
from embedpipe.store.workspace import Workspace
from embedpipe.tasks import label
from embedpipe.tasks.classify import as_json, classify
from embedpipe.tasks.embed import embed
from embedpipe.tasks.forget import forget
from embedpipe.tasks.similar import Finder, Wanted
from embedpipe.tasks.sort_into import Wish, sort_into

TYPES = ("letter", "paper", "slides")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Documents of three types."""
    draw_samples(folder := tmp_path_factory.mktemp("drawn"), per_type=3, types=TYPES)
    return folder


@pytest.fixture
def pile(tmp_path: Path, drawn: Path) -> Path:
    """Folders of three types, each with an archive of its documents, which lie beside it as they are as well."""
    plain = tmp_path / "plain"
    shutil.copytree(drawn, plain)
    for kind in TYPES:
        (tmp_path / "pile" / kind).mkdir(parents=True)
        with zipfile.ZipFile(tmp_path / "pile" / kind / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for file in sorted((plain / kind).iterdir()):
                archive.write(file, f"in/{file.name}")
    return tmp_path / "pile"


def mail(file: Path, *attached: Path) -> str:
    """A mail with files."""
    message = EmailMessage()
    message["From"] = message["To"] = "a@example.org"
    for one in attached:
        message.add_attachment(one.read_bytes(), "application", "pdf", filename=one.name)
    file.write_bytes(bytes(message))
    return os.fspath(file)


def test_members_are_embedded_labelled_found_and_sorted(workspace: Workspace, tiny: Backbone, pile: Path) -> None:
    """From the archive to the copy in the folder of its type, by the path of the member."""
    plain = pile.parent / "plain"
    report = embed(workspace, [str(pile)], tiny, label_by_folder=True)
    assert (report.files, report.documents, report.members, report.failed) == (9, 9, 9, 0)
    assert workspace.labels().types() == dict.fromkeys(TYPES, 3)
    places = {str(p) for p in workspace.store().pages()["source"]}
    assert places == {f"{pile / kind / 'all.zip'}!/in/{f.name}" for kind in TYPES for f in (plain / kind).iterdir()}

    again = embed(workspace, [str(pile)], tiny)
    assert (again.embedded, again.skipped, again.filled) == (0, report.embedded, 0)
    trusted = embed(workspace, [str(pile)], tiny, settings=Settings(trust_mtime=True))
    assert (trusted.skipped, trusted.documents) == (report.embedded, 9)
    unpacked = embed(workspace, [str(plain)], tiny)
    assert (unpacked.embedded, unpacked.skipped, unpacked.members) == (0, report.embedded, 0)

    query = f"{pile / 'slides' / 'all.zip'}!/in/{min((plain / 'slides').iterdir()).name}"
    finder = Finder(workspace, workspace.store(), lambda: tiny)
    found = finder.find(f"{query}#page=1", Wanted(3))
    assert found.query.document_sha256 == sha256_of(min((plain / "slides").iterdir()))

    bundle = fit(workspace, workspace.store(), TrainingRecipe("svm"))
    new = mail(pile.parent / "m.eml", *(plain / "letter").iterdir())
    verdicts, done = classify(workspace, [new], bundle, lambda: tiny)
    assert [v.path for v in verdicts] == [f"{new}!/{f.name}" for f in (plain / "letter").iterdir()]
    target = pile.parent / "sorted"
    sort_into(verdicts, done.copies, Wish(target, [new], link=True, answered_by="svm version 1"))
    entries = Ledger(target).entries
    assert {e.source for e in entries} == {v.path for v in verdicts}
    assert {sha256_of(target / e.copy) for e in entries} == {v.document_sha256 for v in verdicts}
    repeated = sort_into(verdicts, (), Wish(target, [new], answered_by="svm version 1"))
    assert repeated.counts["unchanged"] == 3


def packed(folder: Path, files: list[Path]) -> dict[str, Path]:
    """The same files in a container of each of the kinds that need a library, a password or an option."""
    contents = [(file.name, file.read_bytes()) for file in files]
    (folder / "a.7z").write_bytes(sevenzipped(contents, "s3cret"))
    (folder / "a.msg").write_bytes(compound(outlook_mail(contents)))
    with pyzipper.AESZipFile(folder / "a.zip", "w", encryption=pyzipper.WZ_AES) as archive:
        archive.setpassword(b"s3cret")
        for name, content in contents:
            archive.writestr(name, content)
    with pymupdf.open() as document:
        document.new_page().insert_text((72, 72), "what came with it")
        for name, content in contents:
            document.embfile_add(name, content, filename=name, ufilename=name)
        document.save(folder / "a.pdf")
    return {kind: folder / f"a.{kind}" for kind in ("7z", "msg", "zip", "pdf")}


def test_members_behind_passwords_and_options(
    workspace: Workspace, tiny: Backbone, drawn: Path, tmp_path: Path
) -> None:
    """By their paths they are embedded, found again, compared, classified, copied, labelled and forgotten."""
    (tmp_path / "pile").mkdir()
    made = packed(tmp_path / "pile", sorted((drawn / "letter").iterdir()))
    files, pile = sorted((drawn / "letter").iterdir()), [str(tmp_path / "pile")]
    options = Settings(limits=Limits(attachments=True), passwords=("s3cret",))
    report = embed(workspace, [*pile, str(drawn / "slides"), str(drawn / "paper")], tiny, settings=options)
    assert (report.failed, report.members, report.duplicates) == (0, 12, 9)
    assert report.files == report.documents + report.duplicates == 12 + 1 + 6
    again = embed(workspace, pile, tiny, settings=options)
    assert (again.embedded, again.filled, again.members, again.failed) == (0, 0, 12, 0)
    (tmp_path / "l.csv").write_text(
        "path,label\n"
        + "".join(f"{made['7z']}!/{file.name},letter\n" for file in files)
        + "".join(f"{f},{f.parent.name}\n" for kind in ("slides", "paper") for f in (drawn / kind).iterdir()),
        encoding="utf-8",
    )
    label.take(workspace, str(tmp_path / "l.csv"), "label")
    assert workspace.labels().types() == dict.fromkeys(TYPES, 3)

    bundle = fit(workspace, workspace.store(), TrainingRecipe("svm"))
    finder = Finder(workspace, workspace.store(), lambda: tiny, settings=options)
    for kind, place in made.items():
        found = finder.find(f"{place}!/{files[1].name}#page=1", Wanted(3))
        assert found.query.document_sha256 == sha256_of(files[1]), kind
        verdicts, done = classify(workspace, [str(place)], bundle, lambda: tiny, settings=options)
        members = [v for v in verdicts if "!/" in v.path]
        assert [v.path for v in members] == [f"{place}!/{file.name}" for file in files]
        sort_into(members, done.copies, Wish(tmp_path / kind, [str(place)], answered_by="svm version 1"))
        copies = Ledger(tmp_path / kind).entries
        assert {sha256_of(tmp_path / kind / e.copy) for e in copies} == {sha256_of(file) for file in files}
        assert all(json.loads(json.dumps(as_json(v)))["path"] == v.path for v in members)
    for place in (f"{made['msg']}!/{files[0].name}", f"{made['zip']}!/{files[1].name}", made["7z"], made["pdf"]):
        assert len(forget(workspace, [str(place)]).documents) == 1
    assert not {sha256_of(file) for file in files} & set(workspace.store().pages()["document_sha256"])


def test_pages_are_drawn_again_from_their_container(workspace: Workspace, tiny: Backbone, pile: Path) -> None:
    """Without thumbnails a picture comes from the archive, also where that was copied without its times."""
    embed(workspace, [str(pile)], tiny, keep=())
    pages = workspace.store().pages()
    keys = [(str(d), int(i)) for d, i in zip(pages["document_sha256"][:3], pages["page_index"][:3], strict=True)]
    assert set(page_pictures(workspace, keys)) == set(keys)
    for kind in TYPES:
        os.utime(pile / kind / "all.zip", (1, 1))
    assert set(page_pictures(workspace, keys)) == set(keys)
    filled = embed(workspace, [str(pile)], tiny, keep=tuple(TABLES))
    assert filled.filled == len(pages)


def test_members_that_are_gone_are_told(workspace: Workspace, tiny: Backbone, pile: Path) -> None:
    """An archive that was removed takes its members along, one that lost a member that one; none for being damaged."""
    embed(workspace, [str(pile)], tiny)
    (pile / "letter" / "all.zip").unlink()
    with zipfile.ZipFile(pile / "paper" / "all.zip") as archive:
        kept = {name: archive.read(name) for name in archive.namelist()[:2]}
    with zipfile.ZipFile(pile / "paper" / "all.zip", "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
    slides = (pile / "slides" / "all.zip").read_bytes()
    (pile / "slides" / "all.zip").write_bytes(slides[: len(slides) // 2])
    report = embed(workspace, [str(pile)], tiny)
    assert len(report.gone) == 4
    assert [f.page.source for f in report.failures] == [str(pile / "slides" / "all.zip")]
    (pile / "slides" / "all.zip").write_bytes(slides)
    report = embed(workspace, [str(pile)], tiny, settings=Settings(exclude=("slides",)))
    assert len(report.left) == 3
    assert report.failures == []


def test_a_container_is_forgotten_with_its_members(workspace: Workspace, tiny: Backbone, pile: Path) -> None:
    """By its own path, and one member by its."""
    embed(workspace, [str(pile)], tiny)
    source = str(workspace.store().pages()["source"].iloc[0])
    assert len(forget(workspace, [source]).documents) == 1
    assert len(forget(workspace, [str(pile / "slides" / "all.zip")]).documents) == 3
    assert len(set(workspace.store().pages()["document_sha256"])) == 5


def test_labels_name_members(workspace: Workspace, tiny: Backbone, pile: Path, tmp_path: Path) -> None:
    """In a list of labels, and by the folders in an archive that is an input itself."""
    embed(workspace, [str(pile)], tiny)
    source = str(workspace.store().pages()["source"].iloc[0])
    (tmp_path / "l.csv").write_text(f"path,label\n{source},form\n", encoding="utf-8")
    label.take(workspace, str(tmp_path / "l.csv"), "label")
    assert workspace.labels().types() == {"form": 1}
    with tarfile.open(tmp_path / "all.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "plain", ".")
    report = embed(workspace, [str(tmp_path / "all.tar.gz")], tiny, label_by_folder=True)
    assert (report.embedded, report.members) == (0, 9)
    assert workspace.labels().types() == dict.fromkeys(TYPES, 3)


def test_what_changes_while_it_is_read_is_unreadable(pile: Path) -> None:
    """A member of an archive that was written again is not drawn as if it were the same."""
    archive = pile / "letter" / "all.zip"
    with zipfile.ZipFile(archive) as opened:
        name = opened.namelist()[0]
    document = Document(f"{archive}!/{name}", "0" * 64, 9, archive.stat().st_mtime_ns - 1, "pdf")
    with Renderer(ReadOptions(limits=Limits(page_seconds=60))) as renderer:
        [rendered] = list(renderer.render([Job(document, Selection())]))
    assert [(r.kind, "changed" in r.message) for r in rendered.results] == [("unreadable", True)]


def test_the_command_line_counts_members(workspace: Workspace, pile: Path) -> None:
    """One line says how many files lie in containers, and what was passed over."""
    empty = mail(pile / "empty.eml")
    options = [
        "--artifacts",
        str(workspace.root),
        "--backbone",
        "timm:test_resnet",
        "--weights",
        "none",
        "--size",
        "64",
    ]
    done = CliRunner().invoke(app, ["embed", str(pile), *options, "--engine", "torch"])
    assert done.exit_code == 0, done.output
    assert "of these files, 9 lie in archives, mails and mailboxes" in done.output
    assert "passed over: 1 mails without attachments" in done.output
    done = CliRunner().invoke(app, ["embed", empty, *options])
    assert done.exit_code == 3
    assert "no_pages" in done.output


def test_a_heap_of_everything_adds_up(workspace: Workspace, tiny: Backbone, tmp_path: Path) -> None:
    """One of each kind, loose, in archives and in a mail: each file is in one count; a second run embeds nothing."""
    loose = tmp_path / "loose"
    loose.mkdir()
    files = [sample(loose, key) for key in READERS if key not in {"txt", *CONVERTED}]
    (tmp_path / "heap").mkdir()
    with zipfile.ZipFile(tmp_path / "heap" / "all.zip", "w") as archive:
        for file in files:
            archive.write(file, file.name)
        archive.writestr("broken.pdf", b"%PDF-1.7 nothing")
        archive.writestr("letter.docx", b"x")
        archive.writestr("notes.txt", b"x")
    with tarfile.open(tmp_path / "heap" / "all.tar.xz", "w:xz") as archive:
        archive.add(tmp_path / "heap" / "all.zip", "all.zip")
    mail(tmp_path / "heap" / "m.eml", tmp_path / "heap" / "all.zip", *files)
    mail(tmp_path / "heap" / "empty.eml")
    report = embed(workspace, [str(tmp_path / "heap"), str(loose)], tiny)
    kinds = len(files)
    assert report.files == 3 * (kinds + 3) + 2 * kinds + 1
    assert report.files == (
        report.documents + report.duplicates + report.same_files + report.ignored + report.failed_files
    )
    assert (report.documents, report.duplicates) == (kinds, 4 * kinds + 2)
    assert report.others == {"other": 3, "unread": 3, "empty": 1}
    assert {(f.kind, Path(f.page.source).name) for f in report.failures} == {("not_a_document", "broken.pdf")}
    assert {what for _, what in report.unread} == {"Word document"}
    again = embed(workspace, [str(tmp_path / "heap"), str(loose)], tiny)
    assert (again.embedded, again.files, again.failed_files) == (0, report.files, report.failed_files)
