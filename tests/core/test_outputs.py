"""Outputs go where links lead, through FIFOs and devices, and are known again when they are to be replaced."""

import io
import os
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from embedpipe.classifiers.bundles import ClassifierBundle, FittedParts
from embedpipe.core import outputs
from embedpipe.core.errors import ArtifactError
from embedpipe.core.outputs import FORMATS, HTML, PNG, Kind, csv_of, written
from embedpipe.core.tables import read_csv, write_csv
from embedpipe.drawing.galleries import write_gallery
from embedpipe.drawing.pictures import Tile, contact_sheet, gallery, save_figure
from embedpipe.store.feature_tables import export_features
from embedpipe.store.feature_writer import FeatureWriter
from embedpipe.store.features import FeatureStore
from embedpipe.store.labels import Label, Labels
from embedpipe.tasks.export import export_joblib
from embedpipe.tasks.label_cluster import COLUMNS

pytestmark = pytest.mark.usefixtures("spared_devices")


def put(path: Path, text: str = "new") -> None:
    """Writes an output."""
    with written(path) as temporary:
        temporary.write_text(text)


def test_a_file_is_replaced_with_its_mode(tmp_path: Path) -> None:
    """A new output takes the old one's place, which nobody else can read, and leaves nothing beside it."""
    file = tmp_path / "a.csv"
    file.write_text("old")
    file.chmod(0o640)
    put(file)
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o640)
    assert os.listdir(tmp_path) == ["a.csv"]


def test_links_are_followed(tmp_path: Path) -> None:
    """The file at the end of a chain of links is written, whether it is there or not; the links stay."""
    (tmp_path / "below").mkdir()
    (tmp_path / "first").symlink_to("below/second")
    (tmp_path / "below" / "second").symlink_to("../deep/er/file")
    for text in ("new", "newer"):
        put(tmp_path / "first", text)
        assert (tmp_path / "deep" / "er" / "file").read_text() == text
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "below" / "second").is_symlink()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(ArtifactError, match="too many links"):
        put(tmp_path / "circle")


def test_a_fifo_is_written_through(tmp_path: Path) -> None:
    """What reads a FIFO gets the output, also through a link; the FIFO stays one."""
    fifo, got = tmp_path / "fifo", []
    os.mkfifo(fifo)
    (tmp_path / "link").symlink_to("fifo")
    reader = threading.Thread(target=lambda: got.append(fifo.read_bytes()))
    reader.start()
    put(tmp_path / "link", "x" * 300_000)
    reader.join(30)
    assert got == [b"x" * 300_000]
    assert stat.S_ISFIFO(fifo.stat().st_mode)


def test_devices_are_written_through(tmp_path: Path) -> None:
    """They stay devices, also for root; what they say becomes an error of one line."""
    null, full = tmp_path / "null", tmp_path / "full"  # never those of the machine, should this fail as root
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        os.mknod(full, 0o666 | stat.S_IFCHR, os.makedev(1, 7))
        null.write_bytes(b"")
    except OSError:
        pytest.skip("no devices can be made here")
    put(null)
    with pytest.raises(ArtifactError, match=r"cannot write .*full: No space left on device"):
        put(full)
    assert all(stat.S_ISCHR(path.stat().st_mode) for path in (null, full))
    assert sorted(os.listdir(tmp_path)) == ["full", "null"]


def test_open_files_are_written_to(tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    """/dev/stdout is what stdout is now, after what was printed; of /dev/fd/N, the file's place moves on."""
    sys.stdout.write("before ")
    put(outputs.STDOUT)
    with outputs.keeping_stdout():
        print("for people")  # noqa: T201
        put(outputs.STDOUT, " newer")
    assert capsysbinary.readouterr() == (b"before new newer", b"for people\n")
    with open(tmp_path / "a", "wb") as file:
        file.write(b"before ")
        file.flush()
        put(Path(f"/dev/fd/{file.fileno()}"))
        put(Path(f"/proc/self/fd/{file.fileno()}"))
    assert (tmp_path / "a").read_bytes() == b"before newnew"
    with pytest.raises(ArtifactError, match="Bad file descriptor"):
        put(Path("/dev/fd/987"))


def test_a_closed_stdout_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody reads any more, or stdout was closed from the start."""
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w") as closed:
        monkeypatch.setattr(sys, "stdout", closed)
        with pytest.raises(ArtifactError, match="Broken pipe"):
            put(outputs.STDOUT)
    monkeypatch.setattr(sys, "__stdout__", None)
    with pytest.raises(ArtifactError, match="Bad file descriptor"):
        put(outputs.STDOUT)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> FeatureStore:
    """A store with no page."""
    from embedpipe.core.records import Identity, Recipe  # noqa: PLC0415

    identity = Identity("net", "1" * 64, Recipe(), ("p",))
    store = FeatureStore.create(tmp_path_factory.mktemp("store"), identity, [("p", 0, 4)])
    FeatureWriter(store, {}).flush()
    return store


def _figure(file: Path) -> None:
    figure = plt.figure(figsize=(1, 1))
    save_figure(figure, file)
    plt.close(figure)


TILE = Tile(np.zeros((20, 20, 3), np.uint8), "a")
FAMILIES = csv_of("embedpipe.tasks.check_labels:COLUMNS", "embedpipe.tasks.label_cluster:COLUMNS")
WRITERS: dict[str, tuple[Kind, Callable[[Path], object]]] = {
    "contact sheet": (PNG, lambda file: contact_sheet(TILE, [TILE], file)),
    "gallery": (PNG, lambda file: gallery([("a", [TILE])], file, "title")),
    "figure": (PNG, _figure),
    "html": (HTML, lambda file: write_gallery(file, "a", {}, [])),
    "csv": (FAMILIES, lambda file: write_csv(file, COLUMNS, [{"family": 1}, {"family": 2}])),
}


@pytest.mark.parametrize("what", WRITERS)
def test_what_was_made_here_is_known_again(what: str, tmp_path: Path) -> None:
    """An output of a kind may be replaced by another one of it; anything else may not."""
    kind, write = WRITERS[what]
    write(tmp_path / "a")
    assert kind.objection(tmp_path / "a") == ""
    for other, (other_kind, _) in WRITERS.items():
        if other_kind is not kind:
            assert other_kind.objection(tmp_path / "a") == "is not a file that embedpipe made", other


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 99, b"\x89PNG\r\n\x1a\n" + b"x" * 99, b"<!DOCTYPE html><p>mine", b"a,b\n"]
)
def test_files_of_others_are_known_as_such(content: bytes, tmp_path: Path) -> None:
    """Rubbish, and files of the kind that another program made."""
    (tmp_path / "a").write_bytes(content)
    for kind in (PNG, HTML, FAMILIES, *FORMATS.values()):
        assert kind.objection(tmp_path / "a") == "is not a file that embedpipe made"


def test_what_people_filled_in_is_theirs(tmp_path: Path) -> None:
    """A label that was filled in, or a column that was added, is work that would be lost."""
    file = tmp_path / "a.csv"
    write_csv(file, COLUMNS, [{"family": 1}, {"family": 2}])
    rows = read_csv(file)
    write_csv(file, COLUMNS, [rows[0], rows[1] | {"label": "invoice"}])
    assert FAMILIES.objection(file) == "holds labels that were filled in"
    write_csv(file, (*COLUMNS, "remark"), rows)
    assert FAMILIES.objection(file) == "is not a file that embedpipe made"


@pytest.mark.parametrize("file_format", [name for name in FORMATS if name != "joblib"])
def test_exported_features_are_known_again(file_format: str, store: FeatureStore, tmp_path: Path) -> None:
    """Their labels come from labels.csv, so they are nobody's work; an npy file is known by the CSV beside it."""
    labels = Labels({("1" * 64, 0): Label("1" * 64, "a.pdf", "invoice")})
    file = tmp_path / "a"
    export_features(store, labels, file, file_format)
    assert FORMATS[file_format].objection(file) == ""
    for path, kind in FORMATS[file_format].beside(file):
        assert kind.objection(path) == ""
        path.unlink()
        assert FORMATS[file_format].objection(file) != ""


@pytest.mark.parametrize("suffix", ["joblib", "joblib.gz", "xz"])
def test_an_exported_classifier_is_known_again(suffix: str, tmp_path: Path) -> None:
    """A pickle of others is not; a compressed one is read back, but never replaced unasked."""
    pipeline = make_pipeline(StandardScaler())
    bundle = ClassifierBundle.__new__(ClassifierBundle)
    object.__setattr__(bundle, "pipeline", pipeline)
    object.__setattr__(bundle, "parts", FittedParts())
    file = tmp_path / f"a.{suffix}"
    export_joblib(bundle, file)
    assert [name for name, _ in joblib.load(file).steps] == ["standardscaler"]
    assert (FORMATS["joblib"].objection(file) == "") == (suffix == "joblib")
    assert (file.read_bytes()[:1] == b"\x80") == (suffix == "joblib")
    joblib.dump(pipeline, file)
    assert FORMATS["joblib"].objection(file) != ""


def test_an_output_without_a_buffer_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stdout that a test or another program has put in place gets the bytes as well."""
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stdout)
    put(outputs.STDOUT)
    assert stdout.buffer.getvalue() == b"new"  # type: ignore[attr-defined]
