"""How this room's inner loops are compiled, and read-only views for them."""

from collections.abc import Callable
from typing import TypeVar, cast

import numba
import numpy as np
from numpy.typing import NDArray

F = TypeVar("F", bound=Callable[..., object])


def compiled(function: F) -> F:
    """Compile a loop when it is first called; it runs without Python's lock.

    It starts no threads of its own, so that forked processes and several callers are safe.
    """
    return cast("F", numba.njit(nogil=True, cache=True, fastmath=True)(function))


def inlined(function: F) -> F:
    """Compile a part of such loops into them."""
    return cast("F", numba.njit(nogil=True, cache=True, fastmath=True, inline="always")(function))


def as_pixels(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGB of any shape as (n, 3), contiguous; a copy only where it has to be.

    The view is read-only whatever `tiles` is: loops are compiled once, for that.
    """
    if tiles.dtype != np.uint8 or tiles.ndim == 0 or tiles.shape[-1] != 3:
        msg = f"pixels must be uint8 of shape (..., 3), got {tiles.dtype} of {tiles.shape}"
        raise ValueError(msg)
    pixels = np.ascontiguousarray(tiles).reshape(-1, 3).view()
    pixels.flags.writeable = False
    return pixels
