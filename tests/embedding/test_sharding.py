"""Which shard a file belongs to: each to one, whatever else is there and wherever the heap is mounted."""

import collections
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from embedpipe.embedding.intake import Intake, Report
from embedpipe.embedding.sharding import Shard, shard_of
from embedpipe.embedding.streaming import Settings
from embedpipe.store.workspace import Workspace


def test_shards_are_balanced_and_stay() -> None:
    """Of ten thousand files each of eight shards has about an eighth, the same wherever the heap is."""
    names = [f"{n % 97}/letter {n}.pdf" for n in range(10_000)]
    numbers = [shard_of(f"/heap/{name}", ["/heap"], 8) for name in names]
    counts = collections.Counter(numbers)
    assert set(counts) == set(range(1, 9))
    assert max(counts.values()) < 1.1 * 10_000 / 8
    assert numbers == [shard_of(f"/mnt/other/heap/{name}", ["/mnt", "/mnt/other/heap"], 8) for name in names]
    assert shard_of("/heap/e\u0301.pdf", ["/heap"], 1000) == shard_of("/heap/\u00e9.pdf", ["/heap"], 1000)
    assert shard_of("/heap/a.pdf", ["/heap"], 16) == 16  # never changes: shards of earlier versions go on


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "/2", "a/b", "1/0", "-1/2", "1/2/3", "²/3"])
def test_what_is_no_shard(text: str) -> None:
    """Shards count from 1."""
    with pytest.raises(ValueError, match=r"."):
        Shard.parse(text)
    assert str(Shard.parse("3/16")) == "3/16"


def test_what_shards_count_adds_up(make_pdf: Callable[..., Path], tmp_path: Path, workspace: Workspace) -> None:
    """Every file is in one shard, also those that are passed over; hard links in two shards are read in both."""
    for number in range(12):
        make_pdf(f"heap/{number}.pdf", [str(number)])
    (tmp_path / "heap/notes.txt").write_text("no document")
    heap = str(tmp_path / "heap")
    first = next(n for n in range(12) if Shard(1, 2).holds(f"{heap}/{n}.pdf", [heap]))
    for name in ("link a", "link b", "link c", "link d"):
        os.link(f"{heap}/{first}.pdf", f"{heap}/{name}.pdf")
    reports, hashes = [], []
    for number in (1, 2):
        report = Report()
        intake = Intake([heap], Settings(shard=Shard(number, 2)), workspace.sources(), report)
        assert len(list(intake)) == len(intake.documents)
        assert intake.size()[0] == report.files
        reports.append(report)
        hashes.append(set(intake.documents))
    assert sum(report.files for report in reports) == 17
    assert [report.elsewhere for report in reports] == [reports[1].files, reports[0].files]
    assert len(hashes[0] | hashes[1]) == 12
    assert sum(report.ignored for report in reports) == 1


def test_files_of_other_shards_are_not_gone(
    make_pdf: Callable[..., Path], tmp_path: Path, workspace: Workspace
) -> None:
    """A store that becomes that of another shard keeps what it holds."""
    for number in range(8):
        make_pdf(f"heap/{number}.pdf", [str(number)])
    sources, heap = workspace.sources(), str(tmp_path / "heap")
    list(Intake([heap], Settings(), sources, Report()))
    report = Report()
    intake = Intake([heap], Settings(shard=Shard(1, 2)), sources, report)
    list(intake)
    intake.settle()
    assert [report.gone, report.left, report.unreachable] == [[], [], []]
    assert len(sources.present()) == 8
