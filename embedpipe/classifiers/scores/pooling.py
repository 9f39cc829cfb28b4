"""What the pages of a document come to together. Loads no scikit-learn."""

import numpy as np
from numpy.typing import NDArray


def page_weights(page_indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weight of pages in their document: one over the page number, for first pages matter most.

    Training and verdict use the same weights; docs/quality.md compares them with others. Long documents count as much
    as short ones, and the order in which pages arrive does not matter.

    Args:
        page_indices: From 0, (n,).

    Returns:
        (n,), not yet scaled to a sum.
    """
    return 1.0 / (page_indices.astype(np.float64) + 1.0)


def effective_pages(weights: NDArray[np.float64], owner: NDArray[np.int64]) -> NDArray[np.float64]:
    """Effective number of pages of each document (Kish, 1965), (n_documents,)."""
    effective: NDArray[np.float64] = np.bincount(owner, weights=weights) ** 2 / np.bincount(owner, weights=weights**2)
    return effective


def weighted_means(
    values: NDArray[np.float64], weights: NDArray[np.float64], owner: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Weighted means of the pages' values for each document, (n_documents,); see `mean_log_scores`."""
    means: NDArray[np.float64] = np.bincount(owner, weights=values * weights) / np.bincount(owner, weights=weights)
    return means


def mean_log_scores(
    scores: NDArray[np.float64], weights: NDArray[np.float64], owner: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Logarithms of the weighted means of probabilities.

    Args:
        scores: Log probabilities of pages, (n_pages, n_classes).
        weights: Of `page_weights`, (n_pages,).
        owner: Which document each page is of, from 0, (n_pages,).

    Returns:
        (n_documents, n_classes).
    """
    sums = np.zeros((int(owner.max(initial=-1)) + 1, scores.shape[1]))
    np.add.at(sums, owner, np.exp(scores) * weights[:, None])
    means: NDArray[np.float64] = np.log(np.maximum(sums / np.bincount(owner, weights=weights)[:, None], 1e-13))
    return means
