"""Gradient starvation: theory against gradient descent, and two moons."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from wsi_specdec.config import LinearConfig, MoonsConfig, StarvationConfig
from wsi_specdec.files import read_json
from wsi_specdec.studies.starvation.moons import (
    EXTENT,
    GRID,
    Training,
    boundary,
    draw_moons,
    parted,
    train_on_moons,
)
from wsi_specdec.studies.starvation.study import over_seeds, run
from wsi_specdec.studies.starvation.two_features import (
    Descent,
    System,
    descend,
    flow,
    margin_at_rest,
    rates_at_rest,
    response_at_rest,
)

ANGLE = np.radians(30.0)
FAINT, STRONG = System(ANGLE, (2.0, 2.0)), System(ANGLE, (5.0, 2.0))
MOONS = MoonsConfig(points=40, test_points=200, hidden=60, steps=150, lr=0.1)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """What is computed here is too small to be shared between threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("sd_coef", [0.02, 0.5, 3.0])
def test_every_sample_rests_at_the_margin_that_solves_the_equation(sd_coef: float) -> None:
    margin = margin_at_rest(sd_coef)
    assert sd_coef * margin == pytest.approx(1 / (1 + np.exp(margin)), rel=1e-9)
    for system in (FAINT, STRONG):
        found = response_at_rest(system, sd_coef, 0.0)
        assert system.shares @ found == pytest.approx(np.full(2, margin), rel=1e-9)


@pytest.mark.parametrize("penalties", [(0.1, 0.0), (0.0, 0.01), (0.2, 0.05)])
def test_at_rest_nothing_moves(penalties: tuple[float, float]) -> None:
    found = response_at_rest(STRONG, *penalties)
    assert np.abs(STRONG.speed(found, *penalties)).max() < 1e-9


def test_weight_decay_starves_the_weak_feature_and_decoupling_does_not() -> None:
    decayed = [response_at_rest(s, 0.0, 0.005)[1] for s in (FAINT, STRONG)]
    decoupled = [response_at_rest(s, 0.1, 0.0)[1] for s in (FAINT, STRONG)]
    assert 0 < decayed[1] < 0.9 * decayed[0]
    assert decoupled[1] == pytest.approx(decoupled[0])


def test_without_a_penalty_there_is_no_rest() -> None:
    with pytest.raises(ValueError, match="grow for ever"):
        response_at_rest(FAINT, 0.0, 0.0)


@pytest.mark.parametrize("penalties", [(0.0, 0.0), (0.3, 0.0), (0.0, 0.05)])
def test_gradient_descent_on_the_packages_loss_follows_the_flow(
    penalties: tuple[float, float],
) -> None:
    how = Descent(*penalties, lr=0.02, steps=300, parameters=7)
    steps, found = descend([FAINT, STRONG], [3, 4], how, every=100)
    assert steps.tolist() == [0, 100, 200, 300]
    for row, system in enumerate((FAINT, STRONG)):
        expected = flow(system, *penalties, steps * how.lr)
        assert found[1:, row] == pytest.approx(expected[1:], abs=0.05)


def test_the_last_of_the_way_to_rest_goes_at_the_predicted_rate() -> None:
    near, far = flow(STRONG, 0.3, 0.0, np.array([0.0, 12.0, 14.0]))[1:, 1]
    rest = response_at_rest(STRONG, 0.3, 0.0)[1]
    rate = np.log((near - rest) / (far - rest)) / 2
    assert rate == pytest.approx(rates_at_rest(STRONG, 0.3)[1], rel=0.01)


def test_moons_are_parted_by_the_gap_and_by_nothing_less() -> None:
    points, labels = draw_moons(300, 0.2, 0.1, seed=1)
    parted_points = parted(points, labels, 0.2)
    assert (parted_points[labels == 1, 1] >= 0.1).all()
    assert (parted_points[labels == 0, 1] <= -0.1).all()
    assert np.array_equal(parted_points[:, 0], points[:, 0])
    kept = np.abs(points[:, 1]) >= 0.1
    same_side = (points[:, 1] > 0) == (labels == 1)
    right = kept & same_side
    assert parted_points[right] == pytest.approx(points[right])


def test_the_boundary_of_a_slope_is_its_line() -> None:
    axis = np.linspace(-EXTENT, EXTENT, GRID)
    x, y = np.meshgrid(axis, axis)
    found = boundary(y - 0.3 * x - 0.123)
    assert len(found) >= GRID
    assert found[:, 1] == pytest.approx(0.3 * found[:, 0] + 0.123)


def test_decoupling_sees_the_shape_of_moons_and_cross_entropy_the_gap() -> None:
    plain = train_on_moons(Training(0.0, 0.0, 0, MOONS))
    decoupled = train_on_moons(Training(1.0, 0.0, 0, MOONS))
    assert plain.training_accuracy == decoupled.training_accuracy == 1
    assert decoupled.margin > 1.5 * plain.margin > 0
    # Where moons reach into each other.
    assert decoupled.accuracy[-1] > plain.accuracy[-1] + 0.05


def test_the_interval_over_seeds_is_students() -> None:
    found = over_seeds([1.0, 2.0, 4.0], 0.95)
    assert found["value"] == pytest.approx(7 / 3)
    # 4.303 of two degrees of freedom, times the standard error.
    reach = 4.30265 * np.std([1, 2, 4], ddof=1) / np.sqrt(3)
    assert found["ci_high"] - found["value"] == pytest.approx(reach, rel=1e-5)
    assert over_seeds([1.0], 0.95)["ci_low"] is None


def test_the_study_is_run_and_told(tmp_path: Path) -> None:
    config = StarvationConfig(
        title="Two features",
        seeds=(0, 1),
        linear=LinearConfig(strong=(2.0, 4.0), steps=300, weight_decay=0.05, sd_coef=0.5),
        moons=MOONS.model_copy(update={"weight_decays": (0.001,), "sd_coefs": (1.0,), "steps": 20}),
    )
    page = run(config, tmp_path, 1)
    told = read_json(tmp_path / "results.json")
    arms = told["linear"]["arms"]
    assert arms["sd"]["kept"]["value"] == pytest.approx(1, abs=1e-3)
    assert arms["wd"]["kept"]["value"] < 0.97
    assert arms["sd"]["largest_error"] < 1e-3
    assert told["linear"]["rate_ratio"]["value"] == pytest.approx(1, abs=0.05)
    assert [(row["arm"], row["value"]) for row in told["moons"]] == [
        ("ce", 0.0),
        ("wd", 0.001),
        ("sd", 1.0),
    ]
    text = page.read_text()
    assert "spectral decoupling" in text
    for name in ("starvation_linear", "starvation_moons"):
        assert f"figures/{name}.png" in text
        assert (tmp_path / "figures" / f"{name}.png").stat().st_size < 120_000
