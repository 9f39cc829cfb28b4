"""Where documents begin in a stream of pages."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from embedpipe.classifiers.boundaries import BoundaryModel
from embedpipe.classifiers.labelled_pages import LabelledPages
from embedpipe.core.errors import LabelsError

BLOCKS = [(0, 8), (8, 16)]
A4, LETTER = (595.0, 842.0), (612.0, 792.0)


def made_up(seed: int, lengths: list[int]) -> LabelledPages:
    """Documents whose pages stray a little from a centre of their own near that of one of two types."""
    rng = np.random.default_rng(seed)
    kinds = np.random.default_rng(0).normal(0, 1, (2, 16))
    owner = np.repeat(np.arange(len(lengths)), lengths)
    centres = kinds[np.arange(len(lengths)) % 2] + rng.normal(0, 0.6, (len(lengths), 16))
    X = (centres[owner] + rng.normal(0, 0.15, (len(owner), 16))).astype(np.float32)
    names = np.array([f"{seed}-{number}" for number in range(len(lengths))], object)
    indices = np.concatenate([np.arange(n) for n in lengths])
    y = np.array(["form", "letter"], object)[owner % 2]
    return LabelledPages(np.arange(len(owner)), X, y, names[owner], names[owner], indices)


def papers(pages: LabelledPages, *, one: bool = False) -> NDArray[np.float64]:
    """A size for each document: two kinds of paper, three documents each in turn."""
    _, owner = np.unique(pages.documents, return_inverse=True)
    return np.array([A4 if one or number // 3 % 2 else LETTER for number in owner])


@pytest.fixture(scope="module")
def model() -> BoundaryModel:
    """Learnt from forty documents of one to four pages."""
    pages = made_up(1, [1 + n % 4 for n in range(40)])
    return BoundaryModel(BLOCKS).fit(pages, papers(pages))


def truth(pages: LabelledPages) -> NDArray[np.bool_]:
    """Where documents begin, after each page but the last."""
    return np.asarray(pages.documents[1:] != pages.documents[:-1])


@pytest.mark.parametrize("one", [False, True])
def test_boundaries_of_new_documents_are_found(model: BoundaryModel, one: bool) -> None:
    """Documents that the model has not seen are told apart, also when all pages have one size."""
    pages = made_up(2, [3, 1, 2, 4, 2, 3, 1, 4])
    found = model.probabilities(pages.X, papers(pages, one=one))
    assert found.shape == (len(pages.y) - 1,)
    assert ((found > 0) & (found < 1)).all()
    assert np.mean((found > 0.5) == truth(pages)) >= 0.9


def test_a_change_of_paper_speaks_for_a_boundary(model: BoundaryModel) -> None:
    """The same pages are cut with more confidence where their sizes differ; a constant size tells nothing."""
    pages = made_up(2, [2, 2, 2])
    sizes = np.array([A4, A4, LETTER, LETTER, LETTER, LETTER])
    differing, other_unit = model.probabilities(pages.X, sizes), model.probabilities(pages.X, sizes * 3.7)
    plain = model.probabilities(pages.X, np.full((6, 2), 100.0))
    np.testing.assert_allclose(differing, other_unit)
    assert differing[1] > plain[1]
    assert differing[0] < plain[0]


def test_pages_that_the_network_was_trained_on_calibrate_nothing() -> None:
    """Where a network tells the documents that it has seen, and no others, cuts are as unsure as with the others."""
    pages = made_up(1, [1 + n % 4 for n in range(40)])
    seen = np.isin(pages.documents, [f"1-{number}" for number in range(20)])
    pages.X[~seen] = np.random.default_rng(0).permutation(pages.X[~seen])
    sizes = papers(pages, one=True)
    flattered = BoundaryModel(BLOCKS).fit(pages, sizes)
    honest = BoundaryModel(BLOCKS).fit(replace(pages, seen=seen), sizes)
    assert flattered.calibrated_
    assert honest.calibrated_
    assert honest.temperature_ > 1.5 * flattered.temperature_
    nothing_left = BoundaryModel(BLOCKS).fit(replace(pages, seen=np.ones(len(seen), bool)), sizes)
    assert (nothing_left.calibrated_, nothing_left.temperature_) == (False, 1.0)


def test_short_streams_have_no_boundary(model: BoundaryModel) -> None:
    """One page, or none, is one document."""
    for n in (0, 1):
        assert model.probabilities(np.ones((n, 16), np.float32), np.ones((n, 2))).shape == (0,)


def test_without_long_documents_nothing_can_be_learnt() -> None:
    """Single pages teach no inside of documents."""
    pages = made_up(1, [1] * 8)
    with pytest.raises(LabelsError, match="no labelled document has two pages"):
        BoundaryModel(BLOCKS).fit(pages, papers(pages))


def test_documents_of_several_types_teach_nothing() -> None:
    """A pile that was labelled page by page is no example of a document."""
    pages = made_up(1, [2] * 8)
    pages.y[:] = np.where(pages.page_indices == 0, "form", "letter")
    with pytest.raises(LabelsError):
        BoundaryModel(BLOCKS).fit(pages, papers(pages))
