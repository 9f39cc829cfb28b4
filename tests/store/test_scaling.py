"""The scaler: every block weighs the same, whatever its width and range."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.exceptions import NotFittedError, SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

from embedpipe.store import moments, scaling
from embedpipe.store.scaling import BlockScaler

BLOCKS = [(0, 3), (3, 13), (13, 14)]


def features(n: int = 50, seed: int = 0) -> NDArray[np.float32]:
    """Three blocks of very different widths and ranges."""
    rng = np.random.default_rng(seed)
    return (rng.normal(1, 1, (n, 14)) * np.r_[np.full(3, 1e3), np.full(10, 1e-2), 1]).astype(np.float32)


def test_it_keeps_the_rules_of_scikit_learn() -> None:
    """The scaler passes scikit-learn's own checks of a transformer."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(BlockScaler())
    assert len([result for result in results if result["status"] == "passed"]) > 30


def test_each_block_adds_the_same_to_squared_distances() -> None:
    """Over the training rows every block has mean zero and the same mean squared length, together one."""
    X = features()
    scaled = BlockScaler(BLOCKS).fit_transform(X)
    assert scaled.dtype == np.float32
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-6)
    lengths = [float((scaled[:, start:stop] ** 2).sum(axis=1).mean()) for start, stop in BLOCKS]
    np.testing.assert_allclose(lengths[:2], 1 / 3, rtol=1e-4)


def test_it_does_what_its_description_says() -> None:
    """Rows are scaled as written: unit length per block, minus the mean, over the root mean square length."""
    X, new = features().astype(np.float64), features(7, seed=1).astype(np.float64)
    expected: list[Any] = []
    for start, stop in BLOCKS:
        unit = X[:, start:stop] / np.linalg.norm(X[:, start:stop], axis=1, keepdims=True)
        centred = unit - unit.mean(axis=0)
        length = np.sqrt((centred**2).sum(axis=1).mean())
        wanted = new[:, start:stop] / np.linalg.norm(new[:, start:stop], axis=1, keepdims=True)
        expected.append((wanted - unit.mean(axis=0)) / length / np.sqrt(len(BLOCKS)))
    np.testing.assert_allclose(BlockScaler(BLOCKS).fit(X).transform(new), np.hstack(expected), rtol=1e-9, atol=1e-12)


def test_the_range_of_a_block_does_not_matter() -> None:
    """A block in another unit of measure gives the same scaled features."""
    X, new = features(), features(7, seed=1)
    larger, larger_new = X.copy(), new.copy()
    larger[:, 3:13] *= 512
    larger_new[:, 3:13] *= 512
    expected = BlockScaler(BLOCKS).fit(X).transform(new)
    np.testing.assert_allclose(BlockScaler(BLOCKS).fit(larger).transform(larger_new), expected, rtol=1e-4, atol=1e-5)


def test_without_blocks_all_features_are_one_block() -> None:
    """None stands for a single block of all the features."""
    X = features()
    np.testing.assert_array_equal(BlockScaler().fit_transform(X), BlockScaler([(0, 14)]).fit_transform(X))


def test_rows_of_zeros_and_constant_blocks_stay_finite() -> None:
    """An empty row, and a block that is the same in all rows, give finite numbers."""
    X = features()
    X[0] = 0
    X[:, :3] = [1, 2, 3]
    scaled = BlockScaler(BLOCKS).fit_transform(X)
    assert np.isfinite(scaled).all()


def test_it_must_be_fitted_first() -> None:
    """An unfitted scaler says so, and one that was fitted refuses another width."""
    with pytest.raises(NotFittedError):
        BlockScaler(BLOCKS).transform(features())
    with pytest.raises(ValueError, match="13 features, but BlockScaler is expecting 14"):
        BlockScaler(BLOCKS).fit(features()).transform(features()[:, :13])


def test_many_rows_are_scaled_as_few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Added up in blocks, means and lengths are the same but for rounding; what is scaled is so to the last bit."""
    X = features(500)
    usual = BlockScaler(BLOCKS).fit(X)
    whole = usual.transform(X)
    monkeypatch.setattr(scaling, "_ROWS", 64)
    monkeypatch.setattr(moments, "_ROWS", 10)
    many = BlockScaler(BLOCKS).fit(X)
    np.testing.assert_allclose(many.mean_, usual.mean_, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(many.scale_[:13], usual.scale_[:13], rtol=1e-5)
    assert many.mean_.dtype == many.scale_.dtype == np.float32
    np.testing.assert_array_equal(usual.transform(X), whole)
    some = np.random.default_rng(0).permutation(500)[:300]
    of_some, of_copy = BlockScaler(BLOCKS).fit_some(X, some), BlockScaler(BLOCKS).fit(X[some])
    np.testing.assert_array_equal(of_some.mean_, of_copy.mean_)
    np.testing.assert_array_equal(of_some.scale_, of_copy.scale_)


def test_rows_are_scaled_in_place() -> None:
    """What is not needed any more is overwritten, with the same numbers to the last bit."""
    X = features()
    scaler = BlockScaler(BLOCKS).fit(X)
    expected, spare = scaler.transform(X), X.copy()
    assert scaler.transform_in_place(spare) is spare
    np.testing.assert_array_equal(spare, expected)
