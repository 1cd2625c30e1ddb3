"""Which slides are referred to a pathologist instead of being called by the score alone."""

import math
from typing import Annotated, Literal

import numpy as np
from numpy.typing import ArrayLike
from pydantic import Field

from wsi_specdec.aggregation.thresholds import Rule, fit_threshold
from wsi_specdec.config import AggregateConfig, StageConfig
from wsi_specdec.config.calls import OpenFraction
from wsi_specdec.errors import NotEnoughDataError


class Conformal(StageConfig):
    """Split conformal prediction, each class by itself (Vovk 2012; Sadinle et al. 2019).

    The set of a slide holds "positive" where its score is at or above `positive_from`, and
    "negative" where it is at or below `negative_to`. A slide of either class has its class in its
    set with a probability of 1 - `alpha` at least, if it and the slides of its class that this was
    fitted on are exchangeable. It is referred unless the set holds what it was called and nothing
    else: the calls that are not referred err in at most `alpha` of the slides of each class.

    Attributes
    ----------
    alpha
        Share of each class whose set may lack it.
    positive_from, negative_to
        As above; None where there were too few slides of the class to leave any out.
    n_positive, n_negative
        Slides it was fitted on.
    """

    method: Literal["conformal"] = "conformal"
    alpha: OpenFraction
    positive_from: float | None
    negative_to: float | None
    n_positive: int
    n_negative: int

    def prediction_set(self, score: float) -> frozenset[int]:
        """Return the classes that a slide of this score may have."""
        positive = self.positive_from is None or score >= self.positive_from
        negative = self.negative_to is None or score <= self.negative_to
        return frozenset({1} if positive else ()) | frozenset({0} if negative else ())

    def refers(self, score: float, call: int) -> bool:
        """Whether a slide of this score and call is referred."""
        return self.prediction_set(score) != {call}


class Band(StageConfig):
    """Scores in [`low`, `high`) are referred.

    `low` is the highest threshold that keeps a sensitivity of 1 - `alpha` on the slides it was
    chosen on, `high` the lowest that keeps such a specificity; the band reaches to the threshold of
    the calls where that lies outside, and is empty where one threshold does both.

    Attributes
    ----------
    alpha
        Share of each class that may lie on the wrong side of the band.
    low, high
        Its ends.
    """

    method: Literal["band"] = "band"
    alpha: OpenFraction
    low: float
    high: float

    def refers(self, score: float, call: int) -> bool:  # noqa: ARG002 - one face for both
        """Whether a slide of this score is referred."""
        return self.low <= score < self.high


Abstention = Annotated[Conformal | Band, Field(discriminator="method")]


def fit_abstention(
    labels: ArrayLike, scores: ArrayLike, threshold: float, config: AggregateConfig, where: str
) -> Conformal | Band | None:
    """Fit what the settings ask for.

    Parameters
    ----------
    labels, scores
        (n,) labels 0 or 1, and slide scores in [0, 1].
    threshold
        That of the calls.
    where
        What the slides are, for messages.

    Raises
    ------
    NotEnoughDataError
        If there are not slides of both classes.
    """
    if config.abstain == "none":
        return None
    truth = np.asarray(labels)
    if not ((truth == 1).any() and (truth == 0).any()):
        msg = (
            f"{where} has labelled and scored slides of one class only, and abstain "
            f"{config.abstain!r} needs both: label slides of the other, or set it to 'none'"
        )
        raise NotEnoughDataError(msg)
    if config.abstain == "conformal":
        return fit_conformal(truth, scores, config.alpha)
    return fit_band(truth, scores, config.alpha, threshold)


def fit_conformal(labels: ArrayLike, scores: ArrayLike, alpha: float) -> Conformal:
    """Take of each class the score that the ceil((n + 1) · (1 - alpha))-th least odd slide has.

    A positive slide is the odder the lower its score, a negative one the higher. Where that rank
    is above n, every score may be of the class.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    positive, negative = np.sort(values[truth == 1])[::-1], np.sort(values[truth == 0])
    ranks = {name: _rank(len(own), alpha) for name, own in ((1, positive), (0, negative))}
    return Conformal(
        alpha=alpha,
        positive_from=float(positive[ranks[1] - 1]) if ranks[1] <= len(positive) else None,
        negative_to=float(negative[ranks[0] - 1]) if ranks[0] <= len(negative) else None,
        n_positive=len(positive),
        n_negative=len(negative),
    )


def fit_band(labels: ArrayLike, scores: ArrayLike, alpha: float, threshold: float) -> Band:
    """Choose the band; there must be slides of both classes."""
    low = fit_threshold(labels, scores, Rule("sensitivity", 1 - alpha), "")
    high = fit_threshold(labels, scores, Rule("specificity", 1 - alpha), "")
    if low >= high:
        # Any threshold between them does both.
        low = high = min(max(threshold, high), low)
    return Band(alpha=alpha, low=min(low, threshold), high=max(high, threshold))


def _rank(n: int, alpha: float) -> int:
    # Rounded, since 10 · (1 - 0.1) is a little more than 9 in floating point.
    return math.ceil(round((n + 1) * (1 - alpha), 9))
