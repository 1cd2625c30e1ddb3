"""Three small numbers in one: a linear step from three channels to three by three look-ups.

A matrix times the values of three channels, each a function of a small integer, is a sum of three
columns. Each column is looked up whole: its three numbers, in fixed point, lie side by side in
one 64-bit integer, and the integers are added. Every number has a bias, so that neither it nor
any sum is negative and nothing is carried from one to the next.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsi_specdec.stain.compiled import compiled

BITS: Final = 21
MASK: Final = (1 << BITS) - 1
# Of each of the three that are added: a third of the room.
BIAS: Final = (1 << BITS) // 6
_LARGEST: Final = float(BIAS - 1)


@compiled
def fill_table(
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    values: NDArray[np.float64],
    scale: float,
    table: NDArray[np.int64],
) -> None:  # pragma: no cover - compiled
    """Fill a packed table (3, k) for `scale` · (`matrix` · f + `offset`), f of k steps each.

    Parameters
    ----------
    matrix, offset
        (3, 3) and (3,). The offset is part of the first channel's columns.
    values
        (k,), what a channel's step stands for.
    scale
        Of the fixed point. What is too large for it is cut off.
    table
        int64 (3, k), overwritten.
    """
    for source in range(3):
        for step in range(values.shape[0]):
            packed = 0
            for channel in range(3):
                value = matrix[channel, source] * values[step]
                if source == 0:
                    value += offset[channel]
                value = min(max(value * scale, -_LARGEST), _LARGEST)
                packed = (packed << BITS) | (int(np.floor(value + 0.5)) + BIAS)
            table[source, step] = packed
