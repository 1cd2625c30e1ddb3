"""Non-negative amounts of two stains in every pixel, in closed form."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.stain.compiled import compiled, inlined
from wsi_specdec.stain.density import Floats

_MAX_PIXELS: Final = 20_000


def unexplained(density: Floats, matrix: NDArray[np.float64]) -> float:
    """Share of the densities' squares that non-negative amounts of two stains leave over.

    Parameters
    ----------
    density
        Optical densities (n, 3); at most 20,000 of them, evenly spaced, are looked at.
    matrix
        Unit vectors (2, 3), not parallel.

    Returns
    -------
    float
        In [0, 1]: 0 where the stains explain every pixel, or there is none.
    """
    left, total = _left_over(density, matrix, -(-len(density) // _MAX_PIXELS) or 1)
    return min(max(left / total, 0.0), 1.0) if total > 0 else 0.0


@inlined
def amounts(
    haematoxylin: float, eosin: float, cosine: float
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Minimise |v - a w1 - b w2|² / 2 + λ (a + b) over a, b >= 0.

    Parameters
    ----------
    haematoxylin, eosin
        v·w1 - λ and v·w2 - λ; w1 and w2 are of unit length.
    cosine
        w1·w2, below 1.
    """
    determinant = 1 - cosine * cosine
    a = (haematoxylin - cosine * eosin) / determinant
    b = (eosin - cosine * haematoxylin) / determinant
    if a >= 0 and b >= 0:
        return a, b
    # The problem is convex: its solution lies on the better one of the two edges.
    if haematoxylin >= eosin:
        return max(haematoxylin, 0.0), 0.0
    return 0.0, max(eosin, 0.0)


@compiled
def code_products(
    density: Floats,
    matrix: NDArray[np.float64],
    sparsity: float,
    squares: NDArray[np.float64],
    mixed: NDArray[np.float64],
) -> None:  # pragma: no cover - compiled
    """Sum up what an update of the dictionary needs of the pixels' sparse amounts A (n, 2).

    `squares` (2, 2) becomes AᵀA, and `mixed` (2, 3) Aᵀ·`density`.
    """
    squares[:] = 0
    mixed[:] = 0
    p, q = matrix[0], matrix[1]
    cosine = p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
    for i in range(density.shape[0]):
        r, g, b = float(density[i, 0]), float(density[i, 1]), float(density[i, 2])
        first, second = amounts(
            r * p[0] + g * p[1] + b * p[2] - sparsity,
            r * q[0] + g * q[1] + b * q[2] - sparsity,
            cosine,
        )
        squares[0, 0] += first * first
        squares[0, 1] += first * second
        squares[1, 1] += second * second
        mixed[0, 0] += first * r
        mixed[0, 1] += first * g
        mixed[0, 2] += first * b
        mixed[1, 0] += second * r
        mixed[1, 1] += second * g
        mixed[1, 2] += second * b
    squares[1, 0] = squares[0, 1]


@compiled
def _left_over(
    density: Floats, matrix: NDArray[np.float64], step: int
) -> tuple[float, float]:  # pragma: no cover - compiled
    """Return the sums of squares that non-negative amounts leave over, and of all."""
    left = total = 0.0
    p, q = matrix[0], matrix[1]
    cosine = p[0] * q[0] + p[1] * q[1] + p[2] * q[2]
    for i in range(0, density.shape[0], step):
        r, g, b = float(density[i, 0]), float(density[i, 1]), float(density[i, 2])
        first = r * p[0] + g * p[1] + b * p[2]
        second = r * q[0] + g * q[1] + b * q[2]
        a, e = amounts(first, second, cosine)
        square = r * r + g * g + b * b
        total += square
        left += square - (a * first + e * second)
    return left, total
