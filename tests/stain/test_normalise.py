"""Pixels move as the profiles say, whatever the array's layout and the number of threads."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.errors import NotEnoughDataError
from wsi_specdec.stain import (
    StainProfile,
    fit_pixels,
    merge_profiles,
    mixing,
    normalise,
    normalise_each,
)
from wsi_specdec.stain.normalise import _PIXELS_A_PART

Image = NDArray[np.uint8]
Mixture = Callable[..., Image]
METHODS = ("macenko", "vahadane", "reinhard")


@pytest.fixture(params=METHODS)
def config(request: pytest.FixtureRequest) -> StainConfig:
    return StainConfig.model_validate({"method": request.param})


@pytest.fixture
def pair(mixture: Mixture, config: StainConfig) -> tuple[StainProfile, StainProfile]:
    return fit_pixels(mixture(), config), fit_pixels(mixture((0.9, 1.9), seed=1), config)


def test_read_only_strided_and_transposed_tiles_are_normalised_alike(
    mixture: Mixture, pair: tuple[StainProfile, StainProfile]
) -> None:
    tiles = mixture(n=4 * 32 * 32).reshape(4, 32, 32, 3)
    expected = normalise(tiles, *pair)
    assert (expected != tiles).mean() > 0.5
    tiles.flags.writeable = False
    assert np.array_equal(normalise(tiles, *pair), expected)
    assert np.array_equal(normalise(tiles[::-1, ::2], *pair), expected[::-1, ::2])
    planes = np.ascontiguousarray(tiles.transpose(0, 3, 1, 2))
    assert np.array_equal(normalise(planes.transpose(0, 2, 3, 1), *pair), expected)
    assert expected.flags.writeable


def test_threads_and_several_callers_change_nothing(
    mixture: Mixture, pair: tuple[StainProfile, StainProfile], config: StainConfig
) -> None:
    tiles = mixture(n=10 * 32 * 32).reshape(10, 32, 32, 3)
    many = np.tile(tiles, (_PIXELS_A_PART // (10 * 32 * 32) + 2, 1, 1, 1))
    expected = normalise(tiles, *pair)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: normalise(many, *pair, threads=2), range(4)))
    for out in results:
        assert (out.reshape(-1, *tiles.shape) == expected).all()
    alone = normalise_each(tiles, pair[1], config)
    threaded = normalise_each(tiles, pair[1], config, threads=3)
    assert np.array_equal(alone[0], threaded[0])
    assert np.array_equal(alone[1], threaded[1])


def test_each_tile_gets_a_profile_of_its_own(
    mixture: Mixture, pair: tuple[StainProfile, StainProfile], config: StainConfig
) -> None:
    tiles = np.stack([mixture((s, 1.2), n=4096).reshape(64, 64, 3) for s in (1.0, 1.5, 2.0)])
    out, codes = normalise_each(tiles, pair[1], config)
    assert not codes.any()
    for tile, moved in zip(tiles, out, strict=True):
        own = fit_pixels(tile.reshape(-1, 3), config)
        assert np.array_equal(moved, normalise(tile, own, pair[1]))


def test_profiles_of_two_methods_do_not_mix(mixture: Mixture) -> None:
    macenko, reinhard = (
        fit_pixels(mixture(), StainConfig.model_validate({"method": method}))
        for method in ("macenko", "reinhard")
    )
    with pytest.raises(ValueError, match="macenko profile cannot"):
        normalise(mixture(), macenko, reinhard)
    with pytest.raises(ValueError, match="different methods"):
        merge_profiles([macenko, reinhard])


def test_what_is_not_an_image_is_refused(pair: tuple[StainProfile, StainProfile]) -> None:
    for wrong in (np.zeros((4, 4, 3), np.float32), np.zeros((4, 4), np.uint8)):
        with pytest.raises(ValueError, match="uint8 of shape"):
            normalise(wrong, *pair)  # type: ignore[arg-type]


def test_no_method_and_no_profile_have_no_mixing(mixture: Mixture, config: StainConfig) -> None:
    with pytest.raises(ValueError, match="'none'"):
        fit_pixels(mixture(), StainConfig())
    glass = fit_pixels(np.full((900, 3), 240, np.uint8), config)
    with pytest.raises(ValueError, match="too_little_tissue"):
        mixing(glass, fit_pixels(mixture(), config))
    with pytest.raises(NotEnoughDataError, match="too_little_tissue"):
        merge_profiles([glass])


def test_an_extreme_pair_stays_defined(mixture: Mixture) -> None:
    config = StainConfig(method="macenko")
    source = fit_pixels(mixture(), config)
    weak = StainProfile.from_json(source.to_json() | {"max_concentrations": [1e-9, 1e9]})
    out = normalise(mixture(), weak, source)
    assert out.shape == mixture().shape
