"""Jitter follows its formula, in the stains of the profile."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain import fit_pixels, jitter, jitter_mixing, optical_density, standard_vectors

Image = NDArray[np.uint8]
Mixture = Callable[..., Image]
ONE, ZERO = np.ones((2, 2)), np.zeros((2, 2))


@pytest.fixture
def tiles(mixture: Mixture) -> Image:
    return mixture(n=2 * 32 * 32).reshape(2, 32, 32, 3)


def test_no_jitter_changes_nothing(tiles: Image) -> None:
    assert np.array_equal(jitter(tiles, None, ONE, ZERO), tiles)


def test_jitter_is_the_formula_in_each_tile(tiles: Image) -> None:
    profile = fit_pixels(tiles.reshape(-1, 3), StainConfig(method="macenko"))
    scale, shift = np.array([[1.2, 0.7], [0.8, 1.1]]), np.array([[0.05, 0.0], [-0.02, 0.1]])
    pair = profile.matrix()
    normal = np.cross(*pair)
    vectors = np.vstack([pair, normal / np.linalg.norm(normal)])
    amounts = optical_density(tiles) @ np.linalg.inv(vectors)
    amounts[..., :2] = amounts[..., :2] * scale[:, None, None] + shift[:, None, None]
    expected = np.clip(np.rint(240 * np.exp(-amounts @ vectors) - 1), 0, 255)
    assert np.abs(jitter(tiles, profile, scale, shift) - expected).max() <= 1
    assert np.abs(jitter(tiles, None, scale, shift) - expected).max() > 1


def test_stains_without_a_profile_are_the_standard_ones(mixture: Mixture) -> None:
    glass = fit_pixels(np.full((900, 3), 240, np.uint8), StainConfig(method="macenko"))
    scale, shift = np.array([[1.3, 1.0]]), np.zeros((1, 2))
    matrices, offsets = jitter_mixing(glass, scale, shift)
    assert np.array_equal(matrices, jitter_mixing(None, scale, shift)[0])
    haematoxylin, eosin = standard_vectors()
    assert matrices[0] @ haematoxylin == pytest.approx(1.3 * haematoxylin)
    assert matrices[0] @ eosin == pytest.approx(eosin)
    assert not offsets.any()


def test_read_only_tiles_are_jittered(tiles: Image) -> None:
    expected = jitter(tiles, None, 1.2 * ONE, ZERO)
    tiles.flags.writeable = False
    assert np.array_equal(jitter(tiles, None, 1.2 * ONE, ZERO), expected)
