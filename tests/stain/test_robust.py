"""Whatever the pixels: a defined result with the right status, never an error, never NaN."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks.stain_crops import EXPECTED, MAKERS, METHODS
from wsi_specdec.config import StainConfig
from wsi_specdec.demo.packed import load_patches
from wsi_specdec.stain import (
    StainProfile,
    TileStatus,
    fit_pixels,
    normalise,
    normalise_each,
    tile_status,
)

Image = NDArray[np.uint8]
Mixture = Callable[..., Image]
CONFIGS = [StainConfig.model_validate({"method": method}) for method in METHODS]
SIDE = 64


# Kinds that are no tissue, whatever they are made from.
NO_TISSUE = [kind for kind, (own, _) in EXPECTED.items() if own is not None]


@pytest.fixture(scope="module")
def slide(mixture: Mixture) -> Image:
    return mixture(n=SIDE * SIDE * 4).reshape(4, SIDE, SIDE, 3)


@pytest.fixture(params=CONFIGS, ids=METHODS)
def config(request: pytest.FixtureRequest) -> StainConfig:
    assert isinstance(request.param, StainConfig)
    return request.param


@pytest.fixture
def profile(slide: Image, config: StainConfig) -> StainProfile:
    fitted = fit_pixels(slide.reshape(-1, 3), config)
    assert fitted.status == "ok"
    return fitted


@pytest.mark.parametrize("kind", NO_TISSUE)
def test_what_is_no_tissue_says_so_and_stays(
    kind: str, config: StainConfig, profile: StainProfile, slide: Image
) -> None:
    status, by_slide = EXPECTED[kind]
    # Of ink there are several.
    for seed in range(3):
        tile = MAKERS[kind](slide[1], np.random.default_rng(seed))
        pair = np.stack([tile, slide[0]])
        own = fit_pixels(tile.reshape(-1, 3), config)
        assert own.status == status
        assert np.isfinite(own.matrix()).all()
        assert np.isfinite(own.max_concentrations).all()
        assert StainProfile.from_json(own.to_json()) == own
        out, codes = normalise_each(pair, profile, config)
        assert [TileStatus(code).label for code in codes] == [status, "normalised"]
        assert np.array_equal(out[0], tile)
        found = [TileStatus(code).label for code in tile_status(pair, profile, profile)]
        assert found == [by_slide or found[0], "normalised"]


def test_an_unusable_slide_keeps_its_pixels_and_says_so(
    config: StainConfig, profile: StainProfile, slide: Image
) -> None:
    glass = fit_pixels(np.full((900, 3), 240, np.uint8), config)
    for source, target in ((glass, profile), (profile, glass)):
        assert np.array_equal(normalise(slide, source, target), slide)
        assert set(tile_status(slide, source, target)) == {TileStatus.TOO_LITTLE_TISSUE}
    out, codes = normalise_each(slide, glass, config)
    assert np.array_equal(out, slide)
    assert set(codes) == {TileStatus.TOO_LITTLE_TISSUE}


@pytest.mark.parametrize("shape", [(0, 8, 8, 3), (1, 1, 1, 3), (3, 1, 7, 3), (0, 3)])
def test_empty_and_tiny_input(
    shape: tuple[int, ...], config: StainConfig, profile: StainProfile
) -> None:
    tiles = np.full(shape, 100, np.uint8)
    assert fit_pixels(tiles.reshape(-1, 3), config).status == "too_little_tissue"
    assert normalise(tiles, profile, profile).shape == shape
    if len(shape) == 4:
        out, codes = normalise_each(tiles, profile, config)
        assert np.array_equal(out, tiles)
        assert set(codes) <= {TileStatus.TOO_LITTLE_TISSUE}
        assert tile_status(tiles, profile, profile).shape == shape[:1]


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    low=st.integers(0, 255),
    span=st.integers(0, 255),
    n=st.integers(0, 3000),
    method=st.sampled_from(METHODS),
)
def test_no_pixels_break_a_fit_or_a_transform(
    mixture: Mixture, seed: int, low: int, span: int, n: int, method: str
) -> None:
    config = StainConfig.model_validate({"method": method})
    rng = np.random.default_rng(seed)
    pixels = rng.integers(low, min(255, low + span) + 1, (n, 3)).astype(np.uint8)
    source, target = fit_pixels(pixels, config), fit_pixels(mixture(), config)
    assert np.isfinite([*source.matrix().ravel(), *source.max_concentrations]).all()
    assert np.isfinite(source.lab_deviations or 0).all()
    out = normalise(pixels, source, target)
    assert out.shape == pixels.shape
    if source.status != "ok":
        assert np.array_equal(out, pixels)


def test_crops_of_real_tissue(tissue_tiles: Image, config: StainConfig) -> None:
    """Hundreds of crops of a slide and of the packed patches; thousands in benchmarks/stain.py."""
    rng = np.random.default_rng(0)
    patches = load_patches().tiles
    target = fit_pixels(tissue_tiles.reshape(-1, 3)[::97], config)
    source = fit_pixels(patches.reshape(-1, 3)[::97], config)
    assert source.status == target.status == "ok"
    statuses: list[int] = []
    for _ in range(60):
        side = int(rng.integers(1, 50))
        images = tissue_tiles if rng.random() < 0.5 else patches
        number = rng.integers(len(images), size=3)
        y, x = rng.integers(0, images.shape[1] - side + 1, size=2)
        crops = images[number, y : y + side, x : x + side]
        out, codes = normalise_each(crops, target, config)
        unchanged = (out == crops).all(axis=(1, 2, 3))
        assert unchanged[codes != TileStatus.NORMALISED].all()
        assert normalise(crops, source, target).shape == crops.shape
        statuses += tile_status(crops, source, target).tolist()
    assert np.mean(np.array(statuses) == TileStatus.NORMALISED) > 0.6
