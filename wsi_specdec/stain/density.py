"""Optical densities of tissue, and what every vector method asks of them."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.compiled import as_pixels, compiled, inlined
from wsi_specdec.stain.profile import optical_density

Floats = NDArray[np.float32]

DENSITY: Final[Floats] = optical_density(np.arange(256, dtype=np.uint8)).astype(np.float32)
DENSITY.flags.writeable = False
_BINS: Final = 8192
# Angles as `pseudo_angle` counts them.
_ANGLES: Final = (-2.0, 2.0)
# Optical density of black, 5.5, in each of three channels has a length of 9.5.
_STRENGTHS: Final = (-4.0, 12.0)


class Moments(NamedTuple):
    """Mean (3,) and covariance (3, 3) of densities, and their number."""

    n: int
    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def tissue_densities(pixels: NDArray[np.uint8], config: StainConfig) -> Floats:
    """Optical densities (m, 3) of those pixels (n, 3) that are tissue by the settings."""
    flat = as_pixels(pixels)
    out = np.empty(flat.shape, dtype=np.float32)
    every = config.min_od_of == "every_channel"
    return out[: _keep_tissue(flat, DENSITY, config.min_od, every, out)]


def all_densities(pixels: NDArray[np.uint8]) -> Floats:
    """Optical densities (n, 3) of pixels (n, 3)."""
    return DENSITY[as_pixels(pixels)]


def moments(values: Floats) -> Moments:
    """Mean and covariance of rows (n, 3); zero of none."""
    sums, products = np.zeros(3), np.zeros((3, 3))
    _add_up(values, sums, products)
    n = len(values)
    mean = sums / max(n, 1)
    covariance = (products / max(n, 1) - np.outer(mean, mean)) * (n / max(n - 1, 1))
    return Moments(n, mean, covariance)


def extreme_directions(
    density: Floats, plane: NDArray[np.float64], percentile: float
) -> NDArray[np.float64]:
    """Return unit vectors (2, 3) at the robust extremes of the densities' angle in a plane.

    Parameters
    ----------
    density
        (n, 3), n at least 1.
    plane
        Two orthonormal axes in columns, (3, 2); angles are counted from the first.
    percentile
        Of the angles that lie beyond each extreme.
    """
    counts = np.zeros(_BINS, dtype=np.int32)
    _count_angles(density, plane.astype(np.float32), counts)
    turns = _percentiles(counts, _ANGLES, (percentile, 100 - percentile))
    # Back from the diamond to its corners: x + |y| = 1 on the side of the first axis.
    x, y = 1 - np.abs(turns), np.where(np.abs(turns) > 1, np.sign(turns) * 2 - turns, turns)
    vectors = np.stack([x, y], axis=1) @ plane.T
    unit: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def strongest(density: Floats, matrix: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 99th percentile of each stain's least-squares concentration.

    Parameters
    ----------
    density
        (n, 3), n at least 1.
    matrix
        Stain vectors (2, 3), not parallel.
    """
    counts = np.zeros((2, _BINS), dtype=np.int32)
    unmix = np.linalg.pinv(matrix).astype(np.float32)
    _count_strengths(density, unmix, np.float32(_STRENGTHS[0]), np.float32(_per_unit()), counts)
    first, second = (float(_percentiles(row, _STRENGTHS, (99,))[0]) for row in counts)
    return first, second


def _per_unit() -> float:
    return _BINS / (_STRENGTHS[1] - _STRENGTHS[0])


def _percentiles(
    counts: NDArray[np.int32], span: tuple[float, float], wanted: tuple[float, ...]
) -> NDArray[np.float64]:
    """Percentiles of what was counted, values spread evenly within a bin."""
    below = np.cumsum(counts)
    ranks = np.array(wanted) / 100 * (below[-1] - 1)
    bins = np.searchsorted(below, ranks, side="right")
    before = below[bins] - counts[bins]
    within = (ranks - before + 0.5) / counts[bins]
    found: NDArray[np.float64] = span[0] + (bins + within) * (span[1] - span[0]) / len(counts)
    return found


@inlined
def is_tissue(
    red: np.float32, green: np.float32, blue: np.float32, floor: np.float32, every: bool
) -> bool:  # pragma: no cover - compiled
    """Whether optical densities are those of tissue: in the mean, or in every channel."""
    if every:
        return bool(min(red, green, blue) >= floor)
    return bool(red + green + blue >= np.float32(3) * floor)


@compiled
def _keep_tissue(
    pixels: NDArray[np.uint8], table: Floats, min_od: float, every: bool, out: Floats
) -> int:  # pragma: no cover - compiled
    floor = np.float32(min_od)
    kept = 0
    for i in range(pixels.shape[0]):
        red, green, blue = table[pixels[i, 0]], table[pixels[i, 1]], table[pixels[i, 2]]
        tissue = is_tissue(red, green, blue, floor, every)
        # Written in any case, so that the loop has no branch.
        out[kept, 0], out[kept, 1], out[kept, 2] = red, green, blue
        kept += int(tissue)
    return kept


@compiled
def _add_up(
    values: Floats, sums: NDArray[np.float64], products: NDArray[np.float64]
) -> None:  # pragma: no cover - compiled
    a = b = c = aa = ab = ac = bb = bc = cc = 0.0
    for i in range(values.shape[0]):
        x, y, z = float(values[i, 0]), float(values[i, 1]), float(values[i, 2])
        a += x
        b += y
        c += z
        aa += x * x
        ab += x * y
        ac += x * z
        bb += y * y
        bc += y * z
        cc += z * z
    sums[0], sums[1], sums[2] = a, b, c
    products[0, 0], products[1, 1], products[2, 2] = aa, bb, cc
    products[0, 1] = products[1, 0] = ab
    products[0, 2] = products[2, 0] = ac
    products[1, 2] = products[2, 1] = bc


@compiled
def _count_angles(
    density: Floats, plane: Floats, counts: NDArray[np.int32]
) -> None:  # pragma: no cover - compiled
    """Count pseudo-angles: they rise with the angle, as arctan2 does, at the cost of a division."""
    last = counts.shape[0] - 1
    per_unit = np.float32(counts.shape[0] / 4)
    for i in range(density.shape[0]):
        r, g, b = density[i, 0], density[i, 1], density[i, 2]
        x = r * plane[0, 0] + g * plane[1, 0] + b * plane[2, 0]
        y = r * plane[0, 1] + g * plane[1, 1] + b * plane[2, 1]
        turn = y / (abs(x) + abs(y) + np.float32(1e-12))
        if x < 0:
            turn = (np.float32(2) if y >= 0 else np.float32(-2)) - turn
        counts[min(max(int((turn + np.float32(2)) * per_unit), 0), last)] += 1


@compiled
def _count_strengths(
    density: Floats,
    unmix: Floats,
    lowest: np.float32,
    per_unit: np.float32,
    counts: NDArray[np.int32],
) -> None:  # pragma: no cover - compiled
    last = counts.shape[1] - 1
    for i in range(density.shape[0]):
        r, g, b = density[i, 0], density[i, 1], density[i, 2]
        for stain in range(2):
            amount = r * unmix[0, stain] + g * unmix[1, stain] + b * unmix[2, stain]
            counts[stain, min(max(int((amount - lowest) * per_unit), 0), last)] += 1
