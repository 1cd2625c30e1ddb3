"""Which way a slide's pixels take, and why not a faster one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import TileConfig
from wsi_specdec.errors import ConfigError
from wsi_specdec.geometry import ReadPlan
from wsi_specdec.slides import EncodedLevel, SlideReader, locate_encoded
from wsi_specdec.threads import in_order
from wsi_specdec.tiling.decode import DecodedTiles, touched
from wsi_specdec.tiling.extract import Image, RegionTiles, split_runs
from wsi_specdec.tiling.passthrough import why_not_copied

if TYPE_CHECKING:
    # Its libraries take half a second to import: only where stains are normalised.
    from wsi_specdec.tiling.stained import TileNormaliser

PathName = Literal["passthrough", "decode", "read_region"]
AskedPath = Literal["auto", "passthrough", "decode", "read_region"]

# Longer sides to be averaged are left to the reader's strips: a thread's memory is bounded.
_DECODED_PX = 2048
_ASKED = "asked for (setting pixel_path)"
_NORMALISED = "stains are normalised (setting stain)"


class TileSource(Protocol):
    """What gives the pixels of tiles; several threads may call it at once."""

    def tiles(self, run: NDArray[np.int64]) -> list[Image]:
        """Return (T, T, 3) RGB of each tile of one run of `split_runs`."""
        ...


@dataclass(frozen=True)
class PixelPath:
    """The way taken, from the fastest: "passthrough", "decode" or "read_region".

    Attributes
    ----------
    name
        The way.
    reason
        Why no faster one is taken; empty for the fastest.
    level
        The compressed tiles, except for "read_region".
    stained
        What tiles are changed by before they are stored; never of "passthrough".
    """

    name: PathName
    reason: str
    level: EncodedLevel | None
    stained: "TileNormaliser | None" = None

    def source(self, slide: SlideReader, plan: ReadPlan, coords: NDArray[np.int64]) -> TileSource:
        """Return what decodes the tiles at `coords`; of "passthrough" too, should they be seen."""
        if self.level is None:
            return RegionTiles(slide, plan)
        return DecodedTiles(self.level, plan, coords)


def choose_path(
    slide: SlideReader, plan: ReadPlan, coords: NDArray[np.int64], config: TileConfig
) -> PixelPath:
    """Choose the fastest way that gives the tiles asked for, or the one that `config` names.

    Raises
    ------
    ConfigError
        If `config` names a way that cannot be taken.
    """
    asked = config.pixel_path
    if asked == "read_region":
        return PixelPath("read_region", _ASKED, None)
    level, obstacle = locate_encoded(slide, plan.level)
    if level is not None:
        obstacle = _why_not_decoded(level, plan, coords)
    if level is None or obstacle:
        if asked != "auto":
            raise _refused(slide, asked, obstacle)
        return PixelPath("read_region", obstacle, None)
    obstacle = why_not_copied(level, plan, coords)
    if config.codec != "jpeg":
        obstacle = f"the store's codec is {config.codec}, not JPEG"
    if config.stain.method != "none":
        obstacle = _NORMALISED
    if asked == "passthrough" and obstacle:
        raise _refused(slide, asked, obstacle)
    if asked == "decode" or obstacle:
        return PixelPath("decode", obstacle or _ASKED, level)
    return PixelPath("passthrough", "", level)


def tiles_at(
    path: PixelPath,
    slide: SlideReader,
    plan: ReadPlan,
    coords: NDArray[np.int64],
    threads: int,
) -> Image:
    """Read tiles by a way that was chosen, as they are in the slide.

    Parameters
    ----------
    coords
        (n, 2) of those wanted, n >= 1, sorted as in `read_tiles`.
    threads
        How many decode.

    Returns
    -------
    NDArray[np.uint8]
        (n, T, T, 3) RGB: all of them are in memory at once.
    """
    source = path.source(slide, plan, coords)
    parts = in_order(source.tiles, split_runs(coords, plan), threads, waiting=threads)
    return np.stack([tile for tiles in parts for tile in tiles])


def read_tiles(
    slide: SlideReader,
    coords: NDArray[np.int64],
    plan: ReadPlan,
    *,
    pixel_path: AskedPath = "auto",
    threads: int = 1,
) -> Iterator[Image]:
    """Read tiles in the order of `coords`, in batches of neighbours in a row.

    Where the level's resolution is not the target's, pixels are averaged by area.

    Parameters
    ----------
    slide
        The open slide.
    coords
        (N, 2) x, y of the top-left corners in level-0 pixels, sorted by y, then x.
    plan
        Level and sizes.
    pixel_path
        As in `TileConfig`.
    threads
        How many decode.

    Yields
    ------
    NDArray[np.uint8]
        (n, T, T, 3) RGB, n >= 1, T = `plan.tile_size_px`.

    Raises
    ------
    ConfigError
        If `pixel_path` cannot be taken.
    SlideReadError
        If the file turns out to be corrupt or truncated.
    """
    path = choose_path(slide, plan, coords, TileConfig(pixel_path=pixel_path))
    source = path.source(slide, plan, coords)
    for tiles in in_order(source.tiles, split_runs(coords, plan), threads, waiting=threads):
        yield np.stack(tiles)


def _why_not_decoded(level: EncodedLevel, plan: ReadPlan, coords: NDArray[np.int64]) -> str:
    if plan.is_resampled and plan.read_size_px > _DECODED_PX:
        return f"regions of more than {_DECODED_PX:,} px are averaged strip by strip"
    gone = int(level.missing(touched(level, plan, coords)).sum())
    return f"{gone:,} of the file's tiles are missing" if gone else ""


def _refused(slide: SlideReader, asked: str, obstacle: str) -> ConfigError:
    return ConfigError(
        f"pixel_path {asked} cannot be taken for {slide.path}: {obstacle}; leave it to auto"
    )
