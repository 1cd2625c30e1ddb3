"""Pixels through optical density and back, uint8 to uint8, in one pass."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.stain.compiled import compiled
from wsi_specdec.stain.packed import BIAS, BITS, MASK, fill_table
from wsi_specdec.stain.profile import WHITE, optical_density

# Steps of optical density in which it is turned back into intensity: at most 0.03 grey levels.
_PER_UNIT: Final = 4096
# From just above white to just below black.
_LOWEST: Final = -0.08
_HIGHEST: Final = 5.2
_FIRST: Final = 3 * BIAS + round(_LOWEST * _PER_UNIT)

_DENSITY: Final = optical_density(np.arange(256, dtype=np.uint8))
_INTENSITY: Final = np.clip(
    np.rint(
        WHITE * np.exp(-np.arange(round(_LOWEST * _PER_UNIT), _HIGHEST * _PER_UNIT) / _PER_UNIT) - 1
    ),
    0,
    255,
).astype(np.uint8)


def mix_densities(
    pixels: NDArray[np.uint8],
    out: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> None:
    """Write pixels whose optical densities are `matrix` · density + `offset`.

    Parameters
    ----------
    pixels, out
        Contiguous, uint8 (n, 3); `pixels` read-only.
    matrix, offset
        float64 (3, 3) and (3,).
    """
    table = np.empty((3, 256), dtype=np.int64)
    fill_table(matrix, offset, _DENSITY, float(_PER_UNIT), table)
    _look_up(pixels, out, table, _INTENSITY)


@compiled
def _look_up(
    pixels: NDArray[np.uint8],
    out: NDArray[np.uint8],
    table: NDArray[np.int64],
    intensity: NDArray[np.uint8],
) -> None:  # pragma: no cover - compiled
    last = intensity.shape[0] - 1
    for i in range(pixels.shape[0]):
        packed = table[0, pixels[i, 0]] + table[1, pixels[i, 1]] + table[2, pixels[i, 2]]
        red = (packed >> (2 * BITS)) - _FIRST
        green = ((packed >> BITS) & MASK) - _FIRST
        blue = (packed & MASK) - _FIRST
        out[i, 0] = intensity[min(max(red, 0), last)]
        out[i, 1] = intensity[min(max(green, 0), last)]
        out[i, 2] = intensity[min(max(blue, 0), last)]
