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
    downsample
        Of `level`.
    read_size_px
        Side of the region read, in pixels of `level`.
    tile_size_px
        Side of the tile kept; equal to `read_size_px` where nothing is resampled.
    step_px
        From one tile to the next, in pixels of `level`; whole where nothing is resampled.
    tile_size_level0_px
        Side of the tile in level-0 pixels, rounded.
    mpp, mpp_effective
        The mpp asked for, and the one that the regions read have.
    """

    level: int
    downsample: float
    read_size_px: int
    tile_size_px: int
    step_px: float
    tile_size_level0_px: int
    mpp: float | None
    mpp_effective: float | None

    @property
    def is_resampled(self) -> bool:
        """Whether tiles are averaged from more pixels than they have."""
        return self.read_size_px != self.tile_size_px


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
        Relative distance to a level, or to a whole multiple of one, within which its pixels are
        taken as they are, or averaged by that whole number.

    Raises
    ------
    ResolutionError
        If `mpp` is asked for and the slide has none, or `mpp` is finer than level 0.
    """
    level, read_size = 0, tile_size_px
    if mpp is not None:
        target = _target_downsample(mpp, mpp_level0, tolerance)
        level, read_size = _choose_level(target, level_downsamples, tile_size_px, tolerance)
    step = (tile_size_px - overlap_px) * read_size / tile_size_px
    return _plan(mpp_level0, level_downsamples, level, mpp, tile_size_px, read_size, step)


def plan_reading_of_size(
    *,
    size_level0_px: int,
    mpp_level0: float | None,
    level_downsamples: Sequence[float],
    tile_size_px: int,
    tolerance: float,
) -> ReadPlan:
    """Choose the level and sizes for tiles that cover `size_level0_px` a side; see `plan_reading`.

    Raises
    ------
    ResolutionError
        If tiles would have more pixels than level 0.
    """
    target = size_level0_px / tile_size_px
    if target < 1 - tolerance:
        msg = (
            f"tiles of {size_level0_px} level-0 px would be upsampled to {tile_size_px} px: "
            f"ask for a tile size of {size_level0_px} or less"
        )
        raise ResolutionError(msg)
    level, read_size = _choose_level(target, level_downsamples, tile_size_px, tolerance)
    mpp = None if mpp_level0 is None else mpp_level0 * target
    return _plan(mpp_level0, level_downsamples, level, mpp, tile_size_px, read_size, read_size)


def _plan(
    mpp_level0: float | None,
    level_downsamples: Sequence[float],
    level: int,
    mpp: float | None,
    tile_size_px: int,
    read_size_px: int,
    step_px: float,
) -> ReadPlan:
    downsample = level_downsamples[level]
    # Level-0 pixels per pixel of the tile, as it is really read.
    scale = downsample * read_size_px / tile_size_px
    return ReadPlan(
        level=level,
        downsample=downsample,
        read_size_px=read_size_px,
        tile_size_px=tile_size_px,
        step_px=step_px,
        tile_size_level0_px=max(1, round(tile_size_px * scale)),
        mpp=mpp,
        mpp_effective=None if mpp_level0 is None else mpp_level0 * scale,
    )


def _target_downsample(mpp: float, mpp_level0: float | None, tolerance: float) -> float:
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
    return target


def _choose_level(
    target: float, level_downsamples: Sequence[float], tile_size_px: int, tolerance: float
) -> tuple[int, int]:
    """Return the level to read and the side of the region, in pixels of that level."""
    usable = [i for i, d in enumerate(level_downsamples) if d <= target * (1 + tolerance)]
    level = max(usable, key=lambda i: level_downsamples[i], default=0)
    ratio = target / level_downsamples[level]
    whole = max(1, round(ratio))
    # Whole pixels averaged, and tiles that begin where the file's own do, are worth the tolerance.
    factor = whole if abs(ratio / whole - 1) <= tolerance else ratio
    return level, max(1, round(tile_size_px * factor))


def level_box(bounds: Box, level0: Size, level: Size, downsample: float) -> Box:
    """Return the part of a level, in its own pixels, that lies wholly within level-0 bounds.

    Bounds of the whole slide give the whole level, whatever its downsample was rounded to.
    """
    left, right = _span(bounds.x, bounds.width, level0.width, level.width, downsample)
    top, bottom = _span(bounds.y, bounds.height, level0.height, level.height, downsample)
    return Box(left, top, right - left, bottom - top)


def _span(start: int, length: int, level0: int, level: int, downsample: float) -> tuple[int, int]:
    first = math.ceil(start / downsample)
    end = start + length
    last = level if end >= level0 else min(level, math.floor(end / downsample))
    return first, max(first, last)
