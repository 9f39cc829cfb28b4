"""Which blocks a classifier is asked to learn from, and the parts that these make."""

import numpy as np
import pytest

from embedpipe.classifiers.parts import plan
from embedpipe.classifiers.saved.combining import CUES, DOCUMENT, LAYOUT, PICTURES, WORDS, taken
from embedpipe.core.errors import UnknownNameError, UsageError

BLOCKS = [("lite/a", 0, 4), ("lite/b", 4, 6), ("doc/a", 6, 9), (LAYOUT, 9, 12), (CUES, 12, 14)]


def test_all_that_there_is_may_help() -> None:
    """Pictures of all networks are one part, and the only one that is had in any case."""
    found = plan("svm", BLOCKS, {}, words=True)
    assert found.names == [PICTURES, LAYOUT, CUES, WORDS, DOCUMENT]
    assert found.forced == {PICTURES}
    assert found.open
    columns = [part.columns for part in found.parts]
    assert [None if c is None else (int(c[0]), int(c[-1])) for c in columns] == [(0, 8), (9, 11), (12, 13), None]
    assert plan("svm", BLOCKS, {}, forced=[CUES]).forced == {PICTURES, CUES}


def test_pictures_alone_are_one_pipeline_on_all_features() -> None:
    """As before there were parts."""
    found = plan("svm", BLOCKS[:3], {}, [PICTURES])
    assert found.names == [PICTURES]
    assert not found.open
    assert found.parts[0].columns is None


def test_blocks_are_asked_for_by_name() -> None:
    """Parts, networks, single blocks; what was asked for is what is asked for again."""
    found = plan("svm", BLOCKS, {}, ["doc", "words", "lite/b"], words=True)
    assert found.names == [PICTURES, WORDS]
    assert found.blocks() == ["doc", "lite/b", WORDS]
    assert found.parts[0].columns is not None
    assert list(found.parts[0].columns) == [4, 5, 6, 7, 8]
    scaler = found.parts[0].build().steps[0][1]
    assert scaler.blocks == [(0, 2), (2, 5)]
    facts = plan("svm", BLOCKS, {}, [PICTURES, CUES]).parts[1].build().steps[0][1]
    assert (facts.blocks, facts.facts) == ([(0, 2)], 1)
    assert found.only([PICTURES]).names == [PICTURES]


def test_the_layout_of_one_of_several_networks_is_a_part() -> None:
    """Wherever its block lies, and scaled number by number."""
    blocks = [("lite/a", 0, 4), ("picodet/a", 4, 6), ("picodet/layout", 6, 9), ("doc/a", 9, 12)]
    found = plan("svm", blocks, {})
    assert found.names == [PICTURES, LAYOUT, DOCUMENT]
    columns = [list(part.columns) for part in found.parts if part.columns is not None]
    assert columns == [[0, 1, 2, 3, 4, 5, 9, 10, 11], [6, 7, 8]]
    scaler = found.parts[1].build().steps[0][1]
    assert (scaler.blocks, scaler.facts) == ([(0, 3)], 1)
    assert plan("svm", blocks, {}, ["picodet"]).names == [PICTURES]
    assert plan("svm", blocks, {}, ["picodet", "layout"]).blocks() == ["picodet", LAYOUT]


def test_what_cannot_be_had_is_said() -> None:
    """An unknown name, no pictures, and words that are not kept."""
    with pytest.raises(UnknownNameError, match="lite"):
        plan("svm", BLOCKS, {}, ["light"])
    with pytest.raises(UsageError, match="pictures"):
        plan("svm", BLOCKS, {}, [WORDS, CUES], words=True)
    with pytest.raises(UsageError, match="run `embed`"):
        plan("svm", BLOCKS, {}, [PICTURES, WORDS])


def test_columns_side_by_side_are_not_copied() -> None:
    """Others are."""
    X = np.arange(24.0).reshape(2, 12)
    assert taken(X, np.arange(3, 6)).base is not None
    np.testing.assert_array_equal(taken(X, np.array([0, 5])), X[:, [0, 5]])
    assert taken(X, None) is X


def test_documents_are_judged_by_the_pictures_asked_for() -> None:
    """The part that judges documents has the columns and blocks of the first one, and comes where it is asked for."""
    found = plan("svm", BLOCKS, {}, ["lite/b", "doc", DOCUMENT, WORDS], words=True)
    assert found.names == [PICTURES, WORDS, DOCUMENT]
    assert found.blocks() == ["lite/b", "doc", WORDS, DOCUMENT]
    assert found.whole is not None
    assert found.columns[DOCUMENT] is not None
    assert list(found.columns[DOCUMENT]) == [4, 5, 6, 7, 8]
    assert found.whole.build()[-1].blocks == [(0, 2), (2, 5)]
    assert not found.open
    assert found.only([PICTURES, DOCUMENT]).names == [PICTURES, DOCUMENT]
    assert found.only([PICTURES]).whole is None
    assert plan("svm", BLOCKS[:3], {}).columns[DOCUMENT] is None
    assert plan("svm", BLOCKS, {}, [PICTURES]).whole is None
