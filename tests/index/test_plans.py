"""Which factory is chosen, and which are refused."""

import faiss
import pytest

from embedpipe.core.errors import EmbedpipeError
from embedpipe.index import plans
from embedpipe.index.plans import Request, bytes_per_page, check, choose, training_rows

GB = 1024**3


@pytest.mark.parametrize(
    ("pages", "dim", "memory", "factory"),
    [
        (100, 1280, 4 * GB, "Flat"),
        (20_000, 1280, 4 * GB, "Flat"),
        (40_000, 1280, 4 * GB, "HNSW32"),
        (40_000, 1280, GB // 10, "PCAR512,IVF256,RaBitQ"),
        (100_000, 1280, 4 * GB, "PCAR512,IVF512,RaBitQ"),
        (1_000_000, 1280, 4 * GB, "PCAR512,IVF1024,RaBitQ"),
        (1_000_000, 1280, GB // 14, "PCAR256,IVF1024,PQ64"),
        (100_000_000, 1280, 4 * GB, "PCAR128,IVF4096,PQ32"),
        (100_000_000, 1280, GB, "PCAR64,IVF4096,PQ16"),
        (1_000_000, 320, 4 * GB, "PCAR320,IVF1024,RaBitQ"),
        (1_000_000, 96, 4 * GB, "IVF1024,SQ8"),
        (1_000_000, 200, 4 * GB, "PCA128,IVF1024,SQ8"),
    ],
)
def test_the_factory_follows_count_width_and_memory(
    pages: int, dim: int, memory: int, factory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On two cores: exact while it is quick, then a graph, then lists with a bit a component, then less."""
    monkeypatch.setattr(plans, "available_cores", lambda: 2)
    assert choose(Request(memory=memory), pages, dim) == factory
    assert training_rows(factory, dim) <= 200_000


@pytest.mark.parametrize(("pages", "factory"), [(100_000, "PCA256,IVF512,SQ8"), (1_000_000, "PCA128,IVF1024,SQ8")])
def test_an_earlier_faiss_keeps_a_byte_a_component(pages: int, factory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot make what keeps a bit of each."""
    monkeypatch.setattr(plans, "available_cores", lambda: 2)
    monkeypatch.delattr(faiss, "IndexIVFRaBitQ")
    assert choose(Request(memory=4 * GB), pages, 1280) == factory


def test_more_cores_search_exactly_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is quick depends on the machine."""
    monkeypatch.setattr(plans, "available_cores", lambda: 8)
    assert choose(Request(memory=GB), 40_000, 1280) == "Flat"


@pytest.mark.parametrize("factory", ["Flat", "HNSW16", "IVF8,Flat", "PCA8,IVF8,SQ8", "OPQ4_16,IVF8,PQ4x4", "SQfp16"])
def test_what_faiss_can_make_is_taken(factory: str) -> None:
    """A factory that was asked for is taken as it is."""
    assert choose(Request(factory), 1000, 32) == factory
    assert bytes_per_page(factory, 32) > 8


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("Rubbish", "FAISS cannot make it"),
        ("PQ7", "FAISS cannot make it"),
        ("IDMap,Flat", "leave out IDMap"),
        ("PQ8,RFlat", "leave out RFlat"),
        ("IVF2000,Flat", "more than there are pages"),
        ("PCA64,Flat", "only 32 features"),
    ],
)
def test_what_cannot_work_is_refused(factory: str, reason: str) -> None:
    """The line names the option and says why."""
    with pytest.raises(EmbedpipeError, match=f"--index {factory}: .*{reason}"):
        check(factory, 1000, 32)
