"""Temperature scaling: one number that makes a model's probabilities honest."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax

TEMPERATURE_BOUNDS: Final = (0.05, 20.0)


def cross_entropy(
    logits: NDArray[np.floating], label: NDArray[np.int64], temperature: float = 1.0
) -> float:
    """Mean negative log-likelihood of labels under logits over `temperature`.

    Parameters
    ----------
    logits
        (n,) or (n, 1), of the positive class; or (n, classes).
    label
        (n,).
    """
    scaled = logits.astype(np.float64).reshape(len(label), -1) / temperature
    if scaled.shape[1] == 1:
        return float(-log_expit(np.where(label == 1, scaled[:, 0], -scaled[:, 0])).mean())
    return float(-log_softmax(scaled, axis=1)[np.arange(len(label)), label].mean())


def fit_temperature(logits: NDArray[np.floating], label: NDArray[np.int64]) -> float:
    """Temperature under which labels are likeliest (Guo et al., arXiv 1706.04599, section 4.2).

    Sought over its logarithm between 0.05 and 20, so that a validation set that is told apart
    without an error gets the lower bound instead of 0.

    Parameters
    ----------
    logits, label
        As for `cross_entropy`.

    Returns
    -------
    float
        1 where the labels are all of one class: nothing can be learned from them.
    """
    if len(np.unique(label)) < 2:
        return 1.0
    found = minimize_scalar(
        lambda log_t: cross_entropy(logits, label, float(np.exp(log_t))),
        bounds=tuple(np.log(TEMPERATURE_BOUNDS)),
        method="bounded",
        options={"xatol": 1e-6},
    )
    return float(np.exp(found.x))
