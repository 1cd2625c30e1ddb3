"""Pixels through CIE L*a*b* and back, uint8 to uint8, in one pass."""

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.config import StainConfig
from wsi_specdec.stain.compiled import as_pixels, compiled
from wsi_specdec.stain.density import DENSITY, Floats, is_tissue
from wsi_specdec.stain.lab import FROM_XYZ, TO_XYZ, encoded, linear, root, unroot
from wsi_specdec.stain.packed import BIAS, BITS, MASK, fill_table

# X, Y and Z lie in [0, 1]. Look-ups go by 13 bits of them; the rest is room for rounding.
_XYZ_BITS: Final = 16
_XYZ_SHIFT: Final = 3
_N_XYZ: Final = (1 << (_XYZ_BITS - _XYZ_SHIFT)) + 2
# Cube roots of the target, 13 bits too; beyond these lies no colour of sRGB.
_ROOT_LOWEST: Final = -0.25
_ROOT_HIGHEST: Final = 1.25
_ROOT_BITS: Final = 14
_ROOT_SHIFT: Final = 1
_N_ROOTS: Final = round((_ROOT_HIGHEST - _ROOT_LOWEST) * (1 << (_ROOT_BITS - _ROOT_SHIFT)))
_LIGHT_BITS: Final = 14
# What is taken off a sum for its index: biases, and half a step so that it is rounded.
_XYZ_FIRST: Final = 3 * BIAS - (1 << (_XYZ_SHIFT - 1))
_ROOT_FIRST: Final = 3 * BIAS + round(_ROOT_LOWEST * (1 << _ROOT_BITS)) - (1 << (_ROOT_SHIFT - 1))
_LIGHT_FIRST: Final = 3 * BIAS

_LINEAR: Final = linear(np.arange(256) / 255)
_ROOTS: Final = root(np.arange(_N_XYZ) / (1 << (_XYZ_BITS - _XYZ_SHIFT)))
_LIGHT: Final = unroot(_ROOT_LOWEST + np.arange(_N_ROOTS) / (1 << (_ROOT_BITS - _ROOT_SHIFT)))
_ENCODED: Final = np.rint(encoded(np.linspace(0, 1, (1 << _LIGHT_BITS) + 1)) * 255).astype(np.uint8)


def mix_roots(
    pixels: NDArray[np.uint8],
    out: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> None:
    """Write pixels whose CIE cube roots (f(X), f(Y), f(Z)) are `matrix` · roots + `offset`.

    Parameters
    ----------
    pixels, out
        Contiguous, uint8 (n, 3); `pixels` read-only.
    matrix, offset
        float64 (3, 3) and (3,).
    """
    mixed = np.empty((3, _N_XYZ), dtype=np.int64)
    fill_table(matrix, offset, _ROOTS, float(1 << _ROOT_BITS), mixed)
    xyz, light = _constant_tables()
    _look_up(pixels, out, xyz, mixed, light, _ENCODED)


def tissue_roots(pixels: NDArray[np.uint8], config: StainConfig) -> Floats:
    """CIE cube roots (m, 3) of those pixels (n, 3) that are tissue by the settings."""
    flat = as_pixels(pixels)
    out = np.empty(flat.shape, dtype=np.float32)
    every = config.min_od_of == "every_channel"
    xyz = _constant_tables()[0]
    roots = _ROOTS.astype(np.float32)
    return out[: _keep_roots(flat, DENSITY, config.min_od, every, xyz, roots, out)]


@cache
def _constant_tables() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Packed tables that no profile changes: of the 256 intensities, and of the cube roots."""
    tables = []
    for matrix, values, bits in ((TO_XYZ, _LINEAR, _XYZ_BITS), (FROM_XYZ, _LIGHT, _LIGHT_BITS)):
        table = np.empty((3, len(values)), dtype=np.int64)
        fill_table(matrix, np.zeros(3), values, float(1 << bits), table)
        tables.append(table)
    return tables[0], tables[1]


@compiled
def _look_up(
    pixels: NDArray[np.uint8],
    out: NDArray[np.uint8],
    xyz: NDArray[np.int64],
    mixed: NDArray[np.int64],
    light: NDArray[np.int64],
    intensity: NDArray[np.uint8],
) -> None:  # pragma: no cover - compiled
    last_root = light.shape[1] - 1
    last = intensity.shape[0] - 1
    for i in range(pixels.shape[0]):
        packed = xyz[0, pixels[i, 0]] + xyz[1, pixels[i, 1]] + xyz[2, pixels[i, 2]]
        # In range without a check: rows of the matrix are positive and sum to one.
        x = ((packed >> (2 * BITS)) - _XYZ_FIRST) >> _XYZ_SHIFT
        y = (((packed >> BITS) & MASK) - _XYZ_FIRST) >> _XYZ_SHIFT
        z = ((packed & MASK) - _XYZ_FIRST) >> _XYZ_SHIFT
        packed = mixed[0, x] + mixed[1, y] + mixed[2, z]
        x = min(max(((packed >> (2 * BITS)) - _ROOT_FIRST) >> _ROOT_SHIFT, 0), last_root)
        y = min(max((((packed >> BITS) & MASK) - _ROOT_FIRST) >> _ROOT_SHIFT, 0), last_root)
        z = min(max(((packed & MASK) - _ROOT_FIRST) >> _ROOT_SHIFT, 0), last_root)
        packed = light[0, x] + light[1, y] + light[2, z]
        out[i, 0] = intensity[min(max((packed >> (2 * BITS)) - _LIGHT_FIRST, 0), last)]
        out[i, 1] = intensity[min(max(((packed >> BITS) & MASK) - _LIGHT_FIRST, 0), last)]
        out[i, 2] = intensity[min(max((packed & MASK) - _LIGHT_FIRST, 0), last)]


@compiled
def _keep_roots(
    pixels: NDArray[np.uint8],
    density: Floats,
    min_od: float,
    every: bool,
    xyz: NDArray[np.int64],
    roots: Floats,
    out: Floats,
) -> int:  # pragma: no cover - compiled
    floor = np.float32(min_od)
    kept = 0
    for i in range(pixels.shape[0]):
        r, g, b = pixels[i, 0], pixels[i, 1], pixels[i, 2]
        if is_tissue(density[r], density[g], density[b], floor, every):
            packed = xyz[0, r] + xyz[1, g] + xyz[2, b]
            out[kept, 0] = roots[((packed >> (2 * BITS)) - _XYZ_FIRST) >> _XYZ_SHIFT]
            out[kept, 1] = roots[(((packed >> BITS) & MASK) - _XYZ_FIRST) >> _XYZ_SHIFT]
            out[kept, 2] = roots[((packed & MASK) - _XYZ_FIRST) >> _XYZ_SHIFT]
            kept += 1
    return kept
