"""A user's vector from product factors and what the user did: one linear solve for each objective."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Wide = NDArray[np.float64]


def least_squares(own: Wide, events: NDArray[Any], *, gram: Wide, alpha: float, ridge: float) -> Wide:
    """The exact half-step of alternating least squares.

    x = (Y'Y + Y'(C - I)Y + r I)^-1 Y'c for the products' factors Y, confidences c = alpha x events, ridge r.
    Source: Hu, Koren and Volinsky, "Collaborative filtering for implicit feedback datasets" (ICDM 2008), eq. 4.

    Args:
        own: float64 [products of the user, width], their factors.
        events: [products of the user], how often each counts.
        gram: float64 [width, width], Y'Y of all products.
        alpha: confidence of one event.
        ridge: weight of the ridge, above 0.

    Returns:
        float64 [width].
    """
    confidence = alpha * events.astype(np.float64)
    left = gram + (own.T * (confidence - 1.0)) @ own + ridge * np.eye(len(gram))
    return np.asarray(np.linalg.solve(left, own.T @ confidence), dtype=np.float64)


def pairwise_step(own: Wide, *, mean: Wide, covariance: Wide, ridge: float) -> Wide:
    """The first Newton step, from 0, of the pairwise objective of a single user over all other products.

    The objective is the mean of ln sigmoid(x'(y_i - y_j)) over the user's products i and all products j, less
    ridge / 2 x'x. At 0 its gradient is half the mean of y_i - y_j, its curvature a quarter of their second moment.
    A least-squares solve would instead reproduce zeros for all products not bought, which these factors never learned.
    Source: Rendle et al., "BPR: Bayesian personalized ranking from implicit feedback" (UAI 2009), section 4.

    Args:
        own: float64 [products of the user, width], their factors.
        mean: float64 [width], of all products' factors.
        covariance: float64 [width, width], of all products' factors.
        ridge: weight of the ridge, above 0.

    Returns:
        float64 [width].
    """
    gap = own - mean
    curvature = 0.25 * (gap.T @ gap / len(own) + covariance) + ridge * np.eye(len(mean))
    return np.asarray(np.linalg.solve(curvature, 0.5 * gap.mean(axis=0)), dtype=np.float64)
