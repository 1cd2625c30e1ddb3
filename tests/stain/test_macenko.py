"""Macenko's fit recovers what a mixture was made of, and never fails on odd pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.stain import (
    StainProfile,
    fit_macenko,
    merge_profiles,
    normalise,
    optical_density,
)

CONFIG = StainConfig(method="macenko")
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])
EOSIN = np.array([0.20, 0.92, 0.34])


def mixture(
    vectors: NDArray[np.float64], strengths: tuple[float, float], n: int = 20_000, seed: int = 0
) -> NDArray[np.uint8]:
    """Pixels (n, 3) of two stains, many of them nearly pure, with sensor noise."""
    rng = np.random.default_rng(seed)
    amounts = rng.beta(0.5, 0.5, (n, 2)) * strengths
    amounts[:, 0] = np.where(rng.random(n) < 0.2, 0.01, amounts[:, 0])
    amounts[:, 1] = np.where(rng.random(n) < 0.2, 0.01, amounts[:, 1])
    intensity = 240 * np.exp(-(amounts @ vectors)) - 1 + rng.normal(0, 1, (n, 3))
    return np.clip(np.rint(intensity), 0, 255).astype(np.uint8)


def unit(*rows: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.stack(rows)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def angle(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def test_known_stain_vectors_are_recovered() -> None:
    truth = unit(HAEMATOXYLIN, EOSIN)
    profile = fit_macenko(mixture(truth, (1.5, 1.2)), CONFIG)
    assert profile.status == "ok"
    assert angle(profile.matrix()[0], truth[0]) < 3
    assert angle(profile.matrix()[1], truth[1]) < 3
    assert profile.max_concentrations == pytest.approx((1.5, 1.2), rel=0.1)
    assert np.linalg.norm(profile.matrix(), axis=1) == pytest.approx([1, 1])


def test_haematoxylin_comes_first_whatever_the_order_of_the_mixture() -> None:
    profile = fit_macenko(mixture(unit(EOSIN, HAEMATOXYLIN), (1.2, 1.5)), CONFIG)
    assert profile.matrix()[0, 0] > profile.matrix()[1, 0]


@pytest.mark.parametrize(
    ("pixels", "status"),
    [
        (np.full((5000, 3), 255, np.uint8), "too_little_tissue"),
        (np.full((5000, 3), 120, np.uint8), "degenerate"),
        (np.zeros((5000, 3), np.uint8), "degenerate"),
        (np.empty((0, 3), np.uint8), "too_little_tissue"),
        (mixture(unit(HAEMATOXYLIN, EOSIN), (1.5, 1.2), n=200), "too_little_tissue"),
    ],
)
def test_what_cannot_be_fitted_says_so(pixels: NDArray[np.uint8], status: str) -> None:
    profile = fit_macenko(pixels, CONFIG)
    assert profile.status == status
    assert np.isfinite(profile.matrix()).all()


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    low=st.integers(0, 255),
    span=st.integers(0, 255),
    n=st.integers(1, 3000),
)
def test_no_pixels_break_the_fit_or_the_transform(seed: int, low: int, span: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(low, min(255, low + span) + 1, (n, 3)).astype(np.uint8)
    source = fit_macenko(pixels, CONFIG)
    target = fit_macenko(mixture(unit(HAEMATOXYLIN, EOSIN), (1.5, 1.2)), CONFIG)
    out = normalise(pixels, source, target)
    assert out.shape == pixels.shape
    if source.status != "ok":
        assert np.array_equal(out, pixels)


@pytest.mark.parametrize(("rule", "tissue"), [("mean", 1500), ("every_channel", 600)])
def test_tissue_is_what_absorbs_in_the_mean_or_in_every_channel(rule: str, tissue: int) -> None:
    glass, dark, blue = (215, 215, 215), (200, 200, 200), (150, 120, 228)
    pixels = np.repeat(np.array([glass, dark, blue], np.uint8), (700, 600, 900), axis=0)
    config = StainConfig.model_validate({"method": "macenko", "min_od_of": rule})
    assert fit_macenko(pixels, config).n_pixels == tissue


def test_transform_agrees_with_the_formula_within_one_grey_level() -> None:
    pixels = mixture(unit(HAEMATOXYLIN, EOSIN), (1.5, 1.2))
    source = fit_macenko(pixels, CONFIG)
    target = fit_macenko(
        mixture(unit(HAEMATOXYLIN, np.array([0.1, 0.99, 0.1])), (1.0, 2.0)), CONFIG
    )
    amounts = optical_density(pixels) @ np.linalg.pinv(source.matrix())
    amounts *= np.divide(target.max_concentrations, source.max_concentrations)
    expected = np.clip(np.rint(240 * np.exp(-amounts @ target.matrix()) - 1), 0, 255)
    assert np.abs(normalise(pixels, source, target) - expected).max() <= 1


def test_normalised_pixels_have_the_stains_of_the_target() -> None:
    source = mixture(unit(HAEMATOXYLIN, EOSIN), (1.0, 0.8))
    target_vectors = unit(np.array([0.55, 0.75, 0.37]), np.array([0.26, 0.89, 0.38]))
    target = fit_macenko(mixture(target_vectors, (1.6, 1.1), seed=1), CONFIG)
    moved = normalise(source, fit_macenko(source, CONFIG), target)
    again = fit_macenko(moved, CONFIG)
    assert angle(again.matrix()[0], target.matrix()[0]) < 3
    assert angle(again.matrix()[1], target.matrix()[1]) < 3
    assert again.max_concentrations == pytest.approx(target.max_concentrations, rel=0.1)


def test_read_only_and_strided_tiles_are_normalised_alike() -> None:
    pixels = mixture(unit(HAEMATOXYLIN, EOSIN), (1.5, 1.2), n=4 * 32 * 32).reshape(4, 32, 32, 3)
    profile = fit_macenko(pixels.reshape(-1, 3), CONFIG)
    expected = normalise(pixels, profile, profile)
    pixels.flags.writeable = False
    assert np.array_equal(normalise(pixels, profile, profile), expected)
    assert np.array_equal(normalise(pixels[:, ::2], profile, profile), expected[:, ::2])


def test_merged_target_ignores_unusable_slides_and_keeps_unit_vectors() -> None:
    good = [
        fit_macenko(mixture(unit(HAEMATOXYLIN, EOSIN), (1.5, s), seed=i), CONFIG)
        for i, s in enumerate((1.0, 1.2, 1.4))
    ]
    bad = fit_macenko(np.full((5000, 3), 255, np.uint8), CONFIG)
    merged = merge_profiles([*good, bad])
    assert merged == merge_profiles(good)
    assert np.linalg.norm(merged.matrix(), axis=1) == pytest.approx([1, 1])
    assert merged.max_concentrations[1] == good[1].max_concentrations[1]
    with pytest.raises(NotEnoughDataError, match="too_little_tissue"):
        merge_profiles([bad])


def test_profile_survives_json() -> None:
    profile = fit_macenko(mixture(unit(HAEMATOXYLIN, EOSIN), (1.5, 1.2)), CONFIG)
    assert StainProfile.from_json(profile.to_json()) == profile
