"""What a metric is reported as: a value, its interval, and why either is missing."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    """A metric's value on one set of units.

    Attributes
    ----------
    value
        None where the metric is not defined.
    n
        Units the metric is a statement about: all of them, or for sensitivity the positive and
        for specificity the negative ones.
    reason
        Why `value` is None; None otherwise.
    """

    value: float | None
    n: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Measure:
    """A metric's value over one or several seeds, with its confidence interval.

    Attributes
    ----------
    value
        Mean over the seeds, or None where the metric is not defined.
    ci_low, ci_high
        Bounds of the interval, both None where it is not defined.
    n
        As in `Point`.
    per_seed
        The value of each seed, in the order given.
    reason
        Why the value or the interval is None, or what is particular about the interval; None
        where there is nothing to say.
    interval
        The method behind the interval; None where there is none.
    """

    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    per_seed: tuple[float | None, ...]
    reason: str | None = None
    interval: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the measure as `results.json` holds it."""
        return asdict(self) | {"per_seed": list(self.per_seed)}


@dataclass(frozen=True, slots=True)
class Difference:
    """How much a metric differs between two arms on identical units.

    Attributes
    ----------
    delta
        Value of the arm minus that of the baseline.
    ci_low, ci_high
        Bounds of the interval of `delta`.
    p
        Two-sided p-value of no difference.
    test
        The method behind the interval and the p-value.
    reason
        Why any of the above is None, or how the interval departs from the stated method.
    """

    delta: float | None
    ci_low: float | None
    ci_high: float | None
    p: float | None
    test: str
    reason: str | None = None
