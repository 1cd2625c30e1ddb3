"""Reliability diagrams against counts by hand and scikit-learn's calibration curve."""

import numpy as np
from sklearn.calibration import calibration_curve

from wsi_specdec.report.reliability import BINS, Tally


def sample(n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    probabilities = rng.random(n) ** 2
    return (rng.random(n) < probabilities).astype(np.int64), probabilities


def test_bins_are_those_of_scikit_learn() -> None:
    labels, probabilities = sample()
    tally = Tally()
    for patient in range(20):
        part = slice(100 * patient, 100 * (patient + 1))
        tally.add(f"p{patient}", labels[part], probabilities[part])
    found = tally.reliability(0.95)
    assert found is not None
    observed, predicted = calibration_curve(labels, probabilities, n_bins=BINS)
    known = np.isfinite(found.observed)
    np.testing.assert_allclose(found.observed[known], observed)
    np.testing.assert_allclose(found.predicted[known], predicted)
    np.testing.assert_allclose(
        found.share, np.histogram(probabilities, BINS, (0, 1))[0] / len(labels)
    )
    assert found.tiles == len(labels)
    assert (found.low <= found.observed + 1e-12).all()
    assert (found.observed <= found.high + 1e-12).all()


def test_slides_of_one_patient_are_drawn_together() -> None:
    labels, probabilities = sample()
    many, one, few = Tally(), Tally(), Tally()
    for part in np.array_split(np.arange(len(labels)), 40):
        many.add(part[0], labels[part], probabilities[part])
        one.add("p", labels[part], probabilities[part])
        few.add(part[0] // 500, labels[part], probabilities[part])
    found = [tally.reliability(0.95) for tally in (many, one, few)]
    widths = [float(np.nansum(f.high - f.low)) for f in found if f is not None]
    assert len(widths) == 3
    assert widths[1] < 1e-12
    assert widths[0] > 0


def test_empty_bins_and_no_tiles() -> None:
    tally = Tally()
    assert tally.reliability(0.95) is None
    tally.add("p", np.array([0, 1]), np.array([0.25, 1.0]))
    found = tally.reliability(0.95)
    assert found is not None
    assert np.isnan(found.observed[[0, 1, 3, 8]]).all()
    # The last bin holds its upper end, the others their lower one.
    assert (found.observed[2], found.observed[9]) == (0, 1)
    assert np.isnan(found.low[0])
