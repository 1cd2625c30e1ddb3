"""Levels, sizes and mpp."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi_specdec.errors import ResolutionError
from wsi_specdec.geometry import (
    ReadPlan,
    Size,
    check_mpp,
    plan_reading,
    plan_reading_of_size,
)


def plan(mpp: float | None, mpp_level0: float | None = 0.25, overlap: int = 0) -> ReadPlan:
    return plan_reading(
        mpp_level0=mpp_level0,
        level_downsamples=(1.0, 4.0, 16.0),
        mpp=mpp,
        tile_size_px=256,
        overlap_px=overlap,
        tolerance=0.02,
    )


def test_a_level_of_the_asked_mpp_is_read_as_it_is() -> None:
    found = plan(1.0)
    assert (found.level, found.read_size_px, found.tile_size_level0_px) == (1, 256, 1024)
    assert found.mpp_effective == pytest.approx(1.0)


def test_between_levels_the_next_finer_one_is_resampled() -> None:
    found = plan(0.5)
    assert (found.level, found.read_size_px, found.tile_size_level0_px) == (0, 512, 512)


def test_without_mpp_level_0_is_taken_even_where_its_mpp_is_unknown() -> None:
    found = plan(None, mpp_level0=None)
    assert (found.level, found.tile_size_level0_px, found.mpp_effective) == (0, 256, None)


def test_overlap_shortens_the_step_in_pixels_of_the_level() -> None:
    assert plan(1.0, overlap=64).step_px == 192
    assert plan(0.5, overlap=64).step_px == 384
    # 351 px are read for 256, so that neighbours without overlap neither share nor miss pixels.
    assert (plan(0.343).read_size_px, plan(0.343).step_px) == (351, 351)
    assert plan(0.343, overlap=64).step_px == pytest.approx(351 * 192 / 256)


@pytest.mark.parametrize("mpp", [0.495, 0.5, 0.509])
def test_near_a_whole_multiple_of_a_level_that_many_pixels_are_averaged(mpp: float) -> None:
    found = plan(mpp)
    assert (found.level, found.read_size_px, found.mpp_effective) == (0, 512, 0.5)
    assert found.is_resampled


def test_the_mpp_of_what_is_read_is_told() -> None:
    # Of an Aperio slide: 3.9998 is not quite 4.
    found = plan_reading(
        mpp_level0=0.2522,
        level_downsamples=(1.0, 3.9998),
        mpp=1.0,
        tile_size_px=224,
        overlap_px=0,
        tolerance=0.02,
    )
    assert (found.level, found.read_size_px, found.tile_size_level0_px) == (1, 224, 896)
    assert found.mpp_effective == pytest.approx(0.2522 * 3.9998, rel=1e-12)
    assert not found.is_resampled


def test_tiles_of_a_given_size_at_level_0() -> None:
    def of_size(size: int) -> ReadPlan:
        return plan_reading_of_size(
            size_level0_px=size,
            mpp_level0=0.25,
            level_downsamples=(1.0, 4.0003),
            tile_size_px=256,
            tolerance=0.02,
        )

    assert (of_size(256).level, of_size(256).read_size_px, of_size(256).mpp) == (0, 256, 0.25)
    assert (of_size(1024).level, of_size(1024).read_size_px) == (1, 256)
    assert of_size(1024).tile_size_level0_px == 1024
    assert (of_size(300).level, of_size(300).read_size_px) == (0, 300)
    assert of_size(300).mpp_effective == pytest.approx(0.25 * 300 / 256)
    with pytest.raises(ResolutionError, match="tile size of 128 or less"):
        of_size(128)


def test_unknown_mpp_names_the_remedies() -> None:
    with pytest.raises(ResolutionError, match=r"--slide-mpp.*column 'mpp'"):
        plan(1.0, mpp_level0=None)


def test_upsampling_is_refused_naming_the_finest_mpp() -> None:
    with pytest.raises(ResolutionError, match=r"ask for mpp 0\.25 or more"):
        plan(0.2)


@given(
    mpp0=st.floats(0.1, 2.0),
    factor=st.floats(1.0, 60.0),
    size=st.integers(16, 1024),
)
def test_what_is_read_covers_the_tile_at_its_mpp(mpp0: float, factor: float, size: int) -> None:
    found = plan_reading(
        mpp_level0=mpp0,
        level_downsamples=(1.0, 2.0, 8.0, 32.0),
        mpp=mpp0 * factor,
        tile_size_px=size,
        overlap_px=0,
        tolerance=0.02,
    )
    assert found.read_size_px >= size
    assert found.mpp_effective is not None
    # Whole pixels are read, and a level or a multiple of it within the tolerance taken as it is.
    slack = 0.021 + 0.5 / found.read_size_px
    assert found.mpp_effective == pytest.approx(mpp0 * factor, rel=slack)


@pytest.mark.parametrize("bad", [0.0, -1.0, 1000.0, math.nan, math.inf])
def test_implausible_mpp_is_refused(bad: float) -> None:
    with pytest.raises(ResolutionError, match="not plausible"):
        check_mpp(bad, bad, "metadata")


def test_pixels_that_are_not_square_are_refused() -> None:
    assert check_mpp(0.25, 0.252, "metadata") == pytest.approx(0.251)
    with pytest.raises(ResolutionError, match="not square"):
        check_mpp(0.25, 0.5, "metadata")


def test_a_scaled_size_covers_every_pixel() -> None:
    assert Size(1001, 3).scaled(4) == Size(251, 1)
    assert Size(10, 20).area == 200
