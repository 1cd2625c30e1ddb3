"""Sizes, boxes and the arithmetic between mpp, level and downsample.

Level-0 pixels are the pixels of the finest level; µm per pixel (mpp) relates them to tissue.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from wsi_specdec.errors import ResolutionError

PLAUSIBLE_MPP = (0.05, 50.0)
MAX_ANISOTROPY = 0.05


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels, never a bare pair."""

    width: int
    height: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height

    def scaled(self, downsample: float) -> "Size":
        """Size at a `downsample` (> 1 is coarser), at least one pixel each way."""
        return Size(
            max(1, math.ceil(self.width / downsample)), max(1, math.ceil(self.height / downsample))
        )


@dataclass(frozen=True, slots=True)
class Box:
    """Top-left corner and size, in level-0 pixels unless said otherwise."""

    x: int
    y: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """How tiles of one size and mpp are read from one slide.

    Attributes
    ----------
    level
        The level read: the coarsest that is not coarser than the target.
    read_size_px
        Side of the region read, in pixels of `level`.
    tile_size_px
        Side of the tile kept; equal to `read_size_px` where nothing is resampled.
    tile_size_level0_px, stride_level0_px
        Side and step of the tile, in level-0 pixels.
    mpp, mpp_effective
        The mpp asked for, and the one that whole level-0 pixels give.
    """

    level: int
    read_size_px: int
    tile_size_px: int
    tile_size_level0_px: int
    stride_level0_px: int
    mpp: float | None
    mpp_effective: float | None


def check_mpp(mpp_x: float, mpp_y: float, source: str) -> float:
    """Return one mpp (µm/px) for both axes.

    Raises
    ------
    ResolutionError
        If a value is not finite, implausible, or the axes differ by more than 5 %.
    """
    low, high = PLAUSIBLE_MPP
    for value in (mpp_x, mpp_y):
        if not (math.isfinite(value) and low <= value <= high):
            msg = (
                f"mpp {value} from {source} is not plausible ({low} to {high} µm per pixel); "
                "give the right one with --slide-mpp or the manifest's column 'mpp'"
            )
            raise ResolutionError(msg)
    if abs(mpp_x - mpp_y) > MAX_ANISOTROPY * max(mpp_x, mpp_y):
        msg = (
            f"pixels from {source} are not square: mpp {mpp_x} by {mpp_y}; "
            "resample the slide, or override with --slide-mpp"
        )
        raise ResolutionError(msg)
    return (mpp_x + mpp_y) / 2


def plan_reading(
    *,
    mpp_level0: float | None,
    level_downsamples: Sequence[float],
    mpp: float | None,
    tile_size_px: int,
    overlap_px: int,
    tolerance: float,
) -> ReadPlan:
    """Choose the level and sizes for tiles of `tile_size_px` at `mpp`.

    Parameters
    ----------
    mpp_level0
        The slide's µm per level-0 pixel, or None where unknown.
    level_downsamples
        Downsample of each level, finest first.
    mpp
        Target µm per pixel; None takes level 0 as it is.
    tile_size_px, overlap_px
        Tile side and overlap, in pixels of the target resolution.
    tolerance
        Relative distance to a level within which its pixels are taken unresampled.

    Raises
    ------
    ResolutionError
        If `mpp` is asked for and the slide has none, or `mpp` is finer than level 0.
    """
    stride_px = tile_size_px - overlap_px
    if mpp is None:
        return ReadPlan(0, tile_size_px, tile_size_px, tile_size_px, stride_px, None, mpp_level0)
    if mpp_level0 is None:
        msg = (
            f"the slide states no mpp, and mpp {mpp} was asked for: "
            "give it with --slide-mpp or in the manifest's column 'mpp'"
        )
        raise ResolutionError(msg)
    target = mpp / mpp_level0
    if target < 1 - tolerance:
        msg = (
            f"mpp {mpp} is finer than level 0 ({mpp_level0:.4g}): tiles are never upsampled; "
            f"ask for mpp {mpp_level0:.4g} or more"
        )
        raise ResolutionError(msg)
    usable = [i for i, d in enumerate(level_downsamples) if d <= target * (1 + tolerance)]
    level = max(usable, key=lambda i: level_downsamples[i], default=0)
    ratio = target / level_downsamples[level]
    if abs(ratio - 1) <= tolerance:
        scale = level_downsamples[level]
        read_size = tile_size_px
    else:
        scale = target
        read_size = max(1, round(tile_size_px * ratio))
    size_level0 = max(1, round(tile_size_px * scale))
    return ReadPlan(
        level=level,
        read_size_px=read_size,
        tile_size_px=tile_size_px,
        tile_size_level0_px=size_level0,
        stride_level0_px=max(1, round(stride_px * scale)),
        mpp=mpp,
        mpp_effective=mpp_level0 * size_level0 / tile_size_px,
    )
