import numpy as np
import pytest
from scipy.special import expit
from sklearn.metrics import log_loss

from wsi_specdec.training import fit_temperature
from wsi_specdec.training.temperature import TEMPERATURE_BOUNDS, cross_entropy


@pytest.mark.parametrize("truth", [0.5, 1.0, 4.0])
def test_the_temperature_that_labels_were_drawn_by_is_found(truth: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, 40_000)
    label = (rng.random(40_000) < expit(logits / truth)).astype(np.int64)
    assert fit_temperature(logits, label) == pytest.approx(truth, rel=0.05)


def test_no_other_temperature_is_likelier() -> None:
    rng = np.random.default_rng(1)
    logits, label = rng.normal(0, 2, 50), rng.integers(0, 2, 50)
    best = cross_entropy(logits, label, fit_temperature(logits, label))
    grid = np.geomspace(*TEMPERATURE_BOUNDS, 200)
    assert best <= min(cross_entropy(logits, label, t) for t in grid) + 1e-9


def test_cross_entropy_is_scikit_learns_log_loss() -> None:
    rng = np.random.default_rng(2)
    logits, label = rng.normal(0, 2, 50), rng.integers(0, 2, 50)
    assert cross_entropy(logits, label, 2.0) == pytest.approx(log_loss(label, expit(logits / 2)))
    assert cross_entropy(np.array([1e4]), np.array([0])) == pytest.approx(1e4)


def test_perfect_separation_gives_the_bound_and_one_class_gives_1() -> None:
    logits = np.array([-3.0, 3.0])
    found = fit_temperature(logits, np.array([0, 1]))
    assert found == pytest.approx(TEMPERATURE_BOUNDS[0], rel=1e-3)
    reversed_ = fit_temperature(logits, np.array([1, 0]))
    assert reversed_ == pytest.approx(TEMPERATURE_BOUNDS[1], rel=1e-3)
    assert fit_temperature(logits, np.array([1, 1])) == 1.0
