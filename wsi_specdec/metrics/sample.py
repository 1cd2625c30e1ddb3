"""Units with a known truth, and what one arm's seeds made of them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Units with a known truth, and what one arm made of them.

    Attributes
    ----------
    labels
        (n,) 0 or 1; grades 0 … K - 1 for metrics of grades.
    patients
        (n,) codes 0 … C - 1 of the patients, each used.
    scores
        (S, n), a row per seed; probabilities where a metric needs them.
    calls
        (S, n) 0 or 1, or grades.
    """

    labels: Ints
    patients: Ints
    scores: Floats
    calls: Ints

    @property
    def n_patients(self) -> int:
        """Number of patients C."""
        return int(self.patients.max()) + 1 if self.patients.size else 0
