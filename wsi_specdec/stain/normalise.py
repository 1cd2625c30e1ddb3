"""Apply a pair of profiles to pixels: one table, one 3×3 step, one table."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

from wsi_specdec.stain.profile import WHITE, StainProfile, optical_density

F = TypeVar("F", bound=Callable[..., object])

_DENSITY = optical_density(np.arange(256, dtype=np.uint8)).astype(np.float32)
# Optical density back to intensity in steps fine enough for a tenth of a grey level.
_LOWEST = -0.1
_STEPS_PER_UNIT = 2400.0
_N_STEPS = 16384
_INTENSITY = np.clip(
    np.rint(WHITE * np.exp(-(_LOWEST + np.arange(_N_STEPS) / _STEPS_PER_UNIT)) - 1.0), 0, 255
).astype(np.uint8)


def normalise(
    tiles: NDArray[np.uint8], source: StainProfile, target: StainProfile
) -> NDArray[np.uint8]:
    """Give the pixels of a slide the stains of the target.

    Concentrations in the source's stains are rescaled by the ratio of the two profiles' robust
    maxima and mixed again with the target's vectors (Macenko et al. 2009, section 2.3).

    Parameters
    ----------
    tiles
        RGB, shape (..., 3), uint8; may be read-only or not contiguous.
    source, target
        Profiles of the slide and of the target.

    Returns
    -------
    NDArray[np.uint8]
        A new array of the same shape; equal to `tiles` where either profile is unusable.
    """
    if source.status != "ok" or target.status != "ok":
        return np.array(tiles)
    out = np.empty(tiles.shape, dtype=np.uint8)
    step = mixing_matrix(source, target).astype(np.float32)
    flat = np.ascontiguousarray(tiles).reshape(-1, 3)
    _apply(flat, out.reshape(-1, 3), step, _DENSITY, _INTENSITY)
    return out


def mixing_matrix(source: StainProfile, target: StainProfile) -> NDArray[np.float64]:
    """Matrix (3, 3) that takes a column of source densities to target densities."""
    ratio = np.divide(target.max_concentrations, source.max_concentrations)
    unmix = np.linalg.pinv(source.matrix())  # (3, 2)
    mixed: NDArray[np.float64] = ((unmix * ratio) @ target.matrix()).T
    return mixed


def _compiled(function: F) -> F:
    return cast("F", numba.njit(nogil=True, cache=True, fastmath=True)(function))


@_compiled
def _apply(
    pixels: NDArray[np.uint8],
    out: NDArray[np.uint8],
    step: NDArray[np.float32],
    density: NDArray[np.float32],
    intensity: NDArray[np.uint8],
) -> None:  # pragma: no cover - compiled
    last = np.float32(intensity.shape[0] - 1)
    scale = np.float32(_STEPS_PER_UNIT)
    offset = np.float32(-_LOWEST * _STEPS_PER_UNIT + 0.5)
    for i in range(pixels.shape[0]):
        red = density[pixels[i, 0]]
        green = density[pixels[i, 1]]
        blue = density[pixels[i, 2]]
        for channel in range(3):
            mixed = step[channel, 0] * red + step[channel, 1] * green + step[channel, 2] * blue
            index = mixed * scale + offset
            index = min(max(index, np.float32(0)), last)
            out[i, channel] = intensity[int(index)]
