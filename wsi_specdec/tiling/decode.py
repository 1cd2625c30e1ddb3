"""Pixels of tiles by decoding the file's own tiles, each once where memory allows."""

import threading
from collections.abc import Collection
from concurrent.futures import Future

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.geometry import ReadPlan
from wsi_specdec.slides import EncodedLevel
from wsi_specdec.tiling.extract import Image, resampled, split_runs
from wsi_specdec.tiling.grid import level_corners

# Of decoded tiles that a later run needs again; what finds no room is decoded again. Of tiles of
# 256 px, a row and a side of a strip of `visit_order` fit.
_KEPT_BYTES = 8 << 20
_WHITE = 255


class DecodedTiles:
    """Tiles cut from a level's decoded tiles. Several threads may call it at once.

    A file's tile that several runs need is kept until the last of them has it, as far as 8 MiB
    reach. Outside the level is white.

    Parameters
    ----------
    level
        The compressed tiles; none that is needed may be missing.
    plan
        Level and sizes.
    coords
        (N, 2) of all tiles that will be asked for, in level-0 pixels, in the order for
        `split_runs`.
    """

    def __init__(self, level: EncodedLevel, plan: ReadPlan, coords: NDArray[np.int64]) -> None:
        self._level = level
        self._plan = plan
        self._lock = threading.Lock()
        self._uses, self._first = self._count_runs(coords)
        self._shared: dict[int, Future[Image]] = {}
        self._kept_bytes = 0

    @property
    def kept(self) -> int:
        """Number of the file's tiles that are kept for later runs."""
        return len(self._shared)

    def tiles(self, run: NDArray[np.int64]) -> list[Image]:
        """Decode one run of `split_runs`: (T, T, 3) RGB each, T = `plan.tile_size_px`.

        Raises
        ------
        SlideReadError
            If one of the file's tiles is damaged.
        """
        corners = level_corners(run, self._plan.downsample)
        decoded = self._decoded(self._needed(corners))
        return [resampled(self._cut(decoded, x, y), self._plan) for x, y in corners.tolist()]

    def _count_runs(self, coords: NDArray[np.int64]) -> tuple[NDArray[np.int64], int]:
        """Count the runs that need each of the file's tiles, as `_count_uses`."""
        ends = [(run[0], run[-1]) for run in split_runs(coords, self._plan)]
        corners = level_corners(np.array(ends).reshape(-1, 2, 2), self._plan.downsample)
        return _count_uses(self._level, self._plan, corners[:, 0], corners[:, 1])

    def _needed(self, corners: NDArray[np.int64]) -> list[int]:
        """Return the indices of the file's tiles under a run."""
        spans = _spans(self._level, self._plan, corners[:1], corners[-1:])
        left, top, right, bottom = spans[:, 0].tolist()
        columns = self._level.columns
        return [
            row * columns + column for row in range(top, bottom) for column in range(left, right)
        ]

    def _decoded(self, indices: list[int]) -> dict[int, Image]:
        """Decode tiles, or take them from who decodes them already."""
        alone: list[int] = []
        mine: dict[int, Future[Image]] = {}
        others: dict[int, Future[Image]] = {}
        with self._lock:
            for index in indices:
                if index in self._shared:
                    others[index] = self._shared[index]
                elif self._uses[index - self._first] > 1:
                    self._shared[index] = mine[index] = Future()
                else:
                    alone.append(index)
        # Own ones first, and only then those of others: no two threads wait for one another.
        pixels = self._decode(alone, mine)
        pixels |= {index: future.result() for index, future in others.items()}
        self._release([*mine, *others], mine)
        return pixels

    def _decode(self, alone: list[int], shared: dict[int, Future[Image]]) -> dict[int, Image]:
        """Decode tiles that this run alone needs, and those that others may wait for."""
        wanted = [*alone, *shared]
        pixels = {}
        try:
            views = self._level.read(np.array(wanted, np.int64))
            for view, index in zip(views, wanted, strict=True):
                pixels[index] = self._level.decode_bytes(view, index)
                if index in shared:
                    shared[index].set_result(pixels[index])
        except BaseException as error:
            for future in shared.values():
                if not future.done():
                    future.set_exception(error)
            raise
        return pixels

    def _release(self, indices: list[int], mine: Collection[int]) -> None:
        """Forget tiles that no other run needs, and those for which there is no room."""
        nbytes = 3 * self._level.tile.area
        with self._lock:
            self._kept_bytes += nbytes * len(mine)
            for index in indices:
                self._uses[index - self._first] -= 1
                if index in self._shared and (
                    self._uses[index - self._first] == 0
                    or (index in mine and self._kept_bytes > _KEPT_BYTES)
                ):
                    del self._shared[index]
                    self._kept_bytes -= nbytes

    def _cut(self, decoded: dict[int, Image], x: int, y: int) -> Image:
        """Assemble the region of one tile; x, y in pixels of the level."""
        level, side = self._level, self._plan.read_size_px
        width, height = level.tile.width, level.tile.height
        if side == width == height and x % width == 0 == y % height:
            whole = decoded.get(y // height * level.columns + x // width)
            inside = x + side <= level.size.width and y + side <= level.size.height
            if whole is not None and inside:
                return whole
        region = np.full((side, side, 3), _WHITE, np.uint8)
        right, bottom = min(x + side, level.size.width), min(y + side, level.size.height)
        for row in range(max(y, 0) // height, -(-bottom // height)):
            for column in range(max(x, 0) // width, -(-right // width)):
                source = decoded[row * level.columns + column]
                x0, y0 = column * width, row * height
                left, top = max(x, x0), max(y, y0)
                end, low = min(right, x0 + width), min(bottom, y0 + height)
                part = source[top - y0 : low - y0, left - x0 : end - x0]
                region[top - y : low - y, left - x : end - x] = part
        return region


def touched(level: EncodedLevel, plan: ReadPlan, coords: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of the file's tiles that tiles at `coords` need, sorted."""
    corners = level_corners(coords, plan.downsample)
    uses, first = _count_uses(level, plan, corners, corners)
    return first + np.flatnonzero(uses)


def _count_uses(
    level: EncodedLevel, plan: ReadPlan, first: NDArray[np.int64], last: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Count the runs that need each of the file's tiles, by differences at the runs' corners.

    `first` and `last`, (n, 2), are the corners of each run's first and last tile. Returned are the
    counts of the tiles in the rows that are touched at all, and the index of the first of those.
    """
    spans = _spans(level, plan, first, last)
    left, top, right, bottom = spans[:, (spans[2] > spans[0]) & (spans[3] > spans[1])]
    above = int(top.min(initial=level.rows))
    rows = int(bottom.max(initial=above)) - above
    steps = np.zeros((rows + 1, level.columns + 1), np.int64)
    for row, column, step in (
        (top, left, 1),
        (bottom, right, 1),
        (top, right, -1),
        (bottom, left, -1),
    ):
        np.add.at(steps, (row - above, column), step)
    uses = steps.cumsum(0).cumsum(1)[:-1, :-1].ravel()
    return uses, above * level.columns


def _spans(
    level: EncodedLevel, plan: ReadPlan, first: NDArray[np.int64], last: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Columns and rows of the file's tiles under runs, (4, n): left, top, ends right and bottom."""
    side = plan.read_size_px
    tile, size = ((s.width, s.height) for s in (level.tile, level.size))
    begin = np.maximum(first, 0) // tile
    end = -(-np.clip(last + side, 0, size) // tile)
    return np.concatenate([begin, end], axis=1).T
