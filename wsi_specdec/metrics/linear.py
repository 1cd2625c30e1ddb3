"""What each patient adds to an AUROC or a proportion, and the variance that follows.

The statistics here are, but for terms that vanish with the square of the number of patients, sums
of one contribution of each patient. Their variance is that of the contributions, which holds
however many units a patient has.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtri, stdtr, stdtrit
from scipy.stats import rankdata

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Linear:
    """A statistic of each of S seeds on the same C patients, and what each patient adds to it.

    Attributes
    ----------
    values
        (S,) the statistic.
    parts
        Each (S, C): departures of the patients from the value, which sum to 0 over patients. An
        AUROC has two parts, of the positive and of the negative units.
    sizes
        Of each part, the number of patients that it is estimated from.
    """

    values: Floats
    parts: tuple[Floats, ...]
    sizes: tuple[int, ...]

    def __sub__(self, other: "Linear") -> "Linear":
        """Return the difference of two statistics of the same patients and seeds."""
        parts = tuple(a - b for a, b in zip(self.parts, other.parts, strict=True))
        return Linear(self.values - other.values, parts, self.sizes)

    @property
    def known(self) -> bool:
        """Whether every part rests on two patients or more, so that a variance can be had."""
        return min(self.sizes) > 1

    def covariance(self, other: "Linear | None" = None) -> Floats:
        """Return the (S, S) covariance that the choice of patients gives the seeds' statistics.

        Obuchowski (1997), eq. 5 to 8: I_k / (I_k - 1) times the sum of squares within a part
        that I_k patients have, and I / (I - 1) times the sum of products across parts, I being
        all patients. Where each patient has one unit this is DeLong et al. (1988), eq. 6.

        Parameters
        ----------
        other
            Another statistic of the same patients, for the covariance with it; itself if None.
        """
        second = self if other is None else other
        total = np.zeros((self.values.size, second.values.size))
        everyone = self.parts[0].shape[1]
        for row, (one, size) in enumerate(zip(self.parts, self.sizes, strict=True)):
            for column, two in enumerate(second.parts):
                same = other is None and row == column
                count = size if same else everyone
                total += count / (count - 1) * (one @ two.T)
        return total


@dataclass(frozen=True, slots=True)
class Spread:
    """How uncertain a mean over seeds is.

    Attributes
    ----------
    error
        Its standard error.
    freedom
        Degrees of freedom of that, infinite where the normal distribution is used.
    """

    error: float
    freedom: float

    def quantile(self, confidence: float) -> float:
        """Return the number of standard errors on either side, for one 1.96."""
        level = (1 + confidence) / 2
        if np.isinf(self.freedom):
            return float(ndtri(level))
        return float(stdtrit(self.freedom, level))

    def p(self, distance: float) -> float:
        """Return the two-sided p-value of a distance from 0."""
        freedom = min(self.freedom, 1e9)
        return float(2 * stdtr(freedom, -abs(distance) / self.error))


def spread(statistic: Linear, confidence: float, freedom: float = np.inf) -> Spread:
    """Return the uncertainty of the mean over seeds, seeds being a sample of all trainings.

    Seeds and patients are crossed, as readers and cases are: the variance of the mean is
    MS / S + Cov2 (Obuchowski & Rockette 1995, one modality; Gallas et al. 2009), MS being the
    variance among the seeds' values and Cov2 the mean covariance of two seeds; its degrees of
    freedom are (MS + S Cov2)^2 / (MS^2 / (S - 1)) (Hillis 2007), Cov2 taken as 0 where negative.
    The interval is never narrower than that of these very seeds. One seed is taken as fixed.

    Parameters
    ----------
    statistic
        Of each seed.
    confidence
        At which an interval is wanted, for one 0.95.
    freedom
        Degrees of freedom that the choice of patients leaves; infinite for the normal distribution.
    """
    covariance = statistic.covariance()
    count = statistic.values.size
    fixed = Spread(float(np.sqrt(max(0.0, covariance.mean()))), freedom)
    if count == 1:
        return fixed
    between = float(statistic.values.var(ddof=1))
    shared = max(0.0, _mean_off_diagonal(covariance))
    error = float(np.sqrt(between / count + shared))
    # Spread among seeds that is rounding alone leaves the patients' share.
    weight = between / (between + count * shared) if between > 0 else 0.0
    seeds = Spread(error, min(freedom, (count - 1) / weight**2) if weight > 1e-6 else freedom)
    wider = seeds.error * seeds.quantile(confidence) >= fixed.error * fixed.quantile(confidence)
    return seeds if wider else fixed


def shared_variance(one: Linear, other: Linear) -> float:
    """Return the covariance of two statistics' means over the same seeds, as `spread` sees them."""
    covariance = one.covariance(other)
    count = one.values.size
    if count == 1:
        return float(covariance[0, 0])
    between = float(np.cov(one.values, other.values, ddof=1)[0, 1])
    return between / count + _mean_off_diagonal(covariance)


def delong_components(labels: ArrayLike, scores: ArrayLike) -> tuple[Floats, Floats]:
    """Placement values behind an AUROC (DeLong et al. 1988, eq. 4 and 5), from midranks.

    V10 of a positive is the share of negatives that it outranks, V01 of a negative the share of
    positives that outrank it, ties counting half; the mean of either is the AUROC. Midranks give
    both in O(n log n) (Sun & Xu 2014).

    Parameters
    ----------
    labels, scores
        Shape (n,), both classes present.

    Returns
    -------
    V10 (positives,) and V01 (negatives,), each in the order of the input.
    """
    truth, values = np.asarray(labels), np.asarray(scores, dtype=np.float64)
    positive, negative = values[truth == 1], values[truth == 0]
    ranks = rankdata(values)
    v10 = (ranks[truth == 1] - rankdata(positive)) / negative.size
    v01 = 1 - (ranks[truth == 0] - rankdata(negative)) / positive.size
    return v10, v01


def linear_auroc(labels: Ints, scores: Floats, patients: Ints) -> Linear:
    """Linearise AUROCs; labels (n,) of both classes, scores (S, n), patients (n,) 0 … C - 1."""
    positive = labels == 1
    pairs = [delong_components(labels, row) for row in scores]
    values = np.array([v10.mean() for v10, _ in pairs])
    parts = tuple(
        _summed(np.stack([pair[index] for pair in pairs]), patients[mask], patients)
        for index, mask in enumerate((positive, ~positive))
    )
    sizes = tuple(int(np.unique(patients[mask]).size) for mask in (positive, ~positive))
    return Linear(values, parts, sizes)


def linear_share(right: NDArray[np.bool_], of: NDArray[np.bool_], patients: Ints) -> Linear:
    """Linearise shares of right calls; right (S, n), of the units where `of` (n,), not none."""
    counted = right[:, of].astype(np.float64)
    part = _summed(counted, patients[of], patients)
    return Linear(counted.mean(axis=1), (part,), (int(np.unique(patients[of]).size),))


def halved_sum(one: Linear, other: Linear) -> Linear:
    """Return the mean of two statistics, whose parts it holds apart."""
    parts = tuple(part / 2 for part in (*one.parts, *other.parts))
    return Linear((one.values + other.values) / 2, parts, (*one.sizes, *other.sizes))


def _summed(values: Floats, owners: Ints, patients: Ints) -> Floats:
    """Sum departures from each row's mean by patient, over the number of units: (S, C)."""
    count = int(patients.max()) + 1
    away = (values - values.mean(axis=1, keepdims=True)) / values.shape[1]
    return np.stack([np.bincount(owners, weights=row, minlength=count) for row in away])


def _mean_off_diagonal(matrix: Floats) -> float:
    size = matrix.shape[0]
    return float((matrix.sum() - np.trace(matrix)) / (size * (size - 1)))
