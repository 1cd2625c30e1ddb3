"""Colour statistics are those of L*a*b*, and tiles get the target's."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab

from wsi_specdec.config import StainConfig
from wsi_specdec.stain import StainProfile, fit_pixels, lab, merge_profiles, normalise

CONFIG = StainConfig(method="reinhard")
Image = NDArray[np.uint8]
Mixture = Callable[..., Image]


def statistics(pixels: Image) -> NDArray[np.float64]:
    """Mean and deviation of L*, a*, b* over tissue, by scikit-image: (2, 3)."""
    density = -np.log((pixels + 1.0) / 240)
    values = rgb2lab(pixels[density.mean(axis=1) >= CONFIG.min_od])
    return np.stack([values.mean(axis=0), values.std(axis=0)])


def test_lab_is_scikit_images() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5000, 3)).astype(np.uint8)
    assert lab.rgb_to_lab(pixels) == pytest.approx(rgb2lab(pixels), abs=0.02)
    assert np.array_equal(lab.lab_to_rgb(lab.rgb_to_lab(pixels)), pixels)


def test_profile_holds_the_statistics_of_tissue(mixture: Mixture) -> None:
    pixels = np.concatenate([mixture(), np.full((5000, 3), 238, np.uint8)])
    profile = fit_pixels(pixels, CONFIG)
    assert profile.status == "ok"
    means, deviations = statistics(pixels)
    assert profile.lab_means == pytest.approx(means, abs=0.05)
    assert profile.lab_deviations == pytest.approx(deviations, abs=0.05)
    assert StainProfile.from_json(profile.to_json()) == profile


def test_transform_agrees_with_the_formula(mixture: Mixture) -> None:
    pixels = mixture()
    source = fit_pixels(pixels, CONFIG)
    target = fit_pixels(mixture((0.9, 1.9), seed=1), CONFIG)
    scaled = (rgb2lab(pixels) - source.lab_means) / source.lab_deviations
    wanted = scaled * target.lab_deviations + target.lab_means
    expected = np.rint(lab2rgb(wanted) * 255)
    apart = np.abs(normalise(pixels, source, target) - expected)
    assert (apart <= 1).mean() > 0.999
    assert apart.mean() < 0.1
    again = fit_pixels(normalise(pixels, source, target), CONFIG)
    assert again.lab_means == pytest.approx(target.lab_means, abs=1.5)


def test_every_colour_stays_under_its_own_profile(mixture: Mixture) -> None:
    steps = np.arange(0, 256, 5, dtype=np.uint8)
    colours = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    profile = fit_pixels(mixture(), CONFIG)
    apart = np.abs(normalise(colours, profile, profile).astype(int) - colours)
    assert apart.max() <= 2
    assert (apart <= 1).mean() > 0.999
    assert (apart == 0).mean() > 0.95


def test_merged_target_has_the_medians(mixture: Mixture) -> None:
    profiles = [fit_pixels(mixture((1.5, 1.0 + 0.2 * i), seed=i), CONFIG) for i in range(3)]
    merged = merge_profiles(profiles)
    assert merged.lab_means is not None
    means = np.median([profile.lab_means for profile in profiles], axis=0)
    assert merged.lab_means == pytest.approx(means)
    assert merged.n_pixels == sum(profile.n_pixels for profile in profiles)
