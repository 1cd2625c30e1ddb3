"""Fatty and other tissue so faint that no threshold of a pixel tells it from glass.

Fat absorbs next to nothing between its cells' walls: an optical density of 0.01, less than the
noise of glass. Yet averaged over tens of micrometres it is pinker than the glass around it, which
neither shadows nor dust nor uneven light of one colour is. How pink glass is may change over the
slide: a quadratic surface is fitted to it (least squares, outliers left out by turns), and what
stands out from that surface and hangs together with tissue is fatty tissue.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.tissue.morphology import Mask, dilate, erode
from wsi_specdec.tissue.planes import PADDING, PINK_SCALE, PINK_ZERO, Planes, blurred

_CELL_UM = 32.0
_AVERAGED_UM = 60.0
# Light scattered by dense tissue reaches so far into glass.
_RIM_UM = 30.0
_MIN_WIDTH_UM = 140.0
# Averaging carries the outline of fat so far into glass.
_BLURRED_UM = 30.0
# Optical density above glass, and above its scatter.
_MIN_EXCESS = 0.0035
_MIN_EXCESS_SD = 2.0
# Of a faint piece, the share that must be plain tissue: vessels, septa, what it grows on.
_MIN_PLAIN_SHARE = 0.02
_MIN_WEIGHT = 0.05
_MIN_CELLS = 200

_FIT_CELLS = 20_000
_FIT_ROUNDS = 6
_FIRST_SD = 0.002
_LEAST_SD = 0.0005
# Cutting at two standard deviations leaves 0.88 of one.
_CUT_SD = 2.0
_CUT_CORRECTION = 1 / 0.88
# Of y and x, in the surface's terms.
_POWERS = ((0, 0), (1, 0), (0, 1), (1, 1), (2, 0), (0, 2))
_RIDGE = 1e-6

Grid = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class _Surface:
    """Pinkness of glass over the slide, by coefficients of `_POWERS`, and the scatter about it."""

    coefficients: NDArray[np.float64]
    sd: float

    def subtract_from(self, pink: Grid) -> None:
        """Leave what stands out, row by row: a plane of its own would take as much again."""
        y, x = _axes(pink)
        for row, at in enumerate(y):
            for coefficient, (in_y, in_x) in zip(self.coefficients, _POWERS, strict=True):
                pink[row] -= np.float32(coefficient) * at**in_y * x**in_x


def fatty_tissue(planes: Planes, plain: Mask, foreign: Mask, mpp: float) -> Mask:
    """Find what is faint and belongs to plain tissue.

    Parameters
    ----------
    planes
        Of the overview.
    plain
        (h, w) 0 or 1, the tissue that a threshold found.
    foreign
        (h, w) 0 or 1, ink and the like.
    mpp
        µm per pixel.

    Returns
    -------
    Mask
        (h, w) 0 or 1; may cover plain tissue too.
    """
    height, width = plain.shape
    cell = max(1, round(_CELL_UM / mpp))
    size = (-(-width // cell), -(-height // cell))
    pink, weight = _averages(planes, plain | foreign, mpp, cell, size)
    known, free = weight > _MIN_WEIGHT, weight > 0.5
    del weight
    surface = _glass(pink, free)
    if surface is None:
        return np.zeros_like(plain)
    surface.subtract_from(pink)
    faint = (known & (pink > max(_MIN_EXCESS, _MIN_EXCESS_SD * surface.sd))).astype(np.uint8)
    del pink, known
    radius = max(1, round(_MIN_WIDTH_UM / 2 / (mpp * cell)))
    faint = dilate(erode(faint, radius + round(_BLURRED_UM / (mpp * cell))), radius)
    near = _resized(plain * np.uint8(255), size) > 0
    faint = _on_plain_tissue(faint, near.astype(np.uint8))
    shown = np.asarray(
        cv2.resize(faint * np.uint8(255), (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
    )
    # In place, for the sake of memory.
    np.greater_equal(shown, 128, out=shown.view(np.bool_))
    np.greater(shown, foreign, out=shown.view(np.bool_))
    return shown


def _averages(
    planes: Planes, taken: Mask, mpp: float, cell: int, size: tuple[int, int]
) -> tuple[Grid, Grid]:
    """Mean pinkness around each cell, of what is neither taken nor padding, and the share of it."""
    free = dilate(taken, max(1, round(_RIM_UM / mpp)))
    del taken
    free |= planes.flagged(PADDING)
    # 255 where free, 0 elsewhere.
    free -= 1
    sigma = _AVERAGED_UM / (mpp * cell)
    cells = _resized(free, size)
    free &= planes.pink
    pink_cells = _resized(free, size)
    # The largest goes first.
    del free
    share = blurred(cells, sigma)
    share /= 255
    pink = blurred(pink_cells, sigma)
    pink /= np.maximum(share, 1e-3, out=share)
    pink -= PINK_ZERO
    pink /= PINK_SCALE
    return pink, share


def _resized(plane: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)


def _glass(pink: Grid, free: NDArray[np.bool_]) -> _Surface | None:
    """Fit the surface; None where too little is free of tissue."""
    step = math.ceil(math.sqrt(free.size / _FIT_CELLS))
    rows, columns = np.nonzero(free[::step, ::step])
    if len(rows) < _MIN_CELLS:
        return None
    y, x = _axes(pink)
    values = pink[::step, ::step][rows, columns].astype(np.float64)
    return _Surface(*_fitted(y[::step][rows], x[::step][columns], values))


def _axes(grid: Grid) -> tuple[Grid, Grid]:
    """Positions of rows and columns, from -1 to 1."""
    y, x = (np.linspace(-1, 1, side, dtype=np.float32) for side in grid.shape)
    return y, x


def _fitted(
    y: NDArray[np.float32], x: NDArray[np.float32], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """Coefficients of `_POWERS`, (6,), and the scatter of what is glass."""
    terms = np.stack([y**in_y * x**in_x for in_y, in_x in _POWERS], axis=1).astype(np.float64)
    fitted, sd = np.full(len(values), _mode(values)), _FIRST_SD
    coefficients = np.zeros(len(_POWERS))
    for _ in range(_FIT_ROUNDS):
        inside = np.abs(values - fitted) < max(_CUT_SD * sd, 2 * _LEAST_SD)
        chosen = terms[inside]
        # The normal equations will do: few well-scaled terms, many cells. By einsum, since the
        # threads of BLAS go on spinning long after so little work.
        normal = np.einsum("ni,nj->ij", chosen, chosen) + _RIDGE * np.eye(len(_POWERS))
        target = np.einsum("ni,n->i", chosen, values[inside])
        coefficients = np.linalg.solve(normal, target)
        fitted = np.einsum("ni,i->n", terms, coefficients)
        if inside.any():
            sd = float(np.std((values - fitted)[inside])) * _CUT_CORRECTION
    return coefficients, sd


def _mode(values: NDArray[np.float64]) -> float:
    counts, edges = np.histogram(values, bins=120, range=(-0.06, 0.06))
    peak = int(counts.argmax())
    return float(edges[peak] + edges[peak + 1]) / 2


def _on_plain_tissue(faint: Mask, plain: Mask) -> Mask:
    """Leave out faint pieces that hold or touch too little plain tissue."""
    whole = faint | dilate(plain, 1)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(whole, connectivity=8)
    held = np.zeros(count, np.int64)
    # Row by row: numbers of all pixels at once would be widened to eight bytes each.
    for numbers, row in zip(labels, plain, strict=True):
        held += np.bincount(numbers[row > 0], minlength=count)
    keep = (held >= np.maximum(_MIN_PLAIN_SHARE * stats[:, cv2.CC_STAT_AREA], 1)).astype(np.uint8)
    keep[0] = 0
    for row, numbers in enumerate(labels):
        faint[row] &= keep[numbers]
    return faint
