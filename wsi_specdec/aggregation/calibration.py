"""From a slide score to the probability that the slide is positive."""

from typing import Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import model_validator
from scipy.special import expit, logit

from wsi_specdec.config import AggregateConfig, StageConfig
from wsi_specdec.config.base import NonNegative
from wsi_specdec.errors import NotEnoughDataError

Floats = NDArray[np.float64]
# Slides of each class that `auto` asks for.
_ENOUGH = 10
# Logits of scores are taken within it: 0 and 1 have none.
_EDGE = 1e-6
_STEPS = 200


class Calibration(StageConfig):
    r"""Probability of a positive slide, :math:`p = \sigma(a \cdot \mathrm{logit}(s) + b)`.

    Attributes
    ----------
    method
        `platt` fits both numbers, `temperature` the slope alone, which is 1 / temperature.
    slope, intercept
        a, which is never negative, so that the order of slides stays; and b.
    """

    method: Literal["platt", "temperature"]
    slope: NonNegative
    intercept: float = 0.0

    @model_validator(mode="after")
    def _temperature_shifts_nothing(self) -> Self:
        if self.method == "temperature" and self.intercept != 0:
            msg = "a temperature has no intercept"
            raise ValueError(msg)
        return self

    def probability(self, score: float) -> float:
        """Return the probability that a slide of this score is positive."""
        return float(expit(self.slope * _logits(score) + self.intercept))

    def confidence(self, score: float, call: int) -> float:
        """Return the probability that the call of a slide of this score is right."""
        positive = self.probability(score)
        return positive if call == 1 else 1 - positive


def fit_calibration(
    labels: ArrayLike, scores: ArrayLike, config: AggregateConfig, where: str
) -> Calibration | None:
    """Fit the calibration that the settings ask for.

    `auto` is Platt's where there are 10 slides of each class, and none else.

    Parameters
    ----------
    labels, scores
        (n,) labels 0 or 1, and slide scores in [0, 1].
    where
        What the slides are, for messages.

    Raises
    ------
    NotEnoughDataError
        If a method is asked for by its name and there are not slides of both classes.
    """
    if config.calibration == "none":
        return None
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    fewest = min(int((truth == 1).sum()), int((truth == 0).sum()))
    if config.calibration == "auto":
        return fit_platt(truth, values) if fewest >= _ENOUGH else None
    if fewest == 0:
        msg = (
            f"{where} has labelled and scored slides of one class only, and calibration "
            f"{config.calibration!r} needs both: label slides of the other, or set it to 'none'"
        )
        raise NotEnoughDataError(msg)
    return (
        fit_platt(truth, values)
        if config.calibration == "platt"
        else fit_temperature(truth, values)
    )


def fit_platt(labels: NDArray[np.int64], scores: Floats) -> Calibration:
    """Fit both numbers by maximum likelihood, to Platt's targets (1999).

    Instead of 0 and 1 the targets are 1 / (N₀ + 2) and (N₁ + 1) / (N₁ + 2), so that the slope stays
    finite where the classes are apart. The slope is kept at or above 0.
    """
    n_positive = int((labels == 1).sum())
    n_negative = labels.size - n_positive
    high, low = (n_positive + 1) / (n_positive + 2), 1 / (n_negative + 2)
    targets = np.where(labels == 1, high, low)
    slope, intercept = _likeliest(_logits(scores), targets, shifted=True)
    if slope <= 0:
        mean = float(targets.mean())
        return Calibration(method="platt", slope=0.0, intercept=float(logit(mean)))
    return Calibration(method="platt", slope=slope, intercept=intercept)


def fit_temperature(labels: NDArray[np.int64], scores: Floats) -> Calibration:
    """Fit one temperature (Guo et al. 2017) to Platt's targets; the slope is 1 / temperature."""
    n_positive = int((labels == 1).sum())
    high, low = (n_positive + 1) / (n_positive + 2), 1 / (labels.size - n_positive + 2)
    slope, _ = _likeliest(_logits(scores), np.where(labels == 1, high, low), shifted=False)
    return Calibration(method="temperature", slope=max(slope, 0.0))


def _logits(scores: ArrayLike) -> Floats:
    return np.asarray(logit(np.clip(scores, _EDGE, 1 - _EDGE)), dtype=np.float64)


def _likeliest(logits: Floats, targets: Floats, *, shifted: bool) -> tuple[float, float]:
    """Minimise the cross-entropy, which is convex, by Newton's method with halved steps."""
    columns = [logits, np.ones_like(logits)] if shifted else [logits]
    design = np.stack(columns, axis=1)  # (n, 1 or 2)
    found = np.zeros(design.shape[1])
    loss = _cross_entropy(design @ found, targets)
    for _ in range(_STEPS):
        chance = expit(design @ found)
        gradient = design.T @ (chance - targets)
        curvature = (design * (chance * (1 - chance))[:, None]).T @ design
        step = np.linalg.solve(curvature + 1e-12 * np.eye(len(found)), gradient)
        scale = 1.0
        while (new := _cross_entropy(design @ (found - scale * step), targets)) > loss:
            scale /= 2
            if scale < 1e-10:
                break
        if scale < 1e-10 or np.abs(scale * step).max() < 1e-12:
            break
        found, loss = found - scale * step, new
    return float(found[0]), float(found[1]) if shifted else 0.0


def _cross_entropy(logits: Floats, targets: Floats) -> float:
    return float((np.logaddexp(0, logits) - targets * logits).sum())
