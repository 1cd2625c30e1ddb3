"""Macenko's fit recovers what a mixture was made of, and never fails on odd pixels."""

from collections.abc import Callable

import numpy as np
import pytest
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

Vectors = NDArray[np.float64]
Mixture = Callable[..., NDArray[np.uint8]]
CONFIG = StainConfig(method="macenko")
HAEMATOXYLIN = np.array([0.65, 0.70, 0.29])


def unit(*rows: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = np.stack(rows)
    return np.asarray(matrix / np.linalg.norm(matrix, axis=1, keepdims=True))


def angle(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arccos(np.clip(a @ b, -1, 1))))


def test_known_stain_vectors_are_recovered(mixture: Mixture, vectors: Vectors) -> None:
    profile = fit_macenko(mixture((1.5, 1.2)), CONFIG)
    assert profile.status == "ok"
    assert angle(profile.matrix()[0], vectors[0]) < 3
    assert angle(profile.matrix()[1], vectors[1]) < 3
    assert profile.max_concentrations == pytest.approx((1.5, 1.2), rel=0.1)
    assert np.linalg.norm(profile.matrix(), axis=1) == pytest.approx([1, 1])


def test_haematoxylin_comes_first_whatever_the_order_of_the_mixture(
    mixture: Mixture, vectors: Vectors
) -> None:
    profile = fit_macenko(mixture((1.2, 1.5), stains=vectors[::-1]), CONFIG)
    assert profile.matrix()[0, 0] > profile.matrix()[1, 0]


@pytest.mark.parametrize(
    ("pixels", "status"),
    [
        (np.full((5000, 3), 255, np.uint8), "too_little_tissue"),
        (np.full((5000, 3), 120, np.uint8), "degenerate"),
        (np.zeros((5000, 3), np.uint8), "degenerate"),
        (np.empty((0, 3), np.uint8), "too_little_tissue"),
    ],
)
def test_what_cannot_be_fitted_says_so(pixels: NDArray[np.uint8], status: str) -> None:
    profile = fit_macenko(pixels, CONFIG)
    assert profile.status == status
    assert np.isfinite(profile.matrix()).all()


def test_fewer_than_the_least_pixels_of_tissue_are_too_little(mixture: Mixture) -> None:
    for n, status in ((200, "too_little_tissue"), (900, "ok")):
        assert fit_macenko(mixture(n=n), CONFIG).status == status


@pytest.mark.parametrize(("rule", "tissue"), [("mean", 1500), ("every_channel", 600)])
def test_tissue_is_what_absorbs_in_the_mean_or_in_every_channel(rule: str, tissue: int) -> None:
    glass, dark, blue = (215, 215, 215), (200, 200, 200), (150, 120, 228)
    pixels = np.repeat(np.array([glass, dark, blue], np.uint8), (700, 600, 900), axis=0)
    config = StainConfig.model_validate({"method": "macenko", "min_od_of": rule})
    assert fit_macenko(pixels, config).n_pixels == tissue


def test_transform_agrees_with_the_formula_within_one_grey_level(mixture: Mixture) -> None:
    pixels = mixture((1.5, 1.2))
    source = fit_macenko(pixels, CONFIG)
    target = fit_macenko(
        mixture((1.0, 2.0), stains=unit(HAEMATOXYLIN, np.array([0.1, 0.99, 0.1]))), CONFIG
    )
    amounts = optical_density(pixels) @ np.linalg.pinv(source.matrix())
    amounts *= np.divide(target.max_concentrations, source.max_concentrations)
    expected = np.clip(np.rint(240 * np.exp(-amounts @ target.matrix()) - 1), 0, 255)
    assert np.abs(normalise(pixels, source, target) - expected).max() <= 1


def test_normalised_pixels_have_the_stains_of_the_target(mixture: Mixture) -> None:
    source = mixture((1.0, 0.8))
    target_vectors = unit(np.array([0.55, 0.75, 0.37]), np.array([0.26, 0.89, 0.38]))
    target = fit_macenko(mixture((1.6, 1.1), stains=target_vectors, seed=1), CONFIG)
    moved = normalise(source, fit_macenko(source, CONFIG), target)
    again = fit_macenko(moved, CONFIG)
    assert angle(again.matrix()[0], target.matrix()[0]) < 3
    assert angle(again.matrix()[1], target.matrix()[1]) < 3
    assert again.max_concentrations == pytest.approx(target.max_concentrations, rel=0.1)


def test_merged_target_ignores_unusable_slides_and_keeps_unit_vectors(mixture: Mixture) -> None:
    good = [fit_macenko(mixture((1.5, s), seed=i), CONFIG) for i, s in enumerate((1.0, 1.2, 1.4))]
    bad = fit_macenko(np.full((5000, 3), 255, np.uint8), CONFIG)
    merged = merge_profiles([*good, bad])
    assert merged == merge_profiles(good)
    assert np.linalg.norm(merged.matrix(), axis=1) == pytest.approx([1, 1])
    assert merged.max_concentrations[1] == good[1].max_concentrations[1]
    with pytest.raises(NotEnoughDataError, match="too_little_tissue"):
        merge_profiles([bad])


def test_profile_survives_json(mixture: Mixture) -> None:
    profile = fit_macenko(mixture((1.5, 1.2)), CONFIG)
    assert StainProfile.from_json(profile.to_json()) == profile
