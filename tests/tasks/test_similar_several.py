"""Several artifacts are searched as one store of all their pages would be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from embedpipe.backbones.building import Backbone
from embedpipe.commands.base import run
from embedpipe.core.errors import ArtifactError, UsageError
from embedpipe.embedding.sharding import Shard
from embedpipe.embedding.streaming import Settings
from embedpipe.samples import draw_samples
from embedpipe.store.catalogue import listed, reached
from embedpipe.store.workspace import Workspace
from embedpipe.tasks.embed import embed
from embedpipe.tasks.similar import Finder, LookAlikes, Wanted
from embedpipe.tasks.similar_several import Several

ONE = Settings(workers=1)


@pytest.fixture(scope="module")
def piles(tiny: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A heap in one store, and in three."""
    folder = tmp_path_factory.mktemp("piles")
    draw_samples(folder / "heap", per_type=3, types=("slides", "letter", "paper"))
    embed(Workspace(folder / "whole"), [str(folder / "heap")], tiny, settings=ONE, label_by_folder=True)
    for n in (1, 2, 3):
        settings = Settings(workers=1, shard=Shard(n, 3))
        embed(Workspace(folder / f"s{n}"), [str(folder / "heap")], tiny, settings=settings, label_by_folder=True)
    return folder


@pytest.fixture
def several(piles: Path, tiny: Backbone) -> Several:
    """All three."""
    found, lost = reached([str(piles / f"s{n}") for n in (1, 2, 3)])
    assert lost == []
    return Several.open(found, (None, None), lambda *_: tiny, ONE)


def facts(found: LookAlikes) -> list[tuple[str, int, float, str | None]]:
    """What was found."""
    return [
        (n.page.document_sha256, n.page.page_index, round(n.score, 5), label)
        for n, label in zip(found.neighbours, found.labels, strict=True)
    ]


@pytest.mark.parametrize(
    "wanted", [Wanted(12), Wanted(7, other_documents=True), Wanted(5, label="letter"), Wanted(6, whole_document=True)]
)
def test_the_nearest_of_all_are_those_of_one_store(
    piles: Path, several: Several, tiny: Backbone, wanted: Wanted
) -> None:
    """To the cosine, also of a page that is in the last of them, and of one that is in none."""
    whole = Finder(Workspace(piles / "whole"), Workspace(piles / "whole").store(), lambda: tiny, ONE)
    queries = [next(iter(Workspace(piles / f"s{n}").sources().present())) for n in (1, 3)]
    shutil.copy(queries[0], piles / "new.pdf")
    with open(piles / "new.pdf", "ab") as file:
        file.write(b"\n% another content\n")
    for query in [*queries, str(piles / "new.pdf")]:
        found = several.find(query, wanted)
        assert facts(found) == facts(whole.find(query, wanted))
        assert len(found.artifacts) == len(found.neighbours)
    assert len(set(several.find(queries[0], Wanted(30)).artifacts)) == 3


def test_a_page_that_several_hold_is_found_once(piles: Path, several: Several, tiny: Backbone, tmp_path: Path) -> None:
    """It is that of the artifacts that were named first."""
    shutil.copytree(piles / "s1", tmp_path / "s1")
    twice = Several.open(
        [*(f.workspace for f in several.finders), Workspace(tmp_path / "s1")], (None, None), lambda *_: tiny, ONE
    )
    query = next(iter(Workspace(piles / "s2").sources().present()))
    found = twice.find(query, Wanted(100))
    pages = [fact[:2] for fact in facts(found)]
    assert len(pages) == len(set(pages)) == sum(len(finder.pages) for finder in several.finders) - 1
    assert str(tmp_path / "s1") not in found.artifacts


def test_what_cannot_be_asked_of_several_is_said(several: Several, piles: Path) -> None:
    """Words are weighed within a store; a type that none has is known by all of them."""
    query = next(iter(Workspace(piles / "s1").sources().present()))
    with pytest.raises(UsageError, match="words are compared within one store"):
        several.find(query, Wanted(by="words"))
    with pytest.raises(UsageError, match="no page in the store has this type; known: letter, paper, slides"):
        several.find(query, Wanted(label="invoice"))


def test_one_that_fails_does_not_spoil_the_rest(several: Several, piles: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and left out from then on."""

    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    query = next(iter(Workspace(piles / "s1").sources().present()))
    monkeypatch.setattr(several.finders[2], "nearest", fail)
    found = several.find(query, Wanted(100))
    assert len(found.neighbours) == sum(len(finder.pages) for finder in several.finders) - 1
    assert [place for place, _ in several.lost] == [str(piles / "s3")]
    assert len(several.finders) == 2


def test_a_catalogue_points_to_artifacts(tmp_path: Path) -> None:
    """By lines that are read from where it lies; URLs stay; what is none is refused in a line."""
    (tmp_path / "all.txt").write_text("# ours\na\n\n/b c\ns3://bucket/d\n", encoding="utf-8")
    assert listed(tmp_path / "all.txt") == [str(tmp_path / "a"), "/b c", "s3://bucket/d"]
    assert listed(Path("a,s3://b/c , d")) == ["a", "s3://b/c", "d"]
    (tmp_path / "x,y").mkdir()
    assert listed(tmp_path / "x,y") == [str(tmp_path / "x,y")]
    (tmp_path / "a.pdf").write_bytes(b"%PDF-1.7\n\xff\xfe")
    with pytest.raises(ArtifactError, match="cannot be read as a catalogue"):
        listed(tmp_path / "a.pdf")
    (tmp_path / "empty.txt").write_text("#\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="lists no artifacts"):
        listed(tmp_path / "empty.txt")
    with pytest.raises(ArtifactError, match="none of the 2 artifacts can be read"):
        reached([str(tmp_path / "p"), str(tmp_path / "q")])


def test_the_commands_look_into_several_and_say_what_is_missing(
    piles: Path, capsys: pytest.CaptureFixture[str], make_pdf: Callable[..., Path]
) -> None:
    """Exit code 3 where one is out of reach; commands that write take one."""
    query = next(iter(Workspace(piles / "s1").sources().present()))
    named = f"{piles / 's1'},{piles / 's2'},{piles / 'gone'}"
    assert run(["similar", query, "--artifacts", named, "--json", "-k", "3"]) == 3
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["neighbours"]) == len(answer["artifacts"]) == 3
    assert [one["artifacts"] for one in answer["unreached"]] == [str(piles / "gone")]
    assert run(["fit-knn", "--artifacts", str(piles / "whole"), "--quiet"]) == 0
    stored = next(iter(Workspace(piles / "s3").sources().present()))
    capsys.readouterr()
    everything = ",".join(str(piles / name) for name in ("s2", "s3", "whole"))
    assert run(["classify", stored, "--artifacts", everything, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["documents"][0]["labelled"]
    assert run(["embed", str(make_pdf("a.pdf", ["x"])), "--artifacts", everything]) == 2
    assert "only classify and similar look into several" in capsys.readouterr().err
