"""The threshold between slides called negative and positive, chosen on labelled slides.

A slide is called positive where its score is at or above the threshold. Candidates lie midway
between neighbouring distinct scores, and midway between the outermost scores and the ends 0 and 1
of the scale, so that a threshold never depends on the side of a score on which it was put. Slides
of one score are never parted. Every threshold between two neighbouring scores gives the same calls:
of such a plateau the midpoint is taken.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from wsi_specdec.config import AggregateConfig, ThresholdRule
from wsi_specdec.errors import NotEnoughDataError

Floats = NDArray[np.float64]
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Rule:
    """How a threshold is chosen: `fit_threshold` says what each does.

    Attributes
    ----------
    name
        The rule.
    target
        Sensitivity or specificity to reach, or the threshold of `fixed`.
    cost_ratio
        False positives that one missed positive is worth.
    prevalence
        Share of positives where the calls will be used; None takes that of the labels.
    """

    name: ThresholdRule
    target: float = 0.9
    cost_ratio: float = 1.0
    prevalence: float | None = None

    @classmethod
    def of(cls, config: AggregateConfig) -> Self:
        """Take it from the settings."""
        target = config.threshold_target
        return cls(config.threshold_rule, target, config.cost_ratio, config.prevalence)


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Thresholds worth considering, ascending, and what each would give.

    Attributes
    ----------
    thresholds, sensitivity, specificity
        (k,): one more than there are distinct scores.
    """

    thresholds: Floats
    sensitivity: Floats
    specificity: Floats


def candidates(labels: ArrayLike, scores: ArrayLike) -> Candidates:
    """List the thresholds that call the slides differently.

    Parameters
    ----------
    labels, scores
        (n,) labels 0 or 1, both present, and slide scores in [0, 1].
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    distinct = np.unique(values)
    lower = np.concatenate([[0.0], distinct])
    upper = np.concatenate([distinct, [1.0]])
    middle = (lower + upper) / 2
    # Between neighbouring floats there is no middle, and a score of 1 has nothing above it.
    thresholds = np.where(middle > lower, middle, np.nextafter(lower, np.inf))
    thresholds[0] = middle[0]
    positive, negative = np.sort(values[truth == 1]), np.sort(values[truth == 0])
    missed = np.searchsorted(positive, thresholds, side="left")
    cleared = np.searchsorted(negative, thresholds, side="left")
    return Candidates(thresholds, 1 - missed / positive.size, cleared / negative.size)


def fit_threshold(labels: ArrayLike, scores: ArrayLike, rule: Rule, where: str) -> float:
    """Choose a threshold by a rule.

    - `youden`: the highest sensitivity + specificity - 1 (Youden 1950). Among equals the lowest
      threshold, since a missed cancer costs more than a second look.
    - `sensitivity`: the highest threshold that keeps a sensitivity of `target`.
    - `specificity`: the lowest threshold that keeps a specificity of `target`.
    - `cost`: the lowest expected cost, prevalence · cost_ratio · (1 - sensitivity) +
      (1 - prevalence) · (1 - specificity), in false positives; this is where the ROC curve has the
      slope (1 - prevalence) / (prevalence · cost_ratio) (Metz 1978). Among equals the lowest.
    - `fixed`: `target` itself; labels and scores are not looked at.

    Parameters
    ----------
    labels, scores
        (n,) labels 0 or 1, and slide scores in [0, 1].
    rule
        As above.
    where
        What the slides are, for messages.

    Raises
    ------
    NotEnoughDataError
        If there are not slides of both classes.
    """
    if rule.name == "fixed":
        return rule.target
    truth = np.asarray(labels)
    if not ((truth == 1).any() and (truth == 0).any()):
        msg = (
            f"{where} holds {int((truth == 1).sum())} positive and {int((truth == 0).sum())} "
            f"negative slides with a score, and the threshold rule {rule.name!r} needs both: label "
            "slides of the missing class there, fit on another split, or set threshold_rule to "
            "'fixed' and threshold_target to the threshold"
        )
        raise NotEnoughDataError(msg)
    found = candidates(truth, scores)
    prevalence = float((truth == 1).mean()) if rule.prevalence is None else rule.prevalence
    return float(found.thresholds[_choose(found, rule, prevalence)])


def confidence(score: float, threshold: float) -> float:
    """Distance of a score from the threshold, as a share of the scale on that side of it.

    (s - t) / (1 - t) at or above the threshold and (t - s) / t below it: 0 on the threshold, 1
    at the end of the scale, and 0 where that side has no width.
    """
    distance = abs(score - threshold)
    width = 1 - threshold if score >= threshold else threshold
    return min(1.0, distance / width) if width > 0 else 0.0


def _choose(found: Candidates, rule: Rule, prevalence: float) -> int:
    if rule.name == "sensitivity":
        return int(np.flatnonzero(found.sensitivity >= rule.target - _ROUNDING)[-1])
    if rule.name == "specificity":
        return int(np.flatnonzero(found.specificity >= rule.target - _ROUNDING)[0])
    # Youden's index weighs both alike: cost, were a miss worth the odds of a negative slide.
    missing, false = 1.0, 1.0
    if rule.name == "cost":
        missing, false = prevalence * rule.cost_ratio, 1 - prevalence
    gain = missing * found.sensitivity + false * found.specificity
    return int(np.flatnonzero(gain >= gain.max() - _ROUNDING * (missing + false))[0])
