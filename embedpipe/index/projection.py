"""Pages in the plane: principal components, worked out part by part, and UMAP on them where it is installed.

Components are the eigenvectors of the covariance, which is added up over the batches: exact, whatever the batches are,
and the matrix of all pages is never in memory. UMAP is that of McInnes, Healy & Melville (2018), begun from the first
two components, as Kobak & Linderman (2021) advise.
"""

import importlib.util
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from embedpipe.core.errors import EmbedpipeError, UsageError

METHODS = ("auto", "umap", "pca")
COMPONENTS = 50
"""Directions that are kept for UMAP and for the projector."""

FEWEST = 16
"""UMAP looks at 15 neighbours of each page: with fewer pages there is nothing for it to do."""

HOW_TO_INSTALL = "`pip install umap-learn`"

_NEIGHBOURS = 15
_SAME = 1e-9
"""Variance of unit rows below which all pages are the same."""

Batches = Callable[[], Iterable[NDArray[np.float32]]]


@dataclass(frozen=True, slots=True, eq=False)
class Components:
    """Rows by their principal components.

    Attributes:
        X: float32 (n, k), k at least 2; what there are no directions for is zero.
        shares: Of the variance, of each direction, float64 (k,).
    """

    X: NDArray[np.float32]
    shares: NDArray[np.float64]


def components(batches: Batches, count: int = COMPONENTS) -> Components:
    """The first principal components of rows that come in batches.

    Args:
        batches: Gives the rows, float32 (n, dim), a batch at a time; called twice, and must give the same.
        count: How many directions are kept, at least 2.

    Raises:
        ValueError: There are no rows.
    """
    rows, total, products = 0, np.zeros(0), np.zeros((0, 0))
    for X in batches():
        if not rows:
            total, products = np.zeros(X.shape[1]), np.zeros((X.shape[1], X.shape[1]))
        rows += len(X)
        total += X.sum(axis=0, dtype=np.float64)
        products += X.T @ X
    if not rows:
        raise ValueError("no rows")
    mean = total / rows
    covariance = products / rows - np.outer(mean, mean)
    dim, variance = len(mean), float(np.trace(covariance))
    values, axes = eigh(covariance, subset_by_index=(max(0, dim - count), dim - 1))
    values, axes = np.maximum(values[::-1], 0), axes[:, ::-1]
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])  # eigenvectors have no sign
    if variance < _SAME:
        values, axes, variance = values * 0, axes * 0, 1.0
    placed = [((X - mean) @ axes).astype(np.float32) for X in batches()]
    missing = max(0, 2 - dim)
    X = np.pad(np.concatenate(placed), ((0, 0), (0, missing)))
    return Components(X, np.pad(values / variance, (0, missing)))


def chosen(method: str, pages: int) -> tuple[str, str]:
    """The method that is used for so many pages, and why not UMAP where `auto` does without, or "".

    Raises:
        EmbedpipeError: The method is unknown, UMAP is not installed, or there are too few pages for it.
    """
    if method not in METHODS:
        raise UsageError(f"--method {method}: write {', '.join(METHODS)}")
    if method == "pca":
        return "pca", ""
    reason = ""
    if importlib.util.find_spec("umap") is None:
        reason = f"UMAP is not installed: {HOW_TO_INSTALL}"
    elif pages < FEWEST:
        reason = f"UMAP needs at least {FEWEST} pages, and here are {pages}"
    if reason and method == "umap":
        raise EmbedpipeError(f"{reason}; or say --method pca")
    return ("pca", reason) if reason else ("umap", "")


def in_plane(reduced: Components, method: str, seed: int = 0) -> NDArray[np.float32]:
    """Places in the plane, float32 (n, 2); the same every time for the same rows and seed.

    Args:
        reduced: The rows.
        method: `umap` or `pca`, as `chosen` says.
        seed: Of UMAP.
    """
    first_two = np.ascontiguousarray(reduced.X[:, :2])
    extent = float(np.abs(first_two).max())
    if method == "pca" or not extent:
        return first_two
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of numba's caches, and of parallel work, which the seed forbids
        from umap import UMAP  # noqa: PLC0415 - optional, and loads for seconds

        mapper = UMAP(
            n_neighbors=min(_NEIGHBOURS, len(first_two) - 1),
            init=10 * first_two / extent,  # as wide as UMAP's own beginning
            random_state=seed,
            n_jobs=1,
        )
        placed: NDArray[np.float32] = np.asarray(mapper.fit_transform(reduced.X), np.float32)
    return placed
