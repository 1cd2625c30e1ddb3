"""CIE L*a*b* (1976) of sRGB (IEC 61966-2-1) under D65, with the same numbers for every user."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Rows X, Y, Z; white (1, 1, 1) becomes (1, 1, 1), for each row is divided by its sum.
_TO_XYZ: Final = np.array(
    [
        [0.412453, 0.357580, 0.180423],
        [0.212671, 0.715160, 0.072169],
        [0.019334, 0.119193, 0.950227],
    ]
)
TO_XYZ: Final[Floats] = _TO_XYZ / _TO_XYZ.sum(axis=1, keepdims=True)
FROM_XYZ: Final[Floats] = np.linalg.inv(TO_XYZ).astype(np.float64)
# L*, a*, b* = LAB_OF_ROOTS · (f(X), f(Y), f(Z)) - (16, 0, 0).
LAB_OF_ROOTS: Final[Floats] = np.array(
    [[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]]
)
ROOTS_OF_LAB: Final[Floats] = np.linalg.inv(LAB_OF_ROOTS).astype(np.float64)
LAB_OFFSET: Final[Floats] = np.array([-16.0, 0.0, 0.0])
_EDGE: Final = 6 / 29


def linear(values: Floats) -> Floats:
    """Light of sRGB values in [0, 1]."""
    bright = ((np.maximum(values, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(values > 0.04045, bright, values / 12.92)


def encoded(light: Floats) -> Floats:
    """Return the sRGB values of light; both in [0, 1]."""
    bright = 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(light > 0.0031308, bright, light * 12.92)


def root(values: Floats) -> Floats:
    """CIE's f: a cube root, straight near zero."""
    return np.where(values > _EDGE**3, np.cbrt(values), values / (3 * _EDGE**2) + 4 / 29)


def unroot(values: Floats) -> Floats:
    """Undo `root`."""
    return np.where(values > _EDGE, values**3, 3 * _EDGE**2 * (values - 4 / 29))


def rgb_to_lab(pixels: NDArray[np.uint8]) -> Floats:
    """L*a*b* of uint8 RGB, shape (..., 3)."""
    light = linear(pixels.astype(np.float64) / 255)
    return root(light @ TO_XYZ.T) @ LAB_OF_ROOTS.T + LAB_OFFSET


def lab_to_rgb(values: Floats) -> NDArray[np.uint8]:
    """Nearest uint8 RGB of L*a*b*, shape (..., 3); what is out of gamut is clipped."""
    light = unroot((values - LAB_OFFSET) @ ROOTS_OF_LAB.T) @ FROM_XYZ.T
    return np.rint(encoded(np.clip(light, 0, 1)) * 255).astype(np.uint8)
