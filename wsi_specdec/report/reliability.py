"""How often tiles of a predicted probability hold tumour: pure functions of arrays."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.report.roc import draw_patients

BINS: Final = 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Reliability:
    """One arm's reliability diagram on one cohort, a bin of predicted probability an entry.

    Attributes
    ----------
    predicted, observed
        (BINS,) mean probability, and share of the tiles that are positive; NaN in an empty bin.
    low, high
        (BINS,) bounds of the bootstrap interval of `observed` over patients; NaN in an empty bin.
    share
        (BINS,) share of all tiles.
    tiles
        Number of tiles, counted once a seed.
    """

    predicted: Floats
    observed: Floats
    low: Floats
    high: Floats
    share: Floats
    tiles: int


@dataclass
class Tally:
    """Counts by patient and bin, grown slide by slide, so that no tile has to be kept."""

    by_patient: dict[Hashable, Floats] = field(default_factory=dict)

    def add(self, patient: Hashable, labels: NDArray[np.integer], probabilities: Floats) -> None:
        """Count the tiles of one slide.

        Parameters
        ----------
        patient
            Whose slide it is.
        labels, probabilities
            (N,) 0 or 1, and the probability of 1.
        """
        # Closed below, the last one also above, as those of the expected calibration error.
        bins = np.minimum((probabilities * BINS).astype(np.int64), BINS - 1)
        rows = [
            np.bincount(bins, weights=weights, minlength=BINS)
            for weights in (None, labels.astype(np.float64), probabilities)
        ]
        counted = np.stack(rows).astype(np.float64)  # (3, BINS): tiles, positives, probability
        self.by_patient[patient] = self.by_patient.get(patient, 0.0) + counted

    def reliability(self, confidence: float, seed: int = 0) -> Reliability | None:
        """Summarise what was counted; None if nothing was."""
        tables = np.array(list(self.by_patient.values()))  # (C, 3, BINS)
        if not len(tables) or not tables[:, 0].any():
            return None
        number, positive, probability = tables.sum(axis=0)
        weights = draw_patients(np.arange(len(tables)), len(tables), seed)
        drawn = np.tensordot(weights, tables, axes=1)  # (B, 3, BINS)
        low, high = _bounds(_ratio(drawn[:, 1], drawn[:, 0]), confidence)
        observed, predicted = _ratio(positive, number), _ratio(probability, number)
        share = number / number.sum()
        return Reliability(predicted, observed, low, high, share, int(number.sum()))


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    out = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=out, where=denominator > 0)
    return out


def _bounds(drawn: Floats, confidence: float) -> tuple[Floats, Floats]:
    """Percentiles of each bin over the replicates that have tiles in it."""
    bounds = np.full((2, drawn.shape[1]), np.nan)
    tail = 100 * (1 - confidence) / 2
    known = np.isfinite(drawn).any(axis=0)
    if known.any():
        bounds[:, known] = np.nanpercentile(drawn[:, known], [tail, 100 - tail], axis=0)
    return bounds[0], bounds[1]
